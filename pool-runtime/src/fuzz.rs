//! What the fuzz targets in `fuzz/` run: the two places where bytes of the other side are first
//! understood. Compiled for fuzzing only.
//!
//! A finding is a panic: an index out of bounds, an overflow, or one of the promises below.

use std::collections::VecDeque;
use std::io;

use crate::host::link::Answer;
use crate::host::seats::take_due;
use crate::wire::frame::Kind;
use crate::wire::{
    Flags, Frame, FrameReader, HEADER_LEN, Header, Hello, PRELUDE_LEN, Source, ToHost, ToWorker,
    WireFault,
};

/// Bytes that come in pieces of these sizes, over and over.
struct Pieces<'a> {
    bytes: &'a [u8],
    sizes: &'a [u8],
    turn: usize,
}

impl<'a> Pieces<'a> {
    fn new(bytes: &'a [u8], sizes: &'a [u8]) -> Self {
        Pieces { bytes, sizes, turn: 0 }
    }
}

impl Source for Pieces<'_> {
    fn read_into(&mut self, buffer: &mut Vec<u8>, max: usize) -> io::Result<usize> {
        let size = match self.sizes {
            [] => usize::MAX,
            sizes => usize::from(sizes[self.turn % sizes.len()]) + 1,
        };
        self.turn += 1;
        let n = size.min(max).min(self.bytes.len());
        assert!(n <= buffer.capacity() - buffer.len(), "a read without room");
        buffer.extend_from_slice(&self.bytes[..n]);
        self.bytes = &self.bytes[n..];
        Ok(n)
    }
}

/// Header and body of every frame, and what was wrong with the one after the last.
type Frames<K> = (Vec<(Header<K>, Vec<u8>)>, Option<WireFault>);

/// `in_place`: those that lie there as a whole are taken without being put together.
fn all_frames<K: Kind>(limit: u64, mut source: Pieces<'_>, in_place: bool) -> Frames<K> {
    let mut reader = FrameReader::<K>::new(limit);
    let mut frames = Vec::new();
    loop {
        let prelude =
            |header: &Header<K>| if header.flags.has(Flags::CTX) { PRELUDE_LEN } else { 0 };
        let is_fine = |header: &Header<K>| in_place && header.len as usize >= prelude(header);
        if let Some((mut header, body, _)) = reader.next_in_place(is_fine) {
            let body = &body[prelude(&header)..];
            header.len = body.len() as u32;
            frames.push((header, body.to_vec()));
            continue;
        }
        let (has_frames, kind) = (reader.has_frames(), reader.next_kind());
        match reader.next(|_| Ok(())) {
            Ok(Some(Frame { header, mut body, .. })) => {
                assert!(has_frames && kind == Some(header.kind), "a frame out of nothing");
                let body = body.take().into_vec();
                assert!(body.len() as u64 <= limit, "a body beyond the limit");
                assert_eq!(body.len(), header.len as usize);
                frames.push((header, body));
                continue;
            }
            Ok(None) => {}
            Err(fault) => return (frames, Some(fault)),
        }
        match reader.fill(&mut source) {
            Ok(0) | Err(_) => return (frames, None),
            Ok(_) => {}
        }
    }
}

/// However a stream is cut, the same frames come out of it.
fn frames_are_whole<K: Kind>(limit: u64, bytes: &[u8], sizes: &[u8]) -> Frames<K> {
    let at_once = all_frames::<K>(limit, Pieces::new(bytes, &[]), false);
    for in_place in [false, true] {
        let in_pieces = all_frames::<K>(limit, Pieces::new(bytes, sizes), in_place);
        assert_eq!(at_once, in_pieces, "the cuts make a difference");
    }
    at_once
}

/// One byte for the direction and the number of cuts, one for the limit, the cuts, the stream.
pub fn frames(input: &[u8]) {
    let [how, limit, rest @ ..] = input else { return };
    let limit = 1 << (limit % 24);
    let (sizes, bytes) = rest.split_at(usize::from(how >> 1).min(rest.len()));
    if how & 1 == 0 {
        let (frames, _) = frames_are_whole::<ToHost>(limit, bytes, sizes);
        for (header, body) in frames {
            if Hello::check(&header).is_ok() {
                let _ = Hello::decode(&body);
            }
        }
    } else {
        frames_are_whole::<ToWorker>(limit, bytes, sizes);
    }
}

/// The host's view of one channel, with numbers in the place of jobs.
struct Booking<'a> {
    reader: FrameReader<ToHost>,
    limit: u64,
    sent: u64,
    window: VecDeque<(u64, u64)>,
    /// What was booked last.
    last: Option<u64>,
    rest: &'a [u8],
}

impl<'a> Booking<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(byte)
    }

    fn bytes(&mut self, n: usize) -> &'a [u8] {
        let (bytes, rest) = self.rest.split_at(n.min(self.rest.len()));
        self.rest = rest;
        bytes
    }

    /// One step; `None` when the input is at its end, an error when the worker is condemned.
    fn step(&mut self) -> Option<Result<(), WireFault>> {
        let said = match self.byte()? {
            n @ 0..64 => {
                for _ in 0..=n % 8 {
                    self.window.push_back((self.sent, self.sent));
                    self.sent += 1;
                }
                return Some(Ok(()));
            }
            n @ 64..96 => {
                // Those that were not claimed come back.
                self.window.truncate(usize::from(n - 64));
                return Some(Ok(()));
            }
            n @ 96..160 => self.bytes(usize::from(n - 96) * 4).to_vec(),
            // A frame that is nearly as it should be.
            _ => {
                let (kind, flags, len) = (self.byte()?, self.byte()?, self.byte()?);
                let due = self.window.front().map_or(self.sent, |(due, _)| *due);
                let seq =
                    due.wrapping_add_signed(i64::from(i8::from_le_bytes([self.byte()?])) / 64);
                let kind = ToHost::from_byte(kind % 10).unwrap_or(ToHost::Done);
                let raw = flags & 1 == 1 && kind == ToHost::Done;
                let flags = Flags::NONE.and_if(raw, Flags::RAW);
                let header = Header { len: len.into(), kind, flags, job: 0, seq };
                let body = self.bytes(len.into());
                [&header.encode()[..], body].concat()
            }
        };
        Some(self.hear(&said))
    }

    fn hear(&mut self, said: &[u8]) -> Result<(), WireFault> {
        let mut source = Pieces::new(said, &[]);
        loop {
            let (sent, limit) = (self.sent, self.limit);
            while let Some(frame) = self.reader.next(|header| Answer::check(header, sent, limit))? {
                let seq = frame.header.seq;
                assert!(seq < self.sent, "an answer to what was never asked");
                if frame.header.kind != ToHost::Done {
                    Answer::read(&frame)?;
                }
                if !frame.header.kind.ends_job() {
                    continue;
                }
                let job = take_due(&mut self.window, seq)?;
                assert_eq!(job, seq, "the answer of another job");
                assert!(self.last < Some(seq), "a job is booked twice, or out of its order");
                self.last = Some(seq);
            }
            if matches!(self.reader.fill(&mut source), Ok(0) | Err(_)) {
                return Ok(());
            }
        }
    }
}

/// Bytes that say what is sent, what is taken back, and what the worker says.
pub fn answers(input: &[u8]) {
    let limit = HEADER_LEN as u64 * 16;
    let mut booking = Booking {
        reader: FrameReader::new(1 << 20),
        limit,
        sent: 0,
        window: VecDeque::new(),
        last: None,
        rest: input,
    };
    while let Some(Ok(())) = booking.step() {}
}
