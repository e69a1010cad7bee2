//! Many no-ops in flight: hand all of them over, then wait for all of them, a handle each.

use std::time::Instant;

use pool::{Pool, call};
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use crate::contest::{self, Contestant};
use crate::nothing;

/// No-ops in flight in one measurement.
const JOBS: usize = 20_000;

pub(crate) fn run(rounds: usize, workers: usize) {
    let pool = Pool::new(workers).expect("a pool of this program can be built");
    pool::block_on(pool.ready()).expect("its workers start");
    let threads =
        Builder::new_multi_thread().worker_threads(workers).max_blocking_threads(workers).build();
    let threads = threads.expect("a tokio runtime can be built");

    let mut contestants = vec![
        Contestant::new("pool: submit all, await all", || {
            rate(|| {
                let handles: Vec<_> = (0..JOBS).map(|_| pool.submit(call!(nothing))).collect();
                threads.block_on(async {
                    for handle in handles {
                        handle.await.expect("a no-op succeeds");
                    }
                });
            })
        }),
        Contestant::new("tokio spawn_blocking", || {
            rate(|| {
                threads.block_on(async {
                    let spawn = |_| tokio::task::spawn_blocking(nothing);
                    let handles: Vec<_> = (0..JOBS).map(spawn).collect();
                    for handle in handles {
                        handle.await.expect("a no-op succeeds");
                    }
                });
            })
        }),
        Contestant::new("rayon spawn and a oneshot", || {
            rate(|| {
                let spawn = |_| {
                    let (done, wait) = oneshot::channel();
                    rayon::spawn(move || {
                        nothing();
                        // The receiver waits for it.
                        let _ = done.send(());
                    });
                    wait
                };
                let handles: Vec<_> = (0..JOBS).map(spawn).collect();
                threads.block_on(async {
                    for handle in handles {
                        handle.await.expect("a no-op succeeds");
                    }
                });
            })
        }),
    ];
    contest::run(rounds, &mut contestants);
    contest::print("many no-ops in flight", "thousand a second", "pool ÷ this", &contestants);
}

/// Thousand jobs a second.
fn rate(all: impl FnOnce()) -> f64 {
    let start = Instant::now();
    all();
    JOBS as f64 / start.elapsed().as_secs_f64() / 1000.0
}
