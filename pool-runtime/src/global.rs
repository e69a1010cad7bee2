//! The pool that `submit!` uses: built once, at its first use or on purpose.

use std::sync::{Mutex, OnceLock, PoisonError};

use crate::builder::PoolBuilder;
use crate::context::is_worker_thread;
use crate::error::BuildError;
use crate::host::is_worker;
use crate::pool::Pool;

static GLOBAL: OnceLock<Result<Pool, BuildError>> = OnceLock::new();
/// Held while the global pool is built, so that two builds at once do not both start workers.
static BUILDING: Mutex<()> = Mutex::new(());

impl Pool {
    /// The pool that `submit!` uses, built at its first use: one worker a core, or as many as
    /// the environment variable `POOL_WORKERS` says. It is shut down when the `main` that
    /// `#[pool::main]` wraps returns.
    ///
    /// If it cannot be built, its jobs resolve to
    /// [`WorkerStart`](crate::JobErrorKind::WorkerStart) with the text of the [`BuildError`]. So it is in
    /// a worker, where a pool exists only if a job builds one.
    pub fn global() -> &'static Pool {
        match Pool::try_global() {
            Ok(pool) => pool,
            Err(error) => {
                static BROKEN: OnceLock<Pool> = OnceLock::new();
                BROKEN.get_or_init(|| Pool::broken(error))
            }
        }
    }

    /// The same, or why there is none.
    ///
    /// # Errors
    ///
    /// As [`PoolBuilder::build`]; always in a worker.
    pub fn try_global() -> Result<&'static Pool, BuildError> {
        if is_worker_thread() {
            return Err(BuildError::new(
                "this is a job on a thread of its program (`in_process`), and as in a worker process \
                 there is no global pool: build one in the job with `Pool::builder()`",
            ));
        }
        if let Some(built) = GLOBAL.get() {
            return built.as_ref().map_err(Clone::clone);
        }
        let _building = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
        GLOBAL.get_or_init(default_global).as_ref().map_err(Clone::clone)
    }

    /// Shuts the global pool down, if there is one, and waits for it as a drop does.
    pub(crate) fn end_global() {
        if let Some(Ok(pool)) = GLOBAL.get() {
            pool.end();
        }
    }
}

impl PoolBuilder {
    /// Builds the pool that [`Pool::global`] and `submit!` use from here on.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build), and if there is a global pool already.
    pub fn build_global(self) -> Result<&'static Pool, BuildError> {
        if is_worker_thread() {
            return Err(BuildError::new(
                "a job on a thread of its program (`in_process`) cannot make the program's global \
                 pool: use `build`",
            ));
        }
        let _building = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
        if GLOBAL.get().is_some() {
            return Err(BuildError::new(
                "the global pool exists already: call `build_global` once, before the first use \
                 of `Pool::global()` or `submit!`",
            ));
        }
        let built = self.build()?;
        GLOBAL.get_or_init(|| Ok(built)).as_ref().map_err(Clone::clone)
    }
}

/// What is built if nobody has built another one before.
fn default_global() -> Result<Pool, BuildError> {
    if is_worker() {
        return Err(BuildError::new(
            "this is a worker process, which has no global pool: build one in the job with \
             `Pool::builder()`",
        ));
    }
    let builder = match std::env::var("POOL_WORKERS") {
        Err(_) => Pool::builder(),
        Ok(text) => match text.trim().parse() {
            Ok(n) if n > 0 => Pool::builder().workers(n),
            _ => {
                return Err(BuildError::new(format!(
                    "POOL_WORKERS is {text:?}: set it to a number from 1 on, or unset it for one \
                     worker a core"
                )));
            }
        },
    };
    builder.build()
}
