//! Streams and the pool's queue: they wait for room, hear of it, and keep none back.

use std::cell::Cell;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use futures_core::Stream as _;
use pool::{Call, Pool, call, submit};
use pool_tests::jobs;
use pool_tests::{Isolation, isolated, pids, scratch, wait_for_room, wait_until};

#[derive(Default)]
struct Counter(AtomicUsize);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn numbers(n: u64) -> impl Iterator<Item = Call<jobs::echo>> {
    (0..n).map(|n| call!(jobs::echo, n))
}

/// A pool of one worker, which is busy until the file `gate` is there, with room for `capacity`
/// more.
fn busy_pool(capacity: usize) -> (Pool, pool::JobHandle<u32>) {
    let pool = Pool::builder().workers(1).queue_capacity(capacity).build().unwrap();
    let started = scratch("started");
    let held = submit!(pool => jobs::hold, &started, &scratch("gate"));
    wait_until("the worker is busy", || !pids(&started).is_empty());
    wait_for_room(&pool, capacity);
    (pool, held)
}

#[pool::test]
fn a_stream_waits_for_room_and_is_never_refused() {
    isolated(|| {
        for capacity in [1, 3] {
            let pool = Pool::builder().workers(2).queue_capacity(capacity).build().unwrap();
            let stream = pool.map(numbers(2000)).max_in_flight(100);
            assert!(stream.blocking().map(Result::unwrap).eq(0..2000));
            let stream = pool.map(numbers(2000)).max_in_flight(100).unordered();
            assert_eq!(stream.blocking().map(Result::unwrap).sum::<u64>(), 1_999_000);
        }
    });
}

#[pool::test]
fn a_waiting_stream_hears_of_room_and_keeps_none_back() {
    isolated(|| {
        let (pool, held) = busy_pool(1);
        let queued = submit!(pool => jobs::echo, 1);
        let pulled = Cell::new(0);
        let mut stream = pool.map(numbers(100).inspect(|_| pulled.set(pulled.get() + 1)));
        let counter = Arc::new(Counter::default());
        let waker = Waker::from(counter.clone());
        let mut cx = Context::from_waker(&waker);
        assert!(Pin::new(&mut stream).poll_next(&mut cx).is_pending());
        // What there is no room for is not even pulled.
        assert_eq!((pulled.get(), counter.0.load(Ordering::SeqCst)), (0, 0));
        jobs::open(&scratch("gate"));
        wait_until("the stream is told", || counter.0.load(Ordering::SeqCst) > 0);
        held.wait().unwrap();
        assert_eq!(queued.wait().unwrap(), 1);
        // It is not polled, and in nobody's way.
        for n in 0..10 {
            let permit = pool::block_on(pool.reserve()).unwrap();
            assert_eq!(permit.submit(call!(jobs::echo, n)).wait().unwrap(), n);
        }
        assert_eq!(stream.blocking().count(), 100);
    });
}

#[pool::test]
fn a_permit_that_is_dropped_tells_the_streams() {
    isolated(|| {
        let pool = Pool::builder().workers(1).queue_capacity(1).build().unwrap();
        let permit = pool::block_on(pool.reserve()).unwrap();
        let mut stream = pool.map(numbers(3));
        let counter = Arc::new(Counter::default());
        let waker = Waker::from(counter.clone());
        assert!(Pin::new(&mut stream).poll_next(&mut Context::from_waker(&waker)).is_pending());
        drop(permit);
        assert_eq!(counter.0.load(Ordering::SeqCst), 1);
        assert_eq!(stream.blocking().map(Result::unwrap).collect::<Vec<_>>(), [0, 1, 2]);
    });
}

#[pool::test]
fn room_that_was_meant_for_one_who_gave_up_reaches_the_streams() {
    isolated(|| {
        let pool = Pool::builder().workers(1).queue_capacity(1).build().unwrap();
        let permit = pool::block_on(pool.reserve()).unwrap();
        let mut stream = pool.map(numbers(3));
        let counter = Arc::new(Counter::default());
        let waker = Waker::from(counter.clone());
        {
            let mut reserve = pin!(pool.reserve());
            assert!(reserve.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            drop(permit);
            // It is another's now.
            let mut cx = Context::from_waker(&waker);
            assert!(Pin::new(&mut stream).poll_next(&mut cx).is_pending());
        }
        assert_eq!(counter.0.load(Ordering::SeqCst), 1);
        assert_eq!(stream.blocking().count(), 3);
    });
}

#[pool::test]
fn a_stream_that_waits_for_room_hears_of_the_end_of_the_pool() {
    isolated(|| {
        let (pool, held) = busy_pool(1);
        let queued = submit!(pool => jobs::echo, 1);
        let stream = pool.map((0..100).map(|n| call!(jobs::echo, n)));
        thread::scope(|scope| {
            let reader = scope.spawn(move || stream.blocking().count());
            drop(pool.close());
            // Nothing of it was submitted.
            assert_eq!(reader.join().unwrap(), 0);
        });
        jobs::open(&scratch("gate"));
        held.wait().unwrap();
        queued.wait().unwrap();
    });
}

#[pool::test]
fn streams_and_others_share_little_room() {
    Isolation::new().watchdog(Duration::from_secs(120)).run(|| {
        let pool = Pool::builder().workers(2).queue_capacity(2).build().unwrap();
        thread::scope(|scope| {
            for n in 0..4 {
                let pool = &pool;
                scope.spawn(move || {
                    let stream = pool.map(numbers(1000));
                    let stream = if n % 2 == 0 { stream.unordered() } else { stream };
                    assert_eq!(stream.blocking().map(Result::unwrap).sum::<u64>(), 499_500);
                });
            }
            for _ in 0..2 {
                scope.spawn(|| {
                    for n in 0..200 {
                        let permit = pool::block_on(pool.reserve()).unwrap();
                        assert_eq!(permit.submit(call!(jobs::echo, n)).wait().unwrap(), n);
                    }
                });
            }
        });
    });
}

#[pool::test]
fn an_iterator_may_use_the_pool_that_runs_its_calls() {
    isolated(|| {
        let pool = Pool::builder().workers(1).queue_capacity(1).build().unwrap();
        let calls = (0..100).map(|n| {
            // Also the last place in the queue.
            let permit = pool::block_on(pool.reserve()).unwrap();
            call!(jobs::echo, permit.submit(call!(jobs::echo, n)).wait().unwrap() + 1)
        });
        assert!(pool.map(calls).blocking().map(Result::unwrap).eq(1..101));
    });
}

#[pool::test]
fn streams_that_are_dropped_while_they_wait_leave_nothing() {
    isolated(|| {
        let (pool, held) = busy_pool(1);
        let queued = submit!(pool => jobs::echo, 1);
        let counter = Arc::new(Counter::default());
        let waker = Waker::from(counter.clone());
        for _ in 0..1000 {
            let mut stream = pool.map(numbers(3));
            let polled = Pin::new(&mut stream).poll_next(&mut Context::from_waker(&waker));
            assert!(matches!(polled, Poll::Pending));
        }
        // The waker itself, and the counter.
        assert_eq!(Arc::strong_count(&counter), 2);
        jobs::open(&scratch("gate"));
        held.wait().unwrap();
        assert_eq!(queued.wait().unwrap(), 1);
        assert_eq!(counter.0.load(Ordering::SeqCst), 0);
    });
}
