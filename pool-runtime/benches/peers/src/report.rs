//! What was measured, as Markdown: the goals first, then everybody's figures.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::contest::{Contestant, Goal, figure, median, ratios, spread};

/// Between these the README has the essence of the goals.
const README_BEGINS: &str = "<!-- speed: written by the benchmark -->\n";
const README_ENDS: &str = "<!-- speed: end -->\n";
/// Rows that are its essence: work, and beside what.
const ESSENCE: &[(&str, &str)] = &[
    ("one no-op at a time", "std socket ping-pong"),
    ("one no-op at a time", "tokio spawn_blocking"),
    ("one no-op at a time", "procspawn"),
    ("no-ops in flight", "rayon spawn and a oneshot"),
    ("no-ops in flight", "tokio spawn_blocking"),
    ("no-ops in flight", "procspawn, 100 at a time"),
    ("64 MiB of bytes there and back", "ipc-channel, shared memory"),
    ("64 MiB of bytes there and back", "procspawn"),
    ("first result of a new pool", "bare spawn to first byte"),
    ("first result of a new pool", "procspawn pool of one, a no-op"),
    ("shutdown of two spinning workers", "bare kill and wait"),
];

#[derive(Default)]
pub(crate) struct Report {
    goals: String,
    figures: String,
    essence: String,
}

impl Report {
    /// Takes up a contest whose first contestant is the pool.
    pub(crate) fn take(&mut self, work: &str, unit: &str, contestants: &[Contestant<'_>]) {
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
                "| {}{} | {} | {} | {} |",
                contestant.name,
                if contestant.is_floor { " (floor)" } else { "" },
                figure(contestant.median()),
                spread(&contestant.rounds),
                figure(median(beside.clone())),
            );
            let Some(goal) = contestant.goal else { continue };
            let (beside, values) =
                if n == 0 { ("itself", first.clone()) } else { (&*contestant.name, beside) };
            let floor = contestants.iter().find(|contestant| contestant.is_floor && n > 0);
            let floor = floor.map(|floor| median(ratios(&floor.rounds, &contestant.rounds)));
            self.judge_beside(work, beside, &values, goal, floor);
        }
    }

    /// A row in the table of goals.
    pub(crate) fn judge(&mut self, work: &str, beside: &str, values: &[f64], goal: Goal) {
        self.judge_beside(work, beside, values, goal, None);
    }

    /// The same, with the ratio of whoever shows what the machine asks for the like.
    pub(crate) fn judge_beside(
        &mut self,
        work: &str,
        beside: &str,
        values: &[f64],
        goal: Goal,
        floor: Option<f64>,
    ) {
        let value = figure(median(values.to_vec()));
        let verdict = if goal.met(median(values.to_vec())) { "met" } else { "**not met**" };
        let (spread, goal) = (spread(values), goal.text());
        let floor = floor.map(figure).unwrap_or_default();
        let _ = writeln!(
            self.goals,
            "| {work} | {beside} | {value} | {spread} | {goal} | {verdict} | {floor} |"
        );
        if ESSENCE.contains(&(work, beside)) {
            let _ = writeln!(self.essence, "| {work} | {beside} | {value} |");
        }
    }

    /// The whole page.
    pub(crate) fn page(&self, rounds: usize, took: u64, load: f64) -> String {
        let Report { goals, figures, .. } = self;
        let machine = machine();
        format!(
            "# The pool beside its peers\n\n\
             Written by `cargo run --release --manifest-path pool-runtime/benches/peers/Cargo.toml`; \
             what is measured how is said at the head of each file in `src`.\n\n\
             {machine}; {rounds} interleaved rounds, medians, {took} s in all. Beside it others kept \
             {load:.1} cores busy when it began.\n\
             **Read the ratios**, not the times: these belong to this machine at this hour. \
             A ratio is the median of the ratios of each round. Where the lowest and the highest \
             lie far apart, other work was in the way.\n\n\
             ## Goals\n\n\
             \"Beside\" says what the pool's figure is divided by; \"itself\": its own figure. \
             \"One core\": host and workers are pinned to the same core. \"Floor\": the ratio that \
             somebody has who does no more than the same system calls, processes and threads need, \
             or in flight what is promised of each job by itself; the figures below name it. A goal \
             that the floor misses as well is none for this machine.\n\n\
             | work | beside | ratio | lowest – highest | goal | | floor |\n\
             |---|---|---|---|---|---|---|\n{goals}\n\
             ## Pictures\n\n\
             ![Jobs a second against the length of a job](lengths.svg)\n\n\
             ![Time per job against the number queued](queued.svg)\n\n\
             ## Figures\n{figures}"
        )
    }

    /// Writes the essence of the goals into the README, between its marks.
    pub(crate) fn renew_readme(&self, path: &Path) {
        let text = fs::read_to_string(path).expect("there is a README");
        let (head, rest) = text.split_once(README_BEGINS).expect("it has the marks");
        let (_, tail) = rest.split_once(README_ENDS).expect("it has both marks");
        let (essence, machine) = (&self.essence, machine());
        let text = format!(
            "{head}{README_BEGINS}\
             | work | beside | pool ÷ this |\n|---|---|---|\n{essence}\n{machine}.\n{README_ENDS}{tail}"
        );
        fs::write(path, text).expect("the README can be written");
    }
}

/// How many cores are busy, as the system counts over a minute.
pub(crate) fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(f64::NAN)
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, |n| n.get());
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown", |(_, model)| model.trim());
    let is_virtual =
        cpus.lines().any(|line| line.starts_with("flags") && line.contains("hypervisor"));
    let kind = if is_virtual { "virtual cores" } else { "cores" };
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let rustc = Command::new("rustc").arg("--version").output().map(|it| it.stdout);
    let rustc = String::from_utf8(rustc.unwrap_or_default()).unwrap_or_default();
    let rustc = rustc.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    format!("{cores} {kind} ({model}), Linux {}, {rustc}", kernel.trim())
}
