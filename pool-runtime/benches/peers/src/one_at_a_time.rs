//! One no-op at a time: hand it over, wait for it, the next one. The figure of a round is the
//! median of its trips.

use std::sync::mpsc;
use std::time::Instant;

use pool::call;

use crate::bare::Echo;
use crate::contest::Goal::AtMost;
use crate::contest::{self, Contestant, Goal, median};
use crate::ipc::TypedEcho;
use crate::jobs::{nothing, nothing_of};
use crate::{Bench, cores, hands};

/// Round trips in one measurement.
const TRIPS: usize = 1000;

/// What is asked beside the ping-pong, `spawn_blocking` and procspawn.
type Goals = (Goal, Option<Goal>, Goal);

pub(crate) fn free(bench: &mut Bench) {
    let goals = (AtMost(0.15), Some(AtMost(0.12)), AtMost(0.12));
    run(bench, "one no-op at a time", goals, true);
}

pub(crate) fn one_core(bench: &mut Bench) {
    let goals = (AtMost(1.7), None, AtMost(0.35));
    cores::on_one(|| run(bench, "one no-op at a time, one core", goals, false));
}

fn run(bench: &mut Bench, work: &str, goals: Goals, is_free: bool) {
    let workers = bench.workers;
    let pool = hands::pool(workers);
    let tokio = hands::tokio(workers);
    let rayon = hands::rayon(workers);
    let procspawn = hands::procspawn(workers);
    let ipc = TypedEcho::<u8>::start("ipc small");
    let mut echo = Echo::start();
    let mut looking = Echo::looking();
    let mut apart = Echo::start();
    let cores = cores::all();

    let mut blocking = Contestant::new("tokio spawn_blocking", || {
        tokio.block_on(async {
            let mut times = Vec::with_capacity(TRIPS);
            for _ in 0..TRIPS {
                let start = Instant::now();
                tokio::task::spawn_blocking(nothing).await.expect("a no-op succeeds");
                times.push(micros(start));
            }
            median(times)
        })
    });
    blocking.goal = goals.1;
    let mut contestants = vec![
        Contestant::new("pool: submit and wait", || {
            trips(|| pool.submit(call!(nothing)).wait().expect("a no-op succeeds"))
        }),
        Contestant::new("std socket ping-pong", || trips(|| echo.round_trip())).goal(goals.0),
        Contestant::new("socket ping-pong, both look before they sleep", || {
            trips(|| looking.round_trip())
        })
        .floor(),
        blocking,
        Contestant::new("procspawn", || {
            trips(|| procspawn.spawn((), nothing_of).join().expect("a no-op succeeds"))
        })
        .goal(goals.2),
        Contestant::new("ipc-channel, a byte", || trips(|| assert_eq!(ipc.round_trip(7), 7))),
        Contestant::new("rayon spawn and a channel", || {
            trips(|| {
                let (done, wait) = mpsc::sync_channel(1);
                rayon.spawn(move || {
                    nothing();
                    // The receiver waits for it.
                    let _ = done.send(());
                });
                wait.recv().expect("a no-op succeeds");
            })
        }),
    ];
    // Where the system lets two processes that wait for each other share a core, this is what it
    // takes from one to the other.
    if is_free && cores.len() > 1 {
        apart.pin(&cores[1..2]);
        contestants.push(
            Contestant::new("std socket ping-pong, a core each", || {
                cores::pin(None, &cores[..1]);
                let took = trips(|| apart.round_trip());
                cores::pin(None, &cores);
                took
            })
            .goal(goals.0),
        );
    }
    contest::run(1, bench.rounds, &mut contestants);
    bench.report.take(work, "p50, µs", &contestants);
}

/// The median of many, in microseconds.
fn trips(mut trip: impl FnMut()) -> f64 {
    let mut times = Vec::with_capacity(TRIPS);
    for _ in 0..TRIPS {
        let start = Instant::now();
        trip();
        times.push(micros(start));
    }
    median(times)
}

fn micros(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e6
}
