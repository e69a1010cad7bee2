//! Tasks of a service, each of which awaits one short job after the other: a few are in flight at any
//! time, and none is waited for by a thread of its own.

use std::future::Future;
use std::sync::Arc;

use pool::call;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::{JoinSet, spawn_blocking};

use crate::contest::{self, Contestant};
use crate::in_flight::rate;
use crate::jobs::nothing;
use crate::{Bench, hands};

const JOBS: usize = 8000;
/// For each worker.
const TASKS: usize = 16;

pub(crate) fn run(bench: &mut Bench) {
    let tasks = TASKS * bench.workers;
    let pool = hands::pool(bench.workers);
    let tokio = hands::tokio(bench.workers);
    let rayon = Arc::new(hands::rayon(bench.workers));
    let in_pool = move || {
        let handle = pool.submit(call!(nothing));
        async { handle.await.expect("the job succeeds") }
    };
    let blocking = || async { spawn_blocking(nothing).await.expect("the job succeeds") };
    let in_rayon = move || {
        let (done, wait) = oneshot::channel();
        rayon.spawn(|| {
            nothing();
            // The receiver waits for it.
            let _ = done.send(());
        });
        async { wait.await.expect("the job succeeds") }
    };
    let mut contestants = vec![
        Contestant::new("pool", || rate(JOBS, || all(&tokio, tasks, &in_pool))),
        Contestant::new("tokio spawn_blocking", || rate(JOBS, || all(&tokio, tasks, &blocking))),
        Contestant::new("rayon spawn and a oneshot", || {
            rate(JOBS, || all(&tokio, tasks, &in_rayon))
        }),
    ];
    contest::run(1, bench.rounds, &mut contestants);
    let work = format!("no-ops of {TASKS} tasks a worker");
    bench.report.take(&work, "thousand a second", &contestants);
}

/// Each task has one job in flight, again and again.
fn all<J, F>(threads: &Runtime, tasks: usize, job: &J)
where
    J: Fn() -> F + Clone + Send + 'static,
    F: Future<Output = ()> + Send,
{
    threads.block_on(async {
        let mut running = JoinSet::new();
        for _ in 0..tasks {
            let job = job.clone();
            running.spawn(async move {
                for _ in 0..JOBS / tasks {
                    job().await;
                }
            });
        }
        running.join_all().await;
    });
}
