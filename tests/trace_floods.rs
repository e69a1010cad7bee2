//! Feature `tracing` where much is logged, or by workers that are not what they seem.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use pool::{Pool, pool_job, submit};
use pool_tests::{Isolation, isolated, jobs, pids, scratch};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

#[pool_job]
fn count_up_to(number: u64) {
    for n in 0..number {
        tracing::info!(n);
    }
}

/// Two threads log all the time, also while the output is written and after that.
#[pool_job]
fn noisy(len: usize) -> Vec<u8> {
    for n in 0..2 {
        thread::spawn(move || {
            for m in 0_u64.. {
                tracing::info!(n, m, "noise");
            }
        });
    }
    thread::sleep(Duration::from_millis(50));
    vec![7; len]
}

/// Sums up what comes, and remembers nothing.
#[derive(Default)]
struct Counter {
    events: AtomicU64,
    dropped: AtomicU64,
}

static COUNTER: Counter = Counter { events: AtomicU64::new(0), dropped: AtomicU64::new(0) };
static PAUSE: AtomicBool = AtomicBool::new(false);

struct Count;

impl Visit for &Counter {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "dropped" {
            // The event that says so is none of the job's.
            self.dropped.fetch_add(value, Ordering::SeqCst);
            self.events.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

impl<S: Subscriber> Layer<S> for Count {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        COUNTER.events.fetch_add(1, Ordering::SeqCst);
        event.record(&mut &COUNTER);
        if PAUSE.swap(false, Ordering::SeqCst) {
            thread::sleep(Duration::from_secs(1));
        }
    }
}

fn count() {
    let subscriber = tracing_subscriber::registry().with(Count).with(LevelFilter::INFO);
    tracing::subscriber::set_global_default(subscriber).unwrap();
}

fn counted() -> (u64, u64) {
    (COUNTER.events.load(Ordering::SeqCst), COUNTER.dropped.load(Ordering::SeqCst))
}

fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[pool::test]
fn a_flood_of_events_neither_holds_up_its_job_nor_fills_the_host() {
    const FLOOD: u64 = 1_000_000;
    Isolation::new().alone().watchdog(Duration::from_secs(200)).run(|| {
        count();
        let pool = Pool::new(2).unwrap();
        pool::block_on(pool.ready()).unwrap();
        let before = peak();
        let flood = submit!(pool => count_up_to, FLOOD);
        let mut neighbours = 0;
        while !flood.is_finished() {
            // The driver has time for the others.
            submit!(pool => jobs::echo, 1).wait().unwrap();
            neighbours += 1;
        }
        flood.wait().unwrap();
        let (events, dropped) = counted();
        assert_eq!(events + dropped, FLOOD);
        assert!(neighbours > 10, "{neighbours}");
        let growth = peak() - before;
        assert!(growth < 24 << 20, "the host has grown by {growth} bytes");
    });
}

#[pool::test]
fn a_host_that_does_not_read_costs_events_and_no_time() {
    Isolation::new().watchdog(Duration::from_secs(120)).run(|| {
        count();
        PAUSE.store(true, Ordering::SeqCst);
        let pool = Pool::new(1).unwrap();
        let job = submit!(pool => count_up_to, 200_000);
        job.wait().unwrap();
        let (events, dropped) = counted();
        assert_eq!(events + dropped, 200_000);
        assert!(dropped > 0);
    });
}

#[pool::test]
fn threads_that_log_while_a_reply_is_written_do_not_get_into_it() {
    Isolation::new().watchdog(Duration::from_secs(120)).run(|| {
        count();
        let pool = Pool::new(1).unwrap();
        let bytes = submit!(pool => noisy, 64 << 20).wait().unwrap();
        assert!(bytes.len() == 64 << 20 && bytes.iter().all(|byte| *byte == 7));
        for n in 0..20 {
            assert_eq!(submit!(pool => jobs::echo, n).wait().unwrap(), n);
        }
        assert!(counted().0 > 0);
    });
}

/// Workers of which the first misbehaves like this.
fn hostile(how: &str, file: &Path) -> Pool {
    let builder = Pool::builder().workers(1).max_payload(1 << 20);
    let builder = builder.executable(env!("CARGO_BIN_EXE_puppet-hostile"));
    builder.args([how.as_ref(), file.as_os_str()]).build().unwrap()
}

#[pool::test]
fn records_that_break_the_rules_cost_their_worker() {
    isolated(|| {
        count();
        for (how, said) in [
            ("logs", "a malformed log record"),
            ("logs too much", "a frame of 9000 bytes, more than the limit of 8192"),
            ("logs for the next job", "which is not due"),
            ("logs a torn record", "a malformed log record"),
        ] {
            let file = scratch(&how.replace(' ', "-"));
            let pool = hostile(how, &file);
            let error = submit!(pool => jobs::pid).wait().unwrap_err();
            assert!(error.is_crash() && error.to_string().contains(said), "{how}: {error}");
            assert_ne!(submit!(pool => jobs::pid).wait().unwrap(), pids(&file)[0]);
        }
        assert_eq!(counted(), (0, 0));
    });
}

#[pool::test]
fn a_worker_that_invents_places_without_end_does_not_fill_the_host() {
    Isolation::new().watchdog(Duration::from_secs(120)).run(|| {
        count();
        let pool = hostile("logs from everywhere", &scratch("hostile"));
        pool::block_on(pool.ready()).unwrap();
        let before = peak();
        submit!(pool => jobs::pid).wait().unwrap();
        assert_eq!(counted(), (50_000, 0));
        let growth = peak() - before;
        assert!(growth < 24 << 20, "the host has grown by {growth} bytes");
    });
}
