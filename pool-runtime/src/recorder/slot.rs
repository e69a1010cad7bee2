//! The recorder's slot for the progress of one job.
//!
//! ```text
//!  320  version  odd while somebody writes
//!  328  job      seq + 1 of the job that wrote last; zero: none has
//!  336  done
//!  344  total
//!  352  length   of the message, plus one; zero: there is none
//!  360  the message, at most 1024 bytes
//! 1408  poked    one from the moment that the worker pokes until the host has taken notice
//! ```
//!
//! 1. The worker writes, one thread at a time: version odd, the words, version even. Then it sets
//!    `poked`, and pokes the host only if it was clear.
//! 2. The host clears `poked`, then copies, and looks at the version before and after: a copy
//!    counts only if it is the same and even. It does not wait for a writer: if it gets no whole
//!    copy after some tries, the writer pokes when it is done, since `poked` is clear.
//! 3. Latest wins. A job of a lower number than the last one's has ended, and writes nothing.

use std::sync::atomic::{Ordering, fence};

use super::Recorder;
use crate::stats::Progress;
use crate::wire::MESSAGE_ROOM;

const VERSION: usize = 320;
const JOB: usize = 328;
const DONE: usize = 336;
const TOTAL: usize = 344;
const LENGTH: usize = 352;
const MESSAGE: usize = 360;
const POKED: usize = 1408;
const WORD: usize = 8;
/// Tries of one copy. A writer is done in less time than one of them takes, unless it lost its
/// processor.
const TRIES: usize = 16;

/// What a job says of its progress.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Report<'a> {
    /// So many steps are done, of so many.
    Steps { done: u64, total: u64 },
    /// Something besides; cut at [`MESSAGE_ROOM`] bytes.
    Message(&'a str),
}

/// A whole copy of the slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reported {
    /// Which state of the slot this is; another one has another number.
    pub(crate) version: u64,
    /// Of the job that it is about.
    pub(crate) seq: u64,
    pub(crate) progress: Progress,
}

impl Recorder {
    /// Worker: takes down a report of job `seq`; false if a later job has reported. The caller
    /// sees to it that one thread at a time does this.
    pub(crate) fn report(&self, seq: u64, report: Report<'_>) -> bool {
        let last = self.word(JOB).load(Ordering::Relaxed);
        if last > seq + 1 {
            return false;
        }
        let being_written = self.word(VERSION).load(Ordering::Relaxed) | 1;
        self.word(VERSION).store(being_written, Ordering::Relaxed);
        // Nothing that follows is seen before the odd number.
        fence(Ordering::Release);
        if last != seq + 1 {
            self.word(JOB).store(seq + 1, Ordering::Relaxed);
            for word in [DONE, TOTAL, LENGTH] {
                self.word(word).store(0, Ordering::Relaxed);
            }
        }
        match report {
            Report::Steps { done, total } => {
                self.word(DONE).store(done, Ordering::Relaxed);
                self.word(TOTAL).store(total, Ordering::Relaxed);
            }
            Report::Message(text) => {
                let text = &text.as_bytes()[..floor_char_boundary(text, MESSAGE_ROOM)];
                self.word(LENGTH).store(text.len() as u64 + 1, Ordering::Relaxed);
                for (n, bytes) in text.chunks(WORD).enumerate() {
                    let mut word = [0; WORD];
                    word[..bytes.len()].copy_from_slice(bytes);
                    let word = u64::from_le_bytes(word);
                    self.word(MESSAGE + n * WORD).store(word, Ordering::Relaxed);
                }
            }
        }
        self.word(VERSION).store(being_written.wrapping_add(1), Ordering::Release);
        true
    }

    /// Either side: what was reported last. `None` if nothing was, or if no whole copy could be
    /// had.
    pub(crate) fn reported(&self) -> Option<Reported> {
        for _ in 0..TRIES {
            let version = self.word(VERSION).load(Ordering::Acquire);
            if version % 2 == 1 {
                std::hint::spin_loop();
                continue;
            }
            let read = |word: usize| self.word(word).load(Ordering::Relaxed);
            let (job, done, total) = (read(JOB), read(DONE), read(TOTAL));
            let message = read(LENGTH).checked_sub(1).map(|length| {
                let length = usize::try_from(length).map_or(MESSAGE_ROOM, |n| n.min(MESSAGE_ROOM));
                let words = (0..length.div_ceil(WORD)).map(|n| read(MESSAGE + n * WORD));
                let mut bytes: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
                bytes.truncate(length);
                bytes
            });
            // The version is looked at after all that was copied.
            fence(Ordering::Acquire);
            if self.word(VERSION).load(Ordering::Relaxed) != version {
                continue;
            }
            let message = message.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            let progress = Progress { done, total, message };
            return Some(Reported { version, seq: job.checked_sub(1)?, progress });
        }
        None
    }

    /// Worker, after a report: whether the host has to be poked.
    pub(crate) fn announce(&self) -> bool {
        self.word(POKED).swap(1, Ordering::SeqCst) == 0
    }

    /// Host, before it looks: the next report is to be announced again.
    pub(crate) fn take_notice(&self) {
        // A swap, not a store: whoever did not poke because of it is seen by the look that follows.
        self.word(POKED).swap(0, Ordering::SeqCst);
    }
}

/// The largest length up to `limit` that does not cut a character in two.
fn floor_char_boundary(text: &str, limit: usize) -> usize {
    (0..=limit.min(text.len())).rev().find(|&n| text.is_char_boundary(n)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::AtomicBool;
    use std::thread;

    use super::super::both_sides;
    use super::*;

    fn steps(done: u64, total: u64) -> Report<'static> {
        Report::Steps { done, total }
    }

    fn seen(host: &Recorder) -> (u64, Progress) {
        let reported = host.reported().unwrap();
        (reported.seq, reported.progress)
    }

    #[test]
    fn the_latest_report_of_each_kind_is_seen() {
        let (host, worker) = both_sides();
        assert_eq!(host.reported(), None);
        assert!(worker.report(0, steps(1, 9)));
        let progress = Progress { done: 1, total: 9, message: None };
        assert_eq!(seen(&host), (0, progress.clone()));
        assert!(worker.report(0, Report::Message("half")));
        let progress = Progress { message: Some("half".to_owned()), ..progress };
        assert_eq!(seen(&host), (0, progress.clone()));
        assert!(worker.report(0, steps(2, 9)));
        assert_eq!(seen(&host), (0, Progress { done: 2, ..progress }));
    }

    #[test]
    fn the_next_job_begins_with_nothing_and_an_earlier_one_is_not_heard_any_more() {
        let (host, worker) = both_sides();
        worker.report(3, steps(1, 9));
        worker.report(3, Report::Message("of the third"));
        worker.report(5, Report::Message(""));
        let progress = Progress { message: Some(String::new()), ..Progress::default() };
        assert_eq!(seen(&host), (5, progress.clone()));
        assert!(!worker.report(3, steps(9, 9)));
        assert_eq!(seen(&host), (5, progress));
    }

    #[test]
    fn a_long_message_is_cut_between_two_characters() {
        let (host, worker) = both_sides();
        for text in ["x".repeat(5000), "é".repeat(5000), "x".to_owned() + &"…".repeat(5000)] {
            worker.report(0, Report::Message(&text));
            let message = seen(&host).1.message.unwrap();
            assert!(text.starts_with(&message) && message.len() > MESSAGE_ROOM - 4, "{message}");
            assert!(message.len() <= MESSAGE_ROOM);
        }
    }

    #[test]
    fn the_host_is_poked_once_until_it_takes_notice() {
        let (host, worker) = both_sides();
        assert!(worker.announce());
        assert!(!worker.announce() && !worker.announce());
        host.take_notice();
        assert!(worker.announce());
    }

    #[test]
    fn rubbish_in_the_slot_is_copied_within_its_bounds() {
        let (host, worker) = both_sides();
        worker.report(0, steps(1, 2));
        for word in (JOB..POKED).step_by(WORD) {
            worker.word(word).store(u64::MAX, Ordering::Release);
        }
        let reported = host.reported().unwrap();
        let message = reported.progress.message.unwrap();
        assert_eq!(message.chars().count(), MESSAGE_ROOM);
        assert!(message.chars().all(|c| c == char::REPLACEMENT_CHARACTER));
        // A writer that died in the middle, or one that lies: no copy, and no wait.
        worker.word(VERSION).store(u64::MAX, Ordering::Release);
        assert_eq!(host.reported(), None);
        // A new one goes on from there.
        worker.word(JOB).store(0, Ordering::Release);
        worker.report(1, steps(3, 4));
        assert_eq!(seen(&host).1, Progress { done: 3, total: 4, message: None });
    }

    #[test]
    fn whatever_is_scribbled_meanwhile_the_copy_ends_and_stays_within_its_bounds() {
        let (host, worker) = both_sides();
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut state = 0x9e37_79b9_7f4a_7c15_u64;
                while !stop.load(Ordering::Relaxed) {
                    for word in (VERSION..=POKED).step_by(WORD) {
                        state ^= state << 13;
                        state ^= state >> 7;
                        state ^= state << 17;
                        let value = if state % 3 == 0 { state % 1100 } else { state };
                        worker.word(word).store(value, Ordering::Relaxed);
                    }
                }
            });
            for _ in 0..20_000 {
                host.take_notice();
                if let Some(reported) = host.reported() {
                    let length = reported.progress.message.map_or(0, |m| m.chars().count());
                    assert!(length <= MESSAGE_ROOM);
                }
            }
            stop.store(true, Ordering::Relaxed);
        });
    }

    /// The total that belongs to `done`, and the message that belongs to a number.
    fn check_sum(done: u64) -> u64 {
        done.rotate_left(17).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn check_text(n: u64) -> String {
        format!("{n:016x}").repeat(1 + (n % 60) as usize)
    }

    #[test]
    fn a_torn_copy_is_never_shown() {
        let (host, worker) = both_sides();
        worker.report(0, steps(0, check_sum(0)));
        worker.report(0, Report::Message(&check_text(0)));
        let stop = AtomicBool::new(false);
        let one_at_a_time = Mutex::new(());
        thread::scope(|scope| {
            for thread in 1..=2_u64 {
                let (worker, stop, one_at_a_time) = (&worker, &stop, &one_at_a_time);
                scope.spawn(move || {
                    let mut n = thread;
                    while !stop.load(Ordering::Relaxed) {
                        n += 2;
                        let text = check_text(n);
                        let _one = one_at_a_time.lock().unwrap();
                        worker.report(0, steps(n, check_sum(n)));
                        worker.report(0, Report::Message(&text));
                    }
                });
            }
            let mut whole = 0;
            while whole < 20_000 {
                let Some(Reported { progress, .. }) = host.reported() else { continue };
                assert_eq!(progress.total, check_sum(progress.done));
                let message = progress.message.unwrap();
                let number = u64::from_str_radix(&message[..16], 16).unwrap();
                assert_eq!(message, check_text(number));
                whole += 1;
            }
            stop.store(true, Ordering::Relaxed);
        });
    }
}
