//! The course of a job: it waits, is handed out, is answered, is tried again, ends.

use std::time::Duration;

use crate::error::WorkerExit;
use crate::policy::{RetryPolicy, Terms};

use super::estimate::Weight;
use super::event::{Action, Assignment, Ending, JobKey, Reply, Time, WorkerId, nanos};
use super::job::{Doom, Jobs, Place, Rare};
use super::machine::{Alarm, Mode, Scheduler};
use super::recall::CHECK_AFTER;
use super::worker::Stage;

/// How often deaths that were nobody's fault may move a job from the head of a window.
/// A frame that kills whoever reads it must not circle for ever.
const MOVES: u8 = 3;

impl<T> Scheduler<T> {
    pub(super) fn terms(&self, index: u32) -> &Terms {
        self.jobs[index].terms().unwrap_or(&self.config.defaults)
    }

    /// Puts a job at the back of its priority.
    pub(super) fn enqueue(&mut self, now: Time, index: u32) {
        let order = self.next_place(now);
        let job = &mut self.jobs[index];
        job.order = order;
        job.set_place(Place::Queue);
        let priority = job.terms().unwrap_or(&self.config.defaults).priority;
        self.queue.push_back(&mut self.jobs, priority, index);
    }

    /// A place behind all that were given, which tells when it was given.
    fn next_place(&mut self, now: Time) -> u64 {
        let order = self.next_order.max(now.nanos());
        self.next_order = order.saturating_add(1);
        order
    }

    /// Puts a job whose attempt never began back where it stood.
    pub(super) fn put_back(&mut self, index: u32) {
        let priority = self.terms(index).priority;
        let job = &mut self.jobs[index];
        job.set_place(Place::Queue);
        let order = job.order;
        let earlier = |jobs: &Jobs<T>, other| jobs[other].order < order;
        self.queue.put_back(&mut self.jobs, priority, index, earlier);
    }

    /// Takes a job out of the queue, from wherever it stands.
    #[inline]
    fn leave_queue(&mut self, index: u32) {
        let priority = self.terms(index).priority;
        self.queue.remove(&mut self.jobs, priority, index);
    }

    /// Hands out jobs while there are workers who take them: idle ones first, and to one worker
    /// no more than its share before the next is served.
    pub(super) fn dispatch(&mut self, now: Time) {
        if !self.crew.has_places() && self.crew.first_early().is_none() {
            return;
        }
        let mut share = 0;
        let mut next = self.next_in_time(now);
        while let Some((mut index, mut weight)) = next {
            let taker = self.crew.who_takes(weight, now).or_else(|| self.early_taker(index));
            let Some((slot, places)) = taker else { return };
            if share == 0 {
                share = self.queue.len().div_ceil(self.config.workers as usize);
            }
            let before = self.crew[slot].window.len();
            for left in (0..share.min(places)).rev() {
                self.assign(slot, index, weight);
                next = self.next_in_time(now);
                match next {
                    Some(next) if left > 0 && self.crew.has_room(slot, next.1) => {
                        (index, weight) = next;
                    }
                    _ => break,
                }
            }
            if before == 0 && self.crew[slot].stage == Stage::Ready {
                self.head_began(now, slot);
            } else if before == 0 {
                self.crew[slot].head_since = now;
            }
            let is_crowded = before < 2 && self.crew[slot].window.len() > 1;
            let nobody_was = self.crew.sums().crowded == 0;
            self.crew.settle(slot, now);
            if is_crowded {
                self.arm_tick(now, nobody_was);
            }
        }
    }

    /// What a job is expected to take. One with a memory limit is handed to an empty worker, and
    /// nothing behind it: else the next job would have begun, and would pay, before it is seen that
    /// this one has left too much behind.
    pub(super) fn weight_of(&self, kind: u16, has_memory_limit: bool) -> Weight {
        if has_memory_limit { Weight::UNKNOWN } else { self.estimates.of(kind) }
    }

    /// The next job, and what it is expected to take; those that are past their deadline end on the
    /// way.
    fn next_in_time(&mut self, now: Time) -> Option<(u32, Weight)> {
        loop {
            let index = self.queue.first()?;
            let job = &self.jobs[index];
            match job.deadline() {
                Some((at, limit)) if at <= now => {
                    self.leave_queue(index);
                    self.end(index, Ending::TimedOut(limit));
                }
                _ => {
                    let terms = job.terms().unwrap_or(&self.config.defaults);
                    let weight = self.weight_of(job.kind, terms.memory_limit.is_some());
                    return Some((index, weight));
                }
            }
        }
    }

    /// Hands the next job to this worker.
    #[inline]
    fn assign(&mut self, slot: u32, index: u32, weight: Weight) {
        let key = self.jobs.key(index);
        let job = &self.jobs[index];
        let (attempt, has_deadline) = (job.attempts() + 1, job.deadline().is_some());
        let terms = job.terms().unwrap_or(&self.config.defaults);
        let bounded = has_deadline || terms.timeout.is_some() || terms.memory_limit.is_some();
        let priority = terms.priority;
        self.queue.remove(&mut self.jobs, priority, index);
        let first = self.jobs[index].goes_to(slot);
        let (worker, prompt) = self.crew.hand(slot, index, weight);
        let brief = weight.is_brief();
        let given = Assignment { worker, job: key, attempt, bounded, first, brief, prompt };
        self.actions.assign(given);
    }

    /// The first job of this window, if it has any, can run from now on.
    pub(super) fn head_began(&mut self, now: Time, slot: u32) {
        let worker = &mut self.crew[slot];
        if let Some(index) = worker.window.front() {
            worker.head_since = now;
            self.began(now, slot, index);
        }
    }

    /// The job at the head of this window can run from now on.
    #[inline(always)]
    fn began(&mut self, now: Time, slot: u32, index: u32) {
        let job = &mut self.jobs[index];
        if job.begins() {
            self.wait.record(now.nanos_since(job.waits_since()));
        }
        let terms = job.terms().unwrap_or(&self.config.defaults);
        if terms.timeout.is_some() || terms.stall_timeout.is_some() {
            self.arm_timeouts(now, slot, index);
        }
        // One moment serves all workers, and a passed one is only replaced if nobody waits
        // for it: else a busy neighbour could put it off for ever.
        let is_past = |at| at <= now && self.crew.sums().unverified == 0;
        if self.check_at.is_none_or(is_past) {
            self.check_at = Some(now + CHECK_AFTER);
        }
    }

    #[inline(never)]
    fn arm_timeouts(&mut self, now: Time, slot: u32, index: u32) {
        if let Some(timeout) = self.terms(index).timeout {
            let at = now + timeout;
            self.timers.insert((at, self.jobs.key(index), Alarm::Timeout));
            self.crew[slot].timeout_at = Some(at);
        }
        self.arm_stall(now, slot, index);
    }

    fn arm_stall(&mut self, now: Time, slot: u32, index: u32) {
        if let Some(timeout) = self.terms(index).stall_timeout {
            let at = now + timeout;
            self.timers.insert((at, self.jobs.key(index), Alarm::Stall));
            self.crew[slot].stall_at = Some(at);
        }
    }

    /// The head of the window goes on: its stall timeout begins anew, unless it has passed.
    pub(super) fn progressed(&mut self, now: Time, slot: u32) {
        let worker = &mut self.crew[slot];
        if let (Some(at), Some(index)) = (worker.stall_at.take(), worker.window.front()) {
            self.timers.remove(&(at, self.jobs.key(index), Alarm::Stall));
            self.arm_stall(now, slot, index);
        }
    }

    /// Disarms the timeouts of the head, which is about to leave its window.
    pub(super) fn head_ends(&mut self, slot: u32) {
        if let Some(index) = self.crew[slot].window.front() {
            self.disarm_timeouts(slot, index);
        }
    }

    #[inline(never)]
    fn disarm_timeouts(&mut self, slot: u32, index: u32) {
        let worker = &mut self.crew[slot];
        let armed =
            [(worker.timeout_at.take(), Alarm::Timeout), (worker.stall_at.take(), Alarm::Stall)];
        for (at, alarm) in armed {
            if let Some(at) = at {
                self.timers.remove(&(at, self.jobs.key(index), alarm));
            }
        }
    }

    /// An attempt has ended that counts. `since`: when it could run.
    pub(super) fn attempt_ended(&mut self, now: Time, slot: u32, since: Time) {
        self.crew[slot].done += 1;
        self.run.record(now.nanos_since(since));
    }

    /// The head of the worker's window is answered.
    pub(super) fn replied(&mut self, now: Time, worker: WorkerId, reply: Reply, took: Duration) {
        let Some(index) = self.head_answered(now, worker, nanos(took)) else { return };
        match reply {
            Reply::Done => self.resolve(index, 1, Ending::Replied),
            Reply::Panicked => self.panicked(now, index),
        }
        self.reply_is_heard(now, worker.slot);
    }

    /// Takes in that the worker has done the head of its window, which took so many nanoseconds: as
    /// [`Event::Replied`](super::Event::Replied) by [`take_in`](Self::take_in), but the job is given
    /// back instead of an action that resolves it.
    #[inline]
    pub(crate) fn take_done(&mut self, now: Time, worker: WorkerId, took: u64) -> Option<T> {
        let index = self.head_answered(now, worker, took)?;
        let (key, job, rare) = self.jobs.take(index)?;
        if let Some(rare) = rare {
            self.disarm_deadline(key, &rare);
        }
        self.reply_is_heard(now, worker.slot);
        Some(job)
    }

    /// The head of a window leaves it, and another is in its place.
    #[inline(always)]
    fn head_answered(&mut self, now: Time, worker: WorkerId, took: u64) -> Option<u32> {
        // Stopping: the window is empty. Killed: it is too late.
        let head = self.crew.answered(worker, now)?;
        let slot = worker.slot;
        if head.has_timeouts {
            self.disarm_timeouts(slot, head.index);
        }
        self.run.record(took);
        if let Some(next) = head.next {
            self.began(now, slot, next);
        }
        self.launches.strikes = 0;
        self.estimates.learn(self.jobs[head.index].kind, took);
        Some(head.index)
    }

    /// What follows from a reply for its worker.
    #[inline(always)]
    fn reply_is_heard(&mut self, now: Time, slot: u32) {
        let worker = &mut self.crew[slot];
        if worker.claimed > 0 {
            // Perhaps a doomed job has become the head. Its reply may have come together with this
            // one, and counts.
            worker.is_to_be_pressed = true;
        } else if worker.over_memory && !worker.window.is_empty() {
            self.recall(now, slot);
        } else {
            let is_over = |max| worker.served >= max;
            if worker.over_memory || self.config.max_jobs_per_worker.is_some_and(is_over) {
                self.stop(now, slot);
            }
        }
    }

    fn panicked(&mut self, now: Time, index: u32) {
        self.jobs[index].count_attempt();
        let given_up = self.jobs[index].doom.is_some_and(|doom| doom > Doom::Memory);
        let again = !given_up && self.terms(index).retry.on_panic;
        self.failed(now, index, again, Ending::Replied);
    }

    /// Charges a job with the death of its worker.
    pub(super) fn crashed(&mut self, now: Time, slot: u32, index: u32, exit: WorkerExit) {
        self.attempt_ended(now, slot, self.crew[slot].head_since);
        self.jobs[index].count_attempt();
        self.failed(now, index, self.terms(index).retry.on_crash, Ending::Crashed(exit));
    }

    /// A head of a window died unclaimed with its worker: nobody is charged, up to a point.
    pub(super) fn moved(&mut self, now: Time, slot: u32, index: u32, exit: WorkerExit) {
        let job = &mut self.jobs[index];
        if job.moves() >= MOVES {
            self.crashed(now, slot, index, exit);
        } else {
            job.set_moves(job.moves() + 1);
            self.put_back(index);
        }
    }

    /// A job that left its worker without a reply, doomed or in a pool that was shut down.
    pub(super) fn fell(&mut self, now: Time, index: u32, claimed: bool) {
        let RetryPolicy { on_timeout, on_crash, .. } = self.terms(index).retry;
        let job = &mut self.jobs[index];
        let doom = job.doom.take();
        if claimed {
            job.count_attempt();
        }
        match doom {
            Some(doom @ (Doom::Cancel | Doom::Kill | Doom::Deadline)) => {
                let ending = self.end_by(index, doom);
                self.end(index, ending);
            }
            Some(Doom::Stall | Doom::Timeout | Doom::Memory) | None if !claimed => {
                self.put_back(index);
            }
            Some(Doom::Stall | Doom::Timeout | Doom::Memory) | None
                if self.mode == Mode::Shutdown =>
            {
                self.end(index, Ending::PoolClosed);
            }
            Some(Doom::Memory) => {
                let ending = self.end_by(index, Doom::Memory);
                self.failed(now, index, on_crash, ending);
            }
            Some(Doom::Stall | Doom::Timeout) | None => {
                let ending = self.end_by(index, doom.unwrap_or(Doom::Timeout));
                self.failed(now, index, on_timeout, ending);
            }
        }
    }

    /// Ends what a worker runs that was killed and cannot be: it is not tried again beside itself.
    pub(super) fn let_run_on(&mut self, now: Time, slot: u32) {
        self.head_ends(slot);
        let worker = &mut self.crew[slot];
        worker.claimed = 0;
        let since = worker.head_since;
        for index in worker.window.take() {
            self.attempt_ended(now, slot, since);
            self.jobs[index].count_attempt();
            let ending = match self.jobs[index].doom {
                Some(doom) if self.mode != Mode::Shutdown => {
                    Ending::Unsupported(Box::new(self.end_by(index, doom)))
                }
                Some(_) | None => Ending::PoolClosed,
            };
            self.end(index, ending);
        }
    }

    /// How a job ends that was doomed while it ran, unless it is tried again.
    fn end_by(&self, index: u32, doom: Doom) -> Ending {
        let (job, terms) = (&self.jobs[index], self.terms(index));
        match doom {
            Doom::Cancel | Doom::Kill => Ending::Cancelled,
            Doom::Deadline => {
                Ending::TimedOut(job.deadline().map_or(Duration::ZERO, |(_, limit)| limit))
            }
            Doom::Memory => {
                Ending::MemoryLimit(terms.memory_limit_at(job.attempts()).unwrap_or_default())
            }
            Doom::Stall => Ending::TimedOut(terms.stall_timeout.unwrap_or_default()),
            Doom::Timeout => Ending::TimedOut(terms.timeout.unwrap_or_default()),
        }
    }

    /// An attempt has failed, in a way that may be tried again or not.
    fn failed(&mut self, now: Time, index: u32, again: bool, ending: Ending) {
        match again {
            true => self.try_again(now, index, ending),
            false => self.end(index, ending),
        }
    }

    /// Sends a job to its next attempt, after its back-off; or ends it, if this was the last.
    fn try_again(&mut self, now: Time, index: u32, ending: Ending) {
        let retry = self.terms(index).retry;
        let attempts = self.jobs[index].attempts();
        if attempts >= retry.attempts || self.mode == Mode::Shutdown {
            self.end(index, ending);
            return;
        }
        self.jobs[index].doom = None;
        let wait = retry.delay_after(attempts);
        if wait.is_zero() {
            self.enqueue(now, index);
            return;
        }
        let due = now + wait + self.jitter_for(wait);
        let order = self.next_place(now);
        let job = &mut self.jobs[index];
        job.order = order;
        job.set_place(Place::BackOff);
        job.set_due(due);
        self.queue.rest(&mut self.jobs, index);
        self.timers.insert((due, self.jobs.key(index), Alarm::BackOff));
    }

    /// Up to a tenth of `wait`, by a step of splitmix64.
    fn jitter_for(&mut self, wait: Duration) -> Duration {
        self.jitter = self.jitter.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.jitter;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        let tenth = u64::try_from(wait.as_nanos() / 10).unwrap_or(u64::MAX);
        Duration::from_nanos(z % tenth.saturating_add(1).max(1))
    }

    /// A job must not go on: it ends at once where it waits, and by the worker's leave where
    /// it may be running.
    pub(super) fn give_up(&mut self, now: Time, key: JobKey, doom: Doom) {
        let Some(index) = self.jobs.find(key) else { return };
        if self.mode == Mode::Shutdown {
            return;
        }
        match self.jobs[index].place() {
            Place::Queue => self.leave_queue(index),
            Place::BackOff => {
                self.queue.end_rest(&mut self.jobs, index);
                if let Some(due) = self.jobs[index].due() {
                    self.timers.remove(&(due, key, Alarm::BackOff));
                }
            }
            Place::Window(slot) => {
                self.doom(now, slot, index, doom);
                return;
            }
        }
        self.jobs[index].doom = Some(doom);
        self.fell(now, index, false);
    }

    /// Ends every job in the queue, in the order in which they came, then those in back-off.
    pub(super) fn end_all_waiting(&mut self, ending: Ending) {
        self.end_queue(ending.clone());
        let timers = std::mem::take(&mut self.timers);
        for (_, key, alarm) in timers {
            if alarm == Alarm::BackOff {
                self.queue.end_rest(&mut self.jobs, key.index());
                self.end(key.index(), ending.clone());
            }
        }
    }

    pub(super) fn end_queue(&mut self, ending: Ending) {
        loop {
            let order = |jobs: &Jobs<T>, index| jobs[index].order;
            let Some(index) = self.queue.pop_by(&mut self.jobs, order) else { return };
            self.end(index, ending.clone());
        }
    }

    /// The end of a job that has left wherever it was.
    #[inline(never)]
    pub(super) fn end(&mut self, index: u32, ending: Ending) {
        self.resolve(index, 0, ending);
    }

    /// The same, with so many attempts that end by it, where it is done for each job.
    #[inline(always)]
    fn resolve(&mut self, index: u32, attempts: u32, ending: Ending) {
        let Some(job) = self.jobs.remove(index) else { return };
        self.actions.push(Action::Resolve {
            job: job.payload,
            ending,
            attempts: job.attempts.saturating_add(attempts),
            unassigned: !job.was_assigned,
        });
        if let Some(rare) = job.rare {
            self.disarm_deadline(job.key, &rare);
        }
    }

    #[inline(never)]
    fn disarm_deadline(&mut self, key: JobKey, rare: &Rare) {
        if let Some((at, _)) = rare.deadline {
            self.timers.remove(&(at, key, Alarm::Deadline));
        }
    }
}
