//! Encoded arguments or output: small ones lie in place, large ones are shared and never copied.

use std::sync::Arc;

/// Bytes up to this length need no allocation. More would make all that a payload moves through
/// larger, for the sake of few.
pub(super) const SMALL: usize = 22;

/// `content`, with zeroes behind it, if it has room. Put together in registers: an array that is
/// written byte by byte and then moved as a whole has to be waited for.
#[inline]
pub(super) fn few<const ROOM: usize>(content: &[u8]) -> Option<[u8; ROOM]> {
    if content.len() > ROOM {
        return None;
    }
    let mut bytes = [0; ROOM];
    if content.len() < 8 {
        bytes[..8].copy_from_slice(&word(content).to_le_bytes());
    } else {
        for (room, part) in bytes.chunks_mut(8).zip(content.chunks(8)) {
            room.copy_from_slice(&word(part).to_le_bytes()[..room.len()]);
        }
    }
    Some(bytes)
}

/// At most eight bytes, and zeroes behind them.
#[inline]
pub(crate) fn word(bytes: &[u8]) -> u64 {
    match bytes.first_chunk() {
        Some(whole) => u64::from_le_bytes(*whole),
        None => bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte)),
    }
}

/// An immutable byte string that is cheap to clone.
#[derive(Clone)]
pub(crate) enum Payload {
    Small { len: u8, bytes: [u8; SMALL] },
    Large(Arc<Vec<u8>>),
}

impl Payload {
    #[cfg(test)]
    pub(crate) const EMPTY: Payload = Payload::Small { len: 0, bytes: [0; SMALL] };

    #[inline]
    pub(crate) fn copy_of(content: &[u8]) -> Payload {
        match few(content) {
            Some(bytes) => Payload::Small { len: content.len() as u8, bytes },
            None => Payload::Large(Arc::new(content.to_vec())),
        }
    }

    #[inline]
    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Payload::Small { len, bytes } => &bytes[..usize::from(*len)],
            Payload::Large(bytes) => bytes,
        }
    }

    /// The bytes as a vector: moved where nobody else holds them.
    pub(crate) fn into_vec(self) -> Vec<u8> {
        match self {
            Payload::Small { len, bytes } => bytes[..usize::from(len)].to_vec(),
            Payload::Large(bytes) => {
                Arc::try_unwrap(bytes).unwrap_or_else(|shared| shared.to_vec())
            }
        }
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Payload {
        if bytes.len() <= SMALL {
            Payload::copy_of(&bytes)
        } else {
            Payload::Large(Arc::new(bytes))
        }
    }
}

impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Payload({} bytes)", self.as_slice().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_bytes_are_put_together_as_they_lay() {
        let bytes: Vec<u8> = (1..=30).collect();
        for len in 0..=22 {
            let found: [u8; 22] = few(&bytes[..len]).unwrap();
            assert_eq!(found[..len], bytes[..len]);
            assert!(found[len..].iter().all(|&byte| byte == 0));
        }
        assert_eq!(few::<14>(&bytes[..15]), None);
    }

    #[test]
    fn both_forms_keep_their_bytes() {
        for len in [0, 1, SMALL - 1, SMALL, SMALL + 1, 1000] {
            let bytes: Vec<u8> = (0..len).map(|i| i as u8).collect();
            assert_eq!(Payload::copy_of(&bytes).as_slice(), bytes);
            let payload = Payload::from(bytes.clone());
            assert_eq!(matches!(payload, Payload::Small { .. }), len <= SMALL);
            assert_eq!(payload.into_vec(), bytes);
        }
    }

    #[test]
    fn a_large_one_is_moved_when_alone_and_has_room_for_a_cell() {
        let bytes = vec![1; 4096];
        let address = bytes.as_ptr();
        let payload = Payload::from(bytes);
        assert_eq!(payload.clone().into_vec().len(), 4096);
        let moved = payload.into_vec();
        assert_eq!(moved.as_ptr(), address);
        assert_eq!(size_of::<Payload>(), 24);
    }
}
