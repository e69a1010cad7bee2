//! Many no-ops in flight: hand all of them over, then wait for all of them, a handle each.
//!
//! A turn is four such crowds. The first does not count: whoever had the turn before has left the caches
//! full of its own things, and a crowd is over in ten milliseconds. Only procspawn, whose jobs take a
//! hundred times as long, has one crowd a turn.
//!
//! Streams take part twice, with as many in flight as the others, and as they are by default, few
//! jobs ahead; each time they are held against handles that are awaited with as many in flight: a
//! mapped no-op has to cost less.

use std::cell::RefCell;
use std::time::Instant;

use pool::{Call, JobStream, call};

use crate::contest::Goal::AtLeast;
use crate::contest::{self, Contestant, Goal, ratios};
use crate::jobs::nothing;
use crate::promises::{self, Promises};
use crate::skeleton::{self, Skeleton};
use crate::{Bench, cores, hands, usage};

/// No-ops in flight in one measurement, and for procspawn in all.
pub(crate) const JOBS: usize = 20_000;
const PROCSPAWN_JOBS: usize = 1000;
/// What streams have in flight for each worker.
const FEW: usize = 16;
/// Rounds that do not count.
const WARM_UP: usize = 1;
/// Crowds of a turn that count, behind the first.
const TIMES: usize = 3;

/// What is asked beside rayon, `spawn_blocking` and procspawn.
type Goals = (Goal, Goal, Option<Goal>);

pub(crate) fn free(bench: &mut Bench) {
    run(bench, "no-ops in flight", (AtLeast(1.2), AtLeast(2.4), Some(AtLeast(150.0))));
}

pub(crate) fn one_core(bench: &mut Bench) {
    let goals = (AtLeast(0.65), AtLeast(2.2), None);
    cores::on_one(|| run(bench, "no-ops in flight, one core", goals));
}

fn run(bench: &mut Bench, work: &str, goals: Goals) {
    let workers = bench.workers;
    let pool = hands::pool(workers);
    let tokio = hands::tokio(workers);
    let rayon = hands::rayon(workers);
    let procspawn = hands::procspawn(workers);
    let none = |_| nothing();
    let zeros = || std::iter::repeat_n(0, JOBS);
    let skeleton = Skeleton::<promises::None>::new(workers);
    let promising = Skeleton::<promises::All>::new(workers);
    let skeletons = skeleton.pids().chain(promising.pids());
    let pids: Vec<_> = usage::pids(&pool).into_iter().chain(skeletons).collect();
    let used: [Used<'_>; 10] = std::array::from_fn(|_| Used::by(&pids));

    let mut processes = Contestant::new("procspawn, 100 at a time", || {
        rate(PROCSPAWN_JOBS, || {
            hands::all_in_procspawn(&procspawn, &[0; PROCSPAWN_JOBS], |_| nothing());
        })
    });
    processes.goal = goals.2;
    let calls = || (0..JOBS).map(|_| call!(nothing));
    let mut contestants = vec![
        Contestant::new("pool: submit all, await all", || {
            used[0].rate(|| hands::all_in_pool(&pool, calls()))
        }),
        Contestant::new("rayon spawn and a oneshot", || {
            used[1].rate(|| hands::all_in_rayon(&rayon, zeros(), none))
        })
        .goal(goals.0),
        Contestant::new("tokio spawn_blocking", || {
            used[2].rate(|| hands::all_blocking(&tokio, zeros(), none))
        })
        .goal(goals.1),
        Contestant::new("pool: map, all in flight", || {
            used[3].rate(|| take_all(pool.map(calls()).max_in_flight(JOBS)))
        }),
        Contestant::new("pool: map, unordered, all in flight", || {
            used[4].rate(|| take_all(pool.map(calls()).unordered().max_in_flight(JOBS)))
        }),
        Contestant::new("pool: submit, await, 16 a worker", || {
            used[5].rate(|| hands::few_in_pool(&pool, FEW * workers, calls()))
        }),
        Contestant::new("pool: map, 16 a worker", || used[6].rate(|| take_all(pool.map(calls())))),
        Contestant::new("pool: map, unordered, 16 a worker", || {
            used[7].rate(|| take_all(pool.map(calls()).unordered()))
        }),
        Contestant::new("two processes without any promise", || {
            used[8].rate(|| all_in(&skeleton, JOBS))
        }),
        Contestant::new("the same with what is promised of each job", || {
            used[9].rate(|| all_in(&promising, JOBS))
        })
        .floor(),
        processes,
    ];
    contest::run(WARM_UP, bench.rounds, &mut contestants);
    bench.report.take(work, "thousand a second", &contestants);
    let [awaited, _, _, mapped, unordered, few, mapped_few, unordered_few, ..] = &contestants[..]
    else {
        return;
    };
    let pairs = [(mapped, awaited), (unordered, awaited), (mapped_few, few), (unordered_few, few)];
    for (mapped, awaited) in pairs {
        judge(bench, work, mapped, awaited, true);
    }
    // What bounds all of them: nobody gets more done than there are processors for it.
    let names: Vec<_> = contestants.iter().map(|contestant| contestant.name.clone()).collect();
    drop(contestants);
    let mut costs: Vec<_> =
        names.into_iter().zip(used).map(|(name, used)| used.contestant(name)).collect();
    for cost in &mut costs[3..5] {
        cost.goal = Some(AtLeast(1.0));
    }
    let work = format!("{work}: CPU");
    bench.report.take(&work, "µs of CPU a job", &costs);
    if let [.., few, mapped_few, unordered_few, _, _] = &costs[..] {
        for mapped in [mapped_few, unordered_few] {
            judge(bench, &work, mapped, few, false);
        }
    }
}

/// What a stream does beside as many handles that are awaited: more a second, for less of the
/// processors.
fn judge(
    bench: &mut Bench,
    work: &str,
    mapped: &Contestant<'_>,
    awaited: &Contestant<'_>,
    is_rate: bool,
) {
    let (mapped_rounds, awaited_rounds) = (&mapped.rounds, &awaited.rounds);
    let beside = match is_rate {
        true => ratios(mapped_rounds, awaited_rounds),
        false => ratios(awaited_rounds, mapped_rounds),
    };
    let name = mapped.name.trim_start_matches("pool: ");
    bench.report.judge(&format!("{work}: {name}"), "as many awaited", &beside, AtLeast(1.0));
}

/// What processors did for the jobs of each round.
struct Used<'a> {
    pids: &'a [u32],
    micros: RefCell<Vec<f64>>,
}

impl<'a> Used<'a> {
    fn by(pids: &'a [u32]) -> Used<'a> {
        Used { pids, micros: RefCell::default() }
    }

    /// Thousand jobs a second.
    fn rate(&self, mut all: impl FnMut()) -> f64 {
        all();
        let before = usage::of(self.pids).0;
        let rate = times(&mut all);
        let used = (usage::of(self.pids).0 - before) * 1000.0 / (TIMES * JOBS) as f64;
        self.micros.borrow_mut().push(used);
        rate
    }

    fn contestant(self, name: String) -> Contestant<'static> {
        Contestant::measured(name, self.micros.into_inner().split_off(WARM_UP))
    }
}

pub(crate) fn all_in<P: Promises>(skeleton: &Skeleton<P>, jobs: usize) {
    let handles: Vec<_> = (0..jobs).map(|_| skeleton.submit()).collect();
    handles.into_iter().for_each(skeleton::Handle::wait);
}

fn take_all<I: Iterator<Item = Call<nothing>>>(stream: JobStream<nothing, I>) {
    for result in stream.blocking() {
        result.expect("a no-op succeeds");
    }
}

/// Thousand jobs a second, [`JOBS`] of them at a time.
pub(crate) fn steady_rate(mut all: impl FnMut()) -> f64 {
    all();
    times(&mut all)
}

fn times(all: &mut impl FnMut()) -> f64 {
    rate(TIMES * JOBS, || (0..TIMES).for_each(|_| all()))
}

/// Thousand jobs a second.
pub(crate) fn rate(jobs: usize, all: impl FnOnce()) -> f64 {
    let start = Instant::now();
    all();
    jobs as f64 / start.elapsed().as_secs_f64() / 1000.0
}
