//! Jobs a second against the length of a job, from 1 µs to 10 ms.

use crate::contest::{self, Contestant};
use crate::in_flight::rate;
use crate::jobs::busy;
use crate::svg::{self, Series};
use crate::{Bench, hands};

/// Nanoseconds.
const LENGTHS: [u64; 9] =
    [1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000];
const NAMES: [&str; 4] = ["pool", "tokio spawn_blocking", "rayon and a oneshot", "procspawn"];
/// What all jobs of a measurement are meant to take together, in nanoseconds, and how many there
/// may be.
const TOGETHER: u64 = 60_000_000;
const MOST: u64 = 10_000;
/// A job of procspawn's costs about this; so it gets fewer short ones.
const PROCSPAWN_COST: u64 = 60_000;

pub(crate) fn run(bench: &mut Bench) {
    let workers = bench.workers;
    let pool = hands::pool(workers);
    let tokio = hands::tokio(workers);
    let rayon = hands::rayon(workers);
    let procspawn = hands::procspawn(workers);
    let mut series: Vec<Series> = NAMES.iter().map(|name| (name.to_string(), vec![])).collect();
    for length in LENGTHS {
        let count = |cost: u64| (TOGETHER / cost).clamp(2 * workers as u64, MOST) as usize;
        let many = vec![length; count(length)];
        let few = vec![length; count(length + PROCSPAWN_COST)];
        let jobs = || many.iter().copied();
        let mut contestants = vec![
            Contestant::new(NAMES[0], || {
                rate(many.len(), || hands::all_in_pool(&pool, hands::calls(&many)))
            }),
            Contestant::new(NAMES[1], || {
                rate(many.len(), || hands::all_blocking(&tokio, jobs(), busy))
            }),
            Contestant::new(NAMES[2], || {
                rate(many.len(), || hands::all_in_rayon(&rayon, jobs(), busy))
            }),
            Contestant::new(NAMES[3], || {
                rate(few.len(), || hands::all_in_procspawn(&procspawn, &few, busy))
            }),
        ];
        contest::run(1, bench.rounds, &mut contestants);
        let work = format!("jobs of {} µs", length / 1000);
        bench.report.take(&work, "thousand a second", &contestants);
        for (contestant, (_, points)) in contestants.iter().zip(&mut series) {
            points.push((length as f64 / 1000.0, contestant.median() * 1000.0));
        }
    }
    let picture = svg::chart("Jobs a second", "length of a job, µs", "jobs a second", &series);
    bench.pictures.push(("lengths.svg", picture));
}
