//! The stranger's jobs: every kind of parameter, every option of the macros.

use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use pool::{Failure, JobContext, Pool, pool_job, submit};
use serde::{Deserialize, Serialize};

use crate::job::vendor::processes;

/// The crate `pool` under another name.
pub(crate) mod vendor {
    pub(crate) use ::pool as processes;
}

#[pool_job(name = "contract.add", timeout = "30s", retries = 2, priority = "high")]
pub(crate) fn add(a: u32, b: u32) -> u32 {
    a + b
}

/// A module and a function of one name: the job needs another.
pub(crate) mod resize {
    use std::path::Path;

    use pool::{JobContext, pool_job};

    #[pool_job(marker = ResizeJob, timeout = "1h", priority = "low", retries = 0)]
    pub(crate) fn resize(ctx: &JobContext, path: &Path, mut width: u32, _: u8) -> u32 {
        let seen = path.as_os_str().len();
        width += u32::try_from(seen).unwrap_or_default();
        if ctx.is_cancelled() { 0 } else { width }
    }
}
pub(crate) use resize::{ResizeJob, resize};

#[pool_job(crate = processes, timeout = "5m")]
pub(crate) fn by_path(n: u32) -> u32 {
    2 * n
}

#[processes::pool_job(crate = "crate::job::vendor::processes", priority = "normal")]
pub(crate) fn by_text(n: u32) -> u32 {
    3 * n
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Config {
    pub(crate) name: String,
    pub(crate) factor: usize,
}

#[pool_job(timeout = "60000ms")]
pub(crate) fn lend(
    text: &str,
    bytes: &[u8],
    list: &[u64],
    path: &Path,
    config: &Config,
) -> Vec<usize> {
    let length = config.name.len() + 1;
    vec![text.len(), bytes.len(), list.len(), path.as_os_str().len(), length * config.factor]
}

#[pool_job]
pub(crate) fn reverse(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.reverse();
    bytes
}

#[pool_job]
pub(crate) fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

#[pool_job]
pub(crate) async fn not_send(n: u32) -> u32 {
    let shared = Rc::new(n);
    tokio::time::sleep(Duration::from_millis(1)).await;
    *shared * 2
}

pub(crate) struct Model(u32);

#[pool::state]
fn model() -> Model {
    Model(7)
}

/// Made by a function that may fail.
pub(crate) struct Scale(u32);

#[pool::state(crate = processes)]
fn scale() -> Result<Scale, String> {
    Ok(Scale(1))
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) model: u32,
    pub(crate) attempt: u32,
    pub(crate) worker: usize,
    pub(crate) name_is_right: bool,
}

#[pool_job]
pub(crate) fn train(
    ctx: &JobContext,
    #[state] model: &Model,
    epochs: u32,
    #[state] scale: &Scale,
) -> Told {
    let name_is_right = ctx.job_name().ends_with("job::train");
    let deeper = JobContext::current().map(|deeper| deeper.job_id());
    Told {
        model: (model.0 + epochs) * scale.0,
        attempt: ctx.attempt(),
        worker: ctx.worker(),
        name_is_right: name_is_right && deeper == Some(ctx.job_id()),
    }
}

/// Nobody makes one.
pub(crate) struct Nothing;

#[pool_job]
pub(crate) fn without_a_maker(#[state] _nothing: &Nothing) -> u32 {
    0
}

static IS_PREPARED: AtomicBool = AtomicBool::new(false);

#[pool::worker_start]
fn prepare() {
    IS_PREPARED.store(true, Ordering::Relaxed);
}

#[pool::worker_start(crate = "crate::job::vendor::processes")]
fn prepare_or_fail() -> Result<(), std::io::Error> {
    Ok(())
}

#[pool_job]
pub(crate) fn is_prepared() -> bool {
    IS_PREPARED.load(Ordering::Relaxed)
}

#[pool_job]
pub(crate) fn parse(text: &str) -> Result<u32, Failure> {
    if text.is_empty() {
        return Err(Failure::msg("there is nothing"));
    }
    Ok(text.parse::<u32>()?)
}

#[pool_job]
pub(crate) fn never_back() -> ! {
    std::process::exit(7)
}

#[pool_job]
pub(crate) fn nested(n: u32) -> u32 {
    let pool = Pool::new(1).unwrap();
    submit!(pool => by_path, n).wait().unwrap()
}

#[pool_job]
pub(crate) fn global_in_a_job() -> String {
    submit!(by_path, 1).wait().unwrap_err().to_string()
}

#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Death {
    Panic,
    Abort,
    Exit(i32),
}

#[pool_job]
pub(crate) fn die_until(ctx: &JobContext, attempt: u32, how: Death) -> u32 {
    if ctx.attempt() < attempt {
        println!("to stdout");
        eprintln!("last words");
        match how {
            Death::Panic => panic!("as asked for"),
            Death::Abort => std::process::abort(),
            Death::Exit(code) => std::process::exit(code),
        }
    }
    ctx.attempt()
}

#[pool_job]
pub(crate) fn left_to_me(ctx: &JobContext) -> (Option<Duration>, bool) {
    (ctx.remaining(), ctx.is_cancelled())
}

#[pool_job]
pub(crate) fn surroundings() -> Vec<(String, String)> {
    let here = std::env::current_dir().unwrap().display().to_string();
    std::env::vars().chain([("current_dir".to_owned(), here)]).collect()
}

#[pool_job]
pub(crate) fn hold(started: &Path, gate: &Path) -> u32 {
    pool_tests::jobs::open(started);
    while !gate.exists() {
        thread::sleep(Duration::from_millis(1));
    }
    std::os::unix::process::parent_id()
}

#[pool_job]
pub(crate) fn for_ever() {
    loop {
        thread::sleep(Duration::from_millis(1));
    }
}

#[pool_job]
pub(crate) async fn until_asked(ctx: &JobContext, started: &Path) {
    pool_tests::jobs::open(started);
    ctx.clone().cancelled().await;
}

#[pool_job]
pub(crate) fn fill(bytes: usize) -> usize {
    let filled = vec![1_u8; bytes];
    for_ever();
    filled.len()
}

#[pool_job]
pub(crate) fn count_to(ctx: &JobContext, total: u64, gate: &Path) {
    ctx.message("counting");
    for done in 1..=total {
        ctx.progress(done, total);
    }
    while !gate.exists() {
        thread::sleep(Duration::from_millis(1));
    }
    ctx.message("done");
}

/// Cannot be sent when it is odd.
pub(crate) struct Odd(pub(crate) u32);

impl Serialize for Odd {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 % 2 == 1 {
            return Err(serde::ser::Error::custom("it is odd"));
        }
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Odd {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u32::deserialize(deserializer).map(Odd)
    }
}

#[pool_job]
pub(crate) fn odd(number: Odd) -> u32 {
    number.0
}
