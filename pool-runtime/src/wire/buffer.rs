//! Bytes while they are encoded or decoded: few of them lie in place.

use std::fmt;
use std::io;
use std::ops::Deref;

use super::payload::{Payload, SMALL};

/// Bytes that grow.
#[derive(Clone)]
pub(crate) enum Buffer {
    Few { len: u8, bytes: [u8; SMALL] },
    Many(Vec<u8>),
}

impl Buffer {
    pub(crate) const fn new() -> Buffer {
        Buffer::Few { len: 0, bytes: [0; SMALL] }
    }

    #[inline]
    pub(crate) const fn of_byte(byte: u8) -> Buffer {
        let mut bytes = [0; SMALL];
        bytes[0] = byte;
        Buffer::Few { len: 1, bytes }
    }

    /// The first `len` bytes of these words, little endian; the others are zeroes.
    #[inline]
    pub(crate) fn of_words(len: u8, [low, high]: [u64; 2]) -> Buffer {
        let mut bytes = [0; SMALL];
        bytes[..8].copy_from_slice(&low.to_le_bytes());
        bytes[8..16].copy_from_slice(&high.to_le_bytes());
        Buffer::Few { len: len.min(16), bytes }
    }

    #[inline]
    pub(crate) fn extend_from_slice(&mut self, more: &[u8]) {
        match self {
            Buffer::Many(bytes) => bytes.extend_from_slice(more),
            Buffer::Few { len, bytes } => {
                let start = usize::from(*len);
                match bytes.get_mut(start..start + more.len()) {
                    Some(room) => {
                        room.copy_from_slice(more);
                        *len += more.len() as u8;
                    }
                    None => self.spill(more),
                }
            }
        }
    }

    #[cold]
    fn spill(&mut self, more: &[u8]) {
        let few: &[u8] = self;
        let mut bytes = Vec::with_capacity((few.len() + more.len()).max(4 * SMALL));
        bytes.extend_from_slice(few);
        bytes.extend_from_slice(more);
        *self = Buffer::Many(bytes);
    }

    /// The bytes as a vector: moved where they are many.
    pub(crate) fn into_vec(self) -> Vec<u8> {
        match self {
            Buffer::Few { len, bytes } => bytes[..usize::from(len)].to_vec(),
            Buffer::Many(bytes) => bytes,
        }
    }
}

impl Default for Buffer {
    fn default() -> Buffer {
        Buffer::new()
    }
}

impl Deref for Buffer {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Buffer::Few { len, bytes } => &bytes[..usize::from(*len)],
            Buffer::Many(bytes) => bytes,
        }
    }
}

/// A vector stays what it is, even if it is small.
impl From<Vec<u8>> for Buffer {
    fn from(bytes: Vec<u8>) -> Buffer {
        Buffer::Many(bytes)
    }
}

impl From<Payload> for Buffer {
    fn from(payload: Payload) -> Buffer {
        match payload {
            Payload::Small { len, bytes } => Buffer::Few { len, bytes },
            large @ Payload::Large(_) => Buffer::Many(large.into_vec()),
        }
    }
}

impl From<Buffer> for Payload {
    fn from(buffer: Buffer) -> Payload {
        match buffer {
            Buffer::Few { len, bytes } => Payload::Small { len, bytes },
            Buffer::Many(bytes) => Payload::from(bytes),
        }
    }
}

impl io::Write for Buffer {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl PartialEq for Buffer {
    fn eq(&self, other: &Buffer) -> bool {
        self[..] == other[..]
    }
}

impl Eq for Buffer {}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self[..].fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn it_keeps_its_bytes_as_they_become_many() {
        for step in [1, 3, SMALL - 1, SMALL, SMALL + 1, 500] {
            let (mut buffer, mut expected) = (Buffer::new(), Vec::new());
            for n in 0..4 * SMALL / step + 2 {
                let more: Vec<u8> = (0..step).map(|i| (i + n) as u8).collect();
                buffer.write_all(&more).unwrap();
                expected.extend(more);
                assert_eq!(buffer[..], expected);
                assert_eq!(Payload::from(buffer.clone()).as_slice(), expected);
                assert_eq!(Buffer::from(Payload::from(buffer.clone())), buffer);
            }
            assert!(matches!(buffer, Buffer::Many(_)));
            assert_eq!(buffer.into_vec(), expected);
        }
    }
}
