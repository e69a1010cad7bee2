//! What the scheduler is told once, and what follows from that.

use std::time::Duration;

use crate::policy::Terms;

/// How late anybody who could run gets a processor, if others keep all of them busy.
pub(crate) const LATENCY: Duration = Duration::from_millis(2);

/// How much may be handed to each of so many workers ahead. Where these keep all processors busy, the
/// driver gets its turn late, and they would run dry if there was less to do than they get done until
/// then. Who shares a processor with many gets little done; but not less than is worth a wake-up.
pub(crate) fn horizon(workers: u32, processors: u32) -> Duration {
    let sharers = workers.div_ceil(processors.max(1)).max(1);
    (LATENCY / sharers).max(Duration::from_micros(200))
}

/// What the pool was built with.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// Processes at a time.
    pub(crate) workers: u32,
    /// Jobs handed to one worker and not yet answered, at most.
    pub(crate) window: usize,
    /// What the jobs in one window are expected to take together, at most; one job may take
    /// longer.
    pub(crate) horizon: Duration,
    /// How late anybody who could run gets a processor, if all of them are busy.
    pub(crate) latency: Duration,
    /// A worker is replaced after so many attempts.
    pub(crate) max_jobs_per_worker: Option<u64>,
    /// A worker without a job for so long is stopped, and comes back on demand.
    pub(crate) idle_timeout: Option<Duration>,
    /// A launch that takes longer has failed.
    pub(crate) start_timeout: Duration,
    /// A kill ends a worker. If not, it runs on until its job returns, its slot is taken as long as
    /// that, and no job is handed to it ahead.
    pub(crate) killable: bool,
    /// The terms of jobs that bring none.
    pub(crate) defaults: Terms,
    /// For the jitter of back-offs.
    pub(crate) seed: u64,
}

impl Config {
    /// What takes no time is done by then, unless all processors are busy.
    pub(super) fn soon(&self) -> Duration {
        self.latency / 10
    }

    /// What does not come in this time is stuck, however busy they are.
    pub(super) fn stuck(&self) -> Duration {
        self.latency.saturating_mul(2)
    }
}
