//! Replies that lie in a worker's ring and have not come over its channel yet.
//!
//! They count already, so they are booked whenever it matters what the worker has done: before
//! time is up for a job, before the pool is shut down, when jobs are taken back, after a death.
//! If the same replies come over the channel later on, they are passed over; mostly the worker leaves
//! them out.

use std::sync::Arc;

use super::act::Core;
use super::after::After;
use super::cause::Cause;
use super::link::{Answer, Link, TEXT_ROOM};
use super::news::Around;
use crate::recorder::Farewell;
use crate::scheduler::Event;
use crate::wire::{Frame, ToHost, WireFault};

impl Core {
    /// Books what any worker has answered.
    pub(super) fn peek_at_all(&mut self, around: &Around, after: &mut After) {
        for link in self.seats.links_with_jobs() {
            self.peek(around, &link, after);
        }
    }

    /// Books what those have answered of which jobs were taken back.
    pub(super) fn peek_at_recalled(&mut self, around: &Around, after: &mut After) {
        while let Some(link) = self.recalled.pop() {
            self.peek(around, &link, after);
        }
    }

    /// Books what one worker has answered.
    pub(super) fn peek(&mut self, around: &Around, link: &Arc<Link>, after: &mut After) {
        // Of a worker that has said farewell its death tells which replies count.
        if link.recorder.farewell().is_some() {
            return;
        }
        self.look_whether_it_is_up(around, link, after);
        // What a job has printed comes before its end, and so does the last look at its memory:
        // the driver sees to both when it reads the reply.
        if link.journal.is_none() && link.limits.first().is_none() {
            self.take_replies(around, link, u64::MAX, after);
        }
    }

    /// A worker that has begun a job is up, though its greeting was not read yet.
    fn look_whether_it_is_up(&mut self, around: &Around, link: &Link, after: &mut After) {
        let worker = link.worker;
        let Some(seat) = self.seats.get(worker).filter(|seat| !seat.is_up && !seat.killed) else {
            return;
        };
        if seat.window.front().is_some_and(|&(seq, _)| link.was_claimed(seq)) {
            self.is_up(around, worker, after);
            self.handle(around, Event::WorkerReady { worker }, &mut Cause::default(), after);
        }
    }

    /// The same when nothing more comes over the channel. A job that has closed that under its
    /// worker has ended it: that is told, and not what it has returned.
    pub(super) fn peek_at_death(&mut self, around: &Around, link: &Arc<Link>, after: &mut After) {
        let until = match link.recorder.farewell() {
            Some(Farewell::ChannelLost) => link.recorder.next().saturating_sub(1),
            _ => u64::MAX,
        };
        self.take_replies(around, link, until, after);
    }

    /// Books what a worker has answered to jobs below seq `until`.
    fn take_replies(&mut self, around: &Around, link: &Arc<Link>, until: u64, after: &mut After) {
        let Some(seat) = self.seats.get(link.worker).filter(|seat| !seat.killed) else { return };
        if seat.window.is_empty() || !seat.is_up {
            return;
        }
        let from = link.unseen();
        let Some(bytes) = link.recorder.peek(from) else { return };
        if let Err(fault) = self.book(around, link, (from, until), &bytes, after) {
            link.condemn(fault.to_string());
        }
        self.conclude(around, link.worker, after);
    }

    /// Books the frames in `bytes`, the first of which is at offset `from` of the ring, up to the
    /// one of job `until`.
    fn book(
        &mut self,
        around: &Around,
        link: &Arc<Link>,
        (from, until): (u64, u64),
        bytes: &[u8],
        after: &mut After,
    ) -> Result<(), WireFault> {
        let (mut at, mut bytes) = (from, bytes);
        while !bytes.is_empty() {
            let limit = around.plan.max_payload;
            let check = |header: &_| Answer::check(header, link.sent(), limit);
            let (mut frame, rest) = Frame::<ToHost>::cut(bytes, limit.max(TEXT_ROOM), check)?;
            at += (bytes.len() - rest.len()) as u64;
            bytes = rest;
            let (seq, ends_job) = (frame.header.seq, frame.header.kind.ends_job());
            if seq >= until {
                return Ok(());
            }
            let Some(seat) = self.seats.get(link.worker) else { return Ok(()) };
            let due = seat.window.front().map(|&(seq, _)| seq);
            if ends_job && due.is_none_or(|due| seq < due) {
                // Booked already.
            } else if ends_job && due.is_some_and(|due| seq > due) {
                // Those before it have come over the channel, and are on their way here.
                return Ok(());
            } else if frame.header.kind == ToHost::Done {
                self.done(around, link, &frame.header, &mut frame.body, false, after)?;
            } else {
                self.answer(around, link, Answer::read(&frame)?, false, after)?;
            }
            let Some(seat) = self.seats.get(link.worker) else { return Ok(()) };
            if ends_job && seat.booked <= seq {
                seat.booked = seq + 1;
                around.looks.has_found();
            }
            link.see(at);
        }
        Ok(())
    }
}
