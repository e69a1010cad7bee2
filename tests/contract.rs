//! A stranger's program that uses every item of the contract, with all types written out.
//!
//! `contract/shapes.rs` is for the compiler alone: what changes a signature, a bound or a trait
//! does not compile there. Here the same items run. `contract/jobs.rs` has the jobs: every kind of
//! parameter, every option of the macros. That nothing public is missing is seen to by `tidy`.

#[path = "contract/jobs.rs"]
mod job;
#[path = "contract/shapes.rs"]
mod shapes;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use pool::{
    BuildError, Call, Canceller, Closed, EventStream, Histogram, JobContext, JobEntry, JobError,
    JobErrorKind, JobHandle, JobId, JobQueue, JobStatus, Named, Output, OutputStream, PanicInfo,
    Permit, Pool, PoolBuilder, PoolEvent, Priority, Progress, ProgressStream, QueuedJob, Rejected,
    RetryPolicy, RunningJob, Snapshot, Stats, Work, WorkReport, WorkerExit, WorkerState,
    WorkerStats, block_on, call, registered_jobs, submit,
};
use pool_tests::jobs::open;
use pool_tests::{End, Isolation, isolated, run_puppet, scratch, wait_for_room, wait_until};

use job::{Config, Death, ResizeJob, Told};

const SECOND: Duration = Duration::from_secs(1);
/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(600);

/// What `block_on` is for: the async methods in a sync program.
fn ready(builder: PoolBuilder) -> Pool {
    let pool: Pool = builder.build().unwrap();
    let is_up: Result<(), BuildError> = block_on(pool.ready());
    is_up.unwrap();
    pool
}

#[pool::test]
fn every_kind_of_job_runs() {
    isolated(|| {
        let pool = ready(Pool::builder().workers(1));
        let handle: JobHandle<u32> = submit!(pool => job::add, 1, 2);
        let sum: Result<u32, JobError> = handle.wait();
        assert_eq!(sum.unwrap(), 3);
        assert_eq!(job::add(1, 2), 3);
        let size: JobHandle<u32> = submit!(&pool => ResizeJob, Path::new("a.png"), 100, 7);
        assert_eq!(size.wait().unwrap(), 105);
        assert_eq!(submit!(pool => job::by_path, 2).wait().unwrap(), 4);
        assert_eq!(submit!(pool => job::by_text, 2).wait().unwrap(), 6);
        let config = Config { name: "five".to_owned(), factor: 10 };
        let lengths: JobHandle<Vec<usize>> =
            submit!(pool => job::lend, "1", &[1, 2], &[1, 2, 3], Path::new("1234"), &config);
        assert_eq!(lengths.wait().unwrap(), [1, 2, 3, 4, 50]);
        let bytes: JobHandle<Vec<u8>> = submit!(pool => job::reverse, vec![1, 2, 3]);
        assert_eq!(bytes.wait().unwrap(), [3, 2, 1]);
        let told: Told = submit!(pool => job::train, 7).wait().unwrap();
        let expected = Told { model: 14, attempt: 1, worker: 0, name_is_right: true };
        assert_eq!(told, expected);
        let later: JobHandle<u32> = submit!(pool => job::not_send, 4);
        assert_eq!(later.wait().unwrap(), 8);
        let own: Result<Result<u32, pool::Failure>, JobError> =
            submit!(pool => job::parse, "four").wait();
        let failure: pool::Failure = own.unwrap().unwrap_err();
        assert_eq!(failure.message(), "invalid digit found in string");
        assert_eq!(failure.sources().collect::<Vec<&str>>(), Vec::<&str>::new());
        let never: JobHandle<()> = submit!(pool => job::never_back);
        let exit = never.wait().unwrap_err();
        assert_eq!(*exit.kind(), JobErrorKind::Crashed(WorkerExit::Code(7)));
        let inner: JobHandle<u32> = submit!(pool => job::nested, 3);
        assert_eq!(inner.wait().unwrap(), 6);
    });
}

#[pool::test]
fn jobs_are_ordinary_functions_and_listed() {
    let detached: JobContext = JobContext::detached();
    assert_eq!(job::resize(&detached, Path::new("a.png"), 100, 7), 105);
    assert!(JobContext::current().is_none());
    let entries: Vec<&'static JobEntry> = registered_jobs().collect();
    let names: Vec<&str> = entries.iter().map(|entry| entry.name()).collect();
    assert!(names.is_sorted() && names.contains(&"contract.add"), "{names:?}");
    assert!(names.contains(&"contract::job::resize::resize"), "{names:?}");
    let add = entries.iter().find(|entry| entry.name() == "contract.add").unwrap();
    let (file, line): (&str, u32) = (add.file(), add.line());
    assert!(file.ends_with("contract/jobs.rs") && line > 1);
}

#[pool::test]
fn every_option_of_a_call_and_of_a_policy_is_taken() {
    isolated(|| {
        let pool = ready(Pool::builder().workers(1));
        let policy: RetryPolicy = RetryPolicy::attempts(3)
            .backoff(Duration::from_millis(1), 2.0, SECOND)
            .on_panic(true)
            .on_crash(true)
            .on_timeout(false)
            .memory_factor(2.0);
        for priority in [Priority::Low, Priority::Normal, Priority::High] {
            let call: Call<_> = call!(job::die_until, 3, Death::Panic)
                .timeout(LONG)
                .deadline(LONG)
                .priority(priority)
                .retry(policy)
                .grace_period(SECOND)
                .label("a.pdf")
                .stall_timeout(LONG)
                .memory_limit(1 << 40);
            assert_eq!(pool.submit(call).wait().unwrap(), 3);
        }
        let none = pool.submit(call!(job::left_to_me).no_timeout());
        assert_eq!(none.wait().unwrap(), (None, false));
        let limits = call!(job::left_to_me).timeout(LONG * 2).deadline(LONG);
        let (left, is_cancelled): (Option<Duration>, bool) = pool.submit(limits).wait().unwrap();
        assert!(left.unwrap() <= LONG && !is_cancelled);
        let named: Call<Named<u32>> = Call::named::<u32>("contract.add", (1, 2));
        assert_eq!(pool.submit(named).wait().unwrap(), 3);
    });
}

#[pool::test]
fn every_setting_of_the_builder_is_taken() {
    isolated(|| {
        let builder: PoolBuilder = Pool::builder()
            .workers(2)
            .queue_capacity(10)
            .timeout(LONG)
            .grace_period(SECOND)
            .retry(RetryPolicy::attempts(2))
            .max_jobs_per_worker(1000)
            .memory_limit(1 << 40)
            .idle_timeout(LONG)
            .start_timeout(LONG)
            .max_payload(1 << 20)
            .env("REMOVED", "by the next")
            .env_clear()
            .env("COLOUR", "red")
            .env("SHAPE", "round")
            .env_remove("SHAPE")
            .current_dir("/")
            .stdout(Output::Null)
            .stderr(Output::Inherit)
            .name("contract")
            .threads_per_worker(3);
        let pool: Pool = builder.build().unwrap();
        let surroundings = submit!(pool => job::surroundings).wait().unwrap();
        let of = |key: &str| surroundings.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str());
        assert_eq!((of("COLOUR"), of("SHAPE"), of("REMOVED")), (Some("red"), None, None));
        assert_eq!((of("RAYON_NUM_THREADS"), of("current_dir")), (Some("3"), Some("/")));
        let small: Result<Pool, BuildError> = Pool::new(1);
        drop(small.unwrap());
        let nothing: Result<Pool, BuildError> = Pool::new(0);
        assert!(nothing.unwrap_err().to_string().contains("workers(0)"));
    });
}

#[pool::test]
fn every_method_of_a_pool_and_a_handle_is_there() {
    isolated(|| {
        let pool: Pool = ready(Pool::builder().workers(1).queue_capacity(1));
        let (started, gate) = (scratch("started"), scratch("gate"));
        let held: JobHandle<u32> = pool.submit(call!(job::hold, &started, &gate).label("first"));
        wait_until("it runs", || held.status() == JobStatus::Running && started.exists());
        let (id, name): (JobId, &str) = (held.id(), held.name());
        assert!(name.ends_with("job::hold") && !id.to_string().is_empty());
        let permit: Result<Permit<'_>, Closed> = block_on(pool.reserve());
        let waiting: JobHandle<u32> = permit.unwrap().submit(call!(job::add, 1, 1));
        assert_eq!(waiting.status(), JobStatus::Queued);
        let rejected: Rejected<_> = pool.try_submit(call!(job::add, 2, 2)).unwrap_err();
        let again: Call<_> = rejected.into_call();
        let snapshot: Snapshot = pool.snapshot();
        let [RunningJob { id, name: _, label, slot, pid, attempt, age, progress, rss }]: [_; 1] =
            snapshot.running.try_into().unwrap();
        assert_eq!((id, label.as_deref(), slot, attempt), (held.id(), Some("first"), 0, 1));
        let (_, _, _): (Option<u32>, Duration, Option<u64>) = (pid, age, rss);
        let (_, Some(_)): (Option<Progress>, Option<Duration>) = (progress, snapshot.oldest_queued)
        else {
            panic!("a job is waiting");
        };
        let canceller: Canceller = waiting.canceller();
        canceller.clone().cancel();
        canceller.kill();
        assert!(waiting.wait().unwrap_err().is_cancelled());
        open(&gate);
        assert_eq!(held.wait().unwrap(), std::process::id());
        wait_for_room(&pool, 1);
        let taken: JobHandle<u32> = pool.try_submit(again).unwrap();
        wait_until("it has ended", || taken.is_finished());
        assert_eq!((taken.status(), taken.wait().unwrap()), (JobStatus::Ended, 4));

        wait_for_room(&pool, 1);
        let cancelled: JobHandle<()> = submit!(pool => job::for_ever);
        cancelled.cancel();
        assert!(cancelled.wait().unwrap_err().is_cancelled());
        wait_for_room(&pool, 1);
        let killed: JobHandle<()> = submit!(pool => job::for_ever);
        killed.kill();
        assert!(killed.wait().unwrap_err().is_cancelled());
        wait_for_room(&pool, 1);
        drop(submit!(pool => job::for_ever).cancel_on_drop());
        wait_for_room(&pool, 1);
        let signalled = submit!(pool => job::for_ever).cancel_on(async {});
        assert!(signalled.wait().unwrap_err().is_cancelled());

        check_stats(pool.stats());
        let report: WorkReport = block_on(pool.close());
        assert_eq!((report.succeeded, report.failed, report.cancelled), (0, 0, 0));
        let closed: Result<Permit<'_>, Closed> = block_on(pool.reserve());
        assert!(!closed.unwrap_err().to_string().is_empty());
        let (): () = block_on(pool.shutdown());
        let (): () = block_on(pool.shutdown_async());
    });
}

fn check_stats(stats: Stats) {
    let Stats { workers, queued, running, succeeded, failed, crashed, cancelled, .. } = stats;
    let WorkerStats { slot, pid, state, job, jobs_done, rss }: WorkerStats = workers[0].clone();
    let (0, _, _, _): (usize, Option<u32>, Option<JobId>, Option<u64>) = (slot, pid, job, rss)
    else {
        panic!("the only slot is the first");
    };
    match state {
        WorkerState::Starting | WorkerState::Idle | WorkerState::Busy => {}
        WorkerState::Stopping | WorkerState::Gone => {}
    }
    let counts: [u64; 6] = [queued, running, succeeded, failed, crashed, cancelled];
    assert_eq!(counts, [0, 0, 2, 0, 0, 5]);
    let restarts: u64 = stats.restarts;
    let (wait, run): (Histogram, Histogram) = (stats.wait, stats.run);
    let (count, mean, most): (u64, Duration, Duration) =
        (run.count(), run.mean(), run.quantile(0.99));
    assert!(count == jobs_done && mean > Duration::ZERO && most > Duration::ZERO);
    assert!(wait.count() >= 2 && restarts <= 4);
    let utilization: f64 = stats.utilization;
    assert!((0.0..=1.0).contains(&utilization));
}

#[pool::test]
fn every_kind_of_error_is_reached_and_tells_its_job() {
    isolated(|| {
        let pool = ready(
            Pool::builder().workers(1).queue_capacity(1).max_payload(1000).stderr(Output::Capture),
        );
        let error = |call: Result<u32, JobError>| -> JobError { call.unwrap_err() };
        let die = |how: Death| error(submit!(pool => job::die_until, 2, how).wait());

        let panicked = die(Death::Panic);
        let JobErrorKind::Panicked(info) = panicked.kind() else { panic!("{panicked}") };
        let info: &PanicInfo = info;
        assert_eq!(info.message(), "as asked for");
        let place: (Option<&str>, Option<u32>, Option<u32>) =
            (info.file(), info.line(), info.column());
        assert!(place.0.unwrap().ends_with("jobs.rs") && place.1.is_some() && place.2.is_some());
        let backtrace: Option<&str> = info.backtrace();
        assert_eq!(backtrace, None);
        assert!(panicked.is_panic() && panicked.attempts() == 1);
        let tail: Option<&str> = panicked.stderr_tail();
        assert_eq!(tail, Some("last words"));

        let aborted = die(Death::Abort);
        assert_eq!(*aborted.kind(), JobErrorKind::Crashed(WorkerExit::Signal(6)));
        assert!(aborted.is_crash() && aborted.job_name().ends_with("job::die_until"));
        let exited = die(Death::Exit(3));
        assert_eq!(*exited.kind(), JobErrorKind::Crashed(WorkerExit::Code(3)));

        let late = pool.submit(call!(job::for_ever).timeout(Duration::from_millis(20)));
        let id: JobId = late.id();
        let late = late.wait().unwrap_err();
        assert_eq!(*late.kind(), JobErrorKind::TimedOut(Duration::from_millis(20)));
        assert!(late.is_timeout() && late.job_id() == id);

        let large = error(pool.submit(call!(job::length, &[0; 2000])).wait());
        let JobErrorKind::PayloadTooLarge { size, limit } = *large.kind() else {
            panic!("{large}");
        };
        let (true, 1000): (bool, u64) = (size >= 2000, limit) else { panic!("{size}, {limit}") };
        assert_eq!(large.attempts(), 0);

        let fat = call!(job::fill, 200 << 20).memory_limit(100 << 20);
        let fat = pool.submit(fat).wait().unwrap_err();
        assert_eq!(*fat.kind(), JobErrorKind::MemoryLimit { limit: 100 << 20 });

        let unknown = error(pool.submit(Call::named::<u32>("contract.ad", (1, 2))).wait());
        let JobErrorKind::UnknownJob(text) = unknown.kind() else { panic!("{unknown}") };
        assert!(text.contains("contract.add"), "{text}");
        let state = error(submit!(pool => job::without_a_maker).wait());
        assert!(matches!(state.kind(), JobErrorKind::State(_)), "{state}");
        let encode = error(submit!(pool => job::odd, job::Odd(1)).wait());
        assert!(matches!(encode.kind(), JobErrorKind::Encode(_)), "{encode}");
        let decode = error(pool.submit(Call::named::<u32>("contract.add", ("a", "b"))).wait());
        assert!(matches!(decode.kind(), JobErrorKind::Decode(_)), "{decode}");
        let inner: String = submit!(pool => job::global_in_a_job).wait().unwrap();
        assert!(inner.contains("worker"), "{inner}");

        let blocked: JobHandle<()> = submit!(pool => job::for_ever);
        wait_until("it runs", || blocked.status() == JobStatus::Running);
        wait_for_room(&pool, 1);
        let queued: JobHandle<u32> = submit!(pool => job::add, 1, 1);
        let full = error(submit!(pool => job::add, 1, 1).wait());
        assert_eq!(*full.kind(), JobErrorKind::QueueFull);
        drop(pool.shutdown());
        let closed = error(queued.wait());
        assert_eq!(*closed.kind(), JobErrorKind::PoolClosed);
        assert!(closed.is_pool_closed() && blocked.wait().unwrap_err().is_pool_closed());

        let threads = ready(Pool::builder().workers(1).in_process());
        let started = scratch("started");
        let unkillable = threads.submit(call!(job::until_asked, &started));
        wait_until("it has begun", || started.exists());
        unkillable.kill();
        let unsupported = unkillable.wait().unwrap_err();
        assert!(matches!(unsupported.kind(), JobErrorKind::Unsupported(_)), "{unsupported}");
    });
}

#[pool::test]
fn every_method_of_a_queue_is_there() {
    isolated(|| {
        let pool = ready(Pool::builder().workers(1));
        block_on(async {
            let queue: JobQueue = JobQueue::new();
            let first: JobHandle<u32> = queue.push(call!(job::add, 1, 1)).await;
            let second: JobHandle<u32> = queue.clone().push(call!(job::add, 2, 2)).await;
            let (count, is_empty): (usize, bool) = (queue.count(), queue.is_empty());
            assert_eq!((count, is_empty, first.status()), (2, false, JobStatus::Queued));
            let popped: Option<QueuedJob> = queue.pop(SECOND).await;
            let popped: QueuedJob = popped.unwrap();
            let (id, name): (JobId, &str) = (popped.id(), popped.name());
            assert_eq!((id, name), (first.id(), "contract.add"));
            popped.submit(&pool);
            assert_eq!(first.await.unwrap(), 2);
            let work: Work = pool.work(&queue);
            let WorkReport { succeeded, failed, cancelled, elapsed } = work.await;
            let counts: (u64, u64, u64, bool) =
                (succeeded, failed, cancelled, elapsed > Duration::ZERO);
            assert_eq!(counts, (1, 0, 0, true));
            assert_eq!(second.await.unwrap(), 4);

            let bounded: JobQueue = JobQueue::bounded(1000);
            let dropped = bounded.push(call!(job::add, 3, 3)).await;
            let cleared: usize = bounded.clear();
            assert!(cleared == 1 && dropped.await.unwrap_err().is_cancelled());
            bounded.close();
            let refused = bounded.push(call!(job::add, 3, 3)).await.await.unwrap_err();
            assert_eq!(*refused.kind(), JobErrorKind::QueueClosed);
            assert!(bounded.pop(LONG).await.is_none());
            let lingering: WorkReport = pool.work(&bounded).linger(LONG).await;
            assert_eq!(lingering.succeeded, 0);
        });
    });
}

#[pool::test]
fn every_method_of_a_stream_of_jobs_is_there() {
    // No terminal is needed to see that it does no harm.
    Isolation::new().env("POOL_PROGRESS", "plain").run(|| {
        let pool = ready(Pool::builder().workers(1));
        let numbers = [1, 2, 3];
        let calls = || numbers.iter().map(|&n| call!(job::add, n, 0));
        let mut ordered = pool.map(calls());
        let first: Option<Result<u32, JobError>> = block_on(ordered.next());
        assert_eq!(first.unwrap().unwrap(), 1);
        drop(ordered);
        let rest = pool.map(calls()).unordered().max_in_flight(2).progress("contract");
        let mut sums: Vec<u32> = rest.blocking().map(Result::unwrap).collect();
        sums.sort_unstable();
        assert_eq!(sums, numbers);
    });
}

#[pool::test]
fn progress_comes_from_the_job_to_its_handle() {
    isolated(|| {
        let pool = ready(Pool::builder().workers(1));
        let gate = scratch("gate");
        let handle: JobHandle<()> = submit!(pool => job::count_to, 3, &gate);
        let mut progress: ProgressStream = handle.progress();
        let next: Option<Progress> = block_on(progress.next());
        let Progress { done, total, message } = next.unwrap();
        let told: (u64, u64, Option<String>) = (done, total, message);
        assert!(told.0 <= 3 && told.2.is_some(), "{told:?}");
        open(&gate);
        let mut last = None;
        while let Some(next) = block_on(progress.next()) {
            last = Some(next);
        }
        let all = Progress { done: 3, total: 3, message: Some("done".to_owned()) };
        assert_eq!(last, Some(all));
        handle.wait().unwrap();
    });
}

#[pool::test]
fn every_event_is_told() {
    isolated(|| {
        let builder = Pool::builder().workers(1).stdout(Output::Capture).stderr(Output::Capture);
        let pool: Pool = builder.build().unwrap();
        let mut events: EventStream = pool.events();
        let died = submit!(pool => job::die_until, 2, Death::Exit(3));
        let id = died.id();
        assert!(died.wait().is_err());
        // By a second worker, whose start is seen in any case.
        assert_eq!(submit!(pool => job::add, 1, 1).wait().unwrap(), 2);
        block_on(pool.close());
        let mut seen = [0; 7];
        while let Some(event) = block_on(events.next()) {
            let event: PoolEvent = event;
            seen[told(event, id)] += 1;
        }
        let [started, up, exited, queued, began, ended, lines] = seen;
        assert!(started >= 1 && up >= 1, "{seen:?}");
        assert_eq!((exited, queued, began, ended, lines), (2, 2, 2, 2, 2));
        let dropped: u64 = events.dropped();
        assert_eq!(dropped, 0);
    });
}

/// Which kind of event it is, in the order of the contract. `id` is the job that died.
fn told(event: PoolEvent, id: JobId) -> usize {
    match event {
        PoolEvent::WorkerStarted { slot: 0, pid } if u32::MAX > pid => 0,
        PoolEvent::WorkerReady { slot: 0, pid } if u32::MAX > pid => 1,
        PoolEvent::WorkerExited { slot: 0, pid, exit } => {
            let _: (u32, WorkerExit) = (pid, exit);
            2
        }
        PoolEvent::JobQueued { id: job, name } => {
            let name: &'static str = name;
            assert_eq!(job == id, name.ends_with("job::die_until"));
            3
        }
        PoolEvent::JobStarted { id: _, slot: 0, attempt: 1 } => 4,
        PoolEvent::JobEnded { id: job, outcome } => {
            let outcome: Result<(), JobErrorKind> = outcome;
            let crashed = JobErrorKind::Crashed(WorkerExit::Code(3));
            assert_eq!(outcome, if job == id { Err(crashed) } else { Ok(()) });
            5
        }
        PoolEvent::Output { slot: 0, job, stream, line } => {
            let (job, stream, line): (Option<JobId>, OutputStream, String) = (job, stream, line);
            let expected = match stream {
                OutputStream::Stdout => "to stdout",
                OutputStream::Stderr => "last words",
            };
            assert_eq!((job, line.as_str()), (Some(id), expected));
            6
        }
        other => panic!("{other:?}"),
    }
}

#[pool::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_test_attribute_takes_the_options_of_tokio() -> Result<(), JobError> {
    let pool = Pool::new(1).unwrap();
    let task = tokio::spawn(async move { submit!(pool => job::add, 1, 2).await });
    assert_eq!(task.await.unwrap()?, 3);
    Ok(())
}

#[pool::test]
fn the_hook_has_run_in_each_worker() {
    isolated(|| {
        let pool = ready(Pool::builder().workers(1));
        assert!(submit!(pool => job::is_prepared).wait().unwrap());
    });
}

#[pool::test]
fn a_program_of_ones_own_runs_by_the_attribute_and_by_hand() {
    Isolation::new().end(End::Regular).run(|| {
        for how in ["attribute", "by hand"] {
            let mut puppet = Command::new(env!("CARGO_BIN_EXE_puppet-contract"));
            let (status, said) = run_puppet(puppet.arg(how).env("POOL_WORKERS", "2"));
            assert!(status.success(), "{status}: {said}");
            assert_eq!(said, "one main ran\nall is well\n");
        }
    });
}
