//! Places in a pool's queue: taken before a job enters, given back when it is first handed out.
//!
//! There are two ways to wait for one. Who [acquires](Room::acquire) stands in a line and is given
//! a place as soon as there is one, whether it is polled then or not. Who only
//! [watches](Room::watch) is told that there may be room, keeps nothing back from others while it
//! is not polled, and looks again. A place that comes back by whatever way rings for those.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::sync::Semaphore;

use super::wakers::{shield, wake_all};

pub(crate) struct Room {
    places: Semaphore,
    /// Who is told when a place may be free, once.
    watchers: Mutex<BTreeMap<WatchKey, Waker>>,
    /// Whether there are any, to be seen without the lock.
    is_watched: AtomicBool,
    next_key: AtomicU64,
}

/// One watcher, as the room knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WatchKey(u64);

impl Room {
    pub(super) fn new(capacity: usize) -> Room {
        Room {
            places: Semaphore::new(capacity.min(Semaphore::MAX_PERMITS)),
            watchers: Mutex::default(),
            is_watched: AtomicBool::new(false),
            next_key: AtomicU64::new(0),
        }
    }

    /// A place, if one is free.
    pub(crate) fn try_acquire(&self) -> Option<Place<'_>> {
        self.places.try_acquire().ok()?.forget();
        Some(Place(self))
    }

    /// A place, when it is this one's turn; `None` once the room is closed.
    pub(crate) async fn acquire(&self) -> Option<Place<'_>> {
        /// Dropped after the future that waits: what that one was given already is free again.
        struct GivenUp<'a>(&'a Room);

        impl Drop for GivenUp<'_> {
            fn drop(&mut self) {
                self.0.ring();
            }
        }

        let given_up = GivenUp(self);
        let acquired = self.places.acquire().await;
        std::mem::forget(given_up);
        acquired.ok()?.forget();
        Some(Place(self))
    }

    /// So many places are free again. Wakes: not to be called under a lock.
    pub(super) fn release(&self, n: usize) {
        shield(|| self.places.add_permits(n));
        self.ring();
    }

    /// Nobody gets a place any more. Wakes: not to be called under a lock.
    pub(super) fn close(&self) {
        shield(|| self.places.close());
        self.ring();
    }

    /// A key for one who means to watch.
    pub(crate) fn watch_key(&self) -> WatchKey {
        WatchKey(self.next_key.fetch_add(1, Ordering::Relaxed))
    }

    /// Whether a place is free, or none ever will be; tells `cx` when that may have changed.
    pub(crate) fn watch(&self, key: WatchKey, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_free() {
            return Poll::Ready(());
        }
        let waker = cx.waker().clone();
        let mut watchers = self.watchers();
        let old = watchers.insert(key, waker);
        self.is_watched.store(true, Ordering::SeqCst);
        drop(watchers);
        drop(old);
        // Registered first, looked at then.
        fence(Ordering::SeqCst);
        if self.is_free() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Forgets a watcher.
    pub(crate) fn unwatch(&self, key: WatchKey) {
        let old = self.watchers().remove(&key);
        drop(old);
    }

    fn is_free(&self) -> bool {
        self.places.available_permits() > 0 || self.places.is_closed()
    }

    /// Every watcher looks again: one that is not polled for a while must not keep the others from
    /// hearing of it.
    fn ring(&self) {
        fence(Ordering::SeqCst);
        if !self.is_watched.load(Ordering::SeqCst) {
            return;
        }
        let mut watchers = self.watchers();
        self.is_watched.store(false, Ordering::SeqCst);
        let woken = std::mem::take(&mut *watchers);
        drop(watchers);
        wake_all(woken.into_values().collect());
    }

    fn watchers(&self) -> MutexGuard<'_, BTreeMap<WatchKey, Waker>> {
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room").field("free", &self.places.available_permits()).finish()
    }
}

/// A place for one job; dropped, it is free again.
#[derive(Debug)]
#[must_use = "a dropped place is free again"]
pub(crate) struct Place<'a>(&'a Room);

impl Place<'_> {
    /// A job has it from here on.
    pub(crate) fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.release(1);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// A room without a free place, and one who watches it.
    fn watched() -> (Room, Arc<Counter>) {
        let room = Room::new(1);
        room.try_acquire().unwrap().keep();
        let counter = Arc::new(Counter::default());
        let waker = Waker::from(counter.clone());
        assert!(room.watch(room.watch_key(), &mut Context::from_waker(&waker)).is_pending());
        (room, counter)
    }

    fn woken(counter: &Counter) -> usize {
        counter.0.load(Ordering::SeqCst)
    }

    #[test]
    fn whoever_watches_is_told_once() {
        let (room, counter) = watched();
        room.release(1);
        room.release(1);
        assert_eq!(woken(&counter), 1);
    }

    #[test]
    fn a_dropped_place_rings() {
        let (room, counter) = watched();
        drop(Place(&room));
        assert_eq!(woken(&counter), 1);
        assert!(room.try_acquire().is_some());
    }

    #[test]
    fn a_future_that_was_given_a_place_and_dropped_rings() {
        let (room, counter) = watched();
        {
            let mut acquire = pin!(room.acquire());
            let mut cx = Context::from_waker(Waker::noop());
            assert!(acquire.as_mut().poll(&mut cx).is_pending());
            room.release(1);
            // It went to the one in the line.
            assert!(room.try_acquire().is_none());
            let waker = Waker::from(counter.clone());
            let key = room.watch_key();
            assert!(room.watch(key, &mut Context::from_waker(&waker)).is_pending());
            assert_eq!(woken(&counter), 1);
        }
        assert_eq!(woken(&counter), 2);
        assert!(room.try_acquire().is_some());
    }

    #[test]
    fn a_closed_room_tells_its_watchers_and_keeps_nobody_waiting() {
        let (room, counter) = watched();
        room.close();
        assert_eq!(woken(&counter), 1);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(room.watch(room.watch_key(), &mut cx).is_ready());
        assert!(room.try_acquire().is_none());
        assert!(matches!(pin!(room.acquire()).poll(&mut cx), Poll::Ready(None)));
    }

    #[test]
    fn a_watcher_that_is_forgotten_hears_nothing() {
        let room = Room::new(0);
        let counter = Arc::new(Counter::default());
        let waker = Waker::from(counter.clone());
        let key = room.watch_key();
        assert!(room.watch(key, &mut Context::from_waker(&waker)).is_pending());
        room.unwatch(key);
        room.release(1);
        assert_eq!(woken(&counter), 0);
        assert_eq!(Arc::strong_count(&counter), 2);
    }
}
