//! The recorder's rules in every order of events that memory allows, by `loom`.
//!
//! The rules are the real ones, run over [`Side`], which is memory of loom's and a ring of four
//! words. Flaws are put into the memory, so that nothing has to be changed to see each of them
//! found: a fence that does nothing, a word in the place of another one.
//!
//! What loom cannot see: a load that takes what its own thread, or one that waits for it, stores
//! only later on; more than the last seven values of a word. It takes `SeqCst` at a load or a
//! store for no more than `AcqRel`, so what holds here holds by the fences alone.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use loom::sync::atomic::{AtomicU64, fence};

use super::memory::{Memory, Place};

mod claims;
mod left_out;
mod ring;
mod watch;

/// Words in the ring.
const WORDS: usize = 4;

/// What is wrong with the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    Nothing,
    /// A fence of this order does nothing.
    NoFence(Ordering),
    /// `committed` is read where `reserved` should be.
    CommittedForReserved,
    /// `committed` is stored without any order.
    CommittedUnordered,
    /// An exchange is a load and a store.
    TornExchange,
}

/// What both sides see.
#[derive(Debug)]
struct Words {
    next: AtomicU64,
    reserved: AtomicU64,
    committed: AtomicU64,
    watched: AtomicU64,
    seen: AtomicU64,
    left_out: AtomicU64,
    ring: [AtomicU64; WORDS],
}

/// One side's view of them.
#[derive(Debug)]
struct Side {
    words: Arc<Words>,
    flaw: Flaw,
    /// It dies when it has changed so many words.
    left: Cell<usize>,
}

impl Side {
    /// The host, which lives on.
    fn new(flaw: Flaw) -> Side {
        let word = || AtomicU64::new(0);
        let words = Words {
            next: word(),
            reserved: word(),
            committed: word(),
            watched: word(),
            seen: word(),
            left_out: word(),
            ring: std::array::from_fn(|_| word()),
        };
        Side { words: Arc::new(words), flaw, left: Cell::new(usize::MAX) }
    }

    /// A worker, which dies when it has changed `left` words.
    fn worker(&self, left: usize) -> Side {
        Side { words: self.words.clone(), flaw: self.flaw, left: Cell::new(left) }
    }

    fn place(&self, place: Place) -> &AtomicU64 {
        match place {
            Place::Next => &self.words.next,
            Place::Reserved => &self.words.reserved,
            Place::Committed => &self.words.committed,
            Place::Watched => &self.words.watched,
            Place::Seen => &self.words.seen,
            Place::LeftOut => &self.words.left_out,
            Place::Ring(n) => &self.words.ring[n],
        }
    }

    fn is_dead(&self) -> bool {
        self.left.get() == 0
    }

    /// Whether it lives to change one more word.
    fn changes_one(&self) -> bool {
        let left = self.left.get();
        self.left.set(left.saturating_sub(1));
        left > 0
    }
}

impl Memory for Side {
    const LEN: u64 = 8 * WORDS as u64;

    fn load(&self, place: Place, order: Ordering) -> u64 {
        match place {
            Place::Reserved if self.flaw == Flaw::CommittedForReserved => {
                self.place(Place::Committed).load(order)
            }
            place => self.place(place).load(order),
        }
    }

    fn store(&self, place: Place, value: u64, order: Ordering) {
        if !self.changes_one() {
            return;
        }
        let order = match place {
            Place::Committed if self.flaw == Flaw::CommittedUnordered => Ordering::Relaxed,
            _ => order,
        };
        self.place(place).store(value, order);
    }

    fn exchange(&self, place: Place, old: u64, new: u64) -> Result<(), u64> {
        let word = self.place(place);
        if !self.changes_one() {
            return Err(word.load(Ordering::Relaxed));
        }
        if self.flaw == Flaw::TornExchange {
            let now = word.load(Ordering::Acquire);
            if now != old {
                return Err(now);
            }
            word.store(new, Ordering::Release);
            return Ok(());
        }
        word.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire).map(|_| ())
    }

    fn fence(&self, order: Ordering) {
        if self.flaw != Flaw::NoFence(order) {
            fence(order);
        }
    }
}
