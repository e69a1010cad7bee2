//! Run functions in other processes.

extern crate self as pool;

mod call;
mod codec;
mod context;
mod error;
mod id;
mod macros;
mod policy;
mod registry;
#[expect(dead_code, reason = "not wired yet")]
mod scheduler;
mod stats;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

pub use call::{Call, Named};
pub use context::JobContext;
pub use error::{BuildError, Closed, JobError, JobErrorKind, PanicInfo, WorkerExit};
pub use id::JobId;
pub use policy::{Priority, RetryPolicy};
pub use pool_macros::{main, pool_job, test, worker_start};
pub use registry::{Job, JobEntry, registered_jobs};
pub use stats::WorkReport;

#[cfg(test)]
mod roundtrip;
