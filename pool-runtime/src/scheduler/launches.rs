//! How launching goes, and how long the next launch has to wait after failures.

use std::time::Duration;

use super::event::Time;

/// The wait after the second failure in a row; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_millis(10);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// How launching goes, pool-wide.
#[derive(Default)]
pub(super) struct Launches {
    /// Failed launches and idle deaths since the last reply.
    pub(super) strikes: u32,
    /// Failed launches since a worker became ready.
    pub(super) failed: u32,
    /// No launch before this moment.
    pub(super) not_before: Time,
    /// When the next launch is due, if one waits for its moment.
    pub(super) due: Option<Time>,
}

impl Launches {
    /// One more failure: the next launch waits longer.
    pub(super) fn strike(&mut self, now: Time) {
        self.strikes = self.strikes.saturating_add(1);
        let wait = match self.strikes {
            1 => Duration::ZERO,
            n => FIRST_WAIT.saturating_mul(1 << (n - 2).min(16)).min(LONGEST_WAIT),
        };
        self.not_before = self.not_before.max(now + wait);
    }
}
