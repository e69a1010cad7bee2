//! How a job's progress leaves its worker: into the recorder, and a poke when the host has to
//! look.
//!
//! A job's threads report one at a time, each for as long as it takes to copy a message. Nobody
//! waits for the host. What a job said last travels before its reply, since the next job may have
//! the slot by the time that the host reads that; from then on nothing of the job is heard.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::recorder::{Recorder, Report};
use crate::stats::Progress;

/// Pokes the host, without waiting; false if that cannot be done now. False to it: only if that
/// could not be done before.
type Poke = Box<dyn Fn(bool) -> bool + Send + Sync>;

#[derive(Default)]
pub(crate) struct Reporter {
    poke: OnceLock<Poke>,
    /// Jobs below this number are not heard any more.
    barred: Mutex<u64>,
    /// seq + 1 of the last job that reported anything: most never do, and pay for a look at this.
    last: AtomicU64,
    /// The host could not be poked.
    is_stuck: AtomicBool,
}

impl Reporter {
    /// How the host is poked; said once, before the first job.
    pub(crate) fn poke_by(&self, poke: impl Fn(bool) -> bool + Send + Sync + 'static) {
        let _ = self.poke.set(Box::new(poke));
    }

    /// Takes down what job `seq` says, and tells the host. Never waits for it: false if the host
    /// could not be told now, and the guard has to try again; so does whoever reports next.
    pub(crate) fn report(&self, recorder: &Recorder, seq: u64, report: Report<'_>) -> bool {
        let barred = self.barred();
        if seq < *barred || !recorder.report(seq, report) {
            return true;
        }
        self.last.store(seq + 1, Ordering::Release);
        drop(barred);
        let is_new = recorder.announce();
        if !is_new && !self.is_stuck.load(Ordering::Relaxed) {
            return true;
        }
        let is_told = self.poke.get().is_none_or(|poke| poke(is_new));
        self.is_stuck.store(!is_told, Ordering::Relaxed);
        is_told || !is_new
    }

    /// What job `seq`, which is over, has said last. From here on it says nothing.
    #[inline]
    pub(crate) fn conclude(&self, recorder: &Recorder, seq: u64) -> Option<Progress> {
        match self.last.load(Ordering::Acquire) == seq + 1 {
            true => self.bar(recorder, seq),
            false => None,
        }
    }

    #[cold]
    fn bar(&self, recorder: &Recorder, seq: u64) -> Option<Progress> {
        let mut barred = self.barred();
        *barred = seq + 1;
        let last = recorder.reported().filter(|reported| reported.seq == seq);
        last.map(|reported| reported.progress)
    }

    fn barred(&self) -> MutexGuard<'_, u64> {
        self.barred.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
