//! What an idle pool costs: CPU time and wake-ups of the host and its workers, from /proc.

use std::thread;
use std::time::Duration;

use pool::call;

use crate::contest::{Contestant, Goal};
use crate::jobs::nothing;
use crate::{Bench, bare, hands, usage};

const WATCHED: Duration = Duration::from_secs(10);

pub(crate) fn measure(bench: &mut Bench) {
    // A process without the peers' threads.
    let output = bare::ask("idle", &[]);
    for (n, what) in ["ms of CPU", "wake-ups"].iter().enumerate() {
        let value = output.get(n).copied().unwrap_or(f64::NAN);
        let pool = [Contestant::measured("pool", vec![value]).goal(Goal::AtMost(0.0))];
        bench.report.take(&format!("idle pool of two, {what} in ten seconds"), what, &pool);
    }
}

/// In that process.
pub(crate) fn print() {
    let pool = hands::pool(2);
    hands::all_in_pool(&pool, (0..1000).map(|_| call!(nothing)));
    // It comes to rest: it waits for some answers for seconds.
    thread::sleep(Duration::from_secs(5));
    let pids = usage::pids(&pool);
    let before = usage::of_others(&pids);
    thread::sleep(WATCHED);
    let after = usage::of_others(&pids);
    println!("{} {}", after.0 - before.0, after.1 - before.1);
}
