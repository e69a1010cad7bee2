//! Many jobs queued at once: the memory of each, and its time as the queue gets longer.

use std::time::Instant;

use pool::{Pool, call};

use crate::bare;
use crate::contest::{self, Contestant, Goal, ratios};
use crate::hands;
use crate::jobs::{hold, nothing};
use crate::report::Report;
use crate::svg::{self, Series};

const LENGTHS: [usize; 4] = [1000, 10_000, 100_000, 1_000_000];
const JOBS: &str = "PEERS_JOBS";

/// Memory a job, each round in a new process; and returns the picture of the times.
pub(crate) fn run(report: &mut Report, rounds: usize, workers: usize, million: bool) -> String {
    let lengths = if million { &LENGTHS[..] } else { &LENGTHS[..3] };
    let most = lengths[lengths.len() - 1];
    let mut memory = [Contestant::new("pool", || bytes_each(most)).goal(Goal::AtMost(130.0))];
    contest::run(0, rounds, &mut memory);
    let work = format!("memory of {most} queued no-ops, with their handles");
    report.take(&work, "bytes each", &memory);

    let pool = hands::pool(workers);
    let tokio = hands::tokio(workers);
    let rayon = hands::rayon(workers);
    let mut contestants = Vec::new();
    for &n in lengths {
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
    contest::run(0, rounds, &mut contestants);
    let of_pool = |at: usize| &contestants[at * 3].rounds;
    let beside = ratios(of_pool(lengths.len() - 1), of_pool(1));
    let work = "time of a queued no-op as the queue gets longer";
    report.judge(
        &format!("time of a no-op among {most} queued"),
        "the same among 10,000",
        &beside,
        Goal::AtMost(1.2),
    );
    report.take(work, "µs each", &contestants);

    let series: Vec<Series> = ["pool", "tokio spawn_blocking", "rayon and a oneshot"]
        .iter()
        .enumerate()
        .map(|(who, name)| {
            let at = |(at, n): (usize, &usize)| (*n as f64, contestants[at * 3 + who].median());
            (name.to_string(), lengths.iter().enumerate().map(at).collect())
        })
        .collect();
    svg::chart("Time per no-op", "no-ops queued at once", "µs each", &series)
}

/// Microseconds a job.
fn each(jobs: usize, all: impl FnOnce()) -> f64 {
    let start = Instant::now();
    all();
    start.elapsed().as_secs_f64() * 1e6 / jobs as f64
}

/// Asks another process, whose heap is fresh.
fn bytes_each(jobs: usize) -> f64 {
    let output = bare::role("queued bytes").env(JOBS, jobs.to_string()).output();
    let output = output.expect("this program can be started").stdout;
    String::from_utf8_lossy(&output).trim().parse().unwrap_or(f64::NAN)
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
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kilobytes.and_then(|n| n.parse().ok()).map_or(f64::NAN, |n: f64| n * 1024.0)
}
