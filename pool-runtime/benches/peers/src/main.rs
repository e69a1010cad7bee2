//! The pool beside what else could be done on this machine, in one run: procspawn, ipc-channel,
//! rayon, tokio's `spawn_blocking`, a bare ping-pong of two processes, a bare spawn and kill.
//!
//! `cargo run --release --manifest-path pool-runtime/benches/peers/Cargo.toml`, and after `--`
//! a number of rounds (7) or `no-million`. Everything is measured in turn, several rounds long, so
//! that whatever else the machine does meets all of them. It prints the page that it leaves in
//! `RESULTS.md` beside its manifest, with two pictures; it judges nothing by its exit code.
//! Linux: it reads /proc and pins threads to cores.

mod bare;
mod contest;
mod hands;
mod idle;
mod in_flight;
mod ipc;
mod jobs;
mod large;
mod lengths;
mod mixed;
mod one_at_a_time;
mod queued;
mod report;
mod start_stop;
mod svg;

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Instant;

use contest::Goal::{AtLeast, AtMost};
use report::Report;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

const ROUNDS: usize = 7;

fn main() {
    // A worker, of the pool or of procspawn, never comes past these lines.
    pool::serve_if_worker();
    procspawn::init();
    bare::play_if_asked();

    let rounds = std::env::args().find_map(|arg| arg.parse().ok()).unwrap_or(ROUNDS).max(1);
    let million = !std::env::args().any(|arg| arg == "no-million");
    let workers = thread::available_parallelism().map_or(1, |n| n.get());
    let began = Instant::now();
    let report = &mut Report::default();

    let goals = (AtMost(0.15), Some(AtMost(0.12)), AtMost(0.12));
    one_at_a_time::run(report, "one no-op at a time", rounds, workers, goals);
    on_one_core(|| {
        let goals = (AtMost(1.7), None, AtMost(0.35));
        one_at_a_time::run(report, "one no-op at a time, one core", rounds, workers, goals);
    });
    let goals = (AtLeast(1.2), AtLeast(2.4), Some(AtLeast(150.0)));
    in_flight::run(report, "no-ops in flight", rounds, workers, goals);
    on_one_core(|| {
        let goals = (AtLeast(0.65), AtLeast(2.2), None);
        in_flight::run(report, "no-ops in flight, one core", rounds, workers, goals);
    });
    large::bytes(report, rounds);
    large::structure(report, rounds);
    start_stop::first_result(report, rounds);
    start_stop::shutdown(report, rounds);
    let queued = queued::run(report, rounds, workers, million);
    idle::measure(report, rounds);
    mixed::makespan(report, rounds, workers);
    mixed::neighbours(report, rounds, workers);
    let lengths = lengths::run(report, rounds, workers);

    let page = report.page(rounds, began.elapsed().as_secs());
    println!("{page}");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (name, text) in [("RESULTS.md", page), ("queued.svg", queued), ("lengths.svg", lengths)] {
        fs::write(folder.join(name), text).expect("the results can be written beside the manifest");
    }
}

/// Runs it on a thread that is pinned to one core, as all that it starts then is.
fn on_one_core(work: impl FnOnce() + Send) {
    thread::scope(|scope| {
        scope.spawn(|| {
            let all = sched_getaffinity(None).expect("a thread may know its cores");
            let first = (0..CpuSet::MAX_CPU).find(|cpu| all.is_set(*cpu)).unwrap_or(0);
            let mut one = CpuSet::new();
            one.set(first);
            sched_setaffinity(None, &one).expect("a thread may pin itself");
            work();
        });
    });
}
