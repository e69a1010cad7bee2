//! A runtime for what belongs to no pool: the timers of job queues, which may be waited on in a
//! program without a pool and without a runtime of its own.
//!
//! One thread, started at the first need; it sleeps as long as nothing is due.

use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle};

/// Ready when its time has come.
pub(crate) type Timer = tokio::time::Sleep;

/// The runtime; `None` where the system gives no thread or no descriptors for it. It is asked for
/// again at the next need.
pub(crate) fn handle() -> Option<Handle> {
    static HANDLE: Mutex<Option<Handle>> = Mutex::new(None);
    let mut slot = HANDLE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = &*slot {
        return Some(handle.clone());
    }
    let runtime = Builder::new_current_thread().enable_all().build().ok()?;
    let handle = runtime.handle().clone();
    let run = move || runtime.block_on(std::future::pending::<()>());
    std::thread::Builder::new().name("pool-timer".to_owned()).spawn(run).ok()?;
    Some(slot.insert(handle).clone())
}

/// Runs `task` there.
pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    if let Some(handle) = handle() {
        handle.spawn(task);
    }
}

/// A timer that works under any executor; `None` as for [`handle`].
pub(crate) fn sleep(duration: Duration) -> Option<Timer> {
    let handle = handle()?;
    let _inside = handle.enter();
    Some(tokio::time::sleep(duration))
}

/// [`sleep`] to a moment.
pub(crate) fn sleep_until(moment: Instant) -> Option<Timer> {
    sleep(moment.saturating_duration_since(Instant::now()))
}
