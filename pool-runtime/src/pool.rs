//! [`Pool`]: submit jobs, end it, wait for it.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::call::Call;
use crate::error::{BuildError, Closed, JobErrorKind};
use crate::handle::JobHandle;
use crate::host::{Bell, CellRef, Host, Hub, RoomPlace, Subscription, WatchKey};
use crate::order::{accept, accept_followed, enter, refuse};
use crate::registry::Job;
use crate::scheduler::Readiness;
use crate::stats::{Snapshot, Stats, WorkReport};

/// How long dropping the last handle waits until its workers are reaped.
const DROP_WAIT: Duration = Duration::from_secs(2);

/// A pool of worker processes. A cheap handle: clones are the same pool.
///
/// Dropping the last one kills what is running and waits at most two seconds until the workers
/// are reaped. Only [`Pool`] and [`Work`](crate::Work) keep a pool alive; handles, cancellers and permits do
/// not.
///
/// # Examples
///
/// ```
/// use pool::{Pool, call, pool_job};
///
/// #[pool_job]
/// fn add(a: u32, b: u32) -> u32 {
///     a + b
/// }
///
/// #[pool::main]
/// fn main() {
///     let pool = Pool::new(2).unwrap();
///     assert_eq!(pool.submit(call!(add, 1, 2)).wait().unwrap(), 3);
/// }
/// ```
#[derive(Clone)]
pub struct Pool(Arc<Route>);

/// The way jobs take, chosen once.
enum Route {
    Workers(Arc<Host>),
    /// The global pool could not be built.
    Broken(BuildError),
}

impl Pool {
    pub(crate) fn of(host: Arc<Host>) -> Pool {
        Pool(Arc::new(Route::Workers(host)))
    }

    /// A pool whose jobs resolve to `error`.
    pub(crate) fn broken(error: BuildError) -> Pool {
        Pool(Arc::new(Route::Broken(error)))
    }

    /// Shuts down and waits as a drop does.
    pub(crate) fn end(&self) {
        if let Some(host) = self.host() {
            end(host);
        }
    }

    /// Hands a job over, at once: never blocks, never panics. A refusal is what the handle
    /// resolves to.
    ///
    /// Where there is one processor only, jobs that a thread submits in a row go to the workers together:
    /// when it awaits a job, or within two milliseconds.
    ///
    /// # Errors
    ///
    /// The handle resolves to `QueueFull`, `PoolClosed`, `UnknownJob`, `Encode`,
    /// `PayloadTooLarge` or `WorkerStart` where the job cannot be accepted.
    #[inline]
    pub fn submit<J: Job>(&self, mut call: Call<J>) -> JobHandle<J::Output> {
        match self.admit() {
            Ok((host, place)) => accept(host, &mut call, place),
            Err(kind) => refuse(call, kind),
        }
    }

    /// The same, but gives the call back if the queue is full or the pool is closed.
    ///
    /// # Errors
    ///
    /// [`Rejected`], which has the call.
    pub fn try_submit<J: Job>(
        &self,
        mut call: Call<J>,
    ) -> Result<JobHandle<J::Output>, Rejected<J>> {
        match self.admit() {
            Ok((host, place)) => Ok(accept(host, &mut call, place)),
            Err(kind @ (JobErrorKind::QueueFull | JobErrorKind::PoolClosed)) => {
                Err(Rejected { call: Box::new(call), kind })
            }
            Err(kind) => Ok(refuse(call, kind)),
        }
    }

    /// The same for one of many, which enters the pool together with others at
    /// [`submit_rest`](Self::submit_rest): see [`accept_followed`]. The call is where it was if it was
    /// not taken.
    #[inline]
    pub(crate) fn try_submit_behind<J: Job>(
        &self,
        call: &mut Call<J>,
        spare: Option<JobHandle<J::Output>>,
        bell: Option<impl FnOnce() -> Bell>,
    ) -> Result<JobHandle<J::Output>, JobErrorKind> {
        let (host, place) = self.admit()?;
        Ok(accept_followed(host, call, place, spare, bell))
    }

    pub(crate) fn submit_rest(&self) {
        if let Some(host) = self.host().filter(|host| !host.is_foreign()) {
            host.submit_rest();
        }
    }

    /// This thread waits: what was left behind enters.
    pub(crate) fn let_in(&self) {
        if let Some(host) = self.host() {
            host.let_in();
        }
    }

    /// Looks for replies to short jobs, for a moment at most, until `is_found`.
    pub(crate) fn look_for_replies(&self, is_found: impl Fn() -> bool) {
        if let Some(host) = self.host() {
            host.look_for_replies(is_found);
        }
    }

    /// Waits until the queue has room and keeps it for one job.
    ///
    /// # Errors
    ///
    /// [`Closed`] once the pool is closed or shut down.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up its place among those who wait.
    pub async fn reserve(&self) -> Result<Permit<'_>, Closed> {
        match &*self.0 {
            Route::Workers(host) if !host.is_foreign() => {
                let place = match host.try_acquire() {
                    Some(place) => place,
                    None => host.room.acquire().await.ok_or(Closed)?,
                };
                Ok(Permit { host, place })
            }
            Route::Workers(_) | Route::Broken(_) => Err(Closed),
        }
    }

    /// Waits until every worker has been up.
    ///
    /// # Errors
    ///
    /// Why not: the reason of the last launch, once three in a row have failed and no worker
    /// lives; or that the pool is closed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn ready(&self) -> Result<(), BuildError> {
        let host = match &*self.0 {
            Route::Workers(host) => host,
            Route::Broken(error) => return Err(error.clone()),
        };
        if host.is_foreign() {
            return Err(BuildError::not_ready(
                "this is a fork of the process that built it: build another one here",
            ));
        }
        poll_fn(|cx| match host.poll_ready(cx) {
            (Readiness::Pending, _) => Poll::Pending,
            (Readiness::Ready, _) => Poll::Ready(Ok(())),
            (Readiness::Closed, _) => {
                Poll::Ready(Err(BuildError::not_ready("it is closed: build another one")))
            }
            (Readiness::Failed, reason) => Poll::Ready(Err(BuildError::not_ready(format!(
                "no worker could be started: {}; it goes on trying",
                reason.as_deref().unwrap_or("the reason is unknown")
            )))),
        })
        .await
    }

    /// Ends the pool now: kills every running job, refuses new ones. Every handle of the pool
    /// resolves, as `PoolClosed` if its job had not ended.
    ///
    /// Acts when called and returns at once; idempotent; may be called from any thread. The
    /// future is ready when every worker is gone and reaped; it need not be awaited.
    pub fn shutdown(&self) -> Shutdown {
        let host = self.host().cloned();
        if let Some(host) = &host {
            host.shutdown();
        }
        Shutdown { host }
    }

    /// The same, awaited.
    ///
    /// # Cancel safety
    ///
    /// The pool is shut down from the first poll on, even if the future is dropped.
    pub async fn shutdown_async(&self) {
        self.shutdown().await;
    }

    /// Refuses new jobs, finishes all accepted ones (retries included), then stops the workers.
    ///
    /// Acts when called; dropping the future does not undo it. Its output counts the jobs that
    /// ended since.
    pub fn close(&self) -> Close {
        let started = Instant::now();
        let host = self.host().cloned();
        let before = host.as_ref().map(|host| host.close()).unwrap_or_default();
        Close { host, before, started }
    }

    /// What the pool has done since it was built: a still picture in which all sums agree.
    ///
    /// Cheap enough to be asked many times a second: some microseconds for the counts, and a system
    /// call for each worker's memory.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[pool::main]
    /// # fn main() {
    /// let pool = pool::Pool::new(2).unwrap();
    /// pool::block_on(pool.ready()).unwrap();
    /// let stats = pool.stats();
    /// assert_eq!((stats.workers.len(), stats.restarts), (2, 0));
    /// for worker in &stats.workers {
    ///     println!("{}: {:?} {:?}, {:?} bytes", worker.slot, worker.pid, worker.state, worker.rss);
    /// }
    /// # }
    /// ```
    pub fn stats(&self) -> Stats {
        self.host().map(|host| host.stats()).unwrap_or_default()
    }

    /// What the pool is doing right now: which jobs run where and for how long, and how long the
    /// others have waited.
    ///
    /// Empty where [`stats`](Self::stats) is.
    pub fn snapshot(&self) -> Snapshot {
        self.host().map(|host| host.snapshot()).unwrap_or_default()
    }

    pub(crate) fn host(&self) -> Option<&Arc<Host>> {
        match &*self.0 {
            Route::Workers(host) => Some(host),
            Route::Broken(_) => None,
        }
    }

    /// New jobs are refused.
    pub(crate) fn is_closed(&self) -> bool {
        self.host().is_some_and(|host| host.is_closed())
    }

    /// In a fork child of the process that built the pool.
    pub(crate) fn is_foreign(&self) -> bool {
        self.host().is_some_and(|host| host.is_foreign())
    }

    /// How many workers it has at most, at least one.
    pub(crate) fn workers(&self) -> usize {
        self.host().map_or(1, |host| host.workers as usize).max(1)
    }

    /// What happens from now on.
    pub(crate) fn subscribe(&self) -> Subscription {
        self.host().map_or_else(Hub::over, |host| host.hub().clone()).subscribe()
    }

    /// For one who waits for room without holding any.
    pub(crate) fn room_watch(&self) -> RoomWatch {
        RoomWatch(self.host().map(|host| host.room.watch_key()))
    }

    /// A place in the queue, or why there is none.
    fn admit(&self) -> Result<(&Arc<Host>, RoomPlace<'_>), JobErrorKind> {
        match &*self.0 {
            Route::Broken(error) => Err(JobErrorKind::WorkerStart(error.to_string())),
            Route::Workers(host) if host.is_closed() => Err(JobErrorKind::PoolClosed),
            Route::Workers(host) => match host.try_acquire() {
                Some(place) => Ok((host, place)),
                None if host.is_closed() => Err(JobErrorKind::PoolClosed),
                None => Err(JobErrorKind::QueueFull),
            },
        }
    }
}

/// Hands over a job that was made for a queue.
pub(crate) fn resubmit(pool: &Pool, cell: &CellRef) {
    let size = cell.argument_len() as u64;
    match pool.admit() {
        Ok((host, _)) if size > host.max_payload() => {
            let limit = host.max_payload();
            cell.end(JobErrorKind::PayloadTooLarge { size, limit });
        }
        Ok((host, place)) => enter(host, cell, place),
        Err(kind) => cell.end(kind),
    }
}

/// Shuts down and waits until all is reaped, or long enough.
fn end(host: &Arc<Host>) {
    if host.is_foreign() {
        return;
    }
    host.shutdown();
    // The driver cannot wait for itself.
    if !host.is_driver() {
        host.rest.wait(DROP_WAIT);
    }
}

impl Drop for Route {
    fn drop(&mut self) {
        if let Route::Workers(host) = self {
            end(host);
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Route::Workers(host) => f.debug_tuple("Pool").field(host).finish(),
            Route::Broken(error) => f.debug_tuple("Pool").field(error).finish(),
        }
    }
}

/// Room for one job; made by [`Pool::reserve`]. Dropping it gives the room back.
#[derive(Debug)]
#[must_use = "a dropped permit gives its room back"]
pub struct Permit<'pool> {
    host: &'pool Arc<Host>,
    place: RoomPlace<'pool>,
}

impl Permit<'_> {
    /// Hands a job over, as [`Pool::submit`] does, but never for want of room.
    pub fn submit<J: Job>(self, mut call: Call<J>) -> JobHandle<J::Output> {
        if self.host.is_closed() {
            refuse(call, JobErrorKind::PoolClosed)
        } else {
            accept(self.host, &mut call, self.place)
        }
    }
}

/// Waits for room in a pool's queue and holds none meanwhile.
#[derive(Debug)]
pub(crate) struct RoomWatch(Option<WatchKey>);

impl RoomWatch {
    /// Ready once `pool`, whose watch this is, would say at once what becomes of a job: true if it takes
    /// jobs, or says of each why none can be run; false if it refuses all. Tells `cx` when that may
    /// have changed.
    pub(crate) fn poll(&self, pool: &Pool, cx: &mut Context<'_>) -> Poll<bool> {
        match (pool.host(), self.0) {
            (Some(host), Some(key)) if !host.is_closed() => host.room.watch(key, cx).map(|()| true),
            (host, _) => Poll::Ready(host.is_none()),
        }
    }

    pub(crate) fn end(&self, pool: &Pool) {
        if let (Some(host), Some(key)) = (pool.host(), self.0) {
            // The lock of a fork child may have been held by a thread that it does not have.
            if !host.is_foreign() {
                host.room.unwatch(key);
            }
        }
    }
}

/// A call that [`Pool::try_submit`] did not take.
pub struct Rejected<J: Job> {
    call: Box<Call<J>>,
    kind: JobErrorKind,
}

impl<J: Job> Rejected<J> {
    /// The call, to be submitted later.
    pub fn into_call(self) -> Call<J> {
        *self.call
    }

    /// Why: `QueueFull` or `PoolClosed`.
    pub fn kind(&self) -> &JobErrorKind {
        &self.kind
    }
}

impl<J: Job> fmt::Debug for Rejected<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejected").field("call", &self.call).field("kind", &self.kind).finish()
    }
}

impl<J: Job> fmt::Display for Rejected<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "job `{}` ", self.call.name())?;
        if let Some(label) = self.call.label_given() {
            write!(f, "(label {label:?}) ")?;
        }
        match self.kind {
            JobErrorKind::PoolClosed => f.write_str("was refused: the pool is closed; ")?,
            _ => write!(f, "{}; ", self.kind)?,
        }
        f.write_str("`Rejected::into_call` gives it back, to be submitted later or elsewhere")
    }
}

impl<J: Job> std::error::Error for Rejected<J> {}

/// Ready when every worker of a shut-down pool is reaped; made by [`Pool::shutdown`].
#[derive(Debug)]
pub struct Shutdown {
    host: Option<Arc<Host>>,
}

impl Future for Shutdown {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        poll_rest(self.host.as_ref(), cx)
    }
}

/// Ready when a closed pool has finished its jobs and stopped its workers; made by
/// [`Pool::close`].
#[derive(Debug)]
pub struct Close {
    host: Option<Arc<Host>>,
    before: WorkReport,
    started: Instant,
}

impl Future for Close {
    type Output = WorkReport;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<WorkReport> {
        poll_rest(self.host.as_ref(), cx).map(|()| {
            let now = self.host.as_ref().map(|host| host.totals()).unwrap_or_default();
            // In a fork child nothing is counted.
            WorkReport {
                succeeded: now.succeeded.saturating_sub(self.before.succeeded),
                failed: now.failed.saturating_sub(self.before.failed),
                cancelled: now.cancelled.saturating_sub(self.before.cancelled),
                elapsed: self.started.elapsed(),
            }
        })
    }
}

/// A fork child has nothing to wait for.
fn poll_rest(host: Option<&Arc<Host>>, cx: &mut Context<'_>) -> Poll<()> {
    match host.filter(|host| !host.is_foreign()) {
        Some(host) => host.rest.poll(cx),
        None => Poll::Ready(()),
    }
}
