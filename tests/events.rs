//! What a pool tells those who watch it: every job and every worker, in order, nothing twice.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use futures_lite::StreamExt as _;
use pool::{
    EventStream, JobErrorKind, JobId, JobQueue, Pool, PoolEvent, RetryPolicy, WorkerExit, block_on,
    call, submit,
};
use pool_tests::jobs::{self, Death};
use pool_tests::{isolated, lines, scratch, wait_until};

/// All that is left of a stream whose pool ends.
fn rest(mut events: EventStream) -> Vec<PoolEvent> {
    let mut all = Vec::new();
    block_on(async {
        while let Some(event) = events.next().await {
            all.push(event);
        }
        assert_eq!(events.next().await, None, "an end is an end");
    });
    assert_eq!(events.dropped(), 0);
    all
}

/// What happened to one job, without the slots.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Queued(&'static str),
    Started(u32),
    Ended(Result<(), JobErrorKind>),
}

fn steps(events: &[PoolEvent]) -> HashMap<JobId, Vec<Step>> {
    let mut jobs: HashMap<JobId, Vec<Step>> = HashMap::new();
    for event in events {
        let (id, step) = match event {
            PoolEvent::JobQueued { id, name } => (id, Step::Queued(name)),
            PoolEvent::JobStarted { id, attempt, .. } => (id, Step::Started(*attempt)),
            PoolEvent::JobEnded { id, outcome } => (id, Step::Ended(outcome.clone())),
            _ => continue,
        };
        jobs.entry(*id).or_default().push(step);
    }
    jobs
}

#[pool::test]
fn every_job_gives_its_three_events_in_order() {
    isolated(|| {
        let pool = Pool::new(2).unwrap();
        let events = pool.events();
        let handles: Vec<_> = (0..200).map(|n| submit!(pool => jobs::echo, n)).collect();
        let ids: Vec<_> = handles.iter().map(|handle| handle.id()).collect();
        handles.into_iter().for_each(|handle| assert!(handle.wait().is_ok()));
        block_on(pool.close());
        let events = rest(events);
        let steps = steps(&events);
        assert_eq!(steps.len(), 200);
        for id in &ids {
            let expected =
                [Step::Queued("pool_tests::jobs::echo"), Step::Started(1), Step::Ended(Ok(()))];
            assert_eq!(steps[id], expected);
        }
        let queued = events.iter().filter_map(|event| match event {
            PoolEvent::JobQueued { id, .. } => Some(*id),
            _ => None,
        });
        assert_eq!(queued.collect::<Vec<_>>(), ids, "in the order in which they came");
        // One at a time in each worker.
        let mut running: HashMap<usize, JobId> = HashMap::new();
        for event in events {
            match event {
                PoolEvent::JobStarted { id, slot, .. } => {
                    assert!(slot < 2 && running.insert(slot, id).is_none());
                }
                PoolEvent::JobEnded { id, .. } => running.retain(|_, other| *other != id),
                _ => {}
            }
        }
    });
}

#[pool::test]
fn each_attempt_is_told_and_the_outcome_once() {
    isolated(|| {
        let pool = Pool::builder().workers(1).retry(RetryPolicy::attempts(3)).build().unwrap();
        let events = pool.events();
        let third = submit!(pool => jobs::die_before, 3, Death::Exit(4));
        let never = submit!(pool => jobs::die, Death::Exit(5));
        let panics = submit!(pool => jobs::die, Death::Panic);
        let (third_id, never_id, panics_id) = (third.id(), never.id(), panics.id());
        assert_eq!(third.wait().unwrap(), 3);
        assert!(never.wait().is_err() && panics.wait().is_err());
        block_on(pool.close());
        let events = rest(events);
        let steps = steps(&events);
        let started: Vec<_> = (1..=3).map(Step::Started).collect();
        assert_eq!(steps[&third_id][1..4], started);
        assert_eq!(steps[&third_id][4..], [Step::Ended(Ok(()))]);
        let crash = JobErrorKind::Crashed(WorkerExit::Code(5));
        assert_eq!(steps[&never_id][1..4], started);
        assert_eq!(steps[&never_id][4..], [Step::Ended(Err(crash))]);
        assert_eq!(steps[&panics_id].len(), 3);
        assert!(matches!(&steps[&panics_id][2], Step::Ended(Err(JobErrorKind::Panicked(info)))
            if info.message() == "this was asked for"));
    });
}

#[pool::test]
fn every_worker_is_told_from_its_start_to_its_end() {
    isolated(|| {
        let pool = Pool::new(2).unwrap();
        let events = pool.events();
        block_on(pool.ready()).unwrap();
        assert!(submit!(pool => jobs::die, Death::Exit(7)).wait().is_err());
        let pid = submit!(pool => jobs::pid).wait().unwrap();
        block_on(pool.shutdown());
        let events = rest(events);
        // 0: unknown, 1: started, 2: ready, 3: exited.
        let mut lives: BTreeMap<u32, (usize, u32, Option<WorkerExit>)> = BTreeMap::new();
        for event in events {
            match event {
                // The first two may have been started before anybody watched.
                PoolEvent::WorkerStarted { slot, pid } => {
                    assert_eq!(lives.insert(pid, (slot, 1, None)), None);
                }
                PoolEvent::WorkerReady { slot, pid } => {
                    let life = lives.entry(pid).or_insert((slot, 1, None));
                    assert_eq!(*life, (slot, 1, None));
                    life.1 = 2;
                }
                PoolEvent::WorkerExited { slot, pid, exit } => {
                    let life = lives.entry(pid).or_insert((slot, 2, None));
                    assert!(life.0 == slot && life.2.is_none());
                    life.2 = Some(exit);
                }
                PoolEvent::JobStarted { slot, .. } => assert!(slot < 2),
                _ => {}
            }
        }
        assert!(lives.len() == 3, "{lives:?}");
        assert!(lives.values().all(|life| life.2.is_some()), "{lives:?}");
        assert_eq!(lives[&pid].2, Some(WorkerExit::Signal(9)));
        let crashed = lives.values().filter(|life| life.2 == Some(WorkerExit::Code(7)));
        assert_eq!(crashed.count(), 1);
    });
}

#[pool::test]
fn a_job_that_never_ran_has_no_start_and_a_refused_one_no_event() {
    isolated(|| {
        let (started, gate) = (scratch("started"), scratch("gate"));
        let pool = Pool::builder().workers(1).queue_capacity(2).build().unwrap();
        let events = pool.events();
        let runs = submit!(pool => jobs::hold, &started, &gate);
        wait_until("it runs", || lines(&started).len() == 1);
        let waits = submit!(pool => jobs::echo, 1);
        let cancelled = submit!(pool => jobs::echo, 2);
        let refused = submit!(pool => jobs::echo, 3);
        let unknown = pool.submit(pool::Call::named::<u64>("nobody::knows", (1,)));
        let ids = [&waits, &cancelled, &refused].map(|handle| handle.id());
        let unknown_id = unknown.id();
        assert!(refused.wait().is_err() && unknown.wait().is_err());
        cancelled.cancel();
        assert!(cancelled.wait().unwrap_err().is_cancelled());
        pool.shutdown();
        assert!(runs.wait().is_err() && waits.wait().unwrap_err().is_pool_closed());
        let steps = steps(&rest(events));
        let closed = Step::Ended(Err(JobErrorKind::PoolClosed));
        assert_eq!(steps[&ids[0]][1..], [closed]);
        assert_eq!(steps[&ids[1]][1..], [Step::Ended(Err(JobErrorKind::Cancelled))]);
        assert!(!steps.contains_key(&ids[2]) && !steps.contains_key(&unknown_id));
    });
}

#[pool::test]
fn a_job_of_a_queue_is_told_by_the_pool_that_takes_it() {
    isolated(|| {
        let (started, gate) = (scratch("started"), scratch("gate"));
        let queue = JobQueue::new();
        let first = block_on(queue.push(call!(jobs::hold, &started, &gate)));
        let second = block_on(queue.push(call!(jobs::echo, 2)));
        let (first_id, second_id) = (first.id(), second.id());
        let pool = Pool::new(1).unwrap();
        let events = pool.events();
        std::thread::scope(|scope| {
            scope.spawn(|| block_on(pool.work(&queue)));
            wait_until("it runs", || lines(&started).len() == 1);
            pool.shutdown();
        });
        assert!(first.wait().unwrap_err().is_pool_closed());
        let told = steps(&rest(events));
        let closed = Step::Ended(Err(JobErrorKind::PoolClosed));
        assert_eq!(told[&first_id][1..], [Step::Started(1), closed]);
        assert!(told.get(&second_id).is_none_or(|steps| steps.len() == 1), "{told:?}");

        let pool = Pool::new(1).unwrap();
        let events = pool.events();
        assert_eq!(block_on(pool.work(&queue)).succeeded, 1);
        assert_eq!(second.wait().unwrap(), 2);
        block_on(pool.shutdown());
        let told = steps(&rest(events));
        assert_eq!(told[&second_id][1..], [Step::Started(1), Step::Ended(Ok(()))]);
        assert!(!told.contains_key(&first_id));
    });
}

#[pool::test]
fn what_is_not_read_in_time_is_dropped_and_counted() {
    isolated(|| {
        let pool = Pool::new(2).unwrap();
        block_on(pool.ready()).unwrap();
        let mut lazy = pool.events();
        let unread = pool.events();
        for _ in 0..4 {
            let handles: Vec<_> = (0..500).map(|n| submit!(pool => jobs::echo, n)).collect();
            handles.into_iter().for_each(|handle| assert!(handle.wait().is_ok()));
        }
        block_on(pool.close());
        let mut read = 0;
        let mut last = None;
        while let Some(event) = block_on(lazy.next()) {
            read += 1;
            last = Some(event);
        }
        // Three for each job, and two workers went away.
        assert_eq!(read + lazy.dropped(), 3 * 2000 + 2);
        assert!(lazy.dropped() > 0 && unread.dropped() == lazy.dropped());
        assert!(matches!(last, Some(PoolEvent::WorkerExited { .. })), "{last:?}");
    });
}

#[pool::test]
fn watching_does_not_keep_a_pool_alive() {
    isolated(|| {
        let (started, gate) = (scratch("started"), scratch("gate"));
        let pool = Pool::new(1).unwrap();
        let mut events = pool.events();
        drop(pool.events());
        let job = submit!(pool => jobs::hold, &started, &gate);
        wait_until("it runs", || lines(&started).len() == 1);
        drop(pool);
        assert!(job.wait().unwrap_err().is_pool_closed());
        let mut exit = None;
        while let Some(event) = block_on(events.next()) {
            if let PoolEvent::WorkerExited { exit: how, .. } = event {
                exit = Some(how);
            }
        }
        assert_eq!(exit, Some(WorkerExit::Signal(9)));
    });
}

#[pool::test]
fn of_a_pool_that_has_ended_nothing_is_told() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        block_on(pool.shutdown());
        assert_eq!(rest(pool.events()), []);
    });
}

#[pool::test]
fn a_watcher_sleeps_until_something_happens() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        block_on(pool.ready()).unwrap();
        // As a stream, whatever combinators are used.
        let ended = pool.events().filter_map(|event| match event {
            PoolEvent::JobEnded { outcome, .. } => Some(outcome),
            _ => None,
        });
        let watcher = std::thread::spawn(|| block_on(ended.take(2).collect::<Vec<_>>()));
        assert!(submit!(pool => jobs::echo, 1).wait().is_ok());
        std::thread::sleep(Duration::from_millis(20));
        assert!(!watcher.is_finished());
        assert!(submit!(pool => jobs::die, Death::Panic).wait().is_err());
        let outcomes = watcher.join().unwrap();
        assert!(outcomes[0].is_ok() && outcomes[1].is_err());
    });
}
