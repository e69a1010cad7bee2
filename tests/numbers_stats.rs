//! `Pool::stats`: every job is counted where it is, every worker is what it is said to be.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use pool::{
    Call, JobErrorKind, JobQueue, Pool, RetryPolicy, Stats, WorkerState, call, pool_job, submit,
};
use pool_tests::jobs::{self, Death};
use pool_tests::{isolated, pids, proc, scratch, wait_until};
use rustix::process::Signal;

/// Longer than any test.
const LONG: Duration = Duration::from_secs(600);

#[pool_job]
fn refuse(why: &str) -> Result<u32, String> {
    Err(why.to_owned())
}

/// Has so many bytes of memory until there is a file `gate`.
#[pool_job]
fn have(bytes: usize, started: &Path, gate: &Path) {
    let mut memory = vec![0_u8; bytes];
    memory.iter_mut().step_by(1024).for_each(|byte| *byte = 1);
    jobs::append(started, &std::process::id().to_string());
    while !gate.exists() {
        thread::sleep(Duration::from_millis(1));
    }
    drop(std::hint::black_box(memory));
}

/// Takes no time, or waits for the gate.
#[pool_job]
fn quick_or_held(gate: Option<PathBuf>) {
    while gate.as_ref().is_some_and(|gate| !gate.exists()) {
        thread::sleep(Duration::from_millis(1));
    }
}

#[pool_job]
fn doze(length: Duration) {
    thread::sleep(length);
}

/// What the global pool says in a worker, which has none.
#[pool_job]
fn global_numbers() -> bool {
    let pool = Pool::global();
    pool.stats() == Stats::default() && pool.snapshot() == pool::Snapshot::default()
}

/// Queued, running, succeeded, failed, cancelled.
fn counts(pool: &Pool) -> [u64; 5] {
    let stats = pool.stats();
    [stats.queued, stats.running, stats.succeeded, stats.failed, stats.cancelled]
}

/// What has to hold in every picture.
#[track_caller]
fn agree(stats: &Stats) {
    let busy = stats.workers.iter().filter(|worker| worker.job.is_some()).count();
    assert_eq!(stats.running, busy as u64, "{stats:?}");
    assert!(stats.crashed <= stats.failed, "{stats:?}");
    let done: u64 = stats.workers.iter().map(|worker| worker.jobs_done).sum();
    assert_eq!(stats.run.count(), done, "{stats:?}");
    assert!((0.0..=1.0).contains(&stats.utilization), "{stats:?}");
    for (slot, worker) in stats.workers.iter().enumerate() {
        assert_eq!(worker.slot, slot);
        assert!(worker.state != WorkerState::Gone || worker.pid.is_none(), "{stats:?}");
        assert!(worker.state != WorkerState::Busy || worker.job.is_some(), "{stats:?}");
        assert!(worker.rss.is_none() || worker.pid.is_some(), "{stats:?}");
    }
}

#[pool::test]
fn each_job_is_counted_where_it_is() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        assert_eq!(counts(&pool), [0; 5]);
        let started = scratch("started");
        let held = submit!(pool => jobs::hold, &started, &scratch("gate"));
        // Also before anybody has got to it.
        assert_eq!(pool.stats().submitted(), 1);
        wait_until("it runs", || !pids(&started).is_empty());
        let others: Vec<_> = (0..3).map(|n| submit!(pool => jobs::echo, n)).collect();
        let stats = pool.stats();
        agree(&stats);
        assert_eq!(counts(&pool), [3, 1, 0, 0, 0]);
        assert_eq!(stats.submitted(), 4);
        let worker = &stats.workers[0];
        assert_eq!(worker.state, WorkerState::Busy);
        assert_eq!(worker.job, Some(held.id()));
        assert_eq!(worker.pid, Some(pids(&started)[0]));
        assert_eq!(worker.jobs_done, 0);
        assert_eq!((stats.wait.count(), stats.run.count()), (1, 0));
        others[1].cancel();
        wait_until("it is cancelled", || others[1].is_finished());
        assert_eq!(counts(&pool), [2, 1, 0, 0, 1]);
        jobs::open(&scratch("gate"));
        held.wait().unwrap();
        for (n, job) in others.into_iter().enumerate() {
            assert_eq!(job.wait().is_ok(), n != 1);
        }
        assert_eq!(counts(&pool), [0, 0, 3, 0, 1]);
        let stats = pool.stats();
        agree(&stats);
        let worker = &stats.workers[0];
        assert_eq!((worker.state, worker.job), (WorkerState::Idle, None));
        assert_eq!((worker.jobs_done, stats.run.count(), stats.wait.count()), (3, 3, 3));
    });
}

#[pool::test]
fn a_handle_that_has_resolved_is_counted() {
    isolated(|| {
        let pool = Pool::new(2).unwrap();
        for n in 0..500 {
            submit!(pool => jobs::echo, n).wait().unwrap();
            assert_eq!(counts(&pool), [0, 0, n + 1, 0, 0]);
        }
    });
}

#[pool::test]
fn a_jobs_own_err_has_succeeded_and_every_other_end_is_what_it_is() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        assert!(submit!(pool => refuse, "no").wait().unwrap().is_err());
        assert_eq!(counts(&pool), [0, 0, 1, 0, 0]);
        // Failed, and nobody crashed.
        assert!(submit!(pool => jobs::die, Death::Panic).wait().unwrap_err().is_panic());
        let file = scratch("started");
        let short = call!(jobs::spin, &file).timeout(Duration::from_millis(20));
        assert!(pool.submit(short).wait().unwrap_err().is_timeout());
        let stats = pool.stats();
        assert_eq!((stats.failed, stats.crashed), (2, 0));
        // Crashed, which is a part of failed.
        assert!(submit!(pool => jobs::die, Death::Abort).wait().unwrap_err().is_crash());
        let (started, gate) = (scratch("has"), scratch("never"));
        let greedy = call!(have, 96 << 20, &started, &gate).memory_limit(64 << 20);
        let error = pool.submit(greedy).wait().unwrap_err();
        assert!(matches!(error.kind(), JobErrorKind::MemoryLimit { .. }), "{error}");
        let stats = pool.stats();
        assert_eq!((stats.failed, stats.crashed), (4, 2));
        // Cancelled are `Cancelled` and `PoolClosed`.
        let (first, second) = (scratch("first"), scratch("second"));
        let given_up = submit!(pool => jobs::spin, &first);
        wait_until("it runs", || !pids(&first).is_empty());
        given_up.kill();
        assert!(given_up.wait().unwrap_err().is_cancelled());
        let running = submit!(pool => jobs::spin, &second);
        let waiting = submit!(pool => jobs::echo, 1);
        wait_until("it runs", || !pids(&second).is_empty());
        pool::block_on(pool.shutdown());
        assert!(running.wait().unwrap_err().is_pool_closed());
        assert!(waiting.wait().unwrap_err().is_pool_closed());
        assert_eq!(counts(&pool), [0, 0, 1, 4, 3]);
        agree(&pool.stats());
    });
}

#[pool::test]
fn a_refused_job_is_counted_by_nobody() {
    isolated(|| {
        let pool =
            Pool::builder().workers(1).queue_capacity(1).max_payload(100_000).build().unwrap();
        let started = scratch("started");
        let held = submit!(pool => jobs::hold, &started, &scratch("gate"));
        wait_until("it runs", || !pids(&started).is_empty());
        pool_tests::wait_for_room(&pool, 1);
        let unknown = pool.submit(Call::named::<()>("nobody", ())).wait().unwrap_err();
        assert!(matches!(unknown.kind(), JobErrorKind::UnknownJob(_)));
        let long = "x".repeat(200_000);
        let large = submit!(pool => refuse, &long).wait().unwrap_err();
        assert!(matches!(large.kind(), JobErrorKind::PayloadTooLarge { .. }));
        assert_eq!(pool.stats().submitted(), 1);
        let queued = submit!(pool => jobs::echo, 1);
        let full = submit!(pool => jobs::echo, 2).wait().unwrap_err();
        assert_eq!(*full.kind(), JobErrorKind::QueueFull);
        assert!(pool.try_submit(call!(jobs::echo, 3)).is_err());
        assert_eq!(counts(&pool), [1, 1, 0, 0, 0]);
        let close = pool.close();
        assert!(submit!(pool => jobs::echo, 4).wait().unwrap_err().is_pool_closed());
        jobs::open(&scratch("gate"));
        let report = pool::block_on(close);
        assert_eq!((report.succeeded, report.failed, report.cancelled), (2, 0, 0));
        assert_eq!(counts(&pool), [0, 0, 2, 0, 0]);
        held.wait().unwrap();
        queued.wait().unwrap();
    });
}

#[pool::test]
fn a_job_in_a_queue_is_counted_by_no_pool() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let queue = JobQueue::new();
        let started = scratch("started");
        let never = scratch("gate");
        let push = || pool::block_on(queue.push(call!(jobs::hold, &started, &never)));
        let handles: Vec<_> = (0..5).map(|_| push()).collect();
        assert_eq!(counts(&pool), [0; 5]);
        let work = pool.work(&queue);
        let worker = thread::spawn(move || pool::block_on(work));
        wait_until("it runs", || !pids(&started).is_empty());
        let stats = pool.stats();
        agree(&stats);
        assert_eq!(stats.running, 1);
        assert_eq!(stats.submitted() + queue.count() as u64, 5);
        pool::block_on(pool.shutdown());
        let report = worker.join().unwrap();
        // Those that had not begun are the queue's again.
        assert_eq!(queue.count(), 4);
        assert_eq!(counts(&pool), [0, 0, 0, 0, 1]);
        assert_eq!(report.cancelled, 1);
        drop(handles);
    });
}

#[pool::test]
fn a_job_in_its_back_off_is_queued() {
    isolated(|| {
        let retry = RetryPolicy::attempts(2).backoff(LONG, 1.0, LONG);
        let pool = Pool::builder().workers(1).retry(retry).build().unwrap();
        let job = submit!(pool => jobs::die, Death::Exit(3));
        wait_until("it has crashed", || pool.stats().run.count() == 1);
        assert_eq!(counts(&pool), [1, 0, 0, 0, 0]);
        let stats = pool.stats();
        agree(&stats);
        // A crash that may yet be made good is not counted.
        assert_eq!((stats.crashed, stats.workers[0].jobs_done), (0, 1));
        assert!(pool.snapshot().oldest_queued.is_some());
        assert!(pool.snapshot().running.is_empty());
        job.cancel();
        assert!(job.wait().unwrap_err().is_cancelled());
        assert_eq!(counts(&pool), [0, 0, 0, 0, 1]);
        assert!(pool.snapshot().oldest_queued.is_none());
    });
}

#[pool::test]
fn a_job_that_is_handed_ahead_is_queued() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        // The pool learns that these are quick, and so may be handed over many at a time.
        let quick: Vec<_> = (0..300).map(|_| submit!(pool => quick_or_held, None)).collect();
        quick.into_iter().for_each(|job| job.wait().unwrap());
        let gate = scratch("gate");
        let held = submit!(pool => quick_or_held, Some(gate.clone()));
        let behind: Vec<_> = (0..20).map(|_| submit!(pool => quick_or_held, None)).collect();
        wait_until("the first runs", || pool.stats().running == 1);
        for _ in 0..200 {
            let stats = pool.stats();
            agree(&stats);
            assert_eq!((stats.queued, stats.running, stats.succeeded), (20, 1, 300), "{stats:?}");
            assert_eq!(stats.wait.count(), 301);
            assert!(pool.snapshot().oldest_queued.is_some());
        }
        jobs::open(&gate);
        held.wait().unwrap();
        behind.into_iter().for_each(|job| job.wait().unwrap());
        let stats = pool.stats();
        assert_eq!((stats.queued, stats.succeeded, stats.wait.count()), (0, 321, 321));
    });
}

#[pool::test]
fn attempts_are_counted_where_they_ended_and_waits_once_a_job() {
    isolated(|| {
        let retry = RetryPolicy::attempts(3);
        let pool = Pool::builder().workers(1).retry(retry).build().unwrap();
        assert_eq!(submit!(pool => jobs::die_before, 3, Death::Abort).wait().unwrap(), 3);
        let stats = pool.stats();
        agree(&stats);
        assert_eq!((stats.succeeded, stats.failed, stats.crashed), (1, 0, 0));
        assert_eq!((stats.workers[0].jobs_done, stats.run.count()), (3, 3));
        assert_eq!(stats.wait.count(), 1);
        assert_eq!(stats.restarts, 2);
    });
}

#[pool::test]
fn restarts_are_processes_in_the_place_of_others() {
    isolated(|| {
        let pool = Pool::new(2).unwrap();
        pool::block_on(pool.ready()).unwrap();
        assert_eq!(pool.stats().restarts, 0);
        // Died idle.
        let first = pool.stats().workers[1].pid.unwrap();
        jobs::send(first, Signal::KILL);
        wait_until("it is replaced", || pool.stats().restarts == 1);
        wait_until("by another", || pool.stats().workers[1].pid.is_some_and(|pid| pid != first));
        // Killed for its job.
        let file = scratch("started");
        let job = submit!(pool => jobs::spin, &file);
        wait_until("it runs", || !pids(&file).is_empty());
        job.kill();
        assert!(job.wait().is_err());
        wait_until("it is replaced", || pool.stats().restarts == 2);
        drop(pool);
        // Recycled.
        let pool = Pool::builder().workers(1).max_jobs_per_worker(1).build().unwrap();
        for n in 0..3 {
            submit!(pool => jobs::echo, n).wait().unwrap();
        }
        wait_until("the last is replaced, too", || pool.stats().restarts == 3);
        drop(pool);
        // Gone home, and back on demand.
        let pool =
            Pool::builder().workers(1).idle_timeout(Duration::from_millis(1)).build().unwrap();
        submit!(pool => jobs::echo, 1).wait().unwrap();
        wait_until("it has gone", || pool.stats().workers[0].state == WorkerState::Gone);
        let restarts = pool.stats().restarts;
        let worker = pool.stats().workers[0].clone();
        assert_eq!((worker.pid, worker.job, worker.rss, worker.jobs_done), (None, None, None, 1));
        submit!(pool => jobs::echo, 1).wait().unwrap();
        assert_eq!(pool.stats().restarts, restarts + 1);
        agree(&pool.stats());
    });
}

#[pool::test]
fn a_worker_that_does_not_greet_is_starting() {
    isolated(|| {
        let build = Pool::builder().workers(1).executable("/bin/sleep").args(["1000"]);
        let pool = build.build().unwrap();
        assert_eq!(pool.stats().workers[0].state, WorkerState::Starting);
        wait_until("there is a process", || pool.stats().workers[0].pid.is_some());
        let job = submit!(pool => jobs::echo, 1);
        let stats = pool.stats();
        agree(&stats);
        assert_eq!(stats.workers[0].state, WorkerState::Starting);
        assert!(stats.workers[0].rss.is_some());
        assert_eq!(counts(&pool), [1, 0, 0, 0, 0]);
        pool::block_on(pool.shutdown());
        assert!(job.wait().unwrap_err().is_pool_closed());
        let worker = pool.stats().workers[0].clone();
        assert_eq!((worker.state, worker.pid, worker.rss), (WorkerState::Gone, None, None));
    });
}

#[pool::test]
fn a_worker_that_was_told_to_exit_is_stopping_and_then_gone() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        pool::block_on(pool.ready()).unwrap();
        let worker = pool.stats().workers[0].clone();
        assert_eq!(worker.state, WorkerState::Idle);
        let pid = worker.pid.unwrap();
        jobs::send(pid, Signal::STOP);
        wait_until("it is stopped", || proc::state(pid) == Some('T'));
        let close = pool.close();
        let worker = pool.stats().workers[0].clone();
        assert_eq!((worker.state, worker.pid), (WorkerState::Stopping, Some(pid)));
        pool::block_on(close);
        let worker = pool.stats().workers[0].clone();
        assert_eq!((worker.state, worker.pid), (WorkerState::Gone, None));
        agree(&pool.stats());
    });
}

#[pool::test]
fn the_memory_of_a_worker_is_what_its_job_has() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        pool::block_on(pool.ready()).unwrap();
        let before = pool.stats().workers[0].rss.unwrap();
        assert!(before > 100 << 10, "{before}");
        let (started, gate) = (scratch("started"), scratch("gate"));
        let job = submit!(pool => have, 64 << 20, &started, &gate);
        wait_until("it has it", || !pids(&started).is_empty());
        let with = pool.stats().workers[0].rss.unwrap();
        assert!(with > before + (60 << 20), "{before} {with}");
        assert!(pool.snapshot().running[0].rss.unwrap() > before + (60 << 20));
        jobs::open(&gate);
        job.wait().unwrap();
        wait_until("it has given it back", || {
            pool.stats().workers[0].rss.is_some_and(|rss| rss < with - (32 << 20))
        });
    });
}

#[pool::test]
fn waits_and_runs_are_as_long_as_they_were() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let (started, gate) = (scratch("started"), scratch("gate"));
        let held = submit!(pool => jobs::hold, &started, &gate);
        wait_until("it runs", || !pids(&started).is_empty());
        let second = submit!(pool => jobs::echo, 1);
        let waited = Duration::from_millis(150);
        let age = || pool.snapshot().oldest_queued.unwrap();
        wait_until("the second has waited", || age() >= waited);
        assert!(pool.snapshot().running[0].age >= waited);
        jobs::open(&gate);
        held.wait().unwrap();
        second.wait().unwrap();
        let Stats { wait, run, .. } = pool.stats();
        assert_eq!((wait.count(), run.count()), (2, 2));
        assert!(wait.max() >= waited && run.max() >= waited, "{wait:?} {run:?}");
        assert!(wait.quantile(1.0) <= Duration::from_secs(60), "{wait:?}");
        assert!(run.quantile(0.0) < run.quantile(1.0), "{run:?}");
    });
}

/// The shortest share looks at the clock: see the worker's.
#[pool::test]
fn long_runs_among_the_shortest_are_as_many_and_as_long_as_they_were() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let long = |n| if n % 200 == 150 { Duration::from_millis(20) } else { Duration::ZERO };
        let calls = (0..2000).map(|n| call!(doze, long(n)));
        let handles: Vec<_> = calls.map(|call| pool.submit(call)).collect();
        handles.into_iter().for_each(|handle| handle.wait().unwrap());
        let run = pool.stats().run;
        assert_eq!(run.count(), 2000);
        assert!(run.quantile(0.9955) >= Duration::from_millis(19), "{run:?}");
        assert!(run.mean() * 2000 >= Duration::from_millis(190), "{run:?}");
        assert!(run.quantile(0.5) < Duration::from_millis(1), "{run:?}");
    });
}

#[pool::test]
fn utilization_is_the_part_of_their_time_that_workers_had_a_job() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        pool::block_on(pool.ready()).unwrap();
        assert_eq!(pool.stats().utilization, 0.0);
        let (started, gate) = (scratch("started"), scratch("gate"));
        let held = submit!(pool => jobs::hold, &started, &gate);
        wait_until("most of its time is busy", || pool.stats().utilization > 0.8);
        jobs::open(&gate);
        held.wait().unwrap();
        wait_until("less of its time is busy", || pool.stats().utilization < 0.7);
        pool::block_on(pool.shutdown());
        // There are no workers any more, hence no time of theirs.
        let end = pool.stats().utilization;
        assert!(end > 0.0);
        thread::sleep(Duration::from_millis(20));
        assert_eq!(pool.stats().utilization, end);
    });
}

#[pool::test]
fn what_cannot_be_counted_is_empty() {
    isolated(|| {
        // In a worker there is no global pool.
        let pool = Pool::new(1).unwrap();
        assert!(submit!(pool => global_numbers).wait().unwrap());
    });
}

#[pool::test]
fn numbers_may_be_asked_for_from_anywhere() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let file = scratch("started");
        // On the pool's own thread, while a job of it runs.
        let (tell, told) = std::sync::mpsc::channel();
        let asked = pool.clone();
        let signal = async move {
            loop {
                let running = asked.snapshot().running;
                if let Some(job) = running.first().filter(|job| job.pid.is_some()) {
                    break tell.send((asked.stats(), job.id)).unwrap();
                }
                tokio::task::yield_now().await;
            }
        };
        let job = submit!(pool => jobs::spin, &file).cancel_on(signal);
        let (stats, id) = told.recv().unwrap();
        agree(&stats);
        assert_eq!(id, job.id());
        assert!(job.wait().unwrap_err().is_cancelled());
    });
}
