//! Starts one worker: recorder, channel, process. Half-built state is undone by the drops.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::body::{Body, ServeOnThread};
use super::capture::{Capture, Journal};
use super::link::Link;
use crate::error::BuildError;
use crate::os::{self, Handle, PipeEnd};
use crate::recorder::Recorder;
use crate::registry;
use crate::scheduler::WorkerId;
use crate::wire::{PROTOCOL_VERSION, Welcome};

/// Where a worker's stdout or stderr goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// To where the host's own goes.
    #[default]
    Inherit,
    /// Nowhere.
    Null,
    /// To this program, which gets it line by line, as
    /// [`PoolEvent::Output`](crate::PoolEvent::Output) from [`Pool::events`](crate::Pool::events).
    /// Of stderr the last lines are also kept for the error of a job that fails
    /// ([`JobError::stderr_tail`](crate::JobError::stderr_tail)). If nobody reads the events, or not
    /// in time, lines are dropped; a job never waits for them.
    Capture,
}

impl Output {
    /// What a worker is started with, and the end of it to read from, if there is one.
    fn open(self) -> io::Result<(Stdio, Option<PipeEnd>)> {
        Ok(match self {
            Output::Inherit => (Stdio::inherit(), None),
            Output::Null => (Stdio::null(), None),
            Output::Capture => {
                let (ours, theirs) = os::output_pipe()?;
                (Stdio::from(theirs), Some(ours))
            }
        })
    }

    /// What a worker is given after its start, and the end of it to read from.
    fn open_late(self) -> io::Result<(Option<Handle>, Option<PipeEnd>)> {
        Ok(match self {
            Output::Inherit => (os::own_stdout().ok(), None),
            Output::Null => (None, None),
            Output::Capture => {
                let (ours, theirs) = os::output_pipe()?;
                (Some(theirs), Some(ours))
            }
        })
    }
}

/// Everything that every worker of one pool is started with.
#[derive(Clone, Debug)]
pub(crate) struct LaunchPlan {
    pub(crate) program: Program,
    pub(crate) args: Vec<OsString>,
    pub(crate) environment: Vec<Variable>,
    /// For libraries that start threads of their own.
    pub(crate) threads: Option<usize>,
    pub(crate) current_dir: Option<PathBuf>,
    pub(crate) stdout: Output,
    pub(crate) stderr: Output,
    pub(crate) pool: Option<String>,
    pub(crate) max_payload: u64,
    pub(crate) start_timeout: Duration,
    pub(crate) fingerprint: u64,
    /// Whether short waits are spent looking.
    pub(crate) spin: bool,
}

/// One change to the environment that a worker inherits; they apply in order.
#[derive(Clone, Debug)]
pub(crate) enum Variable {
    Set(OsString, OsString),
    Remove(OsString),
    Clear,
}

/// What runs as a worker.
#[derive(Clone, Debug)]
pub(crate) enum Program {
    /// This program, whose `main` begins with our call.
    Own(PathBuf),
    /// This test program, entered at the test of this name.
    OwnTest(PathBuf, &'static str),
    /// Another one that has the same jobs.
    Other(PathBuf),
    /// No program: this loop, on threads of this process.
    Threads(ServeOnThread),
}

/// By these the usual libraries learn how many threads they may start.
const THREAD_VARIABLES: [&str; 8] = [
    "RAYON_NUM_THREADS",
    "TOKIO_WORKER_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
];

static MAIN_IS_WRAPPED: AtomicBool = AtomicBool::new(false);

/// The program's `main` calls us first, hence workers may be started from it.
pub(crate) fn main_is_wrapped() {
    MAIN_IS_WRAPPED.store(true, Ordering::Relaxed);
}

/// Whether this process is a worker of some pool.
pub(crate) fn is_worker() -> bool {
    os::is_worker()
}

/// Whether the environment asks for threads in place of worker processes.
pub(crate) fn threads_are_asked_for() -> Result<bool, BuildError> {
    match std::env::var_os(os::IN_PROCESS_VARIABLE) {
        None => Ok(false),
        Some(text) if text.is_empty() || text == "0" => Ok(false),
        Some(text) if text == "1" => Ok(true),
        Some(text) => Err(BuildError::new(format!(
            "{} is {text:?}: it must be 1 (jobs run on threads of this program), 0 or nothing",
            os::IN_PROCESS_VARIABLE
        ))),
    }
}

/// Whether this program runs with rights that its caller does not have.
pub(crate) fn is_privileged() -> bool {
    os::is_privileged()
}

impl Program {
    /// This program, if there is a way to enter it as a worker.
    pub(crate) fn own() -> Result<Program, BuildError> {
        let path = os::own_executable().map_err(|error| {
            BuildError::new(format!(
                "this program's own file is not known: {error}: name it with `executable`"
            ))
        })?;
        if MAIN_IS_WRAPPED.load(Ordering::Relaxed) {
            Ok(Program::Own(path))
        } else if let Some(test) = registry::test_entry() {
            Ok(Program::OwnTest(path, test.path()))
        } else {
            Err(BuildError::new(
                "a worker is this same program, started again, and this program's `main` would \
                 run a second time: put `#[pool::main]` on `fn main` (or call \
                 `pool::serve_if_worker()` first in it), and `#[pool::test]` on tests that use \
                 a pool; where an interpreter has loaded this code, name a program that serves with \
                 `PoolBuilder::executable`",
            ))
        }
    }

    fn path(&self) -> &Path {
        match self {
            Program::Own(path) | Program::OwnTest(path, _) | Program::Other(path) => path,
            Program::Threads(_) => Path::new(""),
        }
    }
}

impl LaunchPlan {
    /// Starts the process, or the thread; it has not said anything yet. Inside the driver's runtime.
    pub(super) fn start(&self, worker: WorkerId) -> Result<(Link, Welcome, Capture), String> {
        if let Program::Threads(serve) = self.program {
            let welcome = self.welcome(worker, 0);
            let name = format!("{}-{}", self.pool.as_deref().unwrap_or("pool-worker"), worker.slot);
            let (body, channel, recorder) = Body::on_thread(name, serve, welcome)?;
            let capture = Capture::new(worker.slot, None, None);
            return Ok((Link::new(worker, body, channel, recorder, None), welcome, capture));
        }
        // A test harness prints before the worker takes over: until then its stdout is null, and
        // the real one travels with the welcome.
        let in_harness = matches!(self.program, Program::OwnTest(..));
        let no_pipe = |error| format!("no pipe for what it prints: {error}");
        let (stdout, late_stdout, stdout_end) = match in_harness {
            true => {
                let (late, end) = self.stdout.open_late().map_err(no_pipe)?;
                (Stdio::null(), late, end)
            }
            false => {
                let (stdio, end) = self.stdout.open().map_err(no_pipe)?;
                (stdio, None, end)
            }
        };
        let (stderr, stderr_end) = self.stderr.open().map_err(no_pipe)?;
        let welcome = self.welcome(worker, 1 + u32::from(late_stdout.is_some()));
        let no_start =
            |error| format!("`{}` cannot be started: {error}", self.describe().display());
        let command = self.command(stdout, stderr);
        let (channel, process) =
            os::spawn(command, &self.process_name(worker)).map_err(no_start)?;
        // While the process starts.
        let recorder = Recorder::create()
            .map_err(|error| format!("no shared memory for its recorder: {error}"))
            .and_then(|(recorder, file)| {
                match channel.welcome(&welcome.encode(), &file, late_stdout.as_ref()) {
                    Err(error) if !is_hang_up(&error) => Err(no_start(error)),
                    _ => Ok(recorder),
                }
            });
        let recorder = match recorder {
            Ok(recorder) => recorder,
            Err(reason) => {
                process.discard();
                return Err(reason);
            }
        };
        let capture = Capture::new(worker.slot, stdout_end, stderr_end);
        let journal = capture.is_on().then(Journal::default);
        Ok((
            Link::new(worker, Body::Process(process), channel, recorder, journal),
            welcome,
            capture,
        ))
    }

    fn welcome(&self, worker: WorkerId, descriptors: u32) -> Welcome {
        Welcome {
            protocol: PROTOCOL_VERSION,
            slot: worker.slot,
            fingerprint: self.fingerprint,
            max_payload: self.max_payload,
            descriptors,
            spins: self.spin,
        }
    }

    fn command(&self, stdout: Stdio, stderr: Stdio) -> Command {
        let mut command = Command::new(self.program.path());
        command.env_remove(os::IN_PROCESS_VARIABLE);
        for variable in &self.environment {
            match variable {
                Variable::Set(key, value) => command.env(key, value),
                Variable::Remove(key) => command.env_remove(key),
                Variable::Clear => {
                    command.env_clear();
                    // Without these a doctest's executable runs all of its doctests.
                    let vars = std::env::vars_os();
                    command.envs(vars.filter(|(key, _)| is_doctest_variable(key)))
                }
            };
        }
        if let Some(threads) = self.threads {
            let is_set = |name: &str| self.worker_variable(name).is_some();
            for name in THREAD_VARIABLES.iter().filter(|name| !is_set(name)) {
                command.env(name, threads.to_string());
            }
        }
        if let Some(dir) = &self.current_dir {
            command.current_dir(dir);
        }
        if let Program::OwnTest(_, test) = self.program {
            // Without `--include-ignored` an ignored test would not be entered.
            command.args(["--include-ignored", "--exact", test, "--nocapture", "--test-threads=1"]);
        }
        command.args(&self.args);
        command.stdout(stdout).stderr(stderr);
        command
    }

    /// What a worker would find in its environment under this name.
    fn worker_variable(&self, name: &str) -> Option<OsString> {
        let inherited = std::env::var_os(name);
        self.environment.iter().fold(inherited, |value, change| match change {
            Variable::Set(key, new) if key == name => Some(new.clone()),
            Variable::Remove(key) if key == name => None,
            Variable::Clear => None,
            Variable::Set(..) | Variable::Remove(_) => value,
        })
    }

    /// What `ps` shows.
    fn process_name(&self, worker: WorkerId) -> OsString {
        let mut name = self.describe().into_os_string();
        let pool = self.pool.as_deref().unwrap_or("pool");
        name.push(format!(" [{pool} worker {}]", worker.slot));
        name
    }

    fn describe(&self) -> PathBuf {
        match &self.program {
            Program::Other(path) => path.clone(),
            Program::Own(_) | Program::OwnTest(..) | Program::Threads(_) => {
                std::env::current_exe().unwrap_or_else(|_| self.program.path().to_owned())
            }
        }
    }
}

/// The process is at its end already, or refuses to listen: what it leaves tells why, and better.
fn is_hang_up(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

fn is_doctest_variable(key: &std::ffi::OsStr) -> bool {
    key.to_str().is_some_and(|key| key.starts_with("RUSTDOC_DOCTEST_"))
}
