//! Two futures, whichever is first.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

/// The output of the future that was first; the other one is dropped.
pub(crate) enum First<A, B> {
    Left(A),
    Right(B),
}

/// Looks at `left` first, always. Both are pinned where they were made: what is large is not moved
/// from race to race.
pub(crate) fn race<A: Future + Unpin, B: Future + Unpin>(
    mut left: A,
    mut right: B,
) -> impl Future<Output = First<A::Output, B::Output>> + Unpin {
    poll_fn(move |cx| {
        if let Poll::Ready(output) = Pin::new(&mut left).poll(cx) {
            return Poll::Ready(First::Left(output));
        }
        Pin::new(&mut right).poll(cx).map(First::Right)
    })
}
