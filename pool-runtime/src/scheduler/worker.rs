//! What the scheduler knows of each worker, and the numbers over all of them.
//!
//! Owns windows, stages and the lists by which a worker is found without a search. Decides
//! nothing. After any change to a worker, [`Crew::settle`] brings lists and sums up to date;
//! there is no other place that touches them.

use std::collections::BTreeSet;
use std::ops::{Index, IndexMut};
use std::time::Duration;

use super::estimate::Weight;
use super::event::{Time, WorkerId};
use super::queue::{Links, List};
use super::times::Times;
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

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shelf {
    None,
    /// To be launched.
    Gone,
    /// Ready, and its window is empty.
    Idle,
    /// Ready, and its window has room behind other jobs.
    Room,
}

/// What one worker, or all of them, add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    /// Starting, Ready, Stopping or Killed.
    pub(super) present: usize,
    pub(super) starting: usize,
    pub(super) ready: usize,
    /// Gone, and never ready since the pool began.
    pub(super) unborn_gone: usize,
    /// Never ready since the pool began.
    pub(super) unborn: usize,
    /// Windows that hold a job.
    pub(super) busy: usize,
    /// Heads of windows of which it is not known whether they were claimed.
    pub(super) unverified: usize,
    pub(super) unresponsive: usize,
    /// Killed, and left to themselves.
    pub(super) abandoned: usize,
    /// Recalls without an answer yet.
    pub(super) recalls: usize,
    /// How many jobs could be handed out, if they are like those before.
    pub(super) room: usize,
    /// Windows in which jobs lie behind a head of which it is not known whether it was claimed.
    pub(super) crowded: usize,
}

impl Sums {
    /// `self`, with `old` in it replaced by `new`.
    fn replacing(self, old: Sums, new: Sums) -> Sums {
        let swap = |sum: usize, old: usize, new: usize| sum - old + new;
        Sums {
            present: swap(self.present, old.present, new.present),
            starting: swap(self.starting, old.starting, new.starting),
            ready: swap(self.ready, old.ready, new.ready),
            unborn_gone: swap(self.unborn_gone, old.unborn_gone, new.unborn_gone),
            unborn: swap(self.unborn, old.unborn, new.unborn),
            busy: swap(self.busy, old.busy, new.busy),
            unverified: swap(self.unverified, old.unverified, new.unverified),
            unresponsive: swap(self.unresponsive, old.unresponsive, new.unresponsive),
            abandoned: swap(self.abandoned, old.abandoned, new.abandoned),
            recalls: swap(self.recalls, old.recalls, new.recalls),
            room: swap(self.room, old.room, new.room),
            crowded: swap(self.crowded, old.crowded, new.crowded),
        }
    }
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
    /// It did not take what it was given, and has not shown that it is awake.
    pub(super) unresponsive: bool,
    /// When the head of the window became the head.
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
    /// It has been ready in this life or an earlier one.
    pub(super) born: bool,
    /// It was killed and lives on: nobody waits for it, and its slot is taken as long as it does.
    pub(super) abandoned: bool,
    timer: Option<Time>,
    shelf: Shelf,
    sums: Sums,
}

impl Worker {
    fn new() -> Self {
        Worker {
            generation: 0,
            stage: Stage::Gone,
            window: Window::new(),
            claimed: 0,
            recalling: false,
            asked: false,
            until: None,
            overdue: false,
            unresponsive: false,
            head_since: Time::default(),
            timeout_at: None,
            stall_at: None,
            over_memory: false,
            idle_since: Time::default(),
            done: 0,
            slack: 1,
            served: 0,
            born: false,
            abandoned: false,
            timer: None,
            shelf: Shelf::None,
            sums: Sums::default(),
        }
    }

    /// Forgets what was between it and the head of its window.
    pub(super) fn forget_head(&mut self) {
        self.asked = false;
        self.until = None;
        self.overdue = false;
    }

    /// Jobs lie behind its head, and may come back.
    pub(super) fn is_crowded(&self) -> bool {
        self.is_unverified() && self.window.len() > 1
    }

    /// It is not known whether the head of its window was claimed.
    fn is_unverified(&self) -> bool {
        let ready = self.stage == Stage::Ready;
        ready && !self.window.is_empty() && !self.recalling && self.claimed == 0
    }

    /// How many more jobs it may be handed, whatever they are.
    fn places(&self, limits: &Limits) -> usize {
        let is_wanted = !self.recalling && !self.unresponsive && !self.over_memory;
        if self.stage != Stage::Ready || !is_wanted || self.claimed > 0 {
            return 0;
        }
        let left = limits.max_jobs.map_or(usize::MAX, |max| {
            usize::try_from(max.saturating_sub(self.served)).unwrap_or(usize::MAX)
        });
        limits.window.min(left).saturating_sub(self.window.len())
    }

    fn takes(&self, weight: Weight, now: Time, limits: &Limits) -> bool {
        let gets_on = self.window.is_empty() || now.since(self.head_since) <= limits.horizon;
        self.places(limits) > 0 && gets_on && self.window.takes(weight, limits.nanos())
    }

    fn count(&self, limits: &Limits) -> Sums {
        let ready = self.stage == Stage::Ready;
        let gone = self.stage == Stage::Gone;
        Sums {
            present: usize::from(!gone),
            starting: usize::from(self.stage == Stage::Starting),
            ready: usize::from(ready),
            unborn_gone: usize::from(gone && !self.born),
            unborn: usize::from(!self.born),
            busy: usize::from(!self.window.is_empty()),
            unverified: usize::from(self.is_unverified()),
            unresponsive: usize::from(ready && self.unresponsive),
            abandoned: usize::from(self.abandoned),
            recalls: usize::from(self.recalling),
            room: self.places(limits).min(self.window.room(limits.nanos())),
            crowded: usize::from(self.is_crowded()),
        }
    }
}

/// What holds for every worker.
pub(super) struct Limits {
    pub(super) window: usize,
    pub(super) horizon: Duration,
    pub(super) max_jobs: Option<u64>,
}

impl Limits {
    fn nanos(&self) -> u64 {
        u64::try_from(self.horizon.as_nanos()).unwrap_or(u64::MAX)
    }
}

/// How many workers with something to do are asked whether they take one more job.
const CANDIDATES: usize = 8;

/// All workers.
pub(super) struct Crew {
    workers: Vec<Worker>,
    limits: Limits,
    links: Links,
    gone: List,
    /// The one that became idle last comes first, so that the others can go home.
    idle: List,
    with_room: List,
    timers: BTreeSet<(Time, u32)>,
    sums: Sums,
    pub(super) times: Times,
}

impl Crew {
    pub(super) fn new(workers: u32, limits: Limits) -> Self {
        let mut crew = Crew {
            workers: (0..workers).map(|_| Worker::new()).collect(),
            limits,
            links: Links::default(),
            gone: List::EMPTY,
            idle: List::EMPTY,
            with_room: List::EMPTY,
            timers: BTreeSet::new(),
            sums: Sums::default(),
            times: Times::default(),
        };
        for slot in (0..workers).rev() {
            crew.settle(slot, Time::default());
        }
        crew
    }

    pub(super) fn slots(&self) -> std::ops::Range<u32> {
        0..u32::try_from(self.workers.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn id(&self, slot: u32) -> WorkerId {
        WorkerId { slot, generation: self[slot].generation }
    }

    /// The slot of a worker that is not gone, as far as the scheduler knows.
    pub(super) fn find(&self, worker: WorkerId) -> Option<u32> {
        let known = self.workers.get(worker.slot as usize)?;
        (known.stage != Stage::Gone && known.generation == worker.generation).then_some(worker.slot)
    }

    pub(super) fn sums(&self) -> &Sums {
        &self.sums
    }

    /// How much time the workers had, and how much of it they had a job.
    pub(super) fn times(&self, now: Time) -> Times {
        self.times.until(now, self.sums.present, self.sums.busy)
    }

    /// The sums, added up anew.
    #[cfg(test)]
    pub(super) fn recount(&self) -> Sums {
        self.workers.iter().fold(Sums::default(), |sums, worker| {
            sums.replacing(Sums::default(), worker.count(&self.limits))
        })
    }

    /// A slot without a worker; those that never had one come first.
    pub(super) fn first_gone(&self) -> Option<u32> {
        self.gone.first()
    }

    /// Who gets a job of this weight: an idle worker, else one of those who were served longest ago.
    pub(super) fn who_takes(&self, weight: Weight, now: Time) -> Option<u32> {
        let busy = || self.with_room.iter(&self.links).take(CANDIDATES);
        self.idle.first().or_else(|| busy().find(|&slot| self.takes(slot, weight, now)))
    }

    pub(super) fn takes(&self, slot: u32, weight: Weight, now: Time) -> bool {
        self[slot].takes(weight, now, &self.limits)
    }

    /// Who has been idle for the longest time.
    pub(super) fn longest_idle(&self) -> Option<u32> {
        self.idle.last()
    }

    /// Arms the one timer of a worker, in place of what was armed.
    pub(super) fn set_timer(&mut self, slot: u32, at: Option<Time>) {
        let old = std::mem::replace(&mut self[slot].timer, at);
        if old == at {
            return;
        }
        if let Some(old) = old {
            self.timers.remove(&(old, slot));
        }
        if let Some(at) = at {
            self.timers.insert((at, slot));
        }
    }

    pub(super) fn next_timer(&self) -> Option<Time> {
        self.timers.first().map(|&(at, _)| at)
    }

    /// Disarms and names a worker whose timer is due.
    pub(super) fn pop_timer(&mut self, now: Time) -> Option<u32> {
        let &(at, slot) = self.timers.first()?;
        if at > now {
            return None;
        }
        self.set_timer(slot, None);
        Some(slot)
    }

    /// Brings lists and sums up to date after a change to the worker of this slot.
    pub(super) fn settle(&mut self, slot: u32, now: Time) {
        let worker = &self[slot];
        let sums = worker.count(&self.limits);
        let (old_sums, old_shelf) = (worker.sums, worker.shelf);
        let shelf = match worker.stage {
            Stage::Gone => Shelf::Gone,
            Stage::Ready if sums.room > 0 && worker.window.is_empty() => Shelf::Idle,
            Stage::Ready if sums.room > 0 => Shelf::Room,
            Stage::Ready | Stage::Starting | Stage::Stopping | Stage::Killed { .. } => Shelf::None,
        };
        if (old_sums.present, old_sums.busy) != (sums.present, sums.busy) {
            self.times = self.times(now);
        }
        self.sums = self.sums.replacing(old_sums, sums);
        self[slot].sums = sums;
        if shelf == old_shelf && shelf != Shelf::Room {
            return;
        }
        self[slot].shelf = shelf;
        match old_shelf {
            Shelf::None => {}
            Shelf::Gone => self.gone.remove(&mut self.links, slot),
            Shelf::Idle => self.idle.remove(&mut self.links, slot),
            Shelf::Room => self.with_room.remove(&mut self.links, slot),
        }
        match shelf {
            Shelf::None => {}
            Shelf::Gone if self[slot].born => self.gone.push_back(&mut self.links, slot),
            Shelf::Gone => self.gone.push_front(&mut self.links, slot),
            Shelf::Idle => {
                self[slot].idle_since = now;
                self.idle.push_front(&mut self.links, slot);
            }
            // Also one that was here already: whoever was just served comes last.
            Shelf::Room => self.with_room.push_back(&mut self.links, slot),
        }
    }
}

impl Index<u32> for Crew {
    type Output = Worker;

    fn index(&self, slot: u32) -> &Worker {
        &self.workers[slot as usize]
    }
}

impl IndexMut<u32> for Crew {
    fn index_mut(&mut self, slot: u32) -> &mut Worker {
        &mut self.workers[slot as usize]
    }
}
