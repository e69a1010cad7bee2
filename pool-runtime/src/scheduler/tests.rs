//! The main rules, one by one, as a conversation: what is said, and what is to be done.

mod early;
mod staff;
mod stuck;
mod windows;

use std::sync::Arc;
use std::time::Duration;

use crate::error::WorkerExit;
use crate::policy::{Priority, RetryPolicy, Terms};

use super::{Action, Config, Event, JobKey, Readiness, Reply, Scheduler, Time, WorkerId};

const START: Duration = Duration::from_secs(30);

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn config() -> Config {
    Config {
        workers: 1,
        window: 1,
        horizon: Duration::MAX,
        latency: Duration::MAX,
        max_jobs_per_worker: None,
        idle_timeout: None,
        start_timeout: START,
        killable: true,
        defaults: Terms::default(),
        seed: 1,
    }
}

/// A scheduler, its clock, and hands that only write down what they are told.
struct Bench {
    scheduler: Scheduler<u64>,
    now: Time,
    generations: Vec<u32>,
}

impl Bench {
    /// All workers are up.
    fn new(config: Config) -> Bench {
        let workers = config.workers;
        let mut bench = Bench::launching(config);
        for slot in 0..workers {
            bench.ready(slot);
        }
        bench
    }

    fn launching(config: Config) -> Bench {
        let generations = vec![0; config.workers as usize];
        let now = Time::default();
        let mut bench = Bench { scheduler: Scheduler::new(config, now), now, generations };
        let _ = bench.told();
        bench
    }

    /// What is to be done now.
    fn told(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        while let Some(action) = self.scheduler.poll_action() {
            told.push(match action {
                Action::Launch { worker } => {
                    self.generations[worker.slot as usize] = worker.generation;
                    format!("launch {}", worker.slot)
                }
                Action::Assign(super::Assignment { worker, job, attempt, first, .. }) => {
                    let first = if first { ", first" } else { "" };
                    let job = self.scheduler.get(job).expect("it has not ended");
                    format!("assign {job} to {}, attempt {attempt}{first}", worker.slot)
                }
                Action::Recall { worker, .. } => format!("recall {}", worker.slot),
                Action::Ask { worker } => format!("ask {}", worker.slot),
                Action::Stop { worker } => format!("stop {}", worker.slot),
                Action::Kill { worker } => format!("kill {}", worker.slot),
                Action::Resolve { job, ending, attempts, unassigned } => {
                    let unassigned = if unassigned { ", unassigned" } else { "" };
                    format!("resolve {job}: {ending:?} after {attempts}{unassigned}")
                }
            });
        }
        told
    }

    fn feed(&mut self, event: Event) -> Vec<String> {
        self.scheduler.handle_event(self.now, event);
        self.told()
    }

    fn worker(&self, slot: u32) -> WorkerId {
        WorkerId { slot, generation: self.generations[slot as usize] }
    }

    fn connected(&mut self, slot: u32) -> Vec<String> {
        let worker = self.worker(slot);
        self.feed(Event::Connected { worker })
    }

    fn ready(&mut self, slot: u32) -> Vec<String> {
        let worker = self.worker(slot);
        self.feed(Event::WorkerReady { worker })
    }

    fn replied(&mut self, slot: u32) -> Vec<String> {
        let worker = self.worker(slot);
        self.feed(Event::Replied { worker, reply: Reply::Done, took: ms(1) })
    }

    fn panicked(&mut self, slot: u32) -> Vec<String> {
        let worker = self.worker(slot);
        self.feed(Event::Replied { worker, reply: Reply::Panicked, took: ms(1) })
    }

    fn recalled(&mut self, slot: u32, kept: usize) -> Vec<String> {
        let worker = self.worker(slot);
        self.feed(Event::Recalled { worker, kept })
    }

    fn died(&mut self, slot: u32, claimed: bool) -> Vec<String> {
        let worker = self.worker(slot);
        self.feed(Event::WorkerGone { worker, exit: WorkerExit::Signal(9), claimed })
    }

    fn cancel(&mut self, job: JobKey) -> Vec<String> {
        self.feed(Event::Cancel { job })
    }

    /// Submits with the terms of the pool.
    fn submit(&mut self, job: u64) -> JobKey {
        self.scheduler.submit_plain(self.now, job, 0)
    }

    fn submit_with(&mut self, job: u64, terms: Terms) -> JobKey {
        self.scheduler.submit(self.now, job, 0, Some(Arc::new(terms)), None)
    }

    fn submit_until(&mut self, job: u64, deadline: Duration) -> JobKey {
        self.scheduler.submit(self.now, job, 0, None, Some((self.now + deadline, deadline)))
    }

    /// Lets so much time pass, timers included.
    fn wait(&mut self, wait: Duration) -> Vec<String> {
        let target = self.now + wait;
        let mut told = Vec::new();
        while let Some(due) = self.scheduler.poll_timeout().filter(|&due| due <= target) {
            self.now = self.now.max(due);
            self.scheduler.handle_timeout(self.now);
            told.extend(self.told());
        }
        self.now = target;
        told
    }
}

#[test]
fn every_worker_is_launched_at_once_and_an_idle_pool_arms_nothing() {
    let config = Config { workers: 2, ..config() };
    let mut scheduler = Scheduler::<u64>::new(config.clone(), Time::default());
    let launches = std::iter::from_fn(|| scheduler.poll_action()).count();
    assert_eq!(launches, 2);
    assert_eq!(scheduler.readiness(), Readiness::Pending);

    let bench = Bench::new(config);
    assert_eq!(bench.scheduler.readiness(), Readiness::Ready);
    assert_eq!(bench.scheduler.poll_timeout(), None);
    assert_eq!(bench.scheduler.hunger(), 2);
}

#[test]
fn a_reply_ends_its_job_and_the_next_one_goes_out_in_the_same_breath() {
    let mut bench = Bench::new(config());
    let _ = bench.submit(1);
    let _ = bench.submit(2);
    assert_eq!(bench.told(), ["assign 1 to 0, attempt 1, first"]);
    assert_eq!((bench.scheduler.running(), bench.scheduler.queued()), (1, 1));
    assert_eq!(bench.scheduler.hunger(), 0);
    assert_eq!(bench.replied(0), ["resolve 1: Replied after 1", "assign 2 to 0, attempt 1, first"]);
    assert_eq!(bench.replied(0), ["resolve 2: Replied after 1"]);
    assert_eq!(bench.scheduler.poll_timeout(), None);
}

#[test]
fn higher_priorities_go_first() {
    let mut bench = Bench::new(config());
    let _ = bench.submit(0);
    for (job, priority) in [(1, Priority::Low), (2, Priority::Normal), (3, Priority::High)] {
        let _ = bench.submit_with(job, Terms { priority, ..Terms::default() });
    }
    let _ = bench.told();
    assert_eq!(bench.replied(0)[1], "assign 3 to 0, attempt 1, first");
    assert_eq!(bench.replied(0)[1], "assign 2 to 0, attempt 1, first");
    assert_eq!(bench.replied(0)[1], "assign 1 to 0, attempt 1, first");
}

#[test]
fn a_queued_job_is_cancelled_at_once() {
    let mut bench = Bench::new(config());
    let _ = bench.submit(1);
    let queued = bench.submit(2);
    let _ = bench.told();
    assert_eq!(bench.cancel(queued), ["resolve 2: Cancelled after 0, unassigned"]);
    assert!(bench.cancel(queued).is_empty());
    assert_eq!(bench.replied(0), ["resolve 1: Replied after 1"]);
}

#[test]
fn a_running_job_is_killed_after_a_recall() {
    let mut bench = Bench::new(config());
    let job = bench.submit(1);
    let _ = bench.told();
    assert_eq!(bench.cancel(job), ["recall 0"]);
    assert_eq!(bench.recalled(0, 1), ["kill 0"]);
    assert!(bench.replied(0).is_empty(), "it comes too late");
    assert_eq!(bench.died(0, true), ["resolve 1: Cancelled after 1", "launch 0"]);
}

#[test]
fn a_job_that_was_not_claimed_is_cancelled_without_a_kill() {
    let mut bench = Bench::new(config());
    let job = bench.submit(1);
    let _ = bench.told();
    assert_eq!(bench.cancel(job), ["recall 0"]);
    assert_eq!(bench.recalled(0, 0), ["resolve 1: Cancelled after 0"]);
    assert_eq!(bench.scheduler.hunger(), 1);
}

#[test]
fn neighbours_leave_before_a_kill_and_keep_their_places() {
    let mut bench = Bench::launching(Config { window: 3, ..config() });
    let first = bench.submit(1);
    for job in 2..5 {
        let _ = bench.submit(job);
    }
    assert_eq!(bench.ready(0).len(), 3);
    assert_eq!(bench.cancel(first), ["recall 0"]);
    assert_eq!(bench.recalled(0, 1), ["kill 0"]);
    let _ = bench.died(0, true);
    assert_eq!(
        bench.ready(0),
        ["assign 2 to 0, attempt 1", "assign 3 to 0, attempt 1", "assign 4 to 0, attempt 1, first"],
    );
}

#[test]
fn a_doomed_job_waits_for_the_reply_of_the_one_before_it() {
    let mut bench = Bench::launching(Config { window: 2, ..config() });
    let _ = bench.submit(1);
    let second = bench.submit(2);
    let _ = bench.ready(0);
    assert_eq!(bench.cancel(second), ["recall 0"]);
    assert!(bench.recalled(0, 2).is_empty());
    assert_eq!(bench.replied(0), ["resolve 1: Replied after 1", "recall 0"]);
    assert_eq!(bench.recalled(0, 1), ["kill 0"]);
    assert_eq!(bench.died(0, true)[0], "resolve 2: Cancelled after 1");
}

#[test]
fn a_worker_that_claims_more_than_it_can_have_begun_holds_up_its_jobs_for_a_while_only() {
    let mut bench = Bench::launching(Config { window: 3, ..config() });
    for job in 1..4 {
        let _ = bench.submit(job);
    }
    let _ = bench.ready(0);
    assert_eq!(bench.wait(ms(50)), ["recall 0"]);
    assert!(bench.recalled(0, 3).is_empty());
    // Its replies may be on their way.
    assert!(bench.wait(ms(1500)).is_empty());
    assert_eq!(bench.replied(0), ["resolve 1: Replied after 1"]);
    assert!(bench.wait(ms(3999)).is_empty());
    assert_eq!(bench.wait(ms(1)), ["recall 0"]);
    assert_eq!(bench.recalled(0, 2), ["kill 0"]);
    assert_eq!(bench.died(0, true)[0], "resolve 2: Crashed(Signal(9)) after 1");
    assert_eq!(bench.ready(0), ["assign 3 to 0, attempt 1"]);
}

#[test]
fn with_a_grace_period_a_job_is_asked_first() {
    let grace = Terms { grace: ms(100), ..Terms::default() };
    let mut bench = Bench::new(config());
    let job = bench.submit_with(1, grace);
    let _ = bench.told();
    assert_eq!(bench.cancel(job), ["recall 0"]);
    assert_eq!(bench.recalled(0, 1), ["ask 0"]);
    assert!(bench.wait(ms(99)).is_empty());
    assert_eq!(bench.wait(ms(1)), ["recall 0"]);
    assert_eq!(bench.recalled(0, 1), ["kill 0"]);
    assert_eq!(bench.died(0, true)[0], "resolve 1: Cancelled after 1");

    let mut bench = Bench::new(config());
    let job = bench.submit_with(1, grace);
    let _ = bench.told();
    let _ = bench.cancel(job);
    let _ = bench.recalled(0, 1);
    assert_eq!(bench.replied(0), ["resolve 1: Replied after 1"], "a reply in time counts");
    assert_eq!(bench.scheduler.poll_timeout(), None);

    let mut bench = Bench::new(config());
    let job = bench.submit_with(1, grace);
    let _ = bench.told();
    let _ = bench.cancel(job);
    let _ = bench.recalled(0, 1);
    assert_eq!(bench.feed(Event::Kill { job }), ["recall 0"], "a kill does not wait");
    assert_eq!(bench.recalled(0, 1), ["kill 0"]);
}

#[test]
fn a_death_during_the_grace_period_is_no_crash() {
    let mut bench = Bench::new(config());
    let job = bench.submit_with(1, Terms { grace: ms(100), ..Terms::default() });
    let _ = bench.told();
    let _ = bench.cancel(job);
    let _ = bench.recalled(0, 1);
    assert_eq!(bench.died(0, true)[0], "resolve 1: Cancelled after 1");
}

#[test]
fn a_timeout_counts_from_the_head_of_the_window_and_is_retried() {
    let terms =
        Terms { timeout: Some(ms(10)), retry: RetryPolicy::attempts(2), ..Terms::default() };
    let mut bench = Bench::new(config());
    let _ = bench.submit(1);
    let _ = bench.submit_with(2, terms);
    let _ = bench.told();
    assert!(bench.wait(ms(40)).is_empty());
    let _ = bench.replied(0);
    assert!(bench.wait(ms(9)).is_empty());
    assert_eq!(bench.wait(ms(1)), ["recall 0"]);
    assert_eq!(bench.recalled(0, 1), ["kill 0"]);
    assert_eq!(bench.died(0, true), ["launch 0"]);
    assert_eq!(bench.ready(0), ["assign 2 to 0, attempt 2"]);
    let _ = bench.wait(ms(10));
    let _ = bench.recalled(0, 1);
    assert_eq!(bench.died(0, true)[0], "resolve 2: TimedOut(10ms) after 2");
}

#[test]
fn a_cancel_outranks_a_timeout_that_was_asked() {
    let terms = Terms {
        timeout: Some(ms(10)),
        grace: ms(100),
        retry: RetryPolicy::attempts(2),
        ..Terms::default()
    };
    let mut bench = Bench::new(config());
    let job = bench.submit_with(1, terms);
    let _ = bench.told();
    assert_eq!(bench.wait(ms(10)), ["recall 0"]);
    assert_eq!(bench.recalled(0, 1), ["ask 0"]);
    let _ = bench.wait(ms(60));
    assert_eq!(bench.cancel(job), ["recall 0"]);
    assert!(bench.recalled(0, 1).is_empty(), "it is asked already");
    assert_eq!(bench.wait(ms(40)), ["recall 0"]);
    let _ = bench.recalled(0, 1);
    assert_eq!(bench.died(0, true)[0], "resolve 1: Cancelled after 1");
}

#[test]
fn a_deadline_ends_a_job_wherever_it_is() {
    let mut bench = Bench::new(config());
    let _ = bench.submit_until(1, ms(30));
    let _ = bench.submit_until(2, ms(20));
    let _ = bench.submit_until(3, ms(0));
    assert_eq!(bench.told()[1], "resolve 3: TimedOut(0ns) after 0, unassigned");
    assert_eq!(bench.wait(ms(20)), ["resolve 2: TimedOut(20ms) after 0, unassigned"]);
    assert_eq!(bench.wait(ms(10)), ["recall 0"]);
    assert_eq!(bench.recalled(0, 1), ["kill 0"]);
    assert_eq!(bench.died(0, true)[0], "resolve 1: TimedOut(30ms) after 1");

    let retry = RetryPolicy::attempts(9).backoff(ms(500), 1.0, ms(500));
    let mut bench =
        Bench::new(Config { defaults: Terms { retry, ..Terms::default() }, ..config() });
    let _ = bench.submit_until(1, ms(30));
    let _ = bench.told();
    let _ = bench.died(0, true);
    let _ = bench.ready(0);
    assert_eq!(bench.wait(ms(30)), ["resolve 1: TimedOut(30ms) after 1"]);
}

#[test]
fn a_crash_costs_only_the_job_that_ran() {
    let mut bench = Bench::launching(Config { window: 3, ..config() });
    for job in 1..5 {
        let _ = bench.submit(job);
    }
    let _ = bench.ready(0);
    assert_eq!(bench.died(0, true), ["resolve 1: Crashed(Signal(9)) after 1", "launch 0"]);
    assert_eq!(
        bench.ready(0),
        ["assign 2 to 0, attempt 1", "assign 3 to 0, attempt 1", "assign 4 to 0, attempt 1, first"],
    );
}

#[test]
fn a_retry_goes_to_the_back_after_its_back_off() {
    let retry = RetryPolicy::attempts(2).backoff(ms(100), 1.0, ms(100)).on_panic(true);
    let mut bench = Bench::new(config());
    let _ = bench.submit_with(1, Terms { retry, ..Terms::default() });
    let _ = bench.submit(2);
    let _ = bench.told();
    assert_eq!(bench.panicked(0), ["assign 2 to 0, attempt 1, first"]);
    let _ = bench.replied(0);
    assert!(bench.wait(ms(99)).is_empty());
    assert_eq!(bench.wait(ms(11)), ["assign 1 to 0, attempt 2"]);
    assert_eq!(bench.panicked(0), ["resolve 1: Replied after 2"]);
}

#[test]
fn a_frame_that_kills_its_readers_does_not_circle() {
    let mut bench = Bench::new(config());
    let _ = bench.submit(1);
    let _ = bench.told();
    for _ in 0..3 {
        let told = bench.died(0, false);
        assert!(told.iter().all(|line| line.starts_with("launch")), "{told:?}");
        bench.wait(ms(100));
        assert_eq!(bench.ready(0), ["assign 1 to 0, attempt 1"]);
    }
    assert_eq!(bench.died(0, false)[0], "resolve 1: Crashed(Signal(9)) after 1");
}

#[test]
fn a_silent_worker_holds_up_nobody() {
    let mut bench = Bench::launching(Config { workers: 2, ..config() });
    let _ = bench.ready(0);
    let _ = bench.submit(1);
    let _ = bench.told();
    assert_eq!(bench.wait(ms(50)), ["recall 0"]);
    assert!(bench.recalled(0, 0).is_empty(), "it gets nothing more");
    assert_eq!(bench.ready(1), ["assign 1 to 1, attempt 1"]);
    let _ = bench.submit(2);
    assert!(bench.told().is_empty());
    let worker = bench.worker(0);
    assert_eq!(bench.feed(Event::Awake { worker }), ["assign 2 to 0, attempt 1, first"]);
    assert_eq!(bench.wait(ms(100)), ["recall 0", "recall 1"]);
    assert!(bench.recalled(0, 1).is_empty(), "it is only busy");
    assert!(bench.recalled(1, 1).is_empty());
    assert_eq!(bench.scheduler.poll_timeout(), None);
}
