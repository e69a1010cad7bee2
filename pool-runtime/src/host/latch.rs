//! Something that happens once, and everybody who waits for it: tasks and threads.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

#[derive(Default)]
pub(crate) struct Latch {
    /// Changes under the lock of `waiting`, and is seen without it.
    is_set: AtomicBool,
    waiting: Mutex<Vec<Waker>>,
    condvar: Condvar,
}

impl Latch {
    /// Lets every thread go; the tasks are woken by whoever calls this, outside of any lock.
    #[must_use = "somebody has to wake them"]
    pub(crate) fn set(&self) -> Vec<Waker> {
        let mut waiting = self.waiting();
        self.is_set.store(true, Ordering::SeqCst);
        self.condvar.notify_all();
        std::mem::take(&mut waiting)
    }

    pub(crate) fn is_set(&self) -> bool {
        self.is_set.load(Ordering::SeqCst)
    }

    /// For use inside a future's `poll`.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        let mut waiting = self.waiting();
        if self.is_set() {
            drop(waiting);
            return Poll::Ready(());
        }
        // A future that is polled often must not grow the list.
        if !waiting.iter().any(|other| other.will_wake(&waker)) {
            waiting.push(waker);
        }
        Poll::Pending
    }

    /// Blocks this thread; false if the time is over first.
    pub(crate) fn wait(&self, at_most: Duration) -> bool {
        let until = Instant::now() + at_most;
        let mut waiting = self.waiting();
        while !self.is_set() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let woken = self.condvar.wait_timeout(waiting, left);
            waiting = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Waker>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Latch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Latch").field("set", &self.is_set()).finish_non_exhaustive()
    }
}
