//! Jobs that many tests need.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use pool::{JobContext, pool_job};
use serde::{Deserialize, Serialize};

/// The worker that runs it.
#[pool_job]
pub fn pid() -> u32 {
    std::process::id()
}

/// Gives back what it gets.
#[pool_job]
pub fn echo(number: u64) -> u64 {
    number
}

/// Which attempt this is.
#[pool_job]
pub fn attempt(ctx: &JobContext) -> u32 {
    ctx.attempt()
}

/// Adds a line to a file.
#[pool_job]
pub fn note(file: &Path, line: &str) {
    append(file, line);
}

/// Adds its worker's number to `started`, then waits until there is a file `gate`; gives the
/// worker's number back.
#[pool_job]
pub fn hold(started: &Path, gate: &Path) -> u32 {
    append(started, &std::process::id().to_string());
    while !gate.exists() {
        thread::sleep(Duration::from_millis(1));
    }
    std::process::id()
}

/// Adds its worker's number to `started` and never ends, whatever it is asked.
#[pool_job]
pub fn spin(started: &Path) {
    append(started, &std::process::id().to_string());
    loop {
        thread::sleep(Duration::from_millis(1));
    }
}

/// Starts a child that lives for hours, adds the child's number to `started`, and then dies or
/// goes on for ever.
#[pool_job]
#[expect(clippy::zombie_processes, reason = "that is what the pool has to clean up")]
pub fn parent(started: &Path, then: Option<Death>) {
    let child = Command::new("sleep").arg("10000").spawn().unwrap();
    append(started, &child.id().to_string());
    match then {
        Some(death) => die(death),
        None => loop {
            thread::sleep(Duration::from_millis(1));
        },
    }
}

/// Ways to end a worker process, and one that does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Death {
    /// `std::process::abort`
    Abort,
    /// A write to memory that is not there.
    Segfault,
    /// `std::process::exit`
    Exit(i32),
    /// This signal, sent to itself.
    Signal(i32),
    /// Not a death: the worker lives on.
    Panic,
}

/// Ends its worker.
#[pool_job]
pub fn die(how: Death) {
    match how {
        Death::Abort => std::process::abort(),
        Death::Segfault => segfault(),
        Death::Exit(code) => std::process::exit(code),
        Death::Signal(signal) => raise(signal),
        Death::Panic => panic!("this was asked for"),
    }
}

/// Dies in the first attempts and gives the number of the one that did not.
#[pool_job]
pub fn die_before(ctx: &JobContext, attempt: u32, how: Death) -> u32 {
    if ctx.attempt() < attempt {
        die(how);
    }
    ctx.attempt()
}

/// A state that this crate makes for the jobs of others.
#[derive(Debug)]
pub struct Badge(pub u32);

/// The worker's badge has its number.
#[pool::state]
pub fn badge() -> Badge {
    Badge(std::process::id())
}

/// A state whose maker is in another crate.
#[pool_job]
#[expect(clippy::ptr_arg, reason = "a state of a foreign type")]
pub fn motto(#[state] motto: &String) -> String {
    motto.clone()
}

/// Makes an empty file: opens a gate.
pub fn open(gate: &Path) {
    File::create(gate).unwrap();
}

/// Adds a line to a file, in one write.
pub fn append(file: &Path, line: &str) {
    let mut file = OpenOptions::new().create(true).append(true).open(file).unwrap();
    file.write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// Sends a signal.
pub fn send(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// Also if it is ignored, as SIGINT is by what a script has started in the background, and so by tests
/// that were.
#[expect(unsafe_code, reason = "a signal's disposition")]
fn raise(signal: i32) {
    // SAFETY: the default action runs no code of ours.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
    let signal = rustix::process::Signal::from_named_raw(signal).unwrap();
    send(std::process::id(), signal);
    loop {
        thread::sleep(Duration::from_millis(1));
    }
}

#[expect(unsafe_code, reason = "there is no safe way to do this")]
fn segfault() {
    // SAFETY: none; the page at address zero is never mapped, so this is a certain SIGSEGV.
    unsafe { std::ptr::without_provenance_mut::<u8>(8).write_volatile(1) };
}
