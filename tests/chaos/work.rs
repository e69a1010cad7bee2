//! The jobs of the chaos tests. Each leaves its marks on the board, looks whether its arguments are
//! the right ones, and then does as its plan says.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use pool::JobContext;
use pool_tests::jobs::{self, Death};
use serde::{Deserialize, Serialize};

use crate::board::Board;
use crate::plan::{Kind, Plan, mark, sum};

/// How often each thread says how far it is.
pub(crate) const STEPS: u64 = 12;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Question {
    pub(crate) n: u64,
    pub(crate) payload: Vec<u64>,
    pub(crate) sum: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) mark: u64,
    pub(crate) attempt: u32,
    pub(crate) payload: Vec<u64>,
    pub(crate) sum: u64,
}

#[pool::pool_job]
pub(crate) fn bare(n: u64) -> u64 {
    run(None, &begin(None, n));
    mark(n)
}

#[pool::pool_job]
pub(crate) fn raw(question: Vec<u8>) -> Vec<u8> {
    let mut n = [0; 8];
    n.copy_from_slice(&question[..8]);
    let plan = begin(None, u64::from_le_bytes(n));
    assert!(question == plan.raw_question(), "the arguments of job {} are torn", plan.n);
    run(None, &plan);
    plan.raw_answer()
}

#[pool::pool_job]
pub(crate) fn full(ctx: &JobContext, question: Question) -> Answer {
    let plan = begin(Some(ctx), question.n);
    look_at(&plan, &question);
    run(Some(ctx), &plan);
    answer(ctx, &plan)
}

#[pool::pool_job]
pub(crate) async fn later(ctx: &JobContext, question: Question) -> Answer {
    let plan = begin(Some(ctx), question.n);
    tokio::task::yield_now().await;
    look_at(&plan, &question);
    run(Some(ctx), &plan);
    answer(ctx, &plan)
}

/// Of the test that counts who is charged.
#[pool::pool_job]
pub(crate) fn abort_or_not(n: u64, aborts: bool) -> u64 {
    Board::shared().runs(n).fetch_add(1, Ordering::Relaxed);
    if aborts {
        jobs::die(Death::Abort);
    }
    mark(n)
}

fn begin(ctx: Option<&JobContext>, n: u64) -> Plan {
    let board = Board::shared();
    if let Some(ctx) = ctx {
        board.worker(ctx.worker()).store(std::process::id(), Ordering::Relaxed);
    }
    board.runs(n).fetch_add(1, Ordering::Relaxed);
    Plan::of(board.seed(), n)
}

/// A panic ends as one, which the host expects of no job but those that are to panic.
fn look_at(plan: &Plan, question: &Question) {
    assert!(question.payload == plan.question(), "the arguments of job {} are torn", plan.n);
    assert_eq!(question.sum, sum(&question.payload), "the arguments of job {}", plan.n);
}

fn answer(ctx: &JobContext, plan: &Plan) -> Answer {
    let payload = plan.answer();
    let sum = sum(&payload);
    Answer { mark: mark(plan.n), attempt: ctx.attempt(), payload, sum }
}

fn run(ctx: Option<&JobContext>, plan: &Plan) {
    match plan.kind {
        Kind::NoOp => {}
        Kind::Short(micros) => {
            let until = Instant::now() + Duration::from_micros(micros);
            while Instant::now() < until && !ctx.is_some_and(JobContext::is_cancelled) {
                std::hint::spin_loop();
            }
        }
        Kind::Tells => tell(ctx.expect("who tells has a context"), plan.n),
        Kind::Panics => panic!("job {} was asked to", plan.n),
        Kind::Dies(death) => jobs::die(death),
        Kind::Mines(micros) => {
            thread::spawn(move || {
                thread::sleep(Duration::from_micros(micros));
                jobs::die(Death::Signal(libc::SIGKILL));
            });
        }
    }
}

fn tell(ctx: &JobContext, n: u64) {
    let steps = move |ctx: &JobContext, name: &str| {
        for step in 0..STEPS {
            ctx.progress(step, n);
            ctx.message(format!("{n} {name} {step}"));
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| steps(ctx, "other"));
        steps(ctx, "job's");
    });
    if n % 4 == 0 {
        // Nobody hears of this: the next job has the floor.
        let ctx = ctx.clone();
        thread::spawn(move || steps(&ctx, "late"));
    }
}
