//! All workers: the lists by which one is found without a search, and the numbers over all of them.
//!
//! Decides nothing. After any change to a worker, [`Crew::settle`] brings lists and sums up to date;
//! there is no other place that touches them.

use std::collections::BTreeSet;
use std::ops::{Index, IndexMut};

use super::estimate::Weight;
use super::event::{Time, WorkerId};
use super::list::{Link, List};
use super::sums::{Marks, Sums};
use super::times::Times;
use super::worker::{Limits, Stage, Worker};

/// The list in which a worker is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shelf {
    None,
    /// To be launched.
    Gone,
    /// Ready, and its window is empty.
    Idle,
    /// Ready, and there is a place in its window behind other jobs.
    Open,
    /// The same, and it was asked in vain since it last changed.
    Passed,
    /// Starting, and a job may wait there for it.
    Early,
}

/// A worker, and what was made of it when it was last settled.
struct Member {
    worker: Worker,
    marks: Marks,
    shelf: Shelf,
    timer: Option<Time>,
    /// It has changed since.
    changed: bool,
}

/// The head of a window that was answered.
pub(super) struct Answered {
    pub(super) index: u32,
    /// A timer of it is armed.
    pub(super) has_timeouts: bool,
    /// The head in its place.
    pub(super) next: Option<u32>,
}

/// All workers.
pub(super) struct Crew {
    members: Vec<Member>,
    /// Slots of those that have changed since they were settled.
    changed: Vec<u32>,
    limits: Limits,
    links: Vec<Link>,
    gone: List,
    /// The one that became idle last comes first, so that the others can go home.
    idle: List,
    /// The one that was served longest ago comes first.
    open: List,
    /// All of these were served before those that are open, and refuse what has this weight or more.
    passed: List,
    refused: Weight,
    /// The one that was launched first comes first.
    early: List,
    timers: BTreeSet<(Time, u32)>,
    sums: Sums,
    pub(super) times: Times,
}

impl Crew {
    pub(super) fn new(workers: u32, limits: Limits) -> Self {
        let member = |_| Member {
            worker: Worker::new(),
            marks: Marks::default(),
            shelf: Shelf::None,
            timer: None,
            changed: false,
        };
        let mut crew = Crew {
            members: (0..workers).map(member).collect(),
            changed: Vec::new(),
            limits,
            links: vec![Link::NONE; workers as usize],
            gone: List::EMPTY,
            idle: List::EMPTY,
            open: List::EMPTY,
            passed: List::EMPTY,
            refused: Weight::NONE,
            early: List::EMPTY,
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
        0..u32::try_from(self.members.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn id(&self, slot: u32) -> WorkerId {
        WorkerId { slot, generation: self[slot].generation }
    }

    /// The slot of a worker that is not gone, as far as the scheduler knows.
    #[inline]
    pub(super) fn find(&self, worker: WorkerId) -> Option<u32> {
        let known = &self.members.get(worker.slot as usize)?.worker;
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
        let mut sums = Sums::default();
        let marks = self.members.iter().map(|member| member.worker.marks());
        marks.for_each(|marks| sums.replace(Marks::default(), marks));
        sums
    }

    /// How many jobs could be handed out, if they are like those before.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.members.iter().map(|member| member.worker.room(&self.limits)).sum()
    }

    /// A slot without a worker; those that never had one come first.
    pub(super) fn first_gone(&self) -> Option<u32> {
        self.gone.first()
    }

    /// Who gets a job of this weight, and for how many jobs there are places: an idle worker, else, of
    /// those who take it, the one who was served longest ago.
    #[inline]
    pub(super) fn who_takes(&mut self, weight: Weight, now: Time) -> Option<(u32, usize)> {
        if let Some(slot) = self.idle.first() {
            return Some((slot, self[slot].places(&self.limits).max(1)));
        }
        if weight < self.refused {
            self.ask_again();
        }
        while let Some(slot) = self.open.first() {
            let places = self[slot].places_for(weight, now, &self.limits);
            if places > 0 {
                return Some((slot, places));
            }
            self.open.remove(&mut self.links, slot);
            self.passed.push_back(&mut self.links, slot);
            self.members[slot as usize].shelf = Shelf::Passed;
            self.refused = self.refused.max(weight);
        }
        None
    }

    /// What they refused was heavier.
    fn ask_again(&mut self) {
        while let Some(slot) = self.passed.last() {
            self.passed.remove(&mut self.links, slot);
            self.open.push_front(&mut self.links, slot);
            self.members[slot as usize].shelf = Shelf::Open;
        }
        self.refused = Weight::NONE;
    }

    /// As if those who refused a job would refuse any.
    #[cfg(test)]
    pub(super) fn forget_refused(&mut self) {
        self.refused = Weight::NONE;
    }

    /// Whether anybody would get a job of this weight.
    pub(super) fn is_taken(&self, weight: Weight, now: Time) -> bool {
        let takes = |slot| self[slot].places_for(weight, now, &self.limits) > 0;
        !self.idle.is_empty()
            || self.open.iter(&self.links).any(takes)
            || weight < self.refused && self.passed.iter(&self.links).any(takes)
    }

    /// Whether anybody who is up has a place for a job that is light enough.
    #[inline]
    pub(super) fn has_places(&self) -> bool {
        !(self.idle.is_empty() && self.open.is_empty() && self.passed.is_empty())
    }

    /// For whom a job may wait who is not up yet.
    #[inline]
    pub(super) fn first_early(&self) -> Option<u32> {
        self.early.first()
    }

    /// Whether anybody is up and has nothing to do.
    pub(super) fn has_idle(&self) -> bool {
        !self.idle.is_empty()
    }

    /// Puts a job into the window of this worker; whether it is to write before what it holds back.
    #[inline]
    pub(super) fn hand(&mut self, slot: u32, index: u32, weight: Weight) -> (WorkerId, bool) {
        let worker = &mut self[slot];
        let prompt = worker.window.push(index, weight);
        (WorkerId { slot, generation: worker.generation }, prompt)
    }

    /// Whether one more job of this weight keeps a window that holds some within the horizon.
    #[inline]
    pub(super) fn has_room(&self, slot: u32, weight: Weight) -> bool {
        self[slot].window.has_room(weight, self.limits.horizon)
    }

    /// Who has been idle for the longest time.
    pub(super) fn longest_idle(&self) -> Option<u32> {
        self.idle.last()
    }

    /// Arms the one timer of a worker, in place of what was armed.
    #[inline]
    pub(super) fn set_timer(&mut self, slot: u32, at: Option<Time>) {
        let old = std::mem::replace(&mut self.members[slot as usize].timer, at);
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

    /// A worker that runs what it is given has answered the head of its window: that leaves, and the
    /// next one can run from now on. The worker has changed: it is to be settled before the next
    /// decision.
    #[inline(always)]
    pub(super) fn answered(&mut self, id: WorkerId, now: Time) -> Option<Answered> {
        let Member { worker, timer, changed, .. } = self.members.get_mut(id.slot as usize)?;
        if (worker.stage != Stage::Ready) | (worker.generation != id.generation) {
            return None;
        }
        let index = worker.window.pop_front()?;
        let next = worker.window.front();
        let head = Answered {
            index,
            has_timeouts: worker.timeout_at.is_some() || worker.stall_at.is_some(),
            next,
        };
        if next.is_some() {
            worker.head_since = now;
        }
        worker.answered();
        let is_armed = timer.is_some() && !worker.recalling;
        if !std::mem::replace(changed, true) {
            self.changed.push(id.slot);
        }
        if is_armed {
            self.set_timer(id.slot, None);
        }
        Some(head)
    }

    /// One of those that have changed.
    pub(super) fn next_changed(&mut self) -> Option<u32> {
        let slot = self.changed.pop()?;
        self.members[slot as usize].changed = false;
        Some(slot)
    }

    /// Brings lists and sums up to date after a change to the worker of this slot.
    pub(super) fn settle(&mut self, slot: u32, now: Time) {
        let member = &mut self.members[slot as usize];
        let worker = &mut member.worker;
        let marks = worker.marks();
        if marks != member.marks {
            self.times = self.times.until(now, self.sums.present, self.sums.busy);
            self.sums.replace(member.marks, marks);
            member.marks = marks;
        }
        let shelf = if worker.places(&self.limits) > 0 {
            if worker.window.is_empty() { Shelf::Idle } else { Shelf::Open }
        } else if worker.stage == Stage::Gone {
            Shelf::Gone
        } else if worker.has_early_place() {
            Shelf::Early
        } else {
            Shelf::None
        };
        let old = std::mem::replace(&mut member.shelf, shelf);
        if shelf == old && (shelf != Shelf::Open || self.open.last() == Some(slot)) {
            return;
        }
        let links = &mut self.links;
        match old {
            Shelf::None => {}
            Shelf::Gone => self.gone.remove(links, slot),
            Shelf::Idle => self.idle.remove(links, slot),
            Shelf::Open => self.open.remove(links, slot),
            Shelf::Passed => self.passed.remove(links, slot),
            Shelf::Early => self.early.remove(links, slot),
        }
        match shelf {
            Shelf::None | Shelf::Passed => {}
            Shelf::Gone if worker.born => self.gone.push_back(links, slot),
            Shelf::Gone => self.gone.push_front(links, slot),
            Shelf::Idle => {
                worker.idle_since = now;
                self.idle.push_front(links, slot);
            }
            // Also one that was here already: whoever was just served comes last.
            Shelf::Open => self.open.push_back(links, slot),
            Shelf::Early => self.early.push_back(links, slot),
        }
    }
}

impl Index<u32> for Crew {
    type Output = Worker;

    #[inline]
    fn index(&self, slot: u32) -> &Worker {
        &self.members[slot as usize].worker
    }
}

impl IndexMut<u32> for Crew {
    #[inline]
    fn index_mut(&mut self, slot: u32) -> &mut Worker {
        &mut self.members[slot as usize].worker
    }
}
