//! More workers than cores, and more submitting threads: does the pool get slower?
//!
//! Two cores that hand in at once take turns with one queue, whoever has it, and the skeleton shows what
//! that costs: it falls from one submitting thread to eight, too.

use std::thread;

use pool::call;

use crate::contest::{self, Contestant, Goal, ratios};
use crate::in_flight::{self, JOBS, steady_rate};
use crate::jobs::nothing;
use crate::promises;
use crate::skeleton::Skeleton;
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
    let skeleton = Skeleton::<promises::All>::new(bench.workers);
    let in_pool = |jobs| hands::all_in_pool(&pool, (0..jobs).map(|_| call!(nothing)));
    let bare = |jobs| in_flight::all_in(&skeleton, jobs);
    let mut contestants = [
        Contestant::new("pool: eight submitting threads", || {
            steady_rate(|| from(THREADS, in_pool))
        }),
        Contestant::new("pool: one submitting thread", || steady_rate(|| from(1, in_pool))),
        Contestant::new("what is promised of each job, eight threads", || {
            steady_rate(|| from(THREADS, bare))
        })
        .floor(),
        Contestant::new("what is promised of each job, one thread", || {
            steady_rate(|| from(1, bare))
        })
        .floor(),
    ];
    contest::run(1, bench.rounds, &mut contestants);
    let work = "no-ops in flight, crowd of threads";
    bench.report.take(work, "thousand a second", &contestants);
    let [many, one, bare_many, bare_one] = contestants.map(|contestant| contestant.rounds);
    let floor = contest::median(ratios(&bare_many, &bare_one));
    let beside = "pool: one submitting thread";
    let goal = Goal::AtLeast(0.8);
    bench.report.judge_beside(work, beside, &ratios(&many, &one), goal, Some(floor));
}

/// Each thread submits its share and awaits it.
fn from(threads: usize, all: impl Fn(usize) + Sync) {
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| all(JOBS / threads));
        }
    });
}
