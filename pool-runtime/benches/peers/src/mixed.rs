//! Jobs of one function that differ much in length.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::contest::{self, Contestant, Goal};
use crate::jobs::busy;
use crate::{Bench, hands};

/// 99 jobs of 5 µs to one of 5 ms, thirty times over.
const JOBS: u64 = 3000;
const SHORT: u64 = 5_000;
const LONG: u64 = 5_000_000;
/// The neighbours, and the long one in their middle.
const NEIGHBOURS: usize = 399;
const LONGEST: u64 = 300_000_000;

/// Beside the ideal that arithmetic knows, and beside the one that this machine reaches at this
/// hour: threads that take one after the other, and hand nothing back.
pub(crate) fn makespan(bench: &mut Bench) {
    let workers = bench.workers;
    let pool = hands::pool(workers);
    let tokio = hands::tokio(workers);
    let rayon = hands::rayon(workers);
    // The long ones are not evenly spread.
    let is_long = |n: u64| (n * 37 + n / 100 * 11).is_multiple_of(100);
    let lengths: Vec<u64> = (0..JOBS).map(|n| if is_long(n) { LONG } else { SHORT }).collect();
    let ideal = lengths.iter().sum::<u64>() as f64 / 1e9 / workers as f64;
    let measure = |all: &dyn Fn()| {
        let start = Instant::now();
        all();
        start.elapsed().as_secs_f64() / ideal
    };
    let jobs = || lengths.iter().copied();
    let mut contestants = vec![
        Contestant::new("pool", || measure(&|| hands::all_in_pool(&pool, hands::calls(&lengths))))
            .goal(Goal::AtMost(1.1)),
        Contestant::new("threads that take the next", || {
            measure(&|| {
                let next = AtomicUsize::new(0);
                let take = || lengths.get(next.fetch_add(1, Ordering::Relaxed));
                thread::scope(|scope| {
                    for _ in 0..workers {
                        scope.spawn(|| {
                            while let Some(length) = take() {
                                busy(*length)
                            }
                        });
                    }
                });
            })
        })
        .goal(Goal::AtMost(1.1)),
        Contestant::new("tokio spawn_blocking", || {
            measure(&|| hands::all_blocking(&tokio, jobs(), busy))
        }),
        Contestant::new("rayon spawn and a oneshot", || {
            measure(&|| hands::all_in_rayon(&rayon, jobs(), busy))
        }),
    ];
    contest::run(1, bench.rounds, &mut contestants);
    bench.report.take("99 % of jobs 5 µs, 1 % 5 ms", "makespan ÷ ideal", &contestants);
}

pub(crate) fn neighbours(bench: &mut Bench) {
    let pool = hands::pool(bench.workers);
    let tokio = hands::tokio(bench.workers);
    let mut contestants = vec![
        Contestant::new("pool", || {
            // What the function is known for until then.
            hands::all_in_pool(&pool, hands::calls(&[1000; 1000]));
            let start = Instant::now();
            let mut handles: Vec<_> =
                hands::calls(&lengths()).map(|call| pool.submit(call)).collect();
            let long = handles.remove(NEIGHBOURS / 2);
            for handle in handles {
                handle.wait().expect("the job succeeds");
            }
            let took = millis(start.elapsed());
            long.wait().expect("the job succeeds");
            took
        })
        .goal(Goal::AtMost(10.0)),
        Contestant::new("tokio spawn_blocking", || {
            tokio.block_on(async {
                let start = Instant::now();
                let spawn = |nanos| tokio::task::spawn_blocking(move || busy(nanos));
                let mut handles: Vec<_> = lengths().into_iter().map(spawn).collect();
                let long = handles.remove(NEIGHBOURS / 2);
                for handle in handles {
                    handle.await.expect("the job succeeds");
                }
                let took = millis(start.elapsed());
                long.await.expect("the job succeeds");
                took
            })
        }),
    ];
    contest::run(1, bench.rounds, &mut contestants);
    bench.report.take(
        "400 jobs of 1 µs, one of them 300 ms",
        "ms until the last neighbour's answer",
        &contestants,
    );
}

/// Short ones, and one long in their middle.
fn lengths() -> Vec<u64> {
    let mut lengths = vec![1000; NEIGHBOURS + 1];
    lengths[NEIGHBOURS / 2] = LONGEST;
    lengths
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
