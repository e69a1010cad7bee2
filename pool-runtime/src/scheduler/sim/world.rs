//! One world: what can happen, and the hands that perform actions on model processes.

use std::sync::Arc;
use std::time::Duration;

use crate::error::WorkerExit;
use crate::policy::{Priority, RetryPolicy, Terms};

use super::super::event::{Action, Event, JobKey, Reply, Time, WorkerId};
use super::super::machine::{Config, Scheduler};
use super::model::{Dice, Failure, Life, ModelJob, Process, Silent};
use super::mutants::Mutant;
use super::{Counters, Violation, ensure};

const PATIENCE: Duration = Duration::from_secs(2);

pub(super) struct World {
    pub(super) seed: u64,
    dice: Dice,
    pub(super) now: Time,
    pub(super) config: Config,
    pub(super) scheduler: Scheduler<u64>,
    pub(super) mutant: Option<Mutant>,
    /// Those that the scheduler counts as present.
    pub(super) processes: Vec<Process>,
    /// Past lives.
    ghosts: Vec<WorkerId>,
    pub(super) jobs: Vec<ModelJob>,
    /// Numbers of the unresolved jobs.
    pub(super) open: Vec<usize>,
    pub(super) closing: bool,
    pub(super) shut: bool,
    /// Failed launches and idle deaths since the last reply; failed launches in a row.
    strikes: u32,
    pub(super) failed: u32,
    pub(super) no_launch_before: Time,
    /// Chances in a hundred.
    fails: u64,
    dies: u64,
    stops: u64,
    counters: Counters,
    /// Actions seen, in order.
    told: usize,
    trace: bool,
}

impl World {
    pub(super) fn new(seed: u64, mutant: Option<Mutant>) -> World {
        let mut dice = Dice::new(seed);
        let millis = |ms| Some(Duration::from_millis(ms));
        let config = Config {
            workers: dice.one_of(&[1, 2, 3, 3, 3, 4, 5]),
            window: dice.one_of(&[1, 1, 1, 2, 3, 5]),
            max_jobs_per_worker: dice.one_of(&[None, None, Some(1), Some(3), Some(7)]),
            idle_timeout: dice.one_of(&[None, None, None, millis(20), millis(400)]),
            start_timeout: Duration::from_millis(dice.one_of(&[100, 1000])),
            defaults: Terms::default(),
            seed,
        };
        let now = Time::after_start(Duration::from_millis(dice.below(100)));
        let told = mutant.map_or_else(|| config.clone(), |mutant| mutant.config(&config));
        let scheduler = Scheduler::new(told, now);
        World {
            seed,
            now,
            config,
            scheduler,
            mutant,
            processes: Vec::new(),
            ghosts: Vec::new(),
            jobs: Vec::new(),
            open: Vec::new(),
            closing: false,
            shut: false,
            strikes: 0,
            failed: 0,
            no_launch_before: Time::default(),
            fails: dice.one_of(&[0, 5, 5, 40, 90]),
            dies: dice.one_of(&[0, 1, 3, 10]),
            stops: dice.one_of(&[0, 0, 1, 4]),
            counters: Counters::new(),
            told: 0,
            trace: std::env::var_os("POOL_SIM_SEED").is_some(),
            dice,
        }
    }

    pub(super) fn counters(self) -> Counters {
        self.counters
    }

    pub(super) fn count(&mut self, name: &'static str) {
        *self.counters.entry(name).or_default() += 1;
    }

    fn say(&self, text: impl FnOnce() -> String) {
        if self.trace {
            println!("{:>12?} {}", self.now.since_start(), text());
        }
    }

    /// Lives from the launch of the pool to its rest.
    pub(super) fn live(&mut self) -> Result<(), Violation> {
        let told = |violation, world: &World| {
            format!("seed {}, {:?}: {violation}", world.seed, world.now.since_start())
        };
        self.through().map_err(|violation| told(violation, self))
    }

    fn through(&mut self) -> Result<(), Violation> {
        self.drain()?;
        self.check()?;
        let steps = 300 + self.dice.below(200);
        let close_at = self.dice.below(steps * 4);
        let shutdown_at = self.dice.below(steps * 6);
        for step in 0..steps {
            if step == close_at {
                self.feed(Event::Close)?;
            }
            if step == shutdown_at {
                self.feed(Event::Shutdown)?;
            }
            self.step()?;
        }
        self.come_to_rest()
    }

    fn step(&mut self) -> Result<(), Violation> {
        match self.dice.below(100) {
            0..=17 if self.open.len() < 24 => self.submit(),
            0..=17 => self.let_a_process_act(false),
            18..=33 => {
                let micros = [1, 50, 500, 500, 3_000, 3_000, 10_000, 30_000, 70_000, 250_000];
                let wait = if self.dice.percent(3) { 2_500_000 } else { self.dice.one_of(&micros) };
                self.advance(Duration::from_micros(wait))
            }
            34..=37 => self.give_up_a_job(),
            38 => self.feed_something_stale(),
            39 => self.fire(),
            _ => {
                for _ in 0..=self.dice.below(4) {
                    self.let_a_process_act(false)?;
                }
                Ok(())
            }
        }
    }

    // What users do.

    fn submit(&mut self) -> Result<(), Violation> {
        let dice = &mut self.dice;
        let mut retry = RetryPolicy::attempts(dice.one_of(&[1, 1, 2, 3, 5]))
            .on_panic(dice.percent(30))
            .on_crash(dice.percent(80))
            .on_timeout(dice.percent(80));
        if dice.percent(60) {
            let initial = dice.millis(1, 200);
            retry = retry.backoff(initial, 2.0, Duration::from_millis(300));
        }
        let terms = Arc::new(Terms {
            priority: dice.one_of(&[
                Priority::Low,
                Priority::Normal,
                Priority::Normal,
                Priority::High,
            ]),
            timeout: if dice.percent(40) { Some(dice.millis(1, 400)) } else { None },
            grace: if dice.percent(50) { dice.millis(1, 100) } else { Duration::ZERO },
            retry,
        });
        let own_terms = dice.percent(80);
        let terms = if own_terms { terms } else { Arc::new(self.config.defaults) };
        let deadline = match dice.below(100) {
            0..=17 => {
                let length = dice.millis(1, 600);
                Some((self.now + length, length))
            }
            18 => Some((self.now, Duration::from_millis(7))),
            _ => None,
        };
        let number = self.jobs.len();
        let poison = dice.percent(3) && self.dies > 0;
        self.jobs.push(ModelJob {
            key: JobKey { index: u32::MAX, generation: 0 },
            terms: Arc::clone(&terms),
            deadline,
            poison,
            ending: None,
            replied: None,
            cancelled: false,
            killed: false,
            touched: false,
            worker: None,
            claims: 0,
            claimed_attempt: 0,
            attempt: 0,
            poison_charges: 0,
            moves: 0,
            places_freed: 0,
            failure: None,
            not_before: self.now,
            not_after: self.now,
            order: 0,
            order_at: 0,
        });
        self.open.push(number);
        self.say(|| format!("submit {number} {terms:?} deadline {deadline:?} poison {poison}"));
        let mut told = own_terms.then_some(terms);
        if let Some(mutant) = self.mutant {
            told = Some(mutant.terms(&self.jobs[number].terms));
        }
        let key = self.scheduler.submit(self.now, number as u64, told, deadline);
        self.jobs[number].key = key;
        self.sabotage_submitted(number);
        let late = self.closing || self.shut;
        let past = self.jobs[number].is_past_deadline(self.now);
        self.look_at_new_actions()?;
        self.drain()?;
        let ended = self.jobs[number].ending.is_some();
        ensure!(ended || !late, "job {number} was accepted after the end");
        ensure!(ended || !past, "job {number} was accepted past its deadline");
        if late {
            self.count("submit after close");
        } else if past {
            self.count("submit past its deadline");
        }
        self.check()
    }

    fn give_up_a_job(&mut self) -> Result<(), Violation> {
        if self.open.is_empty() {
            return Ok(());
        }
        let number = self.open[self.dice.below(self.open.len() as u64) as usize];
        let key = self.jobs[number].key;
        let kill = self.dice.percent(35);
        let waits = self.jobs[number].worker.is_none();
        if !self.shut {
            self.jobs[number].cancelled = true;
            self.jobs[number].killed |= kill;
            if waits && self.is_in_back_off(number) {
                self.count("cancelled in back-off");
            }
        }
        let event = if kill { Event::Kill { job: key } } else { Event::Cancel { job: key } };
        self.feed(event)?;
        if self.shut || self.jobs[number].ending.is_some() {
            return Ok(());
        }
        let Some(worker) = self.jobs[number].worker.and_then(|id| self.find(id)) else {
            return Err(format!("job {number} was given up, and waits"));
        };
        let process = &self.processes[worker];
        let position = process.window.iter().position(|&other| other == number);
        ensure!(
            position.is_some_and(|position| position < process.claimed),
            "job {number} was given up unclaimed, and lives"
        );
        let alone = process.claimed == 1;
        ensure!(
            !alone || process.killed_at.is_some() || process.asked_at.is_some(),
            "job {number} was given up, and nobody told it"
        );
        ensure!(!alone || !kill || process.killed_at.is_some(), "job {number} survived its kill");
        Ok(())
    }

    fn feed_something_stale(&mut self) -> Result<(), Violation> {
        if self.is_unattended() {
            return Ok(());
        }
        let worker = match self.ghosts.last() {
            Some(&ghost) => ghost,
            None => WorkerId { slot: self.dice.below(9) as u32, generation: 77 },
        };
        let job = match self.jobs.iter().rev().find(|job| job.ending.is_some()) {
            Some(job) => job.key,
            None => JobKey { index: 5, generation: 99 },
        };
        self.count("stale event");
        let exit = WorkerExit::Unknown;
        let event = match self.dice.below(8) {
            0 => Event::Cancel { job },
            1 => Event::Kill { job },
            2 => Event::WorkerReady { worker },
            3 => Event::Replied { worker, reply: Reply::Done },
            4 => Event::Recalled { worker, kept: 0 },
            5 => Event::Awake { worker },
            6 => Event::WorkerGone { worker, exit, claimed: true },
            _ => Event::WorkerGone { worker, exit, claimed: false },
        };
        self.tell(event.clone());
        ensure!(self.scheduler.actions.is_empty(), "stale {event:?} had an effect");
        self.check()
    }

    // What processes do.

    /// `kind`: it does its best to come to an end.
    fn let_a_process_act(&mut self, kind: bool) -> Result<(), Violation> {
        if self.processes.is_empty() {
            return Ok(());
        }
        let at = self.dice.below(self.processes.len() as u64) as usize;
        self.act(at, kind)
    }

    fn act(&mut self, at: usize, kind: bool) -> Result<(), Violation> {
        let unattended = self.is_unattended();
        let (dies, stops) = if kind { (0, 0) } else { (self.dies, self.stops) };
        let dice = &mut self.dice;
        let process = &mut self.processes[at];
        let worker = process.id;
        if process.killed_at.is_some() {
            if !process.replies.is_empty() && dice.percent(20) && !unattended {
                self.count("reply after a kill");
                self.tell(Event::Replied { worker, reply: Reply::Done });
                ensure!(self.scheduler.actions.is_empty(), "a reply after a kill had an effect");
                return self.check();
            }
            if !process.immortal && dice.percent(60) {
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
                if process.fails_to_start {
                    return self.bury(at);
                }
                process.idle_since = self.now;
                process.life = Life::Running;
                self.failed = 0;
                self.feed(Event::WorkerReady { worker })
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
                if !process.replies.is_empty() && dice.percent(50) {
                    return self.feed_reply(at);
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
                self.work(at)
            }
        }
    }

    /// Finishes the job it runs, or claims the next.
    fn work(&mut self, at: usize) -> Result<(), Violation> {
        let process = &mut self.processes[at];
        let worker = process.id;
        if process.is_running_a_job() {
            let reply = if self.dice.percent(15) { Reply::Panicked } else { Reply::Done };
            process.replies.push_back(reply);
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

    fn feed_reply(&mut self, at: usize) -> Result<(), Violation> {
        let process = &mut self.processes[at];
        let worker = process.id;
        let (Some(reply), Some(number)) = (process.replies.pop_front(), process.window.pop_front())
        else {
            return Ok(());
        };
        process.claimed -= 1;
        process.served += 1;
        process.silent = Silent::No;
        process.head_since = self.now;
        process.idle_since = self.now;
        let asked = process.asked_at.take().is_some();
        self.strikes = 0;
        let job = &mut self.jobs[number];
        job.replied = Some(reply);
        job.worker = None;
        job.failure = (reply == Reply::Panicked).then_some(Failure::Panic);
        self.expect_back_off(number);
        if asked {
            self.count("reply while asked");
        }
        self.feed(Event::Replied { worker, reply })
    }

    /// Tells of a death, after everything that was written was read.
    fn bury(&mut self, at: usize) -> Result<(), Violation> {
        let worker = self.processes[at].id;
        while let Some(at) = self.find(worker) {
            let process = &self.processes[at];
            if process.replies.is_empty() || process.killed_at.is_some() {
                break;
            }
            self.feed_reply(at)?;
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
    fn mourn(&mut self, at: usize, exit: WorkerExit) {
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
            if position < process.claimed {
                let failure = if doomed { Failure::Timeout } else { Failure::Crash(exit) };
                job.failure = Some(failure);
                self.expect_back_off(number);
            } else if position == 0 && !doomed && !self.shut {
                if job.moves == 3 {
                    job.poison_charges += 1;
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
    fn expect_back_off(&mut self, number: usize) {
        let job = &mut self.jobs[number];
        let wait = job.terms.retry.delay_after(job.counted());
        job.not_before = self.now + wait;
        job.not_after = self.now + wait + wait / 10;
    }

    // What the hands do.

    pub(super) fn find(&self, worker: WorkerId) -> Option<usize> {
        self.processes.iter().position(|process| process.id == worker)
    }

    fn feed(&mut self, event: Event) -> Result<(), Violation> {
        self.say(|| format!("  event {event:?}"));
        self.count(match event {
            Event::Cancel { .. } => "event Cancel",
            Event::Kill { .. } => "event Kill",
            Event::WorkerReady { .. } => "event WorkerReady",
            Event::Replied { reply: Reply::Done, .. } => "event Replied Done",
            Event::Replied { reply: Reply::Panicked, .. } => "event Replied Panicked",
            Event::Recalled { .. } => "event Recalled",
            Event::Awake { .. } => "event Awake",
            Event::WorkerGone { .. } => "event WorkerGone",
            Event::Close => "event Close",
            Event::Shutdown => "event Shutdown",
        });
        if event == Event::Close {
            self.closing = true;
        }
        if event == Event::Shutdown {
            if self.closing && !self.shut && !self.open.is_empty() {
                self.count("shutdown while closing");
            }
            self.shut = true;
        }
        let recalled = matches!(event, Event::Recalled { .. });
        self.tell(event);
        self.look_at_new_actions()?;
        if recalled {
            // It is the drain that feeds these, and goes on.
            return Ok(());
        }
        self.drain()?;
        self.check()
    }

    /// Every event goes this way, so that a mutant can have a word.
    fn tell(&mut self, event: Event) {
        if let Some(event) = self.sabotage_event(event) {
            self.scheduler.handle_event(self.now, event.clone());
            self.sabotage_told(&event);
            self.sabotage_after();
        }
    }

    fn drain(&mut self) -> Result<(), Violation> {
        while let Some(mut action) = self.scheduler.poll_action() {
            self.told = self.told.saturating_sub(1);
            if self.sabotage_action(&mut action) {
                continue;
            }
            self.say(|| format!("    action {action:?}"));
            self.perform(action)?;
        }
        Ok(())
    }

    /// Checks what depends on the moment of the decision, as long as nothing else has happened.
    fn look_at_new_actions(&mut self) -> Result<(), Violation> {
        let old = std::mem::replace(&mut self.told, self.scheduler.actions.len());
        for action in self.scheduler.actions.range(old.min(self.told)..) {
            match action {
                Action::Assign { job, .. } => self.check_nobody_was_passed_over(*job as usize)?,
                Action::Launch { worker } => self.check_launch_waited(*worker)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn perform(&mut self, action: Action<u64>) -> Result<(), Violation> {
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
            Action::Assign { worker, job, attempt, timeout, deadline, first } => {
                self.count("action Assign");
                let number = job as usize;
                self.check_assign(worker, number, attempt, first)?;
                if attempt > 1 && self.jobs[number].not_after > self.jobs[number].not_before {
                    self.count("back-off");
                }
                let job = &mut self.jobs[number];
                ensure!(timeout == job.terms.timeout, "job {number} is told another timeout");
                ensure!(
                    deadline == job.deadline.map(|(at, _)| at),
                    "job {number} is told another deadline"
                );
                job.places_freed += u32::from(first);
                job.touched = true;
                job.attempt = attempt;
                job.worker = Some(worker);
                job.replied = None;
                job.failure = None;
                job.order = self.scheduler.jobs[job.key.index].order;
                job.order_at = job.counted();
                let at = self.find(worker).ok_or("assigned to nobody")?;
                let process = &mut self.processes[at];
                if process.window.is_empty() {
                    process.head_since = self.now;
                }
                process.window.push_back(number);
                Ok(())
            }
            Action::Recall { worker } => {
                self.count("action Recall");
                self.recall(worker)
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
                self.processes[at].killed_at = Some(self.now);
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

    fn recall(&mut self, worker: WorkerId) -> Result<(), Violation> {
        let at = self.find(worker).ok_or("recalled from nobody")?;
        let (now, dies) = (self.now, self.dies);
        let process = &mut self.processes[at];
        ensure!(!process.window.is_empty(), "{worker:?} has nothing to recall");
        if process.replies.is_empty() && self.dice.percent(dies) {
            self.count("event WorkerGone in place of Recalled");
            let claimed = self.processes[at].claimed > 0;
            self.mourn(at, WorkerExit::Signal(11));
            self.say(|| format!("  gone in place of recalled, claimed {claimed}"));
            let exit = WorkerExit::Signal(11);
            self.tell(Event::WorkerGone { worker, exit, claimed });
            return self.look_at_new_actions();
        }
        let process = &mut self.processes[at];
        process.recalled_at = Some(now);
        let kept = process.claimed;
        let back = process.window.split_off(kept);
        process.owes_awake |= !back.is_empty();
        if kept == 0 {
            let head = &self.jobs[back[0]];
            let timed_out =
                head.terms.timeout.is_some_and(|timeout| process.head_since + timeout <= now);
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
        self.feed(Event::Recalled { worker, kept })
    }

    // What time does.

    fn advance(&mut self, wait: Duration) -> Result<(), Violation> {
        let target = self.now + wait;
        loop {
            // Nobody leaves a written reply unread for long.
            while wait > Duration::from_millis(10) {
                let unread =
                    |process: &Process| !process.replies.is_empty() && process.killed_at.is_none();
                let Some(at) = self.processes.iter().position(unread) else { break };
                self.feed_reply(at)?;
            }
            let Some(due) = self.scheduler.poll_timeout().filter(|&due| due <= target) else {
                break;
            };
            self.now = self.now.max(due);
            if self.dice.percent(20) {
                // The driver is late, and news may come first.
                self.now = self.now + Duration::from_micros(self.dice.below(1000));
                self.let_a_process_act(false)?;
            }
            self.fire()?;
        }
        self.now = self.now.max(target);
        Ok(())
    }

    /// A timer is due and the driver has not come yet, so anything may set off a launch.
    pub(super) fn is_unattended(&self) -> bool {
        self.scheduler.poll_timeout().is_some_and(|at| at <= self.now)
    }

    fn fire(&mut self) -> Result<(), Violation> {
        let due = self.is_unattended();
        let given_up =
            |process: &Process| process.killed_at.is_some_and(|at| at + PATIENCE <= self.now);
        for worker in
            self.processes.iter().filter(|p| given_up(p)).map(|p| p.id).collect::<Vec<_>>()
        {
            if let Some(at) = self.find(worker) {
                self.count("given up after a kill");
                self.mourn(at, WorkerExit::Unknown);
            }
        }
        self.say(|| "  timeout".into());
        self.sabotage_before();
        self.scheduler.handle_timeout(self.now);
        self.sabotage_after();
        ensure!(due || self.scheduler.actions.is_empty(), "a spurious timeout had an effect");
        self.look_at_new_actions()?;
        self.drain()?;
        let next = self.scheduler.poll_timeout();
        ensure!(next.is_none_or(|at| at > self.now), "the next timeout {next:?} is past");
        self.check()?;
        self.check_nothing_is_overdue()
    }

    fn come_to_rest(&mut self) -> Result<(), Violation> {
        if !self.closing && !self.shut {
            let event = if self.dice.percent(70) { Event::Close } else { Event::Shutdown };
            self.feed(event)?;
        }
        self.fails = self.fails.min(30);
        let end = self.now + Duration::from_secs(300);
        while !self.scheduler.is_at_rest() {
            ensure!(self.now < end, "the world does not come to rest; open jobs: {:?}", self.open);
            for _ in 0..8 {
                self.let_a_process_act(true)?;
            }
            let wait = self.dice.one_of(&[1, 1, 10, 100]);
            self.advance(Duration::from_millis(wait))?;
        }
        self.check_rest()
    }
}
