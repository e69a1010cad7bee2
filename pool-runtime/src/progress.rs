//! [`ProgressStream`]: what a job says of its progress, as it comes.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use crate::host::CellRef;
use crate::stats::Progress;

/// How far a job is, as [`JobContext::progress`](crate::JobContext::progress) and
/// [`message`](crate::JobContext::message) say; made by
/// [`JobHandle::progress`](crate::JobHandle::progress).
///
/// The latest value wins: whoever looks seldom sees fewer of them. The last one is never lost,
/// also if it is first looked for after the job's end; then the stream is over. Of an attempt that
/// is tried again nothing is left: the next one begins with nothing.
///
/// There may be any number of them, and they may outlive the handle. They do not keep the pool
/// alive. A stream that is over stays over.
///
/// # Examples
///
/// ```
/// use pool::{JobContext, pool_job, submit};
///
/// #[pool_job]
/// fn count(ctx: &JobContext, up_to: u64) {
///     for n in 1..=up_to {
///         ctx.progress(n, up_to);
///     }
/// }
///
/// #[pool::main]
/// async fn main() -> Result<(), pool::JobError> {
///     let handle = submit!(count, 1000);
///     let mut progress = handle.progress();
///     let mut last = 0;
///     while let Some(progress) = progress.next().await {
///         assert!(progress.done > last && progress.total == 1000);
///         last = progress.done;
///     }
///     assert_eq!(last, 1000);
///     handle.await
/// }
/// ```
#[must_use = "a stream does nothing unless it is polled"]
pub struct ProgressStream {
    cell: CellRef,
    listener: u64,
    seen: u64,
}

impl ProgressStream {
    pub(crate) fn new(cell: CellRef) -> Self {
        let listener = cell.add_listener();
        ProgressStream { cell, listener, seen: 0 }
    }

    /// The next value, as soon as there is one that was not given yet; `None` once the job has
    /// ended.
    ///
    /// # Cancel safety
    ///
    /// Dropping it loses nothing.
    pub async fn next(&mut self) -> Option<Progress> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl Stream for ProgressStream {
    type Item = Progress;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Progress>> {
        let ProgressStream { cell, listener, seen } = &mut *self;
        cell.poll_progress(*listener, seen, cx)
    }
}

impl Drop for ProgressStream {
    fn drop(&mut self) {
        self.cell.remove_listener(self.listener);
    }
}

impl fmt::Debug for ProgressStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProgressStream")
            .field("job", &self.cell.id())
            .field("latest", &self.cell.progress())
            .finish_non_exhaustive()
    }
}
