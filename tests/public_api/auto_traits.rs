//! Which of the five auto traits each public type has, and which of them the contract promises.

use std::future::Future;
use std::marker::PhantomData;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::rc::Rc;
use std::time::Duration;

use pool::{
    BlockingStream, BuildError, Call, Cancelled, Canceller, Close, Closed, EventStream, Failure,
    Histogram, JobContext, JobEntry, JobError, JobErrorKind, JobHandle, JobId, JobQueue, JobStatus,
    JobStream, Named, Output, OutputStream, PanicInfo, Permit, Pool, PoolBuilder, PoolEvent,
    Priority, Progress, ProgressStream, QueuedJob, Rejected, RetryPolicy, RunningJob, Shutdown,
    Snapshot, Stats, Work, WorkReport, WorkerExit, WorkerState, WorkerStats, pool_job,
};

#[pool_job]
fn a_job(n: u8) -> u8 {
    n
}

type Calls = std::iter::Empty<Call<a_job>>;
/// Has none of them but `Unpin`: a type with this parameter shows which it has all the same.
type Bare = Rc<std::cell::Cell<u8>>;

/// Whether a type has a trait, as a constant: one of the type itself comes before that of `Lacks`.
struct Of<T>(PhantomData<T>);

trait Lacks {
    const SEND: bool = false;
    const SYNC: bool = false;
    const UNPIN: bool = false;
    const UNWIND_SAFE: bool = false;
    const REF_UNWIND_SAFE: bool = false;
}

impl<T> Lacks for Of<T> {}

impl<T: Send> Of<T> {
    const SEND: bool = true;
}

impl<T: Sync> Of<T> {
    const SYNC: bool = true;
}

impl<T: Unpin> Of<T> {
    const UNPIN: bool = true;
}

impl<T: UnwindSafe> Of<T> {
    const UNWIND_SAFE: bool = true;
}

impl<T: RefUnwindSafe> Of<T> {
    const REF_UNWIND_SAFE: bool = true;
}

macro_rules! list {
    ($($type:ty),* $(,)?) => {
        [$((stringify!($type), [
            ("Send", Of::<$type>::SEND),
            ("Sync", Of::<$type>::SYNC),
            ("Unpin", Of::<$type>::UNPIN),
            ("UnwindSafe", Of::<$type>::UNWIND_SAFE),
            ("RefUnwindSafe", Of::<$type>::REF_UNWIND_SAFE),
        ])),*]
    };
}

/// Every public type, with what it has and what it lacks.
pub(super) fn of_all() -> Vec<(&'static str, String)> {
    let all = list![
        BlockingStream<a_job, Calls>,
        BuildError,
        Call<a_job>,
        Cancelled<'static>,
        Canceller,
        Close,
        Closed,
        EventStream,
        Failure,
        Histogram,
        JobContext,
        JobEntry,
        JobError,
        JobErrorKind,
        JobHandle<u8>,
        JobHandle<Bare>,
        JobId,
        JobQueue,
        JobStatus,
        JobStream<a_job, Calls>,
        Named<u8>,
        Named<Bare>,
        Output,
        OutputStream,
        PanicInfo,
        Permit<'static>,
        Pool,
        PoolBuilder,
        PoolEvent,
        Priority,
        Progress,
        ProgressStream,
        QueuedJob,
        Rejected<a_job>,
        RetryPolicy,
        RunningJob,
        Shutdown,
        Snapshot,
        Stats,
        Work,
        WorkReport,
        WorkerExit,
        WorkerState,
        WorkerStats,
    ];
    let words = |traits: [(&str, bool); 5]| {
        let with = |wanted: bool| {
            let names = traits.iter().filter(|(_, has)| *has == wanted).map(|(name, _)| *name);
            names.collect::<Vec<_>>().join(", ")
        };
        match with(false).as_str() {
            "" => with(true),
            lacks => format!("{}; not {lacks}", with(true)),
        }
    };
    all.into_iter().map(|(of, traits)| (of, words(traits))).collect()
}

#[test]
fn what_lacks_a_trait_is_told_from_what_has_it() {
    let found = list![Bare, std::marker::PhantomPinned, u8];
    let lacks = found.map(|(_, traits)| traits.map(|(_, has)| !has));
    assert_eq!(lacks[0], [true, true, false, true, true]);
    assert_eq!(lacks[1], [false, false, true, false, false]);
    assert_eq!(lacks[2], [false; 5]);
}

/// The futures of async methods have no name, and tasks of a runtime with threads have to be able
/// to await them. This compiles, or it does not.
#[test]
fn what_the_async_methods_give_can_be_awaited_on_another_thread() {
    fn is_send<F: Future + Send>(_: fn(Parts) -> F) {}

    /// Made by nobody: what is below is never called.
    struct Parts {
        pool: &'static Pool,
        queue: &'static JobQueue,
        call: Call<a_job>,
        context: &'static JobContext,
        events: &'static mut EventStream,
        progress: &'static mut ProgressStream,
        results: &'static mut JobStream<a_job, Calls>,
        handle: JobHandle<u8>,
    }

    is_send(|it| async move { it.pool.reserve().await.map(|permit| permit.submit(it.call)) });
    is_send(|it| it.pool.ready());
    is_send(|it| it.pool.shutdown());
    is_send(|it| it.pool.shutdown_async());
    is_send(|it| it.pool.close());
    is_send(|it| it.pool.work(it.queue));
    is_send(|it| it.queue.push(it.call));
    is_send(|it| it.queue.pop(Duration::from_secs(1)));
    is_send(|it| it.context.cancelled());
    is_send(|it| it.events.next());
    is_send(|it| it.progress.next());
    is_send(|it| it.results.next());
    is_send(|it| it.handle);
}

/// What the contract says in words.
#[test]
fn what_is_promised_to_cross_threads_does() {
    fn send_and_sync<T: Send + Sync>() {}
    fn unpin<T: Unpin>() {}
    fn clone<T: Clone>() {}
    send_and_sync::<Pool>();
    send_and_sync::<JobQueue>();
    send_and_sync::<JobHandle<Bare>>();
    send_and_sync::<Canceller>();
    send_and_sync::<JobContext>();
    send_and_sync::<JobError>();
    unpin::<JobHandle<std::marker::PhantomPinned>>();
    clone::<(Pool, JobQueue, Canceller, JobContext, JobError, JobErrorKind, WorkerExit)>();
}
