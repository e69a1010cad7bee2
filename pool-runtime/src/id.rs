//! Names of things that are only numbers: [`JobId`].

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// Identifies one accepted job within the life of the program.
///
/// Opaque: compare it, hash it, print it. Ids are never reused. Those of the jobs that one thread
/// submits grow; of two threads' jobs they do not tell which came first.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId([u64; 2]);

/// A thread takes so many numbers at once: threads that submit at the same time need not take turns
/// for each.
const BLOCK: u64 = 64;

/// How many numbers were taken by threads.
static TAKEN: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// So many numbers are used up, of all before the end of this thread's block.
    static USED: Cell<u64> = const { Cell::new(0) };
}

impl JobId {
    /// A number that no other job of this process has.
    #[inline]
    pub(crate) fn fresh() -> Self {
        let number = USED.with(|used| {
            let before = match used.get() {
                all if all % BLOCK == 0 => TAKEN.fetch_add(BLOCK, Ordering::Relaxed),
                some => some,
            };
            used.set(before + 1);
            before + 1
        });
        JobId([0, number])
    }

    pub(crate) const fn from_words(words: [u64; 2]) -> Self {
        JobId(words)
    }

    pub(crate) const fn words(self) -> [u64; 2] {
        self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [0, low] => write!(f, "{low}"),
            [high, low] => write!(f, "{high:x}-{low:016x}"),
        }
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JobId({self})")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::thread;

    use super::*;

    #[test]
    fn no_number_is_given_twice_and_those_of_a_thread_grow() {
        let mut all = HashSet::new();
        let threads: Vec<_> = (0..4)
            .map(|_| thread::spawn(|| (0..1000).map(|_| JobId::fresh()).collect::<Vec<_>>()))
            .collect();
        for thread in threads {
            let ids = thread.join().unwrap();
            assert!(ids.is_sorted() && ids[0] > JobId::from_words([0, 0]));
            ids.into_iter().for_each(|id| assert!(all.insert(id), "{id}"));
        }
    }
}
