//! The core at work: news become events, actions become deeds. No decision is made here.

use std::collections::VecDeque;
use std::sync::Arc;

use super::after::After;
use super::cell::{Cell, JobStatus, Manner, Outcome, Place};
use super::core::{Core, Gone, Host, News, count_of};
use super::driver;
use super::link::{Answer, Link, Said};
use crate::error::{JobErrorKind, WorkerExit};
use crate::policy::Terms;
use crate::scheduler::{Action, Ending, Event, Reply, WorkerId};
use crate::wire::{Prelude, WireFault};

/// What an action may need to know of the news that caused it.
#[derive(Default)]
struct Cause {
    /// The answer that was just read.
    said: Option<Said>,
    /// What is known of the death that was just seen.
    detail: Option<Arc<str>>,
}

impl Core {
    /// One piece of news, and all that follows from it.
    pub(super) fn feed(&mut self, host: &Host, news: News, after: &mut After) {
        let mut cause = Cause::default();
        match news {
            News::Submit(cell) => self.submit(host, cell, &mut cause, after),
            News::GiveUp(cell, manner) => {
                let job = cell.key();
                if cell.status() != JobStatus::Ended {
                    let event = match manner {
                        Manner::Cancel => Event::Cancel { job },
                        Manner::Kill => Event::Kill { job },
                    };
                    self.handle(host, event, &mut cause, after);
                }
                after.cells.push(cell);
            }
            News::Attach(share) => {
                if host.is_closed() {
                    after.wakers.extend(share.finish());
                } else {
                    share.backlog.add_worker(host.weak(), share.clone());
                    self.shares.push_back(share);
                }
            }
            News::Launched(link) => {
                let seat = self.seats.get(link.worker);
                match seat {
                    Some(seat) if !seat.killed => seat.link = Some(link),
                    // Told to die before it was born.
                    Some(_) | None => link.process.kill(),
                }
            }
            News::Ready(worker) => {
                self.trouble = None;
                self.handle(host, Event::WorkerReady { worker }, &mut cause, after);
            }
            News::Answers(link, answers) => {
                for answer in answers {
                    if let Err(fault) = self.answer(host, &link, answer, after) {
                        link.condemn(fault.to_string());
                        break;
                    }
                }
            }
            News::Gone(gone) => self.gone(host, gone, after),
            News::Reaped => self.tasks = self.tasks.saturating_sub(1),
            News::Look => {
                self.scheduler.handle_timeout(host.now());
                self.act(host, &mut cause, after);
            }
            News::Close => {
                self.end_shares(after);
                self.handle(host, Event::Close, &mut cause, after);
            }
            News::Shutdown => {
                self.end_shares(after);
                self.handle(host, Event::Shutdown, &mut cause, after);
            }
        }
    }

    /// Hands jobs of queues to workers that would idle.
    pub(super) fn feed_hungry(&mut self, host: &Host, after: &mut After) {
        let mut asked = 0;
        while asked < self.shares.len() && self.scheduler.hunger() > 0 {
            // In turn, so that two queues share the workers.
            let Some(share) = self.shares.pop_front() else { return };
            if share.is_over() {
                share.backlog.remove_worker(&share);
                continue;
            }
            match share.take() {
                Some(cell) => {
                    after.left.push(share.backlog.clone());
                    if cell.put(Place::Pool(host.weak(), Some(share.clone()))) {
                        let mut cause = Cause::default();
                        self.submit(host, cell, &mut cause, after);
                    } else {
                        share.ended(Some(super::backlog::Count::Cancelled), &mut after.wakers);
                        after.cells.push(cell);
                    }
                    asked = 0;
                }
                None => asked += 1,
            }
            self.shares.push_back(share);
        }
    }

    fn submit(&mut self, host: &Host, cell: Arc<Cell>, cause: &mut Cause, after: &mut After) {
        if cell.status() == JobStatus::Ended {
            after.permits += cell.release_permit();
            return after.cells.push(cell);
        }
        let own = cell.options.as_deref();
        let terms = own.map(|own| Arc::new(Terms::resolve(*own, &self.defaults)));
        let deadline = cell.deadline.map(|(moment, length)| (host.moment(moment), length));
        let key = self.scheduler.submit(host.now(), cell.clone(), terms, deadline);
        cell.set_key(key);
        after.cells.push(cell);
        self.act(host, cause, after);
    }

    fn answer(
        &mut self,
        host: &Host,
        link: &Arc<Link>,
        answer: Answer,
        after: &mut After,
    ) -> Result<(), WireFault> {
        let worker = link.worker;
        let Some(seat) = self.seats.get(worker).filter(|seat| !seat.killed) else {
            // What it says after the kill is not heard.
            return Ok(());
        };
        let mut cause = Cause::default();
        let event = match answer.said {
            Said::Awake => Event::Awake { worker },
            said => {
                let seq = answer.seq;
                if seat.window.front().is_none_or(|&(due, _)| due != seq) {
                    return Err(WireFault::Seq { seq });
                }
                after.cells.extend(seat.window.pop_front().map(|(_, cell)| cell));
                if let Some((_, next)) = seat.window.front() {
                    next.set_status(JobStatus::Running);
                }
                let reply = match &said {
                    Said::Panicked(_) => Reply::Panicked,
                    Said::Done(_) | Said::Failed(_) | Said::Awake => Reply::Done,
                };
                cause.said = Some(said);
                Event::Replied { worker, reply }
            }
        };
        self.handle(host, event, &mut cause, after);
        Ok(())
    }

    fn gone(&mut self, host: &Host, gone: Gone, after: &mut After) {
        let Gone { worker, link, exit, detail, in_launch } = gone;
        let seat = self.seats.get(worker);
        let claimed = seat.is_some_and(|seat| {
            let front = seat.window.front();
            front.zip(link.as_ref()).is_some_and(|(&(seq, _), link)| link.was_claimed(seq))
        });
        let detail: Option<Arc<str>> = detail.map(Arc::from);
        if in_launch {
            let who = detail.as_deref().unwrap_or("a worker");
            let killed = self.seats.get(worker).is_some_and(|seat| seat.killed);
            self.trouble = Some(match exit {
                WorkerExit::Unknown => who.into(),
                _ if killed => {
                    let limit = host.plan.start_timeout;
                    format!("{who} was not ready within its start timeout of {limit:?}").into()
                }
                exit => format!("{who} {exit} before it was ready").into(),
            });
        }
        let mut cause = Cause { detail, ..Cause::default() };
        let event = Event::WorkerGone { worker, exit, claimed };
        self.handle(host, event, &mut cause, after);
        // A launch that followed has made a new place in the meantime.
        if let Some(seat) = self.seats.remove(worker) {
            after.cells.extend(seat.window.into_iter().map(|(_, cell)| cell));
        }
    }

    fn end_shares(&mut self, after: &mut After) {
        for share in self.shares.drain(..) {
            share.backlog.remove_worker(&share);
            after.wakers.extend(share.finish());
        }
    }

    fn handle(&mut self, host: &Host, event: Event, cause: &mut Cause, after: &mut After) {
        self.scheduler.handle_event(host.now(), event);
        self.act(host, cause, after);
    }

    fn act(&mut self, host: &Host, cause: &mut Cause, after: &mut After) {
        while let Some(action) = self.scheduler.poll_action() {
            match action {
                Action::Launch { worker } => self.launch(host, worker, after),
                Action::Assign { worker, job, attempt, timeout, deadline, first } => {
                    if first {
                        after.permits += job.release_permit();
                    }
                    let left = deadline.map(|deadline| deadline.since(host.now()));
                    let remaining = timeout.into_iter().chain(left).min();
                    let prelude = Prelude { id: job.subject.id, attempt, remaining };
                    self.assign(worker, job, prelude, after);
                }
                Action::Recall { worker } => {
                    let kept = self.recall(worker, after);
                    self.scheduler.handle_event(host.now(), Event::Recalled { worker, kept });
                }
                Action::Ask { worker } => {
                    if let Some(seat) = self.seats.get(worker) {
                        if let (Some(link), Some(&(seq, _))) =
                            (seat.live_link(), seat.window.front())
                        {
                            link.recorder.ask(seq);
                        }
                    }
                }
                Action::Stop { worker } => {
                    if let Some(link) = self.seats.get(worker).and_then(|s| s.live_link()) {
                        link.stop();
                    }
                }
                Action::Kill { worker } => {
                    if let Some(seat) = self.seats.get(worker) {
                        seat.killed = true;
                        if let Some(link) = &seat.link {
                            link.process.kill();
                        }
                    }
                }
                Action::Resolve { job, ending, attempts, unassigned } => {
                    if unassigned {
                        after.permits += job.release_permit();
                    }
                    self.resolve(host, job, ending, attempts, cause, after);
                }
            }
        }
    }

    fn launch(&mut self, host: &Host, worker: WorkerId, after: &mut After) {
        if let Some(old) = self.seats.launch(worker) {
            after.cells.extend(old.window.into_iter().map(|(_, cell)| cell));
        }
        if let Some(host) = host.weak().upgrade() {
            self.tasks += 1;
            driver::look_after(&host, worker);
        }
    }

    fn assign(&mut self, worker: WorkerId, job: Arc<Cell>, prelude: Prelude, after: &mut After) {
        let Some(seat) = self.seats.get(worker) else {
            return after.cells.push(job);
        };
        let Some(link) = seat.live_link() else {
            return after.cells.push(job);
        };
        let seq = link.run(job.number, job.raw, prelude, job.arguments());
        if seat.window.is_empty() {
            job.set_status(JobStatus::Running);
        }
        seat.window.push_back((seq, job));
    }

    /// Takes back what is not claimed; how many jobs stay.
    fn recall(&mut self, worker: WorkerId, after: &mut After) -> usize {
        let Some(seat) = self.seats.get(worker) else { return 0 };
        let Some(link) = &seat.link else { return 0 };
        let first = link.recall();
        let kept = seat.window.iter().take_while(|(seq, _)| *seq < first).count();
        let back: VecDeque<_> = seat.window.split_off(kept);
        for (_, cell) in back {
            cell.set_status(JobStatus::Queued);
            after.cells.push(cell);
        }
        kept
    }

    fn resolve(
        &mut self,
        host: &Host,
        job: Arc<Cell>,
        ending: Ending,
        attempts: u32,
        cause: &mut Cause,
        after: &mut After,
    ) {
        let share = match job.place() {
            Place::Pool(_, share) => share,
            Place::Nowhere | Place::Queue(..) => None,
        };
        if let Some(share) = &share {
            if ending == Ending::PoolClosed && attempts == 0 {
                return after.returned.push((share.clone(), job));
            }
        }
        let outcome = self.outcome(&job, ending, attempts, cause);
        let count = count_of(&outcome);
        count.add_to(&mut self.totals);
        let leftover = job.finish(outcome, &mut after.wakers);
        after.leftovers.push(leftover);
        after.cells.push(job);
        if let Some(share) = share {
            share.ended(Some(count), &mut after.wakers);
        }
        let _ = host;
    }

    fn outcome(
        &self,
        job: &Arc<Cell>,
        ending: Ending,
        attempts: u32,
        cause: &mut Cause,
    ) -> Outcome {
        let kind = match ending {
            Ending::Replied => match cause.said.take() {
                Some(Said::Done(output)) => return Ok(output),
                Some(Said::Failed(kind)) => kind,
                Some(Said::Panicked(info)) => JobErrorKind::Panicked(info),
                // The scheduler ends a job by a reply only while that reply is fed.
                Some(Said::Awake) | None => JobErrorKind::Crashed(WorkerExit::Unknown),
            },
            Ending::Crashed(exit) => {
                let error = job.error(JobErrorKind::Crashed(exit), attempts);
                return Err(error.with_detail(cause.detail.clone()));
            }
            Ending::TimedOut(limit) => JobErrorKind::TimedOut(limit),
            Ending::Cancelled => JobErrorKind::Cancelled,
            Ending::PoolClosed => JobErrorKind::PoolClosed,
            Ending::WorkerStart => JobErrorKind::WorkerStart(
                self.trouble.as_deref().unwrap_or("the reason is unknown").to_owned(),
            ),
        };
        Err(job.error(kind, attempts))
    }
}
