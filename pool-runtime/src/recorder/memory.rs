//! The recorder's words by their names.
//!
//! What host and worker agree on by more than one word, or by one that both of them change, is
//! written against [`Memory`]: the recorder is one, and the models in `model/` bring another, in
//! which every order of events that memory allows is tried.

use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::{RING_LEN, Recorder};

const NEXT: usize = 0;
const RESERVED: usize = 128;
const COMMITTED: usize = 192;
const WATCHED: usize = 1472;
const SEEN: usize = 1536;
const LEFT_OUT: usize = 1600;

/// A word that both sides share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Next,
    Reserved,
    Committed,
    Watched,
    Seen,
    LeftOut,
    /// The n-th of the ring itself.
    Ring(usize),
}

/// Memory that both sides see: the recorder, or a model of it.
pub(super) trait Memory {
    /// Bytes of the ring.
    const LEN: u64;

    fn load(&self, place: Place, order: Ordering) -> u64;
    fn store(&self, place: Place, value: u64, order: Ordering);
    /// Puts `new` in the place of `old`, in one step; gives what was there instead if it was not
    /// `old`.
    fn exchange(&self, place: Place, old: u64, new: u64) -> Result<(), u64>;
    fn fence(&self, order: Ordering);
}

impl Memory for Recorder {
    const LEN: u64 = RING_LEN as u64;

    fn load(&self, place: Place, order: Ordering) -> u64 {
        self.place(place).load(order)
    }

    fn store(&self, place: Place, value: u64, order: Ordering) {
        self.place(place).store(value, order);
    }

    fn exchange(&self, place: Place, old: u64, new: u64) -> Result<(), u64> {
        let word = self.place(place);
        word.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire).map(|_| ())
    }

    fn fence(&self, order: Ordering) {
        fence(order);
    }
}

impl Recorder {
    #[inline]
    fn place(&self, place: Place) -> &AtomicU64 {
        match place {
            Place::Next => self.word(NEXT),
            Place::Reserved => self.word(RESERVED),
            Place::Committed => self.word(COMMITTED),
            Place::Watched => self.word(WATCHED),
            Place::Seen => self.word(SEEN),
            Place::LeftOut => self.word(LEFT_OUT),
            Place::Ring(n) => self.ring_word(n),
        }
    }
}
