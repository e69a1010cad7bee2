//! Spans of jobs in the host, and events inside them.

use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::field::Empty;
use tracing::level_filters::LevelFilter;
use tracing::{Dispatch, Level, Span, dispatcher};

use super::sites::Record;
use crate::error::Subject;

thread_local! {
    /// A subscriber is being told of a job. A job that it submits meanwhile has no span: it would
    /// be told of that one, too, and so on without end.
    static TELLING: Cell<bool> = const { Cell::new(false) };
}

/// The span of one job; `None` inside where nobody listened when it was submitted.
#[derive(Clone, Debug, Default)]
pub(crate) struct JobSpan(Option<Arc<Inner>>);

struct Inner {
    /// The job's; the submitter's where the subscriber does not take the job's.
    span: Span,
    subscriber: Dispatch,
    /// The attempt that was started last and the slot where that is; zero before that.
    given: AtomicU64,
    /// The same, as the span was told.
    told: AtomicU64,
}

impl JobSpan {
    /// The span of a job that is submitted here and now.
    pub(crate) fn of(subject: &Subject) -> JobSpan {
        if LevelFilter::current() == LevelFilter::OFF || is_telling() {
            return JobSpan(None);
        }
        let inner = shielded(|| {
            let job = tracing::span!(
                target: "pool",
                Level::INFO,
                "pool.job",
                job.id = %subject.id,
                job.name = &*subject.name,
                job.label = subject.label.as_deref(),
                attempt = Empty,
                worker.id = Empty,
            );
            Arc::new(Inner {
                span: if job.is_disabled() { Span::current() } else { job },
                subscriber: dispatcher::get_default(Dispatch::clone),
                given: AtomicU64::new(0),
                told: AtomicU64::new(0),
            })
        });
        JobSpan(inner)
    }

    pub(crate) fn is_some(&self) -> bool {
        self.0.is_some()
    }

    /// Tells the span which attempt this is, and where; once for each.
    fn tell(&self) {
        let Some(Inner { span, given, told, .. }) = self.0.as_deref() else { return };
        let given = given.load(Ordering::Acquire);
        if given != told.swap(given, Ordering::AcqRel) {
            shielded(|| {
                span.record("attempt", given >> 32);
                span.record("worker.id", given & u64::from(u32::MAX));
            });
        }
    }

    fn emit(&self, record: &Record) {
        self.tell();
        shielded(|| match self.0.as_deref() {
            Some(inner) => inner.span.in_scope(|| record.emit(&inner.subscriber)),
            // Whoever listens by now.
            None => dispatcher::get_default(|subscriber| record.emit(subscriber)),
        });
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let span = std::mem::replace(&mut self.span, Span::none());
        shielded(|| drop(span));
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("JobSpan").field(&self.span.id()).finish()
    }
}

/// What subscribers are to be told once no lock is held, in this order.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    started: Vec<JobSpan>,
    records: Vec<(JobSpan, Record)>,
}

impl Pending {
    /// The job's worker in this slot can run it now. Under the core's lock, as all of it happens.
    pub(crate) fn started(&mut self, job: JobSpan, attempt: u32, slot: u32) {
        if let Some(inner) = &job.0 {
            inner.given.store(u64::from(attempt) << 32 | u64::from(slot), Ordering::Release);
            self.started.push(job);
        }
    }

    /// The job has logged something.
    pub(crate) fn logged(&mut self, job: JobSpan, record: Record) {
        self.records.push((job, record));
    }

    /// To be called without any lock.
    pub(crate) fn settle(&mut self) {
        self.started.drain(..).for_each(|span| span.tell());
        self.records.drain(..).for_each(|(job, record)| job.emit(&record));
    }
}

/// What `value` gives.
pub(crate) fn when_traced<T: Default>(value: impl FnOnce() -> T) -> T {
    value()
}

/// The most detailed level that any subscriber of this process takes, as [`level_number`] has it.
///
/// [`level_number`]: super::record::level_number
pub(crate) fn wanted() -> Option<u64> {
    Some(LevelFilter::current().into_level().map_or(0, |level| super::record::level_number(&level)))
}

fn is_telling() -> bool {
    TELLING.try_with(Cell::get).unwrap_or_default()
}

/// Calls a subscriber. Its panic has been told by the panic hook and ends nobody else.
fn shielded<T>(call: impl FnOnce() -> T) -> Option<T> {
    let outer = TELLING.try_with(|telling| telling.replace(true)).unwrap_or_default();
    let result = catch_unwind(AssertUnwindSafe(call));
    let _ = TELLING.try_with(|telling| telling.set(outer));
    match result {
        Ok(value) => Some(value),
        Err(payload) => {
            // It is the user's, and may panic when it is dropped.
            std::mem::forget(payload);
            None
        }
    }
}
