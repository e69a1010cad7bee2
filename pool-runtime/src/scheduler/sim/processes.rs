//! What processes do, and what a death means by the world's own reckoning.

use std::time::Duration;

use crate::error::WorkerExit;

use super::super::event::{Event, Reply, WorkerId};
use super::model::{Failure, Life, Process, Silent};
use super::mutants::Mutant;
use super::world::World;
use super::{Violation, ensure};

impl World {
    /// `kind`: it does its best to come to an end.
    pub(super) fn let_a_process_act(&mut self, kind: bool) -> Result<(), Violation> {
        if self.processes.is_empty() {
            return Ok(());
        }
        let at = self.dice.below(self.processes.len() as u64) as usize;
        self.act(at, kind)
    }

    pub(super) fn act(&mut self, at: usize, kind: bool) -> Result<(), Violation> {
        let unattended = self.is_unattended();
        let (dies, stops) = if kind { (0, 0) } else { (self.dies, self.stops) };
        let dice = &mut self.dice;
        let process = &mut self.processes[at];
        let worker = process.id;
        if process.life != Life::Starting && dice.percent(1) && !unattended {
            // Such news is old.
            self.tell(Event::WorkerReady { worker });
            ensure!(self.scheduler.actions.is_empty(), "{worker:?} is ready again");
            return self.check();
        }
        if process.killed_at.is_some() {
            // A signal takes its time, and meanwhile a job may come to its end.
            if process.is_running_a_job() && dice.percent(20) {
                process.replies.push_back(Reply::Done);
            }
            if !process.replies.is_empty() && dice.percent(20) && !unattended {
                self.count("reply after a kill");
                let took = Duration::from_secs(1);
                self.tell(Event::Replied { worker, reply: Reply::Done, took });
                ensure!(self.scheduler.actions.is_empty(), "a reply after a kill had an effect");
                return self.check();
            }
            // What runs on returns when it likes, and at last for those who wait for its slot.
            let needed = !self.config.killable && kind && !self.open.is_empty();
            if (!process.immortal || needed) && dice.percent(60) {
                return self.bury(at);
            }
            return Ok(());
        }
        if process.dead {
            return if dice.percent(50) { self.bury(at) } else { Ok(()) };
        }
        match process.life {
            Life::Starting => {
                if process.hangs || !dice.percent(40) {
                    return Ok(());
                }
                if !process.connected {
                    process.connected = true;
                    return self.feed(Event::Connected { worker });
                }
                if process.fails_to_start {
                    return self.bury(at);
                }
                process.is_up = true;
                // The host need not have read the greeting.
                if dice.percent(50) { self.work(at) } else { self.greet(at) }
            }
            Life::Leaving => {
                if process.stopped || process.stubborn || !dice.percent(50) {
                    return Ok(());
                }
                self.bury(at)
            }
            Life::Running => {
                if dice.percent(dies) {
                    process.dead = true;
                    self.say(|| format!("{worker:?} dies"));
                    return Ok(());
                }
                if process.stopped {
                    let wakes = if kind { process.claimed > 0 } else { dice.percent(10) };
                    process.stopped = !wakes;
                } else if dice.percent(stops) {
                    process.stopped = true;
                }
                if !process.replies.is_empty() && dice.percent(self.reads) {
                    let most = 1 + dice.below(process.replies.len() as u64) as usize;
                    return self.book(worker, most);
                }
                if process.stopped {
                    return Ok(());
                }
                if process.owes_awake && dice.percent(60) {
                    process.owes_awake = false;
                    process.silent = Silent::No;
                    if self.scheduler.crew[worker.slot].unresponsive {
                        process.idle_since = self.now;
                    }
                    return self.feed(Event::Awake { worker });
                }
                if process.replies.is_empty() && process.claimed > 0 && dice.percent(10) {
                    // Once it was asked it is too late.
                    if process.asked_at.is_none() {
                        process.last_sign = self.now;
                    }
                    return self.feed(Event::Progressed { worker });
                }
                // The host knows which job it was that ran, and that it is not the head.
                if process.replies.is_empty() && dice.percent(1) {
                    return self.grow(at);
                }
                self.work(at)
            }
        }
    }

    /// The host hears that it is ready.
    fn greet(&mut self, at: usize) -> Result<(), Violation> {
        let process = &mut self.processes[at];
        let worker = process.id;
        process.idle_since = self.now;
        process.life = Life::Running;
        self.failed = 0;
        process.head_since = self.now;
        process.last_sign = self.now;
        if !process.window.is_empty() {
            self.count("handed out before it was up");
        }
        self.note_head(at);
        self.feed(Event::WorkerReady { worker })
    }

    /// Its memory goes beyond the limit of the job that it runs, if that has one.
    fn grow(&mut self, at: usize) -> Result<(), Violation> {
        let process = &mut self.processes[at];
        let worker = process.id;
        let head = process.window.front().copied();
        let limited = head.is_some_and(|head| self.jobs[head].terms.memory_limit.is_some());
        process.over |= limited;
        if limited && process.claimed > 0 {
            process.over_with = head;
        }
        let alone = process.claimed == 1;
        self.feed(Event::OverMemory { worker })?;
        let Some(process) = self.find(worker).map(|at| &self.processes[at]) else { return Ok(()) };
        let left = process.killed_at.is_some() || process.life == Life::Leaving;
        let told = match head {
            _ if !limited || self.shut => true,
            _ if alone => process.killed_at.is_some(),
            _ => left || process.claimed > 1,
        };
        ensure!(told, "{worker:?} is beyond its memory, and goes on");
        Ok(())
    }

    /// Finishes the job it runs, or claims the next.
    pub(super) fn work(&mut self, at: usize) -> Result<(), Violation> {
        let process = &mut self.processes[at];
        let worker = process.id;
        if process.is_running_a_job() {
            let reply = if self.dice.percent(15) { Reply::Panicked } else { Reply::Done };
            let running = process.window[process.replies.len()];
            process.replies.push_back(reply);
            self.jobs[running].answered = true;
            self.say(|| format!("{worker:?} writes {reply:?}"));
            return Ok(());
        }
        let Some(&number) = process.window.get(process.claimed) else { return Ok(()) };
        let job = &mut self.jobs[number];
        if job.poison {
            process.dead = true;
            self.say(|| format!("{worker:?} dies of job {number}"));
            return Ok(());
        }
        process.claimed += 1;
        ensure!(job.ending.is_none(), "job {number} runs after its end");
        ensure!(job.attempt > job.claimed_attempt, "job {number} runs twice in one attempt");
        job.claimed_attempt = job.attempt;
        job.claims += 1;
        self.say(|| format!("{worker:?} claims {number}"));
        Ok(())
    }

    /// Reads what all have written.
    pub(super) fn peek(&mut self, unless: Mutant) -> Result<(), Violation> {
        if self.is(unless) {
            return Ok(());
        }
        // Who has claimed a job is up, whether it was heard to greet or not.
        let is_up = |p: &Process| p.holds_early() && p.claimed > 0;
        while let Some(at) = self.processes.iter().position(is_up) {
            self.greet(at)?;
        }
        let workers: Vec<_> = self.processes.iter().map(|process| process.id).collect();
        workers.into_iter().try_for_each(|worker| self.book(worker, usize::MAX))
    }

    /// Reads so many of the replies that a process has written: they come to the scheduler together.
    pub(super) fn book(&mut self, worker: WorkerId, most: usize) -> Result<(), Violation> {
        let mut booked = 0;
        while booked < most && self.book_one(worker)? {
            booked += 1;
        }
        if booked == 0 {
            return Ok(());
        }
        if booked > 1 {
            self.count("several replies at once");
        }
        self.scheduler.conclude(self.now);
        self.sabotage_after();
        self.look_at_new_actions()?;
        self.drain()?;
        self.check()
    }

    fn book_one(&mut self, worker: WorkerId) -> Result<bool, Violation> {
        let Some(at) = self.find(worker) else { return Ok(false) };
        let process = &mut self.processes[at];
        let is_heard = process.killed_at.is_none() && process.life != Life::Starting;
        if !is_heard || process.replies.is_empty() {
            return Ok(false);
        }
        if self.dice.percent(4) {
            self.processes[at].over = true;
            self.take_in(Event::Bloated { worker })?;
        }
        let process = &mut self.processes[at];
        let (Some(reply), Some(number)) = (process.replies.pop_front(), process.window.pop_front())
        else {
            return Ok(false);
        };
        process.loads.pop_front();
        process.claimed -= 1;
        process.served += 1;
        process.silent = Silent::No;
        process.head_since = self.now;
        process.last_sign = self.now;
        process.idle_since = self.now;
        let asked = process.asked_at.take().is_some();
        self.strikes = 0;
        let job = &mut self.jobs[number];
        job.replied = Some(reply);
        job.answered = false;
        job.worker = None;
        job.failure = (reply == Reply::Panicked).then_some(Failure::Panic);
        let kind = job.kind;
        // Some kinds are quick, and some of these jobs are not.
        let usual = [1, 20, 150, 5_000][usize::from(kind)];
        let micros = if self.dice.percent(5) { 10_000 } else { self.dice.below(usual * 2) };
        let took = Duration::from_micros(micros);
        self.numbers.attempt_ended(worker.slot, took);
        self.learn(kind, took);
        self.expect_back_off(number);
        self.note_head(at);
        if asked {
            self.count("reply while asked");
        }
        self.take_in(Event::Replied { worker, reply, took })?;
        if self.is(Mutant::HearsOneAtATime) {
            self.scheduler.conclude(self.now);
            self.drain()?;
        }
        Ok(true)
    }

    /// Tells of a death, after everything that was written was read.
    pub(super) fn bury(&mut self, at: usize) -> Result<(), Violation> {
        let process = &self.processes[at];
        let worker = process.id;
        if process.life == Life::Starting && process.is_up && process.killed_at.is_none() {
            self.greet(at)?;
        }
        if !self.is(Mutant::BuriesUnread) {
            self.book(worker, usize::MAX)?;
        }
        let Some(at) = self.find(worker) else { return Ok(()) };
        let claimed = self.processes[at].claimed > 0;
        let exit =
            self.dice.one_of(&[WorkerExit::Code(0), WorkerExit::Signal(9), WorkerExit::Unknown]);
        let asked = self.processes[at].asked_at.is_some();
        if asked && claimed && self.processes[at].killed_at.is_none() {
            self.count("died while asked");
        }
        let failed = self.failed;
        self.mourn(at, exit);
        if claimed {
            self.count("event WorkerGone claimed");
        }
        let alive =
            |process: &Process| process.killed_at.is_none() && process.life != Life::Leaving;
        let hopeless =
            self.failed > failed.max(2) && !self.processes.iter().any(alive) && !self.shut;
        self.feed(Event::WorkerGone { worker, exit, claimed })?;
        let waiting = self.scheduler.queue.len();
        ensure!(!hopeless || waiting == 0, "{waiting} jobs wait, and no worker can be started");
        Ok(())
    }

    /// What a death means, by the world's own reckoning.
    pub(super) fn mourn(&mut self, at: usize, exit: WorkerExit) {
        let process = self.processes.remove(at);
        self.ghosts.push(process.id);
        let killed = process.killed_at.is_some();
        let launch_failed = process.life == Life::Starting && (!killed || process.killed_launch);
        let died_idle = process.life == Life::Running && !killed && process.claimed == 0;
        if launch_failed {
            self.failed += 1;
        }
        if launch_failed || died_idle {
            self.strikes += 1;
            let wait = match self.strikes {
                1 => 0,
                n => (10 << (n - 2).min(10)).min(5000),
            };
            let not_before = self.now + Duration::from_millis(wait);
            self.no_launch_before = self.no_launch_before.max(not_before);
        }
        for (position, &number) in process.window.iter().enumerate() {
            let doomed = self.is_doomed(number);
            let job = &mut self.jobs[number];
            job.worker = None;
            let ran =
                if position == 0 { self.now.since(process.head_since) } else { Duration::ZERO };
            if position < process.claimed {
                self.numbers.attempt_ended(process.id.slot, ran);
                let failure = match process.over_with == Some(number) {
                    true => Failure::Memory,
                    false if doomed => Failure::Timeout,
                    false => Failure::Crash(exit),
                };
                job.failure = Some(failure);
                self.expect_back_off(number);
            } else if position == 0 && !doomed && !self.shut && !launch_failed {
                if job.moves == 3 {
                    job.poison_charges += 1;
                    self.numbers.attempt_ended(process.id.slot, ran);
                    job.failure = Some(Failure::Crash(exit));
                    self.count("charged unclaimed");
                    self.expect_back_off(number);
                } else {
                    job.moves += 1;
                }
            }
        }
    }

    /// A counted attempt ended now: when may the next begin?
    pub(super) fn expect_back_off(&mut self, number: usize) {
        let job = &mut self.jobs[number];
        let wait = job.terms.retry.delay_after(job.counted());
        job.not_before = self.now + wait;
        job.not_after = self.now + wait + wait / 10;
        job.waits_since = self.now;
    }
}
