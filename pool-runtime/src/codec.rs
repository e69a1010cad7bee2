//! Types become bytes and bytes become types here, and nowhere else: the only file that names
//! the encoding, MessagePack with structs as maps (the compact form breaks
//! `skip_serializing_if` and untagged enums).
//!
//! A payload is the array of all parameters. Where a job has exactly one sent parameter and that
//! is a byte string, the payload is the byte string itself ([`Encoded::raw`]) and is moved, not
//! encoded; the same holds for an output. A byte string among other parameters travels as `bin`
//! and is taken as `bin` or as a list, since [`Call::named`](crate::Call::named) sends what serde
//! makes of a tuple.
//!
//! Whether a type is a byte string is decided by [`Kind`] at compile time, through the type and
//! not through its spelling. A user's value is never wrapped in an `Option`: MessagePack
//! loses the nesting.

mod bytes;

use std::any::Any;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize as _, Serialize};

use crate::registry::{Encoded, Fault};
use bytes::{Bin, ByteString, RawDeserializer};

type Reader<'a> = rmp_serde::Deserializer<
    rmp_serde::decode::ReadRefReader<'a, [u8]>,
    rmp_serde::config::DefaultConfig,
>;

/// One value of ours, for messages that are not a job's arguments or output.
pub(crate) fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, String> {
    rmp_serde::to_vec_named(value).map_err(|error| error.to_string())
}

/// The reverse of [`encode`]; bytes after the value are an error.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let mut reader = Reader::from_read_ref(bytes);
    let value = T::deserialize(&mut reader).map_err(words)?;
    end_of(&mut reader)?;
    Ok(value)
}

/// The decoder's own words, except where they say nothing to who does not know the format.
fn words(error: rmp_serde::decode::Error) -> String {
    use rmp_serde::decode::Error;
    match error {
        Error::TypeMismatch(marker) => {
            format!("a value of another type (MessagePack marker {marker:?})")
        }
        Error::InvalidMarkerRead(_) | Error::InvalidDataRead(_) => "the bytes end too early".into(),
        other => other.to_string(),
    }
}

fn end_of(reader: &mut Reader<'_>) -> Result<(), String> {
    match IgnoredAny::deserialize(reader) {
        // Nothing but the end gives this error where a value would begin.
        Err(rmp_serde::decode::Error::InvalidMarkerRead(_)) => Ok(()),
        _ => Err("bytes are left over after the last value".into()),
    }
}

/// The arguments of a call on their way to bytes; filled by what `#[pool_job]` emits.
#[derive(Debug)]
pub struct Arguments {
    encoded: Encoded,
    total: u16,
    failed: Option<String>,
}

impl Arguments {
    /// For a job with so many sent parameters.
    #[inline]
    pub fn new(total: u16) -> Self {
        let mut bytes = Vec::new();
        write_array_header(&mut bytes, total);
        Arguments { encoded: Encoded { bytes, raw: false }, total, failed: None }
    }

    /// The payload, or the first error and whose it was.
    #[inline]
    pub fn finish(self) -> Result<Encoded, String> {
        match self.failed {
            None => Ok(self.encoded),
            Some(text) => Err(text),
        }
    }

    fn push<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) {
        if self.failed.is_some() {
            return;
        }
        if let Err(error) = rmp_serde::encode::write_named(&mut self.encoded.bytes, value) {
            self.failed = Some(format!("on the host, parameter `{name}`: {error}"));
        }
    }
}

/// The arguments of a call by name: a tuple, whose types nobody has checked.
pub(crate) fn encode_tuple<A: Serialize + ?Sized>(arguments: &A) -> Result<Encoded, String> {
    let mut bytes =
        encode(arguments).map_err(|error| format!("on the host, arguments: {error}"))?;
    match bytes.first() {
        // `()` is nil to serde, and no arguments to us.
        Some(0xc0) => {
            bytes.clear();
            write_array_header(&mut bytes, 0);
        }
        Some(0x90..=0x9f | 0xdc | 0xdd) => {}
        _ => {
            return Err(
                "on the host, arguments: not a tuple; write `(a, b)`, and `(a,)` for one".into()
            );
        }
    }
    Ok(Encoded { bytes, raw: false })
}

fn write_array_header(bytes: &mut Vec<u8>, len: u16) {
    match u8::try_from(len) {
        Ok(len @ 0..=15) => bytes.push(0x90 | len),
        _ => {
            bytes.push(0xdc);
            bytes.extend_from_slice(&len.to_be_bytes());
        }
    }
}

/// The length of the array that `bytes` begins with, and where its first element stands.
fn read_array_header(bytes: &[u8]) -> Option<(usize, usize)> {
    match *bytes {
        [first @ 0x90..=0x9f, ..] => Some((usize::from(first & 0x0f), 1)),
        [0xdc, a, b, ..] => Some((usize::from(u16::from_be_bytes([a, b])), 3)),
        [0xdd, a, b, c, d, ..] => {
            Some((usize::try_from(u32::from_be_bytes([a, b, c, d])).ok()?, 5))
        }
        _ => None,
    }
}

/// The parameters of a job on their way out of bytes; emptied by what `#[pool_job]` emits.
pub struct Parameters<'a> {
    raw: Option<Vec<u8>>,
    reader: Reader<'a>,
}

impl std::fmt::Debug for Parameters<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parameters").field("raw", &self.raw.is_some()).finish_non_exhaustive()
    }
}

impl<'a> Parameters<'a> {
    /// Checks that there are `total` of them.
    pub fn open(encoded: &'a mut Encoded, total: u16) -> Result<Self, Fault> {
        let raw = encoded.raw.then(|| std::mem::take(&mut encoded.bytes));
        let (len, start) = match raw {
            Some(_) => (1, 0),
            None => read_array_header(&encoded.bytes)
                .ok_or_else(|| in_worker("arguments: not an array".into()))?,
        };
        if len != usize::from(total) {
            let plural = if total == 1 { "" } else { "s" };
            return Err(in_worker(format!(
                "arguments: the job has {total} parameter{plural}, the call gave {len}"
            )));
        }
        Ok(Parameters { raw, reader: Reader::from_read_ref(&encoded.bytes[start..]) })
    }

    /// Checks that nothing is left.
    pub fn close(mut self) -> Result<(), Fault> {
        end_of(&mut self.reader).map_err(|text| in_worker(format!("arguments: {text}")))
    }
}

fn in_worker(text: String) -> Fault {
    Fault::Decode(format!("in the worker, {text}"))
}

/// Tells byte strings from all other types, at compile time and through aliases:
/// `Kind::<T>::of()` finds the inherent function for a byte string and else that of [`AnyKind`].
#[derive(Debug)]
pub struct Kind<T: ?Sized>(PhantomData<fn(&T)>);

impl Kind<Vec<u8>> {
    /// A byte string.
    #[inline(always)]
    pub fn of() -> Bytes {
        Bytes
    }
}

impl Kind<[u8]> {
    /// A byte string.
    #[inline(always)]
    pub fn of() -> Bytes {
        Bytes
    }
}

/// The fallback of [`Kind`].
pub trait AnyKind {
    /// The type in question.
    type Value: ?Sized;
    /// Not a byte string.
    #[inline(always)]
    fn of() -> Plain<Self::Value> {
        Plain(PhantomData)
    }
}

impl<T: ?Sized> AnyKind for Kind<T> {
    type Value = T;
}

/// How byte strings travel.
#[derive(Clone, Copy, Debug)]
pub struct Bytes;

/// How everything else travels.
#[derive(Debug)]
pub struct Plain<T: ?Sized>(PhantomData<fn(&T)>);

impl<T: ?Sized> Plain<T> {
    /// Adds an argument.
    #[inline]
    pub fn push<V: Serialize>(self, arguments: &mut Arguments, name: &str, value: V) {
        arguments.push(name, &value);
    }

    /// Takes a parameter in its owned form.
    #[inline]
    pub fn take(self, parameters: &mut Parameters<'_>, name: &str) -> Result<T::Owned, Fault>
    where
        T: Receive,
    {
        if parameters.raw.is_some() {
            return Err(in_worker(format!("parameter `{name}`: not a byte string")));
        }
        T::Owned::deserialize(&mut parameters.reader)
            .map_err(|error| in_worker(format!("parameter `{name}`: {}", words(error))))
    }

    /// Encodes the output.
    #[inline]
    pub fn give(self, output: T) -> Result<Encoded, Fault>
    where
        T: Serialize + Sized,
    {
        let bytes = encode(&output)
            .map_err(|error| Fault::Encode(format!("in the worker, output: {error}")))?;
        Ok(Encoded { bytes, raw: false })
    }

    /// Decodes the output.
    #[inline]
    pub fn receive(self, output: Encoded) -> Result<T, String>
    where
        T: DeserializeOwned,
    {
        let value =
            if output.raw { Err("not a byte string".into()) } else { decode(&output.bytes) };
        value.map_err(on_host)
    }
}

impl Bytes {
    /// Adds an argument; the only one is moved.
    #[inline]
    pub fn push<V: ByteString>(self, arguments: &mut Arguments, name: &str, value: V) {
        if arguments.total == 1 {
            arguments.encoded = Encoded { bytes: value.into_vec(), raw: true };
        } else {
            arguments.push(name, &Bin(value.as_slice()));
        }
    }

    /// Takes a parameter.
    #[inline]
    pub fn take(self, parameters: &mut Parameters<'_>, name: &str) -> Result<Vec<u8>, Fault> {
        match parameters.raw.take() {
            Some(bytes) => Ok(bytes),
            None => bytes::deserialize(&mut parameters.reader)
                .map_err(|error| in_worker(format!("parameter `{name}`: {}", words(error)))),
        }
    }

    /// Moves the output.
    #[inline]
    pub fn give(self, output: Vec<u8>) -> Result<Encoded, Fault> {
        Ok(Encoded { bytes: output, raw: true })
    }

    /// Moves the output.
    #[inline]
    pub fn receive(self, output: Encoded) -> Result<Vec<u8>, String> {
        if output.raw {
            return Ok(output.bytes);
        }
        let mut reader = Reader::from_read_ref(&output.bytes);
        bytes::deserialize(&mut reader).map_err(|error| on_host(words(error)))
    }
}

fn on_host(text: String) -> String {
    format!("on the host, output: {text}")
}

/// The output of a call by name, into whatever type the caller hopes for: whether the job
/// gives a byte string is known by its answer only.
pub(crate) fn decode_output<T: DeserializeOwned + 'static>(output: Encoded) -> Result<T, String> {
    if !output.raw {
        return decode(&output.bytes).map_err(on_host);
    }
    let mut wanted: Option<T> = None;
    if let Some(wanted) = (&mut wanted as &mut dyn Any).downcast_mut::<Option<Vec<u8>>>() {
        *wanted = Some(output.bytes);
    } else {
        let value = T::deserialize(RawDeserializer(output.bytes));
        wanted = Some(value.map_err(|error| on_host(error.to_string()))?);
    }
    Ok(wanted.expect("one of the branches above set it"))
}

/// A type that a job can take, by value or behind a `&`, and the owned form it is received as.
#[diagnostic::on_unimplemented(
    message = "a job cannot receive `{Self}`",
    label = "no owned form of this type can be received",
    note = "`T` is received as `T`, `str` as `String`, `[T]` as `Vec<T>`, `Path` as `PathBuf`; \
            take an owned type"
)]
pub trait Receive {
    /// What the worker holds while the job runs.
    type Owned: DeserializeOwned;
}

impl<T: DeserializeOwned> Receive for T {
    type Owned = T;
}

impl Receive for str {
    type Owned = String;
}

impl<T: DeserializeOwned> Receive for [T] {
    type Owned = Vec<T>;
}

impl Receive for Path {
    type Owned = PathBuf;
}

impl Receive for OsStr {
    type Owned = OsString;
}

impl Receive for CStr {
    type Owned = CString;
}
