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

use serde::de::{DeserializeOwned, Visitor};
use serde::{Deserialize, Deserializer as _, Serialize};

use crate::registry::{Encoded, Fault};
use crate::wire::Buffer;
use bytes::{Bin, ByteString, NilDeserializer, RawDeserializer};

type Reader<'a> = rmp_serde::Deserializer<
    rmp_serde::decode::ReadRefReader<'a, [u8]>,
    rmp_serde::config::DefaultConfig,
>;

/// What `()` is.
const NIL: u8 = 0xc0;

/// One value.
pub(crate) fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Buffer, String> {
    let mut bytes = Buffer::new();
    rmp_serde::encode::write_named(&mut bytes, value).map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// The reverse of [`encode`]; bytes after the value are an error.
#[inline]
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    // What many jobs give: nothing is to be read.
    if size_of::<T>() == 0 && *bytes == [NIL] {
        if let Ok(value) = T::deserialize(NilDeserializer) {
            return Ok(value);
        }
    }
    decode_some(bytes)
}

fn decode_some<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
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
    // As an option, of which no more than its beginning is looked at.
    match reader.deserialize_option(NothingLeft) {
        // Nothing but the end gives this error where a value would begin.
        Err(rmp_serde::decode::Error::InvalidMarkerRead(_)) => Ok(()),
        _ => Err("bytes are left over after the last value".into()),
    }
}

struct NothingLeft;

impl<'de> Visitor<'de> for NothingLeft {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("nothing")
    }

    fn visit_none<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_some<D: serde::Deserializer<'de>>(self, _: D) -> Result<(), D::Error> {
        Ok(())
    }
}

/// The arguments of a call on their way to bytes; filled by what `#[pool_job]` emits.
#[derive(Debug, Default)]
pub struct Arguments {
    encoded: Encoded,
    total: u16,
    failed: Option<Box<Failed>>,
}

/// Why some could not be encoded.
#[derive(Debug)]
struct Failed {
    text: String,
}

impl Arguments {
    /// For a job with so many sent parameters.
    #[inline(always)]
    pub(crate) fn new(total: u16) -> Self {
        let bytes = match u8::try_from(total) {
            Ok(few @ 0..=15) => Buffer::of_byte(0x90 | few),
            _ => {
                let mut bytes = Buffer::new();
                write_array_header(&mut bytes, total);
                bytes
            }
        };
        Arguments { encoded: Encoded { bytes, raw: false }, total, failed: None }
    }

    /// All of them at once, from a tuple whose types nobody has checked.
    pub(crate) fn of_tuple<A: Serialize + ?Sized>(arguments: &A) -> Self {
        let (encoded, failed) = match encode_tuple(arguments) {
            Ok(encoded) => (encoded, None),
            Err(text) => (Encoded::default(), Some(Box::new(Failed { text }))),
        };
        Arguments { encoded, total: 0, failed }
    }

    /// The payload, unless it could not be made.
    #[inline(always)]
    pub(crate) fn encoded(&self) -> Option<&Encoded> {
        if self.failed.is_none() { Some(&self.encoded) } else { None }
    }

    /// The same, or the first error and whose it was.
    pub(crate) fn finish(self) -> Result<Encoded, String> {
        match self.failed {
            None => Ok(self.encoded),
            Some(failed) => Err(failed.text),
        }
    }

    /// Bytes of the payload, or why there is none.
    pub(crate) fn size(&self) -> Result<usize, &str> {
        match &self.failed {
            None => Ok(self.encoded.bytes.len()),
            Some(failed) => Err(&failed.text),
        }
    }

    fn push<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) {
        if self.failed.is_some() {
            return;
        }
        if let Err(error) = rmp_serde::encode::write_named(&mut self.encoded.bytes, value) {
            let text = format!("on the host, parameter `{name}`: {error}");
            self.failed = Some(Box::new(Failed { text }));
        }
    }
}

/// The arguments of a call by name: a tuple, whose types nobody has checked.
fn encode_tuple<A: Serialize + ?Sized>(arguments: &A) -> Result<Encoded, String> {
    let mut bytes =
        encode(arguments).map_err(|error| format!("on the host, arguments: {error}"))?;
    match bytes.first() {
        // `()` is nil to serde, and no arguments to us.
        Some(0xc0) => {
            bytes = Buffer::new();
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

fn write_array_header(bytes: &mut Buffer, len: u16) {
    match u8::try_from(len) {
        Ok(len @ 0..=15) => bytes.extend_from_slice(&[0x90 | len]),
        _ => {
            bytes.extend_from_slice(&[0xdc]);
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
    /// Nothing is to be read.
    is_empty: bool,
    reader: Reader<'a>,
}

impl std::fmt::Debug for Parameters<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parameters").field("raw", &self.raw.is_some()).finish_non_exhaustive()
    }
}

impl<'a> Parameters<'a> {
    /// Checks that there are `total` of them: in MessagePack, or else one byte string.
    #[inline]
    pub fn open(raw: Option<Vec<u8>>, bytes: &'a [u8], total: u16) -> Result<Self, Fault> {
        let header = if raw.is_some() { Some((1, 0)) } else { read_array_header(bytes) };
        match header {
            Some((len, start)) if len == usize::from(total) => {
                let bytes = &bytes[start..];
                let reader = Reader::from_read_ref(bytes);
                Ok(Parameters { raw, is_empty: bytes.is_empty(), reader })
            }
            header => Err(wrong_number(total, header.map(|(len, _)| len))),
        }
    }

    /// Checks that nothing is left.
    #[inline]
    pub fn close(mut self) -> Result<(), Fault> {
        if self.is_empty {
            return Ok(());
        }
        end_of(&mut self.reader).map_err(|text| in_worker(format!("arguments: {text}")))
    }
}

#[cold]
fn wrong_number(total: u16, given: Option<usize>) -> Fault {
    let plural = if total == 1 { "" } else { "s" };
    in_worker(match given {
        None => "arguments: not an array".into(),
        Some(given) => {
            format!("arguments: the job has {total} parameter{plural}, the call gave {given}")
        }
    })
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
    /// Not a byte string.
    #[inline(always)]
    fn of() -> Plain {
        Plain
    }
}

impl<T: ?Sized> AnyKind for Kind<T> {}

/// How byte strings travel.
#[derive(Clone, Copy, Debug)]
pub struct Bytes;

/// How everything else travels. The bounds are on the methods and the expansion names the types
/// as the user wrote them, so that the compiler points there.
#[derive(Clone, Copy, Debug)]
pub struct Plain;

impl Plain {
    /// Adds an argument.
    #[inline]
    pub fn push<T: Serialize>(self, arguments: &mut Arguments, name: &str, value: T) {
        arguments.push(name, &value);
    }

    /// Takes a parameter in its owned form.
    #[inline]
    pub fn take<T: Receive + ?Sized>(
        self,
        parameters: &mut Parameters<'_>,
        name: &str,
    ) -> Result<T::Owned, Fault> {
        if parameters.raw.is_some() {
            return Err(in_worker(format!("parameter `{name}`: not a byte string")));
        }
        T::Owned::deserialize(&mut parameters.reader)
            .map_err(|error| in_worker(format!("parameter `{name}`: {}", words(error))))
    }

    /// Encodes the output, behind nothing.
    #[inline]
    pub fn give<T: Serialize>(self, output: T, into: &mut Encoded) -> Result<(), Fault> {
        rmp_serde::encode::write_named(&mut into.bytes, &output)
            .map_err(|error| Fault::Encode(format!("in the worker, output: {error}")))
    }

    /// Decodes the output.
    #[inline]
    pub fn receive<T: DeserializeOwned>(self, output: Encoded) -> Result<T, String> {
        let value =
            if output.raw { Err("not a byte string".into()) } else { decode(&output.bytes) };
        value.map_err(on_host)
    }
}

#[expect(
    clippy::extra_unused_type_parameters,
    reason = "an expansion calls these and those of `Plain` in the same words"
)]
impl Bytes {
    /// Adds an argument; the only one is moved.
    #[inline]
    pub fn push<T: ByteString>(self, arguments: &mut Arguments, name: &str, value: T) {
        if arguments.total == 1 {
            arguments.encoded = Encoded { bytes: value.into_vec().into(), raw: true };
        } else {
            arguments.push(name, &Bin(value.as_slice()));
        }
    }

    /// Takes a parameter.
    #[inline]
    pub fn take<T: ?Sized>(
        self,
        parameters: &mut Parameters<'_>,
        name: &str,
    ) -> Result<Vec<u8>, Fault> {
        match parameters.raw.take() {
            Some(bytes) => Ok(bytes),
            None => bytes::deserialize(&mut parameters.reader)
                .map_err(|error| in_worker(format!("parameter `{name}`: {}", words(error)))),
        }
    }

    /// Moves the output.
    #[inline]
    pub fn give<T>(self, output: Vec<u8>, into: &mut Encoded) -> Result<(), Fault> {
        *into = Encoded { bytes: output.into(), raw: true };
        Ok(())
    }

    /// Moves the output.
    #[inline]
    pub fn receive<T>(self, output: Encoded) -> Result<Vec<u8>, String> {
        if output.raw {
            return Ok(output.bytes.into_vec());
        }
        let mut reader = Reader::from_read_ref(&output.bytes);
        let bytes = bytes::deserialize(&mut reader).map_err(words);
        bytes.and_then(|bytes| end_of(&mut reader).map(|()| bytes)).map_err(on_host)
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
        *wanted = Some(output.bytes.into_vec());
    } else {
        let value = T::deserialize(RawDeserializer(output.bytes.into_vec()));
        wanted = Some(value.map_err(|error| on_host(error.to_string()))?);
    }
    Ok(wanted.expect("one of the branches above set it"))
}

/// A type that a job can take, by value or behind a `&`, and the owned form it is received as.
pub trait Receive {
    /// What the worker holds while the job runs.
    type Owned: DeserializeOwned;
}

// Written out, `DeserializeOwned` would hide serde's advice to derive `Deserialize`.
impl<T: for<'de> Deserialize<'de>> Receive for T {
    type Owned = T;
}

impl Receive for str {
    type Owned = String;
}

impl<T: for<'de> Deserialize<'de>> Receive for [T] {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(bytes: &[u8], total: u16) -> Result<(), Fault> {
        let mut parameters = Parameters::open(None, bytes, total)?;
        for _ in 0..total {
            Kind::<u32>::of().take::<u32>(&mut parameters, "a")?;
        }
        parameters.close()
    }

    fn refusal(bytes: &[u8], total: u16) -> String {
        match parameters(bytes, total) {
            Err(Fault::Decode(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn messages_of_ours_come_back() {
        let message = (1u8, Some(String::from("x")), vec![1.5f64]);
        let bytes = encode(&message).unwrap();
        assert_eq!(decode(&bytes), Ok(message));
    }

    /// What has no content has a short way, and the same comes of it as of the long one.
    #[test]
    fn types_without_content_come_back_or_say_why_not() {
        #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        struct Unit;
        #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        struct Around((), Unit);
        #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        enum Never {}
        fn both<T: DeserializeOwned + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
            assert_eq!(decode::<T>(bytes), decode_some::<T>(bytes), "{bytes:?}");
        }
        for bytes in [&[NIL][..], &[], &[NIL, NIL], &[0x80], &[0x90], &[0x92, NIL, NIL], &[7]] {
            both::<()>(bytes);
            both::<Unit>(bytes);
            both::<Around>(bytes);
            both::<Never>(bytes);
            both::<Option<Never>>(bytes);
            both::<std::marker::PhantomData<u8>>(bytes);
            both::<[u8; 0]>(bytes);
        }
        assert_eq!(*encode(&()).unwrap(), [NIL]);
        assert_eq!(decode(&encode(&Unit).unwrap()), Ok(Unit));
        assert_eq!(decode(&encode(&Around((), Unit)).unwrap()), Ok(Around((), Unit)));
        assert_eq!(decode(&encode(&None::<Never>).unwrap()), Ok(None::<Never>));
    }

    #[test]
    fn array_headers_of_every_size() {
        for len in [0, 1, 15, 16, u16::MAX] {
            let mut bytes = Buffer::new();
            write_array_header(&mut bytes, len);
            assert_eq!(read_array_header(&bytes), Some((usize::from(len), bytes.len())));
        }
        assert_eq!(read_array_header(&[0xdd, 0, 1, 0, 0]), Some((1 << 16, 5)));
        assert_eq!(read_array_header(&[0xdc, 0]), None);
        assert_eq!(read_array_header(&[]), None);
    }

    #[test]
    fn what_is_left_over_or_missing_is_an_error() {
        assert_eq!(parameters(&[0x92, 1, 2], 2), Ok(()));
        assert!(refusal(&[0x92, 1, 2, 3], 2).contains("bytes are left over"));
        assert!(refusal(&[0x92, 1, 2, 0xc1], 2).contains("bytes are left over"));
        assert!(refusal(&[0x92, 1], 2).contains("parameter `a`: the bytes end too early"));
        assert!(refusal(&[0x92, 1, 0xcd, 1], 2).contains("the bytes end too early"));
        assert!(refusal(&[0x93, 1, 2, 3], 2).contains("has 2 parameters, the call gave 3"));
        assert!(refusal(&[0x90], 1).contains("has 1 parameter, the call gave 0"));
        assert!(refusal(&[0x80], 0).contains("not an array"));
        assert!(refusal(&[], 0).contains("not an array"));
        assert_eq!(decode::<u8>(&[1, 2]), Err("bytes are left over after the last value".into()));
    }

    #[test]
    fn a_length_without_its_bytes_is_not_believed() {
        // A list of 4,294,967,295 elements and a string of as many bytes, of which none is there.
        let [list, text] = [[0xdd, 0xff, 0xff, 0xff, 0xff], [0xdb, 0xff, 0xff, 0xff, 0xff]];
        assert!(decode::<Vec<u64>>(&list).is_err());
        assert!(decode::<String>(&text).is_err());
        let encoded = Encoded { bytes: list.to_vec().into(), raw: false };
        assert!(Kind::<Vec<u8>>::of().receive::<Vec<u8>>(encoded).is_err());
    }

    #[test]
    fn deep_nesting_is_an_error_and_no_overflow() {
        #[derive(Debug, serde::Deserialize)]
        #[expect(dead_code, reason = "only its depth matters")]
        struct Nest(Vec<Nest>);
        let text = decode::<Nest>(&[0x91; 100_000]).unwrap_err();
        assert_eq!(text, "depth limit exceeded");
    }

    #[test]
    fn arguments_that_cannot_be_encoded_name_their_parameter() {
        struct Shy;
        impl Serialize for Shy {
            fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                Err(serde::ser::Error::custom("too shy"))
            }
        }
        let mut arguments = Arguments::new(3);
        Kind::<u32>::of().push::<u32>(&mut arguments, "a", 1);
        Kind::<Shy>::of().push::<Shy>(&mut arguments, "b", Shy);
        Kind::<Shy>::of().push::<Shy>(&mut arguments, "c", Shy);
        assert_eq!(arguments.finish(), Err("on the host, parameter `b`: too shy".into()));
        let fault = Kind::<Shy>::of().give::<Shy>(Shy, &mut Encoded::default());
        assert_eq!(fault, Err(Fault::Encode("in the worker, output: too shy".into())));
    }

    #[test]
    fn a_raw_payload_is_for_byte_strings_only() {
        let raw = || Encoded { bytes: vec![1, 2].into(), raw: true };
        let open = |total| Parameters::open(Some(vec![1, 2]), &[], total);
        assert!(Kind::<u32>::of().take::<u32>(&mut open(1).unwrap(), "a").is_err());
        assert!(open(2).is_err());
        assert!(Kind::<u32>::of().receive::<u32>(raw()).is_err());
        assert_eq!(decode_output::<Vec<u16>>(raw()), Ok(vec![1, 2]));
        assert_eq!(decode_output::<[u8; 2]>(raw()), Ok([1, 2]));
        assert_eq!(decode_output::<Option<Vec<u8>>>(raw()), Ok(Some(vec![1, 2])));
        assert!(decode_output::<[u8; 3]>(raw()).is_err());
        assert!(decode_output::<bool>(raw()).is_err());
    }
}
