//! A pool that has nothing to do does nothing: no timer is armed, nobody wakes, no time of a
//! processor is used, in the host and in the workers. And who has nothing to do with a job is not
//! woken for it.
//!
//! Nothing is measured against a clock: what the system counts has to stay what it is, exactly.

use std::collections::BTreeMap;
use std::fs;
use std::future::Future as _;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use pool::{JobContext, JobError, JobHandle, Pool, call, pool_job, submit};
use pool_tests::jobs::{self, Death};
use pool_tests::{Isolation, proc, scratch, wait_until};

/// How long it is watched.
const WATCHED: Duration = Duration::from_secs(10);
/// Longer than anything that a pool waits for after something was amiss on a busy machine: an
/// answer to a recall has four seconds.
const A_WHILE: Duration = Duration::from_millis(5500);

#[pool_job]
fn tell(ctx: &JobContext) {
    ctx.progress(1, 2);
}

/// Of each thread of the pools: how often it went to sleep, and how long it had a processor, in
/// nanoseconds.
fn counts() -> BTreeMap<String, (String, String)> {
    let me = std::process::id();
    let mut counts = BTreeMap::new();
    for pid in [me].into_iter().chain(proc::children(me)) {
        for task in fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten() {
            let read = |file| fs::read_to_string(task.path().join(file)).unwrap_or_default();
            let name = read("comm").trim().to_owned();
            // Of the host's threads those of the pools, and no test's.
            if pid == me && !name.starts_with("pool-") {
                continue;
            }
            let status = read("status");
            let sleeps = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches"));
            let ran = read("schedstat").split(' ').next().unwrap_or_default().to_owned();
            let key = format!("{name} {}", task.path().display());
            counts.insert(key, (sleeps.unwrap_or_default().to_owned(), ran));
        }
    }
    counts
}

#[pool::test]
fn an_idle_pool_arms_no_timer_and_wakes_nobody() {
    Isolation::new().alone().run(|| {
        let fresh = Pool::new(2).unwrap();
        let still = Pool::builder().workers(2).spin(false).build().unwrap();
        let used = Pool::new(2).unwrap();
        pool::block_on(fresh.ready()).unwrap();
        for pool in [&still, &used] {
            let many: Vec<_> = (0..2000).map(|n| submit!(pool => jobs::echo, n)).collect();
            assert!(many.into_iter().all(|job| job.wait().is_ok()));
            // Each with a wait, which may be one with open eyes.
            for n in 0..500 {
                assert_eq!(submit!(pool => jobs::echo, n).wait().unwrap(), n);
            }
        }
        submit!(used => tell).wait().unwrap();
        // What had a limit has none left.
        let call = call!(jobs::echo, 7).timeout(Duration::from_secs(3600)).memory_limit(1 << 40);
        assert_eq!(used.submit(call.deadline(Duration::from_secs(3600))).wait().unwrap(), 7);
        submit!(used => jobs::die, Death::Abort).wait().unwrap_err();
        submit!(used => jobs::echo, 7).wait().unwrap();
        pool::block_on(used.ready()).unwrap();

        let mut before = counts();
        wait_until("the pools come to rest", || {
            let earlier = std::mem::take(&mut before);
            thread::sleep(A_WHILE);
            before = counts();
            before == earlier
        });
        assert!(before.keys().filter(|name| name.starts_with("pool-driver")).count() == 3);
        assert!(before.len() > 9, "six workers and their guards are seen too: {before:?}");
        thread::sleep(WATCHED);
        let after = counts();
        let moved = after.iter().filter(|(name, counts)| before.get(*name) != Some(counts));
        let moved: Vec<_> = moved.map(|(name, now)| (name, before.get(name), now)).collect();
        assert!(moved.is_empty() && before.len() == after.len(), "{moved:?}");
    });
}

#[pool_job]
fn zeroes(len: usize) -> Vec<u8> {
    vec![0; len]
}

#[pool_job]
fn count(bytes: Vec<u8>) -> usize {
    bytes.len()
}

/// How often the driver has gone to sleep.
fn driver_sleeps() -> u64 {
    let counts = counts();
    let (_, (sleeps, _)) = counts.iter().find(|(name, _)| name.starts_with("pool-driver")).unwrap();
    sleeps.split_whitespace().last().unwrap().parse().unwrap()
}

#[pool::test]
fn what_is_large_wakes_the_driver_when_it_is_whole_and_not_for_each_piece() {
    const LEN: usize = 128 << 20;
    // It goes in at least five hundred pieces; for each the worker would wake the driver.
    const SOME: u64 = 60;
    Isolation::new().alone().run(|| {
        let pool = Pool::new(1).unwrap();
        let _ = submit!(pool => jobs::pid).wait().unwrap();
        let before = driver_sleeps();
        let bytes = submit!(pool => zeroes, LEN).wait().unwrap();
        let there = driver_sleeps();
        assert_eq!(submit!(pool => count, bytes).wait().unwrap(), LEN);
        let and_back = driver_sleeps() - there;
        assert!(there - before < SOME && and_back < SOME, "{} and {and_back}", there - before);
    });
}

#[pool_job]
fn nothing() {}

/// Holds up whoever wakes it.
struct HoldsUp {
    told: Sender<()>,
    until: Mutex<Receiver<()>>,
}

impl Wake for HoldsUp {
    fn wake(self: Arc<HoldsUp>) {
        let _ = self.told.send(());
        let _ = self.until.lock().unwrap().recv();
    }
}

/// Counts how often it is woken.
struct Counts(AtomicUsize);

impl Wake for Counts {
    fn wake(self: Arc<Counts>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Nothing, until `gate` is there.
#[pool_job]
fn nothing_until(gate: &Path) {
    while !gate.as_os_str().is_empty() && !gate.exists() {
        thread::sleep(Duration::from_millis(1));
    }
}

/// Whether who asks for a short job behind another one is woken at once, to ask again after others.
fn gives_way(attempt: u32) -> bool {
    let pool = Pool::new(1).unwrap();
    pool::block_on(pool.ready()).unwrap();
    let at_once = Path::new("");
    // From here on it is known that they are short, as far as anybody knows.
    (0..20).for_each(|_| submit!(pool => nothing_until, at_once).wait().unwrap());
    let gate = scratch(&format!("gate {attempt}"));
    let first = submit!(pool => nothing_until, &gate);
    let mut second = submit!(pool => nothing_until, at_once);
    let woken = Arc::new(Counts(AtomicUsize::new(0)));
    let waker = Waker::from(woken.clone());
    assert!(Pin::new(&mut second).poll(&mut Context::from_waker(&waker)).is_pending());
    let gives_way = woken.0.load(Ordering::SeqCst) == 1;
    jobs::open(&gate);
    first.wait().unwrap();
    second.wait().unwrap();
    pool::block_on(pool.shutdown_async());
    gives_way
}

#[pool::test]
fn who_awaits_a_short_job_behind_another_gives_way_to_others() {
    Isolation::new().alone().run(|| {
        // Not if processors are busy, or the second one was not handed out in time.
        let mut attempts = 1..;
        wait_until("it gives way", || attempts.next().is_some_and(gives_way));
    });
}

/// Asks for its result as long as that is worth while: again after each time that it was woken.
fn ask<T>(mut handle: JobHandle<T>) -> Option<Result<T, JobError>> {
    let woken = Arc::new(Counts(AtomicUsize::new(0)));
    let waker = Waker::from(woken.clone());
    let mut seen = 0;
    loop {
        if let Poll::Ready(result) = Pin::new(&mut handle).poll(&mut Context::from_waker(&waker)) {
            return Some(result);
        }
        let now = woken.0.load(Ordering::SeqCst);
        if now == seen {
            return None;
        }
        seen = now;
    }
}

/// Whether a few short jobs that are in flight together give their results while the driver stands
/// still.
fn come_without_the_driver(attempt: u32) -> bool {
    let pool = Pool::new(3).unwrap();
    pool::block_on(pool.ready()).unwrap();
    // From here on it is known that they are short.
    (0..20).for_each(|_| submit!(pool => nothing).wait().unwrap());
    let (file, gate) = (scratch("holds"), scratch(&format!("gate {attempt}")));
    let mut holds = submit!(pool => jobs::hold, &file, &gate);
    let ((told, hears), (goes_on, until)) = (mpsc::channel(), mpsc::channel::<()>());
    let holds_up = Waker::from(Arc::new(HoldsUp { told, until: Mutex::new(until) }));
    assert!(Pin::new(&mut holds).poll(&mut Context::from_waker(&holds_up)).is_pending());
    jobs::open(&gate);
    hears.recv().unwrap();
    let handles: Vec<_> = (0..6).map(|_| submit!(pool => nothing)).collect();
    let results: Vec<_> = handles.into_iter().map(ask).collect();
    drop(goes_on);
    pool::block_on(pool.shutdown_async());
    results.into_iter().all(|result| result.is_some_and(|result| result.is_ok()))
}

#[pool::test]
fn who_awaits_a_few_short_jobs_needs_no_driver() {
    Isolation::new().alone().run(|| {
        // Whoever looks ceases to where processors are busy, as those of a test may be.
        let mut attempts = 1..;
        wait_until("they come", || attempts.next().is_some_and(come_without_the_driver));
    });
}
