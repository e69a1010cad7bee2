//! To look again and again for a moment before going to sleep.
//!
//! Waking a thread that sleeps costs more than a short job: on a virtual core some 20 µs, each
//! way. So whoever waits for something that is about to come looks for it first, and gives its
//! processor away between two looks: others on the same core get on with their work.
//!
//! It learns when that does not pay. What did not come in time costs the next few turns, and a
//! processor that comes back late (others have work for it, and waking up is faster than waiting
//! for one's turn again) costs many more.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long one turn looks at most.
const LIMIT: Duration = Duration::from_micros(30);
/// A processor that is given away comes back sooner, unless others need it.
const LATE: Duration = Duration::from_micros(60);
/// Turns that are sat out at most, after one without success and after one that lost its
/// processor.
const MOST_SHORT: u32 = 64;
const MOST_LONG: u32 = 8192;
/// The fewest after a processor was lost.
const FEWEST_LONG: u32 = 16;
/// Never looks.
const OFF: u32 = u32::MAX;

/// When to look, and when to sleep at once.
#[derive(Debug)]
pub(crate) struct Spinner {
    /// Turns to sit out.
    left: AtomicU32,
    /// How many that were after the last failure; less with each success.
    price: AtomicU32,
}

/// What came of one turn of looking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Found,
    Late,
    Nothing,
}

impl Spinner {
    /// One that never looks if it is not `on`.
    pub(crate) fn new(on: bool) -> Spinner {
        let left = if on { 0 } else { OFF };
        Spinner { left: AtomicU32::new(left), price: AtomicU32::new(0) }
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
                break Turn::Late;
            }
            if now - began > LIMIT {
                break Turn::Nothing;
            }
            before = now;
        };
        self.learn(turn);
        turn == Turn::Found
    }

    /// Whether this turn is one for looking. Turns are counted by whoever comes by: it does not
    /// matter if two at once count as one.
    pub(crate) fn is_on(&self) -> bool {
        match self.left.load(Ordering::Relaxed) {
            0 => true,
            OFF => false,
            left => {
                self.left.store(left - 1, Ordering::Relaxed);
                false
            }
        }
    }

    fn learn(&self, turn: Turn) {
        let price = self.price.load(Ordering::Relaxed);
        let (price, left) = match turn {
            Turn::Found => (price / 2, 0),
            Turn::Late => {
                let price = (price * 4).clamp(FEWEST_LONG, MOST_LONG);
                (price, price)
            }
            Turn::Nothing => {
                let next = (price * 2).clamp(1, MOST_SHORT).max(price);
                (next, next)
            }
        };
        self.price.store(price, Ordering::Relaxed);
        self.left.store(left, Ordering::Relaxed);
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
            spinner.learn(Turn::Nothing);
            sat_out(&spinner)
        })
        .take(9)
        .collect();
        assert_eq!(prices, [1, 2, 4, 8, 16, 32, 64, 64, 64]);
        (0..7).for_each(|_| spinner.learn(Turn::Found));
        spinner.learn(Turn::Nothing);
        assert_eq!(sat_out(&spinner), 1);
    }

    #[test]
    fn a_lost_processor_costs_more() {
        let spinner = Spinner::new(true);
        let prices: Vec<u32> = std::iter::repeat_with(|| {
            spinner.learn(Turn::Late);
            sat_out(&spinner)
        })
        .take(7)
        .collect();
        assert_eq!(prices, [16, 64, 256, 1024, 4096, 8192, 8192]);
        // One that finds nothing does not make it cheaper.
        spinner.learn(Turn::Nothing);
        assert_eq!(sat_out(&spinner), 8192);
    }

    #[test]
    fn switched_off_it_never_looks() {
        let spinner = Spinner::new(false);
        assert!((0..10_000).all(|_| !spinner.spin(|| panic!("looked"))));
    }
}
