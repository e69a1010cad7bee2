//! Something that happens once, and everybody who waits for it: tasks and threads.

use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

#[derive(Default)]
pub(crate) struct Latch {
    state: Mutex<State>,
    condvar: Condvar,
}

#[derive(Default)]
struct State {
    set: bool,
    waiting: Vec<Waker>,
}

impl Latch {
    /// Lets every thread go; the tasks are woken by whoever calls this, outside of any lock.
    #[must_use = "somebody has to wake them"]
    pub(crate) fn set(&self) -> Vec<Waker> {
        let mut state = self.state();
        state.set = true;
        self.condvar.notify_all();
        std::mem::take(&mut state.waiting)
    }

    pub(crate) fn is_set(&self) -> bool {
        self.state().set
    }

    /// For use inside a future's `poll`.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        let mut state = self.state();
        if state.set {
            return Poll::Ready(());
        }
        // A future that is polled often must not grow the list.
        if !state.waiting.iter().any(|other| other.will_wake(&waker)) {
            state.waiting.push(waker);
        }
        Poll::Pending
    }

    /// Blocks this thread; false if the time is over first.
    pub(crate) fn wait(&self, at_most: Duration) -> bool {
        let until = Instant::now() + at_most;
        let mut state = self.state();
        while !state.set {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let woken = self.condvar.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Latch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Latch").field("set", &self.is_set()).finish_non_exhaustive()
    }
}
