//! The way of a job into the pool: at once, or behind others together with many.
//!
//! Behind others that no worker takes a job may as well lie in the inbox until the driver comes, if that
//! is soon; and so may one of several in a [row](super::row), unless somebody waits for it.

use std::sync::atomic::{Ordering, fence};

use super::cell::CellRef;
use super::core::Host;
use super::news::News;
use super::room::Place as RoomPlace;
use super::row;

impl Host {
    /// Hands in a job that holds a place in the queue.
    pub(crate) fn submit(&self, cell: CellRef) {
        if self.may_wait() && !cell.is_special() {
            return self.submit_behind(cell);
        }
        if self.is_on_one {
            row::goes_on();
        }
        self.bring(News::Submit(cell));
    }

    /// Whether this thread has submitted several jobs in a row, and no worker can run while it does.
    pub(super) fn is_one_of_several(&self) -> bool {
        self.is_on_one && row::is_long()
    }

    /// This thread waits: what was left behind enters.
    pub(crate) fn let_in(&self) {
        if row::ends() && self.is_on_one && !self.is_foreign() {
            self.catch_up();
        }
    }

    /// A place in the queue, though those that were left behind may have to enter for it.
    #[inline]
    pub(crate) fn try_acquire(&self) -> Option<RoomPlace<'_>> {
        match self.room.try_acquire() {
            None if self.is_on_one => {
                self.let_in();
                self.room.try_acquire()
            }
            place => place,
        }
    }

    /// Whether jobs that are like others need not enter now.
    fn may_wait(&self) -> bool {
        self.is_due_soon.load(Ordering::Relaxed)
            && (self.is_backed_up.load(Ordering::Relaxed) || self.is_one_of_several())
    }

    /// Those that were handed in one [behind](Self::submit_behind) the other enter.
    pub(crate) fn submit_rest(&self) {
        if !self.may_wait() {
            self.catch_up();
        }
    }

    /// Hands in one of several, which enter together at [`catch_up`](Self::catch_up), or
    /// before that if it takes a while: the driver comes for them, and is woken for it only if
    /// it would not come soon.
    pub(crate) fn submit_behind(&self, cell: CellRef) {
        if self.is_on_one {
            row::goes_on();
        }
        let is_first = self.inbox.put_job(cell);
        if !self.has_left_some.load(Ordering::Relaxed) {
            self.has_left_some.store(true, Ordering::Relaxed);
        }
        // Whoever was the first sees to all that lies there.
        if !is_first {
            return;
        }
        fence(Ordering::SeqCst);
        if !self.is_due_soon.load(Ordering::SeqCst) {
            self.bell.notify_one();
        }
        if self.rest.is_set() {
            // There is no driver any more.
            self.catch_up();
        }
    }
}
