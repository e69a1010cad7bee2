//! How much time the workers had, and how much of it they spent on jobs.

use super::event::Time;

/// Worker time up to a moment, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Times {
    until: Time,
    /// That there were workers.
    present: u64,
    /// That windows held a job.
    busy: u64,
}

impl Times {
    /// The same up to `now`, if so many workers were there and had a job since.
    pub(super) fn until(self, now: Time, present: usize, busy: usize) -> Times {
        let passed = now.nanos_since(self.until);
        let add = |sum: u64, n: usize| sum.saturating_add(passed.saturating_mul(n as u64));
        Times {
            until: self.until.max(now),
            present: add(self.present, present),
            busy: add(self.busy, busy),
        }
    }

    /// The part that was spent on jobs, from 0 to 1; zero if there was no time yet.
    pub(super) fn share(self) -> f64 {
        if self.present == 0 {
            return 0.0;
        }
        (self.busy as f64 / self.present as f64).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(millis: u64) -> Time {
        Time::after_start(Duration::from_millis(millis))
    }

    #[test]
    fn the_share_is_of_the_time_for_which_there_were_workers() {
        let nobody = Times::default().until(at(1000), 0, 0);
        assert_eq!(nobody.share(), 0.0);
        let idle = nobody.until(at(1100), 2, 0);
        assert_eq!(idle.share(), 0.0);
        let half = idle.until(at(1200), 2, 2);
        assert_eq!(half.share(), 0.5);
        assert_eq!(half.until(at(9000), 0, 0).share(), 0.5);
        assert_eq!(half.until(at(1), 2, 0), half, "time does not go back");
    }
}
