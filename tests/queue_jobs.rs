//! A queue and the jobs in it: push, pop, count, clear, close, and what becomes of the handles.

use std::task::{Context, Waker};
use std::thread;
use std::time::{Duration, Instant};

use pool::{Call, JobErrorKind, JobHandle, JobQueue, JobStatus, Pool, block_on, call, submit};
use pool_tests::jobs;
use pool_tests::room::holds_within;
use pool_tests::{isolated, lines, pids, scratch, wait_for_room, wait_until};

/// Longer than any test.
const LONG: Duration = Duration::from_secs(600);
const SOON: Duration = Duration::from_millis(100);

/// Pushes `echo` of these numbers.
fn push_all(queue: &JobQueue, numbers: std::ops::Range<u64>) -> Vec<JobHandle<u64>> {
    numbers.map(|n| block_on(queue.push(call!(jobs::echo, n)))).collect()
}

#[track_caller]
fn assert_kind<T: std::fmt::Debug>(job: JobHandle<T>, kind: &JobErrorKind) {
    let error = job.wait().unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    assert_eq!(error.attempts(), 0, "{error}");
}

#[pool::test]
fn a_queue_counts_what_is_in_it() {
    isolated(|| {
        let queue = JobQueue::new();
        assert!(queue.is_empty());
        let jobs = push_all(&queue, 0..5);
        assert_eq!((queue.count(), queue.is_empty()), (5, false));
        assert_eq!(queue.clone().count(), 5);
        assert!(jobs.iter().all(|job| job.status() == JobStatus::Queued));
        assert!(jobs.iter().all(|job| job.name() == "pool_tests::jobs::echo"));
        assert_eq!(queue.clear(), 5);
        assert_eq!(queue.clear(), 0);
        assert!(queue.is_empty());
        jobs.into_iter().for_each(|job| assert_kind(job, &JobErrorKind::Cancelled));
    });
}

#[pool::test]
fn pop_gives_the_jobs_in_their_order_and_their_handles_stay() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let queue = JobQueue::new();
        let jobs = push_all(&queue, 0..3);
        for job in &jobs {
            let popped = block_on(queue.pop(SOON)).unwrap();
            assert_eq!(popped.id(), job.id());
            assert_eq!(popped.name(), "pool_tests::jobs::echo");
            assert_eq!(job.status(), JobStatus::Queued);
            popped.submit(&pool);
        }
        assert!(queue.is_empty());
        for (n, job) in jobs.into_iter().enumerate() {
            assert_eq!(job.wait().unwrap(), n as u64);
        }
    });
}

#[pool::test]
fn pop_waits_for_a_job_and_no_longer_than_it_was_told() {
    isolated(|| {
        let queue = JobQueue::new();
        let begin = Instant::now();
        assert!(block_on(queue.pop(SOON)).is_none());
        assert!(begin.elapsed() >= SOON);
        assert!(begin.elapsed() < SOON + Duration::from_secs(2));
        assert!(block_on(queue.pop(Duration::ZERO)).is_none());
        let other = queue.clone();
        let pops = thread::spawn(move || block_on(other.pop(LONG)).map(|job| job.id()));
        let pushed = block_on(queue.push(call!(jobs::echo, 1)));
        assert_eq!(pops.join().unwrap(), Some(pushed.id()));
    });
}

#[pool::test]
fn several_who_pop_get_a_job_each() {
    isolated(|| {
        let queue = JobQueue::new();
        let pops: Vec<_> = (0..8)
            .map(|_| {
                let queue = queue.clone();
                thread::spawn(move || block_on(queue.pop(LONG)).map(|job| job.id()))
            })
            .collect();
        let jobs = push_all(&queue, 0..8);
        let mut popped: Vec<_> = pops.into_iter().filter_map(|pop| pop.join().unwrap()).collect();
        popped.sort_unstable();
        let mut pushed: Vec<_> = jobs.iter().map(JobHandle::id).collect();
        pushed.sort_unstable();
        assert_eq!(popped, pushed);
    });
}

#[pool::test]
fn a_pop_that_was_given_up_has_taken_nothing() {
    isolated(|| {
        let queue = JobQueue::new();
        {
            let mut pop = Box::pin(queue.pop(LONG));
            let mut noop = Context::from_waker(Waker::noop());
            assert!(pop.as_mut().poll(&mut noop).is_pending());
            let _job = push_all(&queue, 0..1);
        }
        assert_eq!(queue.count(), 1);
        assert!(block_on(queue.pop(SOON)).is_some());
        // Two wait, one gives up while it is being told: the other one gets the job.
        let mut first = Box::pin(queue.pop(LONG));
        let mut second = Box::pin(queue.pop(LONG));
        let mut noop = Context::from_waker(Waker::noop());
        assert!(first.as_mut().poll(&mut noop).is_pending());
        assert!(second.as_mut().poll(&mut noop).is_pending());
        let _job = push_all(&queue, 0..1);
        drop(first);
        assert!(block_on(second).is_some());
    });
}

#[pool::test]
fn a_popped_job_that_is_dropped_is_cancelled() {
    isolated(|| {
        let queue = JobQueue::new();
        let [first, second] = <[_; 2]>::try_from(push_all(&queue, 0..2)).unwrap();
        drop(block_on(queue.pop(SOON)).unwrap());
        assert_kind(first, &JobErrorKind::Cancelled);
        // Cancelled while it is held outside of any queue and pool.
        let held = block_on(queue.pop(SOON)).unwrap();
        second.cancel();
        assert_kind(second, &JobErrorKind::Cancelled);
        let pool = Pool::new(1).unwrap();
        held.submit(&pool);
        assert_eq!(submit!(pool => jobs::echo, 1).wait().unwrap(), 1);
    });
}

#[pool::test]
fn a_popped_job_is_refused_by_a_pool_that_is_full_or_closed() {
    isolated(|| {
        let queue = JobQueue::new();
        let [full, closed] = <[_; 2]>::try_from(push_all(&queue, 0..2)).unwrap();
        let pool = Pool::builder().workers(1).queue_capacity(1).build().unwrap();
        let (started, gate) = (scratch("started"), scratch("gate"));
        let held = submit!(pool => jobs::hold, &started, &gate);
        wait_until("the worker is busy", || !pids(&started).is_empty());
        wait_for_room(&pool, 1);
        let queued = submit!(pool => jobs::echo, 5);
        block_on(queue.pop(SOON)).unwrap().submit(&pool);
        assert_kind(full, &JobErrorKind::QueueFull);
        jobs::open(&gate);
        held.wait().unwrap();
        assert_eq!(queued.wait().unwrap(), 5);
        block_on(pool.shutdown());
        block_on(queue.pop(SOON)).unwrap().submit(&pool);
        assert_kind(closed, &JobErrorKind::PoolClosed);
    });
}

#[pool::test]
fn a_popped_job_can_be_given_up_in_its_pool() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let queue = JobQueue::new();
        let started = scratch("started");
        let job = block_on(queue.push(call!(jobs::spin, &started)));
        block_on(queue.pop(SOON)).unwrap().submit(&pool);
        wait_until("it runs", || !pids(&started).is_empty());
        assert_eq!(job.status(), JobStatus::Running);
        job.cancel();
        let error = job.wait().unwrap_err();
        assert!(error.is_cancelled() && error.attempts() == 1, "{error}");
    });
}

#[pool::test]
fn a_cancelled_job_leaves_its_queue_at_once() {
    isolated(|| {
        let queue = JobQueue::new();
        let mut jobs = push_all(&queue, 0..3);
        let second = jobs.remove(1);
        second.cancel();
        assert_eq!(queue.count(), 2);
        assert_kind(second, &JobErrorKind::Cancelled);
        jobs[0].canceller().kill();
        assert_eq!(queue.count(), 1);
        drop(jobs.remove(1).cancel_on_drop());
        assert!(queue.is_empty());
    });
}

#[pool::test]
fn a_signal_cancels_in_the_queue() {
    isolated(|| {
        let queue = JobQueue::new();
        let (tell, told) = tokio::sync::oneshot::channel::<()>();
        let job = block_on(queue.push(call!(jobs::echo, 1)));
        let job = job.cancel_on(async { drop(told.await) });
        drop(tell);
        assert_kind(job, &JobErrorKind::Cancelled);
        assert!(queue.is_empty());
    });
}

#[pool::test]
fn a_bounded_queue_lets_whoever_pushes_wait() {
    isolated(|| {
        let queue = JobQueue::bounded(2);
        let jobs = push_all(&queue, 0..2);
        let mut push = Box::pin(queue.push(call!(jobs::echo, 2)));
        let mut noop = Context::from_waker(Waker::noop());
        assert!(push.as_mut().poll(&mut noop).is_pending());
        assert_eq!(queue.count(), 2);
        drop(block_on(queue.pop(SOON)));
        let third = block_on(push);
        // A job that is cancelled makes room too.
        let mut push = Box::pin(queue.push(call!(jobs::echo, 3)));
        assert!(push.as_mut().poll(&mut noop).is_pending());
        jobs[1].cancel();
        let fourth = block_on(push);
        // A push that was given up has pushed nothing and takes no room.
        {
            let mut push = Box::pin(queue.push(call!(jobs::echo, 4)));
            assert!(push.as_mut().poll(&mut noop).is_pending());
        }
        assert_eq!(queue.clear(), 2);
        let after = push_all(&queue, 0..2);
        assert_eq!(queue.count(), 2);
        for job in [third, fourth].into_iter().chain(jobs) {
            assert_kind(job, &JobErrorKind::Cancelled);
        }
        drop(after);
    });
}

#[pool::test]
fn a_bounded_queue_passes_many_jobs_through_little_room() {
    isolated(|| {
        let pool = Pool::new(2).unwrap();
        let queue = JobQueue::bounded(3);
        let other = queue.clone();
        let pushes = thread::spawn(move || {
            let jobs = push_all(&other, 0..300);
            other.close();
            jobs
        });
        let report = block_on(pool.work(&queue).linger(LONG));
        assert_eq!(report.succeeded, 300);
        for (n, job) in pushes.join().unwrap().into_iter().enumerate() {
            assert_eq!(job.wait().unwrap(), n as u64);
        }
    });
}

#[pool::test]
fn a_closed_queue_takes_no_more_and_keeps_what_it_has() {
    isolated(|| {
        let queue = JobQueue::bounded(2);
        let jobs = push_all(&queue, 0..2);
        let other = queue.clone();
        let waits = thread::spawn(move || block_on(other.push(call!(jobs::echo, 9))));
        queue.close();
        assert_kind(waits.join().unwrap(), &JobErrorKind::QueueClosed);
        let refused = block_on(queue.push(call!(jobs::echo, 2)));
        assert_kind(refused, &JobErrorKind::QueueClosed);
        assert_eq!(queue.count(), 2);
        let pool = Pool::new(1).unwrap();
        for _ in 0..2 {
            block_on(queue.pop(LONG)).unwrap().submit(&pool);
        }
        // Closed and empty: at once.
        assert!(block_on(queue.pop(LONG)).is_none());
        for (n, job) in jobs.into_iter().enumerate() {
            assert_eq!(job.wait().unwrap(), n as u64);
        }
        queue.close();
    });
}

#[pool::test]
fn closing_a_queue_lets_go_whoever_waits_for_a_job() {
    isolated(|| {
        let queue = JobQueue::new();
        let other = queue.clone();
        let pops = thread::spawn(move || block_on(other.pop(LONG)).is_none());
        queue.close();
        assert!(pops.join().unwrap());
    });
}

#[pool::test]
fn dropping_the_last_handle_of_a_queue_cancels_what_is_left() {
    isolated(|| {
        let queue = JobQueue::new();
        let mut jobs = push_all(&queue, 0..3);
        let popped = block_on(queue.pop(SOON)).unwrap();
        let other = queue.clone();
        drop(queue);
        assert_eq!(other.count(), 2);
        drop(other);
        let first = jobs.remove(0);
        jobs.into_iter().for_each(|job| assert_kind(job, &JobErrorKind::Cancelled));
        // Whoever took it out has it.
        let pool = Pool::new(1).unwrap();
        popped.submit(&pool);
        assert_eq!(first.wait().unwrap(), 0);
    });
}

#[pool::test]
fn a_deadline_counts_from_the_push() {
    isolated(|| {
        let queue = JobQueue::new();
        let begin = Instant::now();
        let job = block_on(queue.push(call!(jobs::echo, 1).deadline(SOON)));
        let kept = block_on(queue.push(call!(jobs::echo, 2).deadline(LONG)));
        assert_kind(job, &JobErrorKind::TimedOut(SOON));
        assert!(begin.elapsed() >= SOON && begin.elapsed() < SOON + Duration::from_secs(2));
        assert_eq!(queue.count(), 1);
        // In the hands of whoever took it out.
        let held = block_on(queue.push(call!(jobs::echo, 3).deadline(SOON)));
        let popped = [(); 2].map(|()| block_on(queue.pop(SOON)).unwrap());
        let begin = Instant::now();
        wait_until("the deadline is over", || begin.elapsed() > SOON);
        let pool = Pool::new(1).unwrap();
        popped.into_iter().for_each(|job| job.submit(&pool));
        assert!(held.wait().unwrap_err().is_timeout());
        assert_eq!(kept.wait().unwrap(), 2);
    });
}

#[pool::test]
fn a_job_whose_deadline_passes_in_the_hands_of_its_taker_ends_there() {
    isolated(|| {
        let queue = JobQueue::new();
        let job = block_on(queue.push(call!(jobs::echo, 1).deadline(SOON)));
        let popped = block_on(queue.pop(SOON)).unwrap();
        assert!(holds_within(SOON + Duration::from_secs(2), || job.is_finished()));
        assert_kind(job, &JobErrorKind::TimedOut(SOON));
        drop(popped);
    });
}

#[pool::test]
fn what_cannot_be_pushed_is_said_by_the_handle() {
    isolated(|| {
        let queue = JobQueue::bounded(1);
        for _ in 0..3 {
            let unknown = block_on(queue.push(Call::named::<u64>("nobody", (1,))));
            let error = unknown.wait().unwrap_err();
            assert!(matches!(error.kind(), JobErrorKind::UnknownJob(_)), "{error}");
        }
        assert!(queue.is_empty());
        let too_large =
            block_on(queue.push(call!(jobs::note, &scratch("notes"), &"x".repeat(999))));
        let pool = Pool::builder().workers(1).max_payload(100).build().unwrap();
        let report = block_on(pool.work(&queue));
        let error = too_large.wait().unwrap_err();
        assert!(
            matches!(error.kind(), JobErrorKind::PayloadTooLarge { limit: 100, .. }),
            "{error}"
        );
        assert_eq!((report.succeeded, report.failed), (0, 1));
        assert!(lines(&scratch("notes")).is_empty());
    });
}

#[pool::test]
fn a_queue_needs_no_pool_and_no_runtime() {
    fn is_send_sync<T: Send + Sync>(_: &T) {}
    isolated(|| {
        let queue = JobQueue::default();
        is_send_sync(&queue);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let _job = queue.push(call!(jobs::echo, 1)).await;
            assert!(queue.pop(SOON).await.is_some());
            assert!(queue.pop(SOON).await.is_none());
        });
    });
}
