//! The rules of a job that is handed out before its worker is up.

use super::super::Config;
use super::{Bench, START, config, ms};
use crate::policy::Terms;

/// Workers that start, all of them connected.
fn starting(workers: u32) -> Bench {
    let mut bench = Bench::launching(Config { workers, ..config() });
    for slot in 0..workers {
        assert!(bench.connected(slot).is_empty());
    }
    bench
}

#[test]
fn one_job_lies_there_before_the_worker_is_up_and_begins_when_it_is() {
    let mut bench = Bench::launching(config());
    let timeout = Some(ms(10));
    let _ = bench.submit_with(1, Terms { timeout, ..Terms::default() });
    let _ = bench.submit(2);
    assert!(bench.told().is_empty(), "nothing can be sent yet");
    assert_eq!(bench.connected(0), ["assign 1 to 0, attempt 1, first"]);
    assert_eq!((bench.scheduler.running(), bench.scheduler.queued()), (0, 2));
    assert!(bench.wait(ms(500)).is_empty(), "it has not begun, and nobody looks for it");
    assert!(bench.ready(0).is_empty());
    assert_eq!((bench.scheduler.running(), bench.scheduler.queued()), (1, 1));
    assert!(bench.wait(ms(9)).is_empty());
    assert_eq!(bench.wait(ms(1)), ["recall 0"]);
}

#[test]
fn after_a_while_whoever_idles_gets_it() {
    let mut bench = starting(3);
    for job in 1..3 {
        let _ = bench.submit(job);
    }
    assert_eq!(bench.told().len(), 2);
    assert!(bench.ready(2).is_empty());
    assert!(bench.wait(ms(49)).is_empty(), "whom they were given to is up in a moment");
    assert_eq!(bench.wait(ms(1)), ["recall 0"]);
    assert_eq!(bench.recalled(0, 0), ["assign 1 to 2, attempt 1"]);
    let _ = bench.submit(3);
    assert_eq!(bench.told(), ["assign 3 to 0, attempt 1, first"]);
    assert_eq!(bench.replied(2), ["resolve 1: Replied after 1", "recall 1"]);
    // In that moment it was begun: the worker is up.
    assert!(bench.recalled(1, 1).is_empty());
    assert_eq!(bench.wait(ms(50)), ["recall 0"]);
    assert_eq!((bench.scheduler.running(), bench.scheduler.queued()), (1, 1));
    assert_eq!(bench.recalled(0, 0), ["assign 3 to 2, attempt 1"]);
    assert!(bench.ready(1).is_empty());
}

#[test]
fn a_launch_that_fails_costs_it_nothing() {
    let mut bench = starting(1);
    let job = bench.submit(1);
    assert_eq!(bench.told(), ["assign 1 to 0, attempt 1, first"]);
    // More often than a frame may kill its readers.
    for wait in [0, 10, 20, 40] {
        let told = bench.died(0, false);
        let told = if wait == 0 { told } else { [told, bench.wait(ms(wait))].concat() };
        if told.iter().any(|action| action.starts_with("resolve")) {
            assert_eq!(wait, 20, "{told:?}");
            assert_eq!(told[0], "resolve 1: WorkerStart after 0");
            return;
        }
        assert_eq!(told, ["launch 0"]);
        assert_eq!(bench.connected(0), ["assign 1 to 0, attempt 1"]);
    }
    panic!("job {job:?} waits for ever");
}

#[test]
fn it_does_not_wait_for_the_end_of_a_launch_that_takes_too_long() {
    let mut bench = starting(1);
    let _ = bench.submit(1);
    let _ = bench.told();
    assert_eq!(bench.wait(START), ["recall 0"]);
    assert_eq!(bench.recalled(0, 0), ["kill 0"]);
    assert_eq!(bench.scheduler.queued(), 1);
    assert_eq!(bench.died(0, false), ["launch 0"]);
}

#[test]
fn it_is_cancelled_like_one_that_waits() {
    let mut bench = starting(1);
    let job = bench.submit(1);
    let _ = bench.told();
    assert_eq!(bench.cancel(job), ["recall 0"]);
    assert_eq!(bench.recalled(0, 0), ["resolve 1: Cancelled after 0"]);
    let _ = bench.submit(2);
    assert_eq!(bench.told(), ["assign 2 to 0, attempt 1, first"]);
}

#[test]
fn what_takes_no_kill_or_has_a_memory_limit_waits_in_the_queue() {
    let mut bench = Bench::launching(Config { killable: false, ..config() });
    let _ = bench.submit(1);
    assert!(bench.connected(0).is_empty());
    let mut bench = starting(1);
    let _ = bench.submit_with(1, Terms { memory_limit: Some(1), ..Terms::default() });
    assert!(bench.told().is_empty());
}
