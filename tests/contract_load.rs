//! Pools under load: workers that are recycled, sent home and killed meanwhile, priorities, queues
//! beside submissions, and pools inside of jobs.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use pool::{
    JobHandle, JobQueue, Pool, Priority, RetryPolicy, WorkerState, WorkerStats, call, pool_job,
    submit,
};
use pool_tests::jobs::{self, Death};
use pool_tests::{Isolation, isolated, lines, proc, scratch, wait_until};

/// How many jobs this worker has begun.
static BEGUN: AtomicU32 = AtomicU32::new(0);

/// Its worker's process, and which of its jobs this is, from 1.
#[pool_job]
fn count(micros: u64) -> (u32, u32) {
    let nth = BEGUN.fetch_add(1, Ordering::SeqCst) + 1;
    thread::sleep(Duration::from_micros(micros));
    (std::process::id(), nth)
}

/// Takes so many microseconds, and notes that it has begun.
#[pool_job]
fn note_and_take(file: &Path, line: &str, micros: u64) {
    jobs::append(file, line);
    thread::sleep(Duration::from_micros(micros));
}

/// Numbers that look like chance, the same in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % n
    }
}

/// How many jobs each process has run.
fn by_worker(jobs: Vec<JobHandle<(u32, u32)>>) -> HashMap<u32, Vec<u32>> {
    let mut workers: HashMap<u32, Vec<u32>> = HashMap::new();
    for job in jobs {
        let (worker, nth) = job.wait().unwrap();
        workers.entry(worker).or_default().push(nth);
    }
    workers
}

#[pool::test]
fn workers_are_recycled_under_load_after_their_share_and_no_job_is_lost() {
    isolated(|| {
        let pool = Pool::builder().workers(3).max_jobs_per_worker(7).build().unwrap();
        let submit = |seed: u64| {
            let mut chance = Chance(seed);
            (0..120).map(|_| submit!(pool => count, chance.below(500))).collect::<Vec<_>>()
        };
        let submitted: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (1..=3).map(|seed| scope.spawn(move || submit(seed))).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        let workers = by_worker(submitted);
        for (worker, mut nth) in workers.clone() {
            nth.sort_unstable();
            // Each job once, and in no process more than its share.
            assert!(nth.len() <= 7 && nth.iter().copied().eq(1..=nth.len() as u32), "{nth:?}");
            assert!(nth.len() == 7 || workers.len() >= 51, "{worker}: {nth:?}");
        }
        // All but those that were not full when the last job came.
        let full = workers.values().filter(|nth| nth.len() == 7).count();
        assert!(workers.len() - full <= 3, "{full} of {} had their share", workers.len());
        let stats = pool.stats();
        assert_eq!((stats.succeeded, stats.failed, stats.queued, stats.running), (360, 0, 0, 0));
        assert!(stats.restarts >= workers.len() as u64 - 3, "{stats:?}");
    });
}

#[pool::test]
fn workers_that_go_home_while_jobs_come_lose_none() {
    isolated(|| {
        let idle = Duration::from_millis(2);
        let pool = Pool::builder().workers(3).idle_timeout(idle).build().unwrap();
        let mut chance = Chance(7);
        let mut done = 0;
        // Pauses around the length of the timeout, so that jobs meet workers on their way out.
        for _ in 0..150 {
            let burst: Vec<_> =
                (0..=chance.below(4)).map(|_| submit!(pool => count, chance.below(300))).collect();
            done += burst.len() as u64;
            drop(by_worker(burst));
            thread::sleep(Duration::from_micros(chance.below(4000)));
        }
        let stats = pool.stats();
        assert_eq!((stats.succeeded, stats.failed, stats.queued), (done, 0, 0));
        assert!(stats.restarts > 0, "nobody ever went home");
        wait_until("all are at home", || proc::children(std::process::id()).is_empty());
        assert_eq!(submit!(pool => jobs::echo, 1).wait().unwrap(), 1);
    });
}

#[pool::test]
fn recycled_sent_home_and_killed_at_once_they_serve_every_job() {
    Isolation::new().watchdog(Duration::from_secs(120)).run(|| {
        let pool = Pool::builder()
            .workers(3)
            .max_jobs_per_worker(5)
            .idle_timeout(Duration::from_millis(2))
            .retry(RetryPolicy::attempts(50))
            .build()
            .unwrap();
        let is_over = AtomicBool::new(false);
        let killed = thread::scope(|scope| {
            let killer = scope.spawn(|| {
                let (mut chance, mut killed) = (Chance(3), 0);
                while !is_over.load(Ordering::SeqCst) {
                    // Three deaths in a row before any is up would be what the jobs resolve to.
                    let is_up = |worker: &&WorkerStats| worker.state != WorkerState::Starting;
                    let workers = pool.stats().workers;
                    let alive: Vec<_> =
                        workers.iter().filter(is_up).filter_map(|worker| worker.pid).collect();
                    if !alive.is_empty() {
                        let victim = alive[chance.below(alive.len() as u64) as usize];
                        killed += u64::from(kill(victim));
                    }
                    thread::sleep(Duration::from_millis(chance.below(20)));
                }
                killed
            });
            let mut chance = Chance(11);
            let over = Over(&is_over);
            for round in 0..60 {
                let burst: Vec<_> = (0..chance.below(12))
                    .map(|_| submit!(pool => count, chance.below(2000)))
                    .collect();
                drop(by_worker(burst));
                if round % 5 == 0 {
                    thread::sleep(Duration::from_millis(chance.below(6)));
                }
            }
            drop(over);
            killer.join().unwrap()
        });
        let stats = pool.stats();
        assert_eq!((stats.failed, stats.cancelled, stats.queued, stats.running), (0, 0, 0, 0));
        assert!(killed > 0 && stats.restarts > 0, "{killed} killed, {stats:?}");
    });
}

/// Ends the threads that go on until it is over, also when an assertion fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Kills a worker of this process, if it is one still.
fn kill(pid: u32) -> bool {
    if !proc::children(std::process::id()).contains(&pid) {
        return false;
    }
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).is_ok()
}

#[pool::test]
fn a_higher_priority_overtakes_whatever_was_not_handed_out() {
    isolated(|| {
        let pool = Pool::new(2).unwrap();
        let file = scratch("order");
        let low = |line: &str| {
            let call = call!(note_and_take, &file, line, 2000);
            pool.submit(call.priority(Priority::Low))
        };
        let backlog: Vec<_> = (0..500).map(|n| low(&n.to_string())).collect();
        wait_until("it is under way", || lines(&file).len() > 20);
        for n in 0..20 {
            let before = lines(&file).len();
            let line = format!("urgent {n}");
            let call = call!(note_and_take, &file, &line, 0).priority(Priority::High);
            pool.submit(call).wait().unwrap();
            let order = lines(&file);
            let at = order.iter().position(|found| *found == line).unwrap();
            // What it found in the hands of the workers, and no more of the backlog than that.
            assert!(at < before + 200, "{n} came {} later", at - before);
        }
        assert!(lines(&file).len() < 500, "the backlog was over before");
        backlog.into_iter().for_each(|job| job.wait().unwrap());
    });
}

#[pool::test]
fn a_load_that_leaves_workers_free_starves_no_lower_priority() {
    isolated(|| {
        let pool = Pool::new(2).unwrap();
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            // Never more than one of them at a time: one worker is left for the others.
            let load = scope.spawn(|| {
                let mut rounds = 0_u64;
                while !is_over.load(Ordering::SeqCst) {
                    let call = call!(count, 500).priority(Priority::High);
                    pool.submit(call).wait().unwrap();
                    rounds += 1;
                }
                rounds
            });
            let over = Over(&is_over);
            let low: Vec<_> =
                (0..200).map(|_| pool.submit(call!(count, 500).priority(Priority::Low))).collect();
            assert_eq!(by_worker(low).values().map(Vec::len).sum::<usize>(), 200);
            drop(over);
            assert!(load.join().unwrap() > 0);
        });
    });
}

#[pool::test]
fn lower_priorities_wait_for_the_end_of_higher_ones_and_then_run() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let file = scratch("order");
        let (started, gate) = (scratch("started"), scratch("gate"));
        let held = submit!(pool => jobs::hold, &started, &gate);
        wait_until("the worker is busy", || started.exists());
        let submit = |priority: Priority, line: &str| {
            pool.submit(call!(note_and_take, &file, line, 100).priority(priority))
        };
        let mut jobs = Vec::new();
        for _ in 0..50 {
            jobs.push(submit(Priority::Low, "low"));
            jobs.push(submit(Priority::Normal, "normal"));
            jobs.push(submit(Priority::High, "high"));
        }
        jobs::open(&gate);
        held.wait().unwrap();
        jobs.into_iter().for_each(|job| job.wait().unwrap());
        let order = lines(&file);
        let expected = [vec!["high"; 50], vec!["normal"; 50], vec!["low"; 50]].concat();
        assert_eq!(order, expected);
    });
}

#[pool::test]
fn what_is_submitted_goes_before_a_queue_and_the_queue_is_served_beside_it() {
    isolated(|| {
        let pool = Pool::new(2).unwrap();
        let queue = JobQueue::bounded(20);
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let pusher = scope.spawn(|| {
                let mut handles = Vec::new();
                while !is_over.load(Ordering::SeqCst) {
                    handles.push(pool::block_on(queue.push(call!(count, 300))));
                }
                queue.close();
                handles
            });
            let work = scope.spawn(|| pool::block_on(pool.work(&queue).linger(Duration::MAX)));
            let over = Over(&is_over);
            // Beside a queue that is never empty, what is submitted is served ...
            for _ in 0..50 {
                submit!(pool => count, 0).wait().unwrap();
            }
            // ... and beside submissions that leave a worker free, what is in the queue.
            let before = pool.stats().succeeded;
            let mut submitted = 0;
            wait_until("a hundred of the queue", || {
                submit!(pool => count, 300).wait().unwrap();
                submitted += 1;
                pool.stats().succeeded > before + submitted + 100
            });
            drop(over);
            let handles = pusher.join().unwrap();
            let report = work.join().unwrap();
            assert_eq!((report.succeeded, report.failed), (handles.len() as u64, 0));
            assert!(by_worker(handles).len() <= 2);
        });
        drop(pool);
        // Where submissions leave none free, the queue waits until they do.
        let (pool, queue, file) = (Pool::new(1).unwrap(), JobQueue::new(), scratch("order"));
        let (started, gate) = (scratch("started"), scratch("gate"));
        let held = submit!(pool => jobs::hold, &started, &gate);
        wait_until("it is busy", || started.exists());
        let queued = pool::block_on(queue.push(call!(jobs::note, &file, "queued")));
        let low = |_| pool.submit(call!(jobs::note, &file, "submitted").priority(Priority::Low));
        let submitted: Vec<_> = (0..20).map(low).collect();
        jobs::open(&gate);
        assert_eq!(pool::block_on(pool.work(&queue)).succeeded, 1);
        submitted.into_iter().chain([queued]).for_each(|job| job.wait().unwrap());
        held.wait().unwrap();
        assert_eq!(lines(&file).iter().position(|line| line == "queued"), Some(20));
    });
}

/// A pool that its worker keeps for its jobs.
struct Inner(Pool);

#[pool::state]
fn inner() -> Result<Inner, pool::BuildError> {
    Ok(Inner(Pool::builder().workers(2).max_jobs_per_worker(10).build()?))
}

#[pool_job]
fn sum_inside(#[state] inner: &Inner, up_to: u64) -> u64 {
    let calls = (1..=up_to).map(|n| call!(jobs::echo, n));
    inner.0.map(calls).unordered().blocking().map(Result::unwrap).sum()
}

#[pool::test]
fn pools_that_workers_keep_for_their_jobs_serve_them_and_die_with_them() {
    Isolation::new().orphans().run(|| {
        // Recycled workers leave pools behind, whose workers have to notice.
        let pool = Pool::builder().workers(2).max_jobs_per_worker(4).build().unwrap();
        let sums: Vec<_> = (0..24).map(|n| submit!(pool => sum_inside, n)).collect();
        for (n, sum) in (0..).zip(sums) {
            assert_eq!(sum.wait().unwrap(), n * (n + 1) / 2);
        }
    });
}

#[pool_job]
fn matryoshka(depth: u32) -> Vec<u32> {
    let mut pids = vec![std::process::id()];
    if depth > 0 {
        let pool = Pool::new(1).unwrap();
        pids.extend(submit!(pool => matryoshka, depth - 1).wait().unwrap());
    }
    pids
}

#[pool::test]
fn pools_in_jobs_of_pools_in_jobs_are_possible() {
    isolated(|| {
        let pool = Pool::new(2).unwrap();
        let nests: Vec<_> = (0..4).map(|_| submit!(pool => matryoshka, 3)).collect();
        for nest in nests {
            let mut pids = nest.wait().unwrap();
            pids.sort_unstable();
            pids.dedup();
            assert_eq!(pids.len(), 4, "each in a process of its own");
        }
    });
}

#[pool_job]
fn crash_inside() -> (bool, u64) {
    let pool = Pool::new(1).unwrap();
    let crashed = submit!(pool => jobs::die, Death::Abort).wait().unwrap_err().is_crash();
    (crashed, submit!(pool => jobs::echo, 5).wait().unwrap())
}

#[pool::test]
fn a_crash_in_a_pool_in_a_job_costs_neither_that_pool_nor_that_job() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let worker = submit!(pool => jobs::pid).wait().unwrap();
        assert_eq!(submit!(pool => crash_inside).wait().unwrap(), (true, 5));
        assert_eq!(submit!(pool => jobs::pid).wait().unwrap(), worker);
    });
}

#[pool_job]
fn global_inside(build: bool) -> Result<u64, String> {
    if build {
        Pool::builder().workers(1).build_global().map_err(|error| error.to_string())?;
    }
    submit!(jobs::echo, 6).wait().map_err(|error| error.to_string())
}

#[pool::test]
fn a_worker_has_a_global_pool_once_a_job_has_built_it_and_no_sooner() {
    Isolation::new().orphans().run(|| {
        let pool = Pool::builder().workers(1).max_jobs_per_worker(2).build().unwrap();
        assert_eq!(submit!(pool => global_inside, true).wait().unwrap(), Ok(6));
        // It is there for the next job of that worker.
        assert_eq!(submit!(pool => global_inside, false).wait().unwrap(), Ok(6));
        // Not for those of another one.
        let refused = submit!(pool => global_inside, false).wait().unwrap().unwrap_err();
        assert!(refused.contains("a worker process, which has no global pool"), "{refused}");
    });
}
