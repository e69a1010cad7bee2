//! What a job can know of itself: its context, sentence by sentence. What is said of requests to
//! stop is in `jobs_cancel`, of time limits in `jobs_limits`, of progress in `jobs_progress`.

use std::path::Path;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use pool::{JobContext, JobId, Pool, RetryPolicy};
use pool::{call, pool_job, submit};
use pool_tests::jobs::{self, Death};
use pool_tests::{isolated, pids, scratch, wait_until};
use serde::{Deserialize, Serialize};

/// Longer than any test.
const LONG: Duration = Duration::from_secs(600);

/// A job that ended, as the next one finds it.
static KEPT: Mutex<Option<JobContext>> = Mutex::new(None);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Facts {
    id: String,
    name: String,
    attempt: u32,
    worker: usize,
    pid: u32,
}

impl Facts {
    fn of(ctx: &JobContext) -> Facts {
        Facts {
            id: ctx.job_id().to_string(),
            name: ctx.job_name().to_owned(),
            attempt: ctx.attempt(),
            worker: ctx.worker(),
            pid: std::process::id(),
        }
    }
}

#[pool_job]
fn facts(ctx: &JobContext) -> Facts {
    Facts::of(ctx)
}

#[pool_job]
async fn facts_async(ctx: &JobContext) -> Facts {
    tokio::task::yield_now().await;
    Facts::of(ctx)
}

#[pool_job]
fn facts_deeper() -> Facts {
    fn deeper() -> Facts {
        Facts::of(&JobContext::current().unwrap())
    }
    deeper()
}

#[pool_job]
async fn facts_deeper_async() -> Facts {
    tokio::task::yield_now().await;
    Facts::of(&JobContext::current().unwrap())
}

/// Says who it is and goes on until the gate opens.
#[pool_job]
fn facts_held(ctx: &JobContext, started: &Path, gate: &Path) -> Facts {
    jobs::hold(started, gate);
    Facts::of(ctx)
}

#[pool_job]
fn in_own_thread() -> bool {
    thread::spawn(|| JobContext::current().is_none()).join().unwrap()
}

#[pool_job]
fn keep(ctx: &JobContext) -> bool {
    *KEPT.lock().unwrap() = Some(ctx.clone());
    ctx.is_cancelled()
}

#[pool_job]
fn look_at_kept(ctx: &JobContext) -> (bool, bool, bool) {
    let kept = KEPT.lock().unwrap().clone().unwrap();
    // It is ready at once, under any executor.
    pool::block_on(kept.cancelled());
    (kept.is_cancelled(), ctx.is_cancelled(), kept.job_id() != ctx.job_id())
}

/// Waits in a thread that outlives the job, and notes when that is over.
#[pool_job]
fn wait_beyond_its_end(ctx: &JobContext, notes: &Path) {
    let (ctx, notes) = (ctx.clone(), notes.to_owned());
    thread::spawn(move || {
        pool::block_on(ctx.cancelled());
        jobs::append(&notes, "woken");
    });
}

#[pool_job]
fn left(ctx: &JobContext) -> Option<Duration> {
    ctx.remaining()
}

/// Waits to be asked, in as many ways as there are executors, on as many threads.
#[pool_job]
async fn wait_everywhere(ctx: &JobContext, started: &Path) -> usize {
    let mut threads = Vec::new();
    let clone = ctx.clone();
    threads.push(thread::spawn(move || pool::block_on(clone.cancelled())));
    let clone = ctx.clone();
    threads.push(thread::spawn(move || futures_lite::future::block_on(clone.cancelled())));
    let clone = ctx.clone();
    threads.push(thread::spawn(move || {
        let executor = async_executor::Executor::new();
        let task = executor.spawn(async move { clone.cancelled().await });
        futures_lite::future::block_on(executor.run(task));
    }));
    let clone = ctx.clone();
    threads.push(thread::spawn(move || {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async move {
            // A wait that is given up loses nothing.
            let soon = Duration::from_millis(5);
            let _ = tokio::time::timeout(soon, clone.cancelled()).await;
            tokio::spawn(async move { clone.cancelled().await }).await.unwrap();
        });
    }));
    jobs::append(started, "0");
    ctx.cancelled().await;
    threads.into_iter().map(|thread| thread.join().unwrap()).count()
}

#[pool::test]
fn a_context_knows_the_job_as_its_handle_does() {
    fn check(facts: &Facts, id: JobId, name: &str) {
        assert_eq!((facts.id.clone(), facts.name.as_str()), (id.to_string(), name));
        assert_eq!((facts.attempt, facts.worker), (1, 0));
    }
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let given = submit!(pool => facts);
        let (id, name) = (given.id(), given.name().to_owned());
        check(&given.wait().unwrap(), id, &name);
        assert_eq!(name, "jobs_context::facts");
        let given = submit!(pool => facts_async);
        let (id, name) = (given.id(), given.name().to_owned());
        check(&given.wait().unwrap(), id, &name);
    });
}

#[pool::test]
fn it_is_there_deeper_in_the_call_stack_and_not_outside_of_a_job() {
    isolated(|| {
        assert!(JobContext::current().is_none());
        let pool = Pool::new(1).unwrap();
        let job = submit!(pool => facts_deeper);
        let id = job.id().to_string();
        assert_eq!(job.wait().unwrap().id, id);
        let job = submit!(pool => facts_deeper_async);
        let id = job.id().to_string();
        assert_eq!(job.wait().unwrap().id, id);
        assert!(submit!(pool => in_own_thread).wait().unwrap());
    });
}

#[pool::test]
fn attempts_are_counted_from_one() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let retry = RetryPolicy::attempts(3);
        let job = pool.submit(call!(jobs::die_before, 3, Death::Abort).retry(retry));
        assert_eq!(job.wait().unwrap(), 3);
        assert_eq!(submit!(pool => facts).wait().unwrap().attempt, 1);
    });
}

#[pool::test]
fn slots_are_numbered_from_zero_and_stable_over_restarts() {
    isolated(|| {
        let pool = Pool::builder().workers(3).build().unwrap();
        pool::block_on(pool.ready()).unwrap();
        let mut before: Vec<Option<u32>> = vec![None; 3];
        for round in 0..3 {
            let (started, gate) =
                (scratch(&format!("started-{round}")), scratch(&format!("gate-{round}")));
            let held: Vec<_> =
                (0..3).map(|_| submit!(pool => facts_held, &started, &gate)).collect();
            wait_until("all three run", || pids(&started).len() == 3);
            jobs::open(&gate);
            let mut now = vec![None; 3];
            for job in held {
                let facts = job.wait().unwrap();
                assert_eq!(now[facts.worker].replace(facts.pid), None, "two in one slot");
            }
            // Only the one that died has another process.
            let changed = before.iter().zip(&now).filter(|(before, now)| before != now).count();
            assert_eq!(changed, if round == 0 { 3 } else { 1 }, "{before:?} {now:?}");
            before = now;
            assert!(submit!(pool => jobs::die, Death::Abort).wait().unwrap_err().is_crash());
            pool::block_on(pool.ready()).unwrap();
        }
        // Recycled after every job.
        let pool = Pool::builder().workers(1).max_jobs_per_worker(1).build().unwrap();
        let facts: Vec<_> = (0..3).map(|_| submit!(pool => facts).wait().unwrap()).collect();
        assert!(facts.iter().all(|facts| facts.worker == 0));
        assert!(facts[0].pid != facts[1].pid && facts[1].pid != facts[2].pid);
    });
}

#[pool::test]
fn kept_past_its_job_it_is_cancelled() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        assert!(!submit!(pool => keep).wait().unwrap());
        assert_eq!(submit!(pool => look_at_kept).wait().unwrap(), (true, false, true));
        let notes = scratch("notes");
        submit!(pool => wait_beyond_its_end, &notes).wait().unwrap();
        wait_until("who waited beyond the end is woken", || notes.exists());
    });
}

#[pool::test]
fn a_request_to_stop_is_seen_under_any_executor_and_on_any_thread() {
    isolated(|| {
        let pool = Pool::builder().workers(1).grace_period(LONG).build().unwrap();
        let started = scratch("started");
        let job = submit!(pool => wait_everywhere, &started);
        wait_until("it runs", || !pids(&started).is_empty());
        job.cancel();
        assert_eq!(job.wait().unwrap(), 4);
    });
}

#[pool::test]
fn what_remains_is_to_the_timeout_or_the_deadline_whichever_is_first() {
    fn minutes(n: u64) -> Duration {
        Duration::from_secs(60 * n)
    }
    /// A busy machine takes its time.
    fn is_nearly(left: Option<Duration>, limit: Duration) -> bool {
        left.is_some_and(|left| left <= limit && left > limit - minutes(1))
    }
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        assert_eq!(submit!(pool => left).wait().unwrap(), None);
        let call = || call!(left);
        let run = |call| pool.submit(call).wait().unwrap();
        assert!(is_nearly(run(call().timeout(minutes(5))), minutes(5)));
        assert!(is_nearly(run(call().deadline(minutes(5))), minutes(5)));
        assert!(is_nearly(run(call().timeout(minutes(5)).deadline(minutes(9))), minutes(5)));
        assert!(is_nearly(run(call().timeout(minutes(9)).deadline(minutes(5))), minutes(5)));
        // Not a part of it.
        assert_eq!(run(call().stall_timeout(minutes(5))), None);
        assert!(is_nearly(run(call().timeout(minutes(9)).stall_timeout(minutes(5))), minutes(9)));
        assert_eq!(run(call().timeout(minutes(5)).no_timeout()), None);
    });
}

#[pool::test]
fn a_context_may_go_to_any_thread() {
    fn is_shared<T: Clone + Send + Sync + 'static>() {}
    is_shared::<JobContext>();
}

#[pool::test]
fn a_detached_one_is_for_calling_the_function() {
    let facts = facts(&JobContext::detached());
    assert_eq!((facts.attempt, facts.worker, facts.name.as_str()), (1, 0, ""));
    assert_eq!(left(&JobContext::detached()), None);
}

/// What its fork says of the context: nobody asks it to stop, and nobody hears of its progress.
#[expect(unsafe_code, reason = "a fork")]
#[pool_job]
fn ask_in_a_fork(ctx: &JobContext) -> Option<i32> {
    // SAFETY: the child looks at atomics and leaves by `_exit`; it takes no lock and allocates
    // nothing.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let is_cancelled = ctx.is_cancelled();
        ctx.progress(1, 2);
        ctx.message("from a fork");
        // SAFETY: no memory is touched.
        unsafe { libc::_exit(if is_cancelled { 1 } else { 7 }) };
    }
    let child = rustix::process::Pid::from_raw(child)?;
    let waited = rustix::process::waitpid(Some(child), rustix::process::WaitOptions::empty());
    waited.ok().flatten()?.1.exit_status()
}

#[pool::test]
fn in_a_fork_of_a_job_its_context_says_nothing_and_does_no_harm() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let handle = submit!(pool => ask_in_a_fork);
        assert_eq!(handle.wait().unwrap(), Some(7));
    });
}
