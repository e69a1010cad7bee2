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
