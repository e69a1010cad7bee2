//! [`Meter`]: what is shown of a stream, and when.

use std::future::Future;
use std::io::{self, IsTerminal as _, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::bar::Bar;
use super::tally::{Row, Tally};
use crate::happening::PoolEvent;
use crate::host::{Subscription, Timer, sleep_until};

/// The environment variable that says what is shown.
const VARIABLE: &str = "POOL_PROGRESS";
/// Between two looks of the bar at its stream.
const BAR_INTERVAL: Duration = Duration::from_millis(100);
/// Running jobs that are shown.
const ROWS: usize = 8;
/// Events of the pool that are read at one look.
const EVENTS_AT_ONCE: usize = 8192;

/// Shows how far a stream is.
#[derive(Debug)]
pub(crate) struct Meter {
    tally: Tally,
    started: Instant,
    state: State,
    /// Wakes whoever polls the stream, when something is due.
    timer: Option<Pin<Box<Timer>>>,
}

#[derive(Debug)]
enum State {
    /// The stream was not polled yet.
    New,
    Plain,
    Bar {
        bar: Bar,
        next: Duration,
        lines: Subscription,
    },
    Over,
}

/// What the running jobs come to.
#[derive(Debug, Default)]
pub(crate) struct Running {
    rows: Vec<Row>,
    retried: u64,
}

impl Running {
    /// One more; `row` if it runs at this moment.
    pub(crate) fn add(&mut self, attempts: u32, row: impl FnOnce() -> Option<Row>) {
        self.retried += u64::from(attempts.saturating_sub(1));
        if self.rows.len() < ROWS {
            self.rows.extend(row());
        }
    }
}

impl Meter {
    /// `None` if nothing is to be shown.
    pub(crate) fn new(name: String) -> Option<Meter> {
        let is_wanted = std::env::var(VARIABLE).as_deref() != Ok("none");
        let tally = Tally::new(name);
        let meter = Meter { tally, started: Instant::now(), state: State::New, timer: None };
        is_wanted.then_some(meter)
    }

    /// The stream was not polled yet.
    pub(crate) fn is_new(&self) -> bool {
        matches!(self.state, State::New)
    }

    /// The stream is polled for the first time.
    pub(crate) fn begin(&mut self, total: Option<usize>, events: impl FnOnce() -> Subscription) {
        self.started = Instant::now();
        self.tally.set_total(total.map(|total| total as u64));
        self.state = match is_bar_wanted().then(|| Bar::new(&self.tally)).flatten() {
            Some(bar) => State::Bar { bar, next: Duration::ZERO, lines: events() },
            None => State::Plain,
        };
    }

    /// A result is given. True if something is to be [shown](Self::show).
    #[must_use = "it is due"]
    pub(crate) fn ended(&mut self, is_failed: bool, attempts: u32) -> bool {
        self.tally.ended(is_failed, attempts);
        let now = self.started.elapsed();
        match &self.state {
            State::Plain => self.tally.take_line(now),
            State::Bar { next, .. } => now >= *next,
            State::New | State::Over => false,
        }
    }

    /// The stream waits. Ready if something is to be shown, else `cx` is told when that is so.
    pub(crate) fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let due = match &self.state {
            State::Plain => self.tally.next_line(),
            State::Bar { next, .. } => *next,
            State::New | State::Over => return Poll::Pending,
        };
        let now = self.started.elapsed();
        if now < due {
            if self.timer.is_none() {
                self.timer = self.started.checked_add(due).and_then(sleep_until).map(Box::pin);
            }
            // Without a timer it is shown when the stream is polled anyway.
            let Some(timer) = self.timer.as_mut() else { return Poll::Pending };
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            // It was set when something was due earlier, or later.
            self.timer = None;
            return self.poll_due(cx);
        }
        self.timer = None;
        if let State::Plain = self.state {
            let _ = self.tally.take_line(now);
        }
        Poll::Ready(())
    }

    /// Shows how far it is.
    pub(crate) fn show(&mut self, running: Running) {
        let now = self.started.elapsed();
        let text = self.tally.now(running.retried, now);
        match &mut self.state {
            State::Plain => write(&self.tally.line(&text)),
            State::Bar { bar, next, lines } => {
                print_lines(bar, lines);
                bar.draw(&self.tally, text, &running.rows);
                *next = now + BAR_INTERVAL;
            }
            State::New | State::Over => {}
        }
    }

    /// The stream has ended, or is dropped before that.
    pub(crate) fn end(&mut self, is_whole: bool) {
        let is_whole = self.tally.total().map_or(is_whole, |total| self.tally.done() >= total);
        let text = self.tally.at_end(is_whole, self.started.elapsed());
        match std::mem::replace(&mut self.state, State::Over) {
            State::Plain => write(&self.tally.line(&text)),
            State::Bar { bar, lines, .. } => {
                print_lines(&bar, &lines);
                bar.end();
                write(&self.tally.line(&text));
            }
            State::New | State::Over => {}
        }
        self.timer = None;
    }
}

/// A bar needs a terminal in any case: what moves the cursor has no place in a file.
fn is_bar_wanted() -> bool {
    let is_dumb = || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    match std::env::var(VARIABLE).as_deref() {
        Ok("plain") => false,
        Ok("bar") => io::stderr().is_terminal(),
        _ => io::stderr().is_terminal() && !is_dumb(),
    }
}

/// What the workers have printed goes above the bar.
fn print_lines(bar: &Bar, events: &Subscription) {
    let mut cx = Context::from_waker(Waker::noop());
    let mut lines = Vec::new();
    // Bounded: the workers may print faster than a terminal shows it.
    for _ in 0..EVENTS_AT_ONCE {
        match events.poll_next(&mut cx) {
            Poll::Ready(Some(PoolEvent::Output { line, .. })) => lines.push(line),
            Poll::Ready(Some(_)) => {}
            Poll::Ready(None) | Poll::Pending => break,
        }
    }
    if !lines.is_empty() {
        bar.print(&lines);
    }
}

/// In one piece, so that lines of others do not cut it. A stderr that is gone is nobody's loss.
fn write(line: &str) {
    let _ = io::stderr().lock().write_all(line.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::tally::LINE_INTERVAL;

    #[test]
    fn a_stream_that_waits_is_woken_for_its_next_line() {
        let just_before = LINE_INTERVAL - Duration::from_millis(50);
        let mut meter = Meter {
            tally: Tally::new("held".to_owned()),
            started: Instant::now().checked_sub(just_before).unwrap(),
            state: State::Plain,
            timer: None,
        };
        let began = Instant::now();
        crate::block_on(std::future::poll_fn(|cx| meter.poll_due(cx)));
        assert!(began.elapsed() < LINE_INTERVAL / 2);
        // Half a minute from then on.
        let mut cx = Context::from_waker(Waker::noop());
        assert!(meter.poll_due(&mut cx).is_pending());
        assert!(meter.timer.is_some());
    }
}
