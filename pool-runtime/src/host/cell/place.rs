//! Who has a job, and so can give it up: a queue, or a pool, which a cell knows by one byte.

use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;

use tokio::runtime::Handle;

use super::{Cell, CellRef};
use crate::os::fork_depth;

/// How a job is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// With its grace period.
    Cancel = 1,
    /// At once.
    Kill = 2,
}

/// A queue or a pool.
pub(crate) trait Holder: Send + Sync + UnwindSafe + RefUnwindSafe {
    /// Gives the job up; false if it is not here any more.
    fn give_up(&self, cell: &CellRef, ticket: i64, manner: Manner) -> bool;

    /// Where a signal for the job may be polled, if the holder has such a place.
    fn runtime(&self) -> Option<Handle>;

    /// Looks whether one of its workers has begun a job before it was known to be up.
    fn look(&self) {}

    /// Somebody waits for a job: what was left behind enters.
    fn let_in(&self) {}

    /// Looks for the outcome of a job, or of any other, for a moment. Whether it is worth while to ask
    /// again: there was one, or somebody else may have something to do first.
    fn help(&self, _cell: &Cell, _asker: &Waker, _has_given_way: bool) -> bool {
        false
    }
}

/// Who has the job.
#[derive(Clone, Default)]
pub(crate) enum Place {
    #[default]
    Nowhere,
    /// A pool that has a number.
    Pool(PoolNumber),
    /// A queue, under a ticket, or a pool without a number.
    Held(Weak<dyn Holder>, i64),
}

impl Place {
    pub(crate) fn is_nowhere(&self) -> bool {
        matches!(self, Place::Nowhere)
    }

    /// Whoever that is, if it is still there; and the ticket.
    pub(crate) fn holder(&self) -> Option<(Arc<dyn Holder>, i64)> {
        match self {
            Place::Nowhere => None,
            Place::Pool(number) => Some((number.pool()?, 0)),
            Place::Held(holder, ticket) => Some((holder.upgrade()?, *ticket)),
        }
    }
}

/// The number of a living pool. Those of pools that are gone are given to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PoolNumber(u8);

/// By number; the first is nobody's.
static POOLS: [Entry; 256] = [const { Entry::new() }; 256];

struct Entry {
    is_taken: AtomicBool,
    pool: Mutex<Option<Weak<dyn Holder>>>,
}

impl Entry {
    const fn new() -> Entry {
        Entry { is_taken: AtomicBool::new(false), pool: Mutex::new(None) }
    }

    fn pool(&self) -> MutexGuard<'_, Option<Weak<dyn Holder>>> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PoolNumber {
    /// As one byte, which is not zero.
    pub(super) fn byte(self) -> u8 {
        self.0
    }

    /// The reverse; `None` for zero.
    pub(super) fn of_byte(byte: u8) -> Option<PoolNumber> {
        (byte != 0).then_some(PoolNumber(byte))
    }

    fn pool(self) -> Option<Arc<dyn Holder>> {
        let pool = POOLS[usize::from(self.0)].pool().clone();
        pool?.upgrade()
    }
}

/// A pool's hold on its number.
#[derive(Debug)]
pub(crate) struct Numbered {
    number: PoolNumber,
    /// A fork child has a copy, and no business with its parent's numbers.
    depth: u32,
}

impl Numbered {
    /// Of more than 255 pools at once the others have none.
    pub(crate) fn new(pool: &Weak<dyn Holder>) -> Option<Numbered> {
        let is_free = |byte: &u8| !POOLS[usize::from(*byte)].is_taken.swap(true, Ordering::AcqRel);
        let byte = (1..=u8::MAX).find(is_free)?;
        *POOLS[usize::from(byte)].pool() = Some(pool.clone());
        Some(Numbered { number: PoolNumber(byte), depth: fork_depth() })
    }

    pub(crate) fn number(&self) -> PoolNumber {
        self.number
    }
}

impl Drop for Numbered {
    fn drop(&mut self) {
        if self.depth == fork_depth() {
            let entry = &POOLS[usize::from(self.number.0)];
            let pool = entry.pool().take();
            entry.is_taken.store(false, Ordering::Release);
            drop(pool);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nobody;

    impl Holder for Nobody {
        fn give_up(&self, _: &CellRef, _: i64, _: Manner) -> bool {
            true
        }

        fn runtime(&self) -> Option<Handle> {
            None
        }
    }

    #[test]
    fn a_number_is_of_one_pool_at_a_time_and_of_none_beyond_the_last() {
        let pool: Arc<dyn Holder> = Arc::new(Nobody);
        let mut numbers: Vec<_> =
            std::iter::from_fn(|| Numbered::new(&Arc::downgrade(&pool))).collect();
        assert!(numbers.len() > 100);
        let mut bytes: Vec<_> = numbers.iter().map(|numbered| numbered.number().byte()).collect();
        bytes.sort_unstable();
        bytes.dedup();
        assert_eq!(bytes.len(), numbers.len());
        assert!(numbers[7].number().pool().is_some_and(|found| Arc::ptr_eq(&found, &pool)));
        let freed = numbers.swap_remove(7).number();
        assert!(freed.pool().is_none());
        assert_eq!(Numbered::new(&Arc::downgrade(&pool)).map(|n| n.number()), Some(freed));
    }
}
