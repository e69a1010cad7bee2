//! What was measured, as Markdown: the goals first, then everybody's figures.

use std::fmt::Write as _;
use std::process::Command;

use crate::contest::{Contestant, Goal, figure, median, ratios, spread};

#[derive(Default)]
pub(crate) struct Report {
    goals: String,
    figures: String,
}

impl Report {
    /// Takes up a contest whose first contestant is the pool.
    pub(crate) fn take(&mut self, work: &str, unit: &str, contestants: &[Contestant<'_>]) {
        eprintln!("done: {work}");
        let _ = writeln!(self.figures, "\n### {work}\n");
        let _ = writeln!(
            self.figures,
            "| | {unit} | lowest – highest | pool ÷ this |\n|---|---|---|---|"
        );
        let first = &contestants[0].rounds;
        for (n, contestant) in contestants.iter().enumerate() {
            let beside = ratios(first, &contestant.rounds);
            let _ = writeln!(
                self.figures,
                "| {} | {} | {} | {} |",
                contestant.name,
                figure(contestant.median()),
                spread(&contestant.rounds),
                figure(median(beside.clone())),
            );
            let Some(goal) = contestant.goal else { continue };
            let (beside, values) =
                if n == 0 { ("itself", first.clone()) } else { (&*contestant.name, beside) };
            self.judge(work, beside, &values, goal);
        }
    }

    /// A row in the table of goals.
    pub(crate) fn judge(&mut self, work: &str, beside: &str, values: &[f64], goal: Goal) {
        let value = median(values.to_vec());
        let verdict = if goal.met(value) { "met" } else { "not met" };
        let _ = writeln!(
            self.goals,
            "| {work} | {beside} | {} | {} | {} | {verdict} |",
            figure(value),
            spread(values),
            goal.text()
        );
    }

    /// The whole page.
    pub(crate) fn page(&self, rounds: usize, took: u64) -> String {
        let Report { goals, figures } = self;
        let cores = std::thread::available_parallelism().map_or(0, |n| n.get());
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let system = std::env::consts::OS;
        let rustc = Command::new("rustc").arg("--version").output().map(|it| it.stdout);
        let rustc = String::from_utf8(rustc.unwrap_or_default()).unwrap_or_default();
        format!(
            "# The pool beside its peers\n\n\
             Written by `cargo run --release --manifest-path pool-runtime/benches/peers/Cargo.toml`; \
             what is measured how is said at the head of each file in `src`.\n\n\
             {cores} cores that were shared with other work while this ran, {system} {kernel}, {rustc}; \
             {rounds} interleaved rounds, medians, {took} s in all. \
             **Read the ratios**, not the times: these belong to this machine at this hour. \
             A ratio is the median of the ratios of each round. Where the lowest and the highest \
             lie far apart, or threads miss an ideal too, the other work was in the way.\n\n\
             ## Goals\n\n\
             \"Beside\" says what the pool's figure is divided by; \"itself\": its own figure. \
             \"One core\": host and workers are pinned to the same core.\n\n\
             | work | beside | ratio | lowest – highest | goal | |\n|---|---|---|---|---|---|\n{goals}\n\
             ## Pictures\n\n\
             ![Jobs a second against the length of a job](lengths.svg)\n\n\
             ![Time per job against the number queued](queued.svg)\n\n\
             ## Figures\n{figures}",
            kernel = kernel.trim(),
            rustc = rustc.trim(),
        )
    }
}
