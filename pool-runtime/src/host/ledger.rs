//! How the jobs of a pool ended, and how often it has started processes.

use super::backlog::Count;
use crate::error::{JobError, JobErrorKind};
use crate::stats::WorkReport;

/// The counts of one pool, under the core's lock.
#[derive(Debug)]
pub(super) struct Ledger {
    ended: WorkReport,
    crashed: u64,
    restarts: u64,
    /// The slots that have had a process.
    manned: Vec<bool>,
}

impl Ledger {
    pub(super) fn new(workers: u32) -> Ledger {
        let manned = vec![false; workers as usize];
        Ledger { ended: WorkReport::default(), crashed: 0, restarts: 0, manned }
    }

    /// A job has its outcome.
    pub(super) fn job_ended(&mut self, count: Count, error: Option<&JobError>) {
        count.add_to(&mut self.ended);
        let kind = error.map(JobError::kind);
        let crashed =
            matches!(kind, Some(JobErrorKind::Crashed(_) | JobErrorKind::MemoryLimit { .. }));
        self.crashed += u64::from(crashed);
    }

    /// The slot has a new process.
    pub(super) fn process_started(&mut self, slot: usize) {
        if let Some(manned) = self.manned.get_mut(slot) {
            self.restarts += u64::from(std::mem::replace(manned, true));
        }
    }

    /// How the jobs that have ended so far did so.
    pub(super) fn ended(&self) -> WorkReport {
        self.ended
    }

    /// Of those that failed, how many took their worker down.
    pub(super) fn crashed(&self) -> u64 {
        self.crashed
    }

    /// Processes that were started in a slot that had one before.
    pub(super) fn restarts(&self) -> u64 {
        self.restarts
    }
}
