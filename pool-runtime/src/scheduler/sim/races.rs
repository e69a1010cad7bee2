//! How long it takes: races against the clock of a world in which nothing goes wrong.
//!
//! Workers take exactly as long as their jobs do, replies are read at once, and the driver is as
//! late as a timer of one millisecond makes it.

use std::collections::VecDeque;
use std::time::Duration;

use crate::policy::Terms;

use super::super::event::{Action, Event, Reply, Time, WorkerId};
use super::super::machine::{Config, Scheduler};

const LATE: Duration = Duration::from_millis(1);

struct Runner {
    id: WorkerId,
    window: VecDeque<usize>,
    /// When the first of these is done.
    done_at: Time,
}

struct Race<'a> {
    scheduler: Scheduler<u64>,
    jobs: &'a [Duration],
    runners: Vec<Runner>,
    now: Time,
    /// When each job was answered.
    answered: Vec<Time>,
    assigned: usize,
}

impl Race<'_> {
    /// All jobs are submitted at once; when was each answered? And how many jobs were handed out,
    /// again and again if they came back.
    fn run(workers: u32, jobs: &[Duration]) -> (Vec<Duration>, usize) {
        let config = Config {
            workers,
            window: 512,
            horizon: Duration::from_micros(200),
            max_jobs_per_worker: None,
            idle_timeout: None,
            start_timeout: Duration::from_secs(30),
            defaults: Terms::default(),
            killable: true,
            seed: 1,
        };
        let now = Time::default();
        let scheduler = Scheduler::new(config, now);
        let answered = vec![Time::default(); jobs.len()];
        let mut race = Race { scheduler, jobs, runners: Vec::new(), now, answered, assigned: 0 };
        race.act();
        for at in 0..race.runners.len() {
            let worker = race.runners[at].id;
            race.scheduler.handle_event(now, Event::WorkerReady { worker });
            race.act();
        }
        for number in 0..jobs.len() {
            let _ = race.scheduler.submit(now, number as u64, 0, None, None);
            race.act();
        }
        while race.step() {}
        (race.answered.iter().map(|at| at.since_start()).collect(), race.assigned)
    }

    fn act(&mut self) {
        while let Some(action) = self.scheduler.poll_action() {
            match action {
                Action::Launch { worker } => {
                    let window = VecDeque::new();
                    self.runners.push(Runner { id: worker, window, done_at: self.now });
                }
                Action::Assign { worker, job, .. } => {
                    self.assigned += 1;
                    let job = job as usize;
                    let took = self.jobs[job];
                    let now = self.now;
                    let runner = self.runner(worker);
                    runner.window.push_back(job);
                    if runner.window.len() == 1 {
                        runner.done_at = now + took;
                    }
                }
                // Nobody is late to begin.
                Action::Recall { worker, .. } => {
                    let runner = self.runner(worker);
                    runner.window.truncate(1);
                    let kept = runner.window.len();
                    self.scheduler.handle_event(self.now, Event::Recalled { worker, kept });
                }
                Action::Resolve { job, .. } => self.answered[job as usize] = self.now,
                Action::Ask { .. } | Action::Stop { .. } | Action::Kill { .. } => {
                    panic!("nobody has to end")
                }
            }
        }
    }

    fn runner(&mut self, worker: WorkerId) -> &mut Runner {
        self.runners.iter_mut().find(|runner| runner.id == worker).unwrap()
    }

    /// The next thing that happens, if anything does.
    fn step(&mut self) -> bool {
        let due = self.scheduler.poll_timeout().map(|at| at + LATE);
        let busy = self.runners.iter().filter(|runner| !runner.window.is_empty());
        let next =
            busy.min_by_key(|runner| runner.done_at).map(|runner| (runner.done_at, runner.id));
        match (next, due) {
            (Some((at, worker)), due) if due.is_none_or(|due| at <= due) => {
                self.now = at;
                let jobs = self.jobs;
                let runner = self.runner(worker);
                let took = runner.window.pop_front().map(|job| jobs[job]).unwrap();
                if let Some(&next) = runner.window.front() {
                    runner.done_at = at + jobs[next];
                }
                let reply = Reply::Done;
                self.scheduler.handle_event(at, Event::Replied { worker, reply, took });
            }
            (Some(_), Some(due)) => {
                self.now = self.now.max(due);
                self.scheduler.handle_timeout(self.now);
            }
            _ => return false,
        }
        self.act();
        true
    }
}

#[test]
fn quick_jobs_among_slow_ones_are_shared_out_well() {
    let (quick, slow) = (Duration::from_micros(5), Duration::from_millis(5));
    for workers in [2, 4] {
        let jobs: Vec<_> = (0..20_000).map(|n| if n % 100 == 57 { slow } else { quick }).collect();
        let ideal = jobs.iter().sum::<Duration>() / workers;
        let (answered, assigned) = Race::run(workers, &jobs);
        let took = answered.into_iter().max().unwrap();
        println!("{workers} workers: {took:?}, ideal {ideal:?}, {assigned} times handed out");
        assert!(took < ideal.mul_f64(1.1), "{took:?}, and not {ideal:?}");
        assert!(assigned < 3 * jobs.len(), "{assigned} times handed out");
    }
}

#[test]
fn nobody_waits_for_long_behind_a_job_that_takes_long() {
    let (quick, slow) = (Duration::from_micros(1), Duration::from_millis(300));
    for at in [0, 1, 7, 200, 399] {
        let jobs: Vec<_> = (0..400).map(|n| if n == at { slow } else { quick }).collect();
        let (answered, _) = Race::run(2, &jobs);
        let neighbours = answered.iter().enumerate().filter(|&(n, _)| n != at);
        let last = neighbours.map(|(_, at)| *at).max().unwrap();
        assert!(last < Duration::from_millis(10), "job {at}: its neighbours take {last:?}");
    }
}

#[test]
fn a_worker_is_given_little_at_a_time_of_jobs_nobody_knows() {
    let jobs = vec![Duration::from_millis(1); 100];
    let (answered, assigned) = Race::run(4, &jobs);
    assert_eq!(assigned, jobs.len());
    assert_eq!(answered.into_iter().max().unwrap(), Duration::from_millis(25));
}
