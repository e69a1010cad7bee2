//! A worker's life as the core sees it: it was launched, has greeted, is gone.

use std::sync::Arc;

use super::act::Core;
use super::after::After;
use super::cause::{Cause, Trouble};
use super::link::Link;
use super::news::{Around, Gone};
use crate::happening::PoolEvent;
use crate::scheduler::{Event, WorkerId};

impl Core {
    /// Its process is there.
    pub(super) fn launched(&mut self, around: &Around, link: Arc<Link>, after: &mut After) {
        let (slot, pid) = (link.slot(), link.process.id());
        self.ledger.process_started(slot);
        around.hub.publish(&mut after.wakers, || PoolEvent::WorkerStarted { slot, pid });
        let worker = link.worker;
        // What one prints that is not up yet is no job's.
        let takes_early = link.journal.is_none();
        match self.seats.get(worker) {
            Some(seat) if !seat.killed => seat.link = Some(link),
            // Told to die before it was born.
            Some(_) | None => link.kill(),
        }
        if takes_early {
            self.handle(around, Event::Connected { worker }, &mut Cause::default(), after);
        }
    }

    /// It runs what it is given, and may have been given something before: it has greeted, or is known
    /// to have begun a job.
    pub(super) fn is_up(&mut self, around: &Around, worker: WorkerId, after: &mut After) {
        let Some(seat) = self.seats.get(worker).filter(|seat| !seat.is_up) else { return };
        seat.is_up = true;
        let Some(link) = &seat.link else { return };
        let (slot, pid) = (link.slot(), link.process.id());
        around.hub.publish(&mut after.wakers, || PoolEvent::WorkerReady { slot, pid });
        if let Some(&(_, job)) = seat.window.front() {
            link.probe();
            let head = self.scheduler.get(job);
            seat.begin_head(head, around, &mut after.wakers, &mut after.trace);
        }
    }

    /// It has ended, and all that it said was read.
    pub(super) fn gone(&mut self, around: &Around, gone: Gone, after: &mut After) {
        let Gone { worker, link, exit, detail, in_launch } = gone;
        if let Some(link) = &link {
            let (slot, pid) = (link.slot(), link.process.id());
            around.hub.publish(&mut after.wakers, || PoolEvent::WorkerExited { slot, pid, exit });
        }
        if let Some(link) = &link {
            self.peek_at_death(around, link, after);
        }
        if let Some(last) = link.as_ref().and_then(|link| link.recorder.reported()) {
            self.note_progress(worker, last.seq, last.progress, after);
        }
        let head = self.seats.get(worker).and_then(|seat| seat.window.front().copied());
        let seq = head.map(|(seq, _)| seq);
        let claimed = seq.zip(link.as_ref()).is_some_and(|(seq, link)| link.was_claimed(seq));
        if in_launch {
            let killed = self.seats.get(worker).is_some_and(|seat| seat.killed);
            let overdue = killed.then_some(around.plan.start_timeout);
            self.trouble = Some(Trouble::new(&detail, exit, overdue, link.as_ref()));
        }
        let mut cause = Cause::default();
        cause.detail = Some(detail.into());
        if let Some(task) = head.and_then(|(_, job)| self.scheduler.get(job)) {
            // It may be tried again, and then it waits; else it has its outcome in a moment.
            task.cell.set_running(false);
            if let Some(link) = &link {
                cause.remember(&task.cell, link);
            }
        }
        let event = Event::WorkerGone { worker, exit, claimed };
        self.handle(around, event, &mut cause, after);
        // A launch that followed has made a new place in the meantime.
        self.seats.remove(worker);
    }
}
