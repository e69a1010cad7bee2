//! Limits in time: timeouts, deadlines, and the attempts that follow from them.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use pool::{JobContext, JobError, JobErrorKind, JobStatus, Pool, RetryPolicy};
use pool::{call, pool_job, submit};
use pool_tests::jobs::{self, Death};
use pool_tests::{Isolation, isolated, lines, pids, proc, scratch, wait_until};

/// Longer than any test.
const LONG: Duration = Duration::from_secs(600);
/// Long enough for a job that does nothing, on a busy machine.
const SHORT: Duration = Duration::from_millis(250);

#[pool_job(timeout = "250ms")]
fn spin_at_most(file: &Path) {
    jobs::spin(file);
}

#[pool_job(timeout = "10m")]
fn left_of_attribute(ctx: &JobContext) -> Option<Duration> {
    ctx.remaining()
}

#[pool_job]
fn left(ctx: &JobContext) -> Option<Duration> {
    ctx.remaining()
}

#[pool_job]
fn left_at_the_end(ctx: &JobContext) -> Option<Duration> {
    while !ctx.is_cancelled() {
        thread::sleep(Duration::from_millis(1));
    }
    ctx.remaining()
}

/// Notes its attempt; before attempt `quick_at` it takes for ever.
#[pool_job]
fn slow_before(ctx: &JobContext, file: &Path, quick_at: u32) -> u32 {
    jobs::append(file, &ctx.attempt().to_string());
    while ctx.attempt() < quick_at {
        thread::sleep(Duration::from_millis(1));
    }
    ctx.attempt()
}

/// Notes its attempt; before attempt `calm_at` it panics.
#[pool_job]
fn panic_before(ctx: &JobContext, file: &Path, calm_at: u32) -> u32 {
    jobs::append(file, &ctx.attempt().to_string());
    assert!(ctx.attempt() >= calm_at, "attempt {}", ctx.attempt());
    ctx.attempt()
}

#[pool_job]
fn fail(file: &Path) -> Result<(), String> {
    jobs::append(file, "ran");
    Err("no".to_owned())
}

#[pool_job(retries = 1)]
fn abort_once(ctx: &JobContext) -> u32 {
    jobs::die_before(ctx, 2, Death::Abort)
}

#[track_caller]
fn assert_timed_out(error: &JobError, limit: Duration, attempts: u32) {
    assert_eq!(*error.kind(), JobErrorKind::TimedOut(limit), "{error}");
    assert!(error.is_timeout() && !error.is_crash() && !error.is_cancelled(), "{error}");
    assert_eq!(error.attempts(), attempts, "{error}");
}

#[pool::test]
fn a_job_that_runs_longer_than_its_timeout_is_ended() {
    isolated(|| {
        let pool = Pool::builder().workers(1).timeout(SHORT).build().unwrap();
        let started = scratch("started");
        let begin = Instant::now();
        let error = submit!(pool => jobs::spin, &started).wait().unwrap_err();
        assert!(begin.elapsed() >= SHORT);
        assert_timed_out(&error, SHORT, 1);
        assert!(!proc::is_alive(pids(&started)[0]));
        assert!(error.to_string().contains("250ms"), "{error}");
        assert_eq!(submit!(pool => jobs::echo, 1).wait().unwrap(), 1);
    });
}

#[pool::test]
fn a_call_is_put_before_the_attribute_and_the_attribute_before_the_pool() {
    isolated(|| {
        let pool = Pool::builder().workers(1).timeout(LONG).build().unwrap();
        let started = scratch("started");
        // The attribute's, not the pool's.
        let error = submit!(pool => spin_at_most, &started).wait().unwrap_err();
        assert_timed_out(&error, Duration::from_millis(250), 1);
        let shorter = Duration::from_millis(50);
        let error = pool.submit(call!(spin_at_most, &started).timeout(shorter)).wait();
        assert_timed_out(&error.unwrap_err(), shorter, 1);
        let error = pool.submit(call!(jobs::spin, &started).timeout(shorter)).wait();
        assert_timed_out(&error.unwrap_err(), shorter, 1);

        let of_pool = submit!(pool => left).wait().unwrap().unwrap();
        assert!(of_pool > LONG - Duration::from_secs(30) && of_pool <= LONG, "{of_pool:?}");
        let longer = LONG * 2;
        let call = call!(left_of_attribute).timeout(longer);
        assert!(pool.submit(call).wait().unwrap().unwrap() > LONG);
    });
}

#[pool::test]
fn no_timeout_is_put_before_attribute_and_pool() {
    isolated(|| {
        let pool = Pool::builder().workers(1).timeout(Duration::from_millis(1)).build().unwrap();
        assert_eq!(pool.submit(call!(left_of_attribute).no_timeout()).wait().unwrap(), None);
        let (started, gate) = (scratch("started"), scratch("gate"));
        let job = pool.submit(call!(jobs::hold, &started, &gate).no_timeout());
        wait_until("it runs", || !pids(&started).is_empty());
        let begin = Instant::now();
        wait_until("the pool's timeout is long over", || begin.elapsed() > SHORT);
        assert_eq!(job.status(), JobStatus::Running);
        jobs::open(&gate);
        job.wait().unwrap();
    });
}

#[pool::test]
fn the_time_in_the_queue_is_not_part_of_the_timeout() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let (started, gate) = (scratch("started"), scratch("gate"));
        let busy = submit!(pool => jobs::hold, &started, &gate);
        let waiting = pool.submit(call!(jobs::echo, 7).timeout(SHORT));
        let begin = Instant::now();
        wait_until("its timeout is long over", || begin.elapsed() > SHORT * 2);
        jobs::open(&gate);
        busy.wait().unwrap();
        assert_eq!(waiting.wait().unwrap(), 7);
    });
}

#[pool::test]
fn a_job_is_asked_first_where_there_is_a_grace_and_its_answer_counts() {
    isolated(|| {
        let pool = Pool::builder().workers(1).timeout(SHORT).grace_period(LONG).build().unwrap();
        let worker = submit!(pool => jobs::pid).wait().unwrap();
        let left = submit!(pool => left_at_the_end).wait().unwrap();
        assert!(left.is_some_and(|left| left < SHORT), "{left:?}");
        assert_eq!(submit!(pool => jobs::pid).wait().unwrap(), worker);
        let call = call!(left_at_the_end).no_timeout().deadline(SHORT);
        assert!(pool.submit(call).wait().is_ok());
        assert_eq!(submit!(pool => jobs::pid).wait().unwrap(), worker);
    });
}

#[pool::test]
fn a_timeout_that_is_not_answered_ends_the_job_after_the_grace() {
    isolated(|| {
        let grace = Duration::from_millis(200);
        let pool = Pool::builder().workers(1).timeout(SHORT).grace_period(grace).build().unwrap();
        let started = scratch("started");
        let begin = Instant::now();
        let error = submit!(pool => jobs::spin, &started).wait().unwrap_err();
        assert_timed_out(&error, SHORT, 1);
        assert!(begin.elapsed() >= SHORT + grace, "{:?}", begin.elapsed());
    });
}

#[pool::test]
fn a_deadline_ends_a_job_in_the_queue() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let (started, gate) = (scratch("started"), scratch("gate"));
        let busy = submit!(pool => jobs::hold, &started, &gate);
        wait_until("the worker is busy", || !pids(&started).is_empty());
        let file = scratch("notes");
        let begin = Instant::now();
        let job = pool.submit(call!(jobs::note, &file, "ran").deadline(SHORT));
        assert_timed_out(&job.wait().unwrap_err(), SHORT, 0);
        assert!(begin.elapsed() >= SHORT);
        assert!(begin.elapsed() < SHORT + Duration::from_secs(2));
        jobs::open(&gate);
        busy.wait().unwrap();
        assert_eq!(submit!(pool => jobs::echo, 1).wait().unwrap(), 1);
        assert!(!file.exists());
    });
}

#[pool::test]
fn a_deadline_ends_a_job_in_its_back_off() {
    isolated(|| {
        let policy = RetryPolicy::attempts(9).backoff(LONG, 1.0, LONG).on_panic(true);
        let pool = Pool::builder().workers(1).retry(policy).build().unwrap();
        let file = scratch("attempts");
        let deadline = Duration::from_millis(600);
        let job = pool.submit(call!(panic_before, &file, 9).deadline(deadline));
        assert_timed_out(&job.wait().unwrap_err(), deadline, 1);
        assert_eq!(lines(&file), ["1"]);
    });
}

#[pool::test]
fn a_deadline_ends_a_running_job_which_is_not_tried_again() {
    isolated(|| {
        let pool = Pool::builder().workers(1).retry(RetryPolicy::attempts(5)).build().unwrap();
        let file = scratch("attempts");
        let deadline = Duration::from_millis(400);
        let begin = Instant::now();
        let job = pool.submit(call!(slow_before, &file, 99).deadline(deadline));
        assert_timed_out(&job.wait().unwrap_err(), deadline, 1);
        assert!(begin.elapsed() >= deadline);
        assert_eq!(submit!(pool => jobs::echo, 1).wait().unwrap(), 1);
        assert_eq!(lines(&file), ["1"]);
    });
}

#[pool::test]
fn a_deadline_counts_all_attempts_together() {
    isolated(|| {
        let pool = Pool::builder().workers(1).retry(RetryPolicy::attempts(1000)).build().unwrap();
        let file = scratch("attempts");
        let deadline = Duration::from_millis(700);
        let call = call!(slow_before, &file, 999).deadline(deadline);
        let error = pool.submit(call.timeout(SHORT)).wait().unwrap_err();
        assert_eq!(*error.kind(), JobErrorKind::TimedOut(deadline), "{error}");
        assert!(error.attempts() >= 2, "{error}");
    });
}

#[pool::test]
fn a_deadline_that_is_kept_ends_nothing() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let jobs: Vec<_> =
            (0..50).map(|n| pool.submit(call!(jobs::echo, n).deadline(LONG))).collect();
        for (n, job) in jobs.into_iter().enumerate() {
            assert_eq!(job.wait().unwrap(), n as u64);
        }
        let over = pool.submit(call!(jobs::echo, 1).deadline(Duration::ZERO));
        assert!(over.wait().unwrap_err().is_timeout());
    });
}

#[pool::test]
fn a_job_knows_what_is_left_of_its_time() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        assert_eq!(submit!(pool => left).wait().unwrap(), None);
        let minute = Duration::from_secs(60);
        let within = |left: Option<Duration>, limit: Duration| {
            left.is_some_and(|left| left <= limit && left > limit - Duration::from_secs(30))
        };
        let timeout = pool.submit(call!(left).timeout(minute)).wait().unwrap();
        assert!(within(timeout, minute), "{timeout:?}");
        let deadline = pool.submit(call!(left).deadline(minute)).wait().unwrap();
        assert!(within(deadline, minute), "{deadline:?}");
        let first = pool.submit(call!(left).deadline(minute).timeout(LONG)).wait().unwrap();
        assert!(within(first, minute), "{first:?}");
        let first = pool.submit(call!(left).deadline(LONG).timeout(minute)).wait().unwrap();
        assert!(within(first, minute), "{first:?}");
        assert_eq!(left(&JobContext::detached()), None);
    });
}

#[pool::test]
fn a_timeout_is_tried_again_and_a_job_knows_its_attempt() {
    isolated(|| {
        let pool = Pool::builder().workers(1).retry(RetryPolicy::attempts(3)).build().unwrap();
        let file = scratch("attempts");
        let call = call!(slow_before, &file, 3).timeout(SHORT);
        assert_eq!(pool.submit(call).wait().unwrap(), 3);
        assert_eq!(lines(&file), ["1", "2", "3"]);
        let file = scratch("in-vain");
        let call = call!(slow_before, &file, 99).timeout(Duration::from_millis(100));
        assert_timed_out(&pool.submit(call).wait().unwrap_err(), Duration::from_millis(100), 3);
        let file = scratch("not-after-timeouts");
        let call = call!(slow_before, &file, 99).timeout(Duration::from_millis(100));
        let call = call.retry(RetryPolicy::attempts(3).on_timeout(false));
        assert_timed_out(&pool.submit(call).wait().unwrap_err(), Duration::from_millis(100), 1);
    });
}

#[pool::test]
fn a_timeout_is_tried_again_after_its_grace_too() {
    isolated(|| {
        let pool = Pool::builder().workers(1).grace_period(Duration::from_millis(50));
        let pool = pool.retry(RetryPolicy::attempts(2)).timeout(SHORT).build().unwrap();
        let file = scratch("attempts");
        assert_eq!(submit!(pool => slow_before, &file, 2).wait().unwrap(), 2);
        assert_eq!(lines(&file), ["1", "2"]);
    });
}

#[pool::test]
fn a_panic_is_tried_again_only_if_asked_for() {
    isolated(|| {
        let pool = Pool::builder().workers(1).retry(RetryPolicy::attempts(3)).build().unwrap();
        let file = scratch("not-asked-for");
        let error = submit!(pool => panic_before, &file, 3).wait().unwrap_err();
        assert!(error.is_panic() && error.attempts() == 1, "{error}");
        assert_eq!(lines(&file), ["1"]);
        let file = scratch("asked-for");
        let policy = RetryPolicy::attempts(3).on_panic(true);
        let job = pool.submit(call!(panic_before, &file, 3).retry(policy));
        assert_eq!(job.wait().unwrap(), 3);
        assert_eq!(lines(&file), ["1", "2", "3"]);
        let error = pool.submit(call!(panic_before, &file, 9).retry(policy)).wait().unwrap_err();
        assert!(error.is_panic() && error.attempts() == 3, "{error}");
        assert!(error.to_string().contains("attempt 3"), "{error}");
    });
}

#[pool::test]
fn an_error_of_the_jobs_own_is_never_tried_again() {
    isolated(|| {
        let policy = RetryPolicy::attempts(3).on_panic(true);
        let pool = Pool::builder().workers(1).retry(policy).build().unwrap();
        let file = scratch("runs");
        assert_eq!(submit!(pool => fail, &file).wait().unwrap(), Err("no".to_owned()));
        assert_eq!(submit!(pool => jobs::echo, 1).wait().unwrap(), 1);
        assert_eq!(lines(&file), ["ran"]);
    });
}

#[pool::test]
fn the_attribute_says_how_often_too() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        assert_eq!(submit!(pool => abort_once).wait().unwrap(), 2);
        let call = call!(abort_once).retry(RetryPolicy::attempts(1));
        assert!(pool.submit(call).wait().unwrap_err().is_crash());
    });
}

#[pool::test]
fn a_back_off_is_waited_for() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let (first, factor, most) = (Duration::from_millis(150), 2.0, Duration::from_millis(250));
        let policy = RetryPolicy::attempts(4).backoff(first, factor, most).on_panic(true);
        let file = scratch("attempts");
        let begin = Instant::now();
        let job = pool.submit(call!(panic_before, &file, 4).retry(policy));
        // The worker is free in the meantime.
        wait_until("its first attempt is over", || lines(&file) == ["1"]);
        assert_eq!(submit!(pool => jobs::echo, 1).wait().unwrap(), 1);
        assert_eq!(job.wait().unwrap(), 4);
        let wanted = first + most + most;
        assert!(begin.elapsed() >= wanted, "{:?}", begin.elapsed());
        assert!(begin.elapsed() < wanted * 4, "{:?}", begin.elapsed());
    });
}

#[pool::test]
fn what_a_job_has_started_dies_with_its_timeout() {
    Isolation::new().orphans().run(|| {
        let pool = Pool::new(1).unwrap();
        let started = scratch("started");
        let job = pool.submit(call!(jobs::parent, &started, None).timeout(SHORT * 2));
        assert!(job.wait().unwrap_err().is_timeout());
        let child = pids(&started)[0];
        wait_until("the grandchild is dead", || !proc::is_alive(child));
    });
}

#[pool::test]
fn neighbours_of_a_job_that_is_timed_out_are_unharmed() {
    isolated(|| {
        let pool = Pool::new(2).unwrap();
        let (started, gate) = (scratch("started"), scratch("gate"));
        let neighbour = submit!(pool => jobs::hold, &started, &gate);
        wait_until("it runs", || !pids(&started).is_empty());
        let bad: Vec<_> = (0..5)
            .map(|n| {
                let call = call!(jobs::spin, &scratch(&format!("bad-{n}")));
                pool.submit(call.timeout(Duration::from_millis(50)))
            })
            .collect();
        let good: Vec<_> = (0..20).map(|n| submit!(pool => jobs::echo, n)).collect();
        bad.into_iter().for_each(|job| assert!(job.wait().unwrap_err().is_timeout()));
        good.into_iter().for_each(|job| assert!(job.wait().is_ok()));
        jobs::open(&gate);
        assert_eq!(neighbour.wait().unwrap(), pids(&started)[0]);
    });
}
