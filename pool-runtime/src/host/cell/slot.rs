//! What is in a cell, under its lock: the arguments of its job, then the outcome.
//!
//! A million jobs may wait. So small arguments and outputs lie in place, and what few jobs need is
//! behind a pointer: [`Full`] once somebody waits for the job or its bytes are many, [`Rare`] for
//! what was asked of it in particular.

use std::any::Any;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use super::super::track::Track;
use super::place::Place;
use super::{Outcome, Output};
use crate::policy::JobOptions;
use crate::trace::JobSpan;
use crate::wire::Payload;

/// Bytes that lie in place.
const ROOM: usize = 14;

#[derive(Clone, Copy)]
pub(super) struct Small {
    len: u8,
    bytes: [u8; ROOM],
}

impl Small {
    #[inline]
    fn of(payload: &Payload) -> Option<Small> {
        let (len, bytes) = payload.as_few::<ROOM>()?;
        Some(Small { len, bytes })
    }

    #[inline]
    fn payload(&self) -> Payload {
        Payload::of_few(self.len, &self.bytes)
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

pub(super) enum Slot {
    /// The arguments of a job that has not ended.
    Arguments(Small),
    Output(Small),
    RawOutput(Small),
    /// The outcome was given.
    Taken,
    Full(Box<Full>),
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
    Few(&'a [u8]),
    Whole(&'a Payload),
}

impl Arguments<'_> {
    #[inline]
    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Arguments::Few(bytes) => bytes,
            Arguments::Whole(payload) => payload.as_slice(),
        }
    }

    /// To be kept.
    pub(crate) fn share(&self) -> Payload {
        match self {
            Arguments::Few(bytes) => Payload::copy_of(bytes),
            Arguments::Whole(payload) => Payload::clone(payload),
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
    #[inline]
    pub(super) fn waiting(arguments: Payload, rare: Option<Box<Rare>>) -> Slot {
        match (rare, Small::of(&arguments)) {
            (None, Some(small)) => Slot::Arguments(small),
            (rare, _) => Slot::full_of(Content::Arguments(arguments), rare),
        }
    }

    #[inline]
    pub(super) fn ended(outcome: Outcome, rare: Option<Box<Rare>>) -> Slot {
        if let (None, Ok(Output { payload, raw })) = (&rare, &outcome) {
            if let Some(small) = Small::of(payload) {
                return if *raw { Slot::RawOutput(small) } else { Slot::Output(small) };
            }
        }
        Slot::full_of(Content::Outcome(outcome), rare)
    }

    fn full_of(content: Content, rare: Option<Box<Rare>>) -> Slot {
        Slot::Full(Box::new(Full { content, waker: None, is_bell: false, rare }))
    }

    /// The job has no outcome yet.
    pub(super) fn is_open(&self) -> bool {
        match self {
            Slot::Arguments(_) => true,
            Slot::Output(_) | Slot::RawOutput(_) | Slot::Taken => false,
            Slot::Full(full) => matches!(full.content, Content::Arguments(_)),
        }
    }

    #[inline]
    pub(super) fn arguments(&self) -> Arguments<'_> {
        match self {
            Slot::Arguments(small) => Arguments::Few(small.as_slice()),
            Slot::Full(full) => match &full.content {
                Content::Arguments(arguments) => Arguments::Whole(arguments),
                Content::Outcome(_) | Content::Taken => Arguments::Few(&[]),
            },
            Slot::Output(_) | Slot::RawOutput(_) | Slot::Taken => Arguments::Few(&[]),
        }
    }

    pub(super) fn argument_len(&self) -> usize {
        self.arguments().as_slice().len()
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
            let output = |small: Small, raw| Output { payload: small.payload(), raw };
            let content = match self {
                Slot::Arguments(small) => Content::Arguments(small.payload()),
                Slot::Output(small) => Content::Outcome(Ok(output(*small, false))),
                Slot::RawOutput(small) => Content::Outcome(Ok(output(*small, true))),
                Slot::Taken | Slot::Full(_) => Content::Taken,
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
        let new = std::mem::replace(self, std::mem::replace(old, Slot::Taken));
        if let Slot::Full(full) = self {
            (full.content, full.rare) = match new {
                Slot::Full(new) => (new.content, new.rare),
                Slot::Arguments(small) => (Content::Arguments(small.payload()), None),
                Slot::Output(_) | Slot::RawOutput(_) | Slot::Taken => (Content::Taken, None),
            };
        }
        true
    }

    /// Ends the job, if it has not ended. `Err`: it has.
    #[inline]
    pub(super) fn finish(
        &mut self,
        outcome: Outcome,
        wakers: &mut Vec<Waker>,
    ) -> Result<Option<Leftover>, Leftover> {
        if matches!(self, Slot::Arguments(_)) {
            *self = Slot::ended(outcome, None);
            return Ok(None);
        }
        self.finish_full(outcome, wakers)
    }

    fn finish_full(
        &mut self,
        outcome: Outcome,
        wakers: &mut Vec<Waker>,
    ) -> Result<Option<Leftover>, Leftover> {
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

    /// The outcome, once.
    pub(super) fn take_outcome(&mut self) -> Option<Outcome> {
        let output = |small: Small, raw| Ok(Output { payload: small.payload(), raw });
        match std::mem::replace(self, Slot::Taken) {
            Slot::Output(small) => Some(output(small, false)),
            Slot::RawOutput(small) => Some(output(small, true)),
            Slot::Taken => None,
            open @ Slot::Arguments(_) => {
                *self = open;
                None
            }
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
