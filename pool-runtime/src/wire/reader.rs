//! Cuts a stream of bytes into frames, for both houses and both directions.
//!
//! Small frames are parsed out of one buffer; the rest of a large body is read straight into
//! its own vector. What a header promises costs nothing: memory is touched only as bytes come, and
//! even room without memory is taken in proportion to what came.

use std::io;

use super::frame::{Flags, HEADER_LEN, Header, Kind, WireFault};
use super::message::{PRELUDE_LEN, Prelude};
use super::payload::Payload;

/// What one read asks for at most.
const CHUNK: usize = 64 * 1024;
/// The first allocation for a body.
const FIRST_GRANT: usize = 1 << 20;
/// Later ones are for so many times what came. That is room only, as no byte of it is touched before
/// one comes to lie there; and most bodies grow once and are hardly ever copied.
const TRUST: usize = 64;

/// Where bytes come from: a channel, or a test.
pub(crate) trait Source {
    /// Appends at most `max` bytes to `buffer`'s spare capacity; zero is the end.
    fn read_into(&mut self, buffer: &mut Vec<u8>, max: usize) -> io::Result<usize>;

    /// `buffer` has new spare capacity, of which nothing was touched yet.
    fn has_grown(&mut self, _buffer: &mut Vec<u8>) {}
}

/// One whole frame.
#[derive(Debug)]
pub(crate) struct Frame<'a, K> {
    pub(crate) header: Header<K>,
    /// Where the header's flags say that there is one.
    pub(crate) prelude: Option<Prelude>,
    /// Without the prelude.
    pub(crate) body: FrameBody<'a>,
}

/// The body of a frame.
#[derive(Debug)]
pub(crate) enum FrameBody<'a> {
    /// Where it lies among others.
    Lies(&'a [u8]),
    /// It was read by itself.
    Whole(Payload),
}

impl FrameBody<'_> {
    #[inline]
    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            FrameBody::Lies(bytes) => bytes,
            FrameBody::Whole(payload) => payload.as_slice(),
        }
    }

    /// As a vector; nothing is left.
    pub(crate) fn take_vec(&mut self) -> Vec<u8> {
        match std::mem::replace(self, FrameBody::Lies(&[])) {
            FrameBody::Lies(bytes) => bytes.to_vec(),
            FrameBody::Whole(payload) => payload.into_vec(),
        }
    }

    /// To be kept; nothing is left.
    pub(crate) fn take(&mut self) -> Payload {
        match std::mem::replace(self, FrameBody::Lies(&[])) {
            FrameBody::Lies(bytes) => Payload::copy_of(bytes),
            FrameBody::Whole(payload) => payload,
        }
    }
}

impl<K: Kind> Frame<'_, K> {
    /// The first frame of `bytes`, which has to be there as a whole, and what follows it.
    pub(crate) fn cut(
        bytes: &[u8],
        limit: u64,
        check: impl FnOnce(&Header<K>) -> Result<(), WireFault>,
    ) -> Result<(Frame<'_, K>, &[u8]), WireFault> {
        let head = bytes.first_chunk().ok_or(WireFault::Body("header"))?;
        let header = Header::decode(head, limit)?;
        check(&header)?;
        let (frame, rest) =
            bytes.split_at_checked(header.frame_len()).ok_or(WireFault::Body("frame"))?;
        let body = FrameBody::Lies(&frame[HEADER_LEN..HEADER_LEN + header.len as usize]);
        Ok((Frame { header, prelude: None, body }, rest))
    }
}

/// The state of one direction of a channel.
pub(crate) struct FrameReader<K> {
    /// Unparsed bytes are `buffer[parsed..]`.
    buffer: Vec<u8>,
    parsed: usize,
    /// A checked header whose body is not here yet.
    head: Option<Header<K>>,
    /// What came before the body of `head`.
    prelude: Option<Prelude>,
    /// The body of `head`, if it does not fit the buffer.
    body: Vec<u8>,
    limit: u64,
    /// How much the last read asked for.
    asked: usize,
}

impl<K: Kind> FrameReader<K> {
    /// A reader that accepts bodies up to `limit`.
    pub(crate) fn new(limit: u64) -> Self {
        FrameReader {
            buffer: Vec::with_capacity(CHUNK),
            parsed: 0,
            head: None,
            prelude: None,
            body: Vec::new(),
            limit,
            asked: 0,
        }
    }

    /// The next frame, if it is all here. `check` sees each header once, before its body is
    /// awaited.
    #[inline]
    pub(crate) fn next(
        &mut self,
        check: impl FnOnce(&Header<K>) -> Result<(), WireFault>,
    ) -> Result<Option<Frame<'_, K>>, WireFault> {
        if self.head.is_some() {
            return self.next_by_parts();
        }
        let Some(bytes) = self.buffer[self.parsed..].first_chunk::<HEADER_LEN>() else {
            return Ok(None);
        };
        let mut header = Header::decode(bytes, self.limit)?;
        check(&header)?;
        let (begin, end) = (self.parsed + HEADER_LEN, self.parsed + header.frame_len());
        if header.flags.has(Flags::CTX) {
            let body = header.len.checked_sub(PRELUDE_LEN as u32);
            header.len = body.ok_or(WireFault::Body("prelude"))?;
        }
        if self.buffer.len() < end {
            self.head = Some(header);
            self.parsed = begin;
            return self.next_by_parts();
        }
        self.parsed = end;
        let (mut prelude, mut rest) = (None, &self.buffer[begin..]);
        if header.flags.has(Flags::CTX) {
            let (bytes, body) = rest.split_first_chunk().ok_or(WireFault::Body("prelude"))?;
            (prelude, rest) = (Some(Prelude::decode(bytes)), body);
        }
        let body = FrameBody::Lies(&rest[..header.len as usize]);
        Ok(Some(Frame { header, prelude, body }))
    }

    /// The same for one whose header has come before the rest.
    fn next_by_parts(&mut self) -> Result<Option<Frame<'_, K>>, WireFault> {
        let Some(header) = self.head else { return Ok(None) };
        if header.flags.has(Flags::CTX) && self.prelude.is_none() {
            let Some(bytes) = self.buffer[self.parsed..].first_chunk() else {
                return Ok(None);
            };
            self.prelude = Some(Prelude::decode(bytes));
            self.parsed += PRELUDE_LEN;
        }
        let len = header.len as usize;
        let rest = &self.buffer[self.parsed..];
        let whole = len + header.padding();
        let body = if self.body.is_empty() && rest.len() >= whole {
            let begin = self.parsed;
            self.parsed += whole;
            FrameBody::Lies(&self.buffer[begin..begin + len])
        } else if HEADER_LEN + whole <= CHUNK {
            return Ok(None);
        } else {
            // What lies in the buffer is the body's beginning: it moves over once, and from
            // then on the body is read in place.
            self.body.extend_from_slice(&rest[..rest.len().min(len - self.body.len())]);
            self.buffer.clear();
            self.parsed = 0;
            if self.body.len() < len {
                return Ok(None);
            }
            FrameBody::Whole(Payload::from(std::mem::take(&mut self.body)))
        };
        self.head = None;
        Ok(Some(Frame { header, prelude: self.prelude.take(), body }))
    }

    /// The next frame if it lies here as a whole: its header, its body, where its prelude is if it has
    /// one, and what lies behind it. What is odd about it is left to [`next`](Self::next).
    #[inline(always)]
    pub(crate) fn next_in_place(
        &mut self,
        is_fine: impl FnOnce(&Header<K>) -> bool,
    ) -> Option<(Header<K>, &[u8], &[u8])> {
        if self.head.is_some() {
            return None;
        }
        let frame = &self.buffer[self.parsed..];
        let header = Header::decode(frame.first_chunk()?, self.limit).ok()?;
        let body = frame.get(HEADER_LEN..HEADER_LEN + header.len as usize)?;
        if frame.len() < header.frame_len() || !is_fine(&header) {
            return None;
        }
        self.parsed += header.frame_len();
        Some((header, body, &frame[header.frame_len()..]))
    }

    /// Whether there may be a frame that is whole.
    pub(crate) fn has_frames(&self) -> bool {
        match self.head {
            Some(_) => self.missing() == 0,
            None => self.buffer.len() - self.parsed >= HEADER_LEN,
        }
    }

    /// The kind of the next frame, if its header is here.
    #[inline]
    pub(crate) fn next_kind(&self) -> Option<K> {
        match self.head {
            Some(header) => Some(header.kind),
            None => {
                let bytes = self.buffer[self.parsed..].first_chunk()?;
                Header::kind(bytes)
            }
        }
    }

    /// One read. Returns how many bytes came; zero is the end of the stream.
    pub(crate) fn fill(&mut self, source: &mut impl Source) -> io::Result<usize> {
        if let Some(header) = self.head.filter(|_| !self.body.is_empty()) {
            let missing = header.len as usize - self.body.len();
            if self.body.capacity() == self.body.len() {
                grow(&mut self.body, missing)?;
                source.has_grown(&mut self.body);
            }
            self.asked = (self.body.capacity() - self.body.len()).min(missing);
            return source.read_into(&mut self.body, self.asked);
        }
        if self.parsed > 0 {
            self.buffer.drain(..self.parsed);
            self.parsed = 0;
        }
        self.asked = CHUNK - self.buffer.len();
        source.read_into(&mut self.buffer, self.asked)
    }

    /// How much is still to come of a body that is read in place.
    pub(crate) fn missing(&self) -> usize {
        match self.head {
            Some(header) if !self.body.is_empty() => header.len as usize - self.body.len(),
            _ => 0,
        }
    }

    /// Whether the last read asked for more than so much.
    pub(crate) fn asked_for_more_than(&self, n: usize) -> bool {
        self.asked > n
    }

    /// In the middle of a frame.
    #[cfg(test)]
    pub(crate) fn is_partial(&self) -> bool {
        self.head.is_some() || self.parsed < self.buffer.len()
    }
}

/// Makes room for more of a body of which so much is missing.
fn grow(body: &mut Vec<u8>, missing: usize) -> io::Result<()> {
    let came = body.len();
    // A system that counts room as if it were memory may not have it all.
    for grant in [came.saturating_mul(TRUST), came] {
        let grant = if came < FIRST_GRANT { FIRST_GRANT } else { grant };
        if body.try_reserve_exact(grant.min(missing)).is_ok() {
            return Ok(());
        }
    }
    Err(io::ErrorKind::OutOfMemory.into())
}

#[cfg(test)]
mod tests {
    use super::super::frame::{Flags, ToHost};
    use super::*;

    /// Gives its bytes in pieces of at most `piece`.
    struct Pieces<'a> {
        bytes: &'a [u8],
        piece: usize,
    }

    impl Source for Pieces<'_> {
        fn read_into(&mut self, buffer: &mut Vec<u8>, max: usize) -> io::Result<usize> {
            let n = self.piece.min(max).min(self.bytes.len());
            buffer.extend_from_slice(&self.bytes[..n]);
            self.bytes = &self.bytes[n..];
            Ok(n)
        }
    }

    fn frame(seq: u64, body: &[u8]) -> Vec<u8> {
        let len = body.len() as u32;
        let header = Header { len, kind: ToHost::Done, flags: Flags::NONE, job: 0, seq };
        [&header.encode()[..], body].concat()
    }

    fn read_all(bytes: &[u8], piece: usize) -> Vec<Vec<u8>> {
        let mut reader = FrameReader::<ToHost>::new(10 << 20);
        let mut source = Pieces { bytes, piece };
        let mut bodies = Vec::new();
        loop {
            loop {
                // Both ways in turn, as it happens.
                if bodies.len() % 2 == 1 {
                    if let Some((header, body, _)) = reader.next_in_place(|_| true) {
                        assert_eq!(header.seq, bodies.len() as u64);
                        bodies.push(body.to_vec());
                        continue;
                    }
                }
                let Some(mut frame) = reader.next(|_| Ok(())).unwrap() else { break };
                assert_eq!(frame.header.seq, bodies.len() as u64);
                bodies.push(frame.body.take().into_vec());
            }
            if reader.fill(&mut source).unwrap() == 0 {
                assert!(!reader.is_partial());
                return bodies;
            }
        }
    }

    #[test]
    fn frames_of_every_size_come_whole_in_pieces_of_every_size() {
        let sizes =
            [0, 1, 46, 47, 5000, CHUNK - HEADER_LEN - 1, CHUNK - HEADER_LEN, CHUNK, 3 << 20];
        let bodies: Vec<Vec<u8>> =
            sizes.iter().map(|&n| (0..n).map(|i| (i * 7 + n) as u8).collect()).collect();
        let mut bytes = Vec::new();
        for (seq, body) in bodies.iter().enumerate() {
            bytes.extend(frame(seq as u64, body));
        }
        for piece in [13, 1000, CHUNK, usize::MAX] {
            assert!(read_all(&bytes, piece) == bodies, "pieces of {piece}");
        }
    }

    #[test]
    fn a_promise_of_a_gigabyte_costs_nothing() {
        let mut reader = FrameReader::<ToHost>::new(1 << 30);
        let header = Header { len: 1 << 30, kind: ToHost::Done, flags: Flags::BIG, job: 0, seq: 0 };
        let bytes = [&header.encode()[..], b"x"].concat();
        let mut source = Pieces { bytes: &bytes, piece: 100 };
        reader.fill(&mut source).unwrap();
        assert!(reader.next(|_| Ok(())).unwrap().is_none());
        assert_eq!(reader.fill(&mut source).unwrap(), 0);
        assert!(reader.is_partial());
        assert!(reader.body.capacity() <= 2 * FIRST_GRANT);
    }

    #[test]
    fn a_bad_header_is_refused_before_its_body_is_awaited() {
        let mut reader = FrameReader::<ToHost>::new(10);
        reader
            .fill(&mut Pieces { bytes: &frame(0, b"eleven byte")[..HEADER_LEN], piece: 99 })
            .unwrap();
        let fault = reader.next(|_| Ok(())).unwrap_err();
        assert_eq!(fault, WireFault::Length { len: 11, limit: 10 });
    }
}
