//! What the process tests share.
//!
//! [`isolated`] runs a test's body in processes of its own and proves afterwards that nothing is
//! left of them. [`proc`] reads what the system knows of processes, [`room`] has the files of one
//! test and the waiting for things, [`jobs`] the jobs that many tests need: they are at the same
//! time the jobs of a second crate.

pub mod isolation;
pub mod jobs;
pub mod proc;
pub mod room;

pub use isolation::{End, Isolation, isolated, run_puppet};
pub use room::{lines, pids, scratch, wait_for_room, wait_until};
