//! [`Scheduler`]: its state, the way in (events, moments, jobs) and the way out (actions).
//!
//! Each way in ends in [`Scheduler::conclude`]: hand out what can be handed out, then have as
//! many workers as are wanted. No rule has to remember to do so.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::error::WorkerExit;
use crate::policy::Terms;
use crate::stats::Histogram;

use super::actions::Actions;
use super::config::Config;
use super::crew::Crew;
use super::estimate::Estimates;
use super::event::{Action, Assignment, Bounds, Ending, Event, JobKey, Readiness, Time, nanos};
use super::job::{Doom, Jobs, Rare};
use super::launches::Launches;
use super::queue::Queue;
use super::worker::{Limits, Stage};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Open,
    /// What was accepted is finished, nothing more is.
    Closing,
    Shutdown,
}

/// What a job's timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Alarm {
    Timeout,
    Stall,
    Deadline,
    BackOff,
}

/// The mind of the pool; see the [module](super).
///
/// Call [`handle_event`](Scheduler::handle_event) or
/// [`handle_timeout`](Scheduler::handle_timeout), then drain
/// [`poll_action`](Scheduler::poll_action) until it gives `None`, then arm
/// [`poll_timeout`](Scheduler::poll_timeout).
pub(crate) struct Scheduler<T> {
    pub(super) config: Config,
    pub(super) mode: Mode,
    pub(super) jobs: Jobs<T>,
    pub(super) queue: Queue,
    /// Of jobs that have a timeout or a deadline, and of those in back-off.
    pub(super) timers: BTreeSet<(Time, JobKey, Alarm)>,
    pub(super) estimates: Estimates,
    pub(super) crew: Crew,
    /// When to look for jobs that are stuck behind others; means nothing while there are none.
    pub(super) tick_at: Option<Time>,
    pub(super) launches: Launches,
    /// When to look for silent workers; means nothing while no head is unverified.
    pub(super) check_at: Option<Time>,
    pub(super) next_order: u64,
    pub(super) jitter: u64,
    /// How long jobs waited for their first run, and how long attempts took.
    pub(super) wait: Histogram,
    pub(super) run: Histogram,
    pub(super) actions: Actions<T>,
}

impl<T> Scheduler<T> {
    /// A scheduler that launches every worker at once.
    pub(crate) fn new(config: Config, now: Time) -> Self {
        let config = Config {
            workers: config.workers.max(1),
            window: if config.killable { config.window.max(1) } else { 1 },
            max_jobs_per_worker: config.max_jobs_per_worker.map(|max| max.max(1)),
            ..config
        };
        let limits = Limits {
            window: config.window,
            horizon: nanos(config.horizon),
            soon: nanos(config.soon()),
            stuck: nanos(config.stuck()),
            max_jobs: config.max_jobs_per_worker,
        };
        let mut scheduler = Scheduler {
            mode: Mode::Open,
            jobs: Jobs::new(),
            queue: Queue::new(),
            timers: BTreeSet::new(),
            estimates: Estimates::default(),
            crew: Crew::new(config.workers, limits),
            tick_at: None,
            launches: Launches::default(),
            check_at: None,
            next_order: 0,
            jitter: config.seed,
            wait: Histogram::default(),
            run: Histogram::default(),
            actions: Actions::new(),
            config,
        };
        scheduler.conclude(now);
        scheduler
    }

    /// Takes in a job. `kind`: the number of its function. `terms`: `None` for those of the pool. `deadline`: the moment, and the
    /// length that the user asked for.
    ///
    /// After `Close` or `Shutdown` it resolves as `PoolClosed`, past its deadline as
    /// `TimedOut`, without ever having run.
    #[must_use]
    pub(crate) fn submit(
        &mut self,
        now: Time,
        job: T,
        kind: u16,
        terms: Option<Arc<Terms>>,
        deadline: Option<(Time, Duration)>,
    ) -> JobKey {
        let key = self.jobs.insert(job, kind, Rare::of(terms, deadline));
        match deadline {
            Some((at, limit)) if at <= now && self.mode == Mode::Open => {
                self.end(key.index(), Ending::TimedOut(limit));
                return key;
            }
            Some((at, _)) if self.mode == Mode::Open => {
                self.timers.insert((at, key, Alarm::Deadline));
            }
            _ => {}
        }
        self.take_up(now, key);
        key
    }

    /// The same for a job of which nothing in particular is asked.
    #[must_use]
    #[inline]
    pub(crate) fn submit_plain(&mut self, now: Time, job: T, kind: u16) -> JobKey {
        let key = self.jobs.insert(job, kind, None);
        self.take_up(now, key);
        key
    }

    #[inline(always)]
    fn take_up(&mut self, now: Time, key: JobKey) {
        if self.mode != Mode::Open {
            return self.end(key.index(), Ending::PoolClosed);
        }
        self.enqueue(now, key.index());
        // Behind a job that nobody takes it waits like that one, and wakes nobody.
        if self.queue.first() == Some(key.index()) || self.config.idle_timeout.is_some() {
            self.conclude(now);
        }
    }

    /// Whether a job on the pool's terms would wait behind others that no worker takes: nothing
    /// follows from it before there is other news.
    pub(crate) fn is_backed_up(&self) -> bool {
        let is_quiet = self.mode == Mode::Open && self.config.idle_timeout.is_none();
        is_quiet && self.queue.has(self.config.defaults.priority)
    }

    /// A job that has not ended.
    #[inline]
    pub(crate) fn get(&self, key: JobKey) -> Option<&T> {
        self.jobs.at(key.index()).filter(|(found, _)| *found == key).map(|(_, job)| job)
    }

    /// The job at this index, and its key, if there is one.
    pub(crate) fn at(&self, index: u32) -> Option<(JobKey, &T)> {
        self.jobs.at(index)
    }

    /// What bounds the attempt that a job is handed out for at this moment.
    pub(crate) fn bounds(&self, now: Time, job: JobKey) -> Bounds {
        let Some(index) = self.jobs.find(job) else { return Bounds::default() };
        let (job, terms) = (&self.jobs[index], self.terms(index));
        let left = job.deadline().map(|(at, _)| at.since(now));
        Bounds {
            remaining: terms.timeout.into_iter().chain(left).min(),
            memory_limit: terms.memory_limit_at(job.attempts() + 1),
        }
    }

    /// Takes in news. Drain the actions after each event.
    pub(crate) fn handle_event(&mut self, now: Time, event: Event) {
        self.take_in(now, event);
        self.conclude(now);
    }

    /// Takes in one of several pieces of news that came together: what follows from it for other
    /// jobs waits for [`conclude`](Self::conclude). Drain the actions after each event, and conclude
    /// before anything else is asked for; an answer to a recall is fed as always.
    #[inline]
    pub(crate) fn take_in(&mut self, now: Time, event: Event) {
        match event {
            Event::Replied { worker, reply, took } => self.replied(now, worker, reply, took),
            other => self.take_in_other(now, other),
        }
    }

    fn take_in_other(&mut self, now: Time, event: Event) {
        match event {
            // That has its own way.
            Event::Replied { .. } => {}
            Event::Cancel { job } => self.give_up(now, job, Doom::Cancel),
            Event::Kill { job } => self.give_up(now, job, Doom::Kill),
            Event::Connected { worker } => {
                if let Some(slot) = self.crew.find(worker) {
                    self.connected(now, slot);
                }
            }
            Event::WorkerReady { worker } => {
                if let Some(slot) = self.crew.find(worker) {
                    self.started(now, slot);
                }
            }
            Event::Recalled { worker, kept } => {
                if let Some(slot) = self.crew.find(worker) {
                    self.recalled(now, slot, kept);
                }
            }
            Event::Progressed { worker } => {
                if let Some(slot) = self.crew.find(worker) {
                    self.progressed(now, slot);
                }
            }
            Event::OverMemory { worker } => {
                if let Some(slot) = self.crew.find(worker) {
                    self.over_memory(now, slot);
                }
            }
            Event::Bloated { worker } => {
                if let Some(slot) = self.crew.find(worker) {
                    self.bloated(now, slot);
                }
            }
            Event::NotBegun { worker } => {
                if let Some(slot) = self.crew.find(worker) {
                    self.not_begun(now, slot);
                }
            }
            Event::Awake { worker } => {
                if let Some(slot) = self.crew.find(worker) {
                    self.awake(now, slot);
                }
            }
            Event::WorkerGone { worker, exit, claimed } => {
                if let Some(slot) = self.crew.find(worker) {
                    self.gone(now, slot, exit, claimed);
                }
            }
            Event::Close => {
                if self.mode == Mode::Open {
                    self.mode = Mode::Closing;
                }
            }
            Event::Shutdown => self.shutdown(now),
        }
    }

    /// Does what is due. Call it when the moment that [`poll_timeout`](Self::poll_timeout)
    /// gave has come; at any other moment it does nothing.
    pub(crate) fn handle_timeout(&mut self, now: Time) {
        while let Some(&timer) = self.timers.first() {
            let (at, key, alarm) = timer;
            if at > now {
                break;
            }
            self.timers.remove(&timer);
            match alarm {
                Alarm::Timeout => self.timeout_passed(now, key, Doom::Timeout),
                Alarm::Stall => self.timeout_passed(now, key, Doom::Stall),
                Alarm::Deadline => self.give_up(now, key, Doom::Deadline),
                Alarm::BackOff => {
                    if let Some(index) = self.jobs.find(key) {
                        self.queue.end_rest(&mut self.jobs, index);
                        self.enqueue(now, index);
                    }
                }
            }
        }
        while let Some(slot) = self.crew.pop_timer(now) {
            self.worker_overdue(now, slot);
        }
        if self.check_at.is_some_and(|at| at <= now) {
            self.look_for_silence(now);
        }
        if self.tick_at.is_some_and(|at| at <= now) {
            self.look_for_the_stuck(now);
        }
        self.conclude(now);
    }

    /// Whether there is anything to do.
    #[inline]
    pub(crate) fn has_actions(&self) -> bool {
        !self.actions.is_empty()
    }

    /// The next thing to do, in the order in which it has to be done.
    #[must_use]
    pub(crate) fn poll_action(&mut self) -> Option<Action<T>> {
        self.actions.pop()
    }

    /// The same if that is to hand out a job.
    #[must_use]
    #[inline]
    pub(crate) fn poll_assignment(&mut self) -> Option<Assignment> {
        self.actions.pop_assignment()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), as of now; `None`: nothing waits
    /// for a moment. Ask again after each drain. May be in the past, never so right after
    /// `handle_timeout`.
    #[must_use]
    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        let or_never = |at: Option<Time>| at.unwrap_or(Time::NEVER);
        let sums = self.crew.sums();
        let check = if sums.unverified > 0 { or_never(self.check_at) } else { Time::NEVER };
        let tick = if sums.crowded > 0 { or_never(self.tick_at) } else { Time::NEVER };
        let job = or_never(self.timers.first().map(|&(at, ..)| at));
        let worker = or_never(self.crew.next_timer());
        let home = or_never(self.next_home_time());
        let fetch = or_never(self.next_fetch().map(|(at, _)| at));
        let launch = or_never(self.launches.due);
        let earliest = check.min(tick).min(job).min(worker).min(launch).min(home).min(fetch);
        (earliest != Time::NEVER).then_some(earliest)
    }

    /// Whether there may be a worker for one more job, beyond those that wait: if not, nothing
    /// [hungers](Self::hungers_for) for any job.
    ///
    /// With an idle timeout a worker that sleeps or starts counts as room for one job, since
    /// nothing but a job wakes it. Where no worker can be started there is room for one job, so
    /// that whoever waits for this learns of it: by that job's end.
    pub(crate) fn is_hungry(&self) -> bool {
        let waiting = self.queue.len();
        self.mode == Mode::Open
            && (waiting == 0 && self.crew.has_places() || self.could_help_out() > waiting)
    }

    /// The same as a number: how many jobs, if they are like those before.
    #[cfg(test)]
    pub(super) fn hunger(&self) -> usize {
        if self.mode != Mode::Open {
            return 0;
        }
        let room = (self.crew.room() + self.could_wake()).max(usize::from(self.is_hopeless()));
        room.saturating_sub(self.queue.len())
    }

    /// Whether one more job of this function, with a memory limit or without, would be handed to a
    /// worker at once, or wakes one as in [`is_hungry`](Self::is_hungry). Who waits already goes
    /// first.
    pub(crate) fn hungers_for(&self, now: Time, kind: u16, has_memory_limit: bool) -> bool {
        let waiting = self.queue.len();
        let weight = self.weight_of(kind, has_memory_limit);
        self.mode == Mode::Open
            && (waiting == 0 && self.crew.is_taken(weight, now) || self.could_help_out() > waiting)
    }

    /// How many jobs have to come for a worker to come, or to be told that none can.
    fn could_help_out(&self) -> usize {
        self.could_wake().max(usize::from(self.is_hopeless()))
    }

    /// How many workers sleep or start, for whom a job may be kept.
    fn could_wake(&self) -> usize {
        if self.config.idle_timeout.is_none() {
            return 0;
        }
        let sums = self.crew.sums();
        let asleep = self.config.workers as usize - sums.present;
        let starting = sums.starting - sums.early;
        // Where the last launch failed, one job is enough to try the next.
        if self.launches.failed == 0 { starting + asleep } else { asleep.min(1) }
    }

    /// Whether the workers are up. What fails now outweighs what was once ready.
    pub(crate) fn readiness(&self) -> Readiness {
        if self.mode != Mode::Open {
            Readiness::Closed
        } else if self.is_hopeless() {
            Readiness::Failed
        } else if self.crew.sums().unborn == 0 {
            Readiness::Ready
        } else {
            Readiness::Pending
        }
    }

    /// Closed or shut down, every job resolved, every worker gone, or left to itself: there is
    /// nothing more to come once the actions are drained.
    pub(crate) fn is_at_rest(&self) -> bool {
        let sums = self.crew.sums();
        self.mode != Mode::Open && self.jobs.len() == 0 && sums.present == sums.abandoned
    }

    /// Jobs in the queue, in back-off, or handed ahead behind another.
    pub(crate) fn queued(&self) -> usize {
        self.jobs.len() - self.running()
    }

    /// Jobs at the head of a window.
    pub(crate) fn running(&self) -> usize {
        self.crew.sums().busy
    }

    /// What has to hold after everything: no job waits for a free worker, no worker is
    /// missing or too many, and nothing waits in a pool that was shut down.
    ///
    /// To be called after [`take_in`](Self::take_in) alone, and to be followed by a drain of the
    /// actions.
    pub(crate) fn conclude(&mut self, now: Time) {
        while let Some(slot) = self.crew.next_changed() {
            let worker = &mut self.crew[slot];
            if std::mem::take(&mut worker.is_to_be_pressed) && worker.claimed > 0 {
                self.press_after_recall(now, slot);
            }
            self.crew.settle(slot, now);
        }
        if self.mode == Mode::Shutdown {
            // Jobs that a recall gives back end in the line with those that never left.
            if self.crew.sums().recalling == 0 {
                self.end_all_waiting(Ending::PoolClosed);
            }
            return;
        }
        self.dispatch(now);
        self.look_sooner_if_idle(now);
        self.fetch_early(now);
        self.send_home(now);
        self.staff(now);
    }

    /// Ends everything: each job that is not claimed at once, each other one by its worker's
    /// death.
    fn shutdown(&mut self, now: Time) {
        if self.mode == Mode::Shutdown {
            return;
        }
        self.mode = Mode::Shutdown;
        self.launches.due = None;
        for slot in self.crew.slots() {
            match self.crew[slot].stage {
                Stage::Gone | Stage::Killed { .. } => {}
                Stage::Ready if self.crew[slot].window.is_empty() => self.kill(now, slot),
                Stage::Ready => self.recall(now, slot),
                Stage::Starting if self.crew[slot].holds_early() => self.recall(now, slot),
                Stage::Starting | Stage::Stopping => self.kill(now, slot),
            }
        }
    }

    /// A worker did not do in time what it was waited for.
    fn worker_overdue(&mut self, now: Time, slot: u32) {
        match self.crew[slot].stage {
            Stage::Gone => {}
            Stage::Starting => self.launch_overdue(now, slot),
            Stage::Stopping => self.kill(now, slot),
            Stage::Killed { .. } if !self.config.killable => self.abandon(now, slot),
            // What it had claimed is known from the recall before the kill.
            Stage::Killed { .. } => self.gone(now, slot, WorkerExit::Unknown, false),
            Stage::Ready => self.pressed_too_long(now, slot),
        }
    }
}
