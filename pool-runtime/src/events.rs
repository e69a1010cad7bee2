//! [`EventStream`]: what happens in a pool, as it happens.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use crate::happening::PoolEvent;
use crate::host::Subscription;
use crate::pool::Pool;

/// What happens in a pool from the moment of [`Pool::events`] on; a stream of [`PoolEvent`]s.
///
/// It ends when the pool is closed or shut down and every worker is gone. It does not keep the
/// pool alive. Several streams of one pool each see every event.
///
/// A stream holds at most 4096 events that were not read, and 16 MiB of what they carry. Beyond
/// that the oldest is dropped. Of these at most 2048 are lines of output, and 4 MiB of them;
/// beyond that the new line is dropped. [`dropped`](EventStream::dropped) counts both. A pool
/// never waits for whoever reads its events.
pub struct EventStream(Subscription);

impl Pool {
    /// What happens in this pool from now on: jobs that come, run and end, workers that start and
    /// die, and with [`Output::Capture`](crate::Output::Capture) the lines that they print.
    ///
    /// # Examples
    ///
    /// ```
    /// use pool::{Pool, PoolEvent, call, pool_job};
    ///
    /// #[pool_job]
    /// fn add(a: u32, b: u32) -> u32 {
    ///     a + b
    /// }
    ///
    /// #[pool::main]
    /// async fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     let pool = Pool::new(1)?;
    ///     let mut events = pool.events();
    ///     let handle = pool.submit(call!(add, 1, 2));
    ///     let job = handle.id();
    ///     assert_eq!(handle.await?, 3);
    ///     pool.close().await;
    ///     while let Some(event) = events.next().await {
    ///         match event {
    ///             PoolEvent::JobStarted { id, slot, attempt } => {
    ///                 assert_eq!((id, slot, attempt), (job, 0, 1));
    ///             }
    ///             PoolEvent::JobEnded { id, outcome } => {
    ///                 assert_eq!((id, outcome), (job, Ok(())));
    ///             }
    ///             other => println!("{other:?}"),
    ///         }
    ///     }
    ///     assert_eq!(events.dropped(), 0);
    ///     Ok(())
    /// }
    /// ```
    pub fn events(&self) -> EventStream {
        EventStream(self.subscribe())
    }
}

impl EventStream {
    /// The next event; `None` when nothing will happen any more.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no event.
    pub async fn next(&mut self) -> Option<PoolEvent> {
        poll_fn(|cx| self.0.poll_next(cx)).await
    }

    /// How many events were dropped because this stream was not read in time.
    pub fn dropped(&self) -> u64 {
        self.0.dropped()
    }
}

impl Stream for EventStream {
    type Item = PoolEvent;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<PoolEvent>> {
        self.0.poll_next(cx)
    }
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream").field("dropped", &self.dropped()).finish_non_exhaustive()
    }
}
