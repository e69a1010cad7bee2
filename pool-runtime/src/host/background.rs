//! A runtime for what belongs to no pool: the timers of job queues, which may be waited on in a
//! program without a pool and without a runtime of its own.
//!
//! One thread, started at the first need; it sleeps as long as nothing is due.

use std::future::Future;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, EnterGuard, Handle, Runtime};

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
    let runtime = OwnedRuntime::new().ok()?;
    let handle = runtime.handle();
    let run = move || runtime.block_on(std::future::pending::<()>());
    std::thread::Builder::new().name("pool-timer".to_owned()).spawn(run).ok()?;
    Some(slot.insert(handle).clone())
}

/// A runtime for one thread. It may be dropped anywhere, also where the thread for it could not be
/// made and its maker is itself inside a runtime: tokio's own type would panic there.
pub(super) struct OwnedRuntime(Option<Runtime>);

impl OwnedRuntime {
    pub(super) fn new() -> io::Result<OwnedRuntime> {
        Builder::new_current_thread()
            .enable_all()
            .build()
            .map(|runtime| OwnedRuntime(Some(runtime)))
    }

    pub(super) fn handle(&self) -> Handle {
        self.runtime().handle().clone()
    }

    /// What is made meanwhile may belong to it.
    pub(super) fn enter(&self) -> EnterGuard<'_> {
        self.runtime().enter()
    }

    pub(super) fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime().block_on(future)
    }

    fn runtime(&self) -> &Runtime {
        self.0.as_ref().expect("taken by the drop only")
    }
}

impl Drop for OwnedRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
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
