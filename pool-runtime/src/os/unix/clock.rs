//! The clock as a number: what is only compared and subtracted needs no more.

use std::mem::MaybeUninit;

/// Nanoseconds since some moment before the start of this process; never fewer than before.
#[inline]
pub(crate) fn nanos() -> u64 {
    // Not by its fields: some systems have more of them.
    let mut now = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: `now` lives through the call, and any bytes are two numbers. Every system has this
    // clock, hence the call cannot fail.
    let now = unsafe {
        libc::clock_gettime(libc::CLOCK_MONOTONIC, now.as_mut_ptr());
        now.assume_init()
    };
    // Neither is ever negative, and five hundred years fit.
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
