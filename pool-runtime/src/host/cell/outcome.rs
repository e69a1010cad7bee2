//! How a cell gets its outcome, and how that is taken from it.

use std::task::{Context, Poll, Waker};

use super::super::wakers::wake_all;
use super::slot::{Leftover, Locked};
use super::words::Small;
use super::{Cell, JobStatus, Outcome, Output};
use crate::error::JobErrorKind;
use crate::wire::FrameBody;

impl Cell {
    /// Gives the job its outcome, unless it has one. Whoever calls this wakes the wakers and
    /// drops the leftover, outside of any lock.
    #[must_use]
    pub(in crate::host) fn finish(
        &self,
        outcome: Outcome,
        wakers: &mut Vec<Waker>,
    ) -> Option<Leftover> {
        self.finish_in(&mut self.slot(), outcome, wakers)
    }

    /// The same with an output, as it came. Into the leftovers goes what is to be dropped. True if the
    /// cell has nothing of anybody else's, and never will: it may be dropped anywhere.
    #[must_use]
    #[inline]
    pub(in crate::host) fn finish_with(
        &self,
        output: &mut FrameBody<'_>,
        raw: bool,
        wakers: &mut Vec<Waker>,
        leftovers: &mut Vec<Leftover>,
    ) -> bool {
        match output {
            FrameBody::Lies(bytes) if self.slot.finish_small(bytes, raw) => {
                self.course.end();
                true
            }
            output => self.finish_boxed(output, raw, wakers, leftovers),
        }
    }

    /// The same where somebody waits, or there is much.
    #[inline(never)]
    fn finish_boxed(
        &self,
        output: &mut FrameBody<'_>,
        raw: bool,
        wakers: &mut Vec<Waker>,
        leftovers: &mut Vec<Leftover>,
    ) -> bool {
        let mut slot = self.slot();
        if let FrameBody::Lies(bytes) = output {
            if let Some(is_bare) = slot.finish_small(bytes, raw, wakers) {
                self.course.end();
                slot.ring(wakers);
                return is_bare;
            }
        }
        let output = Output { payload: output.take(), raw };
        leftovers.extend(self.finish_in(&mut slot, Ok(output), wakers));
        false
    }

    #[inline(never)]
    fn finish_in(
        &self,
        slot: &mut Locked<'_>,
        outcome: Outcome,
        wakers: &mut Vec<Waker>,
    ) -> Option<Leftover> {
        match slot.finish(outcome, wakers) {
            Ok(leftover) => {
                self.course.end();
                slot.ring(wakers);
                leftover
            }
            Err(late) => Some(late),
        }
    }

    /// Ends a job that is in no pool.
    pub(crate) fn end(&self, kind: JobErrorKind) {
        let mut wakers = Vec::new();
        let leftover = self.finish(Err(self.error(kind, 0)), &mut wakers);
        drop(leftover);
        wake_all(&mut wakers);
    }

    /// Ends a job that somebody holds outside of any queue and pool. False if it has moved on.
    pub(in crate::host) fn end_nowhere(&self, kind: JobErrorKind) -> bool {
        let outcome = Err(self.error(kind, 0));
        let mut wakers = Vec::new();
        let mut slot = self.slot();
        if slot.rare().is_some_and(|rare| !rare.place.is_nowhere()) {
            return false;
        }
        let leftover = self.finish_in(&mut slot, outcome, &mut wakers);
        drop(slot);
        drop(leftover);
        wake_all(&mut wakers);
        true
    }

    /// The output of a job that has given a few bytes, once; `None`: it has another
    /// [outcome](Self::take_outcome). For use inside a future's `poll`.
    #[inline]
    pub(crate) fn poll_small(&self, cx: &mut Context<'_>) -> Poll<Option<Small>> {
        if self.status() == JobStatus::Ended {
            return Poll::Ready(self.take_small());
        }
        if self.waits(cx) {
            return Poll::Pending;
        }
        let small = self.take_small();
        // It may have ended this very moment, and whoever has the output must not be told otherwise.
        if self.status() != JobStatus::Ended {
            self.course.end();
        }
        Poll::Ready(small)
    }

    /// The same of one that has ended.
    #[inline]
    pub(crate) fn take_small(&self) -> Option<Small> {
        self.slot.take_small()
    }

    /// The outcome, once.
    pub(crate) fn take_outcome(&self) -> Option<Outcome> {
        self.slot().take_outcome()
    }

    /// Whether the job has not ended; then it tells `cx` of its end.
    #[inline(never)]
    fn waits(&self, cx: &mut Context<'_>) -> bool {
        // A waker's code runs when it is cloned or dropped: both outside of the lock.
        let waker = cx.waker().clone();
        let mut slot = self.slot();
        let (is_open, old) = match slot.open() {
            Some(full) => (true, full.set_waker(waker)),
            None => (false, Some(waker)),
        };
        drop(slot);
        drop(old);
        is_open
    }

    /// Whether the job has ended; tells `cx` when it does.
    pub(crate) fn poll_ended(&self, cx: &mut Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        let mut slot = self.slot();
        let Some(full) = slot.open() else { return Poll::Ready(()) };
        let watchers = &mut full.rare_mut().watchers;
        if !watchers.iter().any(|other| other.will_wake(&waker)) {
            watchers.push(waker);
        }
        Poll::Pending
    }
}
