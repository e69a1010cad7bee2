//! The contract's signatures, bounds and traits, for the compiler: nothing of it runs but the one
//! test that keeps it from being dead.
//!
//! Methods stand in functions whose own signature is that of the contract, so that `impl Trait`
//! there may be any type here.

use std::error::Error;
use std::ffi::OsString;
use std::fmt::{Debug, Display};
use std::future::Future;
use std::hash::Hash;
use std::time::Duration;

use futures_core::Stream;
use pool::{
    BlockingStream, BuildError, Call, Cancelled, Canceller, Close, Closed, EventStream, Failure,
    Histogram, Job, JobContext, JobEntry, JobError, JobErrorKind, JobHandle, JobId, JobQueue,
    JobStatus, JobStream, Named, Output, OutputStream, PanicInfo, Permit, Pool, PoolBuilder,
    PoolEvent, Priority, Progress, ProgressStream, QueuedJob, Rejected, RetryPolicy, RunningJob,
    Shutdown, Snapshot, Stats, Work, WorkReport, WorkerExit, WorkerState, WorkerStats,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

type Any = Named<u32>;
type Calls = std::vec::IntoIter<Call<Any>>;

fn is_debug<T: Debug + ?Sized>() {}
fn is_error<T: Error + Send + Sync + 'static>() {}
fn is_clone<T: Clone>() {}
fn is_send<T: Send>() {}
fn is_send_sync<T: Send + Sync>() {}
fn is_unpin<T: Unpin>() {}
fn is_future<T, F: Future<Output = T> + Send>(_: F) {}
fn is_stream<T, S: Stream<Item = T> + Unpin + Send>() {}

fn every_public_type_is_debug() {
    is_debug::<(Pool, PoolBuilder, Permit<'_>, Rejected<Any>, Shutdown, Close)>();
    is_debug::<(Call<Any>, Named<u32>, RetryPolicy, Priority, Output, OutputStream)>();
    is_debug::<(JobHandle<u32>, Canceller, JobId, JobStatus, ProgressStream, Progress)>();
    is_debug::<(JobError, JobErrorKind, PanicInfo, WorkerExit, BuildError, Closed, Failure)>();
    is_debug::<(JobQueue, QueuedJob, Work, WorkReport)>();
    is_debug::<(JobStream<Any, Calls>, BlockingStream<Any, Calls>)>();
    is_debug::<(JobContext, Cancelled<'_>, JobEntry)>();
    is_debug::<(Stats, WorkerStats, WorkerState, Histogram, Snapshot, RunningJob)>();
    is_debug::<(PoolEvent, EventStream)>();
    // Whatever the output is.
    struct Silent;
    is_debug::<JobHandle<Silent>>();
}

fn traits_that_are_promised() {
    is_error::<JobError>();
    is_error::<BuildError>();
    is_error::<Closed>();
    is_clone::<(JobError, JobErrorKind, WorkerExit)>();
    is_clone::<(Pool, JobQueue, Canceller, JobContext)>();
    is_send_sync::<(Pool, JobQueue, JobContext, JobError, Canceller)>();
    is_send_sync::<JobHandle<u32>>();
    is_unpin::<JobHandle<u32>>();
    is_send::<(Call<Any>, QueuedJob, PoolBuilder)>();
    is_stream::<Result<u32, JobError>, JobStream<Any, Calls>>();
    is_stream::<PoolEvent, EventStream>();
    is_stream::<Progress, ProgressStream>();
    fn is_id<T: Copy + Eq + Hash + Display>() {}
    is_id::<JobId>();
    fn is_iterator<T: Iterator<Item = Result<u32, JobError>>>() {}
    is_iterator::<BlockingStream<Any, Calls>>();
    fn is_sendable_failure<T: Serialize + DeserializeOwned + Display>() {}
    is_sendable_failure::<Failure>();
    fn becomes<T: Into<U>, U>() {}
    becomes::<Failure, Box<dyn Error>>();
    becomes::<Failure, Box<dyn Error + Send + Sync>>();
    becomes::<std::io::Error, Failure>();
}

/// Section 2: what the macros give.
fn macros() {
    let call: Call<_> = pool::call!(crate::job::add, 1, 2);
    let pool: fn() -> &'static Pool = Pool::global;
    let _mine: JobHandle<u32> = pool::submit!(pool() => crate::job::add, 1, 2);
    let _global: JobHandle<u32> = pool::submit!(crate::job::add, 1, 2);
    let _same: JobHandle<u32> = pool().submit(call);
    let _absolute: JobHandle<u32> =
        pool::submit!(crate::job::resize::ResizeJob, std::path::Path::new("a"), 1, 2);
    let _serve: fn() = pool::serve_if_worker;
    fn jobs() -> impl Iterator<Item = &'static JobEntry> {
        pool::registered_jobs()
    }
    for entry in jobs() {
        let (_, _, _): (&str, &str, u32) = (entry.name(), entry.file(), entry.line());
    }
    let _named: Call<Named<u32>> = Call::named::<u32>("name", (1, 2));
    fn block_on<F: Future>(future: F) -> F::Output {
        pool::block_on(future)
    }
    block_on(async {});
}

fn failures(failure: &Failure) {
    fn sources(failure: &Failure) -> impl Iterator<Item = &str> {
        failure.sources()
    }
    let _: Failure = Failure::msg("text");
    let _: Failure = Failure::msg(String::from("text"));
    let _: (&str, Vec<&str>) = (failure.message(), sources(failure).collect());
}

/// Section 3: the pool.
fn pools<J: Job>(pool: &Pool, call: fn() -> Call<J>) {
    let _: fn() -> PoolBuilder = Pool::builder;
    let _: fn(usize) -> Result<Pool, BuildError> = Pool::new;
    let _: fn() -> &'static Pool = Pool::global;
    let _: fn() -> Result<&'static Pool, BuildError> = Pool::try_global;
    let _: fn(&Pool, Call<J>) -> JobHandle<J::Output> = Pool::submit;
    fn try_submit<J: Job>(pool: &Pool, call: Call<J>) -> Result<JobHandle<J::Output>, Rejected<J>> {
        pool.try_submit(call)
    }
    drop(try_submit(pool, call()));
    let _: fn(Rejected<J>) -> Call<J> = Rejected::into_call;
    is_future::<Result<Permit<'_>, Closed>, _>(pool.reserve());
    let _: fn(Permit<'static>, Call<J>) -> JobHandle<J::Output> = Permit::submit;
    fn map<J: Job, I: IntoIterator<Item = Call<J>>>(
        pool: &Pool,
        calls: I,
    ) -> JobStream<J, I::IntoIter> {
        pool.map(calls)
    }
    drop(map(pool, vec![call()]));
    let _: fn(&Pool, &JobQueue) -> Work = Pool::work;
    is_future::<Result<(), BuildError>, _>(pool.ready());
    let _: fn(&Pool) -> Shutdown = Pool::shutdown;
    is_future::<(), Shutdown>(pool.shutdown());
    is_future::<(), _>(pool.shutdown_async());
    let _: fn(&Pool) -> Close = Pool::close;
    is_future::<WorkReport, Close>(pool.close());
    let _: fn(&Pool) -> Stats = Pool::stats;
    let _: fn(&Pool) -> Snapshot = Pool::snapshot;
    let _: fn(&Pool) -> EventStream = Pool::events;
}

fn builders(policy: RetryPolicy) {
    let _: fn(PoolBuilder, usize) -> PoolBuilder = PoolBuilder::workers;
    let _: fn(PoolBuilder, usize) -> PoolBuilder = PoolBuilder::queue_capacity;
    let _: fn(PoolBuilder, Duration) -> PoolBuilder = PoolBuilder::timeout;
    let _: fn(PoolBuilder, Duration) -> PoolBuilder = PoolBuilder::grace_period;
    let _: fn(PoolBuilder, RetryPolicy) -> PoolBuilder = PoolBuilder::retry;
    let _: fn(PoolBuilder, u64) -> PoolBuilder = PoolBuilder::max_jobs_per_worker;
    let _: fn(PoolBuilder, u64) -> PoolBuilder = PoolBuilder::memory_limit;
    let _: fn(PoolBuilder, Duration) -> PoolBuilder = PoolBuilder::idle_timeout;
    let _: fn(PoolBuilder, Duration) -> PoolBuilder = PoolBuilder::start_timeout;
    let _: fn(PoolBuilder, u64) -> PoolBuilder = PoolBuilder::max_payload;
    let _: fn(PoolBuilder) -> PoolBuilder = PoolBuilder::env_clear;
    let _: fn(PoolBuilder, Output) -> PoolBuilder = PoolBuilder::stdout;
    let _: fn(PoolBuilder, Output) -> PoolBuilder = PoolBuilder::stderr;
    let _: fn(PoolBuilder, usize) -> PoolBuilder = PoolBuilder::threads_per_worker;
    let _: fn(PoolBuilder) -> PoolBuilder = PoolBuilder::in_process;
    let _: fn(PoolBuilder) -> Result<Pool, BuildError> = PoolBuilder::build;
    let _: fn(PoolBuilder) -> Result<&'static Pool, BuildError> = PoolBuilder::build_global;
    // Whatever a user has at hand.
    let _: PoolBuilder = Pool::builder()
        .retry(policy)
        .env("key", String::from("value"))
        .env(OsString::from("key"), std::path::PathBuf::from("value"))
        .env_remove("key")
        .current_dir("/")
        .current_dir(std::path::PathBuf::from("/"))
        .executable("/bin/true")
        .executable(std::path::Path::new("/bin/true"))
        .args(["one", "two"])
        .args(vec![String::from("three")])
        .args(std::env::args_os())
        .name("name")
        .name(String::from("name"));
}

/// Section 4: handle and errors.
fn handles<T>(handle: JobHandle<T>) {
    let _: fn(&JobHandle<T>) -> JobId = JobHandle::id;
    let _: fn(&JobHandle<T>) -> &str = JobHandle::name;
    let _: fn(&JobHandle<T>) -> JobStatus = JobHandle::status;
    let _: fn(&JobHandle<T>) -> bool = JobHandle::is_finished;
    let _: fn(&JobHandle<T>) = JobHandle::cancel;
    let _: fn(&JobHandle<T>) = JobHandle::kill;
    let _: fn(&JobHandle<T>) -> Canceller = JobHandle::canceller;
    let _: fn(&Canceller) = Canceller::cancel;
    let _: fn(&Canceller) = Canceller::kill;
    let _: fn(JobHandle<T>) -> JobHandle<T> = JobHandle::cancel_on_drop;
    fn cancel_on<T>(
        handle: JobHandle<T>,
        signal: impl Future<Output = ()> + Send + 'static,
    ) -> JobHandle<T> {
        handle.cancel_on(signal)
    }
    let _: fn(&JobHandle<T>) -> ProgressStream = JobHandle::progress;
    let _: fn(JobHandle<T>) -> Result<T, JobError> = JobHandle::wait;
    is_future::<Result<T, JobError>, _>(cancel_on(handle, std::future::pending()));
}

fn errors() {
    let _: fn(&JobError) -> &JobErrorKind = JobError::kind;
    let _: fn(&JobError) -> JobId = JobError::job_id;
    let _: fn(&JobError) -> &str = JobError::job_name;
    let _: fn(&JobError) -> u32 = JobError::attempts;
    let _: fn(&JobError) -> Option<&str> = JobError::stderr_tail;
    let _: [fn(&JobError) -> bool; 5] = [
        JobError::is_panic,
        JobError::is_crash,
        JobError::is_timeout,
        JobError::is_cancelled,
        JobError::is_pool_closed,
    ];
    let _: fn(&PanicInfo) -> &str = PanicInfo::message;
    let _: fn(&PanicInfo) -> Option<&str> = PanicInfo::file;
    let _: fn(&PanicInfo) -> Option<u32> = PanicInfo::line;
    let _: fn(&PanicInfo) -> Option<u32> = PanicInfo::column;
    let _: fn(&PanicInfo) -> Option<&str> = PanicInfo::backtrace;
}

/// Every kind there is; one that comes later needs the last arm.
fn kinds(kind: JobErrorKind) -> String {
    match kind {
        JobErrorKind::Panicked(info) => info.message().to_owned(),
        JobErrorKind::Crashed(WorkerExit::Code(code)) => i32::to_string(&code),
        JobErrorKind::Crashed(WorkerExit::Signal(signal)) => i32::to_string(&signal),
        JobErrorKind::Crashed(WorkerExit::Unknown) => String::new(),
        JobErrorKind::TimedOut(limit) => format!("{}", Duration::as_secs(&limit)),
        JobErrorKind::Cancelled | JobErrorKind::PoolClosed => String::new(),
        JobErrorKind::QueueFull | JobErrorKind::QueueClosed => String::new(),
        JobErrorKind::UnknownJob(text)
        | JobErrorKind::Encode(text)
        | JobErrorKind::Decode(text)
        | JobErrorKind::State(text)
        | JobErrorKind::WorkerStart(text)
        | JobErrorKind::Unsupported(text) => text,
        JobErrorKind::PayloadTooLarge { size, limit } => u64::to_string(&(size + limit)),
        JobErrorKind::MemoryLimit { limit } => u64::to_string(&limit),
        _ => String::new(),
    }
}

fn statuses(status: JobStatus) -> u8 {
    match status {
        JobStatus::Queued => 0,
        JobStatus::Running => 1,
        JobStatus::Ended => 2,
    }
}

/// Section 5: the queue of jobs.
fn queues<J: Job>(queue: &JobQueue, call: fn() -> Call<J>, work: Work) {
    let _: fn() -> JobQueue = JobQueue::new;
    let _: fn(usize) -> JobQueue = JobQueue::bounded;
    is_push::<J, _>(queue.push(call()));
    fn is_push<J: Job, F: Future<Output = JobHandle<J::Output>>>(_: F) {}
    let _: fn(&JobQueue) -> usize = JobQueue::count;
    let _: fn(&JobQueue) -> bool = JobQueue::is_empty;
    let _: fn(&JobQueue) -> usize = JobQueue::clear;
    let _: fn(&JobQueue) = JobQueue::close;
    is_future::<Option<QueuedJob>, _>(queue.pop(Duration::ZERO));
    let _: fn(&QueuedJob) -> JobId = QueuedJob::id;
    let _: fn(&QueuedJob) -> &str = QueuedJob::name;
    let _: fn(QueuedJob, &Pool) = QueuedJob::submit;
    let _: fn(Work, Duration) -> Work = Work::linger;
    is_future::<WorkReport, Work>(work);
}

/// Section 6: streams, calls and policies.
fn streams(stream: JobStream<Any, Calls>) {
    type Stream = JobStream<Any, Calls>;
    let _: fn(Stream) -> Stream = JobStream::unordered;
    let _: fn(Stream, usize) -> Stream = JobStream::max_in_flight;
    fn blocking(stream: Stream) -> impl Iterator<Item = Result<u32, JobError>> {
        stream.blocking()
    }
    let mut stream: Stream = stream.progress("resize").progress(String::from("resize"));
    is_future::<Option<Result<u32, JobError>>, _>(stream.next());
    drop(blocking(stream));
}

fn calls<J: Job>(call: Call<J>) {
    let _: fn(Call<J>, Duration) -> Call<J> = Call::timeout;
    let _: fn(Call<J>) -> Call<J> = Call::no_timeout;
    let _: fn(Call<J>, Duration) -> Call<J> = Call::deadline;
    let _: fn(Call<J>, Priority) -> Call<J> = Call::priority;
    let _: fn(Call<J>, RetryPolicy) -> Call<J> = Call::retry;
    let _: fn(Call<J>, Duration) -> Call<J> = Call::grace_period;
    let _: fn(Call<J>, Duration) -> Call<J> = Call::stall_timeout;
    let _: fn(Call<J>, u64) -> Call<J> = Call::memory_limit;
    let _: Call<J> = call.label("a.pdf").label(String::from("a.pdf"));
    let _: fn(u32) -> RetryPolicy = RetryPolicy::attempts;
    let _: fn(RetryPolicy, Duration, f64, Duration) -> RetryPolicy = RetryPolicy::backoff;
    let _: fn(RetryPolicy, f64) -> RetryPolicy = RetryPolicy::memory_factor;
    let _: [fn(RetryPolicy, bool) -> RetryPolicy; 3] =
        [RetryPolicy::on_panic, RetryPolicy::on_crash, RetryPolicy::on_timeout];
}

/// Section 7: inside a job.
fn contexts(ctx: &JobContext) {
    let _: fn() -> JobContext = JobContext::detached;
    let _: fn() -> Option<JobContext> = JobContext::current;
    let _: fn(&JobContext) -> JobId = JobContext::job_id;
    let _: fn(&JobContext) -> &str = JobContext::job_name;
    let _: fn(&JobContext) -> u32 = JobContext::attempt;
    let _: fn(&JobContext) -> usize = JobContext::worker;
    let _: fn(&JobContext) -> bool = JobContext::is_cancelled;
    let _: fn(&JobContext) -> Option<Duration> = JobContext::remaining;
    let _: fn(&JobContext, u64, u64) = JobContext::progress;
    ctx.message("text");
    is_future::<(), _>(ctx.cancelled());
}

/// Section 8: numbers.
fn numbers(events: &mut EventStream, progress: &mut ProgressStream) {
    let _: fn(&Histogram) -> u64 = Histogram::count;
    let _: fn(&Histogram) -> Duration = Histogram::mean;
    let _: fn(&Histogram, f64) -> Duration = Histogram::quantile;
    let _: fn(&EventStream) -> u64 = EventStream::dropped;
    is_future::<Option<PoolEvent>, _>(events.next());
    is_future::<Option<Progress>, _>(progress.next());
}

#[test]
fn the_shapes_are_those_of_the_contract() {
    every_public_type_is_debug();
    traits_that_are_promised();
    errors();
    // Never called: there is nothing to see but that they compile.
    let _ = (macros as fn(), failures as fn(&Failure), builders as fn(RetryPolicy));
    let _ = (pools::<Any> as fn(&Pool, fn() -> Call<Any>), handles::<u32> as fn(JobHandle<u32>));
    let _ = (kinds as fn(JobErrorKind) -> String, statuses as fn(JobStatus) -> u8);
    let _ = queues::<Any> as fn(&JobQueue, fn() -> Call<Any>, Work);
    let _ = (streams as fn(JobStream<Any, Calls>), calls::<Any> as fn(Call<Any>));
    let _ = (contexts as fn(&JobContext), numbers as fn(&mut EventStream, &mut ProgressStream));
}
