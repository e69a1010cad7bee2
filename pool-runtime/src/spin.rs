//! To look again and again for a moment before going to sleep.
//!
//! Waking a thread that sleeps costs more than a short job: on a virtual core some 20 µs, each
//! way. So whoever waits for something that is about to come looks for it first, and gives its
//! processor away between two looks: others on the same core get on with their work.
//!
//! It learns when that does not pay. Two sides that wait for each other have to look at the same
//! time: after a turn without success the other one sleeps too, and is found awake only if both go
//! on looking. So a few failures in a row are for nothing; more of them cost the next turns. A
//! processor that comes back late (others have work for it, and waking up is faster than waiting
//! for one's turn again) is not given away for many times as long as it was gone: one loss of
//! milliseconds outweighs hundreds of turns that were won, however seldom it happens.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long one turn looks at most.
pub(crate) const LIMIT: Duration = Duration::from_micros(30);
/// A processor that is given away comes back sooner, unless others on this system need it: a virtual
/// one may be gone for a hundred microseconds, asleep or not.
const LATE: Duration = Duration::from_micros(400);
/// So many failures cost nothing. A success makes up for two.
const FREE: u32 = 8;
/// Each one beyond doubles the turns that are sat out after it, up to 64.
const MOST: u32 = FREE + 7;
/// So many times as long as a processor was gone it is not given away again: what is lost that way
/// is this part of all time at most.
const PENANCE: u32 = 32;
/// Never looks.
const OFF: u32 = u32::MAX;

/// When to look, and when to sleep at once.
#[derive(Debug)]
pub(crate) struct Spinner {
    /// Turns to sit out.
    left: AtomicU32,
    /// Failures that no success has made up for.
    failures: AtomicU32,
    began: Instant,
    /// Nanoseconds since then until which it does not look at all; zero: none.
    barred: AtomicU64,
}

/// What came of one turn of looking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Found,
    /// Its processor was gone for so long.
    Late(Duration),
    Nothing,
}

impl Spinner {
    /// One that never looks if it is not `on`.
    pub(crate) fn new(on: bool) -> Spinner {
        let left = if on { 0 } else { OFF };
        Spinner {
            left: AtomicU32::new(left),
            failures: AtomicU32::new(FREE),
            began: Instant::now(),
            barred: AtomicU64::new(0),
        }
    }

    /// Looks until `look` finds what it looks for, for a moment at most. Whether it did.
    pub(crate) fn spin(&self, look: impl FnMut() -> bool) -> bool {
        self.spin_for(LIMIT, look)
    }

    /// The same for at most so long.
    pub(crate) fn spin_for(&self, limit: Duration, mut look: impl FnMut() -> bool) -> bool {
        if !self.is_on() {
            return false;
        }
        let began = Instant::now();
        let mut before = began;
        let turn = loop {
            if look() {
                break Turn::Found;
            }
            // After a last look: whoever had the processor meanwhile may have been at it.
            if before - began > limit {
                break Turn::Nothing;
            }
            thread::yield_now();
            let now = Instant::now();
            if now - before > LATE {
                break Turn::Late(now - before);
            }
            before = now;
        };
        self.learn(turn, before);
        turn == Turn::Found
    }

    /// Whether the next turn is one for looking.
    pub(crate) fn is_ready(&self) -> bool {
        self.left.load(Ordering::Relaxed) == 0 && self.barred.load(Ordering::Relaxed) == 0
    }

    /// Whether this turn is one for looking. Turns are counted by whoever comes by: it does not
    /// matter if two at once count as one.
    pub(crate) fn is_on(&self) -> bool {
        let barred = self.barred.load(Ordering::Relaxed);
        if barred != 0 {
            if self.began.elapsed().as_nanos() < u128::from(barred) {
                return false;
            }
            self.barred.store(0, Ordering::Relaxed);
        }
        match self.left.load(Ordering::Relaxed) {
            0 => true,
            OFF => false,
            left => {
                self.left.store(left - 1, Ordering::Relaxed);
                false
            }
        }
    }

    /// What came of a turn that saw the clock at `now`, and then perhaps lost its processor.
    fn learn(&self, turn: Turn, now: Instant) {
        let failures = self.failures.load(Ordering::Relaxed);
        let (failures, sat_out) = match turn {
            // Beyond the free ones they were paid for.
            Turn::Found if failures > FREE => (failures - 1, 0),
            Turn::Found => (failures.saturating_sub(2), 0),
            Turn::Nothing => {
                let failures = (failures + 1).min(MOST);
                (failures, failures.checked_sub(FREE + 1).map_or(0, |doublings| 1 << doublings))
            }
            Turn::Late(gone) => {
                let until = (now - self.began) + gone * (PENANCE + 1);
                let until = u64::try_from(until.as_nanos()).unwrap_or(u64::MAX);
                self.barred.store(until, Ordering::Relaxed);
                return;
            }
        };
        self.failures.store(failures, Ordering::Relaxed);
        self.left.store(sat_out, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many turns pass until it looks again.
    fn sat_out(spinner: &Spinner) -> u32 {
        (0..).find(|_| spinner.is_on()).unwrap_or(u32::MAX)
    }

    #[test]
    fn what_is_there_is_found_at_once() {
        let spinner = Spinner::new(true);
        assert!(spinner.spin(|| true));
        assert_eq!(sat_out(&spinner), 0);
    }

    #[test]
    fn a_few_failures_are_for_nothing_once_it_has_found_something() {
        let spinner = Spinner::new(true);
        (0..FREE).for_each(|_| spinner.learn(Turn::Found, Instant::now()));
        for _ in 0..FREE {
            spinner.learn(Turn::Nothing, Instant::now());
            assert_eq!(sat_out(&spinner), 0);
        }
        spinner.learn(Turn::Nothing, Instant::now());
        assert_eq!(sat_out(&spinner), 1);
        // With two failures to a success it goes on looking.
        let spinner = Spinner::new(true);
        for _ in 0..100 {
            for turn in [Turn::Found, Turn::Nothing, Turn::Nothing] {
                spinner.learn(turn, Instant::now());
            }
            assert_eq!(sat_out(&spinner), 0);
        }
    }

    #[test]
    fn without_success_it_looks_ever_more_seldom_and_with_it_soon_again() {
        let spinner = Spinner::new(true);
        let prices: Vec<u32> = std::iter::repeat_with(|| {
            spinner.learn(Turn::Nothing, Instant::now());
            sat_out(&spinner)
        })
        .take(9)
        .collect();
        assert_eq!(prices, [1, 2, 4, 8, 16, 32, 64, 64, 64]);
        (0..7).for_each(|_| spinner.learn(Turn::Found, Instant::now()));
        spinner.learn(Turn::Nothing, Instant::now());
        assert_eq!(sat_out(&spinner), 1);
    }

    #[test]
    fn a_lost_processor_is_not_risked_for_many_times_as_long() {
        let spinner = Spinner::new(true);
        let now = spinner.began;
        spinner.learn(Turn::Late(Duration::from_secs(100)), now);
        // However often it is asked, and whatever was found meanwhile by somebody else.
        spinner.learn(Turn::Found, now);
        assert!((0..10_000).all(|_| !spinner.is_on()));
        let barred = spinner.barred.load(Ordering::Relaxed);
        assert_eq!(Duration::from_nanos(barred), Duration::from_secs(3300));
        // And then as before.
        spinner.barred.store(1, Ordering::Relaxed);
        assert_eq!(sat_out(&spinner), 0);
    }

    #[test]
    fn switched_off_it_never_looks() {
        let spinner = Spinner::new(false);
        assert!((0..10_000).all(|_| !spinner.spin(|| panic!("looked"))));
    }
}
