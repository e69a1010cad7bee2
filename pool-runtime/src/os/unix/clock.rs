//! The clock as a number: what is only compared and subtracted needs no more.

/// Nanoseconds since some moment before the start of this process; never fewer than before.
#[inline]
pub(crate) fn nanos() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` lives through the call. Every system has this clock, hence it cannot fail.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    // Neither is ever negative, and five hundred years fit.
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
