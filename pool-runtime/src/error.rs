//! Every way a job, a build or a request can fail: [`JobError`], [`BuildError`], [`Closed`].
//!
//! The kinds carry values only, so that an outcome can be stored or sent.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::id::JobId;

/// Why a job gave no output.
///
/// [`kind`](JobError::kind) says what happened; the text names the job, its label, the
/// attempt and what to do next.
#[derive(Clone)]
pub struct JobError(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: JobErrorKind,
    subject: Subject,
    attempts: u32,
    /// What the kind alone cannot say, for example which fault of the channel ended a worker.
    detail: Option<Arc<str>>,
    stderr_tail: Option<Arc<str>>,
}

/// The job that an error is about.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) id: JobId,
    pub(crate) name: Cow<'static, str>,
    pub(crate) label: Option<Arc<str>>,
}

/// What happened to a job. More kinds may come.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JobErrorKind {
    /// The job function panicked; its worker lives on (unless it was built with `panic = "abort"`).
    Panicked(PanicInfo),
    /// The worker process ended while it ran the job.
    Crashed(WorkerExit),
    /// The job ran longer than its timeout, or was not done by its deadline, of this length.
    TimedOut(Duration),
    /// This job was cancelled or killed by its handle, its canceller or its queue.
    Cancelled,
    /// The pool shut down before the job ended, or was closed before it was submitted.
    PoolClosed,
    /// The pool holds as many waiting jobs as `queue_capacity` allows.
    QueueFull,
    /// The [`JobQueue`](crate::JobQueue) was closed before the job was pushed.
    QueueClosed,
    /// No job of that name is registered.
    UnknownJob(String),
    /// An argument or the output could not be encoded: which side, and serde's own words.
    Encode(String),
    /// An argument or the output could not be decoded: which side, and serde's own words.
    Decode(String),
    /// A worker-wide state that the job asks for could not be made.
    State(String),
    /// The arguments or the output are larger than `max_payload`.
    PayloadTooLarge {
        /// Bytes of the payload.
        size: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// The worker's resident memory went beyond its limit while it ran the job.
    MemoryLimit {
        /// Bytes allowed.
        limit: u64,
    },
    /// No worker could be started.
    WorkerStart(String),
    /// Something that this pool cannot do: ending a job that runs on a thread
    /// ([`in_process`](crate::PoolBuilder::in_process)).
    Unsupported(String),
}

/// How a worker process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WorkerExit {
    /// It exited with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// It is gone, or useless, and the system did not say why.
    Unknown,
}

/// What a panicking job said, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PanicInfo {
    pub(crate) message: String,
    pub(crate) location: Option<(String, u32, u32)>,
    pub(crate) backtrace: Option<String>,
}

impl PanicInfo {
    /// The panic's message; a fixed text where its payload was no string.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The source file that panicked, where known.
    pub fn file(&self) -> Option<&str> {
        self.location.as_ref().map(|(file, ..)| file.as_str())
    }

    /// The line in that file.
    pub fn line(&self) -> Option<u32> {
        self.location.as_ref().map(|&(_, line, _)| line)
    }

    /// The column in that line.
    pub fn column(&self) -> Option<u32> {
        self.location.as_ref().map(|&(.., column)| column)
    }

    /// The worker's backtrace, where `RUST_BACKTRACE` or `RUST_LIB_BACKTRACE` asked for one.
    pub fn backtrace(&self) -> Option<&str> {
        self.backtrace.as_deref()
    }
}

impl JobError {
    pub(crate) fn new(kind: JobErrorKind, subject: Subject, attempts: u32) -> Self {
        JobError(Box::new(Inner { kind, subject, attempts, detail: None, stderr_tail: None }))
    }

    pub(crate) fn with_detail(mut self, detail: Option<Arc<str>>) -> Self {
        self.0.detail = detail;
        self
    }

    pub(crate) fn with_tail(mut self, tail: Option<Arc<str>>) -> Self {
        self.0.stderr_tail = tail;
        self
    }

    /// What happened.
    pub fn kind(&self) -> &JobErrorKind {
        &self.0.kind
    }

    /// The job's id, the same as its handle's.
    pub fn job_id(&self) -> JobId {
        self.0.subject.id
    }

    /// The job's name: the full path of its function unless it was given another.
    pub fn job_name(&self) -> &str {
        &self.0.subject.name
    }

    /// What the call was labelled with: which input this is about.
    pub fn label(&self) -> Option<&str> {
        self.0.subject.label.as_deref()
    }

    /// How many attempts were made; zero if the job never ran.
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// With captured stderr ([`Output::Capture`](crate::Output::Capture)): the last lines that the
    /// worker wrote to it while it ran this job, or while it failed to start; at most 20 lines and
    /// 4 KiB. `None` if it wrote nothing.
    pub fn stderr_tail(&self) -> Option<&str> {
        self.0.stderr_tail.as_deref()
    }

    /// The job function panicked.
    pub fn is_panic(&self) -> bool {
        matches!(self.0.kind, JobErrorKind::Panicked(_))
    }

    /// The worker died with the job.
    pub fn is_crash(&self) -> bool {
        matches!(self.0.kind, JobErrorKind::Crashed(_))
    }

    /// The job ran into its timeout or its deadline.
    pub fn is_timeout(&self) -> bool {
        matches!(self.0.kind, JobErrorKind::TimedOut(_))
    }

    /// The job was cancelled or killed.
    pub fn is_cancelled(&self) -> bool {
        matches!(self.0.kind, JobErrorKind::Cancelled)
    }

    /// The pool was shut down or closed.
    pub fn is_pool_closed(&self) -> bool {
        matches!(self.0.kind, JobErrorKind::PoolClosed)
    }
}

impl std::error::Error for JobError {}

/// As it is displayed: a `main` that returns a `Result` prints errors by this. `{:#?}` shows the
/// parts.
impl fmt::Debug for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !f.alternate() {
            return fmt::Display::fmt(self, f);
        }
        let Inner { kind, subject, attempts, detail, stderr_tail } = &*self.0;
        f.debug_struct("JobError")
            .field("kind", kind)
            .field("job_id", &subject.id)
            .field("job_name", &subject.name)
            .field("label", &subject.label)
            .field("attempts", attempts)
            .field("detail", detail)
            .field("stderr_tail", stderr_tail)
            .finish()
    }
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use JobErrorKind::{Crashed, MemoryLimit, TimedOut};

        let Inner { kind, subject, attempts, detail, stderr_tail } = &*self.0;
        write!(f, "job `{}` (id {}", subject.name, subject.id)?;
        if let Some(label) = &subject.label {
            write!(f, ", label {label:?}")?;
        }
        match attempts {
            0 => f.write_str(", not started) ")?,
            n => write!(f, ", attempt {n}) ")?,
        }
        write!(f, "{kind}")?;
        if let Some(detail) = detail {
            write!(f, " ({detail})")?;
        }
        // The texts of the other kinds say all that, or it was not the end of the process.
        let ends_process = matches!(kind, Crashed(_) | TimedOut(_) | MemoryLimit { .. });
        let tail = stderr_tail.as_deref().filter(|_| ends_process);
        let words = tail.and_then(last_words);
        if let Some(words) = words {
            write!(f, "; its last words: {words:?}")?;
        }
        match kind.advice(*attempts, words.is_some()) {
            Some(advice) => write!(f, "; {advice}"),
            None => Ok(()),
        }
    }
}

/// The last line that says something, or the end of it.
pub(crate) fn last_words(tail: &str) -> Option<&str> {
    const ENOUGH: usize = 200;
    // What the standard library adds to every panic, and to every one that cannot unwind.
    const PHRASES: [&str; 2] =
        ["note: run with `RUST_BACKTRACE", "thread caused non-unwinding panic"];
    let says = |line: &&str| !line.is_empty() && !PHRASES.iter().any(|p| line.starts_with(p));
    let line = tail.lines().map(str::trim).rfind(says)?;
    let start = line.char_indices().rev().nth(ENOUGH - 1).map_or(0, |(at, _)| at);
    Some(&line[start..])
}

impl JobErrorKind {
    /// What the reader of the error can do about it, where the kind does not say so itself.
    fn advice(&self, attempts: u32, has_words: bool) -> Option<&'static str> {
        let has_run = attempts > 0;
        Some(match self {
            JobErrorKind::Panicked(info) if info.backtrace.is_some() => {
                "its backtrace is in `PanicInfo::backtrace`"
            }
            JobErrorKind::Panicked(_) => "set RUST_BACKTRACE=1 to have its backtrace",
            JobErrorKind::Crashed(WorkerExit::Code(_)) if has_words => {
                "something in it called `exit`; other jobs are not affected; more is in \
                 `stderr_tail`"
            }
            JobErrorKind::Crashed(WorkerExit::Code(_)) => {
                "something in it called `exit`; other jobs are not affected; see the worker's \
                 stderr"
            }
            JobErrorKind::Crashed(WorkerExit::Signal(SIGKILL)) => {
                "it was killed from outside, often by a system short of memory: see its log, and \
                 set `memory_limit`; other jobs are not affected"
            }
            JobErrorKind::Crashed(_) if has_words => {
                "other jobs are not affected; more is in `stderr_tail`; call the job's function \
                 directly to debug it"
            }
            JobErrorKind::Crashed(_) => {
                "other jobs are not affected; see the worker's stderr, and call the job's \
                 function directly to debug it"
            }
            JobErrorKind::TimedOut(_) if has_run => {
                "raise its timeout or deadline, or let the job do less at once"
            }
            JobErrorKind::TimedOut(_) => {
                "raise its deadline or its priority, or let fewer jobs wait before it"
            }
            JobErrorKind::Cancelled if has_run => {
                "it may have done a part of its work; submit it again if it is still wanted"
            }
            JobErrorKind::Cancelled => "submit it again if it is still wanted",
            JobErrorKind::PoolClosed if has_run => {
                "it was cut off while it ran, and may have done a part of its work; `Pool::close` \
                 lets what runs end"
            }
            JobErrorKind::PoolClosed => "submit it to a pool that is open",
            JobErrorKind::QueueFull => {
                "wait for room with `Pool::reserve` or raise `queue_capacity`"
            }
            JobErrorKind::QueueClosed => "push before `JobQueue::close`",
            JobErrorKind::Encode(_) => "check the type's serde implementation against MessagePack",
            JobErrorKind::Decode(_) => {
                "check that caller and job mean the same types, and their serde implementations \
                 against MessagePack"
            }
            JobErrorKind::PayloadTooLarge { .. } => {
                "send a path in place of the content, or raise `max_payload`"
            }
            JobErrorKind::MemoryLimit { .. } => "raise `memory_limit` or split the input",
            JobErrorKind::WorkerStart(_) => {
                "mend that and submit it again; a pool that was built goes on trying to start \
                 workers"
            }
            JobErrorKind::UnknownJob(_) | JobErrorKind::State(_) | JobErrorKind::Unsupported(_) => {
                return None;
            }
        })
    }
}

impl fmt::Display for JobErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JobErrorKind::Panicked(info) => write!(f, "panicked{info}"),
            JobErrorKind::Crashed(exit) => write!(f, "crashed: its worker process {exit}"),
            JobErrorKind::TimedOut(limit) => write!(f, "timed out after {limit:?}"),
            JobErrorKind::Cancelled => f.write_str("was cancelled"),
            JobErrorKind::PoolClosed => f.write_str("did not end before its pool was closed"),
            JobErrorKind::QueueFull => f.write_str("was refused: the pool's queue is full"),
            JobErrorKind::QueueClosed => f.write_str("was refused: the job queue is closed"),
            JobErrorKind::UnknownJob(text) => write!(f, "is not registered: {text}"),
            JobErrorKind::Encode(text) => write!(f, "could not be encoded: {text}"),
            JobErrorKind::Decode(text) => write!(f, "could not be decoded: {text}"),
            JobErrorKind::State(text) => write!(f, "could not get its state: {text}"),
            JobErrorKind::PayloadTooLarge { size, limit } => {
                write!(f, "has a payload of {size} bytes, more than the limit of {limit}")
            }
            JobErrorKind::MemoryLimit { limit } => {
                write!(f, "used more memory than the limit of {limit} bytes")?;
                match limit >> 20 {
                    0 => Ok(()),
                    mib => write!(f, " ({mib} MiB)"),
                }
            }
            JobErrorKind::WorkerStart(text) => {
                write!(f, "could not run: no worker could be started: {text}")
            }
            JobErrorKind::Unsupported(text) => {
                write!(f, "asks for what this pool cannot do: {text}")
            }
        }
    }
}

impl fmt::Display for PanicInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((file, line, column)) = &self.location {
            write!(f, " at {file}:{line}:{column}")?;
        }
        write!(f, ": {}", self.message)
    }
}

impl fmt::Display for WorkerExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WorkerExit::Code(code) => write!(f, "exited with code {code}"),
            WorkerExit::Signal(signal) => match signal_name(*signal) {
                Some(name) => write!(f, "was ended by signal {signal} ({name})"),
                None => write!(f, "was ended by signal {signal}"),
            },
            WorkerExit::Unknown => f.write_str("ended for an unknown reason"),
        }
    }
}

/// The same on every Unix.
const SIGKILL: i32 = 9;

/// Names of the signals whose number is the same on every Unix.
fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        8 => "SIGFPE",
        SIGKILL => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        _ => return None,
    })
}

/// Why a [`Pool`](crate::Pool) could not be built, or is not ready; the text says what to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildError {
    message: String,
    was_built: bool,
}

impl BuildError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        BuildError { message: message.into(), was_built: false }
    }

    pub(crate) fn not_ready(message: impl Into<String>) -> Self {
        BuildError { message: message.into(), was_built: true }
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.was_built { "is not ready" } else { "could not be built" };
        write!(f, "the pool {what}: {}", self.message)
    }
}

impl std::error::Error for BuildError {}

/// The pool is shut down or closed and takes no more jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the pool is closed and takes no more jobs; submit to one that is open")
    }
}

impl std::error::Error for Closed {}
