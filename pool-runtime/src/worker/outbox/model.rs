//! The end of a job beside a thread that logs, in every order of events that memory allows: what is
//! said of a job is there before its reply is, and the reply knows of it.
//!
//! This follows `outbox.rs` step by step, under the same names, with the same order of atomics and
//! fences; whoever changes one changes the other. A reply is what it was told of records, and a
//! record the number of its job.

use std::sync::{Arc, Mutex as Plain};

use loom::model::Builder;
use loom::sync::Mutex;
use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use loom::thread;

const NO_SEQ: u64 = u64::MAX;
const JOBS: u64 = 2;

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    Nothing,
    NoFenceInEnd,
    NoFenceInPut,
    /// Whoever logs looks which job runs, and says then that somebody logs.
    LooksFirst,
}

struct Outbox {
    running: AtomicU64,
    has_logged: AtomicBool,
    backlog: Mutex<Vec<u64>>,
    /// All records that ever were in the backlog.
    said: Plain<Vec<u64>>,
    flaw: Flaw,
}

impl Outbox {
    fn begin(&self, seq: u64) {
        self.running.store(seq, Ordering::Release);
    }

    /// Whether the reply to the job has to look at the backlog.
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

    /// What the reply takes along.
    fn reply(&self, had_logged: bool) -> Vec<u64> {
        match had_logged {
            true => std::mem::take(&mut *self.backlog.lock().unwrap()),
            false => Vec::new(),
        }
    }

    fn put(&self) {
        let mut backlog = self.backlog.lock().unwrap();
        let looked = (self.flaw == Flaw::LooksFirst).then(|| self.running());
        self.has_logged.store(true, Ordering::Release);
        self.fence_unless(Flaw::NoFenceInPut);
        let Some(seq) = looked.unwrap_or_else(|| self.running()) else { return };
        backlog.push(seq);
        self.said.lock().unwrap().push(seq);
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

/// Two jobs, and a thread that logs twice. What is still in the backlog at the end was said of no
/// job, or is lost to the replies.
fn jobs_and_a_thread_that_logs(flaw: Flaw) {
    let mut model = Builder::new();
    model.preemption_bound = Some(4);
    model.check(move || {
        let outbox = Arc::new(Outbox {
            running: AtomicU64::new(NO_SEQ),
            has_logged: AtomicBool::new(false),
            backlog: Mutex::default(),
            said: Plain::default(),
            flaw,
        });
        let logger = {
            let outbox = outbox.clone();
            thread::spawn(move || (0..2).for_each(|_| outbox.put()))
        };
        let mut told = Vec::new();
        for seq in 0..JOBS {
            outbox.begin(seq);
            let had_logged = outbox.end();
            let records = outbox.reply(had_logged);
            assert!(records.iter().all(|of| *of == seq), "a record comes with a later reply");
            told.extend(records);
        }
        logger.join().unwrap();
        assert_eq!(told, *outbox.said.lock().unwrap(), "a record comes behind its job's reply");
    });
}

#[test]
fn what_is_said_of_a_job_comes_before_its_reply() {
    jobs_and_a_thread_that_logs(Flaw::Nothing);
}

#[test]
#[should_panic(expected = "a record comes")]
fn there_is_a_fence_between_the_end_and_the_look_for_records() {
    jobs_and_a_thread_that_logs(Flaw::NoFenceInEnd);
}

#[test]
#[should_panic(expected = "a record comes")]
fn there_is_a_fence_between_the_word_that_somebody_logs_and_the_look_for_the_job() {
    jobs_and_a_thread_that_logs(Flaw::NoFenceInPut);
}

#[test]
#[should_panic(expected = "a record comes")]
fn whoever_logs_says_so_before_it_looks_which_job_runs() {
    jobs_and_a_thread_that_logs(Flaw::LooksFirst);
}
