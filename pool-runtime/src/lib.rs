//! Run functions in other processes: a process pool whose jobs are typed, awaitable, isolated and
//! killable.
//!
//! Use it for work that may crash, hang, leak or exhaust the memory, for libraries that are not
//! thread-safe, and for anything that must be stopped for certain when its time is over. Do not
//! use it for short calls that are safe to run in a thread (`rayon`, `spawn_blocking`), nor as a
//! sandbox: a worker has all the rights of your program.
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
//! [`submit!`] hands it to the global pool and gives a [`JobHandle`], which is a future; in a
//! program without async, [`wait`](JobHandle::wait) for it. A worker is this same program,
//! started again: [`#[pool::main]`](macro@main) serves there and never comes to your `main`.
//! Programs that cannot use it call [`serve_if_worker`] first.
//!
//! A [`Pool`] of your own, with its own settings, comes from [`Pool::builder`], and
//! `submit!(pool => add, 1, 2)` uses it. [`call!`] makes a [`Call`], the job with its arguments,
//! which can be told what is special about it before it is submitted:
//!
//! ```
//! use std::time::Duration;
//! use pool::{Pool, Priority, RetryPolicy, call, pool_job};
//!
//! #[pool_job]
//! fn resize(path: &str, width: u32) -> String {
//!     format!("{path} at {width}")
//! }
//!
//! #[pool::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let pool = Pool::builder().workers(2).timeout(Duration::from_secs(60)).build()?;
//!     let call = call!(resize, "a.png", 100)
//!         .priority(Priority::High)
//!         .retry(RetryPolicy::attempts(3))
//!         .label("a.png");
//!     assert_eq!(pool.submit(call).await?, "a.png at 100");
//!     pool.close().await;
//!     Ok(())
//! }
//! ```
//!
//! # The life of a job
//!
//! Queued, running, ended: [`JobHandle::status`] tells which. Arguments are encoded when the call
//! is made, the output is decoded when the handle is awaited, both on your own thread. A worker
//! runs one job at a time. Within one [`Priority`] jobs are handed out in the order in which they
//! came.
//!
//! A job ends with its return value (an `Err` of its own is one too), or with a [`JobError`], whose
//! [`kind`](JobError::kind) says what happened and whose text names the job, its label, the
//! attempt and what to do next. A panic is caught, and the worker goes on. A crash costs the job
//! that was running and no other, and the worker is replaced. A job runs at most once unless a
//! [`RetryPolicy`] says otherwise.
//!
//! What a job leaves behind in its process (threads, environment, working directory, statics)
//! meets the next job there. [`max_jobs_per_worker(1)`](PoolBuilder::max_jobs_per_worker) gives
//! each job a fresh process.
//!
//! # How to end one
//!
//! - A [`timeout`](Call::timeout) is for one attempt, from the moment it can run; a
//!   [`deadline`](Call::deadline) is for everything, from `submit` on.
//! - [`cancel`](JobHandle::cancel) takes a waiting job out of the queue. A running one is asked and
//!   has its [grace period](Call::grace_period), by default none, to answer; then its process is
//!   killed, with all that it started. [`kill`](JobHandle::kill) does not ask.
//! - A handle that is dropped lets its job run on, unless it is
//!   [`cancel_on_drop`](JobHandle::cancel_on_drop).
//! - [`Pool::shutdown`] ends everything now, [`Pool::close`] finishes what was accepted. When the
//!   `main` under `#[pool::main]` returns, the global pool is shut down.
//!
//! [How things end](how_things_end) lists every cause, with what it means for caller, worker and
//! children.
//!
//! A job that takes a [`&JobContext`](JobContext) can see that it is asked. The caller does not
//! pass it:
//!
//! ```
//! use std::time::Duration;
//! use pool::{JobContext, Pool, call, pool_job};
//!
//! #[pool_job]
//! fn search(ctx: &JobContext, from: u64) -> u64 {
//!     (from..).take_while(|_| !ctx.is_cancelled()).last().unwrap_or(from)
//! }
//!
//! #[pool::main]
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let pool = Pool::builder().workers(1).grace_period(Duration::from_secs(10)).build()?;
//!     let seen = pool.submit(call!(search, 7).timeout(Duration::from_millis(50))).wait()?;
//!     assert!(seen >= 7);
//!     Ok(())
//! }
//! ```
//!
//! # A queue of jobs
//!
//! Jobs can wait outside of any pool, in a [`JobQueue`]. [`Pool::work`] works them off, as fast as
//! its workers can take them; several pools may do so. If a pool is shut down meanwhile, the jobs
//! that had not started are in the queue again, and their handles are good for whoever runs them.
//!
//! ```
//! use pool::{JobQueue, Pool, call, pool_job};
//!
//! #[pool_job]
//! fn double(n: u32) -> u32 {
//!     2 * n
//! }
//!
//! #[pool::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let queue = JobQueue::new();
//!     let first = queue.push(call!(double, 1)).await;
//!     let second = queue.push(call!(double, 2)).await;
//!     let report = Pool::new(2)?.work(&queue).await;
//!     assert_eq!((report.succeeded, queue.count()), (2, 0));
//!     assert_eq!((first.await?, second.await?), (2, 4));
//!     Ok(())
//! }
//! ```
//!
//! # Tests
//!
//! A job function is an ordinary function: most tests need no process
//! ([`JobContext::detached`] makes a context for it). Where one does, put
//! [`#[pool::test]`](macro@test) in the place of `#[test]` or `#[tokio::test]`; nothing else is
//! needed, under `cargo test` or under nextest.
//!
//! ```no_run
//! # use pool::{pool_job, submit};
//! # #[pool_job]
//! # fn add(a: u32, b: u32) -> u32 { a + b }
//! #[pool::test]
//! async fn adds_in_another_process() {
//!     assert_eq!(submit!(add, 1, 2).await.unwrap(), 3);
//! }
//! # fn main() {}
//! ```
//!
//! # What may be sent
//!
//! Arguments and outputs are any types with serde's `Serialize` and `DeserializeOwned`; they are
//! copied, as MessagePack. A parameter `&T` (`&str`, `&[u8]`, `&Path`, `&Config`) is sent without
//! taking it from the caller. `Vec<u8>` and `&[u8]` travel as bytes, not as lists of numbers.
//! Closures, open files and locks cannot be sent.

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
mod os;
mod policy;
mod pool;
mod progress;
mod queue;
mod recorder;
mod registry;
mod reporter;
mod scheduler;
mod state;
mod stats;
mod stream;
mod trace;
mod wire;
mod worker;

#[doc = include_str!("how_things_end.md")]
pub mod how_things_end {}

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
