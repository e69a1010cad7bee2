//! [`Core`] and the queues that its pool works on: it takes jobs from them when it has workers for
//! them.

use std::sync::Arc;

use super::act::{Core, queued};
use super::after::After;
use super::backlog::{Count, Share};
use super::cell::CellRef;
use super::news::Around;
use super::seats::Task;
use crate::error::JobErrorKind;

impl Core {
    /// Hands jobs of queues to workers that would idle.
    pub(super) fn feed_hungry(&mut self, around: &Around, after: &mut After) {
        let mut asked = 0;
        while asked < self.shares.len() && self.scheduler.is_hungry() {
            // In turn, so that two queues share the workers.
            let Some(share) = self.shares.pop_front() else { return };
            if share.is_over() {
                share.backlog.remove_share(&share);
                continue;
            }
            match share.take_if(|cell| self.is_hungry_for(around.now(), cell)) {
                Some(cell) => {
                    after.left.push(share.backlog.clone());
                    if cell.put(around.place()) {
                        self.submit_or_refuse(around, cell, &share, after);
                    } else {
                        share.ended(Some(Count::Cancelled), &mut after.wakers);
                        after.cells.push(cell);
                    }
                    asked = 0;
                }
                None => asked += 1,
            }
            self.shares.push_back(share);
        }
    }

    /// A queue does not know how much may travel in which pool.
    fn submit_or_refuse(
        &mut self,
        around: &Around,
        cell: CellRef,
        share: &Arc<Share>,
        after: &mut After,
    ) {
        let (size, limit) = (cell.argument_len() as u64, around.plan.max_payload);
        cell.set_sponsor(share.clone());
        let task = Task { cell };
        if size > limit {
            queued(around, &task.cell, after);
            let error = task.cell.error(JobErrorKind::PayloadTooLarge { size, limit }, 0);
            self.settle(around, task, Err(error), after);
        } else {
            self.submit(around, task, after);
        }
    }

    pub(super) fn end_shares(&mut self, after: &mut After) {
        for share in self.shares.drain(..) {
            share.backlog.remove_share(&share);
            after.wakers.extend(share.finish());
        }
    }
}
