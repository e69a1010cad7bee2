//! Starts that fail: a worker that is killed, hangs or dies before it greets, a program that is
//! gone or is another one, a system without processes or descriptors to give. `WorkerStart` is
//! for jobs that nobody is left to run; and when the cause is gone, the pool is as before.

#![expect(clippy::unwrap_used, reason = "a test has nothing better to do with an error")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use pool::{JobErrorKind, JobHandle, JobStatus, Output, Pool, PoolBuilder, PoolEvent, submit};
use pool_tests::jobs::{self, Death};
use pool_tests::{Isolation, isolated, lines, pids, proc, scratch, wait_until};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};

/// Says what the start of a worker is like, by the path of a file.
const START: &str = "POOL_TESTS_START";

/// Notes this worker's number in the file that [`START`] names, and goes on as its name says.
#[pool::worker_start]
fn start_as_told() -> Result<(), String> {
    let Some(told) = std::env::var_os(START).map(PathBuf::from) else { return Ok(()) };
    let gate = told.with_extension("gate");
    if gate.exists() {
        return Ok(());
    }
    jobs::append(&told, &std::process::id().to_string());
    match told.file_name().unwrap().to_str().unwrap() {
        "waits" => {
            while !gate.exists() {
                thread::sleep(Duration::from_millis(1));
            }
            Ok(())
        }
        // All but the first one of a pool start as usual.
        "one-waits" => {
            if fs::File::create_new(told.with_extension("first")).is_ok() {
                wait_until("the gate is open", || gate.exists());
            }
            Ok(())
        }
        "fails" => Err("there is no licence".to_owned()),
        "panics" => panic!("the hook is broken"),
        "exits" => std::process::exit(3),
        other => Err(format!("{other} is no start")),
    }
}

/// A pool whose workers start as told, until the gate is there; the file with their numbers, and
/// the gate.
fn told(workers: usize, how: &str) -> (PoolBuilder, PathBuf, PathBuf) {
    let file = scratch(how);
    let gate = file.with_extension("gate");
    (Pool::builder().workers(workers).env(START, &file), file, gate)
}

/// What a `WorkerStart` says.
#[track_caller]
fn trouble_of<T: std::fmt::Debug>(job: JobHandle<T>) -> String {
    let error = job.wait().unwrap_err();
    let JobErrorKind::WorkerStart(reason) = error.kind() else { panic!("{error}") };
    assert_eq!(error.attempts(), 0, "{error}");
    assert!(error.to_string().contains(&**reason), "{error}");
    assert!(!error.is_crash() && !error.is_pool_closed(), "{error}");
    reason.clone()
}

/// Jobs run again, without anybody having done more than to remove the cause.
fn recovers(pool: &Pool) {
    wait_until("a job runs", || submit!(*pool => jobs::echo, 5).wait().is_ok());
    assert_eq!(submit!(*pool => jobs::attempt).wait().unwrap(), 1);
}

#[pool::test]
fn a_worker_that_is_killed_while_it_starts_harms_no_job() {
    isolated(|| {
        let (builder, file, gate) = told(1, "waits");
        let pool = builder.build().unwrap();
        let queued: Vec<_> = (0..10).map(|n| submit!(pool => jobs::echo, n)).collect();
        let first = submit!(pool => jobs::attempt);
        for n in 1..=2 {
            wait_until("a worker starts", || pids(&file).len() == n);
            jobs::send(pids(&file)[n - 1], Signal::KILL);
        }
        wait_until("the third one starts", || pids(&file).len() == 3);
        assert!(queued.iter().all(|job| job.status() == JobStatus::Queued));
        jobs::open(&gate);
        for (n, job) in queued.into_iter().enumerate() {
            assert_eq!(job.wait().unwrap(), n as u64);
        }
        assert_eq!(first.wait().unwrap(), 1);
        assert_eq!(submit!(pool => jobs::pid).wait().unwrap(), pids(&file)[2]);
    });
}

/// It may lie there already.
#[pool::test]
fn a_job_for_a_worker_that_still_starts_waits_like_any_other() {
    isolated(|| {
        let (builder, file, gate) = told(1, "waits");
        let pool = builder.build().unwrap();
        let mut events = pool.events();
        let ended = submit!(pool => jobs::pid);
        wait_until("a worker starts", || !pids(&file).is_empty());
        let others = [(); 3].map(|()| submit!(pool => jobs::pid));
        let stats = pool.stats();
        assert_eq!((stats.queued, stats.running, stats.utilization), (4, 0, 0.0));
        assert!(pool.snapshot().running.is_empty());
        assert!(pool.snapshot().oldest_queued.is_some());
        let error = {
            ended.cancel();
            ended.wait().unwrap_err()
        };
        assert_eq!((error.kind(), error.attempts()), (&JobErrorKind::Cancelled, 0));
        others[0].kill();
        assert_eq!(others[0].status(), JobStatus::Ended);
        let again = submit!(pool => jobs::attempt);
        jobs::open(&gate);
        let [killed, first, second] = others.map(JobHandle::wait);
        assert!(killed.is_err());
        assert_eq!([first.unwrap(), second.unwrap()], [pids(&file)[0]; 2]);
        assert_eq!(again.wait().unwrap(), 1);
        pool::block_on(pool.shutdown());
        // Nobody was told that it began before it could.
        let (mut is_ready, mut begun) = (false, 0);
        while let Some(event) = pool::block_on(events.next()) {
            is_ready |= matches!(event, PoolEvent::WorkerReady { .. });
            let begins = matches!(event, PoolEvent::JobStarted { .. });
            assert!(is_ready || !begins, "{event:?}");
            begun += u32::from(begins);
        }
        assert_eq!(begun, 3);
    });
}

#[pool::test]
fn a_worker_that_does_not_come_up_keeps_no_job_from_the_others() {
    isolated(|| {
        let (builder, file, gate) = told(2, "one-waits");
        let pool = builder.build().unwrap();
        let mut ran_in = Vec::new();
        for n in 0..20 {
            let jobs = [(); 2].map(|()| submit!(pool => jobs::pid));
            ran_in.extend(jobs.map(|job| job.wait().unwrap()));
            if n == 0 {
                wait_until("both start", || pids(&file).len() == 2);
            }
        }
        ran_in.dedup();
        assert_eq!(ran_in.len(), 1, "{ran_in:?}");
        assert_eq!(pool.stats().wait.count(), 40);
        jobs::open(&gate);
        pool::block_on(pool.ready()).unwrap();
    });
}

#[pool::test]
fn after_three_failed_starts_in_a_row_the_jobs_learn_why() {
    isolated(|| {
        let (builder, file, gate) = told(1, "waits");
        let pool = builder.build().unwrap();
        let job = submit!(pool => jobs::echo, 1);
        for n in 1..=3 {
            wait_until("a worker starts", || pids(&file).len() == n);
            assert_eq!(job.status(), JobStatus::Queued);
            jobs::send(pids(&file)[n - 1], Signal::KILL);
        }
        let reason = trouble_of(job);
        assert!(reason.contains("SIGKILL") && reason.contains("before it was ready"), "{reason}");
        jobs::open(&gate);
        recovers(&pool);
    });
}

#[pool::test]
fn a_start_that_hangs_dies_or_fails_is_told_in_words() {
    isolated(|| {
        let limit = Duration::from_millis(300);
        for (how, words) in [
            ("waits", "not ready within its start timeout of 300ms"),
            ("exits", "exited with code 3 before it was ready"),
            ("fails", "there is no licence"),
            ("panics", "the hook is broken"),
        ] {
            let (builder, file, gate) = told(2, how);
            // A machine that is busy may take longer to start one than it is waited for here.
            let builder = if how == "waits" { builder.start_timeout(limit) } else { builder };
            let pool = builder.build().unwrap();
            let error = pool::block_on(pool.ready()).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
            let reason = trouble_of(submit!(pool => jobs::echo, 1));
            assert!(reason.contains(words), "{how}: {reason}");
            assert!(pids(&file).len() >= 3, "{how}: {:?}", pids(&file));
            jobs::open(&gate);
            if how != "waits" {
                recovers(&pool);
            }
        }
    });
}

/// A program for workers: a link to this very one, which may be taken away or led elsewhere.
fn linked(workers: usize) -> (PoolBuilder, PathBuf) {
    let link = scratch("program");
    lead(&link, &std::env::current_exe().unwrap());
    let test = "a_worker_that_is_killed_while_it_starts_harms_no_job";
    let args = ["--exact", test, "--include-ignored", "--nocapture", "--test-threads=1"];
    let builder = Pool::builder().workers(workers).executable(&link).args(args);
    (builder.stdout(Output::Null), link)
}

/// Leads `link` to `program`, in one step.
fn lead(link: &Path, program: &Path) {
    let new = link.with_extension("new");
    std::os::unix::fs::symlink(program, &new).unwrap();
    fs::rename(new, link).unwrap();
}

#[pool::test]
fn a_program_that_is_gone_or_replaced_is_an_error_until_it_is_back() {
    isolated(|| {
        let (builder, link) = linked(2);
        let pool = builder.build().unwrap();
        recovers(&pool);
        let lose_workers = || {
            // Of two that die at once, none is left to run what comes after.
            for worker in proc::children(std::process::id()) {
                jobs::send(worker, Signal::KILL);
            }
        };
        let this = std::env::current_exe().unwrap();
        fs::remove_file(&link).unwrap();
        lose_workers();
        let reason = trouble_of(submit!(pool => jobs::echo, 1));
        assert!(reason.contains("program") && reason.contains("No such file"), "{reason}");
        lead(&link, &this);
        recovers(&pool);

        for (program, words) in [
            (Path::new("/bin/false"), "exited with code 1 before it was ready"),
            // It has other jobs, and the wrapped `main` of one who has jobs at all.
            (Path::new(env!("CARGO_BIN_EXE_puppet-host")), "other jobs than this program"),
            (Path::new("/dev/null"), "cannot be started"),
        ] {
            lead(&link, program);
            lose_workers();
            let reason = trouble_of(submit!(pool => jobs::echo, 1));
            assert!(reason.contains(words), "{reason}");
            lead(&link, &this);
            recovers(&pool);
        }
    });
}

/// A script that notes each of its starts and fails.
fn failing_script(file: &Path) -> PathBuf {
    let script = scratch("script");
    fs::write(&script, format!("#!/bin/sh\necho $$ >> '{}'\nexit 5\n", file.display())).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    script
}

#[pool::test]
fn while_a_worker_lives_failing_starts_end_no_job() {
    isolated(|| {
        let file = scratch("starts");
        let script = failing_script(&file);
        let (builder, link) = linked(2);
        let pool = builder.build().unwrap();
        let (started, gate) = (scratch("started"), scratch("gate"));
        let held = [(); 2].map(|()| submit!(pool => jobs::hold, &started, &gate));
        wait_until("both run", || pids(&started).len() == 2);
        lead(&link, &script);
        jobs::send(pids(&started)[0], Signal::KILL);
        let queued = submit!(pool => jobs::echo, 1);
        wait_until("starts have failed", || lines(&file).len() >= 5);
        assert_eq!(queued.status(), JobStatus::Queued);
        jobs::open(&gate);
        assert_eq!(queued.wait().unwrap(), 1);
        let ended: Vec<_> = held.into_iter().map(|job| job.wait().is_ok()).collect();
        assert_eq!(ended.iter().filter(|ok| **ok).count(), 1);
        // And the other one comes back by itself.
        lead(&link, &std::env::current_exe().unwrap());
        let (started, gate) = (scratch("again"), scratch("gate-again"));
        let held = [(); 2].map(|()| submit!(pool => jobs::hold, &started, &gate));
        wait_until("both run", || pids(&started).len() == 2);
        jobs::open(&gate);
        held.into_iter().for_each(|job| assert!(job.wait().is_ok()));
    });
}

#[pool::test]
fn starts_that_fail_back_off() {
    let body = || {
        let file = scratch("starts");
        let script = failing_script(&file);
        let begin = Instant::now();
        let pool = Pool::builder().workers(1).executable(script).build().unwrap();
        wait_until("six starts have failed", || lines(&file).len() >= 6);
        // No wait after the first failure, then 10, 20, 40 and 80 ms.
        let six = begin.elapsed();
        assert!(six >= Duration::from_millis(150), "{six:?}");
        wait_until("eight starts have failed", || lines(&file).len() >= 8);
        let eight = begin.elapsed();
        assert!(eight >= Duration::from_millis(150 + 160 + 320), "{eight:?}");
        println!("measured: six starts after {six:?}, eight after {eight:?}");
        // Who comes in between learns it with the next failure, and causes no further starts.
        let begin = Instant::now();
        let reason = trouble_of(submit!(pool => jobs::echo, 1));
        assert!(reason.contains("exited with code 5"), "{reason}");
        assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
        println!("measured: known after {:?}", begin.elapsed());
        for _ in 0..100 {
            drop(submit!(pool => jobs::echo, 1));
        }
        assert!(lines(&file).len() <= 10, "{}", lines(&file).len());
    };
    Isolation::new().alone().run_and_read(body, |printed| {
        printed
            .lines()
            .filter(|line| line.contains("measured"))
            .for_each(|line| println!("{line}"));
    });
}

/// Sets the soft limit of this process, and gives back what it was.
fn limit(resource: Resource, current: Option<u64>) -> Option<u64> {
    let old = getrlimit(resource);
    setrlimit(resource, Rlimit { current, maximum: old.maximum }).unwrap();
    old.current
}

#[pool::test]
fn a_host_without_descriptors_starts_no_worker_until_it_has_some_again() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let worker = submit!(pool => jobs::pid).wait().unwrap();
        // What is open stays open, and nothing more can be opened.
        let old = limit(Resource::Nofile, Some(3));
        assert!(fs::File::open("/dev/null").is_err());
        // What needs no descriptor works.
        assert_eq!(submit!(pool => jobs::pid).wait().unwrap(), worker);
        assert!(submit!(pool => jobs::die, Death::Abort).wait().unwrap_err().is_crash());
        let reason = trouble_of(submit!(pool => jobs::echo, 1));
        assert!(reason.contains("Too many open files"), "{reason}");
        limit(Resource::Nofile, old);
        recovers(&pool);
    });
}

#[pool::test]
fn a_worker_makes_do_with_few_descriptors() {
    isolated(|| {
        let old = limit(Resource::Nofile, Some(64));
        let pool = Pool::new(1).unwrap();
        recovers(&pool);
        drop(pool);
        limit(Resource::Nofile, old);
    });
}

#[pool::test]
#[expect(unsafe_code, reason = "another user")]
fn a_host_without_processes_starts_no_worker_until_it_has_some_again() {
    const SKIPPED: &str = "not shown: this needs a user to whom the limit applies";
    let body = || {
        // Nobody else's number: the limit counts all processes of a user.
        let user = 20_000 + std::process::id() % 40_000;
        for shared in
            [scratch("x").parent().unwrap(), scratch("x").parent().unwrap().parent().unwrap()]
        {
            let _ = fs::set_permissions(shared, fs::Permissions::from_mode(0o777));
        }
        // SAFETY: plain system calls, which libc carries out for all threads.
        let is_other = rustix::process::geteuid().is_root()
            && unsafe {
                libc::setgroups(0, std::ptr::null()) == 0
                    && libc::setgid(user) == 0
                    && libc::setuid(user) == 0
            };
        if !is_other {
            return println!("{SKIPPED}");
        }
        let pool = Pool::new(1).unwrap();
        let worker = submit!(pool => jobs::pid).wait().unwrap();
        let old = limit(Resource::Nproc, Some(0));
        assert_eq!(submit!(pool => jobs::pid).wait().unwrap(), worker);
        assert!(submit!(pool => jobs::die, Death::Abort).wait().unwrap_err().is_crash());
        let reason = trouble_of(submit!(pool => jobs::echo, 1));
        assert!(reason.contains("cannot be started"), "{reason}");
        // One process more, and it finds no room for its second thread.
        let own = proc::own_threads().len() as u64;
        limit(Resource::Nproc, Some(own + 1));
        wait_until("the worker is the one that fails", || {
            trouble_of(submit!(pool => jobs::echo, 1)).contains("before it was ready")
        });
        limit(Resource::Nproc, old);
        recovers(&pool);
    };
    Isolation::new().run_and_read(body, |printed| {
        printed.lines().filter(|line| line.contains(SKIPPED)).for_each(|line| println!("{line}"));
    });
}
