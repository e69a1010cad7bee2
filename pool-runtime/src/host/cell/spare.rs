//! Cells that nobody has any more, kept for the next jobs.
//!
//! A cell is allocated by who submits its job and freed by who awaits it, or by the driver if nobody does
//! any more. That was a tenth of what a short job cost the host, since an allocator keeps few blocks of a
//! kind at hand. So a thread keeps some cells, and passes on what it has too many of, a tray at a time,
//! over a rack from which others take it. Both have little room: what finds none is freed.
//!
//! Nobody waits here: a rack that somebody else has at this moment is passed by. (And if that was a
//! thread that a fork has left behind, it is passed by for ever.)

use std::cell::RefCell;
use std::sync::{Mutex, MutexGuard, TryLockError};

use triomphe::UniqueArc;

use super::{Cell, CellRef};

/// Cells on a tray. A thread has less than two.
const TRAY: usize = 256;
/// Trays on the rack: two mebibytes of cells.
const TRAYS: usize = 128;

type Tray = Vec<UniqueArc<Cell>>;

thread_local! {
    static OWN: RefCell<Own> = const { RefCell::new(Own(Vec::new())) };
}

static RACK: Rack = Rack(Mutex::new(Vec::new()));

impl Cell {
    /// Makes a cell to be shared, in the memory of one that was kept if there is one.
    #[inline(always)]
    pub(crate) fn share(make: impl FnOnce() -> Cell) -> CellRef {
        match take() {
            Some(mut cell) => {
                *cell = make();
                cell.shareable()
            }
            None => CellRef::new(make()),
        }
    }

    /// Keeps a cell, unless somebody else has it, too. What is in it is dropped.
    #[inline]
    pub(crate) fn let_go(this: CellRef) {
        if let Ok(mut cell) = CellRef::try_unique(this) {
            cell.slot.empty();
            let _ = OWN.try_with(|own| own.borrow_mut().keep(cell, &RACK));
        }
    }
}

#[inline]
fn take() -> Option<UniqueArc<Cell>> {
    // A thread that is about to end has none.
    OWN.try_with(|own| own.borrow_mut().take(&RACK)).ok().flatten()
}

/// Of one thread.
struct Own(Tray);

impl Own {
    #[inline]
    fn take(&mut self, rack: &Rack) -> Option<UniqueArc<Cell>> {
        if self.0.is_empty() {
            self.0 = rack.take()?;
        }
        self.0.pop()
    }

    #[inline]
    fn keep(&mut self, cell: UniqueArc<Cell>, rack: &Rack) {
        self.0.push(cell);
        if self.0.len() >= 2 * TRAY {
            // The processor has those that came last at hand.
            let last = self.0.split_off(TRAY);
            rack.put(std::mem::replace(&mut self.0, last));
        }
    }
}

/// Of all threads.
struct Rack(Mutex<Vec<Tray>>);

impl Rack {
    #[cold]
    fn take(&self) -> Option<Tray> {
        self.trays()?.pop()
    }

    #[cold]
    fn put(&self, tray: Tray) {
        if let Some(mut trays) = self.trays().filter(|trays| trays.len() < TRAYS) {
            trays.push(tray);
        }
    }

    fn trays(&self) -> Option<MutexGuard<'_, Vec<Tray>>> {
        match self.0.try_lock() {
            Ok(trays) => Some(trays),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::{Context, Poll, Wake, Waker};

    use super::super::{Order, Place};
    use super::*;
    use crate::wire::Payload;

    fn new() -> Cell {
        let order =
            Order { number: 0, label: None, arguments: Payload::EMPTY, raw: false, options: None };
        Cell::waiting(order, Place::Nowhere)
    }

    fn unique() -> UniqueArc<Cell> {
        UniqueArc::new(new())
    }

    #[test]
    fn a_cell_that_was_let_go_is_the_next_unless_somebody_still_has_it() {
        let cell = Cell::share(new);
        let (first, id) = (CellRef::as_ptr(&cell), cell.id());
        Cell::let_go(cell);
        let cell = Cell::share(new);
        assert_eq!(CellRef::as_ptr(&cell), first);
        assert_ne!(cell.id(), id);
        let other = cell.clone();
        Cell::let_go(cell);
        assert_ne!(CellRef::as_ptr(&Cell::share(new)), first);
        assert_eq!(CellRef::as_ptr(&other), first);
    }

    #[test]
    fn what_is_in_a_cell_does_not_outlive_its_job() {
        struct Nobody;
        impl Wake for Nobody {
            fn wake(self: Arc<Self>) {}
        }
        let (waits, cell) = (Arc::new(Nobody), Cell::share(new));
        let waker = Waker::from(waits.clone());
        assert!(matches!(cell.poll_small(&mut Context::from_waker(&waker)), Poll::Pending));
        drop(waker);
        assert_eq!(Arc::strong_count(&waits), 2);
        Cell::let_go(cell);
        assert_eq!(Arc::strong_count(&waits), 1);
    }

    #[test]
    fn what_one_thread_lets_go_another_one_uses() {
        let rack = Rack(Mutex::default());
        let (mut giver, mut taker) = (Own(Vec::new()), Own(Vec::new()));
        assert!(taker.take(&rack).is_none());
        for _ in 0..2 * TRAY {
            giver.keep(unique(), &rack);
        }
        assert_eq!(std::iter::from_fn(|| taker.take(&rack)).count(), TRAY);
        assert_eq!(std::iter::from_fn(|| giver.take(&rack)).count(), TRAY);
    }

    #[test]
    fn few_are_kept_and_nobody_waits_for_them() {
        let (rack, mut own) = (Rack(Mutex::default()), Own(Vec::new()));
        for _ in 0..(TRAYS + 5) * TRAY {
            own.keep(unique(), &rack);
        }
        assert!(own.0.len() < 2 * TRAY);
        assert_eq!(rack.trays().unwrap().len(), TRAYS);
        let held = rack.0.lock().unwrap();
        for _ in 0..2 * TRAY {
            own.keep(unique(), &rack);
        }
        let own = std::iter::from_fn(|| own.take(&rack)).count();
        assert!(own < 2 * TRAY && held.len() == TRAYS);
    }
}
