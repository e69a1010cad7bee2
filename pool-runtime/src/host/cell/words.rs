//! Few arguments or the few bytes of an output, in place: nobody has to take turns for them.
//!
//! Arguments are there from the beginning, and whoever ends the job puts its output in their place, in
//! one step. Only the job's core does that, so that nobody reads arguments then. Whatever else is to be
//! done at the end is in a box ([`slot`](super::slot)), under a lock: [`Words::expect_box`] tells whoever
//! ends the job to look there, and whoever puts in a box learns whether it came too late. So one of the
//! two sees the other; `words/model.rs` tries every order.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Output;
use crate::registry::Encoded;
use crate::wire::{Buffer, Payload, word};

#[cfg(test)]
mod model;

/// Bytes that lie in place.
const ROOM: usize = 14;
const LEN_SHIFT: u32 = 48;
const BYTES: u64 = (1 << LEN_SHIFT) - 1;
/// What they are, by two bits.
const WHAT: u64 = 0b11 << 56;
/// The arguments of a job that has not ended.
const ARGUMENTS: u64 = 0;
const OUTPUT: u64 = 1 << 56;
const RAW_OUTPUT: u64 = 2 << 56;
/// There is nothing, or nothing any more.
const NOTHING: u64 = OUTPUT | RAW_OUTPUT;
/// Whoever ends the job has to look into its box.
const BOXED: u64 = 1 << 58;

/// The arguments or the output of a job, if these are few bytes. In two words: what is put together on
/// the stack in parts, and moved right after, has to be waited for.
#[derive(Clone, Copy)]
pub(crate) struct Small {
    /// The first eight bytes.
    low: u64,
    /// Six more, how many there are, and what they are.
    rest: u64,
}

impl Small {
    pub(super) const NOTHING: Small = Small { low: 0, rest: NOTHING };

    #[inline]
    fn of(what: u64, bytes: &[u8]) -> Option<Small> {
        if bytes.len() > ROOM {
            return None;
        }
        let (low, rest) = bytes.split_at(bytes.len().min(8));
        let rest = word(rest) | (bytes.len() as u64) << LEN_SHIFT | what;
        Some(Small { low: word(low), rest })
    }

    #[inline]
    pub(super) fn of_arguments(bytes: &[u8]) -> Option<Small> {
        Small::of(ARGUMENTS, bytes)
    }

    #[inline]
    pub(super) fn of_output(bytes: &[u8], raw: bool) -> Option<Small> {
        Small::of(if raw { RAW_OUTPUT } else { OUTPUT }, bytes)
    }

    #[inline]
    pub(super) fn is_arguments(self) -> bool {
        self.rest & WHAT == ARGUMENTS
    }

    #[inline]
    pub(super) fn is_output(self) -> bool {
        matches!(self.rest & WHAT, OUTPUT | RAW_OUTPUT)
    }

    #[inline]
    fn is_raw(self) -> bool {
        self.rest & WHAT == RAW_OUTPUT
    }

    #[inline]
    pub(crate) fn len(self) -> usize {
        (self.rest >> LEN_SHIFT & 0xf) as usize
    }

    /// Little endian, with zeroes behind.
    #[inline]
    pub(crate) fn words(self) -> [u64; 2] {
        [self.low, self.rest & BYTES]
    }

    /// As a decoder wants it.
    #[inline]
    pub(crate) fn encoded(self) -> Encoded {
        Encoded { bytes: Buffer::of_words(self.len() as u8, self.words()), raw: self.is_raw() }
    }

    pub(super) fn payload(self) -> Payload {
        self.encoded().bytes.into()
    }

    pub(super) fn output(self) -> Output {
        Output { payload: self.payload(), raw: self.is_raw() }
    }
}

/// Where a [`Small`] lies that others read and write at the same time.
pub(super) struct Words {
    low: AtomicU64,
    rest: AtomicU64,
}

impl Words {
    #[inline(always)]
    pub(super) fn new(small: Small) -> Words {
        Words { low: AtomicU64::new(small.low), rest: AtomicU64::new(small.rest) }
    }

    /// As they are. An output is whole.
    #[inline]
    pub(super) fn get(&self) -> Small {
        let rest = self.rest.load(Ordering::Acquire);
        Small { low: self.low.load(Ordering::Relaxed), rest }
    }

    /// Arguments of a job that has no box.
    #[inline]
    pub(super) fn arguments(&self) -> Option<Small> {
        let small = self.get();
        (small.rest & (WHAT | BOXED) == ARGUMENTS).then_some(small)
    }

    /// Puts an output in the place of arguments, if there is no box. By the job's core only: if it does
    /// not succeed the arguments may be gone nevertheless, since it ends the job in any case.
    #[must_use]
    #[inline]
    pub(super) fn end(&self, output: Small) -> bool {
        let old = self.rest.load(Ordering::Relaxed);
        if old & (WHAT | BOXED) != ARGUMENTS {
            return false;
        }
        self.low.store(output.low, Ordering::Relaxed);
        let change =
            self.rest.compare_exchange(old, output.rest, Ordering::AcqRel, Ordering::Relaxed);
        change.is_ok()
    }

    /// There is a box from here on, and whoever ends the job looks into it, unless it has ended by now,
    /// as a look at the words shows. Under the lock of the box.
    pub(super) fn expect_box(&self) {
        self.rest.fetch_or(BOXED, Ordering::AcqRel);
    }

    /// There is a box from the beginning.
    pub(super) fn begin_boxed(&mut self) {
        *self.rest.get_mut() |= BOXED;
    }

    /// Puts these in their place. Under the lock of the box, and by who ends the job.
    pub(super) fn set(&self, small: Small) {
        self.low.store(small.low, Ordering::Relaxed);
        self.rest.store(small.rest | BOXED, Ordering::Release);
    }

    /// The output, once. By whoever has the job's handle. That there is a box may be forgotten here, as
    /// nobody asks any more.
    #[inline]
    pub(super) fn take_output(&self) -> Option<Small> {
        let small = self.get();
        if !small.is_output() {
            return None;
        }
        self.rest.store(NOTHING, Ordering::Relaxed);
        Some(small)
    }
}
