//! [`Core`] hears what workers say of their jobs.

use std::sync::Arc;
use std::time::Duration;

use super::act::Core;
use super::after::After;
use super::cause::Cause;
use super::link::{Answer, Link, Said};
use super::news::Around;
use super::seats::take_due;
use crate::scheduler::{Event, JobKey, Reply, WorkerId};
use crate::stats::Progress;
use crate::trace::Record;
use crate::wire::WireFault;

impl Core {
    /// One of several answers: [`conclude`](Self::conclude) has to follow.
    pub(super) fn answer(
        &mut self,
        around: &Around,
        link: &Arc<Link>,
        answer: Answer,
        after: &mut After,
    ) -> Result<(), WireFault> {
        let worker = link.worker;
        if self.seats.get(worker).is_none_or(|seat| seat.killed) {
            // What it says after the kill is not heard.
            return Ok(());
        }
        let event = match answer.said {
            Said::Done(_) | Said::Failed(_) | Said::Panicked(_) => {
                return self.replied(around, link, answer, after);
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

    /// The answer that ends a job.
    fn replied(
        &mut self,
        around: &Around,
        link: &Arc<Link>,
        answer: Answer,
        after: &mut After,
    ) -> Result<(), WireFault> {
        let Answer { seq, said, took, is_bloated } = answer;
        let worker = link.worker;
        let Some(seat) = self.seats.get(worker).filter(|seat| seq >= seat.booked) else {
            return Ok(());
        };
        let job = take_due(&mut seat.window, seq)?;
        let next = seat.window.front().copied();
        if next.is_none() {
            seat.begin_head(None, around, &mut after.wakers, &mut after.trace);
        }
        if is_bloated {
            self.scheduler.take_in(self.now, Event::Bloated { worker });
            self.act(around, &mut Cause::default(), after);
        }
        match said {
            Said::Done(output) => {
                let reply = Reply::Done;
                self.scheduler.take_in(self.now, Event::Replied { worker, reply, took });
                if let Some(task) = self.scheduler.poll_replied() {
                    self.settle(around, task, Ok(output), after);
                }
                if self.scheduler.has_actions() {
                    self.act(around, &mut Cause::default(), after);
                }
            }
            said => self.failed(around, link, job, (said, took), after),
        }
        // Once this one has ended, and if the next was not taken back meanwhile.
        if let (Some(next), Some(seat)) = (next, self.seats.get(worker)) {
            if seat.window.front() == Some(&next) {
                let head = self.scheduler.get(next.1);
                seat.begin_head(head, around, &mut after.wakers, &mut after.trace);
            }
        }
        Ok(())
    }

    /// The answer of a job that gave no output.
    fn failed(
        &mut self,
        around: &Around,
        link: &Arc<Link>,
        job: JobKey,
        (said, took): (Said, Duration),
        after: &mut After,
    ) {
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
        let worker = link.worker;
        self.scheduler.take_in(self.now, Event::Replied { worker, reply, took });
        self.act(around, &mut cause, after);
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
