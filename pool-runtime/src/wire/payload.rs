//! Encoded arguments or output: small ones lie in place, large ones are shared and never copied.

use std::sync::Arc;

/// Bytes up to this length need no allocation.
pub(super) const SMALL: usize = 46;

/// An immutable byte string that is cheap to clone.
#[derive(Clone)]
pub(crate) enum Payload {
    Small { len: u8, bytes: [u8; SMALL] },
    Large(Arc<Vec<u8>>),
}

impl Payload {
    pub(crate) const EMPTY: Payload = Payload::Small { len: 0, bytes: [0; SMALL] };

    pub(crate) fn copy_of(content: &[u8]) -> Payload {
        match u8::try_from(content.len()) {
            Ok(len) if content.len() <= SMALL => {
                let mut bytes = [0; SMALL];
                bytes[..content.len()].copy_from_slice(content);
                Payload::Small { len, bytes }
            }
            _ => Payload::Large(Arc::new(content.to_vec())),
        }
    }

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
        assert_eq!(size_of::<Payload>(), 48);
    }
}
