//! The bar on a terminal, with a row for each of some running jobs. Only this file names indicatif.

use std::fmt;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::tally::{Row, Tally, plain};

pub(super) struct Bar {
    all: MultiProgress,
    whole: ProgressBar,
    rows: Vec<ProgressBar>,
}

impl Bar {
    /// `None` where stderr is no terminal.
    pub(super) fn new(tally: &Tally) -> Option<Bar> {
        let all = MultiProgress::new();
        if all.is_hidden() {
            return None;
        }
        let whole = all.add(ProgressBar::no_length());
        let template = match tally.total() {
            Some(_) => "{prefix} [{bar:24}] {wide_msg}",
            None => "{prefix} {wide_msg}",
        };
        whole.set_style(style(template).progress_chars("=> "));
        whole.set_prefix(tally.name().to_owned());
        Some(Bar { all, whole, rows: Vec::new() })
    }

    pub(super) fn draw(&mut self, tally: &Tally, text: String, rows: &[Row]) {
        if let Some(total) = tally.total() {
            self.whole.set_length(total);
        }
        self.whole.set_position(tally.done());
        self.whole.set_message(text);
        while self.rows.len() < rows.len() {
            let row = self.all.add(ProgressBar::no_length());
            row.set_style(style("  {wide_msg}"));
            self.rows.push(row);
        }
        for row in self.rows.drain(rows.len()..) {
            row.finish_and_clear();
            self.all.remove(&row);
        }
        for (bar, row) in self.rows.iter().zip(rows) {
            bar.set_message(row.text());
        }
        // It draws when something changes, and not each time then.
        self.whole.tick();
    }

    /// Above the bar.
    pub(super) fn print(&self, lines: &[String]) {
        let lines: Vec<_> = lines.iter().map(|line| plain(line)).collect();
        // A terminal that is gone is nobody's loss.
        let _ = self.all.println(lines.join("\n"));
    }

    pub(super) fn end(self) {
        self.rows.iter().for_each(ProgressBar::finish_and_clear);
        self.whole.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl fmt::Debug for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bar").field("rows", &self.rows.len()).finish_non_exhaustive()
    }
}
