//! To look again and again for a moment before going to sleep.
//!
//! Waking a thread that sleeps costs more than a short job: on a virtual core some 20 µs, each
//! way. So whoever waits for something that is about to come looks for it first, and gives its
//! processor away between two looks: others on the same core get on with their work.
//!
//! It learns when that does not pay. What did not come in time costs the next few turns. A
//! processor that comes back late (others have work for it, and waking up is faster than waiting
//! for one's turn again) is not given away for many times as long as it was gone: one loss of
//! milliseconds outweighs hundreds of turns that were won, however seldom it happens.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long one turn looks at most.
const LIMIT: Duration = Duration::from_micros(30);
/// A processor that is given away comes back sooner, unless others on this system need it: a virtual
/// one may be gone for a hundred microseconds, asleep or not.
const LATE: Duration = Duration::from_micros(400);
/// Turns that are sat out at most after one without success.
const MOST_SAT_OUT: u32 = 64;
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
    /// How many that were after the last failure; less with each success.
    price: AtomicU32,
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
            price: AtomicU32::new(0),
            began: Instant::now(),
            barred: AtomicU64::new(0),
        }
    }

    /// Looks until `look` finds what it looks for, for a moment at most. Whether it did.
    pub(crate) fn spin(&self, mut look: impl FnMut() -> bool) -> bool {
        if !self.is_on() {
            return false;
        }
        let began = Instant::now();
        let mut before = began;
        let turn = loop {
            if look() {
                break Turn::Found;
            }
            thread::yield_now();
            let now = Instant::now();
            if now - before > LATE {
                break Turn::Late(now - before);
            }
            if now - began > LIMIT {
                break Turn::Nothing;
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
        let price = self.price.load(Ordering::Relaxed);
        let price = match turn {
            Turn::Found => price / 2,
            Turn::Nothing => (price * 2).clamp(1, MOST_SAT_OUT),
            Turn::Late(gone) => {
                let until = (now - self.began) + gone * (PENANCE + 1);
                let until = u64::try_from(until.as_nanos()).unwrap_or(u64::MAX);
                self.barred.store(until, Ordering::Relaxed);
                return;
            }
        };
        self.price.store(price, Ordering::Relaxed);
        self.left.store(if turn == Turn::Found { 0 } else { price }, Ordering::Relaxed);
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
