//! From nothing to the first result, and the end of workers that spin.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use pool::{JobStatus, Pool, call};

use crate::contest::{self, Contestant, Goal, median};
use crate::jobs::{nothing, nothing_of, spin, spin_and_say};
use crate::{Bench, bare, hands};

/// Measurements in a round; their median counts.
const STARTS: usize = 10;
const STOPS: usize = 3;
/// How long workers spin before they are ended.
const SPIN: Duration = Duration::from_millis(10);

pub(crate) fn first_result(bench: &mut Bench) {
    let mut contestants = vec![
        Contestant::new("pool of one, a no-op", || {
            times(STARTS, || {
                let start = Instant::now();
                let pool = Pool::new(1).expect("a pool of this program can be built");
                pool.submit(call!(nothing)).wait().expect("a no-op succeeds");
                let took = start.elapsed();
                pool::block_on(pool.shutdown());
                took
            })
        }),
        Contestant::new("bare spawn to first byte", || {
            times(STARTS, || {
                let start = Instant::now();
                let child = bare::first_byte("sleep");
                let took = start.elapsed();
                bare::end(&mut [child]);
                took
            })
        })
        .goal(Goal::AtMost(1.0)),
        // How far one can get that way with what a worker needs: it is no peer.
        Contestant::new("bare spawn, two threads on each side, greeting and answer", || {
            times(STARTS, || {
                let start = Instant::now();
                let child = bare::first_answer();
                let took = start.elapsed();
                bare::end(&mut [child]);
                took
            })
        })
        .floor(),
        Contestant::new("procspawn pool of one, a no-op", || {
            times(STARTS, || {
                let start = Instant::now();
                let pool = hands::procspawn(1);
                pool.spawn((), nothing_of).join().expect("a no-op succeeds");
                let took = start.elapsed();
                pool.kill();
                took
            })
        })
        .goal(Goal::AtMost(0.58)),
    ];
    contest::run(1, bench.rounds, &mut contestants);
    bench.report.take("first result of a new pool", "ms", &contestants);
}

pub(crate) fn shutdown(bench: &mut Bench) {
    let mut contestants = vec![
        Contestant::new("pool: shutdown, awaited", || {
            times(STOPS, || {
                let pool = hands::pool(2);
                let jobs = [(); 2].map(|()| pool.submit(call!(spin)));
                while jobs.iter().any(|job| job.status() != JobStatus::Running) {
                    thread::yield_now();
                }
                thread::sleep(SPIN);
                let start = Instant::now();
                pool::block_on(pool.shutdown());
                start.elapsed()
            })
        }),
        Contestant::new("bare kill and wait", || {
            times(STOPS, || {
                let mut children = [(); 2].map(|()| bare::first_byte("spin"));
                thread::sleep(SPIN);
                let start = Instant::now();
                bare::end(&mut children);
                start.elapsed()
            })
        })
        .goal(Goal::AtMost(2.5)),
        // The same for processes that have a second thread, as workers do, and a thread that reaps.
        Contestant::new("bare kill and wait, two threads on each side", || {
            times(STOPS, || {
                let mut children = [(); 2].map(|()| bare::first_byte("spin beside"));
                thread::sleep(SPIN);
                let start = Instant::now();
                children.iter_mut().for_each(|child| child.kill().expect("it is ours to kill"));
                thread::scope(|scope| _ = scope.spawn(|| bare::end(&mut children)));
                start.elapsed()
            })
        })
        .floor(),
        Contestant::new("procspawn kill", || {
            times(STOPS, || {
                let pool = hands::procspawn(2);
                let jobs = [0, 1].map(|n| {
                    let name = format!("pool-peers-{}-{n}", std::process::id());
                    let file = std::env::temp_dir().join(name);
                    (pool.spawn(file.clone(), spin_and_say), file)
                });
                for (_, file) in &jobs {
                    // There is something to remove once the job has begun.
                    while fs::remove_file(file).is_err() {
                        thread::yield_now();
                    }
                }
                thread::sleep(SPIN);
                let start = Instant::now();
                pool.kill();
                start.elapsed()
            })
        })
        .goal(Goal::AtMost(0.6)),
    ];
    contest::run(1, bench.rounds, &mut contestants);
    bench.report.take("shutdown of two spinning workers", "ms", &contestants);
}

/// The median of some, in milliseconds.
fn times(n: usize, mut measure: impl FnMut() -> Duration) -> f64 {
    median((0..n).map(|_| measure().as_secs_f64() * 1000.0).collect())
}
