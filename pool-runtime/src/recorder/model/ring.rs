//! A peek shows whole frames or nothing, while the worker writes on and round the ring.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use loom::sync::atomic::AtomicU64;
use loom::thread;

use super::super::memory::Memory;
use super::super::ring::{peek, put};
use super::{Flaw, Side};

/// A frame of two words, which say where they are.
const FRAME: u64 = 16;

/// Puts the frame that begins at `at`.
fn put_at(side: &Side, at: u64) {
    let frame = [at + 1, at + 8 + 1].map(u64::to_le_bytes).concat();
    put(side, at, &frame, &[]);
}

/// Every word of a copy says that it belongs where it was found.
fn assert_whole(from: u64, copy: &[u8]) {
    for (n, word) in copy.chunks_exact(8).enumerate() {
        let word = u64::from_le_bytes(word.try_into().unwrap());
        assert_eq!(word, from + 8 * n as u64 + 1, "a torn copy");
    }
}

/// The worker has put `before` frames when the host peeks from offset `from` on, and puts
/// `meanwhile` more during that.
fn peek_while_it_writes(flaw: Flaw, from: u64, before: u64, meanwhile: u64) {
    loom::model(move || {
        let host = Side::new(flaw);
        // Up to where the worker has put frames, as the host has learnt by another way.
        let told = Arc::new(AtomicU64::new(0));
        let worker = host.worker(usize::MAX);
        for n in 0..before {
            put_at(&worker, n * FRAME);
        }
        told.store(before * FRAME, Ordering::Release);
        let tell = told.clone();
        let writer = thread::spawn(move || {
            for n in before..before + meanwhile {
                put_at(&worker, n * FRAME);
                tell.store((n + 1) * FRAME, Ordering::Release);
            }
        });
        let known = told.load(Ordering::Acquire);
        let copy = peek(&host, from);
        writer.join().unwrap();
        match copy {
            Some(copy) => {
                assert_whole(from, &copy);
                assert!(from + copy.len() as u64 >= known, "a frame was not seen");
            }
            // Nothing was there to be known of, or it was overwritten.
            None => {
                let end = (before + meanwhile) * FRAME;
                assert!(known <= from || end > from + Side::LEN, "a frame was not seen");
            }
        }
    });
}

#[test]
fn a_frame_is_seen_whole_and_as_soon_as_it_is_known_of() {
    peek_while_it_writes(Flaw::Nothing, 0, 0, 2);
    peek_while_it_writes(Flaw::Nothing, FRAME, 1, 1);
}

#[test]
fn a_copy_counts_only_if_the_next_frames_have_not_reached_it_round_the_ring() {
    // A full ring, and the writer comes round: to the words that are copied, and before them.
    peek_while_it_writes(Flaw::Nothing, 0, 2, 1);
    peek_while_it_writes(Flaw::Nothing, FRAME, 2, 1);
    peek_while_it_writes(Flaw::Nothing, FRAME, 2, 2);
    // All of it at once, across the end.
    peek_while_it_writes(Flaw::Nothing, FRAME, 1, 2);
    peek_while_it_writes(Flaw::Nothing, 0, 0, 3);
}

#[test]
#[should_panic(expected = "a torn copy")]
fn to_look_at_committed_again_is_not_enough() {
    peek_while_it_writes(Flaw::CommittedForReserved, 0, 2, 1);
}

#[test]
#[should_panic(expected = "a torn copy")]
fn the_writer_needs_its_fence() {
    peek_while_it_writes(Flaw::NoFence(Ordering::Release), 0, 2, 1);
}

#[test]
#[should_panic(expected = "a torn copy")]
fn the_reader_needs_its_fence() {
    peek_while_it_writes(Flaw::NoFence(Ordering::Acquire), 0, 2, 1);
}

#[test]
#[should_panic(expected = "a torn copy")]
fn what_is_committed_is_written_first() {
    peek_while_it_writes(Flaw::CommittedUnordered, 0, 0, 1);
}
