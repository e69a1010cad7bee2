//! A job that is handed to a worker before that is up: it lies there as soon as the worker looks, and
//! nobody has to be woken to send it.
//!
//! It is one job, and only one that nobody else takes. Until the worker is ready it waits like those
//! in the queue, and goes back there, uncounted, if the launch fails, or takes a while and somebody
//! else is up, or if a more urgent one waits. That worker gets no other before it is up: what was sent
//! lies there. A recall may find that the job was claimed, and so that the worker is up.

use super::event::Time;
use super::machine::{Mode, Scheduler};
use super::recall::{CHECK_AFTER, PATIENCE};
use super::worker::Stage;

impl<T> Scheduler<T> {
    /// The process of a worker that starts is there.
    pub(super) fn connected(&mut self, now: Time, slot: u32) {
        let worker = &mut self.crew[slot];
        // What cannot be killed would have to be waited for by the job, whatever becomes of it.
        worker.connected = worker.stage == Stage::Starting && self.config.killable;
        self.crew.settle(slot, now);
    }

    /// Who gets a job that nobody takes, and that it is one.
    ///
    /// How much memory a worker has is looked at from its first job with a limit on, and what is left
    /// until a deadline is told with the job: neither may go on while a worker starts, however long
    /// that takes.
    #[inline]
    pub(super) fn early_taker(&self, index: u32) -> Option<(u32, usize)> {
        let slot = self.crew.first_early()?;
        let is_bounded =
            self.jobs[index].deadline().is_some() || self.terms(index).memory_limit.is_some();
        (!is_bounded).then_some((slot, 1))
    }

    /// Gets back a job that has lain for too long in a worker that is not up yet: for those who are,
    /// whoever of them is free first. Or one that is to wait for the next in the queue.
    pub(super) fn fetch_early(&mut self, now: Time) {
        if self.crew.sums().early == 0 {
            return;
        }
        let due = self.next_fetch().filter(|(at, _)| *at <= now).map(|(_, slot)| slot);
        if let Some(slot) = due.or_else(|| self.outranked()) {
            self.recall(now, slot);
        }
    }

    /// When the next job is to be fetched, and from whom. Workers that are launched together are up
    /// together, more or less: the job is left to the one that it was given to for as long as it may
    /// lie in any, unless whoever idles is about to be let go.
    pub(super) fn next_fetch(&self) -> Option<(Time, u32)> {
        let sums = self.crew.sums();
        let somebody_is_up = sums.ready > sums.unresponsive;
        if sums.early == 0 || sums.recalling > 0 || !somebody_is_up {
            return None;
        }
        let last = match self.mode {
            Mode::Open => self.next_home_time().unwrap_or(Time::NEVER),
            Mode::Closing if self.crew.has_idle() => Time::default(),
            Mode::Closing => Time::NEVER,
            Mode::Shutdown => return None,
        };
        let due = |slot: u32| ((self.crew[slot].head_since + CHECK_AFTER).min(last), slot);
        self.hold_early().map(due).min()
    }

    /// Who holds a job that is less urgent than the next in the queue.
    fn outranked(&self) -> Option<u32> {
        let next = self.terms(self.queue.first()?).priority;
        let is_less = |index| self.terms(index).priority < next;
        self.hold_early().find(|slot| {
            let worker = &self.crew[*slot];
            !worker.recalling && worker.window.front().is_some_and(is_less)
        })
    }

    fn hold_early(&self) -> impl Iterator<Item = u32> + '_ {
        self.crew.slots().filter(|slot| self.crew[*slot].holds_early())
    }

    /// The launch takes too long. The job that waits for it does not wait for the death as well.
    pub(super) fn launch_overdue(&mut self, now: Time, slot: u32) {
        let worker = &mut self.crew[slot];
        let was_overdue = std::mem::replace(&mut worker.overdue, true);
        if was_overdue || !worker.holds_early() {
            return self.kill_launch(now, slot);
        }
        // For hands that forget to answer.
        self.crew.set_timer(slot, Some(now + PATIENCE));
        self.recall(now, slot);
    }
}
