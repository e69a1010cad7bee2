//! Places in a pool's queue: taken before a job enters, given back when it is first handed out.
//!
//! There are two ways to wait for one. Who [acquires](Room::acquire) stands in a line and is given
//! a place as soon as there is one, whether it is polled then or not. Who only
//! [watches](Room::watch) is told that there may be room, keeps nothing back from others while it
//! is not polled, and looks again. A place that comes back by whatever way rings for those.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::wakers::wake_all;

/// In cache lines of its own: whoever submits writes to it.
#[repr(align(128))]
pub(crate) struct Room {
    /// How many places are free, and [`CLOSED`].
    free: AtomicU64,
    line: Mutex<VecDeque<Waiter>>,
    /// Whether anybody stands in it, to be seen without the lock.
    has_line: AtomicBool,
    /// Who is told when a place may be free, once.
    watchers: Mutex<BTreeMap<WatchKey, Waker>>,
    /// Whether there are any, to be seen without the lock.
    is_watched: AtomicBool,
    next_key: AtomicU64,
}

/// Nobody gets a place any more.
const CLOSED: u64 = 1 << 63;

/// One who stands in the line.
struct Waiter {
    key: u64,
    /// Those who have one stand before those who have none.
    has_place: bool,
    /// Who has heard of a place, or of the end, has none.
    waker: Option<Waker>,
}

/// One watcher, as the room knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WatchKey(u64);

impl Room {
    pub(super) fn new(capacity: usize) -> Room {
        Room {
            free: AtomicU64::new((capacity as u64).min(CLOSED >> 1)),
            line: Mutex::default(),
            has_line: AtomicBool::new(false),
            watchers: Mutex::default(),
            is_watched: AtomicBool::new(false),
            next_key: AtomicU64::new(0),
        }
    }

    /// A place, if one is free.
    pub(crate) fn try_acquire(&self) -> Option<Place<'_>> {
        self.take(1).then(|| Place(self))
    }

    /// So many places, if they are free.
    fn take(&self, n: u64) -> bool {
        let less = |free: u64| if free & CLOSED == 0 { free.checked_sub(n) } else { None };
        self.free.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok()
    }

    /// A place, when it is this one's turn; `None` once the room is closed.
    pub(crate) async fn acquire(&self) -> Option<Place<'_>> {
        if let Some(place) = self.try_acquire() {
            return Some(place);
        }
        let mut turn = Turn { room: self, key: None };
        poll_fn(|cx| turn.poll(cx)).await
    }

    /// So many places are free again. Wakes: not to be called under a lock.
    pub(super) fn release(&self, n: usize) {
        let mut free = n as u64;
        if self.has_line.load(Ordering::SeqCst) {
            // Straight to those who stand in the line: nobody gets in between.
            self.serve(|| {
                let some = free > 0;
                free -= u64::from(some);
                some
            });
        }
        if free > 0 {
            self.free.fetch_add(free, Ordering::SeqCst);
            self.look_after_line();
        }
        self.ring();
    }

    /// Nobody gets a place any more. Wakes: not to be called under a lock.
    pub(super) fn close(&self) {
        self.free.fetch_or(CLOSED, Ordering::SeqCst);
        self.look_after_line();
        self.ring();
    }

    /// Whoever has come into the line since what is free was there gets it.
    fn look_after_line(&self) {
        fence(Ordering::SeqCst);
        if self.has_line.load(Ordering::SeqCst) {
            self.serve(|| self.take(1));
        }
    }

    /// First come, first served.
    fn serve(&self, mut takes_one: impl FnMut() -> bool) {
        let mut woken = Vec::new();
        let mut line = self.line();
        let first = line.partition_point(|waiter| waiter.has_place);
        for waiter in line.range_mut(first..) {
            if !self.is_closed() {
                if !takes_one() {
                    break;
                }
                waiter.has_place = true;
            }
            woken.extend(waiter.waker.take());
        }
        drop(line);
        wake_all(&mut woken);
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

    /// Whether there is a place, or never will be one again.
    fn is_free(&self) -> bool {
        self.free.load(Ordering::SeqCst) > 0
    }

    fn is_closed(&self) -> bool {
        self.free.load(Ordering::SeqCst) & CLOSED != 0
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
        wake_all(&mut woken.into_values().collect());
    }

    fn line(&self) -> MutexGuard<'_, VecDeque<Waiter>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watchers(&self) -> MutexGuard<'_, BTreeMap<WatchKey, Waker>> {
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room").field("free", &(self.free.load(Ordering::SeqCst) & !CLOSED)).finish()
    }
}

/// A turn in the line for a place. Dropped, it leaves the line, and what it was given is free.
struct Turn<'a> {
    room: &'a Room,
    /// `None` until it stands there.
    key: Option<u64>,
}

impl<'a> Turn<'a> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Place<'a>>> {
        let room = self.room;
        // A waker's code runs when it is cloned or dropped: both outside of the lock.
        let mut waker = Some(cx.waker().clone());
        let key = match self.key {
            Some(key) => key,
            None => {
                let mut line = room.line();
                let key = room.next_key.fetch_add(1, Ordering::Relaxed);
                line.push_back(Waiter { key, has_place: false, waker: waker.take() });
                room.has_line.store(true, Ordering::SeqCst);
                drop(line);
                self.key = Some(key);
                room.look_after_line();
                key
            }
        };
        let mut line = room.line();
        let Ok(at) = line.binary_search_by_key(&key, |waiter| waiter.key) else {
            return Poll::Ready(None);
        };
        if line[at].has_place || room.is_closed() {
            drop(line);
            return Poll::Ready(self.leave());
        }
        let old = match waker {
            Some(waker) => line[at].waker.replace(waker),
            None => None,
        };
        drop(line);
        drop(old);
        Poll::Pending
    }

    /// Leaves the line, with the place that it was given.
    fn leave(&mut self) -> Option<Place<'a>> {
        let key = self.key.take()?;
        let mut line = self.room.line();
        let at = line.binary_search_by_key(&key, |waiter| waiter.key).ok()?;
        let waiter = line.remove(at);
        self.room.has_line.store(!line.is_empty(), Ordering::SeqCst);
        drop(line);
        let has_place = waiter.is_some_and(|waiter| waiter.has_place);
        has_place.then(|| Place(self.room))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // A place that is dropped is told to the others.
        drop(self.leave());
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
