//! The worker's side: am I a worker? Then serve, and leave.
//!
//! One thread reads, claims, runs and replies (`serve.rs`). A second one sleeps until the host
//! is gone, and ends the process then, whatever the first one does (`guard.rs`). What a worker
//! needs before its first job is made in `start.rs`.
//!
//! Where a pool is `in_process`, the same loop runs on a thread of the host (`thread.rs`): nothing
//! there may end the process.
//!
//! Exit codes of a worker that ends by itself: 0 when the host said so or hung up, 70 when it
//! could not start or does not understand its host. Everything else is a job's doing.

mod clock;
mod guard;
mod outbox;
mod panic;
mod serve;
mod start;
mod thread;

pub(crate) use start::serve_if_worker;
pub(crate) use thread::serve_on_thread;
