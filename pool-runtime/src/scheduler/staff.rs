//! Having workers: how many, launching and ending them, and what their deaths mean.

use crate::error::WorkerExit;

use super::event::{Action, Ending, Time};
use super::machine::{Mode, Scheduler};
use super::recall::PATIENCE;
use super::worker::Stage;

/// So many failed launches in a row mean that launching does not work.
const HOPELESS_AFTER: u32 = 3;

impl<T> Scheduler<T> {
    /// How many workers, starting or ready, there should be now. The one place that says so.
    fn wanted(&self) -> usize {
        let limit = self.config.workers as usize;
        let sums = self.crew.sums();
        match self.mode {
            Mode::Shutdown => 0,
            Mode::Closing => limit.min(self.jobs.len()),
            Mode::Open if self.config.idle_timeout.is_none() => limit,
            Mode::Open => {
                // Each starting worker will take one of the waiting jobs, unless it has one; a slot
                // that never had a worker gets one, for those who wait until all are up.
                let needed = self.queue.len().saturating_sub(sums.starting - sums.early);
                limit.min(sums.starting + sums.ready + needed.max(sums.unborn_gone))
            }
        }
    }

    /// Launches what is missing and lets go what is too much.
    pub(super) fn staff(&mut self, now: Time) {
        if self.mode == Mode::Closing {
            self.let_go(now);
        }
        self.launches.due = None;
        while self.serving() < self.wanted() {
            let Some(slot) = self.crew.first_gone() else { return };
            if now < self.launches.not_before {
                self.launches.due = Some(self.launches.not_before);
                return;
            }
            self.launch(now, slot);
        }
    }

    fn serving(&self) -> usize {
        self.crew.sums().starting + self.crew.sums().ready
    }

    /// Ends the workers that a closing pool needs no more.
    fn let_go(&mut self, now: Time) {
        if self.crew.sums().unresponsive > 0 {
            // What waits must not wait for a worker that may never wake.
            for slot in self.crew.slots() {
                if self.crew[slot].stage == Stage::Ready && self.crew[slot].unresponsive {
                    self.stop(now, slot);
                }
            }
        }
        // What comes back in a moment is for those who idle.
        while self.serving() > self.wanted() && self.crew.sums().recalling == 0 {
            if let Some(slot) = self.crew.longest_idle() {
                self.stop(now, slot);
                continue;
            }
            let starting = |slot: &u32| {
                let worker = &self.crew[*slot];
                worker.stage == Stage::Starting && worker.window.is_empty()
            };
            match self.crew.slots().find(starting) {
                Some(slot) => self.kill(now, slot),
                None => return,
            }
        }
    }

    fn launch(&mut self, now: Time, slot: u32) {
        let worker = &mut self.crew[slot];
        worker.stage = Stage::Starting;
        worker.generation = worker.generation.wrapping_add(1);
        worker.served = 0;
        worker.connected = false;
        worker.over_memory = false;
        self.crew.set_timer(slot, Some(now + self.config.start_timeout));
        self.crew.settle(slot, now);
        self.actions.push(Action::Launch { worker: self.crew.id(slot) });
    }

    pub(super) fn started(&mut self, now: Time, slot: u32) {
        let worker = &mut self.crew[slot];
        if worker.stage != Stage::Starting {
            return;
        }
        worker.stage = Stage::Ready;
        worker.born = true;
        worker.overdue = false;
        self.launches.failed = 0;
        self.crew.set_timer(slot, None);
        self.head_began(now, slot);
        self.crew.settle(slot, now);
    }

    /// Lets a worker without jobs exit by itself.
    pub(super) fn stop(&mut self, now: Time, slot: u32) {
        let worker = &mut self.crew[slot];
        worker.stage = Stage::Stopping;
        worker.unresponsive = false;
        worker.recalling = false;
        self.crew.set_timer(slot, Some(now + PATIENCE));
        self.crew.settle(slot, now);
        self.actions.push(Action::Stop { worker: self.crew.id(slot) });
    }

    pub(super) fn kill(&mut self, now: Time, slot: u32) {
        self.kill_as(now, slot, Stage::Killed { launch_failed: false });
    }

    pub(super) fn kill_launch(&mut self, now: Time, slot: u32) {
        self.kill_as(now, slot, Stage::Killed { launch_failed: true });
    }

    fn kill_as(&mut self, now: Time, slot: u32, stage: Stage) {
        let worker = &mut self.crew[slot];
        worker.stage = stage;
        worker.unresponsive = false;
        worker.recalling = false;
        worker.forget_head();
        self.crew.set_timer(slot, Some(now + PATIENCE));
        self.crew.settle(slot, now);
        self.actions.push(Action::Kill { worker: self.crew.id(slot) });
        if !self.config.killable && !self.crew[slot].window.is_empty() {
            self.let_run_on(now, slot);
            self.abandon(now, slot);
        }
    }

    /// It does not end by the kill: it is not waited for, and its slot stays taken until it is gone.
    pub(super) fn abandon(&mut self, now: Time, slot: u32) {
        self.crew[slot].abandoned = true;
        self.crew.set_timer(slot, None);
        self.crew.settle(slot, now);
    }

    /// A worker is gone, or is taken as gone since a kill did not end it.
    pub(super) fn gone(&mut self, now: Time, slot: u32, exit: WorkerExit, claimed: bool) {
        self.head_ends(slot);
        let worker = &mut self.crew[slot];
        let stage = std::mem::replace(&mut worker.stage, Stage::Gone);
        let had_nothing = worker.window.is_empty();
        let window = worker.window.take();
        // What a recall told stays true.
        let known = std::mem::take(&mut worker.claimed).max(usize::from(claimed));
        worker.recalling = false;
        worker.unresponsive = false;
        worker.abandoned = false;
        worker.forget_head();
        self.crew.set_timer(slot, None);
        self.crew.settle(slot, now);

        let died_idle = stage == Stage::Ready && (had_nothing || known == 0);
        let launch_failed =
            matches!(stage, Stage::Starting | Stage::Killed { launch_failed: true });
        if died_idle || launch_failed {
            self.launches.strike(now);
        }
        for (position, index) in window.enumerate() {
            let claimed = position < known;
            if self.jobs[index].doom.is_some() || self.mode == Mode::Shutdown {
                if claimed {
                    // Of several the last was running, and the others' replies were not heard.
                    let began = if position == 0 { self.crew[slot].head_since } else { now };
                    self.attempt_ended(now, slot, began);
                }
                self.fell(now, index, claimed);
            } else if position > 0 || launch_failed && !claimed {
                self.put_back(index);
            } else if claimed {
                self.crashed(now, slot, index, exit);
            } else {
                self.moved(now, slot, index, exit);
            }
        }
        if launch_failed {
            self.launches.failed = self.launches.failed.saturating_add(1);
            if self.is_hopeless() {
                // Those in back-off are not touched: they come back to the queue, and wait
                // for the next launch like a job that is submitted now.
                self.end_queue(Ending::WorkerStart);
            }
        }
    }

    /// No worker lives and three launches in a row have failed.
    ///
    /// While one is on its way the jobs are left to it: at the start of a pool all workers
    /// are launched at once, and a few that fail say little about the others. But launches
    /// that take turns in failing must not keep everybody waiting.
    pub(super) fn is_hopeless(&self) -> bool {
        let sums = self.crew.sums();
        let failed = self.launches.failed;
        let round = self.config.workers.saturating_add(HOPELESS_AFTER);
        sums.ready == 0 && failed >= HOPELESS_AFTER && (sums.starting == 0 || failed >= round)
    }

    /// Stops the workers that have been idle for as long as they may.
    pub(super) fn send_home(&mut self, now: Time) {
        while self.next_home_time().is_some_and(|at| at <= now) {
            let Some(slot) = self.crew.longest_idle() else { return };
            self.stop(now, slot);
        }
    }

    pub(super) fn next_home_time(&self) -> Option<Time> {
        // What comes back in a moment may be for them.
        let idle_timeout = self.config.idle_timeout.filter(|_| self.crew.sums().recalling == 0)?;
        let slot = self.crew.longest_idle()?;
        Some(self.crew[slot].idle_since + idle_timeout)
    }
}
