//! Jobs that a thread submits in a row, without waiting for any, where there is one processor only.
//!
//! No worker can run while it does. To write to one that sleeps hands the processor over to it, for one
//! job, and the reply to that hands it to the driver: the first few of a thousand jobs then take as long
//! as all others. So those that come behind several are left for the driver, which comes a
//! millisecond later, or for whoever waits first.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::scheduler::Time;

/// So many are several.
const SEVERAL: u32 = 4;
/// In which time they have to come.
const DENSE: Duration = Duration::from_millis(1);

thread_local! {
    /// How many jobs this thread has submitted since it waited last, where that counts.
    static IN_A_ROW: Cell<u32> = const { Cell::new(0) };
    /// When the first of them came.
    static BEGAN: Cell<Option<Time>> = const { Cell::new(None) };
}

/// There is, or was, a pool for which it counts.
static COUNTS: AtomicBool = AtomicBool::new(false);

/// Whether there is one processor only for a pool that this thread makes.
pub(super) fn is_on_one_processor() -> bool {
    thread::available_parallelism().is_ok_and(|n| n.get() == 1)
}

/// If there is, those that wait count as well from here on.
pub(super) fn begin_to_count(is_on_one: bool) {
    COUNTS.fetch_or(is_on_one, Ordering::Relaxed);
}

/// Whether anybody counts.
#[inline]
pub(super) fn counts() -> bool {
    COUNTS.load(Ordering::Relaxed)
}

/// This thread submits a job, and it counts.
#[inline]
pub(super) fn goes_on() {
    IN_A_ROW.set(IN_A_ROW.get().saturating_add(1));
}

/// This thread waits for a job. Whether that counts.
#[inline]
pub(super) fn ends() -> bool {
    if counts() {
        IN_A_ROW.set(0);
    }
    counts()
}

/// Whether this thread has submitted several.
#[inline]
pub(super) fn is_long() -> bool {
    IN_A_ROW.get() >= SEVERAL
}

/// The same now that the driver would have to be woken for it: those that come one now and then are no
/// row.
pub(super) fn is_dense(now: Time) -> bool {
    let count = IN_A_ROW.get();
    if count <= 1 {
        BEGAN.set(Some(now));
    } else if is_long() && BEGAN.get().is_none_or(|began| now.since(began) > DENSE) {
        BEGAN.set(Some(now));
        IN_A_ROW.set(1);
    }
    is_long()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether each of some jobs that come so many microseconds one after the other is in a row.
    fn rows(micros: u64, jobs: u64) -> Vec<bool> {
        let row = |n| {
            goes_on();
            is_dense(Time::after_start(Duration::from_micros(n * micros)))
        };
        (1..=jobs).map(row).collect()
    }

    #[test]
    fn those_that_come_close_behind_each_other_are_a_row_until_somebody_waits() {
        begin_to_count(true);
        for _ in 0..2 {
            assert_eq!(rows(100, 6), [false, false, false, true, true, true]);
            assert!(ends() && !is_long());
        }
    }

    #[test]
    fn those_that_come_one_now_and_then_are_none() {
        assert_eq!(rows(900, 50), [false; 50]);
    }
}
