//! The jobs of a stream that were submitted and whose results it has not given yet.

use std::collections::VecDeque;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::unordered::Unordered;
use crate::error::JobError;
use crate::handle::JobHandle;
use crate::host::{Bell, JobStatus};
use crate::meter::{Row, Running};

/// How many jobs in flight are looked at for what is shown of them.
const LOOKED_AT: usize = 4096;

/// Handles in the order in which their results are given.
pub(super) enum Ahead<T> {
    /// And some whose results were given, to be used again.
    Ordered(VecDeque<JobHandle<T>>, Vec<JobHandle<T>>),
    Unordered(Unordered<T>),
}

/// A result, and how many attempts it took.
pub(super) type Ended<T> = (Result<T, JobError>, u32);

impl<T> Ahead<T> {
    pub(super) fn new() -> Self {
        Ahead::Ordered(VecDeque::new(), Vec::new())
    }

    /// From here on as the jobs end.
    pub(super) fn become_unordered(&mut self) {
        if let Ahead::Ordered(handles, _) = self {
            let mut ahead = Unordered::new();
            mem::take(handles).into_iter().for_each(|handle| ahead.take_in(handle));
            *self = Ahead::Unordered(ahead);
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Ahead::Ordered(handles, _) => handles.len(),
            Ahead::Unordered(ahead) => ahead.len(),
        }
    }

    /// The handle for the next job, if there is one that has served.
    pub(super) fn take_spare(&mut self) -> Option<JobHandle<T>> {
        match self {
            Ahead::Ordered(_, spare) => spare.pop(),
            Ahead::Unordered(ahead) => ahead.take_spare(),
        }
    }

    /// What has to be rung when the next job ends.
    pub(super) fn bell(&self) -> Option<impl FnOnce() -> Bell + use<'_, T>> {
        match self {
            Ahead::Ordered(..) => None,
            Ahead::Unordered(ahead) => Some(|| ahead.bell()),
        }
    }

    pub(super) fn push(&mut self, handle: JobHandle<T>) {
        match self {
            Ahead::Ordered(handles, _) => handles.push_back(handle),
            Ahead::Unordered(ahead) => ahead.push(handle),
        }
    }

    /// Whether a result is there to be given.
    #[inline]
    pub(super) fn has_ended(&self) -> bool {
        match self {
            Ahead::Ordered(handles, _) => handles.front().is_some_and(JobHandle::is_finished),
            Ahead::Unordered(ahead) => ahead.has_ended(),
        }
    }

    /// There will be so many more.
    pub(super) fn reserve(&mut self, more: usize) {
        match self {
            Ahead::Ordered(handles, _) => handles.reserve(more),
            Ahead::Unordered(ahead) => ahead.reserve(more),
        }
    }

    /// The next result if it is there, after which no more jobs come.
    #[inline]
    pub(super) fn take_next(&mut self) -> Option<Ended<T>> {
        let Ahead::Ordered(handles, spare) = self else { return None };
        if !spare.is_empty() {
            *spare = Vec::new();
        }
        if !handles.front()?.is_finished() {
            return None;
        }
        // Out of the line before its output is decoded: that may panic.
        let handle = handles.pop_front()?;
        let attempts = handle.attempts();
        handle.take_result().map(|result| (result, attempts))
    }

    /// The next result; pending also if there is no job at all. `comes_again`: there will be jobs that
    /// what has served can serve.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>, comes_again: bool) -> Poll<Ended<T>> {
        let (handles, spare) = match self {
            Ahead::Ordered(handles, spare) => (handles, spare),
            Ahead::Unordered(ahead) => return ahead.poll_next(cx),
        };
        // Out of the line while it is polled: decoding its output may panic.
        let Some(mut handle) = handles.pop_front() else { return Poll::Pending };
        let result = Pin::new(&mut handle).poll(cx);
        if result.is_pending() {
            handles.push_front(handle);
            return Poll::Pending;
        }
        let attempts = handle.attempts();
        if comes_again {
            spare.push(handle);
        }
        result.map(|result| (result, attempts))
    }

    /// What is to be shown of them.
    pub(super) fn running(&self) -> Running {
        let mut running = Running::default();
        let mut look = |handle: &JobHandle<T>| {
            running.add(handle.attempts(), || {
                let (label, attempt) = (handle.caption(), handle.attempts());
                let is_running = handle.status() == JobStatus::Running;
                is_running.then(|| Row { label, attempt, progress: handle.latest_progress() })
            });
        };
        match self {
            Ahead::Ordered(handles, _) => handles.iter().take(LOOKED_AT).for_each(&mut look),
            Ahead::Unordered(ahead) => ahead.waiting().take(LOOKED_AT).for_each(&mut look),
        }
        running
    }

    /// Those that wait.
    pub(super) fn cancel_queued(&self) {
        let cancel = |handle: &JobHandle<T>| {
            if handle.status() == JobStatus::Queued {
                handle.cancel();
            }
        };
        match self {
            Ahead::Ordered(handles, _) => handles.iter().rev().for_each(cancel),
            Ahead::Unordered(ahead) => ahead.waiting().for_each(cancel),
        }
    }
}
