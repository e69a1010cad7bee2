//! The worker's subscriber: forwards what the host would take of what a job logs.
//!
//! It becomes the default of its process with the first job that runs while the host listens, and
//! only where nobody else is. Which job an event belongs to needs no thought: a worker runs one at
//! a time, and what happens on any thread meanwhile is counted to it.
//!
//! Spans inside of a job are not forwarded; an event names the ones around it in its field `span`,
//! from the outermost. So nothing has to be remembered of a single span, and all of one place in
//! the program have the same id.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber, callsite, dispatcher};

use super::record::{Draft, Origin, level_number, level_of};

/// Bytes of all the names of spans together.
const SPANS_TEXT: usize = 512;
/// Spans that one thread is in, as far as they are remembered.
const DEPTH: usize = 64;

/// What the host takes, as it said last.
static LEVEL: AtomicU64 = AtomicU64::new(0);
/// Whether the subscriber was tried to be made the default, and what came of it.
static STAGE: AtomicU8 = AtomicU8::new(UNTRIED);

const UNTRIED: u8 = 0;
const IN_PLACE: u8 = 1;
const YIELDED: u8 = 2;

thread_local! {
    /// The spans that this thread is in, from the outermost.
    static INSIDE: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// At the start of each job: `level` is what the host takes by now. Forwards through the outlet
/// from then on: whether a job is running, and the way to the host.
pub(crate) fn follow<O, S>(level: impl FnOnce() -> u64, outlet: impl FnOnce() -> (O, S))
where
    O: Fn() -> bool + Send + Sync + 'static,
    S: Fn(&[u8]) + Send + Sync + 'static,
{
    let level = level();
    // Nobody else changes it, and hardly ever is it another.
    if level == LEVEL.load(Ordering::Relaxed) {
        return;
    }
    LEVEL.store(level, Ordering::Relaxed);
    match STAGE.load(Ordering::Relaxed) {
        UNTRIED => {
            let (is_open, send) = outlet();
            let forward = Forward { is_open, send, spans: Mutex::default() };
            let is_first = dispatcher::set_global_default(forward.into()).is_ok();
            STAGE.store(if is_first { IN_PLACE } else { YIELDED }, Ordering::Relaxed);
        }
        IN_PLACE => callsite::rebuild_interest_cache(),
        _ => {}
    }
}

/// The record that tells how many others could not be sent.
pub(crate) fn dropped(count: u64) -> Vec<u8> {
    let origin = Origin {
        level: Level::WARN,
        line: None,
        name: "dropped",
        target: "pool",
        module: None,
        file: None,
    };
    let text =
        format!("{count} events of this job were dropped: it logs faster than they are read");
    let names = [Some("message"), Some("dropped")];
    let draft = Draft::new(&origin, names.into_iter(), "");
    draft.with_text(0, &text).with_number(1, count).into_bytes()
}

struct Forward<O, S> {
    is_open: O,
    send: S,
    /// The places in the program that have spans; an id is an index in here, plus one.
    spans: Mutex<Vec<&'static Metadata<'static>>>,
}

impl<O, S> Forward<O, S> {
    fn spans(&self) -> MutexGuard<'_, Vec<&'static Metadata<'static>>> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The names of the spans around an event.
    fn path(&self, event: &Event<'_>) -> String {
        let ids = match event.parent() {
            Some(parent) => vec![parent.into_u64()],
            None if event.is_root() => Vec::new(),
            None => INSIDE.try_with(|inside| inside.borrow().clone()).unwrap_or_default(),
        };
        if ids.is_empty() {
            return String::new();
        }
        let spans = self.spans();
        let mut path = String::new();
        for id in ids {
            let span = usize::try_from(id - 1).ok().and_then(|n| spans.get(n));
            let name = span.map_or("?", |span| span.name());
            if path.len() + name.len() < SPANS_TEXT {
                path.push_str(if path.is_empty() { "" } else { ":" });
                path.push_str(name);
            }
        }
        path
    }
}

impl<O, S> Subscriber for Forward<O, S>
where
    O: Fn() -> bool + Send + Sync + 'static,
    S: Fn(&[u8]) + Send + Sync + 'static,
{
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if is_wanted(metadata) { Interest::sometimes() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        is_wanted(metadata) && (self.is_open)()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let level = u8::try_from(LEVEL.load(Ordering::Relaxed)).ok().and_then(level_of);
        Some(level.map_or(LevelFilter::OFF, LevelFilter::from_level))
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let metadata = attributes.metadata();
        let mut spans = self.spans();
        let known = spans.iter().position(|other| other.callsite() == metadata.callsite());
        let index = known.unwrap_or_else(|| {
            spans.push(metadata);
            spans.len() - 1
        });
        Id::from_u64(index as u64 + 1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let mut origin = Origin::of(metadata);
        let mut logged = Logged::default();
        let is_logged = metadata.target() == "log" && metadata.fields().field(LOG_TARGET).is_some();
        if is_logged {
            event.record(&mut logged);
            logged.correct(&mut origin);
        }
        let fields = metadata.fields().iter().map(|field| {
            let name = field.name();
            (!is_logged || !name.starts_with("log.")).then_some(name)
        });
        let mut draft = Draft::new(&origin, fields, &self.path(event));
        event.record(&mut draft);
        (self.send)(&draft.into_bytes());
    }

    fn enter(&self, span: &Id) {
        let _ = INSIDE.try_with(|inside| {
            let mut inside = inside.borrow_mut();
            if inside.len() < DEPTH {
                inside.push(span.into_u64());
            }
        });
    }

    fn exit(&self, span: &Id) {
        let _ = INSIDE.try_with(|inside| {
            let mut inside = inside.borrow_mut();
            if let Some(n) = inside.iter().rposition(|id| *id == span.into_u64()) {
                inside.remove(n);
            }
        });
    }
}

fn is_wanted(metadata: &Metadata<'_>) -> bool {
    level_number(metadata.level()) <= LEVEL.load(Ordering::Relaxed)
}

const LOG_TARGET: &str = "log.target";

/// What an event that was a line of the crate `log` says of its origin, in fields.
#[derive(Default)]
struct Logged {
    target: Option<String>,
    module: Option<String>,
    file: Option<String>,
    line: Option<u32>,
}

impl Logged {
    fn correct<'a>(&'a self, origin: &mut Origin<'a>) {
        origin.target = self.target.as_deref().unwrap_or(origin.target);
        origin.module = self.module.as_deref();
        origin.file = self.file.as_deref();
        origin.line = self.line;
    }
}

impl Visit for Logged {
    fn record_str(&mut self, field: &Field, value: &str) {
        let text = match field.name() {
            LOG_TARGET => &mut self.target,
            "log.module_path" => &mut self.module,
            "log.file" => &mut self.file,
            _ => return,
        };
        *text = Some(value.to_owned());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "log.line" {
            self.line = u32::try_from(value).ok();
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}
