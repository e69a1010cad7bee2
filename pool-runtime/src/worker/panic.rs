//! What a panicking job says: message, place and backtrace, reported to the host once.
//!
//! The hook notes what it sees if the panic is on the job's own thread, inside a job, and is
//! silent; the host gets the note instead. Panics of other threads go to the hook that was there
//! before. A second panic may be the kind that nothing catches (while the first one unwinds, or out
//! of a function that must not): then the process aborts and no note reaches the host, hence the
//! first note and all later panics are printed too. A program built with `panic = "abort"` never comes back from the hook: there it hands
//! the note over itself.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::Write as _;
use std::panic::PanicHookInfo;
use std::sync::Once;

use crate::wire::PanicReport;

/// How many panics of one job are remembered: a job may catch any number of its own.
const REMEMBERED: usize = 16;

thread_local! {
    static IN_JOB: Cell<bool> = const { Cell::new(false) };
    static NOTED: RefCell<VecDeque<PanicReport>> = const { RefCell::new(VecDeque::new()) };
    /// There may be something in it: hardly any job has to look.
    static HAS_NOTED: Cell<bool> = const { Cell::new(false) };
}

/// Puts the hook in place, once. `last_words` is called where the panic aborts the process; without
/// it the hook that was there before has them.
pub(super) fn install(last_words: Option<impl Fn(PanicReport) + Send + Sync + 'static>) {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| put_in_place(last_words));
}

fn put_in_place(last_words: Option<impl Fn(PanicReport) + Send + Sync + 'static>) {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !IN_JOB.get() {
            return before(info);
        }
        let report = note(info);
        if cfg!(panic = "abort") {
            match &last_words {
                Some(last_words) => last_words(report),
                None => before(info),
            }
        } else {
            let earlier = NOTED.with_borrow(VecDeque::len);
            if earlier > 0 {
                before(info);
            }
            // Last, since that one is the cause, and the other brings a long backtrace.
            if earlier == 1 {
                print_first_note();
            }
            HAS_NOTED.set(true);
            NOTED.with_borrow_mut(|noted| {
                noted.truncate(REMEMBERED - 1);
                noted.push_front(report);
            });
        }
    }));
}

fn print_first_note() {
    NOTED.with_borrow(|noted| {
        if let Some(PanicReport { message, location, .. }) = noted.front() {
            let place = location.as_ref().map(|(file, line, _)| format!(" at {file}:{line}"));
            // `eprintln` would panic itself where stderr is closed.
            let _ = writeln!(
                std::io::stderr(),
                "a job panicked{}: {message}",
                place.unwrap_or_default()
            );
        }
    });
}

/// Runs a job, or within it a maker of a state; a panic of it ends here.
pub(super) fn catch<T>(job: impl FnOnce() -> T) -> Result<T, PanicReport> {
    let is_inner = IN_JOB.replace(true);
    // Around a job there are none.
    let outer = is_inner.then(|| NOTED.take());
    // By a pointer: what runs there is moved about first, and so is what it gives.
    let (mut job, mut done) = (Some(job), None);
    let mut run = || done = job.take().map(|job| job());
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(&mut run));
    IN_JOB.set(is_inner);
    if let Err(payload) = caught {
        return Err(report(payload, restore_notes(outer)));
    }
    if is_inner || HAS_NOTED.get() {
        restore_notes(outer);
    }
    match done {
        Some(done) => Ok(done),
        None => Err(PanicReport::default()),
    }
}

/// Takes the notes of what is over, and puts those of what is around it back.
#[cold]
fn restore_notes(outer: Option<VecDeque<PanicReport>>) -> VecDeque<PanicReport> {
    let outer = outer.unwrap_or_default();
    HAS_NOTED.set(!outer.is_empty());
    NOTED.replace(outer)
}

#[cold]
fn report(payload: Box<dyn Any + Send>, noted: VecDeque<PanicReport>) -> PanicReport {
    let message = message_of(&*payload);
    drop_payload(payload);
    // The payload is what ended the job; the other notes are of panics that it has caught.
    // Without a note the panic was resumed, or the user's hook replaced ours.
    let note = noted.into_iter().find(|note| note.message == message);
    note.unwrap_or(PanicReport { message, ..PanicReport::default() })
}

/// Place and message, to stand behind the word "panicked".
pub(super) fn in_short(report: PanicReport) -> String {
    let place = report.location.map(|(file, line, column)| format!(" at {file}:{line}:{column}"));
    format!("{}: {}", place.unwrap_or_default(), report.message)
}

fn note(info: &PanicHookInfo<'_>) -> PanicReport {
    let backtrace = Backtrace::capture();
    let captured = backtrace.status() == BacktraceStatus::Captured;
    PanicReport {
        message: message_of(info.payload()),
        location: info.location().map(|at| (at.file().to_owned(), at.line(), at.column())),
        backtrace: captured.then(|| backtrace.to_string()),
    }
}

fn message_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic whose payload is no string").to_owned()
}

/// The payload is the user's, and may panic once more when it is dropped.
fn drop_payload(payload: Box<dyn Any + Send>) {
    let drop = std::panic::AssertUnwindSafe(|| drop(payload));
    if let Err(again) = std::panic::catch_unwind(drop) {
        std::mem::forget(again);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_without_a_hook_is_the_message() {
        assert_eq!(catch(|| 7), Ok(7));
        let report = catch(|| std::panic::resume_unwind(Box::new("boom"))).unwrap_err();
        assert_eq!(report.message, "boom");
        let report = catch(|| std::panic::resume_unwind(Box::new(7))).unwrap_err();
        assert_eq!(report.message, "a panic whose payload is no string");
    }

    #[test]
    fn the_note_is_of_the_panic_that_ended_the_job() {
        let note = |message: &str, line| {
            let location = Some(("a.rs".to_owned(), line, 1));
            let report = PanicReport { message: message.to_owned(), location, backtrace: None };
            NOTED.with_borrow_mut(|noted| noted.push_front(report));
        };
        let report = catch(|| {
            note("boom", 1);
            note("boom", 2);
            note("caught on the way", 3);
            std::panic::resume_unwind(Box::new("boom"));
        });
        assert_eq!(report.unwrap_err().location.unwrap().1, 2);
        let report = catch(|| std::panic::resume_unwind(Box::new("boom"))).unwrap_err();
        assert_eq!(report.location, None);
    }

    #[test]
    fn a_payload_that_panics_when_dropped_is_survived() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                std::panic::resume_unwind(Box::new("again"));
            }
        }
        assert!(catch(|| std::panic::resume_unwind(Box::new(Bomb))).is_err());
    }
}
