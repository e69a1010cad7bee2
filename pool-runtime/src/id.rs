//! Names of things that are only numbers: [`JobId`].

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// Identifies one accepted job within the life of the program.
///
/// Opaque: compare it, hash it, print it. Ids are never reused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId([u64; 2]);

/// In a cache line of its own: whoever submits writes to it.
#[repr(align(128))]
struct Next(AtomicU64);

impl JobId {
    /// A number that no other job of this process has.
    pub(crate) fn fresh() -> Self {
        static NEXT: Next = Next(AtomicU64::new(1));
        JobId([0, NEXT.0.fetch_add(1, Ordering::Relaxed)])
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
