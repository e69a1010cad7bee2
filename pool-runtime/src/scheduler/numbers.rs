//! What the scheduler says of itself. Nothing here changes anything.

use std::time::Duration;

use crate::stats::{Histogram, WorkerState};

use super::event::{Time, WorkerId};
use super::machine::Scheduler;
use super::worker::Stage;

/// One slot, as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WorkerView<'a, T> {
    /// The life that it has now, or had last.
    pub(crate) worker: WorkerId,
    pub(crate) state: WorkerState,
    /// Attempts that have ended in this slot.
    pub(crate) done: u64,
    /// What is at the head of its window: the job, the number of the attempt, and since when.
    pub(crate) head: Option<(&'a T, u32, Time)>,
}

impl<T> Scheduler<T> {
    /// Every slot, by its number.
    pub(crate) fn workers(&self) -> impl Iterator<Item = WorkerView<'_, T>> {
        self.crew.slots().map(|slot| {
            let worker = &self.crew[slot];
            let head = worker.window.front().filter(|_| !worker.holds_early()).map(|index| {
                let job = &self.jobs[index];
                (job.payload(), job.attempts() + 1, worker.head_since)
            });
            let state = match worker.stage {
                Stage::Gone => WorkerState::Gone,
                Stage::Starting => WorkerState::Starting,
                Stage::Ready if head.is_none() => WorkerState::Idle,
                Stage::Ready => WorkerState::Busy,
                // What it runs has its end, and yet nothing else can run there.
                Stage::Killed { .. } if worker.abandoned => WorkerState::Busy,
                Stage::Stopping | Stage::Killed { .. } => WorkerState::Stopping,
            };
            WorkerView { worker: self.crew.id(slot), state, done: worker.done, head }
        })
    }

    /// How long the job has waited that has waited longest: in the queue, in its back-off, or
    /// handed ahead, behind another or to a worker that is not up yet.
    pub(crate) fn oldest_queued(&self, now: Time) -> Option<Duration> {
        // Several priorities may have left for one window, so each job there is looked at.
        let slots = self.crew.slots();
        let ahead = slots.flat_map(|slot| {
            let worker = &self.crew[slot];
            worker.window.iter().skip(usize::from(!worker.holds_early()))
        });
        let since = self.queue.firsts().chain(ahead).map(|index| self.jobs[index].waits_since());
        since.min().map(|since| now.since(since))
    }

    /// How long jobs waited for their first run.
    pub(crate) fn wait(&self) -> &Histogram {
        &self.wait
    }

    /// How long attempts took.
    pub(crate) fn run(&self) -> &Histogram {
        &self.run
    }

    /// The part of the workers' time that was spent on jobs.
    pub(crate) fn utilization(&self, now: Time) -> f64 {
        self.crew.times(now).share()
    }
}
