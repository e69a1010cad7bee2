//! What is still to be written to one worker.
//!
//! Small frames lie one behind the other and go out as one piece. A large one is a piece of its
//! own, and its payload is shared with the job's cell: once a byte of it is on the wire it has to
//! be finished, whatever became of the job.

use std::collections::VecDeque;
use std::io::IoSlice;

use crate::scheduler::Time;
use crate::wire::Payload;

/// Payloads up to this length are copied.
pub(super) const SMALL: usize = 4 * 1024;
/// Small frames in one piece, in bytes, before one more.
pub(super) const PIECE: usize = 64 * 1024;
/// Parts of one write.
pub(super) const PARTS: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Out {
    pieces: VecDeque<Piece>,
    /// How many bytes are left.
    len: usize,
    /// The seq behind the last job of which all was written.
    next: u64,
    /// When it was last tried to write.
    pub(super) wrote_at: Time,
    /// For the next small frames.
    spare: Vec<u8>,
    /// The driver writes on as soon as the channel takes more; nobody else does.
    pub(super) is_blocked: bool,
    /// The worker does not take any more.
    pub(super) is_closed: bool,
}

#[derive(Debug)]
struct Piece {
    /// Small frames, or the head of a large one.
    bytes: Vec<u8>,
    /// The body of a large one.
    body: Option<Payload>,
    written: usize,
    /// The seq behind its last job; of a large one: behind itself.
    next: u64,
}

impl Piece {
    fn len(&self) -> usize {
        self.bytes.len() + self.body.as_ref().map_or(0, |body| body.as_slice().len())
    }

    /// What is left of its first and of its second part.
    fn rest(&self) -> [&[u8]; 2] {
        let body = self.body.as_ref().map(Payload::as_slice).unwrap_or_default();
        let begun = self.written.saturating_sub(self.bytes.len());
        [&self.bytes[self.written.min(self.bytes.len())..], &body[begun..]]
    }
}

impl Out {
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// How many bytes are left.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The seq behind the last job of which all was written, at least.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Appends small frames, unless nothing is taken any more, and leaves an empty list. `next`: the
    /// seq behind the last of them.
    pub(super) fn append(&mut self, frames: &mut Vec<u8>, next: u64) {
        if frames.is_empty() {
            return;
        }
        if self.is_closed {
            return frames.clear();
        }
        self.len += frames.len();
        let has_room = |piece: &&mut Piece| piece.body.is_none() && piece.bytes.len() < PIECE;
        match self.pieces.back_mut().filter(has_room) {
            Some(piece) => {
                piece.bytes.append(frames);
                piece.next = next;
            }
            None => {
                let bytes = std::mem::replace(frames, std::mem::take(&mut self.spare));
                self.pieces.push_back(Piece { bytes, body: None, written: 0, next });
            }
        }
    }

    /// Appends a large frame, in the same way.
    pub(super) fn push_large(&mut self, head: Vec<u8>, body: Payload, next: u64) {
        if self.is_closed {
            return;
        }
        self.len += head.len() + body.as_slice().len();
        self.pieces.push_back(Piece { bytes: head, body: Some(body), written: 0, next });
    }

    /// Lines up the first pieces for one write of at most `limit` bytes; how many parts they have.
    pub(super) fn gather<'a>(&'a self, limit: usize, parts: &mut [IoSlice<'a>; PARTS]) -> usize {
        let rests = self.pieces.iter().flat_map(Piece::rest).filter(|rest| !rest.is_empty());
        let (mut count, mut left) = (0, limit);
        for (part, rest) in parts.iter_mut().zip(rests) {
            if left == 0 {
                break;
            }
            let rest = &rest[..rest.len().min(left)];
            left -= rest.len();
            *part = IoSlice::new(rest);
            count += 1;
        }
        count
    }

    /// So many bytes are on the wire.
    pub(super) fn written(&mut self, mut count: usize) {
        while let Some(piece) = self.pieces.front_mut() {
            let part = count.min(piece.len() - piece.written);
            piece.written += part;
            count -= part;
            self.len -= part;
            if piece.written < piece.len() {
                return;
            }
            self.next = piece.next;
            if let Some(Piece { mut bytes, body: None, .. }) = self.pieces.pop_front() {
                bytes.clear();
                self.spare = bytes;
            }
            if count == 0 {
                return;
            }
        }
    }

    /// Jobs from seq `first` on were taken back. The worker passes over the small ones; a large one
    /// is not written, unless it was begun.
    pub(super) fn recall(&mut self, first: u64) {
        let is_recalled = |piece: &Piece| piece.body.is_some() && piece.next > first;
        self.pieces.retain(|piece| piece.written > 0 || !is_recalled(piece));
        self.len = self.pieces.iter().map(|piece| piece.len() - piece.written).sum();
    }

    /// Nothing is taken any more.
    pub(super) fn close(&mut self) {
        self.pieces.clear();
        self.len = 0;
        self.is_closed = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What one write of at most `limit` bytes would take.
    fn write(out: &mut Out, limit: usize) -> Vec<u8> {
        let mut parts = std::array::from_fn(|_| IoSlice::new(&[]));
        let count = out.gather(limit, &mut parts);
        let bytes: Vec<u8> = parts[..count].iter().flat_map(|part| part.to_vec()).collect();
        assert!(bytes.len() <= limit);
        out.written(bytes.len());
        bytes
    }

    fn push(out: &mut Out, seq: u64, len: usize) -> Vec<u8> {
        let (head, body) = ([seq as u8; 5], vec![seq as u8 + 100; len]);
        let frame = [&head[..], &body].concat();
        match len <= SMALL {
            true => out.append(&mut frame.clone(), seq + 1),
            false => out.push_large(head.to_vec(), Payload::from(body), seq + 1),
        }
        frame
    }

    #[test]
    fn frames_go_out_whole_and_in_order_however_little_is_written_at_once() {
        for limit in [1, 7, 1000, 100_000] {
            let mut out = Out::default();
            let sizes = [0, 46, SMALL, SMALL + 1, 3, 9000, 8000, 1];
            let pushed: Vec<u8> =
                (0..).zip(sizes).flat_map(|(seq, len)| push(&mut out, seq, len)).collect();
            assert_eq!(out.len(), pushed.len());
            let mut written = Vec::new();
            while !out.is_empty() {
                written.extend(write(&mut out, limit));
                assert_eq!(out.len(), pushed.len() - written.len());
            }
            assert!(written == pushed);
            assert_eq!(out.next(), sizes.len() as u64);
        }
    }

    #[test]
    fn a_large_frame_that_was_taken_back_is_not_written_unless_it_was_begun() {
        let mut out = Out::default();
        let begun = push(&mut out, 0, 9000);
        let small = push(&mut out, 1, 10);
        push(&mut out, 2, 9000);
        let first = write(&mut out, 100);
        out.recall(0);
        assert_eq!(out.len(), begun.len() - 100 + small.len());
        let rest = write(&mut out, 100_000);
        assert!([first, rest].concat() == [begun, small].concat());
        assert!(out.is_empty());
    }

    #[test]
    fn what_is_closed_takes_nothing() {
        let mut out = Out::default();
        push(&mut out, 0, 10);
        out.close();
        push(&mut out, 1, 10);
        assert!(out.is_empty());
        assert_eq!(out.len(), 0);
    }
}
