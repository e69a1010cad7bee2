//! The flight recorder: words of memory that host and worker both see.
//!
//! ```text
//!    0  next      seq of the next job that nobody has claimed: recorder/claims.rs
//!   64  cancel    seq + 1 of the job that is asked to stop
//!  128  reserved  \ of the ring of replies: recorder/ring.rs
//!  192  committed /
//!  256  farewell  why the worker left by itself, see [`Farewell`]
//!  320  progress  one job's progress: recorder/slot.rs
//! 1472  watched   \ of the ring again
//! 1536  seen      |
//! 1600  left out  /
//! 4032  log level the most detailed one that the host would take, zero for none
//! 4096  the ring, 64 KiB
//! ```
//!
//! The worker can write anything here, hence the host believes nothing: numbers are clamped to
//! what was sent, and no number leads to an access out of bounds.

#![expect(unsafe_code, reason = "atomics in a shared mapping")]

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::os::{Handle, Mapping};

mod claims;
mod memory;
#[cfg(test)]
mod model;
mod ring;
mod slot;

pub(crate) use slot::{Report, Reported};

const CANCEL: usize = 64;
const FAREWELL: usize = 256;
const LOG_LEVEL: usize = 4032;
const RING: usize = 4096;
const RING_LEN: usize = 64 * 1024;
const LEN: usize = RING + RING_LEN;

/// Why a worker left without being told to, where its exit code alone would not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Farewell {
    /// Its channel was closed under it: a job has closed descriptors that are not its own.
    ChannelLost = 1,
    /// It did not understand its host.
    Confused = 2,
}

/// One side's view of the recorder.
#[derive(Debug)]
pub(crate) struct Recorder(Mapping);

impl fmt::Display for Farewell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Farewell::ChannelLost => "the job closed descriptors that its worker needs",
            Farewell::Confused => "it did not understand its host",
        })
    }
}

impl Recorder {
    /// The host makes one for each worker, and hands over the descriptor.
    pub(crate) fn create() -> io::Result<(Recorder, Handle)> {
        let (mapping, file) = Mapping::create(LEN)?;
        Ok((Recorder(mapping), file))
    }

    /// The worker opens the one it was given.
    pub(crate) fn open(file: &Handle) -> io::Result<Recorder> {
        Mapping::open(file, LEN).map(Recorder)
    }

    /// Host: asks job `seq` to stop.
    pub(crate) fn ask(&self, seq: u64) {
        self.word(CANCEL).store(seq + 1, Ordering::Release);
    }

    /// Worker: whether job `seq` is asked to stop.
    pub(crate) fn is_asked(&self, seq: u64) -> bool {
        self.word(CANCEL).load(Ordering::Acquire) == seq + 1
    }

    /// Host: up to which level it would take what jobs log; zero for none.
    pub(crate) fn want_log_level(&self, level: u64) {
        self.word(LOG_LEVEL).store(level, Ordering::Release);
    }

    /// Worker: what the host said last.
    pub(crate) fn log_level(&self) -> u64 {
        self.word(LOG_LEVEL).load(Ordering::Acquire)
    }

    /// Worker: leaves word of why it leaves.
    pub(crate) fn say_farewell(&self, farewell: Farewell) {
        self.word(FAREWELL).store(farewell as u64, Ordering::Release);
    }

    /// Host: what the worker said of its end, if anything.
    pub(crate) fn farewell(&self) -> Option<Farewell> {
        match self.word(FAREWELL).load(Ordering::Acquire) {
            1 => Some(Farewell::ChannelLost),
            2 => Some(Farewell::Confused),
            _ => None,
        }
    }

    fn word(&self, offset: usize) -> &AtomicU64 {
        debug_assert!(offset < RING);
        self.at(offset)
    }

    /// The n-th word of the ring.
    fn ring_word(&self, n: usize) -> &AtomicU64 {
        debug_assert!(n < RING_LEN / 8);
        self.at(RING + n % (RING_LEN / 8) * 8)
    }

    fn at(&self, offset: usize) -> &AtomicU64 {
        debug_assert!(offset % 8 == 0 && offset < LEN && self.0.len() == LEN);
        // SAFETY: the mapping is page-aligned and `LEN` bytes long. The offset is one of the
        // constants of this file or of the ones below it, or was cut to the ring's length: aligned
        // and inside. The memory lives as long as `self`, and both processes access it through
        // atomics only.
        unsafe { self.0.address().add(offset).cast::<AtomicU64>().as_ref() }
    }
}

/// For tests: what the host has of one, and what the worker has.
#[cfg(test)]
fn both_sides() -> (Recorder, Recorder) {
    let (host, file) = Recorder::create().unwrap();
    let worker = Recorder::open(&file).unwrap();
    (host, worker)
}

#[cfg(test)]
mod tests {
    use super::memory::{Memory, Place};
    use super::*;

    #[test]
    fn a_request_to_stop_is_for_one_job() {
        let (host, worker) = both_sides();
        assert!(!worker.is_asked(0));
        host.ask(0);
        assert!(worker.is_asked(0) && !worker.is_asked(1));
    }

    #[test]
    fn rubbish_in_the_words_does_no_harm() {
        let (host, worker) = both_sides();
        worker.store(Place::Next, u64::MAX, Ordering::Release);
        assert_eq!(host.recall(5), Some(5));
        worker.word(CANCEL).store(7, Ordering::Release);
        assert!(!worker.is_asked(0));
        worker.word(FAREWELL).store(u64::MAX, Ordering::Release);
        assert_eq!(host.farewell(), None);
        worker.say_farewell(Farewell::ChannelLost);
        assert_eq!(host.farewell(), Some(Farewell::ChannelLost));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_worker_cannot_shrink_it() {
        let (_host, file) = Recorder::create().unwrap();
        assert!(rustix::fs::ftruncate(&file, 0).is_err());
        assert!(rustix::fs::ftruncate(&file, 1 << 20).is_err());
    }
}
