//! Run functions in other processes.

extern crate self as pool;

mod error;
mod id;
mod policy;
mod registry;
#[expect(dead_code, reason = "not wired yet")]
mod scheduler;
mod stats;

pub use error::{BuildError, Closed, JobError, JobErrorKind, PanicInfo, WorkerExit};
pub use id::JobId;
pub use policy::{Priority, RetryPolicy};
pub use stats::WorkReport;
