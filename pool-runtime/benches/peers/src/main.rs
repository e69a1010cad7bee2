//! The pool beside what else could be done on this machine, in one run: procspawn, ipc-channel,
//! rayon, tokio's `spawn_blocking`, a bare ping-pong of two processes, a bare spawn and kill.
//!
//! `cargo run --release --manifest-path pool-runtime/benches/peers/Cargo.toml` takes a few minutes,
//! prints the page that it leaves in `RESULTS.md` beside its manifest, draws the pictures there, and
//! renews the table in the README. After `--` come names of rows, or parts of them, if only those
//! are wanted (`one_at_a_time`; nothing is written then), `--rounds 11`, or `--list`.
//!
//! Everything is measured in turn, several rounds long, so that whatever else the machine does meets
//! all of them. It judges nothing by its exit code: a slow machine is no failure.
//! Linux: it reads /proc and pins threads to cores.

mod bare;
mod contest;
mod cores;
mod crowd;
mod hands;
mod idle;
mod in_flight;
mod ipc;
mod jobs;
mod large;
mod lengths;
mod memory;
mod mixed;
mod one_at_a_time;
mod promises;
mod queued;
mod report;
mod skeleton;
mod spinning;
mod start_stop;
mod svg;
mod tasks;
mod usage;

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use report::Report;

/// What a ratio needs at least.
const ROUNDS: usize = 7;

/// What all rows have, and where they leave what they measured.
pub(crate) struct Bench {
    pub(crate) rounds: usize,
    /// Workers and threads: one a core.
    pub(crate) workers: usize,
    pub(crate) report: Report,
    /// Files for beside the page.
    pub(crate) pictures: Vec<(&'static str, String)>,
}

/// Its name, and what it does.
type Row = (&'static str, fn(&mut Bench));

const ROWS: &[Row] = &[
    ("one_at_a_time", one_at_a_time::free),
    ("one_at_a_time_1core", one_at_a_time::one_core),
    ("in_flight", in_flight::free),
    ("in_flight_1core", in_flight::one_core),
    ("tasks", tasks::run),
    ("large_bytes", large::bytes),
    ("large_structure", large::structure),
    ("first_result", start_stop::first_result),
    ("shutdown", start_stop::shutdown),
    ("queued_memory", queued::memory),
    ("queued_time", queued::time),
    ("idle_cpu", idle::measure),
    ("idle_memory", memory::measure),
    ("makespan", mixed::makespan),
    ("neighbours", mixed::neighbours),
    ("crowd_of_workers", crowd::workers),
    ("crowd_of_threads", crowd::threads),
    ("beside_large", large::beside),
    ("spinning_quiet", spinning::quiet),
    ("spinning_busy", spinning::busy),
    ("lengths", lengths::run),
];

fn main() -> ExitCode {
    // A worker, of the pool or of procspawn, never comes past these lines.
    pool::serve_if_worker();
    procspawn::init();
    bare::play_if_asked();

    let mut rounds = ROUNDS;
    let mut names = Vec::new();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--rounds" => rounds = args.next().and_then(|n| n.parse().ok()).unwrap_or(0),
            "--list" => {
                ROWS.iter().for_each(|(name, _)| println!("{name}"));
                return ExitCode::SUCCESS;
            }
            _ => names.push(arg),
        }
    }
    let is_wanted = |row: &str| names.is_empty() || names.iter().any(|name| row.contains(name));
    if rounds == 0 || !ROWS.iter().any(|(name, _)| is_wanted(name)) {
        eprintln!("usage: [--list] [--rounds N] [ROW...], where a part of a row's name is enough");
        return ExitCode::FAILURE;
    }

    let workers = thread::available_parallelism().map_or(1, |n| n.get());
    let mut bench = Bench { rounds, workers, report: Report::default(), pictures: Vec::new() };
    let (began, load) = (Instant::now(), report::load());
    for (name, row) in ROWS.iter().filter(|(name, _)| is_wanted(name)) {
        let began = Instant::now();
        row(&mut bench);
        eprintln!("{name}: {} s", began.elapsed().as_secs());
    }
    let page = bench.report.page(rounds, began.elapsed().as_secs(), load);
    println!("{page}");
    if names.is_empty() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let files = [("RESULTS.md", page)].into_iter().chain(bench.pictures);
        for (name, text) in files {
            fs::write(folder.join(name), text).expect("results can be written beside the manifest");
        }
        bench.report.renew_readme(&folder.join("../../../README.md"));
    }
    ExitCode::SUCCESS
}
