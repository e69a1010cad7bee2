//! Frame headers: 16 bytes, little endian, the same layout in both directions.
//!
//! ```text
//!  0..4   body length
//!  4      kind
//!  5      flags
//!  6..8   to the worker: the job's number in the table; to the host: run time, [coarse](super::coarse)
//!  8..16  seq of the job
//! ```

use std::fmt;

/// Bytes of a header.
pub(crate) const HEADER_LEN: usize = 16;
/// Frames in the recorder's ring are whole words.
const WORD: usize = 8;
/// Bodies up to this length may lie in the recorder's ring.
pub(crate) const RING_ROOM: usize = 32 * 1024;

/// What the host says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum ToWorker {
    /// The first frame; see [`Welcome`](super::Welcome).
    Welcome = 1,
    /// Arguments of one job.
    Run = 2,
    /// Exit; nothing follows.
    Shutdown = 3,
}

/// What the worker says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum ToHost {
    /// The first frame; see [`Hello`](super::Hello).
    Hello = 1,
    /// The output of one job.
    Done = 2,
    /// A [`PanicReport`](super::PanicReport) in place of an output.
    Panicked = 3,
    /// A [`Refusal`](super::Refusal) in place of an output.
    Failed = 4,
    /// Something the job logged; does not end it.
    Log = 5,
    /// No body: there is news in the recorder.
    Poke = 6,
    /// No body: the worker passed over a frame that was recalled.
    Passed = 7,
    /// What the job said last of its [`Progress`](crate::stats::Progress), before its reply.
    Progress = 8,
}

impl ToHost {
    /// Whether it is the answer to a job, which has ended by it.
    pub(crate) fn ends_job(self) -> bool {
        match self {
            ToHost::Done | ToHost::Panicked | ToHost::Failed => true,
            ToHost::Hello | ToHost::Log | ToHost::Poke | ToHost::Passed | ToHost::Progress => false,
        }
    }
}

/// One direction's kinds.
pub(crate) trait Kind: Copy + PartialEq + fmt::Debug {
    /// The kind with this number.
    fn from_byte(byte: u8) -> Option<Self>;
    /// Its number.
    fn byte(self) -> u8;
    /// The flags it may carry.
    fn flags(self) -> Flags;
}

impl Kind for ToWorker {
    fn from_byte(byte: u8) -> Option<Self> {
        [ToWorker::Welcome, ToWorker::Run, ToWorker::Shutdown]
            .into_iter()
            .find(|k| k.byte() == byte)
    }

    fn byte(self) -> u8 {
        self as u8
    }

    fn flags(self) -> Flags {
        match self {
            ToWorker::Run => Flags::FLUSH.and(Flags::BIG).and(Flags::RAW).and(Flags::CTX),
            ToWorker::Welcome | ToWorker::Shutdown => Flags::NONE,
        }
    }
}

impl Kind for ToHost {
    fn from_byte(byte: u8) -> Option<Self> {
        use ToHost::{Done, Failed, Hello, Log, Panicked, Passed, Poke, Progress};
        let kinds = [Hello, Done, Panicked, Failed, Log, Poke, Passed, Progress];
        let kind = *kinds.get(usize::from(byte).checked_sub(1)?)?;
        (kind.byte() == byte).then_some(kind)
    }

    fn byte(self) -> u8 {
        self as u8
    }

    fn flags(self) -> Flags {
        match self {
            ToHost::Done => Flags::BIG.and(Flags::RAW).and(Flags::RING),
            ToHost::Panicked | ToHost::Failed => Flags::BIG.and(Flags::RING),
            ToHost::Passed | ToHost::Progress => Flags::RING,
            ToHost::Log => Flags::BIG,
            ToHost::Hello | ToHost::Poke => Flags::NONE,
        }
    }
}

/// Properties of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags(u8);

impl Flags {
    pub(crate) const NONE: Flags = Flags(0);
    /// What is held back is to be written before this job begins.
    pub(crate) const FLUSH: Flags = Flags(1);
    /// The body is larger than [`BIG`](super::BIG).
    pub(crate) const BIG: Flags = Flags(2);
    /// The body is one byte string itself.
    pub(crate) const RAW: Flags = Flags(4);
    /// The body begins with a [`Prelude`](super::Prelude).
    pub(crate) const CTX: Flags = Flags(8);
    /// It lies in the recorder's ring, too, and has zeroes behind its body up to a whole word.
    pub(crate) const RING: Flags = Flags(16);

    pub(crate) const fn and(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    pub(crate) const fn and_if(self, condition: bool, other: Flags) -> Flags {
        if condition { self.and(other) } else { self }
    }

    pub(crate) const fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }
}

/// The head of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header<K> {
    pub(crate) len: u32,
    pub(crate) kind: K,
    pub(crate) flags: Flags,
    pub(crate) job: u16,
    pub(crate) seq: u64,
}

impl<K: Kind> Header<K> {
    pub(crate) fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        for (place, word) in bytes.chunks_exact_mut(WORD).zip(self.words()) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// The same in words.
    #[inline]
    pub(crate) fn words(&self) -> [u64; 2] {
        let (kind, flags) = (u64::from(self.kind.byte()), u64::from(self.flags.0));
        [u64::from(self.len) | kind << 32 | flags << 40 | u64::from(self.job) << 48, self.seq]
    }

    /// Zeroes behind the body.
    pub(crate) fn padding(&self) -> usize {
        if self.flags.has(Flags::RING) { (self.len as usize).wrapping_neg() % WORD } else { 0 }
    }

    /// Bytes of the whole frame.
    pub(crate) fn frame_len(&self) -> usize {
        HEADER_LEN + self.len as usize + self.padding()
    }

    /// The kind of a frame with this header, if there is such a kind.
    #[inline]
    pub(crate) fn kind(bytes: &[u8; HEADER_LEN]) -> Option<K> {
        let [_, _, _, _, kind, ..] = *bytes;
        K::from_byte(kind)
    }

    /// Whether `bytes` begin with a whole frame of the same kind, with the same flags and job.
    #[inline]
    pub(crate) fn is_like_first_of(&self, bytes: &[u8]) -> bool {
        let Some(head) = bytes.first_chunk::<HEADER_LEN>() else { return false };
        let len = u32::from_le_bytes(part(head, 0));
        let first = Header { len, ..*self };
        u64::from_le_bytes(part(head, 0)) == first.words()[0] && bytes.len() >= first.frame_len()
    }

    /// Checks everything that can be said of a header by itself.
    #[inline]
    pub(crate) fn decode(bytes: &[u8; HEADER_LEN], limit: u64) -> Result<Self, WireFault> {
        let [_, _, _, _, kind, flags, ..] = *bytes;
        let kind = K::from_byte(kind).ok_or(WireFault::Kind(kind))?;
        let flags = Flags(flags);
        if !kind.flags().has(flags) {
            return Err(WireFault::Flags(flags.0));
        }
        let len = u32::from_le_bytes(part(bytes, 0));
        if u64::from(len) > limit {
            return Err(WireFault::Length { len: len.into(), limit });
        }
        if flags.has(Flags::RING) && len as usize > RING_ROOM {
            return Err(WireFault::Length { len: len.into(), limit: RING_ROOM as u64 });
        }
        let (job, seq) = (u16::from_le_bytes(part(bytes, 6)), u64::from_le_bytes(part(bytes, 8)));
        Ok(Header { len, kind, flags, job, seq })
    }
}

/// `N` bytes from `at` on, which lie inside: where both are constants, one load.
#[inline]
pub(super) fn part<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut part = [0; N];
    part.copy_from_slice(&bytes[at..at + N]);
    part
}

/// What is wrong with what came over the channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WireFault {
    /// No such kind of frame.
    Kind(u8),
    /// Flags that this kind does not have.
    Flags(u8),
    /// A body beyond the limit.
    Length { len: u64, limit: u64 },
    /// A number that is not the one that had to come.
    Seq { seq: u64 },
    /// A kind that must not come now.
    Unexpected(&'static str),
    /// A body that does not say what its kind promises.
    Body(&'static str),
}

impl fmt::Display for WireFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("broke the protocol: ")?;
        match self {
            WireFault::Kind(kind) => write!(f, "a frame of unknown kind {kind}"),
            WireFault::Flags(flags) => write!(f, "a frame with impossible flags {flags:#x}"),
            WireFault::Length { len, limit } => {
                write!(f, "a frame of {len} bytes, more than the limit of {limit}")
            }
            WireFault::Seq { seq } => write!(f, "a reply to job number {seq}, which is not due"),
            WireFault::Unexpected(what) => write!(f, "{what}"),
            WireFault::Body(what) => write!(f, "a malformed {what}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_survives_the_journey() {
        let header = Header {
            len: 77,
            kind: ToWorker::Run,
            flags: Flags::RAW.and(Flags::CTX),
            job: 513,
            seq: u64::MAX - 1,
        };
        assert_eq!(Header::decode(&header.encode(), 77), Ok(header));
    }

    #[test]
    fn the_layout_is_what_the_prose_says() {
        let header = Header {
            len: 0x0403_0201,
            kind: ToHost::Done,
            flags: Flags::RAW,
            job: 0x0605,
            seq: 0x0e0d_0c0b_0a09_0807,
        };
        let bytes = [1, 2, 3, 4, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14];
        assert_eq!(header.encode(), bytes);
    }

    #[test]
    fn whatever_is_wrong_is_named() {
        let decode = |bytes| Header::<ToHost>::decode(&bytes, 100);
        let mut bytes = [0; HEADER_LEN];
        assert_eq!(decode(bytes), Err(WireFault::Kind(0)));
        bytes[4] = ToHost::Poke as u8;
        bytes[5] = Flags::RAW.0;
        assert_eq!(decode(bytes), Err(WireFault::Flags(4)));
        bytes[5] = 0;
        bytes[0] = 101;
        assert_eq!(decode(bytes), Err(WireFault::Length { len: 101, limit: 100 }));
        bytes[0] = 100;
        assert!(decode(bytes).is_ok());
        let header = Header {
            len: RING_ROOM as u32 + 1,
            kind: ToHost::Done,
            flags: Flags::RING,
            job: 0,
            seq: 0,
        };
        assert!(Header::<ToHost>::decode(&header.encode(), u64::MAX).is_err());
    }

    #[test]
    fn a_frame_is_like_another_one_whatever_its_length_and_seq() {
        let (kind, flags) = (ToWorker::Run, Flags::CTX);
        let header = Header { len: 3, kind, flags, job: 7, seq: 1 };
        let frame = |header: Header<ToWorker>| {
            [&header.encode()[..], &vec![0; header.len as usize]].concat()
        };
        let is_like = |other: Header<ToWorker>| header.is_like_first_of(&frame(other));
        assert!(is_like(header) && is_like(Header { len: 9, seq: 2, ..header }));
        assert!(!is_like(Header { job: 8, ..header }));
        assert!(!is_like(Header { flags: flags.and(Flags::FLUSH), ..header }));
        assert!(!is_like(Header { kind: ToWorker::Shutdown, ..header }));
        let bytes = frame(header);
        for len in 0..bytes.len() {
            assert!(!header.is_like_first_of(&bytes[..len]));
        }
        assert!(header.is_like_first_of(&[bytes, vec![1; 5]].concat()));
    }

    #[test]
    fn only_what_lies_in_the_ring_is_padded() {
        for (len, padding) in [(0, 0), (1, 7), (7, 1), (8, 0), (9, 7)] {
            let header = Header { len, kind: ToHost::Done, flags: Flags::RING, job: 0, seq: 0 };
            assert_eq!(header.padding(), padding);
            assert_eq!(header.frame_len() % 8, 0);
            assert_eq!(Header { flags: Flags::NONE, ..header }.padding(), 0);
        }
    }
}
