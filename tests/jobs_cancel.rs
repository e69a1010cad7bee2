//! Giving a job up: cancel and kill, by handle, canceller, drop and signal. None of them is a
//! crash, and none of them harms another job.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pool::{JobContext, JobError, JobErrorKind, JobHandle, JobStatus, Pool, RetryPolicy};
use pool::{call, pool_job, submit};
use pool_tests::jobs::{self, Death};
use pool_tests::room::holds_within;
use pool_tests::{Isolation, isolated, lines, pids, proc, scratch, wait_until};

/// Longer than any test.
const LONG: Duration = Duration::from_secs(600);

/// Goes on until it is asked to stop, and says how often it looked.
#[pool_job]
fn until_asked(ctx: &JobContext, started: &Path) -> String {
    jobs::append(started, &std::process::id().to_string());
    while !ctx.is_cancelled() {
        thread::sleep(Duration::from_millis(1));
    }
    "asked".to_owned()
}

#[pool_job]
async fn until_asked_async(ctx: &JobContext, started: &Path) -> String {
    jobs::append(started, &std::process::id().to_string());
    ctx.cancelled().await;
    assert!(ctx.is_cancelled());
    "asked".to_owned()
}

/// Asks for its context deeper in the call stack, and in a thread.
#[pool_job]
fn until_asked_deeper(started: &Path) -> String {
    let context = JobContext::current().unwrap();
    jobs::append(started, &std::process::id().to_string());
    let in_thread = thread::spawn(move || pool::block_on(context.cancelled()));
    in_thread.join().unwrap();
    assert!(JobContext::current().unwrap().is_cancelled());
    "asked".to_owned()
}

#[pool_job]
fn until_asked_then(ctx: &JobContext, started: &Path, how: Death) {
    until_asked(ctx, started);
    jobs::die(how);
}

/// Notes its attempt and goes on for ever.
#[pool_job]
fn spin_in_attempts(ctx: &JobContext, file: &Path) {
    jobs::append(file, &ctx.attempt().to_string());
    loop {
        thread::sleep(Duration::from_millis(1));
    }
}

/// Takes the processor without ever sleeping.
#[pool_job]
fn burn(started: &Path) {
    jobs::append(started, &std::process::id().to_string());
    loop {
        std::hint::spin_loop();
    }
}

/// A worker that is busy until the gate opens.
struct Busy {
    gate: std::path::PathBuf,
    handle: JobHandle<u32>,
}

impl Busy {
    fn new(pool: &Pool) -> Busy {
        let (started, gate) = (scratch("busy-started"), scratch("busy-gate"));
        let handle = submit!(*pool => jobs::hold, &started, &gate);
        wait_until("a worker is busy", || !pids(&started).is_empty());
        Busy { gate, handle }
    }

    fn let_go(self) {
        jobs::open(&self.gate);
        self.handle.wait().unwrap();
    }
}

fn runs(started: &Path) -> u32 {
    wait_until("the job runs", || !pids(started).is_empty());
    pids(started)[0]
}

#[track_caller]
fn assert_cancelled(error: &JobError, attempts: u32) {
    assert_eq!(*error.kind(), JobErrorKind::Cancelled, "{error}");
    assert!(error.is_cancelled() && !error.is_crash() && !error.is_timeout(), "{error}");
    assert!(!error.is_panic() && !error.is_pool_closed(), "{error}");
    assert_eq!(error.attempts(), attempts, "{error}");
}

#[pool::test]
fn a_job_that_is_cancelled_while_queued_never_runs() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let busy = Busy::new(&pool);
        let file = scratch("notes");
        let jobs =
            ["first", "second", "third"].map(|line| submit!(pool => jobs::note, &file, line));
        let [first, second, third] = jobs;
        assert_eq!(second.status(), JobStatus::Queued);
        second.cancel();
        // At once, while the worker is still busy.
        assert_cancelled(&second.wait().unwrap_err(), 0);
        busy.let_go();
        first.wait().unwrap();
        third.wait().unwrap();
        assert_eq!(lines(&file), ["first", "third"]);
    });
}

#[pool::test]
fn a_job_that_is_killed_while_queued_never_runs() {
    isolated(|| {
        let pool = Pool::builder().workers(1).grace_period(LONG).build().unwrap();
        let busy = Busy::new(&pool);
        let file = scratch("notes");
        let job = submit!(pool => jobs::note, &file, "ran");
        job.kill();
        assert_cancelled(&job.wait().unwrap_err(), 0);
        busy.let_go();
        assert_eq!(submit!(pool => jobs::echo, 1).wait().unwrap(), 1);
        assert!(!file.exists());
    });
}

#[pool::test]
fn a_running_job_sees_that_it_is_cancelled_and_may_answer_within_its_grace() {
    isolated(|| {
        let pool = Pool::builder().workers(1).grace_period(LONG).build().unwrap();
        let worker = submit!(pool => jobs::pid).wait().unwrap();
        let started = scratch("flag");
        let job = submit!(pool => until_asked, &started);
        runs(&started);
        assert_eq!(job.status(), JobStatus::Running);
        job.cancel();
        assert_eq!(job.wait().unwrap(), "asked");

        let started = scratch("await");
        let job = submit!(pool => until_asked_async, &started);
        runs(&started);
        job.cancel();
        assert_eq!(job.wait().unwrap(), "asked");

        let started = scratch("deeper");
        let job = submit!(pool => until_asked_deeper, &started);
        runs(&started);
        job.cancel();
        assert_eq!(job.wait().unwrap(), "asked");
        assert_eq!(submit!(pool => jobs::pid).wait().unwrap(), worker);
    });
}

#[pool::test]
fn without_grace_a_cancelled_job_is_killed_at_once() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let started = scratch("started");
        let job = submit!(pool => burn, &started);
        let worker = runs(&started);
        let asked = Instant::now();
        job.cancel();
        assert_cancelled(&job.wait().unwrap_err(), 1);
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
        assert!(!proc::is_alive(worker));
        assert_ne!(submit!(pool => jobs::pid).wait().unwrap(), worker);
    });
}

#[pool::test]
fn a_job_that_does_not_answer_within_its_grace_is_killed_after_it() {
    isolated(|| {
        let grace = Duration::from_millis(300);
        let pool = Pool::builder().workers(1).grace_period(grace).build().unwrap();
        let started = scratch("started");
        let job = submit!(pool => jobs::spin, &started);
        let worker = runs(&started);
        let asked = Instant::now();
        job.cancel();
        assert_cancelled(&job.wait().unwrap_err(), 1);
        assert!(asked.elapsed() >= grace, "{:?}", asked.elapsed());
        assert!(!proc::is_alive(worker));
    });
}

#[pool::test]
fn the_grace_of_a_call_is_put_before_that_of_the_pool() {
    isolated(|| {
        let pool = Pool::builder().workers(1).grace_period(LONG).build().unwrap();
        let started = scratch("started");
        let job = pool.submit(call!(jobs::spin, &started).grace_period(Duration::ZERO));
        runs(&started);
        job.cancel();
        assert_cancelled(&job.wait().unwrap_err(), 1);
    });
}

#[pool::test]
fn kill_knows_no_grace() {
    isolated(|| {
        let pool = Pool::builder().workers(1).grace_period(LONG).build().unwrap();
        let started = scratch("started");
        let job = submit!(pool => jobs::spin, &started);
        let worker = runs(&started);
        job.kill();
        assert_cancelled(&job.wait().unwrap_err(), 1);
        assert!(!proc::is_alive(worker));
        // Also in the middle of the grace that a cancel has begun.
        let started = scratch("asked-first");
        let job = submit!(pool => jobs::spin, &started);
        runs(&started);
        job.cancel();
        job.kill();
        assert_cancelled(&job.wait().unwrap_err(), 1);
    });
}

#[pool::test]
fn a_panic_in_the_grace_is_an_answer_and_a_death_is_none() {
    isolated(|| {
        let pool = Pool::builder().workers(1).grace_period(LONG).build().unwrap();
        let started = scratch("panic");
        let job = submit!(pool => until_asked_then, &started, Death::Panic);
        runs(&started);
        job.cancel();
        assert!(job.wait().unwrap_err().is_panic());
        for (n, how) in [Death::Abort, Death::Exit(0), Death::Segfault].into_iter().enumerate() {
            let started = scratch(&n.to_string());
            let job = submit!(pool => until_asked_then, &started, how);
            runs(&started);
            job.cancel();
            assert_cancelled(&job.wait().unwrap_err(), 1);
        }
    });
}

#[pool::test]
fn neighbours_of_a_killed_job_are_unharmed() {
    isolated(|| {
        let pool = Pool::new(2).unwrap();
        let busy = Busy::new(&pool);
        for n in 0..5 {
            let started = scratch(&n.to_string());
            let job = submit!(pool => jobs::spin, &started);
            let queued: Vec<_> = (0..20).map(|n| submit!(pool => jobs::echo, n)).collect();
            runs(&started);
            job.cancel();
            assert_cancelled(&job.wait().unwrap_err(), 1);
            for (n, job) in queued.into_iter().enumerate() {
                assert_eq!(job.wait().unwrap(), n as u64);
            }
        }
        busy.let_go();
    });
}

#[pool::test]
fn a_canceller_may_outlive_its_handle() {
    isolated(|| {
        let pool = Pool::builder().workers(1).grace_period(LONG).build().unwrap();
        let started = scratch("started");
        let job = submit!(pool => jobs::spin, &started);
        let canceller = job.canceller();
        drop(job);
        let worker = runs(&started);
        assert!(proc::is_alive(worker));
        let other = canceller.clone();
        thread::spawn(move || other.kill()).join().unwrap();
        wait_until("its worker is dead", || !proc::is_alive(worker));
        // After the end it does nothing.
        canceller.cancel();
        canceller.kill();
        let next = submit!(pool => jobs::pid).wait().unwrap();
        canceller.kill();
        assert_eq!(submit!(pool => jobs::pid).wait().unwrap(), next);
        // Nor does it keep the pool, or miss it.
        drop(pool);
        canceller.cancel();
    });
}

#[pool::test]
fn a_cancel_after_the_end_changes_nothing() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let mut job = submit!(pool => jobs::pid);
        wait_until("the job has ended", || job.is_finished());
        job.cancel();
        job.kill();
        assert_eq!(job.status(), JobStatus::Ended);
        let worker = pool::block_on(&mut job).unwrap();
        assert_eq!(submit!(pool => jobs::pid).wait().unwrap(), worker);
    });
}

#[pool::test]
fn a_dropped_handle_lets_its_job_run_to_its_end() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let busy = Busy::new(&pool);
        let file = scratch("notes");
        drop(submit!(pool => jobs::note, &file, "queued"));
        busy.let_go();
        wait_until("the queued job has run", || lines(&file) == ["queued"]);
        let (started, gate) = (scratch("started"), scratch("gate"));
        let running = submit!(pool => jobs::hold, &started, &gate);
        runs(&started);
        drop(running);
        drop(submit!(pool => jobs::note, &file, "after"));
        jobs::open(&gate);
        wait_until("both have run", || lines(&file) == ["queued", "after"]);
    });
}

#[pool::test]
fn a_handle_that_cancels_on_drop_does() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let started = scratch("started");
        let job = submit!(pool => jobs::spin, &started).cancel_on_drop();
        let worker = runs(&started);
        drop(job);
        wait_until("its worker is dead", || !proc::is_alive(worker));
        let busy = Busy::new(&pool);
        let file = scratch("notes");
        drop(submit!(pool => jobs::note, &file, "ran").cancel_on_drop());
        busy.let_go();
        assert_eq!(submit!(pool => jobs::echo, 1).wait().unwrap(), 1);
        assert!(!file.exists());
        // Awaited to its end, it has nothing left to cancel.
        let worker = submit!(pool => jobs::pid).cancel_on_drop().wait().unwrap();
        assert_eq!(submit!(pool => jobs::pid).cancel_on_drop().wait().unwrap(), worker);
    });
}

#[pool::test]
fn a_signal_cancels_wherever_the_job_is() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let started = scratch("started");
        let (tell, told) = tokio::sync::oneshot::channel::<()>();
        let signal = async { drop(told.await) };
        let job = submit!(pool => jobs::spin, &started).cancel_on(signal);
        runs(&started);
        assert!(!job.is_finished());
        drop(tell);
        assert_cancelled(&job.wait().unwrap_err(), 1);
        let busy = Busy::new(&pool);
        // It is polled where there is a timer, in a program that has no runtime.
        let timer = async { tokio::time::sleep(Duration::from_millis(20)).await };
        let file = scratch("notes");
        let job = submit!(pool => jobs::note, &file, "ran").cancel_on(timer);
        assert_cancelled(&job.wait().unwrap_err(), 0);
        busy.let_go();
        assert_eq!(submit!(pool => jobs::echo, 1).wait().unwrap(), 1);
        assert!(!file.exists());
    });
}

#[pool::test]
fn a_signal_is_dropped_when_the_job_has_ended_and_may_panic() {
    struct Told(Arc<AtomicBool>);
    impl Drop for Told {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let dropped = Arc::new(AtomicBool::new(false));
        let told = Told(dropped.clone());
        let never = async move {
            let _told = told;
            std::future::pending::<()>().await;
        };
        let (started, gate) = (scratch("started"), scratch("gate"));
        let job = submit!(pool => jobs::hold, &started, &gate).cancel_on(never);
        runs(&started);
        assert!(!dropped.load(Ordering::SeqCst));
        jobs::open(&gate);
        job.wait().unwrap();
        wait_until("the signal was dropped", || dropped.load(Ordering::SeqCst));
        let job = submit!(pool => jobs::echo, 3).cancel_on(async { panic!("in a signal") });
        assert_eq!(job.wait().unwrap(), 3);
        assert_eq!(submit!(pool => jobs::echo, 4).wait().unwrap(), 4);
    });
}

#[pool::test]
fn a_cancelled_or_killed_job_is_never_tried_again() {
    isolated(|| {
        let policy = RetryPolicy::attempts(5).on_panic(true);
        let pool = Pool::builder().workers(1).retry(policy).build().unwrap();
        let give_up: [fn(&JobHandle<()>); 2] = [JobHandle::cancel, JobHandle::kill];
        for (n, give_up) in give_up.into_iter().enumerate() {
            let file = scratch(&n.to_string());
            let job = submit!(pool => spin_in_attempts, &file);
            wait_until("it runs", || lines(&file) == ["1"]);
            give_up(&job);
            assert_cancelled(&job.wait().unwrap_err(), 1);
            assert_eq!(submit!(pool => jobs::echo, 1).wait().unwrap(), 1);
            assert_eq!(lines(&file), ["1"]);
        }
    });
}

#[pool::test]
fn a_cancel_reaches_a_job_in_its_back_off() {
    isolated(|| {
        let policy = RetryPolicy::attempts(2).backoff(LONG, 1.0, LONG);
        let pool = Pool::builder().workers(1).retry(policy).build().unwrap();
        let job = submit!(pool => jobs::die, Death::Abort);
        wait_until("it was tried", || {
            submit!(pool => jobs::echo, 1).wait().unwrap() == 1 && job.status() == JobStatus::Queued
        });
        job.cancel();
        assert_cancelled(&job.wait().unwrap_err(), 1);
    });
}

#[pool::test]
fn what_a_killed_job_has_started_dies_with_it() {
    Isolation::new().orphans().run(|| {
        let pool = Pool::new(1).unwrap();
        let started = scratch("killed");
        let job = submit!(pool => jobs::parent, &started, None);
        let child = runs(&started);
        job.kill();
        assert_cancelled(&job.wait().unwrap_err(), 1);
        assert!(holds_within(Duration::from_secs(1), || !proc::is_alive(child)));
    });
}

#[pool::test]
fn a_context_that_is_kept_is_cancelled_after_its_job() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        submit!(pool => keep_context).wait().unwrap();
        assert!(submit!(pool => kept_is_cancelled).wait().unwrap());
    });
}

static KEPT: std::sync::Mutex<Option<JobContext>> = std::sync::Mutex::new(None);

#[pool_job]
fn keep_context(ctx: &JobContext) {
    *KEPT.lock().unwrap() = Some(ctx.clone());
}

#[pool_job]
fn kept_is_cancelled(ctx: &JobContext) -> bool {
    let kept = KEPT.lock().unwrap().take().unwrap();
    pool::block_on(kept.cancelled());
    kept.is_cancelled() && !ctx.is_cancelled()
}
