//! Ten thousand small worlds, each a pool with everything that can happen to one.
//!
//! A world (`sim/world.rs`) has model processes that know what they have claimed
//! (`sim/processes.rs`), hands that perform the scheduler's actions on them (`sim/hands.rs`),
//! and a seed that decides what happens next. After each step the promises are checked
//! (`sim/checks.rs`, `sim/promises.rs`, `sim/numbers.rs`). The mutants (`sim/mutants.rs`) show that
//! the checks would notice.
//!
//! A failing world prints its seed; `POOL_SIM_SEED=<seed>` runs it alone and prints its steps,
//! `POOL_SIM_WORLDS=<n>` runs another number of worlds.

mod checks;
mod hands;
mod model;
mod mutants;
mod numbers;
mod processes;
mod promises;
mod races;
mod world;

use std::collections::BTreeMap;

use mutants::Mutant;
use world::World;

/// What went wrong. `Err` everywhere in the simulation.
type Violation = String;

/// Leaves the function with a [`Violation`] unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err(format!($($text)+));
        }
    };
}
use ensure;

/// How often each thing happened.
type Counters = BTreeMap<&'static str, u64>;

/// What must have been seen in a run of many worlds.
const EXPECTED: &[&str] = &[
    "event Cancel",
    "event Kill",
    "event Connected",
    "event WorkerReady",
    "event Replied Done",
    "event Replied Panicked",
    "event Recalled",
    "event Recalled nothing kept",
    "event Recalled several kept",
    "several replies at once",
    "job given back by its reply",
    "event Awake",
    "event NotBegun",
    "event Progressed",
    "event OverMemory",
    "event Bloated",
    "event WorkerGone",
    "event WorkerGone claimed",
    "event WorkerGone in place of Recalled",
    "event Close",
    "event Shutdown",
    "action Launch",
    "action Assign",
    "action Recall",
    "action Ask",
    "action Stop",
    "action Kill",
    "action Resolve",
    "ending Replied",
    "ending Crashed",
    "ending TimedOut",
    "ending MemoryLimit",
    "ending Cancelled",
    "ending PoolClosed",
    "ending WorkerStart",
    "ending Unsupported",
    "closed, and left running",
    "left to itself",
    "charged unclaimed",
    "given up after a kill",
    "killed launch",
    "killed after a stop",
    "killed for its silence",
    "killed after grace",
    "kill cut a grace short",
    "died while asked",
    "reply while asked",
    "reply after a kill",
    "stale event",
    "taken back from behind a long job",
    "worker found unresponsive",
    "back-off",
    "cancelled in back-off",
    "recycled",
    "recycled for its memory",
    "sent home for idleness",
    "doomed behind an answered job",
    "shutdown while closing",
    "submitted behind others that nobody takes",
    "submit after close",
    "submit past its deadline",
    "timed out unclaimed",
    "handed out before it was up",
    "fetched from a worker that starts",
];

/// Runs one world to its end.
fn run(seed: u64, mutant: Option<Mutant>, counters: &mut Counters) -> Result<(), Violation> {
    let mut world = World::new(seed, mutant);
    let outcome = world.live();
    for (name, count) in world.counters() {
        *counters.entry(name).or_default() += count;
    }
    outcome
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn ten_thousand_worlds_keep_every_promise() {
    let mut counters = Counters::new();
    if let Some(seed) = variable("POOL_SIM_SEED") {
        if let Err(violation) = run(seed, None, &mut counters) {
            panic!("{violation}");
        }
        return;
    }
    let worlds = variable("POOL_SIM_WORLDS").unwrap_or(10_000);
    for seed in 0..worlds {
        if let Err(violation) = run(seed, None, &mut counters) {
            panic!(
                "{violation}\nreplay: POOL_SIM_SEED={seed} cargo test -p pool-runtime --lib scheduler::sim -- --nocapture"
            );
        }
    }
    println!("{counters:#?}");
    for name in EXPECTED {
        assert!(counters.contains_key(name) || worlds < 10_000, "no world came across: {name}");
    }
    for name in counters.keys() {
        assert!(EXPECTED.contains(name), "counted, and not expected: {name}");
    }
}
