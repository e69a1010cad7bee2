//! Limits in memory: jobs beyond them are ended, and told apart from crashes.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use pool::{JobContext, JobError, JobErrorKind, Pool, RetryPolicy, WorkerExit};
use pool::{call, pool_job, submit};
use pool_tests::jobs::{self, Death};
use pool_tests::{isolated, pids, proc, scratch};

const MIB: u64 = 1 << 20;
/// More than any worker has without a job's doing.
const LIMIT: u64 = 96 * MIB;
/// Longer than any test.
const LONG: Duration = Duration::from_secs(600);

/// Fills memory up to this size, and gives its worker's number; with `keep` the memory is left
/// behind.
fn eat(bytes: u64, keep: bool) -> u32 {
    let mut eaten: Vec<Vec<u8>> = Vec::new();
    while (eaten.len() as u64) * MIB < bytes {
        eaten.push(vec![1; MIB as usize]);
        // Slow enough for a busy machine to look in between.
        thread::sleep(Duration::from_micros(200));
    }
    if keep {
        std::mem::forget(eaten);
    }
    std::process::id()
}

#[pool_job]
fn fill(bytes: u64) -> u32 {
    eat(bytes, false)
}

#[pool_job]
fn leave(bytes: u64) -> u32 {
    eat(bytes, true)
}

#[pool_job]
fn fill_for_ever(started: &Path) {
    jobs::append(started, &std::process::id().to_string());
    eat(u64::MAX, true);
}

/// What it needs is less at each attempt; gives the number of the one that was small enough.
#[pool_job]
fn fill_at(ctx: &JobContext, bytes: u64) -> u32 {
    eat(bytes, false);
    ctx.attempt()
}

/// It has a grace period, and would do with it what must not be done.
#[pool_job]
fn fill_and_answer(ctx: &JobContext) -> bool {
    let mut eaten: Vec<Vec<u8>> = Vec::new();
    while !ctx.is_cancelled() {
        eaten.push(vec![1; MIB as usize]);
        thread::sleep(Duration::from_micros(200));
    }
    true
}

#[pool_job]
fn score() -> i32 {
    own_score()
}

fn own_score() -> i32 {
    std::fs::read_to_string("/proc/self/oom_score_adj").unwrap().trim().parse().unwrap()
}

#[track_caller]
fn assert_beyond(error: &JobError, limit: u64, attempts: u32) {
    assert_eq!(*error.kind(), JobErrorKind::MemoryLimit { limit }, "{error}");
    assert!(!error.is_crash() && !error.is_timeout() && !error.is_cancelled(), "{error}");
    assert_eq!(error.attempts(), attempts, "{error}");
    assert!(error.to_string().contains(&limit.to_string()), "{error}");
}

#[pool::test]
fn a_job_beyond_the_memory_limit_is_ended_and_costs_nobody_else() {
    isolated(|| {
        let pool = Pool::builder().workers(2).memory_limit(LIMIT).build().unwrap();
        let (started, gate) = (scratch("started"), scratch("gate"));
        let neighbour = submit!(pool => jobs::hold, &scratch("neighbour"), &gate);
        let error = submit!(pool => fill_for_ever, &started).wait().unwrap_err();
        assert_beyond(&error, LIMIT, 1);
        assert!(!proc::is_alive(pids(&started)[0]));
        jobs::open(&gate);
        neighbour.wait().unwrap();
        assert_eq!(submit!(pool => jobs::echo, 7).wait().unwrap(), 7);
    });
}

#[pool::test]
fn a_job_within_its_memory_limit_is_left_alone() {
    isolated(|| {
        let pool = Pool::builder().workers(1).memory_limit(4 * LIMIT).build().unwrap();
        let first = submit!(pool => fill, LIMIT).wait().unwrap();
        assert_eq!(submit!(pool => fill, LIMIT).wait().unwrap(), first);
    });
}

#[pool::test]
fn the_limit_of_a_call_is_put_in_place_of_the_pools() {
    isolated(|| {
        let pool = Pool::builder().workers(1).memory_limit(LIMIT).build().unwrap();
        pool.submit(call!(fill, 2 * LIMIT).memory_limit(8 * LIMIT)).wait().unwrap();
        let unlimited = Pool::new(1).unwrap();
        let error = unlimited.submit(call!(fill_for_ever, &scratch("s")).memory_limit(LIMIT));
        assert_beyond(&error.wait().unwrap_err(), LIMIT, 1);
        submit!(unlimited => fill, 2 * LIMIT).wait().unwrap();
    });
}

#[pool::test]
fn a_retry_may_raise_the_limit_and_the_error_tells_the_one_in_force() {
    isolated(|| {
        let pool = Pool::builder().workers(1).memory_limit(LIMIT).build().unwrap();
        let policy = RetryPolicy::attempts(3).memory_factor(2.0);
        let done = pool.submit(call!(fill_at, 3 * LIMIT).retry(policy)).wait();
        assert_eq!(done.unwrap(), 3);
        let error = pool.submit(call!(fill_for_ever, &scratch("s")).retry(policy)).wait();
        assert_beyond(&error.unwrap_err(), 4 * LIMIT, 3);
    });
}

#[pool::test]
fn it_is_retried_as_a_crash_is() {
    isolated(|| {
        let pool = Pool::builder().workers(1).memory_limit(LIMIT).build().unwrap();
        let never = RetryPolicy::attempts(3).on_crash(false);
        let started = scratch("started");
        let error = pool.submit(call!(fill_for_ever, &started).retry(never)).wait();
        assert_beyond(&error.unwrap_err(), LIMIT, 1);
        assert_eq!(pids(&started).len(), 1);
        let again = RetryPolicy::attempts(2).on_timeout(false);
        let started = scratch("again");
        let error = pool.submit(call!(fill_for_ever, &started).retry(again)).wait();
        assert_beyond(&error.unwrap_err(), LIMIT, 2);
        assert_eq!(pids(&started).len(), 2);
    });
}

#[pool::test]
fn no_grace_is_given_to_a_job_that_fills_the_memory() {
    isolated(|| {
        let pool = Pool::builder().workers(1).grace_period(LONG).memory_limit(LIMIT);
        let pool = pool.build().unwrap();
        let error = submit!(pool => fill_and_answer).wait().unwrap_err();
        assert_beyond(&error, LIMIT, 1);
    });
}

#[pool::test]
fn a_job_that_dies_by_itself_has_crashed_whatever_its_limit() {
    isolated(|| {
        let pool = Pool::builder().workers(1).memory_limit(LIMIT).build().unwrap();
        let error = submit!(pool => jobs::die, Death::Signal(9)).wait().unwrap_err();
        assert_eq!(*error.kind(), JobErrorKind::Crashed(WorkerExit::Signal(9)), "{error}");
    });
}

#[pool::test]
fn what_jobs_leave_behind_is_not_held_against_the_next_for_long() {
    isolated(|| {
        let pool = Pool::builder().workers(1).memory_limit(LIMIT).build().unwrap();
        let begin = Instant::now();
        let (mut workers, mut beyond) = (Vec::new(), 0);
        // Each leaves a bit, until the worker is replaced.
        while workers.len() < 3 {
            assert!(begin.elapsed() < Duration::from_secs(60), "{workers:?}");
            match submit!(pool => leave, LIMIT / 8).wait() {
                Ok(pid) if workers.last() != Some(&pid) => workers.push(pid),
                Ok(_) => {}
                Err(error) => {
                    assert_beyond(&error, LIMIT, 1);
                    beyond += 1;
                }
            }
        }
        // At most the one that went beyond it.
        assert!(beyond < workers.len(), "{beyond} jobs were ended, {workers:?}");
    });
}

#[cfg(target_os = "linux")]
#[pool::test]
fn a_worker_offers_itself_to_the_kernel_before_its_host() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let worker = submit!(pool => score).wait().unwrap();
        assert!(worker > own_score() || worker == 1000, "{worker}");
    });
}
