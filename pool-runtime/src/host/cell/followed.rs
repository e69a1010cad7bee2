//! Cells of many jobs that somebody follows: a stream has them made one after the other, looks for
//! their replies, and uses a cell again once it has given the result.

use std::task::Waker;

use super::birth::Birth;
use super::slot::Slot;
use super::{CANCEL_ON_DROP, Cell, CellRef};

impl Cell {
    /// One of many jobs, whose maker looks for their replies, and gives them up with their handles.
    /// `bell` is rung when it ends.
    #[inline(always)]
    pub(crate) fn followed(new: Cell, bell: Option<&Waker>) -> CellRef {
        CellRef::new(new.with_follower(bell, None))
    }

    /// Puts such a job in the place of one that has ended, with its bell; unless somebody else
    /// still has that one.
    #[inline(always)]
    pub(crate) fn renew(old: &mut CellRef, new: Cell, bell: Option<&Waker>) {
        match CellRef::get_mut(old) {
            Some(cell) => *cell = new.with_follower(bell, Some(&mut cell.slot)),
            None => *old = Self::followed(new, bell),
        }
    }

    #[inline(always)]
    fn with_follower(mut self, bell: Option<&Waker>, old: Option<&mut Slot>) -> Cell {
        self.birth.set(Birth::FOLLOWED);
        *self.flags.get_mut() |= CANCEL_ON_DROP;
        if let Some(bell) = bell {
            self.slot.set_bell(bell, old);
        }
        self
    }

    /// Whoever made it looks for its reply.
    pub(crate) fn is_followed(&self) -> bool {
        self.birth.has(Birth::FOLLOWED)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Poll, Wake};

    use super::super::{JobStatus, Order, Output, Place};
    use super::*;
    use crate::wire::Payload;

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn new(label: Option<&str>) -> Cell {
        let (arguments, label) = (Payload::EMPTY, label.map(Arc::from));
        let order = Order { number: 0, label, arguments, raw: false, options: None };
        Cell::waiting(order, Place::Nowhere)
    }

    /// Ends its job, and takes the outcome.
    fn end(cell: &CellRef) {
        let mut wakers = Vec::new();
        drop(cell.finish(Ok(Output { payload: Payload::EMPTY, raw: false }), &mut wakers));
        wakers.drain(..).for_each(Waker::wake);
        let mut cx = std::task::Context::from_waker(Waker::noop());
        let is_small = matches!(cell.poll_small(&mut cx), Poll::Ready(Some(_)));
        assert!(is_small || cell.take_outcome().is_some());
    }

    #[test]
    fn a_cell_is_used_again_unless_somebody_still_has_it() {
        let mut cell = Cell::followed(new(None), None);
        let (first, id) = (CellRef::as_ptr(&cell), cell.id());
        end(&cell);
        Cell::renew(&mut cell, new(Some("label")), None);
        assert_eq!(CellRef::as_ptr(&cell), first);
        assert!(cell.id() != id && cell.status() == JobStatus::Queued && cell.is_followed());
        assert_eq!(cell.label().as_deref(), Some("label"));
        end(&cell);
        let other = cell.clone();
        Cell::renew(&mut cell, new(None), None);
        assert_ne!(CellRef::as_ptr(&cell), first);
        assert_eq!((other.status(), cell.status()), (JobStatus::Ended, JobStatus::Queued));
    }

    #[test]
    fn the_bell_is_rung_for_each_of_its_jobs_whether_it_was_there_before_or_not() {
        let counter = Arc::new(Counter::default());
        let bell = Waker::from(counter.clone());
        let mut cell = Cell::followed(new(None), None);
        end(&cell);
        for n in 1..6 {
            let label = (n % 2 == 0).then_some("label");
            Cell::renew(&mut cell, new(label), Some(&bell));
            assert_eq!(cell.label().as_deref(), label);
            end(&cell);
            assert_eq!(counter.0.load(Ordering::SeqCst), n);
        }
    }
}
