//! What goes into the scheduler and what comes out of it.
//!
//! The doc on each variant is its promise. Hands perform actions in the order in which they
//! come; [`Action::Recall`] is answered by [`Event::Recalled`] before anything else is fed.

use std::time::Duration;

use crate::error::WorkerExit;

/// A moment, counted from the start of the pool. The scheduler reads no clock: it is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Time(u64);

impl Time {
    /// As late as a moment can be: nobody waits for it.
    pub(super) const NEVER: Time = Time(u64::MAX);

    /// The moment `since_start` after the start.
    pub(crate) fn after_start(since_start: Duration) -> Time {
        Time(nanos(since_start))
    }

    /// The same from nanoseconds.
    #[inline]
    pub(super) fn of_nanos(since_start: u64) -> Time {
        Time(since_start)
    }

    /// The same in nanoseconds.
    #[inline]
    pub(super) fn nanos(self) -> u64 {
        self.0
    }

    /// Nanoseconds from `earlier` to `self`, zero if it is the other way round.
    #[inline]
    pub(super) fn nanos_since(self, earlier: Time) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// How long after the start this is.
    #[cfg(test)]
    pub(crate) fn since_start(self) -> Duration {
        Duration::from_nanos(self.0)
    }

    /// `earlier` to `self`, zero if it is the other way round.
    pub(crate) fn since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for Time {
    type Output = Time;

    #[inline]
    fn add(self, wait: Duration) -> Time {
        Time(self.0.saturating_add(nanos(wait)))
    }
}

/// A length in nanoseconds; what is longer than 584 years counts as that long. Without the numbers
/// of 128 bits that `as_nanos` deals in: this is done several times for each job.
#[inline]
pub(super) fn nanos(length: Duration) -> u64 {
    length.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(length.subsec_nanos()))
}

/// One life of one worker: the slot is stable, the generation grows with each launch,
/// so that news of a past life is known as such.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct WorkerId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

/// A job the scheduler holds: where, and which of all that were ever there. A key of a job that has
/// ended matches nothing. One word, which travels in a register: two halves that are put side by side
/// and moved right after are waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct JobKey(u64);

impl JobKey {
    #[inline]
    pub(crate) fn new(index: u32, generation: u32) -> JobKey {
        JobKey(u64::from(index) << 32 | u64::from(generation))
    }

    #[inline]
    pub(crate) fn index(self) -> u32 {
        (self.0 >> 32) as u32
    }

    #[inline]
    pub(super) fn generation(self) -> u32 {
        self.0 as u32
    }
}

/// What a worker answered for the first job of its window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// An output (or a refusal by the worker that no retry would change).
    Done,
    /// The job panicked and the worker lives on.
    Panicked,
}

/// News for the scheduler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The user gave the job up: never run it, or ask it and kill it after its grace period.
    Cancel { job: JobKey },
    /// The same without a grace period.
    Kill { job: JobKey },
    /// The worker's process is there, and takes what is sent to it once it is up. Not to be told of one
    /// that must have nothing before.
    Connected { worker: WorkerId },
    /// The worker is up and runs what it is given.
    WorkerReady { worker: WorkerId },
    /// The first job of the worker's window is answered.
    /// `took`: how long the job ran, by the worker's own word.
    Replied { worker: WorkerId, reply: Reply, took: Duration },
    /// Answer to a gentle [`Action::Recall`]: no job of the window is claimed, and none came back.
    NotBegun { worker: WorkerId },
    /// Answer to [`Action::Recall`]: the first `kept` jobs of the window were claimed,
    /// the rest can never run there any more.
    Recalled { worker: WorkerId, kept: usize },
    /// The first job of the worker's window has shown that it goes on.
    Progressed { worker: WorkerId },
    /// The worker has more memory than the first job of its window may use, which it runs.
    OverMemory { worker: WorkerId },
    /// The same, and the reply to that job comes next: the worker has to be replaced, lest the
    /// next job pays for it.
    Bloated { worker: WorkerId },
    /// The worker took notice of a recall: it is awake.
    Awake { worker: WorkerId },
    /// The worker is gone, whatever it was doing; also a launch that failed, where no process
    /// ever came to be. Nothing more comes from it. `claimed`: the first job of its window had
    /// been claimed and has no reply.
    WorkerGone { worker: WorkerId, exit: WorkerExit, claimed: bool },
    /// Finish what was accepted, then stop. Hands refuse new jobs from here on.
    Close,
    /// End everything now.
    Shutdown,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// By the reply that came last.
    Replied,
    /// Its worker died with it.
    Crashed(WorkerExit),
    /// The timeout or the deadline of this length passed.
    TimedOut(Duration),
    /// Its worker went beyond its memory limit of so many bytes.
    MemoryLimit(u64),
    /// Cancelled or killed.
    Cancelled,
    /// It should have ended like that, and its worker, which cannot be killed, runs on.
    Unsupported(Box<Ending>),
    /// The pool shut down.
    PoolClosed,
    /// No worker lives and none can be started.
    WorkerStart,
}

/// Something for the hands to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action<T> {
    /// Start a process for this worker. Ends in `WorkerReady` or `WorkerGone`.
    Launch { worker: WorkerId },
    /// Append the job to the worker's window and send it. It stays with the scheduler, which lends it
    /// by its key until it is resolved.
    Assign(Assignment),
    /// Take back all jobs of the window that are not claimed, and say how many stayed. `gently`: if
    /// not one is claimed, leave them all and say [`Event::NotBegun`].
    Recall { worker: WorkerId, gently: bool },
    /// Ask the first job of the worker's window to stop.
    Ask { worker: WorkerId },
    /// Let the worker exit by itself; its window is empty. Ends in `WorkerGone`.
    Stop { worker: WorkerId },
    /// Kill the worker and its process group. Ends in `WorkerGone`. Replies that are read
    /// after this are not fed. Where workers cannot be killed: what it runs is forgotten, and it
    /// ends when that has returned.
    Kill { worker: WorkerId },
    /// The job has ended and is forgotten.
    Resolve {
        job: T,
        ending: Ending,
        /// Attempts that were started; zero if it never ran.
        attempts: u32,
        /// It was never handed to a worker: its place in the queue is free for another.
        unassigned: bool,
    },
}

/// A job that is handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub(crate) worker: WorkerId,
    pub(crate) job: JobKey,
    /// From 1.
    pub(crate) attempt: u32,
    /// Something bounds this attempt: [`Scheduler::bounds`](super::Scheduler::bounds) tells what.
    pub(crate) bounded: bool,
    /// It leaves the queue for the first time: its place is free for another.
    pub(crate) first: bool,
    /// It is expected to end soon.
    pub(crate) brief: bool,
    /// Replies that the worker holds back are to be written before it begins.
    pub(crate) prompt: bool,
}

/// What bounds one attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// The job's timeout, or what is left until its deadline if that is less: what the worker is
    /// told.
    pub(crate) remaining: Option<Duration>,
    /// In bytes: [`Event::OverMemory`] tells when it is broken.
    pub(crate) memory_limit: Option<u64>,
}

/// Whether the workers are up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// Every slot has had a ready worker since the start.
    Ready,
    /// Not yet.
    Pending,
    /// Three launches in a row have failed and no worker lives.
    Failed,
    /// Closed or shut down.
    Closed,
}
