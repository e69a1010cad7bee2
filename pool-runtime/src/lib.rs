//! Run functions in other processes.

mod builder;
mod call;
mod codec;
mod context;
mod error;
mod handle;
mod host;
mod id;
mod macros;
mod os;
mod policy;
mod pool;
mod queue;
mod recorder;
mod registry;
mod scheduler;
mod stats;
mod wire;
mod worker;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

pub use builder::PoolBuilder;
pub use call::{Call, Named};
pub use context::{Cancelled, JobContext};
pub use error::{BuildError, Closed, JobError, JobErrorKind, PanicInfo, WorkerExit};
pub use handle::{Canceller, JobHandle, block_on};
pub use host::{JobStatus, Output};
pub use id::JobId;
pub use policy::{Priority, RetryPolicy};
pub use pool::{Close, Permit, Pool, Rejected, Shutdown};
pub use pool_macros::{main, pool_job, test, worker_start};
pub use queue::{JobQueue, QueuedJob, Work};
pub use registry::{Job, JobEntry, registered_jobs};
pub use stats::WorkReport;

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
