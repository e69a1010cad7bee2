//! What looking a moment longer before one sleeps costs others: one no-op at a time with and
//! without it, on a machine that is busy elsewhere and on one that is not.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use pool::{Pool, call};

use crate::contest::{self, Contestant, Goal};
use crate::jobs::nothing;
use crate::{Bench, bare, cores, hands, usage};

/// How long no-ops are submitted in one measurement.
const WATCHED: Duration = Duration::from_millis(100);
const TURNS: usize = 3;

pub(crate) fn busy(bench: &mut Bench) {
    let mut hogs: Vec<_> = cores::all().iter().map(|_| bare::first_byte("spin")).collect();
    beside_off(bench, "one no-op at a time, all cores busy elsewhere");
    bare::end(&mut hogs);
}

pub(crate) fn quiet(bench: &mut Bench) {
    beside_off(bench, "one no-op at a time, spinning or not");
}

fn beside_off(bench: &mut Bench, work: &str) {
    let pools = [true, false].map(|spins| hands::pool_that(bench.workers, spins));
    let processor = [(); 2].map(|()| RefCell::new(Vec::new()));
    let one = |n: usize| {
        let (latency, of_processor) = trips(&pools[n]);
        processor[n].borrow_mut().push(of_processor);
        latency
    };
    let mut contestants = [
        Contestant::new("pool: spins", || one(0)),
        Contestant::new("pool: does not", || one(1)).goal(Goal::AtMost(1.1)),
    ];
    // Short turns and many of them: both are to meet the same.
    contest::run(1, bench.rounds * TURNS, &mut contestants);
    bench.report.take(work, "µs each, mean", &contestants);
    drop(contestants);
    let [with, without] = processor.map(|rounds| rounds.into_inner().split_off(1));
    let contestants = [
        Contestant::measured("pool: spins", with),
        Contestant::measured("pool: does not", without).goal(Goal::AtMost(1.1)),
    ];
    bench.report.take(&format!("{work}: CPU"), "µs of CPU each", &contestants);
}

/// Microseconds, and microseconds of processors that host and workers used, of each.
fn trips(pool: &Pool) -> (f64, f64) {
    let pids = usage::pids(pool);
    let (begin, before) = (Instant::now(), usage::of(&pids).0);
    let mut trips = 0.0;
    while begin.elapsed() < WATCHED {
        pool.submit(call!(nothing)).wait().expect("a no-op succeeds");
        trips += 1.0;
    }
    let took = begin.elapsed().as_secs_f64() * 1e6;
    (took / trips, (usage::of(&pids).0 - before) * 1000.0 / trips)
}
