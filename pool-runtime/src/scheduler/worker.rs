//! What the scheduler knows of one worker.

use super::estimate::Weight;
use super::event::Time;
use super::sums::Marks;
use super::window::Window;

/// Where a worker is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// No process, or one that has been given up.
    Gone,
    /// Launched; not ready yet.
    Starting,
    /// Runs what it is given.
    Ready,
    /// Asked to exit by itself.
    Stopping,
    /// A kill was issued.
    Killed {
        /// It had not become ready in time.
        launch_failed: bool,
    },
}

/// What holds for every worker.
pub(super) struct Limits {
    pub(super) window: usize,
    /// In nanoseconds.
    pub(super) horizon: u64,
    /// What takes no time is done by then, in nanoseconds, unless all processors are busy.
    pub(super) soon: u64,
    /// What does not come in this time, in nanoseconds, is stuck.
    pub(super) stuck: u64,
    pub(super) max_jobs: Option<u64>,
}

pub(super) struct Worker {
    pub(super) generation: u32,
    pub(super) stage: Stage,
    /// Jobs handed to it and not answered, in order.
    pub(super) window: Window,
    /// So many at the front of the window are known to be claimed. If any, the window holds
    /// nothing else: it was recalled, and gets nothing new before these are answered.
    pub(super) claimed: usize,
    /// A recall that has no answer yet.
    pub(super) recalling: bool,
    /// The head of the window was asked to stop.
    pub(super) asked: bool,
    /// When the head's grace period, or the wait for a reply that must come, is over.
    pub(super) until: Option<Time>,
    /// `until` is over.
    pub(super) overdue: bool,
    /// What waited for a reply is to be taken up, once all that came with that is heard.
    pub(super) is_to_be_pressed: bool,
    /// It did not take what it was given, and has not shown that it is awake.
    pub(super) unresponsive: bool,
    /// When the head of the window became the head; while the worker starts, when it was handed out.
    pub(super) head_since: Time,
    /// The timer of the head's timeout.
    pub(super) timeout_at: Option<Time>,
    /// The timer of the head's stall timeout.
    pub(super) stall_at: Option<Time>,
    /// It was found beyond a memory limit: it gets no grace, and no other job.
    pub(super) over_memory: bool,
    pub(super) idle_since: Time,
    /// Attempts that have ended here, in all lives.
    pub(super) done: u64,
    /// How much longer than others it may need to begin.
    pub(super) slack: u32,
    /// Attempts it answered in this life.
    pub(super) served: u64,
    /// While it starts: what is sent to it lies there until it is up.
    pub(super) connected: bool,
    /// It has been ready in this life or an earlier one.
    pub(super) born: bool,
    /// It was killed and lives on: nobody waits for it, and its slot is taken as long as it does.
    pub(super) abandoned: bool,
}

impl Worker {
    pub(super) fn new() -> Self {
        Worker {
            generation: 0,
            stage: Stage::Gone,
            window: Window::new(),
            claimed: 0,
            recalling: false,
            asked: false,
            until: None,
            overdue: false,
            is_to_be_pressed: false,
            unresponsive: false,
            head_since: Time::default(),
            timeout_at: None,
            stall_at: None,
            over_memory: false,
            idle_since: Time::default(),
            done: 0,
            slack: 1,
            served: 0,
            connected: false,
            born: false,
            abandoned: false,
        }
    }

    /// It has answered the head of its window.
    #[inline]
    pub(super) fn answered(&mut self) {
        self.done += 1;
        self.served += 1;
        self.claimed = self.claimed.saturating_sub(1);
        self.slack = 1;
        self.forget_head();
    }

    /// Forgets what was between it and the head of its window.
    pub(super) fn forget_head(&mut self) {
        self.asked = false;
        self.until = None;
        self.overdue = false;
    }

    /// It may be handed a job before it is up.
    pub(super) fn has_early_place(&self) -> bool {
        let is_free = self.window.is_empty() && !self.recalling && !self.overdue;
        self.stage == Stage::Starting && self.connected && is_free
    }

    /// It was handed one.
    pub(super) fn holds_early(&self) -> bool {
        self.stage == Stage::Starting && !self.window.is_empty()
    }

    /// Jobs lie behind its head, and may come back.
    pub(super) fn is_crowded(&self) -> bool {
        self.is_unverified() && self.window.len() > 1
    }

    /// It is not known whether the head of its window was claimed.
    pub(super) fn is_unverified(&self) -> bool {
        let ready = self.stage == Stage::Ready;
        ready && !self.window.is_empty() && !self.recalling && self.claimed == 0
    }

    /// How many more jobs it may be handed, whatever they are.
    #[inline]
    pub(super) fn places(&self, limits: &Limits) -> usize {
        let is_unwanted = self.recalling | self.unresponsive | self.over_memory;
        if self.stage != Stage::Ready || is_unwanted || self.claimed > 0 {
            return 0;
        }
        let left = limits.max_jobs.map_or(usize::MAX, |max| {
            usize::try_from(max.saturating_sub(self.served)).unwrap_or(usize::MAX)
        });
        limits.window.min(left).saturating_sub(self.window.len())
    }

    /// The same if the first of them has this weight: none if it is too heavy. What is refused is
    /// refused however late it gets, and so is what is heavier, until the worker has changed.
    #[inline]
    pub(super) fn places_for(&self, weight: Weight, now: Time, limits: &Limits) -> usize {
        let gets_on = || now.nanos_since(self.head_since) <= self.due_after(limits);
        let has_room = || gets_on() && self.window.takes(weight, limits.horizon);
        if self.window.is_empty() || has_room() { self.places(limits) } else { 0 }
    }

    /// If the head takes longer than this, in nanoseconds, it does not take what was expected of it.
    #[inline]
    pub(super) fn due_after(&self, limits: &Limits) -> u64 {
        let expected = self.window.head_weight().nanos();
        limits.soon.saturating_add(2 * expected).min(limits.stuck)
    }

    /// How many more jobs could be handed to it, if they are like those before.
    #[cfg(test)]
    pub(super) fn room(&self, limits: &Limits) -> usize {
        self.places(limits).min(self.window.room(limits.horizon))
    }

    pub(super) fn marks(&self) -> Marks {
        let stage = if self.stage == Stage::Ready {
            Marks::PRESENT | Marks::READY | Marks::UNRESPONSIVE.when(self.unresponsive)
        } else if self.stage == Stage::Gone {
            Marks::UNBORN_GONE.when(!self.born)
        } else {
            Marks::PRESENT | Marks::STARTING.when(self.stage == Stage::Starting)
        };
        stage
            | Marks::UNBORN.when(!self.born)
            | Marks::BUSY.when(!self.window.is_empty() && self.stage != Stage::Starting)
            | Marks::EARLY.when(self.holds_early())
            | Marks::UNVERIFIED.when(self.is_unverified())
            | Marks::CROWDED.when(self.is_crowded())
            | Marks::ABANDONED.when(self.abandoned)
            | Marks::RECALLING.when(self.recalling)
    }
}
