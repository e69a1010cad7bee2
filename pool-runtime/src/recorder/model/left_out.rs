//! What has come over the channel and what was left out add up: whoever peeks begins where a frame
//! does, passes over nothing, and after the worker's end every reply was seen or has come.
//!
//! The channel is a number here: how many bytes the worker has written to it. The driver receives
//! them frame by frame, while another thread looks into the ring.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use loom::model::Builder;
use loom::sync::atomic::AtomicU64;
use loom::thread;

use super::super::ring::{leave_out, left_out, peek, put, see, seen};
use super::{Flaw, Side};

/// Frames of one word and of two, so that it matters which of them was left out.
const FRAMES: [u64; 2] = [8, 16];

/// Moments at which a thread is made to wait though it could go on.
const SWITCHES: usize = 3;

/// What is wrong with either side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mistake {
    Nothing,
    /// The worker says that it has left something out when it has written what comes behind it.
    SaysLate,
    /// The host looks at what was left out first, and then at what has come.
    LooksFirst,
}

/// What the host knows of one worker's replies.
struct Link {
    host: Side,
    mistake: Mistake,
    received: Arc<AtomicU64>,
    seen: Arc<AtomicU64>,
}

impl Link {
    /// As `Link::unseen`.
    fn unseen(&self) -> u64 {
        let early = left_out(&self.host);
        let received = self.received.load(Ordering::Acquire);
        let late = || left_out(&self.host);
        let left_out = if self.mistake == Mistake::LooksFirst { early } else { late() };
        let from = (received + left_out).max(self.seen.load(Ordering::Acquire));
        assert!(from == 0 || from == FRAMES[0] || from == total(), "it begins inside of a frame");
        from
    }

    /// As `Core::take_replies`: under the core's lock, hence by one thread at a time.
    fn look(&self) {
        let from = self.unseen();
        if let Some(copy) = peek(&self.host, from) {
            let to = from + copy.len() as u64;
            self.seen.store(to, Ordering::Release);
            see(&self.host, to);
        }
    }
}

fn total() -> u64 {
    FRAMES.iter().sum()
}

/// The worker puts its frames, and after each of them leaves out what was seen or writes it.
fn answer(worker: &Side, channel: &AtomicU64, mistake: Mistake) {
    let (mut end, mut begin, mut skipped) = (0, 0, 0);
    let mut written = 0;
    for len in FRAMES {
        let frame: Vec<u8> = (0..len / 8).flat_map(|n| (end + 8 * n).to_le_bytes()).collect();
        put(worker, end, &frame, &[]);
        end += len;
        let known = seen(worker).min(end).max(begin);
        skipped += known - begin;
        written += end - known;
        begin = end;
        if matches!(mistake, Mistake::Nothing | Mistake::LooksFirst) {
            leave_out(worker, skipped);
        }
        channel.store(written, Ordering::Release);
    }
    if mistake == Mistake::SaysLate {
        leave_out(worker, skipped);
    }
}

fn answer_while_both_look(mistake: Mistake) {
    let mut model = Builder::new();
    model.preemption_bound = Some(SWITCHES);
    model.check(move || {
        let host = Side::new(Flaw::Nothing);
        let worker = host.worker(usize::MAX);
        let channel = Arc::new(AtomicU64::new(0));
        let word = || Arc::new(AtomicU64::new(0));
        let link = Link { host, mistake, received: word(), seen: word() };
        let wire = channel.clone();
        let answering = thread::spawn(move || answer(&worker, &wire, mistake));
        let looking = {
            let host = link.host.worker(usize::MAX);
            let (received, seen) = (link.received.clone(), link.seen.clone());
            let link = Link { host, mistake, received, seen };
            thread::spawn(move || {
                link.look();
                link.unseen();
            })
        };
        // The driver: all that has come by now.
        link.received.store(channel.load(Ordering::Acquire), Ordering::Release);
        looking.join().unwrap();
        answering.join().unwrap();
        // The worker has ended: the channel is read to its end.
        link.received.store(channel.load(Ordering::Acquire), Ordering::Release);
        assert_eq!(link.unseen(), total(), "the sum is wrong");
    });
}

#[test]
fn what_has_come_and_what_was_left_out_add_up() {
    answer_while_both_look(Mistake::Nothing);
}

#[test]
#[should_panic(expected = "inside of a frame")]
fn what_was_left_out_is_said_before_the_next_is_written() {
    answer_while_both_look(Mistake::SaysLate);
}

#[test]
#[should_panic(expected = "inside of a frame")]
fn what_was_left_out_is_looked_at_last() {
    answer_while_both_look(Mistake::LooksFirst);
}
