//! [`JobQueue`]: jobs that wait until a pool works on them, or until somebody takes them out.

use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::call::Call;
use crate::error::JobErrorKind;
use crate::handle::JobHandle;
use crate::host::{self, Backlog, Cell, CellRef, First, Place, Share, Timer, race};
use crate::id::JobId;
use crate::order::order_of;
use crate::pool::{Pool, resubmit};
use crate::registry::Job;
use crate::stats::WorkReport;

/// Jobs in the order in which they were pushed. A cheap handle: clones are the same queue.
///
/// Several pools may work on one queue, and jobs may be pushed while it is worked on. A job that
/// is cancelled leaves it at once. Dropping the last handle cancels what is left.
///
/// # Examples
///
/// ```
/// use pool::{JobQueue, Pool, call, pool_job};
///
/// #[pool_job]
/// fn square(n: u64) -> u64 {
///     n * n
/// }
///
/// #[pool::main]
/// async fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let queue = JobQueue::new();
///     let mut handles = Vec::new();
///     for n in 0..10 {
///         handles.push(queue.push(call!(square, n)).await);
///     }
///     let report = Pool::new(2)?.work(&queue).await;
///     assert_eq!(report.succeeded, 10);
///     assert_eq!(handles.remove(7).await?, 49);
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug)]
pub struct JobQueue(Arc<Owner>);

/// The last one ends the queue.
#[derive(Debug)]
struct Owner(Arc<Backlog>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.orphan();
    }
}

impl Default for JobQueue {
    fn default() -> Self {
        JobQueue::new()
    }
}

impl JobQueue {
    /// A queue without a bound.
    pub fn new() -> JobQueue {
        JobQueue(Arc::new(Owner(Backlog::new(None))))
    }

    /// A queue of at most `capacity` jobs (at least one): [`push`](Self::push) waits when it is
    /// full.
    pub fn bounded(capacity: usize) -> JobQueue {
        JobQueue(Arc::new(Owner(Backlog::new(Some(capacity)))))
    }

    /// Appends a job; waits only if the queue is bounded and full.
    ///
    /// The job's `deadline` counts from here. A refusal is what the handle resolves to.
    ///
    /// # Errors
    ///
    /// The handle resolves to `QueueClosed`, `UnknownJob` or `Encode` where the job cannot be
    /// accepted, and to `Cancelled` if the job leaves the queue without being run.
    ///
    /// # Cancel safety
    ///
    /// A dropped future has pushed nothing.
    pub async fn push<J: Job>(&self, call: Call<J>) -> JobHandle<J::Output> {
        let backlog = &self.0.0;
        let order = match order_of(call.into_parts()) {
            Ok(order) => order,
            Err(refused) => return refused.handle::<J>(),
        };
        // Made before the wait: its deadline counts from here.
        let cell = Cell::new(order, Place::Nowhere);
        match backlog.enter().await {
            true => backlog.push(cell.clone()),
            false => cell.end(JobErrorKind::QueueClosed),
        }
        JobHandle::new::<J>(cell)
    }

    /// Takes out the first job, waiting at most `timeout` for one. `None` at once if the queue is
    /// closed and empty.
    ///
    /// # Cancel safety
    ///
    /// A dropped future has taken nothing.
    pub async fn pop(&self, timeout: Duration) -> Option<QueuedJob> {
        let pop = pin!(self.0.0.pop());
        let popped = match host::sleep(timeout) {
            Some(timer) => race(pop, pin!(timer)).await,
            // The system has no timer for us: what is there now, or nothing.
            None => race(pop, std::future::ready(())).await,
        };
        let cell = match popped {
            First::Left(cell) => cell,
            First::Right(()) => None,
        };
        cell.map(|cell| QueuedJob { cell, is_handed_over: false })
    }

    /// How many jobs are waiting in it.
    pub fn count(&self) -> usize {
        self.0.0.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// Drops every waiting job and says how many they were; their handles resolve as `Cancelled`.
    pub fn clear(&self) -> usize {
        self.0.0.clear()
    }

    /// Takes no more jobs: later pushes resolve to `QueueClosed`, a [`Work`] that lingers ends as
    /// soon as the queue is empty. What is in it stays.
    pub fn close(&self) {
        self.0.0.close();
    }
}

/// A job that was taken out of its queue. Dropping it cancels the job.
#[must_use = "dropping it cancels the job"]
pub struct QueuedJob {
    cell: CellRef,
    is_handed_over: bool,
}

impl QueuedJob {
    /// The job's id.
    pub fn id(&self) -> JobId {
        self.cell.id()
    }

    /// The job's name.
    pub fn name(&self) -> &str {
        self.cell.name()
    }

    /// Hands the job to a pool. Its handle is the one that `push` gave; a full pool resolves it as
    /// `QueueFull`.
    pub fn submit(mut self, pool: &Pool) {
        resubmit(pool, &self.cell);
        self.is_handed_over = true;
    }
}

impl fmt::Debug for QueuedJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueuedJob").field("id", &self.id()).field("name", &self.name()).finish()
    }
}

/// A pool at work on a queue: a future of how its jobs ended; made by [`Pool::work`].
///
/// It starts when it is first polled. Shutting the pool down ends it at once: running jobs
/// resolve as `PoolClosed`, those that had not started go back to the front of the queue. Closing
/// the pool ends it when its running jobs have.
///
/// # Cancel safety
///
/// Dropping it takes no more jobs from the queue and leaves the running ones alone.
#[must_use = "it works only while it is awaited"]
pub struct Work {
    pool: Pool,
    queue: JobQueue,
    share: Option<Arc<Share>>,
    started: Instant,
    linger: Duration,
    timer: Option<Pin<Box<Timer>>>,
}

impl Pool {
    /// Works on a queue until it is empty and all that it gave has ended.
    ///
    /// The future takes jobs from the queue from its first poll on, and only what can be handed
    /// to a worker at once. Dropping it takes no more and leaves the running jobs alone.
    ///
    /// What is submitted to the pool itself goes first, whatever its priority: the queue is for
    /// workers that would have nothing to do else.
    pub fn work(&self, queue: &JobQueue) -> Work {
        Work::new(self.clone(), queue.clone())
    }
}

impl Work {
    pub(crate) fn new(pool: Pool, queue: JobQueue) -> Work {
        let started = Instant::now();
        Work { pool, queue, share: None, started, linger: Duration::ZERO, timer: None }
    }

    /// An empty queue ends the work only after so long without a new job.
    pub fn linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }
}

impl Future for Work {
    type Output = WorkReport;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<WorkReport> {
        let this = &mut *self;
        let backlog = &this.queue.0.0;
        // In a fork child nobody works any more.
        let Some(host) = this.pool.host().filter(|host| !host.is_foreign()) else {
            return Poll::Ready(WorkReport::default());
        };
        let share = match &this.share {
            Some(share) => share,
            None => {
                this.started = Instant::now();
                let pool = Arc::downgrade(host);
                let ring = move || {
                    if let Some(host) = pool.upgrade() {
                        host.look();
                    }
                };
                let share = this.share.insert(Share::new(backlog.clone(), ring));
                host.attach(share.clone());
                share
            }
        };
        // Registered first, looked at then. The queue before the running jobs: what leaves the one
        // is already counted among the others.
        let _ = share.look(cx);
        // `None`: longer than the clock goes, so only a close ends it.
        let idle_until = backlog.last_push().max(this.started).checked_add(this.linger);
        let empty = backlog.len() == 0;
        let (over, running, mut report) = share.look(cx);
        let is_time_over = idle_until.is_some_and(|until| until <= Instant::now());
        let mut lingers = !over && !backlog.is_closed() && !is_time_over;
        if let (true, Some(until)) = (empty && lingers, idle_until) {
            // Once more at that moment; a push in between moves it.
            this.timer = host::sleep_until(until).map(Box::pin);
            lingers = this.timer.as_mut().is_some_and(|timer| timer.as_mut().poll(cx).is_pending());
        }
        if running > 0 || !over && (!empty || lingers) {
            return Poll::Pending;
        }
        report.elapsed = this.started.elapsed();
        Poll::Ready(report)
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if let Some(share) = &self.share {
            drop(share.finish());
            share.backlog.remove_share(share);
        }
    }
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Work").field("pool", &self.pool).finish_non_exhaustive()
    }
}

impl Drop for QueuedJob {
    fn drop(&mut self) {
        if !self.is_handed_over {
            self.cell.end(JobErrorKind::Cancelled);
        }
    }
}
