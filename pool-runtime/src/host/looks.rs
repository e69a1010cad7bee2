//! What those who look for replies before they sleep know of each other.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::Waker;

use crate::spin::Spinner;

pub(super) struct Looks {
    /// Whether it pays.
    pub(super) spinner: Spinner,
    /// Somebody looked in vain, and nothing has come since.
    are_vain: AtomicBool,
    /// Replies that were found where workers leave them.
    found: AtomicU64,
    /// Who looked last: the address in its waker.
    looked_last: AtomicUsize,
}

impl Looks {
    /// Never, unless they are `on`.
    pub(super) fn new(on: bool) -> Looks {
        Looks {
            spinner: Spinner::new(on),
            are_vain: AtomicBool::new(false),
            found: AtomicU64::new(0),
            looked_last: AtomicUsize::new(0),
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

    /// Whether somebody else looked last, who may have something to do.
    pub(super) fn was_another(&self, asker: &Waker) -> bool {
        self.looked_last.load(Ordering::Relaxed) != asker.data().addr()
    }

    pub(super) fn begin(&self, asker: &Waker) {
        self.looked_last.store(asker.data().addr(), Ordering::Relaxed);
    }
}
