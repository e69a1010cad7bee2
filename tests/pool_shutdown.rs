//! The end of a pool: shutdown, close and drop, from anywhere and at any time.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use pool::{JobContext, JobErrorKind, JobHandle, Pool, RetryPolicy, call, pool_job, submit};
use pool_tests::jobs::{self, Death};
use pool_tests::room::holds_within;
use pool_tests::{Isolation, isolated, lines, pids, proc, scratch, wait_for_room, wait_until};

/// Longer than any test.
const LONG: Duration = Duration::from_secs(600);
/// What the handles of a pool that is shut down may take to resolve.
const AT_ONCE: Duration = Duration::from_millis(500);

#[pool_job]
fn nap() {
    thread::sleep(Duration::from_millis(1));
}

#[pool_job]
fn panic_before(ctx: &JobContext, calm_at: u32) -> u32 {
    assert!(ctx.attempt() >= calm_at, "attempt {}", ctx.attempt());
    ctx.attempt()
}

#[pool_job]
fn fail() -> Result<(), String> {
    Err("no".to_owned())
}

/// Two that never end, and their workers.
fn two_that_spin(pool: &Pool) -> ([JobHandle<()>; 2], Vec<u32>) {
    let started = scratch("spinning");
    let jobs = [(); 2].map(|()| submit!(*pool => jobs::spin, &started));
    wait_until("both run", || pids(&started).len() == 2);
    (jobs, pids(&started))
}

#[track_caller]
fn assert_closed<T: std::fmt::Debug>(job: JobHandle<T>) {
    let error = job.wait().unwrap_err();
    assert_eq!(*error.kind(), JobErrorKind::PoolClosed, "{error}");
    assert!(error.is_pool_closed() && !error.is_crash() && !error.is_cancelled(), "{error}");
}

#[pool::test]
fn a_shutdown_in_the_middle_of_ten_thousand_jobs_resolves_every_handle_at_once() {
    Isolation::new().alone().run(|| {
        let pool = Pool::new(4).unwrap();
        let (spinning, _) = two_that_spin(&pool);
        let jobs: Vec<_> = (0..10_000).map(|_| submit!(pool => nap)).collect();
        wait_until("some have ended", || jobs[100].is_finished());
        let begin = Instant::now();
        pool.shutdown();
        let mut done = 0;
        let mut closed = 0;
        for job in jobs {
            match job.wait() {
                Ok(()) => done += 1,
                Err(error) => {
                    assert!(error.is_pool_closed(), "{error}");
                    closed += 1;
                }
            }
        }
        spinning.into_iter().for_each(assert_closed);
        let took = begin.elapsed();
        assert!(took <= AT_ONCE, "{took:?}");
        assert!(done >= 100 && closed > 0, "{done} done, {closed} closed");
    });
}

#[pool::test]
fn after_an_awaited_shutdown_no_worker_is_left() {
    isolated(|| {
        let pool = Pool::builder().workers(2).grace_period(LONG).build().unwrap();
        let (jobs, workers) = two_that_spin(&pool);
        let queued = submit!(pool => jobs::echo, 1);
        let begin = Instant::now();
        pool::block_on(pool.shutdown());
        // Reaped as well: no zombie.
        assert!(proc::children(std::process::id()).is_empty());
        assert!(workers.iter().all(|&worker| proc::state(worker).is_none()));
        assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
        jobs.into_iter().for_each(assert_closed);
        let error = queued.wait().unwrap_err();
        assert!(error.is_pool_closed() && error.attempts() == 0, "{error}");
    });
}

#[pool::test]
fn twice_is_once() {
    isolated(|| {
        let pool = Pool::new(2).unwrap();
        let (jobs, _) = two_that_spin(&pool);
        let (first, second) = (pool.shutdown(), pool.shutdown());
        pool::block_on(second);
        pool::block_on(first);
        pool::block_on(pool.shutdown_async());
        let report = pool::block_on(pool.close());
        assert_eq!((report.succeeded, report.failed, report.cancelled), (0, 0, 0));
        jobs.into_iter().for_each(assert_closed);
    });
}

#[pool::test]
fn many_threads_may_shut_down_at_once() {
    isolated(|| {
        let pool = Pool::new(2).unwrap();
        let (jobs, _) = two_that_spin(&pool);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| pool::block_on(pool.shutdown_async()));
            }
        });
        assert!(proc::children(std::process::id()).is_empty());
        jobs.into_iter().for_each(assert_closed);
    });
}

#[pool::test]
fn a_shutdown_while_workers_start_leaves_none() {
    isolated(|| {
        for _ in 0..20 {
            let pool = Pool::new(3).unwrap();
            let job = submit!(pool => jobs::echo, 1);
            pool::block_on(pool.shutdown());
            assert!(proc::children(std::process::id()).is_empty());
            // Perhaps it was quick enough.
            assert!(job.wait().map_or_else(|error| error.is_pool_closed(), |n| n == 1));
        }
    });
}

/// Ends the pool from wherever it is woken.
struct ShutsDown {
    pool: Mutex<Option<Pool>>,
    on: Mutex<Option<String>>,
}

impl Wake for ShutsDown {
    fn wake(self: Arc<Self>) {
        let name = thread::current().name().map(str::to_owned);
        *self.on.lock().unwrap() = Some(name.unwrap_or_default());
        // Dropped here as well, which may be the last one.
        if let Some(pool) = self.pool.lock().unwrap().take() {
            pool.shutdown();
        }
    }
}

#[pool::test]
fn a_waker_on_the_drivers_thread_may_shut_down() {
    isolated(|| {
        let pool = Pool::new(3).unwrap();
        let (jobs, _) = two_that_spin(&pool);
        let (started, gate) = (scratch("started"), scratch("gate"));
        let mut last = submit!(pool => jobs::hold, &started, &gate);
        let waker = Arc::new(ShutsDown { pool: Mutex::new(Some(pool)), on: Mutex::new(None) });
        let as_waker = Waker::from(waker.clone());
        let mut cx = Context::from_waker(&as_waker);
        assert!(Future::poll(std::pin::Pin::new(&mut last), &mut cx).is_pending());
        jobs::open(&gate);
        wait_until("the waker was woken", || waker.on.lock().unwrap().is_some());
        assert_eq!(waker.on.lock().unwrap().as_deref(), Some("pool-driver"));
        jobs.into_iter().for_each(assert_closed);
        last.wait().unwrap();
        wait_until("all are reaped", || proc::children(std::process::id()).is_empty());
    });
}

#[pool::test]
fn a_shutdown_inside_of_block_on_is_possible() {
    isolated(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let pool = Pool::new(2).unwrap();
            let (jobs, _) = two_that_spin(&pool);
            pool.shutdown().await;
            for job in jobs {
                assert!(job.await.unwrap_err().is_pool_closed());
            }
            // A drop inside of a runtime does not panic.
            drop(pool);
        });
        let pool = Pool::new(2).unwrap();
        pool::block_on(async {
            let (jobs, _) = two_that_spin_again(&pool);
            pool.shutdown().await;
            for job in jobs {
                assert!(job.await.unwrap_err().is_pool_closed());
            }
        });
    });
}

fn two_that_spin_again(pool: &Pool) -> ([JobHandle<()>; 2], Vec<u32>) {
    std::fs::remove_file(scratch("spinning")).unwrap();
    two_that_spin(pool)
}

#[pool::test]
fn a_shutdown_inside_of_a_task_is_possible() {
    isolated(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = { runtime }.worker_threads(2).enable_all().build().unwrap();
        let pool = Pool::new(2).unwrap();
        let (jobs, _) = two_that_spin(&pool);
        let of_task = pool.clone();
        runtime.block_on(async move {
            tokio::spawn(async move { of_task.shutdown().await }).await.unwrap();
        });
        assert!(proc::children(std::process::id()).is_empty());
        jobs.into_iter().for_each(assert_closed);
    });
}

#[pool::test]
fn the_drop_of_a_task_may_shut_down() {
    struct EndsItsPool(Pool, Arc<AtomicBool>);
    impl Drop for EndsItsPool {
        fn drop(&mut self) {
            self.0.shutdown();
            self.1.store(true, Ordering::SeqCst);
        }
    }
    isolated(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = { runtime }.worker_threads(1).enable_all().build().unwrap();
        let pool = Pool::new(2).unwrap();
        let (jobs, _) = two_that_spin(&pool);
        let dropped = Arc::new(AtomicBool::new(false));
        let ends = EndsItsPool(pool, dropped.clone());
        let task = runtime.spawn(async move {
            let _ends = ends;
            std::future::pending::<()>().await;
        });
        task.abort();
        wait_until("the task was dropped", || dropped.load(Ordering::SeqCst));
        jobs.into_iter().for_each(assert_closed);
        drop(runtime);
    });
}

#[pool::test]
fn dropping_the_last_pool_kills_and_reaps() {
    isolated(|| {
        let pool = Pool::builder().workers(2).grace_period(LONG).build().unwrap();
        let (jobs, workers) = two_that_spin(&pool);
        let other = pool.clone();
        drop(pool);
        assert!(workers.iter().all(|&worker| proc::is_alive(worker)));
        let canceller = jobs[0].canceller();
        let begin = Instant::now();
        drop(other);
        assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
        assert!(proc::children(std::process::id()).is_empty());
        jobs.into_iter().for_each(assert_closed);
        canceller.cancel();
    });
}

#[pool::test]
fn a_pool_that_was_never_used_is_dropped_without_a_trace() {
    isolated(|| {
        for _ in 0..5 {
            drop(Pool::new(2).unwrap());
            assert!(proc::children(std::process::id()).is_empty());
        }
        let pool = Pool::new(2).unwrap();
        pool::block_on(pool.ready()).unwrap();
        drop(pool);
        assert!(proc::children(std::process::id()).is_empty());
    });
}

#[pool::test]
fn a_shutdown_reaches_jobs_in_their_back_off_and_in_their_grace() {
    Isolation::new().alone().run(|| {
        let policy = RetryPolicy::attempts(2).backoff(LONG, 1.0, LONG);
        let pool = Pool::builder().workers(2).retry(policy).grace_period(LONG).build().unwrap();
        let file = scratch("spinning");
        let asked = submit!(pool => jobs::spin, &file);
        wait_until("it runs", || !pids(&file).is_empty());
        asked.cancel();
        let crashed = submit!(pool => jobs::die, Death::Abort);
        wait_until("it waits for its second attempt", || {
            submit!(pool => jobs::echo, 1).wait().is_ok()
                && crashed.status() == pool::JobStatus::Queued
        });
        let begin = Instant::now();
        pool.shutdown();
        assert_closed(crashed);
        let error = asked.wait().unwrap_err();
        assert!(error.is_pool_closed() || error.is_cancelled(), "{error}");
        assert!(begin.elapsed() <= AT_ONCE, "{:?}", begin.elapsed());
    });
}

#[pool::test]
fn close_finishes_what_was_accepted_and_counts_it() {
    isolated(|| {
        let policy = RetryPolicy::attempts(3).on_panic(true);
        let pool = Pool::builder().workers(2).retry(policy).build().unwrap();
        // Not counted: it ended before.
        submit!(pool => jobs::echo, 1).wait().unwrap();
        let (started, gate) = (scratch("started"), scratch("gate"));
        let held = [(); 2].map(|()| submit!(pool => jobs::hold, &started, &gate));
        wait_until("both workers are busy", || pids(&started).len() == 2);
        let good: Vec<_> = (0..100).map(|n| submit!(pool => jobs::echo, n)).collect();
        let own_errors: Vec<_> = (0..10).map(|_| submit!(pool => fail)).collect();
        let retried: Vec<_> = (0..5).map(|_| submit!(pool => panic_before, 3)).collect();
        let crashed: Vec<_> = (0..3).map(|_| submit!(pool => jobs::die, Death::Abort)).collect();
        let cancelled = submit!(pool => jobs::echo, 1);
        let close = pool.close();
        // Still within reach.
        cancelled.cancel();
        let refused = submit!(pool => jobs::echo, 1);
        assert_closed(refused);
        jobs::open(&gate);
        let report = pool::block_on(close);
        held.into_iter().for_each(|job| assert!(job.wait().is_ok()));
        good.into_iter().enumerate().for_each(|(n, job)| assert_eq!(job.wait().unwrap(), n as u64));
        own_errors.into_iter().for_each(|job| assert!(job.wait().unwrap().is_err()));
        retried.into_iter().for_each(|job| assert_eq!(job.wait().unwrap(), 3));
        for job in crashed {
            let error = job.wait().unwrap_err();
            assert!(error.is_crash() && error.attempts() == 3, "{error}");
        }
        assert!(cancelled.wait().unwrap_err().is_cancelled());
        assert_eq!(report.succeeded, 2 + 100 + 10 + 5);
        assert_eq!((report.failed, report.cancelled), (3, 1));
        assert!(report.elapsed > Duration::ZERO);
        assert!(proc::children(std::process::id()).is_empty());
    });
}

#[pool::test]
fn close_acts_though_its_future_is_dropped() {
    isolated(|| {
        let pool = Pool::new(2).unwrap();
        let file = scratch("notes");
        for n in 0..20 {
            drop(submit!(pool => jobs::note, &file, &n.to_string()));
        }
        drop(pool.close());
        wait_until("all jobs have run", || lines(&file).len() == 20);
        wait_until("the workers are gone", || proc::children(std::process::id()).is_empty());
        assert_closed(submit!(pool => jobs::echo, 1));
        assert!(pool::block_on(pool.ready()).is_err());
    });
}

#[pool::test]
fn a_closed_pool_can_be_shut_down() {
    isolated(|| {
        let pool = Pool::new(2).unwrap();
        let (jobs, _) = two_that_spin(&pool);
        let close = pool.close();
        pool.shutdown();
        let report = pool::block_on(close);
        jobs.into_iter().for_each(assert_closed);
        assert_eq!((report.succeeded, report.failed, report.cancelled), (0, 0, 2));
    });
}

#[pool::test]
fn a_closed_pool_takes_no_job_and_gives_the_call_back() {
    isolated(|| {
        let closed = Pool::new(1).unwrap();
        pool::block_on(closed.close());
        let shut_down = Pool::new(1).unwrap();
        pool::block_on(shut_down.shutdown());
        let open = Pool::new(1).unwrap();
        for ended in [closed, shut_down] {
            let error = submit!(ended => jobs::echo, 1).wait().unwrap_err();
            assert!(error.is_pool_closed() && error.attempts() == 0, "{error}");
            let rejected = ended.try_submit(call!(jobs::echo, 7)).unwrap_err();
            assert_eq!(*rejected.kind(), JobErrorKind::PoolClosed);
            assert_eq!(open.submit(rejected.into_call()).wait().unwrap(), 7);
            assert!(pool::block_on(ended.reserve()).is_err());
            assert!(pool::block_on(ended.ready()).is_err());
        }
    });
}

#[pool::test]
fn a_permit_of_a_pool_that_was_closed_meanwhile_is_refused() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let permit = pool::block_on(pool.reserve()).unwrap();
        pool::block_on(pool.shutdown());
        assert_closed(permit.submit(call!(jobs::echo, 1)));
    });
}

#[pool::test]
fn whoever_waits_for_room_hears_of_the_end() {
    isolated(|| {
        let pool = Pool::builder().workers(1).queue_capacity(1).build().unwrap();
        let (started, gate) = (scratch("started"), scratch("gate"));
        let held = submit!(pool => jobs::hold, &started, &gate);
        wait_until("it runs", || !pids(&started).is_empty());
        wait_for_room(&pool, 1);
        let queued = submit!(pool => jobs::echo, 1);
        let other = pool.clone();
        let waits = thread::spawn(move || pool::block_on(other.reserve()).is_err());
        pool.shutdown();
        assert!(waits.join().unwrap());
        assert_closed(held);
        assert_closed(queued);
    });
}

#[pool::test]
fn what_a_job_has_started_dies_with_its_pool() {
    Isolation::new().orphans().run(|| {
        let ends: [fn(Pool); 2] = [|pool| drop(pool.shutdown()), drop];
        for (n, end) in ends.into_iter().enumerate() {
            let pool = Pool::new(1).unwrap();
            let started = scratch(&n.to_string());
            let job = submit!(pool => jobs::parent, &started, None);
            wait_until("it runs", || !pids(&started).is_empty());
            let child = pids(&started)[0];
            end(pool);
            assert_closed(job);
            assert!(holds_within(Duration::from_secs(1), || !proc::is_alive(child)));
        }
    });
}

#[pool::test]
fn what_a_job_leaves_running_dies_with_its_worker() {
    Isolation::new().orphans().run(|| {
        let pool = Pool::new(1).unwrap();
        let started = scratch("started");
        submit!(pool => leave_a_child, &started).wait().unwrap();
        let child = pids(&started)[0];
        assert!(proc::is_alive(child));
        pool::block_on(pool.close());
        assert!(holds_within(Duration::from_secs(1), || !proc::is_alive(child)));
    });
}

#[pool_job]
#[expect(clippy::zombie_processes, reason = "this is what the job is about")]
fn leave_a_child(started: &Path) {
    let child = std::process::Command::new("sleep").arg("10000").spawn().unwrap();
    jobs::append(started, &child.id().to_string());
}

#[pool::test]
fn a_pool_in_a_job_ends_with_the_job() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        assert_eq!(submit!(pool => with_a_pool_of_its_own, 20).wait().unwrap(), 190);
    });
}

#[pool_job]
fn with_a_pool_of_its_own(n: u64) -> u64 {
    let pool = Pool::new(2).unwrap();
    let jobs: Vec<_> = (0..n).map(|n| submit!(pool => jobs::echo, n)).collect();
    jobs.into_iter().map(|job| job.wait().unwrap()).sum()
}

#[pool::test]
fn a_pool_in_a_killed_job_dies_with_it() {
    Isolation::new().orphans().run(|| {
        let pool = Pool::new(1).unwrap();
        let started = scratch("started");
        let job = submit!(pool => spin_in_a_pool_of_its_own, &started);
        wait_until("the inner job runs", || !pids(&started).is_empty());
        let inner = pids(&started)[0];
        job.kill();
        assert!(job.wait().unwrap_err().is_cancelled());
        assert!(holds_within(Duration::from_secs(2), || !proc::is_alive(inner)));
    });
}

#[pool_job]
fn spin_in_a_pool_of_its_own(started: &Path) {
    let pool = Pool::new(1).unwrap();
    submit!(pool => jobs::spin, started).wait().unwrap();
}
