//! The tables of what a program annotated, and the looking up of jobs by name.
//!
//! Every `#[pool_job]` is one [`JobEntry`] in an `inventory` table. Host and worker are the
//! same program, so both sort the same table by name and speak of a job by its number in it.
//! Bytes become types, and types bytes, in a job's erased shim ([`JobEntry::run`]); the shim
//! sees the worker only as a [`Stage`], so that this file knows neither house.
//!
//! Names are looked up once per job; two jobs of one name are an error of the first look-up.

use std::any::Any;
use std::future::Future;
use std::pin::Pin;

use crate::policy::JobOptions;

/// A value in MessagePack, or, where `raw` is set, the bytes of one whole byte string.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// They are the one byte-string parameter or output itself, without an encoding.
    pub raw: bool,
}

/// Why a job's shim gave no output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An argument could not be decoded.
    Decode(String),
    /// The output could not be encoded.
    Encode(String),
    /// A state could not be made.
    State(String),
}

/// What a job's shim sees of the place where it runs.
pub trait Stage {
    /// The arguments; to be taken once.
    fn take_arguments(&mut self) -> Encoded;
    /// The job's context, a `JobContext` (which lives on a floor above this one).
    fn context(&self) -> &dyn Any;
    /// Drives the future of an async job to its end.
    fn block_on(&self, job: Pin<&mut dyn Future<Output = ()>>);
}

/// Decodes the arguments, calls the function, encodes the output.
pub type RunJob = fn(&mut dyn Stage) -> Result<Encoded, Fault>;
