//! Counts of a stream, and what they come to in words. Time comes in as a value.

use std::fmt::Write as _;
use std::time::Duration;

use crate::stats::Progress;

/// A line at least this often, if anything is said at all.
pub(super) const LINE_INTERVAL: Duration = Duration::from_secs(30);

/// How the jobs of a stream have ended so far.
#[derive(Debug)]
pub(super) struct Tally {
    name: String,
    total: Option<u64>,
    done: u64,
    failed: u64,
    retried: u64,
    /// What the last line said: tenths of the whole, and when.
    tenths: u64,
    said: Duration,
}

/// A job that is running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// Which input it is.
    pub(crate) label: String,
    pub(crate) attempt: u32,
    pub(crate) progress: Option<Progress>,
}

impl Tally {
    pub(super) fn new(name: String) -> Tally {
        let name = plain(&name);
        let said = Duration::ZERO;
        Tally { name, total: None, done: 0, failed: 0, retried: 0, tenths: 0, said }
    }

    pub(super) fn set_total(&mut self, total: Option<u64>) {
        self.total = total;
    }

    #[cfg_attr(not(feature = "progress"), expect(dead_code, reason = "for the bar"))]
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn done(&self) -> u64 {
        self.done
    }

    pub(super) fn total(&self) -> Option<u64> {
        self.total
    }

    /// One more job has ended, in this attempt.
    pub(super) fn ended(&mut self, is_failed: bool, attempts: u32) {
        self.done += 1;
        self.failed += u64::from(is_failed);
        self.retried += u64::from(attempts.saturating_sub(1));
    }

    /// Whether it is time for a line: a tenth of the whole, or half a minute. If so, that time
    /// begins anew. The last tenth is told by the line at the end.
    pub(super) fn take_line(&mut self, now: Duration) -> bool {
        let tenths = self.total.map_or(0, |total| tenths(self.done, total));
        let is_tenth = tenths > self.tenths && Some(self.done) != self.total;
        let is_due = is_tenth || now >= self.next_line();
        if is_due {
            self.tenths = tenths;
            self.said = now;
        }
        is_due
    }

    /// When a line is due however little has happened.
    pub(super) fn next_line(&self) -> Duration {
        self.said.saturating_add(LINE_INTERVAL)
    }

    /// As in `30 of 100 (30 %), 2 failed, 1 retried, 12/s, 6 s left`; `retried` on top are attempts
    /// of jobs that have not ended.
    pub(super) fn now(&self, retried: u64, now: Duration) -> String {
        let mut text = self.counts(retried);
        let seconds = now.as_secs_f64();
        if self.done > 0 && seconds > 0.0 {
            let rate = self.done as f64 / seconds;
            let _ = write!(text, ", {}", Rate(rate));
            if let Some(left) = self.total.and_then(|total| total.checked_sub(self.done)) {
                let left = Duration::try_from_secs_f64(left as f64 / rate).unwrap_or(Duration::MAX);
                let _ = write!(text, ", {} left", length(left));
            }
        }
        text
    }

    /// The same, of a stream that has ended, or was dropped.
    pub(super) fn at_end(&self, is_whole: bool, now: Duration) -> String {
        let stopped = if is_whole { "" } else { "stopped at " };
        format!("{stopped}{}, in {}", self.counts(0), length(now))
    }

    /// As a line of its own.
    pub(super) fn line(&self, text: &str) -> String {
        format!("{}: {text}\n", self.name)
    }

    fn counts(&self, retried: u64) -> String {
        let mut text = match self.total {
            Some(total) => {
                let percent = percent(self.done, total);
                format!("{} of {total} ({percent} %)", self.done)
            }
            None => format!("{} done", self.done),
        };
        for (count, what) in [(self.failed, "failed"), (self.retried + retried, "retried")] {
            if count > 0 {
                let _ = write!(text, ", {count} {what}");
            }
        }
        text
    }
}

impl Row {
    /// As in `a.pdf, attempt 2: 3 of 10 (30 %), reading`.
    #[cfg_attr(not(any(test, feature = "progress")), expect(dead_code, reason = "for the bar"))]
    pub(super) fn text(&self) -> String {
        let mut text = plain(&self.label);
        if self.attempt > 1 {
            let _ = write!(text, ", attempt {}", self.attempt);
        }
        let Some(Progress { done, total, message }) = &self.progress else { return text };
        let how_far = match (*done, *total) {
            (0, 0) => None,
            (done, 0) => Some(done.to_string()),
            (done, total) => Some(format!("{done} of {total} ({} %)", percent(done, total))),
        };
        let parts = how_far.into_iter().chain(message.as_deref().map(plain));
        let parts: Vec<_> = parts.filter(|part| !part.is_empty()).collect();
        if !parts.is_empty() {
            let _ = write!(text, ": {}", parts.join(", "));
        }
        text
    }
}

fn tenths(done: u64, total: u64) -> u64 {
    parts(done, total, 10)
}

fn percent(done: u64, total: u64) -> u64 {
    parts(done, total, 100)
}

fn parts(done: u64, total: u64, whole: u32) -> u64 {
    let parts = u128::from(done) * u128::from(whole) / u128::from(total.max(1));
    // A job may say what it likes.
    u64::try_from(parts).unwrap_or(u64::MAX)
}

/// So many in a second.
struct Rate(f64);

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            rate if rate >= 9.95 => write!(f, "{rate:.0}/s"),
            rate if rate >= 0.95 => write!(f, "{rate:.1}/s"),
            rate => write!(f, "{:.1}/min", rate * 60.0),
        }
    }
}

/// In its two largest units.
fn length(length: Duration) -> String {
    let seconds = length.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {} min", minutes % 60),
        (..=9999, _, _) => format!("{days} d {} h", hours % 24),
        _ => "ages".to_owned(),
    }
}

/// Without what moves the cursor or changes colours: this goes to a terminal that is drawn upon.
pub(super) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\t' | '\n' => out.push(' '),
            // As in `ESC [ 31 m`.
            '\u{1b}' if chars.as_str().starts_with('[') => {
                chars.next();
                let _ = chars.by_ref().find(|c| ('@'..='~').contains(c));
            }
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn tally(total: Option<u64>) -> Tally {
        let mut tally = Tally::new("resize".to_owned());
        tally.set_total(total);
        tally
    }

    #[test]
    fn a_line_is_due_with_every_tenth_and_every_half_minute() {
        let mut tally = tally(Some(50));
        let mut lines = Vec::new();
        for n in 1..=50 {
            tally.ended(false, 1);
            if tally.take_line(Duration::from_millis(n)) {
                lines.push(n);
            }
        }
        assert_eq!(lines, [5, 10, 15, 20, 25, 30, 35, 40, 45]);
        assert!(!tally.take_line(29 * SECOND));
        assert_eq!(tally.next_line(), Duration::from_millis(30_045));
        assert!(tally.take_line(31 * SECOND));
        assert!(!tally.take_line(32 * SECOND));
    }

    #[test]
    fn without_a_total_a_line_is_due_every_half_minute() {
        let mut tally = tally(None);
        let mut lines = Vec::new();
        for n in 1..=100 {
            tally.ended(false, 1);
            if tally.take_line(n * SECOND) {
                lines.push(n);
            }
        }
        assert_eq!(lines, [30, 60, 90]);
    }

    #[test]
    fn few_jobs_are_a_line_each() {
        let mut tally = tally(Some(3));
        for n in 1..=3 {
            tally.ended(false, 1);
            assert_eq!(tally.take_line(n * SECOND), n < 3);
        }
        assert!(!tally.take_line(4 * SECOND));
    }

    #[test]
    fn numbers_become_words() {
        let mut tally = tally(Some(1000));
        assert_eq!(tally.now(0, Duration::ZERO), "0 of 1000 (0 %)");
        assert_eq!(tally.now(2, SECOND), "0 of 1000 (0 %), 2 retried");
        (0..299).for_each(|_| tally.ended(false, 1));
        tally.ended(true, 3);
        let text = "300 of 1000 (30 %), 1 failed, 2 retried, 30/s, 23 s left";
        assert_eq!(tally.now(0, 10 * SECOND), text);
        assert_eq!(tally.line("text"), "resize: text\n");
        let text = "stopped at 300 of 1000 (30 %), 1 failed, 2 retried, in 10 s";
        assert_eq!(tally.at_end(false, 10 * SECOND), text);
        tally.set_total(None);
        assert_eq!(tally.now(1, 300 * SECOND), "300 done, 1 failed, 3 retried, 1.0/s");
        assert_eq!(tally.at_end(true, 61 * SECOND), "300 done, 1 failed, 2 retried, in 1 min 1 s");
    }

    #[test]
    fn totals_that_are_wrong_do_no_harm() {
        let mut tally = tally(Some(0));
        assert_eq!(tally.now(0, SECOND), "0 of 0 (0 %)");
        tally.ended(false, 0);
        assert_eq!(tally.now(0, SECOND), "1 of 0 (100 %), 1.0/s");
        let progress = Some(Progress { done: u64::MAX, total: 1, message: None });
        let row = Row { label: "a".to_owned(), attempt: 1, progress };
        assert!(row.text().starts_with("a: 18446744073709551615 of 1"));
    }

    #[test]
    fn a_running_job_says_how_far_it_is() {
        let row = |attempt, progress| {
            let progress: Option<(u64, u64, Option<&str>)> = progress;
            let progress = progress.map(|(done, total, message)| Progress {
                done,
                total,
                message: message.map(str::to_owned),
            });
            Row { label: "a.pdf".to_owned(), attempt, progress }.text()
        };
        assert_eq!(row(1, None), "a.pdf");
        assert_eq!(row(2, None), "a.pdf, attempt 2");
        assert_eq!(row(1, Some((3, 10, None))), "a.pdf: 3 of 10 (30 %)");
        assert_eq!(row(1, Some((3, 0, Some("pages")))), "a.pdf: 3, pages");
        assert_eq!(row(1, Some((0, 0, Some("reads\r\non")))), "a.pdf: reads on");
        assert_eq!(row(1, Some((0, 0, None))), "a.pdf");
    }

    #[test]
    fn lengths_have_two_units() {
        let text = |seconds| length(Duration::from_secs(seconds));
        let texts = [0, 59, 60, 3599, 3600, 90_000, u64::MAX].map(text);
        let expected = ["0 s", "59 s", "1 min 0 s", "59 min 59 s", "1 h 0 min", "1 d 1 h", "ages"];
        assert_eq!(texts, expected);
        let rates = [0.01, 0.5, 1.0, 9.94, 10.0, 12_345.6].map(|rate| Rate(rate).to_string());
        assert_eq!(rates, ["0.6/min", "30.0/min", "1.0/s", "9.9/s", "10/s", "12346/s"]);
    }

    #[test]
    fn what_moves_the_cursor_is_taken_out() {
        assert_eq!(plain("\u{1b}[31mred\u{1b}[0m and\r\u{7}\tblue\u{1b}"), "red and blue");
        assert_eq!(plain("\u{1b}[2Jx\u{1b}["), "x");
    }
}
