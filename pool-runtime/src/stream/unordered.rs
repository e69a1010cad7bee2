//! Handles of jobs, given back as their jobs end: work per job, not per job that is waited for.

use std::collections::VecDeque;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use crate::error::JobError;
use crate::handle::JobHandle;
use crate::host::{Bell, Line};

/// Jobs in seats; the seats of those that have ended stand in a line.
pub(super) struct Unordered<T> {
    seats: Vec<Seat<T>>,
    free: Vec<u32>,
    count: usize,
    line: Arc<Line>,
    /// The front of the line, which nobody else looks at.
    front: VecDeque<u32>,
}

struct Seat<T> {
    guest: Guest<T>,
    /// Of the guest before.
    spare: Option<JobHandle<T>>,
}

enum Guest<T> {
    None,
    Waiting(JobHandle<T>),
    Ended(Result<T, JobError>, u32),
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
        !self.front.is_empty() || !self.line.is_empty()
    }

    /// The handle for the next job, if its seat has one that has served.
    pub(super) fn take_spare(&mut self) -> Option<JobHandle<T>> {
        self.free_seat().spare.take()
    }

    /// What has to be rung when the next job ends, once a seat is [free](Self::take_spare).
    pub(super) fn bell(&self) -> Bell {
        Bell { line: self.line.clone(), seat: self.free.last().copied().unwrap_or_default() }
    }

    /// One that rings the bell, or was refused.
    pub(super) fn push(&mut self, handle: JobHandle<T>) {
        if handle.cell().is_followed() {
            self.sit_down(Guest::Waiting(handle));
        } else {
            self.take_in(handle);
        }
    }

    /// One that knows nothing of a bell.
    pub(super) fn take_in(&mut self, mut handle: JobHandle<T>) {
        self.free_seat();
        let waker = Waker::from(Arc::new(Wakes(self.bell())));
        let guest = match Pin::new(&mut handle).poll(&mut Context::from_waker(&waker)) {
            Poll::Pending => Guest::Waiting(handle),
            Poll::Ready(result) => {
                waker.wake();
                Guest::Ended(result, handle.attempts())
            }
        };
        self.sit_down(guest);
    }

    fn sit_down(&mut self, guest: Guest<T>) {
        self.free_seat().guest = guest;
        self.free.pop();
        self.count += 1;
    }

    /// The last free one; it stays free until somebody takes it out of the list.
    fn free_seat(&mut self) -> &mut Seat<T> {
        let n = self.free.last().copied().unwrap_or_else(|| {
            let n = u32::try_from(self.seats.len()).expect("fewer than 2^32 jobs fit in memory");
            self.seats.push(Seat { guest: Guest::None, spare: None });
            self.free.push(n);
            n
        });
        &mut self.seats[n as usize]
    }

    /// The next one that ended, and in how many attempts; pending also if there is none at all.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<(Result<T, JobError>, u32)> {
        loop {
            if self.front.is_empty() {
                self.line.take(&mut self.front, cx);
            }
            let Some(n) = self.front.pop_front() else { return Poll::Pending };
            let seat = &mut self.seats[n as usize];
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
                        self.seats[n as usize].spare = Some(handle);
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

    fn leave(&mut self, n: u32) {
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

/// For a job that knows nothing of bells.
struct Wakes(Bell);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(task) = self.0.ring() {
            task.wake();
        }
    }
}
