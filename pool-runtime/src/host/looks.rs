//! What those who look for replies before they sleep know of each other.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Waker;

use crate::spin::Spinner;

pub(super) struct Looks {
    /// Whether it pays.
    pub(super) spinner: Spinner,
    /// Somebody looked in vain, and nothing has come since.
    are_vain: AtomicBool,
    /// Who asked for a reply last: the address in its waker.
    asked_last: AtomicUsize,
}

impl Looks {
    /// Never, unless they are `on`.
    pub(super) fn new(on: bool) -> Looks {
        Looks {
            spinner: Spinner::new(on),
            are_vain: AtomicBool::new(false),
            asked_last: AtomicUsize::new(0),
        }
    }

    pub(super) fn are_vain(&self) -> bool {
        self.are_vain.load(Ordering::Relaxed)
    }

    /// Who says so late says it of what is over, until something comes over the channel.
    pub(super) fn set_vain(&self, are_vain: bool) {
        if self.are_vain() != are_vain {
            self.are_vain.store(are_vain, Ordering::Relaxed);
        }
    }

    /// Whether somebody else asked last, who may have something to do.
    pub(super) fn is_another(&self, asker: &Waker) -> bool {
        let asker = asker.data().addr();
        self.asked_last.swap(asker, Ordering::Relaxed) != asker
    }
}
