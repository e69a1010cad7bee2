//! The jobs that one worker was given and has not answered, in order.

use std::collections::VecDeque;

use super::estimate::{BRIEF, Weight};

/// A reply may be held back for so much of the time that its job had to wait behind others, and in any
/// case for as long as a brief job takes.
const HELD_BACK: u64 = 4;

pub(super) struct Window {
    jobs: VecDeque<(u32, Weight)>,
    /// What all of them are expected to take, in nanoseconds.
    load: u64,
    /// What came last, even if it has left: the next will likely be of its kind.
    last: Weight,
    /// For so long, in nanoseconds, the oldest of the replies that are held back will have waited
    /// when all of it has run.
    held: u64,
}

impl Window {
    pub(super) fn new() -> Self {
        Window { jobs: VecDeque::new(), load: 0, last: Weight::UNKNOWN, held: 0 }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    #[inline]
    pub(super) fn front(&self) -> Option<u32> {
        self.jobs.front().map(|&(index, _)| index)
    }

    #[inline]
    pub(super) fn head_weight(&self) -> Weight {
        self.jobs.front().map_or(Weight::NONE, |&(_, weight)| weight)
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = u32> + '_ {
        self.jobs.iter().map(|&(index, _)| index)
    }

    /// Whether what is held back is to be written before this one begins: whoever waits for that
    /// must not wait for this one as well.
    #[inline]
    pub(super) fn push(&mut self, index: u32, weight: Weight) -> bool {
        // The first may have run for long, and nearly be done.
        let waits = self.load - self.head_weight().nanos();
        let bearable = BRIEF.max(waits / HELD_BACK);
        // All that came before an empty window was heard.
        let held = if self.is_empty() { 0 } else { self.held };
        self.jobs.push_back((index, weight));
        self.load += weight.nanos();
        self.last = weight;
        self.held = held + weight.nanos();
        let prompt = self.held > bearable;
        if prompt {
            self.held = 0;
        }
        prompt
    }

    #[inline]
    pub(super) fn pop_front(&mut self) -> Option<u32> {
        self.jobs.pop_front().map(|job| self.left(job))
    }

    pub(super) fn pop_back(&mut self) -> Option<u32> {
        self.jobs.pop_back().map(|job| self.left(job))
    }

    fn left(&mut self, (index, weight): (u32, Weight)) -> u32 {
        self.load -= weight.nanos();
        index
    }

    /// As if the last one took so long.
    #[cfg(test)]
    pub(super) fn reweigh_last(&mut self, weight: Weight) {
        if let Some((index, _)) = self.jobs.back().copied() {
            let _ = self.pop_back();
            self.push(index, weight);
        }
    }

    /// Empties it.
    pub(super) fn take(&mut self) -> impl Iterator<Item = u32> + use<> {
        self.load = 0;
        std::mem::take(&mut self.jobs).into_iter().map(|(index, _)| index)
    }

    /// Whether one more job of this weight keeps all of it within so many nanoseconds.
    #[inline]
    pub(super) fn takes(&self, weight: Weight, horizon: u64) -> bool {
        self.is_empty() || self.has_room(weight, horizon)
    }

    /// The same if it holds some.
    #[inline]
    pub(super) fn has_room(&self, weight: Weight, horizon: u64) -> bool {
        self.load + weight.nanos() <= horizon
    }

    #[cfg(test)]
    /// How many more jobs like the last keep all of it within so many nanoseconds.
    pub(super) fn room(&self, horizon: u64) -> usize {
        let each = self.last.nanos().max(1);
        let more = usize::try_from(horizon.saturating_sub(self.load) / each).unwrap_or(usize::MAX);
        more.max(usize::from(self.is_empty()))
    }
}
