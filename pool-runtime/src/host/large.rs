//! Large arguments of jobs that have ended go back to the system a piece at a time: all at once
//! takes milliseconds, in which the driver would hear of no reply.

use tokio::runtime::Handle;

use super::cell::Leftover;
use crate::os;

/// From so many bytes on.
const LARGE: usize = 4 << 20;

/// The arguments among `leftovers` that take a while to free.
pub(super) fn take(leftovers: &mut [Leftover]) -> Vec<Vec<u8>> {
    leftovers.iter_mut().filter_map(|leftover| leftover.take_large(LARGE)).collect()
}

/// Frees them on the driver's thread, between its other tasks; at once if there is no driver.
pub(super) fn free(driver: Option<&Handle>, payloads: Vec<Vec<u8>>) {
    let Some(driver) = driver.filter(|_| !payloads.is_empty()) else { return };
    driver.spawn(async move {
        for mut bytes in payloads {
            bytes.clear();
            let mut skipped = 0;
            while let Some(next) = os::give_back(&mut bytes, skipped) {
                skipped = next;
                tokio::task::yield_now().await;
            }
        }
    });
}
