//! What is in a cell, under its lock: the arguments of its job, then the outcome.
//!
//! A million jobs may wait. So small arguments and outputs lie in place, and what few jobs need is
//! behind a pointer: [`Full`] once somebody waits for the job or its bytes are many, [`Rare`] for
//! what was asked of it in particular.

use std::any::Any;
use std::num::NonZero;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use super::super::track::Track;
use super::place::Place;
use super::{Outcome, Output};
use crate::policy::JobOptions;
use crate::registry::Encoded;
use crate::trace::JobSpan;
use crate::wire::{Buffer, Payload, word};

/// The arguments or the output of a job, if these are few bytes that lie in place; or that it was
/// taken. In two words: what is put together on the stack in parts, and moved right after, has to be
/// waited for.
#[derive(Clone, Copy)]
pub(crate) struct Small {
    /// The first eight bytes.
    low: u64,
    /// Six more, how many there are, and what they are.
    rest: u64,
}

/// Bytes that lie in place.
const ROOM: usize = 14;
const LEN_SHIFT: u32 = 48;
/// What they are, by two bits.
const WHAT: u64 = 0b11 << 56;
/// The arguments of a job that has not ended.
const ARGUMENTS: u64 = 0;
const OUTPUT: u64 = 1 << 56;
const RAW_OUTPUT: u64 = 2 << 56;
/// There was an outcome, which was given.
const TAKEN: u64 = 3 << 56;

impl Small {
    #[inline]
    fn of(what: u64, bytes: &[u8]) -> Option<Small> {
        if bytes.len() > ROOM {
            return None;
        }
        let (low, rest) = bytes.split_at(bytes.len().min(8));
        let rest = word(rest) | (bytes.len() as u64) << LEN_SHIFT | what;
        Some(Small { low: word(low), rest })
    }

    #[inline]
    fn what(self) -> u64 {
        self.rest & WHAT
    }

    #[inline]
    pub(crate) fn len(self) -> usize {
        (self.rest >> LEN_SHIFT & 0xf) as usize
    }

    /// Little endian, with zeroes behind.
    #[inline]
    pub(crate) fn words(self) -> [u64; 2] {
        [self.low, self.rest & ((1 << LEN_SHIFT) - 1)]
    }

    /// As a decoder wants it.
    #[inline]
    pub(crate) fn encoded(self) -> Encoded {
        let raw = self.what() == RAW_OUTPUT;
        Encoded { bytes: Buffer::of_words(self.len() as u8, self.words()), raw }
    }

    fn payload(self) -> Payload {
        self.encoded().bytes.into()
    }

    fn outcome(self) -> Outcome {
        Ok(Output { payload: self.payload(), raw: self.what() == RAW_OUTPUT })
    }
}

pub(super) enum Slot {
    Small(Few),
    Full(Box<Full>),
}

/// A [`Small`] that leaves room for a box in its place.
#[derive(Clone, Copy)]
pub(super) struct Few {
    low: u64,
    middle: u32,
    high: NonZero<u32>,
}

impl From<Small> for Few {
    #[inline]
    fn from(small: Small) -> Few {
        const SET: NonZero<u32> = NonZero::new(1 << 31).expect("it is not zero");
        let Small { low, rest } = small;
        Few { low, middle: rest as u32, high: SET | (rest >> 32) as u32 }
    }
}

impl From<Few> for Small {
    #[inline]
    fn from(few: Few) -> Small {
        let Few { low, middle, high } = few;
        Small { low, rest: u64::from(high.get()) << 32 | u64::from(middle) }
    }
}

pub(super) struct Full {
    content: Content,
    waker: Option<Waker>,
    /// The waker stays, for the cell's next job.
    is_bell: bool,
    rare: Option<Box<Rare>>,
}

enum Content {
    Arguments(Payload),
    Outcome(Outcome),
    Taken,
}

/// What few jobs have.
#[derive(Default)]
pub(super) struct Rare {
    pub(super) label: Option<Arc<str>>,
    /// What was asked for this job alone.
    pub(super) options: Option<Box<JobOptions>>,
    /// The moment of its deadline, and its length.
    pub(super) deadline: Option<(Instant, Duration)>,
    pub(super) span: JobSpan,
    /// Of a job that was not made for one pool: where it is now.
    pub(super) place: Place,
    /// On whose behalf its pool runs it.
    pub(super) sponsor: Option<Arc<dyn Any + Send + Sync>>,
    /// The attempt that was handed out last, where that is a large number.
    pub(super) attempt: u32,
    /// Others who want to know when the job ends.
    pub(super) watchers: Vec<Waker>,
    /// How far it is. Most jobs never say.
    pub(super) track: Option<Box<Track>>,
}

/// The arguments of a job, where they lie.
#[derive(Clone, Copy)]
pub(crate) enum Arguments<'a> {
    Few(Small),
    Whole(&'a Payload),
}

impl Arguments<'_> {
    #[inline]
    pub(crate) fn len(&self) -> usize {
        match self {
            Arguments::Few(small) => small.len(),
            Arguments::Whole(payload) => payload.as_slice().len(),
        }
    }
}

/// What a cell no longer needs; to be dropped outside of any lock.
pub(crate) struct Leftover {
    content: Content,
    _place: Place,
    _span: JobSpan,
}

impl Leftover {
    /// Its arguments, if they are so large that it takes a while to free them.
    pub(in crate::host) fn take_large(&mut self, large: usize) -> Option<Vec<u8>> {
        match &mut self.content {
            Content::Arguments(Payload::Large(bytes)) if bytes.len() >= large => {
                Arc::into_inner(std::mem::take(bytes))
            }
            Content::Arguments(_) | Content::Outcome(_) | Content::Taken => None,
        }
    }

    /// What came too late.
    fn of(outcome: Outcome) -> Leftover {
        let (_place, _span) = (Place::Nowhere, JobSpan::default());
        Leftover { content: Content::Outcome(outcome), _place, _span }
    }
}

impl Slot {
    #[inline(always)]
    pub(super) fn waiting_small(arguments: &[u8]) -> Option<Slot> {
        Some(Slot::Small(Small::of(ARGUMENTS, arguments)?.into()))
    }

    pub(super) fn waiting(arguments: Payload, rare: Option<Box<Rare>>) -> Slot {
        match (rare, Small::of(ARGUMENTS, arguments.as_slice())) {
            (None, Some(small)) => Slot::Small(small.into()),
            (rare, _) => Slot::full_of(Content::Arguments(arguments), rare),
        }
    }

    pub(super) fn ended(outcome: Outcome, rare: Option<Box<Rare>>) -> Slot {
        if let (None, Ok(Output { payload, raw })) = (&rare, &outcome) {
            let what = if *raw { RAW_OUTPUT } else { OUTPUT };
            if let Some(small) = Small::of(what, payload.as_slice()) {
                return Slot::Small(small.into());
            }
        }
        Slot::full_of(Content::Outcome(outcome), rare)
    }

    fn full_of(content: Content, rare: Option<Box<Rare>>) -> Slot {
        Slot::Full(Box::new(Full { content, waker: None, is_bell: false, rare }))
    }

    const TAKEN: Slot = Slot::Small(Few { low: 0, middle: 0, high: NonZero::<u32>::MAX });

    /// What lies in place.
    #[inline]
    fn small(&self) -> Option<Small> {
        match self {
            Slot::Small(few) => Some((*few).into()),
            Slot::Full(_) => None,
        }
    }

    /// Few arguments of a job that has not ended, for which nobody waits.
    #[inline]
    fn has_small_arguments(&self) -> bool {
        self.small().is_some_and(|small| small.what() == ARGUMENTS)
    }

    /// The job has no outcome yet.
    pub(super) fn is_open(&self) -> bool {
        match self {
            Slot::Small(_) => self.has_small_arguments(),
            Slot::Full(full) => matches!(full.content, Content::Arguments(_)),
        }
    }

    #[inline]
    pub(super) fn arguments(&self) -> Arguments<'_> {
        // Of a job that has ended there are none.
        const NONE: Small = Small { low: 0, rest: TAKEN };
        match self {
            Slot::Small(few) => match Small::from(*few) {
                small if small.what() == ARGUMENTS => Arguments::Few(small),
                _ => Arguments::Few(NONE),
            },
            Slot::Full(full) => match &full.content {
                Content::Arguments(arguments) => Arguments::Whole(arguments),
                Content::Outcome(_) | Content::Taken => Arguments::Few(NONE),
            },
        }
    }

    pub(super) fn rare(&self) -> Option<&Rare> {
        match self {
            Slot::Full(full) => full.rare.as_deref(),
            _ => None,
        }
    }

    /// The same, if there is any.
    pub(super) fn old_rare(&mut self) -> Option<&mut Rare> {
        match self {
            Slot::Full(full) => full.rare.as_deref_mut(),
            _ => None,
        }
    }

    /// The same, made if there is none.
    pub(super) fn rare_mut(&mut self) -> &mut Rare {
        self.full().rare.get_or_insert_default()
    }

    fn full(&mut self) -> &mut Full {
        if !matches!(self, Slot::Full(_)) {
            let content = match self.small() {
                Some(small) if small.what() == ARGUMENTS => Content::Arguments(small.payload()),
                Some(small) if small.what() != TAKEN => Content::Outcome(small.outcome()),
                _ => Content::Taken,
            };
            *self = Slot::full_of(content, None);
        }
        match self {
            Slot::Full(full) => full,
            _ => unreachable!("made so above"),
        }
    }

    /// Whoever is to be told of the job's end; gives back who was to be told before.
    #[must_use]
    pub(super) fn set_waker(&mut self, waker: Waker) -> Option<Waker> {
        self.full().waker.replace(waker)
    }

    /// Whoever is to be told of the end of this job, and of those that come after it.
    pub(super) fn set_bell(&mut self, bell: Waker) {
        let full = self.full();
        (full.waker, full.is_bell) = (Some(bell), true);
    }

    /// Takes over the bell of a job that has ended, and the memory where that is. False if it had
    /// none.
    #[must_use]
    pub(super) fn take_bell(&mut self, old: &mut Slot) -> bool {
        if !matches!(old, Slot::Full(full) if full.is_bell) {
            return false;
        }
        let new = std::mem::replace(self, std::mem::replace(old, Slot::TAKEN));
        if let Slot::Full(full) = self {
            (full.content, full.rare) = match new {
                Slot::Full(new) => (new.content, new.rare),
                Slot::Small(few) => match Small::from(few) {
                    small if small.what() == ARGUMENTS => {
                        (Content::Arguments(small.payload()), None)
                    }
                    _ => (Content::Taken, None),
                },
            };
        }
        true
    }

    /// Ends a job by its output, as most end: there is little of both, and nobody waits yet. False
    /// if it has to be [`finish`](Self::finish)ed.
    #[must_use]
    #[inline]
    pub(super) fn finish_small(&mut self, output: &[u8], raw: bool) -> bool {
        let what = if raw { RAW_OUTPUT } else { OUTPUT };
        match Small::of(what, output) {
            Some(output) if self.has_small_arguments() => {
                *self = Slot::Small(output.into());
                true
            }
            _ => false,
        }
    }

    /// Ends the job, if it has not ended. `Err`: it has.
    pub(super) fn finish(
        &mut self,
        outcome: Outcome,
        wakers: &mut Vec<Waker>,
    ) -> Result<Option<Leftover>, Leftover> {
        if self.has_small_arguments() {
            *self = Slot::ended(outcome, None);
            return Ok(None);
        }
        let full = match self {
            Slot::Full(full) if matches!(full.content, Content::Arguments(_)) => full,
            _ => return Err(Leftover::of(outcome)),
        };
        let content = std::mem::replace(&mut full.content, Content::Outcome(outcome));
        match full.is_bell {
            true => wakers.extend(full.waker.clone()),
            false => wakers.extend(full.waker.take()),
        }
        let (mut place, mut span) = (Place::Nowhere, JobSpan::default());
        if let Some(rare) = &mut full.rare {
            wakers.append(&mut rare.watchers);
            if let Some(track) = &mut rare.track {
                track.wake_all(wakers);
            }
            (place, span) = (std::mem::take(&mut rare.place), std::mem::take(&mut rare.span));
        } else if matches!(content, Content::Arguments(Payload::Small { .. })) {
            return Ok(None);
        }
        Ok(Some(Leftover { content, _place: place, _span: span }))
    }

    /// The output of a job that has given little, once.
    #[inline]
    pub(super) fn take_small(&mut self) -> Option<Small> {
        let small = self.small()?;
        if matches!(small.what(), ARGUMENTS | TAKEN) {
            return None;
        }
        *self = Slot::TAKEN;
        Some(small)
    }

    /// The outcome, once.
    pub(super) fn take_outcome(&mut self) -> Option<Outcome> {
        if let Some(small) = self.take_small() {
            return Some(small.outcome());
        }
        if let Slot::Small(_) = self {
            return None;
        }
        match std::mem::replace(self, Slot::TAKEN) {
            Slot::Small(_) => None,
            Slot::Full(mut full) => {
                let outcome = match std::mem::replace(&mut full.content, Content::Taken) {
                    Content::Outcome(outcome) => Some(outcome),
                    Content::Taken => None,
                    open @ Content::Arguments(_) => {
                        full.content = open;
                        None
                    }
                };
                let is_open = matches!(full.content, Content::Arguments(_));
                if full.rare.is_some() || full.is_bell || is_open {
                    *self = Slot::Full(full);
                }
                outcome
            }
        }
    }
}
