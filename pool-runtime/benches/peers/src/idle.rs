//! What an idle pool costs: CPU time and wake-ups of the host and its workers, from /proc.

use std::fs;
use std::thread;
use std::time::Duration;

use pool::call;

use crate::bare;
use crate::contest::{Contestant, Goal, run};
use crate::hands;
use crate::jobs::nothing;
use crate::report::Report;

const WATCHED: Duration = Duration::from_secs(1);

pub(crate) fn measure(report: &mut Report, rounds: usize) {
    // One process measures all the rounds: time and wake-ups of each.
    let child = bare::role("idle").env("PEERS_ROUNDS", rounds.to_string()).output();
    let output = child.expect("this program can be started").stdout;
    let output = String::from_utf8_lossy(&output);
    let column = |n: usize| -> Vec<f64> {
        let word = |line: &str| line.split_whitespace().nth(n)?.parse().ok();
        output.lines().filter_map(word).collect()
    };
    for (n, what) in ["ms of CPU a second", "wake-ups a second"].iter().enumerate() {
        let mut values = column(n).into_iter();
        let next = || values.next().unwrap_or(f64::NAN);
        let mut pool = [Contestant::new("pool", next).goal(Goal::AtMost(0.0))];
        run(0, rounds, &mut pool);
        report.take(&format!("idle pool of two, {what}"), what, &pool);
    }
}

/// In that process.
pub(crate) fn print() {
    let rounds = std::env::var("PEERS_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    let pool = hands::pool(2);
    hands::all_in_pool(&pool, (0..1000).map(|_| call!(nothing)));
    // It comes to rest.
    thread::sleep(WATCHED);
    let workers = pool.stats().workers.into_iter().filter_map(|worker| worker.pid);
    let pids: Vec<u32> = workers.chain([std::process::id()]).collect();
    for _ in 0..rounds {
        let before = used(&pids);
        thread::sleep(WATCHED);
        let after = used(&pids);
        let seconds = WATCHED.as_secs_f64();
        println!("{} {}", (after.0 - before.0) / seconds, (after.1 - before.1) / seconds);
    }
}

/// Milliseconds of CPU and voluntary switches of all threads but the one that asks; not a number
/// where the system does not say.
fn used(pids: &[u32]) -> (f64, f64) {
    let own = rustix::thread::gettid().as_raw_nonzero().to_string();
    let mut sum = (0.0, 0.0);
    for pid in pids {
        let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
            return (f64::NAN, f64::NAN);
        };
        for task in tasks.flatten().filter(|task| task.file_name() != *own) {
            let read = |name| fs::read_to_string(task.path().join(name)).unwrap_or_default();
            let number = |word: Option<&str>| word.and_then(|word| word.trim().parse().ok());
            let nanos: f64 = number(read("schedstat").split(' ').next()).unwrap_or(f64::NAN);
            let status = read("status");
            let switches =
                status.lines().find_map(|it| it.strip_prefix("voluntary_ctxt_switches:"));
            sum.0 += nanos / 1e6;
            sum.1 += number(switches).unwrap_or(f64::NAN);
        }
    }
    sum
}
