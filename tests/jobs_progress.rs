//! What a job says of its progress: it arrives, the latest wins, the last is never lost, and it
//! costs neither the job nor its neighbours nor the host.

use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use futures_lite::Stream as _;
use pool::{JobContext, JobHandle, Pool, Progress, ProgressStream, RetryPolicy};
use pool::{call, pool_job, submit};
use pool_tests::jobs::{self, Death};
use pool_tests::{isolated, lines, pids, scratch, wait_until};

fn progress(done: u64, total: u64) -> Progress {
    Progress { done, total, message: None }
}

fn with(done: u64, total: u64, message: &str) -> Progress {
    Progress { message: Some(message.to_owned()), ..progress(done, total) }
}

fn next(stream: &mut ProgressStream) -> Option<Progress> {
    pool::block_on(stream.next())
}

/// Until the stream has nothing more.
fn last(mut stream: ProgressStream) -> Option<Progress> {
    let mut last = None;
    while let Some(progress) = next(&mut stream) {
        last = Some(progress);
    }
    last
}

/// Resident memory of this process.
fn own_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// Time on processors of this process, all threads together.
fn own_processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = stat[stat.rfind(')').unwrap() + 1..].split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(10 * ticks)
}

fn wait_for(gate: &Path) {
    while !gate.exists() {
        thread::sleep(Duration::from_millis(1));
    }
}

/// Reports once, and goes on when there is a file `gate`.
#[pool_job]
fn report_and_hold(ctx: &JobContext, done: u64, gate: &Path) {
    ctx.progress(done, 10);
    wait_for(gate);
}

#[pool_job]
fn count(ctx: &JobContext, up_to: u64) -> u64 {
    for n in 1..=up_to {
        ctx.progress(n, up_to);
    }
    up_to
}

/// Says each line when its gate opens.
#[pool_job]
async fn say(ctx: &JobContext, texts: &[String], gate: &Path) {
    for (n, text) in texts.iter().enumerate() {
        ctx.message(text);
        while !gate.with_extension(n.to_string()).exists() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

#[pool::test]
fn a_report_arrives_while_the_job_runs_and_the_stream_ends_with_it() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let gate = scratch("gate");
        let job = submit!(pool => report_and_hold, 3, &gate);
        let mut stream = job.progress();
        assert_eq!(next(&mut stream), Some(progress(3, 10)));
        jobs::open(&gate);
        assert_eq!(next(&mut stream), None);
        assert_eq!(next(&mut stream), None);
        assert!(job.is_finished());
        job.wait().unwrap();
    });
}

#[pool::test]
fn each_report_arrives_that_is_waited_for() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let gate = scratch("gate");
        let texts = ["one", "two", "zwölf 🦀", ""].map(str::to_owned);
        let job = submit!(pool => say, &texts, &gate);
        let mut stream = job.progress();
        for (n, text) in texts.iter().enumerate() {
            assert_eq!(next(&mut stream), Some(with(0, 0, text)));
            jobs::open(&gate.with_extension(n.to_string()));
        }
        assert_eq!(next(&mut stream), None);
        job.wait().unwrap();
    });
}

#[pool::test]
fn numbers_and_message_keep_each_other() {
    #[pool_job]
    fn both(ctx: &JobContext) {
        ctx.progress(1, 2);
        ctx.message("half");
        ctx.progress(2, 2);
    }
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        assert_eq!(last(submit!(pool => both).progress()), Some(with(2, 2, "half")));
    });
}

#[pool::test]
fn a_stream_that_is_polled_late_gives_the_last_value_once_and_ends() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        // Many in the window of one worker, each with a slot's life of a few microseconds.
        let handles: Vec<JobHandle<u64>> = (1..=300).map(|n| submit!(pool => count, n)).collect();
        let streams: Vec<_> = handles.iter().map(JobHandle::progress).collect();
        for (n, handle) in (1..=300).zip(handles) {
            assert_eq!(handle.wait().unwrap(), n);
        }
        // Outlives handles and pool.
        drop(pool);
        for (n, mut stream) in (1..=300).zip(streams) {
            assert_eq!(next(&mut stream), Some(progress(n, n)));
            assert_eq!(next(&mut stream), None);
        }
    });
}

#[pool::test]
fn a_stream_made_after_the_end_gives_the_last_value_too() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let mut job = submit!(pool => count, 5);
        assert_eq!(pool::block_on(&mut job).unwrap(), 5);
        for _ in 0..2 {
            let mut stream = job.progress();
            assert_eq!(next(&mut stream), Some(progress(5, 5)));
            assert_eq!(next(&mut stream), None);
        }
    });
}

#[pool::test]
fn a_job_that_says_nothing_has_an_empty_stream() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        assert_eq!(last(submit!(pool => jobs::echo, 1).progress()), None);
        // Right behind one that did.
        let first = submit!(pool => count, 3);
        let second = submit!(pool => jobs::echo, 1);
        assert_eq!(last(second.progress()), None);
        assert_eq!(last(first.progress()), Some(progress(3, 3)));
        // Refused at once.
        pool.shutdown();
        assert_eq!(last(submit!(pool => count, 3).progress()), None);
    });
}

#[pool::test]
fn any_number_of_streams_see_it_and_those_that_are_gone_cost_nothing() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let gate = scratch("gate");
        let job = submit!(pool => report_and_hold, 7, &gate);
        let mut streams: Vec<_> = (0..50).map(|_| job.progress()).collect();
        let mut given_up: Vec<_> = (0..50).map(|_| job.progress()).collect();
        for stream in &mut given_up {
            let mut cx = Context::from_waker(Waker::noop());
            let _ = Pin::new(stream).poll_next(&mut cx);
        }
        drop(given_up);
        for stream in &mut streams {
            assert_eq!(next(stream), Some(progress(7, 10)));
        }
        jobs::open(&gate);
        for stream in &mut streams {
            assert_eq!(next(stream), None);
        }
        job.wait().unwrap();
    });
}

#[pool::test]
fn a_snapshot_shows_how_far_a_job_is() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let gate = scratch("gate");
        let job = submit!(pool => report_and_hold, 8, &gate);
        let shown = || pool.snapshot().running.into_iter().find_map(|running| running.progress);
        wait_until("it is shown", || shown() == Some(progress(8, 10)));
        jobs::open(&gate);
        job.wait().unwrap();
        let silent = submit!(pool => jobs::hold, &scratch("started"), &scratch("silent"));
        wait_until("it runs", || !pool.snapshot().running.is_empty());
        assert_eq!(shown(), None);
        silent.kill();
    });
}

#[pool::test]
fn a_stream_is_a_stream() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let job = submit!(pool => count, 1);
        let mut stream = pin!(job.progress());
        let mut seen = Vec::new();
        pool::block_on(std::future::poll_fn(|cx| {
            loop {
                match stream.as_mut().poll_next(cx) {
                    Poll::Ready(Some(progress)) => seen.push(progress),
                    Poll::Ready(None) => return Poll::Ready(()),
                    Poll::Pending => return Poll::Pending,
                }
            }
        }));
        assert_eq!(seen, [progress(1, 1)]);
    });
}

#[pool::test]
fn a_stream_does_not_keep_the_pool_alive() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let gate = scratch("gate");
        let job = submit!(pool => report_and_hold, 1, &gate);
        let mut stream = job.progress();
        assert_eq!(next(&mut stream), Some(progress(1, 10)));
        drop(pool);
        assert_eq!(next(&mut stream), None);
        assert!(job.wait().unwrap_err().is_pool_closed());
    });
}

#[pool::test]
fn whoever_waits_on_another_thread_is_woken() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let gate = scratch("gate");
        let job = submit!(pool => say, &["one".to_owned()], &gate);
        let mut stream = job.progress();
        let seen = Mutex::new(Vec::new());
        thread::scope(|scope| {
            scope.spawn(|| {
                while let Some(progress) = next(&mut stream) {
                    seen.lock().unwrap().push(progress);
                }
            });
            wait_until("the message has come", || !seen.lock().unwrap().is_empty());
            jobs::open(&gate.with_extension("0"));
        });
        assert_eq!(*seen.lock().unwrap(), [with(0, 0, "one")]);
        job.wait().unwrap();
    });
}

/// A total that belongs to `done`, and a message that belongs to a number.
fn check_sum(done: u64) -> u64 {
    done.rotate_left(17).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn check_text(n: u64) -> String {
    format!("{n:016x}").repeat(1 + (n % 60) as usize)
}

/// Two threads report for so long, each report with a sum that tells whether it is whole.
#[pool_job]
fn report_in_threads(ctx: &JobContext, millis: u64) -> u64 {
    let until = Instant::now() + Duration::from_millis(millis);
    let reports = AtomicU64::new(0);
    thread::scope(|scope| {
        for thread in 0..2_u64 {
            let (ctx, reports) = (ctx.clone(), &reports);
            scope.spawn(move || {
                let mut n = thread;
                while Instant::now() < until {
                    n += 2;
                    ctx.progress(n, check_sum(n));
                    ctx.message(check_text(n));
                    reports.fetch_add(2, Ordering::Relaxed);
                }
            });
        }
    });
    reports.into_inner()
}

#[pool::test]
fn two_threads_of_a_job_report_and_no_report_is_torn() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let job = submit!(pool => report_in_threads, 500);
        let mut stream = job.progress();
        let mut seen = 0;
        while let Some(Progress { done, total, message }) = next(&mut stream) {
            seen += 1;
            assert_eq!(total, check_sum(done));
            // The very first report may be seen alone.
            let Some(message) = message else { continue };
            let number = u64::from_str_radix(&message[..16], 16).unwrap();
            assert_eq!(message, check_text(number));
        }
        let reports = job.wait().unwrap();
        assert!(seen > 3 && seen < reports, "{seen} of {reports}");
    });
}

#[pool::test]
fn a_kept_context_never_speaks_for_the_next_job() {
    /// Leaves a thread behind that reports for ever.
    #[pool_job]
    fn leave_a_reporter(ctx: &JobContext) {
        let ctx = ctx.clone();
        thread::spawn(move || {
            loop {
                ctx.progress(99, 99);
                ctx.message("of the first");
            }
        });
    }
    #[pool_job]
    fn report_after_a_while(ctx: &JobContext) {
        thread::sleep(Duration::from_millis(20));
        ctx.progress(1, 2);
        thread::sleep(Duration::from_millis(20));
    }
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let first = submit!(pool => leave_a_reporter);
        first.wait().unwrap();
        for _ in 0..10 {
            let silent = submit!(pool => jobs::echo, 1);
            let job = submit!(pool => report_after_a_while);
            let mut stream = job.progress();
            assert_eq!(next(&mut stream), Some(progress(1, 2)));
            assert_eq!(next(&mut stream), None);
            assert_eq!(last(silent.progress()), None);
        }
    });
}

#[pool::test]
fn a_retry_starts_from_nothing() {
    /// Reports and panics in the first attempt, is silent in the second.
    #[pool_job]
    fn report_once(ctx: &JobContext, how: Death, gate: &Path) {
        if ctx.attempt() == 1 {
            ctx.progress(5, 10);
            ctx.message("nearly");
            wait_for(gate);
            jobs::die(how);
        }
        jobs::append(&gate.with_extension("second"), "running");
        wait_for(&gate.with_extension("end"));
    }
    isolated(|| {
        let pool = Pool::builder().workers(1).retry(RetryPolicy::attempts(2).on_panic(true));
        let pool = pool.build().unwrap();
        for (n, how) in [Death::Panic, Death::Abort].into_iter().enumerate() {
            let gate = scratch(&format!("gate-{n}"));
            let job = submit!(pool => report_once, how, &gate);
            let mut stream = job.progress();
            let mut first = next(&mut stream).unwrap();
            if first.message.is_none() {
                first = next(&mut stream).unwrap();
            }
            assert_eq!(first, with(5, 10, "nearly"));
            jobs::open(&gate);
            let second = gate.with_extension("second");
            wait_until("the second attempt runs", || !lines(&second).is_empty());
            // A new one has nothing to show.
            let late = job.progress();
            jobs::open(&gate.with_extension("end"));
            assert_eq!(last(late), None);
            assert_eq!(last(stream), None);
            job.wait().unwrap();
        }
    });
}

#[pool::test]
fn what_was_said_before_a_panic_a_crash_or_a_kill_is_not_lost() {
    #[pool_job]
    fn count_and_die(ctx: &JobContext, how: Death) {
        for n in 1..=1000 {
            ctx.progress(n, 1000);
        }
        ctx.message("the end");
        jobs::die(how);
    }
    #[pool_job]
    fn count_and_spin(ctx: &JobContext, started: &Path) {
        count(ctx, 1000);
        ctx.message("the end");
        jobs::spin(started);
    }
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        for how in [Death::Panic, Death::Abort, Death::Exit(3), Death::Signal(9)] {
            let job = submit!(pool => count_and_die, how);
            assert_eq!(last(job.progress()), Some(with(1000, 1000, "the end")), "{how:?}");
            drop(job);
        }
        let started = scratch("started");
        let job = submit!(pool => count_and_spin, &started);
        let stream = job.progress();
        wait_until("the job runs", || !pids(&started).is_empty());
        job.kill();
        assert!(job.wait().unwrap_err().is_cancelled());
        assert_eq!(last(stream), Some(with(1000, 1000, "the end")));
    });
}

#[pool::test]
fn a_worker_that_is_killed_in_the_middle_of_a_report_harms_nobody() {
    isolated(|| {
        let pool = Pool::builder().workers(2).retry(RetryPolicy::attempts(1)).build().unwrap();
        for round in 0..10_u64 {
            let job = submit!(pool => report_in_threads, 600_000);
            let mut stream = job.progress();
            assert!(next(&mut stream).is_some());
            // At any moment of a report.
            let until = Instant::now() + Duration::from_micros(round * 97);
            while Instant::now() < until {
                std::hint::spin_loop();
            }
            job.kill();
            while let Some(Progress { done, total, message }) = next(&mut stream) {
                assert_eq!(total, check_sum(done));
                let Some(message) = message else { continue };
                let number = u64::from_str_radix(&message[..16], 16).unwrap();
                assert_eq!(message, check_text(number));
            }
            assert!(job.wait().unwrap_err().is_cancelled());
            assert_eq!(last(submit!(pool => count, round + 1).progress()).unwrap().done, round + 1);
        }
    });
}

#[pool::test]
fn a_million_reports_cost_the_job_little_and_the_host_nothing() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        submit!(pool => count, 1).wait().unwrap();
        let memory = own_memory();
        let begun = Instant::now();
        let job = submit!(pool => count, 1_000_000);
        let mut stream = job.progress();
        let (mut seen, mut done) = (0_u64, 0);
        while let Some(progress) = next(&mut stream) {
            assert!(progress.done > done && progress.total == 1_000_000);
            done = progress.done;
            seen += 1;
        }
        assert_eq!(done, 1_000_000);
        assert_eq!(job.wait().unwrap(), 1_000_000);
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(10), "{took:?}");
        // Two looks in a pause of ten milliseconds, the first and the last.
        assert!(u128::from(seen) <= took.as_millis() / 5 + 4, "{seen} in {took:?}");
        let growth = own_memory().saturating_sub(memory);
        assert!(growth < 8 << 20, "the host has grown by {growth} bytes");
    });
}

#[pool::test]
fn a_job_that_reports_in_a_tight_loop_does_not_hold_up_others() {
    /// Until it is asked to stop.
    #[pool_job]
    fn report_without_end(ctx: &JobContext) -> u64 {
        let mut n = 0;
        while !ctx.is_cancelled() {
            n += 1;
            ctx.progress(n, 0);
            ctx.message("and so on, ".repeat(90));
        }
        n
    }
    isolated(|| {
        let pool = Pool::builder().workers(2).grace_period(Duration::from_secs(60));
        let pool = pool.build().unwrap();
        pool::block_on(pool.ready()).unwrap();
        let loud = submit!(pool => report_without_end);
        let mut stream = loud.progress();
        assert!(next(&mut stream).is_some());
        let used = own_processor_time();
        let begun = Instant::now();
        for n in 0..500 {
            assert_eq!(submit!(pool => jobs::echo, n).wait().unwrap(), n);
        }
        // Nobody reads the stream meanwhile, and it holds one value only.
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(10), "{took:?}");
        let used = own_processor_time() - used;
        assert!(used <= took + Duration::from_millis(100), "the host was busy for {used:?}");
        let seen = next(&mut stream).unwrap().done;
        loud.cancel();
        let reports = loud.wait().unwrap();
        assert!(reports >= seen);
    });
}

/// Reports from a thread while the worker writes a large output; that thread goes on for ever.
#[pool_job]
fn large_output(ctx: &JobContext, len: usize, reporters: usize) -> Vec<u8> {
    for _ in 0..reporters {
        let ctx = ctx.clone();
        thread::spawn(move || {
            for n in 0.. {
                ctx.progress(n, u64::MAX);
            }
        });
    }
    vec![7; len]
}

#[pool::test]
fn progress_does_not_get_into_a_large_reply() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        for round in 0..3 {
            let job = submit!(pool => large_output, 64 << 20, 2 * usize::from(round == 0));
            let output = job.wait().unwrap();
            assert!(output.len() == 64 << 20 && output.iter().all(|&byte| byte == 7));
            // The next job of this worker is heard as ever.
            assert_eq!(last(submit!(pool => count, 9).progress()), Some(progress(9, 9)));
        }
    });
}

#[pool::test]
fn progress_comes_while_large_arguments_are_on_their_way_to_the_next_job() {
    #[pool_job]
    fn weigh(ctx: &JobContext, bytes: &[u8]) -> usize {
        ctx.message(format!("{} bytes", bytes.len()));
        bytes.len()
    }
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let gate = scratch("gate");
        let busy = submit!(pool => report_and_hold, 4, &gate);
        let large = submit!(pool => weigh, &vec![1; 32 << 20]);
        let mut stream = busy.progress();
        assert_eq!(next(&mut stream), Some(progress(4, 10)));
        jobs::open(&gate);
        assert_eq!(last(large.progress()), Some(with(0, 0, &format!("{} bytes", 32 << 20))));
        assert_eq!(large.wait().unwrap(), 32 << 20);
        busy.wait().unwrap();
    });
}

#[pool::test]
fn a_long_message_is_cut_between_two_characters() {
    #[pool_job]
    fn talk(ctx: &JobContext, text: &str) {
        ctx.message(text);
    }
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let text = "x".to_owned() + &"ü".repeat(2000);
        let shown = last(submit!(pool => talk, &text).progress()).unwrap().message.unwrap();
        assert!(text.starts_with(&shown));
        assert!((1023..=1024).contains(&shown.len()), "{}", shown.len());
    });
}

#[pool::test]
fn a_report_starts_the_stall_timeout_anew() {
    /// Twenty times longer than its stall timeout.
    #[pool_job]
    fn go_on(ctx: &JobContext) {
        for n in 0..40 {
            if n % 2 == 0 {
                ctx.progress(n, 40);
            } else {
                ctx.message(n.to_string());
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let limit = Duration::from_secs(2);
        pool.submit(call!(go_on).stall_timeout(limit)).wait().unwrap();
        let started = scratch("started");
        let silent = pool.submit(call!(jobs::spin, &started).stall_timeout(limit / 4));
        assert!(silent.wait().unwrap_err().is_timeout());
    });
}

#[pool::test]
fn on_threads_it_is_the_same() {
    isolated(|| {
        let pool = Pool::builder().workers(2).in_process().build().unwrap();
        let gate = scratch("gate");
        let job = submit!(pool => report_and_hold, 3, &gate);
        let mut stream = job.progress();
        assert_eq!(next(&mut stream), Some(progress(3, 10)));
        assert_eq!(
            last(submit!(pool => count, 100_000).progress()),
            Some(progress(100_000, 100_000))
        );
        jobs::open(&gate);
        assert_eq!(next(&mut stream), None);
        job.wait().unwrap();
        let torn = submit!(pool => report_in_threads, 100);
        let mut stream = torn.progress();
        while let Some(Progress { done, total, .. }) = next(&mut stream) {
            assert_eq!(total, check_sum(done));
        }
        torn.wait().unwrap();
    });
}
