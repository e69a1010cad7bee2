//! Whatever happens at whatever moment: each job has one outcome, and one that fits.

use std::collections::HashSet;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use pool::{
    JobContext, JobError, JobErrorKind, JobHandle, JobQueue, Pool, Priority, RetryPolicy,
    WorkerExit, call, pool_job, submit,
};
use pool_tests::jobs::{self, Death};
use pool_tests::{Isolation, isolated, lines, proc, scratch};
use rustix::process::{Pid, Signal};

/// The same numbers in every run (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

/// Takes so many microseconds, and answers sooner if it is asked to.
#[pool_job]
fn take(ctx: &JobContext, micros: u64, number: u64) -> u64 {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_micros(micros) && !ctx.is_cancelled() {
        thread::yield_now();
    }
    number
}

/// The same, but never answers sooner.
#[pool_job]
fn take_all(micros: u64, number: u64) -> u64 {
    thread::sleep(Duration::from_micros(micros));
    number
}

#[pool_job]
fn die_or_not(how: Option<Death>, number: u64) -> u64 {
    if let Some(how) = how {
        jobs::die(how);
    }
    number
}

#[pool_job]
fn turn(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.reverse();
    bytes
}

#[pool_job]
fn noted(file: &Path, number: u64) -> u64 {
    jobs::append(file, &format!("{} {number}", std::process::id()));
    number
}

/// The numbers of the jobs that have run, each of them once.
fn once(file: &Path) -> HashSet<u64> {
    let mut seen = HashSet::new();
    for line in lines(file) {
        let number = line.split_once(' ').unwrap().1.parse().unwrap();
        assert!(seen.insert(number), "{number} ran twice");
    }
    seen
}

/// What may become of a job beside its output.
#[derive(Clone, Copy, Default)]
struct May {
    be_cancelled: bool,
    time_out: bool,
    panic: bool,
    crash: bool,
    be_closed: bool,
}

impl May {
    #[track_caller]
    fn check(self, error: &JobError) {
        let fits = match error.kind() {
            JobErrorKind::Cancelled => self.be_cancelled,
            JobErrorKind::TimedOut(_) => self.time_out,
            JobErrorKind::Panicked(_) => self.panic,
            JobErrorKind::Crashed(exit) => self.crash && *exit != WorkerExit::Unknown,
            JobErrorKind::PoolClosed => self.be_closed,
            _ => false,
        };
        assert!(fits, "{error}");
    }
}

/// One job of a storm, and what it has to give.
fn one(pool: &Pool, numbers: &mut Numbers, n: u64) -> (JobHandle<u64>, May) {
    let mut may = May::default();
    let micros = numbers.below(2000);
    let call = match numbers.below(4) {
        0 => {
            let (how, does) = match numbers.below(8) {
                0 => (Some(Death::Abort), May { crash: true, ..may }),
                1 => (Some(Death::Exit(3)), May { crash: true, ..may }),
                2 => (Some(Death::Panic), May { panic: true, ..may }),
                _ => (None, may),
            };
            may = does;
            let call = call!(die_or_not, how, n);
            let handle = match numbers.below(2) {
                0 => call.retry(RetryPolicy::attempts(2)),
                _ => call,
            };
            return (pool.submit(handle), may);
        }
        1 => {
            let call = call!(take_all, micros, n);
            if numbers.below(4) == 0 {
                may.time_out = true;
                let limit = Duration::from_micros(numbers.below(2000).max(1));
                let handle = match numbers.below(2) {
                    0 => pool.submit(call.timeout(limit)),
                    _ => pool.submit(call.deadline(limit)),
                };
                return (handle, may);
            }
            return (pool.submit(call), may);
        }
        _ => call!(take, micros, n),
    };
    let call = match numbers.below(4) {
        0 => call.priority(Priority::High),
        1 => call.priority(Priority::Low),
        2 => call.grace_period(Duration::from_micros(numbers.below(3000))),
        _ => call,
    };
    (pool.submit(call), may)
}

#[pool::test]
fn a_storm_of_jobs_cancels_crashes_and_timeouts() {
    Isolation::new().watchdog(Duration::from_secs(120)).run(|| {
        for seed in 0..6 {
            let mut numbers = Numbers(seed);
            let pool = Pool::new(1 + (seed % 3) as usize).unwrap();
            let mut jobs = Vec::new();
            for n in 0..300 {
                let (job, mut may) = one(&pool, &mut numbers, n);
                if numbers.below(4) == 0 {
                    may.be_cancelled = true;
                    let canceller = job.canceller();
                    let wait = Duration::from_micros(numbers.below(20_000));
                    let kill = numbers.below(2) == 0;
                    let job = job.cancel_on(async move {
                        tokio::time::sleep(wait).await;
                        if kill {
                            canceller.kill();
                        }
                    });
                    jobs.push((job, may));
                } else {
                    jobs.push((job, may));
                }
            }
            for (n, (job, may)) in jobs.into_iter().enumerate() {
                match job.wait() {
                    Ok(number) => assert_eq!(number, n as u64),
                    Err(error) => may.check(&error),
                }
            }
            assert_eq!(submit!(pool => jobs::echo, seed).wait().unwrap(), seed);
        }
    });
}

#[pool::test]
fn a_storm_that_a_shutdown_or_a_close_ends() {
    Isolation::new().watchdog(Duration::from_secs(120)).run(|| {
        for seed in 0..40 {
            let mut numbers = Numbers(seed);
            let pool = Pool::new(2).unwrap();
            let mut jobs = Vec::new();
            for n in 0..60 {
                let (job, may) = one(&pool, &mut numbers, n);
                jobs.push((job, may));
            }
            let end = Duration::from_micros(numbers.below(30_000));
            let begin = Instant::now();
            while begin.elapsed() < end {
                thread::yield_now();
            }
            let closes = seed % 2 == 0;
            let report = match closes {
                true => Some(pool::block_on(pool.close())),
                false => {
                    pool::block_on(pool.shutdown());
                    None
                }
            };
            assert!(proc::children(std::process::id()).is_empty());
            for (n, (job, may)) in jobs.into_iter().enumerate() {
                assert!(job.is_finished());
                match job.wait() {
                    Ok(number) => assert_eq!(number, n as u64),
                    Err(error) => May { be_closed: !closes, ..may }.check(&error),
                }
            }
            assert!(report.is_none_or(|report| report.cancelled == 0));
        }
    });
}

#[pool::test]
fn workers_that_are_killed_from_outside_cost_at_most_the_job_they_run() {
    isolated(|| {
        let pool = Pool::new(2).unwrap();
        let file = scratch("ran");
        let jobs: Vec<_> = (0..2000).map(|n| submit!(pool => noted, &file, n)).collect();
        let mut numbers = Numbers(7);
        let mut kills = 0;
        while jobs.iter().any(|job| !job.is_finished()) {
            // Only one that has run something: three launches that fail in a row are another story.
            let ran = lines(&file);
            let worker = ran.iter().rev().take(10).nth(numbers.below(10) as usize);
            let worker = worker.map(|line| line.split_once(' ').unwrap().0.parse().unwrap());
            if let Some(worker) = worker.filter(|&worker| proc::is_alive(worker)) {
                let pid = Pid::from_raw(worker.cast_signed()).unwrap();
                let _ = rustix::process::kill_process(pid, Signal::KILL);
                kills += 1;
            }
            // Moments at random: nothing is waited for.
            thread::sleep(Duration::from_micros(numbers.below(8000)));
        }
        let mut charged = 0;
        let mut done = Vec::new();
        for (n, job) in jobs.into_iter().enumerate() {
            match job.wait() {
                Ok(number) => {
                    assert_eq!(number, n as u64);
                    done.push(n as u64);
                }
                Err(error) => {
                    assert_eq!(
                        *error.kind(),
                        JobErrorKind::Crashed(WorkerExit::Signal(libc::SIGKILL)),
                        "{error}"
                    );
                    charged += 1;
                }
            }
        }
        assert!(charged <= kills, "{charged} charged for {kills} deaths");
        let ran = once(&file);
        assert!(done.iter().all(|n| ran.contains(n)));
    });
}

#[pool::test]
fn large_payloads_that_are_given_up_at_any_moment() {
    Isolation::new().watchdog(Duration::from_secs(120)).run(|| give_up_large_ones(3_000_000, 60));
}

/// So large that threads of the host carry them.
#[pool::test]
fn larger_payloads_that_are_given_up_at_any_moment() {
    Isolation::new().watchdog(Duration::from_secs(120)).run(|| give_up_large_ones(12_000_000, 30));
}

fn give_up_large_ones(len: u32, count: u64) {
    let mut numbers = Numbers(3);
    let pool = Pool::new(2).unwrap();
    let input: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
    let mut expected = input.clone();
    expected.reverse();
    let mut jobs = Vec::new();
    for n in 0..count {
        let job = submit!(pool => turn, input.clone());
        let wait = Duration::from_micros(numbers.below(40_000));
        let kill = job.canceller();
        jobs.push(match n % 3 {
            0 => job,
            1 => job.cancel_on(async move { tokio::time::sleep(wait).await }),
            _ => job.cancel_on(async move {
                tokio::time::sleep(wait).await;
                kill.kill();
            }),
        });
    }
    for (n, job) in (0..).zip(jobs) {
        match job.wait() {
            Ok(output) => assert!(output == expected),
            Err(error) => assert!(n % 3 != 0 && error.is_cancelled(), "{error}"),
        }
    }
}

#[pool::test]
fn queues_that_are_worked_on_by_pools_that_come_and_go_lose_nothing() {
    isolated(|| {
        let mut numbers = Numbers(11);
        let queue = JobQueue::new();
        let file = scratch("ran");
        let jobs: Vec<_> =
            (0..1500).map(|n| pool::block_on(queue.push(call!(noted, &file, n)))).collect();
        while !queue.is_empty() {
            let pool = Pool::new(2).unwrap();
            let work = pool.work(&queue);
            let wait = Duration::from_micros(5000 + numbers.below(20_000));
            let ends = thread::spawn(move || {
                thread::sleep(wait);
                pool.shutdown();
            });
            pool::block_on(work);
            ends.join().unwrap();
        }
        let mut closed = 0;
        for (n, job) in jobs.into_iter().enumerate() {
            match job.wait() {
                Ok(number) => assert_eq!(number, n as u64),
                Err(error) => {
                    assert!(error.is_pool_closed() && error.attempts() == 1, "{error}");
                    closed += 1;
                }
            }
        }
        assert!(once(&file).len() + closed >= 1500);
    });
}
