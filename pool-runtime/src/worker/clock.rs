//! How long each job took, without a look at the clock for each of the shortest.
//!
//! The end of a job is the beginning of the next one, so there is one look a job. For a job that does
//! next to nothing it is most of what the job takes. So once a function was short several times in a
//! row, some of its jobs in a row share a look, and each is told to have taken its part of the time.
//! If that comes to more than the shortest take, one of them was long: all but the last were told
//! to be short by then, so the last is told to be it, and from there on each job has a look again. So
//! what all took together is told as it was, and where one of them is long now and then, there are as
//! many long ones as there were, and as long.

use std::cell::Cell;

/// Jobs that share a look at most.
const SHARE: u32 = 8;
/// What the shortest take at most, in nanoseconds.
const SHORT: u64 = 500;
/// So many have to have been short before.
const STREAK: u32 = 8;

#[derive(Default)]
pub(super) struct LapClock {
    /// When what is not told yet began, if nothing was waited for or written since.
    since: Cell<Option<u64>>,
    /// The function of the last job.
    job: Cell<u16>,
    /// How many looks in a row have found it short.
    streak: Cell<u32>,
    /// What the last ones took, each.
    each: Cell<u64>,
    /// Jobs since the last look.
    unlooked: Cell<u32>,
}

/// What is told of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lap {
    /// In nanoseconds.
    pub(super) took: u64,
    /// When it ended, if somebody looked.
    pub(super) ended: Option<u64>,
}

impl LapClock {
    /// Something else is done, which is nobody's time. If somebody counted on another job behind it that
    /// did not come, what those took together is not told, and each has a look again.
    #[inline]
    pub(super) fn stop(&self) {
        self.since.set(None);
        if self.unlooked.replace(0) > 0 {
            self.streak.set(0);
        }
    }

    /// A job of this function begins.
    #[inline]
    pub(super) fn begin(&self, job: u16, now: impl FnOnce() -> u64) {
        if self.job.replace(job) != job {
            self.streak.set(0);
        }
        if self.since.get().is_none() {
            self.since.set(Some(now()));
        }
    }

    /// It has ended. `goes_on`: another one of its function is sure to begin at once.
    #[inline]
    pub(super) fn end(&self, goes_on: impl FnOnce() -> bool, now: impl FnOnce() -> u64) -> Lap {
        let unlooked = self.unlooked.get();
        if self.streak.get() >= STREAK && unlooked + 1 < SHARE && goes_on() {
            self.unlooked.set(unlooked + 1);
            return Lap { took: self.each.get(), ended: None };
        }
        let ended = now();
        let since = self.since.replace(Some(ended)).unwrap_or(ended);
        let all = ended.saturating_sub(since);
        self.unlooked.set(0);
        let rest = all.saturating_sub(self.each.get() * u64::from(unlooked));
        if rest > SHORT {
            self.streak.set(0);
            return Lap { took: rest, ended: Some(ended) };
        }
        self.streak.set(self.streak.get().saturating_add(1));
        let each = all / u64::from(unlooked + 1);
        self.each.set(each);
        Lap { took: each, ended: Some(ended) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs jobs of these functions that take so long, one behind the other; what is told of them.
    fn run(clock: &LapClock, now: &Cell<u64>, jobs: &[(u16, u64)]) -> Vec<Lap> {
        let run = |(n, &(job, nanos)): (usize, &(u16, u64))| {
            clock.begin(job, || now.get());
            now.set(now.get() + nanos);
            let goes_on = jobs.get(n + 1).is_some_and(|next| next.0 == job);
            clock.end(|| goes_on, || now.get())
        };
        jobs.iter().enumerate().map(run).collect()
    }

    fn took(laps: &[Lap]) -> Vec<u64> {
        laps.iter().map(|lap| lap.took).collect()
    }

    fn looks(laps: &[Lap]) -> usize {
        laps.iter().filter(|lap| lap.ended.is_some()).count()
    }

    #[test]
    fn those_that_are_not_the_shortest_have_a_look_each() {
        let (clock, now) = (LapClock::default(), Cell::new(0));
        let jobs: Vec<_> = (0..100).map(|n| (3, SHORT + 1 + n)).collect();
        let laps = run(&clock, &now, &jobs);
        assert_eq!(looks(&laps), 100);
        assert_eq!(took(&laps), jobs.iter().map(|job| job.1).collect::<Vec<_>>());
    }

    #[test]
    fn the_shortest_share_looks_and_what_they_took_together_is_told() {
        let (clock, now) = (LapClock::default(), Cell::new(5));
        let laps = run(&clock, &now, &[(3, 100); 808]);
        assert_eq!(looks(&laps), 108);
        assert_eq!(took(&laps), [100; 808]);
        assert!(laps[807].ended == Some(5 + 80_800), "the last one has nobody behind it");
    }

    #[test]
    fn a_long_one_among_them_is_told_to_be_long() {
        for place in 0..40 {
            let (clock, now) = (LapClock::default(), Cell::new(0));
            let mut jobs = [(3, 100); 60];
            jobs[place].1 = 5_000_000;
            let laps = run(&clock, &now, &jobs);
            let long: Vec<_> = (0..60).filter(|&n| laps[n].took > SHORT).collect();
            assert!(long.len() == 1 && (place..place + SHARE as usize).contains(&long[0]));
            assert_eq!(laps[long[0]].took, 5_000_000);
            assert_eq!(took(&laps).iter().sum::<u64>(), now.get());
            // Those behind it have a look each.
            let behind = &laps[long[0] + 1..][..STREAK as usize];
            assert_eq!(looks(behind), behind.len());
        }
    }

    #[test]
    fn what_does_not_go_on_after_all_is_looked_at_again() {
        let (clock, now) = (LapClock::default(), Cell::new(0));
        run(&clock, &now, &[(3, 100); 20]);
        clock.begin(3, || now.get());
        assert_eq!(clock.end(|| true, || unreachable!()).ended, None);
        clock.stop();
        assert_eq!(looks(&run(&clock, &now, &[(3, 100); 9])), 9);
    }

    #[test]
    fn functions_that_take_turns_have_a_look_each() {
        let (clock, now) = (LapClock::default(), Cell::new(0));
        let jobs: Vec<_> = (0..100).map(|n| (n % 2, 100)).collect();
        assert_eq!(looks(&run(&clock, &now, &jobs)), 100);
    }

    #[test]
    fn what_is_done_between_jobs_is_nobodys() {
        let (clock, now) = (LapClock::default(), Cell::new(0));
        run(&clock, &now, &[(3, 100); 20]);
        clock.stop();
        now.set(now.get() + 1_000_000);
        assert_eq!(took(&run(&clock, &now, &[(3, 100); 20])), [100; 20]);
    }
}
