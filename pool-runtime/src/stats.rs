//! Numbers about work: how far a job is ([`Progress`]), how jobs ended ([`WorkReport`]), what a
//! pool has done so far ([`Stats`]) and what it is doing right now ([`Snapshot`]).

mod histogram;

use std::time::Duration;

use crate::id::JobId;

pub use histogram::Histogram;

/// How the jobs of one [`Work`](crate::Work) or one [`close`](crate::Pool::close) ended.
///
/// A job whose function returned an `Err` of its own has succeeded: it ran and answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkReport {
    /// Jobs that gave an output.
    pub succeeded: u64,
    /// Jobs that ended with any error but `Cancelled` and `PoolClosed`.
    pub failed: u64,
    /// Jobs that ended as `Cancelled` or `PoolClosed`.
    pub cancelled: u64,
    /// From the start of the work to its end.
    pub elapsed: Duration,
}

/// How far a job says that it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Steps that are done.
    pub done: u64,
    /// Steps in all; zero where the job does not know.
    pub total: u64,
    /// What it says besides.
    pub message: Option<String>,
}

/// What a pool has done since it was built; made by [`Pool::stats`](crate::Pool::stats).
///
/// One still picture: at any moment, whatever other threads are doing,
///
/// ```text
/// queued + running + succeeded + failed + cancelled = submitted
/// ```
///
/// where *submitted* are the jobs that the pool has accepted, see [`submitted`](Self::submitted).
/// What has ended is never taken back: `succeeded`, `failed`, `crashed`, `cancelled`, `restarts`
/// and the counts of both histograms only grow, and a job is among them before its handle resolves.
///
/// Empty for a global pool that could not be built, and in a process that was forked from the one
/// that built the pool.
///
/// # Examples
///
/// ```
/// use pool::{Pool, call, pool_job};
///
/// #[pool_job]
/// fn half(n: u32) -> Result<u32, String> {
///     if n % 2 == 0 { Ok(n / 2) } else { Err(format!("{n} is odd")) }
/// }
///
/// #[pool::main]
/// fn main() {
///     let pool = Pool::new(2).unwrap();
///     let jobs: Vec<_> = (0..10).map(|n| pool.submit(call!(half, n))).collect();
///     assert_eq!(pool.stats().submitted(), 10);
///     jobs.into_iter().for_each(|job| drop(job.wait().unwrap()));
///     // A job's own `Err` is an answer: it has succeeded.
///     let stats = pool.stats();
///     assert_eq!((stats.queued, stats.running, stats.succeeded, stats.failed), (0, 0, 10, 0));
///     println!("99 of 100 jobs waited at most {:?}", stats.wait.quantile(0.99));
/// }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats {
    /// Each worker, by its slot.
    pub workers: Vec<WorkerStats>,
    /// Jobs that wait: in the queue, in their back-off, or handed to a worker ahead of their turn.
    /// Those in a [`JobQueue`](crate::JobQueue) are not among them: no pool counts these.
    pub queued: u64,
    /// Jobs that a worker is running.
    pub running: u64,
    /// Jobs that gave an output, their own `Err` included.
    pub succeeded: u64,
    /// Jobs that ended with any error but `Cancelled` and `PoolClosed`.
    pub failed: u64,
    /// Of those that failed, the ones that took their worker down: they ended as `Crashed` or as
    /// `MemoryLimit`. A crash that a retry made good is not counted.
    pub crashed: u64,
    /// Jobs that ended as `Cancelled` or `PoolClosed`.
    pub cancelled: u64,
    /// Worker processes that were started in a slot that had one before: in the place of one that
    /// died, was killed, had run [as many jobs as it may](crate::PoolBuilder::max_jobs_per_worker)
    /// or had gone home [for want of work](crate::PoolBuilder::idle_timeout).
    pub restarts: u64,
    /// How long jobs waited for their first run: from the moment at which the pool accepted the job
    /// (or took it from a [`JobQueue`](crate::JobQueue)) to the moment at which it could run in a
    /// worker. One entry for each job that came so far. Behind others that wait, and where several are
    /// submitted in a row on one processor, jobs are taken in many at a time, so up to two milliseconds
    /// of their wait may be missing.
    pub wait: Histogram,
    /// How long attempts took: what the worker has measured, where it has answered; else from the
    /// moment at which the attempt could run there to its end, however that came. Of a function that
    /// takes less than half a microsecond up to eight jobs in a row are measured together, and each
    /// counts as its part; what they took beyond that counts as the last one's. One entry for each attempt that
    /// has ended, so there are as many as there are [`jobs_done`](WorkerStats::jobs_done) in all
    /// workers.
    pub run: Histogram,
    /// The part of their time that the workers spent on jobs, from 0 to 1: since the pool was
    /// built, and of all the time for which there were worker processes, their start and end
    /// included. Zero if there were none yet.
    pub utilization: f64,
}

impl Stats {
    /// Jobs that the pool has accepted, and has not given back.
    ///
    /// A job that is refused is counted by nobody: if the queue is full, the pool is closed, the
    /// name is unknown, or the arguments cannot be encoded or are too large. Of a
    /// [`JobQueue`](crate::JobQueue) a pool counts the jobs that it has taken (and finds to be too
    /// large only then: that one has failed); those that a shutdown gives back to the queue are no
    /// longer counted.
    pub fn submitted(&self) -> u64 {
        self.queued + self.running + self.succeeded + self.failed + self.cancelled
    }
}

/// One worker of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerStats {
    /// Its number, from 0: what [`JobContext::worker`](crate::JobContext::worker) says in its jobs.
    /// A process that takes another's place has the same.
    pub slot: usize,
    /// The process that has the slot now; `None` if there is none.
    pub pid: Option<u32>,
    /// Where that process is in its life.
    pub state: WorkerState,
    /// The job that it is running; also one that it was killed for, until its end is known.
    pub job: Option<JobId>,
    /// Attempts that have ended in this slot, in whatever way: by an answer, a panic, a kill or a
    /// crash. Goes on from one process to the next.
    pub jobs_done: u64,
    /// Bytes of memory that it has resident, without its children; `None` where there is no process
    /// or the system does not say.
    pub rss: Option<u64>,
}

/// Where a worker is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WorkerState {
    /// Launched, and not ready yet.
    Starting,
    /// Ready, without a job.
    Idle,
    /// Running a job.
    Busy,
    /// Told to exit, or killed, and not gone yet.
    Stopping,
    /// There is no process.
    Gone,
}

/// What a pool is doing right now; made by [`Pool::snapshot`](crate::Pool::snapshot).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use pool::{Pool, call, pool_job};
///
/// #[pool_job]
/// fn sleep_long() {
///     std::thread::sleep(Duration::from_secs(3600));
/// }
///
/// #[pool::main]
/// fn main() {
///     let pool = Pool::new(1).unwrap();
///     let job = pool.submit(call!(sleep_long).label("the long one"));
///     while pool.snapshot().running.is_empty() {
///         std::thread::sleep(Duration::from_millis(1));
///     }
///     let running = &pool.snapshot().running[0];
///     assert_eq!(running.id, job.id());
///     assert_eq!(running.label.as_deref(), Some("the long one"));
///     println!("{} has been running for {:?}", running.name, running.age);
/// }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The jobs that are running, by the slot of their worker.
    pub running: Vec<RunningJob>,
    /// How long the job has waited that has waited longest, of all priorities; `None` if none
    /// waits. A job waits from the moment at which the pool accepted it. One that is tried again
    /// waits from the end of its last attempt, and from the end of its back-off anew.
    pub oldest_queued: Option<Duration>,
}

/// A job that a worker is running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningJob {
    /// Its id.
    pub id: JobId,
    /// The name under which its function is registered.
    pub name: &'static str,
    /// The label of its call.
    pub label: Option<String>,
    /// The slot of its worker.
    pub slot: usize,
    /// The process of its worker.
    pub pid: Option<u32>,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// How long this attempt has been going on.
    pub age: Duration,
    /// What it has said last of how far it is; `None` if nothing.
    pub progress: Option<Progress>,
    /// Bytes of memory that its worker has resident; `None` where the system does not say.
    pub rss: Option<u64>,
}
