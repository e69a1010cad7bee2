//! The last words of a worker in the error of its job.

use std::path::Path;
use std::time::Duration;

use pool::{JobErrorKind, Output, Pool, PoolBuilder, PoolEvent, block_on, call, submit};
use pool_tests::jobs::{self, Death};
use pool_tests::{isolated, lines, scratch, wait_until};

#[pool::pool_job]
fn complain(lines: &[String], how: Option<Death>) {
    lines.iter().for_each(|line| eprintln!("{line}"));
    if let Some(how) = how {
        jobs::die(how);
    }
}

#[pool::pool_job]
fn complain_and_spin(line: &str, started: &Path) {
    eprintln!("{line}");
    jobs::spin(started);
}

/// Ends by a stack that has no room left, of which the run-time library says so.
#[pool::pool_job]
fn recurse(n: u64) -> u64 {
    if n == 0 { 0 } else { std::hint::black_box(recurse(std::hint::black_box(n + 1))) + 1 }
}

/// A panic that cannot unwind.
#[pool::pool_job]
fn panic_in_c() {
    extern "C" fn callback() {
        panic!("the callback is broken");
    }
    callback();
}

const HOW: &str = "POOL_TESTS_OUTPUT_TAIL";

/// A start hook of this test's workers, bad if it is told to be.
#[pool::worker_start]
fn starts() {
    match std::env::var(HOW).as_deref() {
        Ok("exits") => {
            eprintln!("there is no licence");
            std::process::exit(3);
        }
        Ok("aborts") => {
            eprintln!("there is no device");
            std::process::abort();
        }
        _ => {}
    }
}

fn capturing() -> PoolBuilder {
    Pool::builder().workers(1).stderr(Output::Capture)
}

fn said(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

#[pool::test]
fn a_crash_brings_the_last_lines_of_its_job() {
    isolated(|| {
        let pool = capturing().build().unwrap();
        for how in [Death::Abort, Death::Exit(3), Death::Segfault, Death::Signal(9)] {
            // What another job has said is not told.
            submit!(pool => complain, &said(&["earlier"]), None).wait().unwrap();
            let error = submit!(pool => complain, &said(&["one", "two"]), Some(how)).wait();
            let error = error.unwrap_err();
            assert!(error.is_crash());
            assert_eq!(error.stderr_tail(), Some("one\ntwo"), "{error}");
            assert!(error.to_string().contains("; its last words: \"two\""), "{error}");
            assert_eq!(error.to_string().lines().count(), 1);
        }
        let error = submit!(pool => jobs::die, Death::Exit(3)).wait().unwrap_err();
        assert_eq!(error.stderr_tail(), None);
        assert!(!error.to_string().contains("last words"), "{error}");
    });
}

#[pool::test]
fn what_the_quickest_death_leaves_belongs_to_its_job() {
    isolated(|| {
        let pool = Pool::builder().workers(2).stderr(Output::Capture).build().unwrap();
        block_on(pool.ready()).unwrap();
        let mut events = pool.events();
        for _ in 0..100 {
            // Handed over by this thread, and read by another.
            let job = submit!(pool => complain, &said(&["last words"]), Some(Death::Exit(1)));
            let id = job.id();
            let error = job.wait().unwrap_err();
            assert_eq!(error.stderr_tail(), Some("last words"), "{error}");
            let told = block_on(async {
                let mut told = Vec::new();
                while let Some(event) = events.next().await {
                    match event {
                        PoolEvent::JobStarted { id: other, .. } if other == id => told.push(1),
                        PoolEvent::Output { job: Some(other), .. } if other == id => told.push(2),
                        PoolEvent::JobEnded { id: other, .. } if other == id => break,
                        _ => {}
                    }
                }
                told
            });
            assert_eq!(told, [1, 2]);
        }
    });
}

#[pool::test]
fn a_panic_brings_the_lines_that_were_printed_before() {
    isolated(|| {
        let pool = capturing().build().unwrap();
        let error = submit!(pool => complain, &said(&["one"]), Some(Death::Panic)).wait();
        let error = error.unwrap_err();
        assert_eq!((error.is_panic(), error.stderr_tail()), (true, Some("one")));
        // Its worker lives on, and so does nothing of this.
        let error = submit!(pool => jobs::die, Death::Panic).wait().unwrap_err();
        assert_eq!((error.is_panic(), error.stderr_tail()), (true, None));
    });
}

#[pool::test]
fn what_the_run_time_library_says_of_a_death_is_told() {
    isolated(|| {
        let pool = capturing().build().unwrap();
        let error = submit!(pool => recurse, 1).wait().unwrap_err();
        let tail = error.stderr_tail().unwrap_or_default();
        assert!(error.is_crash() && tail.contains("overflowed its stack"), "{error:?}");
        let error = submit!(pool => panic_in_c).wait().unwrap_err();
        let tail = error.stderr_tail().unwrap_or_default();
        assert!(error.is_crash() && tail.contains("the callback is broken"), "{error:?}");
        assert!(error.to_string().contains("the callback is broken\""), "{error}");
    });
}

#[pool::test]
fn a_job_that_is_killed_or_too_late_has_its_last_lines() {
    isolated(|| {
        let pool = capturing().build().unwrap();
        let started = scratch("started");
        let job = submit!(pool => complain_and_spin, "at work", &started);
        wait_until("it runs", || lines(&started).len() == 1);
        job.kill();
        let error = job.wait().unwrap_err();
        assert_eq!((error.is_cancelled(), error.stderr_tail()), (true, Some("at work")));

        let started = scratch("started again");
        let call = call!(complain_and_spin, "too slow", &started);
        let error = pool.submit(call.timeout(Duration::from_millis(500))).wait().unwrap_err();
        assert_eq!((error.is_timeout(), error.stderr_tail()), (true, Some("too slow")));
        assert!(error.to_string().contains("; its last words: \"too slow\""), "{error}");
    });
}

#[pool::test]
fn a_tail_is_bounded() {
    isolated(|| {
        let pool = capturing().build().unwrap();
        let many: Vec<_> = (1..=1000).map(|n| format!("line {n}")).collect();
        let error = submit!(pool => complain, &many, Some(Death::Abort)).wait().unwrap_err();
        let tail: Vec<_> = error.stderr_tail().unwrap().lines().collect();
        assert_eq!(tail, many[980..]);

        let long = said(&[&"x".repeat(1 << 20), &"y".repeat(3000), &"z".repeat(3000)]);
        let error = submit!(pool => complain, &long, Some(Death::Abort)).wait().unwrap_err();
        assert_eq!(error.stderr_tail(), Some(&*long[2]));
        assert!(error.to_string().len() < 1000);

        let error = submit!(pool => complain, &long[..1], Some(Death::Abort)).wait().unwrap_err();
        let tail = error.stderr_tail().unwrap();
        assert!((4000..=4096).contains(&tail.len()) && tail.starts_with("xxx"));
    });
}

#[pool::test]
fn without_a_capture_there_is_no_tail() {
    isolated(|| {
        for output in [Output::Inherit, Output::Null] {
            let pool = Pool::builder().workers(1).stdout(Output::Capture).stderr(output);
            let pool = pool.build().unwrap();
            let error = submit!(pool => complain, &said(&["one"]), Some(Death::Abort)).wait();
            assert_eq!(error.unwrap_err().stderr_tail(), None);
        }
    });
}

#[pool::test]
fn a_worker_that_cannot_start_says_why() {
    isolated(|| {
        for (how, words) in [("exits", "there is no licence"), ("aborts", "there is no device")] {
            let pool = capturing().env(HOW, how).build().unwrap();
            let reason = block_on(pool.ready()).unwrap_err().to_string();
            assert!(reason.contains(&format!("; its last words: {words:?}")), "{reason}");
            let error = submit!(pool => jobs::echo, 1).wait().unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
            assert_eq!(error.stderr_tail(), Some(words));
            assert!(matches!(error.kind(), JobErrorKind::WorkerStart(_)));
        }
    });
}
