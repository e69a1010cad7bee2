//! Hosts in odd circumstances: others reap their children, they inherit orphans, they fork, they
//! have no `/proc`.

#![expect(clippy::unwrap_used, reason = "a test has nothing better to do with an error")]

use std::fs;
use std::future::Future as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use pool::{JobErrorKind, JobQueue, Pool, WorkerExit, call, pool_job, submit};
use pool_tests::jobs::{self, Death};
use pool_tests::{Isolation, pids, proc, run_puppet, scratch, wait_until};
use rustix::process::{Pid, Signal, WaitOptions};

const PUPPET: &str = env!("CARGO_BIN_EXE_puppet-ends");

/// The output of a program that the job starts.
#[pool_job]
fn output_of_a_child() -> (Option<i32>, Vec<u8>) {
    let output = Command::new("sh").args(["-c", "echo said; exit 3"]).output().unwrap();
    (output.status.code(), output.stdout)
}

fn pid_of(number: u32) -> Pid {
    Pid::from_raw(i32::try_from(number).unwrap()).unwrap()
}

/// Jobs, crashes, kills and the end, where the host never learns how a process ended.
fn a_whole_life(pool: Pool) {
    pool::block_on(pool.ready()).unwrap();
    let output = submit!(pool => output_of_a_child).wait().unwrap();
    assert_eq!(output, (Some(3), b"said\n".to_vec()));
    let started = scratch("started");
    for how in [Death::Abort, Death::Exit(3), Death::Signal(libc::SIGKILL)].repeat(3) {
        let error = submit!(pool => jobs::parent, &started, Some(how)).wait().unwrap_err();
        assert_eq!(*error.kind(), JobErrorKind::Crashed(WorkerExit::Unknown), "{error}");
        assert_eq!(submit!(pool => jobs::echo, 1).wait().unwrap(), 1);
    }
    let killed = submit!(pool => jobs::parent, &started, None);
    wait_until("it runs", || pids(&started).len() == 10);
    killed.kill();
    assert!(killed.wait().unwrap_err().is_cancelled());
    let late = pool.submit(call!(jobs::spin, &scratch("late")).timeout(Duration::from_millis(50)));
    assert!(late.wait().unwrap_err().is_timeout());
    let children = pids(&started);
    wait_until("what they had started is dead", || {
        !children.iter().any(|&child| proc::is_alive(child))
    });
    let begin = Instant::now();
    pool::block_on(pool.shutdown());
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    assert!(proc::children(std::process::id()).is_empty());
}

#[pool::test]
#[expect(unsafe_code, reason = "a signal's disposition")]
fn a_host_that_ignores_the_end_of_its_children_has_a_whole_pool() {
    Isolation::new().orphans().run(|| {
        // SAFETY: no handler runs.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
        a_whole_life(Pool::new(2).unwrap());
    });
}

#[pool::test]
fn a_host_where_somebody_else_waits_for_any_child_has_a_whole_pool() {
    Isolation::new().orphans().run(|| {
        let pool = Pool::new(2).unwrap();
        thread::spawn(|| {
            loop {
                if rustix::process::wait(WaitOptions::empty()).is_err() {
                    thread::yield_now();
                }
            }
        });
        // Both wait at once, and either may be the first: what is known of an exit is right.
        let mut unknown = 0;
        for _ in 0..50 {
            let error = submit!(pool => jobs::die, Death::Exit(3)).wait().unwrap_err();
            match error.kind() {
                JobErrorKind::Crashed(WorkerExit::Unknown) => unknown += 1,
                kind => assert_eq!(*kind, JobErrorKind::Crashed(WorkerExit::Code(3)), "{error}"),
            }
        }
        assert!(unknown > 0);
        let started = scratch("started");
        let killed = submit!(pool => jobs::spin, &started);
        wait_until("it runs", || pids(&started).len() == 1);
        killed.kill();
        assert!(killed.wait().unwrap_err().is_cancelled());
        let begin = Instant::now();
        pool::block_on(pool.shutdown());
        assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
        wait_until("all are reaped", || proc::children(std::process::id()).is_empty());
    });
}

/// Keeps the thread that wakes it until it is let go.
struct Detain(Sender<()>, Mutex<Receiver<()>>);

impl Wake for Detain {
    fn wake(self: Arc<Self>) {
        self.0.send(()).unwrap();
        self.1.lock().unwrap().recv().unwrap();
    }
}

/// A process that has the number `pid`, which was free a moment ago, and a group of its own.
fn reuse(pid: u32) -> Option<std::process::Child> {
    for _ in 0..200 {
        fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).ok()?;
        let mut child = Command::new("sleep").arg("10000").process_group(0).spawn().unwrap();
        if child.id() == pid {
            return Some(child);
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    None
}

#[pool::test]
fn the_number_of_a_worker_that_somebody_else_reaped_gets_no_signal() {
    let isolation = Isolation::new();
    isolation.run_and_read(
        || {
            let pool = Pool::new(2).unwrap();
            let gate = scratch("gate");
            let holds = [(); 2].map(|()| submit!(pool => jobs::hold, &scratch("started"), &gate));
            wait_until("both run", || pids(&scratch("started")).len() == 2);
            jobs::open(&gate);
            let workers = holds.map(|hold| hold.wait().unwrap());
            // The driver is detained while it tells of the end of one worker.
            let (caught, is_caught) = channel();
            let (release, is_released) = channel();
            let waker = Waker::from(Arc::new(Detain(caught, Mutex::new(is_released))));
            let mut crash = submit!(pool => jobs::die, Death::Exit(3));
            let polled = std::pin::Pin::new(&mut crash).poll(&mut Context::from_waker(&waker));
            assert!(polled.is_pending());
            is_caught.recv().unwrap();
            // Meanwhile another one dies, is reaped, and its number has a new owner.
            let other = workers.into_iter().find(|&worker| proc::is_alive(worker)).unwrap();
            jobs::send(other, Signal::KILL);
            rustix::process::waitpid(Some(pid_of(other)), WaitOptions::empty()).unwrap();
            let stranger = reuse(other);
            release.send(()).unwrap();
            let Some(mut stranger) = stranger else {
                println!("note: skipped, the numbers of processes cannot be chosen here");
                return;
            };
            // Both workers have been replaced, so the death was dealt with.
            let more = [(); 2].map(|()| submit!(pool => jobs::hold, &scratch("more"), &gate));
            let more = more.map(|hold| hold.wait().unwrap());
            assert!(!more.contains(&other));
            let begin = Instant::now();
            pool::block_on(pool.shutdown());
            assert!(proc::is_alive(other), "a stranger was killed");
            assert!(begin.elapsed() < Duration::from_secs(1), "a stranger was waited for");
            stranger.kill().unwrap();
            stranger.wait().unwrap();
        },
        print_notes,
    );
}

/// What was skipped, for the reader.
fn print_notes(printed: &str) {
    // The harness may have begun a line before them.
    let notes = printed.lines().filter_map(|line| line.find("note: ").map(|at| &line[at..]));
    notes.for_each(|note| println!("{note}"));
}

/// Runs a puppet by `unshare`, if that is permitted here.
fn unshared(options: &[&str], then: &[&str], puppet: &[&str]) -> Option<String> {
    let command = |then: &[&str], puppet: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(options).args(then).args(puppet);
        command
    };
    let probe = command(then, &["true"]).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        println!("note: skipped, `unshare {}` is not permitted here", options.join(" "));
        return None;
    }
    let (status, printed) = run_puppet(&mut command(then, puppet));
    assert!(status.success(), "{status}: {printed}");
    Some(printed)
}

#[pool::test]
fn a_host_that_is_process_one_reaps_the_orphans_of_its_workers() {
    Isolation::new().run_and_read(
        || {
            let options = ["--pid", "--fork", "--mount-proc"];
            let started = scratch("started");
            let puppet = [PUPPET, "first", started.to_str().unwrap()];
            if let Some(printed) = unshared(&options, &[], &puppet) {
                assert_eq!(printed, "all are reaped\n");
            }
        },
        print_notes,
    );
}

#[pool::test]
fn without_proc_the_kernel_is_asked_what_program_this_is() {
    Isolation::new().run_and_read(
        || {
            // Nothing may be read below `/proc` from there on, by anybody inside.
            let hide = ["sh", "-c", "mount -t tmpfs none /proc && exec \"$@\"", "sh"];
            if let Some(printed) = unshared(&["--mount"], &hide, &[PUPPET, "without-proc"]) {
                assert_eq!(printed, "it works\n");
            }
            // By a relative path it is found too.
            let cut = PUPPET.rfind('/').unwrap();
            let relative = format!(".{}", &PUPPET[cut..]);
            let script =
                format!("cd {} && mount -t tmpfs none /proc && exec \"$@\"", &PUPPET[..cut]);
            let hide = ["sh", "-c", &script, "sh"];
            if let Some(printed) = unshared(&["--mount"], &hide, &[&relative, "without-proc"]) {
                assert_eq!(printed, "it works\n");
            }
        },
        print_notes,
    );
}

/// In a fork child: everything that a program may try with its copies of a pool. Says what went
/// wrong.
fn try_everything(pool: Pool, job: pool::JobHandle<u32>, queue: &JobQueue) -> Option<&'static str> {
    job.cancel();
    job.kill();
    let refused = submit!(pool => jobs::echo, 1).wait();
    if !refused.is_err_and(|error| error.is_pool_closed()) {
        return Some("a job was taken");
    }
    if pool.try_submit(call!(jobs::echo, 1)).is_ok() || pool::block_on(pool.reserve()).is_ok() {
        return Some("there was room for a job");
    }
    let report = pool::block_on(pool.work(queue));
    if report.succeeded + report.failed + report.cancelled > 0 || queue.count() != 1 {
        return Some("a job left its queue");
    }
    if pool::block_on(pool.ready()).is_ok() {
        return Some("it was ready");
    }
    if pool.stats() != pool::Stats::default() || pool.snapshot() != pool::Snapshot::default() {
        return Some("something was counted");
    }
    pool::block_on(pool.close());
    pool::block_on(pool.shutdown());
    drop(job);
    drop(pool);
    let own = Pool::new(1).ok()?;
    let answer = submit!(own => jobs::echo, 7).wait();
    drop(own);
    answer.is_err().then_some("it could have no pool of its own")
}

#[pool::test]
#[expect(unsafe_code, reason = "forks")]
fn whatever_a_fork_child_does_with_its_copies_the_pool_is_unharmed() {
    Isolation::new().orphans().run(|| {
        let pool = Pool::new(2).unwrap();
        let (started, gate) = (scratch("started"), scratch("gate"));
        let busy = submit!(pool => jobs::hold, &started, &gate);
        wait_until("it runs", || pids(&started).len() == 1);
        let idle = submit!(pool => jobs::pid).wait().unwrap();
        for round in 0..20 {
            let queue = JobQueue::new();
            let queued = pool::block_on(queue.push(call!(jobs::echo, round)));
            let copies = (pool.clone(), busy.canceller());
            // A fork while the driver works is the hard case: the core may be locked for ever in
            // the child.
            let stream: Vec<_> = (0..40).map(|n| submit!(pool => jobs::echo, n)).collect();
            let mut mapped = pool.map((0..40).map(|n| call!(jobs::echo, n))).unordered();
            assert_eq!(pool::block_on(mapped.next()).map(|first| first.is_ok()), Some(true));
            // SAFETY: this thread holds no lock of the pool, and the child leaves by `_exit`.
            let child = unsafe { libc::fork() };
            if child == 0 {
                let wrong = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
                    copies.1.kill();
                    // The driver may hold the lock of any of them.
                    drop(queued.cancel_on_drop());
                    stream.into_iter().for_each(|job| drop(job.cancel_on_drop()));
                    drop(mapped);
                    try_everything(pool, busy, &queue)
                }));
                let is_well = matches!(wrong, Ok(None));
                if !is_well {
                    eprintln!("in the fork child: {wrong:?}");
                }
                // SAFETY: as above.
                unsafe { libc::_exit(i32::from(!is_well)) };
            }
            let mut status = None;
            wait_until("the fork child is done", || {
                let child = Pid::from_raw(child);
                status = rustix::process::waitpid(child, WaitOptions::NOHANG).unwrap();
                status.is_some()
            });
            assert_eq!(status.and_then(|(_, status)| status.exit_status()), Some(0));
            for (n, job) in stream.into_iter().enumerate() {
                assert_eq!(job.wait().unwrap(), n as u64);
            }
            assert_eq!(mapped.blocking().filter(|result| result.is_ok()).count(), 39);
            assert_eq!(pool::block_on(pool.work(&queue)).succeeded, 1);
            assert_eq!(queued.wait().unwrap(), round);
        }
        assert_eq!(submit!(pool => jobs::pid).wait().unwrap(), idle);
        jobs::open(&gate);
        assert_eq!(busy.wait().unwrap(), pids(&started)[0]);
    });
}
