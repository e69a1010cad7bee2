//! What the scheduler knows of one job, and the slab in which all unresolved ones live.
//!
//! A million jobs may wait, so a record is small: what few jobs need is behind a pointer, and the
//! links of the queue lie where a job in a window has the number of its worker. Records lie in
//! blocks: the slab grows without being copied, and wastes at most one block.
//!
//! A new job gets the first record that is not in use. So jobs that follow each other lie one after
//! the other, however those before them ended, and the processor has the next one at hand: records
//! that are given out as they come back are soon in no order at all, and each one is waited for.

use std::ops::{Index, IndexMut};
use std::sync::Arc;
use std::time::Duration;

use crate::policy::Terms;

use super::event::{JobKey, Time};
use super::list::{Link, Links};

/// Where a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the queue.
    Queue,
    /// Waiting for the end of its back-off.
    BackOff,
    /// In the window of the worker of this slot.
    Window(u32),
}

/// Why a job in a window has to end before its reply. A later reason only replaces a weaker
/// one: who cancels a job during the grace period of its timeout wants no retry of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Doom {
    Stall,
    Timeout,
    Memory,
    Deadline,
    Cancel,
    Kill,
}

/// What few jobs have.
#[derive(Default)]
pub(super) struct Rare {
    terms: Option<Arc<Terms>>,
    pub(super) deadline: Option<(Time, Duration)>,
    /// The end of the current back-off.
    due: Option<Time>,
    /// Attempts beyond those that are counted in [`Job::state`].
    attempts: u32,
    /// How often a death that was nobody's fault moved it from the head of a window.
    moves: u8,
}

impl Rare {
    pub(super) fn of(
        terms: Option<Arc<Terms>>,
        deadline: Option<(Time, Duration)>,
    ) -> Option<Box<Rare>> {
        match (terms, deadline) {
            (None, None) => None,
            (terms, deadline) => Some(Box::new(Rare { terms, deadline, ..Rare::default() })),
        }
    }
}

pub(super) struct Job<T> {
    /// `None`: this record is not in use.
    payload: Option<T>,
    rare: Option<Box<Rare>>,
    /// Its place in line: grows with each job that goes to the back of the queue, or into back-off.
    /// It is also when that was, in nanoseconds.
    pub(super) order: u64,
    /// Its neighbours in the queue or in back-off; in a window the next one is the number of the
    /// worker's slot.
    link: Link,
    generation: u32,
    /// The number of its function.
    pub(super) kind: u16,
    pub(super) doom: Option<Doom>,
    /// Some bits about it, and in the lower half how many attempts were started and have ended.
    state: u8,
}

/// Of `Job::state`: it is in the queue.
const IN_QUEUE: u8 = 0x10;
/// It is in a window. Neither: it is in back-off.
const IN_WINDOW: u8 = 0x20;
/// It was handed to a worker before.
const ASSIGNED: u8 = 0x40;
/// It was at the head of a window before.
const BEGUN: u8 = 0x80;
/// The bits that count.
const ATTEMPTS: u8 = 0x0f;

impl<T> Job<T> {
    const fn unused() -> Self {
        Job {
            payload: None,
            rare: None,
            order: 0,
            link: Link::NONE,
            generation: 0,
            kind: 0,
            doom: None,
            state: 0,
        }
    }

    /// What it carries.
    pub(super) fn payload(&self) -> &T {
        self.payload.as_ref().expect("what is in the queue, a timer or a window is unresolved")
    }

    /// `None`: those of the pool.
    pub(super) fn terms(&self) -> Option<&Terms> {
        self.rare.as_ref()?.terms.as_deref()
    }

    #[cfg(test)]
    pub(super) fn set_terms(&mut self, terms: Terms) {
        self.rare.get_or_insert_default().terms = Some(Arc::new(terms));
    }

    pub(super) fn place(&self) -> Place {
        match self.state & (IN_QUEUE | IN_WINDOW) {
            IN_QUEUE => Place::Queue,
            IN_WINDOW => Place::Window(self.link.next),
            _ => Place::BackOff,
        }
    }

    /// Into a line it has to be put besides: this forgets where it stood in the last one.
    pub(super) fn set_place(&mut self, place: Place) {
        let (bit, number) = match place {
            Place::Queue => (IN_QUEUE, None),
            Place::BackOff => (0, None),
            Place::Window(slot) => (IN_WINDOW, Some(slot)),
        };
        self.state = self.state & !(IN_QUEUE | IN_WINDOW) | bit;
        self.link = number.map_or(Link::NONE, |slot| Link { next: slot, ..Link::NONE });
    }

    /// Since when it has waited where it is; before its first attempt, since it came.
    pub(super) fn waits_since(&self) -> Time {
        Time::of_nanos(self.order)
    }

    /// Attempts that were started and have ended.
    pub(super) fn attempts(&self) -> u32 {
        let few = u32::from(self.state & ATTEMPTS);
        self.rare.as_ref().map_or(few, |rare| few.saturating_add(rare.attempts))
    }

    /// One more attempt has ended.
    #[inline]
    pub(super) fn count_attempt(&mut self) {
        if self.state & ATTEMPTS < ATTEMPTS {
            self.state += 1;
        } else {
            let attempts = &mut self.rare.get_or_insert_default().attempts;
            *attempts = attempts.saturating_add(1);
        }
    }

    /// Whether it was handed to a worker before.
    pub(super) fn was_assigned(&self) -> bool {
        self.state & ASSIGNED != 0
    }

    /// It leaves the queue for the window of the worker of this slot; whether that is for the first
    /// time.
    #[inline]
    pub(super) fn goes_to(&mut self, slot: u32) -> bool {
        let first = !self.was_assigned();
        self.state = self.state & !IN_QUEUE | IN_WINDOW | ASSIGNED;
        self.link.next = slot;
        first
    }

    /// How often a death that was nobody's fault moved it from the head of a window.
    pub(super) fn moves(&self) -> u8 {
        self.rare.as_ref().map_or(0, |rare| rare.moves)
    }

    pub(super) fn set_moves(&mut self, moves: u8) {
        self.rare.get_or_insert_default().moves = moves;
    }

    /// It is at the head of a window; whether that is for the first time.
    pub(super) fn begins(&mut self) -> bool {
        let first = self.state & BEGUN == 0;
        self.state |= BEGUN;
        first
    }

    #[cfg(test)]
    pub(super) fn forget_begun(&mut self) {
        self.state &= !BEGUN;
    }

    /// The moment of the deadline, and the length that the user asked for.
    pub(super) fn deadline(&self) -> Option<(Time, Duration)> {
        self.rare.as_ref()?.deadline
    }

    pub(super) fn due(&self) -> Option<Time> {
        self.rare.as_ref()?.due
    }

    pub(super) fn set_due(&mut self, due: Time) {
        self.rare.get_or_insert_default().due = Some(due);
    }
}

/// So many records are made at once.
const BLOCK: usize = 512;

/// All unresolved jobs. Indices are reused, keys are not.
pub(super) struct Jobs<T> {
    blocks: Vec<Box<[Job<T>; BLOCK]>>,
    unused: Unused,
    len: usize,
}

impl<T> Jobs<T> {
    pub(super) fn new() -> Self {
        Jobs { blocks: Vec::new(), unused: Unused::default(), len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Takes in a job. It is nowhere yet.
    #[inline]
    pub(super) fn insert(&mut self, payload: T, kind: u16, rare: Option<Box<Rare>>) -> JobKey {
        let index = match self.unused.take_first() {
            Some(index) => index,
            None => self.grow(),
        };
        let job = &mut self[index];
        assert!(job.payload.is_none() && job.rare.is_none(), "it is not in use");
        job.payload = Some(payload);
        job.rare = rare;
        job.kind = kind;
        job.doom = None;
        job.state = 0;
        let generation = job.generation;
        self.len += 1;
        JobKey::new(index, generation)
    }

    /// Apart from what is done for each job: a block is made on the stack. Gives its first record.
    #[cold]
    #[inline(never)]
    fn grow(&mut self) -> u32 {
        let first = self.blocks.len() * BLOCK;
        u32::try_from(first + BLOCK).expect("fewer than 2^32 jobs fit in memory");
        self.blocks.push(Box::new(std::array::from_fn(|_| Job::unused())));
        self.unused.grow();
        self.unused.take_first().expect("the new ones are not in use")
    }

    /// The index of a job that has not ended.
    pub(super) fn find(&self, key: JobKey) -> Option<u32> {
        let index = key.index() as usize;
        let job = &self.blocks.get(index / BLOCK)?[index % BLOCK];
        (job.generation == key.generation() && job.payload.is_some()).then_some(key.index())
    }

    /// The job at this index, if there is one.
    pub(super) fn at(&self, index: u32) -> Option<(JobKey, &T)> {
        let job = self.blocks.get(index as usize / BLOCK)?.get(index as usize % BLOCK)?;
        Some((JobKey::new(index, job.generation), job.payload.as_ref()?))
    }

    pub(super) fn key(&self, index: u32) -> JobKey {
        JobKey::new(index, self[index].generation)
    }

    /// Forgets the job and gives back what it carried.
    pub(super) fn remove(&mut self, index: u32) -> Option<Leaving<T>> {
        let job = &self[index];
        let (attempts, was_assigned) = (job.attempts(), job.was_assigned());
        let (key, payload, rare) = self.take(index)?;
        Some(Leaving { key, payload, attempts, was_assigned, rare })
    }

    /// The same without what it has come through.
    #[inline]
    pub(super) fn take(&mut self, index: u32) -> Option<(JobKey, T, Option<Box<Rare>>)> {
        let job = &mut self[index];
        let payload = job.payload.take()?;
        let rare = job.rare.take();
        let key = JobKey::new(index, job.generation);
        job.generation = job.generation.wrapping_add(1);
        job.link = Link::NONE;
        self.unused.put(index);
        self.len -= 1;
        Some((key, payload, rare))
    }
}

/// Which records are not in use: a bit each, and a bit for each word of these that has any.
#[derive(Default)]
struct Unused {
    bits: Vec<u64>,
    words: Vec<u64>,
    /// No word of `words` before this one has any.
    first: usize,
}

impl Unused {
    /// The first one, which is in use from here on.
    #[inline]
    fn take_first(&mut self) -> Option<u32> {
        let words = self.words.get(self.first..)?;
        let (n, words) = words.iter().enumerate().find(|(_, words)| **words != 0)?;
        let word = 64 * (self.first + n) + words.trailing_zeros() as usize;
        self.first += n;
        let bits = &mut self.bits[word];
        let index = 64 * word as u32 + bits.trailing_zeros();
        *bits &= *bits - 1;
        if *bits == 0 {
            self.words[self.first] &= !(1 << (word % 64));
        }
        Some(index)
    }

    #[inline]
    fn put(&mut self, index: u32) {
        let word = index as usize / 64;
        self.bits[word] |= 1 << (index % 64);
        self.words[word / 64] |= 1 << (word % 64);
        self.first = self.first.min(word / 64);
    }

    /// There is one more block.
    fn grow(&mut self) {
        let first = self.bits.len();
        self.bits.resize(first + BLOCK / 64, u64::MAX);
        self.words.resize(self.bits.len().div_ceil(64), 0);
        for word in first..self.bits.len() {
            self.words[word / 64] |= 1 << (word % 64);
        }
        self.first = self.first.min(first / 64);
    }
}

/// What is left of a job.
pub(super) struct Leaving<T> {
    pub(super) key: JobKey,
    pub(super) payload: T,
    pub(super) attempts: u32,
    pub(super) was_assigned: bool,
    pub(super) rare: Option<Box<Rare>>,
}

impl<T> Index<u32> for Jobs<T> {
    type Output = Job<T>;

    #[inline]
    fn index(&self, index: u32) -> &Job<T> {
        &self.blocks[index as usize / BLOCK][index as usize % BLOCK]
    }
}

impl<T> IndexMut<u32> for Jobs<T> {
    #[inline]
    fn index_mut(&mut self, index: u32) -> &mut Job<T> {
        &mut self.blocks[index as usize / BLOCK][index as usize % BLOCK]
    }
}

impl<T> Links for Jobs<T> {
    fn link(&self, index: u32) -> Link {
        self[index].link
    }

    fn link_mut(&mut self, index: u32) -> &mut Link {
        &mut self[index].link
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_an_ended_job_matches_nothing() {
        let mut jobs = Jobs::new();
        let old = jobs.insert(1u64, 0, None);
        assert!(jobs.remove(old.index()).is_some());
        assert_eq!(jobs.find(old), None);
        let new = jobs.insert(2u64, 0, None);
        assert_eq!(new.index(), old.index());
        assert_eq!(jobs.find(old), None);
        assert_eq!(jobs.find(new), Some(new.index()));
        assert_eq!(jobs.len(), 1);
    }

    #[test]
    fn records_lie_where_they_lay_however_many_come() {
        let mut jobs = Jobs::new();
        let keys: Vec<_> = (0..3 * BLOCK).map(|n| jobs.insert(n, 0, None)).collect();
        for (n, key) in keys.iter().enumerate() {
            assert_eq!((key.index() as usize, *jobs[key.index()].payload()), (n, n));
        }
        for key in keys.iter().rev() {
            assert!(jobs.remove(key.index()).is_some());
        }
        assert_eq!((jobs.insert(7, 0, None).index(), jobs.blocks.len()), (0, 3));
    }

    #[test]
    fn the_first_record_that_is_not_in_use_is_the_next() {
        let mut jobs = Jobs::new();
        let all = 20 * BLOCK as u32;
        for n in 0..all {
            assert_eq!(jobs.insert(n, 0, None).index(), n);
        }
        let mut free: Vec<u32> = (0..all).filter(|n| n % 7 == 3 || n / 64 == 5).collect();
        for index in free.iter().rev().step_by(2).chain(free.iter().rev().skip(1).step_by(2)) {
            assert!(jobs.remove(*index).is_some());
        }
        free.extend(all..all + 3);
        for index in free {
            assert_eq!(jobs.insert(index, 0, None).index(), index);
        }
        for index in 0..all + 3 {
            assert_eq!(jobs.remove(index).map(|leaving| leaving.payload), Some(index));
        }
        assert_eq!((jobs.len(), jobs.insert(0, 0, None).index()), (0, 0));
    }

    #[test]
    fn attempts_are_counted_however_many_they_are() {
        let mut jobs = Jobs::new();
        let key = jobs.insert((), 0, None);
        let job = &mut jobs[key.index()];
        job.set_place(Place::Window(3));
        for n in 0..100 {
            assert_eq!(job.attempts(), n);
            job.count_attempt();
        }
        assert_eq!(job.place(), Place::Window(3));
        assert!(job.begins() && !job.begins() && !job.was_assigned());
    }

    #[test]
    fn a_waiting_job_is_a_small_record() {
        assert!(size_of::<Job<Arc<u64>>>() <= 40);
    }
}
