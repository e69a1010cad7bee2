//! How long it takes: races against the clock of a world in which nothing goes wrong.
//!
//! Workers take exactly as long as their jobs do while they have a core; if there are more workers
//! than cores they take turns. They hold their replies back as real ones do. The driver is as late
//! as a timer of one millisecond makes it, and hears of what is written at once or, if it has to wait
//! for a core, a while later; it reads what is held back whenever it looks.

use std::collections::VecDeque;
use std::time::Duration;

use crate::policy::Terms;

use super::super::config::{Config, LATENCY, horizon};
use super::super::event::{Action, Assignment, Event, Reply, Time, WorkerId};
use super::super::machine::Scheduler;

const LATE: Duration = Duration::from_millis(1);
/// A worker writes its replies when the oldest is as old as that, or when there are so many.
const HELD_FOR: Duration = Duration::from_micros(500);
const HELD: usize = 256;
/// For so long a worker has its core while others wait for it.
const TURN: Duration = Duration::from_millis(3);

struct Runner {
    id: WorkerId,
    /// Answered, and not written.
    held: VecDeque<usize>,
    /// When the oldest of these was answered.
    held_since: Time,
    /// What it runs, and how much of that is left.
    current: Option<(usize, Duration)>,
    /// Not begun; whether what is held back is to be written before.
    window: VecDeque<(usize, bool)>,
    has_core: bool,
    /// It had its core for so long, and others wait.
    turn: Duration,
}

impl Runner {
    fn has_work(&self) -> bool {
        self.current.is_some() || !self.window.is_empty()
    }
}

struct Race<'a> {
    scheduler: Scheduler<u64>,
    jobs: &'a [Duration],
    runners: Vec<Runner>,
    /// Those that wait for a core.
    line: VecDeque<usize>,
    free_cores: usize,
    now: Time,
    /// The driver hears so much later that something was written.
    deaf_for: Duration,
    /// When it was written.
    written: Option<Time>,
    /// When each job was answered, as far as the host knows.
    answered: Vec<Time>,
    assigned: usize,
}

impl Race<'_> {
    /// All jobs are submitted at once; when was each answered? And how many jobs were handed out,
    /// again and again if they came back.
    fn run(workers: u32, cores: usize, jobs: &[Duration]) -> (Vec<Duration>, usize) {
        Race::with_a_late_driver(Duration::ZERO, workers, cores, jobs)
    }

    fn with_a_late_driver(
        deaf_for: Duration,
        workers: u32,
        cores: usize,
        jobs: &[Duration],
    ) -> (Vec<Duration>, usize) {
        let config = Config {
            workers,
            window: 1024,
            horizon: horizon(workers, cores as u32),
            latency: LATENCY,
            max_jobs_per_worker: None,
            idle_timeout: None,
            start_timeout: Duration::from_secs(30),
            defaults: Terms::default(),
            killable: true,
            seed: 1,
        };
        let now = Time::default();
        let mut race = Race {
            scheduler: Scheduler::new(config, now),
            jobs,
            runners: Vec::new(),
            line: VecDeque::new(),
            free_cores: cores,
            now,
            deaf_for,
            written: None,
            answered: vec![Time::default(); jobs.len()],
            assigned: 0,
        };
        race.act();
        for at in 0..race.runners.len() {
            let worker = race.runners[at].id;
            race.scheduler.handle_event(now, Event::WorkerReady { worker });
            race.act();
        }
        for number in 0..jobs.len() {
            let _ = race.scheduler.submit_plain(now, number as u64, 0);
            race.act();
        }
        while race.step() {}
        (race.answered.iter().map(|at| at.since_start()).collect(), race.assigned)
    }

    fn act(&mut self) {
        let mut recalled = Vec::new();
        while let Some(action) = self.scheduler.poll_action() {
            match action {
                Action::Launch { worker } => self.runners.push(Runner {
                    id: worker,
                    held: VecDeque::new(),
                    held_since: self.now,
                    current: None,
                    window: VecDeque::new(),
                    has_core: false,
                    turn: Duration::ZERO,
                }),
                Action::Assign(Assignment { worker, job, prompt, .. }) => {
                    self.assigned += 1;
                    let at = self.find(worker);
                    let waits = self.runners[at].has_work();
                    let job = *self.scheduler.get(job).expect("it has not ended") as usize;
                    self.runners[at].window.push_back((job, prompt));
                    if !waits && !self.runners[at].has_core {
                        self.line.push_back(at);
                    }
                }
                Action::Recall { worker, gently } => {
                    let at = self.find(worker);
                    let runner = &mut self.runners[at];
                    let kept = runner.held.len() + usize::from(runner.current.is_some());
                    let event = if gently && kept == 0 {
                        Event::NotBegun { worker }
                    } else {
                        runner.window.clear();
                        recalled.push(at);
                        Event::Recalled { worker, kept }
                    };
                    self.scheduler.handle_event(self.now, event);
                }
                Action::Resolve { job, .. } => self.answered[job as usize] = self.now,
                Action::Ask { .. } | Action::Stop { .. } | Action::Kill { .. } => {
                    panic!("nobody has to end")
                }
            }
        }
        let runners = &self.runners;
        self.line.retain(|&at| runners[at].has_work());
        recalled.into_iter().for_each(|at| self.book(at));
        self.take_cores();
    }

    fn find(&self, worker: WorkerId) -> usize {
        self.runners.iter().position(|runner| runner.id == worker).unwrap()
    }

    /// Reads what a worker has answered.
    fn book(&mut self, at: usize) {
        if self.runners[at].held.is_empty() {
            return;
        }
        let worker = self.runners[at].id;
        while let Some(job) = self.runners[at].held.pop_front() {
            let (reply, took) = (Reply::Done, self.jobs[job]);
            self.scheduler.take_in(self.now, Event::Replied { worker, reply, took });
        }
        self.scheduler.conclude(self.now);
        self.act();
    }

    /// Whoever waits and finds a core goes on.
    fn take_cores(&mut self) {
        while self.free_cores > 0 {
            let Some(at) = self.line.pop_front() else { return };
            self.free_cores -= 1;
            self.runners[at].has_core = true;
            self.runners[at].turn = Duration::ZERO;
            self.go_on(at);
        }
    }

    /// A worker on its core has nothing that it runs: it begins the next job, or leaves the core.
    fn go_on(&mut self, at: usize) {
        if self.runners[at].current.is_some() {
            return;
        }
        let runner = &self.runners[at];
        let old = runner.held_since + HELD_FOR <= self.now || runner.held.len() >= HELD;
        if old || runner.window.front().is_none_or(|&(_, prompt)| prompt) {
            if self.deaf_for.is_zero() {
                self.book(at);
            } else if !runner.held.is_empty() {
                self.written.get_or_insert(self.now);
            }
        }
        let runner = &mut self.runners[at];
        match runner.window.pop_front() {
            Some((job, _)) => runner.current = Some((job, self.jobs[job])),
            None => {
                runner.has_core = false;
                self.free_cores += 1;
                self.take_cores();
            }
        }
    }

    /// The next thing that happens, if anything does.
    fn step(&mut self) -> bool {
        let crowded = !self.line.is_empty();
        let running = self.runners.iter().enumerate().filter(|(_, runner)| runner.has_core);
        let next = running.map(|(at, runner)| {
            let left = runner.current.map_or(Duration::ZERO, |(_, left)| left);
            (if crowded { left.min(TURN.saturating_sub(runner.turn)) } else { left }, at)
        });
        let next = next.min().map(|(wait, at)| (self.now + wait, at));
        let due = self.scheduler.poll_timeout().map(|due| (due + LATE).max(self.now));
        let heard = self.written.map(|at| at + self.deaf_for);
        let due = due.into_iter().chain(heard).min();
        let (until, at) = match (next, due) {
            (Some((until, at)), due) if due.is_none_or(|due| until <= due) => (until, Some(at)),
            (_, Some(due)) => (due, None),
            (_, None) => return false,
        };
        let passed = until.since(self.now);
        self.now = until;
        for runner in self.runners.iter_mut().filter(|runner| runner.has_core) {
            runner.turn += passed;
            if let Some((_, left)) = &mut runner.current {
                *left -= passed;
            }
        }
        match at {
            Some(at) => self.come_to_an_end(at),
            None => {
                self.written = None;
                (0..self.runners.len()).for_each(|at| self.book(at));
                self.scheduler.handle_timeout(self.now);
                self.act();
            }
        }
        true
    }

    /// The job that a worker runs is done, or its turn is over.
    fn come_to_an_end(&mut self, at: usize) {
        let runner = &mut self.runners[at];
        if let Some((job, Duration::ZERO)) = runner.current {
            runner.current = None;
            if runner.held.is_empty() {
                runner.held_since = self.now;
            }
            runner.held.push_back(job);
        }
        if !self.line.is_empty() && runner.turn >= TURN && runner.has_work() {
            runner.has_core = false;
            self.free_cores += 1;
            self.line.push_back(at);
            self.take_cores();
        } else {
            self.go_on(at);
        }
    }
}

/// Workers and cores: one core each, and eight workers a core.
const PLACES: &[(u32, usize)] = &[(2, 2), (4, 4), (8, 8), (8, 1), (16, 2)];

#[test]
fn quick_jobs_among_slow_ones_are_shared_out_well() {
    let (quick, slow) = (Duration::from_micros(5), Duration::from_millis(5));
    for &(workers, cores) in PLACES {
        let jobs: Vec<_> = (0..20_000).map(|n| if n % 100 == 57 { slow } else { quick }).collect();
        let ideal = jobs.iter().sum::<Duration>() / cores as u32;
        let (answered, assigned) = Race::run(workers, cores, &jobs);
        let took = answered.into_iter().max().unwrap();
        let place = format!("{workers} workers on {cores} cores");
        println!("{place}: {took:?}, ideal {ideal:?}, {assigned} times handed out");
        assert!(took < ideal.mul_f64(1.1), "{place}: {took:?}, and not {ideal:?}");
        assert!(assigned < 3 * jobs.len(), "{place}: {assigned} times handed out");
    }
}

#[test]
fn nobody_waits_for_long_behind_a_job_that_takes_long() {
    let (quick, slow) = (Duration::from_micros(1), Duration::from_millis(300));
    for &(workers, cores) in PLACES {
        for at in [0, 1, 7, 200, 399] {
            let jobs: Vec<_> = (0..400).map(|n| if n == at { slow } else { quick }).collect();
            let (answered, _) = Race::run(workers, cores, &jobs);
            let neighbours = answered.iter().enumerate().filter(|&(n, _)| n != at);
            let last = neighbours.map(|(_, at)| *at).max().unwrap();
            println!("{workers} workers on {cores} cores, job {at} is slow: {last:?}");
            let place = format!("{workers} workers on {cores} cores, job {at} is slow");
            assert!(last < Duration::from_millis(10), "{place}: its neighbours take {last:?}");
        }
    }
}

#[test]
fn workers_have_enough_to_do_until_the_driver_has_its_turn() {
    for micros in [3, 10, 30, 100, 300] {
        let jobs = vec![Duration::from_micros(micros); (300_000 / micros) as usize];
        for &(workers, cores) in PLACES {
            let ideal = jobs.iter().sum::<Duration>() / cores as u32;
            let (answered, _) = Race::with_a_late_driver(LATE, workers, cores, &jobs);
            let took = answered.into_iter().max().unwrap();
            let place = format!("{workers} workers on {cores} cores, jobs of {micros} us");
            println!("{place}: {took:?}, ideal {ideal:?}");
            assert!(took < ideal.mul_f64(1.02) + 2 * LATE, "{place}: {took:?}, and not {ideal:?}");
        }
    }
}

#[test]
fn a_worker_is_given_little_at_a_time_of_jobs_nobody_knows() {
    let jobs = vec![Duration::from_millis(1); 100];
    let (answered, assigned) = Race::run(4, 4, &jobs);
    assert_eq!(assigned, jobs.len());
    assert_eq!(answered.into_iter().max().unwrap(), Duration::from_millis(25));
}
