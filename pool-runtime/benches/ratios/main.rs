//! How fast the pool is, as ratios to what else could be done on this machine in the same run.
//!
//! Everything is measured in turn, several rounds long, so that whatever else the machine does
//! meets all of them; the figures are medians over the rounds, and a ratio is the median of the
//! ratios of each round. Figures of other machines or other runs cannot be compared; ratios can,
//! with care.
//!
//! `cargo bench -p pool-runtime`, or with another number of rounds
//! `cargo bench -p pool-runtime -- 30`. It judges nothing: a slow machine is no failure.

mod contest;
mod in_flight;
mod one_at_a_time;
#[cfg(unix)]
mod ping_pong;

use std::time::Instant;

const ROUNDS: usize = 11;

/// What workers and threads are given to do.
#[pool::pool_job]
fn nothing() {}

fn main() {
    // A worker never comes past this line.
    pool::serve_if_worker();
    #[cfg(unix)]
    ping_pong::echo_if_asked();

    let rounds = std::env::args().find_map(|arg| arg.parse().ok()).unwrap_or(ROUNDS).max(1);
    let workers = std::thread::available_parallelism().map_or(1, |n| n.get());
    let began = Instant::now();
    println!("{workers} workers, {workers} threads, {rounds} rounds, medians\n");
    one_at_a_time::run(rounds, workers);
    in_flight::run(rounds, workers);
    println!("\nmeasured in {} s", began.elapsed().as_secs());
}
