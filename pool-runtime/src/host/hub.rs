//! From the core to those who watch the pool: a buffer for each of them.
//!
//! Events are put into the buffers under the core's lock, which is what keeps them in order; the
//! wakers are called after it, like all others. Who only subscribes keeps nothing alive: the hub
//! knows no pool.
//!
//! A buffer is bounded. Beyond [`EVENTS`] events or [`WEIGHT`] bytes the oldest one is dropped, so
//! that a reader who comes late sees where the pool is now. Lines of output have a smaller bound
//! of their own, beyond which the newest one is dropped: a job that prints without end must not
//! push out the news of the others. Each dropped event is counted.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::happening::PoolEvent;
use crate::os::fork_depth;

/// Events in one buffer.
const EVENTS: usize = 4096;
/// Bytes of what the events in one buffer hold.
const WEIGHT: usize = 16 << 20;
/// Lines of output among them.
const LINES: usize = EVENTS / 2;
/// Bytes of these lines.
const LINES_WEIGHT: usize = 4 << 20;

#[derive(Debug)]
pub(crate) struct Hub {
    /// How many watch, to be seen without the lock.
    watchers: AtomicUsize,
    state: Mutex<HubState>,
    /// A fork child has a copy, with locks that may never be released.
    depth: u32,
}

#[derive(Debug, Default)]
struct HubState {
    buffers: Vec<Arc<Buffer>>,
    /// Nothing will happen any more.
    is_over: bool,
}

/// Takes part in a hub until it is dropped.
pub(crate) struct Subscription {
    hub: Arc<Hub>,
    buffer: Arc<Buffer>,
}

#[derive(Debug, Default)]
struct Buffer(Mutex<Content>);

#[derive(Debug, Default)]
struct Content {
    events: VecDeque<PoolEvent>,
    weight: usize,
    lines: usize,
    lines_weight: usize,
    dropped: u64,
    is_over: bool,
    waker: Option<Waker>,
}

impl Hub {
    pub(super) fn new() -> Arc<Hub> {
        Arc::new(Hub {
            watchers: AtomicUsize::new(0),
            state: Mutex::default(),
            depth: fork_depth(),
        })
    }

    /// A hub of which nothing is to be expected.
    pub(crate) fn over() -> Arc<Hub> {
        let hub = Hub::new();
        hub.state().is_over = true;
        hub
    }

    pub(crate) fn subscribe(self: &Arc<Hub>) -> Subscription {
        if self.is_foreign() {
            return Hub::over().subscribe();
        }
        let buffer = Arc::new(Buffer::default());
        let mut state = self.state();
        if state.is_over {
            buffer.content().is_over = true;
        } else {
            state.buffers.push(buffer.clone());
            self.watchers.store(state.buffers.len(), Ordering::Relaxed);
        }
        drop(state);
        Subscription { hub: self.clone(), buffer }
    }

    /// Whether anybody would learn of an event.
    #[inline]
    pub(super) fn is_watched(&self) -> bool {
        self.watchers.load(Ordering::Relaxed) > 0
    }

    /// Tells everybody. The event is made only if there is anybody.
    #[inline]
    pub(super) fn publish(&self, wakers: &mut Vec<Waker>, event: impl FnOnce() -> PoolEvent) {
        if self.is_watched() {
            self.tell(wakers, event());
        }
    }

    fn tell(&self, wakers: &mut Vec<Waker>, event: PoolEvent) {
        let state = self.state();
        let Some((last, others)) = state.buffers.split_last() else { return };
        for buffer in others {
            wakers.extend(buffer.content().put(event.clone()));
        }
        wakers.extend(last.content().put(event));
    }

    /// The same for a line of output: where there is no room for it, it is not even made.
    pub(super) fn publish_line(&self, wakers: &mut Vec<Waker>, event: impl Fn() -> PoolEvent) {
        if self.is_watched() {
            for buffer in &self.state().buffers {
                let mut content = buffer.content();
                if content.lines >= LINES || content.lines_weight >= LINES_WEIGHT {
                    content.dropped += 1;
                } else {
                    wakers.extend(content.put(event()));
                }
            }
        }
    }

    /// Nothing more will be published.
    pub(super) fn end(&self, wakers: &mut Vec<Waker>) {
        let mut state = self.state();
        state.is_over = true;
        self.watchers.store(0, Ordering::Relaxed);
        for buffer in std::mem::take(&mut state.buffers) {
            let mut content = buffer.content();
            content.is_over = true;
            wakers.extend(content.waker.take());
        }
    }

    fn is_foreign(&self) -> bool {
        fork_depth() != self.depth
    }

    fn state(&self) -> MutexGuard<'_, HubState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Buffer {
    fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Content {
    #[must_use = "somebody has to wake it"]
    fn put(&mut self, event: PoolEvent) -> Option<Waker> {
        self.count(&event, usize::wrapping_add);
        self.events.push_back(event);
        // The newest stays, whatever its weight.
        while self.events.len() > EVENTS || (self.weight > WEIGHT && self.events.len() > 1) {
            self.take();
            self.dropped += 1;
        }
        self.waker.take()
    }

    fn take(&mut self) -> Option<PoolEvent> {
        let event = self.events.pop_front()?;
        self.count(&event, usize::wrapping_sub);
        Some(event)
    }

    fn count(&mut self, event: &PoolEvent, change: fn(usize, usize) -> usize) {
        let weight = event.weight();
        self.weight = change(self.weight, weight);
        if matches!(event, PoolEvent::Output { .. }) {
            self.lines = change(self.lines, 1);
            self.lines_weight = change(self.lines_weight, weight);
        }
    }
}

impl Subscription {
    /// The next event; `None` after the last one.
    pub(crate) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<PoolEvent>> {
        if self.hub.is_foreign() {
            return Poll::Ready(None);
        }
        // A waker's code runs when it is cloned or dropped: both outside of the lock.
        let mut waker = None;
        loop {
            let mut content = self.buffer.content();
            if let Some(event) = content.take() {
                return Poll::Ready(Some(event));
            }
            if content.is_over {
                return Poll::Ready(None);
            }
            let Some(waker) = waker.take() else {
                drop(content);
                waker = Some(cx.waker().clone());
                continue;
            };
            let old = content.waker.replace(waker);
            drop(content);
            drop(old);
            return Poll::Pending;
        }
    }

    /// How many events were dropped for want of room.
    pub(crate) fn dropped(&self) -> u64 {
        if self.hub.is_foreign() { 0 } else { self.buffer.content().dropped }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if self.hub.is_foreign() {
            return;
        }
        let mut state = self.hub.state();
        state.buffers.retain(|buffer| !Arc::ptr_eq(buffer, &self.buffer));
        self.hub.watchers.store(state.buffers.len(), Ordering::Relaxed);
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;
    use std::task::Wake;

    use super::*;
    use crate::happening::OutputStream;
    use crate::id::JobId;

    fn queued(n: u64) -> PoolEvent {
        PoolEvent::JobQueued { id: JobId::from_words([0, n]), name: "job" }
    }

    fn line(text: &str) -> PoolEvent {
        let (stream, line) = (OutputStream::Stdout, text.to_owned());
        PoolEvent::Output { slot: 0, job: None, stream, line }
    }

    fn all(subscription: &Subscription) -> Vec<PoolEvent> {
        let mut cx = Context::from_waker(Waker::noop());
        let mut events = Vec::new();
        while let Poll::Ready(Some(event)) = subscription.poll_next(&mut cx) {
            events.push(event);
        }
        events
    }

    #[test]
    fn without_a_watcher_no_event_is_made() {
        let hub = Hub::new();
        let mut wakers = Vec::new();
        hub.publish(&mut wakers, || unreachable!("nobody watches"));
        drop(hub.subscribe());
        hub.publish(&mut wakers, || unreachable!("nobody watches any more"));
        hub.publish_line(&mut wakers, || unreachable!("nobody watches any more"));
    }

    #[test]
    fn beyond_its_room_the_oldest_is_dropped_and_counted() {
        let hub = Hub::new();
        let (one, other) = (hub.subscribe(), hub.subscribe());
        let mut wakers = Vec::new();
        for n in 0..EVENTS as u64 + 10 {
            hub.publish(&mut wakers, || queued(n));
            if n < 10 {
                assert_eq!(all(&other), [queued(n)]);
            }
        }
        let events = all(&one);
        assert_eq!((events.len(), one.dropped()), (EVENTS, 10));
        assert_eq!((events.first(), events.last()), (Some(&queued(10)), Some(&queued(4105))));
        assert_eq!((all(&other).len(), other.dropped()), (EVENTS, 0));
    }

    #[test]
    fn lines_do_not_push_out_other_news() {
        let hub = Hub::new();
        let watcher = hub.subscribe();
        let mut wakers = Vec::new();
        for n in 0..2 * EVENTS as u64 {
            hub.publish_line(&mut wakers, || line("text"));
            if n % 8 == 0 {
                hub.publish(&mut wakers, || queued(n));
            }
        }
        let events = all(&watcher);
        let lines = events.iter().filter(|event| **event == line("text")).count();
        assert_eq!((lines, events.len()), (LINES, LINES + EVENTS / 4));
        assert_eq!(watcher.dropped(), (2 * EVENTS - LINES) as u64);
        // There is room again.
        hub.publish_line(&mut wakers, || line("text"));
        assert_eq!(all(&watcher).len(), 1);
    }

    #[test]
    fn what_the_events_hold_is_bounded_too() {
        let hub = Hub::new();
        let watcher = hub.subscribe();
        let mut wakers = Vec::new();
        let text = "x".repeat(1 << 20);
        (0..64).for_each(|_| hub.publish_line(&mut wakers, || line(&text)));
        assert_eq!((all(&watcher).len(), watcher.dropped()), (4, 60));
        let kind = || crate::error::JobErrorKind::State(text.clone());
        let id = JobId::from_words([0, 1]);
        for _ in 0..64 {
            hub.publish(&mut wakers, || PoolEvent::JobEnded { id, outcome: Err(kind()) });
        }
        assert_eq!((all(&watcher).len(), watcher.dropped()), (16, 60 + 48));
    }

    #[test]
    fn a_watcher_is_woken_and_sees_the_end_after_the_last_event() {
        struct Counts(AtomicU32);
        impl Wake for Counts {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let hub = Hub::new();
        let watcher = hub.subscribe();
        let counts = Arc::new(Counts(AtomicU32::new(0)));
        let waker = Waker::from(counts.clone());
        let mut cx = Context::from_waker(&waker);
        assert_eq!(watcher.poll_next(&mut cx), Poll::Pending);
        let mut wakers = Vec::new();
        hub.publish(&mut wakers, || queued(1));
        hub.publish(&mut wakers, || queued(2));
        hub.end(&mut wakers);
        assert_eq!(wakers.len(), 1);
        wakers.into_iter().for_each(Waker::wake);
        assert_eq!(counts.0.load(Ordering::SeqCst), 1);
        assert_eq!(watcher.poll_next(&mut cx), Poll::Ready(Some(queued(1))));
        assert_eq!(watcher.poll_next(&mut cx), Poll::Ready(Some(queued(2))));
        assert_eq!(watcher.poll_next(&mut cx), Poll::Ready(None));
        assert_eq!(hub.subscribe().poll_next(&mut cx), Poll::Ready(None));
    }
}
