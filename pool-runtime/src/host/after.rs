//! What must not happen under the core's lock: waking tasks, and dropping what may be a user's.
//!
//! It is collected inside and settled after the unlock. The lists are one thread's, and used again:
//! most of what enters the core needs a few places in two of them.

use std::cell::Cell as Local;
use std::sync::Arc;
use std::task::Waker;

use tokio::runtime::Handle;

use super::backlog::{Backlog, Share};
use super::cell::{Cell, CellRef, Leftover, Manner};
use super::large;
use super::link::Link;
use super::room::Room;
use super::seats::Task;
use super::wakers::wake_all;
use crate::scheduler::WorkerId;
use crate::trace;

thread_local! {
    /// What this thread has settled last, with the room of its lists.
    static SPARE: Local<Option<Box<After>>> = const { Local::new(None) };
}

/// Places that a list keeps.
const KEPT: usize = 4096;

#[derive(Default)]
pub(crate) struct After {
    pub(super) wakers: Vec<Waker>,
    /// What a resolved job no longer needs.
    pub(super) leftovers: Vec<Leftover>,
    pub(super) cells: Vec<CellRef>,
    pub(super) tasks: Vec<Task>,
    /// Places in the pool's queue that are free again.
    pub(super) permits: usize,
    /// Queues that a job has left.
    pub(super) left: Vec<Arc<Backlog>>,
    /// Jobs to be given up that the core does not have: on their way to it, or from it.
    pub(super) lost: Vec<(CellRef, Manner)>,
    /// Links that something has to be written to.
    pub(super) writes: Vec<Arc<Link>>,
    /// Workers to be started.
    pub(super) launches: Vec<WorkerId>,
    /// What subscribers are to be told.
    pub(super) trace: trace::Pending,
    /// Jobs that had not started and go back to the front of their queues, in their order.
    pub(super) returned: Vec<(Arc<Share>, CellRef)>,
}

impl After {
    /// Empty lists.
    pub(super) fn new() -> Box<After> {
        SPARE.try_with(Local::take).ok().flatten().unwrap_or_default()
    }

    /// Writes what has to be written. The worker may wake up before this returns, on this very
    /// processor, and its reply wakes the driver, which must not find the core's lock held: without
    /// any lock.
    pub(super) fn write(&mut self) {
        empty(&mut self.writes, |link| link.flush());
    }

    /// To be called without any lock. What is large is freed by `driver`.
    pub(super) fn settle(mut self: Box<Self>, room: &Room, driver: Option<&Handle>) {
        let large = large::take(&mut self.leftovers);
        // Before anybody can know that a job has ended, and before its span is dropped.
        self.trace.settle();
        let permits = std::mem::take(&mut self.permits);
        if permits > 0 {
            room.release(permits);
        }
        empty(&mut self.left, |backlog| backlog.leave());
        if !self.returned.is_empty() {
            give_back(std::mem::take(&mut self.returned), &mut self.wakers);
        }
        empty(&mut self.leftovers, drop);
        empty(&mut self.cells, drop);
        empty(&mut self.tasks, |task| Cell::let_go(task.cell));
        wake_all(&mut self.wakers);
        large::free(driver, large);
        if self.wakers.capacity() > KEPT {
            self.wakers = Vec::new();
        }
        let _ = SPARE.try_with(|spare| spare.set(Some(self)));
    }
}

/// Does with each what there is to be done.
#[inline]
fn empty<T>(list: &mut Vec<T>, each: impl FnMut(T)) {
    if list.is_empty() {
        return;
    }
    list.drain(..).for_each(each);
    if list.capacity() > KEPT {
        *list = Vec::new();
    }
}

/// Whoever sees that the work is over finds the jobs in the queue again.
fn give_back(mut returned: Vec<(Arc<Share>, CellRef)>, wakers: &mut Vec<Waker>) {
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
