//! What is behind a `JobQueue`: jobs that wait for whoever takes them, and the pools that do.
//!
//! A pool that works on a backlog holds a [`Share`] of it: its core takes jobs from there exactly
//! when it can hand them to a worker, and counts how they end.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Waker};
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};

use super::background;
use super::cell::{Cell, CellRef, Holder, JobStatus, Manner, Outcome, Place};
use super::race::{First, race};
use super::wakers::{shield, wake_all};
use crate::error::JobErrorKind;
use crate::stats::WorkReport;

pub(crate) struct Backlog {
    state: Mutex<State>,
    /// Of a bounded queue: free places.
    room: Option<Semaphore>,
    arrivals: Notify,
}

struct State {
    /// By ticket: those that come go to the end, those that come back to the front.
    jobs: BTreeMap<i64, CellRef>,
    closed: bool,
    /// No handle of the queue is left.
    orphaned: bool,
    last_push: Instant,
    /// Jobs that came back when their room was taken already.
    debt: usize,
    shares: Vec<Arc<Share>>,
}

impl Backlog {
    pub(crate) fn new(capacity: Option<usize>) -> Arc<Backlog> {
        let state = State {
            jobs: BTreeMap::new(),
            closed: false,
            orphaned: false,
            last_push: Instant::now(),
            debt: 0,
            shares: Vec::new(),
        };
        let room = capacity.map(|n| Semaphore::new(n.clamp(1, Semaphore::MAX_PERMITS)));
        Arc::new(Backlog { state: Mutex::new(state), room, arrivals: Notify::new() })
    }

    /// Waits for room and takes it; false if the queue is closed.
    pub(crate) async fn enter(&self) -> bool {
        match &self.room {
            Some(room) => room.acquire().await.map(|permit| permit.forget()).is_ok(),
            None => !self.is_closed(),
        }
    }

    /// Appends a job, which [`enter`](Self::enter) has made room for.
    pub(crate) fn push(self: &Arc<Self>, cell: CellRef) {
        let mut state = self.state();
        if state.closed || state.orphaned {
            drop(state);
            return cell.end(JobErrorKind::QueueClosed);
        }
        let ticket = state.jobs.last_key_value().map_or(0, |(last, _)| last + 1);
        if !cell.put(self.place(ticket)) {
            return;
        }
        state.jobs.insert(ticket, cell.clone());
        state.last_push = Instant::now();
        let shares = state.shares.clone();
        drop(state);
        self.watch_deadline(cell);
        shield(|| self.arrivals.notify_one());
        shares.iter().for_each(|share| (share.ring)());
    }

    /// Ends the job at its deadline, if no pool has it then: a pool looks after that itself.
    fn watch_deadline(self: &Arc<Self>, cell: CellRef) {
        let Some((moment, length)) = cell.deadline() else { return };
        let backlog = Arc::downgrade(self);
        background::spawn(async move {
            // Every job ends, at the latest with its queue or its pool.
            let ended = std::future::poll_fn(|cx| cell.poll_ended(cx));
            let due = pin!(tokio::time::sleep_until(moment.into()));
            if let First::Right(()) = race(ended, due).await {
                end_outside_of_pools(&cell, &backlog, JobErrorKind::TimedOut(length));
            }
        });
    }

    /// The first job, if any. Its place is `Nowhere` when this returns, and its room is given back
    /// by [`leave`](Self::leave).
    pub(super) fn take(&self) -> Option<CellRef> {
        self.take_if(|_| true)
    }

    /// The same, if the first job is wanted.
    fn take_if(&self, is_wanted: impl Fn(&Cell) -> bool) -> Option<CellRef> {
        let mut state = self.state();
        loop {
            let first = state.jobs.first_entry()?;
            if !is_wanted(first.get()) {
                return None;
            }
            let cell = first.remove();
            if cell.put(Place::Nowhere) {
                return Some(cell);
            }
        }
    }

    /// Gives one job's room to whoever waits for it, and lets every `Work` look whether it is done
    /// if this was the last one. Wakes: not to be called under a lock.
    pub(super) fn leave(&self) {
        let mut state = self.state();
        let is_empty = state.jobs.is_empty();
        let is_owed = state.debt > 0;
        state.debt = state.debt.saturating_sub(1);
        drop(state);
        if let Some(room) = self.room.as_ref().filter(|_| !is_owed) {
            shield(|| room.add_permits(1));
        }
        if is_empty {
            self.tell_shares();
        }
    }

    /// Takes the first job, waiting for one if need be.
    pub(crate) async fn pop(&self) -> Option<CellRef> {
        loop {
            let mut arrival = std::pin::pin!(self.arrivals.notified());
            arrival.as_mut().enable();
            if let Some(cell) = self.take() {
                self.leave();
                return Some(cell);
            }
            if self.is_closed() {
                return None;
            }
            arrival.await;
        }
    }

    /// Takes out this very job; false if it is not here.
    fn remove(&self, cell: &CellRef, ticket: i64) -> bool {
        let mut state = self.state();
        if !state.jobs.get(&ticket).is_some_and(|other| CellRef::ptr_eq(other, cell)) {
            return false;
        }
        state.jobs.remove(&ticket);
        drop(state);
        self.leave();
        true
    }

    fn place(self: &Arc<Self>, ticket: i64) -> Place {
        let own = Arc::downgrade(self);
        Place::Held(own, ticket)
    }

    /// Puts jobs back to the front, in their order.
    pub(super) fn give_back(self: &Arc<Self>, cells: Vec<CellRef>) {
        let (mut refused, mut given_up) = (Vec::new(), Vec::new());
        let mut inserted = 0;
        let mut state = self.state();
        for cell in cells.into_iter().rev() {
            let ticket = state.jobs.first_key_value().map_or(0, |(first, _)| first - 1);
            if state.orphaned {
                refused.push(cell);
            } else if cell.put(self.place(ticket)) {
                // Its pool noted it when it had the job no more: looked at once the job is here, so
                // that whoever notes it later finds it here.
                given_up.extend(cell.given_up().map(|manner| (cell.clone(), manner)));
                state.jobs.insert(ticket, cell);
                inserted += 1;
            }
        }
        // Their room may be taken by others by now: the next ones to leave give none back then.
        if let Some(room) = &self.room {
            state.debt += inserted - room.forget_permits(inserted);
        }
        let shares = state.shares.clone();
        drop(state);
        for cell in refused {
            cell.end(JobErrorKind::Cancelled);
        }
        for (cell, manner) in given_up {
            Cell::give_up(&cell, manner);
        }
        (0..inserted).for_each(|_| shield(|| self.arrivals.notify_one()));
        shares.iter().for_each(|share| (share.ring)());
    }

    /// Drops every job; their handles resolve as cancelled. Returns how many.
    pub(crate) fn clear(&self) -> usize {
        let jobs = std::mem::take(&mut self.state().jobs);
        let count = jobs.len();
        for cell in jobs.into_values() {
            self.leave();
            cell.end(JobErrorKind::Cancelled);
        }
        count
    }

    pub(crate) fn len(&self) -> usize {
        self.state().jobs.len()
    }

    /// No more pushes.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        if let Some(room) = &self.room {
            shield(|| room.close());
        }
        shield(|| self.arrivals.notify_waiters());
        self.tell_shares();
    }

    pub(crate) fn is_closed(&self) -> bool {
        let state = self.state();
        state.closed || state.orphaned
    }

    /// The last handle of the queue is gone: nobody will ever take these jobs.
    pub(crate) fn orphan(&self) {
        self.state().orphaned = true;
        self.close();
        self.clear();
    }

    /// When the last job came.
    pub(crate) fn last_push(&self) -> Instant {
        self.state().last_push
    }

    /// From here on the share is told of new jobs.
    pub(super) fn add_share(&self, share: Arc<Share>) {
        self.state().shares.push(share);
    }

    pub(crate) fn remove_share(&self, share: &Arc<Share>) {
        self.state().shares.retain(|other| !Arc::ptr_eq(other, share));
    }

    /// Lets every `Work` look whether it is done.
    fn tell_shares(&self) {
        let shares = self.state().shares.clone();
        wake_all(&mut shares.iter().filter_map(|share| share.take_waker()).collect());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a job that is in the queue, or in the hands of whoever took it out.
fn end_outside_of_pools(cell: &CellRef, backlog: &Weak<Backlog>, kind: JobErrorKind) {
    while cell.status() != JobStatus::Ended {
        match cell.place() {
            Place::Nowhere if cell.end_nowhere(kind.clone()) => return,
            // It has moved on since we looked.
            Place::Nowhere => {}
            Place::Pool(_) => return,
            Place::Held(_, ticket) => match backlog.upgrade() {
                Some(backlog) if backlog.remove(cell, ticket) => return cell.end(kind),
                // Taken out since we looked.
                _ if matches!(cell.place(), Place::Nowhere) => {}
                _ => return,
            },
        }
    }
}

impl fmt::Debug for Backlog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backlog").field("jobs", &self.len()).finish_non_exhaustive()
    }
}

/// What waits here of tokio's says so of itself or does not, by what locks tokio is built with. No
/// code of a user's runs while it is locked.
impl UnwindSafe for Backlog {}
impl RefUnwindSafe for Backlog {}

impl Holder for Backlog {
    fn give_up(&self, cell: &CellRef, ticket: i64, _manner: Manner) -> bool {
        let removed = self.remove(cell, ticket);
        if removed {
            cell.end(JobErrorKind::Cancelled);
        }
        removed
    }

    fn runtime(&self) -> Option<Handle> {
        background::handle()
    }
}

type Ring = dyn Fn() + Send + Sync + UnwindSafe + RefUnwindSafe;

/// One pool's work on one backlog.
pub(crate) struct Share {
    pub(crate) backlog: Arc<Backlog>,
    /// Tells the pool that there are new jobs.
    ring: Box<Ring>,
    state: Mutex<ShareState>,
}

#[derive(Default)]
struct ShareState {
    running: u64,
    report: WorkReport,
    /// Takes no more jobs: dropped, done, or its pool is closed.
    over: bool,
    waker: Option<Waker>,
}

/// How a job of a share ended, as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Count {
    Succeeded,
    Failed,
    Cancelled,
}

impl Count {
    pub(super) fn of(outcome: &Outcome) -> Count {
        match outcome {
            Ok(_) => Count::Succeeded,
            Err(error) if error.is_cancelled() || error.is_pool_closed() => Count::Cancelled,
            Err(_) => Count::Failed,
        }
    }

    pub(crate) fn add_to(self, report: &mut WorkReport) {
        match self {
            Count::Succeeded => report.succeeded += 1,
            Count::Failed => report.failed += 1,
            Count::Cancelled => report.cancelled += 1,
        }
    }
}

impl Share {
    pub(crate) fn new(
        backlog: Arc<Backlog>,
        ring: impl Fn() + Send + Sync + UnwindSafe + RefUnwindSafe + 'static,
    ) -> Arc<Share> {
        Arc::new(Share { backlog, ring: Box::new(ring), state: Mutex::default() })
    }

    /// The share on whose behalf the job ran until now.
    pub(super) fn take_from(cell: &Cell) -> Option<Arc<Share>> {
        cell.take_sponsor()?.downcast().ok()
    }

    /// The next job for this share's pool, if the pool wants it.
    pub(super) fn take_if(&self, is_wanted: impl Fn(&Cell) -> bool) -> Option<CellRef> {
        let mut state = self.state();
        if state.over {
            return None;
        }
        let cell = self.backlog.take_if(is_wanted)?;
        state.running += 1;
        Some(cell)
    }

    /// A job that was taken has ended, or (`None`) went back.
    pub(super) fn ended(&self, count: Option<Count>, wakers: &mut Vec<Waker>) {
        let mut state = self.state();
        state.running = state.running.saturating_sub(1);
        if let Some(count) = count {
            count.add_to(&mut state.report);
        }
        if state.running == 0 {
            wakers.extend(state.waker.take());
        }
    }

    /// Takes no more jobs; returns who is to be woken for that.
    pub(crate) fn finish(&self) -> Option<Waker> {
        let mut state = self.state();
        state.over = true;
        state.waker.take()
    }

    pub(super) fn is_over(&self) -> bool {
        self.state().over
    }

    /// Registers `waker` for the next change, and says what holds now: whether more is taken, how
    /// many jobs are running, and how the others ended.
    pub(crate) fn look(&self, cx: &mut Context<'_>) -> (bool, u64, WorkReport) {
        let waker = cx.waker().clone();
        let mut state = self.state();
        let old = state.waker.replace(waker);
        let seen = (state.over, state.running, state.report);
        drop(state);
        drop(old);
        seen
    }

    pub(super) fn take_waker(&self) -> Option<Waker> {
        self.state().waker.take()
    }

    fn state(&self) -> MutexGuard<'_, ShareState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Share").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::cell::Order;
    use super::*;
    use crate::wire::Payload;

    fn job() -> CellRef {
        let order =
            Order { number: 0, label: None, arguments: Payload::EMPTY, raw: false, options: None };
        Cell::new(order, Place::Nowhere)
    }

    /// Its pool had let go of it when it was cancelled, and the queue did not have it yet.
    #[test]
    fn a_job_that_was_given_up_on_its_way_back_does_not_stay_in_the_queue() {
        let backlog = Backlog::new(Some(2));
        let (stays, leaves) = (job(), job());
        leaves.note_given_up(Manner::Cancel);
        backlog.give_back(vec![leaves.clone(), stays.clone()]);
        assert_eq!((leaves.status(), stays.status()), (JobStatus::Ended, JobStatus::Queued));
        assert_eq!(backlog.len(), 1);
        assert!(CellRef::ptr_eq(&backlog.take().unwrap(), &stays));
    }
}
