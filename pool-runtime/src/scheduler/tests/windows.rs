//! Jobs that are handed ahead: to whom, how many, and when they begin.

use super::*;

#[test]
fn what_is_handed_ahead_waits_until_it_is_its_turn() {
    let mut bench = Bench::new(Config { window: 3, ..config() });
    for job in 1..=3 {
        let _ = bench.submit(job);
        let _ = bench.wait(ms(5));
    }
    let _ = bench.told();
    assert_eq!((bench.scheduler.running(), bench.scheduler.queued()), (1, 2));
    assert_eq!(bench.scheduler.oldest_queued(bench.now), Some(ms(10)));
    assert_eq!(bench.scheduler.wait().count(), 1);
    let (worker, reply) = (bench.worker(0), Reply::Done);
    let _ = bench.feed(Event::Replied { worker, reply, took: ms(15) });
    assert_eq!((bench.scheduler.running(), bench.scheduler.queued()), (1, 1));
    assert_eq!(bench.scheduler.oldest_queued(bench.now), Some(ms(5)));
    let head = bench.scheduler.workers().next().and_then(|worker| worker.head);
    assert_eq!(head.map(|(&job, attempt, since)| (job, attempt, since)), Some((2, 1, bench.now)));
    // The second waited until it could run, not until it was handed out.
    assert_eq!(bench.scheduler.wait().max(), ms(10));
    assert_eq!(bench.scheduler.run().max(), ms(15));
    assert_eq!(bench.scheduler.utilization(bench.now), 1.0);
    let _ = bench.replied(0);
    let _ = bench.replied(0);
    let _ = bench.wait(ms(15));
    assert_eq!(bench.scheduler.utilization(bench.now), 0.5);
    assert_eq!(bench.scheduler.oldest_queued(bench.now), None);
}

#[test]
fn windows_are_filled_in_shares_and_idle_workers_come_first() {
    let mut bench = Bench::launching(Config { workers: 2, window: 3, ..config() });
    for job in 0..4 {
        let _ = bench.submit(job);
    }
    assert_eq!(
        bench.ready(0),
        [
            "assign 0 to 0, attempt 1, first",
            "assign 1 to 0, attempt 1, first",
            "assign 2 to 0, attempt 1, first"
        ],
    );
    assert_eq!(bench.ready(1), ["assign 3 to 1, attempt 1, first"]);
    assert_eq!(bench.scheduler.hunger(), 2);
    assert_eq!((bench.scheduler.running(), bench.scheduler.queued()), (2, 2));
}

#[test]
fn jobs_that_come_back_are_shared_out() {
    let mut bench = Bench::launching(Config { workers: 3, window: 3, ..config() });
    for job in 1..4 {
        let _ = bench.submit(job);
    }
    assert_eq!(bench.ready(0).len(), 3);
    let _ = bench.ready(1);
    let _ = bench.ready(2);
    let told = bench.died(0, true);
    assert_eq!(told[1..3], ["assign 2 to 2, attempt 1", "assign 3 to 1, attempt 1"]);
}
