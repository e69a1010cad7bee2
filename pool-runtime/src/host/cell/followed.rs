//! Cells of many jobs that somebody follows: a stream has them made one after the other, looks for
//! their replies, and uses a cell again once it has given the result.

use super::super::line::Bell;
use super::birth::Birth;
use super::slot::Slot;
use super::{CANCEL_ON_DROP, Cell, CellRef};

impl Cell {
    /// One of many jobs, whose maker looks for their replies, and gives them up with their handles.
    /// `bell` makes what is rung when it ends.
    #[inline(always)]
    pub(crate) fn followed(
        make: impl FnOnce() -> Cell,
        bell: Option<impl FnOnce() -> Bell>,
    ) -> CellRef {
        Cell::share(|| make().with_follower(bell, None))
    }

    /// Puts such a job in the place of one that has ended, with its bell; unless somebody else
    /// still has that one.
    #[inline(always)]
    pub(crate) fn renew(
        old: &mut CellRef,
        make: impl FnOnce() -> Cell,
        bell: Option<impl FnOnce() -> Bell>,
    ) {
        match CellRef::get_mut(old) {
            Some(cell) => *cell = make().with_follower(bell, Some(&mut cell.slot)),
            None => *old = Self::followed(make, bell),
        }
    }

    #[inline(always)]
    fn with_follower(
        mut self,
        bell: Option<impl FnOnce() -> Bell>,
        old: Option<&mut Slot>,
    ) -> Cell {
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
    use std::collections::VecDeque;
    use std::sync::Arc;
    use std::task::{Context, Poll, Waker};

    use super::super::super::line::Line;
    use super::super::{JobStatus, Order, Output, Place};
    use super::*;
    use crate::wire::{FrameBody, Payload};

    const NO_BELL: Option<fn() -> Bell> = None;

    fn new(label: Option<&str>) -> Cell {
        let (arguments, label) = (Payload::EMPTY, label.map(Arc::from));
        let order = Order { number: 0, label, arguments, raw: false, options: None };
        Cell::waiting(order, Place::Nowhere)
    }

    /// Takes the outcome of a job that has ended.
    fn take(cell: &CellRef) {
        let mut cx = Context::from_waker(Waker::noop());
        let is_small = matches!(cell.poll_small(&mut cx), Poll::Ready(Some(_)));
        assert!(is_small || cell.take_outcome().is_some());
    }

    /// Ends its job, and takes the outcome.
    fn end(cell: &CellRef) {
        let mut wakers = Vec::new();
        drop(cell.finish(Ok(Output { payload: Payload::EMPTY, raw: false }), &mut wakers));
        take(cell);
    }

    #[test]
    fn a_cell_is_used_again_unless_somebody_still_has_it() {
        let mut cell = Cell::followed(|| new(None), NO_BELL);
        let (first, id) = (CellRef::as_ptr(&cell), cell.id());
        end(&cell);
        Cell::renew(&mut cell, || new(Some("label")), NO_BELL);
        assert_eq!(CellRef::as_ptr(&cell), first);
        assert!(cell.id() != id && cell.status() == JobStatus::Queued && cell.is_followed());
        assert_eq!(cell.label().as_deref(), Some("label"));
        end(&cell);
        let other = cell.clone();
        Cell::renew(&mut cell, || new(None), NO_BELL);
        assert_ne!(CellRef::as_ptr(&cell), first);
        assert_eq!((other.status(), cell.status()), (JobStatus::Ended, JobStatus::Queued));
    }

    #[test]
    fn the_bell_is_rung_for_each_of_its_jobs_whether_it_was_there_before_or_not() {
        let line = Arc::new(Line::default());
        let mut cell = Cell::followed(|| new(None), NO_BELL);
        end(&cell);
        for n in 1..9 {
            let label = (n % 2 == 0).then_some("label");
            Cell::renew(&mut cell, || new(label), Some(|| Bell { line: line.clone(), seat: 5 }));
            assert_eq!(cell.label().as_deref(), label);
            if n % 4 < 2 {
                end(&cell);
            } else {
                let (mut output, mut wakers) = (FrameBody::Lies(&[7; 3]), Vec::new());
                let mut leftovers = Vec::new();
                assert!(!cell.finish_with(&mut output, false, &mut wakers, &mut leftovers));
                take(&cell);
            }
            let mut seats = VecDeque::new();
            line.take(&mut seats, &mut Context::from_waker(Waker::noop()));
            assert_eq!(seats, [5]);
        }
    }

    /// Whoever stands at the line looks at once.
    #[test]
    fn a_job_has_ended_when_its_bell_rings() {
        let line = Arc::new(Line::default());
        let bell = |seat| Bell { line: line.clone(), seat };
        let cells: Vec<_> =
            (0..100_000).map(|seat| Cell::followed(|| new(None), Some(|| bell(seat)))).collect();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for (n, cell) in cells.iter().enumerate() {
                    let (mut wakers, mut leftovers) = (Vec::new(), Vec::new());
                    let output: &[u8] = if n % 2 == 0 { &[7; 3] } else { &[7; 300] };
                    let mut output = FrameBody::Lies(output);
                    let _ = cell.finish_with(&mut output, false, &mut wakers, &mut leftovers);
                }
            });
            let (mut seen, mut cx) = (0, Context::from_waker(Waker::noop()));
            while seen < cells.len() {
                let mut seats = VecDeque::new();
                line.take(&mut seats, &mut cx);
                for seat in &seats {
                    assert_eq!(cells[*seat as usize].status(), JobStatus::Ended);
                }
                seen += seats.len();
            }
        });
    }
}
