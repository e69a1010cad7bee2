//! The promises, checked on each action; `promises.rs` has those that are checked after each step.

use std::time::Duration;

use crate::policy::Priority;

use super::super::event::nanos;
use super::super::job::{Doom, Place};
use super::super::worker::Stage;
use super::super::{Action, Ending, Reply, WorkerId};
use super::model::{Failure, Life, Process, Silent};
use super::world::World;
use super::{Violation, ensure};

pub(super) const PRIORITIES: [Priority; 3] = [Priority::High, Priority::Normal, Priority::Low];
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// Twice the 50 ms, and what the driver may be late.
pub(super) const SILENCE: Duration = Duration::from_millis(105);

impl World {
    /// A job that was submitted to a backed up pool waits, and nothing follows from it.
    pub(super) fn check_waits(&mut self, number: usize) -> Result<(), Violation> {
        self.count("submitted behind others that nobody takes");
        self.scheduler.conclude(self.now);
        let is_handed_out = |action: &Action<u64>| matches!(action, Action::Assign(_));
        let moved = self.scheduler.actions.list().iter().any(is_handed_out);
        ensure!(!moved, "job {number} was to wait, and something is handed out");
        let waits = self.scheduler.jobs.find(self.jobs[number].key);
        ensure!(waits.is_some(), "job {number} was to wait, and has ended");
        Ok(())
    }

    fn doom(&self, number: usize) -> Option<Doom> {
        let index = self.scheduler.jobs.find(self.jobs[number].key)?;
        self.scheduler.jobs[index].doom
    }

    pub(super) fn is_doomed(&self, number: usize) -> bool {
        self.doom(number).is_some()
    }

    pub(super) fn is_in_back_off(&self, number: usize) -> bool {
        let index = self.scheduler.jobs.find(self.jobs[number].key);
        index.is_some_and(|index| self.scheduler.jobs[index].place() == Place::BackOff)
    }

    /// How long the job is expected to take, in nanoseconds. One with a memory limit shares its
    /// worker with nobody who could pay for it, or for whom it could.
    pub(super) fn expected(&self, number: usize) -> u64 {
        let job = &self.jobs[number];
        let known = self.estimates.get(&job.kind).filter(|_| job.terms.memory_limit.is_none());
        known.copied().unwrap_or(u64::from(u32::MAX))
    }

    /// By the rule's own words: up by a quarter and a bit, down by a sixteenth.
    pub(super) fn learn(&mut self, kind: u16, took: Duration) {
        let took = took.as_nanos() as u64;
        let next = match self.estimates.get(&kind) {
            None => took,
            Some(e) if took > *e => e + e / 4 + 16,
            Some(e) => e - e / 16,
        };
        self.estimates.insert(kind, next);
    }

    pub(super) fn check_nobody_was_passed_over(&self, number: usize) -> Result<(), Violation> {
        let jobs = &self.scheduler.jobs;
        let job = &self.jobs[number];
        let order = jobs[job.key.index()].order;
        for priority in PRIORITIES {
            let waiting = self.scheduler.queue.of(jobs, priority);
            if priority > job.terms.priority {
                ensure!(waiting.is_empty(), "job {number} overtakes a higher priority");
            } else if priority == job.terms.priority {
                let first = waiting.first().map(|&index| jobs[index].order);
                ensure!(first.is_none_or(|first| first > order), "job {number} jumps the queue");
            }
        }
        Ok(())
    }

    pub(super) fn check_launch(&self, worker: WorkerId) -> Result<(), Violation> {
        ensure!(!self.shut, "{worker:?} is launched after the shutdown");
        ensure!(worker.slot < self.config.workers, "{worker:?} is one too many");
        let other = self.processes.iter().find(|process| process.id.slot == worker.slot);
        ensure!(other.is_none(), "{worker:?} is launched in the place of a live one");
        ensure!(self.processes.len() < self.config.workers as usize, "too many workers");
        Ok(())
    }

    pub(super) fn check_launch_waited(&self, worker: WorkerId) -> Result<(), Violation> {
        ensure!(self.now >= self.no_launch_before, "{worker:?} is launched without back-off");
        Ok(())
    }

    pub(super) fn check_assign(
        &self,
        worker: WorkerId,
        number: usize,
        attempt: u32,
        first: bool,
    ) -> Result<(), Violation> {
        let job = &self.jobs[number];
        ensure!(job.ending.is_none(), "job {number} is assigned after its end");
        ensure!(job.worker.is_none(), "job {number} is assigned twice");
        ensure!(!job.is_given_up(), "job {number} is assigned after it was given up");
        ensure!(!job.is_past_deadline(self.now), "job {number} is assigned past its deadline");
        ensure!(first != job.touched, "job {number} frees its place wrongly");
        ensure!(attempt == job.counted() + 1, "job {number} is told the wrong attempt {attempt}");
        ensure!(attempt <= job.terms.retry.attempts, "job {number} has too many attempts");
        ensure!(self.now >= job.not_before, "job {number} comes back before its back-off is over");
        if let Some(failure) = job.failure {
            // Counted already, so one attempt less than the policy allows.
            ensure!(job.may_try_again(failure), "job {number} is tried again after {failure:?}");
        }
        let Some(at) = self.find(worker) else {
            return Err(format!("job {number} is assigned to {worker:?}, who is not there"));
        };
        self.check_taker(at, number)
    }

    /// Whether this process may get the job.
    fn check_taker(&self, at: usize, number: usize) -> Result<(), Violation> {
        let process = &self.processes[at];
        let worker = process.id;
        if process.life == Life::Starting {
            return self.check_early_taker(at, number);
        }
        ensure!(process.serves(), "job {number} is assigned to {worker:?}, who does not serve");
        ensure!(process.silent != Silent::Yes, "job {number} is assigned to a silent worker");
        ensure!(process.asked_at.is_none(), "job {number} is assigned to one that may be killed");
        ensure!(!process.over, "job {number} is assigned to one with too much memory");
        ensure!(process.window.len() < self.config.window, "job {number}: the window is full");
        if !process.window.is_empty() {
            let load: u64 = process.loads.iter().sum();
            let all = load.saturating_add(self.expected(number));
            let horizon = u64::try_from(self.config.horizon.as_nanos()).unwrap_or(u64::MAX);
            ensure!(all <= horizon, "job {number} makes the window too long: {all} ns");
            let since = self.now.nanos_since(process.head_since);
            let head = process.loads.front().copied().unwrap_or_default();
            let latency = nanos(self.config.latency);
            let due = (latency / 10).saturating_add(2 * head).min(latency.saturating_mul(2));
            ensure!(since <= due, "job {number} is put behind one that is stuck");
        }
        let left = self.config.max_jobs_per_worker.map(|max| max.saturating_sub(process.served));
        ensure!(
            left.is_none_or(|left| (process.window.len() as u64) < left),
            "job {number} is one too many for a worker to be replaced"
        );
        let doomed = process.window.iter().any(|&other| self.is_doomed(other));
        ensure!(!doomed, "job {number} is assigned behind a doomed one");
        Ok(())
    }

    /// The same for one that is not up yet.
    fn check_early_taker(&self, at: usize, number: usize) -> Result<(), Violation> {
        let process = &self.processes[at];
        let worker = process.id;
        ensure!(process.killed_at.is_none(), "job {number} is assigned to {worker:?}, dead");
        ensure!(process.connected, "job {number} is assigned to {worker:?}, who is not there");
        ensure!(process.window.is_empty(), "job {number} is assigned behind one that waits");
        ensure!(self.config.killable, "job {number} is assigned to one that cannot be killed");
        let limited = self.jobs[number].terms.memory_limit.is_some();
        ensure!(!limited, "job {number} has a memory limit, and its worker starts");
        let deadline = self.jobs[number].deadline;
        ensure!(deadline.is_none(), "job {number} has a deadline, and its worker starts");
        Ok(())
    }

    /// Whether the job that waits for this process to come up is less urgent than the next one.
    pub(super) fn is_outranked(&self, at: usize) -> bool {
        let Some(next) = self.scheduler.queue.first() else { return false };
        let next = *self.scheduler.jobs[next].payload() as usize;
        let priority = |number: usize| self.jobs[number].terms.priority;
        let process = &self.processes[at];
        let is_less = |number: &usize| priority(*number) < priority(next);
        process.holds_early() && process.window.front().is_some_and(is_less)
    }

    /// Whether anybody is up.
    pub(super) fn somebody_serves(&self) -> bool {
        self.processes.iter().any(|process| process.serves() && process.silent == Silent::No)
    }

    /// Whether somebody has been idle for as long as it may.
    pub(super) fn somebody_goes_home(&self) -> bool {
        let Some(idle) = self.config.idle_timeout else { return false };
        let goes =
            |p: &Process| p.serves() && p.window.is_empty() && p.idle_since + idle <= self.now;
        self.processes.iter().any(goes)
    }

    /// Whether somebody who is up has nothing to do.
    pub(super) fn somebody_idles(&self) -> bool {
        self.processes.iter().any(|process| {
            process.serves() && process.window.is_empty() && process.silent == Silent::No
        })
    }

    /// Nobody who may get the next job is overlooked.
    pub(super) fn check_nobody_is_overlooked(&self) -> Result<(), Violation> {
        let Some(next) = self.scheduler.queue.first() else { return Ok(()) };
        let number = *self.scheduler.jobs[next].payload() as usize;
        for (at, process) in self.processes.iter().enumerate() {
            let slot = process.id.slot;
            // Who holds a claimed job since a recall, or has perhaps not listened, is left alone.
            let is_asked = self.scheduler.crew[slot].claimed == 0 && process.silent == Silent::No;
            let refused = !is_asked || self.check_taker(at, number).is_err();
            ensure!(refused, "job {number} waits, and {:?} has room for it", process.id);
        }
        Ok(())
    }

    /// A job was submitted just now, and nothing has happened since.
    pub(super) fn check_hunger(
        &self,
        number: usize,
        is_wanted: bool,
        is_alone: bool,
    ) -> Result<(), Violation> {
        let Some(index) = self.scheduler.jobs.find(self.jobs[number].key) else { return Ok(()) };
        let waits = match self.scheduler.jobs[index].place() {
            Place::Window(slot) => self.scheduler.crew[slot].stage == Stage::Starting,
            place => place == Place::Queue,
        };
        // By its priority it may go before those that wait.
        let was_known = is_wanted || !is_alone;
        ensure!(waits || was_known, "job {number} is taken, and nobody was hungry for it");
        let wakes = self.config.idle_timeout.is_some() || self.scheduler.is_hopeless();
        ensure!(!waits || !is_wanted || wakes, "job {number} was asked for, and waits");
        Ok(())
    }

    pub(super) fn check_ask(&self, worker: WorkerId) -> Result<(), Violation> {
        let Some(at) = self.find(worker) else { return Err(format!("{worker:?} is not there")) };
        let process = &self.processes[at];
        ensure!(process.serves(), "{worker:?} is asked, and does not serve");
        ensure!(process.window.len() == 1 && process.claimed == 1, "{worker:?}: not alone");
        ensure!(process.asked_at.is_none(), "{worker:?} is asked twice");
        ensure!(process.recalled_at.is_some(), "{worker:?} is asked without a recall");
        self.check_reason_to_end(at)?;
        let head = &self.jobs[process.window[0]];
        ensure!(!head.terms.grace.is_zero(), "{worker:?} is asked without a grace period");
        ensure!(!head.killed, "{worker:?} is asked about a job that was killed");
        ensure!(!process.over, "{worker:?} is asked, beyond its memory");
        Ok(())
    }

    /// The job at the head of this window has to end.
    fn check_reason_to_end(&self, at: usize) -> Result<(), Violation> {
        let process = &self.processes[at];
        let number = process.window[0];
        let head = &self.jobs[number];
        ensure!(
            head.is_given_up()
                || head.is_past_deadline(self.now)
                || process.over_with == Some(number)
                || process.is_out_of_time(&head.terms, self.now),
            "job {number} has to end for no reason"
        );
        Ok(())
    }

    pub(super) fn check_stop(&mut self, worker: WorkerId) -> Result<(), Violation> {
        let Some(at) = self.find(worker) else { return Err(format!("{worker:?} is not there")) };
        let process = &self.processes[at];
        ensure!(process.serves(), "{worker:?} is stopped, and does not serve");
        ensure!(process.window.is_empty(), "{worker:?} is stopped with jobs");
        let recycled = self.config.max_jobs_per_worker.is_some_and(|max| process.served >= max);
        let idle =
            self.config.idle_timeout.is_some_and(|idle| process.idle_since + idle <= self.now);
        let over = process.over;
        ensure!(recycled || idle || over || self.closing, "{worker:?} is stopped for no reason");
        if over {
            self.count("recycled for its memory");
        } else if recycled {
            self.count("recycled");
        } else if !self.closing {
            self.count("sent home for idleness");
        }
        Ok(())
    }

    pub(super) fn check_kill(&mut self, worker: WorkerId) -> Result<(), Violation> {
        let now = self.now;
        let Some(at) = self.find(worker) else { return Err(format!("{worker:?} is not there")) };
        ensure!(self.processes[at].killed_at.is_none(), "{worker:?} is killed twice");
        let stage = self.scheduler.crew[worker.slot].stage;
        let launch_failed = stage == Stage::Killed { launch_failed: true };
        self.processes[at].killed_launch = launch_failed;
        let process = &self.processes[at];
        let waited = now.since(process.since);
        let unclaimed = process.window.len() - process.claimed;
        ensure!(unclaimed == 0, "{worker:?} is killed with {unclaimed} jobs it had not begun");
        if self.shut {
            return Ok(());
        }
        let unread = !process.replies.is_empty() && !process.has_just_answered;
        ensure!(process.over || !unread, "{worker:?} is killed, and has answered");
        match process.life {
            Life::Starting => {
                let in_time = waited < self.config.start_timeout;
                ensure!(!launch_failed || !in_time, "{worker:?} is killed while it starts");
                ensure!(launch_failed || self.closing, "{worker:?}: its launch did not fail");
                if launch_failed {
                    self.count("killed launch");
                }
            }
            Life::Leaving => {
                ensure!(waited >= PATIENCE, "{worker:?} is killed while it stops");
                self.count("killed after a stop");
            }
            Life::Running if process.window.is_empty() => {
                ensure!(process.silent != Silent::No, "{worker:?} is killed though it listens");
                let silence = process.recalled_at.map_or(Duration::ZERO, |at| now.since(at));
                ensure!(silence >= PATIENCE, "{worker:?} was silent for {silence:?} only");
                self.count("killed for its silence");
            }
            Life::Running => {
                ensure!(process.window.len() == 1, "{worker:?} is killed with a bystander");
                ensure!(process.recalled_at == Some(now), "{worker:?} is killed without a recall");
                self.check_reason_to_end(at)?;
                let process = &self.processes[at];
                let head = &self.jobs[process.window[0]];
                let grace = head.terms.grace;
                let asked = process.asked_at;
                let over = grace.is_zero()
                    || process.over
                    || asked.is_some_and(|asked| asked + grace <= now);
                ensure!(over || head.killed, "{worker:?} is killed within the grace period");
                if !over && asked.is_some() {
                    self.count("kill cut a grace short");
                } else if asked.is_some() {
                    self.count("killed after grace");
                }
            }
        }
        Ok(())
    }

    pub(super) fn check_resolve(
        &mut self,
        number: usize,
        ending: &Ending,
        attempts: u32,
        unassigned: bool,
    ) -> Result<(), Violation> {
        let job = &self.jobs[number];
        ensure!(job.ending.is_none(), "job {number} is resolved twice");
        ensure!(unassigned != job.touched, "job {number} frees its place wrongly at its end");
        let freed = job.places_freed + u32::from(unassigned);
        ensure!(freed == 1, "job {number} frees its place {freed} times");
        let counted = job.counted();
        ensure!(attempts == counted, "job {number} has {counted} attempts, not {attempts}");
        let given_up = job.is_given_up();
        let past_deadline = job.is_past_deadline(self.now);
        let may_retry =
            |failure| !self.shut && !given_up && !past_deadline && job.may_try_again(failure);
        ensure!(
            !job.runs_on || matches!(ending, Ending::Unsupported(_) | Ending::PoolClosed),
            "job {number} runs on, and is said to be over: {ending:?}"
        );
        match ending {
            Ending::Replied => {
                ensure!(job.replied.is_some(), "job {number} has no reply");
                let again = job.replied == Some(Reply::Panicked) && may_retry(Failure::Panic);
                ensure!(!again, "job {number} is not tried again after a panic");
                self.count("ending Replied");
            }
            Ending::Crashed(exit) => {
                ensure!(!job.answered, "job {number} has answered, and is said to have crashed");
                let failure = Failure::Crash(*exit);
                ensure!(job.failure == Some(failure), "job {number} did not crash with {exit:?}");
                ensure!(!may_retry(failure), "job {number} is not tried again after a crash");
                ensure!(!given_up, "job {number} was given up, and is said to have crashed");
                self.count("ending Crashed");
            }
            Ending::TimedOut(limit) => {
                let lengths = [job.terms.timeout, job.terms.stall_timeout];
                let by_timeout =
                    job.failure == Some(Failure::Timeout) && lengths.contains(&Some(*limit));
                let by_deadline = past_deadline && job.deadline.is_some_and(|(_, d)| d == *limit);
                ensure!(by_timeout || by_deadline, "job {number} has not timed out");
                ensure!(
                    by_deadline || !may_retry(Failure::Timeout),
                    "job {number} is not tried again after a timeout"
                );
                ensure!(by_deadline || !given_up, "job {number} was given up, and timed out");
                self.count("ending TimedOut");
            }
            Ending::MemoryLimit(limit) => {
                ensure!(job.failure == Some(Failure::Memory), "job {number} was not beyond it");
                let in_force = job.memory_limit_at(job.claimed_attempt);
                ensure!(in_force == Some(*limit), "job {number} had another memory limit");
                ensure!(!may_retry(Failure::Memory), "job {number} is not tried again");
                ensure!(!given_up, "job {number} was given up, and is said to be too large");
                self.count("ending MemoryLimit");
            }
            Ending::Cancelled => {
                ensure!(given_up, "job {number} was not given up");
                self.count("ending Cancelled");
            }
            Ending::Unsupported(instead_of) => {
                ensure!(job.runs_on && !self.shut, "job {number} does not run on");
                let terms = &job.terms;
                let lengths = [terms.timeout, terms.stall_timeout, job.deadline.map(|(_, d)| d)];
                let known = match &**instead_of {
                    Ending::Cancelled => given_up,
                    Ending::TimedOut(limit) => !given_up && lengths.contains(&Some(*limit)),
                    Ending::MemoryLimit(limit) => {
                        !given_up && job.memory_limit_at(job.claimed_attempt) == Some(*limit)
                    }
                    _ => false,
                };
                ensure!(known, "job {number} should not have ended by {instead_of:?}");
                self.count("ending Unsupported");
            }
            Ending::PoolClosed => {
                ensure!(!job.answered, "job {number} has answered, and ends with the pool");
                ensure!(self.shut || self.closing && !job.touched, "the pool is not closed");
                if job.runs_on {
                    self.count("closed, and left running");
                }
                self.count("ending PoolClosed");
            }
            Ending::WorkerStart => {
                ensure!(self.failed >= 3, "{} launches have failed", self.failed);
                ensure!(!self.processes.iter().any(|p| p.serves()), "a worker lives");
                self.count("ending WorkerStart");
            }
        }
        Ok(())
    }
}
