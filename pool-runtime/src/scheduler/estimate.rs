//! How long a job will take, from how long others of its function took.
//!
//! About the 80th percentile: it rises by a quarter with each job that took longer and falls by a
//! sixteenth with each that did not, so four in five have to be below it for it to stay. What was
//! never seen is expected to take for ever, and is not handed ahead.

/// Nanoseconds; a job that takes longer than some seconds is as good as one without an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Weight(u32);

impl Weight {
    pub(super) const NONE: Weight = Weight(0);

    pub(super) const UNKNOWN: Weight = Weight(u32::MAX);

    #[inline]
    pub(super) fn nanos(self) -> u64 {
        u64::from(self.0)
    }

    /// One more job took so many nanoseconds.
    #[inline]
    fn follow(&mut self, took: u32) {
        self.0 = match self.0 {
            u32::MAX => took.min(u32::MAX - 1),
            // The constant lets it leave zero.
            known if took > known => {
                known.saturating_add(known / 4).saturating_add(16).min(u32::MAX - 1)
            }
            known => known - known / 16,
        };
    }

    /// It ends soon. What is not known does not.
    #[inline]
    pub(super) fn is_brief(self) -> bool {
        self.nanos() <= BRIEF
    }
}

/// A write of many replies at once, which costs a few microseconds and wakes the host, is cheap beside
/// so many nanoseconds.
pub(super) const BRIEF: u64 = 50_000;

/// By the number of the function.
#[derive(Default)]
pub(super) struct Estimates(Vec<Weight>);

impl Estimates {
    #[inline]
    pub(super) fn of(&self, kind: u16) -> Weight {
        self.0.get(usize::from(kind)).copied().unwrap_or(Weight::UNKNOWN)
    }

    /// A job of this function took so many nanoseconds.
    #[inline]
    pub(super) fn learn(&mut self, kind: u16, took: u64) {
        let took = u32::try_from(took).unwrap_or(u32::MAX);
        let kind = usize::from(kind);
        match self.0.get_mut(kind) {
            Some(weight) => weight.follow(took),
            None => {
                self.0.resize(kind + 1, Weight::UNKNOWN);
                self.0[kind].follow(took);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_in_five_are_below_it() {
        let mut estimates = Estimates::default();
        assert_eq!(estimates.of(3), Weight::UNKNOWN);
        // 1 to 100 microseconds, all the same often.
        for n in 0..100_000u64 {
            estimates.learn(3, 1000 * (n * 37 % 100 + 1));
        }
        let nanos = estimates.of(3).nanos();
        assert!((60_000..100_000).contains(&nanos), "{nanos}");
        assert_eq!(estimates.of(2), Weight::UNKNOWN);
    }

    #[test]
    fn it_follows_what_changes_and_never_means_for_ever() {
        let mut estimates = Estimates::default();
        estimates.learn(0, u64::MAX);
        assert_ne!(estimates.of(0), Weight::UNKNOWN);
        for _ in 0..400 {
            estimates.learn(0, 0);
        }
        assert!(estimates.of(0).nanos() < 100);
        for _ in 0..400 {
            estimates.learn(0, 60_000_000_000);
        }
        assert!(estimates.of(0).nanos() > 4_000_000_000);
        assert_ne!(estimates.of(0), Weight::UNKNOWN);
    }
}
