//! A thread that ends this process when its host is gone, even while a job spins.
//!
//! It sleeps in one system call. While somebody in a job awaits a request to stop, it looks at
//! the recorder every 10 ms and wakes them; and while a poke could not be written, it tries again.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::outbox::Outbox;
use crate::context::CancelWatch;
use crate::os::{self, HostWatch, Woken};
use crate::recorder::Farewell;

/// How soon `cancelled()` notices, and a poke is tried again.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Starts the guard.
pub(super) fn start(
    outbox: Arc<Outbox>,
    host: HostWatch,
    watch: Arc<CancelWatch>,
) -> io::Result<()> {
    let channel = outbox.channel();
    let watch_out = move || loop {
        let Some(nudge) = &watch.nudge else { return };
        let wanted = watch.is_wanted();
        let timeout = (wanted || outbox.is_poke_due()).then_some(LOOK_AGAIN);
        match os::wait_for_host(&channel, &host, nudge, timeout) {
            Woken::HostGone => os::end_own_group(),
            Woken::Robbed => {
                watch.recorder.say_farewell(Farewell::ChannelLost);
                os::end_own_group()
            }
            Woken::Other => {
                if outbox.is_poke_due() {
                    outbox.try_poke();
                }
                // Whoever still waits registers again.
                if wanted {
                    watch.wake_all();
                }
            }
        }
    };
    os::spawn_small(move || {
        os::name_thread(c"pool-guard");
        watch_out();
    })
}
