//! What a cell is made of, and what of that stays as it is, in one word.

use std::sync::Arc;

use super::place::PoolNumber;
use crate::id::JobId;
use crate::os::fork_depth;
use crate::policy::JobOptions;
use crate::wire::Payload;

/// What is known of a job before it is anywhere.
#[derive(Debug)]
pub(crate) struct Order {
    /// Of its function in the table.
    pub(crate) number: u16,
    pub(crate) label: Option<Arc<str>>,
    pub(crate) arguments: Payload,
    pub(crate) raw: bool,
    /// What was asked for this job alone, if anything.
    pub(crate) options: Option<Box<JobOptions>>,
}

/// What does not change in the life of a cell: its number, the pool that it was made for, how deep
/// in a line of forks, whether its arguments are raw, and whether anything particular was asked of
/// it.
#[derive(Clone, Copy)]
pub(super) struct Birth(u64);

impl Birth {
    const ID_BITS: u32 = 50;
    const POOL_BITS: u32 = 8;
    const DEPTH: u64 = 0b111;
    const DEPTH_SHIFT: u32 = Self::ID_BITS + Self::POOL_BITS;
    pub(super) const RAW: u64 = 1 << (Self::DEPTH_SHIFT + 3);
    pub(super) const RARE: u64 = Self::RAW << 1;
    /// Whoever made it looks for its reply.
    pub(super) const FOLLOWED: u64 = Self::RARE << 1;

    pub(super) fn new(id: JobId, pool: Option<PoolNumber>, raw: bool, rare: bool) -> Birth {
        let [_, id] = id.words();
        let pool = pool.map_or(0, |pool| u64::from(pool.byte()));
        let depth = u64::from(fork_depth()) & Self::DEPTH;
        let flag = |is_set, flag| if is_set { flag } else { 0 };
        let word = pool << Self::ID_BITS | depth << Self::DEPTH_SHIFT;
        Birth(id | word | flag(raw, Self::RAW) | flag(rare, Self::RARE))
    }

    pub(super) fn id(self) -> JobId {
        JobId::from_words([0, self.0 & ((1 << Self::ID_BITS) - 1)])
    }

    pub(super) fn pool(self) -> Option<PoolNumber> {
        PoolNumber::of_byte((self.0 >> Self::ID_BITS) as u8)
    }

    pub(super) fn is_foreign(self) -> bool {
        (self.0 >> Self::DEPTH_SHIFT) & Self::DEPTH != u64::from(fork_depth()) & Self::DEPTH
    }

    pub(super) fn set(&mut self, flag: u64) {
        self.0 |= flag;
    }

    pub(super) fn has(self, flag: u64) -> bool {
        self.0 & flag != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_it_gets_in_the_way_of_the_rest() {
        for (raw, rare) in [(false, false), (true, false), (false, true), (true, true)] {
            for byte in [0, 1, u8::MAX] {
                let number = (1 << Birth::ID_BITS) - 7;
                let id = JobId::from_words([0, number]);
                let birth = Birth::new(id, PoolNumber::of_byte(byte), raw, rare);
                assert_eq!(birth.id(), id);
                assert_eq!(birth.pool(), PoolNumber::of_byte(byte));
                assert_eq!((birth.has(Birth::RAW), birth.has(Birth::RARE)), (raw, rare));
                assert!(!birth.is_foreign());
            }
        }
    }
}
