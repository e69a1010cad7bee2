//! `in_process()`: the same pool with its jobs on threads of this process.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use pool::{
    JobContext, JobErrorKind, JobHandle, JobQueue, JobStatus, Output, Pool, PoolBuilder, PoolEvent,
    RetryPolicy, WorkerState, call, pool_job, submit,
};
use pool_tests::jobs::{self, Death, open};
use pool_tests::{Isolation, isolated, lines, scratch, wait_until};

const MOMENT: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(600);

fn threads(workers: usize) -> PoolBuilder {
    Pool::builder().workers(workers).in_process()
}

/// What a job cannot be ended by.
#[track_caller]
fn unsupported<T: std::fmt::Debug>(handle: JobHandle<T>, parts: &[&str]) {
    let error = handle.wait().unwrap_err();
    let JobErrorKind::Unsupported(_) = error.kind() else { panic!("{error}") };
    assert_eq!(error.attempts(), 1);
    let text = error.to_string();
    for part in ["in_process", "POOL_IN_PROCESS", "is_cancelled", "cannot be killed"] {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}

fn wait_for_start(started: &Path) {
    wait_until("a job has started", || started.exists() && !lines(started).is_empty());
}

#[pool_job]
fn thread_name() -> Option<String> {
    thread::current().name().map(str::to_owned)
}

#[pool_job]
async fn sleeps(ctx: &JobContext, of: &str) -> (String, usize) {
    tokio::time::sleep(Duration::from_millis(1)).await;
    (of.to_owned(), ctx.worker())
}

fn deep_down() -> Option<u32> {
    JobContext::current().map(|context| context.attempt())
}

#[pool_job]
fn asks_deep_down() -> Option<u32> {
    deep_down()
}

#[pool::test]
fn whoever_holds_stdout_may_wait_for_a_job() {
    Isolation::new().watchdog(Duration::from_secs(20)).run(|| {
        let pool = threads(1).build().unwrap();
        let stdout = std::io::stdout().lock();
        assert_eq!(submit!(pool => jobs::echo, 7).wait().unwrap(), 7);
        drop(stdout);
    });
}

#[pool::test]
fn jobs_run_on_threads_of_this_process() {
    isolated(|| {
        let pool = threads(2).build().unwrap();
        pool::block_on(pool.ready()).unwrap();
        assert_eq!(submit!(pool => jobs::pid).wait().unwrap(), std::process::id());
        let name = submit!(pool => thread_name).wait().unwrap().unwrap();
        assert!(name == "pool-worker-0" || name == "pool-worker-1", "{name}");
        let (text, slot) = submit!(pool => sleeps, "x").wait().unwrap();
        assert!(text == "x" && slot < 2);
        assert_eq!(submit!(pool => asks_deep_down).wait().unwrap(), Some(1));
        assert_eq!(deep_down(), None);
        let big: Vec<u8> = vec![7; 3 << 20];
        assert_eq!(submit!(pool => turn_round, &big).wait().unwrap().len(), big.len());
        assert!(pool_tests::proc::children(std::process::id()).is_empty());
        let named = threads(1).name("mine").build().unwrap();
        assert_eq!(submit!(named => thread_name).wait().unwrap().unwrap(), "mine-0");
    });
}

#[pool_job]
fn turn_round(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().rev().copied().collect()
}

#[pool_job]
fn panics_after(n: u32) {
    assert!(n > 1000, "this was asked for");
}

#[pool_job]
fn thread_number() -> String {
    format!("{:?}", thread::current().id())
}

#[pool::test]
fn a_panic_is_caught_and_told_with_its_place() {
    isolated(|| {
        let pool = threads(1).build().unwrap();
        let before = submit!(pool => thread_number).wait().unwrap();
        let error = submit!(pool => panics_after, 1).wait().unwrap_err();
        let JobErrorKind::Panicked(info) = error.kind() else { panic!("{error}") };
        assert_eq!(info.message(), "this was asked for");
        assert!(info.file().unwrap().ends_with("in_process.rs") && info.line().is_some());
        // The thread lives on.
        assert_eq!(submit!(pool => thread_number).wait().unwrap(), before);
        let retry = RetryPolicy::attempts(3).on_panic(true);
        let call = call!(jobs::die_before, 3, Death::Panic).retry(retry);
        assert_eq!(pool.submit(call).wait().unwrap(), 3);
    });
}

#[pool::test]
fn a_panic_hook_of_the_program_hears_of_its_other_threads_only() {
    static HEARD: Mutex<Vec<String>> = Mutex::new(Vec::new());
    isolated(|| {
        std::panic::set_hook(Box::new(|info| {
            let name = thread::current().name().unwrap_or_default().to_owned();
            HEARD.lock().unwrap().push(format!("{name}: {info}"));
        }));
        let pool = threads(1).build().unwrap();
        assert!(submit!(pool => panics_after, 1).wait().unwrap_err().is_panic());
        let other = thread::Builder::new().name("other".to_owned());
        let other = other.spawn(|| panic!("here"));
        assert!(other.unwrap().join().is_err());
        let heard = std::mem::take(&mut *HEARD.lock().unwrap());
        assert!(heard.len() == 1 && heard[0].starts_with("other: "), "{heard:?}");
    });
}

#[pool::test]
fn what_cannot_be_killed_resolves_at_once_and_keeps_its_slot() {
    isolated(|| {
        let (started, gate) = (scratch("started"), scratch("gate"));
        let pool = threads(1).build().unwrap();
        let running = submit!(pool => jobs::hold, &started, &gate);
        let next = submit!(pool => thread_number);
        wait_for_start(&started);
        running.kill();
        // The gate is shut: the job cannot have returned.
        unsupported(running, &["it was cancelled", "hold"]);
        let stats = pool.stats();
        assert_eq!(stats.workers[0].state, WorkerState::Busy);
        assert_eq!((stats.workers[0].job, stats.workers[0].jobs_done), (None, 1));
        assert_eq!((stats.running, stats.queued, stats.failed), (0, 1, 1));
        assert!(pool.snapshot().running.is_empty());
        assert_eq!(next.status(), JobStatus::Queued);
        open(&gate);
        next.wait().unwrap();
    });
}

#[pool::test]
fn a_time_limit_that_has_passed_resolves_as_unsupported_and_is_not_retried() {
    isolated(|| {
        let gate = scratch("gate");
        let retry = RetryPolicy::attempts(5).on_timeout(true);
        let pool = threads(3).retry(retry).build().unwrap();
        let hold = |n: u32| {
            let started = scratch(&format!("started-{n}"));
            call!(jobs::hold, &started, &gate)
        };
        let timeout = pool.submit(hold(1).timeout(MOMENT));
        let stall = pool.submit(hold(2).stall_timeout(2 * MOMENT));
        let deadline = pool.submit(hold(3).deadline(100 * MOMENT));
        unsupported(timeout, &["20ms", "time limit"]);
        unsupported(stall, &["40ms"]);
        unsupported(deadline, &["2s"]);
        // What waits is not run by anybody, and can be ended.
        let waits = pool.submit(call!(jobs::pid).deadline(MOMENT));
        assert!(waits.wait().unwrap_err().is_timeout());
        let waits = submit!(pool => jobs::pid);
        waits.cancel();
        assert!(waits.wait().unwrap_err().is_cancelled());
        open(&gate);
        assert_eq!(submit!(pool => jobs::pid).wait().unwrap(), std::process::id());
    });
}

#[pool_job]
fn stops_when_asked(ctx: &JobContext, started: &Path) -> u32 {
    jobs::append(started, "here");
    while !ctx.is_cancelled() {
        thread::sleep(Duration::from_millis(1));
    }
    7
}

#[pool_job]
async fn waits_to_be_asked(ctx: &JobContext, started: &Path) -> u32 {
    jobs::append(started, "here");
    ctx.cancelled().await;
    8
}

#[pool::test]
fn a_job_that_listens_ends_within_its_grace_period() {
    isolated(|| {
        let pool = threads(1).grace_period(LONG).build().unwrap();
        let started = scratch("started");
        let job = submit!(pool => stops_when_asked, &started);
        wait_for_start(&started);
        job.cancel();
        assert_eq!(job.wait().unwrap(), 7);
        let started = scratch("started-2");
        let job = submit!(pool => waits_to_be_asked, &started);
        wait_for_start(&started);
        job.cancel();
        assert_eq!(job.wait().unwrap(), 8);
        let call = call!(waits_to_be_asked, &scratch("started-3")).timeout(MOMENT);
        assert_eq!(pool.submit(call).wait().unwrap(), 8);
    });
}

#[pool_job]
fn ignores_its_grace(ctx: &JobContext, gate: &Path, seen: &Path) {
    while !gate.exists() {
        thread::sleep(Duration::from_millis(1));
    }
    jobs::append(seen, &ctx.is_cancelled().to_string());
}

#[pool::test]
fn after_a_grace_period_without_an_answer_it_is_unsupported() {
    isolated(|| {
        let (gate, seen) = (scratch("gate"), scratch("seen"));
        let pool = threads(1).build().unwrap();
        let call = call!(ignores_its_grace, &gate, &seen).timeout(MOMENT).grace_period(MOMENT);
        unsupported(pool.submit(call), &["20ms"]);
        open(&gate);
        wait_until("the job has looked", || !lines(&seen).is_empty());
        assert_eq!(lines(&seen), ["true"]);
    });
}

#[pool::test]
fn what_runs_on_is_asked_without_a_grace_period_too() {
    isolated(|| {
        let pool = threads(1).build().unwrap();
        for job in [0, 1] {
            let started = scratch(&format!("started-{job}"));
            let handle = match job {
                0 => submit!(pool => stops_when_asked, &started),
                _ => submit!(pool => waits_to_be_asked, &started),
            };
            wait_for_start(&started);
            handle.cancel();
            unsupported(handle, &[]);
            // Its slot is free again, for it has listened.
            submit!(pool => jobs::pid).wait().unwrap();
        }
    });
}

#[pool::test]
fn a_shutdown_resolves_all_and_does_not_wait_for_the_threads() {
    isolated(|| {
        let (started, gate) = (scratch("started"), scratch("gate"));
        let pool = threads(2).build().unwrap();
        let running = submit!(pool => jobs::hold, &started, &gate);
        let asked = pool.submit(call!(jobs::hold, &scratch("2"), &gate).grace_period(LONG));
        wait_for_start(&started);
        wait_for_start(&scratch("2"));
        asked.cancel();
        let queued = submit!(pool => jobs::pid);
        let down = pool.shutdown();
        for (handle, attempts) in [(running, 1), (asked, 1), (queued, 0)] {
            let error = handle.wait().unwrap_err();
            assert!(error.is_pool_closed(), "{error}");
            assert_eq!(error.attempts(), attempts);
        }
        // The gate is shut: this would wait for ever.
        pool::block_on(down);
        drop(pool);
        open(&gate);
    });
}

#[pool::test]
fn neither_close_nor_shutdown_waits_for_what_was_given_up_before() {
    isolated(|| {
        let gate = scratch("gate");
        for close in [true, false] {
            let started = scratch(&format!("started-{close}"));
            let pool = threads(2).build().unwrap();
            let running = submit!(pool => jobs::hold, &started, &gate);
            wait_for_start(&started);
            running.kill();
            unsupported(running, &[]);
            let other = submit!(pool => jobs::pid);
            if close {
                let report = pool::block_on(pool.close());
                assert_eq!(report.failed + report.cancelled, 0);
                assert!(other.is_finished());
            } else {
                pool::block_on(pool.shutdown());
            }
        }
        open(&gate);
    });
}

#[pool::test]
fn settings_of_worker_processes_are_ignored() {
    isolated(|| {
        let here = std::env::current_dir().unwrap();
        let pool = threads(1)
            .env("POOL_TESTS_NOT_SET", "1")
            .env_remove("PATH")
            .env_clear()
            .current_dir("/no/such/directory")
            .executable("/no/such/program")
            .args(["--no-such-option"])
            .stdout(Output::Null)
            .stderr(Output::Null)
            .threads_per_worker(1)
            .memory_limit(1)
            .build()
            .unwrap();
        assert_eq!(submit!(pool => jobs::pid).wait().unwrap(), std::process::id());
        assert_eq!(std::env::current_dir().unwrap(), here);
        assert!(std::env::var_os("POOL_TESTS_NOT_SET").is_none());
        assert!(std::env::var_os("PATH").is_some());
        // What cannot work with processes cannot work here.
        assert!(threads(0).build().is_err());
        assert!(threads(1).env("", "1").build().is_err());
    });
}

#[pool::test]
fn the_environment_can_ask_for_it() {
    Isolation::new().env("POOL_IN_PROCESS", "1").env("POOL_WORKERS", "1").end(END).run(|| {
        let own = std::process::id();
        assert_eq!(submit!(jobs::pid).wait().unwrap(), own);
        let pool = Pool::new(2).unwrap();
        assert_eq!(submit!(pool => jobs::pid).wait().unwrap(), own);
        let pool = Pool::builder().workers(1).env("A", "b").current_dir("/nowhere").build();
        assert_eq!(submit!(pool.unwrap() => jobs::pid).wait().unwrap(), own);
    });
}

#[pool::test]
fn zero_in_the_environment_leaves_it_to_the_program() {
    Isolation::new().env("POOL_IN_PROCESS", "0").run(|| {
        let pool = Pool::new(1).unwrap();
        assert_ne!(submit!(pool => jobs::pid).wait().unwrap(), std::process::id());
    });
}

#[pool::test]
fn another_word_in_the_environment_is_refused() {
    Isolation::new().env("POOL_IN_PROCESS", "maybe").run(|| {
        let error = Pool::new(1).unwrap_err().to_string();
        assert!(error.contains("POOL_IN_PROCESS") && error.contains("maybe"), "{error}");
    });
}

/// The global pool lives on to the end of the process.
const END: pool_tests::End = pool_tests::End::WithPool;

#[pool_job]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[pool::test]
#[expect(unsafe_code, reason = "there is no safe way to do this")]
fn worker_processes_do_not_inherit_the_variable() {
    isolated(|| {
        let pool = Pool::builder().workers(1).max_jobs_per_worker(1).build().unwrap();
        submit!(pool => jobs::pid).wait().unwrap();
        // SAFETY: no other thread of this test reads or writes the environment through libc; the
        // pool's does so through `std`, which locks.
        unsafe { std::env::set_var("POOL_IN_PROCESS", "1") };
        for _ in 0..3 {
            // A worker that was started before has not seen it either.
            assert_eq!(submit!(pool => variable, "POOL_IN_PROCESS").wait().unwrap(), None);
        }
        let threads = Pool::new(1).unwrap();
        let here = submit!(threads => variable, "POOL_IN_PROCESS").wait().unwrap();
        assert_eq!(here.as_deref(), Some("1"));
    });
}

static HOOK_HAS_RUN: AtomicBool = AtomicBool::new(false);

#[pool::worker_start]
fn hook() {
    HOOK_HAS_RUN.store(true, Ordering::SeqCst);
}

static MADE: AtomicU32 = AtomicU32::new(0);
static DROPPED: AtomicU32 = AtomicU32::new(0);

struct Own(String);

impl Drop for Own {
    fn drop(&mut self) {
        DROPPED.fetch_add(1, Ordering::SeqCst);
    }
}

#[pool::state]
fn own() -> Own {
    MADE.fetch_add(1, Ordering::SeqCst);
    Own(format!("{:?}", thread::current().id()))
}

#[pool_job]
fn meets(#[state] own: &Own, started: &Path, gate: &Path) -> (String, String) {
    jobs::append(started, "here");
    while !gate.exists() {
        thread::sleep(Duration::from_millis(1));
    }
    (own.0.clone(), format!("{:?}", thread::current().id()))
}

#[pool::test]
fn states_are_made_once_a_thread_and_start_hooks_do_not_run() {
    isolated(|| {
        let (started, gate) = (scratch("started"), scratch("gate"));
        let pool = threads(2).build().unwrap();
        let both = [(); 2].map(|()| submit!(pool => meets, &started, &gate));
        wait_until("both run", || started.exists() && lines(&started).len() == 2);
        open(&gate);
        let both = both.map(|handle| handle.wait().unwrap());
        assert!(both.iter().all(|(state, thread)| state == thread), "{both:?}");
        assert_ne!(both[0], both[1]);
        submit!(pool => meets, &started, &gate).wait().unwrap();
        assert_eq!(MADE.load(Ordering::SeqCst), 2);
        assert_eq!(DROPPED.load(Ordering::SeqCst), 0);
        pool::block_on(pool.shutdown());
        assert_eq!(DROPPED.load(Ordering::SeqCst), 2);
        assert!(!HOOK_HAS_RUN.load(Ordering::SeqCst));
    });
}

#[pool_job]
fn has_a_global_pool() -> (Result<(), String>, String, String) {
    let global = Pool::try_global().map(drop).map_err(|error| error.to_string());
    let submitted = submit!(jobs::pid).wait().unwrap_err().to_string();
    let built = Pool::builder().workers(1).build_global().map(drop).unwrap_err().to_string();
    (global, submitted, built)
}

#[pool_job]
fn builds_a_pool(in_process: bool) -> u32 {
    let builder = Pool::builder().workers(1);
    let builder = if in_process { builder.in_process() } else { builder };
    let pool = builder.build().unwrap();
    submit!(pool => jobs::pid).wait().unwrap()
}

#[pool::test]
fn in_a_job_there_is_no_global_pool_but_one_can_be_built() {
    Isolation::new().end(END).run(|| {
        let global = threads(1).build_global().unwrap();
        let (looked, submitted, built) = submit!(has_a_global_pool).wait().unwrap();
        for text in [&looked.unwrap_err(), &submitted, &built] {
            assert!(text.contains("in_process"), "{text}");
        }
        assert_eq!(submit!(global => builds_a_pool, true).wait().unwrap(), std::process::id());
        assert_ne!(submit!(global => builds_a_pool, false).wait().unwrap(), std::process::id());
    });
}

#[pool::test]
fn queues_streams_and_events_work_on_threads() {
    isolated(|| {
        // Two that were up before anybody asked for events are not enough for all of it.
        let pool = threads(2).max_jobs_per_worker(100).build().unwrap();
        let mut events = pool.events();
        let queue = JobQueue::new();
        let handles: Vec<_> =
            (0..50).map(|n| pool::block_on(queue.push(call!(jobs::echo, n)))).collect();
        let report = pool::block_on(pool.work(&queue));
        assert_eq!((report.succeeded, report.failed, report.cancelled), (50, 0, 0));
        let sum: u64 = handles.into_iter().map(|handle| handle.wait().unwrap()).sum();
        assert_eq!(sum, 49 * 25);
        let echoed: Vec<_> = pool.map((0..200).map(|n| call!(jobs::echo, n))).blocking().collect();
        let echoed: Vec<u64> = echoed.into_iter().map(Result::unwrap).collect();
        assert!(echoed.iter().copied().eq(0..200));
        let stats = pool.stats();
        assert_eq!((stats.succeeded, stats.queued, stats.running), (250, 0, 0));
        assert!(stats.workers.iter().all(|worker| worker.rss.is_none()));
        let own = std::process::id();
        let ready = std::iter::from_fn(|| pool::block_on(events.next()));
        let ready = ready.filter(|event| matches!(event, PoolEvent::WorkerReady { .. })).take(1);
        for event in ready {
            assert!(matches!(event, PoolEvent::WorkerReady { pid, .. } if pid == own), "{event:?}");
        }
    });
}

#[pool::test]
fn threads_are_recycled_and_sent_home_like_workers() {
    isolated(|| {
        let pool = threads(1).max_jobs_per_worker(1).build().unwrap();
        let ids: HashSet<_> =
            (0..5).map(|_| submit!(pool => thread_number).wait().unwrap()).collect();
        assert_eq!(ids.len(), 5);
        let pool = threads(2).idle_timeout(MOMENT).build().unwrap();
        submit!(pool => thread_number).wait().unwrap();
        let gone = || pool.stats().workers.iter().all(|worker| worker.state == WorkerState::Gone);
        wait_until("both threads have gone home", gone);
        submit!(pool => thread_number).wait().unwrap();
    });
}

#[pool_job]
fn leaves_a_task_that_blocks(gate: &Path) {
    let (gate, handle) = (gate.to_owned(), tokio::runtime::Handle::try_current());
    drop(handle.map(|handle| {
        handle.spawn_blocking(move || {
            while !gate.exists() {
                thread::sleep(Duration::from_millis(1));
            }
        })
    }));
}

#[pool_job]
async fn leaves_a_blocking_task(gate: &Path) {
    leaves_a_task_that_blocks(gate);
}

#[pool::test]
fn what_a_job_has_left_in_its_runtime_is_not_waited_for() {
    isolated(|| {
        let gate = scratch("gate");
        let pool = threads(1).max_jobs_per_worker(1).build().unwrap();
        submit!(pool => leaves_a_blocking_task, &gate).wait().unwrap();
        submit!(pool => jobs::pid).wait().unwrap();
        pool::block_on(pool.shutdown());
        open(&gate);
    });
}
