//! A job is claimed once or recalled once, and a death at any moment leaves the truth behind.

use std::sync::{Arc, Mutex};

use loom::thread;

use super::super::claims::{claim, next, recall};
use super::super::ring::{peek, put};
use super::{Flaw, Side};

/// More changes of words than a worker makes here.
const LIVES: usize = 16;

/// What the worker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Worker {
    Right,
    /// It claims the next job before it has answered the last one.
    ClaimsAhead,
}

/// Whether the host takes back what was not claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Host {
    Recalls,
    OnlyWaits,
}

/// Runs `jobs` jobs as far as they are its own; which these were.
fn serve(side: &Side, worker: Worker, jobs: u64, ran: &Mutex<Vec<u64>>) {
    let (mut end, mut owed) = (0, None);
    let mut answer = |seq: u64| {
        put(side, end, &(seq + 1).to_le_bytes(), &[]);
        end += 8;
    };
    for seq in 0..jobs {
        if !claim(side, seq) {
            continue;
        }
        ran.lock().unwrap().push(seq);
        if worker == Worker::Right {
            answer(seq);
        } else if let Some(last) = owed.replace(seq) {
            answer(last);
        }
    }
    if let Some(last) = owed {
        answer(last);
    }
}

/// The worker was sent two jobs, and a third one after a recall; it dies when it has changed
/// `lives` words.
fn live_and_die(flaw: Flaw, worker: Worker, host: Host, lives: usize) {
    loom::model(move || {
        let side = Side::new(flaw);
        let ran = Arc::new(Mutex::new(Vec::new()));
        let (other, runs) = (side.worker(lives), ran.clone());
        let serving = thread::spawn(move || {
            serve(&other, worker, 3, &runs);
            other.is_dead()
        });
        let first_back = match host {
            Host::Recalls => recall(&side, 2).unwrap(),
            Host::OnlyWaits => 3,
        };
        let is_dead = serving.join().unwrap();
        // Reaped: from here on nothing changes.
        let next = next(&side);
        let ran = ran.lock().unwrap();
        for seq in 0..3 {
            let times = ran.iter().filter(|&&other| other == seq).count();
            let is_back = (first_back..2).contains(&seq);
            let is_claimed = seq < next && !is_back;
            assert!(times <= 1 && (times == 1) == is_claimed, "job {seq} is not where it is said");
            assert!(is_dead || times == 1 || is_back, "job {seq} was lost");
        }
        let answers = peek(&side, 0).unwrap_or_default();
        let wanted: Vec<u8> = ran.iter().flat_map(|seq| (seq + 1).to_le_bytes()).collect();
        assert!(wanted.starts_with(&answers), "an answer to a job that did not run");
        assert!(wanted.len() - answers.len() <= 8, "more than one job is charged for a death");
    });
}

#[test]
fn a_job_is_claimed_or_recalled_and_after_a_death_it_is_known_which() {
    for lives in 0..=LIVES {
        live_and_die(Flaw::Nothing, Worker::Right, Host::Recalls, lives);
        live_and_die(Flaw::Nothing, Worker::Right, Host::OnlyWaits, lives);
    }
}

#[test]
#[should_panic(expected = "is not where it is said")]
fn a_claim_is_one_step() {
    live_and_die(Flaw::TornExchange, Worker::Right, Host::Recalls, LIVES);
}

#[test]
#[should_panic(expected = "more than one job is charged")]
fn a_job_is_answered_before_the_next_one_is_claimed() {
    for lives in 0..=LIVES {
        live_and_die(Flaw::Nothing, Worker::ClaimsAhead, Host::OnlyWaits, lives);
    }
}
