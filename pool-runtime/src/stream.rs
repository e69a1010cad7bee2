//! [`Pool::map`] and what it gives: a stream of results, a few jobs ahead of who reads it.

mod ahead;
mod blocking;
mod unordered;

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_core::Stream;
use futures_core::stream::FusedStream;

use self::ahead::{Ahead, Ended};
pub use self::blocking::BlockingStream;
use crate::call::Call;
use crate::error::{JobError, JobErrorKind};
use crate::meter::Meter;
use crate::pool::{Pool, RoomWatch};
use crate::registry::Job;

/// How many jobs are in flight for each worker, if nothing is said: one that runs, and enough
/// behind it that short ones travel together.
const IN_FLIGHT_PER_WORKER: usize = 16;

/// So many for each worker keep it busy while results are given and nothing is pulled.
const ENOUGH_PER_WORKER: usize = 4;

/// How long that goes on at most, so that calls are pulled several at a time.
const PULLED_EVERY: Duration = Duration::from_micros(200);

/// How long they are pulled then, while results are there to be given.
const PULLED_FOR: Duration = Duration::from_micros(50);

/// Calls are pulled until something is there to be given, but one more than is given at a time, so
/// that a slow iterator holds nothing back and the jobs in flight still become as many as they may.
const PULLED_AT_ONCE: usize = 2;

/// For the results of so many in flight somebody looks before it sleeps.
const FEW: usize = 256;

/// Looking at the clock costs more than giving a result of a short job, or pulling its call: this is
/// done once for so many.
const LOOK_EVERY: usize = 8;

/// So many calls enter the pool together at most.
const TOGETHER: usize = 32;

/// Room for so many is made at once, if so many calls will come.
const RESERVED: usize = 65_536;

/// The results of many calls, in the order of the calls; made by [`Pool::map`].
///
/// Await [`next`](Self::next), use it as a [`Stream`] with the combinators of the `futures` crate,
/// or take the [`blocking`](Self::blocking) iterator in a program without async.
///
/// A result is what the job's handle would give. A job that fails does not end the stream. After
/// the last result it gives `None` for ever.
///
/// # How far it is ahead
///
/// The iterator is pulled lazily, while the stream is polled, on the task or thread that polls it:
/// at most [`max_in_flight`](Self::max_in_flight) calls are submitted and their results not yet
/// given. So neither the calls nor the results pile up, however long the iterator is. In the order
/// of the calls a slow job holds back the results behind it, and with them further calls;
/// [`unordered`](Self::unordered) gives results as the jobs end.
///
/// An iterator that is slow or blocks does so for whoever polls the stream; jobs that are in flight
/// go on meanwhile. One that panics does so there too, and is not pulled again: after that the
/// stream gives what was submitted.
///
/// # The pool
///
/// The stream keeps the pool alive. It waits for room in the pool's queue and never gives
/// `QueueFull`, and keeps no room back while it waits. Once the pool is closed or shut down it
/// pulls no more, gives the results of what was submitted (after a shutdown `PoolClosed`, where a
/// job had not ended), and ends. If the global pool could not be built, every call gives
/// `WorkerStart`.
///
/// Dropping the stream cancels what is left of its jobs.
///
/// # Examples
///
/// ```
/// use pool::{Pool, call, pool_job};
///
/// #[pool_job]
/// fn count(line: &str) -> usize {
///     line.split_whitespace().count()
/// }
///
/// #[pool::main]
/// async fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let text = String::from("one\none two\none two three");
///     let pool = Pool::new(2)?;
///     // The iterator borrows: nothing has to be collected or moved first.
///     let mut counts = pool.map(text.lines().map(|line| call!(count, line)));
///     let mut sum = 0;
///     while let Some(result) = counts.next().await {
///         sum += result?;
///     }
///     assert_eq!(sum, 6);
///     Ok(())
/// }
/// ```
#[must_use = "it submits nothing until it is polled, and dropping it cancels its jobs"]
pub struct JobStream<J: Job, I> {
    pool: Pool,
    /// `None` once it is pulled no more.
    calls: Option<I>,
    /// Stays set when the iterator panics.
    is_pulling: bool,
    /// A call whose room was taken by somebody else while it was pulled.
    late: Option<Call<J>>,
    ahead: Ahead<J::Output>,
    max_in_flight: usize,
    /// When calls were pulled last.
    pulled: Option<Instant>,
    /// How many results were given since the last look at the clock.
    given: usize,
    watch: RoomWatch,
    meter: Option<Box<Meter>>,
}

/// Nothing in it is pinned.
impl<J: Job, I> Unpin for JobStream<J, I> {}

impl Pool {
    /// Runs every call and gives the results in the order of the calls, as a [`JobStream`].
    ///
    /// The calls are pulled lazily, a few ahead of the results; the iterator may borrow, and may be
    /// endless. Nothing is submitted before the stream is polled.
    pub fn map<J: Job, I: IntoIterator<Item = Call<J>>>(
        &self,
        calls: I,
    ) -> JobStream<J, I::IntoIter> {
        JobStream {
            pool: self.clone(),
            calls: Some(calls.into_iter()),
            is_pulling: false,
            late: None,
            ahead: Ahead::new(),
            max_in_flight: self.workers().saturating_mul(IN_FLIGHT_PER_WORKER),
            pulled: None,
            given: 0,
            watch: self.room_watch(),
            meter: None,
        }
    }
}

impl<J: Job, I: Iterator<Item = Call<J>>> JobStream<J, I> {
    /// Gives results as the jobs end, in whatever order that is.
    pub fn unordered(mut self) -> Self {
        self.ahead.become_unordered();
        self
    }

    /// Submits at most so many calls ahead, at least one: that many have been submitted and their
    /// results not yet given. By default sixteen for each worker.
    ///
    /// More helps where jobs are much shorter than the work of whoever reads the stream, or where
    /// they differ much in length and results come in order; less saves memory where arguments or
    /// outputs are large.
    pub fn max_in_flight(mut self, n: usize) -> Self {
        self.max_in_flight = n.max(1);
        self
    }

    /// Shows on stderr how far the stream is, under this name.
    ///
    /// On a terminal, with the feature `progress`, that is a bar: how many jobs are done, how many
    /// of them failed and how often one was tried again, the rate and the time that is left, and up
    /// to eight of the running jobs by their [labels](crate::Call::label), with their own progress.
    /// What workers print appears above it if the pool [captures](crate::Output::Capture) it.
    /// Elsewhere it is a plain line for every tenth of the whole and at least every half minute,
    /// and one at the end. How many jobs there are in all is told where the iterator's
    /// [`size_hint`](Iterator::size_hint) is exact.
    ///
    /// The environment variable `POOL_PROGRESS` chooses: `auto` (the default), `bar` (also on a
    /// terminal that calls itself dumb), `plain`, or `none`.
    ///
    /// It is shown while the stream is polled, and nothing of it can fail.
    ///
    /// # Examples
    ///
    /// ```
    /// use pool::{Pool, call, pool_job};
    ///
    /// #[pool_job]
    /// fn resize(path: &str) -> usize {
    ///     path.len()
    /// }
    ///
    /// #[pool::main]
    /// fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     let paths = ["a.png", "b.png"];
    ///     let pool = Pool::new(2)?;
    ///     let calls = paths.map(|path| call!(resize, path).label(path));
    ///     for result in pool.map(calls).progress("resize").blocking() {
    ///         assert_eq!(result?, 5);
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn progress(mut self, name: impl Into<String>) -> Self {
        self.meter = Meter::new(name.into()).map(Box::new);
        self
    }

    /// The next result; `None` after the last one.
    ///
    /// # Errors
    ///
    /// Each result is the job's own, as its handle would give it.
    ///
    /// # Panics
    ///
    /// If the iterator of calls does.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped has taken no result: the next one gives it.
    pub async fn next(&mut self) -> Option<Result<J::Output, JobError>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// The same results as an iterator, which blocks its thread while it waits for one.
    ///
    /// # Examples
    ///
    /// ```
    /// use pool::{Pool, call, pool_job};
    ///
    /// #[pool_job]
    /// fn square(n: u64) -> u64 {
    ///     n * n
    /// }
    ///
    /// #[pool::main]
    /// fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     let pool = Pool::new(2)?;
    ///     let squares = pool.map((1..=4).map(|n| call!(square, n))).blocking();
    ///     assert_eq!(squares.collect::<Result<Vec<_>, _>>()?, [1, 4, 9, 16]);
    ///     Ok(())
    /// }
    /// ```
    pub fn blocking(self) -> BlockingStream<J, I> {
        BlockingStream::new(self)
    }

    /// Submits one more call. False if there is none, or no room for it: `cx` is told of room.
    fn pull(&mut self, cx: &mut Context<'_>) -> bool {
        if let Some(call) = &mut self.late.take() {
            return self.hand_in(call, cx);
        }
        if !self.may_pull(cx) {
            return false;
        }
        self.is_pulling = true;
        let mut call = self.calls.as_mut().and_then(Iterator::next);
        self.is_pulling = false;
        match &mut call {
            Some(call) => self.hand_in(call, cx),
            None => {
                self.calls = None;
                false
            }
        }
    }

    /// From where the call lies: it is not small, and moved only if there is no room for it.
    #[inline]
    fn hand_in(&mut self, call: &mut Call<J>, cx: &mut Context<'_>) -> bool {
        let handle = loop {
            let spare = self.ahead.take_spare();
            match self.pool.try_submit_behind(call, spare, self.ahead.bell()) {
                Ok(handle) => break handle,
                Err(JobErrorKind::QueueFull) => {
                    if self.watch.poll(&self.pool, cx).is_pending() {
                        self.late = Some(call.take());
                        return false;
                    }
                }
                // It was pulled, so it has its result.
                Err(_) => break self.pool.submit(call.take()).cancel_on_drop(),
            }
        };
        self.ahead.push(handle);
        true
    }

    /// Whether there is room for the iterator's next call, if it has one. No place is taken before: the
    /// iterator may be slow, and may use the pool itself.
    fn may_pull(&mut self, cx: &mut Context<'_>) -> bool {
        let is_over = self.is_pulling
            || match self.watch.poll(&self.pool, cx) {
                Poll::Ready(is_open) => !is_open,
                Poll::Pending => return false,
            };
        if is_over {
            self.calls = None;
        }
        self.calls.is_some()
    }

    /// How many calls are still to come, as far as that is known.
    fn coming(&self) -> (usize, Option<usize>) {
        let late = usize::from(self.late.is_some());
        let calls = self.calls.as_ref().filter(|_| !self.is_pulling && !self.pool.is_closed());
        let (least, most) = calls.map_or((0, Some(0)), |calls| calls.size_hint());
        (least.saturating_add(late), most.and_then(|most| most.checked_add(late)))
    }

    fn begin_meter(&mut self) {
        let (least, most) = self.size_hint();
        if let Some(meter) = &mut self.meter {
            meter.begin(most.filter(|most| *most == least), || self.pool.subscribe());
        }
    }

    /// Whether to pull calls before a result is given: several at a time, where there are enough in
    /// flight that nobody waits for them meanwhile.
    fn wants_calls(&mut self, has_ended: bool) -> bool {
        if !self.comes_again() {
            return false;
        }
        let (ahead, least) = (self.ahead.len(), self.max_in_flight / 2);
        let enough = self.pool.workers().saturating_mul(ENOUGH_PER_WORKER);
        ahead < self.max_in_flight
            && (ahead <= least || least < enough || !has_ended || self.was_pulled_long_ago())
    }

    fn was_pulled_long_ago(&mut self) -> bool {
        self.given += 1;
        if self.given < LOOK_EVERY {
            return false;
        }
        self.given = 0;
        self.pulled.is_none_or(|last| last.elapsed() >= PULLED_EVERY)
    }

    fn pull_some(&mut self, cx: &mut Context<'_>) {
        let start = Instant::now();
        if self.pulled.replace(start).is_none() {
            let coming = self.coming().0.min(self.max_in_flight);
            self.ahead.reserve(coming.min(RESERVED));
        }
        let (mut pulled, mut granted) = (0usize, PULLED_AT_ONCE);
        while self.ahead.len() < self.max_in_flight && self.pull(cx) {
            pulled += 1;
            if pulled >= granted && self.ahead.has_ended() {
                let took = start.elapsed();
                if took >= PULLED_FOR {
                    break;
                }
                // A fast iterator is not looked after at each call.
                let is_fast = took < pulled as u32 * (PULLED_FOR / 64);
                granted = pulled + if is_fast { LOOK_EVERY } else { 1 };
            }
            if pulled % TOGETHER == 0 {
                self.pool.submit_rest();
            }
        }
        self.pool.submit_rest();
    }

    /// The next result, if it is there and nothing is to be done before it is given.
    #[inline]
    fn give(&mut self) -> Option<Ended<J::Output>> {
        match self.comes_again() {
            true => None,
            false => self.ahead.take_next(),
        }
    }

    /// Whether there may be more calls.
    fn comes_again(&self) -> bool {
        self.calls.is_some() || self.late.is_some()
    }

    /// The next result, and how many attempts it took.
    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<Option<Ended<J::Output>>> {
        if let Some(ended) = self.give() {
            return Poll::Ready(Some(ended));
        }
        let mut has_ended = self.ahead.has_ended();
        if self.wants_calls(has_ended) {
            self.pull_some(cx);
            has_ended = self.ahead.has_ended();
        }
        if !has_ended {
            self.pool.let_in();
        }
        // Of many somebody else takes in the replies, and sleeping costs little for each.
        if !has_ended && self.ahead.len() <= FEW {
            self.pool.look_for_replies(|| self.ahead.has_ended());
        }
        let comes_again = self.comes_again();
        if let Poll::Ready(ended) = self.ahead.poll_next(cx, comes_again) {
            return Poll::Ready(Some(ended));
        }
        if self.pool.is_foreign() {
            // Nobody tells a fork child how the jobs of its parent end.
            self.calls = None;
            self.ahead = Ahead::new();
        }
        if self.is_terminated() { Poll::Ready(None) } else { Poll::Pending }
    }
}

impl<J: Job, I: Iterator<Item = Call<J>>> Stream for JobStream<J, I> {
    type Item = Result<J::Output, JobError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.meter.as_ref().is_some_and(|meter| meter.is_new()) {
            this.begin_meter();
        }
        let polled = this.poll_ended(cx);
        if let Some(meter) = &mut this.meter {
            match &polled {
                Poll::Ready(Some((result, attempts))) => {
                    if meter.ended(result.is_err(), *attempts) {
                        meter.show(this.ahead.running());
                    }
                }
                Poll::Ready(None) => this.end_meter(true),
                Poll::Pending => {
                    while meter.poll_due(cx).is_ready() {
                        meter.show(this.ahead.running());
                    }
                }
            }
        }
        polled.map(|ended| ended.map(|(result, _)| result))
    }

    /// Exact if that of the calls is, unless the pool ends before.
    fn size_hint(&self) -> (usize, Option<usize>) {
        let (least, most) = self.coming();
        let ahead = self.ahead.len();
        (least.saturating_add(ahead), most.and_then(|most| most.checked_add(ahead)))
    }
}

impl<J: Job, I: Iterator<Item = Call<J>>> FusedStream for JobStream<J, I> {
    fn is_terminated(&self) -> bool {
        self.ahead.len() == 0 && !self.comes_again()
    }
}

impl<J: Job, I> JobStream<J, I> {
    fn end_meter(&mut self, is_whole: bool) {
        // The terminal is the parent's.
        if let Some(meter) = self.meter.as_mut().filter(|_| !self.pool.is_foreign()) {
            meter.end(is_whole);
        }
    }
}

impl<J: Job, I> Drop for JobStream<J, I> {
    fn drop(&mut self) {
        // Those that wait first: else they would be handed to the workers of those that run.
        self.ahead.cancel_queued();
        self.end_meter(false);
        self.watch.end(&self.pool);
    }
}

impl<J: Job, I> fmt::Debug for JobStream<J, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobStream")
            .field("pool", &self.pool)
            .field("in_flight", &self.ahead.len())
            .field("max_in_flight", &self.max_in_flight)
            .finish_non_exhaustive()
    }
}
