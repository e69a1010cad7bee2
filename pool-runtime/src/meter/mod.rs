//! How far a stream is, for those who look at stderr.
//!
//! `tally.rs` counts and puts numbers into words; it knows no clock and no terminal. `show.rs`
//! decides what is shown and when: the bar of `bar.rs` on a terminal, elsewhere a plain line now
//! and then. Nothing here runs by itself: whoever polls the stream tells it what happened, and is
//! woken when there is something to be shown. Without the feature `progress` there is no bar:
//! `no_bar.rs` stands in its place.

#[cfg(feature = "progress")]
mod bar;
#[cfg(not(feature = "progress"))]
#[path = "no_bar.rs"]
mod bar;
mod show;
mod tally;

pub(crate) use show::{Meter, Running};
pub(crate) use tally::Row;
