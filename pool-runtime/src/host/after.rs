//! What must not happen under the core's lock: waking tasks, and dropping what may be a user's.
//!
//! It is collected inside and settled after the unlock.

use std::sync::Arc;
use std::task::Waker;

use super::backlog::{Backlog, Share};
use super::cell::{Cell, Leftover, Manner};
use super::room::Room;
use super::seats::Task;
use super::wakers::wake_all;
use crate::scheduler::WorkerId;
use crate::trace;

#[derive(Default)]
pub(crate) struct After {
    pub(super) wakers: Vec<Waker>,
    /// What a resolved job no longer needs.
    pub(super) leftovers: Vec<Leftover>,
    pub(super) cells: Vec<Arc<Cell>>,
    pub(super) tasks: Vec<Task>,
    /// Places in the pool's queue that are free again.
    pub(super) permits: usize,
    /// Queues that a job has left.
    pub(super) left: Vec<Arc<Backlog>>,
    /// Jobs to be given up that the core does not have: on their way to it, or from it.
    pub(super) lost: Vec<(Arc<Cell>, Manner)>,
    /// Workers to be started.
    pub(super) launches: Vec<WorkerId>,
    /// What subscribers are to be told.
    pub(super) trace: trace::Pending,
    /// Jobs that had not started and go back to the front of their queues, in their order.
    pub(super) returned: Vec<(Arc<Share>, Arc<Cell>)>,
}

impl After {
    /// To be called without any lock.
    pub(super) fn settle(self, room: &Room) {
        let After { mut wakers, leftovers, cells, tasks, permits, left, returned, trace, .. } =
            self;
        // Before anybody can know that a job has ended, and before its span is dropped.
        trace.settle();
        if permits > 0 {
            room.release(permits);
        }
        left.iter().for_each(|backlog| backlog.leave());
        give_back(returned, &mut wakers);
        drop((leftovers, cells, tasks));
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
