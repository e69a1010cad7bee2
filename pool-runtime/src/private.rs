//! All that the expansions of the macros may name. Not part of the public interface: anything
//! here may change in any release, together with `pool-macros`.

use std::any::{Any, TypeId, type_name};
use std::fmt::Display;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::pin;

use crate::pool::Pool;
use crate::worker;

pub use inventory;

pub use crate::call::Call;
pub use crate::codec::{AnyKind, Arguments, Kind, Parameters};
pub use crate::context::JobContext;
pub use crate::policy::{JobOptions, Priority, RetryPolicy};
pub use crate::registry::{
    Encoded, Fault, Job, JobEntry, JobFacts, Listed, Naming, RunJob, Stage, StartEntry, StateEntry,
    TestEntry, Wanted,
};

/// A job whose entry its companion knows.
pub trait Registered: Job {
    /// The entry in the table of jobs.
    fn entry() -> &'static JobEntry;
}

/// The beginning of every companion's constructor: a call with so many sent arguments.
#[inline]
pub fn begin<J: Registered>(total: u16) -> Call<J> {
    Call::begin(J::entry(), total)
}

/// Where these are put, one after the other.
#[inline]
pub fn arguments<J: Job>(call: &mut Call<J>) -> &mut Arguments {
    &mut call.parts().arguments
}

/// The context of the job that `stage` runs.
#[inline]
pub fn context(stage: &dyn Stage) -> &JobContext {
    stage.context().downcast_ref().expect("the context of every stage is a `JobContext`")
}

/// The worker's value of type `T`, made now if it is not there.
pub fn state<T: 'static>(stage: &dyn Stage) -> Result<&T, Fault> {
    let value = stage.state(wanted::<T>())?;
    Ok(value.downcast_ref().expect("a maker is found by the type that it makes"))
}

fn wanted<T: 'static>() -> Wanted {
    Wanted { type_id: TypeId::of::<T>(), type_name: type_name::<T>() }
}

/// Tells makers that may fail from all others, at compile time and through aliases:
/// `Maker::<R>::of()` finds the inherent function for a `Result` and else that of [`AnyMaker`].
#[derive(Debug)]
pub struct Maker<R>(PhantomData<fn() -> R>);

impl<T, E> Maker<Result<T, E>> {
    /// May fail.
    pub fn of() -> Fallible<T> {
        Fallible(PhantomData)
    }
}

/// The fallback of [`Maker`].
pub trait AnyMaker {
    /// What the maker returns.
    type Made;

    /// Cannot fail.
    fn of() -> Sure<Self::Made> {
        Sure(PhantomData)
    }
}

impl<T> AnyMaker for Maker<T> {
    type Made = T;
}

/// A maker that returns the state.
#[derive(Debug)]
pub struct Sure<T>(PhantomData<fn() -> T>);

/// A maker that returns a `Result` of the state.
#[derive(Debug)]
pub struct Fallible<T>(PhantomData<fn() -> T>);

impl<T: 'static> Sure<T> {
    /// The type that is made.
    pub fn made(self) -> Wanted {
        wanted::<T>()
    }

    /// The value, for the store.
    pub fn make(self, made: T) -> Result<Box<dyn Any>, String> {
        Ok(Box::new(made))
    }
}

impl<T: 'static> Fallible<T> {
    /// The type that is made.
    pub fn made(self) -> Wanted {
        wanted::<T>()
    }

    /// The value, for the store; an error in its own words, with its causes where `{:#}` tells
    /// them.
    pub fn make<E: Display>(self, made: Result<T, E>) -> Result<Box<dyn Any>, String> {
        match made {
            Ok(made) => Ok(Box::new(made)),
            Err(error) => Err(format!("{error:#}")),
        }
    }
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
