//! Very many jobs, some of which kill their workers, while others stop, wake and kill workers at
//! any moment: no job is lost, none runs twice without a counted retry, no answer is another's or
//! torn, and no more jobs are charged than workers have died.
//!
//! `chaos/plan.rs` says what each job does and may come to, `chaos/work.rs` has the jobs,
//! `chaos/trouble.rs` those who disturb, `chaos/board.rs` the memory in which runs are counted.
//! Here jobs are handed over, in all the ways that there are, and their ends are judged.
//!
//! `POOL_CHAOS_JOBS` says how many jobs (100,000 by default), `POOL_CHAOS_SEED` which sequence of
//! chances; the seed is printed when the test fails.

#![expect(clippy::unwrap_used, reason = "a test has nothing better to do with an error")]

#[path = "chaos/board.rs"]
mod board;
#[path = "chaos/plan.rs"]
mod plan;
#[path = "chaos/trouble.rs"]
mod trouble;
#[path = "chaos/work.rs"]
mod work;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use pool::{
    Call, Job, JobError, JobErrorKind, JobHandle, Pool, Priority, ProgressStream, RetryPolicy,
    WorkerExit, call,
};
use pool_tests::Isolation;
use tokio::runtime::Builder;

use board::{Board, WORKERS};
use plan::{Chance, Kind, Leave, Plan, Shape, mark, sum};
use trouble::{Disturbance, Quits, leave_sleepy_waker, quit};
use work::{Answer, Question, STEPS, abort_or_not, bare, full, later, raw};

/// Jobs that are handed over in the same way before the way changes.
const STRETCH: u64 = 1500;
/// Jobs of a stretch that were submitted and not looked at yet.
const AHEAD: [usize; 6] = [1, 1, 3, 30, 300, 1500];

/// Where jobs are submitted and awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Home {
    /// Threads without any runtime, which block.
    Threads,
    CurrentThread,
    MultiThread,
}

/// How jobs have ended.
#[derive(Clone, Debug, Default)]
struct Ends {
    good: u64,
    crashed: u64,
    panicked: u64,
    cancelled: u64,
    timed_out: u64,
    /// Attempts that were charged with a death.
    charged: u64,
    /// Of these, attempts of jobs that do not kill their worker.
    charged_innocent: u64,
}

impl Ends {
    fn sum(&self) -> u64 {
        self.good + self.crashed + self.panicked + self.cancelled + self.timed_out
    }

    fn add(&mut self, other: &Ends) {
        self.good += other.good;
        self.crashed += other.crashed;
        self.panicked += other.panicked;
        self.cancelled += other.cancelled;
        self.timed_out += other.timed_out;
        self.charged += other.charged;
        self.charged_innocent += other.charged_innocent;
    }

    /// Takes up an end, which has to be one that the plan allows.
    fn take(&mut self, plan: &Plan, ended: Result<Answer, JobError>) {
        let n = plan.n;
        let runs = u32::from(Board::shared().runs(n).load(Ordering::Relaxed));
        let charged = match ended {
            Ok(answer) => {
                check(plan, &answer);
                let attempt = answer.attempt;
                assert!(
                    (1..=attempt).contains(&runs),
                    "job {n} ran {runs} times in {attempt} attempts"
                );
                self.good += 1;
                attempt - 1
            }
            Err(error) => {
                let attempts = error.attempts();
                assert!(runs <= attempts, "job {n} ran {runs} times: {error}");
                assert!(attempts <= plan.attempts, "job {n}: {error}");
                let is_left = matches!(plan.leave, Leave::Cancel | Leave::Kill);
                match error.kind() {
                    JobErrorKind::Crashed(exit) => {
                        let killed = *exit == WorkerExit::Signal(libc::SIGKILL);
                        assert!(killed || Some(*exit) == plan.exit(), "job {n}: {error}");
                        assert_eq!(attempts, plan.attempts, "job {n}: {error}");
                        self.crashed += 1;
                        attempts
                    }
                    JobErrorKind::Panicked(info) if plan.kind == Kind::Panics => {
                        assert_eq!(info.message(), format!("job {n} was asked to"));
                        self.panicked += 1;
                        attempts - 1
                    }
                    JobErrorKind::Cancelled if is_left => {
                        self.cancelled += 1;
                        0
                    }
                    JobErrorKind::TimedOut(_) if matches!(plan.leave, Leave::Timeout(_)) => {
                        self.timed_out += 1;
                        0
                    }
                    _ => panic!("job {n}, {plan:?}: {error}"),
                }
            }
        };
        self.charged += u64::from(charged);
        if plan.exit().is_none() {
            self.charged_innocent += u64::from(charged);
        }
    }
}

fn check(plan: &Plan, answer: &Answer) {
    let n = plan.n;
    assert!(plan.exit().is_none() && plan.kind != Kind::Panics, "job {n} ended well");
    assert_eq!(answer.mark, mark(n), "the output of job {n}");
    assert!(answer.payload == plan.answer(), "the output of job {n} is another's or torn");
    assert_eq!(answer.sum, sum(&answer.payload), "the output of job {n}");
}

/// What the jobs without a structure say, as those with one say it.
fn of_bare(mark: u64) -> Answer {
    Answer { mark, attempt: 1, payload: Vec::new(), sum: sum(&[]) }
}

fn of_raw(plan: &Plan, bytes: &[u8]) -> Answer {
    assert!(bytes == plan.raw_answer(), "the output of job {} is another's or torn", plan.n);
    let payload = plan.answer();
    let sum = sum(&payload);
    Answer { mark: mark(plan.n), attempt: 1, payload, sum }
}

fn question(plan: &Plan) -> Question {
    let payload = plan.question();
    let sum = sum(&payload);
    Question { n: plan.n, payload, sum }
}

/// The options that its plan gives to a call.
fn with_options<J: Job>(call: Call<J>, plan: &Plan) -> Call<J> {
    let mut chance = plan.chance.clone();
    let call = call.label(plan.n.to_string());
    let call = match chance.below(16) {
        0 => call.priority(Priority::High),
        1 => call.priority(Priority::Low),
        _ => call,
    };
    let call = match plan.attempts {
        1 => call,
        attempts => call.retry(RetryPolicy::attempts(attempts)),
    };
    let call = match plan.leave {
        Leave::Cancel if chance.below(2) == 0 => call.grace_period(Duration::from_millis(2)),
        Leave::Timeout(micros) => call.timeout(Duration::from_micros(micros)),
        _ => call,
    };
    // Nothing comes near it, but such jobs are not handed ahead.
    if chance.below(1000) == 0 { call.memory_limit(4 << 30) } else { call }
}

enum Handle {
    Bare(JobHandle<u64>),
    Raw(JobHandle<Vec<u8>>),
    Full(JobHandle<Answer>),
}

/// The same for all kinds of handles.
macro_rules! each {
    ($handle:expr, $job:ident => $does:expr) => {
        match $handle {
            Handle::Bare($job) => $does,
            Handle::Raw($job) => $does,
            Handle::Full($job) => $does,
        }
    };
}

/// A job that was submitted.
struct Flight {
    plan: Plan,
    job: Handle,
    progress: Option<ProgressStream>,
    /// It had ended when its sleepy waker came.
    ended: Option<Result<Answer, JobError>>,
}

impl Flight {
    fn begin(pool: &Pool, plan: Plan, quits: &Sender<Quits>) -> Flight {
        let n = plan.n;
        let job = match plan.shape {
            Shape::Bare => Handle::Bare(pool.submit(with_options(call!(bare, n), &plan))),
            Shape::Raw => {
                Handle::Raw(pool.submit(with_options(call!(raw, plan.raw_question()), &plan)))
            }
            Shape::Full => {
                Handle::Full(pool.submit(with_options(call!(full, question(&plan)), &plan)))
            }
            Shape::Later => {
                Handle::Full(pool.submit(with_options(call!(later, question(&plan)), &plan)))
            }
        };
        let mut flight = Flight { plan, job, progress: None, ended: None };
        let plan = &mut flight.plan;
        if plan.kind == Kind::Tells && plan.chance.below(2) == 0 {
            flight.progress = Some(each!(&flight.job, job => job.progress()));
        }
        if matches!(plan.leave, Leave::Cancel | Leave::Kill) {
            let job = each!(&flight.job, job => job.canceller());
            let kills = plan.leave == Leave::Kill;
            let wait = plan.chance.micros(1000);
            let one = Quits { job, kills, at: Instant::now() + wait };
            match plan.chance.below(3) {
                0 => one.now(),
                _ => quits.send(one).unwrap(),
            }
        }
        if let Some(delay) = plan.delay {
            flight.ended = match &mut flight.job {
                Handle::Bare(job) => leave_sleepy_waker(job, delay).map(|it| it.map(of_bare)),
                Handle::Raw(job) => {
                    let ended = leave_sleepy_waker(job, delay);
                    ended.map(|it| it.map(|bytes| of_raw(plan, &bytes)))
                }
                Handle::Full(job) => leave_sleepy_waker(job, delay),
            };
        }
        flight
    }

    async fn end(self, home: Home, ends: &mut Ends) {
        let Flight { plan, job, progress, ended } = self;
        if let Some(mut progress) = progress {
            let from = format!("{} ", plan.n);
            while let Some(told) = progress.next().await {
                let is_its = told.total == plan.n || told.total == 0;
                assert!(is_its && told.done < STEPS, "job {} said {told:?}", plan.n);
                let message = told.message.unwrap_or_else(|| from.clone());
                assert!(message.starts_with(&from), "job {} said {message:?}", plan.n);
            }
        }
        let ended = match (ended, home) {
            (Some(ended), _) => ended,
            (None, Home::Threads) => match job {
                Handle::Bare(job) => job.wait().map(of_bare),
                Handle::Raw(job) => job.wait().map(|bytes| of_raw(&plan, &bytes)),
                Handle::Full(job) => job.wait(),
            },
            (None, _) => match job {
                Handle::Bare(job) => job.await.map(of_bare),
                Handle::Raw(job) => job.await.map(|bytes| of_raw(&plan, &bytes)),
                Handle::Full(job) => job.await,
            },
        };
        ends.take(&plan, ended);
    }
}

/// One of those who hand jobs over: stretch by stretch, each in another way, until all jobs below
/// `last` have been taken.
async fn submit(
    pool: Pool,
    home: Home,
    next: &AtomicU64,
    last: u64,
    mut chance: Chance,
    quits: Sender<Quits>,
) -> Ends {
    let seed = Board::shared().seed();
    let mut ends = Ends::default();
    loop {
        let length = 1 + chance.below(STRETCH);
        let first = next.fetch_add(length, Ordering::Relaxed);
        if first >= last {
            return ends;
        }
        let mut plans = (first..last.min(first + length)).map(|n| Plan::of(seed, n));
        let way = chance.below(AHEAD.len() as u64 + 2) as usize;
        let Some(&ahead) = AHEAD.get(way) else {
            let is_ordered = way == AHEAD.len();
            map(&pool, home, plans.collect(), is_ordered, &quits, &mut ends).await;
            continue;
        };
        let mut in_flight = VecDeque::new();
        loop {
            let plan = plans.next();
            let is_over = plan.is_none();
            in_flight.extend(plan.map(|plan| Flight::begin(&pool, plan, &quits)));
            while in_flight.len() >= ahead || is_over {
                let Some(flight) = in_flight.pop_front() else { break };
                flight.end(home, &mut ends).await;
            }
            if is_over {
                break;
            }
        }
    }
}

/// Those that can be mapped are; the others are submitted.
async fn map(
    pool: &Pool,
    home: Home,
    plans: Vec<Plan>,
    is_ordered: bool,
    quits: &Sender<Quits>,
    ends: &mut Ends,
) {
    let (bares, others): (Vec<_>, Vec<_>) =
        plans.into_iter().partition(|plan| plan.shape == Shape::Bare);
    let (fulls, others): (Vec<_>, Vec<_>) =
        others.into_iter().partition(|plan| plan.shape == Shape::Full);
    let others: Vec<_> = others.into_iter().map(|plan| Flight::begin(pool, plan, quits)).collect();
    let call_bare = |plan: &Plan| with_options(call!(bare, plan.n), plan);
    map_each(pool, home, &bares, is_ordered, call_bare, of_bare, ends).await;
    let call_full = |plan: &Plan| with_options(call!(full, question(plan)), plan);
    map_each(pool, home, &fulls, is_ordered, call_full, |answer| answer, ends).await;
    for flight in others {
        flight.end(home, ends).await;
    }
}

async fn map_each<J: Job>(
    pool: &Pool,
    home: Home,
    plans: &[Plan],
    is_ordered: bool,
    to_call: impl Fn(&Plan) -> Call<J>,
    to_answer: impl Fn(J::Output) -> Answer,
    ends: &mut Ends,
) {
    let by_mark: HashMap<u64, &Plan> = plans.iter().map(|plan| (mark(plan.n), plan)).collect();
    let mut in_order = plans.iter();
    let mut take = |result: Result<J::Output, JobError>| {
        let result = result.map(&to_answer);
        let of_it = match &result {
            Ok(answer) => answer.mark,
            Err(error) => mark(error.label().unwrap().parse().unwrap()),
        };
        let plan = by_mark.get(&of_it).expect("a result is that of a job");
        if is_ordered {
            assert_eq!(in_order.next().map(|plan| plan.n), Some(plan.n), "the order");
        }
        ends.take(plan, result);
    };
    let stream = pool.map(plans.iter().map(&to_call));
    let mut stream = if is_ordered { stream } else { stream.unordered() };
    let mut results = 0;
    if home == Home::Threads {
        for result in stream.blocking() {
            take(result);
            results += 1;
        }
    } else {
        while let Some(result) = stream.next().await {
            take(result);
            results += 1;
        }
    }
    assert_eq!(results, plans.len(), "results of a map");
}

/// Lets a few submitters hand over the jobs from `first` on and below `last`.
fn run_at(home: Home, pool: &Pool, jobs: std::ops::Range<u64>, chance: &mut Chance) -> Ends {
    let next: &'static AtomicU64 = Box::leak(Box::new(AtomicU64::new(jobs.start)));
    let (quits, quitters) = channel();
    let quitter = thread::spawn(move || quit(&quitters));
    let mut one =
        || submit(pool.clone(), home, next, jobs.end, Chance(chance.next()), quits.clone());
    let mut ends = Ends::default();
    match home {
        Home::Threads => {
            let all = [(); 3].map(|()| one());
            let threads = all.map(|one| thread::spawn(move || pool::block_on(one)));
            threads.into_iter().for_each(|thread| ends.add(&thread.join().unwrap()));
        }
        // Alone, so that now and then there is one job in the pool and nobody else.
        Home::CurrentThread => {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            ends.add(&runtime.block_on(one()));
        }
        Home::MultiThread => {
            let runtime =
                Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            let all = [(); 3].map(|()| runtime.spawn(one()));
            all.into_iter().for_each(|one| ends.add(&runtime.block_on(one).unwrap()));
        }
    }
    drop(quits);
    quitter.join().unwrap();
    ends
}

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn jobs() -> u64 {
    number_from("POOL_CHAOS_JOBS").unwrap_or(100_000)
}

fn seed() -> u64 {
    let seed = number_from("POOL_CHAOS_SEED").unwrap_or_else(|| {
        let moment = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        moment.as_micros() as u64
    });
    println!("POOL_CHAOS_SEED={seed}");
    seed
}

/// Runs it alone, and shows what it measured.
fn measured<F: FnOnce()>(body: F) {
    let watchdog = Duration::from_secs(60 + jobs() / 1000);
    Isolation::new().alone().watchdog(watchdog).run_and_read(body, |printed| {
        printed
            .lines()
            .filter(|line| line.contains("measured"))
            .for_each(|line| println!("{line}"));
    });
}

#[pool::test]
fn no_job_is_lost_or_run_twice_and_no_more_are_charged_than_workers_died() {
    measured(|| {
        let (seed, jobs) = (seed(), jobs());
        let begin = Instant::now();
        let board = Board::create(seed, jobs);
        let mut chance = Chance(seed);
        let mut ends = Ends::default();
        let (mut kills, mut stops) = (0, 0);
        let homes = [Home::Threads, Home::CurrentThread, Home::MultiThread];
        let legs: Vec<_> =
            homes.into_iter().flat_map(|home| [(home, true), (home, false)]).collect();
        for (leg, &(home, spins)) in legs.iter().enumerate() {
            let of_leg = |leg: usize| jobs * leg as u64 / legs.len() as u64;
            let builder = Pool::builder().workers(WORKERS).spin(spins);
            // Some pools have workers that leave in the middle of it all.
            let builder = if leg % 3 == 0 { builder } else { builder.max_jobs_per_worker(1000) };
            let pool = builder.build().unwrap();
            let disturbance = Disturbance::default();
            thread::scope(|scope| {
                let of_trouble = Chance(chance.next());
                scope.spawn(|| disturbance.run(board, of_trouble));
                let _ends = disturbance.ends_with();
                ends.add(&run_at(home, &pool, of_leg(leg)..of_leg(leg + 1), &mut chance));
            });
            // Whoever runs a job once more does so before the pool is at its end.
            let report = pool::block_on(pool.close());
            assert_eq!((report.succeeded, report.failed, report.cancelled), (0, 0, 0));
            kills += disturbance.kills.into_inner();
            stops += disturbance.stops.into_inner();
        }
        let (mut suicides, mut mines) = (0, 0);
        for n in 0..jobs {
            let runs = u64::from(board.runs(n).load(Ordering::Relaxed));
            let plan = Plan::of(seed, n);
            assert!(runs <= u64::from(plan.attempts), "job {n} ran {runs} times");
            match plan.kind {
                Kind::Dies(_) => suicides += runs,
                Kind::Mines(_) => mines += runs,
                _ => {}
            }
        }
        println!(
            "measured: {jobs} jobs in {:?}, {kills} kills, {stops} stops, {suicides} deaths by \
             jobs and {mines} by mines; {ends:?}",
            begin.elapsed()
        );
        assert_eq!(ends.sum(), jobs);
        assert!(ends.charged <= kills + suicides + mines, "more were charged than died");
        assert!(ends.charged_innocent <= kills + mines, "more were charged than were killed");
    });
}

#[pool::test]
fn of_a_hundred_thousand_jobs_just_those_that_abort_are_charged() {
    measured(|| {
        let (seed, jobs) = (seed(), 100_000);
        let begin = Instant::now();
        let board = Board::create(seed, jobs);
        let mut chance = Chance(seed);
        let mut aborting = HashSet::new();
        while aborting.len() < 101 {
            aborting.insert(chance.below(jobs));
        }
        let pool = Pool::builder().workers(WORKERS).build().unwrap();
        let one = |n| pool.submit(call!(abort_or_not, n, aborting.contains(&n)));
        let handles: Vec<_> = (0..jobs).map(one).collect();
        let mut charged = HashSet::new();
        for (n, job) in (0..jobs).zip(handles) {
            match job.wait() {
                Ok(output) => assert_eq!(output, mark(n)),
                Err(error) => {
                    let aborted = JobErrorKind::Crashed(WorkerExit::Signal(libc::SIGABRT));
                    assert_eq!(*error.kind(), aborted, "job {n}: {error}");
                    charged.insert(n);
                }
            }
            assert_eq!(board.runs(n).load(Ordering::Relaxed), 1, "how often job {n} ran");
        }
        println!("measured: {jobs} jobs in {:?}, {} were charged", begin.elapsed(), charged.len());
        assert_eq!(charged, aborting);
    });
}
