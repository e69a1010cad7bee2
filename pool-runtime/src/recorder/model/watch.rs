//! A reply is looked for by the host, or written to the channel: it is never left in the ring
//! with both sides gone to sleep.
//!
//! Whoever waits for a short job reads the ring and never the channel, which is the driver's alone
//! to read. So there is one word to agree on, and nothing that one of them would have to hand to
//! the other.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use loom::sync::atomic::AtomicU64;
use loom::thread;

use super::super::ring::{is_watched, peek, put, see, seen, unwatch, watch};
use super::{Flaw, Side};

/// Bytes of a reply.
const REPLY: u64 = 8;

/// What the host does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Helper {
    Right,
    /// It goes to sleep without a last look.
    LooksNoMore,
}

/// Books what is in the ring; up to where, from then on.
fn look(host: &Side, from: u64) -> u64 {
    match peek(host, from) {
        Some(copy) => {
            let to = from + copy.len() as u64;
            see(host, to);
            to
        }
        None => from,
    }
}

/// A host that looks for the last reply for a moment, beside a worker that answers `replies` jobs,
/// each time as it does while it looks for the next one, and then has something else to do for long.
fn help_while_it_answers(flaw: Flaw, helper: Helper, replies: u64) {
    loom::model(move || {
        let host = Side::new(flaw);
        // Up to where replies were written to the channel.
        let channel = Arc::new(AtomicU64::new(0));
        let (worker, write) = (host.worker(usize::MAX), channel.clone());
        watch(&host, replies - 1);
        let worker = thread::spawn(move || {
            for n in 0..replies {
                put(&worker, n * REPLY, &(n + 1).to_le_bytes(), &[]);
                let end = (n + 1) * REPLY;
                if !is_watched(&worker, n) && seen(&worker) < end {
                    write.store(end, Ordering::Release);
                }
            }
        });
        let mut booked = look(&host, 0);
        unwatch(&host);
        if helper == Helper::Right {
            booked = look(&host, booked);
        }
        worker.join().unwrap();
        let written = channel.load(Ordering::Acquire);
        assert_eq!(booked.max(written), replies * REPLY, "a reply is left behind");
    });
}

#[test]
fn a_reply_is_seen_or_written() {
    help_while_it_answers(Flaw::Nothing, Helper::Right, 1);
    help_while_it_answers(Flaw::Nothing, Helper::Right, 2);
}

#[test]
#[should_panic(expected = "a reply is left behind")]
fn the_last_look_comes_after_the_word_is_taken_back() {
    help_while_it_answers(Flaw::Nothing, Helper::LooksNoMore, 1);
}

#[test]
#[should_panic(expected = "a reply is left behind")]
fn both_sides_need_their_fences() {
    help_while_it_answers(Flaw::NoFence(Ordering::SeqCst), Helper::Right, 1);
}
