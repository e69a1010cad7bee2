//! The memory limits of the jobs that a worker was given.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The limits of the jobs that one worker was given: their seq and bytes, in order.
#[derive(Debug, Default)]
pub(super) struct Limits {
    limits: Mutex<VecDeque<(u64, u64)>>,
    /// There was one: most workers never have any.
    were_any: AtomicBool,
    /// There is one now.
    wanted: Notify,
}

impl Limits {
    /// Job `seq` was sent.
    pub(super) fn add(&self, seq: u64, limit: u64) {
        self.were_any.store(true, Ordering::Release);
        let mut limits = self.limits();
        limits.push_back((seq, limit));
        if limits.len() == 1 {
            self.wanted.notify_one();
        }
    }

    /// Jobs from `first` on were taken back.
    pub(super) fn recall(&self, first: u64) {
        self.limits().retain(|&(seq, _)| seq < first);
    }

    /// Job `seq` is answered: what was its limit?
    pub(super) fn end(&self, seq: u64) -> Option<u64> {
        if !self.were_any.load(Ordering::Acquire) {
            return None;
        }
        let mut limits = self.limits();
        let is_first = limits.front().is_some_and(|&(first, _)| first == seq);
        if is_first { limits.pop_front().map(|(_, limit)| limit) } else { None }
    }

    /// Of the job that is answered next, of those that have one.
    pub(super) fn first(&self) -> Option<(u64, u64)> {
        self.limits().front().copied()
    }

    /// Waits until there may be one.
    pub(super) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    fn limits(&self) -> MutexGuard<'_, VecDeque<(u64, u64)>> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_of_the_jobs_that_have_one() {
        let limits = Limits::default();
        assert_eq!(limits.first(), None);
        limits.add(3, 100);
        limits.add(5, 200);
        limits.add(6, 300);
        assert_eq!(limits.end(2), None);
        assert_eq!(limits.end(3), Some(100));
        assert_eq!(limits.first(), Some((5, 200)));
        limits.recall(6);
        assert_eq!(limits.end(6), None);
        assert_eq!(limits.end(5), Some(200));
        assert_eq!(limits.first(), None);
    }
}
