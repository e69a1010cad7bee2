//! Jobs that end badly, in the ways of panics and processes: what the contract says of each, and
//! that nothing else is hurt. The plain deaths are in `jobs_crash.rs`.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, SystemTime};

use pool::{JobContext, JobErrorKind, JobHandle, PanicInfo, Pool, WorkerExit, pool_job, submit};
use pool_tests::jobs::{self, Death};
use pool_tests::{Isolation, isolated, lines, pids, proc, run_puppet, scratch, wait_until};
use rustix::process::Pid;
use serde::{Deserialize, Serialize};

/// How soon an end that no clock has a part in is known.
const SOON: Duration = Duration::from_millis(100);

/// Leaves two children that would live for a minute, one of them forked without an exec, and
/// adds their numbers to `started`.
#[expect(unsafe_code, reason = "a fork")]
#[expect(clippy::zombie_processes, reason = "this is what the jobs are about")]
fn leave_two_children(started: &Path) {
    // SAFETY: the child does nothing but sleep in a system call, and leaves by `_exit`.
    let forked = unsafe { libc::fork() };
    if forked == 0 {
        // SAFETY: no memory is touched.
        unsafe {
            libc::sleep(60);
            libc::_exit(0);
        }
    }
    let spawned = Command::new("sleep").arg("60").spawn().unwrap();
    jobs::append(started, &forked.to_string());
    jobs::append(started, &spawned.id().to_string());
}

/// A clock that host and worker share.
fn microseconds() -> u128 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros()
}

#[pool_job]
fn leave_children_and_exit(started: &Path, code: i32) {
    leave_two_children(started);
    jobs::append(started, &microseconds().to_string());
    std::process::exit(code);
}

#[pool_job]
fn leave_children(started: &Path) -> u32 {
    leave_two_children(started);
    std::process::id()
}

/// Moves itself into a process group that is not its own, and then dies or goes on for ever.
#[pool_job]
fn change_sides(group: i32, started: &Path, then: Option<Death>) {
    rustix::process::setpgid(None, Pid::from_raw(group)).unwrap();
    assert_eq!(rustix::process::getpgrp().as_raw_pid(), group);
    jobs::append(started, &std::process::id().to_string());
    match then {
        Some(death) => jobs::die(death),
        None => loop {
            thread::sleep(Duration::from_millis(1));
        },
    }
}

#[pool_job]
fn panic_twice() {
    struct Second;
    impl Drop for Second {
        fn drop(&mut self) {
            panic!("the second");
        }
    }
    let _second = Second;
    panic!("the first");
}

#[pool_job]
fn panic_out_of_c() {
    extern "C" fn not_for_panics() {
        panic!("through a function that cannot unwind");
    }
    not_for_panics();
}

#[pool_job]
fn catch_one_panic_and_leave_by_another() {
    let caught = std::panic::catch_unwind(|| panic!("the one that was caught"));
    assert!(caught.is_ok(), "the one that was not");
}

#[pool_job]
fn catch_many_panics_and_leave_by_another() {
    for n in 0..100 {
        assert!(std::panic::catch_unwind(|| panic!("caught {n}")).is_err());
    }
    panic!("the last");
}

#[pool_job]
fn go_on_with_a_caught_panic() {
    let caught = std::panic::catch_unwind(|| panic!("to be continued"));
    std::panic::resume_unwind(caught.unwrap_err());
}

#[pool_job]
fn resume_out_of_nothing() {
    std::panic::resume_unwind(Box::new("out of nothing".to_owned()));
}

#[pool_job]
fn pass_on_the_panic_of_a_thread() {
    let joined = thread::spawn(|| panic!("of a thread")).join();
    std::panic::resume_unwind(joined.unwrap_err());
}

#[pool_job]
fn leave_threads_that_panic() {
    for n in 0..4 {
        drop(thread::spawn(move || panic!("thread {n} is on its own")));
    }
}

#[pool_job]
fn panic_with_a_hook_of_its_own(file: &Path) {
    let file = file.to_owned();
    std::panic::set_hook(Box::new(move |info| jobs::append(&file, &info.to_string())));
    panic!("seen by another hook");
}

#[pool_job]
fn panic_without_any_hook() {
    drop(std::panic::take_hook());
    panic!("seen by the default hook");
}

#[pool_job]
fn panic_plainly() {
    panic!("plainly");
}

/// Panics at one moment of its way between host and worker, but never in the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Moment {
    Never,
    Serialize,
    Deserialize,
    Drop,
}

/// Not `derive`d, for the panics.
#[derive(Debug)]
struct Fragile {
    moment: Moment,
    host: u32,
}

impl Fragile {
    fn new(moment: Moment) -> Fragile {
        Fragile { moment, host: std::process::id() }
    }

    fn breaks_at(&self, moment: Moment) {
        assert!(self.moment != moment || self.host == std::process::id(), "at {moment:?}");
    }
}

impl Serialize for Fragile {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.breaks_at(Moment::Serialize);
        (self.moment, self.host).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Fragile {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (moment, host) = Deserialize::deserialize(deserializer)?;
        let fragile = Fragile { moment, host };
        fragile.breaks_at(Moment::Deserialize);
        Ok(fragile)
    }
}

impl Drop for Fragile {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.breaks_at(Moment::Drop);
        }
    }
}

#[pool_job]
fn take(_: Fragile) {}

#[pool_job]
fn give(moment: Moment, host: u32) -> Fragile {
    Fragile { moment, host }
}

/// Leaves a thread behind that goes on with the job's context. It says in `file` what it sees
/// after the job, and once more when `gate` is there.
#[pool_job]
fn leave_a_thread(ctx: &JobContext, file: &Path, gate: &Path) -> u32 {
    let (ctx, file, gate) = (ctx.clone(), file.to_owned(), gate.to_owned());
    let (tell, told) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let current = JobContext::current().is_some();
        tell.send(ctx.is_cancelled()).unwrap();
        pool::block_on(ctx.cancelled());
        jobs::append(&file, &format!("{current} {}", ctx.is_cancelled()));
        wait_until("the gate opens", || gate.exists());
        pool::block_on(ctx.cancelled());
        let current = JobContext::current().is_some();
        jobs::append(&file, &format!("{current} {}", ctx.is_cancelled()));
    });
    // Not before the thread has looked while the job runs.
    assert!(!told.recv().unwrap());
    std::process::id()
}

/// Runs while the thread that another job has left wakes up.
#[pool_job]
fn run_beside_a_thread(ctx: &JobContext, file: &Path, gate: &Path) -> (u32, bool) {
    jobs::open(gate);
    wait_until("the thread is done", || lines(file).len() == 2);
    let current = JobContext::current().unwrap();
    let is_own = current.job_id() == ctx.job_id();
    (std::process::id(), is_own && !ctx.is_cancelled())
}

/// Has a terminal do as it says, and reads its stdin.
#[pool_job]
#[expect(unsafe_code, reason = "terminal modes")]
fn use_the_terminal() -> usize {
    let terminal = File::options().read(true).write(true).open("/dev/tty").unwrap();
    // SAFETY: `modes` is a plain structure that the first call fills and the second one reads.
    unsafe {
        let mut modes: libc::termios = std::mem::zeroed();
        assert_eq!(libc::tcgetattr(terminal.as_raw_fd(), &mut modes), 0);
        modes.c_lflag &= !libc::ECHO;
        assert_eq!(libc::tcsetattr(terminal.as_raw_fd(), libc::TCSANOW, &modes), 0);
    }
    (&terminal).write_all(b"from the job").unwrap();
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes).unwrap()
}

/// Prints `length` bytes in lines of a hundred, the last one without an end.
#[pool_job]
fn print_much(length: usize) {
    for n in 0..length / 100 {
        let end = if n + 1 == length / 100 { '.' } else { '\n' };
        print!("{n:099}{end}");
    }
}

#[track_caller]
fn panic_of<T: std::fmt::Debug>(job: JobHandle<T>) -> PanicInfo {
    let error = job.wait().unwrap_err();
    let JobErrorKind::Panicked(info) = error.kind() else { panic!("{error}") };
    assert!(error.is_panic() && !error.is_crash(), "{error}");
    info.clone()
}

/// The best of three measurements: others have the processors too.
fn best_of_three(mut measure: impl FnMut(usize) -> Duration) -> Duration {
    let mut best = Duration::MAX;
    for n in 0..3 {
        best = best.min(measure(n));
        if best <= SOON {
            break;
        }
    }
    best
}

#[pool::test]
fn a_job_that_leaves_children_and_exits_is_reported_within_100_ms() {
    let body = || {
        let pool = Pool::new(1).unwrap();
        let took = best_of_three(|n| {
            let started = scratch(&n.to_string());
            let error = submit!(pool => leave_children_and_exit, &started, 3).wait().unwrap_err();
            let now = microseconds();
            assert_eq!(*error.kind(), JobErrorKind::Crashed(WorkerExit::Code(3)), "{error}");
            let noted: Vec<u64> =
                lines(&started).iter().map(|line| line.parse().unwrap()).collect();
            for &child in &noted[..2] {
                wait_until("the child is dead", || !proc::is_alive(child as u32));
            }
            Duration::from_micros(now.saturating_sub(noted[2].into()) as u64)
        });
        println!("measured: known after {took:?}");
        assert!(took <= SOON, "{took:?}");
        assert_eq!(submit!(pool => jobs::echo, 5).wait().unwrap(), 5);
    };
    Isolation::new().orphans().alone().run_and_read(body, |printed| {
        printed
            .lines()
            .filter(|line| line.contains("measured"))
            .for_each(|line| println!("{line}"));
    });
}

#[pool::test]
fn what_a_job_leaves_running_dies_with_a_worker_that_leaves_by_itself() {
    Isolation::new().orphans().run(|| {
        let recycled = Pool::builder().workers(1).max_jobs_per_worker(1);
        let idle = Pool::builder().workers(1).idle_timeout(Duration::from_millis(50));
        for (n, builder) in [recycled, idle].into_iter().enumerate() {
            let pool = builder.build().unwrap();
            let started = scratch(&n.to_string());
            let worker = submit!(pool => leave_children, &started).wait().unwrap();
            wait_until("the worker is gone", || !proc::is_alive(worker));
            for child in pids(&started) {
                wait_until("the child is dead", || !proc::is_alive(child));
            }
            assert_ne!(submit!(pool => jobs::pid).wait().unwrap(), worker);
        }
    });
}

#[pool::test]
fn a_worker_in_the_hosts_process_group_is_ended_alone() {
    Isolation::new().watchdog(Duration::from_secs(30)).run(|| {
        let group = rustix::process::getpgrp().as_raw_pid();
        // In the host's group, and to stay alive.
        let mut neighbour = Command::new("sleep").arg("10000").spawn().unwrap();
        let pool = Pool::new(1).unwrap();
        let ends: [(Option<Death>, Option<WorkerExit>); 4] = [
            (Some(Death::Abort), Some(WorkerExit::Signal(libc::SIGABRT))),
            (Some(Death::Exit(4)), Some(WorkerExit::Code(4))),
            (Some(Death::Signal(libc::SIGKILL)), Some(WorkerExit::Signal(libc::SIGKILL))),
            (None, None),
        ];
        for (n, (death, exit)) in ends.into_iter().enumerate() {
            let started = scratch(&n.to_string());
            let job = submit!(pool => change_sides, group, &started, death);
            wait_until("it has changed sides", || !pids(&started).is_empty());
            let worker = pids(&started)[0];
            if exit.is_none() {
                job.kill();
            }
            let error = job.wait().unwrap_err();
            match exit {
                Some(exit) => assert_eq!(*error.kind(), JobErrorKind::Crashed(exit), "{error}"),
                None => assert!(error.is_cancelled(), "{error}"),
            }
            assert!(error.to_string().contains("change_sides"), "{error}");
            assert!(!proc::is_alive(worker));
            assert_ne!(submit!(pool => jobs::pid).wait().unwrap(), worker);
        }
        // One that hangs there dies with its pool.
        let started = scratch("shutdown");
        let job = submit!(pool => change_sides, group, &started, None);
        wait_until("it has changed sides", || !pids(&started).is_empty());
        drop(pool);
        assert!(job.wait().unwrap_err().is_pool_closed());
        assert!(!proc::is_alive(pids(&started)[0]));
        assert!(proc::is_alive(neighbour.id()), "the host's group was hurt");
        neighbour.kill().unwrap();
        neighbour.wait().unwrap();
    });
}

#[pool::test]
fn panics_that_cannot_be_caught_are_crashes() {
    let body = || {
        let pool = Pool::new(1).unwrap();
        let abort = JobErrorKind::Crashed(WorkerExit::Signal(libc::SIGABRT));
        assert_eq!(*submit!(pool => panic_twice).wait().unwrap_err().kind(), abort);
        assert_eq!(*submit!(pool => panic_out_of_c).wait().unwrap_err().kind(), abort);
        assert_eq!(panic_of(submit!(pool => panic_plainly)).message(), "plainly");
    };
    // No report of them reaches the host, so the worker prints what it knows.
    Isolation::new().run_and_read(body, |output| {
        for text in ["the first", "the second", "through a function that cannot unwind"] {
            assert!(output.contains(text), "{output}");
        }
        assert!(!output.contains("plainly"), "{output}");
    });
}

#[pool::test]
fn the_panic_that_ended_the_job_is_the_one_that_is_reported() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let worker = submit!(pool => jobs::pid).wait().unwrap();
        let info = panic_of(submit!(pool => catch_one_panic_and_leave_by_another));
        assert_eq!(info.message(), "the one that was not");
        assert_eq!(info.file(), Some(file!()));
        let info = panic_of(submit!(pool => catch_many_panics_and_leave_by_another));
        assert_eq!(info.message(), "the last");
        assert_eq!(info.file(), Some(file!()));
        let info = panic_of(submit!(pool => go_on_with_a_caught_panic));
        assert_eq!(info.message(), "to be continued");
        assert_eq!(info.file(), Some(file!()));
        // No hook has seen these on the job's thread: what is known is the message.
        let info = panic_of(submit!(pool => resume_out_of_nothing));
        assert_eq!((info.message(), info.file()), ("out of nothing", None));
        let info = panic_of(submit!(pool => pass_on_the_panic_of_a_thread));
        assert_eq!((info.message(), info.file()), ("of a thread", None));
        assert_eq!(submit!(pool => jobs::pid).wait().unwrap(), worker);
    });
}

#[pool::test]
fn panics_of_a_jobs_threads_are_printed_and_harm_no_job() {
    let body = || {
        let pool = Pool::new(1).unwrap();
        let worker = submit!(pool => jobs::pid).wait().unwrap();
        submit!(pool => leave_threads_that_panic).wait().unwrap();
        for n in 0..20 {
            assert_eq!(submit!(pool => jobs::echo, n).wait().unwrap(), n);
        }
        assert_eq!(submit!(pool => jobs::pid).wait().unwrap(), worker);
        // It ends by itself, with whatever its threads still have to say.
        pool::block_on(pool.close());
    };
    Isolation::new().run_and_read(body, |printed| {
        assert!(printed.contains("is on its own"), "{printed}");
    });
}

#[pool::test]
fn a_replaced_panic_hook_costs_the_place_and_not_the_message() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let file = scratch("hook");
        let worker = submit!(pool => jobs::pid).wait().unwrap();
        let info = panic_of(submit!(pool => panic_with_a_hook_of_its_own, &file));
        assert_eq!(info.message(), "seen by another hook");
        // It stays in this worker, as everything that a job leaves behind.
        assert_eq!(panic_of(submit!(pool => panic_plainly)).message(), "plainly");
        assert!(lines(&file).iter().any(|line| line.contains("plainly")), "{:?}", lines(&file));
        let info = panic_of(submit!(pool => panic_without_any_hook));
        assert_eq!(info.message(), "seen by the default hook");
        assert_eq!(panic_of(submit!(pool => panic_plainly)).message(), "plainly");
        assert_eq!(submit!(pool => jobs::pid).wait().unwrap(), worker);
    });
}

#[pool::test]
fn panics_in_a_users_serde_and_drop_are_panics_of_the_job() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let worker = submit!(pool => jobs::pid).wait().unwrap();
        submit!(pool => take, Fragile::new(Moment::Never)).wait().unwrap();
        for moment in [Moment::Deserialize, Moment::Drop] {
            let info = panic_of(submit!(pool => take, Fragile::new(moment)));
            assert_eq!(info.message(), format!("at {moment:?}"));
            assert_eq!(info.file(), Some(file!()));
        }
        let host = std::process::id();
        submit!(pool => give, Moment::Never, host).wait().unwrap();
        for moment in [Moment::Serialize, Moment::Drop] {
            let info = panic_of(submit!(pool => give, moment, host));
            assert_eq!(info.message(), format!("at {moment:?}"));
            assert_eq!(info.file(), Some(file!()));
        }
        assert_eq!(submit!(pool => jobs::pid).wait().unwrap(), worker);
    });
}

/// The program in `puppets/abort`, built for panics that abort: a profile's choice, which no
/// test of this workspace can make for itself.
fn build_abort_puppet() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("abort");
    let source = tests.join("puppets/abort.rs");
    let library = tests.parent().unwrap().join("pool-runtime");
    std::fs::create_dir_all(&folder).unwrap();
    let manifest = format!(
        "[package]\nname = \"puppet-abort\"\nedition = \"2024\"\n\n[workspace]\n\n\
         [[bin]]\nname = \"puppet-abort\"\npath = {source:?}\n\n\
         [dependencies]\npool = {{ package = \"pool-runtime\", path = {library:?} }}\n\n\
         [profile.dev]\npanic = \"abort\"\ndebug = false\n"
    );
    // Only where something changes, so that cargo finds what it has built before.
    let write = |name: &str, text: &[u8]| {
        let changes = std::fs::read(folder.join(name)).map_or(true, |old| old != text);
        if changes {
            std::fs::write(folder.join(name), text).unwrap();
        }
        changes
    };
    write("Cargo.toml", manifest.as_bytes());
    // The same versions as here, so that nothing has to be fetched. Cargo leaves out of its own
    // copy what this program has no use for.
    let versions = std::fs::read(tests.parent().unwrap().join("Cargo.lock")).unwrap();
    if write("workspace.lock", &versions) {
        write("Cargo.lock", &versions);
    }
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--offline", "--target-dir"]).arg(folder.join("target"));
    let built = cargo.current_dir(&folder).env_remove("CARGO_BUILD_TARGET").output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    folder.join("target/debug/puppet-abort")
}

#[pool::test]
fn where_panics_abort_they_are_reported_and_the_worker_is_replaced() {
    // In every stage; after the first one there is nothing left to be built.
    let program = build_abort_puppet();
    isolated(|| {
        let (status, printed) = run_puppet(&mut Command::new(program));
        assert!(status.success(), "{status}: {printed}");
        let mut expected = Vec::new();
        for n in 0..10 {
            expected.push(match n % 2 {
                0 => format!("{n}: {n} by the next worker"),
                _ => format!("{n}: panicked: number {n} is odd, in attempt 1"),
            });
        }
        expected.push("all at once: 50 panicked, 50 did not".to_owned());
        assert_eq!(printed.lines().collect::<Vec<_>>(), expected);
    });
}

#[pool::test]
fn threads_that_outlive_their_job_touch_no_other() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let (file, gate) = (scratch("thread"), scratch("gate"));
        let worker = submit!(pool => leave_a_thread, &file, &gate).wait().unwrap();
        wait_until("it was told of the job's end", || lines(&file) == ["false true"]);
        let (next, untouched) = submit!(pool => run_beside_a_thread, &file, &gate).wait().unwrap();
        assert_eq!(next, worker);
        assert!(untouched);
        assert_eq!(lines(&file), ["false true", "false true"]);
        assert_eq!(submit!(pool => jobs::pid).wait().unwrap(), worker);
    });
}

/// A new pseudo terminal: its two ends.
#[expect(unsafe_code, reason = "a terminal")]
fn open_terminal() -> (File, File) {
    let (mut master, mut slave) = (0, 0);
    let none = std::ptr::null_mut();
    // SAFETY: the first two point to integers, the others may be null.
    let opened = unsafe { libc::openpty(&mut master, &mut slave, none, none.cast(), none.cast()) };
    assert_eq!(opened, 0);
    // SAFETY: nobody else owns the two new descriptors.
    unsafe { (File::from_raw_fd(master), File::from_raw_fd(slave)) }
}

#[pool::test]
#[expect(unsafe_code, reason = "a terminal")]
fn a_job_may_set_the_modes_of_its_hosts_terminal_and_leaves_its_input_alone() {
    Isolation::new().watchdog(Duration::from_secs(30)).run(|| {
        let (mut master, mut slave) = open_terminal();
        rustix::process::setsid().unwrap();
        // SAFETY: this process leads a session without a terminal. Its end is not to be ours.
        unsafe {
            libc::signal(libc::SIGHUP, libc::SIG_IGN);
            assert_eq!(libc::ioctl(slave.as_raw_fd(), libc::TIOCSCTTY, 0), 0);
        }
        let stdin = std::io::stdin();
        // SAFETY: stdin is put back below.
        let old = unsafe { File::from_raw_fd(libc::dup(stdin.as_raw_fd())) };
        // SAFETY: both are open.
        assert_eq!(unsafe { libc::dup2(slave.as_raw_fd(), stdin.as_raw_fd()) }, 0);
        master.write_all(b"for the host\n").unwrap();
        let pool = Pool::new(1).unwrap();
        let worker = submit!(pool => jobs::pid).wait().unwrap();
        assert_eq!(submit!(pool => use_the_terminal).wait().unwrap(), 0);
        assert_eq!(submit!(pool => jobs::pid).wait().unwrap(), worker);
        let mut line = [0; 64];
        let n = slave.read(&mut line).unwrap();
        assert_eq!(line[..n], *b"for the host\n");
        drop(pool);
        // SAFETY: both are open.
        assert_eq!(unsafe { libc::dup2(old.as_raw_fd(), stdin.as_raw_fd()) }, 0);
        let mut seen = Vec::new();
        wait_until("the job's words came out of the terminal", || {
            let n = master.read(&mut line).unwrap();
            seen.extend_from_slice(&line[..n]);
            seen.ends_with(b"from the job")
        });
        // The terminal is gone with its last descriptor.
        drop((master, slave, old));
    });
}

#[pool::test]
#[expect(unsafe_code, reason = "another stdout")]
fn what_a_job_prints_arrives_whole() {
    const LENGTH: usize = 1 << 20;
    Isolation::new().watchdog(Duration::from_secs(30)).run(|| {
        let (mut reader, writer) = std::io::pipe().unwrap();
        // SAFETY: stdout is put back below.
        let old = unsafe { File::from_raw_fd(libc::dup(1)) };
        // SAFETY: both are open.
        assert_eq!(unsafe { libc::dup2(writer.as_raw_fd(), 1) }, 1);
        drop(writer);
        let reading = thread::spawn(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).unwrap();
            text
        });
        let pool = Pool::new(1).unwrap();
        submit!(pool => print_much, LENGTH).wait().unwrap();
        // The worker is killed, and has nothing left to say.
        drop(pool);
        // SAFETY: both are open.
        assert_eq!(unsafe { libc::dup2(old.as_raw_fd(), 1) }, 1);
        let text = reading.join().unwrap();
        let expected: Vec<_> = (0..LENGTH / 100).map(|n| format!("{n:099}")).collect();
        assert!(text.ends_with('.'), "the end is missing: {:?}", text.lines().last());
        assert!(text.trim_end_matches('.').lines().eq(expected), "something is missing");
    });
}
