//! What those who look for replies before they sleep know of each other.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::Waker;

use crate::spin::Spinner;

/// In cache lines of its own: whoever books a reply writes to it.
#[repr(align(128))]
pub(super) struct Looks {
    /// Whether it pays.
    pub(super) spinner: Spinner,
    /// Somebody looked in vain, and nothing has come since.
    are_vain: AtomicBool,
    /// Replies that were found where workers leave them.
    found: AtomicU64,
    /// Who asked last, and may look at once: the address in its waker. Zero: nobody.
    asked_last: AtomicUsize,
}

impl Looks {
    /// Never, unless they are `on`.
    pub(super) fn new(on: bool) -> Looks {
        Looks {
            spinner: Spinner::new(on),
            are_vain: AtomicBool::new(false),
            found: AtomicU64::new(0),
            asked_last: AtomicUsize::new(0),
        }
    }

    pub(super) fn are_vain(&self) -> bool {
        self.are_vain.load(Ordering::Relaxed)
    }

    /// Whoever says so when something has just come keeps others from looking until more comes.
    pub(super) fn set_vain(&self, are_vain: bool) {
        if self.are_vain() != are_vain {
            self.are_vain.store(are_vain, Ordering::Relaxed);
        }
    }

    /// Under the core's lock only.
    pub(super) fn has_found(&self) {
        self.found.store(self.found() + 1, Ordering::Relaxed);
        self.set_vain(false);
    }

    /// How many replies were found so far. Nothing else that a worker writes counts.
    pub(super) fn found(&self) -> u64 {
        self.found.load(Ordering::Relaxed)
    }

    /// Whether others may have something to do first.
    pub(super) fn gives_way(&self, asker: &Waker) -> bool {
        let asker = asker.data().addr();
        self.asked_last.swap(asker, Ordering::Relaxed) != asker
    }

    /// After a look that began when so many had been found: who has something to do now is waited for,
    /// also by those who go on asking.
    pub(super) fn end(&self, found_before: u64) {
        if self.found() - found_before > 1 {
            self.asked_last.store(0, Ordering::Relaxed);
        }
    }
}
