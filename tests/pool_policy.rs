//! How workers come and go, and who is served first.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pool::{Pool, Priority, RetryPolicy, call, pool_job, submit};
use pool_tests::jobs::{self, Death};
use pool_tests::{Isolation, isolated, lines, pids, proc, scratch, wait_until};

#[pool_job]
#[expect(unsafe_code, reason = "the environment of a process is nobody's own")]
fn leave_things_behind() {
    // SAFETY: no other thread of this worker looks at the environment.
    unsafe { std::env::set_var("LEFT_BEHIND", "yes") };
    std::env::set_current_dir("/").unwrap();
}

#[pool_job]
fn things_left_behind() -> (Option<String>, PathBuf) {
    (std::env::var("LEFT_BEHIND").ok(), std::env::current_dir().unwrap())
}

#[pool_job(priority = "high")]
fn urgent(file: &Path, line: &str) {
    jobs::append(file, line);
}

fn workers() -> usize {
    proc::children(std::process::id()).len()
}

#[pool::test]
fn a_worker_for_each_job_if_that_is_asked_for() {
    isolated(|| {
        let pool = Pool::builder().workers(2).max_jobs_per_worker(1).build().unwrap();
        let jobs: Vec<_> = (0..20).map(|_| submit!(pool => jobs::pid)).collect();
        let mut workers: Vec<_> = jobs.into_iter().map(|job| job.wait().unwrap()).collect();
        workers.sort_unstable();
        workers.dedup();
        assert_eq!(workers.len(), 20);
    });
}

#[pool::test]
fn a_worker_is_replaced_after_so_many_jobs() {
    isolated(|| {
        let pool = Pool::builder().workers(1).max_jobs_per_worker(3).build().unwrap();
        let workers: Vec<_> = (0..9).map(|_| submit!(pool => jobs::pid).wait().unwrap()).collect();
        for (n, lives) in workers.chunks(3).enumerate() {
            assert!(lives.iter().all(|&worker| worker == lives[0]), "{workers:?}");
            assert!(n == 0 || workers[3 * n - 1] != lives[0], "{workers:?}");
        }
    });
}

#[pool::test]
fn what_a_job_leaves_behind_meets_the_next_one_only_in_the_same_worker() {
    isolated(|| {
        let here = std::env::current_dir().unwrap();
        let shared = Pool::new(1).unwrap();
        submit!(shared => leave_things_behind).wait().unwrap();
        let left = submit!(shared => things_left_behind).wait().unwrap();
        assert_eq!(left, (Some("yes".to_owned()), PathBuf::from("/")));
        let own = Pool::builder().workers(1).max_jobs_per_worker(1).build().unwrap();
        submit!(own => leave_things_behind).wait().unwrap();
        assert_eq!(submit!(own => things_left_behind).wait().unwrap(), (None, here));
    });
}

#[pool::test]
fn idle_workers_are_stopped_and_come_back_on_demand() {
    isolated(|| {
        let idle = Duration::from_millis(100);
        let pool = Pool::builder().workers(3).idle_timeout(idle).build().unwrap();
        for _ in 0..3 {
            let jobs: Vec<_> = (0..20).map(|n| submit!(pool => jobs::echo, n)).collect();
            for (n, job) in jobs.into_iter().enumerate() {
                assert_eq!(job.wait().unwrap(), n as u64);
            }
            wait_until("no worker is left", || workers() == 0);
        }
        let (started, gate) = (scratch("started"), scratch("gate"));
        let held = submit!(pool => jobs::hold, &started, &gate);
        wait_until("it runs", || !pids(&started).is_empty());
        let begin = Instant::now();
        wait_until("much time has passed", || begin.elapsed() > idle * 3);
        // A busy one is not idle.
        assert!(proc::is_alive(pids(&started)[0]));
        jobs::open(&gate);
        held.wait().unwrap();
    });
}

#[pool::test]
fn without_an_idle_timeout_workers_are_started_with_the_pool_and_stay() {
    isolated(|| {
        let pool = Pool::new(3).unwrap();
        pool::block_on(pool.ready()).unwrap();
        assert_eq!(workers(), 3);
        let jobs: Vec<_> = (0..30).map(|_| submit!(pool => jobs::pid)).collect();
        for job in jobs {
            job.wait().unwrap();
        }
        assert_eq!(workers(), 3);
    });
}

#[pool::test]
fn a_dead_worker_is_replaced_without_being_asked_for() {
    isolated(|| {
        let pool = Pool::new(2).unwrap();
        pool::block_on(pool.ready()).unwrap();
        let before = proc::children(std::process::id());
        jobs::send(before[0], rustix::process::Signal::KILL);
        wait_until("there are two again", || {
            let now = proc::children(std::process::id());
            now.len() == 2 && !now.contains(&before[0]) && now.contains(&before[1])
        });
    });
}

#[pool::test]
fn higher_priorities_are_served_first_and_within_one_it_is_first_come_first_served() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let (started, gate) = (scratch("started"), scratch("gate"));
        let held = submit!(pool => jobs::hold, &started, &gate);
        wait_until("the worker is busy", || !pids(&started).is_empty());
        let file = scratch("order");
        let orders = [
            (Priority::Low, "low 1"),
            (Priority::Normal, "normal 1"),
            (Priority::High, "high 1"),
            (Priority::Low, "low 2"),
            (Priority::High, "high 2"),
            (Priority::Normal, "normal 2"),
        ];
        let mut jobs: Vec<_> = orders
            .into_iter()
            .map(|(priority, line)| pool.submit(call!(jobs::note, &file, line).priority(priority)))
            .collect();
        jobs.push(submit!(pool => jobs::note, &file, "normal 3"));
        jobs.push(submit!(pool => urgent, &file, "high 3"));
        jobs.push(pool.submit(call!(urgent, &file, "low 3").priority(Priority::Low)));
        jobs::open(&gate);
        held.wait().unwrap();
        jobs.into_iter().for_each(|job| job.wait().unwrap());
        let order = lines(&file);
        let expected = ["high 1", "high 2", "high 3", "normal 1", "normal 2", "normal 3"];
        assert_eq!(order[..6], expected);
        assert_eq!(order[6..], ["low 1", "low 2", "low 3"]);
    });
}

#[pool::test]
fn a_retry_goes_to_the_back() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let (started, gate) = (scratch("started"), scratch("gate"));
        let held = submit!(pool => jobs::hold, &started, &gate);
        wait_until("the worker is busy", || !pids(&started).is_empty());
        let file = scratch("order");
        let retried = call!(note_and_panic_once, &file);
        let retried = pool.submit(retried.retry(RetryPolicy::attempts(2).on_panic(true)));
        let others: Vec<_> =
            (0..3).map(|n| submit!(pool => jobs::note, &file, &n.to_string())).collect();
        jobs::open(&gate);
        held.wait().unwrap();
        retried.wait().unwrap();
        others.into_iter().for_each(|job| job.wait().unwrap());
        assert_eq!(lines(&file), ["attempt 1", "0", "1", "2", "attempt 2"]);
    });
}

#[pool_job]
fn note_and_panic_once(ctx: &pool::JobContext, file: &Path) {
    jobs::append(file, &format!("attempt {}", ctx.attempt()));
    assert!(ctx.attempt() > 1);
}

#[pool::test]
fn jobs_of_one_worker_run_in_the_order_in_which_they_came() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let file = scratch("order");
        let jobs: Vec<_> =
            (0..300).map(|n| submit!(pool => jobs::note, &file, &n.to_string())).collect();
        jobs.into_iter().for_each(|job| job.wait().unwrap());
        let expected: Vec<_> = (0..300).map(|n| n.to_string()).collect();
        assert_eq!(lines(&file), expected);
    });
}

#[pool::test]
fn the_pool_builder_says_what_a_job_does_not() {
    isolated(|| {
        let pool = Pool::builder().workers(1).retry(RetryPolicy::attempts(2)).build().unwrap();
        let error = submit!(pool => jobs::die, Death::Abort).wait().unwrap_err();
        assert_eq!(error.attempts(), 2);
        let call = call!(jobs::die_before, 3, Death::Abort).retry(RetryPolicy::attempts(3));
        assert_eq!(pool.submit(call).wait().unwrap(), 3);
    });
}

#[pool_job]
fn variables(names: Vec<String>) -> Vec<Option<String>> {
    names.iter().map(|name| std::env::var(name).ok()).collect()
}

#[pool::test]
fn libraries_are_told_how_many_threads_they_may_start() {
    let names = ["RAYON_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"];
    let ask = |pool: &Pool| submit!(pool => variables, names.map(String::from).to_vec()).wait();
    let told = |texts: [&str; 3]| texts.map(|text| Some(text.to_owned())).to_vec();
    Isolation::new().env("MKL_NUM_THREADS", "7").run(|| {
        let builder = Pool::builder().workers(1).threads_per_worker(3);
        let pool = builder.clone().env("OMP_NUM_THREADS", "5").build().unwrap();
        assert_eq!(ask(&pool).unwrap(), told(["3", "5", "7"]));
        let pool = builder.env("OMP_NUM_THREADS", "5").env_clear().build().unwrap();
        assert_eq!(ask(&pool).unwrap(), told(["3", "3", "3"]));
    });
}
