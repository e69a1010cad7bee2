//! Processes without a pool: this program once more, in a role that an environment variable names.

use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::net::RecvFlags;
use rustix::process::Pid;

use crate::promises;

const ROLE: &str = "PEERS_ROLE";
/// How long a process that is to be ended stays, if nobody does.
pub(crate) const LONG: Duration = Duration::from_secs(60);
/// How long one end of a pool looks before it sleeps.
const LOOK: Duration = Duration::from_micros(30);
/// A frame of the pool's without a payload.
const BYTES: usize = 44;

/// This program in another role.
pub(crate) fn role(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    command.env(ROLE, name);
    command
}

/// Asks another process, whose heap is fresh and which has no threads of the peers, for numbers.
pub(crate) fn ask(name: &str, variables: &[(&str, String)]) -> Vec<f64> {
    let mut command = role(name);
    command.envs(variables.iter().map(|(key, value)| (key, value)));
    let output = command.output().expect("this program can be started").stdout;
    let output = String::from_utf8_lossy(&output);
    output.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// Plays the role that this process was started for: does not come back from it.
pub(crate) fn play_if_asked() {
    let Some(role) = std::env::var_os(ROLE) else { return };
    match role.to_str() {
        Some("echo") => echo(false),
        Some("echo looking") => echo(true),
        Some("greet") => greet(),
        Some("answer") => crate::skeleton::answer(None),
        Some("answer as promised") => crate::skeleton::answer(Some(&promises::Worker::new())),
        // Not for ever: its host may be gone.
        Some("sleep") => {
            say_something();
            std::thread::sleep(LONG);
        }
        Some("spin") => {
            say_something();
            crate::jobs::busy(LONG.as_nanos() as u64);
        }
        Some("spin beside") => {
            let _sleeper = sleeper();
            say_something();
            crate::jobs::busy(LONG.as_nanos() as u64);
        }
        Some("queued bytes") => crate::queued::print_bytes_each(),
        Some("tokio") => crate::memory::wait_in_tokio(),
        Some("idle") => crate::idle::print(),
        Some(other) => crate::ipc::play(other),
        None => {}
    }
    std::process::exit(0);
}

pub(crate) fn say_something() {
    let mut stdout = std::io::stdout();
    let _ = stdout.write_all(b"!").and_then(|()| stdout.flush());
}

fn echo(looks: bool) {
    let stdin = std::io::stdin().as_fd().try_clone_to_owned();
    let mut channel = UnixStream::from(stdin.expect("stdin can be duplicated"));
    let mut ball = [0; BYTES];
    while take(&mut channel, &mut ball, looks) && channel.write_all(&ball).is_ok() {}
}

/// Waits for a ball; `looks`: at first without sleeping, as the two ends of a pool do, with a turn for
/// others between two looks. False at the end of the stream.
fn take(channel: &mut UnixStream, ball: &mut [u8; BYTES], looks: bool) -> bool {
    let began = Instant::now();
    while looks && began.elapsed() < LOOK {
        match rustix::net::recv(&*channel, &mut ball[..], RecvFlags::DONTWAIT) {
            // Whatever is written at once is read at once.
            Ok((n, _)) => return n == BYTES,
            Err(_) => std::thread::yield_now(),
        }
    }
    channel.read_exact(ball).is_ok()
}

/// What a worker does at least: it has a thread that sleeps beside the one that works, greets, and
/// answers.
fn greet() {
    let stdin = std::io::stdin().as_fd().try_clone_to_owned();
    let mut channel = UnixStream::from(stdin.expect("stdin can be duplicated"));
    let sleeper = sleeper();
    let mut ball = [0; BYTES];
    if channel.write_all(&ball).and_then(|()| channel.read_exact(&mut ball)).is_ok() {
        let _ = channel.write_all(&ball);
    }
    let _ = sleeper.join();
}

fn sleeper() -> std::thread::JoinHandle<()> {
    let thread = std::thread::Builder::new().stack_size(256 * 1024);
    thread.spawn(|| std::thread::sleep(LONG)).expect("a thread can be started")
}

/// Starts a process that greets, and answers what was sent to it before it was up: on a thread of our
/// own, which wakes the caller, as the driver of a pool does.
pub(crate) fn first_answer() -> Child {
    let (mut ours, theirs) = UnixStream::pair().expect("a socket pair can be made");
    let child = role("greet").process_group(0).stdin(Stdio::from(OwnedFd::from(theirs))).spawn();
    let (done, wait) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut ball = [0; BYTES];
        ours.write_all(&ball).expect("it will read");
        ours.read_exact(&mut ball).expect("it greets");
        ours.read_exact(&mut ball).expect("it answers");
        done.send(()).expect("somebody waits");
    });
    wait.recv().expect("the thread tells");
    child.expect("this program can be started")
}

/// Another process that sends back what it gets, with one blocking read and one write.
pub(crate) struct Echo {
    ours: UnixStream,
    child: Child,
    looks: bool,
}

impl Echo {
    pub(crate) fn start() -> Echo {
        Self::begin(false)
    }

    /// One that looks for a while before it sleeps, as does whoever waits for it.
    pub(crate) fn looking() -> Echo {
        Self::begin(true)
    }

    fn begin(looks: bool) -> Echo {
        let (ours, theirs) = UnixStream::pair().expect("a socket pair can be made");
        let role = role(if looks { "echo looking" } else { "echo" })
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn();
        Echo { ours, child: role.expect("this program can be started"), looks }
    }

    /// Which cores it may use.
    pub(crate) fn pin(&self, cores: &[usize]) {
        crate::cores::pin(Pid::from_raw(self.child.id().cast_signed()), cores);
    }

    pub(crate) fn round_trip(&mut self) {
        let mut ball = [7; BYTES];
        self.ours.write_all(&ball).expect("the echo reads");
        assert!(take(&mut self.ours, &mut ball, self.looks), "the echo answers");
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        // It sees the end of the stream, and ends.
        let _ = self.ours.shutdown(std::net::Shutdown::Both);
        let _ = self.child.wait();
    }
}

/// Starts a process in a role and waits for its first byte.
pub(crate) fn first_byte(name: &str) -> Child {
    let child = role(name).stdout(Stdio::piped()).spawn();
    let mut child = child.expect("this program can be started");
    let mut byte = [0];
    child.stdout.take().expect("it was piped").read_exact(&mut byte).expect("it says something");
    child
}

/// Kills all, then waits for all.
pub(crate) fn end(children: &mut [Child]) {
    for child in children.iter_mut() {
        child.kill().expect("it is ours to kill");
    }
    for child in children {
        child.wait().expect("it ends");
    }
}
