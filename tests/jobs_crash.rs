//! A crash costs the job that was running, and nothing else.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pool::{JobContext, JobErrorKind, Pool, RetryPolicy, WorkerExit, call, pool_job, submit};
use pool_tests::jobs::{self, Death};
use pool_tests::{Isolation, isolated, lines, pids, proc, scratch, wait_until};
use rustix::process::{Signal, WaitOptions};

#[pool_job]
async fn abort_later() {
    tokio::time::sleep(Duration::from_millis(1)).await;
    std::process::abort();
}

#[pool_job]
fn abort_in_a_thread() {
    let _ = std::thread::spawn(|| std::process::abort()).join();
}

#[pool_job]
fn overflow_the_stack(n: u64) -> u64 {
    fn deeper(n: u64) -> u64 {
        let here = std::hint::black_box([n; 64]);
        if n == 0 { here[0] } else { deeper(n + 1) + here[1] }
    }
    deeper(n.max(1))
}

/// Becomes another program, which closes the channel and lives on.
#[pool_job]
fn become_another(started: &Path) {
    jobs::append(started, &std::process::id().to_string());
    let error = Command::new("sleep").arg("10000").exec();
    panic!("{error}");
}

/// Leaves a child, forked without an exec, that holds everything which the worker had open.
#[pool_job]
#[expect(unsafe_code, reason = "a fork")]
fn fork_and_exit(started: &Path, code: i32) {
    // SAFETY: the child does nothing but sleep in a system call until it is killed.
    let child = unsafe { libc::fork() };
    if child == 0 {
        loop {
            // SAFETY: no memory is touched.
            unsafe { libc::pause() };
        }
    }
    jobs::append(started, &child.to_string());
    std::process::exit(code);
}

/// Closes every descriptor that a job might close by habit.
#[pool_job]
#[expect(unsafe_code, reason = "descriptors of others")]
fn close_low_descriptors() -> u32 {
    for fd in 3..100 {
        // SAFETY: none; this is what the job is about.
        unsafe { libc::close(fd) };
    }
    std::process::id()
}

/// Closes the worker's channel too.
#[pool_job]
#[expect(unsafe_code, reason = "descriptors of others")]
fn close_every_descriptor() {
    for fd in 3..4096 {
        // SAFETY: none; this is what the job is about.
        unsafe { libc::close(fd) };
    }
}

/// The worker's end of its channel: the first of its sockets that went to a high number.
fn channel() -> i32 {
    let numbers = std::fs::read_dir("/proc/self/fd").unwrap().flatten().filter_map(|entry| {
        let target = std::fs::read_link(entry.path()).ok()?;
        let is_socket = target.to_str()?.starts_with("socket:");
        is_socket.then(|| entry.file_name().to_str()?.parse().ok()).flatten()
    });
    numbers.filter(|&number: &i32| number >= 100).min().unwrap()
}

/// Writes to the channel what no worker would, and goes on.
#[pool_job]
#[expect(unsafe_code, reason = "a descriptor of others")]
fn talk_rubbish(rubbish: &[u8]) {
    // SAFETY: none is needed for a write; that it goes to another's descriptor is the point.
    let written = unsafe { libc::write(channel(), rubbish.as_ptr().cast(), rubbish.len()) };
    assert_eq!(written, rubbish.len() as isize);
    loop {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Closes the channel, and nothing else.
#[pool_job]
#[expect(unsafe_code, reason = "a descriptor of others")]
fn close_the_channel() {
    // SAFETY: none; this is what the job is about.
    unsafe { libc::close(channel()) };
}

/// Stops its worker.
#[pool_job]
fn stop_yourself(started: &Path) {
    jobs::append(started, &std::process::id().to_string());
    jobs::send(std::process::id(), Signal::STOP);
    // Another thread may have taken the signal, and this one may go on for a moment.
    loop {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Crashes for one in fifty.
#[pool_job]
fn mostly(number: u64) -> u64 {
    if number % 50 == 7 {
        std::process::abort();
    }
    number
}

#[pool_job]
fn noted_attempt(ctx: &JobContext, file: &Path, lives_at: u32) -> u32 {
    jobs::append(file, &ctx.attempt().to_string());
    if ctx.attempt() < lives_at {
        std::process::abort();
    }
    ctx.attempt()
}

#[track_caller]
fn crash_of(pool: &Pool, how: Death) -> WorkerExit {
    let error = submit!(pool => jobs::die, how).wait().unwrap_err();
    let JobErrorKind::Crashed(exit) = error.kind() else { panic!("{how:?} gave {error}") };
    assert!(error.is_crash() && !error.is_panic() && !error.is_timeout() && !error.is_cancelled());
    assert_eq!(error.attempts(), 1, "{error}");
    *exit
}

#[pool::test]
fn a_crash_is_reported_with_its_signal_or_code() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        assert_eq!(crash_of(&pool, Death::Abort), WorkerExit::Signal(libc::SIGABRT));
        assert_eq!(crash_of(&pool, Death::Segfault), WorkerExit::Signal(libc::SIGSEGV));
        assert_eq!(crash_of(&pool, Death::Exit(3)), WorkerExit::Code(3));
        assert_eq!(crash_of(&pool, Death::Exit(0)), WorkerExit::Code(0));
        assert_eq!(crash_of(&pool, Death::Exit(70)), WorkerExit::Code(70));
        for signal in [libc::SIGKILL, libc::SIGTERM, libc::SIGILL, libc::SIGINT] {
            assert_eq!(crash_of(&pool, Death::Signal(signal)), WorkerExit::Signal(signal));
        }
        assert_eq!(submit!(pool => jobs::echo, 5).wait().unwrap(), 5);
    });
}

#[pool::test]
fn crashes_in_odd_places_are_crashes() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let abort = JobErrorKind::Crashed(WorkerExit::Signal(libc::SIGABRT));
        assert_eq!(*submit!(pool => abort_later).wait().unwrap_err().kind(), abort);
        assert_eq!(*submit!(pool => abort_in_a_thread).wait().unwrap_err().kind(), abort);
        assert_eq!(*submit!(pool => overflow_the_stack, 1).wait().unwrap_err().kind(), abort);
        assert_eq!(submit!(pool => jobs::echo, 5).wait().unwrap(), 5);
    });
}

#[pool::test]
fn the_error_of_a_crash_names_job_label_attempt_and_cause() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let call = call!(jobs::die, Death::Abort).label("a.pdf");
        let handle = pool.submit(call);
        let id = handle.id();
        let error = handle.wait().unwrap_err();
        assert_eq!(error.job_id(), id);
        assert_eq!(error.job_name(), "pool_tests::jobs::die");
        let text = error.to_string();
        for part in ["pool_tests::jobs::die", "a.pdf", "attempt 1", "SIGABRT", &id.to_string()] {
            assert!(text.contains(part), "{part:?} is not in {text:?}");
        }
    });
}

#[pool::test]
fn a_crash_leaves_its_neighbours_alone() {
    isolated(|| {
        let pool = Pool::new(2).unwrap();
        let (started, gate) = (scratch("started"), scratch("gate"));
        let neighbour = submit!(pool => jobs::hold, &started, &gate);
        wait_until("the neighbour runs", || !pids(&started).is_empty());
        let waiting: Vec<_> = (0..10).map(|n| submit!(pool => jobs::echo, n)).collect();
        for how in [Death::Abort, Death::Exit(1), Death::Segfault] {
            crash_of(&pool, how);
        }
        for (n, job) in waiting.into_iter().enumerate() {
            assert_eq!(job.wait().unwrap(), n as u64);
        }
        jobs::open(&gate);
        assert_eq!(neighbour.wait().unwrap(), pids(&started)[0]);
    });
}

#[pool::test]
fn of_a_thousand_jobs_of_which_twenty_crash_the_others_give_their_results() {
    isolated(|| {
        let pool = Pool::new(4).unwrap();
        let jobs: Vec<_> = (0..1000).map(|n| submit!(pool => mostly, n)).collect();
        let (mut good, mut bad) = (0, 0);
        for (n, job) in jobs.into_iter().enumerate() {
            match job.wait() {
                Ok(number) => {
                    assert_eq!(number, n as u64);
                    good += 1;
                }
                Err(error) => {
                    assert!(error.is_crash(), "{error}");
                    assert_eq!(n % 50, 7, "{error}");
                    assert_eq!(error.attempts(), 1);
                    bad += 1;
                }
            }
        }
        assert_eq!((good, bad), (980, 20));
    });
}

#[pool::test]
fn a_crashed_job_is_tried_again_if_its_policy_says_so() {
    isolated(|| {
        let pool = Pool::new(2).unwrap();
        let file = scratch("attempts");
        let call = call!(noted_attempt, &file, 3).retry(RetryPolicy::attempts(5));
        assert_eq!(pool.submit(call).wait().unwrap(), 3);
        assert_eq!(lines(&file), ["1", "2", "3"]);
    });
}

#[pool::test]
fn a_job_that_crashes_in_every_attempt_ends_after_the_last() {
    isolated(|| {
        let pool = Pool::builder().workers(1).retry(RetryPolicy::attempts(3)).build().unwrap();
        let file = scratch("attempts");
        let error = submit!(pool => noted_attempt, &file, 100).wait().unwrap_err();
        assert!(error.is_crash(), "{error}");
        assert_eq!(error.attempts(), 3);
        assert!(error.to_string().contains("attempt 3"), "{error}");
        assert_eq!(lines(&file), ["1", "2", "3"]);
        let call = call!(noted_attempt, &file, 100);
        let call = call.retry(RetryPolicy::attempts(3).on_crash(false));
        assert_eq!(pool.submit(call).wait().unwrap_err().attempts(), 1);
    });
}

#[pool::test]
fn what_a_crashed_job_has_started_dies_with_it() {
    Isolation::new().orphans().run(|| {
        let pool = Pool::new(1).unwrap();
        for (n, how) in [Death::Abort, Death::Exit(0), Death::Exit(3)].into_iter().enumerate() {
            let started = scratch(&n.to_string());
            let error = submit!(pool => jobs::parent, &started, Some(how)).wait().unwrap_err();
            assert!(error.is_crash(), "{error}");
            let child = pids(&started)[0];
            wait_until("the grandchild is dead", || !proc::is_alive(child));
        }
    });
}

#[pool::test]
fn a_worker_that_dies_idle_harms_no_job() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let mut worker = submit!(pool => jobs::pid).wait().unwrap();
        for _ in 0..5 {
            jobs::send(worker, Signal::KILL);
            // Perhaps before the death was noticed: a job that never started is not charged.
            assert_eq!(submit!(pool => jobs::attempt).wait().unwrap(), 1);
            let next = submit!(pool => jobs::pid).wait().unwrap();
            assert_ne!(next, worker);
            worker = next;
        }
    });
}

#[pool::test]
fn a_stopped_worker_harms_no_other_job() {
    isolated(|| {
        let pool = Pool::new(2).unwrap();
        let (started, gate) = (scratch("started"), scratch("gate"));
        let both: Vec<_> = (0..2).map(|_| submit!(pool => jobs::hold, &started, &gate)).collect();
        wait_until("both workers run", || pids(&started).len() == 2);
        jobs::open(&gate);
        both.into_iter().for_each(|job| assert!(job.wait().is_ok()));
        let stopped = pids(&started)[0];
        jobs::send(stopped, Signal::STOP);
        wait_until("it is stopped", || proc::state(stopped) == Some('T'));
        let jobs: Vec<_> = (0..20).map(|_| submit!(pool => jobs::pid)).collect();
        for job in jobs {
            assert_ne!(job.wait().unwrap(), stopped);
        }
        jobs::send(stopped, Signal::CONT);
    });
}

#[pool::test]
fn a_worker_that_sends_rubbish_costs_only_itself_and_its_job() {
    isolated(|| {
        let pool = Pool::new(2).unwrap();
        let (started, gate) = (scratch("started"), scratch("gate"));
        let neighbour = submit!(pool => jobs::hold, &started, &gate);
        wait_until("the neighbour runs", || !pids(&started).is_empty());
        // Four bytes would be a length that the host waits for, were a header not checked whole.
        let rubbish = [
            vec![0; 4096],
            vec![0xff; 4096],
            vec![0xff; 16],
            vec![0x7f; 64],
            b"HTTP/1.1 200 OK\r\n\r\n".to_vec(),
        ];
        for rubbish in rubbish {
            let error = submit!(pool => talk_rubbish, &rubbish).wait().unwrap_err();
            assert_eq!(*error.kind(), JobErrorKind::Crashed(WorkerExit::Unknown), "{error}");
            assert_eq!(submit!(pool => jobs::echo, 5).wait().unwrap(), 5);
        }
        jobs::open(&gate);
        assert_eq!(neighbour.wait().unwrap(), pids(&started)[0]);
    });
}

#[pool::test]
fn a_worker_that_closes_its_channel_costs_only_itself_and_its_job() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let error = submit!(pool => close_the_channel).wait().unwrap_err();
        assert!(error.is_crash(), "{error}");
        assert_eq!(submit!(pool => jobs::echo, 5).wait().unwrap(), 5);
    });
}

/// While other workers have jobs handed ahead, the host looks at what each has answered at every
/// tick, whether that has come over the channel or not.
#[pool::test]
fn a_job_that_closes_its_channel_has_crashed_however_often_its_host_looks() {
    isolated(|| {
        let pool = Pool::new(3).unwrap();
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let calls = std::iter::from_fn(|| {
                    (!is_over.load(Ordering::Relaxed)).then(|| call!(jobs::echo, 5))
                });
                let echoes = pool.map(calls).max_in_flight(1000).blocking();
                assert!(echoes.map(Result::unwrap).all(|echo| echo == 5));
            });
            let closing = || submit!(pool => close_the_channel).wait();
            let results: Vec<_> = (0..100).map(|_| closing()).collect();
            is_over.store(true, Ordering::Relaxed);
            for result in results {
                let error = result.unwrap_err();
                assert_eq!(*error.kind(), JobErrorKind::Crashed(WorkerExit::Unknown), "{error}");
            }
        });
    });
}

#[pool::test]
fn a_worker_that_is_stopped_in_its_job_can_be_given_up() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let started = scratch("started");
        let job = pool.submit(call!(stop_yourself, &started).timeout(Duration::from_millis(300)));
        assert!(job.wait().unwrap_err().is_timeout());
        assert!(!proc::is_alive(pids(&started)[0]));
        assert_eq!(submit!(pool => jobs::echo, 5).wait().unwrap(), 5);
    });
}

#[pool::test]
#[expect(unsafe_code, reason = "the disposition of a signal")]
fn a_host_that_ignores_the_death_of_children_hears_of_it_all_the_same() {
    isolated(|| {
        // SAFETY: no handler is set. The system reaps by itself from here on.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
        let pool = Pool::new(1).unwrap();
        assert_eq!(submit!(pool => jobs::echo, 5).wait().unwrap(), 5);
        let error = submit!(pool => jobs::die, Death::Exit(3)).wait().unwrap_err();
        assert_eq!(*error.kind(), JobErrorKind::Crashed(WorkerExit::Unknown), "{error}");
        // In the worker it is as ever.
        assert_eq!(submit!(pool => code_of_a_child, 7).wait().unwrap(), Some(7));
        let started = scratch("started");
        let job = submit!(pool => jobs::spin, &started);
        wait_until("it runs", || !pids(&started).is_empty());
        job.kill();
        assert!(job.wait().unwrap_err().is_cancelled());
        pool::block_on(pool.shutdown());
    });
}

#[pool_job]
fn code_of_a_child(code: i32) -> Option<i32> {
    Command::new("sh").arg("-c").arg(format!("exit {code}")).status().unwrap().code()
}

#[pool::test]
fn a_host_that_reaps_everything_itself_is_served_all_the_same() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        // Somebody waits for any child, as inits and some libraries do.
        let is_over = Arc::new(AtomicBool::new(false));
        let until = is_over.clone();
        let reaper = std::thread::spawn(move || {
            while !until.load(Ordering::SeqCst) {
                if rustix::process::wait(WaitOptions::empty()).is_err() {
                    // No child at the moment.
                    std::thread::yield_now();
                }
            }
        });
        for _ in 0..3 {
            let error = submit!(pool => jobs::die, Death::Abort).wait().unwrap_err();
            assert!(error.is_crash(), "{error}");
        }
        assert_eq!(submit!(pool => jobs::echo, 5).wait().unwrap(), 5);
        is_over.store(true, Ordering::SeqCst);
        drop(pool);
        reaper.join().unwrap();
    });
}

#[pool::test]
fn a_death_is_seen_though_a_child_holds_the_channel() {
    Isolation::new().orphans().run(|| {
        let pool = Pool::new(1).unwrap();
        let started = scratch("started");
        let error = submit!(pool => fork_and_exit, &started, 3).wait().unwrap_err();
        assert_eq!(*error.kind(), JobErrorKind::Crashed(WorkerExit::Code(3)));
        let child = pids(&started)[0];
        wait_until("the fork is dead", || !proc::is_alive(child));
        assert_eq!(submit!(pool => jobs::echo, 5).wait().unwrap(), 5);
    });
}

#[pool::test]
fn a_worker_that_becomes_another_program_is_given_up() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let started = scratch("started");
        let error = submit!(pool => become_another, &started).wait().unwrap_err();
        assert_eq!(*error.kind(), JobErrorKind::Crashed(WorkerExit::Unknown), "{error}");
        assert!(error.to_string().contains("channel"), "{error}");
        assert!(!proc::is_alive(pids(&started)[0]));
        assert_eq!(submit!(pool => jobs::echo, 5).wait().unwrap(), 5);
    });
}

#[pool_job]
fn close_every_descriptor_if(so: bool) {
    let began = Instant::now();
    while began.elapsed() < Duration::from_micros(100) {}
    if so {
        close_every_descriptor();
    }
}

#[pool::test]
fn closed_descriptors_are_not_the_fault_of_the_next_job() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        // From then on some are handed ahead.
        (0..20).for_each(|_| submit!(pool => close_every_descriptor_if, false).wait().unwrap());
        for _ in 0..5 {
            let handles: Vec<_> =
                (0..20).map(|n| submit!(pool => close_every_descriptor_if, n == 9)).collect();
            let results: Vec<_> = handles.into_iter().map(|handle| handle.wait()).collect();
            let crashed: Vec<_> = (0..20).filter(|n| results[*n].is_err()).collect();
            assert_eq!(crashed, [9]);
        }
    });
}

#[pool::test]
fn closed_descriptors_cost_at_most_the_job_that_closed_them() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let worker = submit!(pool => close_low_descriptors).wait().unwrap();
        assert_eq!(submit!(pool => jobs::pid).wait().unwrap(), worker);
        let error = submit!(pool => close_every_descriptor).wait().unwrap_err();
        assert!(error.is_crash(), "{error}");
        assert_eq!(submit!(pool => jobs::echo, 5).wait().unwrap(), 5);
    });
}
