//! Workers that are killed or stopped from outside, at every moment of their lives: the job that
//! was running is charged at most, and the others give their results. Those that are killed while
//! they start are in `ends_start.rs`.

#![expect(clippy::unwrap_used, reason = "a test has nothing better to do with an error")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::fd::FromRawFd as _;
use std::path::Path;
use std::time::{Duration, Instant};

use pool::{JobError, JobErrorKind, JobHandle, Pool, RetryPolicy, WorkerExit};
use pool::{call, pool_job, submit};
use pool_tests::jobs;
use pool_tests::{Isolation, isolated, lines, pids, proc, scratch, wait_until};
use rustix::process::Signal;

/// Longer than any test.
const LONG: Duration = Duration::from_secs(600);
/// How soon a job leaves a worker that does not take it.
const SOON: Duration = Duration::from_millis(100);
/// A payload of which the channel holds only a small part.
const LARGE: usize = 64 << 20;
/// So much of it, and the worker is in the middle.
const A_GOOD_PART: usize = 4 << 20;

/// Notes that it runs, and counts.
#[pool_job]
fn count(file: &Path, bytes: &[u8]) -> usize {
    jobs::append(file, &std::process::id().to_string());
    bytes.iter().filter(|&&byte| byte == 1).count()
}

/// Notes that it is about to answer.
#[pool_job]
fn much(file: &Path) -> Vec<u8> {
    let bytes = vec![1; LARGE];
    jobs::append(file, &std::process::id().to_string());
    bytes
}

/// Notes its worker's number.
#[pool_job]
fn noted_pid(file: &Path, line: &str) -> u32 {
    jobs::append(file, line);
    std::process::id()
}

/// How much memory a process has in use.
fn resident(pid: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
    kib.unwrap_or(0_usize) * 1024
}

fn stop(worker: u32) {
    jobs::send(worker, Signal::STOP);
    wait_until("it is stopped", || matches!(proc::state(worker), Some('T' | 'Z') | None));
}

#[track_caller]
fn assert_killed(error: &JobError, attempts: u32) {
    let killed = JobErrorKind::Crashed(WorkerExit::Signal(libc::SIGKILL));
    assert_eq!(*error.kind(), killed, "{error}");
    assert_eq!(error.attempts(), attempts, "{error}");
}

/// A job that holds a worker, and its worker.
fn held(pool: &Pool, gate: &Path) -> (JobHandle<u32>, u32) {
    let started = gate.with_extension("started");
    let job = submit!(*pool => jobs::hold, &started, gate);
    wait_until("it runs", || !pids(&started).is_empty());
    let worker = pids(&started)[0];
    (job, worker)
}

#[pool::test]
fn a_worker_that_is_killed_in_mid_job_costs_that_job_only() {
    isolated(|| {
        let pool = Pool::new(2).unwrap();
        let gate = scratch("gate");
        let (neighbour, _) = held(&pool, &gate);
        for n in 0..3 {
            let (job, worker) = held(&pool, &scratch(&format!("never-{n}")));
            let queued: Vec<_> = (0..20).map(|n| submit!(pool => jobs::echo, n)).collect();
            jobs::send(worker, Signal::KILL);
            assert_killed(&job.wait().unwrap_err(), 1);
            for (n, job) in queued.into_iter().enumerate() {
                assert_eq!(job.wait().unwrap(), n as u64);
            }
        }
        jobs::open(&gate);
        neighbour.wait().unwrap();
    });
}

#[pool::test]
fn a_worker_that_is_killed_between_jobs_costs_none() {
    isolated(|| {
        let pool = Pool::new(2).unwrap();
        let file = scratch("notes");
        for n in 0..20 {
            let worker = submit!(pool => jobs::pid).wait().unwrap();
            jobs::send(worker, Signal::KILL);
            // Perhaps the death is not known yet, and these are handed to the dead.
            let jobs: Vec<_> =
                (0..4).map(|m| submit!(pool => noted_pid, &file, &format!("{n} {m}"))).collect();
            for job in jobs {
                assert_ne!(job.wait().unwrap(), worker);
            }
        }
        let mut seen = lines(&file);
        seen.sort_unstable();
        seen.dedup();
        assert_eq!((seen.len(), lines(&file).len()), (80, 80));
    });
}

/// Submits the large job until its worker was stopped in the middle of receiving the argument.
fn stopped_while_it_receives(
    pool: &Pool,
    file: &Path,
    retry: RetryPolicy,
) -> (JobHandle<usize>, u32) {
    let bytes = vec![1; LARGE];
    for _ in 0..200 {
        let _ = fs::remove_file(file);
        let worker = submit!(*pool => jobs::pid).wait().unwrap();
        let before = resident(worker);
        let job = pool.submit(call!(count, file, &bytes).retry(retry));
        while resident(worker) < before + A_GOOD_PART && !job.is_finished() {}
        stop(worker);
        // It has a part, not all, and has not begun.
        let part = resident(worker).saturating_sub(before);
        if lines(file).is_empty() && (A_GOOD_PART..LARGE - A_GOOD_PART).contains(&part) {
            return (job, worker);
        }
        jobs::send(worker, Signal::CONT);
        assert_eq!(job.wait().unwrap(), LARGE);
    }
    panic!("no worker could be stopped while it received");
}

#[pool::test]
fn a_worker_that_is_killed_while_it_receives_costs_the_job_that_it_receives() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let file = scratch("runs");
        let (job, worker) = stopped_while_it_receives(&pool, &file, RetryPolicy::default());
        let queued: Vec<_> = (0..20).map(|n| submit!(pool => jobs::echo, n)).collect();
        jobs::send(worker, Signal::KILL);
        assert_killed(&job.wait().unwrap_err(), 1);
        for (n, job) in queued.into_iter().enumerate() {
            assert_eq!(job.wait().unwrap(), n as u64);
        }
        assert!(lines(&file).is_empty());

        let (job, worker) = stopped_while_it_receives(&pool, &file, RetryPolicy::attempts(2));
        jobs::send(worker, Signal::KILL);
        assert_eq!(job.wait().unwrap(), LARGE);
        assert_eq!(lines(&file).len(), 1);
        assert_ne!(pids(&file)[0], worker);
    });
}

#[pool::test]
fn a_worker_that_is_killed_while_it_answers_costs_the_job_that_it_answers() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let file = scratch("runs");
        let host = std::process::id();
        let (job, worker) = (0..200)
            .find_map(|_| {
                let _ = fs::remove_file(&file);
                let worker = submit!(pool => jobs::pid).wait().unwrap();
                let before = resident(host);
                let job = submit!(pool => much, &file);
                while resident(host) < before + A_GOOD_PART && !job.is_finished() {}
                stop(worker);
                // The host has a part, not all.
                let part = resident(host).saturating_sub(before);
                let is_in_the_middle = (A_GOOD_PART..LARGE - A_GOOD_PART).contains(&part);
                if is_in_the_middle && !job.is_finished() {
                    return Some((job, worker));
                }
                jobs::send(worker, Signal::CONT);
                assert_eq!(job.wait().unwrap().len(), LARGE);
                None
            })
            .unwrap();
        let queued: Vec<_> = (0..20).map(|n| submit!(pool => jobs::echo, n)).collect();
        jobs::send(worker, Signal::KILL);
        assert_killed(&job.wait().unwrap_err(), 1);
        for (n, job) in queued.into_iter().enumerate() {
            assert_eq!(job.wait().unwrap(), n as u64);
        }
        assert_eq!(lines(&file).len(), 1);
    });
}

#[pool::test]
fn a_stopped_worker_loses_a_job_that_it_has_not_begun_within_100_ms() {
    let body = || {
        let pool = Pool::new(2).unwrap();
        let file = scratch("runs");
        let mut best = Duration::MAX;
        for n in 0..3 {
            // The other one is busy, so that the job can only go to the one that is stopped.
            let gate = scratch(&format!("gate-{n}"));
            let (busy, other) = held(&pool, &gate);
            let stopped = submit!(pool => jobs::pid).wait().unwrap();
            stop(stopped);
            let begin = Instant::now();
            let job = submit!(pool => noted_pid, &file, &n.to_string());
            jobs::open(&gate);
            assert_eq!(job.wait().unwrap(), other);
            best = best.min(begin.elapsed());
            busy.wait().unwrap();
            jobs::send(stopped, Signal::CONT);
            // It passes over what was taken back, and then serves as before.
            let gate = scratch(&format!("both-{n}"));
            let ((first, one), (second, two)) = (held(&pool, &gate), held(&pool, &scratch("x")));
            assert!([one, two].contains(&stopped));
            jobs::open(&gate);
            jobs::open(&scratch("x"));
            first.wait().unwrap();
            second.wait().unwrap();
            for name in ["x", "x.started"] {
                fs::remove_file(scratch(name)).unwrap();
            }
            if best <= SOON {
                break;
            }
        }
        println!("measured: another worker had it after {best:?}");
        assert!(best <= SOON, "{best:?}");
        let mut runs = lines(&file);
        runs.dedup();
        assert_eq!(runs, lines(&file), "a job ran twice");
    };
    Isolation::new().alone().run_and_read(body, |printed| {
        printed
            .lines()
            .filter(|line| line.contains("measured"))
            .for_each(|line| println!("{line}"));
    });
}

#[pool::test]
fn a_large_frame_that_is_stuck_in_a_stopped_worker_holds_up_nobody() {
    isolated(|| {
        let pool = Pool::new(2).unwrap();
        let file = scratch("runs");
        let gate = scratch("gate");
        let (busy, _) = held(&pool, &gate);
        let stopped = submit!(pool => jobs::pid).wait().unwrap();
        stop(stopped);
        let large = submit!(pool => count, &file, &vec![1; LARGE]);
        jobs::open(&gate);
        busy.wait().unwrap();
        for n in 0..200 {
            assert_eq!(submit!(pool => jobs::echo, n).wait().unwrap(), n);
        }
        jobs::send(stopped, Signal::CONT);
        assert_eq!(large.wait().unwrap(), LARGE);
        assert_eq!(lines(&file).len(), 1);
        // The one that was stopped reads what was left of the frame, and serves.
        let gate = scratch("both");
        let ((first, one), (second, two)) = (held(&pool, &gate), held(&pool, &scratch("x")));
        assert!([one, two].contains(&stopped));
        jobs::open(&gate);
        jobs::open(&scratch("x"));
        first.wait().unwrap();
        second.wait().unwrap();
    });
}

#[pool::test]
fn a_stopped_worker_that_wakes_runs_nothing_twice() {
    isolated(|| {
        let pool = Pool::new(2).unwrap();
        let file = scratch("runs");
        let mut expected = Vec::new();
        for n in 0..10 {
            let stopped = submit!(pool => jobs::pid).wait().unwrap();
            stop(stopped);
            let jobs: Vec<_> = (0..10)
                .map(|m| {
                    expected.push(format!("{n} {m}"));
                    submit!(pool => noted_pid, &file, &format!("{n} {m}"))
                })
                .collect();
            // In the middle of them, or of the wait for the stopped one.
            if n % 2 == 0 {
                jobs::send(stopped, Signal::CONT);
            }
            for job in jobs {
                job.wait().unwrap();
            }
            jobs::send(stopped, Signal::CONT);
        }
        let mut runs = lines(&file);
        runs.sort_unstable();
        expected.sort_unstable();
        assert_eq!(runs, expected);
    });
}

#[pool::test]
fn a_worker_that_is_stopped_in_mid_job_is_subject_to_timeout_cancel_and_kill() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let never = |n: u32| scratch(&format!("never-{n}"));
        let started = |n: u32| scratch(&format!("started-{n}"));
        let stopped = |n: u32, job: JobHandle<u32>| {
            wait_until("it runs", || !pids(&started(n)).is_empty());
            let worker = pids(&started(n))[0];
            stop(worker);
            (job, worker)
        };
        let limit = Duration::from_millis(200);
        let call = call!(jobs::hold, &started(0), &never(0)).timeout(limit);
        let (job, worker) = stopped(0, pool.submit(call));
        assert_eq!(*job.wait().unwrap_err().kind(), JobErrorKind::TimedOut(limit));
        assert!(!proc::is_alive(worker));

        let (job, worker) = stopped(1, submit!(pool => jobs::hold, &started(1), &never(1)));
        job.kill();
        assert!(job.wait().unwrap_err().is_cancelled());
        assert!(!proc::is_alive(worker));

        // It cannot hear the question, and its grace ends all the same.
        let call = call!(jobs::hold, &started(2), &never(2)).grace_period(limit);
        let (job, worker) = stopped(2, pool.submit(call));
        job.cancel();
        assert!(job.wait().unwrap_err().is_cancelled());
        assert!(!proc::is_alive(worker));

        // Without any of these it is only slow.
        let (job, worker) = stopped(3, submit!(pool => jobs::hold, &started(3), &never(3)));
        jobs::open(&never(3));
        let queued = submit!(pool => jobs::pid);
        jobs::send(worker, Signal::CONT);
        assert_eq!(job.wait().unwrap(), worker);
        assert_eq!(queued.wait().unwrap(), worker);

        // And a pool ends with a worker that is stopped.
        let (job, worker) = stopped(4, submit!(pool => jobs::hold, &started(4), &never(4)));
        drop(pool);
        assert!(job.wait().unwrap_err().is_pool_closed());
        assert!(!proc::is_alive(worker));
    });
}

#[pool::test]
fn a_worker_that_is_stopped_while_idle_does_not_hold_up_the_end_of_its_pool() {
    Isolation::new().alone().run(|| {
        for close in [false, true] {
            let pool = Pool::builder().workers(2).grace_period(LONG).build().unwrap();
            let worker = submit!(pool => jobs::pid).wait().unwrap();
            stop(worker);
            let begin = Instant::now();
            if close {
                pool::block_on(pool.close());
            }
            drop(pool);
            assert!(!proc::is_alive(worker));
            // A stop is waited for two seconds before it is a kill.
            assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
        }
    });
}

/// Names the file in which the poisoned worker counts its deaths, and makes it one.
const DEATHS: &str = "POOL_TESTS_DEATHS";

/// Not a test but a program: a worker that greets as it should, and dies as soon as the first
/// bytes of a job arrive, without having begun it.
#[test]
#[ignore = "a program for another test"]
#[expect(unsafe_code, reason = "stdin is the channel")]
fn a_worker_that_dies_of_the_first_frame() {
    let Some(deaths) = std::env::var_os(DEATHS) else { return };
    // SAFETY: nothing else in this process uses stdin.
    let mut channel = unsafe { fs::File::from_raw_fd(0) };
    let mut welcome = [0; 56];
    channel.read_exact(&mut welcome).unwrap();
    let (magic, protocol, fingerprint) = (&welcome[16..24], &welcome[24..28], &welcome[32..40]);
    let mut hello = vec![24, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    hello.extend_from_slice(magic);
    hello.extend_from_slice(protocol);
    hello.extend_from_slice(&std::process::id().to_le_bytes());
    hello.extend_from_slice(fingerprint);
    channel.write_all(&hello).unwrap();
    channel.read_exact(&mut [0]).unwrap();
    jobs::append(Path::new(&deaths), &std::process::id().to_string());
    std::process::abort();
}

#[pool::test]
fn a_job_that_kills_every_worker_before_it_begins_does_not_circle() {
    isolated(|| {
        for workers in [1, 3] {
            let deaths = scratch(&format!("deaths-{workers}"));
            let program = std::env::current_exe().unwrap();
            let test = "a_worker_that_dies_of_the_first_frame";
            let pool = Pool::builder().workers(workers).env(DEATHS, &deaths).executable(program);
            let pool = pool.args(["--exact", test, "--include-ignored", "--nocapture"]);
            let pool = pool.stdout(pool::Output::Null).stderr(pool::Output::Null);
            let pool = pool.build().unwrap();
            let error = submit!(pool => jobs::echo, 1).wait().unwrap_err();
            assert!(error.is_crash(), "{error}");
            assert_eq!(error.attempts(), 1, "{error}");
            let died = lines(&deaths).len();
            assert!((1..=4).contains(&died), "{died} workers died of it");
            // The next one is no better off for it, and no worse.
            assert!(submit!(pool => jobs::echo, 1).wait().unwrap_err().is_crash());
            assert!(lines(&deaths).len() <= 8);
        }
    });
}

#[pool::test]
fn a_pool_of_which_every_worker_was_stopped_gets_new_ones() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let stopped = submit!(pool => jobs::pid).wait().unwrap();
        jobs::send(stopped, Signal::STOP);
        wait_until("it is stopped", || proc::state(stopped) == Some('T'));
        let begun = Instant::now();
        let other = submit!(pool => jobs::pid).wait().unwrap();
        assert_ne!(other, stopped);
        assert!(!proc::is_alive(stopped));
        println!("a new worker had the job after {:?}", begun.elapsed());
        assert!(begun.elapsed() < Duration::from_secs(10));
    });
}
