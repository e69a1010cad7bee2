//! Start hooks run in each worker, before its first job, and nowhere else.

use std::sync::atomic::{AtomicBool, Ordering};

use pool::{Pool, pool_job, submit};
use pool_tests::jobs::{self, Death};
use pool_tests::{isolated, lines, scratch};

static FIRST: AtomicBool = AtomicBool::new(false);
static SECOND: AtomicBool = AtomicBool::new(false);

#[pool::worker_start]
fn first() {
    FIRST.store(true, Ordering::SeqCst);
    if let Some(log) = std::env::var_os("HOOK_LOG") {
        jobs::append(log.as_ref(), &format!("hook in {}", std::process::id()));
    }
}

mod inner {
    #[pool::worker_start]
    fn second() -> Result<(), String> {
        super::SECOND.store(true, std::sync::atomic::Ordering::SeqCst);
        Ok(())
    }
}

#[pool_job]
fn hooks_have_run() -> bool {
    FIRST.load(Ordering::SeqCst) && SECOND.load(Ordering::SeqCst)
}

#[pool_job]
fn log_pid() {
    let log = std::env::var_os("HOOK_LOG").unwrap();
    jobs::append(log.as_ref(), &format!("job in {}", std::process::id()));
}

#[pool::test]
fn hooks_run_in_each_worker_once_and_before_its_first_job() {
    isolated(|| {
        let log = scratch("log");
        let pool = Pool::builder().workers(1).max_jobs_per_worker(2).env("HOOK_LOG", &log);
        let pool = pool.build().unwrap();
        for _ in 0..6 {
            submit!(pool => log_pid).wait().unwrap();
        }
        drop(pool);
        let log = lines(&log);
        let mut lives = Vec::new();
        for life in log.chunks(3) {
            let pid = life[0].strip_prefix("hook in ").unwrap();
            if life.len() == 3 {
                assert_eq!(life[1], format!("job in {pid}"));
                assert_eq!(life[2], life[1]);
            }
            lives.push(pid.to_owned());
        }
        assert!(lives.len() >= 3, "{log:?}");
        lives.dedup();
        assert!(lives.len() >= 3, "{log:?}");
    });
}

#[pool::test]
fn every_hook_has_run_when_a_job_runs() {
    isolated(|| {
        let pool = Pool::new(2).unwrap();
        for _ in 0..10 {
            assert!(submit!(pool => hooks_have_run).wait().unwrap());
            assert!(submit!(pool => jobs::die, Death::Abort).wait().unwrap_err().is_crash());
        }
    });
}

#[pool::test]
fn hooks_do_not_run_in_the_host() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        assert!(submit!(pool => hooks_have_run).wait().unwrap());
        assert!(!hooks_have_run());
    });
}
