//! What must not happen under the core's lock: waking tasks, and dropping what may be a user's.
//!
//! It is collected inside and settled after the unlock. A waker may itself submit a job or end a
//! pool; what comes of that is appended to the list that is being settled, so the stack does not
//! grow with the number of wakers that do so.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use tokio::sync::Semaphore;

use super::backlog::{Backlog, Share};
use super::cell::{Cell, Leftover};

#[derive(Default)]
pub(crate) struct After {
    pub(super) wakers: Vec<Waker>,
    /// What a resolved job no longer needs.
    pub(super) leftovers: Vec<Leftover>,
    pub(super) cells: Vec<Arc<Cell>>,
    /// Places in the pool's queue that are free again.
    pub(super) permits: usize,
    /// Queues that a job has left.
    pub(super) left: Vec<Arc<Backlog>>,
    /// Jobs that had not started and go back to the front of their queues, in their order.
    pub(super) returned: Vec<(Arc<Share>, Arc<Cell>)>,
}

thread_local! {
    /// `Some` while this thread settles: what is to be settled next.
    static PENDING: RefCell<Option<VecDeque<Waker>>> = const { RefCell::new(None) };
}

impl After {
    /// To be called without any lock.
    pub(super) fn settle(self, room: &Semaphore) {
        let After { mut wakers, leftovers, cells, permits, left, returned } = self;
        if permits > 0 {
            room.add_permits(permits);
        }
        left.iter().for_each(|backlog| backlog.leave());
        give_back(returned, &mut wakers);
        drop((leftovers, cells));
        wake_all(wakers);
    }
}

/// Whoever sees that the work is over finds the jobs in the queue again.
fn give_back(mut returned: Vec<(Arc<Share>, Arc<Cell>)>, wakers: &mut Vec<Waker>) {
    while let Some((share, _)) = returned.first() {
        let share = share.clone();
        let (mine, others): (Vec<_>, Vec<_>) =
            returned.into_iter().partition(|(other, _)| Arc::ptr_eq(other, &share));
        let mine: Vec<_> = mine.into_iter().map(|(_, cell)| cell).collect();
        let count = mine.len();
        share.backlog.give_back(mine);
        (0..count).for_each(|_| share.ended(None, wakers));
        returned = others;
    }
}

/// Wakes them one after the other, flat even if they cause further ones.
pub(crate) fn wake_all(wakers: Vec<Waker>) {
    if wakers.is_empty() {
        return;
    }
    let nested = PENDING.with_borrow_mut(|pending| match pending {
        Some(pending) => {
            pending.extend(wakers);
            true
        }
        none => {
            *none = Some(wakers.into());
            false
        }
    });
    if nested {
        return;
    }
    // If a waker panics, the rest must still be woken, and the next call must find the list empty.
    let settling = Settling;
    while let Some(waker) = settling.next() {
        waker.wake();
    }
}

struct Settling;

impl Settling {
    fn next(&self) -> Option<Waker> {
        PENDING.with_borrow_mut(|pending| pending.as_mut()?.pop_front())
    }
}

impl Drop for Settling {
    fn drop(&mut self) {
        while let Some(waker) = self.next() {
            // Only reached while a panic of another waker unwinds.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| waker.wake()));
        }
        PENDING.set(None);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    static DEPTH: AtomicUsize = AtomicUsize::new(0);
    static WOKEN: AtomicUsize = AtomicUsize::new(0);

    struct Chain(usize);

    impl Wake for Chain {
        fn wake(self: Arc<Self>) {
            assert_eq!(DEPTH.fetch_add(1, Ordering::SeqCst), 0, "nested");
            WOKEN.fetch_add(1, Ordering::SeqCst);
            if self.0 > 0 {
                wake_all(vec![Arc::new(Chain(self.0 - 1)).into()]);
            }
            DEPTH.fetch_sub(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn wakers_that_wake_do_not_grow_the_stack() {
        wake_all(vec![Arc::new(Chain(100_000)).into()]);
        assert_eq!(WOKEN.load(Ordering::SeqCst), 100_001);
    }
}
