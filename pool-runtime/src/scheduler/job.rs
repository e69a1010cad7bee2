//! What the scheduler knows of one job, and the slab in which all unresolved ones live.
//!
//! A million jobs may wait, so a record is small: what few jobs need is behind a pointer,
//! and terms that are the pool's own are not there at all.

use std::ops::{Index, IndexMut};
use std::sync::Arc;
use std::time::Duration;

use crate::policy::Terms;

use super::event::{JobKey, Time};

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

/// Moments that few jobs have.
#[derive(Default)]
struct Moments {
    deadline: Option<(Time, Duration)>,
    /// The end of the current back-off.
    due: Option<Time>,
}

pub(super) struct Job<T> {
    pub(super) payload: T,
    /// `None`: those of the pool.
    pub(super) terms: Option<Arc<Terms>>,
    moments: Option<Box<Moments>>,
    /// Its place in line: grows with each job that goes to the back of the queue, or into back-off.
    /// It is also when that was, in nanoseconds.
    pub(super) order: u64,
    pub(super) place: Place,
    /// Attempts that were started and have ended.
    pub(super) attempts: u32,
    /// The number of its function.
    pub(super) kind: u16,
    pub(super) doom: Option<Doom>,
    flags: u8,
}

/// Of `Job::flags`: it was handed to a worker before.
const ASSIGNED: u8 = 0x80;
/// It was at the head of a window before.
const BEGUN: u8 = 0x40;
/// The other bits count its moves.
const MOVES: u8 = 0x3f;

impl<T> Job<T> {
    pub(super) fn new(
        payload: T,
        kind: u16,
        terms: Option<Arc<Terms>>,
        deadline: Option<(Time, Duration)>,
    ) -> Self {
        Job {
            payload,
            terms,
            moments: deadline.map(|_| Box::new(Moments { deadline, due: None })),
            order: 0,
            place: Place::Queue,
            attempts: 0,
            kind,
            doom: None,
            flags: 0,
        }
    }

    /// Since when it has waited where it is; before its first attempt, since it came.
    pub(super) fn waits_since(&self) -> Time {
        Time::after_start(Duration::from_nanos(self.order))
    }

    /// Whether it was handed to a worker before.
    pub(super) fn was_assigned(&self) -> bool {
        self.flags & ASSIGNED != 0
    }

    pub(super) fn set_assigned(&mut self) {
        self.flags |= ASSIGNED;
    }

    /// How often a death that was nobody's fault moved it from the head of a window.
    pub(super) fn moves(&self) -> u8 {
        self.flags & MOVES
    }

    pub(super) fn set_moves(&mut self, moves: u8) {
        self.flags = self.flags & !MOVES | moves & MOVES;
    }

    /// It is at the head of a window; whether that is for the first time.
    pub(super) fn begins(&mut self) -> bool {
        let first = self.flags & BEGUN == 0;
        self.flags |= BEGUN;
        first
    }

    #[cfg(test)]
    pub(super) fn forget_begun(&mut self) {
        self.flags &= !BEGUN;
    }

    /// The moment of the deadline, and the length that the user asked for.
    pub(super) fn deadline(&self) -> Option<(Time, Duration)> {
        self.moments.as_ref().and_then(|moments| moments.deadline)
    }

    pub(super) fn due(&self) -> Option<Time> {
        self.moments.as_ref().and_then(|moments| moments.due)
    }

    pub(super) fn set_due(&mut self, due: Time) {
        self.moments.get_or_insert_default().due = Some(due);
    }
}

struct Entry<T> {
    generation: u32,
    job: Option<Job<T>>,
}

/// All unresolved jobs. Indices are reused, keys are not.
pub(super) struct Jobs<T> {
    entries: Vec<Entry<T>>,
    free: Vec<u32>,
}

impl<T> Jobs<T> {
    pub(super) fn new() -> Self {
        Jobs { entries: Vec::new(), free: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    pub(super) fn insert(&mut self, job: Job<T>) -> JobKey {
        if let Some(index) = self.free.pop() {
            let entry = &mut self.entries[index as usize];
            entry.job = Some(job);
            return JobKey { index, generation: entry.generation };
        }
        let index = u32::try_from(self.entries.len()).expect("fewer than 2^32 jobs fit in memory");
        self.entries.push(Entry { generation: 0, job: Some(job) });
        JobKey { index, generation: 0 }
    }

    /// The index of a job that has not ended.
    pub(super) fn find(&self, key: JobKey) -> Option<u32> {
        let entry = self.entries.get(key.index as usize)?;
        (entry.generation == key.generation && entry.job.is_some()).then_some(key.index)
    }

    pub(super) fn key(&self, index: u32) -> JobKey {
        JobKey { index, generation: self.entries[index as usize].generation }
    }

    /// Forgets the job and gives back what it carried.
    pub(super) fn remove(&mut self, index: u32) -> Option<T> {
        let entry = &mut self.entries[index as usize];
        let Job { payload, .. } = entry.job.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(index);
        Some(payload)
    }
}

impl<T> Index<u32> for Jobs<T> {
    type Output = Job<T>;

    fn index(&self, index: u32) -> &Job<T> {
        self.entries[index as usize]
            .job
            .as_ref()
            .expect("an index in the queue, a timer or a window is of an unresolved job")
    }
}

impl<T> IndexMut<u32> for Jobs<T> {
    fn index_mut(&mut self, index: u32) -> &mut Job<T> {
        self.entries[index as usize]
            .job
            .as_mut()
            .expect("an index in the queue, a timer or a window is of an unresolved job")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_an_ended_job_matches_nothing() {
        let mut jobs = Jobs::new();
        let old = jobs.insert(Job::new(1u64, 0, None, None));
        assert!(jobs.remove(old.index).is_some());
        assert_eq!(jobs.find(old), None);
        let new = jobs.insert(Job::new(2u64, 0, None, None));
        assert_eq!(new.index, old.index);
        assert_eq!(jobs.find(old), None);
        assert_eq!(jobs.find(new), Some(new.index));
        assert_eq!(jobs.len(), 1);
    }

    #[test]
    fn a_waiting_job_is_a_small_record() {
        let links = 8;
        assert!(size_of::<Entry<Arc<u64>>>() + links <= 64);
    }
}
