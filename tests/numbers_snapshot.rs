//! `Pool::snapshot`: what is running right now, and what has waited longest.

use std::pin::Pin;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use futures_core::Stream as _;
use pool::{
    Call, EventStream, JobHandle, JobStatus, Pool, PoolEvent, Priority, RetryPolicy, call,
    pool_job, submit,
};
use pool_tests::jobs::{self, Death};
use pool_tests::{isolated, pids, scratch, wait_until};

/// Its first attempt dies, the second waits for the gate.
#[pool_job]
fn die_then_hold(ctx: &pool::JobContext, started: &std::path::Path, gate: &std::path::Path) {
    if ctx.attempt() == 1 {
        jobs::die(Death::Exit(1));
    }
    jobs::hold(started, gate);
}

#[pool::test]
fn a_running_job_is_told_with_all_that_is_known_of_it() {
    isolated(|| {
        let pool = Pool::new(2).unwrap();
        let snapshot = pool.snapshot();
        assert_eq!(snapshot, pool::Snapshot::default());
        let (started, gate) = (scratch("started"), scratch("gate"));
        let first = pool.submit(call!(jobs::hold, &started, &gate).label("a.pdf"));
        let name = first.name().to_owned();
        wait_until("it runs", || !pids(&started).is_empty());
        // Called by name: what is told is the name in the table.
        let other = scratch("other");
        let named = Call::named::<u32>(&name, (&other, &gate));
        let second = pool.submit(named);
        wait_until("it runs, too", || !pids(&other).is_empty());
        let table: Vec<&'static str> = pool::registered_jobs().map(|entry| entry.name()).collect();
        let running = pool.snapshot().running;
        assert_eq!(running.len(), 2);
        assert!(running[0].slot < running[1].slot);
        for job in &running {
            assert!(table.iter().any(|known| std::ptr::eq(*known, job.name)), "{}", job.name);
            assert_eq!(job.name, name);
            let is_first = job.id == first.id();
            assert!(is_first || job.id == second.id());
            assert_eq!(job.label.as_deref(), is_first.then_some("a.pdf"));
            let file = if is_first { &started } else { &other };
            assert_eq!(job.pid, Some(pids(file)[0]));
            assert_eq!(job.attempt, 1);
            assert!(job.rss.is_some_and(|rss| rss > 0));
            assert_eq!(job.progress, None);
            let worker = &pool.stats().workers[job.slot];
            assert_eq!((worker.job, worker.pid), (Some(job.id), job.pid));
        }
        assert_eq!(pool.snapshot().oldest_queued, None);
        let before = pool.snapshot().running[0].age;
        thread::sleep(Duration::from_millis(2));
        assert!(pool.snapshot().running[0].age > before);
        jobs::open(&gate);
        first.wait().unwrap();
        second.wait().unwrap();
        assert!(pool.snapshot().running.is_empty());
    });
}

#[pool::test]
fn age_and_attempt_are_those_of_this_attempt() {
    isolated(|| {
        let retry = RetryPolicy::attempts(2).backoff(
            Duration::from_millis(100),
            1.0,
            Duration::from_millis(100),
        );
        let pool = Pool::builder().workers(1).retry(retry).build().unwrap();
        let (started, gate) = (scratch("started"), scratch("gate"));
        let begin = Instant::now();
        let job = submit!(pool => die_then_hold, &started, &gate);
        wait_until("its second attempt runs", || !pids(&started).is_empty());
        let running = pool.snapshot().running.remove(0);
        assert_eq!((running.id, running.attempt), (job.id(), 2));
        // The back-off is not a part of it.
        assert!(running.age + Duration::from_millis(100) <= begin.elapsed(), "{running:?}");
        jobs::open(&gate);
        job.wait().unwrap();
    });
}

#[pool::test]
fn the_oldest_of_all_priorities_has_waited_longest() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let (started, gate) = (scratch("started"), scratch("gate"));
        let held = submit!(pool => jobs::hold, &started, &gate);
        wait_until("it runs", || !pids(&started).is_empty());
        assert_eq!(pool.snapshot().oldest_queued, None);
        let begin = Instant::now();
        let low = pool.submit(call!(jobs::echo, 1).priority(Priority::Low));
        let age = || pool.snapshot().oldest_queued.unwrap_or_default();
        wait_until("it has waited", || age() >= Duration::from_millis(50));
        let high = pool.submit(call!(jobs::echo, 2).priority(Priority::High));
        assert!(age() >= Duration::from_millis(50));
        low.cancel();
        wait_until("it has left", || low.is_finished());
        // The other came so much later.
        assert!(age() + Duration::from_millis(50) <= begin.elapsed());
        high.cancel();
        wait_until("it has left", || high.is_finished());
        assert_eq!(pool.snapshot().oldest_queued, None);
        jobs::open(&gate);
        held.wait().unwrap();
    });
}

#[pool::test]
fn a_pool_that_was_shut_down_does_nothing() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let file = scratch("started");
        let job = submit!(pool => jobs::spin, &file);
        let waiting = submit!(pool => jobs::echo, 1);
        wait_until("it runs", || !pids(&file).is_empty());
        assert_eq!(pool.snapshot().running.len(), 1);
        pool::block_on(pool.shutdown());
        assert_eq!(pool.snapshot(), pool::Snapshot::default());
        assert!(job.wait().is_err() && waiting.wait().is_err());
    });
}

/// Holds up whoever tells it of a new worker: the driver.
struct HoldsUp {
    events: Mutex<EventStream>,
    told: Sender<()>,
    until: Mutex<Receiver<()>>,
}

impl HoldsUp {
    fn new(events: EventStream) -> (Arc<HoldsUp>, Receiver<()>, Sender<()>) {
        let ((told, hears), (goes_on, until)) = (mpsc::channel(), mpsc::channel());
        let (events, until) = (Mutex::new(events), Mutex::new(until));
        (Arc::new(HoldsUp { events, told, until }), hears, goes_on)
    }
}

impl Wake for HoldsUp {
    fn wake(self: Arc<HoldsUp>) {
        let waker = Waker::from(self.clone());
        let mut events = self.events.lock().unwrap();
        let mut next = || Pin::new(&mut *events).poll_next(&mut Context::from_waker(&waker));
        while let Poll::Ready(Some(event)) = next() {
            if matches!(event, PoolEvent::WorkerStarted { .. }) {
                self.told.send(()).unwrap();
                let _ = self.until.lock().unwrap().recv();
                return;
            }
        }
    }
}

/// Looks at a pool whose driver stands still, while its worker has begun a job and nobody has read
/// that it is up.
fn look_while_a_greeting_lies_unread(look: impl FnOnce(&Pool, &JobHandle<u32>)) {
    let pool = Pool::new(1).unwrap();
    let (first, second, gate) = (scratch("first"), scratch("second"), scratch("gate"));
    let dies = submit!(pool => jobs::hold, &first, &gate);
    let runs = submit!(pool => jobs::hold, &second, &gate);
    wait_until("it runs", || !pids(&first).is_empty());
    let (holds_up, hears, goes_on) = HoldsUp::new(pool.events());
    holds_up.wake();
    jobs::send(pids(&first)[0], rustix::process::Signal::KILL);
    hears.recv().unwrap();
    // The driver stands still, and the next worker has got its job already.
    wait_until("it runs, too", || !pids(&second).is_empty());
    look(&pool, &runs);
    drop(goes_on);
    assert!(dies.wait().is_err());
    jobs::open(&gate);
    runs.wait().unwrap();
}

#[pool::test]
fn a_job_runs_though_its_workers_greeting_lies_unread() {
    isolated(|| {
        look_while_a_greeting_lies_unread(|pool, runs| {
            let snapshot = pool.snapshot();
            let running: Vec<_> = snapshot.running.iter().map(|job| job.id).collect();
            assert_eq!((running, snapshot.oldest_queued), (vec![runs.id()], None));
            let stats = pool.stats();
            assert_eq!((stats.running, stats.queued), (1, 0));
        });
    });
}

#[pool::test]
fn the_handle_of_such_a_job_says_that_it_runs() {
    isolated(|| {
        look_while_a_greeting_lies_unread(|_, runs| {
            assert_eq!(runs.status(), JobStatus::Running);
        });
    });
}
