//! Everybody's hands: pools and threads as each peer has them, and how each runs many jobs.

use std::collections::VecDeque;

use pool::{Call, Job, JobHandle, Pool, call};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use crate::jobs::busy;

/// Jobs that procspawn may have in flight: it holds several descriptors for each.
const PROCSPAWN_IN_FLIGHT: usize = 100;

/// A pool whose workers are ready.
pub(crate) fn pool(workers: usize) -> Pool {
    pool_that(workers, true)
}

pub(crate) fn pool_that(workers: usize, spins: bool) -> Pool {
    let pool = Pool::builder().workers(workers).spin(spins).queue_capacity(2_000_000).build();
    let pool = pool.expect("a pool of this program can be built");
    pool::block_on(pool.ready()).expect("its workers start");
    pool
}

pub(crate) fn tokio(workers: usize) -> Runtime {
    let builder = &mut Builder::new_multi_thread();
    let threads = builder.worker_threads(workers).max_blocking_threads(workers).build();
    threads.expect("a tokio runtime can be built")
}

pub(crate) fn rayon(workers: usize) -> rayon::ThreadPool {
    let builder = rayon::ThreadPoolBuilder::new().num_threads(workers);
    builder.build().expect("a rayon pool can be built")
}

pub(crate) fn procspawn(workers: usize) -> procspawn::Pool {
    procspawn::Pool::new(workers).expect("a procspawn pool can be built")
}

/// The pool: all are handed over, then awaited, a handle each.
pub(crate) fn all_in_pool<J: Job>(pool: &Pool, calls: impl Iterator<Item = Call<J>>) {
    let handles: Vec<_> = calls.map(|call| pool.submit(call)).collect();
    pool::block_on(async {
        for handle in handles {
            handle.await.expect("the job succeeds");
        }
    });
}

/// The same with so many in flight: whenever the oldest has ended, the next is handed over.
pub(crate) fn few_in_pool<J: Job>(
    pool: &Pool,
    in_flight: usize,
    calls: impl Iterator<Item = Call<J>>,
) {
    pool::block_on(async {
        let mut handles = VecDeque::new();
        for call in calls {
            if handles.len() == in_flight {
                oldest(&mut handles).await;
            }
            handles.push_back(pool.submit(call));
        }
        while !handles.is_empty() {
            oldest(&mut handles).await;
        }
    });
}

async fn oldest<T>(handles: &mut VecDeque<JobHandle<T>>) {
    if let Some(handle) = handles.pop_front() {
        handle.await.expect("the job succeeds");
    }
}

pub(crate) fn all_blocking(threads: &Runtime, jobs: impl Iterator<Item = u64>, job: fn(u64)) {
    threads.block_on(async {
        let spawn = |nanos| tokio::task::spawn_blocking(move || job(nanos));
        let handles: Vec<_> = jobs.map(spawn).collect();
        for handle in handles {
            handle.await.expect("the job succeeds");
        }
    });
}

/// Rayon's `spawn`, with a handle each: a oneshot.
pub(crate) fn all_in_rayon(
    threads: &rayon::ThreadPool,
    jobs: impl Iterator<Item = u64>,
    job: fn(u64),
) {
    let spawn = |nanos| {
        let (done, wait) = oneshot::channel();
        threads.spawn(move || {
            job(nanos);
            // The receiver waits for it.
            let _ = done.send(());
        });
        wait
    };
    let handles: Vec<_> = jobs.map(spawn).collect();
    pool::block_on(async {
        for handle in handles {
            handle.await.expect("the job succeeds");
        }
    });
}

pub(crate) fn all_in_procspawn(processes: &procspawn::Pool, jobs: &[u64], job: fn(u64)) {
    for some in jobs.chunks(PROCSPAWN_IN_FLIGHT) {
        let handles: Vec<_> = some.iter().map(|nanos| processes.spawn(*nanos, job)).collect();
        for handle in handles {
            handle.join().expect("the job succeeds");
        }
    }
}

/// Calls of [`busy`] of these lengths.
pub(crate) fn calls(lengths: &[u64]) -> impl Iterator<Item = Call<busy>> {
    lengths.iter().map(|nanos| call!(busy, *nanos))
}
