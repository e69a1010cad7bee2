//! Decides which job runs where and when, and how each one ends. Pure: no clock, no IO, no bytes.

mod event;

pub(crate) use event::{Action, Ending, Event, JobKey, Readiness, Reply, Time, WorkerId};
