//! What looking a moment longer before one sleeps costs others: one no-op at a time with and
//! without it, on a machine that is busy elsewhere and on one that is not.
//!
//! Medians do not see what happens seldom and takes long, as giving a processor away does on a
//! machine that is busy; so the means over all rounds are judged too.

use std::time::{Duration, Instant};

use pool::{Pool, call};

use crate::contest::{Contestant, Goal};
use crate::jobs::nothing;
use crate::{Bench, bare, cores, hands, usage};

/// How long no-ops are submitted in one turn.
const WATCHED: Duration = Duration::from_millis(100);
/// Turns in a round: short ones, so that both meet the same.
const TURNS: usize = 3;
const NAMES: [&str; 2] = ["pool: spins", "pool: does not"];

pub(crate) fn busy(bench: &mut Bench) {
    let mut hogs: Vec<_> = cores::all().iter().map(|_| bare::first_byte("spin")).collect();
    beside_off(bench, "one no-op at a time, all cores busy elsewhere");
    bare::end(&mut hogs);
}

pub(crate) fn quiet(bench: &mut Bench) {
    beside_off(bench, "one no-op at a time, spinning or not");
}

/// What one pool did in some turns.
#[derive(Clone, Copy, Default)]
struct Turn {
    micros: f64,
    /// Of processors, in host and workers.
    used: f64,
    trips: f64,
    longest: f64,
}

impl Turn {
    fn add(&mut self, other: Turn) {
        self.micros += other.micros;
        self.used += other.used;
        self.trips += other.trips;
        self.longest = self.longest.max(other.longest);
    }
}

fn beside_off(bench: &mut Bench, work: &str) {
    let pools = [true, false].map(|spins| hands::pool_that(bench.workers, spins));
    pools.iter().for_each(|pool| _ = turn(pool));
    let mut rounds = [Vec::new(), Vec::new()];
    for _ in 0..bench.rounds {
        let mut round = [Turn::default(); 2];
        for n in 0..2 * TURNS {
            round[n % 2].add(turn(&pools[n % 2]));
        }
        rounds.iter_mut().zip(round).for_each(|(rounds, round)| rounds.push(round));
    }
    let mut take = |what: &str, unit: &str, figure: fn(&Turn) -> f64, goal: Option<Goal>| {
        let [with, without] =
            [0, 1].map(|n| Contestant::measured(NAMES[n], rounds[n].iter().map(figure).collect()));
        let mut contestants = [with, without];
        contestants[1].goal = goal;
        bench.report.take(&format!("{work}{what}"), unit, &contestants);
        let [with, without] = rounds.each_ref().map(|rounds| {
            let mut all = Turn::default();
            rounds.iter().for_each(|round| all.add(*round));
            figure(&all)
        });
        if let Some(goal) = goal {
            let name = format!("{}, all rounds together", NAMES[1]);
            bench.report.judge(&format!("{work}{what}"), &name, &[with / without], goal);
        }
    };
    let goal = Some(Goal::AtMost(1.1));
    take("", "µs each, mean", |turn| turn.micros / turn.trips, goal);
    take(": CPU", "µs of CPU each", |turn| turn.used / turn.trips, goal);
    take(": the longest", "µs", |turn| turn.longest, None);
}

fn turn(pool: &Pool) -> Turn {
    let pids = usage::pids(pool);
    let mut turn = Turn::default();
    let (begin, before) = (Instant::now(), usage::of(&pids).0);
    while begin.elapsed() < WATCHED {
        let start = Instant::now();
        pool.submit(call!(nothing)).wait().expect("a no-op succeeds");
        turn.trips += 1.0;
        turn.longest = turn.longest.max(start.elapsed().as_secs_f64() * 1e6);
    }
    turn.micros = begin.elapsed().as_secs_f64() * 1e6;
    turn.used = (usage::of(&pids).0 - before) * 1000.0;
    turn
}
