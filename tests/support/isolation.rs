//! Tests in processes of their own, and the proof that nothing is left of them.
//!
//! A test runs itself again, twice, as the only test of its executable:
//!
//! 1. The *outer* stage is what the test harness calls. It makes a room (a directory) for the
//!    test, starts the reaper, and shows what was printed if anything went wrong.
//! 2. The *reaper* makes itself the one that inherits orphans, starts the host and watches over
//!    it. When the host has ended it looks for what is left: processes, dead ones that nobody
//!    reaped, files.
//! 3. The *host* runs the body and then looks at itself: descriptors, threads, shared memory.
//!
//! Workers are children of the host. They serve before any of this, by `#[pool::test]`.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::os::unix::process::ExitStatusExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions};

use crate::proc;
use crate::room::{ROOM, holds_within};

/// Names the stage that a process is in.
const STAGE: &str = "POOL_TESTS_STAGE";
/// Stands in the environment of every process of one test, and in no other's.
const TOKEN: &str = "POOL_TESTS_TOKEN";

/// How long the reaper waits for what the host left behind.
const AFTERLIFE: Duration = Duration::from_secs(2);
/// How long the host waits for its own threads to end. A driver ends with its last worker, and a
/// killed process takes its time where the machine is busy: its threads may hang in the system for
/// seconds.
const LAST_THREADS: Duration = Duration::from_secs(15);

/// Runs `body` in a process of its own, which has to end without leaving anything.
///
/// ```no_run
/// #[pool::test]
/// fn one_and_one() {
///     pool_tests::isolated(|| assert_eq!(1 + 1, 2));
/// }
/// ```
pub fn isolated<F: FnOnce()>(body: F) {
    Isolation::new().run(body);
}

/// How the host of a test ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The body returns, its pools were dropped: no process is left, at no time.
    Regular,
    /// The body returns and a pool lives on, as the global one does. Its processes are gone two
    /// seconds later.
    WithPool,
    /// The body ends the process by this signal. As above.
    Signal(i32),
    /// The body ends the process with this code. As above.
    Code(i32),
}

/// A test in processes of its own; [`isolated`] is the plain form.
#[derive(Clone, Debug)]
#[must_use = "nothing happens before `run`"]
pub struct Isolation {
    end: End,
    orphans: bool,
    alone: bool,
    watchdog: Duration,
    environment: Vec<(&'static str, &'static str)>,
}

impl Default for Isolation {
    fn default() -> Self {
        Isolation::new()
    }
}

impl Isolation {
    /// The plain form.
    pub fn new() -> Self {
        let watchdog = Duration::from_secs(60);
        let environment = Vec::new();
        Isolation { end: End::Regular, orphans: false, alone: false, watchdog, environment }
    }

    /// How the host is to end.
    pub fn end(mut self, end: End) -> Self {
        self.end = end;
        self
    }

    /// Jobs of this test start processes, which outlive their parents: nobody but the reaper can
    /// reap them. None of them may be alive two seconds after the end.
    pub fn orphans(mut self) -> Self {
        self.orphans = true;
        self
    }

    /// No other test of this executable runs at the same time: for those that measure time.
    pub fn alone(mut self) -> Self {
        self.alone = true;
        self
    }

    /// How long it may take.
    pub fn watchdog(mut self, limit: Duration) -> Self {
        self.watchdog = limit;
        self
    }

    /// A variable in the environment of the host.
    pub fn env(mut self, key: &'static str, value: &'static str) -> Self {
        self.environment.push((key, value));
        self
    }

    /// Runs `body`.
    ///
    /// # Panics
    ///
    /// If `body` panics, or anything is left of it.
    pub fn run<F: FnOnce()>(self, body: F) {
        self.run_and_read(body, |_| ());
    }

    /// Runs `body`, which has to fail, with `reason` in what is said about it.
    ///
    /// # Panics
    ///
    /// If it does not fail.
    pub fn must_fail<F: FnOnce()>(self, reason: &str, body: F) {
        let is_outer = std::env::var_os(STAGE).is_none();
        let run = AssertUnwindSafe(|| self.run(body));
        let Err(payload) = catch_unwind(run) else {
            assert!(!is_outer, "{reason:?} was not noticed");
            return;
        };
        if !is_outer {
            resume_unwind(payload);
        }
        let said = payload.downcast_ref::<String>().map(String::as_str).unwrap_or_default();
        assert!(said.contains(reason), "{reason:?} is not in what was said: {said}");
    }

    /// Runs `body`; `check` sees what the host and its workers have printed.
    ///
    /// # Panics
    ///
    /// If `body` or `check` panics, or anything is left of the body.
    pub fn run_and_read<F: FnOnce()>(self, body: F, check: impl FnOnce(&str)) {
        let test = test_name::<F>();
        match std::env::var(STAGE).as_deref() {
            Err(_) => outer(&self, &test, check),
            Ok("reaper") => reaper(&self, &test),
            Ok("host") => host(&self, body),
            Ok(other) => panic!("there is no stage {other}"),
        }
    }
}

/// The test in whose body `F` was written, as the harness knows it.
fn test_name<F>() -> String {
    let path = std::any::type_name::<F>();
    assert!(path.ends_with("{{closure}}"), "`{path}` does not say which test it belongs to");
    let segments: Vec<_> =
        path.split("::").skip(1).filter(|segment| !segment.starts_with("{{")).collect();
    segments.join("::")
}

/// The directory of one test; removed at the end.
struct Room(PathBuf);

impl Room {
    fn new() -> Room {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let moment = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let name = format!(
            "pool-tests-{}-{}-{}",
            std::process::id(),
            moment.as_nanos(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let room = Room(std::env::temp_dir().join(name));
        fs::create_dir(&room.0).unwrap();
        fs::create_dir(room.0.join("tmp")).unwrap();
        fs::create_dir(room.0.join("scratch")).unwrap();
        room
    }

    fn log(&self, stage: &str) -> String {
        let text = fs::read(self.0.join(stage)).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// This test once more, in another stage.
fn again(test: &str, stage: &str, room: &Path) -> Command {
    let log = OpenOptions::new().create(true).append(true).open(room.join(stage)).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", test, "--include-ignored", "--nocapture", "--test-threads=1"])
        .env(STAGE, stage)
        .env(ROOM, room)
        .env(TOKEN, room.file_name().unwrap())
        .env("TMPDIR", room.join("tmp"))
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log);
    command
}

/// That a stage came to its end, which an exit code alone does not say: a harness that finds no
/// test of the name is content.
fn done(room: &Path, stage: &str) -> PathBuf {
    room.join(format!("{stage}-is-done"))
}

/// Waits for a child; `None` if it takes too long.
fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let mut status = None;
    holds_within(limit, || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    status
}

fn outer(isolation: &Isolation, test: &str, check: impl FnOnce(&str)) {
    // The executable itself is the lock between tests in threads and tests in processes.
    let executable = File::open(std::env::current_exe().unwrap()).unwrap();
    let lock =
        if isolation.alone { FlockOperation::LockExclusive } else { FlockOperation::LockShared };
    while flock(&executable, lock) == Err(Errno::INTR) {}
    let room = Room::new();
    let mut command = again(test, "reaper", &room.0);
    for key in ["POOL_WORKERS", "POOL_IN_PROCESS", "RUST_BACKTRACE", "RUST_LIB_BACKTRACE"] {
        command.env_remove(key);
    }
    let mut child = command.spawn().unwrap();
    // The reaper has a watchdog of its own; this one is for the reaper.
    let status = wait(&mut child, isolation.watchdog + Duration::from_secs(20));
    if status.is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
    let by_itself = isolation.end.is_by_itself();
    let stages = ["reaper", "host"].into_iter().filter(|stage| !by_itself || *stage != "host");
    let undone: Vec<_> = stages.filter(|stage| !done(&room.0, stage).exists()).collect();
    if status.is_none_or(|status| !status.success()) || !undone.is_empty() {
        let status = status.map_or("killed by the watchdog".to_owned(), |s| s.to_string());
        panic!(
            "{test} failed; the reaper: {status}; did not come to their end: {undone:?}\n\
             --- the host and its workers:\n{}--- the reaper:\n{}---",
            room.log("host"),
            room.log("reaper")
        );
    }
    check(&room.log("host"));
}

impl End {
    /// The body ends the process, and the stage does not come to its end.
    fn is_by_itself(self) -> bool {
        matches!(self, End::Signal(_) | End::Code(_))
    }

    fn check(self, status: ExitStatus) {
        let as_expected = match self {
            End::Regular | End::WithPool => status.success(),
            End::Signal(signal) => status.signal() == Some(signal),
            End::Code(code) => status.code() == Some(code),
        };
        assert!(as_expected, "the host ended with {status}, expected: {self:?}");
    }
}

fn reaper(isolation: &Isolation, test: &str) {
    let me = rustix::process::getpid();
    rustix::process::set_child_subreaper(Some(me)).unwrap();
    let room = PathBuf::from(std::env::var_os(ROOM).unwrap());
    let mut command = again(test, "host", &room);
    command.envs(isolation.environment.iter().copied());
    let mut child = command.spawn().unwrap();
    let Some(status) = wait(&mut child, isolation.watchdog) else {
        let dump: String = family().into_iter().map(proc::describe).collect();
        kill_all();
        panic!("the host was not done within {:?}:\n{dump}", isolation.watchdog);
    };
    let left = family();
    let described: String = left.iter().copied().map(proc::describe).collect();
    let ended = Instant::now();
    let all_gone = holds_within(AFTERLIFE, || {
        reap();
        family().is_empty()
    });
    let took = ended.elapsed();
    if !all_gone {
        let dump: String = family().into_iter().map(proc::describe).collect();
        kill_all();
        panic!("alive {took:?} after the end of the host ({status}):\n{dump}");
    }
    isolation.end.check(status);
    if isolation.end == End::Regular && !isolation.orphans {
        assert!(left.is_empty(), "the host left processes behind:\n{described}");
    }
    let files: Vec<_> = fs::read_dir(room.join("tmp")).unwrap().flatten().collect();
    assert!(files.is_empty(), "the host left files behind: {files:?}");
    File::create(done(&room, "reaper")).unwrap();
}

/// The reaper's descendants, and whoever has the token.
fn family() -> Vec<u32> {
    let me = std::process::id();
    let token = format!("{TOKEN}={}\0", std::env::var(TOKEN).unwrap());
    let mut family = proc::descendants(me);
    let others = proc::all().into_iter().filter(|&pid| pid != me && !family.contains(&pid));
    let others: Vec<_> = others.filter(|&pid| proc::has_in_environment(pid, &token)).collect();
    family.extend(others);
    family
}

fn kill_all() {
    holds_within(Duration::from_secs(5), || {
        for pid in family() {
            if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
        }
        reap();
        family().is_empty()
    });
}

/// Reaps every child that is dead.
fn reap() {
    while let Ok(Some(_)) | Err(Errno::INTR) = rustix::process::wait(WaitOptions::NOHANG) {}
}

fn host<F: FnOnce()>(isolation: &Isolation, body: F) {
    // The body may be an async test's: no runtime may be dropped on its thread.
    let (before, with_one) = std::thread::spawn(descriptors).join().unwrap();
    body();
    if isolation.end == End::Regular {
        // A driver that was told to end needs a moment for it.
        let settled = holds_within(LAST_THREADS, || leftovers(&before, &with_one).is_none());
        if !settled {
            let me = std::process::id();
            let dump: String =
                std::iter::once(me).chain(proc::descendants(me)).map(proc::describe).collect();
            let left = leftovers(&before, &with_one).unwrap_or_default();
            panic!("left in the host: {left}\n{dump}");
        }
    }
    let room = std::env::var_os(ROOM).unwrap();
    File::create(done(Path::new(&room), "host")).unwrap();
}

/// What this process has, and what it would have with a runtime of tokio.
fn descriptors() -> (BTreeMap<String, usize>, BTreeMap<String, usize>) {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build();
    // Where some crate of this build asks tokio for signals, its first runtime leaves two sockets
    // to the process, and each has one of its own.
    drop(runtime());
    let with_one = runtime().map(|_alive| proc::own_descriptors()).unwrap_or_default();
    (proc::own_descriptors(), with_one)
}

/// What the pools of a body have left in this process, which had these descriptors before it, and
/// would have had those others with a runtime of tokio.
fn leftovers(
    before: &BTreeMap<String, usize>,
    with_one: &BTreeMap<String, usize>,
) -> Option<String> {
    let threads = proc::own_threads();
    let is_ours = |name: &String| {
        name == "pool-driver" || name == "pool-reaper" || name.starts_with("pool-worker")
    };
    if threads.iter().any(is_ours) {
        return Some(format!("threads {threads:?}"));
    }
    let recorders = proc::own_mappings("pool-recorder");
    if recorders > 0 {
        return Some(format!("{recorders} recorders"));
    }
    let mut after = proc::own_descriptors();
    // The timers of job queues have one runtime for the whole process, once there was need of it.
    if threads.iter().any(|name| name == "pool-timer") {
        for (kind, now) in &mut after {
            let count = |of: &BTreeMap<String, usize>| of.get(kind).copied().unwrap_or_default();
            *now = now.saturating_sub(count(with_one).saturating_sub(count(before)));
        }
        after.retain(|_, count| *count > 0);
    }
    (after != *before).then(|| format!("descriptors: {before:?} before, {after:?} now"))
}

/// Runs a puppet: how it ended, and what it printed.
///
/// # Panics
///
/// If it cannot be started, or is not done within thirty seconds.
pub fn run_puppet(command: &mut Command) -> (ExitStatus, String) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let log = crate::scratch(&format!("puppet-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
    let file = File::create(&log).unwrap();
    command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
    let mut child = command.spawn().unwrap();
    let status = wait(&mut child, Duration::from_secs(30));
    let text = String::from_utf8_lossy(&fs::read(&log).unwrap()).into_owned();
    status.map(|status| (status, text.clone())).unwrap_or_else(|| {
        let family = proc::descendants(std::process::id());
        let dump: String = family.into_iter().map(proc::describe).collect();
        let _ = child.kill();
        let _ = child.wait();
        panic!("the puppet was not done in time:\n{text}\n{dump}");
    })
}
