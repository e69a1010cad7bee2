//! The claim on a job's output: [`JobHandle`], [`Canceller`], and [`block_on`] for sync programs.
//!
//! Here bytes become types again, on the caller's own task.

use std::cell::Cell as Local;
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use crate::error::{JobError, JobErrorKind};
use crate::host::{self, Cell, CellRef, First, JobStatus, Manner, race};
use crate::id::JobId;
use crate::progress::ProgressStream;
use crate::registry::{Encoded, Job};
use crate::stats::Progress;

/// A claim on the output of one job; await it, or [`wait`](Self::wait) for it.
///
/// Dropping it detaches: the job runs on, its outcome is forgotten. To end the job instead, see
/// [`cancel_on_drop`](Self::cancel_on_drop).
///
/// # Errors
///
/// The job's own return value comes as it is, an `Err` of its own too. A [`JobError`] says why
/// there is no return value.
///
/// # Panics
///
/// A handle that is polled again after it gave its outcome never becomes ready.
///
/// # Cancel safety
///
/// Awaiting `&mut handle` may be given up and taken up again.
///
/// # Examples
///
/// ```
/// use pool::{pool_job, submit};
///
/// #[pool_job]
/// fn shout(text: String) -> String {
///     text.to_uppercase()
/// }
///
/// #[pool::main]
/// fn main() {
///     let handle = submit!(shout, "quiet".to_owned());
///     assert_eq!(handle.wait().unwrap(), "QUIET");
/// }
/// ```
#[must_use = "dropping a handle detaches its job; say so with `drop`"]
pub struct JobHandle<T> {
    claim: Claim<T>,
}

/// Two words, since as many handles may wait as jobs.
enum Claim<T> {
    /// `None`: the handle is being dropped.
    To(Option<CellRef>, fn(Encoded) -> Result<T, String>),
    /// To a job whose name nobody registered.
    Unknown(Box<(CellRef, String)>),
}

/// Nobody uses a handle that is gone.
const DROPPED: &str = "a handle has its cell until it is dropped";

impl<T> JobHandle<T> {
    pub(crate) fn new<J: Job<Output = T>>(cell: CellRef) -> Self {
        JobHandle { claim: Claim::To(Some(cell), J::decode) }
    }

    /// Its cell, to be renewed for a job of this kind: see [`Cell::renew`].
    #[inline]
    pub(crate) fn claim_for<J: Job<Output = T>>(&mut self) -> &mut CellRef {
        if let Claim::Unknown(unknown) = &self.claim {
            self.claim = Claim::To(Some(unknown.0.clone()), J::decode);
        }
        match &mut self.claim {
            Claim::To(cell, decode) => {
                *decode = J::decode;
                cell.as_mut().expect(DROPPED)
            }
            Claim::Unknown(unknown) => &mut unknown.0,
        }
    }

    /// Of a job of this name, which is not registered: it was refused.
    pub(crate) fn unknown(cell: CellRef, name: String) -> Self {
        JobHandle { claim: Claim::Unknown(Box::new((cell, name))) }
    }

    #[inline]
    pub(crate) fn cell(&self) -> &CellRef {
        match &self.claim {
            Claim::To(cell, _) => cell.as_ref().expect(DROPPED),
            Claim::Unknown(unknown) => &unknown.0,
        }
    }

    /// The job's id.
    pub fn id(&self) -> JobId {
        self.cell().id()
    }

    /// The job's name.
    pub fn name(&self) -> &str {
        match &self.claim {
            Claim::To(..) => self.cell().name(),
            Claim::Unknown(unknown) => &unknown.1,
        }
    }

    /// Where the job is in its life.
    pub fn status(&self) -> JobStatus {
        self.cell().look_at_status()
    }

    /// Whether the job has ended. Its outcome may be waited for without waiting.
    #[inline]
    pub fn is_finished(&self) -> bool {
        self.cell().status() == JobStatus::Ended
    }

    /// Gives the job up: queued, it never runs; running, it is asked to stop, and killed after its
    /// grace period. Does nothing once it has ended.
    ///
    /// The handle resolves as `Cancelled`, or with the output if that came first.
    pub fn cancel(&self) {
        Cell::give_up(self.cell(), Manner::Cancel);
    }

    /// The same without a grace period.
    pub fn kill(&self) {
        Cell::give_up(self.cell(), Manner::Kill);
    }

    /// Something that can give the job up from elsewhere, and may outlive the handle.
    pub fn canceller(&self) -> Canceller {
        Canceller { cell: self.cell().clone() }
    }

    /// From here on dropping the handle cancels the job.
    pub fn cancel_on_drop(self) -> Self {
        self.cell().set_cancel_on_drop();
        self
    }

    /// Cancels the job as soon as `signal` is ready: a token, Ctrl-C, a client that went away.
    ///
    /// The signal is polled on the pool's own runtime (tokio, with time and IO) and dropped when
    /// the job ends. If it panics, it is as if it never became ready.
    pub fn cancel_on(self, signal: impl Future<Output = ()> + Send + 'static) -> Self {
        let cell = self.cell().clone();
        let watch = async move {
            let ended = std::future::poll_fn(|cx| cell.poll_ended(cx));
            if let First::Right(()) = race(ended, pin!(signal)).await {
                Cell::give_up(&cell, Manner::Cancel);
            }
        };
        let own = self.cell().place().holder().and_then(|(holder, _)| holder.runtime());
        if let Some(runtime) = own.or_else(host::background_runtime) {
            runtime.spawn(watch);
        }
        self
    }

    /// How far the job says that it is, as it comes.
    ///
    /// There may be several such streams of a job, and they may outlive the handle.
    pub fn progress(&self) -> ProgressStream {
        ProgressStream::new(self.cell().clone())
    }

    /// Blocks this thread until the job has ended.
    ///
    /// # Errors
    ///
    /// As awaiting the handle.
    pub fn wait(self) -> Result<T, JobError> {
        block_on(self)
    }

    /// How many attempts were begun.
    pub(crate) fn attempts(&self) -> u32 {
        self.cell().attempt()
    }

    /// How far the job says that it is.
    pub(crate) fn latest_progress(&self) -> Option<Progress> {
        self.cell().progress()
    }

    /// Which input it is: its label, or what else there is to tell it from others.
    pub(crate) fn caption(&self) -> String {
        match self.cell().label() {
            Some(label) => label.to_string(),
            None => format!("{} {}", self.name(), self.id()),
        }
    }

    /// The result of a job that [has ended](Self::is_finished) and whose result was not taken.
    #[inline]
    pub(crate) fn take_result(&self) -> Option<Result<T, JobError>> {
        match self.cell().take_small() {
            Some(small) => Some(self.decode(small.encoded())),
            None => self.take_large_result(),
        }
    }

    fn take_large_result(&self) -> Option<Result<T, JobError>> {
        Some(self.cell().take_outcome()?.and_then(|output| {
            self.decode(Encoded { bytes: output.payload.into(), raw: output.raw })
        }))
    }

    #[inline(always)]
    fn decode(&self, encoded: Encoded) -> Result<T, JobError> {
        let decoded = match &self.claim {
            Claim::To(_, decode) => decode(encoded),
            Claim::Unknown(_) => Err("its type is unknown".to_owned()),
        };
        decoded.map_err(|text| self.cell().error(JobErrorKind::Decode(text), 1))
    }
}

impl<T> Future for JobHandle<T> {
    type Output = Result<T, JobError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let cell = self.cell();
        let asks_again = cell.give_way_or_look(cx.waker());
        let Poll::Ready(small) = cell.poll_small(cx) else {
            if asks_again {
                // Elsewhere a panic of waking does not reach whoever polls either.
                host::shield(|| cx.waker().wake_by_ref());
            }
            return Poll::Pending;
        };
        if let Some(small) = small {
            return Poll::Ready(self.decode(small.encoded()));
        }
        self.take_large_result().map_or(Poll::Pending, Poll::Ready)
    }
}

impl<T> Drop for JobHandle<T> {
    fn drop(&mut self) {
        if self.cell().is_cancelled_on_drop() && !self.is_finished() {
            self.cancel();
        }
        if let Claim::To(cell, _) = &mut self.claim {
            if let Some(cell) = cell.take() {
                Cell::let_go(cell);
            }
        }
    }
}

impl<T> fmt::Debug for JobHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobHandle")
            .field("id", &self.id())
            .field("name", &self.name())
            .field("status", &self.cell().status())
            .finish_non_exhaustive()
    }
}

/// Gives up one job, from wherever it is; made by [`JobHandle::canceller`].
#[derive(Clone, Debug)]
pub struct Canceller {
    cell: CellRef,
}

impl Canceller {
    /// As [`JobHandle::cancel`].
    pub fn cancel(&self) {
        Cell::give_up(&self.cell, Manner::Cancel);
    }

    /// As [`JobHandle::kill`].
    pub fn kill(&self) {
        Cell::give_up(&self.cell, Manner::Kill);
    }
}

/// Drives a future to its end on this thread, for programs without a runtime.
///
/// # Examples
///
/// ```
/// #[pool::main]
/// fn main() {
///     let pool = pool::Pool::new(2).unwrap();
///     pool::block_on(pool.shutdown_async());
/// }
/// ```
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let done = PARKER.try_with(|parker| {
        let _in_use = parker.begin()?;
        Some(parker.drive(future.as_mut()))
    });
    match done {
        Ok(Some(output)) => output,
        // One that is inside of another one, or of a destructor of this thread, makes its own.
        Ok(None) | Err(_) => Parker::new().drive(future),
    }
}

/// Wakes a thread that [`block_on`] blocks.
struct Unpark {
    thread: Thread,
    /// The thread's own token may be eaten by whatever parks inside the future.
    woken: AtomicBool,
}

thread_local! {
    /// This thread's. Who wakes it late, for something that is over, causes one more look at most.
    static PARKER: Parker = Parker::new();
}

/// With its waker, which most calls only lend out.
struct Parker {
    unpark: Arc<Unpark>,
    waker: Waker,
    is_in_use: Local<bool>,
}

/// Somebody parks by it.
struct InUse<'a>(&'a Local<bool>);

impl Drop for InUse<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

impl Parker {
    fn new() -> Parker {
        let unpark = Unpark { thread: thread::current(), woken: AtomicBool::new(false) };
        let unpark = Arc::new(unpark);
        let waker = Waker::from(unpark.clone());
        Parker { unpark, waker, is_in_use: Local::new(false) }
    }

    fn begin(&self) -> Option<InUse<'_>> {
        (!self.is_in_use.replace(true)).then(|| InUse(&self.is_in_use))
    }

    fn drive<F: Future>(&self, mut future: Pin<&mut F>) -> F::Output {
        let mut cx = Context::from_waker(&self.waker);
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
                return output;
            }
            while !self.unpark.woken.swap(false, Ordering::Acquire) {
                thread::park();
            }
        }
    }
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_is_two_words() {
        assert_eq!(size_of::<JobHandle<String>>(), 2 * size_of::<usize>());
    }
}
