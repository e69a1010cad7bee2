//! Jobs of one maker that have ended, first come, first served: who is told is the line, not a task for
//! each job.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

/// By the seats that their maker has given them.
#[derive(Default)]
pub(crate) struct Line(Mutex<State>);

#[derive(Default)]
struct State {
    seats: VecDeque<u32>,
    /// Who waits for the next one.
    task: Option<Waker>,
}

/// Puts one seat into a line.
pub(crate) struct Bell {
    pub(crate) line: Arc<Line>,
    pub(crate) seat: u32,
}

impl Bell {
    /// Runs nothing of a user's, and may be called under any lock; whoever does wakes who waits, later on.
    #[must_use]
    pub(crate) fn ring(&self) -> Option<Waker> {
        let mut state = self.line.state();
        state.seats.push_back(self.seat);
        state.task.take()
    }
}

impl Line {
    pub(crate) fn is_empty(&self) -> bool {
        self.state().seats.is_empty()
    }

    /// Moves the line into `front`, which is empty; if nobody stands in it, `cx` is told of the next.
    pub(crate) fn take(&self, front: &mut VecDeque<u32>, cx: &mut Context<'_>) {
        mem::swap(&mut self.state().seats, front);
        if !front.is_empty() {
            return;
        }
        // A waker's code runs when it is cloned or dropped: both outside of the lock.
        let waker = cx.waker().clone();
        let mut state = self.state();
        mem::swap(&mut state.seats, front);
        let old = if front.is_empty() { state.task.replace(waker) } else { Some(waker) };
        drop(state);
        drop(old);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
