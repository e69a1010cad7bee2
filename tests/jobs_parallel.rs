//! Workers run jobs at the same time, and one after the other in the same process.

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use pool::{JobContext, JobErrorKind, Pool, call, pool_job, submit};
use pool_tests::jobs::{self, Death};
use pool_tests::{isolated, lines, pids, proc, scratch, wait_until};

/// Comes to its end only when so many of its kind run at the same time.
#[pool_job]
fn meet(here: &Path, others: usize) -> u32 {
    jobs::append(here, &std::process::id().to_string());
    while lines(here).len() < others {
        thread::sleep(Duration::from_millis(1));
    }
    std::process::id()
}

#[pool_job]
fn slot(ctx: &JobContext, here: &Path, others: usize) -> usize {
    meet(here, others);
    ctx.worker()
}

#[pool_job]
fn divide(a: i32, b: i32) -> Result<i32, String> {
    a.checked_div(b).ok_or_else(|| format!("{a} by {b}"))
}

const EXPLODES_AT: u32 = line!() + 4;

#[pool_job]
fn explode(number: u32) {
    panic!("number {number} exploded");
}

#[pool_job]
async fn explode_later() {
    tokio::task::yield_now().await;
    panic!("later");
}

#[pool_job]
fn explode_oddly() {
    std::panic::panic_any(7);
}

#[pool_job]
fn explode_while_it_unwinds() {
    struct Second;
    impl Drop for Second {
        fn drop(&mut self) {
            let _ = std::panic::catch_unwind(|| panic!("the second"));
        }
    }
    let _second = Second;
    panic!("the first");
}

#[pool_job]
fn a_thread_of_mine_explodes() -> bool {
    thread::spawn(|| panic!("in a thread")).join().is_err()
}

/// What a job can read from its stdin, and what a child of it can.
#[pool_job]
fn read_stdin() -> (usize, String) {
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes).unwrap();
    let child = Command::new("cat").stdin(Stdio::inherit()).output().unwrap();
    (bytes.len(), String::from_utf8(child.stdout).unwrap())
}

#[pool_job]
fn names_of_variables() -> Vec<String> {
    std::env::vars().map(|(name, _)| name).collect()
}

#[pool_job]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[pool_job]
fn directory() -> std::path::PathBuf {
    std::env::current_dir().unwrap()
}

#[pool::test]
fn four_workers_run_four_jobs_at_once() {
    isolated(|| {
        let pool = Pool::new(4).unwrap();
        let here = scratch("here");
        let jobs: Vec<_> = (0..4).map(|_| submit!(pool => meet, &here, 4)).collect();
        let mut workers: Vec<u32> = jobs.into_iter().map(|job| job.wait().unwrap()).collect();
        workers.sort_unstable();
        workers.dedup();
        assert_eq!(workers.len(), 4);
        assert!(!workers.contains(&std::process::id()));
    });
}

#[pool::test]
fn every_worker_has_a_slot_of_its_own() {
    isolated(|| {
        let pool = Pool::new(3).unwrap();
        let here = scratch("here");
        let jobs: Vec<_> = (0..3).map(|_| submit!(pool => slot, &here, 3)).collect();
        let mut slots: Vec<_> = jobs.into_iter().map(|job| job.wait().unwrap()).collect();
        slots.sort_unstable();
        assert_eq!(slots, [0, 1, 2]);
    });
}

#[pool::test]
fn a_slot_is_stable_over_restarts() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        for restart in 0..3 {
            let here = scratch(&restart.to_string());
            assert_eq!(submit!(pool => slot, &here, 1).wait().unwrap(), 0);
            assert!(submit!(pool => jobs::die, Death::Abort).wait().unwrap_err().is_crash());
        }
    });
}

#[pool::test]
fn a_worker_is_used_again_after_success_error_and_panic() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let worker = submit!(pool => jobs::pid).wait().unwrap();
        let same = || submit!(pool => jobs::pid).wait().unwrap() == worker;
        assert!(same());
        assert_eq!(submit!(pool => divide, 6, 3).wait().unwrap(), Ok(2));
        assert!(same());
        assert_eq!(submit!(pool => divide, 6, 0).wait().unwrap(), Err("6 by 0".to_owned()));
        assert!(same());
        assert!(submit!(pool => explode, 1).wait().unwrap_err().is_panic());
        assert!(same());
        assert!(submit!(pool => explode_later).wait().unwrap_err().is_panic());
        assert!(same());
    });
}

#[pool::test]
fn twenty_panics_in_a_row_give_twenty_full_reports() {
    isolated(|| {
        let pool = Pool::builder().workers(1).env("RUST_BACKTRACE", "1").build().unwrap();
        let worker = submit!(pool => jobs::pid).wait().unwrap();
        for number in 0..20 {
            let label = format!("bomb {number}");
            let error = pool.submit(call!(explode, number).label(&*label)).wait().unwrap_err();
            let JobErrorKind::Panicked(info) = error.kind() else { panic!("{error}") };
            assert_eq!(info.message(), format!("number {number} exploded"));
            assert_eq!(info.file(), Some(file!()));
            assert_eq!((info.line(), info.column()), (Some(EXPLODES_AT), Some(5)));
            let backtrace = info.backtrace().unwrap();
            assert!(backtrace.contains("explode"), "{backtrace}");
            assert_eq!(error.attempts(), 1);
            assert_eq!(error.job_name(), "jobs_parallel::explode");
            let text = error.to_string();
            for part in ["`jobs_parallel::explode`", &label, "number", file!()] {
                assert!(text.contains(part), "{part:?} is not in {text:?}");
            }
        }
        assert_eq!(submit!(pool => jobs::pid).wait().unwrap(), worker);
    });
}

#[pool::test]
fn without_the_variable_there_is_no_backtrace() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let error = submit!(pool => explode, 1).wait().unwrap_err();
        let JobErrorKind::Panicked(info) = error.kind() else { panic!("{error}") };
        assert_eq!(info.backtrace(), None);
        assert_eq!(info.message(), "number 1 exploded");
    });
}

#[pool::test]
fn odd_panics_are_panics() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let worker = submit!(pool => jobs::pid).wait().unwrap();
        let error = submit!(pool => explode_oddly).wait().unwrap_err();
        assert!(error.is_panic(), "{error}");
        let error = submit!(pool => explode_while_it_unwinds).wait().unwrap_err();
        let JobErrorKind::Panicked(info) = error.kind() else { panic!("{error}") };
        assert_eq!(info.message(), "the first");
        // A thread of the job is the job's own business.
        assert!(submit!(pool => a_thread_of_mine_explodes).wait().unwrap());
        assert_eq!(submit!(pool => jobs::pid).wait().unwrap(), worker);
    });
}

#[pool::test]
fn the_stdin_of_a_job_is_at_its_end() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        assert_eq!(submit!(pool => read_stdin).wait().unwrap(), (0, String::new()));
        assert_eq!(submit!(pool => jobs::echo, 1).wait().unwrap(), 1);
    });
}

#[pool::test]
fn a_job_does_not_see_what_made_its_process_a_worker() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let names = submit!(pool => names_of_variables).wait().unwrap();
        assert!(!names.iter().any(|name| name == "POOL_WORKER"), "{names:?}");
        assert!(names.iter().any(|name| name == "PATH"), "{names:?}");
    });
}

#[pool::test]
fn environment_and_directory_of_the_workers_are_what_the_builder_says() {
    isolated(|| {
        let root = Path::new("/");
        let pool = Pool::builder().workers(1).env("A_WORD", "said").env_remove("HOME");
        let pool = pool.current_dir(root).build().unwrap();
        assert_eq!(submit!(pool => variable, "A_WORD").wait().unwrap().as_deref(), Some("said"));
        assert_eq!(submit!(pool => variable, "HOME").wait().unwrap(), None);
        assert_eq!(submit!(pool => directory).wait().unwrap(), root);
        let pool = Pool::builder().workers(1).env("A_WORD", "said").env_clear();
        let pool = pool.env("ANOTHER", "heard").build().unwrap();
        let mut names = submit!(pool => names_of_variables).wait().unwrap();
        names.retain(|name| !name.starts_with("RUSTDOC_DOCTEST_"));
        assert_eq!(names, ["ANOTHER"]);
    });
}

#[pool::test]
fn workers_are_children_with_a_group_of_their_own_and_a_name_in_process_lists() {
    isolated(|| {
        let pool = Pool::builder().workers(2).name("painters").build().unwrap();
        let here = scratch("here");
        let jobs: Vec<_> = (0..2).map(|_| submit!(pool => meet, &here, 2)).collect();
        wait_until("both have met", || pids(&here).len() == 2);
        for worker in pids(&here) {
            assert!(proc::children(std::process::id()).contains(&worker));
            let pid = rustix::process::Pid::from_raw(worker.cast_signed()).unwrap();
            assert_eq!(rustix::process::getpgid(Some(pid)).unwrap(), pid);
            assert!(proc::describe(worker).contains("painters"), "{}", proc::describe(worker));
        }
        jobs.into_iter().for_each(|job| assert!(job.wait().is_ok()));
    });
}
