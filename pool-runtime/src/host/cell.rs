//! The place where one job waits: its arguments first, then its outcome, and whoever awaits it.
//!
//! A cell knows where its job is, so that a handle can give it up wherever that may be. It knows
//! nothing of types: `call.rs` and `handle.rs` do.

use std::borrow::Cow;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::track::Track;
use super::wakers::wake_all;
use crate::error::{JobError, JobErrorKind, Subject};
use crate::id::JobId;
use crate::policy::JobOptions;
use crate::scheduler::JobKey;
use crate::stats::Progress;
use crate::trace::{JobSpan, when_traced};
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

/// What is known of a job before it is anywhere.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) name: Cow<'static, str>,
    /// Of its function in the table.
    pub(crate) number: u16,
    pub(crate) label: Option<Arc<str>>,
    pub(crate) arguments: Payload,
    pub(crate) raw: bool,
    /// What was asked for this job alone, if anything.
    pub(crate) options: Option<Box<JobOptions>>,
}

/// The status of a job that runs, and that is short and alone in its worker.
const ALONE: u8 = 3;

/// No scheduler holds the job.
const NO_KEY: u64 = u64::MAX;

/// How a job is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// With its grace period.
    Cancel = 1,
    /// At once.
    Kill = 2,
}

pub(crate) struct Cell {
    pub(crate) subject: Subject,
    pub(crate) number: u16,
    pub(crate) raw: bool,
    /// What was asked for this job alone, if anything.
    pub(crate) options: Option<Box<JobOptions>>,
    /// The moment of its deadline, and its length.
    pub(crate) deadline: Option<(Instant, Duration)>,
    status: AtomicU8,
    /// It holds a place in its pool's queue.
    permit: AtomicBool,
    key: AtomicU64,
    /// The one that was handed out last.
    attempt: AtomicU32,
    /// How it was given up while no core had it.
    given_up: AtomicU8,
    slot: Mutex<Slot>,
}

struct Slot {
    place: Place,
    span: JobSpan,
    content: Content,
    waker: Option<Waker>,
    /// Others who want to know when the job ends.
    watchers: Vec<Waker>,
    /// How far it is. Most jobs never say.
    track: Option<Box<Track>>,
}

/// Who has the job, and so can give it up: a queue under a ticket, or a pool.
#[derive(Clone, Default)]
pub(crate) enum Place {
    #[default]
    Nowhere,
    Held(Weak<dyn Holder>, i64),
}

/// A queue or a pool.
pub(crate) trait Holder: Send + Sync + UnwindSafe + RefUnwindSafe {
    /// Gives the job up; false if it is not here any more.
    fn give_up(&self, cell: &Arc<Cell>, ticket: i64, manner: Manner) -> bool;

    /// Where a signal for the job may be polled, if the holder has such a place.
    fn runtime(&self) -> Option<Handle>;

    /// Looks for the outcome of a job that is about to give it, for a moment.
    fn help(&self, _cell: &Arc<Cell>) {}
}

enum Content {
    Arguments(Payload),
    Outcome(Outcome),
    Taken,
}

impl Slot {
    /// The job has no outcome yet.
    fn is_open(&self) -> bool {
        matches!(self.content, Content::Arguments(_))
    }

    fn arguments(&self) -> Payload {
        match &self.content {
            Content::Arguments(arguments) => arguments.clone(),
            Content::Outcome(_) | Content::Taken => Payload::EMPTY,
        }
    }
}

/// What a cell no longer needs; to be dropped outside of any lock.
pub(crate) struct Leftover {
    _place: Place,
    _content: Content,
    _span: JobSpan,
}

impl Cell {
    pub(crate) fn new(order: Order) -> Arc<Cell> {
        Self::with_content(order, |arguments, _| Content::Arguments(arguments), JobStatus::Queued)
    }

    /// A job that has ended before it was anywhere.
    pub(crate) fn refused(order: Order, kind: JobErrorKind) -> Arc<Cell> {
        let outcome =
            |_, subject: &Subject| Content::Outcome(Err(JobError::new(kind, subject.clone(), 0)));
        Self::with_content(order, outcome, JobStatus::Ended)
    }

    fn with_content(
        order: Order,
        content: impl FnOnce(Payload, &Subject) -> Content,
        status: JobStatus,
    ) -> Arc<Cell> {
        let Order { name, number, label, arguments, raw, options } = order;
        let subject = Subject { id: JobId::fresh(), name, label };
        let content = content(arguments, &subject);
        let span = match status {
            JobStatus::Ended => JobSpan::default(),
            JobStatus::Queued | JobStatus::Running => JobSpan::of(&subject),
        };
        let length = options.as_ref().and_then(|options| options.deadline);
        let deadline = length.and_then(|d| Instant::now().checked_add(d).map(|moment| (moment, d)));
        let place = Place::Nowhere;
        let (waker, watchers, track) = (None, Vec::new(), None);
        let slot = Slot { place, span, content, waker, watchers, track };
        Arc::new(Cell {
            subject,
            number,
            raw,
            options,
            deadline,
            status: AtomicU8::new(status as u8),
            permit: AtomicBool::new(false),
            key: AtomicU64::new(NO_KEY),
            attempt: AtomicU32::new(0),
            given_up: AtomicU8::new(0),
            slot: Mutex::new(slot),
        })
    }

    pub(crate) fn status(&self) -> JobStatus {
        match self.status.load(Ordering::Acquire) {
            0 => JobStatus::Queued,
            1 | ALONE => JobStatus::Running,
            _ => JobStatus::Ended,
        }
    }

    /// It runs, and is short and alone in its worker. Under the core's lock only.
    pub(super) fn set_alone(&self) {
        let (running, alone) = (JobStatus::Running as u8, ALONE);
        let _ = self.status.compare_exchange(running, alone, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// Looks for the outcome of a job that is about to give it, for a moment, once.
    pub(crate) fn look_for_outcome(self: &Arc<Self>) {
        let (running, alone) = (JobStatus::Running as u8, ALONE);
        if self.status.load(Ordering::Relaxed) == alone
            && self
                .status
                .compare_exchange(alone, running, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
        {
            if let Place::Held(holder, _) = self.place() {
                if let Some(holder) = holder.upgrade() {
                    holder.help(self);
                }
            }
        }
    }

    /// Unless it has ended. Only the core's lock guards this against another change.
    pub(super) fn set_status(&self, status: JobStatus) {
        if self.status() != JobStatus::Ended {
            self.status.store(status as u8, Ordering::Release);
        }
    }

    /// Under the core's lock only: `None` when the job leaves the scheduler and goes on elsewhere.
    pub(super) fn set_key(&self, key: Option<JobKey>) {
        let key = key.map_or(NO_KEY, |key| u64::from(key.generation) << 32 | u64::from(key.index));
        self.key.store(key, Ordering::Relaxed);
    }

    /// Under the core's lock only.
    pub(super) fn key(&self) -> Option<JobKey> {
        let key = self.key.load(Ordering::Relaxed);
        (key != NO_KEY).then_some(JobKey { index: key as u32, generation: (key >> 32) as u32 })
    }

    /// Under the core's lock only.
    pub(super) fn set_attempt(&self, attempt: u32) {
        self.attempt.store(attempt, Ordering::Relaxed);
    }

    /// The job's span until it has ended. Not to be dropped under a lock.
    pub(super) fn span(&self) -> JobSpan {
        when_traced(|| self.slot().span.clone())
    }

    /// Which attempt was handed out last.
    pub(crate) fn attempt(&self) -> u32 {
        self.attempt.load(Ordering::Relaxed)
    }

    /// Notes that the job is given up, for whoever gets it next.
    pub(super) fn note_given_up(&self, manner: Manner) {
        self.given_up.fetch_max(manner as u8, Ordering::SeqCst);
    }

    pub(super) fn given_up(&self) -> Option<Manner> {
        match self.given_up.load(Ordering::SeqCst) {
            0 => None,
            1 => Some(Manner::Cancel),
            _ => Some(Manner::Kill),
        }
    }

    pub(crate) fn hold_permit(&self) {
        self.permit.store(true, Ordering::Relaxed);
    }

    /// How many places in the queue its leaving frees.
    pub(super) fn release_permit(&self) -> usize {
        usize::from(self.permit.swap(false, Ordering::Relaxed))
    }

    pub(crate) fn place(&self) -> Place {
        self.slot().place.clone()
    }

    /// Moves the job; false if it has ended meanwhile, and has to go nowhere.
    #[must_use]
    pub(crate) fn put(&self, place: Place) -> bool {
        let mut slot = self.slot();
        let waits = matches!(slot.content, Content::Arguments(_));
        let old = if waits { std::mem::replace(&mut slot.place, place) } else { place };
        drop(slot);
        drop(old);
        waits
    }

    /// The arguments, shared with every attempt: one begins.
    pub(super) fn hand_out(&self) -> Payload {
        let mut slot = self.slot();
        if let Some(track) = &mut slot.track {
            track.start_over();
        }
        slot.arguments()
    }

    /// How far the job says that it is, if this attempt of it has said so. After its end: what it
    /// said last.
    pub(crate) fn progress(&self) -> Option<Progress> {
        self.slot().track.as_ref()?.latest().cloned()
    }

    /// The job has said how far it is. Whoever calls this wakes the wakers, outside of any lock.
    pub(super) fn note_progress(&self, progress: Progress, wakers: &mut Vec<Waker>) {
        let mut slot = self.slot();
        if slot.is_open() {
            slot.track.get_or_insert_default().note(progress, wakers);
        }
    }

    /// A number for somebody who wants to hear of the job's progress.
    pub(crate) fn add_listener(&self) -> u64 {
        self.slot().track.get_or_insert_default().register()
    }

    pub(crate) fn remove_listener(&self, listener: u64) {
        let waker = self.slot().track.as_mut().and_then(|track| track.forget(listener));
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
        let is_open = slot.is_open();
        let track = slot.track.get_or_insert_default();
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

    /// Gives the job its outcome, unless it has one. Whoever calls this wakes the wakers and
    /// drops the leftover, outside of any lock.
    #[must_use]
    pub(super) fn finish(&self, outcome: Outcome, wakers: &mut Vec<Waker>) -> Leftover {
        Self::finish_in(&mut self.slot(), &self.status, outcome, wakers)
    }

    fn finish_in(
        slot: &mut Slot,
        status: &AtomicU8,
        outcome: Outcome,
        wakers: &mut Vec<Waker>,
    ) -> Leftover {
        let outcome = Content::Outcome(outcome);
        if !matches!(slot.content, Content::Arguments(_)) {
            return Leftover {
                _place: Place::Nowhere,
                _content: outcome,
                _span: JobSpan::default(),
            };
        }
        let content = std::mem::replace(&mut slot.content, outcome);
        status.store(JobStatus::Ended as u8, Ordering::Release);
        wakers.extend(slot.waker.take());
        wakers.append(&mut slot.watchers);
        if let Some(track) = &mut slot.track {
            track.wake_all(wakers);
        }
        Leftover {
            _place: std::mem::take(&mut slot.place),
            _content: content,
            _span: std::mem::take(&mut slot.span),
        }
    }

    /// Ends a job that is in no pool.
    pub(crate) fn end(&self, kind: JobErrorKind) {
        let mut wakers = Vec::new();
        let leftover = self.finish(Err(self.error(kind, 0)), &mut wakers);
        drop(leftover);
        wake_all(wakers);
    }

    /// Bytes of its arguments.
    pub(crate) fn argument_len(&self) -> usize {
        self.slot().arguments().as_slice().len()
    }

    pub(crate) fn error(&self, kind: JobErrorKind, attempts: u32) -> JobError {
        JobError::new(kind, self.subject.clone(), attempts)
    }

    /// The outcome, once. For use inside a future's `poll`.
    pub(crate) fn poll_outcome(&self, cx: &mut Context<'_>) -> Poll<Outcome> {
        // A waker's code runs when it is cloned or dropped: both outside of the lock.
        let waker = cx.waker().clone();
        let mut slot = self.slot();
        if let Content::Outcome(_) = slot.content {
            let taken = std::mem::replace(&mut slot.content, Content::Taken);
            let old = slot.waker.take();
            drop(slot);
            drop(old);
            return match taken {
                Content::Outcome(outcome) => Poll::Ready(outcome),
                Content::Arguments(_) | Content::Taken => Poll::Pending,
            };
        }
        let old = slot.waker.replace(waker);
        drop(slot);
        drop(old);
        Poll::Pending
    }

    /// Whether the job has ended; tells `cx` when it does.
    pub(crate) fn poll_ended(&self, cx: &mut Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        let mut slot = self.slot();
        if !matches!(slot.content, Content::Arguments(_)) {
            return Poll::Ready(());
        }
        if !slot.watchers.iter().any(|other| other.will_wake(&waker)) {
            slot.watchers.push(waker);
        }
        Poll::Pending
    }

    /// Gives the job up, wherever it is.
    pub(crate) fn give_up(self: &Arc<Self>, manner: Manner) {
        while self.status() != JobStatus::Ended {
            match self.place() {
                Place::Nowhere if self.end_nowhere(JobErrorKind::Cancelled) => return,
                Place::Nowhere => {}
                // If it has moved on since we looked, the next look finds it elsewhere.
                Place::Held(holder, ticket) => match holder.upgrade() {
                    Some(holder) if !holder.give_up(self, ticket, manner) => {}
                    Some(_) | None => return,
                },
            }
        }
    }

    /// Ends a job that somebody holds outside of any queue and pool. False if it has moved on.
    pub(super) fn end_nowhere(&self, kind: JobErrorKind) -> bool {
        let outcome = Err(self.error(kind, 0));
        let mut wakers = Vec::new();
        let mut slot = self.slot();
        if !matches!(slot.place, Place::Nowhere) {
            return false;
        }
        let leftover = Self::finish_in(&mut slot, &self.status, outcome, &mut wakers);
        drop(slot);
        drop(leftover);
        wake_all(wakers);
        true
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cell")
            .field("subject", &self.subject)
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}
