//! Many no-ops in flight: hand all of them over, then wait for all of them, a handle each.

use std::time::Instant;

use pool::{Call, JobStream, call};

use crate::contest::Goal::AtLeast;
use crate::contest::{self, Contestant, Goal, ratios};
use crate::jobs::nothing;
use crate::{Bench, cores, hands};

/// No-ops in flight in one measurement, and for procspawn in all.
pub(crate) const JOBS: usize = 20_000;
const PROCSPAWN_JOBS: usize = 1000;

/// What is asked beside rayon, `spawn_blocking` and procspawn.
type Goals = (Goal, Goal, Option<Goal>);

pub(crate) fn free(bench: &mut Bench) {
    run(bench, "no-ops in flight", (AtLeast(1.2), AtLeast(2.4), Some(AtLeast(150.0))));
}

pub(crate) fn one_core(bench: &mut Bench) {
    let goals = (AtLeast(0.65), AtLeast(2.2), None);
    cores::on_one(|| run(bench, "no-ops in flight, one core", goals));
}

fn run(bench: &mut Bench, work: &str, goals: Goals) {
    let workers = bench.workers;
    let pool = hands::pool(workers);
    let tokio = hands::tokio(workers);
    let rayon = hands::rayon(workers);
    let procspawn = hands::procspawn(workers);
    let none = |_| nothing();
    let zeros = || std::iter::repeat_n(0, JOBS);

    let mut processes = Contestant::new("procspawn, 100 at a time", || {
        rate(PROCSPAWN_JOBS, || {
            hands::all_in_procspawn(&procspawn, &[0; PROCSPAWN_JOBS], |_| nothing());
        })
    });
    processes.goal = goals.2;
    let mut contestants = vec![
        Contestant::new("pool: submit all, await all", || {
            rate(JOBS, || hands::all_in_pool(&pool, (0..JOBS).map(|_| call!(nothing))))
        }),
        Contestant::new("rayon spawn and a oneshot", || {
            rate(JOBS, || hands::all_in_rayon(&rayon, zeros(), none))
        })
        .goal(goals.0),
        Contestant::new("tokio spawn_blocking", || {
            rate(JOBS, || hands::all_blocking(&tokio, zeros(), none))
        })
        .goal(goals.1),
        processes,
        Contestant::new("pool: map", || {
            rate(JOBS, || take_all(pool.map((0..JOBS).map(|_| call!(nothing)))))
        }),
        Contestant::new("pool: map, unordered", || {
            rate(JOBS, || take_all(pool.map((0..JOBS).map(|_| call!(nothing))).unordered()))
        }),
    ];
    contest::run(1, bench.rounds, &mut contestants);
    bench.report.take(work, "thousand a second", &contestants);
    let [awaited, .., mapped, unordered] = &contestants[..] else { return };
    for (name, mapped) in [("map", mapped), ("map, unordered", unordered)] {
        let beside = ratios(&mapped.rounds, &awaited.rounds);
        bench.report.judge(&format!("{work}: {name}"), "the same awaited", &beside, AtLeast(1.0));
    }
}

fn take_all<I: Iterator<Item = Call<nothing>>>(stream: JobStream<nothing, I>) {
    for result in stream.blocking() {
        result.expect("a no-op succeeds");
    }
}

/// Thousand jobs a second.
pub(crate) fn rate(jobs: usize, all: impl FnOnce()) -> f64 {
    let start = Instant::now();
    all();
    jobs as f64 / start.elapsed().as_secs_f64() / 1000.0
}
