//! Hosts that end, each in its own way, and hosts in odd circumstances.
//!
//! The first argument says which; what the others are stands at each function. A host that found
//! something to be wrong panics.

#![expect(clippy::unwrap_used, reason = "a puppet has nothing better to do with an error")]

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pool::{JobErrorKind, Pool, WorkerExit, pool_job, submit};
use pool_tests::jobs::{self, Death};
use pool_tests::{lines, pids, proc, wait_until};

/// What the standard library has no safe names for, from the C library that it is linked with.
mod c {
    pub(super) const SIGINT: i32 = 2;
    pub(super) const SIGKILL: i32 = 9;

    #[expect(unsafe_code, reason = "declarations of the C library's own functions")]
    unsafe extern "C" {
        pub(super) fn fork() -> i32;
        pub(super) fn pause() -> i32;
        /// Without a handler: the default action.
        pub(super) fn signal(number: i32, handler: Option<extern "C" fn(i32)>) -> usize;
    }
}

/// Never ends and never sleeps.
#[pool_job]
fn burn(started: &Path) {
    jobs::append(started, &std::process::id().to_string());
    loop {
        std::hint::spin_loop();
    }
}

/// The file that the worker runs, and whether it has a name still.
#[pool_job]
fn program() -> (u64, u64) {
    let file = fs::metadata("/proc/self/exe").unwrap();
    (file.ino(), file.nlink())
}

/// What the worker's three standard streams are, and what a job of its own prints.
#[pool_job]
fn streams() -> Vec<String> {
    println!("to stdout");
    eprintln!("to stderr");
    let mut read = String::new();
    std::io::stdin().read_to_string(&mut read).unwrap();
    let names = (0..3).map(|fd| fs::read_link(format!("/proc/self/fd/{fd}")).unwrap());
    names.map(|name| name.display().to_string()).collect()
}

#[pool::main]
fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match *arguments {
        ["busy", started, end] => busy(Path::new(started), end),
        ["starting", micros] => starting(micros.parse().unwrap()),
        ["first", started] => first_process(Path::new(started)),
        ["without-proc"] => without_proc(),
        ["launching", file] => launching(Path::new(file)),
        ["privileged"] => privileged(),
        ["resident", mebibytes] => resident(mebibytes.parse().unwrap()),
        ["closed", file] => closed(Path::new(file)),
        _ => println!("main ran"),
    }
}

/// As a program in the foreground does: one that was started in the background by a script, and so by
/// tests that were, ignores them.
#[expect(unsafe_code, reason = "a signal's disposition")]
fn take_interrupts() {
    // SAFETY: the default action runs no code of ours.
    unsafe { c::signal(c::SIGINT, None) };
}

/// Notes the numbers of the workers in `started`: one idle, two that burn, one that has a child,
/// whose number is noted too. Then ends as `end` says.
fn busy(started: &Path, end: &str) {
    if end == "interrupted" {
        take_interrupts();
    }
    let pool = Pool::new(4).unwrap();
    drop(submit!(pool => burn, started));
    drop(submit!(pool => burn, started));
    drop(submit!(pool => jobs::parent, started, None));
    wait_until("three of them run", || pids(started).len() == 3);
    let idle = submit!(pool => jobs::pid).wait().unwrap();
    jobs::append(started, &idle.to_string());
    match end {
        "return" => std::mem::forget(pool),
        "drop" => drop(pool),
        "exit" => std::process::exit(7),
        "panic" => panic!("as planned"),
        "abort" => std::process::abort(),
        "fork" => {
            fork_a_sleeper(started);
            sleep_for_ever();
        }
        "handle" => handle_interrupts(&pool, started),
        _ => sleep_for_ever(),
    }
}

fn sleep_for_ever() -> ! {
    loop {
        thread::sleep(Duration::from_secs(600));
    }
}

/// Leaves a child that holds a copy of every descriptor; its number is the fifth one noted.
#[expect(unsafe_code, reason = "a fork")]
fn fork_a_sleeper(started: &Path) {
    // SAFETY: the child does nothing but sleep in a system call until it is killed.
    let child = unsafe { c::fork() };
    if child == 0 {
        loop {
            // SAFETY: no memory is touched.
            unsafe { c::pause() };
        }
    }
    jobs::append(started, &child.to_string());
}

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Ctrl-C reaches this host and none of its workers, which go on until the host says otherwise.
#[expect(unsafe_code, reason = "a signal handler")]
fn handle_interrupts(pool: &Pool, started: &Path) {
    extern "C" fn note(_: i32) {
        INTERRUPTED.store(true, Ordering::Relaxed);
    }
    // SAFETY: the handler only stores into an atomic.
    unsafe { c::signal(c::SIGINT, Some(note)) };
    let workers = pids(started);
    jobs::append(started, &std::process::id().to_string());
    wait_until("the interrupt comes", || INTERRUPTED.load(Ordering::Relaxed));
    assert!(workers.iter().all(|&worker| proc::is_alive(worker)));
    assert_eq!(submit!(*pool => jobs::pid).wait().unwrap(), workers[3]);
    println!("the workers are well");
}

/// Kills itself a moment after it has begun to start workers.
fn starting(micros: u64) {
    let begin = Instant::now();
    std::mem::forget(Pool::new(6).unwrap());
    while begin.elapsed() < Duration::from_micros(micros) {
        std::hint::spin_loop();
    }
    jobs::die(Death::Signal(c::SIGKILL));
}

/// As process 1 of its namespace, which inherits what workers leave behind.
fn first_process(started: &Path) {
    assert_eq!(std::process::id(), 1);
    let pool = Pool::new(2).unwrap();
    for how in [Death::Abort, Death::Exit(3), Death::Signal(c::SIGKILL)].repeat(5) {
        let error = submit!(pool => jobs::parent, started, Some(how)).wait().unwrap_err();
        assert!(error.is_crash() && !error.to_string().contains("Unknown"), "{error}");
    }
    let count = pids(started).len();
    assert_eq!(count, 15);
    let killed = submit!(pool => jobs::parent, started, None);
    wait_until("it runs", || pids(started).len() == count + 1);
    killed.kill();
    assert!(killed.wait().unwrap_err().is_cancelled());
    pool::block_on(pool.ready()).unwrap();
    assert_eq!(submit!(pool => jobs::echo, 1).wait().unwrap(), 1);
    wait_until("nobody but the workers is left", || {
        proc::all().len() == 3 && proc::children(1).len() == 2
    });
    pool::block_on(pool.shutdown());
    wait_until("nobody is left", || proc::all().len() == 1);
    println!("all are reaped");
}

/// Where `/proc` is empty.
fn without_proc() {
    assert!(!Path::new("/proc/self").exists(), "there is a /proc");
    let pool = Pool::new(2).unwrap();
    pool::block_on(pool.ready()).unwrap();
    let worker = submit!(pool => jobs::pid).wait().unwrap();
    assert_ne!(worker, std::process::id());
    let error = submit!(pool => jobs::die, Death::Exit(3)).wait().unwrap_err();
    assert_eq!(*error.kind(), JobErrorKind::Crashed(WorkerExit::Code(3)));
    assert_eq!(submit!(pool => jobs::echo, 1).wait().unwrap(), 1);
    pool::block_on(pool.shutdown());
    println!("it works");
}

/// Launches a worker for every line that is added to `file`, and adds what that one runs.
fn launching(file: &Path) {
    let pool = Pool::builder().workers(1).max_jobs_per_worker(1).build().unwrap();
    let own = fs::metadata("/proc/self/exe").unwrap().ino();
    let mut seen = 0;
    loop {
        wait_until("there is something to do", || lines(file).len() > seen);
        if lines(file)[seen] == "end" {
            return;
        }
        // The first one may have been started before.
        for _ in 0..2 {
            let (inode, names) = submit!(pool => program).wait().unwrap();
            assert_eq!(inode, own);
            if names == 0 {
                println!("the file has no name");
            }
        }
        seen += 2;
        jobs::append(file, "launched");
    }
}

/// What becomes of a pool here.
fn privileged() {
    let is_privileged = rustix::process::getuid() != rustix::process::geteuid();
    println!("main ran, privileged: {is_privileged}");
    match Pool::new(1) {
        Ok(pool) => println!("a pool: {}", submit!(pool => jobs::echo, 1).wait().unwrap()),
        Err(error) => println!("no pool: {error}"),
    }
}

/// Prints the microseconds from `build` to the first output, the median of some, with so much
/// resident memory.
fn resident(mebibytes: usize) {
    let mut ballast = vec![0_u8; mebibytes << 20];
    ballast.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
    let mut times: Vec<_> = (0..11).map(|_| first_output()).collect();
    times.sort();
    std::hint::black_box(&ballast);
    println!("{}", times[5].as_micros());
}

fn first_output() -> Duration {
    let begin = Instant::now();
    let pool = Pool::new(1).unwrap();
    assert_eq!(submit!(pool => jobs::echo, 1).wait().unwrap(), 1);
    begin.elapsed()
}

/// With nothing on 0, 1 and 2: notes in `file` that all is well.
fn closed(file: &Path) {
    let pool = Pool::new(2).unwrap();
    for name in submit!(pool => streams).wait().unwrap() {
        jobs::append(file, &name);
    }
    let error = submit!(pool => jobs::die, Death::Abort).wait().unwrap_err();
    assert!(error.is_crash());
    let child = Command::new("true").status().unwrap();
    assert!(child.success());
    pool::block_on(pool.shutdown());
    jobs::append(file, "well");
}
