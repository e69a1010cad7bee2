//! Pools that work on queues.

use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Waker};
use std::thread;
use std::time::{Duration, Instant};

use pool::{JobHandle, JobQueue, JobStatus, Pool, RetryPolicy, block_on, call, pool_job, submit};
use pool_tests::jobs::{self, Death};
use pool_tests::room::holds_within;
use pool_tests::{isolated, lines, pids, proc, scratch, wait_until};

/// Longer than any test.
const LONG: Duration = Duration::from_secs(600);
const SOON: Duration = Duration::from_millis(200);

#[pool_job]
fn fail() -> Result<(), String> {
    Err("no".to_owned())
}

/// As [`jobs::hold`], but nobody knows how long it takes, so that no job is taken ahead behind it.
#[pool_job]
fn hold_for_long(started: &Path, gate: &Path) {
    jobs::hold(started, gate);
}

fn push_all(queue: &JobQueue, numbers: std::ops::Range<u64>) -> Vec<JobHandle<u64>> {
    numbers.map(|n| block_on(queue.push(call!(jobs::echo, n)))).collect()
}

fn all_echo(jobs: Vec<JobHandle<u64>>) {
    for (n, job) in jobs.into_iter().enumerate() {
        assert_eq!(job.wait().unwrap(), n as u64);
    }
}

/// `n` jobs that wait for the file `gate` and note in the file `started` that they run.
fn push_holds(queue: &JobQueue, n: usize) -> Vec<JobHandle<u32>> {
    let (started, gate) = (scratch("started"), scratch("gate"));
    (0..n).map(|_| block_on(queue.push(call!(jobs::hold, &started, &gate)))).collect()
}

/// Polls once.
fn nudge<F: Future>(future: Pin<&mut F>) -> bool {
    future.poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

/// A task in a thread.
fn in_background<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> thread::JoinHandle<T> {
    thread::spawn(|| block_on(future))
}

#[pool::test]
fn work_runs_all_that_is_in_the_queue_and_reports_how_it_ended() {
    isolated(|| {
        let pool = Pool::new(2).unwrap();
        let queue = JobQueue::new();
        let good = push_all(&queue, 0..20);
        let own_error = block_on(queue.push(call!(fail)));
        let panicked = block_on(queue.push(call!(jobs::die, Death::Panic)));
        let crashed = block_on(queue.push(call!(jobs::die, Death::Abort)));
        let call = call!(jobs::die_before, 2, Death::Abort).retry(RetryPolicy::attempts(2));
        let retried = block_on(queue.push(call));
        let call = call!(jobs::spin, &scratch("started")).timeout(SOON);
        let timed_out = block_on(queue.push(call));
        let report = block_on(pool.work(&queue));
        assert_eq!((report.succeeded, report.failed, report.cancelled), (22, 3, 0));
        assert!(report.elapsed >= SOON);
        assert!(queue.is_empty());
        all_echo(good);
        assert!(own_error.wait().unwrap().is_err());
        assert!(panicked.wait().unwrap_err().is_panic());
        assert!(crashed.wait().unwrap_err().is_crash());
        assert_eq!(retried.wait().unwrap(), 2);
        assert!(timed_out.wait().unwrap_err().is_timeout());
        // An empty queue is done at once.
        assert_eq!(block_on(pool.work(&queue)).succeeded, 0);
    });
}

#[pool::test]
fn work_begins_with_its_first_poll_and_takes_only_what_it_can_hand_out() {
    isolated(|| {
        let pool = Pool::new(2).unwrap();
        let queue = JobQueue::new();
        let jobs = push_holds(&queue, 10);
        let mut work = Box::pin(pool.work(&queue));
        assert_eq!(queue.count(), 10);
        assert!(!nudge(work.as_mut()));
        wait_until("both workers are busy", || pids(&scratch("started")).len() == 2);
        assert_eq!(queue.count(), 8);
        assert_eq!(jobs.iter().filter(|job| job.status() == JobStatus::Running).count(), 2);
        jobs::open(&scratch("gate"));
        assert_eq!(block_on(work).succeeded, 10);
    });
}

#[pool::test]
fn jobs_of_a_queue_run_in_the_order_in_which_they_were_pushed() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let queue = JobQueue::new();
        let file = scratch("order");
        for n in 0..50 {
            drop(block_on(queue.push(call!(jobs::note, &file, &n.to_string()))));
        }
        assert_eq!(block_on(pool.work(&queue)).succeeded, 50);
        let expected: Vec<_> = (0..50).map(|n| n.to_string()).collect();
        assert_eq!(lines(&file), expected);
    });
}

#[pool::test]
fn what_is_pushed_while_the_queue_is_worked_on_is_worked_on_too() {
    isolated(|| {
        let pool = Pool::new(2).unwrap();
        let queue = JobQueue::new();
        let held = push_holds(&queue, 1);
        let work = in_background(pool.work(&queue));
        wait_until("it runs", || !pids(&scratch("started")).is_empty());
        let pushes: Vec<_> = (0..4)
            .map(|_| {
                let queue = queue.clone();
                thread::spawn(move || push_all(&queue, 0..100))
            })
            .collect();
        for pushed in pushes {
            all_echo(pushed.join().unwrap());
        }
        jobs::open(&scratch("gate"));
        assert_eq!(work.join().unwrap().succeeded, 401);
        drop(held);
    });
}

#[pool::test]
fn work_lingers_for_new_jobs() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let queue = JobQueue::new();
        let begin = Instant::now();
        let work = in_background(pool.work(&queue).linger(SOON * 2));
        // Each push begins the wait anew.
        for n in 0..3 {
            let step = Instant::now();
            wait_until("some time has passed", || step.elapsed() > SOON);
            assert_eq!(block_on(queue.push(call!(jobs::echo, n))).wait().unwrap(), n);
        }
        let last = Instant::now();
        let report = work.join().unwrap();
        assert_eq!(report.succeeded, 3);
        assert!(last.elapsed() + SOON / 2 >= SOON, "{:?}", last.elapsed());
        assert!(begin.elapsed() >= SOON * 5, "{:?}", begin.elapsed());
        assert!(last.elapsed() < SOON * 2 + Duration::from_secs(2), "{:?}", last.elapsed());
    });
}

#[pool::test]
fn work_that_lingers_ends_with_the_close_of_its_queue() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let queue = JobQueue::new();
        let work = in_background(pool.work(&queue).linger(LONG));
        all_echo(push_all(&queue, 0..10));
        queue.close();
        assert_eq!(work.join().unwrap().succeeded, 10);
        // Also if there is something left in it.
        let queue = JobQueue::new();
        let jobs = push_all(&queue, 0..10);
        queue.close();
        assert_eq!(block_on(pool.work(&queue).linger(LONG)).succeeded, 10);
        all_echo(jobs);
    });
}

#[pool::test]
fn two_pools_share_a_queue() {
    isolated(|| {
        let pools = [Pool::new(1).unwrap(), Pool::new(1).unwrap()];
        let queue = JobQueue::new();
        let held = push_holds(&queue, 2);
        let works = pools.each_ref().map(|pool| in_background(pool.work(&queue)));
        // One can run only in each.
        wait_until("both run", || pids(&scratch("started")).len() == 2);
        let jobs = push_all(&queue, 0..100);
        jobs::open(&scratch("gate"));
        let done: u64 = works.map(|work| work.join().unwrap().succeeded).into_iter().sum();
        assert_eq!(done, 102);
        all_echo(jobs);
        drop(held);
    });
}

#[pool::test]
fn one_pool_works_on_two_queues_in_turn() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let queues = [JobQueue::new(), JobQueue::new()];
        let file = scratch("order");
        for (name, queue) in ["a", "b"].into_iter().zip(&queues) {
            for _ in 0..20 {
                drop(block_on(queue.push(call!(jobs::note, &file, name))));
            }
        }
        let (started, gate) = (scratch("started"), scratch("gate"));
        let held = submit!(pool => jobs::hold, &started, &gate);
        wait_until("the worker is busy", || !pids(&started).is_empty());
        let mut works = queues.each_ref().map(|queue| Box::pin(pool.work(queue)));
        works.iter_mut().for_each(|work| assert!(!nudge(work.as_mut())));
        jobs::open(&gate);
        for work in works {
            assert_eq!(block_on(work).succeeded, 20);
        }
        held.wait().unwrap();
        let first = &lines(&file)[..20];
        let of_a = first.iter().filter(|line| *line == "a").count();
        assert!((8..=12).contains(&of_a), "{first:?}");
    });
}

#[pool::test]
fn jobs_that_were_submitted_are_no_part_of_the_work() {
    isolated(|| {
        let pool = Pool::new(2).unwrap();
        let queue = JobQueue::new();
        let (started, gate) = (scratch("own-started"), scratch("own-gate"));
        let own = submit!(pool => jobs::hold, &started, &gate);
        let jobs = push_all(&queue, 0..10);
        // It does not wait for what is not its own.
        let report = block_on(pool.work(&queue));
        assert_eq!(report.succeeded, 10);
        all_echo(jobs);
        assert!(!own.is_finished());
        jobs::open(&gate);
        own.wait().unwrap();
    });
}

#[pool::test]
fn a_shutdown_ends_the_work_and_what_had_not_started_is_in_front_again() {
    isolated(|| {
        let pool = Pool::new(2).unwrap();
        let queue = JobQueue::new();
        let running = push_holds(&queue, 2);
        let rest = push_all(&queue, 0..10);
        let work = in_background(pool.work(&queue));
        wait_until("both run", || pids(&scratch("started")).len() == 2);
        pool.shutdown();
        let report = work.join().unwrap();
        assert_eq!((report.succeeded, report.failed, report.cancelled), (0, 0, 2));
        for job in running {
            assert!(job.wait().unwrap_err().is_pool_closed());
        }
        assert_eq!(queue.count(), 10);
        assert!(rest.iter().all(|job| job.status() == JobStatus::Queued));
        let last = block_on(queue.push(call!(jobs::echo, 10)));
        // In their order, under the same handles.
        let order: Vec<_> = std::iter::from_fn(|| block_on(queue.pop(Duration::ZERO))).collect();
        let ids: Vec<_> = rest.iter().map(JobHandle::id).chain([last.id()]).collect();
        assert_eq!(order.iter().map(pool::QueuedJob::id).collect::<Vec<_>>(), ids);
        let next = Pool::new(1).unwrap();
        order.into_iter().for_each(|job| job.submit(&next));
        all_echo(rest.into_iter().chain([last]).collect());
    });
}

#[pool::test]
fn what_was_handed_to_a_worker_that_never_came_up_goes_back_too() {
    isolated(|| {
        for _ in 0..20 {
            let pool = Pool::new(3).unwrap();
            let queue = JobQueue::new();
            let jobs = push_all(&queue, 0..10);
            let mut work = Box::pin(pool.work(&queue));
            let _ = nudge(work.as_mut());
            pool.shutdown();
            let report = block_on(work);
            let ended = report.succeeded + report.failed + report.cancelled;
            assert_eq!(ended as usize + queue.count(), 10);
            let next = Pool::new(1).unwrap();
            let rest = block_on(next.work(&queue));
            assert_eq!(ended + rest.succeeded, 10);
            for (n, job) in jobs.into_iter().enumerate() {
                match job.wait() {
                    Ok(number) => assert_eq!(number, n as u64),
                    Err(error) => {
                        assert!(error.is_pool_closed() && error.attempts() > 0, "{error}")
                    }
                }
            }
        }
    });
}

#[pool::test]
fn a_closed_pool_ends_its_work_when_the_running_jobs_have_ended_and_the_queue_keeps_the_rest() {
    isolated(|| {
        let pool = Pool::new(2).unwrap();
        let queue = JobQueue::new();
        let running = push_holds(&queue, 2);
        let rest = push_all(&queue, 0..10);
        let work = in_background(pool.work(&queue).linger(LONG));
        wait_until("both run", || pids(&scratch("started")).len() == 2);
        let close = pool.close();
        assert!(!work.is_finished());
        jobs::open(&scratch("gate"));
        assert_eq!(work.join().unwrap().succeeded, 2);
        assert_eq!(block_on(close).succeeded, 2);
        running.into_iter().for_each(|job| assert!(job.wait().is_ok()));
        assert_eq!(queue.count(), 10);
        assert_eq!(block_on(Pool::new(1).unwrap().work(&queue)).succeeded, 10);
        all_echo(rest);
    });
}

#[pool::test]
fn work_of_a_closed_pool_ends_at_once_and_leaves_the_queue_whole() {
    isolated(|| {
        let queue = JobQueue::new();
        let jobs = push_all(&queue, 0..3);
        let (closed, shut_down) = (Pool::new(1).unwrap(), Pool::new(1).unwrap());
        block_on(closed.close());
        block_on(shut_down.shutdown());
        for pool in [closed, shut_down] {
            let report = block_on(pool.work(&queue).linger(LONG));
            assert_eq!((report.succeeded, report.failed, report.cancelled), (0, 0, 0));
            assert_eq!(queue.count(), 3);
        }
        assert_eq!(block_on(Pool::new(1).unwrap().work(&queue)).succeeded, 3);
        all_echo(jobs);
    });
}

#[pool::test]
fn dropped_work_takes_no_more_and_leaves_the_running_jobs_alone() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let queue = JobQueue::new();
        let running = push_holds(&queue, 1);
        let rest = push_all(&queue, 0..5);
        let mut work = Box::pin(pool.work(&queue));
        assert!(!nudge(work.as_mut()));
        wait_until("it runs", || !pids(&scratch("started")).is_empty());
        drop(work);
        jobs::open(&scratch("gate"));
        running.into_iter().for_each(|job| assert!(job.wait().is_ok()));
        assert_eq!(submit!(pool => jobs::echo, 1).wait().unwrap(), 1);
        assert_eq!(queue.count(), 5);
        assert_eq!(block_on(pool.work(&queue)).succeeded, 5);
        all_echo(rest);
    });
}

#[pool::test]
fn work_that_was_never_polled_does_nothing() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let queue = JobQueue::new();
        let jobs = push_all(&queue, 0..2);
        drop(pool.work(&queue));
        assert_eq!(submit!(pool => jobs::echo, 1).wait().unwrap(), 1);
        assert_eq!(queue.count(), 2);
        drop(jobs);
    });
}

#[pool::test]
fn work_keeps_its_pool_alive() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let queue = JobQueue::new();
        let jobs = push_all(&queue, 0..10);
        let work = pool.work(&queue);
        drop(pool);
        assert_eq!(block_on(work).succeeded, 10);
        all_echo(jobs);
        assert!(proc::children(std::process::id()).is_empty());
    });
}

#[pool::test]
fn a_job_that_is_cancelled_in_the_queue_does_not_hold_up_the_work() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let queue = JobQueue::new();
        let held = push_holds(&queue, 1);
        let mut jobs = push_all(&queue, 0..3);
        let work = in_background(pool.work(&queue));
        wait_until("it runs", || !pids(&scratch("started")).is_empty());
        jobs.pop().unwrap().cancel();
        jobs::open(&scratch("gate"));
        let report = work.join().unwrap();
        assert_eq!((report.succeeded, report.cancelled), (3, 0));
        all_echo(jobs);
        drop(held);
        // Everything is cancelled while the work lingers on nothing else.
        let jobs = push_all(&queue, 0..3);
        let (started, gate) = (scratch("busy"), scratch("free"));
        let busy = submit!(pool => hold_for_long, &started, &gate);
        wait_until("the worker is busy", || !pids(&started).is_empty());
        let work = in_background(pool.work(&queue));
        jobs.iter().for_each(JobHandle::cancel);
        assert!(holds_within(Duration::from_secs(5), || work.is_finished()));
        assert_eq!(work.join().unwrap().cancelled, 0);
        jobs::open(&gate);
        busy.wait().unwrap();
    });
}

#[pool::test]
fn a_job_that_is_cancelled_while_it_runs_is_counted_by_the_work() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let queue = JobQueue::new();
        let job = block_on(queue.push(call!(jobs::spin, &scratch("started"))));
        let rest = push_all(&queue, 0..3);
        let work = in_background(pool.work(&queue));
        wait_until("it runs", || !pids(&scratch("started")).is_empty());
        job.cancel();
        let report = work.join().unwrap();
        assert_eq!((report.succeeded, report.failed, report.cancelled), (3, 0, 1));
        assert!(job.wait().unwrap_err().is_cancelled());
        all_echo(rest);
    });
}

#[pool::test]
fn a_task_may_push_to_the_queue_that_it_works_on() {
    isolated(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = { runtime }.worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let pool = Pool::new(2).unwrap();
            let queue = JobQueue::new();
            let of_task = queue.clone();
            // Each result brings the next job.
            let pushes = tokio::spawn(async move {
                let mut n = 0;
                while n < 50 {
                    n = of_task.push(call!(jobs::echo, n + 1)).await.await.unwrap();
                }
                of_task.close();
            });
            let report = pool.work(&queue).linger(LONG).await;
            pushes.await.unwrap();
            assert_eq!(report.succeeded, 50);
        });
    });
}

#[pool::test]
fn work_ends_when_somebody_else_takes_the_last_job() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let (started, gate) = (scratch("started"), scratch("gate"));
        let busy = submit!(pool => jobs::hold, &started, &gate);
        wait_until("it runs", || !pids(&started).is_empty());
        let queue = JobQueue::new();
        let last = block_on(queue.push(call!(jobs::echo, 7)));
        let work = in_background(pool.work(&queue));
        let taken = block_on(queue.pop(LONG)).unwrap();
        assert_eq!(work.join().unwrap().succeeded, 0);
        std::fs::write(&gate, "").unwrap();
        taken.submit(&pool);
        assert_eq!(last.wait().unwrap(), 7);
        busy.wait().unwrap();
    });
}

#[pool::test]
fn jobs_that_come_back_find_another_pool_and_take_no_room_twice() {
    isolated(|| {
        let (started, gate) = (scratch("started"), scratch("gate"));
        let queue = JobQueue::bounded(3);
        let (first, second) = (Pool::new(1).unwrap(), Pool::new(1).unwrap());
        let busy = submit!(first => jobs::hold, &started, &gate);
        wait_until("it runs", || !pids(&started).is_empty());
        let working = in_background(first.work(&queue));
        let other = in_background(second.work(&queue).linger(LONG));
        let echoes = push_all(&queue, 0..20);
        all_echo(echoes);
        drop(first.shutdown());
        assert!(busy.wait().unwrap_err().is_pool_closed());
        working.join().unwrap();
        all_echo(push_all(&queue, 0..20));
        queue.close();
        assert!(other.join().unwrap().succeeded >= 20);
    });
}

#[pool::test]
fn a_bounded_queue_keeps_its_bound_when_jobs_come_back() {
    isolated(|| {
        let queue = JobQueue::bounded(2);
        for _ in 0..3 {
            // Stopped workers take nothing: what they were given comes back at the shutdown.
            let pool = Pool::new(2).unwrap();
            block_on(pool.ready()).unwrap();
            let workers = proc::children(std::process::id());
            assert_eq!(workers.len(), 2);
            workers.iter().for_each(|&pid| jobs::send(pid, rustix::process::Signal::STOP));
            wait_until("both are stopped", || {
                workers.iter().all(|&pid| proc::state(pid) == Some('T'))
            });
            let jobs: Vec<_> = (0..2).map(|n| block_on(queue.push(call!(jobs::echo, n)))).collect();
            let mut work = Box::pin(pool.work(&queue));
            assert!(!nudge(work.as_mut()));
            wait_until("both were handed out", || queue.is_empty());
            // Others may have taken the room meanwhile.
            let late: Vec<_> = (2..4).map(|n| block_on(queue.push(call!(jobs::echo, n)))).collect();
            drop(pool.shutdown());
            block_on(work);
            assert_eq!(queue.count(), 4);
            assert!(!nudge(std::pin::pin!(queue.push(call!(jobs::echo, 9)))));
            assert_eq!(queue.clear(), 4);
            assert!(jobs.into_iter().chain(late).all(|job| job.wait().unwrap_err().is_cancelled()));
            // Two again, and no third.
            let full = push_all(&queue, 0..2);
            assert!(!nudge(std::pin::pin!(queue.push(call!(jobs::echo, 9)))));
            queue.clear();
            drop(full);
        }
    });
}

#[pool::test]
fn a_linger_without_end_ends_with_the_queue() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let queue = JobQueue::new();
        let job = block_on(queue.push(call!(jobs::echo, 1)));
        let work = in_background(pool.work(&queue).linger(Duration::MAX));
        assert_eq!(job.wait().unwrap(), 1);
        queue.close();
        assert_eq!(work.join().unwrap().succeeded, 1);
    });
}

#[pool::test]
fn a_cancel_meets_its_job_wherever_it_is_on_the_way() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let (started, gate) = (scratch("started"), scratch("gate"));
        // The pool's first job: whoever mistakes a job that is nowhere for another one hits it.
        let first = submit!(pool => jobs::hold, &started, &gate);
        wait_until("it runs", || !pids(&started).is_empty());
        let queue = JobQueue::new();
        for round in 0..200 {
            let job = block_on(queue.push(call!(jobs::echo, round)));
            let canceller = job.canceller();
            let taken = block_on(queue.pop(LONG)).unwrap();
            let cancels = thread::spawn(move || canceller.cancel());
            taken.submit(&pool);
            cancels.join().unwrap();
            assert!(job.wait().unwrap_err().is_cancelled());
        }
        std::fs::write(&gate, "").unwrap();
        first.wait().unwrap();
    });
}
