//! Feature `tracing`: a job is a span of the host, and what it logs appears in that span.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread;

use pool::{Pool, RetryPolicy, call, pool_job, submit};
use pool_tests::jobs::{self, Death};
use pool_tests::{isolated, lines, scratch, wait_until};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

/// Names a file that the start hook's own subscriber writes to.
const OWN: &str = "TRACE_OWN_SUBSCRIBER";

type Fields = BTreeMap<String, String>;

/// A span as the host's subscriber has seen it.
#[derive(Clone, Debug)]
struct SeenSpan {
    id: u64,
    parent: Option<u64>,
    name: String,
    level: Level,
    target: String,
    /// Every value that was recorded, with how its type was seen.
    fields: Vec<(String, String)>,
    is_closed: bool,
}

/// An event likewise.
#[derive(Clone, Debug)]
struct SeenEvent {
    level: Level,
    target: String,
    module: Option<String>,
    file: Option<String>,
    line: Option<u32>,
    fields: Fields,
    /// From the innermost.
    spans: Vec<u64>,
}

#[derive(Debug, Default)]
struct Seen {
    spans: Vec<SeenSpan>,
    events: Vec<SeenEvent>,
}

static SEEN: Mutex<Seen> = Mutex::new(Seen { spans: Vec::new(), events: Vec::new() });

fn seen() -> MutexGuard<'static, Seen> {
    SEEN.lock().unwrap()
}

impl Seen {
    /// The job's span of this id.
    fn job(&self, id: pool::JobId) -> SeenSpan {
        let value = ("job.id".to_owned(), format!("shown {id}"));
        let mut spans = self.spans.iter().filter(|span| span.fields.contains(&value));
        let span = spans.next().unwrap_or_else(|| panic!("{:?}", self.spans)).clone();
        assert_eq!(spans.count(), 0, "one span a job");
        span
    }

    fn events_in(&self, span: u64) -> Vec<SeenEvent> {
        self.events.iter().filter(|event| event.spans.contains(&span)).cloned().collect()
    }
}

fn events_of(job: pool::JobId) -> Vec<SeenEvent> {
    let seen = seen();
    seen.events_in(seen.job(job).id)
}

/// Remembers everything.
struct Memory;

struct Values<'a>(&'a mut Vec<(String, String)>);

impl Values<'_> {
    fn put(&mut self, field: &Field, value: String) {
        self.0.push((field.name().to_owned(), value));
    }
}

impl Visit for Values<'_> {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, format!("i64 {value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, format!("u64 {value}"));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, format!("f64 {value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, format!("bool {value}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, format!("text {value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.put(field, format!("shown {value:?}"));
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Memory {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        let mut fields = Vec::new();
        attributes.record(&mut Values(&mut fields));
        let metadata = attributes.metadata();
        let span = SeenSpan {
            id: id.into_u64(),
            parent: ctx.span(id).unwrap().parent().map(|parent| parent.id().into_u64()),
            name: metadata.name().to_owned(),
            level: *metadata.level(),
            target: metadata.target().to_owned(),
            fields,
            is_closed: false,
        };
        seen().spans.push(span);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        let mut seen = seen();
        let spans = &mut seen.spans;
        let span = spans.iter_mut().find(|span| span.id == id.into_u64() && !span.is_closed);
        values.record(&mut Values(&mut span.unwrap().fields));
    }

    fn on_event(&self, event: &Event<'_>, ctx: Context<'_, S>) {
        let mut fields = Vec::new();
        event.record(&mut Values(&mut fields));
        let metadata = event.metadata();
        let spans = ctx.event_scope(event).into_iter().flatten();
        let event = SeenEvent {
            level: *metadata.level(),
            target: metadata.target().to_owned(),
            module: metadata.module_path().map(str::to_owned),
            file: metadata.file().map(str::to_owned),
            line: metadata.line(),
            fields: fields.into_iter().collect(),
            spans: spans.map(|span| span.id().into_u64()).collect(),
        };
        seen().events.push(event);
    }

    fn on_close(&self, id: Id, _: Context<'_, S>) {
        let mut seen = seen();
        let spans = &mut seen.spans;
        let span = spans.iter_mut().find(|span| span.id == id.into_u64() && !span.is_closed);
        span.unwrap().is_closed = true;
    }
}

/// A subscriber that takes events up to this level.
fn remember(level: LevelFilter) -> impl Subscriber + Send + Sync {
    tracing_subscriber::registry().with(Memory).with(level)
}

fn listen(level: LevelFilter) {
    tracing::subscriber::set_global_default(remember(level)).unwrap();
}

/// What the own subscriber of a start hook does: a line for each event.
struct Own(std::path::PathBuf);

impl Subscriber for Own {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        jobs::append(&self.0, event.metadata().target());
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[pool::worker_start]
fn own_subscriber() {
    if let Some(file) = std::env::var_os(OWN) {
        tracing::subscriber::set_global_default(Own(file.into())).unwrap();
    }
}

#[pool_job]
fn sell(count: u64) -> u32 {
    tracing::info!(target: "shop", count, price = 1.5, left = -3, open = true, name = "pen", who = ?Some(1), "sold {count}");
    line!() - 1
}

#[pool_job]
fn count_up_to(number: u64) {
    for n in 0..number {
        tracing::info!(n);
    }
}

#[pool_job]
fn levels() -> (String, Vec<bool>) {
    tracing::error!("an error");
    tracing::warn!("a warning");
    tracing::info!("an info");
    tracing::debug!("a word to find errors");
    tracing::trace!("a trace");
    let enabled = vec![
        tracing::enabled!(Level::ERROR),
        tracing::enabled!(Level::WARN),
        tracing::enabled!(Level::INFO),
        tracing::enabled!(Level::DEBUG),
        tracing::enabled!(Level::TRACE),
    ];
    (LevelFilter::current().to_string(), enabled)
}

#[pool_job]
fn inside_of_spans() {
    tracing::info_span!("outer", page = 7).in_scope(|| {
        tracing::info_span!("inner").in_scope(|| tracing::info!("deep"));
        tracing::info!("less deep");
    });
    tracing::info!("outside");
    let other = tracing::info_span!("other");
    tracing::info!(parent: &other, "elsewhere");
    tracing::info!(span = "its own", "named");
}

#[pool_job]
async fn asynchronous() {
    tracing::info!("before");
    tokio::task::yield_now().await;
    let other = tokio::spawn(async { tracing::info!("from a task") });
    other.await.unwrap();
    thread::spawn(|| tracing::info!("from a thread")).join().unwrap();
}

#[pool_job]
fn huge() {
    let text = "é".repeat(1 << 20);
    tracing::info!(text, more = text.as_str(), last = 1, "{text}");
}

/// As `tracing-log` passes on a line of the crate `log`.
#[pool_job]
fn log_line() {
    tracing::event!(
        target: "log",
        Level::WARN,
        { log.target = "shop::till", log.module_path = "shop", log.file = "till.rs", log.line = 7_u32 },
        "out of change"
    );
}

#[pool_job]
fn log_and_die(how: Death) {
    tracing::error!("the last words");
    jobs::die(how);
}

#[pool_job]
fn subscribe_by_itself() -> bool {
    tracing::subscriber::set_global_default(Own("/dev/null".into())).is_ok()
}

/// Says something, and then fills far more memory than it may.
#[pool_job]
fn speak_and_fill() {
    tracing::info!("it begins");
    let mut eaten = Vec::new();
    for _ in 0..512 {
        eaten.push(vec![1_u8; 1 << 20]);
        thread::sleep(std::time::Duration::from_micros(200));
    }
}

#[pool::test]
fn a_job_that_logs_keeps_its_memory_limit() {
    isolated(|| {
        listen(LevelFilter::INFO);
        let limit = 96 << 20;
        let pool = Pool::builder().workers(1).memory_limit(limit).build().unwrap();
        let error = submit!(pool => speak_and_fill).wait().unwrap_err();
        assert_eq!(*error.kind(), pool::JobErrorKind::MemoryLimit { limit });
    });
}

#[pool::test]
fn a_job_is_a_span_under_the_one_in_which_it_was_submitted() {
    isolated(|| {
        listen(LevelFilter::INFO);
        let pool = Pool::new(1).unwrap();
        let request = tracing::info_span!("request");
        let under = request.id().unwrap().into_u64();
        let labelled = request.in_scope(|| pool.submit(call!(jobs::echo, 1).label("a.pdf")));
        let plain = submit!(pool => jobs::echo, 2);
        let ids = [labelled.id(), plain.id()];
        labelled.wait().unwrap();
        plain.wait().unwrap();
        wait_until("both spans are closed", || ids.iter().all(|id| seen().job(*id).is_closed));
        let span = seen().job(ids[0]);
        assert_eq!((span.name.as_str(), span.level), ("pool.job", Level::INFO));
        assert_eq!((span.target.as_str(), span.parent), ("pool", Some(under)));
        let expected = [
            ("job.id", format!("shown {}", ids[0])),
            ("job.name", "text pool_tests::jobs::echo".to_owned()),
            ("job.label", "text a.pdf".to_owned()),
            ("attempt", "u64 1".to_owned()),
            ("worker.id", "u64 0".to_owned()),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value));
        assert_eq!(span.fields, expected);
        let span = seen().job(ids[1]);
        assert_eq!(span.parent, None);
        assert!(!span.fields.iter().any(|(name, _)| name == "job.label"));
    });
}

#[pool::test]
fn an_event_of_a_job_appears_in_its_span_with_all_that_is_known_of_it() {
    isolated(|| {
        listen(LevelFilter::TRACE);
        let pool = Pool::new(1).unwrap();
        let request = tracing::info_span!("request");
        let job = request.in_scope(|| submit!(pool => sell, 3));
        let id = job.id();
        let line = job.wait().unwrap();
        // Without any waiting: what a job has logged is there when its handle resolves.
        let span = seen().job(id).id;
        let events = seen().events_in(span);
        let [event] = &events[..] else { panic!("{events:?}") };
        assert_eq!(event.spans, [span, request.id().unwrap().into_u64()]);
        assert_eq!((event.level, event.target.as_str()), (Level::INFO, "shop"));
        assert_eq!(event.module.as_deref(), Some(module_path!()));
        assert_eq!((event.file.as_deref(), event.line), (Some(file!()), Some(line)));
        let fields = [
            ("message", "shown sold 3"),
            ("count", "u64 3"),
            ("price", "f64 1.5"),
            ("left", "i64 -3"),
            ("open", "bool true"),
            ("name", "text pen"),
            ("who", "shown Some(1)"),
        ];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(event.fields, Fields::from(fields));
    });
}

#[pool::test]
fn events_come_in_their_order_and_before_the_handle_resolves() {
    isolated(|| {
        listen(LevelFilter::INFO);
        let pool = Pool::new(2).unwrap();
        for number in (0..200).map(|n| n * 3) {
            let job = submit!(pool => count_up_to, number);
            let id = job.id();
            job.wait().unwrap();
            let events = events_of(id);
            assert_eq!(events.len() as u64, number);
            for (n, event) in events.iter().enumerate() {
                assert_eq!(event.fields["n"], format!("u64 {n}"));
            }
            *seen() = Seen::default();
        }
    });
}

#[pool::test]
fn an_event_names_the_spans_inside_of_its_job() {
    isolated(|| {
        listen(LevelFilter::INFO);
        let pool = Pool::new(1).unwrap();
        submit!(pool => inside_of_spans).wait().unwrap();
        let expected = [
            ("shown deep", Some("text outer:inner")),
            ("shown less deep", Some("text outer")),
            ("shown outside", None),
            ("shown elsewhere", Some("text other")),
            ("shown named", Some("text its own")),
        ];
        let seen = seen();
        let events = seen.events.iter().map(|event| {
            (event.fields["message"].as_str(), event.fields.get("span").map(String::as_str))
        });
        assert_eq!(events.collect::<Vec<_>>(), expected);
    });
}

#[pool::test]
fn a_line_of_the_crate_log_appears_where_it_comes_from() {
    isolated(|| {
        listen(LevelFilter::INFO);
        let pool = Pool::new(1).unwrap();
        submit!(pool => log_line).wait().unwrap();
        let seen = seen();
        let [event] = &seen.events[..] else { panic!("{:?}", seen.events) };
        assert_eq!((event.level, event.target.as_str()), (Level::WARN, "shop::till"));
        assert_eq!((event.file.as_deref(), event.line), (Some("till.rs"), Some(7)));
        assert_eq!(event.module.as_deref(), Some("shop"));
        assert_eq!(event.fields["message"], "shown out of change");
        assert_eq!(event.fields.len(), 1);
    });
}

#[pool::test]
fn tasks_and_threads_of_a_job_are_heard_too() {
    isolated(|| {
        listen(LevelFilter::INFO);
        let pool = Pool::new(1).unwrap();
        let job = submit!(pool => asynchronous);
        let id = job.id();
        job.wait().unwrap();
        let events = events_of(id);
        let said: Vec<_> = events.iter().map(|event| event.fields["message"].as_str()).collect();
        assert_eq!(said, ["shown before", "shown from a task", "shown from a thread"]);
    });
}

#[pool::test]
fn each_attempt_is_recorded_and_the_last_words_of_a_crash_are_heard() {
    isolated(|| {
        listen(LevelFilter::INFO);
        let pool = Pool::new(1).unwrap();
        let retry = RetryPolicy::attempts(3);
        let call = call!(jobs::die_before, 3, Death::Abort).retry(retry);
        let job = pool.submit(call);
        let id = job.id();
        assert_eq!(job.wait().unwrap(), 3);
        let fields = seen().job(id).fields;
        let attempts = fields.iter().filter(|(name, _)| name == "attempt");
        let attempts: Vec<_> = attempts.map(|(_, value)| value.as_str()).collect();
        assert_eq!(attempts, ["u64 1", "u64 2", "u64 3"]);
        for how in [Death::Abort, Death::Exit(3), Death::Panic] {
            let job = submit!(pool => log_and_die, how);
            let id = job.id();
            job.wait().unwrap_err();
            let events = events_of(id);
            assert_eq!(events.len(), 1, "{how:?}: {events:?}");
            assert_eq!(events[0].fields["message"], "shown the last words");
        }
    });
}

#[pool::test]
fn without_a_subscriber_in_the_host_nothing_is_enabled_in_a_worker() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let (level, enabled) = submit!(pool => levels).wait().unwrap();
        assert_eq!((level.as_str(), enabled), ("off", vec![false; 5]));
        // Nothing was put in the way of a job that brings its own.
        assert!(submit!(pool => subscribe_by_itself).wait().unwrap());
    });
}

#[pool::test]
fn a_worker_forwards_what_the_host_takes_at_the_start_of_each_job() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let worker = submit!(pool => jobs::pid).wait().unwrap();
        for (filter, number) in [
            (LevelFilter::INFO, 3),
            (LevelFilter::TRACE, 5),
            (LevelFilter::ERROR, 1),
            (LevelFilter::DEBUG, 4),
            (LevelFilter::OFF, 0),
            (LevelFilter::WARN, 2),
        ] {
            let subscriber = Dispatch::new(remember(filter));
            let (level, enabled) = tracing::dispatcher::with_default(&subscriber, || {
                submit!(pool => levels).wait().unwrap()
            });
            assert_eq!(level, filter.to_string());
            assert_eq!(enabled, (0..5).map(|n| n < number).collect::<Vec<_>>());
            // Through the subscriber of the submitter's thread, which the driver does not have.
            assert_eq!(std::mem::take(&mut *seen()).events.len(), number);
        }
        assert_eq!(submit!(pool => jobs::pid).wait().unwrap(), worker);
    });
}

#[pool::test]
fn events_appear_in_the_submitters_span_where_spans_of_jobs_are_not_taken() {
    isolated(|| {
        listen(LevelFilter::WARN);
        let pool = Pool::new(1).unwrap();
        let request = tracing::error_span!("request");
        request.in_scope(|| submit!(pool => levels)).wait().unwrap();
        let request = request.id().unwrap().into_u64();
        let seen = seen();
        assert_eq!(seen.spans.len(), 1);
        let spans: Vec<_> = seen.events.iter().map(|event| event.spans.clone()).collect();
        assert_eq!(spans, [[request], [request]]);
    });
}

#[pool::test]
fn a_record_is_cut_to_its_limit() {
    isolated(|| {
        listen(LevelFilter::INFO);
        let pool = Pool::new(1).unwrap();
        submit!(pool => huge).wait().unwrap();
        let seen = seen();
        let [event] = &seen.events[..] else { panic!("{:?}", seen.events.len()) };
        let total: usize = event.fields.values().map(String::len).sum();
        assert!((1000..9000).contains(&total), "{total}");
        assert!(event.fields["message"].trim_end_matches('é').len() < 10);
    });
}

#[pool::test]
fn a_subscriber_that_a_start_hook_installs_wins() {
    isolated(|| {
        listen(LevelFilter::TRACE);
        let own = scratch("own");
        let pool = Pool::builder().workers(1).env(OWN, &own).build().unwrap();
        submit!(pool => sell, 1).wait().unwrap();
        submit!(pool => sell, 1).wait().unwrap();
        assert_eq!(lines(&own), ["shop", "shop"]);
        assert!(seen().events.is_empty());
        assert_eq!(seen().spans.len(), 2);
    });
}

/// Panics in everything it is told.
struct Panics;

impl Subscriber for Panics {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::INFO)
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {
        panic!("record");
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {
        panic!("event");
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}

    fn try_close(&self, _: Id) -> bool {
        panic!("close");
    }
}

#[pool::test]
fn a_subscriber_that_panics_ends_nobody() {
    isolated(|| {
        tracing::subscriber::set_global_default(Panics).unwrap();
        let pool = Pool::new(2).unwrap();
        for n in 0..20 {
            submit!(pool => count_up_to, n).wait().unwrap();
        }
        assert!(submit!(pool => jobs::die, Death::Abort).wait().unwrap_err().is_crash());
        assert_eq!(submit!(pool => jobs::echo, 7).wait().unwrap(), 7);
    });
}

static SUBMITS_TO: Mutex<Option<Pool>> = Mutex::new(None);
static SUBMITTED: AtomicU64 = AtomicU64::new(0);

/// Submits a job, and cancels another, at everything it is told.
struct Submits;

impl Submits {
    fn submit() {
        let pool = SUBMITS_TO.lock().unwrap().clone();
        if let Some(pool) = pool.filter(|_| SUBMITTED.fetch_add(1, Ordering::SeqCst) < 1000) {
            drop(submit!(pool => jobs::echo, 1));
            submit!(pool => jobs::echo, 2).cancel();
        }
    }
}

impl<S: Subscriber> Layer<S> for Submits {
    fn on_new_span(&self, _: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        Self::submit();
    }

    fn on_record(&self, _: &Id, _: &Record<'_>, _: Context<'_, S>) {
        Self::submit();
    }

    fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
        Self::submit();
    }

    fn on_close(&self, _: Id, _: Context<'_, S>) {
        Self::submit();
    }
}

#[pool::test]
fn a_subscriber_that_submits_and_cancels_jobs_does_no_harm() {
    isolated(|| {
        let subscriber = tracing_subscriber::registry().with(Submits).with(LevelFilter::INFO);
        tracing::subscriber::set_global_default(subscriber).unwrap();
        let pool = Pool::new(2).unwrap();
        *SUBMITS_TO.lock().unwrap() = Some(pool.clone());
        let jobs: Vec<_> = (0..50).map(|n| submit!(pool => count_up_to, n)).collect();
        jobs.into_iter().for_each(|job| job.wait().unwrap());
        wait_until("it has submitted all that it will", || {
            drop(submit!(pool => count_up_to, 10));
            SUBMITTED.load(Ordering::SeqCst) >= 1000
        });
        drop(SUBMITS_TO.lock().unwrap().take());
        pool::block_on(pool.close());
    });
}

/// Workers of which the first misbehaves like this.
fn hostile(how: &str, file: &Path) -> Pool {
    let builder = Pool::builder().workers(1).max_payload(1 << 20);
    let builder = builder.executable(env!("CARGO_BIN_EXE_puppet-hostile"));
    builder.args([how.as_ref(), file.as_os_str()]).build().unwrap()
}

#[pool::test]
fn beyond_the_room_for_places_an_event_has_its_origin_in_fields() {
    isolated(|| {
        listen(LevelFilter::TRACE);
        let pool = hostile("logs from everywhere", &scratch("hostile"));
        submit!(pool => jobs::pid).wait().unwrap();
        let seen = seen();
        assert_eq!(seen.events.len(), 50_000);
        let first = &seen.events[0];
        assert_eq!((first.target.as_str(), first.line), ("place 0", Some(7)));
        assert_eq!(first.fields["message"], "text hello");
        let last = seen.events.last().unwrap();
        assert_eq!((last.target.as_str(), last.line), ("pool", None));
        assert_eq!(last.level, Level::WARN);
        assert_eq!(last.fields["message"], "text hello");
        assert_eq!(last.fields["log.target"], "text place 49999");
        assert_eq!(last.fields["log.file"], "text a.rs");
        assert_eq!(last.fields["log.line"], "u64 7");
        assert_eq!(last.fields["fields"], "text number=9");
    });
}
