//! Byte strings towards serde: sent as `bin`, taken as `bin` or as a list of integers.

use serde::de::value::SeqDeserializer;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde::{Serialize, Serializer, forward_to_deserialize_any};

/// What [`Kind`](super::Kind) calls a byte string, as an argument.
pub trait ByteString {
    /// Moves what is owned, copies what is borrowed.
    fn into_vec(self) -> Vec<u8>;
    /// Looks at it.
    fn as_slice(&self) -> &[u8];
}

impl ByteString for Vec<u8> {
    fn into_vec(self) -> Vec<u8> {
        self
    }

    fn as_slice(&self) -> &[u8] {
        self
    }
}

impl ByteString for &[u8] {
    fn into_vec(self) -> Vec<u8> {
        self.to_vec()
    }

    fn as_slice(&self) -> &[u8] {
        self
    }
}

impl ByteString for &Vec<u8> {
    fn into_vec(self) -> Vec<u8> {
        self.clone()
    }

    fn as_slice(&self) -> &[u8] {
        self
    }
}

/// Bytes that serialize as such.
pub(super) struct Bin<'a>(pub(super) &'a [u8]);

impl Serialize for Bin<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

/// A byte string out of whichever form it came in.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    from.deserialize_byte_buf(BytesVisitor)
}

struct BytesVisitor;

impl<'de> Visitor<'de> for BytesVisitor {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a byte string or a list of bytes")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }

    fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
        Ok(bytes)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<u8>, A::Error> {
        // The length is the sender's word: a page is taken on trust, the rest must arrive first.
        let mut bytes = Vec::with_capacity(list.size_hint().unwrap_or(0).min(4096));
        while let Some(byte) = list.next_element()? {
            bytes.push(byte);
        }
        Ok(bytes)
    }
}

/// A raw payload for a type that is known to the caller only: a list where the type asks for one
/// (`Vec<u8>`, `[u8; 4]`), else a byte string (`serde_bytes::ByteBuf`, untyped values).
pub(super) struct RawDeserializer(pub(super) Vec<u8>);

impl<'de> Deserializer<'de> for RawDeserializer {
    type Error = serde::de::value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_byte_buf(self.0)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        let mut list = SeqDeserializer::new(self.0.into_iter());
        let value = visitor.visit_seq(&mut list)?;
        list.end()?;
        Ok(value)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_some(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct map struct enum identifier ignored_any
    }
}

/// Nothing, as MessagePack has it.
pub(super) struct NilDeserializer;

impl<'de> Deserializer<'de> for NilDeserializer {
    type Error = serde::de::value::Error;

    #[inline]
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_unit()
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_none()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        visitor.visit_newtype_struct(self)
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}
