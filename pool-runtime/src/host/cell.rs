//! The place where one job waits: its arguments first, then its outcome, and whoever awaits it.
//!
//! A cell knows where its job is, so that a handle can give it up wherever that may be. It knows
//! nothing of types: `call.rs` and `handle.rs` do.
//!
//! It is the only allocation of most jobs, and small, since a million of them may wait. So what
//! never changes is packed into one word, [`Birth`]; what changes is in atomics, with which most jobs
//! get along; and what only some need is in a box, under a lock ([`slot`]).

mod birth;
mod course;
mod followed;
mod outcome;
mod place;
mod slot;
mod spare;
mod words;

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use self::birth::Birth;
pub(crate) use self::birth::Order;
use self::course::Course;
pub(crate) use self::place::{Holder, Manner, Numbered, Place, PoolNumber};
pub(crate) use self::slot::{Arguments, Leftover};
use self::slot::{Locked, Rare, Slot};
use self::words::Small;
use super::row;
use crate::error::{JobError, JobErrorKind, Subject};
use crate::id::JobId;
use crate::policy::JobOptions;
use crate::registry::{Encoded, job_name};
use crate::stats::Progress;
use crate::trace::{self, JobSpan, when_traced};
use crate::wire::Payload;

/// Where a job is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobStatus {
    /// Waiting: in a queue, for its next attempt, or handed to a worker ahead of its turn.
    Queued,
    /// A worker runs it, or is told to and comes to it next: one that is cancelled in between never
    /// runs.
    Running,
    /// It has an outcome.
    Ended,
}

/// What a job gave: a value in MessagePack, or one raw byte string.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) payload: Payload,
    pub(crate) raw: bool,
}

pub(crate) type Outcome = Result<Output, JobError>;

/// No scheduler holds the job.
const NO_INDEX: u32 = u32::MAX;

/// Of [`Cell::flags`]: how it was given up while no core had it: [`Manner`].
const GIVEN_UP: u8 = 0b11;
/// Its handle gives it up when dropped.
const CANCEL_ON_DROP: u8 = 1 << 2;
/// It was handed out as short, behind few others or none.
const NEAR: u8 = 1 << 3;
/// It was, and whoever waits for it was told to ask again.
const ASKED: u8 = 1 << 4;

/// A cell and how many have it, in one allocation: as `std`'s, without a second count for weak
/// references, since a million may wait.
pub(crate) type CellRef = triomphe::Arc<Cell>;

pub(crate) struct Cell {
    birth: Birth,
    /// Where its scheduler keeps it. Under the core's lock only.
    index: AtomicU32,
    pub(crate) number: u16,
    course: Course,
    /// Set and cleared by anybody.
    flags: AtomicU8,
    slot: Slot,
}

/// What is in most cells. It becomes one where that is to lie: what is put together on the stack, and
/// moved right after, is waited for.
pub(crate) struct Plain {
    birth: Birth,
    number: u16,
    small: Small,
}

impl Plain {
    #[inline(always)]
    pub(crate) fn cell(self) -> Cell {
        Cell::of(self.birth, self.number, Course::begin(true), Slot::small(self.small))
    }
}

impl Cell {
    /// A job that is at `place`. In a pool it holds a place in the queue, too.
    pub(crate) fn new(order: Order, place: Place) -> CellRef {
        Self::share(|| Self::waiting(order, place))
    }

    /// The same for a pool that has this number, of which nothing in particular is asked, unless
    /// there are many arguments.
    #[inline(always)]
    pub(crate) fn plain(number: u16, arguments: &Encoded, pool: PoolNumber) -> Option<Plain> {
        // A span is something in particular.
        if trace::HAS_SPANS {
            return None;
        }
        let small = Small::of_arguments(&arguments.bytes)?;
        let birth = Birth::new(JobId::fresh(), Some(pool), arguments.raw, false);
        Some(Plain { birth, number, small })
    }

    pub(crate) fn waiting(order: Order, place: Place) -> Cell {
        let Order { number, label, arguments, raw, options } = order;
        let id = JobId::fresh();
        let name = || job_name(number).into();
        let span = when_traced(|| JobSpan::of(&Subject { id, name: name(), label: label.clone() }));
        let course = Course::begin(!place.is_nowhere());
        let (pool, place) = match place {
            Place::Pool(number) => (Some(number), Place::Nowhere),
            place => (None, place),
        };
        if label.is_none() && options.is_none() && !span.is_some() && place.is_nowhere() {
            let birth = Birth::new(id, pool, raw, false);
            return Self::of(birth, number, course, Slot::waiting(arguments, None));
        }
        let length = options.as_ref().and_then(|options| options.deadline);
        let deadline = length.and_then(|d| Instant::now().checked_add(d).map(|moment| (moment, d)));
        let rare = Box::new(Rare { label, options, deadline, span, place, ..Rare::default() });
        let birth = Birth::new(id, pool, raw, true);
        Self::of(birth, number, course, Slot::waiting(arguments, Some(rare)))
    }

    /// A job that has ended before it was anywhere.
    /// `unknown`: its name, if that is not in the table.
    pub(crate) fn refused(
        number: u16,
        unknown: Option<String>,
        label: Option<Arc<str>>,
        kind: JobErrorKind,
    ) -> CellRef {
        let id = JobId::fresh();
        let name = unknown.map_or_else(|| job_name(number).into(), Into::into);
        let rare = label
            .as_ref()
            .map(|label| Box::new(Rare { label: Some(label.clone()), ..Rare::default() }));
        let birth = Birth::new(id, None, false, rare.is_some());
        let outcome = Err(JobError::new(kind, Subject { id, name, label }, 0));
        CellRef::new(Self::of(birth, number, Course::ended(), Slot::ended(outcome, rare)))
    }

    #[inline(always)]
    fn of(birth: Birth, number: u16, course: Course, slot: Slot) -> Cell {
        Cell {
            birth,
            index: AtomicU32::new(NO_INDEX),
            number,
            course,
            flags: AtomicU8::new(0),
            slot,
        }
    }

    pub(crate) fn id(&self) -> JobId {
        self.birth.id()
    }

    /// Something in particular was asked of it, or it was not made for a pool.
    pub(super) fn is_special(&self) -> bool {
        self.birth.has(Birth::RARE)
    }

    /// Its arguments are one byte string.
    pub(crate) fn is_raw(&self) -> bool {
        self.birth.has(Birth::RAW)
    }

    /// Of its function; empty where that is not registered.
    pub(crate) fn name(&self) -> &'static str {
        job_name(self.number)
    }

    pub(crate) fn label(&self) -> Option<Arc<str>> {
        self.rare(|rare| rare.label.clone())
    }

    /// What was asked for this job alone, if anything.
    pub(crate) fn options(&self) -> Option<JobOptions> {
        self.rare(|rare| rare.options.as_deref().copied())
    }

    /// The moment of its deadline, and its length.
    pub(crate) fn deadline(&self) -> Option<(Instant, Duration)> {
        self.rare(|rare| rare.deadline)
    }

    /// Of what it was made with.
    fn rare<R>(&self, look: impl FnOnce(&Rare) -> Option<R>) -> Option<R> {
        match self.birth.has(Birth::RARE) {
            true => self.slot().rare().and_then(look),
            false => None,
        }
    }

    fn subject(&self) -> Subject {
        Subject { id: self.id(), name: self.name().into(), label: self.label() }
    }

    #[inline]
    pub(crate) fn status(&self) -> JobStatus {
        self.course.status()
    }

    /// The same after a look: a job that runs is seen to run, though its worker's greeting may lie
    /// unread.
    pub(crate) fn look_at_status(&self) -> JobStatus {
        let status = self.status();
        let may_run = status == JobStatus::Queued && self.attempt() > 0;
        if !may_run || self.birth.is_foreign() {
            return status;
        }
        if let Some((holder, _)) = self.place().holder() {
            holder.look();
        }
        self.status()
    }

    /// It is short, and there are few before it in its worker. Under the core's lock only.
    pub(super) fn set_near(&self) {
        self.flags.fetch_or(NEAR, Ordering::AcqRel);
    }

    /// For whoever is about to ask for the outcome. True: if there is none yet, there may be one after
    /// others have had their turn, so that it is worth while to ask again. See `help.rs`.
    pub(crate) fn give_way_or_look(&self, asker: &Waker) -> bool {
        if self.status() == JobStatus::Ended || self.birth.is_foreign() {
            return false;
        }
        // It, or others of this thread, may have been left behind.
        let may_be_left = row::is_long() || self.attempt() == 0;
        if row::ends() && may_be_left {
            if let Some((holder, _)) = self.place().holder() {
                holder.let_in();
            }
        }
        let flags = self.flags.load(Ordering::Relaxed);
        if flags & (NEAR | ASKED) == 0 {
            return false;
        }
        let is_worth_while = |(holder, _): (Arc<dyn Holder>, i64)| {
            let has_given_way = flags & ASKED != 0;
            holder.help(self, asker, has_given_way)
        };
        let again = self.place().holder().is_some_and(is_worth_while);
        self.flags.fetch_and(!NEAR, Ordering::AcqRel);
        if again {
            self.flags.fetch_or(ASKED, Ordering::AcqRel);
        } else {
            self.flags.fetch_and(!ASKED, Ordering::AcqRel);
        }
        again
    }

    /// Whether a worker can run it now. Nothing changes once it has ended. Under the core's lock
    /// only.
    pub(super) fn set_running(&self, is_running: bool) {
        self.course.set_running(is_running);
    }

    /// Under the core's lock only: `None` when the job leaves the scheduler and goes on elsewhere.
    pub(super) fn set_index(&self, index: Option<u32>) {
        self.index.store(index.unwrap_or(NO_INDEX), Ordering::Relaxed);
    }

    /// Under the core's lock only. What the scheduler keeps there may be another job.
    pub(super) fn index(&self) -> Option<u32> {
        let index = self.index.load(Ordering::Relaxed);
        (index != NO_INDEX).then_some(index)
    }

    /// Under the core's lock only.
    #[inline]
    pub(super) fn set_attempt(&self, attempt: u32) {
        if !self.course.set_attempt(attempt) {
            self.slot().rare_mut().attempt = attempt;
        }
    }

    /// Which attempt was handed out last.
    #[inline]
    pub(crate) fn attempt(&self) -> u32 {
        match self.course.attempt() {
            Some(attempt) => attempt,
            None => self.slot().rare().map_or(0, |rare| rare.attempt),
        }
    }

    /// The job's span until it has ended. Not to be dropped under a lock.
    pub(super) fn span(&self) -> JobSpan {
        when_traced(|| self.rare(|rare| Some(rare.span.clone())).unwrap_or_default())
    }

    /// Notes that the job is given up, for whoever gets it next.
    pub(super) fn note_given_up(&self, manner: Manner) {
        self.flags.fetch_or(manner as u8, Ordering::SeqCst);
    }

    pub(super) fn given_up(&self) -> Option<Manner> {
        match self.flags.load(Ordering::SeqCst) & GIVEN_UP {
            0 => None,
            1 => Some(Manner::Cancel),
            _ => Some(Manner::Kill),
        }
    }

    pub(crate) fn hold_permit(&self) {
        self.course.hold_permit();
    }

    /// How many places in the queue its leaving frees. Under the core's lock only.
    pub(super) fn release_permit(&self) -> usize {
        usize::from(self.course.release_permit())
    }

    pub(crate) fn set_cancel_on_drop(&self) {
        self.flags.fetch_or(CANCEL_ON_DROP, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn is_cancelled_on_drop(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & CANCEL_ON_DROP != 0
    }

    /// From here on the job runs on behalf of this one. Under the core's lock only.
    pub(super) fn set_sponsor(&self, sponsor: Arc<dyn Any + Send + Sync>) {
        self.slot().rare_mut().sponsor = Some(sponsor);
        self.course.set_sponsored(true);
    }

    /// On whose behalf it has run until now. Under the core's lock only.
    #[inline]
    pub(super) fn take_sponsor(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        if !self.course.is_sponsored() {
            return None;
        }
        self.course.set_sponsored(false);
        self.slot().old_rare()?.sponsor.take()
    }

    pub(crate) fn place(&self) -> Place {
        match self.birth.pool() {
            Some(pool) => Place::Pool(pool),
            None => self.slot().rare().map(|rare| rare.place.clone()).unwrap_or_default(),
        }
    }

    /// Moves a job that was not made for one pool; false if it has ended meanwhile, and has to go
    /// nowhere.
    #[must_use]
    pub(crate) fn put(&self, place: Place) -> bool {
        let mut slot = self.slot();
        let waits = slot.open().is_some();
        let old = match waits {
            true => std::mem::replace(&mut slot.rare_mut().place, place),
            false => place,
        };
        drop(slot);
        drop(old);
        waits
    }

    /// The arguments, shared with every attempt: one begins. It may happen under the lock of the slot.
    #[inline]
    pub(super) fn hand_out<R>(&self, take: impl FnOnce(Arguments<'_>) -> R) -> R {
        if let Some(few) = self.slot.few_arguments() {
            return take(Arguments::Few(few));
        }
        let mut slot = self.slot();
        if let Some(track) = slot.old_rare().and_then(|rare| rare.track.as_mut()) {
            track.start_over();
        }
        take(slot.arguments())
    }

    /// How far the job says that it is, if this attempt of it has said so. After its end: what it
    /// said last.
    pub(crate) fn progress(&self) -> Option<Progress> {
        self.slot().rare()?.track.as_ref()?.latest().cloned()
    }

    /// The job has said how far it is. Whoever calls this wakes the wakers, outside of any lock.
    pub(super) fn note_progress(&self, progress: Progress, wakers: &mut Vec<Waker>) {
        let mut slot = self.slot();
        if let Some(full) = slot.open() {
            full.rare_mut().track.get_or_insert_default().note(progress, wakers);
        }
    }

    /// A number for somebody who wants to hear of the job's progress.
    pub(crate) fn add_listener(&self) -> u64 {
        self.slot().rare_mut().track.get_or_insert_default().register()
    }

    pub(crate) fn remove_listener(&self, listener: u64) {
        let mut slot = self.slot();
        let track = slot.old_rare().and_then(|rare| rare.track.as_mut());
        let waker = track.and_then(|track| track.forget(listener));
        drop(slot);
        drop(waker);
    }

    /// The progress that `listener`, who has seen `seen`, has not; `None` after the end.
    pub(crate) fn poll_progress(
        &self,
        listener: u64,
        seen: &mut u64,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Progress>> {
        // A waker's code runs when it is cloned or dropped: both outside of the lock.
        let waker = cx.waker().clone();
        let mut slot = self.slot();
        let is_open = slot.open().is_some();
        let track = slot.rare_mut().track.get_or_insert_default();
        let news = track.news(seen);
        if news.is_some() || !is_open {
            drop(slot);
            return Poll::Ready(news);
        }
        let old = track.wait(listener, waker);
        drop(slot);
        drop(old);
        Poll::Pending
    }

    /// Bytes of its arguments.
    pub(crate) fn argument_len(&self) -> usize {
        self.slot().arguments().len()
    }

    pub(crate) fn error(&self, kind: JobErrorKind, attempts: u32) -> JobError {
        JobError::new(kind, self.subject(), attempts)
    }

    /// Gives the job up, wherever it is. Does nothing in a fork child of the process that made it.
    pub(crate) fn give_up(this: &CellRef, manner: Manner) {
        while this.status() != JobStatus::Ended && !this.birth.is_foreign() {
            let place = this.place();
            // If it has moved on since we looked, the next look finds it elsewhere.
            let is_done = match place.holder() {
                Some((holder, ticket)) => holder.give_up(this, ticket, manner),
                None if place.is_nowhere() => this.end_nowhere(JobErrorKind::Cancelled),
                None => true,
            };
            if is_done {
                return;
            }
        }
    }

    #[inline]
    fn slot(&self) -> Locked<'_> {
        self.slot.lock()
    }
}

impl fmt::Debug for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cell")
            .field("id", &self.id())
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waiting_job_is_a_small_record() {
        assert!(size_of::<Cell>() <= 48, "{}", size_of::<Cell>());
    }
}
