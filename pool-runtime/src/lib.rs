//! Run functions in other processes: a process pool whose jobs are typed, awaitable, isolated and
//! killable.
//!
//! **Use it** where one input can bring everything down: native code that parses foreign files, a
//! library that is not thread-safe, anything that may crash, hang, leak or fill the memory, and
//! anything that must be stopped for certain when its time is over.
//!
//! **Do not use it** for short calls that are safe on a thread (`rayon`, `spawn_blocking`: no
//! journey, no copies), for closures and shared memory (a job is a named function and its arguments
//! are copied), for results that serde cannot send, nor as a sandbox: it isolates crashes and
//! resources, and a worker has all the rights of your program.
//!
//! # Quick start
//!
//! ```
//! use pool::{pool_job, submit};
//!
//! #[pool_job]
//! fn add(a: u32, b: u32) -> u32 {
//!     a + b
//! }
//!
//! #[pool::main]
//! async fn main() -> Result<(), pool::JobError> {
//!     assert_eq!(submit!(add, 1, 2).await?, 3);
//!     Ok(())
//! }
//! ```
//!
//! [`#[pool_job]`](macro@pool_job) leaves `add` an ordinary function and registers it.
//! [`submit!`] hands it to the global pool and gives a [`JobHandle`], which is a future under any
//! executor; in a program without async, [`wait`](JobHandle::wait) for it. A worker is this same
//! program, started again: [`#[pool::main]`](macro@main) serves there and never comes to your
//! `main`. Programs that cannot use the attribute call [`serve_if_worker`] first; tests have
//! [`#[pool::test]`](macro@test).
//!
//! A [`Pool`] of your own, with its own settings, comes from [`Pool::builder`]. [`call!`] makes a
//! [`Call`], the job with its arguments, which can be told what is special about it. For many inputs
//! there is [`Pool::map`]:
//!
//! ```
//! use std::time::Duration;
//! use pool::{Pool, call, pool_job};
//!
//! #[pool_job]
//! fn words(file: &str) -> Result<usize, String> {
//!     if file == "bad.pdf" {
//!         std::process::abort(); // as native code does
//!     }
//!     Ok(file.len())
//! }
//!
//! #[pool::main]
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let pool = Pool::builder().workers(2).timeout(Duration::from_secs(30)).build()?;
//!     let calls = ["a.pdf", "bad.pdf", "c.pdf"].map(|file| call!(words, file).label(file));
//!     let results: Vec<_> = pool.map(calls).blocking().collect();
//!     assert_eq!(results[0].as_ref().unwrap(), &Ok(5));
//!     assert!(results[1].as_ref().unwrap_err().is_crash());
//!     assert_eq!(results[2].as_ref().unwrap(), &Ok(5));
//!     Ok(())
//! }
//! ```
//!
//! # The life of a job, and its end
//!
//! Queued, running, ended. A worker runs one job at a time; within one [`Priority`] jobs are handed
//! out in the order in which they came. A job ends once: with its return value (an `Err` of its own
//! is one too), or with a [`JobError`] that names the job, its label, the attempt and what to do
//! next. A panic is caught, and the worker goes on. A crash costs the job that was running and no
//! other, and the worker is replaced. A job runs at most once unless a [`RetryPolicy`] says
//! otherwise. [More](guide::jobs)
//!
//! - A [`timeout`](Call::timeout) is for one attempt, a [`deadline`](Call::deadline) for all of it,
//!   a [`memory_limit`](Call::memory_limit) for its worker. By default there is none of them.
//! - [`cancel`](JobHandle::cancel) takes a waiting job out of the queue. A running one is asked, has
//!   its [grace period](Call::grace_period), by default none, to answer, and is then killed with all
//!   that it started. [`kill`](JobHandle::kill) does not ask.
//! - A handle that is dropped lets its job run on, unless it is
//!   [`cancel_on_drop`](JobHandle::cancel_on_drop).
//! - [`Pool::shutdown`] ends everything now, [`Pool::close`] finishes what was accepted. When the
//!   `main` under `#[pool::main]` returns, the global pool is shut down.
//!
//! [How things end](guide::how_things_end) lists every cause, with what it means for caller, worker
//! and children.
//!
//! # The guide
//!
//! | chapter | |
//! |---|---|
//! | [Foreign files](guide::foreign_files) | a recipe: what to set, what to send, libraries that are not thread-safe |
//! | [Jobs](guide::jobs) | the whole life of one, everything that can be said of a call, the ways to end it |
//! | [Many jobs](guide::many_jobs) | streams ([`Pool::map`]), queues ([`JobQueue`]), room |
//! | [Workers](guide::workers) | state, start hooks, what one job leaves to the next |
//! | [Sending](guide::sending) | serde, bytes, the limits of MessagePack |
//! | [Testing](guide::testing) | and debugging |
//! | [Observability](guide::observability) | stats, snapshots, events, captured output, progress, [tracing](guide::tracing) |
//! | [Deployment](guide::deployment) | containers, systemd, memory, updates, bundles, Python and Node |
//! | [Performance](guide::performance) | when a job is worth a process, what costs what |
//! | [Coming from](guide::coming_from) | pipes by hand, Python's pools, `spawn_blocking`, rayon |
//!
//! # Features
//!
//! None is on by default.
//!
//! | feature | |
//! |---|---|
//! | `progress` | [`JobStream::progress`] draws a bar on a terminal |
//! | `tracing` | jobs are spans, and what they log appears in the host: [tracing](guide::tracing) |
//!
//! # Environment
//!
//! | variable | |
//! |---|---|
//! | `POOL_WORKERS` | how many workers the global pool has |
//! | `POOL_IN_PROCESS=1` | every pool runs its jobs on threads of this process: [`PoolBuilder::in_process`] |
//! | `POOL_PROGRESS` | `auto`, `bar`, `plain` or `none`: [`JobStream::progress`] |
//! | `RUST_BACKTRACE=1` | panics come with their backtrace: [`PanicInfo::backtrace`] |
//!
//! # Platforms
//!
//! Linux: tested. macOS and FreeBSD: compiled, not run. Windows: not yet. Rust 1.85.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod builder;
mod call;
mod codec;
mod context;
mod error;
mod events;
mod failure;
mod global;
mod handle;
mod happening;
mod host;
mod id;
mod macros;
mod meter;
mod order;
mod os;
mod policy;
mod pool;
mod progress;
mod queue;
mod recorder;
mod registry;
mod reporter;
mod scheduler;
mod spin;
mod state;
mod stats;
mod stream;
mod trace;
mod wire;
mod worker;

pub mod guide;

#[cfg(fuzzing)]
#[doc(hidden)]
#[path = "fuzz.rs"]
pub mod __fuzz;
#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

pub use builder::PoolBuilder;
pub use call::{Call, Named};
pub use context::{Cancelled, JobContext};
pub use error::{BuildError, Closed, JobError, JobErrorKind, PanicInfo, WorkerExit};
pub use events::EventStream;
pub use failure::Failure;
pub use handle::{Canceller, JobHandle, block_on};
pub use happening::{OutputStream, PoolEvent};
pub use host::{JobStatus, Output};
pub use id::JobId;
pub use policy::{Priority, RetryPolicy};
pub use pool::{Close, Permit, Pool, Rejected, Shutdown};
pub use pool_macros::{main, pool_job, state, test, worker_start};
pub use progress::ProgressStream;
pub use queue::{JobQueue, QueuedJob, Work};
pub use registry::{Job, JobEntry, registered_jobs};
pub use stats::{
    Histogram, Progress, RunningJob, Snapshot, Stats, WorkReport, WorkerState, WorkerStats,
};
pub use stream::{BlockingStream, JobStream};

/// Serves and never returns if this process was started as a worker; else does nothing.
///
/// [`#[pool::main]`](macro@main) calls it; call it yourself, as the very first thing in `main`,
/// in a program that cannot use the attribute.
///
/// Where another macro makes `main`, with a runtime around it, a worker serves on a thread that is
/// outside of that runtime; what the macro has started by then, such as the runtime's own threads,
/// each worker has too. [`#[pool::main]`](macro@main) on an `async fn main` makes the runtime in the
/// host alone.
///
/// # Examples
///
/// ```
/// pool::serve_if_worker();
/// println!("the host begins here");
/// ```
pub fn serve_if_worker() {
    worker::serve_if_worker();
    host::main_is_wrapped();
}

#[cfg(test)]
mod roundtrip;
#[cfg(test)]
mod texts;

/// The program in the README runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;
