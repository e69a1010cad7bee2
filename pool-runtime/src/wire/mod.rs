//! What host and worker say to each other. This folder knows bytes only: no sockets, no
//! processes, no types of the user.
//!
//! 1. The host writes [`Welcome`] into the channel before the worker exists; the recorder's
//!    descriptor travels with its first byte. Its length is fixed, so that the worker can read
//!    exactly that and nothing of what follows.
//! 2. The worker answers [`Hello`], which begins with a magic number. What follows, in both
//!    directions, are frames: a header of 16 bytes, then the body. The first may lie behind the
//!    `Welcome` before the worker is up: one that objects to that leaves without a look at it.
//! 3. `Run` frames are numbered from zero (`seq`). A reply carries the number of the job that
//!    it answers; replies come in the order of their jobs.
//! 4. A reply that is small lies in the recorder's ring as well, and sooner than here; it is padded
//!    to whole words there and here.
//! 5. Whether a job was started is not said here: both sides see it in the recorder.
//! 6. `Passed`, `Poke` and `Progress` end no job. A frame that was sent brings at most one of
//!    `Passed`, if it was recalled, or `Progress`, right before its reply; a `Poke` comes at most
//!    once until the host has taken notice of it in the recorder.
//!
//! Nothing that a worker says is trusted: a header is checked whole (kind, flags, length,
//! number) before its body is awaited, and bodies are parsed from private copies.

mod buffer;
pub(crate) mod coarse;
pub(crate) mod frame;
mod handshake;
mod message;
mod payload;
mod reader;

pub(crate) use buffer::Buffer;
pub(crate) use frame::{Flags, HEADER_LEN, Header, RING_ROOM, ToHost, ToWorker, WireFault};
pub(crate) use handshake::{Hello, WELCOME_LEN, Welcome};
pub(crate) use message::{
    MESSAGE_ROOM, PRELUDE_LEN, PROGRESS_ROOM, PanicReport, Prelude, Refusal, put_words,
};
pub(crate) use payload::{Payload, word};
pub(crate) use reader::{Frame, FrameBody, FrameReader, Source};

/// Raised by each release in which a frame has another shape than in the one before.
pub(crate) const PROTOCOL_VERSION: u32 = 1;

/// Bodies beyond this are claimed before they are read, and moved without a copy.
pub(crate) const BIG: usize = 32 * 1024;
