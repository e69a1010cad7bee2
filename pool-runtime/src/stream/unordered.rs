//! Handles of jobs, given back as their jobs end: work per job, not per job that is waited for.

use std::collections::VecDeque;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use crate::error::JobError;
use crate::handle::JobHandle;

/// Jobs in seats; the seats of those that have ended stand in a line.
pub(super) struct Unordered<T> {
    seats: Vec<Seat<T>>,
    free: Vec<usize>,
    count: usize,
    line: Arc<Line>,
    /// The front of the line, which nobody else looks at.
    front: VecDeque<usize>,
}

struct Seat<T> {
    guest: Guest<T>,
    /// Of the guest before.
    spare: Option<JobHandle<T>>,
    /// Puts this seat into the line; made once, for all of its guests.
    waker: Waker,
}

enum Guest<T> {
    None,
    Waiting(JobHandle<T>),
    Ended(Result<T, JobError>, u32),
}

/// The seats whose jobs have ended, first come, first served.
#[derive(Default)]
struct Line(Mutex<LineState>);

#[derive(Default)]
struct LineState {
    seats: VecDeque<usize>,
    /// Who waits for the next one.
    task: Option<Waker>,
}

impl<T> Unordered<T> {
    pub(super) fn new() -> Self {
        let (line, front) = (Arc::default(), VecDeque::new());
        Unordered { seats: Vec::new(), free: Vec::new(), count: 0, line, front }
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// There will be so many more.
    pub(super) fn reserve(&mut self, more: usize) {
        self.seats.reserve(more.saturating_sub(self.free.len()));
    }

    pub(super) fn has_ended(&self) -> bool {
        !self.front.is_empty() || !self.line.state().seats.is_empty()
    }

    /// The handle for the next job, if its seat has one that has served.
    pub(super) fn take_spare(&mut self) -> Option<JobHandle<T>> {
        self.free_seat().spare.take()
    }

    /// What has to be rung when the next job ends, once a seat is [free](Self::take_spare).
    pub(super) fn bell(&self) -> Option<&Waker> {
        self.free.last().map(|n| &self.seats[*n].waker)
    }

    /// One that rings the bell, or was refused.
    pub(super) fn push(&mut self, handle: JobHandle<T>) {
        if handle.cell().is_followed() {
            self.free_seat().guest = Guest::Waiting(handle);
            self.free.pop();
            self.count += 1;
        } else {
            self.take_in(handle);
        }
    }

    /// One that knows nothing of a bell.
    pub(super) fn take_in(&mut self, mut handle: JobHandle<T>) {
        let seat = self.free_seat();
        let guest = match Pin::new(&mut handle).poll(&mut Context::from_waker(&seat.waker)) {
            Poll::Pending => Guest::Waiting(handle),
            Poll::Ready(result) => {
                seat.waker.wake_by_ref();
                Guest::Ended(result, handle.attempts())
            }
        };
        seat.guest = guest;
        self.free.pop();
        self.count += 1;
    }

    /// The last free one; it stays free until somebody takes it out of the list.
    fn free_seat(&mut self) -> &mut Seat<T> {
        let n = self.free.last().copied().unwrap_or(self.seats.len());
        if n == self.seats.len() {
            let bell = Bell { line: self.line.clone(), seat: n };
            self.seats.push(Seat { guest: Guest::None, spare: None, waker: Arc::new(bell).into() });
            self.free.push(n);
        }
        &mut self.seats[n]
    }

    /// The next one that ended, and in how many attempts; pending also if there is none at all.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<(Result<T, JobError>, u32)> {
        loop {
            if self.front.is_empty() {
                self.line.take(&mut self.front, cx);
            }
            let Some(n) = self.front.pop_front() else { return Poll::Pending };
            let seat = &mut self.seats[n];
            match mem::replace(&mut seat.guest, Guest::None) {
                // Left over from an earlier guest.
                Guest::None => {}
                Guest::Waiting(handle) if !handle.is_finished() => {
                    seat.guest = Guest::Waiting(handle);
                }
                // The seat is free before the output is decoded: that may panic.
                Guest::Waiting(mut handle) => {
                    self.leave(n);
                    if let Poll::Ready(result) = Pin::new(&mut handle).poll(cx) {
                        let attempts = handle.attempts();
                        self.seats[n].spare = Some(handle);
                        return Poll::Ready((result, attempts));
                    }
                }
                Guest::Ended(result, attempts) => {
                    self.leave(n);
                    return Poll::Ready((result, attempts));
                }
            }
        }
    }

    fn leave(&mut self, n: usize) {
        self.free.push(n);
        self.count -= 1;
    }

    /// The handles of those that were still waited for when last looked at.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &JobHandle<T>> {
        self.seats.iter().filter_map(|seat| match &seat.guest {
            Guest::Waiting(handle) => Some(handle),
            Guest::None | Guest::Ended(..) => None,
        })
    }
}

impl Line {
    /// Moves the line into `front`, which is empty; if nobody stands in it, `cx` is told of the next.
    fn take(&self, front: &mut VecDeque<usize>, cx: &mut Context<'_>) {
        mem::swap(&mut self.state().seats, front);
        if !front.is_empty() {
            return;
        }
        // A waker's code runs when it is cloned or dropped: both outside of the lock.
        let waker = cx.waker().clone();
        let mut state = self.state();
        mem::swap(&mut state.seats, front);
        let old = if front.is_empty() { state.task.replace(waker) } else { None };
        drop(state);
        drop(old);
    }

    fn state(&self) -> MutexGuard<'_, LineState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes on behalf of one seat.
struct Bell {
    line: Arc<Line>,
    seat: usize,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut state = self.line.state();
        state.seats.push_back(self.seat);
        let task = state.task.take();
        drop(state);
        if let Some(task) = task {
            task.wake();
        }
    }
}
