//! [`Core`] at work: news become events, actions become deeds. No decision is made here.
//!
//! Runs under the host's lock, hence waits for nothing and runs nothing of a user's: wakers, drops
//! and launches go into [`After`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::after::After;
use super::backlog::{Count, Share};
use super::cause::{Cause, Trouble};
use super::cell::{Cell, CellRef, JobStatus, Manner, Outcome};
use super::ledger::Ledger;
use super::link::Link;
use super::news::{Around, News};
use super::seats::{Seat, Seats, Task};
use crate::happening::PoolEvent;
use crate::policy::Terms;
use crate::scheduler::{
    Action, Assignment, Bounds, Config, Ending, Event, JobKey, Scheduler, Time, WorkerId,
};
use crate::wire::{FrameBody, Prelude};

/// Scheduler and links: what is behind the host's lock.
pub(super) struct Core {
    pub(super) scheduler: Scheduler<Task>,
    /// When the news came that is being fed.
    pub(super) now: Time,
    pub(super) seats: Seats,
    /// Works of this pool, to be asked in turn.
    pub(super) shares: VecDeque<Arc<Share>>,
    pub(super) ledger: Ledger,
    pub(super) defaults: Terms,
    /// Links of which jobs were taken back.
    pub(super) recalled: Vec<Arc<Link>>,
    /// Links that have something to write.
    unflushed: Vec<Arc<Link>>,
    pub(super) trouble: Option<Trouble>,
    /// Workers that were launched and are not reaped yet; threads are not waited for.
    pub(super) unreaped: usize,
    reaps: bool,
}

impl Core {
    pub(super) fn new(config: Config) -> Core {
        Core {
            seats: Seats::new(config.workers),
            shares: VecDeque::new(),
            recalled: Vec::new(),
            unflushed: Vec::new(),
            ledger: Ledger::new(config.workers),
            defaults: config.defaults,
            trouble: None,
            unreaped: 0,
            reaps: config.killable,
            now: Time::default(),
            scheduler: Scheduler::new(config, Time::default()),
        }
    }

    /// One piece of news, which came at `now`, and all that follows from it.
    pub(super) fn feed(&mut self, around: &Around, news: News, now: Time, after: &mut After) {
        self.now = now;
        match news {
            News::Submit(cell) => self.take_in(around, cell, now, after),
            News::Replies(link) => self.peek(around, &link, after),
            other => self.feed_other(around, other, after),
        }
    }

    /// A job, which came at `now`, and all that follows from it.
    #[inline]
    pub(super) fn take_in(&mut self, around: &Around, cell: CellRef, now: Time, after: &mut After) {
        self.now = now;
        self.submit(around, Task { cell }, after);
        self.see_to_others(around, after);
    }

    /// After any news: of whom jobs were taken back, and who is hungry.
    #[inline]
    pub(super) fn see_to_others(&mut self, around: &Around, after: &mut After) {
        if !self.recalled.is_empty() {
            self.peek_at_recalled(around, after);
        }
        if !self.shares.is_empty() {
            self.feed_hungry(around, after);
        }
    }

    /// What comes now and then.
    fn feed_other(&mut self, around: &Around, news: News, after: &mut After) {
        let mut cause = Cause::default();
        match news {
            // Those that come by the thousand are fed above.
            News::Submit(_) | News::Replies(_) => {}
            News::GiveUp(cell, manner) => {
                // It may have answered, if any worker has had it.
                if cell.status() != JobStatus::Ended && cell.attempt() > 0 {
                    self.peek_at_all(around, after);
                }
                if cell.status() != JobStatus::Ended {
                    match self.key_of(&cell) {
                        Some(job) => self.give_up(around, job, manner, after),
                        None => {
                            cell.note_given_up(manner);
                            after.lost.push((cell.clone(), manner));
                        }
                    }
                }
                after.cells.push(cell);
            }
            News::Attach(share) => {
                if around.is_closed() {
                    after.wakers.extend(share.finish());
                } else {
                    share.backlog.add_share(share.clone());
                    // What changed before it was known there has to be looked at.
                    after.wakers.extend(share.take_waker());
                    self.shares.retain(|share| !share.is_over());
                    self.shares.push_back(share);
                }
            }
            News::Launched(link) => {
                self.launched(around, link, after);
            }
            News::Ready(worker) => {
                self.trouble = None;
                self.is_up(around, worker, after);
                self.handle(around, Event::WorkerReady { worker }, &mut cause, after);
            }
            News::OverMemory(over) => {
                let (worker, seq) = *over;
                let runs = |seat: &mut Seat| seat.window.front().is_some_and(|head| head.0 == seq);
                if self.seats.get(worker).is_some_and(|seat| !seat.killed && runs(seat)) {
                    self.handle(around, Event::OverMemory { worker }, &mut cause, after);
                }
            }
            News::Gone(gone) => self.gone(around, *gone, after),
            News::Reaped => self.unreaped = self.unreaped.saturating_sub(1),
            // Whoever is hungry is fed after all news.
            News::Pushed => around.look_is_due.store(false, Ordering::SeqCst),
            News::Look => {
                self.peek_at_all(around, after);
                self.scheduler.handle_timeout(self.now);
                self.act(around, &mut cause, after);
            }
            News::Close => {
                self.end_shares(after);
                self.handle(around, Event::Close, &mut cause, after);
            }
            News::Shutdown => {
                self.end_shares(after);
                self.peek_at_all(around, after);
                self.handle(around, Event::Shutdown, &mut cause, after);
            }
        }
    }

    /// Writes what was put into out-buffers: once for all that was fed. A submitter leaves it until
    /// it is worth a write, or a worker needs it; the driver leaves nothing.
    pub(super) fn flush(&mut self, is_driver: bool, after: &mut After) {
        let (seats, now) = (&mut self.seats, self.now);
        self.unflushed.retain(|link| {
            let seat = seats.get(link.worker);
            let awaited = seat.and_then(|seat| {
                seat.hand_over();
                seat.window.front().map(|&(seq, _)| seq)
            });
            if is_driver {
                link.flush();
                return false;
            }
            let is_due = link.is_due(awaited, now);
            after.writes.extend(is_due.then(|| link.clone()));
            !is_due
        });
    }

    pub(super) fn submit(&mut self, around: &Around, task: Task, after: &mut After) {
        let cell = &task.cell;
        if cell.status() == JobStatus::Ended {
            after.permits += cell.release_permit();
            return after.tasks.push(task);
        }
        queued(around, cell, after);
        let number = cell.number;
        let key = if cell.is_special() {
            let own = cell.options();
            let terms = own.map(|own| Arc::new(Terms::resolve(own, &self.defaults)));
            let deadline = cell.deadline();
            let deadline = deadline.map(|(moment, length)| (around.moment(moment), length));
            self.scheduler.submit(self.now, task, number, terms, deadline)
        } else {
            self.scheduler.submit_plain(self.now, task, number)
        };
        if let Some(task) = self.scheduler.get(key) {
            task.cell.set_index(Some(key.index()));
        }
        if self.scheduler.has_actions() {
            self.act(around, &mut Cause::default(), after);
        }
        if let Some(manner) = self.scheduler.get(key).and_then(|task| task.cell.given_up()) {
            self.give_up(around, key, manner, after);
        }
    }

    /// The scheduler's key of a job that it has.
    fn key_of(&self, cell: &CellRef) -> Option<JobKey> {
        let (key, task) = self.scheduler.at(cell.index()?)?;
        CellRef::ptr_eq(&task.cell, cell).then_some(key)
    }

    fn give_up(&mut self, around: &Around, job: JobKey, manner: Manner, after: &mut After) {
        let event = match manner {
            Manner::Cancel => Event::Cancel { job },
            Manner::Kill => Event::Kill { job },
        };
        self.handle(around, event, &mut Cause::default(), after);
    }

    pub(super) fn handle(
        &mut self,
        around: &Around,
        event: Event,
        cause: &mut Cause,
        after: &mut After,
    ) {
        self.scheduler.handle_event(self.now, event);
        self.act(around, cause, after);
    }

    /// After answers of this worker: the job that it has now can run, and others are handed out in the
    /// place of those that have ended.
    pub(super) fn conclude(&mut self, around: &Around, worker: WorkerId, after: &mut After) {
        if let Some(seat) = self.seats.get(worker).filter(|seat| seat.has_new_head) {
            seat.has_new_head = false;
            if let Some(&(_, job)) = seat.window.front() {
                let head = self.scheduler.get(job);
                seat.begin_head(head, around, &mut after.wakers, &mut after.trace);
            }
        }
        self.scheduler.conclude(self.now);
        self.act(around, &mut Cause::default(), after);
    }

    pub(super) fn act(&mut self, around: &Around, cause: &mut Cause, after: &mut After) {
        loop {
            // Jobs are handed out by the thousand.
            while let Some(assignment) = self.scheduler.poll_assignment() {
                after.permits += self.assign(around, assignment, after);
            }
            let Some(action) = self.scheduler.poll_action() else { return };
            match action {
                Action::Launch { worker } => self.launch(worker, after),
                Action::Assign(assignment) => {
                    after.permits += self.assign(around, assignment, after);
                }
                Action::Recall { worker, gently } => {
                    let event = if gently && !self.has_begun(worker) {
                        Event::NotBegun { worker }
                    } else {
                        Event::Recalled { worker, kept: self.recall(around, worker, after) }
                    };
                    self.scheduler.handle_event(self.now, event);
                }
                Action::Ask { worker } => {
                    if let Some(seat) = self.seats.get(worker) {
                        if let (Some(link), Some(&(seq, _))) =
                            (seat.live_link(), seat.window.front())
                        {
                            after.wakers.extend(link.ask(seq));
                        }
                    }
                }
                Action::Stop { worker } => {
                    if let Some(seat) = self.seats.get(worker) {
                        seat.hand_over();
                        if let Some(link) = seat.live_link() {
                            link.stop();
                        }
                    }
                }
                Action::Kill { worker } => {
                    if let Some(seat) = self.seats.get(worker) {
                        seat.kill(&mut after.wakers);
                    }
                }
                Action::Resolve { job, ending, attempts, unassigned } => {
                    if unassigned {
                        after.permits += job.cell.release_permit();
                    }
                    self.resolve(around, job, ending, attempts, cause, after);
                }
            }
        }
    }

    fn launch(&mut self, worker: WorkerId, after: &mut After) {
        self.seats.launch(worker);
        self.unreaped += usize::from(self.reaps);
        after.launches.push(worker);
    }

    /// Puts a job into a worker's window. Returns how many places in the queue its leaving frees.
    fn assign(&mut self, around: &Around, assignment: Assignment, after: &mut After) -> usize {
        let Assignment { worker, job, attempt, bounded, first: is_first, brief, prompt } =
            assignment;
        let bounds = bounded.then(|| self.scheduler.bounds(self.now, job));
        let Bounds { remaining, memory_limit } = bounds.unwrap_or_default();
        let Some(task) = self.scheduler.get(job) else { return 0 };
        let cell = &task.cell;
        // Before its neighbours change: it is read together with them, and they are waited for.
        let (number, raw) = (cell.number, cell.is_raw());
        let freed = if is_first { cell.release_permit() } else { 0 };
        let Some(seat) = self.seats.get(worker) else { return freed };
        let Some(link) = seat.link.as_ref().filter(|_| !seat.killed) else { return freed };
        let seq = link.sent();
        cell.set_attempt(attempt);
        if let Some(limit) = memory_limit.filter(|_| !link.process.is_thread()) {
            link.limits.add(seq, limit);
        }
        // Before the worker has it: what it prints from then on belongs to this job.
        let is_first_there = seat.window.is_empty();
        seat.window.push_back((seq, job));
        if is_first_there {
            seat.has_new_head = false;
            seat.begin_head(Some(task), around, &mut after.wakers, &mut after.trace);
        }
        seat.is_brief = brief && link.journal.is_none() && seat.is_up;
        if seat.is_brief && seat.has_few() {
            let is_followed = cell.is_followed();
            if !is_followed && around.plan.spin {
                cell.set_near();
            }
            let is_watched = is_first_there || is_followed || link.is_looked_at();
            if is_watched && around.looks.spinner.is_ready() {
                seat.watched = Some(seq);
            }
        }
        let prelude = Prelude { id: cell.id(), attempt, remaining };
        cell.hand_out(|arguments| {
            link.run(&mut seat.frames, number, raw, prompt, prelude, arguments);
        });
        if !self.unflushed.iter().any(|other| Arc::ptr_eq(other, link)) {
            self.unflushed.push(link.clone());
        }
        freed
    }

    /// Whether the worker has claimed the first job of its window.
    fn has_begun(&mut self, worker: WorkerId) -> bool {
        let seat = self.seats.get(worker);
        seat.and_then(|seat| Some(seat.link.as_ref()?.was_claimed(seat.window.front()?.0)))
            .unwrap_or(false)
    }

    /// Takes back what is not claimed; how many jobs stay.
    fn recall(&mut self, around: &Around, worker: WorkerId, after: &mut After) -> usize {
        let Some(seat) = self.seats.get(worker) else { return 0 };
        seat.hand_over();
        let Some(link) = &seat.link else { return 0 };
        let first = link.recall();
        self.recalled.push(link.clone());
        let kept = seat.window.iter().take_while(|(seq, _)| *seq < first).count();
        for (_, job) in seat.window.drain(kept..) {
            if let Some(task) = self.scheduler.get(job) {
                task.cell.set_running(false);
            }
        }
        if let (0, Some(journal)) = (kept, &link.journal) {
            journal.begin(None);
        }
        if kept > 0 {
            // Its greeting need not have been read by now.
            self.is_up(around, worker, after);
        }
        kept
    }

    fn resolve(
        &mut self,
        around: &Around,
        task: Task,
        ending: Ending,
        attempts: u32,
        cause: &mut Cause,
        after: &mut After,
    ) {
        if let (Ending::PoolClosed, 0) = (&ending, attempts) {
            if let Some(share) = Share::take_from(&task.cell) {
                task.cell.set_index(None);
                return after.returned.push((share, task.cell));
            }
        }
        let outcome = cause.outcome(&task.cell, ending, attempts, self.trouble.as_ref());
        self.settle(around, task, outcome, after);
    }

    /// Ends a job with its output.
    #[inline]
    pub(super) fn settle_done(
        &mut self,
        around: &Around,
        task: Task,
        output: &mut FrameBody<'_>,
        raw: bool,
        after: &mut After,
    ) {
        let id = task.cell.id();
        let event = || PoolEvent::JobEnded { id, outcome: Ok(()) };
        around.hub.publish(&mut after.wakers, event);
        self.ledger.job_ended(Count::Succeeded, None);
        let (wakers, leftovers) = (&mut after.wakers, &mut after.leftovers);
        let is_bare = task.cell.finish_with(output, raw, wakers, leftovers);
        if let Some(share) = Share::take_from(&task.cell) {
            share.ended(Some(Count::Succeeded), &mut after.wakers);
        }
        // Most are, and let go at once: whoever awaits the job has the cell at hand in a moment, and it
        // would have to be fetched back.
        match is_bare {
            true => Cell::let_go(task.cell),
            false => after.tasks.push(task),
        }
    }

    pub(super) fn settle(
        &mut self,
        around: &Around,
        task: Task,
        outcome: Outcome,
        after: &mut After,
    ) {
        let id = task.cell.id();
        around.hub.publish(&mut after.wakers, || {
            let outcome = outcome.as_ref().map(|_| ()).map_err(|error| error.kind().clone());
            PoolEvent::JobEnded { id, outcome }
        });
        let count = Count::of(&outcome);
        self.ledger.job_ended(count, outcome.as_ref().err());
        let leftover = task.cell.finish(outcome, &mut after.wakers);
        after.leftovers.extend(leftover);
        if let Some(share) = Share::take_from(&task.cell) {
            share.ended(Some(count), &mut after.wakers);
        }
        after.tasks.push(task);
    }
}

/// The pool has the job now.
pub(super) fn queued(around: &Around, cell: &Cell, after: &mut After) {
    let wakers = &mut after.wakers;
    let event = || PoolEvent::JobQueued { id: cell.id(), name: cell.name() };
    around.hub.publish(wakers, event);
}
