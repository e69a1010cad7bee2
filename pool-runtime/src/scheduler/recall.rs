//! Getting jobs back from a worker: recall, ask, kill, and the look for silent workers.
//!
//! What is known here is what the worker has claimed, and only a recall tells. So each way
//! to end a job in a window begins with one:
//!
//! 1. The job is doomed (cancelled, killed, out of time) and the window is recalled.
//! 2. What comes back was never begun. The doomed among it end, the others go back to their
//!    places: they do not die with their neighbour.
//! 3. What stays was claimed. A worker runs one job at a time, so all but the last of these
//!    are answered and the replies are on their way; a doomed job is asked or killed once it
//!    is alone. Nothing new is handed to this worker meanwhile.
//! 4. With a grace period the head is asked; when the period is over the window is recalled
//!    once more and the worker killed. A reply that comes before is an ordinary reply.
//!
//! Known race: a reply may be written while the kill is on its way. Whichever the scheduler
//! was told or decided first counts.

use std::time::Duration;

use super::event::{Action, JobKey, Time};
use super::job::{Doom, Place};
use super::machine::{Mode, Scheduler};
use super::worker::Stage;

/// How long the head of a window may lie unclaimed. The look for such heads is one moment
/// for all workers, so a worker may be found up to [`LOOK_AGAIN`] after that.
pub(super) const CHECK_AFTER: Duration = Duration::from_millis(50);

/// The looks for silent workers are at least so far apart, however many wait to be looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// How long anything is waited for that happens at once unless something is broken: the exit
/// after a stop or a kill, a reply that was written, the answer to a recall.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// How many times as long a worker may need that has not even begun: the machine is busy.
const MOST_SLACK: u32 = 32;

impl<T> Scheduler<T> {
    /// The timeout of an attempt has passed, or its stall timeout.
    pub(super) fn timeout_passed(&mut self, now: Time, key: JobKey, doom: Doom) {
        let Some(index) = self.jobs.find(key) else { return };
        if let Place::Window(slot) = self.jobs[index].place() {
            match doom {
                Doom::Stall => self.crew[slot].stall_at = None,
                _ => self.crew[slot].timeout_at = None,
            }
            self.give_up(now, key, doom);
        }
    }

    /// The worker has more memory than its job may use. It is not asked: what it would do in its
    /// grace period may take the whole machine down.
    pub(super) fn over_memory(&mut self, now: Time, slot: u32) {
        if self.crew[slot].stage != Stage::Ready || self.mode == Mode::Shutdown {
            return;
        }
        let Some(head) = self.crew[slot].window.front() else { return };
        if self.terms(head).memory_limit.is_some() {
            self.crew[slot].over_memory = true;
            let job = &mut self.jobs[head];
            job.doom = job.doom.max(Some(Doom::Memory));
            self.recall(now, slot);
        }
    }

    /// What the head of the window leaves behind must not be the next one's fault.
    pub(super) fn bloated(&mut self, now: Time, slot: u32) {
        let worker = &mut self.crew[slot];
        if worker.stage == Stage::Ready && !worker.window.is_empty() {
            worker.over_memory = true;
            self.crew.settle(slot, now);
        }
    }

    /// A job in the window of this worker has to end.
    pub(super) fn doom(&mut self, now: Time, slot: u32, index: u32, doom: Doom) {
        let job = &mut self.jobs[index];
        if job.doom >= Some(doom) {
            return;
        }
        job.doom = Some(doom);
        if self.crew[slot].stage == Stage::Ready || self.crew[slot].holds_early() {
            self.recall(now, slot);
        }
    }

    pub(super) fn recall(&mut self, now: Time, slot: u32) {
        self.take_back(now, slot, false);
    }

    fn take_back(&mut self, now: Time, slot: u32, gently: bool) {
        let worker = &mut self.crew[slot];
        if std::mem::replace(&mut worker.recalling, true) {
            return;
        }
        self.actions.push(Action::Recall { worker: self.crew.id(slot), gently });
        // The hands answer before anything else; this is for hands that forget to.
        if self.crew[slot].stage != Stage::Starting {
            self.crew.set_timer(slot, Some(now + PATIENCE));
        }
        self.crew.settle(slot, now);
    }

    /// The recall is answered: the first `kept` jobs were claimed, the others can never run
    /// there any more.
    pub(super) fn recalled(&mut self, now: Time, slot: u32, kept: usize) {
        let worker = &mut self.crew[slot];
        if !std::mem::take(&mut worker.recalling) {
            return;
        }
        // Who has begun a job is up, and its greeting is on its way.
        if worker.stage == Stage::Starting && kept > 0 {
            self.started(now, slot);
        } else {
            worker.connected = false;
        }
        let worker = &mut self.crew[slot];
        // What an earlier recall told stays true.
        let kept = kept.max(worker.claimed).min(worker.window.len());
        worker.claimed = kept;
        if kept == 0 && worker.stage == Stage::Ready {
            let head = worker.window.front();
            // Did it have time enough to take the job? What it is given next might lie there too.
            let late = worker.head_since + CHECK_AFTER <= now;
            let silent = head.is_some_and(|head| late || self.has_run_out_of_time(head));
            self.crew[slot].unresponsive = silent;
            self.head_ends(slot);
        }
        while self.crew[slot].window.len() > kept {
            if let Some(index) = self.crew[slot].window.pop_back() {
                self.fell(now, index, false);
            }
        }
        if self.mode == Mode::Shutdown {
            self.kill(now, slot);
        } else if self.crew[slot].stage == Stage::Starting {
            if self.crew[slot].overdue {
                self.kill_launch(now, slot);
            }
        } else if kept == 0 && self.crew[slot].over_memory {
            self.stop(now, slot);
        } else {
            self.press(now, slot);
            if self.crew[slot].unresponsive {
                self.crew.set_timer(slot, Some(now + PATIENCE));
            }
        }
        self.crew.settle(slot, now);
    }

    fn has_run_out_of_time(&self, index: u32) -> bool {
        matches!(self.jobs[index].doom, Some(Doom::Stall | Doom::Timeout))
    }

    /// The recall is answered: the worker has not come to its jobs yet, and keeps them.
    pub(super) fn not_begun(&mut self, now: Time, slot: u32) {
        let worker = &mut self.crew[slot];
        if std::mem::take(&mut worker.recalling) {
            worker.slack = (worker.slack * 2).min(MOST_SLACK);
            self.crew.set_timer(slot, None);
            self.crew.settle(slot, now);
        }
    }

    /// The worker has shown that it takes notice.
    pub(super) fn awake(&mut self, now: Time, slot: u32) {
        if std::mem::take(&mut self.crew[slot].unresponsive) {
            self.crew.set_timer(slot, None);
        }
        self.crew.settle(slot, now);
    }

    /// Takes up what was waiting for an earlier job's reply, if anything was.
    pub(super) fn press_after_recall(&mut self, now: Time, slot: u32) {
        if self.holds_doomed(slot) {
            self.recall(now, slot);
        } else {
            self.wait_for_replies(now, slot);
        }
    }

    /// Nothing has to end. But a worker that claims to have begun several jobs has answered all but
    /// the last: one whose replies do not come has not told the truth.
    fn wait_for_replies(&mut self, now: Time, slot: u32) {
        let several = self.crew[slot].window.len() > 1;
        self.crew.set_timer(slot, several.then(|| now + PATIENCE));
    }

    fn holds_doomed(&self, slot: u32) -> bool {
        self.crew[slot].window.iter().any(|index| self.jobs[index].doom.is_some())
    }

    /// Goes on with ending the doomed jobs of a window of which everything is claimed.
    fn press(&mut self, now: Time, slot: u32) {
        if !self.holds_doomed(slot) {
            if self.crew[slot].overdue && self.crew[slot].window.len() > 1 {
                return self.kill(now, slot);
            }
            self.crew[slot].forget_head();
            self.wait_for_replies(now, slot);
            return;
        }
        let worker = &self.crew[slot];
        let Some(head) = worker.window.front() else { return };
        let (asked, alone) = (worker.asked, worker.window.len() == 1);
        let overdue = worker.overdue || worker.until.is_some_and(|until| until <= now);
        let grace = self.terms(head).grace;
        let doom = self.jobs[head].doom;
        let at_once = grace.is_zero() || doom == Some(Doom::Kill) || worker.over_memory;
        if overdue || alone && at_once {
            self.kill(now, slot);
        } else if alone && !asked {
            self.crew[slot].asked = true;
            self.wait_for_head(slot, now + grace);
            self.actions.push(Action::Ask { worker: self.crew.id(slot) });
        } else {
            // Whoever asked first, the wait goes on and does not begin anew.
            let until = self.crew[slot].until.unwrap_or(now + PATIENCE);
            self.wait_for_head(slot, until);
        }
    }

    fn wait_for_head(&mut self, slot: u32, until: Time) {
        self.crew[slot].until = Some(until);
        self.crew.set_timer(slot, Some(until));
    }

    /// A grace period is over, a reply that had to come did not, a recall got no answer, or a worker
    /// that was found silent has stayed so.
    pub(super) fn pressed_too_long(&mut self, now: Time, slot: u32) {
        let worker = &self.crew[slot];
        if worker.unresponsive {
            // It holds no job. What waits may wait for it alone: all workers may have been stopped.
            self.kill(now, slot);
        } else if worker.recalling {
            let all = worker.window.len();
            self.recalled(now, slot, all);
        } else if worker.overdue || self.holds_doomed(slot) {
            self.crew[slot].overdue = true;
            self.recall(now, slot);
        } else {
            // The replies may lie there: the host itself may have been stopped.
            self.crew[slot].overdue = true;
            self.wait_for_replies(now, slot);
        }
    }

    /// A window holds jobs behind its head. `is_first`: no other one did.
    pub(super) fn arm_tick(&mut self, now: Time, is_first: bool) {
        if self.tick_at.is_none_or(|at| is_first && at <= now) {
            self.tick_at = Some(now + self.stuck_after());
        }
    }

    /// Who has nothing to do, and nothing to wait for, would run what lies behind another's head.
    #[inline]
    pub(super) fn look_sooner_if_idle(&mut self, now: Time) {
        if self.crew.sums().crowded > 0 && self.crew.has_idle() {
            let soon = now + self.stuck_after();
            if self.tick_at.is_none_or(|at| at > soon) {
                self.tick_at = Some(soon);
            }
        }
    }

    /// How long the head of a window may take before those behind it are taken back.
    fn stuck_after(&self) -> Duration {
        // Where somebody idles there are processors to be had.
        if self.crew.has_idle() { self.config.soon() } else { self.config.stuck() }
    }

    /// Takes back what lies behind a job that takes longer than was expected, so that others can
    /// run it.
    pub(super) fn look_for_the_stuck(&mut self, now: Time) {
        let after = self.stuck_after();
        let mut next = now + after;
        for slot in self.crew.slots() {
            let worker = &self.crew[slot];
            if worker.is_crowded() {
                let due = worker.head_since + after.saturating_mul(worker.slack);
                if due <= now {
                    self.take_back(now, slot, true);
                } else {
                    next = next.min(due);
                }
            }
        }
        // However many heads come due one after the other, they are looked at together.
        self.tick_at = Some(next.max(now + self.config.soon()));
    }

    /// Recalls the windows whose head lies there for too long, so that a stopped or frozen
    /// process holds up nobody. A worker that claimed something is only busy.
    pub(super) fn look_for_silence(&mut self, now: Time) {
        let mut next: Option<Time> = None;
        for slot in self.crew.slots() {
            let worker = &self.crew[slot];
            let unverified = worker.stage == Stage::Ready
                && !worker.window.is_empty()
                && worker.claimed == 0
                && !worker.recalling;
            if !unverified {
                continue;
            }
            let due = worker.head_since + CHECK_AFTER;
            if due <= now {
                self.recall(now, slot);
            } else {
                next = Some(next.map_or(due, |next| next.min(due)));
            }
        }
        self.check_at = next.map(|next| next.max(now + LOOK_AGAIN));
    }
}
