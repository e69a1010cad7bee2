//! Numbers about work: how far a job is ([`Progress`]), how jobs ended ([`WorkReport`]).

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

/// How far a job says that it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Steps that are done.
    pub done: u64,
    /// Steps in all; zero where the job does not know.
    pub total: u64,
    /// What it says besides.
    pub message: Option<String>,
}
