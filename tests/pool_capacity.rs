//! How much a pool takes: its queue has a bound, and costs no descriptors.

use std::thread;
use std::time::Duration;

use pool::{JobErrorKind, JobHandle, Pool, call, submit};
use pool_tests::jobs;
use pool_tests::{Isolation, isolated, pids, proc, scratch, wait_for_room, wait_until};
use rustix::process::{Resource, Rlimit};

/// A pool of one worker, which is busy until the file `gate` is there.
fn busy_pool(capacity: usize) -> (Pool, JobHandle<u32>) {
    let pool = Pool::builder().workers(1).queue_capacity(capacity).build().unwrap();
    let started = scratch("started");
    let held = submit!(pool => jobs::hold, &started, &scratch("gate"));
    wait_until("the worker is busy", || !pids(&started).is_empty());
    wait_for_room(&pool, capacity.min(10));
    (pool, held)
}

#[pool::test]
fn a_hundred_thousand_jobs_need_no_descriptors() {
    Isolation::new().watchdog(Duration::from_secs(120)).run(|| {
        let limit = Rlimit { current: Some(256), maximum: Some(256) };
        rustix::process::setrlimit(Resource::Nofile, limit).unwrap();
        let (pool, held) = busy_pool(1_000_000);
        let before = proc::own_descriptors();
        let jobs: Vec<_> = (0..100_000).map(|n| submit!(pool => jobs::echo, n)).collect();
        assert_eq!(proc::own_descriptors(), before);
        jobs::open(&scratch("gate"));
        held.wait().unwrap();
        for (n, job) in jobs.into_iter().enumerate() {
            assert_eq!(job.wait().unwrap(), n as u64);
        }
        assert_eq!(proc::own_descriptors(), before);
    });
}

#[pool::test]
fn beyond_its_capacity_a_pool_refuses_and_says_so() {
    isolated(|| {
        let (pool, held) = busy_pool(3);
        let accepted: Vec<_> = (0..3).map(|n| submit!(pool => jobs::echo, n)).collect();
        let error = submit!(pool => jobs::echo, 9).wait().unwrap_err();
        assert_eq!(*error.kind(), JobErrorKind::QueueFull, "{error}");
        assert_eq!(error.attempts(), 0);
        assert!(error.to_string().contains("queue_capacity"), "{error}");
        let rejected = pool.try_submit(call!(jobs::echo, 10)).unwrap_err();
        assert_eq!(*rejected.kind(), JobErrorKind::QueueFull);
        // A cancelled job makes room at once.
        accepted[1].cancel();
        wait_until("it has left", || accepted[1].is_finished());
        let again = pool.try_submit(rejected.into_call()).unwrap();
        assert!(pool.try_submit(call!(jobs::echo, 11)).is_err());
        jobs::open(&scratch("gate"));
        held.wait().unwrap();
        for (n, job) in accepted.into_iter().enumerate() {
            match n {
                1 => assert!(job.wait().unwrap_err().is_cancelled()),
                _ => assert_eq!(job.wait().unwrap(), n as u64),
            }
        }
        assert_eq!(again.wait().unwrap(), 10);
        assert_eq!(submit!(pool => jobs::echo, 12).wait().unwrap(), 12);
    });
}

#[pool::test]
fn reserve_waits_for_room() {
    isolated(|| {
        let (pool, held) = busy_pool(1);
        let queued = submit!(pool => jobs::echo, 1);
        let mut reserve = Box::pin(pool.reserve());
        let mut noop = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(reserve.as_mut().poll(&mut noop).is_pending());
        jobs::open(&scratch("gate"));
        let permit = pool::block_on(reserve).unwrap();
        assert_eq!(permit.submit(call!(jobs::echo, 2)).wait().unwrap(), 2);
        assert_eq!(queued.wait().unwrap(), 1);
        held.wait().unwrap();
    });
}

#[pool::test]
fn a_permit_keeps_its_room_and_a_dropped_one_gives_it_back() {
    isolated(|| {
        let (pool, held) = busy_pool(1);
        let permit = pool::block_on(pool.reserve()).unwrap();
        let full = pool.try_submit(call!(jobs::echo, 1)).unwrap_err();
        assert_eq!(*full.kind(), JobErrorKind::QueueFull);
        drop(permit);
        let queued = pool.try_submit(full.into_call()).unwrap();
        // A future that was given up gives its place up.
        {
            let mut reserve = Box::pin(pool.reserve());
            let mut noop = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(reserve.as_mut().poll(&mut noop).is_pending());
        }
        jobs::open(&scratch("gate"));
        held.wait().unwrap();
        assert_eq!(queued.wait().unwrap(), 1);
        let permit = pool::block_on(pool.reserve()).unwrap();
        assert_eq!(permit.submit(call!(jobs::echo, 3)).wait().unwrap(), 3);
    });
}

#[pool::test]
fn a_refused_call_takes_no_room() {
    isolated(|| {
        let (pool, held) = busy_pool(1);
        for _ in 0..10 {
            let unknown = pool::Call::named::<()>("nobody", ());
            assert!(matches!(
                pool.submit(unknown).wait().unwrap_err().kind(),
                JobErrorKind::UnknownJob(_)
            ));
        }
        let queued = pool.try_submit(call!(jobs::echo, 1)).unwrap();
        jobs::open(&scratch("gate"));
        held.wait().unwrap();
        assert_eq!(queued.wait().unwrap(), 1);
    });
}

#[pool::test]
fn many_who_reserve_share_little_room() {
    isolated(|| {
        let pool = Pool::builder().workers(2).queue_capacity(2).build().unwrap();
        let sum: u64 = thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let numbers = 0..250;
                        let jobs: Vec<_> = numbers
                            .map(|n| {
                                let permit = pool::block_on(pool.reserve()).unwrap();
                                permit.submit(call!(jobs::echo, n))
                            })
                            .collect();
                        jobs.into_iter().map(|job| job.wait().unwrap()).sum::<u64>()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(sum, 4 * (249 * 250 / 2));
    });
}

#[pool::test]
fn retries_and_crashes_lose_no_room() {
    isolated(|| {
        let policy = pool::RetryPolicy::attempts(2);
        let pool = Pool::builder().workers(1).queue_capacity(2).retry(policy).build().unwrap();
        for _ in 0..5 {
            let permit = pool::block_on(pool.reserve()).unwrap();
            let job = permit.submit(call!(jobs::die, jobs::Death::Abort));
            assert_eq!(job.wait().unwrap_err().attempts(), 2);
        }
        let first = pool::block_on(pool.reserve()).unwrap();
        let second = pool::block_on(pool.reserve()).unwrap();
        assert!(pool.try_submit(call!(jobs::echo, 1)).is_err());
        assert_eq!(first.submit(call!(jobs::echo, 2)).wait().unwrap(), 2);
        assert_eq!(second.submit(call!(jobs::echo, 3)).wait().unwrap(), 3);
    });
}
