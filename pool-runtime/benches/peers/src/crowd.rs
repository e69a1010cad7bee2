//! More workers than cores, and more submitting threads: does the pool get slower?

use std::thread;

use pool::{Pool, call};

use crate::contest::{self, Contestant, Goal};
use crate::in_flight::{JOBS, steady_rate};
use crate::jobs::nothing;
use crate::{Bench, hands};

const TO_ONE: usize = 8;
const THREADS: usize = 8;

pub(crate) fn workers(bench: &mut Bench) {
    let many = hands::pool(TO_ONE * bench.workers);
    let few = hands::pool(bench.workers);
    let all = |pool| steady_rate(|| hands::all_in_pool(pool, (0..JOBS).map(|_| call!(nothing))));
    let mut contestants = [
        Contestant::new("pool: eight workers a core", || all(&many)),
        Contestant::new("pool: one worker a core", || all(&few)).goal(Goal::AtLeast(0.8)),
    ];
    contest::run(1, bench.rounds, &mut contestants);
    bench.report.take("no-ops in flight, crowd of workers", "thousand a second", &contestants);
}

pub(crate) fn threads(bench: &mut Bench) {
    let pool = hands::pool(bench.workers);
    let mut contestants = [
        Contestant::new("pool: eight submitting threads", || steady_rate(|| from(&pool, THREADS))),
        Contestant::new("pool: one submitting thread", || steady_rate(|| from(&pool, 1)))
            .goal(Goal::AtLeast(0.8)),
    ];
    contest::run(1, bench.rounds, &mut contestants);
    bench.report.take("no-ops in flight, crowd of threads", "thousand a second", &contestants);
}

/// Each thread submits its share and awaits it.
fn from(pool: &Pool, threads: usize) {
    thread::scope(|scope| {
        for _ in 0..threads {
            let calls = (0..JOBS / threads).map(|_| call!(nothing));
            scope.spawn(move || hands::all_in_pool(pool, calls));
        }
    });
}
