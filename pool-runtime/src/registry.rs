//! The tables of what a program annotated, and the looking up of jobs by name.
//!
//! Every `#[pool_job]` is one [`JobEntry`] in an `inventory` table. Host and worker are the
//! same program, so both sort the same table by name and speak of a job by its number in it.
//! Bytes become types, and types bytes, in a job's erased shim ([`JobEntry::run`]); the shim
//! sees the worker only as a [`Stage`], so that this file knows neither house.
//!
//! The table is built at its first use and then only read. Building it writes each job's number
//! into its entry, so that a call finds its number without hashing a name. Two jobs of one name
//! make no table but an error that names both places.

use std::any::{Any, TypeId};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

use crate::policy::JobOptions;
use crate::wire::Buffer;

/// A value in MessagePack, or, where `raw` is set, the bytes of one whole byte string.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    /// The bytes.
    pub(crate) bytes: Buffer,
    /// They are the one byte-string parameter or output itself, without an encoding.
    pub raw: bool,
}

/// Why a job's shim gave no output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An argument could not be decoded.
    Decode(String),
    /// The output could not be encoded.
    Encode(String),
    /// A `#[state]` could not be had.
    State(String),
}

/// What a job's shim sees of the place where it runs.
pub trait Stage {
    /// The arguments, if they are one byte string; to be taken once.
    fn take_raw(&mut self) -> Option<Vec<u8>>;
    /// Else they are in here.
    fn arguments(&self) -> &[u8];
    /// The job's context, a `JobContext` (which lives on a floor above this one).
    fn context(&self) -> &dyn Any;
    /// The worker's value of this type, made now if it is not there.
    fn state(&self, wanted: Wanted) -> Result<&dyn Any, Fault>;
    /// Drives the future of an async job to its end.
    fn block_on(&self, job: Pin<&mut dyn Future<Output = ()>>);
}

/// The type of a `#[state]` parameter.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Which type it is.
    pub type_id: TypeId,
    /// Its name.
    pub type_name: &'static str,
}

/// Decodes the arguments, calls the function, encodes the output into what is empty before.
pub type RunJob = fn(&mut dyn Stage, &mut Encoded) -> Result<(), Fault>;

/// A function that workers can run; what stands before `J` in [`Call<J>`](crate::Call).
///
/// Implemented by [`#[pool_job]`](crate::pool_job) for the companion of the function, and by
/// [`Named`](crate::Named); not to be implemented by hand.
pub trait Job: Sized + 'static {
    /// What the function returns (`()` for `-> !`).
    type Output;

    #[doc(hidden)]
    fn decode(output: Encoded) -> Result<Self::Output, String>;
}

/// One annotated function: where it stands and what its name is.
pub struct JobEntry {
    type_name: fn() -> &'static str,
    naming: Naming,
    file: &'static str,
    line: u32,
    pub(crate) options: JobOptions,
    /// Its options ask for something.
    pub(crate) has_options: bool,
    pub(crate) run: RunJob,
    name: OnceLock<&'static str>,
    /// Meaningless until the table was built.
    number: AtomicU16,
}

/// Where a job's name comes from.
#[derive(Clone, Copy, Debug)]
pub enum Naming {
    /// The path of the companion, which is the path of the function.
    Path,
    /// The path of the companion with this, the function's name, in place of its own.
    Function(&'static str),
    /// `name = "…"`.
    Given(&'static str),
}

/// What `#[pool_job]` says about a function; the arguments of [`JobEntry::new`].
#[derive(Debug)]
pub struct JobFacts {
    /// `type_name` of the companion.
    pub type_name: fn() -> &'static str,
    /// Where the name comes from.
    pub naming: Naming,
    /// `file!()`
    pub file: &'static str,
    /// `line!()`
    pub line: u32,
    /// What the attribute asks for.
    pub options: JobOptions,
    /// The erased shim.
    pub run: RunJob,
}

impl JobEntry {
    #[doc(hidden)]
    pub const fn new(facts: JobFacts) -> Self {
        let JobFacts { type_name, naming, file, line, options, run } = facts;
        JobEntry {
            type_name,
            naming,
            file,
            line,
            has_options: !options.is_empty(),
            options,
            run,
            name: OnceLock::new(),
            number: AtomicU16::new(0),
        }
    }

    /// The job's name: the full path of its function unless it was given another.
    pub fn name(&self) -> &'static str {
        self.name.get_or_init(|| {
            let last = match self.naming {
                Naming::Given(name) => return name,
                Naming::Function(function) => Some(function),
                Naming::Path => None,
            };
            let path = (self.type_name)();
            match last {
                None if !path.contains("{{") => path,
                // An entry is a static, so this is leaked once a job.
                last => path_name(path, last).leak(),
            }
        })
    }

    /// The source file of the function.
    pub fn file(&self) -> &'static str {
        self.file
    }

    /// The line of the function in its file.
    pub fn line(&self) -> u32 {
        self.line
    }
}

impl fmt::Debug for JobEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobEntry")
            .field("name", &self.name())
            .field("file", &self.file)
            .field("line", &self.line)
            .finish_non_exhaustive()
    }
}

/// `path` without the segments that the compiler invented for closures and async blocks,
/// with another last segment where one is given.
fn path_name(path: &str, last: Option<&str>) -> String {
    let mut segments: Vec<&str> =
        path.split("::").filter(|segment| !segment.starts_with("{{")).collect();
    if let Some(last) = last {
        segments.pop();
        segments.push(last);
    }
    segments.join("::")
}

/// What runs in each worker before its first job: one `#[pool::worker_start]`.
#[derive(Debug)]
pub struct StartEntry {
    /// The path of the function.
    pub name: &'static str,
    /// Its source file.
    pub file: &'static str,
    /// Its line there.
    pub line: u32,
    /// The function; an error in its own words.
    pub run: fn() -> Result<(), String>,
}

/// What makes a value that a worker keeps for its jobs: one `#[pool::state]`.
#[derive(Debug)]
pub struct StateEntry {
    /// The path of the function.
    pub name: &'static str,
    /// Its source file.
    pub file: &'static str,
    /// Its line there.
    pub line: u32,
    /// The type that it makes.
    pub made: fn() -> Wanted,
    /// The function; an error in its own words.
    pub make: fn() -> Result<Box<dyn Any>, String>,
}

/// One `#[pool::test]`: a place at which the test binary can be entered as a worker.
#[derive(Debug)]
pub struct TestEntry {
    full: &'static str,
}

impl TestEntry {
    /// `full` is `module_path!()`, `::` and the function's name.
    #[doc(hidden)]
    pub const fn new(full: &'static str) -> Self {
        TestEntry { full }
    }

    /// The test's name in the words of the test harness, which leaves the crate out.
    pub fn path(&self) -> &'static str {
        self.full.split_once("::").map_or(self.full, |(_krate, path)| path)
    }
}

/// What `inventory` collects of a job: its entry stays a static that its companion can name.
#[derive(Debug)]
pub struct Listed(pub &'static JobEntry);

inventory::collect!(Listed);
inventory::collect!(StartEntry);
inventory::collect!(StateEntry);
inventory::collect!(TestEntry);

/// All jobs of this program, sorted by name.
///
/// A crate that no code of the program mentions is not linked, and its jobs are not here:
/// `use that_crate as _;` is enough.
pub fn registered_jobs() -> impl ExactSizeIterator<Item = &'static JobEntry> {
    collect_sorted().into_iter()
}

/// What is to run in each worker before its first job, in no order.
pub(crate) fn start_hooks() -> impl Iterator<Item = &'static StartEntry> {
    inventory::iter::<StartEntry>.into_iter()
}

/// What makes values for the jobs of a worker, in no order.
pub(crate) fn state_makers() -> impl Iterator<Item = &'static StateEntry> {
    inventory::iter::<StateEntry>.into_iter()
}

/// A test at which this program can be entered as a worker, if it has one.
pub(crate) fn test_entry() -> Option<&'static TestEntry> {
    inventory::iter::<TestEntry>.into_iter().next()
}

fn collect_sorted() -> Vec<&'static JobEntry> {
    let mut entries: Vec<_> =
        inventory::iter::<Listed>.into_iter().map(|&Listed(entry)| entry).collect();
    entries.sort_by_key(|entry| (entry.name(), entry.file, entry.line));
    entries
}

/// A job of this program, and its number in the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub(crate) number: u16,
    pub(crate) entry: &'static JobEntry,
}

/// The jobs of this program by number, sorted by name.
#[derive(Debug)]
pub(crate) struct Table {
    entries: Vec<&'static JobEntry>,
    fingerprint: u64,
}

/// The table, built at the first call.
pub(crate) fn table() -> Result<&'static Table, String> {
    static TABLE: OnceLock<Result<Table, String>> = OnceLock::new();
    let table = TABLE.get_or_init(|| {
        let table = Table::new(collect_sorted())?;
        for (number, entry) in (0u16..).zip(&table.entries) {
            entry.number.store(number, Ordering::Relaxed);
        }
        Ok(table)
    });
    table.as_ref().map_err(String::clone)
}

/// The name of the job of this number; empty where there is none.
pub(crate) fn job_name(number: u16) -> &'static str {
    table().ok().and_then(|table| table.entry(number)).map_or("", JobEntry::name)
}

/// The number of a job whose entry is at hand: two loads.
pub(crate) fn known(entry: &'static JobEntry) -> Result<Known, String> {
    table()?;
    Ok(Known { number: entry.number.load(Ordering::Relaxed), entry })
}

impl Table {
    fn new(entries: Vec<&'static JobEntry>) -> Result<Table, String> {
        // One number is left over, so that a count of jobs is a `u16` as well.
        if entries.len() > usize::from(u16::MAX) {
            return Err(format!(
                "this program registers {} jobs, more than the {} that have a number",
                entries.len(),
                u16::MAX
            ));
        }
        let twins: Vec<String> = entries
            .windows(2)
            .filter(|pair| pair[0].name() == pair[1].name())
            .map(|pair| {
                format!(
                    "two jobs are named `{}`, at {}:{} and at {}:{}; \
                     give one of them another name with `#[pool_job(name = \"…\")]`",
                    pair[0].name(),
                    pair[0].file,
                    pair[0].line,
                    pair[1].file,
                    pair[1].line
                )
            })
            .collect();
        if !twins.is_empty() {
            return Err(twins.join("; "));
        }
        let fingerprint = fingerprint(entries.iter().map(|entry| entry.name()));
        Ok(Table { entries, fingerprint })
    }

    /// The job of this name, or what might have been meant.
    pub(crate) fn find(&self, name: &str) -> Result<Known, String> {
        match self.entries.binary_search_by_key(&name, |entry| entry.name()) {
            Ok(index) => Ok(Known {
                number: u16::try_from(index).expect("a table holds at most 65,535 jobs"),
                entry: self.entries[index],
            }),
            Err(_) => Err(unknown(name, self.entries.iter().map(|entry| entry.name()))),
        }
    }

    pub(crate) fn entry(&self, number: u16) -> Option<&'static JobEntry> {
        self.entries.get(usize::from(number)).copied()
    }

    /// Equal for two tables that have the same names in the same order.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }
}

/// FNV-1a over the names, each with an end mark. The standard library's hasher may differ
/// between two builds of it, and host and worker compare this across processes.
fn fingerprint<'a>(names: impl Iterator<Item = &'a str>) -> u64 {
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    names
        // No UTF-8 text contains 0xff, so the mark ends a name unmistakably.
        .flat_map(|name| name.bytes().chain([0xff]))
        .fold(BASIS, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
}

/// The text of an unknown job: the nearest names, the count, and why a job may be missing.
fn unknown<'a>(name: &str, known: impl ExactSizeIterator<Item = &'a str>) -> String {
    let count = known.len();
    let nearest = nearest(name, known);
    let plural = if count == 1 { "" } else { "s" };
    format!(
        "no job is named `{name}`{nearest} ({count} job{plural} registered; \
         a crate that no code mentions is not linked: `use that_crate as _;`)"
    )
}

/// `; nearest: …`, up to three names; empty where there is none.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let mut ranked: Vec<(usize, &str)> =
        known.map(|other| (distance(name, other), other)).collect();
    ranked.sort_unstable();
    let names: Vec<String> = ranked.iter().take(3).map(|(_, other)| format!("`{other}`")).collect();
    match names.as_slice() {
        [] => String::new(),
        names => format!("; nearest: {}", names.join(", ")),
    }
}

/// Insertions, removals and replacements between two names. A name is often given without its
/// path, so what is missing in front of a `::` costs nothing.
fn distance(name: &str, known: &str) -> usize {
    let known = match known.len().checked_sub(name.len()).and_then(|cut| known.get(..cut)) {
        Some(front) if front.ends_with("::") => &known[front.len()..],
        _ => match (name.contains("::"), known.rsplit_once("::")) {
            (false, Some((_, last))) => last,
            _ => known,
        },
    };
    let known: Vec<char> = known.chars().collect();
    let mut row: Vec<usize> = (0..=known.len()).collect();
    for (i, a) in name.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &b) in known.iter().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[known.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(type_name: fn() -> &'static str, naming: Naming, line: u32) -> &'static JobEntry {
        Box::leak(Box::new(JobEntry::new(JobFacts {
            type_name,
            naming,
            file: "src/jobs.rs",
            line,
            options: JobOptions::NONE,
            run: |_, _| Err(Fault::State("not to be run".into())),
        })))
    }

    #[test]
    fn names_are_paths_without_invented_segments() {
        let path = || "app::main::{{closure}}::add";
        assert_eq!(entry(path, Naming::Path, 1).name(), "app::main::add");
        assert_eq!(entry(path, Naming::Function("sum"), 1).name(), "app::main::sum");
        assert_eq!(entry(path, Naming::Given("x"), 1).name(), "x");
        assert_eq!(entry(|| "app::add", Naming::Path, 1).name(), "app::add");
        assert_eq!(entry(|| "app::Add", Naming::Function("add"), 1).name(), "app::add");
    }

    #[test]
    fn two_of_one_name_are_told_with_both_places_and_the_way_out() {
        let add = || "app::add";
        let entries = vec![entry(add, Naming::Path, 3), entry(add, Naming::Path, 9)];
        let text = Table::new(entries).unwrap_err();
        assert!(text.contains("`app::add`"), "{text}");
        assert!(text.contains("src/jobs.rs:3") && text.contains("src/jobs.rs:9"), "{text}");
        assert!(text.contains("#[pool_job(name = \"…\")]"), "{text}");
    }

    #[test]
    fn numbers_are_places_in_the_sorted_table() {
        let table = Table::new(vec![
            entry(|| "app::add", Naming::Path, 1),
            entry(|| "app::resize", Naming::Path, 2),
        ])
        .unwrap();
        assert_eq!(table.find("app::add").unwrap().number, 0);
        assert_eq!(table.find("app::resize").unwrap().number, 1);
        assert_eq!(table.entry(1).unwrap().name(), "app::resize");
        assert!(table.entry(2).is_none());
        assert_eq!(table.entries.len(), 2);
    }

    #[test]
    fn an_unknown_name_lists_the_nearest_the_count_and_the_hint() {
        let names = ["app::jobs::add", "app::jobs::resize", "app::load", "app::train"];
        let text = unknown("ad", names.into_iter());
        assert!(text.contains("nearest: `app::jobs::add`, `app::load`"), "{text}");
        assert!(text.contains("4 jobs registered"), "{text}");
        assert!(text.contains("use that_crate as _;"), "{text}");
        assert!(unknown("x", [].into_iter()).contains("0 jobs registered"));
        let text = unknown("app::jobs::resise", names.into_iter());
        assert!(text.contains("nearest: `app::jobs::resize`"), "{text}");
    }

    #[test]
    fn fingerprints_tell_tables_apart() {
        assert_eq!(fingerprint(["a", "b"].into_iter()), fingerprint(["a", "b"].into_iter()));
        assert_ne!(fingerprint(["ab"].into_iter()), fingerprint(["a", "b"].into_iter()));
        // A published value of FNV-1a (of no bytes): the hash must not change with a toolchain.
        assert_eq!(fingerprint([].into_iter()), 0xcbf2_9ce4_8422_2325);
    }

    #[test]
    fn tests_are_named_as_the_harness_names_them() {
        assert_eq!(TestEntry::new("krate::outer::works").path(), "outer::works");
        assert_eq!(TestEntry::new("krate::works").path(), "works");
    }
}
