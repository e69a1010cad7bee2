//! What happens in a pool, as its observers are told: [`PoolEvent`].

use crate::error::{JobErrorKind, PanicInfo, WorkerExit};
use crate::id::JobId;

/// Something that happened in a pool; read from an [`EventStream`](crate::EventStream). More may
/// come.
///
/// Every job that a pool accepts gives one `JobQueued`, then a `JobStarted` for each attempt that
/// a worker can run, then one `JobEnded`. A job that never ran has no `JobStarted`; one that was
/// refused gives no event at all. An attempt that its worker had not begun, for example because
/// the worker died just then, is handed to another and gives `JobStarted` again, with the same
/// number. A job of a [`JobQueue`](crate::JobQueue) is accepted when the pool takes it out; one
/// that goes back to its queue because the pool was shut down has not ended, and gives no
/// `JobEnded`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PoolEvent {
    /// The process of a worker exists. It is not ready yet.
    WorkerStarted {
        /// From 0 to the number of workers, stable over restarts.
        slot: usize,
        /// Of the process.
        pid: u32,
    },
    /// A worker has run its start hooks and takes jobs.
    WorkerReady {
        /// As in `WorkerStarted`.
        slot: usize,
        /// As in `WorkerStarted`.
        pid: u32,
    },
    /// The process of a worker is gone, for whatever reason.
    WorkerExited {
        /// As in `WorkerStarted`.
        slot: usize,
        /// As in `WorkerStarted`.
        pid: u32,
        /// How it ended.
        exit: WorkerExit,
    },
    /// The pool has accepted a job: up to a millisecond ago, where others wait before it.
    JobQueued {
        /// The job's id, the same as its handle's.
        id: JobId,
        /// The name that its function is registered by.
        name: &'static str,
    },
    /// A worker can run the job from now on.
    JobStarted {
        /// As in `JobQueued`.
        id: JobId,
        /// The worker's slot.
        slot: usize,
        /// From 1.
        attempt: u32,
    },
    /// The job has its outcome.
    JobEnded {
        /// As in `JobQueued`.
        id: JobId,
        /// What its handle resolves to, without the output. A job whose function returned an
        /// `Err` of its own has an output.
        outcome: Result<(), JobErrorKind>,
    },
    /// A worker has printed a line. With [`Output::Capture`](crate::Output::Capture) only.
    Output {
        /// The worker's slot.
        slot: usize,
        /// The job that was running while the line was read; `None` if there was none.
        job: Option<JobId>,
        /// Where the worker wrote it.
        stream: OutputStream,
        /// Without its line end. What is no UTF-8 is replaced by U+FFFD. A line of more than
        /// 64 KiB comes in pieces of about that length.
        line: String,
    },
}

/// One of the two streams that a worker prints to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl PoolEvent {
    /// Bytes that it holds beside itself.
    pub(crate) fn weight(&self) -> usize {
        match self {
            PoolEvent::Output { line, .. } => line.len(),
            PoolEvent::JobEnded { outcome: Err(kind), .. } => weight(kind),
            PoolEvent::JobEnded { outcome: Ok(()), .. }
            | PoolEvent::WorkerStarted { .. }
            | PoolEvent::WorkerReady { .. }
            | PoolEvent::WorkerExited { .. }
            | PoolEvent::JobQueued { .. }
            | PoolEvent::JobStarted { .. } => 0,
        }
    }
}

fn weight(kind: &JobErrorKind) -> usize {
    match kind {
        JobErrorKind::Panicked(PanicInfo { message, location, backtrace }) => {
            let file = location.as_ref().map_or(0, |(file, ..)| file.len());
            message.len() + file + backtrace.as_ref().map_or(0, String::len)
        }
        JobErrorKind::UnknownJob(text)
        | JobErrorKind::Encode(text)
        | JobErrorKind::Decode(text)
        | JobErrorKind::State(text)
        | JobErrorKind::WorkerStart(text)
        | JobErrorKind::Unsupported(text) => text.len(),
        JobErrorKind::Crashed(_)
        | JobErrorKind::TimedOut(_)
        | JobErrorKind::Cancelled
        | JobErrorKind::PoolClosed
        | JobErrorKind::QueueFull
        | JobErrorKind::QueueClosed
        | JobErrorKind::PayloadTooLarge { .. }
        | JobErrorKind::MemoryLimit { .. } => 0,
    }
}
