//! Many jobs queued at once: the memory of each, and its time as the queue gets longer.

use std::time::Instant;

use pool::{Pool, call};

use crate::contest::{self, Contestant, Goal, ratios};
use crate::jobs::{hold, nothing};
use crate::svg::{self, Series};
use crate::{Bench, bare, hands, usage};

const LENGTHS: [usize; 4] = [1000, 10_000, 100_000, 1_000_000];
const JOBS: &str = "PEERS_JOBS";

const MOST: usize = LENGTHS[LENGTHS.len() - 1];

/// Memory a job, each time in a new process. It is the same each time, so a few are enough.
pub(crate) fn memory(bench: &mut Bench) {
    let mut memory = [Contestant::new("pool", || bytes_each(MOST)).goal(Goal::AtMost(130.0))];
    contest::run(0, bench.rounds.min(3), &mut memory);
    let work = format!("memory of {MOST} queued no-ops, with their handles");
    bench.report.take(&work, "bytes each", &memory);
}

pub(crate) fn time(bench: &mut Bench) {
    let pool = hands::pool(bench.workers);
    let tokio = hands::tokio(bench.workers);
    let rayon = hands::rayon(bench.workers);
    let mut contestants = Vec::new();
    for n in LENGTHS {
        let (pool, tokio, rayon) = (&pool, &tokio, &rayon);
        let zeros = move || std::iter::repeat_n(0, n);
        contestants.push(Contestant::new(format!("pool, {n}"), move || {
            each(n, || hands::all_in_pool(pool, (0..n).map(|_| call!(nothing))))
        }));
        contestants.push(Contestant::new(format!("tokio spawn_blocking, {n}"), move || {
            each(n, || hands::all_blocking(tokio, zeros(), |_| nothing()))
        }));
        contestants.push(Contestant::new(format!("rayon, {n}"), move || {
            each(n, || hands::all_in_rayon(rayon, zeros(), |_| nothing()))
        }));
    }
    contest::run(0, bench.rounds, &mut contestants);
    let of_pool = |at: usize| &contestants[at * 3].rounds;
    let beside = ratios(of_pool(LENGTHS.len() - 1), of_pool(1));
    let work = "time of a queued no-op as the queue gets longer";
    bench.report.judge(
        &format!("time of a no-op among {MOST} queued"),
        "the same among 10,000",
        &beside,
        Goal::AtMost(1.2),
    );
    bench.report.take(work, "µs each", &contestants);

    let series: Vec<Series> = ["pool", "tokio spawn_blocking", "rayon and a oneshot"]
        .iter()
        .enumerate()
        .map(|(who, name)| {
            let at = |(at, n): (usize, &usize)| (*n as f64, contestants[at * 3 + who].median());
            (name.to_string(), LENGTHS.iter().enumerate().map(at).collect())
        })
        .collect();
    let picture = svg::chart("Time per no-op", "no-ops queued at once", "µs each", &series);
    bench.pictures.push(("queued.svg", picture));
}

/// Microseconds a job.
fn each(jobs: usize, all: impl FnOnce()) -> f64 {
    let start = Instant::now();
    all();
    start.elapsed().as_secs_f64() * 1e6 / jobs as f64
}

fn bytes_each(jobs: usize) -> f64 {
    bare::ask("queued bytes", &[(JOBS, jobs.to_string())]).first().copied().unwrap_or(f64::NAN)
}

/// In that process: two workers are held, so all jobs stay queued.
pub(crate) fn print_bytes_each() {
    let jobs: usize = std::env::var(JOBS).ok().and_then(|n| n.parse().ok()).unwrap_or(1000);
    let pool = Pool::builder().workers(2).queue_capacity(jobs + 2).build();
    let pool = pool.expect("a pool of this program can be built");
    pool::block_on(pool.ready()).expect("its workers start");
    let held = [(); 2].map(|()| pool.submit(call!(hold)));
    let mut handles = Vec::with_capacity(jobs);
    let before = resident();
    handles.extend((0..jobs).map(|_| pool.submit(call!(nothing))));
    let after = resident();
    println!("{}", (after - before) / jobs as f64);
    pool::block_on(pool.shutdown());
    drop((held, handles));
}

/// Bytes of this process's own memory.
fn resident() -> f64 {
    usage::kilobytes(std::process::id(), "status", "RssAnon") * 1024.0
}
