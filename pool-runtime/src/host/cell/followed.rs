//! Cells of many jobs that somebody follows: a stream has them made one after the other, looks for
//! their replies, and uses a cell again once it has given the result.

use std::sync::{Arc, PoisonError};
use std::task::Waker;

use super::birth::{Birth, Order};
use super::place::Place;
use super::slot::Slot;
use super::{CANCEL_ON_DROP, Cell};

impl Cell {
    /// One of many jobs, whose maker looks for their replies, and gives them up with their handles.
    /// `bell` is rung when it ends.
    pub(crate) fn followed(order: Order, place: Place, bell: Option<&Waker>) -> Arc<Cell> {
        Arc::new(Self::made(order, place, bell, None))
    }

    /// Makes such a job in the place of one that has ended, with its bell; unless somebody else
    /// still has that one.
    pub(crate) fn renew(old: &mut Arc<Cell>, order: Order, place: Place, bell: Option<&Waker>) {
        match Arc::get_mut(old) {
            Some(cell) => *cell = Self::made(order, place, bell, Some(cell.slot_mut())),
            None => *old = Self::followed(order, place, bell),
        }
    }

    fn made(order: Order, place: Place, bell: Option<&Waker>, old: Option<&mut Slot>) -> Cell {
        let mut cell = Self::waiting(order, place);
        cell.birth.set(Birth::FOLLOWED);
        *cell.flags.get_mut() |= CANCEL_ON_DROP;
        if let Some(bell) = bell {
            let slot = cell.slot_mut();
            if !old.is_some_and(|old| slot.take_bell(old)) {
                slot.set_bell(bell.clone());
            }
        }
        cell
    }

    fn slot_mut(&mut self) -> &mut Slot {
        self.slot.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whoever made it looks for its reply.
    pub(crate) fn is_followed(&self) -> bool {
        self.birth.has(Birth::FOLLOWED)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::super::{JobStatus, Output};
    use super::*;
    use crate::wire::Payload;

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn order(label: Option<&str>) -> Order {
        Order {
            number: 0,
            label: label.map(Arc::from),
            arguments: Payload::EMPTY,
            raw: false,
            options: None,
        }
    }

    /// Ends its job, and takes the outcome.
    fn end(cell: &Arc<Cell>) {
        let mut wakers = Vec::new();
        drop(cell.finish(Ok(Output { payload: Payload::EMPTY, raw: false }), &mut wakers));
        wakers.drain(..).for_each(Waker::wake);
        let mut cx = std::task::Context::from_waker(Waker::noop());
        assert!(cell.poll_outcome(&mut cx).is_ready());
    }

    #[test]
    fn a_cell_is_used_again_unless_somebody_still_has_it() {
        let mut cell = Cell::followed(order(None), Place::Nowhere, None);
        let (first, id) = (Arc::as_ptr(&cell), cell.id());
        end(&cell);
        Cell::renew(&mut cell, order(Some("label")), Place::Nowhere, None);
        assert_eq!(Arc::as_ptr(&cell), first);
        assert!(cell.id() != id && cell.status() == JobStatus::Queued && cell.is_followed());
        assert_eq!(cell.label().as_deref(), Some("label"));
        end(&cell);
        let other = cell.clone();
        Cell::renew(&mut cell, order(None), Place::Nowhere, None);
        assert_ne!(Arc::as_ptr(&cell), first);
        assert_eq!((other.status(), cell.status()), (JobStatus::Ended, JobStatus::Queued));
    }

    #[test]
    fn the_bell_is_rung_for_each_of_its_jobs_whether_it_was_there_before_or_not() {
        let counter = Arc::new(Counter::default());
        let bell = Waker::from(counter.clone());
        let mut cell = Cell::followed(order(None), Place::Nowhere, None);
        end(&cell);
        for n in 1..6 {
            let label = (n % 2 == 0).then_some("label");
            Cell::renew(&mut cell, order(label), Place::Nowhere, Some(&bell));
            assert_eq!(cell.label().as_deref(), label);
            end(&cell);
            assert_eq!(counter.0.load(Ordering::SeqCst), n);
        }
    }
}
