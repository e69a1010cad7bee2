//! The end of a job against those who wait for it, in every order of events that memory allows, by
//! `loom`: whoever went to sleep is woken, whoever sees the end takes the output, whole and once.
//!
//! This follows `words.rs`, `slot.rs` and `outcome.rs` step by step, under the same names; whoever changes
//! one changes the other. The lock is loom's, the output is the same number in both words.

use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use loom::sync::{Arc, Mutex};
use loom::thread;

const WHAT: u64 = 0b11 << 56;
const ARGUMENTS: u64 = 0;
const OUTPUT: u64 = 1 << 56;
const NOTHING: u64 = 0b11 << 56;
const BOXED: u64 = 1 << 58;

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    Nothing,
    /// Whoever ends the job looks whether there is a box, and then stores.
    StoresAtTheEnd,
    /// Whoever waits looks whether the job has ended only before there is a box.
    LooksBeforeBox,
    /// Whoever waits tells nobody that there is a box.
    ExpectsNothing,
    /// The words are read without any order.
    Unordered,
    /// Whoever comes between the output and the status leaves that as it is.
    ForgetsStatus,
}

struct Cell {
    low: AtomicU64,
    rest: AtomicU64,
    /// The box, and in it whether somebody waits, and the output where that is not in place.
    full: Mutex<Option<Full>>,
    is_ended: AtomicBool,
    is_woken: AtomicBool,
    flaw: Flaw,
}

#[derive(Default)]
struct Full {
    waits: bool,
    output: Option<u64>,
}

impl Cell {
    fn new(flaw: Flaw) -> Arc<Cell> {
        Arc::new(Cell {
            low: AtomicU64::new(1),
            rest: AtomicU64::new(ARGUMENTS | 1),
            full: Mutex::new(None),
            is_ended: AtomicBool::new(false),
            is_woken: AtomicBool::new(false),
            flaw,
        })
    }

    /// By the core.
    fn finish_with(&self, output: u64) {
        if self.end(output) {
            self.is_ended.store(true, Ordering::Release);
            return;
        }
        let mut full = self.full.lock().unwrap();
        let full = full.get_or_insert_default();
        full.output = Some(output);
        self.low.store(0, Ordering::Relaxed);
        self.rest.store(NOTHING | BOXED, Ordering::Release);
        if full.waits {
            self.is_woken.store(true, Ordering::Relaxed);
        }
        self.is_ended.store(true, Ordering::Release);
    }

    fn end(&self, output: u64) -> bool {
        let old = self.rest.load(Ordering::Relaxed);
        if old & (WHAT | BOXED) != ARGUMENTS {
            return false;
        }
        self.low.store(output, Ordering::Relaxed);
        if self.flaw == Flaw::StoresAtTheEnd {
            self.rest.store(OUTPUT | output, Ordering::Release);
            return true;
        }
        let new = OUTPUT | output;
        self.rest.compare_exchange(old, new, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// The output if there is one; else whoever asks sleeps until it is woken.
    fn poll(&self) -> Option<u64> {
        if self.is_ended.load(Ordering::Acquire) {
            return Some(self.take());
        }
        if self.waits() {
            return None;
        }
        let output = self.take();
        if self.flaw != Flaw::ForgetsStatus && !self.is_ended.load(Ordering::Acquire) {
            self.is_ended.store(true, Ordering::Release);
        }
        Some(output)
    }

    fn waits(&self) -> bool {
        let mut full = self.full.lock().unwrap();
        if !self.is_open(full.as_ref()) {
            return false;
        }
        full.get_or_insert_default();
        if self.flaw != Flaw::ExpectsNothing {
            self.rest.fetch_or(BOXED, Ordering::AcqRel);
        }
        let is_open = self.flaw == Flaw::LooksBeforeBox || self.is_open(full.as_ref());
        full.as_mut().unwrap().waits = is_open;
        is_open
    }

    fn is_open(&self, full: Option<&Full>) -> bool {
        full.is_none_or(|full| full.output.is_none()) && self.rest() & WHAT == ARGUMENTS
    }

    fn rest(&self) -> u64 {
        let unordered = self.flaw == Flaw::Unordered;
        self.rest.load(if unordered { Ordering::Relaxed } else { Ordering::Acquire })
    }

    /// By whoever has the handle.
    fn take(&self) -> u64 {
        let rest = self.rest();
        if rest & WHAT == OUTPUT {
            let low = self.low.load(Ordering::Relaxed);
            assert_eq!(low, rest & !(WHAT | BOXED), "half of an output");
            self.rest.store(NOTHING, Ordering::Relaxed);
            return low;
        }
        let mut full = self.full.lock().unwrap();
        full.as_mut().and_then(|full| full.output.take()).expect("an output")
    }
}

/// One ends the job while one waits for it, and another one listens.
fn end_and_wait(flaw: Flaw) {
    loom::model(move || {
        let cell = Cell::new(flaw);
        let core = cell.clone();
        let core = thread::spawn(move || core.finish_with(7));
        let listener = cell.clone();
        let listener = thread::spawn(move || listener.waits());
        let first = cell.poll();
        let is_ended = cell.is_ended.load(Ordering::Relaxed);
        assert!(first.is_none() || is_ended, "an output of a job that runs");
        core.join().unwrap();
        let listens = listener.join().unwrap();
        let is_woken = cell.is_woken.load(Ordering::Relaxed);
        assert!(is_woken || !listens && first.is_some(), "somebody sleeps for ever");
        assert_eq!(first.or_else(|| cell.poll()), Some(7));
    });
}

#[test]
fn whoever_waits_is_woken_or_sees_the_end() {
    end_and_wait(Flaw::Nothing);
}

#[test]
#[should_panic(expected = "somebody sleeps for ever")]
fn the_end_and_the_box_see_each_other() {
    end_and_wait(Flaw::StoresAtTheEnd);
}

#[test]
#[should_panic(expected = "somebody sleeps for ever")]
fn whoever_waits_looks_again_once_there_is_a_box() {
    end_and_wait(Flaw::LooksBeforeBox);
}

#[test]
#[should_panic(expected = "somebody sleeps for ever")]
fn the_end_is_told_of_the_box() {
    end_and_wait(Flaw::ExpectsNothing);
}

#[test]
#[should_panic(expected = "an output of a job that runs")]
fn whoever_has_the_output_sees_that_the_job_has_ended() {
    end_and_wait(Flaw::ForgetsStatus);
}

#[test]
#[should_panic(expected = "half of an output")]
fn the_words_are_read_in_order() {
    end_and_wait(Flaw::Unordered);
}
