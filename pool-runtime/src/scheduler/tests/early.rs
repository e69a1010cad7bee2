//! The rules of a job that is handed out before its worker is up.

use super::super::{Config, Event};
use super::{Bench, START, config, ms};
use crate::policy::{Priority, Terms};

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
fn after_a_while_it_is_for_those_who_are_up() {
    let mut bench = starting(3);
    for job in 1..3 {
        let _ = bench.submit(job);
    }
    assert_eq!(bench.told().len(), 2);
    assert!(bench.ready(2).is_empty());
    assert!(bench.wait(ms(49)).is_empty(), "whom they were given to is up in a moment");
    assert_eq!(bench.wait(ms(1)), ["recall 0"]);
    assert_eq!(bench.recalled(0, 0), ["assign 1 to 2, attempt 1", "recall 1"]);
    // In that moment it was begun: the worker is up.
    assert!(bench.recalled(1, 1).is_empty());
    assert_eq!((bench.scheduler.running(), bench.scheduler.queued()), (2, 0));
    assert!(bench.ready(1).is_empty());
    let _ = bench.submit(3);
    assert!(bench.told().is_empty(), "whoever let a job lie gets no other before it is up");
    assert_eq!(bench.replied(2), ["resolve 1: Replied after 1", "assign 3 to 2, attempt 1, first"]);
}

/// Others run one after the other, and never is anybody idle.
#[test]
fn it_does_not_fall_behind_those_that_came_later() {
    let mut bench = Bench::launching(Config { workers: 2, ..config() });
    let _ = bench.ready(0);
    let _ = bench.connected(1);
    for job in 1..9 {
        let _ = bench.submit(job);
    }
    assert_eq!(bench.told().len(), 2);
    assert!(bench.wait(ms(25)).is_empty());
    assert_eq!(bench.replied(0)[1], "assign 3 to 0, attempt 1, first");
    assert_eq!(bench.wait(ms(25)), ["recall 1"]);
    assert!(bench.recalled(1, 0).is_empty());
    assert_eq!(bench.replied(0)[1], "assign 2 to 0, attempt 1");
}

#[test]
fn a_pool_that_closes_keeps_whoever_idles_for_it() {
    let mut bench = starting(2);
    let _ = bench.submit(1);
    assert_eq!(bench.told(), ["assign 1 to 0, attempt 1, first"]);
    let _ = bench.ready(1);
    assert_eq!(bench.feed(Event::Close), ["recall 0"]);
    assert_eq!(bench.recalled(0, 0), ["assign 1 to 1, attempt 1", "kill 0"]);
    let idle_timeout = Some(ms(20));
    let mut bench = Bench::launching(Config { workers: 2, idle_timeout, ..config() });
    let _ = bench.connected(0);
    let _ = bench.submit(1);
    let _ = (bench.told(), bench.ready(1));
    assert_eq!(bench.wait(ms(20)), ["recall 0"], "and does not go home before");
    assert_eq!(bench.recalled(0, 0), ["assign 1 to 1, attempt 1"]);
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
    assert!(bench.told().is_empty(), "else frames would pile up there");
    assert_eq!(bench.ready(0), ["assign 2 to 0, attempt 1, first"]);
}

#[test]
fn a_more_urgent_one_takes_its_turn() {
    let mut bench = starting(1);
    let _ = bench.submit(1);
    let _ = bench.told();
    let _ = bench.submit_with(2, Terms { priority: Priority::High, ..Terms::default() });
    assert_eq!(bench.told(), ["recall 0"]);
    assert!(bench.recalled(0, 0).is_empty());
    assert_eq!(bench.ready(0), ["assign 2 to 0, attempt 1, first"]);
}

#[test]
fn what_takes_no_kill_or_is_bounded_waits_in_the_queue() {
    let mut bench = Bench::launching(Config { killable: false, ..config() });
    let _ = bench.submit(1);
    assert!(bench.connected(0).is_empty());
    let mut bench = starting(1);
    let _ = bench.submit_with(1, Terms { memory_limit: Some(1), ..Terms::default() });
    assert!(bench.told().is_empty());
    let mut bench = starting(1);
    let _ = bench.submit_until(1, ms(1000));
    assert!(bench.told().is_empty(), "what is left by then is not known");
}
