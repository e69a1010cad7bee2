//! One no-op at a time: hand it over, wait for it, the next one.

use std::sync::mpsc;
use std::time::Instant;

use pool::{Pool, call};
use tokio::runtime::Builder;

use crate::contest::{self, Contestant, median};
use crate::nothing;

/// Round trips in one measurement.
const TRIPS: usize = 2000;

pub(crate) fn run(rounds: usize, workers: usize) {
    let pool = Pool::new(workers).expect("a pool of this program can be built");
    pool::block_on(pool.ready()).expect("its workers start");
    let threads = Builder::new_multi_thread().worker_threads(workers).build();
    let threads = threads.expect("a tokio runtime can be built");

    // Declared first: the contestants borrow it.
    #[cfg(unix)]
    let mut echo = crate::ping_pong::Echo::start();
    let mut contestants = vec![
        Contestant::new("pool: submit and wait", || {
            trips(|| pool.submit(call!(nothing)).wait().expect("a no-op succeeds"))
        }),
        Contestant::new("tokio spawn_blocking", || {
            threads.block_on(async {
                let mut times = Vec::with_capacity(TRIPS);
                for _ in 0..TRIPS {
                    let start = Instant::now();
                    tokio::task::spawn_blocking(nothing).await.expect("a no-op succeeds");
                    times.push(micros(start));
                }
                median(times)
            })
        }),
        Contestant::new("rayon spawn and a channel", || {
            trips(|| {
                let (done, wait) = mpsc::sync_channel(1);
                rayon::spawn(move || {
                    nothing();
                    // The receiver waits for it.
                    let _ = done.send(());
                });
                wait.recv().expect("a no-op succeeds");
            })
        }),
    ];
    #[cfg(unix)]
    contestants
        .push(Contestant::new("bare ping-pong of two processes", || trips(|| echo.round_trip())));

    contest::run(rounds, &mut contestants);
    let ratios = contest::print("one no-op at a time", "p50, µs", "pool ÷ this", &contestants);
    if cfg!(unix) {
        let ratio = ratios.last().copied().unwrap_or(f64::NAN);
        let verdict = if ratio <= 3.0 { "met" } else { "missed" };
        println!("\nthe bar: ≤ 3 × the bare ping-pong: {verdict} ({ratio:.2} ×)\n");
    }
}

/// The median of many, in microseconds.
fn trips(mut trip: impl FnMut()) -> f64 {
    let mut times = Vec::with_capacity(TRIPS);
    for _ in 0..TRIPS {
        let start = Instant::now();
        trip();
        times.push(micros(start));
    }
    median(times)
}

fn micros(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e6
}
