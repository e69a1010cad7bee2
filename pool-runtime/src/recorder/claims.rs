//! Whose a job is: the worker's that has claimed it, or the host's that has recalled it.
//!
//! A job is *claimed* when the worker moves `next` past it, and *recalled* when the host moves
//! `next` past everything it has sent. Both are one compare-and-swap on one word: exactly one of
//! them wins, at any moment, without the other side's help, and what the word says after a death
//! is the truth about what was started.

use std::sync::atomic::Ordering;

use super::Recorder;
use super::memory::{Memory, Place};

/// Tries of one recall: more than there are jobs in a window.
const RECALLS: usize = 10_000;

pub(super) fn claim<M: Memory>(memory: &M, seq: u64) -> bool {
    memory.exchange(Place::Next, seq, seq + 1).is_ok()
}

pub(super) fn recall<M: Memory>(memory: &M, sent: u64) -> Option<u64> {
    let mut next = self::next(memory);
    for _ in 0..RECALLS {
        if next >= sent {
            return Some(sent);
        }
        match memory.exchange(Place::Next, next, sent) {
            Ok(()) => return Some(next),
            Err(now) => next = now,
        }
    }
    None
}

pub(super) fn next<M: Memory>(memory: &M) -> u64 {
    memory.load(Place::Next, Ordering::Acquire)
}

impl Recorder {
    /// Worker: true if job `seq` is this worker's for good, false if the host took it back.
    pub(crate) fn claim(&self, seq: u64) -> bool {
        claim(self, seq)
    }

    /// Host: takes back every job below `sent` that is not claimed. Returns the seq of the first
    /// one that came back, `sent` if none did; `None` if the worker changes the word more often
    /// than it can have claimed a job.
    pub(crate) fn recall(&self, sent: u64) -> Option<u64> {
        recall(self, sent)
    }

    /// Host: the seq of the first job that was never claimed.
    pub(crate) fn next(&self) -> u64 {
        next(self)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::super::both_sides;

    #[test]
    fn a_job_is_claimed_or_recalled() {
        let (host, worker) = both_sides();
        assert!(worker.claim(0));
        assert!(!worker.claim(0));
        assert_eq!(host.recall(3), Some(1));
        assert!(!worker.claim(1) && !worker.claim(2));
        assert!(worker.claim(3));
        assert_eq!(host.recall(4), Some(4));
        assert_eq!(host.next(), 4);
    }

    #[test]
    fn claim_and_recall_at_once_never_both_win() {
        let (host, worker) = both_sides();
        let mut sent = 0;
        for _ in 0..20_000 {
            let first = sent;
            sent += 2;
            let (claimed, came_back) = thread::scope(|scope| {
                let claims = scope.spawn(|| (first..sent).filter(|&seq| worker.claim(seq)).count());
                let came_back = sent - host.recall(sent).unwrap();
                (claims.join().unwrap() as u64, came_back)
            });
            assert_eq!(claimed + came_back, 2);
        }
    }
}
