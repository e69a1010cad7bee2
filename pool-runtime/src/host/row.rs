//! Jobs that a thread submits in a row, without waiting for any, where there is one processor only.
//!
//! No worker can run while it does. To write to one that sleeps hands the processor over to it, for one
//! job, and the reply to that hands it to the driver: the first few of a thousand jobs then take as long
//! as all others. So those that come behind several are left for the driver, which comes within a
//! millisecond, or for whoever waits first.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// So many are several.
const SEVERAL: u32 = 4;

thread_local! {
    /// How many jobs this thread has submitted since it waited last, where that counts.
    static IN_A_ROW: Cell<u32> = const { Cell::new(0) };
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

/// This thread submits a job, and it counts.
#[inline]
pub(super) fn goes_on() {
    IN_A_ROW.set(IN_A_ROW.get().saturating_add(1));
}

/// This thread waits for a job. Whether that may have been left for whoever does.
#[inline]
pub(super) fn ends() -> bool {
    let counts = COUNTS.load(Ordering::Relaxed);
    if counts {
        IN_A_ROW.set(0);
    }
    counts
}

/// Whether this thread has submitted several.
#[inline]
pub(super) fn is_long() -> bool {
    IN_A_ROW.get() >= SEVERAL
}
