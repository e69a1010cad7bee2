//! Sentences of the contract that no other test is about; `CONTRACT.md` says which test proves
//! which sentence.

use std::cell::Cell;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pool::{Call, JobContext, JobErrorKind, JobHandle, Pool, RetryPolicy, call, pool_job, submit};
use pool_tests::{Isolation, isolated, jobs, lines, pids, proc, scratch, wait_until};

/// Longer than any test.
const LONG: Duration = Duration::from_secs(600);

thread_local! {
    static LEFT: Cell<u32> = const { Cell::new(0) };
}

#[pool_job]
async fn leave_a_task(gate: &Path, file: &Path) {
    let (gate, file) = (gate.to_owned(), file.to_owned());
    LEFT.set(LEFT.get() + 1);
    tokio::spawn(async move {
        while !gate.exists() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        jobs::append(&file, "the task has ended");
    });
}

#[pool_job]
async fn wait_for_lines(file: &Path, n: usize) {
    while lines(file).len() < n {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[pool_job]
fn left() -> u32 {
    LEFT.get()
}

#[pool::test]
fn a_task_that_outlives_its_job_goes_on_only_while_an_async_job_runs() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let (gate, file) = (scratch("gate"), scratch("file"));
        submit!(pool => leave_a_task, &gate, &file).wait().unwrap();
        jobs::open(&gate);
        // A job without async gives it no time, however long that takes.
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(100) {
            assert_eq!(submit!(pool => left).wait().unwrap(), 1, "a thread-local is still there");
        }
        assert!(lines(&file).is_empty());
        submit!(pool => wait_for_lines, &file, 1).wait().unwrap();
    });
}

static RUNNING: AtomicU32 = AtomicU32::new(0);

#[pool_job]
async fn alone() -> u32 {
    let others = RUNNING.fetch_add(1, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(2)).await;
    RUNNING.fetch_sub(1, Ordering::SeqCst);
    others
}

#[pool::test]
fn a_worker_runs_one_async_job_at_a_time() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let jobs: Vec<_> = (0..30).map(|_| submit!(pool => alone)).collect();
        jobs.into_iter().for_each(|job| assert_eq!(job.wait().unwrap(), 0));
    });
}

#[pool_job]
async fn connect(port: u16) -> bool {
    tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok()
}

#[pool::test]
fn the_runtime_of_a_worker_has_io() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(submit!(pool => connect, port).wait().unwrap());
    });
}

macro_rules! remaining {
    ($name:ident, $timeout:literal) => {
        #[pool_job(timeout = $timeout)]
        fn $name(ctx: &JobContext) -> Option<Duration> {
            ctx.remaining()
        }
    };
}
remaining!(of_milliseconds, "90000ms");
remaining!(of_seconds, "90s");
remaining!(of_minutes, "2m");
remaining!(of_hours, "2h");

#[pool_job]
fn unlimited(ctx: &JobContext) -> Option<Duration> {
    ctx.remaining()
}

#[pool::test]
fn every_unit_of_a_timeout_is_what_it_says() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let check = |job: JobHandle<Option<Duration>>, seconds: u64| {
            let (left, limit) = (job.wait().unwrap().unwrap(), Duration::from_secs(seconds));
            assert!(left <= limit && left > limit - Duration::from_secs(30), "{left:?}");
        };
        check(submit!(pool => of_milliseconds), 90);
        check(submit!(pool => of_seconds), 90);
        check(submit!(pool => of_minutes), 120);
        check(submit!(pool => of_hours), 7200);
    });
}

#[pool::test]
fn a_stall_timeout_is_no_part_of_what_remains_and_is_retried_like_a_timeout() {
    isolated(|| {
        let pool = Pool::builder().workers(1).retry(RetryPolicy::attempts(2)).build().unwrap();
        let call = call!(unlimited).stall_timeout(LONG);
        assert_eq!(pool.submit(call).wait().unwrap(), None);
        let (stall, started) = (Duration::from_millis(50), scratch("started"));
        let stalled = pool.submit(call!(jobs::spin, &started).stall_timeout(stall));
        let error = stalled.wait().unwrap_err();
        assert_eq!(*error.kind(), JobErrorKind::TimedOut(stall), "{error}");
        assert_eq!((error.attempts(), pids(&started).len()), (2, 2));
    });
}

/// Notes its end.
struct Guard(std::path::PathBuf);

impl Drop for Guard {
    fn drop(&mut self) {
        jobs::append(&self.0, "dropped");
    }
}

#[pool_job]
async fn guarded(started: &Path, file: &Path) {
    let _guard = Guard(file.to_owned());
    jobs::append(started, &std::process::id().to_string());
    std::future::pending::<()>().await;
}

#[pool::test]
fn the_future_of_an_async_job_is_not_dropped_when_it_is_cancelled() {
    isolated(|| {
        let grace = Duration::from_millis(100);
        let pool = Pool::builder().workers(1).grace_period(grace).build().unwrap();
        let (started, file) = (scratch("started"), scratch("dropped"));
        let job = submit!(pool => guarded, &started, &file);
        wait_until("it runs", || !pids(&started).is_empty());
        let begin = Instant::now();
        job.cancel();
        assert!(job.wait().unwrap_err().is_cancelled());
        assert!(begin.elapsed() >= grace);
        wait_until("it was killed", || !proc::is_alive(pids(&started)[0]));
        assert!(!file.exists());
    });
}

#[pool::test]
fn what_cannot_be_encoded_decoded_or_found_is_never_tried_again() {
    isolated(|| {
        let retry = RetryPolicy::attempts(5).on_panic(true);
        let pool = Pool::builder().workers(1).retry(retry).build().unwrap();
        let decode = pool.submit(Call::named::<()>("pool_tests::jobs::echo", ("no number",)));
        let decode = decode.wait().unwrap_err();
        assert!(matches!(decode.kind(), JobErrorKind::Decode(_)), "{decode}");
        assert_eq!(decode.attempts(), 1);
        // The output is there, and is no text.
        let output = Call::named::<String>("pool_tests::jobs::echo", (1,));
        let output = pool.submit(output).wait().unwrap_err();
        assert!(matches!(output.kind(), JobErrorKind::Decode(_)), "{output}");
        assert_eq!(output.attempts(), 1);
        let unknown = pool.submit(Call::named::<()>("nobody", ())).wait().unwrap_err();
        assert!(matches!(unknown.kind(), JobErrorKind::UnknownJob(_)), "{unknown}");
        assert_eq!((unknown.attempts(), pool.stats().run.count()), (0, 2));
    });
}

#[pool::test]
fn handles_and_cancellers_keep_no_pool_alive() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let started = scratch("started");
        let running = submit!(pool => jobs::spin, &started);
        let queued = submit!(pool => jobs::echo, 1);
        let canceller = running.canceller();
        wait_until("it runs", || !pids(&started).is_empty());
        drop(pool);
        assert!(proc::children(std::process::id()).is_empty());
        assert!(running.wait().unwrap_err().is_pool_closed());
        assert!(queued.wait().unwrap_err().is_pool_closed());
        canceller.kill();
    });
}

#[pool::test]
fn a_pool_has_a_worker_for_each_core_unless_it_is_told_otherwise() {
    Isolation::new().env("POOL_WORKERS", "5").run(|| {
        let cores = thread::available_parallelism().unwrap().get();
        // The variable is for the global pool.
        let pool = Pool::builder().build().unwrap();
        pool::block_on(pool.ready()).unwrap();
        assert_eq!(pool.stats().workers.len(), cores);
        assert_eq!(proc::children(std::process::id()).len(), cores);
    });
}
