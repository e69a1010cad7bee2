//! All that the expansions of the macros may name. Not part of the public interface: anything
//! here may change in any release, together with `pool-macros`.

use std::fmt::Display;
use std::future::Future;
use std::pin::pin;

use crate::pool::Pool;
use crate::worker;

pub use inventory;

pub use crate::call::Call;
pub use crate::codec::{AnyKind, Arguments, Kind, Parameters};
pub use crate::context::JobContext;
pub use crate::policy::{JobOptions, Priority, RetryPolicy};
pub use crate::registry::{
    Encoded, Fault, Job, JobEntry, JobFacts, Listed, Naming, RunJob, Stage, StartEntry, TestEntry,
};

/// A job whose entry its companion knows.
pub trait Registered: Job {
    /// The entry in the table of jobs.
    fn entry() -> &'static JobEntry;
}

/// The end of every companion's constructor.
#[inline]
pub fn call<J: Registered>(payload: Result<Encoded, String>) -> Call<J> {
    Call::of(J::entry(), payload)
}

/// The context of the job that `stage` runs.
#[inline]
pub fn context(stage: &dyn Stage) -> &JobContext {
    stage.context().downcast_ref().expect("the context of every stage is a `JobContext`")
}

/// Runs the future of an async job to its end; it need not be `Send`.
pub fn drive<F: Future>(stage: &dyn Stage, job: F) -> F::Output {
    let mut output = None;
    // The block ends the future, and with it the borrow of `output`.
    {
        let job = pin!(async { output = Some(job.await) });
        stage.block_on(job);
    }
    output.expect("a stage drives a job to its end")
}

/// What `#[pool::worker_start]` functions may return.
#[diagnostic::on_unimplemented(
    message = "a `#[pool::worker_start]` function returns nothing or `Result<(), E>`, not `{Self}`",
    label = "neither `()` nor `Result<(), E>` with `E: Display`"
)]
pub trait Started {
    /// The error in its own words.
    fn started(self) -> Result<(), String>;
}

impl Started for () {
    fn started(self) -> Result<(), String> {
        Ok(())
    }
}

impl<E: Display> Started for Result<(), E> {
    fn started(self) -> Result<(), String> {
        self.map_err(|error| error.to_string())
    }
}

/// The first action of `#[pool::main]`: in a worker it serves and never returns.
pub fn enter_main() {
    crate::serve_if_worker();
}

/// The first action of every `#[pool::test]`.
pub fn enter_test() {
    worker::serve_if_worker();
}

/// Shuts the global pool down when `main` ends, by return or by panic.
#[derive(Debug)]
pub struct GlobalGuard(());

/// Made after [`enter_main`], before the user's `main`.
pub fn global_guard() -> GlobalGuard {
    GlobalGuard(())
}

impl Drop for GlobalGuard {
    fn drop(&mut self) {
        Pool::end_global();
    }
}

/// `flavor = "…"` of `#[pool::main]` and `#[pool::test]`.
#[derive(Clone, Copy, Debug)]
pub enum Flavor {
    /// One thread runs everything.
    CurrentThread,
    /// Several threads.
    MultiThread,
}

/// Runs an async `main` or test on a tokio runtime of its own.
pub fn run_async<F: Future>(flavor: Flavor, worker_threads: Option<usize>, f: F) -> F::Output {
    let mut builder = match flavor {
        Flavor::CurrentThread => tokio::runtime::Builder::new_current_thread(),
        Flavor::MultiThread => tokio::runtime::Builder::new_multi_thread(),
    };
    if let Some(threads) = worker_threads {
        builder.worker_threads(threads);
    }
    let runtime = builder.enable_all().build();
    // As with tokio's own `main`: a program without its runtime has nothing else to do.
    runtime
        .unwrap_or_else(|error| panic!("the tokio runtime could not be built: {error}"))
        .block_on(f)
}
