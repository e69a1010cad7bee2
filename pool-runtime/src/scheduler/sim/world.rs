//! One world: its users, its clock, and its way from the first launch to its rest.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::error::WorkerExit;
use crate::policy::{Priority, RetryPolicy, Terms};

use super::super::config::Config;
use super::super::event::{Event, JobKey, Reply, Time, WorkerId};
use super::super::machine::Scheduler;
use super::model::{Dice, ModelJob, Process};
use super::mutants::Mutant;
use super::numbers::Numbers;
use super::{Counters, Violation, ensure};

const PATIENCE: Duration = Duration::from_secs(2);

pub(super) struct World {
    pub(super) seed: u64,
    pub(super) dice: Dice,
    pub(super) now: Time,
    pub(super) config: Config,
    pub(super) scheduler: Scheduler<u64>,
    pub(super) mutant: Option<Mutant>,
    /// Those that the scheduler counts as present.
    pub(super) processes: Vec<Process>,
    /// Past lives.
    pub(super) ghosts: Vec<WorkerId>,
    pub(super) jobs: Vec<ModelJob>,
    /// Those that were recalled, and whose replies are to be read for it.
    pub(super) recalled: Vec<WorkerId>,
    /// By kind, in nanoseconds.
    pub(super) estimates: BTreeMap<u16, u64>,
    /// Numbers of the unresolved jobs.
    pub(super) open: Vec<usize>,
    pub(super) closing: bool,
    pub(super) shut: bool,
    /// Failed launches and idle deaths since the last reply; failed launches in a row.
    pub(super) strikes: u32,
    pub(super) failed: u32,
    pub(super) no_launch_before: Time,
    /// Chances in a hundred.
    pub(super) fails: u64,
    pub(super) dies: u64,
    pub(super) stops: u64,
    /// That replies are read, and not held back.
    pub(super) reads: u64,
    /// So many jobs come at once, and are there at a time, at most.
    burst: u64,
    crowd: usize,
    pub(super) numbers: Numbers,
    counters: Counters,
    /// Actions seen, in order.
    pub(super) told: usize,
    trace: bool,
}

impl World {
    pub(super) fn new(seed: u64, mutant: Option<Mutant>) -> World {
        let mut dice = Dice::new(seed);
        let millis = |ms| Some(Duration::from_millis(ms));
        let mut config = Config {
            workers: dice.one_of(&[1, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 12]),
            window: dice.one_of(&[1, 1, 1, 2, 3, 5, 16, 64]),
            horizon: dice.one_of(&[Duration::MAX, Duration::from_micros(200)]),
            latency: dice.one_of(&[Duration::MAX, Duration::from_millis(2)]),
            max_jobs_per_worker: dice.one_of(&[None, None, Some(1), Some(3), Some(7)]),
            idle_timeout: dice.one_of(&[None, None, None, millis(20), millis(400)]),
            start_timeout: Duration::from_millis(dice.one_of(&[100, 1000])),
            killable: !dice.percent(25),
            defaults: Terms::default(),
            seed,
        };
        if !config.killable {
            config.window = 1;
        }
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
            recalled: Vec::new(),
            estimates: BTreeMap::new(),
            open: Vec::new(),
            closing: false,
            shut: false,
            strikes: 0,
            failed: 0,
            no_launch_before: Time::default(),
            fails: dice.one_of(&[0, 5, 5, 40, 90]),
            dies: dice.one_of(&[0, 1, 3, 10]),
            stops: dice.one_of(&[0, 0, 1, 4]),
            reads: dice.one_of(&[50, 50, 10, 2]),
            burst: dice.one_of(&[1, 1, 1, 1, 1, 1, 1, 1, 1, 12]),
            crowd: 24,
            numbers: Numbers::default(),
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

    pub(super) fn say(&self, text: impl FnOnce() -> String) {
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

    pub(super) fn through(&mut self) -> Result<(), Violation> {
        self.crowd *= if self.burst > 1 { 5 } else { 1 };
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

    pub(super) fn step(&mut self) -> Result<(), Violation> {
        match self.dice.below(100) {
            0..=17 if self.open.len() < self.crowd => {
                let burst = 1 + self.dice.below(self.burst);
                (0..burst).try_for_each(|_| self.submit())
            }
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

    pub(super) fn submit(&mut self) -> Result<(), Violation> {
        let dice = &mut self.dice;
        let mut retry = RetryPolicy::attempts(dice.one_of(&[1, 1, 2, 3, 5]))
            .on_panic(dice.percent(30))
            .on_crash(dice.percent(80))
            .on_timeout(dice.percent(80))
            .memory_factor(1.5);
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
            stall_timeout: if dice.percent(25) { Some(dice.millis(1, 200)) } else { None },
            memory_limit: if dice.percent(40) { Some(1000) } else { None },
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
        let kind = dice.below(4) as u16;
        let poison = dice.percent(3) && self.dies > 0;
        self.jobs.push(ModelJob {
            key: JobKey::new(u32::MAX, 0),
            kind,
            terms: Arc::clone(&terms),
            deadline,
            poison,
            ending: None,
            answered: false,
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
            runs_on: false,
            places_freed: 0,
            failure: None,
            not_before: self.now,
            not_after: self.now,
            begun: false,
            waits_since: self.now,
            order: 0,
            order_at: 0,
        });
        self.open.push(number);
        self.say(|| format!("submit {number} {terms:?} deadline {deadline:?} poison {poison}"));
        let mut told = own_terms.then_some(terms);
        if let Some(mutant) = self.mutant {
            told = Some(mutant.terms(&self.jobs[number].terms));
        }
        let is_alone = self.scheduler.queue.len() == 0;
        let is_wanted = self.is_hungry_for(kind, &self.jobs[number].terms);
        let waits = !own_terms && deadline.is_none() && self.is_backed_up();
        let key = match (&told, deadline) {
            (None, None) => self.scheduler.submit_plain(self.now, number as u64, kind),
            _ => self.scheduler.submit(self.now, number as u64, kind, told, deadline),
        };
        self.jobs[number].key = key;
        if waits {
            self.check_waits(number)?;
        }
        self.sabotage_submitted(number);
        let late = self.closing || self.shut;
        let past = self.jobs[number].is_past_deadline(self.now);
        if !late && !past {
            self.check_hunger(number, is_wanted, is_alone)?;
        }
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

    pub(super) fn give_up_a_job(&mut self) -> Result<(), Violation> {
        self.peek(Mutant::CancelsUnread)?;
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

    pub(super) fn feed_something_stale(&mut self) -> Result<(), Violation> {
        if self.is_unattended() {
            return Ok(());
        }
        let worker = match self.ghosts.last() {
            Some(&ghost) => ghost,
            None => WorkerId { slot: self.dice.below(9) as u32, generation: 77 },
        };
        let job = match self.jobs.iter().rev().find(|job| job.ending.is_some()) {
            Some(job) => job.key,
            None => JobKey::new(5, 99),
        };
        self.count("stale event");
        let exit = WorkerExit::Unknown;
        let event = match self.dice.below(12) {
            0 => Event::Cancel { job },
            1 => Event::Kill { job },
            2 => Event::WorkerReady { worker },
            3 => Event::Replied { worker, reply: Reply::Done, took: Duration::ZERO },
            4 => Event::Recalled { worker, kept: 0 },
            5 => Event::Awake { worker },
            8 => Event::Progressed { worker },
            9 => Event::OverMemory { worker },
            10 => Event::Bloated { worker },
            11 => Event::Connected { worker },
            6 => Event::WorkerGone { worker, exit, claimed: true },
            _ => Event::WorkerGone { worker, exit, claimed: false },
        };
        self.tell(event.clone());
        ensure!(self.scheduler.actions.is_empty(), "stale {event:?} had an effect");
        self.check()
    }

    // What time does.

    pub(super) fn advance(&mut self, wait: Duration) -> Result<(), Violation> {
        let target = self.now + wait;
        while let Some(due) = self.scheduler.poll_timeout().filter(|&due| due <= target) {
            self.pass(self.now.max(due));
            if self.dice.percent(20) {
                // The driver is late, and news may come first.
                let late = Duration::from_micros(self.dice.below(1000));
                self.pass(self.now + late);
                self.let_a_process_act(false)?;
            }
            self.fire()?;
        }
        self.pass(self.now.max(target));
        Ok(())
    }

    /// A timer is due and the driver has not come yet, so anything may set off a launch.
    pub(super) fn is_unattended(&self) -> bool {
        self.scheduler.poll_timeout().is_some_and(|at| at <= self.now)
    }

    pub(super) fn fire(&mut self) -> Result<(), Violation> {
        let due = self.is_unattended();
        self.peek(Mutant::LooksUnread)?;
        let given_up =
            |process: &Process| process.killed_at.is_some_and(|at| at + PATIENCE <= self.now);
        let given_up = |process: &Process| self.config.killable && given_up(process);
        for worker in
            self.processes.iter().filter(|p| given_up(p)).map(|p| p.id).collect::<Vec<_>>()
        {
            if let Some(at) = self.find(worker) {
                self.count("given up after a kill");
                self.mourn(at, WorkerExit::Unknown);
            }
        }
        self.say(|| "  timeout".into());
        let resting = self.resting();
        self.sabotage_before();
        let before = self.scheduler.crew.sums().abandoned;
        self.scheduler.handle_timeout(self.now);
        let idle = self.scheduler.actions.is_empty();
        if idle && self.scheduler.crew.sums().abandoned > before {
            self.count("left to itself");
        }
        self.sabotage_after();
        self.note_rested(&resting);
        ensure!(due || self.scheduler.actions.is_empty(), "a spurious timeout had an effect");
        self.look_at_new_actions()?;
        self.drain()?;
        let next = self.scheduler.poll_timeout();
        ensure!(next.is_none_or(|at| at > self.now), "the next timeout {next:?} is past");
        self.check()?;
        self.check_nothing_is_overdue()
    }

    pub(super) fn come_to_rest(&mut self) -> Result<(), Violation> {
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
