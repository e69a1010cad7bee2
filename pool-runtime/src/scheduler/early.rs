//! A job that is handed to a worker before that is up: it lies there as soon as the worker looks, and
//! nobody has to be woken to send it.
//!
//! It is one job, and only one that nobody else takes. Until the worker is ready it waits like those
//! in the queue, and goes back there, uncounted, if the launch fails, or if it takes a while and
//! somebody else has nothing to do. A recall may find that it was claimed, and so that the worker is
//! up.

use super::event::Time;
use super::machine::Scheduler;
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

    /// Who gets a job that nobody takes, and that it is one. How much memory a worker has is looked at
    /// from its first job with a limit on: not while it starts, however long that takes.
    #[inline]
    pub(super) fn early_taker(&self, index: u32) -> Option<(u32, usize)> {
        let slot = self.crew.first_early()?;
        self.terms(index).memory_limit.is_none().then_some((slot, 1))
    }

    /// Gets back the job that has lain for too long in a worker that is not up yet, for one that
    /// idles.
    pub(super) fn fetch_early(&mut self, now: Time) {
        if let Some((at, slot)) = self.next_fetch() {
            if at <= now {
                self.recall(now, slot);
            }
        }
    }

    /// When the next job is to be fetched, and from whom. Workers that are launched together are up
    /// together, more or less: the job is left to the one that it was given to for as long as it may
    /// lie in any.
    pub(super) fn next_fetch(&self) -> Option<(Time, u32)> {
        let sums = self.crew.sums();
        if sums.early == 0 || sums.recalling > 0 || !self.crew.has_idle() || self.queue.len() > 0 {
            return None;
        }
        let waits = |slot: &u32| self.crew[*slot].holds_early();
        let due = |slot: u32| (self.crew[slot].head_since + CHECK_AFTER, slot);
        self.crew.slots().filter(waits).map(due).min()
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
