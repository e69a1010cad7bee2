//! The end of a job beside a thread that logs, in every order of events that memory allows: what is
//! said of a job is on the channel behind the reply before it and before its own, and each reply is
//! there once.
//!
//! This follows `outbox.rs` step by step, under the same names, with the same order of atomics and
//! fences; whoever changes one changes the other. A frame is a number: a reply's is that of its job, a
//! record's is that and [`RECORD`]. The ring has room for so few that it goes round.

use std::sync::Arc;

use loom::model::Builder;
use loom::sync::Mutex;
use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use loom::thread;

const NO_SEQ: u64 = u64::MAX;
const RECORD: u64 = 1 << 32;
/// Replies that the ring has room for, and that are held back at most.
const BATCH: u64 = 2;

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    Nothing,
    NoFenceInEnd,
    NoFenceInPut,
    /// Whoever logs looks which job runs, and says then that somebody logs.
    LooksFirst,
    /// Whoever writes looks for replies, and then for records.
    RepliesFirst,
    /// Whoever takes replies out of the ring says so, and copies them then.
    SaysFirst,
    /// The worker waits though what was taken out of the ring may not be written.
    ForgetsRest,
    /// That something was taken is said once it is.
    SaysRestLast,
}

#[derive(Default)]
struct Gate {
    rest: Vec<u64>,
    /// What is on the channel.
    written: Vec<u64>,
}

struct Outbox {
    running: AtomicU64,
    has_logged: AtomicBool,
    backlog: Mutex<Vec<u64>>,
    gate: Mutex<Gate>,
    has_rest: AtomicBool,
    /// Whoever logs finds the channel full.
    is_full: bool,
    begin: AtomicU64,
    end: AtomicU64,
    ring: [AtomicU64; BATCH as usize],
    flaw: Flaw,
}

impl Outbox {
    fn new(flaw: Flaw, is_full: bool) -> Arc<Outbox> {
        Arc::new(Outbox {
            running: AtomicU64::new(NO_SEQ),
            has_logged: AtomicBool::new(false),
            backlog: Mutex::default(),
            gate: Mutex::default(),
            has_rest: AtomicBool::new(false),
            is_full,
            begin: AtomicU64::new(0),
            end: AtomicU64::new(0),
            ring: std::array::from_fn(|_| AtomicU64::new(0)),
            flaw,
        })
    }

    fn begin(&self, seq: u64) {
        self.running.store(seq, Ordering::Release);
    }

    /// Whether the job has logged.
    fn end(&self) -> bool {
        self.running.store(NO_SEQ, Ordering::Release);
        self.fence_unless(Flaw::NoFenceInEnd);
        let has_logged = self.has_logged.load(Ordering::Acquire);
        if has_logged {
            let backlog = self.backlog.lock().unwrap();
            self.has_logged.store(false, Ordering::Relaxed);
            drop(backlog);
        }
        has_logged
    }

    fn reply(&self, seq: u64, had_logged: bool) {
        if had_logged {
            let mut gate = self.gate.lock().unwrap();
            self.write_rest(&mut gate);
            return gate.written.push(seq);
        }
        let end = self.end.load(Ordering::Relaxed);
        self.ring[(end % BATCH) as usize].store(seq, Ordering::Relaxed);
        self.end.store(end + 1, Ordering::Release);
        if self.held() >= BATCH {
            self.write_rest(&mut self.gate.lock().unwrap());
        }
    }

    fn held(&self) -> u64 {
        let begin = self.begin.load(Ordering::Acquire);
        self.end.load(Ordering::Acquire) - begin
    }

    /// Before the worker waits.
    fn write_replies(&self) {
        let has_rest = || self.flaw != Flaw::ForgetsRest && self.has_rest.load(Ordering::Acquire);
        if self.held() > 0 || has_rest() {
            self.write_rest(&mut self.gate.lock().unwrap());
        }
    }

    fn write_rest(&self, gate: &mut Gate) {
        self.take_to(gate);
        self.flush(gate);
    }

    fn flush(&self, gate: &mut Gate) {
        let Gate { rest, written } = gate;
        written.append(rest);
        self.has_rest.store(false, Ordering::Release);
    }

    fn take_to(&self, gate: &mut Gate) {
        let looked = (self.flaw == Flaw::RepliesFirst).then(|| self.end.load(Ordering::Acquire));
        if self.flaw != Flaw::SaysRestLast {
            self.has_rest.store(true, Ordering::Release);
        }
        let mut backlog = self.backlog.lock().unwrap();
        let begin = self.begin.load(Ordering::Relaxed);
        let end = looked.unwrap_or_else(|| self.end.load(Ordering::Acquire));
        if self.flaw == Flaw::SaysFirst {
            self.begin.store(end, Ordering::Release);
        }
        let word = |at: u64| self.ring[(at % BATCH) as usize].load(Ordering::Relaxed);
        gate.rest.extend((begin..end).map(word));
        if self.flaw != Flaw::SaysFirst {
            self.begin.store(end, Ordering::Release);
        }
        gate.rest.append(&mut backlog);
        if self.flaw == Flaw::SaysRestLast {
            self.has_rest.store(true, Ordering::Release);
        }
    }

    fn log(&self) {
        self.put();
        // Unless somebody else writes, who looks at it afterwards.
        let mut gate = self.gate.lock().unwrap();
        self.take_to(&mut gate);
        if !self.is_full {
            self.flush(&mut gate);
        }
    }

    fn put(&self) {
        let mut backlog = self.backlog.lock().unwrap();
        let looked = (self.flaw == Flaw::LooksFirst).then(|| self.running());
        self.has_logged.store(true, Ordering::Release);
        self.fence_unless(Flaw::NoFenceInPut);
        if let Some(seq) = looked.unwrap_or_else(|| self.running()) {
            backlog.push(seq | RECORD);
        }
    }

    fn running(&self) -> Option<u64> {
        Some(self.running.load(Ordering::SeqCst)).filter(|seq| *seq != NO_SEQ)
    }

    fn fence_unless(&self, flaw: Flaw) {
        if self.flaw != flaw {
            fence(Ordering::SeqCst);
        }
    }
}

/// Some jobs, the last of which logs, and a thread that logs so often.
fn jobs_and_a_thread_that_logs(flaw: Flaw, jobs: u64, logs: u32) {
    let mut model = Builder::new();
    model.preemption_bound = Some(4);
    model.check(move || {
        let outbox = Outbox::new(flaw, false);
        let logger = {
            let outbox = outbox.clone();
            thread::spawn(move || (0..logs).for_each(|_| outbox.log()))
        };
        for seq in 0..jobs {
            outbox.begin(seq);
            if seq + 1 == jobs {
                outbox.log();
            }
            let had_logged = outbox.end();
            outbox.reply(seq, had_logged);
        }
        logger.join().unwrap();
        outbox.write_replies();
        let mut next = 0;
        for frame in &outbox.gate.lock().unwrap().written {
            assert_eq!(frame & !RECORD, next, "a record comes with another job's reply");
            next += u64::from(frame & RECORD == 0);
        }
        assert_eq!(next, jobs, "each reply comes once");
    });
}

/// Two jobs, and a thread that logs, for which the channel is full. Then the worker waits.
fn jobs_and_a_thread_that_logs_in_vain(flaw: Flaw) {
    let mut model = Builder::new();
    model.preemption_bound = Some(4);
    model.check(move || {
        let outbox = Outbox::new(flaw, true);
        let logger = {
            let outbox = outbox.clone();
            thread::spawn(move || outbox.log())
        };
        for seq in 0..2 {
            outbox.begin(seq);
            let had_logged = outbox.end();
            outbox.reply(seq, had_logged);
        }
        outbox.write_replies();
        logger.join().unwrap();
        let gate = outbox.gate.lock().unwrap();
        let replies = gate.written.iter().filter(|frame| **frame & RECORD == 0);
        assert_eq!(replies.count(), 2, "a reply is left to nobody");
    });
}

#[test]
fn what_is_said_of_a_job_comes_before_its_reply() {
    jobs_and_a_thread_that_logs(Flaw::Nothing, 2, 2);
    jobs_and_a_thread_that_logs(Flaw::Nothing, 5, 1);
}

#[test]
#[should_panic(expected = "a record comes")]
fn there_is_a_fence_between_the_end_and_the_look_for_records() {
    jobs_and_a_thread_that_logs(Flaw::NoFenceInEnd, 2, 2);
}

#[test]
#[should_panic(expected = "a record comes")]
fn there_is_a_fence_between_the_word_that_somebody_logs_and_the_look_for_the_job() {
    jobs_and_a_thread_that_logs(Flaw::NoFenceInPut, 2, 2);
}

#[test]
#[should_panic(expected = "a record comes")]
fn whoever_logs_says_so_before_it_looks_which_job_runs() {
    jobs_and_a_thread_that_logs(Flaw::LooksFirst, 2, 2);
}

#[test]
#[should_panic(expected = "a record comes")]
fn replies_are_looked_for_where_no_record_can_come_behind_them() {
    jobs_and_a_thread_that_logs(Flaw::RepliesFirst, 2, 2);
}

#[test]
#[should_panic(expected = "a record comes")]
fn what_is_taken_out_of_the_ring_is_copied_before_it_may_be_overwritten() {
    jobs_and_a_thread_that_logs(Flaw::SaysFirst, 5, 1);
}

#[test]
fn no_reply_is_left_to_nobody() {
    jobs_and_a_thread_that_logs_in_vain(Flaw::Nothing);
}

#[test]
#[should_panic(expected = "a reply is left to nobody")]
fn what_was_taken_and_not_written_is_seen_to_before_the_worker_waits() {
    jobs_and_a_thread_that_logs_in_vain(Flaw::ForgetsRest);
}

#[test]
#[should_panic(expected = "a reply is left to nobody")]
fn that_something_is_taken_is_said_before_the_batch_is_shorter() {
    jobs_and_a_thread_that_logs_in_vain(Flaw::SaysRestLast);
}
