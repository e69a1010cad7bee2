//! [`PoolBuilder`]: how a pool differs from the default one.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::error::BuildError;
use crate::host::{self, Host, LaunchPlan, Output, Program, Variable};
use crate::policy::{RetryPolicy, Terms};
use crate::pool::Pool;
use crate::registry;
use crate::scheduler::{Config, LATENCY, horizon};
use crate::worker;

/// Payloads travel with a length of 32 bits, and something of a frame comes before them.
const MAX_PAYLOAD: u64 = u32::MAX as u64 - 4096;

/// Jobs that may be handed to one worker and not be answered.
const WINDOW: usize = 1024;

/// Configures a [`Pool`]; made by [`Pool::builder`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use pool::{Pool, RetryPolicy};
///
/// #[pool::main]
/// fn main() -> Result<(), pool::BuildError> {
///     let pool = Pool::builder()
///         .workers(2)
///         .timeout(Duration::from_secs(60))
///         .retry(RetryPolicy::attempts(2))
///         .build()?;
///     pool.shutdown();
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct PoolBuilder {
    workers: Option<usize>,
    queue_capacity: usize,
    terms: Terms,
    max_jobs_per_worker: Option<u64>,
    idle_timeout: Option<Duration>,
    start_timeout: Duration,
    max_payload: u64,
    environment: Vec<Variable>,
    threads_per_worker: Option<usize>,
    current_dir: Option<PathBuf>,
    executable: Option<PathBuf>,
    args: Vec<OsString>,
    spin: bool,
    stdout: Output,
    stderr: Output,
    name: Option<String>,
    in_process: bool,
}

impl Pool {
    /// How a pool differs from the default one.
    pub fn builder() -> PoolBuilder {
        PoolBuilder::new()
    }

    /// A pool of so many workers.
    ///
    /// # Errors
    ///
    /// As [`PoolBuilder::build`].
    pub fn new(workers: usize) -> Result<Pool, BuildError> {
        Pool::builder().workers(workers).build()
    }
}

impl PoolBuilder {
    fn new() -> Self {
        PoolBuilder {
            workers: None,
            queue_capacity: 1_000_000,
            terms: Terms::default(),
            max_jobs_per_worker: None,
            idle_timeout: None,
            start_timeout: Duration::from_secs(30),
            max_payload: 1 << 30,
            environment: Vec::new(),
            threads_per_worker: None,
            current_dir: None,
            executable: None,
            args: Vec::new(),
            spin: true,
            stdout: Output::default(),
            stderr: Output::default(),
            name: None,
            in_process: false,
        }
    }

    /// How many worker processes, and so how many jobs at a time. By default one a core.
    pub fn workers(mut self, n: usize) -> Self {
        self.workers = Some(n);
        self
    }

    /// How many jobs may be accepted and not yet handed to a worker; by default 1,000,000.
    /// Beyond it `submit` resolves to `QueueFull`.
    pub fn queue_capacity(mut self, n: usize) -> Self {
        self.queue_capacity = n;
        self
    }

    /// How long one attempt of a job may run; by default as long as it takes.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.terms.timeout = Some(timeout);
        self
    }

    /// How long a job that is asked to stop may go on before its worker is killed; by default
    /// no time at all: it is killed at once.
    pub fn grace_period(mut self, grace: Duration) -> Self {
        self.terms.grace = grace;
        self
    }

    /// When and how often jobs are tried again; by default never.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.terms.retry = policy;
        self
    }

    /// Replaces a worker after so many jobs; by default never. With 1, nothing that a job leaves
    /// behind in its process meets another job.
    pub fn max_jobs_per_worker(mut self, n: u64) -> Self {
        self.max_jobs_per_worker = Some(n);
        self
    }

    /// Resident memory that a worker may have while it runs a job, in bytes; by default any amount.
    /// A job beyond it ends as [`MemoryLimit`](crate::JobErrorKind::MemoryLimit), without a grace
    /// period, and is retried as a crash is.
    ///
    /// The host reads what the system says of the worker process (its children are not counted): on
    /// Linux from `/proc`, on macOS and FreeBSD by a system call, elsewhere not at all. It looks
    /// between once a millisecond and twenty times a second, the more often the closer the worker
    /// is to the limit, so a job may go beyond it by what it fills in a few milliseconds. What
    /// earlier jobs left in the worker counts; a worker that a job leaves beyond its limit is
    /// replaced.
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.terms.memory_limit = Some(bytes);
        self
    }

    /// Stops workers that have had nothing to do for so long, down to none; they are started
    /// again on demand. By default they stay.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = Some(timeout);
        self
    }

    /// How long a worker may take from its start to its greeting, start hooks included; by
    /// default 30 seconds.
    pub fn start_timeout(mut self, timeout: Duration) -> Self {
        self.start_timeout = timeout;
        self
    }

    /// Bytes of encoded arguments or of an encoded output; by default 1 GiB. Checked before
    /// anything is sent or allocated. At most 4 GiB less 4 KiB.
    pub fn max_payload(mut self, bytes: u64) -> Self {
        self.max_payload = bytes.min(MAX_PAYLOAD);
        self
    }

    /// Sets an environment variable of the workers, which inherit the host's environment.
    pub fn env(mut self, key: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push(Variable::Set(key.into(), value.into()));
        self
    }

    /// Takes an environment variable away from the workers.
    pub fn env_remove(mut self, key: impl Into<OsString>) -> Self {
        self.environment.push(Variable::Remove(key.into()));
        self
    }

    /// Lets the workers start from an empty environment (but for what was set after this).
    pub fn env_clear(mut self) -> Self {
        self.environment.push(Variable::Clear);
        self
    }

    /// How many threads the libraries that a job uses may start in its worker; by default what they
    /// think best, which is one a core in each of the workers.
    ///
    /// Sets `RAYON_NUM_THREADS`, `TOKIO_WORKER_THREADS`, `OMP_NUM_THREADS`,
    /// `OPENBLAS_NUM_THREADS`, `MKL_NUM_THREADS`, `BLIS_NUM_THREADS`, `VECLIB_MAXIMUM_THREADS` and
    /// `NUMEXPR_NUM_THREADS` in the workers, each only where neither the host's environment nor
    /// [`env`](Self::env) sets it.
    pub fn threads_per_worker(mut self, n: usize) -> Self {
        self.threads_per_worker = Some(n);
        self
    }

    /// The workers' working directory; by default the host's.
    pub fn current_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.current_dir = Some(dir.into());
        self
    }

    /// Runs another program as the worker. It must have the same jobs, in a `main` that is
    /// wrapped like this one's.
    pub fn executable(mut self, path: impl Into<PathBuf>) -> Self {
        self.executable = Some(path.into());
        self
    }

    /// Command line arguments of the workers; by default none.
    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.args = args.into_iter().map(Into::into).collect();
        self
    }

    /// Where the workers' stdout goes; by default to where the host's goes.
    pub fn stdout(mut self, output: Output) -> Self {
        self.stdout = output;
        self
    }

    /// Where the workers' stderr goes; by default to where the host's goes.
    pub fn stderr(mut self, output: Output) -> Self {
        self.stderr = output;
        self
    }

    /// Whether whoever waits for a short job (host and worker) looks for what it waits for, for up
    /// to 30 µs, before it sleeps; on by default.
    ///
    /// A round trip of a short job is several times faster that way, since waking a sleeping thread
    /// takes longer than the job, and takes less CPU, too. Who looks gives its processor away
    /// between two looks, so others are not held up, and a pool that does not gain by it, or whose
    /// processors are busy elsewhere, ceases to for a while. Of several tasks that await handles each
    /// gives way to the others first: it wakes itself once, and looks when it is polled again. An
    /// idle pool sleeps. Off: every wait sleeps at once.
    pub fn spin(mut self, on: bool) -> Self {
        self.spin = on;
        self
    }

    /// The pool's name in process lists.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Runs the jobs on threads of this process, in place of worker processes: for debuggers,
    /// coverage tools and checkers, which see everything in one process then.
    ///
    /// The environment variable `POOL_IN_PROCESS=1` does the same to every pool of a program;
    /// workers do not inherit it. `0` or nothing leaves the choice to the program.
    ///
    /// The same API, the same wire, the same order of jobs, and these differences:
    ///
    /// - A running job cannot be killed. Where that is asked for (cancel or kill without a grace
    ///   period, or one that is over; timeout, stall timeout, deadline), its handle resolves at once
    ///   as [`Unsupported`](crate::JobErrorKind::Unsupported), and is not retried. Its thread runs
    ///   on, sees [`is_cancelled`](crate::JobContext::is_cancelled), and keeps its slot busy until it
    ///   returns. [`Pool::shutdown`] resolves it as `PoolClosed` and does not wait for it, nor does
    ///   [`Pool::close`].
    /// - A panic is caught; but a job that aborts, exits or overflows its stack takes the program
    ///   with it, and what it does to the environment, to descriptors or to the working directory
    ///   it does to the program.
    /// - A panic of a job goes to its handle in place of the program's panic hook, as in a worker;
    ///   all other panics go to the hook that was there when the pool started its first thread.
    /// - States are made once a thread, and dropped when it ends.
    ///   [`#[worker_start]`](macro@crate::worker_start) functions do not run: `main` has prepared
    ///   the process.
    /// - `env`, `env_remove`, `env_clear`, `threads_per_worker`, `current_dir`, `executable`,
    ///   `args`, `stdout`, `stderr` and every `memory_limit` are ignored, not refused, so that any
    ///   program can be looked at in this way. [`name`](Self::name) is that of the threads.
    /// - A `main` that nothing wraps is fine. In a job there is no global pool, as in a worker.
    ///
    /// # Examples
    ///
    /// ```
    /// use pool::{Pool, pool_job, submit};
    ///
    /// #[pool_job]
    /// fn pid() -> u32 {
    ///     std::process::id()
    /// }
    ///
    /// fn main() -> Result<(), pool::BuildError> {
    ///     let pool = Pool::builder().workers(1).in_process().build()?;
    ///     assert_eq!(submit!(pool => pid).wait().unwrap(), std::process::id());
    ///     Ok(())
    /// }
    /// ```
    pub fn in_process(mut self) -> Self {
        self.in_process = true;
        self
    }

    /// Builds the pool and begins to start its workers; it does not wait for them
    /// ([`Pool::ready`] does).
    ///
    /// # Errors
    ///
    /// When a setting cannot work, an `executable` or `current_dir` is not there, this program's
    /// `main` is not wrapped, two jobs have one name, or the system gives no thread.
    pub fn build(self) -> Result<Pool, BuildError> {
        let table = registry::table().map_err(BuildError::new)?;
        let in_process = self.in_process || host::threads_are_asked_for()?;
        if !in_process && host::is_privileged() {
            return Err(BuildError::new(
                "this program runs set-user-id or set-group-id, where a worker could not trust \
                 what it is told: start it without these rights",
            ));
        }
        let workers = self.worker_count()?;
        self.environment.iter().try_for_each(check_variable)?;
        self.args.iter().try_for_each(|arg| check_text("args", arg))?;
        self.name.iter().try_for_each(|name| check_text("name", name.as_ref()))?;
        if self.threads_per_worker == Some(0) {
            return Err(BuildError::new(
                "`threads_per_worker(0)` would let nothing run: ask for at least one",
            ));
        }
        if self.queue_capacity == 0 {
            return Err(BuildError::new(
                "`queue_capacity(0)` would refuse every job: ask for at least one",
            ));
        }
        let program = match self.executable {
            _ if in_process => Program::Threads(worker::serve_on_thread),
            // Absolute: a bare name would be looked for in `PATH`, a relative one from the
            // workers' own directory.
            Some(path) if path.is_file() => Program::Other(absolute(path)?),
            Some(path) => {
                return Err(missing(
                    "executable",
                    &path,
                    "no file",
                    "name a program with the same jobs",
                ));
            }
            None => Program::own()?,
        };
        let dir = self.current_dir.as_deref().filter(|_| !in_process);
        if let Some(dir) = dir.filter(|dir| !dir.is_dir()) {
            return Err(missing("current_dir", dir, "no directory", "make it, or name another"));
        }
        let plan = LaunchPlan {
            program,
            args: self.args,
            environment: self.environment,
            threads: self.threads_per_worker,
            current_dir: self.current_dir,
            stdout: self.stdout,
            stderr: self.stderr,
            pool: self.name,
            max_payload: self.max_payload,
            start_timeout: self.start_timeout,
            fingerprint: table.fingerprint(),
            spin: self.spin,
        };
        let captures = [self.stdout, self.stderr].contains(&Output::Capture);
        let config = Config {
            workers,
            // Where output is captured it has to stay one: whose line it is would not be known.
            window: if captures { 1 } else { WINDOW },
            horizon: horizon(workers, processors()),
            latency: LATENCY,
            max_jobs_per_worker: self.max_jobs_per_worker,
            idle_timeout: self.idle_timeout,
            start_timeout: self.start_timeout,
            killable: !in_process,
            defaults: self.terms,
            seed: u64::from(std::process::id()),
        };
        let host: Arc<Host> = Host::new(config, plan, self.queue_capacity);
        host::start_driver(&host).map_err(|error| {
            BuildError::new(format!(
                "no thread for its driver: {error}: see the system's limits on threads and open \
                 files"
            ))
        })?;
        Ok(Pool::of(host))
    }

    fn worker_count(&self) -> Result<u32, BuildError> {
        match self.workers {
            Some(0) => Err(BuildError::new("`workers(0)` could run nothing: ask for at least one")),
            Some(n) => u32::try_from(n).ok().filter(|&n| n <= 1 << 16).ok_or_else(|| {
                BuildError::new(format!("{n} workers are more than 65,536: ask for fewer"))
            }),
            None => Ok(processors()),
        }
    }
}

fn absolute(path: PathBuf) -> Result<PathBuf, BuildError> {
    std::path::absolute(&path)
        .map_err(|error| BuildError::new(format!("`executable`: {}: {error}", path.display())))
}

/// What no process can be started with.
fn check_text(setting: &str, text: &OsStr) -> Result<(), BuildError> {
    if text.as_encoded_bytes().contains(&0) {
        return Err(BuildError::new(format!(
            "`{setting}`: {text:?} contains a zero byte: remove it"
        )));
    }
    Ok(())
}

fn check_variable(variable: &Variable) -> Result<(), BuildError> {
    let (key, value) = match variable {
        Variable::Set(key, value) => (key, Some(value)),
        Variable::Remove(key) => (key, None),
        Variable::Clear => return Ok(()),
    };
    if key.is_empty() || key.as_encoded_bytes().contains(&b'=') {
        return Err(BuildError::new(format!(
            "`env`: {key:?} is no name of a variable: it is empty, or `=` is in it"
        )));
    }
    check_text("env", key)?;
    value.map_or(Ok(()), |value| check_text("env", value))
}

fn missing(setting: &str, path: &Path, what: &str, way_out: &str) -> BuildError {
    BuildError::new(format!("`{setting}`: there is {what} at `{}`: {way_out}", path.display()))
}

fn processors() -> u32 {
    thread::available_parallelism().map_or(1, |n| n.get() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_contract() {
        let builder = Pool::builder();
        assert_eq!(builder.queue_capacity, 1_000_000);
        assert_eq!(
            (builder.max_payload, builder.start_timeout),
            (1 << 30, Duration::from_secs(30))
        );
        assert_eq!((builder.max_jobs_per_worker, builder.idle_timeout), (None, None));
        let Terms { timeout, grace, retry, stall_timeout, memory_limit, priority } = builder.terms;
        assert_eq!((timeout, stall_timeout, memory_limit), (None, None, None));
        assert_eq!((grace, retry), (Duration::ZERO, RetryPolicy::attempts(1)));
        assert_eq!(priority, crate::policy::Priority::Normal);
        assert_eq!((builder.stdout, builder.stderr), (Output::Inherit, Output::Inherit));
    }
}
