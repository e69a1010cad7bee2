//! [`Core`] hears what workers say of their jobs.

use std::sync::Arc;

use super::act::Core;
use super::after::After;
use super::cause::Cause;
use super::link::{Answer, Link, Said};
use super::news::Around;
use super::seats::{Seat, take_due};
use crate::scheduler::{Event, JobKey, Reply, WorkerId};
use crate::stats::Progress;
use crate::trace::{self, Record};
use crate::wire::{Flags, FrameBody, Header, ToHost, WireFault, coarse};

/// The job behind one that is answered, and its seq.
type Next = Option<(u64, JobKey)>;

impl Core {
    /// The output of a job, one of several answers: [`conclude`](Self::conclude) has to follow.
    /// `is_bloated`: the job leaves its worker beyond its memory limit.
    pub(super) fn done(
        &mut self,
        around: &Around,
        link: &Link,
        header: &Header<ToHost>,
        output: &mut FrameBody<'_>,
        is_bloated: bool,
        after: &mut After,
    ) -> Result<(), WireFault> {
        let worker = link.worker;
        let Some((_, next)) = self.take_head(around, worker, header.seq, after)? else {
            return Ok(());
        };
        if is_bloated {
            self.bloated(around, worker, after);
        }
        let took = coarse::decode(header.job);
        if let Some(task) = self.scheduler.take_done(self.now, worker, took) {
            self.settle_done(around, task, output, header.flags.has(Flags::RAW), after);
        }
        if self.scheduler.has_actions() {
            self.act(around, &mut Cause::default(), after);
        }
        // Else nobody hears of those that are answered by now as well that they could run.
        if link.journal.is_some() || around.hub.is_watched() || trace::HAS_SPANS {
            self.begin_next(around, worker, next, after);
        }
        Ok(())
    }

    /// Any other answer.
    pub(super) fn answer(
        &mut self,
        around: &Around,
        link: &Arc<Link>,
        answer: Answer,
        is_bloated: bool,
        after: &mut After,
    ) -> Result<(), WireFault> {
        let worker = link.worker;
        if self.seats.get(worker).is_none_or(|seat| seat.killed) {
            // What it says after the kill is not heard.
            return Ok(());
        }
        let event = match answer.said {
            Said::Failed(_) | Said::Panicked(_) => {
                return self.failed(around, link, answer, is_bloated, after);
            }
            Said::Awake => Event::Awake { worker },
            Said::Logged(record) => return self.logged(worker, answer.seq, *record, after),
            // Its driver has looked.
            Said::News => return Ok(()),
            Said::Progress(progress) => {
                if !self.note_progress(worker, answer.seq, *progress, after) {
                    return Ok(());
                }
                Event::Progressed { worker }
            }
        };
        self.scheduler.take_in(self.now, event);
        self.act(around, &mut Cause::default(), after);
        Ok(())
    }

    /// Takes the job that is answered out of its window. `None`: the answer is not heard, or was booked
    /// before.
    #[inline(always)]
    fn take_head(
        &mut self,
        around: &Around,
        worker: WorkerId,
        seq: u64,
        after: &mut After,
    ) -> Result<Option<(JobKey, Next)>, WireFault> {
        let is_heard = |seat: &&mut Seat| !seat.killed && seq >= seat.booked;
        let Some(seat) = self.seats.get(worker).filter(is_heard) else { return Ok(None) };
        let job = take_due(&mut seat.window, seq)?;
        let next = seat.window.front().copied();
        seat.has_new_head = next.is_some();
        if next.is_none() {
            seat.begin_head(None, around, &mut after.wakers, &mut after.trace);
        }
        Ok(Some((job, next)))
    }

    /// Once a job has ended the next can run, if it was not taken back meanwhile.
    #[inline]
    fn begin_next(&mut self, around: &Around, worker: WorkerId, next: Next, after: &mut After) {
        if let (Some(next), Some(seat)) = (next, self.seats.get(worker)) {
            seat.has_new_head = false;
            if seat.window.front() == Some(&next) {
                let head = self.scheduler.get(next.1);
                seat.begin_head(head, around, &mut after.wakers, &mut after.trace);
            }
        }
    }

    #[cold]
    fn bloated(&mut self, around: &Around, worker: WorkerId, after: &mut After) {
        self.scheduler.take_in(self.now, Event::Bloated { worker });
        self.act(around, &mut Cause::default(), after);
    }

    /// The answer of a job that gave no output.
    fn failed(
        &mut self,
        around: &Around,
        link: &Arc<Link>,
        answer: Answer,
        is_bloated: bool,
        after: &mut After,
    ) -> Result<(), WireFault> {
        let Answer { seq, said, took } = answer;
        let worker = link.worker;
        let Some((job, next)) = self.take_head(around, worker, seq, after)? else {
            return Ok(());
        };
        if is_bloated {
            self.bloated(around, worker, after);
        }
        let reply = match said {
            Said::Panicked(_) => Reply::Panicked,
            _ => Reply::Done,
        };
        let mut cause = Cause::default();
        if let Some(task) = self.scheduler.get(job) {
            cause.remember(&task.cell, link);
            // It may be tried again, and then it waits.
            if reply == Reply::Panicked {
                task.cell.set_running(false);
            }
        }
        cause.said = Some(said);
        self.scheduler.take_in(self.now, Event::Replied { worker, reply, took });
        self.act(around, &mut cause, after);
        self.begin_next(around, worker, next, after);
        Ok(())
    }

    /// The job that runs has logged something.
    fn logged(
        &mut self,
        worker: WorkerId,
        seq: u64,
        record: Record,
        after: &mut After,
    ) -> Result<(), WireFault> {
        let head = self.seats.get(worker).and_then(|seat| seat.window.front().copied());
        let Some((_, job)) = head.filter(|(due, _)| *due == seq) else {
            return Err(WireFault::Seq { seq });
        };
        if let Some(task) = self.scheduler.get(job) {
            after.trace.logged(task.cell.span(), record);
        }
        Ok(())
    }

    /// Job `seq` has said how far it is. True if it is the head of the window: the replies of those
    /// before it are on their way otherwise, or it was itself answered or taken back, and says
    /// nothing any more.
    pub(super) fn note_progress(
        &mut self,
        worker: WorkerId,
        seq: u64,
        progress: Progress,
        after: &mut After,
    ) -> bool {
        let Some((job, is_head)) = self.seats.get(worker).and_then(|seat| seat.find(seq)) else {
            return false;
        };
        if let Some(task) = self.scheduler.get(job) {
            task.cell.note_progress(progress, &mut after.wakers);
        }
        is_head
    }
}
