//! However the host ends, no worker is left two seconds later.

use std::future::Future as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::Duration;

use pool::{JobContext, Pool, pool_job, submit};
use pool_tests::jobs::{self, Death};
use pool_tests::room::holds_within;
use pool_tests::{End, Isolation, pids, proc, run_puppet, scratch, wait_until};
use rustix::process::Signal;

/// A pool whose workers are busy, one with a child of its own, one idle. It lives for ever.
fn busy_pool() {
    let pool = Pool::new(3).unwrap();
    let (started, parents) = (scratch("started"), scratch("parents"));
    drop(submit!(pool => jobs::spin, &started));
    drop(submit!(pool => jobs::parent, &parents, None));
    assert_eq!(submit!(pool => jobs::echo, 1).wait().unwrap(), 1);
    wait_until("both run", || pids(&started).len() == 1 && pids(&parents).len() == 1);
    std::mem::forget(pool);
}

#[pool::test]
fn a_host_that_returns_with_a_pool_leaves_nothing() {
    Isolation::new().end(End::WithPool).run(|| {
        busy_pool();
    });
}

#[pool::test]
fn a_host_that_exits_leaves_nothing() {
    Isolation::new().end(End::Code(5)).run(|| {
        busy_pool();
        std::process::exit(5);
    });
}

#[pool::test]
fn a_host_that_aborts_leaves_nothing() {
    Isolation::new().end(End::Signal(libc::SIGABRT)).run(|| {
        busy_pool();
        std::process::abort();
    });
}

#[pool::test]
fn a_host_that_is_killed_leaves_nothing() {
    Isolation::new().end(End::Signal(libc::SIGKILL)).run(|| {
        busy_pool();
        jobs::die(Death::Signal(libc::SIGKILL));
    });
}

#[pool::test]
fn a_host_that_is_interrupted_leaves_nothing() {
    Isolation::new().end(End::Signal(libc::SIGINT)).run(|| {
        busy_pool();
        jobs::die(Death::Signal(libc::SIGINT));
    });
}

#[pool::test]
fn a_host_that_panics_leaves_nothing() {
    // The code of the test harness for a test that failed.
    Isolation::new().end(End::Code(101)).run(|| {
        busy_pool();
        panic!("as planned");
    });
}

#[pool::test]
fn a_host_that_is_killed_while_workers_start_leaves_nothing() {
    Isolation::new().end(End::Signal(libc::SIGKILL)).run(|| {
        std::mem::forget(Pool::new(8).unwrap());
        jobs::die(Death::Signal(libc::SIGKILL));
    });
}

#[pool::test]
#[expect(unsafe_code, reason = "a fork")]
fn a_fork_of_a_killed_host_does_not_keep_its_workers_alive() {
    Isolation::new().end(End::Signal(libc::SIGKILL)).run(|| {
        busy_pool();
        // SAFETY: the child does nothing but sleep in a system call, for three seconds: longer
        // than the workers may live.
        if unsafe { libc::fork() } == 0 {
            // SAFETY: no memory is touched.
            unsafe { libc::_exit(wait_for_workers()) };
        }
        jobs::die(Death::Signal(libc::SIGKILL));
    });
}

/// Whoever wakes it comes no further.
struct Trap;

static IS_CAUGHT: AtomicBool = AtomicBool::new(false);

impl Wake for Trap {
    fn wake(self: Arc<Self>) {
        IS_CAUGHT.store(true, Ordering::Relaxed);
        loop {
            thread::park();
        }
    }
}

/// Leaves a child behind and catches its worker's guard, then ends as soon as the host has ended.
#[pool_job]
#[expect(clippy::zombie_processes, reason = "that is what has to be cleaned up")]
fn outlives_its_host(ctx: &JobContext, ready: &Path) {
    Command::new("sleep").arg("10000").spawn().unwrap();
    let host = rustix::process::getppid();
    let mut waiting = std::pin::pin!(ctx.cancelled());
    let waker = Waker::from(Arc::new(Trap));
    assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    wait_until("the guard is caught", || IS_CAUGHT.load(Ordering::Relaxed));
    jobs::append(ready, "ready");
    wait_until("the host has ended", || rustix::process::getppid() != host);
}

#[pool::test]
fn a_worker_that_sees_the_end_of_its_host_before_its_guard_does_takes_its_children_along() {
    Isolation::new().end(End::Signal(libc::SIGKILL)).run(|| {
        let pool = Pool::new(1).unwrap();
        let ready = scratch("ready");
        drop(submit!(pool => outlives_its_host, &ready));
        wait_until("it waits for that", || ready.exists());
        jobs::die(Death::Signal(libc::SIGKILL));
    });
}

/// In a fork child, which holds copies of the host's descriptors: until no worker of the host is
/// left, a second at most.
fn wait_for_workers() -> i32 {
    let worker = pids(&scratch("started"))[0];
    i32::from(!holds_within(Duration::from_secs(1), || !proc::is_alive(worker)))
}

#[pool::test]
#[expect(unsafe_code, reason = "a fork")]
fn in_a_fork_of_the_host_a_pool_is_closed_and_dropping_it_touches_nothing() {
    pool_tests::isolated(|| {
        let pool = Pool::new(1).unwrap();
        let worker = submit!(pool => jobs::pid).wait().unwrap();
        // SAFETY: the child uses memory that the only other thread, the idle driver, does not
        // hold a lock of, and leaves by `_exit`.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let refused = submit!(pool => jobs::echo, 1).wait();
            let is_closed = refused.is_err_and(|error| error.is_pool_closed());
            let rest = std::panic::catch_unwind(|| drop(pool));
            // SAFETY: as above.
            unsafe { libc::_exit(if is_closed && rest.is_ok() { 0 } else { 1 }) };
        }
        let pid = rustix::process::Pid::from_raw(child).unwrap();
        let (_, status) =
            rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty())
                .unwrap()
                .unwrap();
        assert_eq!(status.exit_status(), Some(0));
        assert_eq!(submit!(pool => jobs::pid).wait().unwrap(), worker);
    });
}

#[pool::test]
fn a_worker_without_a_host_never_runs_the_programs_main() {
    pool_tests::isolated(|| {
        // What the variable says of this process's parent is not true.
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_puppet-host"));
        let (status, output) = run_puppet(command.env("POOL_WORKER", "1:1"));
        assert!(!status.success());
        assert!(!output.contains("main"), "{output}");
    });
}

#[pool::test]
fn the_main_of_a_wrapped_program_runs_once_and_its_global_pool_ends_with_it() {
    pool_tests::isolated(|| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_puppet-host"));
        let (status, output) = run_puppet(&mut command);
        assert!(status.success(), "{status}: {output}");
        let printed: Vec<_> = output.lines().collect();
        assert_eq!(printed, ["main begins", "a job speaks", "main ends"]);
        assert!(proc::children(std::process::id()).is_empty());
    });
}

#[pool::test]
fn a_host_that_is_stopped_keeps_its_workers_and_killed_then_leaves_nothing() {
    Isolation::new().orphans().run(|| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_puppet-host"));
        command.arg("forever").arg(scratch("workers")).stdout(std::process::Stdio::null());
        let mut host = command.spawn().unwrap();
        wait_until("its worker runs", || !pids(&scratch("workers")).is_empty());
        let worker = pids(&scratch("workers"))[0];
        jobs::send(host.id(), Signal::STOP);
        wait_until("it is stopped", || proc::state(host.id()) == Some('T'));
        assert!(proc::is_alive(worker));
        host.kill().unwrap();
        host.wait().unwrap();
        assert!(holds_within(Duration::from_secs(2), || !proc::is_alive(worker)));
    });
}
