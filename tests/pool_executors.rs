//! Handles under every kind of executor, and wakers that do as they please.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Wake, Waker};
use std::thread;
use std::time::Duration;

use pool::{JobHandle, Pool, call, pool_job, submit};
use pool_tests::jobs;
use pool_tests::{isolated, lines, scratch, wait_until};

/// A job that needs the time of its worker's runtime, and a future that cannot change threads.
#[pool_job]
async fn later(number: u64) -> u64 {
    let number = std::rc::Rc::new(number);
    tokio::time::sleep(Duration::from_millis(1)).await;
    tokio::task::yield_now().await;
    *number
}

async fn hundred(pool: Pool) -> u64 {
    let jobs: Vec<_> = (0..100).map(|n| submit!(pool => jobs::echo, n)).collect();
    let mut sum = 0;
    for job in jobs {
        sum += job.await.unwrap();
    }
    sum + submit!(pool => later, 50).await.unwrap()
}

fn multi_thread() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().unwrap()
}

fn current_thread() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[pool::test]
fn handles_can_be_awaited_in_a_runtime_of_many_threads() {
    isolated(|| {
        let pool = Pool::new(2).unwrap();
        multi_thread().block_on(async {
            let tasks: Vec<_> = (0..4).map(|_| tokio::spawn(hundred(pool.clone()))).collect();
            for task in tasks {
                assert_eq!(task.await.unwrap(), 5000);
            }
        });
    });
}

#[pool::test]
fn handles_can_be_awaited_in_a_runtime_of_one_thread() {
    isolated(|| {
        let runtime = current_thread();
        let pool = runtime.block_on(async { Pool::new(2).unwrap() });
        assert_eq!(runtime.block_on(hundred(pool.clone())), 5000);
        let local = tokio::task::LocalSet::new();
        let of_task = pool.clone();
        let task = local
            .run_until(async move { tokio::task::spawn_local(hundred(of_task)).await.unwrap() });
        assert_eq!(runtime.block_on(task), 5000);
    });
}

#[pool::test]
fn handles_can_be_awaited_in_a_runtime_without_time_and_io() {
    isolated(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let pool = Pool::new(2).unwrap();
        assert_eq!(runtime.block_on(hundred(pool.clone())), 5000);
        let queue = pool::JobQueue::new();
        let report = runtime.block_on(async {
            let _job = queue.push(pool::call!(jobs::echo, 1)).await;
            pool.work(&queue).linger(Duration::from_millis(10)).await
        });
        assert_eq!(report.succeeded, 1);
    });
}

#[pool::test]
fn handles_can_be_awaited_in_an_executor_that_is_not_tokio() {
    isolated(|| {
        let pool = Pool::new(2).unwrap();
        let executor = async_executor::Executor::new();
        let tasks: Vec<_> = (0..4).map(|_| executor.spawn(hundred(pool.clone()))).collect();
        let sums = futures_lite::future::block_on(executor.run(async {
            let mut sums = Vec::new();
            for task in tasks {
                sums.push(task.await);
            }
            sums
        }));
        assert_eq!(sums, [5000; 4]);
    });
}

#[pool::test]
fn handles_can_be_waited_for_in_a_program_without_an_executor() {
    isolated(|| {
        let pool = Pool::new(2).unwrap();
        assert_eq!(submit!(pool => jobs::echo, 7).wait().unwrap(), 7);
        assert_eq!(submit!(pool => later, 8).wait().unwrap(), 8);
        assert_eq!(pool::block_on(hundred(pool.clone())), 5000);
        let sums = thread::scope(|scope| {
            let threads = [(); 4].map(|()| scope.spawn(|| pool::block_on(hundred(pool.clone()))));
            threads.map(|thread| thread.join().unwrap())
        });
        assert_eq!(sums, [5000; 4]);
    });
}

#[pool::test]
fn handles_can_be_sent_shared_and_polled_in_turn() {
    fn is_send_sync_unpin<T: Send + Sync + Unpin>(_: &T) {}
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let (started, gate) = (scratch("started"), scratch("gate"));
        let mut job = submit!(pool => jobs::hold, &started, &gate);
        is_send_sync_unpin(&job);
        let mut noop = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut job).poll(&mut noop).is_pending());
        // Given up here, taken up there: the last waker counts.
        let waits = thread::spawn(move || job.wait().unwrap());
        jobs::open(&gate);
        waits.join().unwrap();
    });
}

#[pool::test]
fn a_pool_outlives_the_runtime_that_it_was_made_in() {
    isolated(|| {
        let runtime = multi_thread();
        let (pool, job) = runtime.block_on(async {
            let pool = Pool::new(1).unwrap();
            let job = submit!(pool => later, 3);
            (pool, job)
        });
        drop(runtime);
        assert_eq!(job.wait().unwrap(), 3);
        assert_eq!(current_thread().block_on(submit!(pool => jobs::echo, 4)).unwrap(), 4);
        assert_eq!(pool::block_on(hundred(pool.clone())), 5000);
        let other = multi_thread();
        let never_polled = other.spawn(std::future::pending::<()>());
        other.shutdown_background();
        drop(never_polled);
        assert_eq!(submit!(pool => jobs::echo, 5).wait().unwrap(), 5);
    });
}

#[pool::test]
fn a_runtime_that_is_blocked_does_not_hold_up_the_pool() {
    isolated(|| {
        let runtime = current_thread();
        runtime.block_on(async {
            let pool = Pool::new(1).unwrap();
            // Its one thread waits here, and nothing of the runtime is polled meanwhile.
            assert_eq!(submit!(pool => jobs::echo, 6).wait().unwrap(), 6);
            pool::block_on(pool.ready()).unwrap();
        });
    });
}

#[pool::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_async_test_has_a_runtime_of_its_own() {
    // On the global pool, which is still there for the tests beside this one.
    let sum = tokio::spawn(async { submit!(later, 1).await.unwrap() + 1 });
    assert_eq!(sum.await.unwrap(), 2);
}

/// Woken, it submits the next job and polls it with itself, on whatever thread that is.
struct Chain {
    pool: Pool,
    left: AtomicU64,
    jobs: std::sync::Mutex<Vec<JobHandle<u64>>>,
}

impl Wake for Chain {
    fn wake(self: Arc<Self>) {
        if self.left.load(Ordering::SeqCst) == 0 {
            return;
        }
        self.left.fetch_sub(1, Ordering::SeqCst);
        let mut job = submit!(self.pool => jobs::echo, 1);
        let waker = Waker::from(self.clone());
        let polled = Pin::new(&mut job).poll(&mut Context::from_waker(&waker));
        self.jobs.lock().unwrap().push(job);
        if polled.is_ready() {
            waker.wake();
        }
    }
}

#[pool::test]
fn a_waker_may_submit_and_poll_the_next_job() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let chain =
            Arc::new(Chain { pool, left: AtomicU64::new(1000), jobs: std::sync::Mutex::default() });
        chain.clone().wake();
        wait_until("the chain has come to its end", || chain.left.load(Ordering::SeqCst) == 0);
        let jobs = std::mem::take(&mut *chain.jobs.lock().unwrap());
        wait_until("all have ended", || jobs.iter().all(JobHandle::is_finished));
        drop(jobs);
        wait_until("nobody else holds the pool", || Arc::strong_count(&chain) == 1);
    });
}

#[pool::test]
fn a_waker_that_panics_harms_only_itself() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("a waker panics, as planned");
        }
    }
    isolated(|| {
        let pool = Pool::new(2).unwrap();
        for n in 0..5 {
            let (started, gate) = (scratch(&format!("started-{n}")), scratch(&format!("gate-{n}")));
            let mut job = submit!(pool => jobs::hold, &started, &gate);
            let waker = Waker::from(Arc::new(Panics));
            assert!(Pin::new(&mut job).poll(&mut Context::from_waker(&waker)).is_pending());
            jobs::open(&gate);
            wait_until("it has ended", || job.is_finished());
            job.wait().unwrap();
            assert_eq!(submit!(pool => jobs::echo, n).wait().unwrap(), n);
        }
        // Of a short job whoever polls is told to ask again, in the poll itself.
        for n in 0..100 {
            let mut job = submit!(pool => jobs::echo, n);
            let waker = Waker::from(Arc::new(Panics));
            if let Poll::Ready(result) = Pin::new(&mut job).poll(&mut Context::from_waker(&waker)) {
                assert_eq!(result.unwrap(), n);
            } else {
                assert_eq!(job.wait().unwrap(), n);
            }
        }
        pool::block_on(pool.shutdown());
    });
}

/// What the wakers below submit to.
static POOL: RwLock<Option<Pool>> = RwLock::new(None);
static SUBMITTED: AtomicU64 = AtomicU64::new(0);
static WOKEN: AtomicU64 = AtomicU64::new(0);

/// Submits a job, unless the pool is gone.
fn meddle() {
    let pool = POOL.read().unwrap().clone();
    if let Some(pool) = pool {
        drop(submit!(pool => jobs::echo, SUBMITTED.fetch_add(1, Ordering::SeqCst)));
    }
}

static MEDDLER: RawWakerVTable = RawWakerVTable::new(
    |_| {
        meddle();
        RawWaker::new(std::ptr::null(), &MEDDLER)
    },
    |_| {
        meddle();
        WOKEN.fetch_add(1, Ordering::SeqCst);
    },
    |_| {
        meddle();
        WOKEN.fetch_add(1, Ordering::SeqCst);
    },
    |_| meddle(),
);

#[expect(unsafe_code, reason = "a waker whose clone and drop do something")]
fn meddler() -> Waker {
    // SAFETY: the functions of the table use no data, and may be called on any thread.
    unsafe { Waker::from_raw(RawWaker::new(std::ptr::null(), &MEDDLER)) }
}

#[pool::test]
fn a_waker_whose_clone_wake_and_drop_submit_does_no_harm() {
    isolated(|| {
        let pool = Pool::new(2).unwrap();
        *POOL.write().unwrap() = Some(pool.clone());
        let mut jobs: Vec<_> = (0..200).map(|n| submit!(pool => jobs::echo, n)).collect();
        let waker = meddler();
        let mut cx = Context::from_waker(&waker);
        let mut done = 0;
        wait_until("all have ended", || {
            jobs.retain_mut(|job| match Pin::new(job).poll(&mut cx) {
                Poll::Ready(output) => {
                    output.unwrap();
                    done += 1;
                    false
                }
                Poll::Pending => true,
            });
            jobs.is_empty()
        });
        assert_eq!(done, 200);
        assert!(SUBMITTED.load(Ordering::SeqCst) > 200);

        // Everything else that keeps a waker.
        let mut ready = std::pin::pin!(pool.ready());
        let _ = ready.as_mut().poll(&mut cx);
        let queue = pool::JobQueue::new();
        let mut work = std::pin::pin!(pool.work(&queue).linger(Duration::from_secs(600)));
        assert!(work.as_mut().poll(&mut cx).is_pending());
        assert!(work.as_mut().poll(&mut cx).is_pending());
        let (started, gate) = (scratch("started"), scratch("gate"));
        let mut held = submit!(pool => jobs::hold, &started, &gate);
        for _ in 0..10 {
            assert!(Pin::new(&mut held).poll(&mut cx).is_pending());
        }
        let mut shutdown = pool.shutdown();
        let _ = Pin::new(&mut shutdown).poll(&mut cx);
        assert!(held.wait().unwrap_err().is_pool_closed());
        pool::block_on(shutdown);
        pool::block_on(work);
        drop(POOL.write().unwrap().take());
        assert!(WOKEN.load(Ordering::SeqCst) > 0);
    });
}

#[pool::test]
fn a_wait_inside_of_a_future_loses_no_wake_up() {
    isolated(|| {
        let pool = Pool::new(2).unwrap();
        for round in 0..50 {
            let (gate, started) = (scratch(&format!("gate{round}")), scratch("started"));
            let held = submit!(pool => jobs::hold, &started, &gate);
            let mut quick = submit!(pool => jobs::echo, round);
            let mut held = Some(held);
            pool::block_on(std::future::poll_fn(|cx| {
                if let Poll::Ready(echo) = Pin::new(&mut quick).poll(cx) {
                    assert_eq!(echo.unwrap(), round);
                    return Poll::Ready(());
                }
                // While this waits, the other one ends and wakes the outer loop's thread.
                if let Some(held) = held.take() {
                    std::fs::write(&gate, "").unwrap();
                    held.wait().unwrap();
                }
                Poll::Pending
            }));
        }
    });
}

/// Where no worker can run while they are submitted, jobs in a row are left for the driver or for
/// whoever waits.
#[cfg(target_os = "linux")]
#[pool::test]
fn on_one_processor_jobs_in_a_row_run_whoever_waits_for_them_or_nobody() {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    isolated(|| {
        let all = sched_getaffinity(None).unwrap();
        let mut one = CpuSet::new();
        one.set((0..CpuSet::MAX_CPU).find(|cpu| all.is_set(*cpu)).unwrap());
        sched_setaffinity(None, &one).unwrap();
        let pool = Pool::new(2).unwrap();
        let file = scratch("file");
        for _ in 0..100 {
            drop(submit!(pool => jobs::note, &file, "here"));
        }
        wait_until("all have run, and nobody has waited", || lines(&file).len() == 100);
        for n in 0..50 {
            let jobs: Vec<_> = (0..=n).map(|n| submit!(pool => jobs::echo, n)).collect();
            let sum = || jobs.into_iter().map(|job| job.wait().unwrap()).sum::<u64>();
            let sum = if n % 2 == 0 { sum() } else { thread::spawn(sum).join().unwrap() };
            assert_eq!(sum, n * (n + 1) / 2);
            let calls = || (0..=n).map(|n| call!(jobs::echo, n));
            for in_flight in [1, 7, 100] {
                let ordered = pool.map(calls()).max_in_flight(in_flight).blocking();
                assert_eq!(ordered.map(Result::unwrap).sum::<u64>(), sum);
                let unordered = pool.map(calls()).unordered().max_in_flight(in_flight).blocking();
                assert_eq!(unordered.map(Result::unwrap).sum::<u64>(), sum);
            }
        }
    });
}
