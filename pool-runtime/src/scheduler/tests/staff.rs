//! The rules of having workers: launches, ends, shutdown, and hands that break the protocol.

use std::sync::Arc;

use super::super::{Config, Event, Readiness};
use super::{Bench, START, config, ms};
use crate::error::WorkerExit;
use crate::policy::{RetryPolicy, Terms};

#[test]
fn launches_that_fail_wait_longer_each_time_and_then_resolve_what_waits() {
    let mut bench = Bench::launching(config());
    let _ = bench.submit(1);
    assert_eq!(bench.died(0, false), ["launch 0"], "the first replacement comes at once");
    assert!(bench.died(0, false).is_empty());
    assert_eq!(bench.wait(ms(10)), ["launch 0"]);
    assert_eq!(bench.scheduler.readiness(), Readiness::Pending);
    assert_eq!(bench.died(0, false), ["resolve 1: WorkerStart after 0, unassigned"]);
    assert_eq!(bench.scheduler.readiness(), Readiness::Failed);
    let _ = bench.submit(2);
    assert!(bench.told().is_empty(), "it waits for the next launch");
    assert_eq!(bench.wait(ms(20)), ["launch 0"]);
    assert_eq!(bench.wait(START), ["kill 0"]);
    assert_eq!(bench.wait(ms(2040)), ["resolve 2: WorkerStart after 0, unassigned", "launch 0"]);
    assert!(bench.ready(0).is_empty());
    assert_eq!(bench.scheduler.readiness(), Readiness::Ready);
}

#[test]
fn who_does_not_die_is_given_up() {
    let mut bench = Bench::new(config());
    let job = bench.submit(1);
    let _ = bench.told();
    let _ = bench.cancel(job);
    let _ = bench.recalled(0, 1);
    let old = bench.worker(0);
    assert_eq!(bench.wait(ms(2000)), ["resolve 1: Cancelled after 1", "launch 0"]);
    let exit = WorkerExit::Unknown;
    assert!(bench.feed(Event::WorkerGone { worker: old, exit, claimed: true }).is_empty());
    assert!(bench.ready(0).is_empty());
}

#[test]
fn a_worker_is_replaced_after_its_share_of_jobs() {
    let mut bench =
        Bench::launching(Config { window: 4, max_jobs_per_worker: Some(2), ..config() });
    for job in 1..4 {
        let _ = bench.submit(job);
    }
    assert_eq!(bench.ready(0).len(), 2);
    let _ = bench.replied(0);
    assert_eq!(bench.replied(0), ["resolve 2: Replied after 1", "stop 0"]);
    assert_eq!(bench.died(0, false), ["launch 0"]);
    assert_eq!(bench.ready(0), ["assign 3 to 0, attempt 1, first"]);
}

#[test]
fn idle_workers_go_home_and_come_back_on_demand() {
    let mut bench = Bench::new(Config { workers: 2, idle_timeout: Some(ms(500)), ..config() });
    assert_eq!(bench.wait(ms(500)).len(), 2);
    assert!(bench.died(0, false).is_empty());
    assert_eq!(bench.wait(ms(2000)), ["kill 1"], "it would not stop");
    assert!(bench.died(1, false).is_empty());
    assert_eq!(bench.scheduler.hunger(), 2, "a job would wake them");
    assert_eq!(bench.scheduler.poll_timeout(), None);
    let _ = bench.submit(1);
    assert_eq!(bench.told().len(), 1, "one job needs one worker");
    assert_eq!(bench.scheduler.hunger(), 1);
}

#[test]
fn close_finishes_what_was_accepted() {
    let retry = RetryPolicy::attempts(2).backoff(ms(10), 1.0, ms(10));
    let mut bench = Bench::new(config());
    let _ = bench.submit_with(1, Terms { retry, ..Terms::default() });
    let _ = bench.submit(2);
    let _ = bench.told();
    assert!(bench.feed(Event::Close).is_empty());
    let _ = bench.submit(3);
    assert_eq!(bench.told(), ["resolve 3: PoolClosed after 0, unassigned"]);
    assert_eq!(bench.died(0, true), ["launch 0"]);
    let _ = bench.ready(0);
    assert_eq!(bench.replied(0), ["resolve 2: Replied after 1"], "the other one will come back");
    assert_eq!(bench.wait(ms(11)), ["assign 1 to 0, attempt 2"]);
    assert_eq!(bench.replied(0), ["resolve 1: Replied after 2", "stop 0"]);
    assert!(!bench.scheduler.is_at_rest());
    assert!(bench.died(0, false).is_empty());
    assert!(bench.scheduler.is_at_rest());
}

#[test]
fn close_does_not_wait_for_a_silent_worker() {
    let mut bench = Bench::new(config());
    let _ = bench.submit(1);
    let _ = bench.told();
    let _ = bench.wait(ms(50));
    let _ = bench.recalled(0, 0);
    assert_eq!(bench.feed(Event::Close), ["stop 0"]);
    assert_eq!(bench.wait(ms(2000)), ["kill 0"]);
    assert_eq!(bench.died(0, false), ["launch 0"]);
    assert_eq!(bench.ready(0), ["assign 1 to 0, attempt 1"]);
}

#[test]
fn shutdown_resolves_what_never_ran_in_the_order_of_submission() {
    let mut bench = Bench::launching(Config { workers: 2, window: 2, ..config() });
    for job in 1..6 {
        let _ = bench.submit(job);
    }
    let _ = bench.ready(1);
    assert_eq!(bench.feed(Event::Shutdown), ["kill 0", "recall 1"]);
    assert_eq!(
        bench.recalled(1, 1),
        [
            "kill 1",
            "resolve 2: PoolClosed after 0",
            "resolve 3: PoolClosed after 0, unassigned",
            "resolve 4: PoolClosed after 0, unassigned",
            "resolve 5: PoolClosed after 0, unassigned",
        ],
    );
    assert!(bench.feed(Event::Shutdown).is_empty());
    assert_eq!(bench.died(1, true), ["resolve 1: PoolClosed after 1"]);
    assert!(!bench.scheduler.is_at_rest());
    assert!(bench.wait(ms(2000)).is_empty(), "the other one is given up");
    assert!(bench.scheduler.is_at_rest());
    assert_eq!(bench.scheduler.poll_timeout(), None);
}

#[test]
fn a_timeout_of_an_unclaimed_job_is_the_worker_s_silence() {
    let terms = Terms { timeout: Some(ms(10)), ..Terms::default() };
    let mut bench = Bench::new(config());
    let _ = bench.submit_with(1, terms);
    let _ = bench.told();
    assert_eq!(bench.wait(ms(10)), ["recall 0"]);
    assert!(bench.recalled(0, 0).is_empty(), "it would only lie there again");
    let worker = bench.worker(0);
    assert_eq!(bench.feed(Event::Awake { worker }), ["assign 1 to 0, attempt 1"]);
}

#[test]
fn one_recall_serves_all_the_doomed_of_a_window() {
    let mut bench = Bench::launching(Config { window: 2, ..config() });
    let _ = bench.submit_until(1, ms(10));
    let _ = bench.submit_until(2, ms(10));
    let _ = bench.ready(0);
    assert_eq!(bench.wait(ms(10)), ["recall 0"]);
    assert_eq!(bench.recalled(0, 1), ["resolve 2: TimedOut(10ms) after 0", "kill 0"]);
}

#[test]
fn slots_that_never_had_a_worker_come_first() {
    let mut bench = Bench::launching(Config { workers: 2, idle_timeout: Some(ms(5)), ..config() });
    let _ = bench.ready(1);
    assert_eq!(bench.died(0, false), ["launch 0"]);
    assert!(bench.died(0, false).is_empty());
    assert_eq!(bench.wait(ms(5)), ["stop 1"]);
    assert!(bench.died(1, false).is_empty());
    assert_eq!(bench.wait(ms(5)), ["launch 0"]);
}

// Hands that answer a recall late, or never, break the protocol. Nothing may hang by that.

#[test]
fn a_claimed_job_stays_claimed() {
    let mut bench = Bench::new(config());
    let job = bench.submit_with(1, Terms { grace: ms(100), ..Terms::default() });
    let _ = bench.told();
    let _ = bench.cancel(job);
    assert_eq!(bench.recalled(0, 1), ["ask 0"]);
    assert_eq!(bench.wait(ms(100)), ["recall 0"]);
    assert_eq!(bench.recalled(0, 0), ["kill 0"]);
}

#[test]
fn a_recall_without_an_answer_took_nothing_back() {
    let mut bench = Bench::new(config());
    let job = bench.submit(1);
    let _ = bench.told();
    assert_eq!(bench.cancel(job), ["recall 0"]);
    assert_eq!(bench.wait(ms(2000)), ["kill 0"]);
}

#[test]
fn a_reply_before_the_answer_to_a_recall_counts() {
    let retry = RetryPolicy::attempts(2).on_panic(true);
    let mut bench = Bench::new(config());
    let _ = bench.submit_with(1, Terms { retry, ..Terms::default() });
    let _ = bench.told();
    assert_eq!(bench.feed(Event::Shutdown), ["recall 0"]);
    assert_eq!(bench.panicked(0), ["resolve 1: Replied after 1"]);
    assert_eq!(bench.recalled(0, 0), ["kill 0"]);

    let mut bench = Bench::new(Config { max_jobs_per_worker: Some(1), ..config() });
    let job = bench.submit(1);
    let _ = bench.told();
    let _ = bench.cancel(job);
    assert_eq!(bench.replied(0), ["resolve 1: Replied after 1", "stop 0"]);
    assert!(bench.recalled(0, 0).is_empty());
    assert_eq!(bench.wait(ms(2000)), ["kill 0"]);
}

#[test]
fn timers_of_ended_jobs_are_forgotten() {
    let terms = Terms { timeout: Some(ms(1000)), ..Terms::default() };
    let mut bench = Bench::new(config());
    for job in 0..1000 {
        let deadline = (bench.now + START, START);
        let terms = Some(Arc::new(terms));
        let _ = bench.scheduler.submit(bench.now, job, 0, terms, Some(deadline));
        let _ = bench.told();
        let _ = bench.replied(0);
    }
    assert!(bench.scheduler.timers.is_empty());
    assert_eq!(bench.scheduler.poll_timeout(), None);
}

#[test]
fn what_cannot_be_killed_ends_at_once_and_keeps_its_slot() {
    let mut bench = Bench::new(Config { killable: false, window: 5, ..config() });
    let retry = RetryPolicy::attempts(3).on_timeout(true);
    let _ = bench.submit_with(1, Terms { timeout: Some(ms(10)), retry, ..Terms::default() });
    bench.submit(2);
    assert_eq!(bench.told(), ["assign 1 to 0, attempt 1, first"]);
    assert_eq!(bench.wait(ms(10)), ["recall 0"]);
    assert_eq!(bench.recalled(0, 1), ["kill 0", "resolve 1: Unsupported(TimedOut(10ms)) after 1"]);
    // Nothing that it says later is heard, and nobody is put beside it.
    assert!(bench.replied(0).is_empty());
    assert!(bench.wait(ms(60_000)).is_empty());
    assert_eq!(bench.died(0, false), ["launch 0"]);
    assert_eq!(bench.ready(0), ["assign 2 to 0, attempt 1, first"]);
}

#[test]
fn a_shutdown_does_not_wait_for_what_cannot_be_killed() {
    let mut bench = Bench::new(Config { killable: false, workers: 2, ..config() });
    bench.submit(1);
    assert_eq!(bench.told(), ["assign 1 to 1, attempt 1, first"]);
    assert_eq!(bench.feed(Event::Shutdown), ["kill 0", "recall 1"]);
    assert_eq!(bench.recalled(1, 1), ["kill 1", "resolve 1: PoolClosed after 1"]);
    // The idle one has only to look up.
    assert!(!bench.scheduler.is_at_rest());
    assert!(bench.died(0, false).is_empty());
    assert!(bench.scheduler.is_at_rest());
}
