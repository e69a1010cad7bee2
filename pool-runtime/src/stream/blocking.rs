//! A stream's results as an iterator, for programs without async.

use std::fmt;
use std::iter::FusedIterator;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures_core::Stream as _;

use super::JobStream;
use crate::call::Call;
use crate::error::JobError;
use crate::handle::block_on;
use crate::registry::Job;

/// The results of a [`JobStream`] as an iterator that blocks; made by
/// [`blocking`](JobStream::blocking).
///
/// Dropping it cancels what is left of its jobs. In async code await the stream itself: this one
/// holds up its thread, and whatever else would run there.
#[must_use = "it submits nothing until it is asked for a result, and dropping it cancels its jobs"]
pub struct BlockingStream<J: Job, I>(JobStream<J, I>);

impl<J: Job, I> BlockingStream<J, I> {
    pub(super) fn new(stream: JobStream<J, I>) -> Self {
        BlockingStream(stream)
    }
}

impl<J: Job, I: Iterator<Item = Call<J>>> Iterator for BlockingStream<J, I> {
    type Item = Result<J::Output, JobError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.meter.is_none() {
            if let Some((result, _)) = self.0.give() {
                return Some(result);
            }
        }
        if self.0.ahead.has_ended() {
            // Whoever has a result waits for nothing, and need not be woken.
            let mut cx = Context::from_waker(Waker::noop());
            if let Poll::Ready(item) = Pin::new(&mut self.0).poll_next(&mut cx) {
                return item;
            }
        }
        block_on(self.0.next())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl<J: Job, I: Iterator<Item = Call<J>>> FusedIterator for BlockingStream<J, I> {}

impl<J: Job, I> fmt::Debug for BlockingStream<J, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BlockingStream").field(&self.0).finish()
    }
}
