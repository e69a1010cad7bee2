//! Jobs as spans, and what a job logs in its worker as events of its host: the feature `tracing`.
//!
//! Both halves of this folder offer the same words, so that nobody else asks whether the feature
//! is on. Without it (`off.rs`) they are empty and vanish. With it:
//!
//! 1. A job's span is made where it is submitted ([`JobSpan::of`]), under the span that is current
//!    there, and dropped when the job has ended.
//! 2. The host tells its workers which events it would take ([`wanted`]); a worker forwards no
//!    others, and none while no job runs ([`follow`], in `forward.rs`).
//! 3. An event travels as one [`Record`] (`record.rs`), the body of a `Log` frame.
//! 4. The host gives it to the subscriber that was the submitter's, inside the job's span, under
//!    metadata that are made for it once (`sites.rs`).
//!
//! A subscriber is the user's code: it is called outside of every lock ([`Pending`] collects for
//! that), and its panics end here.

#[cfg(feature = "tracing")]
mod forward;
#[cfg(not(feature = "tracing"))]
mod off;
#[cfg(feature = "tracing")]
mod record;
#[cfg(feature = "tracing")]
mod sites;
#[cfg(feature = "tracing")]
mod spans;

#[cfg(feature = "tracing")]
pub(crate) use forward::{dropped, follow};
#[cfg(not(feature = "tracing"))]
pub(crate) use off::{
    JobSpan, Pending, RECORD_LIMIT, Record, dropped, follow, wanted, when_traced,
};
#[cfg(feature = "tracing")]
pub(crate) use record::RECORD_LIMIT;
#[cfg(feature = "tracing")]
pub(crate) use sites::Record;
#[cfg(feature = "tracing")]
pub(crate) use spans::{JobSpan, Pending, wanted, when_traced};

/// Whether each job has a span.
pub(crate) const HAS_SPANS: bool = cfg!(feature = "tracing");
