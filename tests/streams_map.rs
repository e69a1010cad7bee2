//! `Pool::map`: what a stream gives, in which order, how far it is ahead, and how it ends.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use futures_core::Stream;
use futures_core::stream::FusedStream;
use futures_lite::StreamExt;
use pool::{JobErrorKind, Pool, call, pool_job, submit};
use pool_tests::jobs::{self, Death};
use pool_tests::{Isolation, isolated, pids, proc, scratch, wait_until};

/// Gives `number` back when there is a file `gate`, or at once.
#[pool_job]
fn pass(number: u64, gate: Option<PathBuf>) -> u64 {
    while gate.as_ref().is_some_and(|gate| !gate.exists()) {
        thread::sleep(Duration::from_millis(1));
    }
    number
}

#[pool_job]
fn length(text: &str) -> usize {
    text.len()
}

/// Dies, or gives `number` back.
#[pool_job]
fn risky(number: u64) -> u64 {
    if number % 10 == 3 {
        jobs::die(Death::Abort);
    }
    assert!(number % 10 != 5, "five");
    number
}

fn numbers(n: u64) -> impl Iterator<Item = pool::Call<jobs::echo>> {
    (0..n).map(|n| call!(jobs::echo, n))
}

#[pool::test]
fn results_come_in_the_order_of_the_calls() {
    isolated(|| {
        let pool = Pool::new(2).unwrap();
        let gate = scratch("gate");
        let first = |n| (n == 0).then(|| gate.clone());
        let calls = (0..10).map(|n| call!(pass, n, first(n)));
        let mut stream = pool.map(calls).max_in_flight(10);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut stream).poll_next(&mut cx).is_pending());
        // All others end before the first.
        let others = numbers(50).map(|call| pool.submit(call).wait().unwrap()).sum::<u64>();
        assert_eq!(others, 1225);
        assert!(Pin::new(&mut stream).poll_next(&mut cx).is_pending());
        jobs::open(&gate);
        let results: Vec<_> = stream.blocking().map(Result::unwrap).collect();
        assert_eq!(results, (0..10).collect::<Vec<_>>());
    });
}

#[pool::test]
fn unordered_results_come_as_the_jobs_end() {
    isolated(|| {
        let pool = Pool::new(2).unwrap();
        let gate = scratch("gate");
        let first = |n| (n == 0).then(|| gate.clone());
        let calls = (0..100).map(|n| call!(pass, n, first(n)));
        let mut stream = pool.map(calls).max_in_flight(4).unordered().blocking();
        // The first one is in nobody's way.
        let mut others: Vec<_> = stream.by_ref().take(99).map(Result::unwrap).collect();
        others.sort_unstable();
        assert_eq!(others, (1..100).collect::<Vec<_>>());
        jobs::open(&gate);
        assert_eq!(stream.next().unwrap().unwrap(), 0);
        assert!(stream.next().is_none());
    });
}

#[pool::test]
fn a_stream_may_become_unordered_on_its_way() {
    isolated(|| {
        let pool = Pool::new(2).unwrap();
        let mut stream = pool.map(numbers(100));
        let mut results: Vec<_> =
            (0..10).map(|_| pool::block_on(stream.next()).unwrap().unwrap()).collect();
        results.extend(stream.unordered().blocking().map(Result::unwrap));
        results.sort_unstable();
        assert_eq!(results, (0..100).collect::<Vec<_>>());
    });
}

#[pool::test]
fn of_a_million_calls_only_a_few_are_pulled_ahead() {
    Isolation::new().watchdog(Duration::from_secs(300)).run(|| {
        let pool = Pool::new(2).unwrap();
        let pulled = Cell::new(0_u64);
        let calls = |n| numbers(n).inspect(|_| pulled.set(pulled.get() + 1));
        let mut given = 0;
        for result in pool.map(calls(1_000_000)).max_in_flight(500).blocking() {
            assert_eq!(result.unwrap(), given);
            given += 1;
            assert!(pulled.get() <= given + 500, "{} after {given}", pulled.get());
        }
        assert_eq!(given, 1_000_000);
        // By default it is a small multiple of the workers.
        let (mut given, mut sum) = (0, 0);
        pulled.set(0);
        for result in pool.map(calls(20_000)).unordered().blocking() {
            given += 1;
            sum += result.unwrap();
            assert!(pulled.get() <= given + 32, "{} after {given}", pulled.get());
        }
        assert_eq!((given, sum), (20_000, 199_990_000));
    });
}

#[pool::test]
fn nothing_is_pulled_before_the_first_poll() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let pulled = Cell::new(0);
        drop(pool.map(numbers(9).inspect(|_| pulled.set(pulled.get() + 1))).unordered());
        assert_eq!(pulled.get(), 0);
    });
}

#[pool::test]
fn the_iterator_may_borrow() {
    isolated(|| {
        let pool = Pool::new(2).unwrap();
        let text = String::from("a bb ccc");
        let stream = pool.map(text.split(' ').map(|word| call!(length, word)));
        assert_eq!(stream.blocking().map(Result::unwrap).collect::<Vec<_>>(), [1, 2, 3]);
        // What is left of an iterator that was lent is the lender's.
        let mut calls = numbers(1000);
        let mut stream = pool.map(calls.by_ref()).max_in_flight(3).blocking();
        assert_eq!(stream.next().unwrap().unwrap(), 0);
        drop(stream);
        assert!(calls.count() >= 995);
    });
}

#[pool::test]
fn one_failed_job_does_not_end_the_stream() {
    isolated(|| {
        let pool = Pool::new(2).unwrap();
        let stream = pool.map((0..40).map(|n| call!(risky, n).label(format!("input {n}"))));
        for (n, result) in (0..).zip(stream.blocking()) {
            match n % 10 {
                3 => assert!(result.unwrap_err().is_crash()),
                5 => assert!(result.unwrap_err().to_string().contains(&format!("input {n}"))),
                _ => assert_eq!(result.unwrap(), n),
            }
        }
        let stream = pool.map((0..40).map(|n| call!(risky, n))).unordered();
        let results: Vec<_> = stream.blocking().collect();
        assert_eq!(results.len(), 40);
        assert_eq!(results.iter().filter(|result| result.is_err()).count(), 8);
    });
}

#[pool::test]
fn a_call_that_is_refused_gives_its_reason_in_its_turn() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let names = [jobs_echo(), "nobody", jobs_echo()];
        let calls = || names.iter().map(|name| pool::Call::named::<u64>(name, (7_u64,)));
        for stream in [pool.map(calls()), pool.map(calls()).unordered()] {
            let results: Vec<_> = stream.blocking().collect();
            let refused = results.iter().filter_map(|result| result.as_ref().err());
            let kinds: Vec<_> = refused.map(|error| error.kind().clone()).collect();
            assert!(matches!(kinds[..], [JobErrorKind::UnknownJob(_)]), "{kinds:?}");
            assert_eq!(results.len(), 3);
        }
        let second = pool.map(calls()).blocking().nth(1).unwrap();
        assert!(matches!(second.unwrap_err().kind(), JobErrorKind::UnknownJob(_)));
    });
}

fn jobs_echo() -> &'static str {
    "pool_tests::jobs::echo"
}

#[pool::test]
fn dropping_a_stream_cancels_what_is_left() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let (started, gate) = (scratch("started"), scratch("gate"));
        for (n, unordered) in [false, true].into_iter().enumerate() {
            let calls = (0..50).map(|_| call!(jobs::hold, &started, &gate));
            let mut stream = pool.map(calls).max_in_flight(20);
            if unordered {
                stream = stream.unordered();
            }
            let mut cx = Context::from_waker(Waker::noop());
            assert!(Pin::new(&mut stream).poll_next(&mut cx).is_pending());
            wait_until("one runs", || pids(&started).len() > n);
            let running = pids(&started)[n];
            drop(stream);
            wait_until("it is killed", || !proc::all().contains(&running));
            // Nothing of it is in the way of what comes next, and none of the others ever ran.
            assert_eq!(submit!(pool => jobs::echo, 1).wait().unwrap(), 1);
            assert_eq!(pids(&started).len(), n + 1);
        }
    });
}

#[pool::test]
fn a_stream_keeps_its_pool_alive() {
    isolated(|| {
        let stream = Pool::new(2).unwrap().map(numbers(100));
        assert_eq!(stream.blocking().map(Result::unwrap).sum::<u64>(), 4950);
    });
}

#[pool::test]
fn a_closed_pool_ends_the_stream_after_what_was_submitted() {
    isolated(|| {
        for unordered in [false, true] {
            let pool = Pool::new(2).unwrap();
            let pulled = Cell::new(0);
            let calls = numbers(1000).inspect(|_| pulled.set(pulled.get() + 1));
            let mut stream = pool.map(calls).max_in_flight(5);
            if unordered {
                stream = stream.unordered();
            }
            let first = pool::block_on(stream.next()).unwrap().unwrap();
            drop(pool.close());
            let at_close = pulled.get();
            let rest: Vec<_> = pool::block_on(StreamExt::collect::<Vec<_>>(&mut stream));
            assert_eq!((pulled.get(), rest.len() + 1), (at_close, at_close));
            assert!(rest.iter().all(Result::is_ok), "{first}: {rest:?}");
            assert!(stream.is_terminated());
        }
    });
}

#[pool::test]
fn a_pool_that_is_shut_down_ends_the_stream() {
    isolated(|| {
        for unordered in [false, true] {
            let pool = Pool::new(1).unwrap();
            let (started, gate) = (scratch("started"), scratch("gate"));
            let calls = (0..1000).map(|_| call!(jobs::hold, &started, &gate));
            let mut stream = pool.map(calls).max_in_flight(5);
            if unordered {
                stream = stream.unordered();
            }
            let mut cx = Context::from_waker(Waker::noop());
            assert!(Pin::new(&mut stream).poll_next(&mut cx).is_pending());
            thread::scope(|scope| {
                // It waits, and hears of the end.
                let reader = scope.spawn(move || stream.blocking().collect::<Vec<_>>());
                drop(pool.shutdown());
                let results = reader.join().unwrap();
                assert_eq!(results.len(), 5);
                assert!(results.iter().all(|r| r.as_ref().is_err_and(|e| e.is_pool_closed())));
            });
            // Nothing at all comes of a pool that had ended before.
            assert!(pool.map(numbers(10)).blocking().next().is_none());
        }
    });
}

#[pool::test]
fn without_a_global_pool_every_call_says_why() {
    Isolation::new().env("POOL_WORKERS", "many").run(|| {
        for unordered in [false, true] {
            let mut stream = Pool::global().map(numbers(100));
            if unordered {
                stream = stream.unordered();
            }
            let results: Vec<_> = stream.blocking().collect();
            assert_eq!(results.len(), 100);
            for result in results {
                let error = result.unwrap_err();
                assert!(matches!(error.kind(), JobErrorKind::WorkerStart(_)), "{error}");
                assert!(error.to_string().contains("POOL_WORKERS"), "{error}");
            }
        }
    });
}

#[pool::test]
fn an_iterator_that_panics_ends_the_calls_and_not_the_results() {
    isolated(|| {
        let pool = Pool::builder().workers(1).queue_capacity(8).build().unwrap();
        let calls = numbers(100).inspect(|_| ()).enumerate().map(|(n, call)| {
            assert!(n != 5, "the iterator's own");
            call
        });
        let mut stream = pool.map(calls).max_in_flight(50);
        let panicked = catch_unwind(AssertUnwindSafe(|| pool::block_on(stream.next())));
        let mut results = Vec::new();
        match panicked {
            // A result was there before it was pulled so far.
            Ok(first) => {
                results.push(first.unwrap().unwrap());
                while let Ok(next) =
                    catch_unwind(AssertUnwindSafe(|| pool::block_on(stream.next())))
                {
                    results.push(next.unwrap().unwrap());
                }
            }
            Err(payload) => {
                assert!(payload.downcast_ref::<&str>().is_some_and(|p| p.contains("own")));
            }
        }
        results.extend(stream.blocking().map(Result::unwrap));
        assert_eq!(results, [0, 1, 2, 3, 4]);
        // It took no room along.
        let room: Vec<_> = (0..8).map(|_| pool::block_on(pool.reserve()).unwrap()).collect();
        drop(room);
    });
}

#[pool::test]
fn a_slow_iterator_does_not_hold_back_what_is_there() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let pulled = Cell::new(0);
        let calls = numbers(1000).inspect(|_| {
            pulled.set(pulled.get() + 1);
            thread::sleep(Duration::from_millis(10));
        });
        let mut stream = pool.map(calls).max_in_flight(1000);
        pool::block_on(stream.next()).unwrap().unwrap();
        assert!(pulled.get() < 500, "{} were pulled before the first was given", pulled.get());
    });
}

#[pool::test]
fn a_stream_tells_its_length_and_stays_at_its_end() {
    isolated(|| {
        let pool = Pool::new(2).unwrap();
        let mut stream = pool.map(numbers(10)).max_in_flight(3);
        for n in 0..10 {
            let left = 10 - n;
            assert_eq!(Stream::size_hint(&stream), (left, Some(left)));
            assert!(!stream.is_terminated());
            pool::block_on(stream.next()).unwrap().unwrap();
        }
        for _ in 0..3 {
            assert!(pool::block_on(stream.next()).is_none());
            assert_eq!(Stream::size_hint(&stream), (0, Some(0)));
            assert!(stream.is_terminated());
        }
        let endless = pool.map((0..).map(|n| call!(jobs::echo, n)));
        assert_eq!(Stream::size_hint(&endless), (usize::MAX, None));
        let mut stream = endless.unordered().blocking();
        assert!(stream.by_ref().take(1000).all(|result| result.is_ok()));
        assert_eq!(stream.size_hint().1, None);
        // An iterator that goes on after its first `None` is not asked again.
        let mut n = 0;
        let odd = std::iter::from_fn(|| {
            n += 1;
            (n != 3).then(|| call!(jobs::echo, n))
        });
        assert_eq!(pool.map(odd).blocking().count(), 2);
    });
}

#[pool::test]
fn next_may_be_given_up_and_taken_up_again() {
    isolated(|| {
        let pool = Pool::new(2).unwrap();
        let mut stream = pool.map(numbers(1000)).max_in_flight(16);
        let mut results = Vec::new();
        let mut cx = Context::from_waker(Waker::noop());
        while results.len() < 1000 {
            // Polled once and dropped.
            let next = std::pin::pin!(stream.next());
            match next.poll(&mut cx) {
                Poll::Ready(result) => results.push(result.unwrap().unwrap()),
                Poll::Pending => thread::yield_now(),
            }
        }
        assert_eq!(results, (0..1000).collect::<Vec<_>>());
        assert!(pool::block_on(stream.next()).is_none());
    });
}

#[pool::test]
fn combinators_and_runtimes_of_others_work_on_it() {
    isolated(|| {
        let pool = Pool::new(2).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build();
        let stream = pool.map((0..500).map(|n| call!(jobs::echo, n)));
        let doubled = runtime.unwrap().block_on(async {
            let task = tokio::spawn(stream.map(|result| result.unwrap() * 2).collect::<Vec<_>>());
            task.await.unwrap()
        });
        assert_eq!(doubled, (0..500).map(|n| n * 2).collect::<Vec<_>>());
        let both = pool.map(numbers(100)).unordered().zip(pool.map(numbers(50)));
        assert_eq!(futures_lite::future::block_on(both.count()), 50);
        let mut stream = pool.map(numbers(10));
        let sum = stream.try_fold(0, |sum, n| Ok::<_, pool::JobError>(sum + n));
        assert_eq!(futures_lite::future::block_on(sum).unwrap(), 45);
    });
}
