//! The sums of `Pool::stats` agree at every moment, whatever many threads do meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use pool::{
    JobContext, JobHandle, JobQueue, Pool, RetryPolicy, Stats, WorkerState, call, pool_job,
};
use pool_tests::Isolation;
use pool_tests::jobs::{self, Death};

const THREADS: u64 = 3;
const JOBS: u64 = 250;

/// Takes so many microseconds.
#[pool_job]
fn take(micros: u64) -> u64 {
    thread::sleep(Duration::from_micros(micros));
    micros
}

/// Dies in the first attempts.
#[pool_job]
fn die_before(ctx: &JobContext, attempt: u32) -> u64 {
    if ctx.attempt() < attempt {
        jobs::die(Death::Exit(1));
    }
    u64::from(attempt)
}

/// How many jobs the pool may have, and must have, accepted.
#[derive(Default)]
struct Accepted {
    begun: AtomicU64,
    done: AtomicU64,
}

/// How jobs ended, by their handles.
#[derive(Debug, Default, PartialEq, Eq)]
struct Ends {
    succeeded: u64,
    failed: u64,
    crashed: u64,
    cancelled: u64,
}

impl Ends {
    fn of(stats: &Stats) -> Ends {
        let Stats { succeeded, failed, crashed, cancelled, .. } = *stats;
        Ends { succeeded, failed, crashed, cancelled }
    }

    fn add(&mut self, job: JobHandle<u64>) {
        match job.wait() {
            Ok(_) => self.succeeded += 1,
            Err(error) if error.is_cancelled() || error.is_pool_closed() => self.cancelled += 1,
            Err(error) => {
                self.failed += 1;
                self.crashed += u64::from(error.is_crash());
            }
        }
    }
}

/// Looks at the pool as fast as it can until `over`; how often it did.
fn watch(pool: &Pool, accepted: &Accepted, over: &AtomicBool) -> u64 {
    let mut last = pool.stats();
    let mut looks = 0;
    while !over.load(Ordering::SeqCst) {
        let least = accepted.done.load(Ordering::SeqCst);
        let stats = pool.stats();
        let most = accepted.begun.load(Ordering::SeqCst);
        let submitted = stats.submitted();
        assert!((least..=most).contains(&submitted), "{least} {most} {stats:?}");
        let grows = [
            (last.succeeded, stats.succeeded),
            (last.failed, stats.failed),
            (last.crashed, stats.crashed),
            (last.cancelled, stats.cancelled),
            (last.restarts, stats.restarts),
            (last.wait.count(), stats.wait.count()),
            (last.run.count(), stats.run.count()),
            (last.submitted(), submitted),
        ];
        assert!(grows.iter().all(|(before, after)| before <= after), "{last:?} {stats:?}");
        for (before, after) in last.workers.iter().zip(&stats.workers) {
            assert!(before.jobs_done <= after.jobs_done, "{last:?} {stats:?}");
        }
        assert!(stats.crashed <= stats.failed, "{stats:?}");
        let running = stats.workers.iter().filter(|worker| worker.job.is_some()).count() as u64;
        assert_eq!(stats.running, running, "{stats:?}");
        let busy = |state| stats.workers.iter().filter(|worker| worker.state == state).count();
        assert!(busy(WorkerState::Busy) as u64 <= running, "{stats:?}");
        let done: u64 = stats.workers.iter().map(|worker| worker.jobs_done).sum();
        assert_eq!(stats.run.count(), done, "{stats:?}");
        assert!((0.0..=1.0).contains(&stats.utilization), "{stats:?}");
        assert!(pool.snapshot().running.len() <= stats.workers.len());
        last = stats;
        looks += 1;
    }
    looks
}

/// Submits jobs of all kinds, and cancels some of them.
fn submit(pool: &Pool, accepted: &Accepted, seed: u64) -> Vec<JobHandle<u64>> {
    let mut handles = Vec::new();
    for n in 0..JOBS {
        let call = match n % 5 {
            0 => call!(take, n % 700).timeout(Duration::from_micros(300)),
            1 => call!(take, n).retry(RetryPolicy::attempts(3)),
            _ => call!(take, n % 50),
        };
        accepted.begun.fetch_add(1, Ordering::SeqCst);
        let Ok(handle) = pool.try_submit(call) else { continue };
        accepted.done.fetch_add(1, Ordering::SeqCst);
        match (n + seed) % 7 {
            0 => handle.cancel(),
            1 => handle.kill(),
            _ => {}
        }
        handles.push(handle);
        if n % 40 == 7 {
            // Dies once, and is tried again after a little while.
            let back_off = Duration::from_millis(2);
            let retry = RetryPolicy::attempts(2).backoff(back_off, 1.0, back_off);
            accepted.begun.fetch_add(1, Ordering::SeqCst);
            let attempts = if n % 80 == 7 { 2 } else { 3 };
            let call = call!(die_before, attempts).retry(retry);
            if let Ok(handle) = pool.try_submit(call) {
                accepted.done.fetch_add(1, Ordering::SeqCst);
                handles.push(handle);
            }
        }
    }
    handles
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Close,
    Shutdown,
}

fn storm(end: End) {
    for round in 0..3 {
        let pool = Pool::new(2).unwrap();
        let accepted = Arc::new(Accepted::default());
        let over = Arc::new(AtomicBool::new(false));
        let watcher = {
            let (pool, accepted, over) = (pool.clone(), accepted.clone(), over.clone());
            thread::spawn(move || watch(&pool, &accepted, &over))
        };
        let submitters: Vec<_> = (0..THREADS)
            .map(|n| {
                let (pool, accepted) = (pool.clone(), accepted.clone());
                thread::spawn(move || submit(&pool, &accepted, n + round))
            })
            .collect();
        let mut ends = Ends::default();
        let count = |threads: Vec<thread::JoinHandle<Vec<JobHandle<u64>>>>, ends: &mut Ends| {
            let handles = threads.into_iter().flat_map(|thread| thread.join().unwrap());
            handles.collect::<Vec<_>>().into_iter().for_each(|handle| ends.add(handle));
        };
        match end {
            End::Close => {
                count(submitters, &mut ends);
                // Jobs of a queue are counted from the moment at which they are taken.
                let queue = JobQueue::new();
                let queued: Vec<_> = (0..200)
                    .map(|n| {
                        accepted.begun.fetch_add(1, Ordering::SeqCst);
                        pool::block_on(queue.push(call!(take, n % 20)))
                    })
                    .collect();
                assert_eq!(pool::block_on(pool.work(&queue)).succeeded, 200);
                queued.into_iter().for_each(|handle| ends.add(handle));
                pool::block_on(pool.close());
            }
            End::Shutdown => {
                while pool.stats().succeeded < 20 {
                    thread::yield_now();
                }
                pool::block_on(pool.shutdown());
                count(submitters, &mut ends);
            }
        }
        over.store(true, Ordering::SeqCst);
        let looks = watcher.join().unwrap();
        assert!(looks > 10, "{looks} looks are few");
        let stats = pool.stats();
        assert_eq!((stats.queued, stats.running), (0, 0), "{stats:?}");
        assert_eq!(Ends::of(&stats), ends, "{stats:?}");
    }
}

#[pool::test]
fn sums_agree_in_a_storm_that_a_close_ends() {
    Isolation::new().watchdog(Duration::from_secs(180)).run(|| storm(End::Close));
}

#[pool::test]
fn sums_agree_in_a_storm_that_a_shutdown_ends() {
    Isolation::new().watchdog(Duration::from_secs(180)).run(|| storm(End::Shutdown));
}
