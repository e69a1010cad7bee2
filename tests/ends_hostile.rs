//! A worker that lies, babbles or falls silent costs itself and the job that it runs: the error
//! names the fault, the worker is replaced, its neighbours and the host are unharmed.
//!
//! The hostile one is `puppets/hostile.rs`, which speaks the wire by hand.

use std::path::Path;
use std::time::{Duration, Instant};

use pool::{
    JobError, JobErrorKind, JobHandle, Pool, PoolBuilder, WorkerExit, call, pool_job, submit,
};
use pool_tests::jobs;
use pool_tests::{isolated, pids, proc, scratch, wait_until};
use rustix::process::Signal;

/// What a host may grow by whatever a worker says: buffers for several workers, no more.
const GROWTH: u64 = 24 << 20;
/// No payload in these pools is larger.
const MAX_PAYLOAD: u64 = 1 << 20;

#[pool_job]
fn weigh(bytes: &[u8]) -> usize {
    bytes.len()
}

/// Workers that all behave like this.
fn puppets(how: &str) -> PoolBuilder {
    let builder = Pool::builder().workers(1).max_payload(MAX_PAYLOAD);
    builder.executable(env!("CARGO_BIN_EXE_puppet-hostile")).args([how])
}

/// Workers of which the first to be started behaves like this, and notes its number in `file`;
/// all others behave well.
fn one_puppet(how: &str, file: &Path) -> PoolBuilder {
    puppets(how).args([how.as_ref(), file.as_os_str()])
}

fn field_of_status(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// The most memory that this process has ever had.
fn peak() -> u64 {
    field_of_status("VmHWM")
}

/// Time on processors of this process, all threads together.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = stat[stat.rfind(')').unwrap() + 1..].split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(10 * ticks)
}

/// Two workers, one of which misbehaves in its first job; beside them a pool of this program's own
/// workers, which is busy all the time. Returns the error of the job that the hostile one ran, if
/// that job got one.
///
/// Afterwards the hostile worker is gone, there is another in its place, and the host is as it was.
fn meet(how: &'static str) -> Option<JobError> {
    let (hostile, started, gate) = (scratch("hostile"), scratch("started"), scratch("gate"));
    let neighbours = Pool::new(1).unwrap();
    let neighbour = submit!(neighbours => jobs::hold, &started, &gate);
    wait_until("the neighbour runs", || !pids(&started).is_empty());
    let pool = one_puppet(how, &hostile).workers(2).build().unwrap();
    pool::block_on(pool.ready()).unwrap();
    wait_until("the hostile one has come", || !pids(&hostile).is_empty());
    let hostile = pids(&hostile)[0];
    let before = peak();
    let mut error = None;
    wait_until("the hostile one is dead", || {
        // As many as there are workers, so that each of them gets one.
        let both: Vec<_> = (0..2).map(|_| submit!(pool => jobs::pid)).collect();
        for job in both {
            match job.wait() {
                Ok(_) => {}
                Err(new) => assert!(error.replace(new).is_none(), "one job at most: {error:?}"),
            }
        }
        !proc::is_alive(hostile)
    });
    wait_until("there is another in its place", || {
        let both: Vec<_> = (0..2).map(|_| submit!(pool => jobs::pid)).collect();
        let both: Vec<_> = both.into_iter().map(|job| job.wait().unwrap()).collect();
        assert!(!both.contains(&hostile), "it is dead and answers");
        both[0] != both[1]
    });
    let growth = peak() - before;
    assert!(growth < GROWTH, "the host has grown by {growth} bytes");
    jobs::open(&gate);
    assert_eq!(neighbour.wait().unwrap(), pids(&started)[0]);
    error
}

/// The hostile worker's job is lost, and this is said of it.
fn meet_and_hear(how: &'static str, said: &str) {
    let error = meet(how).expect("the job of the hostile worker gets an error");
    assert_eq!(*error.kind(), JobErrorKind::Crashed(WorkerExit::Unknown), "{error}");
    assert!(error.to_string().contains(said), "{error}");
    assert!(error.to_string().contains("pid "), "{error}");
}

/// No job is lost.
fn meet_unharmed(how: &'static str) {
    if let Some(error) = meet(how) {
        panic!("{error}");
    }
}

/// A worker that never comes up: a pool of nothing else says why.
fn fails_to_start(how: &str, said: &str) {
    let before = peak();
    let pool = puppets(how).start_timeout(Duration::from_millis(300)).build().unwrap();
    let error = pool::block_on(pool.ready()).unwrap_err();
    assert!(error.to_string().contains(said), "{error}");
    let error = submit!(pool => jobs::pid).wait().unwrap_err();
    assert!(matches!(error.kind(), JobErrorKind::WorkerStart(_)), "{error}");
    assert!(error.to_string().contains(said), "{error}");
    assert_eq!(error.attempts(), 0);
    drop(pool);
    // Where there are others, they do the work; and the slot is tried again.
    let hostile = scratch("hostile");
    let pool = one_puppet(how, &hostile).workers(2).start_timeout(Duration::from_millis(300));
    let pool = pool.build().unwrap();
    for _ in 0..20 {
        let worker = submit!(pool => jobs::pid).wait().unwrap();
        assert!(!pids(&hostile).contains(&worker));
    }
    wait_until("two workers are up", || {
        let both: Vec<_> = (0..2).map(|_| submit!(pool => jobs::pid)).collect();
        let both: Vec<_> = both.into_iter().map(|job| job.wait().unwrap()).collect();
        both[0] != both[1]
    });
    assert!(!proc::is_alive(pids(&hostile)[0]));
    let growth = peak() - before;
    assert!(growth < GROWTH, "the host has grown by {growth} bytes");
}

#[pool::test]
fn a_puppet_that_behaves_well_is_a_worker() {
    isolated(|| {
        let pool = puppets("behaves well").workers(2).build().unwrap();
        pool::block_on(pool.ready()).unwrap();
        for _ in 0..100 {
            let worker = submit!(pool => jobs::pid).wait().unwrap();
            assert!(proc::children(std::process::id()).contains(&worker));
        }
        let report = pool::block_on(pool.close());
        assert_eq!((report.succeeded, report.failed), (0, 0));
    });
}

#[pool::test]
fn four_bytes_in_place_of_a_greeting_are_waited_for_no_longer_than_any_start() {
    isolated(|| fails_to_start("says four bytes", "not ready within its start timeout of 300ms"));
}

#[pool::test]
fn rubbish_in_place_of_a_greeting_is_a_failed_start() {
    isolated(|| fails_to_start("says rubbish", "broke the protocol"));
}

#[pool::test]
fn half_a_greeting_is_waited_for_no_longer_than_any_start() {
    isolated(|| fails_to_start("says half a greeting", "not ready within its start timeout"));
}

#[pool::test]
fn an_answer_before_the_greeting_is_a_failed_start() {
    isolated(|| fails_to_start("answers before it greets", "its first words were no greeting"));
}

#[pool::test]
fn a_worker_of_another_version_is_named_as_such() {
    isolated(|| fails_to_start("speaks another protocol", "the worker speaks protocol 99"));
}

#[pool::test]
fn a_worker_with_other_jobs_is_named_as_such() {
    isolated(|| fails_to_start("has other jobs", "has other jobs than this program"));
}

#[pool::test]
fn a_worker_that_exits_before_it_greets_is_told_with_its_code() {
    isolated(|| fails_to_start("exits with code 9", "exited with code 9 before it was ready"));
}

#[pool::test]
fn half_a_frame_is_waited_for_until_the_timeout_or_a_kill() {
    isolated(|| {
        let pool = puppets("says half a frame").build().unwrap();
        let limit = Duration::from_millis(200);
        let error = pool.submit(call!(jobs::pid).timeout(limit)).wait().unwrap_err();
        assert_eq!(*error.kind(), JobErrorKind::TimedOut(limit), "{error}");
        let job = submit!(pool => jobs::pid);
        wait_until("it runs", || job.status() == pool::JobStatus::Running);
        job.kill();
        assert!(job.wait().unwrap_err().is_cancelled());
    });
}

/// A thread of its own reads it, and is gone when the worker is.
#[pool::test]
fn a_quarter_of_a_large_output_is_waited_for_until_somebody_ends_it() {
    isolated(|| {
        let how = "says a quarter of a large output";
        let pool = puppets(how).max_payload(1 << 30).build().unwrap();
        let readers = || proc::own_threads().iter().filter(|name| *name == "pool-large").count();
        let is_read = |job: &JobHandle<u32>| {
            wait_until("it is read", || readers() == 1);
            assert_eq!(job.status(), pool::JobStatus::Running);
        };
        let is_over = || wait_until("nobody reads", || readers() == 0);
        let limit = Duration::from_millis(300);
        let error = pool.submit(call!(jobs::pid).timeout(limit)).wait().unwrap_err();
        assert_eq!(*error.kind(), JobErrorKind::TimedOut(limit), "{error}");
        is_over();
        let job = submit!(pool => jobs::pid);
        is_read(&job);
        job.kill();
        assert!(job.wait().unwrap_err().is_cancelled());
        is_over();
        let job = submit!(pool => jobs::pid);
        is_read(&job);
        let pid = pool.stats().workers[0].pid.unwrap();
        jobs::send(pid, Signal::KILL);
        let error = job.wait().unwrap_err();
        assert_eq!(*error.kind(), JobErrorKind::Crashed(WorkerExit::Signal(9)), "{error}");
        is_over();
        let job = submit!(pool => jobs::pid);
        is_read(&job);
        pool.shutdown();
        assert_eq!(*job.wait().unwrap_err().kind(), JobErrorKind::PoolClosed);
        pool::block_on(pool.shutdown_async());
        is_over();
    });
}

#[pool::test]
fn a_length_beyond_the_limit_is_refused_at_its_header() {
    isolated(|| meet_and_hear("promises too much", "a frame of 4294967295 bytes"));
}

#[pool::test]
fn an_unknown_kind_is_refused() {
    isolated(|| meet_and_hear("invents a kind", "a frame of unknown kind 77"));
}

#[pool::test]
fn impossible_flags_are_refused() {
    isolated(|| meet_and_hear("invents flags", "impossible flags 0xf0"));
}

#[pool::test]
fn an_answer_to_the_next_job_is_refused() {
    isolated(|| meet_and_hear("answers the next job", "which is not due"));
}

#[pool::test]
fn an_answer_to_a_job_that_never_was_is_refused() {
    let said = "a reply to job number 18446744073709551615, which is not due";
    isolated(|| meet_and_hear("answers the last job of all", said));
}

#[pool::test]
fn the_second_of_two_answers_is_refused_and_the_first_counts() {
    isolated(|| meet_unharmed("answers twice"));
}

#[pool::test]
fn an_answer_to_a_job_that_was_taken_back_costs_nobody_but_its_worker() {
    isolated(|| meet_unharmed("answers what was taken back"));
}

#[pool::test]
fn a_second_greeting_is_refused() {
    isolated(|| meet_and_hear("greets twice", "a second greeting"));
}

#[pool::test]
fn a_log_frame_is_refused() {
    // Where records are forwarded, it is no record.
    let said = match cfg!(feature = "tracing") {
        false => "a log frame that nobody asked for",
        true => "a malformed log record",
    };
    isolated(|| meet_and_hear("logs", said));
}

#[pool::test]
fn a_poke_with_a_body_is_refused() {
    isolated(|| meet_and_hear("pokes with a body", "a poke with a body"));
}

#[pool::test]
fn a_flood_of_pokes_is_refused_before_it_costs_anything() {
    isolated(|| {
        let before = processor_time();
        meet_and_hear("pokes without end", "more pokes than were asked for");
        let used = processor_time() - before;
        assert!(used < Duration::from_secs(5), "the host was busy for {used:?}");
    });
}

#[pool::test]
fn more_frames_passed_over_than_were_sent_are_refused() {
    isolated(|| meet_and_hear("passes over without end", "more asides than jobs"));
}

#[pool::test]
fn more_last_words_than_jobs_are_refused() {
    isolated(|| meet_and_hear("says its last words without end", "more asides than jobs"));
}

#[pool::test]
fn a_malformed_progress_is_refused() {
    isolated(|| meet_and_hear("says half of its progress", "a malformed progress"));
}

#[pool::test]
fn a_progress_that_is_too_long_is_refused_before_its_body_is_awaited() {
    isolated(|| meet_and_hear("says too much of its progress", "a frame of 4096 bytes"));
}

#[pool::test]
fn a_worker_that_has_news_without_end_is_heard_now_and_then() {
    isolated(|| {
        let hostile = scratch("hostile");
        let pool = one_puppet("pokes whenever it is heard", &hostile).build().unwrap();
        let job = submit!(pool => jobs::pid);
        let mut progress = job.progress();
        pool::block_on(async {
            progress.next().await.unwrap();
            let (before, begun) = (processor_time(), Instant::now());
            for _ in 0..50 {
                progress.next().await.unwrap();
            }
            // As often as a pause is over, and not as often as it can poke.
            assert!(begun.elapsed() > Duration::from_millis(200), "{:?}", begun.elapsed());
            let used = processor_time() - before;
            assert!(used < begun.elapsed() / 2, "{used:?} of {:?}", begun.elapsed());
        });
        job.kill();
        assert!(job.wait().unwrap_err().is_cancelled());
    });
}

#[pool::test]
fn a_flood_of_answers_is_refused() {
    isolated(|| {
        // Its first one is as good as any.
        if let Some(error) = meet("answers without end") {
            assert!(error.to_string().contains("which is not due"), "{error}");
        }
    });
}

#[pool::test]
fn an_output_in_no_encoding_is_an_error_of_its_job_and_names_it() {
    isolated(|| {
        let pool = puppets("answers in no encoding").build().unwrap();
        for _ in 0..3 {
            let error = submit!(pool => jobs::pid).wait().unwrap_err();
            let JobErrorKind::Decode(text) = error.kind() else { panic!("{error}") };
            assert!(text.contains("on the host, output: "), "{text}");
            assert!(error.to_string().contains("`pool_tests::jobs::pid`"), "{error}");
            // In serde's words.
            assert!(text.contains("marker") || text.contains("invalid"), "{text}");
        }
        assert_eq!(proc::children(std::process::id()).len(), 1);
    });
}

#[pool::test]
fn an_output_beyond_the_limit_is_refused_at_its_header() {
    isolated(|| {
        let said = format!("a frame of {} bytes, more than the limit of {MAX_PAYLOAD}", 4 << 20);
        meet_and_hear("answers with too much", &said);
    });
}

#[pool::test]
fn a_torn_panic_report_is_refused() {
    isolated(|| meet_and_hear("tears a panic report", "a malformed panic report"));
}

#[pool::test]
fn a_torn_refusal_is_refused() {
    isolated(|| meet_and_hear("tears a refusal", "a malformed refusal"));
}

#[pool::test]
fn a_panic_report_of_any_length_is_not_read() {
    isolated(|| {
        let pool = puppets("panics at length").max_payload(1 << 30).build().unwrap();
        pool::block_on(pool.ready()).unwrap();
        let before = peak();
        let error = submit!(pool => jobs::pid).wait().unwrap_err();
        assert!(error.is_crash(), "what it says is no text to be shown here");
        assert!(error.to_string().contains("more than the limit of"), "{error}");
        let growth = peak() - before;
        assert!(growth < GROWTH, "the host has grown by {growth} bytes");
    });
}

#[pool::test]
fn a_text_that_is_no_text_is_shown_as_far_as_it_can_be() {
    isolated(|| {
        let pool = puppets("mumbles in its refusal").build().unwrap();
        let error = submit!(pool => jobs::pid).wait().unwrap_err();
        let JobErrorKind::Decode(text) = error.kind() else { panic!("{error}") };
        assert!(text.starts_with("\u{fffd}éé"), "{text}");
    });
}

#[pool::test]
fn answers_to_unclaimed_jobs_are_taken_at_their_word() {
    isolated(|| {
        let pool = puppets("claims nothing").build().unwrap();
        pool::block_on(pool.ready()).unwrap();
        for _ in 0..100 {
            assert!(submit!(pool => jobs::pid).wait().is_ok());
        }
    });
}

/// Every job ends, with its output or with a crash of its worker, and so does the pool.
fn endures(how: &'static str) {
    let (started, gate) = (scratch("started"), scratch("gate"));
    let neighbours = Pool::new(1).unwrap();
    let neighbour = submit!(neighbours => jobs::hold, &started, &gate);
    let pool = puppets(how).workers(2).build().unwrap();
    pool::block_on(pool.ready()).unwrap();
    let before = peak();
    let jobs: Vec<_> = (0..500).map(|_| submit!(pool => jobs::pid)).collect();
    for (n, job) in jobs.into_iter().enumerate() {
        // Some are ended from here.
        if n % 50 == 49 {
            job.cancel();
        }
        if let Err(error) = job.wait() {
            assert!(error.is_crash() || error.is_cancelled(), "{error}");
        }
    }
    let growth = peak() - before;
    assert!(growth < GROWTH, "the host has grown by {growth} bytes");
    jobs::open(&gate);
    assert_eq!(neighbour.wait().unwrap(), pids(&started)[0]);
}

#[pool::test]
fn a_recorder_full_of_rubbish_ends_no_pool() {
    isolated(|| endures("scribbles"));
}

#[pool::test]
fn a_recorder_that_counts_backwards_holds_up_nobody() {
    isolated(|| endures("counts backwards"));
}

#[pool::test]
fn a_claim_on_everything_costs_one_job() {
    isolated(|| {
        let error = meet("claims everything and dies").unwrap();
        assert_eq!(*error.kind(), JobErrorKind::Crashed(WorkerExit::Signal(6)), "{error}");
    });
}

#[pool::test]
fn a_job_whose_claim_was_hidden_is_moved_a_few_times_and_then_charged() {
    isolated(|| {
        // Another worker answers it.
        meet_unharmed("claims nothing and dies");
        let pool = puppets("claims nothing and dies").build().unwrap();
        let error = submit!(pool => jobs::pid).wait().unwrap_err();
        assert_eq!(*error.kind(), JobErrorKind::Crashed(WorkerExit::Signal(6)), "{error}");
        assert_eq!(error.attempts(), 1);
    });
}

#[pool::test]
fn no_worker_can_resize_the_recorder() {
    isolated(|| {
        let pool = puppets("resizes the recorder").build().unwrap();
        for _ in 0..3 {
            assert!(submit!(pool => jobs::pid).wait().is_ok());
        }
    });
}

#[pool::test]
fn a_worker_without_its_recorder_is_a_crash() {
    isolated(|| {
        let error = meet("unmaps the recorder").unwrap();
        assert_eq!(*error.kind(), JobErrorKind::Crashed(WorkerExit::Signal(11)), "{error}");
    });
}

#[pool::test]
fn a_worker_that_never_reads_fills_no_memory_and_can_be_killed() {
    isolated(|| {
        let bytes = vec![7; 64 << 20];
        let pool = puppets("never reads").max_payload(1 << 30).build().unwrap();
        pool::block_on(pool.ready()).unwrap();
        let before = peak();
        let worker = proc::children(std::process::id())[0];
        let job = submit!(pool => weigh, &bytes);
        wait_until("it runs", || job.status() == pool::JobStatus::Running);
        job.kill();
        assert!(job.wait().unwrap_err().is_cancelled());
        assert!(!proc::is_alive(worker));
        // Its arguments, once.
        let growth = peak() - before;
        assert!(growth < bytes.len() as u64 + GROWTH, "the host has grown by {growth} bytes");
    });
}

#[pool::test]
fn a_worker_that_closes_its_channel_and_lives_on_is_killed() {
    isolated(|| meet_and_hear("closes its channel", "it closed its channel and lived on"));
}

#[pool::test]
fn a_worker_that_stops_its_ears_is_killed_and_its_job_goes_to_another() {
    isolated(|| {
        meet_unharmed("stops its ears");
        let pool = puppets("stops its ears").build().unwrap();
        let error = submit!(pool => jobs::pid).wait().unwrap_err();
        assert!(error.is_crash(), "{error}");
        assert!(error.to_string().contains("it closed its channel and lived on"), "{error}");
    });
}

#[pool::test]
fn descriptors_that_a_worker_sends_are_not_taken() {
    isolated(|| {
        let pool = puppets("sends descriptors").build().unwrap();
        pool::block_on(pool.ready()).unwrap();
        let before = proc::own_descriptor_count();
        for _ in 0..100 {
            assert!(submit!(pool => jobs::pid).wait().is_ok());
        }
        assert_eq!(proc::own_descriptor_count(), before);
    });
}
