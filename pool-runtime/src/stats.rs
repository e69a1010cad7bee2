//! Numbers about work that was done: [`WorkReport`].

use std::time::Duration;

/// How the jobs of one [`Work`](crate::Work) or one [`close`](crate::Pool::close) ended.
///
/// A job whose function returned an `Err` of its own has succeeded: it ran and answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkReport {
    /// Jobs that gave an output.
    pub succeeded: u64,
    /// Jobs that ended with any error but `Cancelled` and `PoolClosed`.
    pub failed: u64,
    /// Jobs that ended as `Cancelled` or `PoolClosed`.
    pub cancelled: u64,
    /// From the start of the work to its end.
    pub elapsed: Duration,
}
