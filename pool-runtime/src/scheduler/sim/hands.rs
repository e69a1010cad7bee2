//! The hands: events go in, actions are performed on the model processes.

use std::time::Duration;

use crate::error::WorkerExit;

use super::super::event::{Action, Assignment, Bounds, Ending, Event, Reply, WorkerId, nanos};
use super::model::{Life, Process, Silent};
use super::mutants::Mutant;
use super::world::World;
use super::{Violation, ensure};

impl World {
    pub(super) fn find(&self, worker: WorkerId) -> Option<usize> {
        self.processes.iter().position(|process| process.id == worker)
    }

    pub(super) fn feed(&mut self, event: Event) -> Result<(), Violation> {
        if event == Event::Shutdown {
            self.peek(Mutant::ShutsDownUnread)?;
        }
        self.note(&event);
        let recalled = matches!(event, Event::Recalled { .. } | Event::NotBegun { .. });
        self.tell(event);
        self.look_at_new_actions()?;
        if recalled {
            // It is the drain that feeds these, and goes on.
            return Ok(());
        }
        self.drain()?;
        self.check()
    }

    /// The same for one of several that come together.
    pub(super) fn take_in(&mut self, event: Event) -> Result<(), Violation> {
        self.note(&event);
        if let Some(event) = self.sabotage_event(event) {
            let resolved = match event {
                Event::Replied { worker, reply: Reply::Done, took } if self.dice.percent(50) => {
                    self.take_done(worker, took)
                }
                _ => {
                    self.scheduler.take_in(self.now, event.clone());
                    None
                }
            };
            self.sabotage_told(&event);
            if let Some(action) = resolved {
                self.perform_one(action)?;
            }
        }
        self.look_at_new_actions()?;
        self.perform_all()
    }

    /// The short way, on which the job comes back by itself.
    fn take_done(&mut self, worker: WorkerId, took: Duration) -> Option<Action<u64>> {
        let slot = self.scheduler.crew.find(worker)?;
        let head = self.scheduler.crew[slot].window.front()?;
        let attempts = self.scheduler.jobs[head].attempts() + 1;
        let job = self.scheduler.take_done(self.now, worker, nanos(took))?;
        self.count("job given back by its reply");
        Some(Action::Resolve { job, ending: Ending::Replied, attempts, unassigned: false })
    }

    fn note(&mut self, event: &Event) {
        self.say(|| format!("  event {event:?}"));
        self.count(match event {
            Event::Cancel { .. } => "event Cancel",
            Event::Kill { .. } => "event Kill",
            Event::Connected { .. } => "event Connected",
            Event::WorkerReady { .. } => "event WorkerReady",
            Event::Replied { reply: Reply::Done, .. } => "event Replied Done",
            Event::Replied { reply: Reply::Panicked, .. } => "event Replied Panicked",
            Event::Recalled { .. } => "event Recalled",
            Event::Progressed { .. } => "event Progressed",
            Event::OverMemory { .. } => "event OverMemory",
            Event::Bloated { .. } => "event Bloated",
            Event::NotBegun { .. } => "event NotBegun",
            Event::Awake { .. } => "event Awake",
            Event::WorkerGone { .. } => "event WorkerGone",
            Event::Close => "event Close",
            Event::Shutdown => "event Shutdown",
        });
        if *event == Event::Close {
            self.closing = true;
        }
        if *event == Event::Shutdown {
            if self.closing && !self.shut && !self.open.is_empty() {
                self.count("shutdown while closing");
            }
            self.shut = true;
        }
    }

    /// Every event goes this way, so that a mutant can have a word.
    pub(super) fn tell(&mut self, event: Event) {
        if let Some(event) = self.sabotage_event(event) {
            self.scheduler.handle_event(self.now, event.clone());
            self.sabotage_told(&event);
            self.sabotage_after();
        }
    }

    pub(super) fn drain(&mut self) -> Result<(), Violation> {
        self.perform_all()?;
        // What was written before a recall is read right after it.
        while let Some(worker) = self.recalled.pop() {
            self.book(worker, usize::MAX)?;
        }
        Ok(())
    }

    fn perform_all(&mut self) -> Result<(), Violation> {
        while let Some(action) = self.scheduler.poll_action() {
            self.told = self.told.saturating_sub(1);
            self.perform_one(action)?;
        }
        Ok(())
    }

    fn perform_one(&mut self, mut action: Action<u64>) -> Result<(), Violation> {
        if self.sabotage_action(&mut action) {
            return Ok(());
        }
        self.say(|| format!("    action {action:?}"));
        self.perform(action)
    }

    /// Checks what depends on the moment of the decision, as long as nothing else has happened.
    pub(super) fn look_at_new_actions(&mut self) -> Result<(), Violation> {
        let old = std::mem::replace(&mut self.told, self.scheduler.actions.len());
        let actions = self.scheduler.actions.list();
        for (n, action) in actions[old.min(self.told)..].iter().enumerate() {
            match action {
                // Who has the reply takes that for granted.
                Action::Resolve { job, ending: Ending::Replied, .. } => {
                    ensure!(n == 0, "something comes before the end of job {job} by its reply");
                }
                Action::Assign(Assignment { job, .. }) => {
                    let number = self.scheduler.get(*job).ok_or("hands out what has ended")?;
                    self.check_nobody_was_passed_over(*number as usize)?;
                }
                Action::Launch { worker } => self.check_launch_waited(*worker)?,
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn perform(&mut self, action: Action<u64>) -> Result<(), Violation> {
        match action {
            Action::Launch { worker } => {
                self.count("action Launch");
                self.check_launch(worker)?;
                let mut process = Process::new(worker, self.now);
                let dice = &mut self.dice;
                process.fails_to_start = dice.percent(self.fails);
                process.hangs = dice.percent(self.fails / 4);
                process.immortal = dice.percent(15);
                process.stubborn = dice.percent(10);
                self.processes.push(process);
                Ok(())
            }
            Action::Assign(Assignment { worker, job, attempt, bounded, first, brief, prompt }) => {
                self.count("action Assign");
                let bounds = bounded.then(|| self.scheduler.bounds(self.now, job));
                let Bounds { remaining, memory_limit } = bounds.unwrap_or_default();
                let number = *self.scheduler.get(job).ok_or("assigns what has ended")? as usize;
                self.check_assign(worker, number, attempt, first)?;
                if attempt > 1 && self.jobs[number].not_after > self.jobs[number].not_before {
                    self.count("back-off");
                }
                let job = &mut self.jobs[number];
                let left = job.deadline.map(|(at, _)| at.since(self.now));
                let shorter = left.into_iter().chain(job.terms.timeout).min();
                ensure!(remaining == shorter, "job {number} is told that it has {remaining:?}");
                let limit = job.memory_limit_at(attempt);
                ensure!(memory_limit == limit, "job {number} is told another memory limit");
                job.places_freed += u32::from(first);
                job.touched = true;
                job.attempt = attempt;
                job.worker = Some(worker);
                job.replied = None;
                job.answered = false;
                job.failure = None;
                job.order = self.scheduler.jobs[job.key.index()].order;
                job.order_at = job.counted();
                let expected = self.expected(number);
                ensure!(brief == (expected <= 50_000), "job {number} takes {expected} ns: {brief}");
                let at = self.find(worker).ok_or("assigned to nobody")?;
                let process = &mut self.processes[at];
                if process.window.is_empty() {
                    process.held = 0;
                    process.head_since = self.now;
                    process.last_sign = self.now;
                }
                process.window.push_back(number);
                let load: u64 = process.loads.iter().skip(1).sum();
                process.held += expected;
                let told = process.held;
                if prompt {
                    process.held = 0;
                }
                let bearable = (load / 4).max(50_000);
                ensure!(
                    prompt == (told > bearable),
                    "job {number}: {told} ns behind {load} ns: {prompt}"
                );
                process.loads.push_back(expected);
                if process.life == Life::Running {
                    self.note_head(at);
                }
                Ok(())
            }
            Action::Recall { worker, gently } => {
                self.count("action Recall");
                self.recall(worker, gently)
            }
            Action::Ask { worker } => {
                self.count("action Ask");
                self.check_ask(worker)?;
                let at = self.find(worker).ok_or("asked nobody")?;
                self.processes[at].asked_at = Some(self.now);
                Ok(())
            }
            Action::Stop { worker } => {
                self.count("action Stop");
                self.check_stop(worker)?;
                let at = self.find(worker).ok_or("stopped nobody")?;
                self.processes[at].life = Life::Leaving;
                self.processes[at].since = self.now;
                Ok(())
            }
            Action::Kill { worker } => {
                self.count("action Kill");
                self.check_kill(worker)?;
                let at = self.find(worker).ok_or("killed nobody")?;
                let process = &mut self.processes[at];
                process.killed_at = Some(self.now);
                if !self.config.killable {
                    process.claimed = 0;
                    let ran = self.now.since(process.head_since);
                    for number in std::mem::take(&mut process.window) {
                        process.runs_on = true;
                        self.numbers.attempt_ended(worker.slot, ran);
                        self.jobs[number].runs_on = true;
                        self.jobs[number].worker = None;
                    }
                }
                Ok(())
            }
            Action::Resolve { job, ending, attempts, unassigned } => {
                self.count("action Resolve");
                let number = job as usize;
                self.check_resolve(number, &ending, attempts, unassigned)?;
                let job = &mut self.jobs[number];
                job.ending = Some(ending);
                self.open.retain(|&open| open != number);
                Ok(())
            }
        }
    }

    pub(super) fn recall(&mut self, worker: WorkerId, gently: bool) -> Result<(), Violation> {
        let at = self.find(worker).ok_or("recalled from nobody")?;
        let (now, dies) = (self.now, self.dies);
        let process = &self.processes[at];
        ensure!(!process.window.is_empty(), "{worker:?} has nothing to recall");
        let silent = process.head_since + Duration::from_millis(50) <= now;
        let doomed = process.window.iter().any(|&number| self.is_doomed(number));
        let over = process.over;
        let starts = process.life == Life::Starting;
        let overdue = starts && process.since + self.config.start_timeout <= now;
        let taken = self.somebody_idles() && (self.closing || self.somebody_goes_home());
        let wanted = starts && (silent && self.somebody_serves() || taken || self.is_outranked(at));
        if wanted && !(doomed || overdue || self.shut) {
            self.count("fetched from a worker that starts");
        }
        let process = &self.processes[at];
        let latency = self.config.latency;
        let patience = if self.somebody_idles() { latency / 10 } else { latency.saturating_mul(2) };
        let stuck = process.window.len() > 1 && process.head_since + patience <= now;
        if stuck && !(silent || doomed || over || self.shut) {
            self.count("taken back from behind a long job");
        }
        let silent = silent && !starts;
        ensure!(
            silent || doomed || over || stuck || overdue || wanted || self.shut,
            "{worker:?} is recalled for no reason"
        );
        // It goes on until the recall comes to it.
        let goes_on = |process: &Process| {
            let is_up = process.life == Life::Running || process.is_up;
            let runs = is_up && !process.dead && !process.stopped;
            runs && !process.over
        };
        let written = self.processes[at].replies.len();
        while goes_on(&self.processes[at]) && self.dice.percent(30) {
            self.work(at)?;
        }
        let process = &mut self.processes[at];
        process.has_just_answered = process.replies.len() > written;
        for &number in process.window.range(written..process.replies.len()) {
            self.jobs[number].answered = false;
        }
        let process = &self.processes[at];
        if process.replies.is_empty() && !starts && self.dice.percent(dies) {
            self.count("event WorkerGone in place of Recalled");
            let claimed = self.processes[at].claimed > 0;
            self.mourn(at, WorkerExit::Signal(11));
            self.say(|| format!("  gone in place of recalled, claimed {claimed}"));
            let exit = WorkerExit::Signal(11);
            self.tell(Event::WorkerGone { worker, exit, claimed });
            return self.look_at_new_actions();
        }
        let process = &mut self.processes[at];
        if gently && process.claimed == 0 {
            return self.feed(Event::NotBegun { worker });
        }
        process.recalled_at = Some(now);
        let kept = process.claimed;
        let back = process.window.split_off(kept);
        process.loads.truncate(kept);
        process.owes_awake |= !back.is_empty();
        if starts && kept > 0 {
            // It is known to have begun, hence to be up.
            process.life = Life::Running;
            process.head_since = now;
            process.last_sign = now;
            self.failed = 0;
            self.note_head(at);
        } else if starts {
            process.recalled_at = None;
            process.connected = false;
        } else if kept == 0 {
            let head = &self.jobs[back[0]];
            let timed_out = process.is_out_of_time(&head.terms, now);
            process.silent = if process.head_since + Duration::from_millis(50) <= now {
                Silent::Yes
            } else if timed_out {
                Silent::Perhaps
            } else {
                process.silent
            };
            process.idle_since = now;
            if process.silent == Silent::Yes {
                self.count("worker found unresponsive");
            }
            if timed_out {
                self.count("timed out unclaimed");
            }
            self.count("event Recalled nothing kept");
        } else if kept > 1 {
            self.count("event Recalled several kept");
            let process = &self.processes[at];
            if process.window.iter().skip(1).any(|&number| self.is_doomed(number)) {
                self.count("doomed behind an answered job");
            }
        }
        for number in back {
            self.jobs[number].worker = None;
        }
        if !self.is(Mutant::RecallsUnread) {
            self.recalled.push(worker);
        }
        self.feed(Event::Recalled { worker, kept })
    }
}
