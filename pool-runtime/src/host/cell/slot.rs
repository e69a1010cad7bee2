//! What is in a cell: the arguments of its job, then the outcome, and whoever waits for that.
//!
//! A million jobs may wait. So small arguments and outputs lie in place ([`Words`]), and what few jobs
//! need is in a box under a lock: [`Full`] once somebody waits for the job or its bytes are many,
//! [`Rare`] for what was asked of it in particular. Whoever hands out or ends a job that has no box, with
//! little, takes no lock, nor does whoever takes such an output.

use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use super::super::line::Bell;
use super::super::track::Track;
use super::Outcome;
use super::place::Place;
use super::words::{Small, Words};
use crate::policy::JobOptions;
use crate::trace::JobSpan;
use crate::wire::Payload;

pub(super) struct Slot {
    words: Words,
    full: Mutex<Option<Box<Full>>>,
}

pub(super) struct Full {
    content: Content,
    waker: Option<Waker>,
    /// Rung besides; it stays for the cell's next job.
    bell: Option<Bell>,
    rare: Option<Box<Rare>>,
}

enum Content {
    /// It is what the words say.
    InPlace,
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
            _ => None,
        }
    }

    /// What came too late.
    fn of(outcome: Outcome) -> Leftover {
        let (_place, _span) = (Place::Nowhere, JobSpan::default());
        Leftover { content: Content::Outcome(outcome), _place, _span }
    }
}

impl Slot {
    /// Of a job that waits, of which nothing in particular is asked.
    #[inline(always)]
    pub(super) fn small(arguments: Small) -> Slot {
        Slot { words: Words::new(arguments), full: Mutex::new(None) }
    }

    pub(super) fn waiting(arguments: Payload, rare: Option<Box<Rare>>) -> Slot {
        match (Small::of_arguments(arguments.as_slice()), rare) {
            (Some(small), None) => Slot::small(small),
            (Some(small), rare) => Slot::boxed(small, Content::InPlace, rare),
            (None, rare) => Slot::boxed(Small::NOTHING, Content::Arguments(arguments), rare),
        }
    }

    pub(super) fn ended(outcome: Outcome, rare: Option<Box<Rare>>) -> Slot {
        Slot::boxed(Small::NOTHING, Content::Outcome(outcome), rare)
    }

    fn boxed(small: Small, content: Content, rare: Option<Box<Rare>>) -> Slot {
        let mut words = Words::new(small);
        words.begin_boxed();
        let full = Full { content, waker: None, bell: None, rare };
        Slot { words, full: Mutex::new(Some(Box::new(full))) }
    }

    /// Drops what is in its box.
    #[inline]
    pub(super) fn empty(&mut self) {
        let full = self.full.get_mut().unwrap_or_else(PoisonError::into_inner);
        drop(full.take());
    }

    #[inline]
    pub(super) fn lock(&self) -> Locked<'_> {
        let full = self.full.lock().unwrap_or_else(PoisonError::into_inner);
        Locked { words: &self.words, full }
    }

    /// Arguments of a job that has no box.
    #[inline]
    pub(super) fn few_arguments(&self) -> Option<Small> {
        self.words.arguments()
    }

    /// Ends a job by its output, as most end: there is little of both, and no box. False if it has to be
    /// [`finish`](Locked::finish)ed. Under the core's lock.
    #[must_use]
    #[inline]
    pub(super) fn finish_small(&self, output: &[u8], raw: bool) -> bool {
        Small::of_output(output, raw).is_some_and(|output| self.words.end(output))
    }

    /// The output of a job that has given little, once.
    #[inline]
    pub(super) fn take_small(&self) -> Option<Small> {
        self.words.take_output()
    }

    /// What is rung at the end of this job, and of those that come after it: the bell of `old`, a job
    /// that has ended, with the memory where that is, or this one.
    pub(super) fn set_bell(&mut self, bell: impl FnOnce() -> Bell, old: Option<&mut Slot>) {
        let old = old.and_then(|old| {
            let full = old.full.get_mut().unwrap_or_else(PoisonError::into_inner);
            full.take_if(|full| full.bell.is_some())
        });
        // Nobody else has this one yet.
        let full = self.full.get_mut().unwrap_or_else(PoisonError::into_inner);
        let (content, rare) = match full.take() {
            Some(new) => (new.content, new.rare),
            None => (Content::InPlace, None),
        };
        *full = Some(match old {
            Some(mut old) => {
                (old.content, old.rare) = (content, rare);
                old
            }
            None => Box::new(Full { content, waker: None, bell: Some(bell()), rare }),
        });
        self.words.begin_boxed();
    }
}

/// Whoever has it looks into the box, or makes it.
pub(super) struct Locked<'a> {
    words: &'a Words,
    full: MutexGuard<'a, Option<Box<Full>>>,
}

impl Locked<'_> {
    /// The job has no outcome yet. That may change before there is a [box](Self::full).
    pub(super) fn is_open(&self) -> bool {
        match self.full.as_ref().map(|full| &full.content) {
            None | Some(Content::InPlace) => self.words.get().is_arguments(),
            Some(Content::Arguments(_)) => true,
            Some(Content::Outcome(_) | Content::Taken) => false,
        }
    }

    /// Of a job that has ended there are none.
    pub(super) fn arguments(&self) -> Arguments<'_> {
        match self.full.as_ref().map(|full| &full.content) {
            Some(Content::Arguments(arguments)) => Arguments::Whole(arguments),
            None | Some(Content::InPlace) if self.is_open() => Arguments::Few(self.words.get()),
            _ => Arguments::Few(Small::NOTHING),
        }
    }

    pub(super) fn rare(&self) -> Option<&Rare> {
        self.full.as_ref()?.rare.as_deref()
    }

    /// The same, if there is any.
    pub(super) fn old_rare(&mut self) -> Option<&mut Rare> {
        self.full.as_mut()?.rare.as_deref_mut()
    }

    /// The same, made if there is none.
    pub(super) fn rare_mut(&mut self) -> &mut Rare {
        self.full().rare.get_or_insert_default()
    }

    /// The box, made if there is none. From here on the job does not end but under this lock.
    fn full(&mut self) -> &mut Full {
        let words = self.words;
        self.full.get_or_insert_with(|| {
            words.expect_box();
            let content = Content::InPlace;
            Box::new(Full { content, waker: None, bell: None, rare: None })
        })
    }

    /// The same, unless the job has ended: whoever is noted there is told of its end.
    pub(super) fn open(&mut self) -> Option<&mut Full> {
        if !self.is_open() {
            return None;
        }
        self.full();
        // It may have ended right before.
        if self.is_open() { self.full.as_deref_mut() } else { None }
    }

    /// Ends a job by its output, if there is little of both, and nothing in particular was asked of it.
    /// `None`: it has to be [`finish`](Self::finish)ed. Else whether it has nothing of anybody else's.
    #[must_use]
    pub(super) fn finish_small(
        &mut self,
        output: &[u8],
        raw: bool,
        wakers: &mut Vec<Waker>,
    ) -> Option<bool> {
        let full = self.full.as_mut()?;
        let is_plain = full.rare.is_none() && matches!(full.content, Content::InPlace);
        if !is_plain || !self.words.get().is_arguments() {
            return None;
        }
        self.words.set(Small::of_output(output, raw)?);
        wakers.extend(full.waker.take());
        Some(full.bell.is_none())
    }

    /// Ends the job, if it has not ended. `Err`: it has.
    pub(super) fn finish(
        &mut self,
        outcome: Outcome,
        wakers: &mut Vec<Waker>,
    ) -> Result<Option<Leftover>, Leftover> {
        if !self.is_open() {
            return Err(Leftover::of(outcome));
        }
        let full = self.full();
        let content = std::mem::replace(&mut full.content, Content::Outcome(outcome));
        wakers.extend(full.waker.take());
        let (mut place, mut span) = (Place::Nowhere, JobSpan::default());
        let has_rare = full.rare.is_some();
        if let Some(rare) = &mut full.rare {
            wakers.append(&mut rare.watchers);
            if let Some(track) = &mut rare.track {
                track.wake_all(wakers);
            }
            (place, span) = (std::mem::take(&mut rare.place), std::mem::take(&mut rare.span));
        }
        self.words.set(Small::NOTHING);
        if !has_rare && matches!(content, Content::InPlace) {
            return Ok(None);
        }
        Ok(Some(Leftover { content, _place: place, _span: span }))
    }

    /// Rings once everybody can see that the job has ended: whoever stands at the line looks at once.
    pub(super) fn ring(&self, wakers: &mut Vec<Waker>) {
        wakers.extend(self.full.as_ref().and_then(|full| full.bell.as_ref()?.ring()));
    }

    /// The outcome, once.
    pub(super) fn take_outcome(&mut self) -> Option<Outcome> {
        if let Some(small) = self.words.take_output() {
            return Some(Ok(small.output()));
        }
        let full = self.full.as_mut()?;
        if !matches!(full.content, Content::Outcome(_)) {
            return None;
        }
        let content = std::mem::replace(&mut full.content, Content::Taken);
        if full.rare.is_none() && full.bell.is_none() {
            *self.full = None;
        }
        match content {
            Content::Outcome(outcome) => Some(outcome),
            _ => None,
        }
    }
}

impl Full {
    /// Whoever is to be told of the job's end; gives back who was to be told before.
    #[must_use]
    pub(super) fn set_waker(&mut self, waker: Waker) -> Option<Waker> {
        self.waker.replace(waker)
    }

    pub(super) fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }
}
