//! Replies that are in the ring and not on the channel yet. The thread that runs the jobs puts them
//! there, and takes no lock for it; whoever may write takes them out of here.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::recorder::Recorder;
use crate::wire::{Header, ToHost};

/// Replies that are held back, in bytes at most, before one more.
pub(super) const BATCH: u64 = 16 * 1024;
/// How long a reply is held back while there are other jobs to run, in nanoseconds, if the host, which
/// knows how long it has waited, does not want it sooner.
const HELD_BACK: u64 = 500_000;
/// No moment: nothing waits, as far as is known.
const NEVER: u64 = u64::MAX;

/// Where they lie. Changed by whoever may write, the end alone by the thread that runs the jobs.
pub(super) struct Batch {
    /// Where the first of them begins in the ring. What lies before it may be overwritten.
    begin: AtomicU64,
    /// Where the ring's next frame begins.
    pub(super) end: AtomicU64,
    /// When the oldest has waited for long, or [`NEVER`]. Whoever is wrong about it is late, or early.
    late: AtomicU64,
}

impl Batch {
    pub(super) fn new() -> Batch {
        let zero = || AtomicU64::new(0);
        Batch { begin: zero(), end: zero(), late: AtomicU64::new(NEVER) }
    }

    /// Puts a frame into the ring. It is kept there until it is to be written: before as much comes
    /// behind it as would reach it round the ring.
    #[inline]
    pub(super) fn put(&self, recorder: &Recorder, header: &Header<ToHost>, body: &[u8]) {
        let end = self.end.load(Ordering::Relaxed);
        recorder.put(end, &header.encode(), body);
        self.end.store(end + header.frame_len() as u64, Ordering::Release);
    }

    /// How many bytes are held back.
    #[inline]
    pub(super) fn held(&self) -> u64 {
        // In this order, for whoever is not the one that puts them there.
        let begin = self.begin.load(Ordering::Acquire);
        self.end.load(Ordering::Acquire) - begin
    }

    /// They are many, or the oldest has waited for long, as far as can be told without a look at what
    /// the host has seen.
    #[inline]
    pub(super) fn may_be_due(&self, now: Option<u64>) -> bool {
        let held = self.held();
        let is_late = now.is_some_and(|now| match self.late.load(Ordering::Relaxed) {
            NEVER => {
                let late = if held > 0 { now + HELD_BACK } else { NEVER };
                self.late.store(late, Ordering::Relaxed);
                false
            }
            late => now >= late,
        });
        is_late || held >= BATCH
    }

    /// What lies before this offset is not held back any more; how much that is. By whoever may write.
    pub(super) fn forget_below(&self, offset: u64) -> u64 {
        let begin = self.begin.load(Ordering::Relaxed);
        let forgotten = offset.min(self.end.load(Ordering::Acquire)).saturating_sub(begin);
        if forgotten > 0 {
            self.begin.store(begin + forgotten, Ordering::Release);
            self.late.store(NEVER, Ordering::Relaxed);
        }
        forgotten
    }

    /// Puts what is to be written behind what is there. By whoever may write.
    pub(super) fn take_to(&self, recorder: &Recorder, rest: &mut Vec<u8>) {
        let (begin, end) = (self.begin.load(Ordering::Relaxed), self.end.load(Ordering::Acquire));
        recorder.take(begin, end, rest);
        // Copied first: then it may be overwritten.
        self.begin.store(end, Ordering::Release);
        self.late.store(NEVER, Ordering::Relaxed);
    }
}
