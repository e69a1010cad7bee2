//! The ring of replies: what the worker has answered, for the host to look at whenever it wants.
//!
//! ```text
//!  128  reserved   up to where the worker may be writing
//!  192  committed  up to where everything is written
//! 1472  watched    seq + 1 of the last job whose reply the host looks for by itself
//! 1536  seen       up to where the host has booked what it found there
//! 1600  left out   how many bytes of it were seen and never went over the channel
//! 4096  the bytes, 64 KiB; offsets count on and on, and wrap in here
//! ```
//!
//! A reply is *put* here before it goes over the channel, perhaps much later and together with
//! others. So it counts from the moment that it is committed: the host *peeks* when it has to
//! know (a death, a recall, a timeout), and when somebody waits for this very reply.
//!
//! 1. The worker stores `reserved`, then (release fence) the bytes, then `committed` (release).
//! 2. The host loads `committed` (acquire), copies, then (acquire fence) loads `reserved`: the
//!    copy counts only if what may have been written meanwhile is still no full round ahead of
//!    its beginning. To load `committed` again instead is not enough: the bytes of the next
//!    frame are written before that changes.
//! 3. The worker overwrites only what it has written to the channel, or what the host has seen:
//!    what a peek finds gone is on its way there.
//! 4. What was seen need not go over the channel. The worker stores how much it has left out
//!    before it writes what comes behind that. So what has come over the channel and what was
//!    left out add up to an offset, or to one that was seen: the host looks first at what has
//!    come, then at what was left out, then at what it has seen.

use std::sync::atomic::Ordering;

use super::Recorder;
use super::memory::{Memory, Place};
use crate::wire::word;

const WORD: usize = 8;

/// The number of the word that offset `at` lies in.
fn word_of<M: Memory>(at: u64) -> usize {
    (at % M::LEN) as usize / WORD
}

/// Worker: writes a frame at offset `at`, which is where the last one ended: a head of whole words,
/// and a body that is filled up to whole words with zeroes.
pub(super) fn put<M: Memory>(memory: &M, at: u64, head: &[u8], body: &[u8]) {
    debug_assert!(at % WORD as u64 == 0 && head.len() % WORD == 0);
    let end = at + (head.len() + body.len().next_multiple_of(WORD)) as u64;
    memory.store(Place::Reserved, end, Ordering::Relaxed);
    // Whoever sees one of the bytes sees this number, too.
    memory.fence(Ordering::Release);
    let mut at = at;
    let mut write = |bytes: &[u8]| {
        memory.store(Place::Ring(word_of::<M>(at)), word(bytes), Ordering::Relaxed);
        at += WORD as u64;
    };
    head.chunks_exact(WORD).for_each(&mut write);
    let words = body.chunks_exact(WORD);
    let rest = words.remainder();
    words.for_each(&mut write);
    if !rest.is_empty() {
        write(rest);
    }
    memory.store(Place::Committed, end, Ordering::Release);
}

/// Worker: see [`Recorder::take`].
fn take<M: Memory>(memory: &M, from: u64, to: u64, into: &mut Vec<u8>) {
    let begin = into.len();
    into.resize(begin + (to - from) as usize, 0);
    let mut at = from;
    for bytes in into[begin..].chunks_exact_mut(WORD) {
        let word = memory.load(Place::Ring(word_of::<M>(at)), Ordering::Relaxed);
        bytes.copy_from_slice(&word.to_le_bytes());
        at += WORD as u64;
    }
}

/// Host: a copy of all that is committed from offset `from` on. `None` if that is nothing, is
/// overwritten already, or cannot be.
pub(super) fn peek<M: Memory>(memory: &M, from: u64) -> Option<Vec<u8>> {
    let committed = memory.load(Place::Committed, Ordering::Acquire);
    let len = committed.checked_sub(from).filter(|len| (1..=M::LEN).contains(len))?;
    let words = len / WORD as u64;
    let mut bytes = Vec::with_capacity(len as usize);
    for at in (0..words).map(|n| from + n * WORD as u64) {
        let word = memory.load(Place::Ring(word_of::<M>(at)), Ordering::Relaxed);
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    // The number is looked at after all that was copied.
    memory.fence(Ordering::Acquire);
    let reserved = memory.load(Place::Reserved, Ordering::Relaxed);
    (reserved.wrapping_sub(from) <= M::LEN).then_some(bytes)
}

/// Host: see [`Recorder::see`].
pub(super) fn see<M: Memory>(memory: &M, to: u64) {
    memory.store(Place::Seen, to, Ordering::Release);
}

/// Worker: see [`Recorder::seen`].
pub(super) fn seen<M: Memory>(memory: &M) -> u64 {
    memory.load(Place::Seen, Ordering::Acquire)
}

/// Worker: see [`Recorder::leave_out`].
pub(super) fn leave_out<M: Memory>(memory: &M, in_all: u64) {
    memory.store(Place::LeftOut, in_all, Ordering::Release);
}

/// Host: see [`Recorder::left_out`].
pub(super) fn left_out<M: Memory>(memory: &M) -> u64 {
    memory.load(Place::LeftOut, Ordering::Acquire)
}

/// Host: see [`Recorder::watch`].
pub(super) fn watch<M: Memory>(memory: &M, seq: u64) {
    memory.store(Place::Watched, seq + 1, Ordering::SeqCst);
}

/// Host: see [`Recorder::unwatch`].
pub(super) fn unwatch<M: Memory>(memory: &M) {
    memory.store(Place::Watched, 0, Ordering::SeqCst);
    memory.fence(Ordering::SeqCst);
}

/// Worker: see [`Recorder::is_watched`].
pub(super) fn is_watched<M: Memory>(memory: &M, seq: u64) -> bool {
    memory.fence(Ordering::SeqCst);
    memory.load(Place::Watched, Ordering::SeqCst) > seq
}

impl Recorder {
    /// Worker: puts a frame into the ring at offset `at`, the end of the last one: a head of whole
    /// words, and a body that is filled up to whole words with zeroes. What lies a round before its
    /// end must be on the channel.
    pub(crate) fn put(&self, at: u64, head: &[u8], body: &[u8]) {
        put(self, at, head, body);
    }

    /// Worker: appends the frames between two offsets that it has put, and not overwritten, to what
    /// is to be written to the channel.
    pub(crate) fn take(&self, from: u64, to: u64, into: &mut Vec<u8>) {
        take(self, from, to, into);
    }

    /// Host: a copy of the frames from offset `from` on, if there are any.
    pub(crate) fn peek(&self, from: u64) -> Option<Vec<u8>> {
        peek(self, from)
    }

    /// Host: whether there may be something beyond offset `from`.
    pub(crate) fn has_news(&self, from: u64) -> bool {
        self.load(Place::Committed, Ordering::Acquire) > from
    }

    /// Host: everything below offset `to` is booked.
    pub(crate) fn see(&self, to: u64) {
        see(self, to);
    }

    /// Worker: up to where everything was booked without the channel.
    pub(crate) fn seen(&self) -> u64 {
        seen(self)
    }

    /// Worker: so many bytes that were seen it has not written to the channel, in all. To be said
    /// before it writes those behind them.
    pub(crate) fn leave_out(&self, in_all: u64) {
        leave_out(self, in_all);
    }

    /// Host: how many bytes of what it has seen will not come over the channel, as far as the
    /// worker says.
    pub(crate) fn left_out(&self) -> u64 {
        left_out(self)
    }

    /// Host: says that it is about to look into the ring for the reply to job `seq`, over and over.
    pub(crate) fn watch(&self, seq: u64) {
        watch(self, seq);
    }

    /// Host: says that it has ceased to. After that it has to look once more: the worker may have
    /// seen the old word.
    pub(crate) fn unwatch(&self) {
        unwatch(self);
    }

    /// Host: whether it has said that it looks, and not taken that back.
    pub(crate) fn is_being_watched(&self) -> bool {
        self.load(Place::Watched, Ordering::Relaxed) != 0
    }

    /// Worker, after it has put the reply to job `seq`: whether the host comes to look for it.
    pub(crate) fn is_watched(&self, seq: u64) -> bool {
        is_watched(self, seq)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::thread;

    use super::super::{RING_LEN, both_sides};
    use super::*;

    #[test]
    fn what_was_put_is_seen_from_any_frame_on() {
        let (host, worker) = both_sides();
        assert_eq!(host.peek(0), None);
        worker.put(0, &[1; 16], &[]);
        worker.put(16, &[2; 8], &[]);
        assert_eq!(host.peek(0).unwrap(), [[1; 8], [1; 8], [2; 8]].concat());
        assert_eq!(host.peek(16).unwrap(), [2; 8]);
        assert_eq!(host.peek(24), None);
        assert!(host.has_news(16) && !host.has_news(24));
    }

    #[test]
    fn the_ring_wraps_and_what_is_overwritten_is_not_shown() {
        let (host, worker) = both_sides();
        let len = RING_LEN as u64;
        let mut at = 0;
        while at < len + 800 {
            worker.put(at, &[(at / 800) as u8; 800], &[]);
            at += 800;
        }
        assert_eq!(host.peek(0), None);
        let from = at - len;
        assert_eq!(host.peek(from).map(|bytes| bytes.len()), Some(RING_LEN));
        assert_eq!(host.peek(at - 800).unwrap(), [((at - 800) / 800) as u8; 800]);
    }

    #[test]
    fn what_is_taken_to_be_written_is_what_was_put_filled_up_to_whole_words() {
        let (host, worker) = both_sides();
        let mut at = 0;
        for len in (0..600).cycle().take(1000) {
            let (head, body) = ([len as u8; 16], vec![7; len]);
            let mut frame = [&head[..], &body].concat();
            frame.resize(frame.len().next_multiple_of(WORD), 0);
            worker.put(at, &head, &body);
            let end = at + frame.len() as u64;
            let mut taken = b"rest".to_vec();
            worker.take(at, end, &mut taken);
            assert_eq!(taken, [b"rest", &frame[..]].concat());
            assert_eq!(host.peek(at).unwrap(), frame);
            at = end;
        }
        assert!(at > 2 * RING_LEN as u64);
    }

    #[test]
    fn rubbish_in_its_words_does_no_harm() {
        let (host, worker) = both_sides();
        for committed in [u64::MAX, RING_LEN as u64 + 1, 7, 12, 1 << 40] {
            worker.store(Place::Committed, committed, Ordering::Release);
            for from in [0, 8, RING_LEN as u64, 1 << 40] {
                for reserved in [0, committed, u64::MAX] {
                    worker.store(Place::Reserved, reserved, Ordering::Release);
                    let copy = host.peek(from);
                    assert!(copy.is_none_or(|copy| copy.len() <= RING_LEN));
                }
            }
        }
    }

    /// A frame of `words` words that all say which one it is.
    fn stamped(at: u64, words: usize) -> Vec<u8> {
        at.to_le_bytes().repeat(words)
    }

    #[test]
    fn a_copy_that_was_overwritten_meanwhile_does_not_count() {
        let (host, worker) = both_sides();
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let (mut at, mut n) = (0, 0);
                while !is_over.load(Ordering::Acquire) && n < 20_000_000 {
                    let words = 1 + n % 97;
                    worker.put(at, &stamped(at, words), &[]);
                    at += (words * WORD) as u64;
                    n += 1;
                    // Where there is one processor only, half a round at a time.
                    if n % 64 == 0 {
                        thread::yield_now();
                    }
                }
            });
            let (mut from, mut copies) = (0, 0);
            while copies < 200 {
                if !host.has_news(from) {
                    thread::yield_now();
                    continue;
                }
                let Some(bytes) = host.peek(from) else {
                    // A full round behind: begin where the writer is now.
                    from = host.load(Place::Committed, Ordering::Acquire);
                    continue;
                };
                let mut at = from;
                let mut stamp = from;
                for word in bytes.chunks_exact(WORD) {
                    let word = u64::from_le_bytes(word.try_into().unwrap());
                    // A word says where its frame began: here, or before.
                    if word != stamp {
                        assert_eq!(word, at, "a torn copy");
                        stamp = at;
                    }
                    at += WORD as u64;
                }
                copies += 1;
                // Near the writer's heels, and sometimes nearly a round behind it.
                if copies % 3 == 0 {
                    from = at;
                }
            }
            is_over.store(true, Ordering::Release);
        });
    }
}
