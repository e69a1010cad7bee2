//! The host's side: who holds the workers, and moves ids and bytes between them and the callers.
//!
//! `core.rs` is scheduler and links behind one lock, and `act.rs` what it does with news;
//! `driver.rs` is the thread that brings readiness, timers and deaths into it. A job waits in a
//! `cell.rs`, a worker is the other end of a `link.rs`, started by `launch.rs`. Jobs of a
//! `JobQueue` lie in a `backlog.rs` until a worker can have them. Nothing here knows a type of the
//! user, and nothing decides: the scheduler does.

mod act;
mod after;
mod answers;
mod background;
mod backlog;
mod body;
mod capture;
mod cause;
mod cell;
mod core;
mod desk;
mod driver;
mod help;
mod holding;
mod hub;
mod inbox;
mod large;
mod latch;
mod launch;
mod ledger;
mod life;
mod limits;
mod line;
pub(crate) mod link;
mod looks;
mod memory;
mod news;
mod offload;
mod out;
mod peek;
mod picture;
mod pokes;
mod race;
mod room;
mod row;
pub(crate) mod seats;
mod shares;
mod submit;
mod track;
mod wakers;

pub(crate) use self::core::Host;
pub(crate) use background::{Timer, handle as background_runtime, sleep, sleep_until};
pub(crate) use backlog::{Backlog, Share};
pub use cell::JobStatus;
pub(crate) use cell::{Cell, CellRef, Manner, Order, Place, Plain};
pub(crate) use driver::start as start_driver;
pub(crate) use hub::{Hub, Subscription};
pub use launch::Output;
pub(crate) use launch::{
    LaunchPlan, Program, Variable, is_privileged, is_worker, main_is_wrapped, threads_are_asked_for,
};
pub(crate) use line::{Bell, Line};
pub(crate) use race::{First, race};
pub(crate) use room::{Place as RoomPlace, WatchKey};
pub(crate) use wakers::shield;
