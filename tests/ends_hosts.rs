//! However a host ends, and whatever its workers are at, they are gone within a second.

#![expect(clippy::unwrap_used, reason = "a test has nothing better to do with an error")]

use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use pool::{Pool, submit};
use pool_tests::jobs;
use pool_tests::room::holds_within;
use pool_tests::{Isolation, isolated, pids, proc, run_puppet, scratch, wait_until};
use rustix::process::{Pid, Signal};

const PUPPET: &str = env!("CARGO_BIN_EXE_puppet-ends");
/// What is left may live for so long.
const A_SECOND: Duration = Duration::from_secs(1);
/// In the environment of one puppet and of all that it starts.
const MARK: &str = "POOL_TESTS_MARK";

/// Alone, since it measures time; what the body prints is for the reader.
fn alone_and_printed<F: FnOnce()>(body: F) {
    let isolation = Isolation::new().orphans().alone().watchdog(Duration::from_secs(120));
    isolation.run_and_read(body, |printed| print!("{printed}"));
}

/// A puppet whose workers are busy.
struct Busy {
    host: Child,
    mark: String,
    /// Two that burn and the child of a third, then the idle one, then perhaps one more.
    noted: PathBuf,
    log: PathBuf,
}

impl Busy {
    /// Starts one that ends as `end` says, in a process group of its own.
    fn start(end: &str) -> Busy {
        let (noted, log) = (scratch(&format!("noted-{end}")), scratch(&format!("log-{end}")));
        let file = std::fs::File::create(&log).unwrap();
        let mut command = Command::new(PUPPET);
        command.arg("busy").arg(&noted).arg(end).env(MARK, end).process_group(0);
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        Busy { host: command.spawn().unwrap(), mark: end.to_owned(), noted, log }
    }

    /// The same, and waits until it is as busy as can be.
    fn running(end: &str, noted: usize) -> Busy {
        let busy = Busy::start(end);
        wait_until("its workers are busy", || pids(&busy.noted).len() == noted);
        busy
    }

    /// How it ended; nothing of it may be left a second later, save for `except`.
    fn ended(mut self, except: &[u32]) -> (ExitStatus, String) {
        let status = self.host.wait().unwrap();
        let printed = std::fs::read_to_string(&self.log).unwrap();
        assert_eq!(pids(&self.noted).len() - except.len() - usize::from(self.is_handled()), 4);
        let took = gone(&self.mark, except);
        println!("{}: {status}, the last process was gone after {took:?}", self.mark);
        (status, printed)
    }

    /// It notes itself as well.
    fn is_handled(&self) -> bool {
        self.mark == "handle"
    }
}

/// The living that have this mark.
fn marked(mark: &str, except: &[u32]) -> Vec<u32> {
    let text = format!("{MARK}={mark}\0");
    let family = proc::all().into_iter().filter(|&pid| proc::has_in_environment(pid, &text));
    family.filter(|pid| proc::is_alive(*pid) && !except.contains(pid)).collect()
}

/// Waits until nobody who has this mark is alive, and says how long that took.
#[track_caller]
fn gone(mark: &str, except: &[u32]) -> Duration {
    let begin = Instant::now();
    let are_gone = holds_within(A_SECOND, || marked(mark, except).is_empty());
    let took = begin.elapsed();
    let left: String = marked(mark, except).into_iter().map(proc::describe).collect();
    assert!(are_gone && took <= A_SECOND, "{took:?} after the end of {mark}:\n{left}");
    took
}

#[pool::test]
fn the_idle_the_spinning_and_those_with_children_die_with_a_killed_host() {
    alone_and_printed(|| {
        let mut busy = Busy::running("killed", 4);
        assert_eq!(marked("killed", &[]).len(), 1 + 4 + 1);
        busy.host.kill().unwrap();
        let (status, _) = busy.ended(&[]);
        assert_eq!(status.signal(), Some(libc::SIGKILL));
    });
}

#[pool::test]
fn a_fork_child_of_a_killed_host_lives_on_and_its_workers_do_not() {
    alone_and_printed(|| {
        let mut busy = Busy::running("fork", 5);
        let child = pids(&busy.noted)[4];
        busy.host.kill().unwrap();
        busy.ended(&[child]);
        assert!(proc::is_alive(child));
        jobs::send(child, Signal::KILL);
    });
}

#[pool::test]
fn workers_in_the_middle_of_starting_die_with_a_killed_host() {
    alone_and_printed(|| {
        let mut slowest = Duration::ZERO;
        for round in 0..60_u64 {
            let mark = format!("starting-{round}");
            let mut command = Command::new(PUPPET);
            // From before the first launch until after all of them.
            command.arg("starting").arg((round * 150).to_string()).env(MARK, &mark);
            let (status, printed) = run_puppet(&mut command);
            assert_eq!(status.signal(), Some(libc::SIGKILL));
            slowest = slowest.max(gone(&mark, &[]));
            assert_eq!(printed, "", "orphans are silent");
        }
        println!("the slowest was gone after {slowest:?}");
    });
}

#[pool::test]
fn a_host_that_returns_exits_panics_or_aborts_leaves_nothing() {
    alone_and_printed(|| {
        for (end, code, signal) in [
            ("return", Some(0), None),
            ("drop", Some(0), None),
            ("exit", Some(7), None),
            ("panic", Some(101), None),
            ("abort", None, Some(libc::SIGABRT)),
        ] {
            let (status, printed) = Busy::start(end).ended(&[]);
            assert_eq!((status.code(), status.signal()), (code, signal), "{end}: {printed}");
            assert_eq!(printed.contains("as planned"), end == "panic", "{printed}");
        }
    });
}

/// Ctrl-C of a terminal: to everybody in the foreground process group.
fn interrupt(group: &Child) {
    let group = Pid::from_raw(i32::try_from(group.id()).unwrap()).unwrap();
    rustix::process::kill_process_group(group, Signal::INT).unwrap();
}

#[pool::test]
fn ctrl_c_ends_a_host_and_with_it_all_of_its_workers() {
    alone_and_printed(|| {
        let busy = Busy::running("interrupted", 4);
        interrupt(&busy.host);
        let (status, _) = busy.ended(&[]);
        assert_eq!(status.signal(), Some(libc::SIGINT));
    });
}

#[pool::test]
fn ctrl_c_reaches_a_host_that_handles_it_and_none_of_its_workers() {
    alone_and_printed(|| {
        let busy = Busy::running("handle", 5);
        interrupt(&busy.host);
        let (status, printed) = busy.ended(&[]);
        assert!(status.success(), "{status}: {printed}");
        assert_eq!(printed, "the workers are well\n");
    });
}

/// A pool of two, one of them busy, and its workers: the busy one first.
fn half_busy(name: &str, gate: &Path) -> (Pool, pool::JobHandle<u32>, [u32; 2]) {
    let pool = Pool::new(2).unwrap();
    let started = scratch(name);
    let busy = submit!(pool => jobs::hold, &started, gate);
    wait_until("it runs", || pids(&started).len() == 1);
    let idle = submit!(pool => jobs::pid).wait().unwrap();
    (pool, busy, [pids(&started)[0], idle])
}

#[pool::test]
fn the_end_of_one_pool_does_not_touch_another_in_the_same_process() {
    isolated(|| {
        let gate = scratch("gate");
        let (other, job, workers) = half_busy("other", &gate);
        for (index, end) in [
            (|pool| drop(pool)) as fn(Pool),
            |pool| pool::block_on(pool.shutdown()),
            |pool| assert_eq!(pool::block_on(pool.close()).succeeded, 1),
        ]
        .into_iter()
        .enumerate()
        {
            let own_gate = scratch(&format!("gate-{index}"));
            let (pool, held, theirs) = half_busy(&format!("held-{index}"), &own_gate);
            // `close` lets it finish.
            if index == 2 {
                jobs::open(&own_gate);
            }
            end(pool);
            assert_eq!(held.wait().is_ok(), index == 2);
            assert!(theirs.iter().all(|&worker| proc::state(worker).is_none()));
            let mut left = proc::children(std::process::id());
            left.sort_unstable();
            let mut expected = workers;
            expected.sort_unstable();
            assert_eq!(left, expected);
            assert_eq!(submit!(other => jobs::pid).wait().unwrap(), workers[1]);
        }
        jobs::open(&gate);
        assert_eq!(job.wait().unwrap(), workers[0]);
    });
}
