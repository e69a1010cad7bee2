//! The files of one test, and the waiting for things.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use pool::Pool;

/// Names the directory of the test, in all of its stages and workers.
pub(crate) const ROOM: &str = "POOL_TESTS_ROOM";

/// How long anything may take that ought to happen soon.
const PATIENCE: Duration = Duration::from_secs(20);

/// A path for a file of this test, which does not exist before the test makes it.
///
/// # Panics
///
/// Outside of [`isolated`](crate::isolated).
pub fn scratch(name: &str) -> PathBuf {
    let room = std::env::var_os(ROOM).expect("`scratch` is for the body of an isolated test");
    Path::new(&room).join("scratch").join(name)
}

/// The lines of a file; none if there is no file yet, and without one that is still being written.
pub fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(str::to_owned).collect()
}

/// The numbers of processes that a file lists, one in a line.
pub fn pids(path: &Path) -> Vec<u32> {
    lines(path).iter().map(|line| line.parse().unwrap()).collect()
}

/// Waits until `cond` holds, and panics with the name of what was waited for if that takes too
/// long.
///
/// # Panics
///
/// If it does not hold within twenty seconds.
pub fn wait_until(what: &str, cond: impl FnMut() -> bool) {
    assert!(holds_within(PATIENCE, cond), "waited in vain: {what}");
}

/// Waits until the pool has room for `n` jobs in its queue: a job that was handed out may be seen to
/// run a moment before its place is free.
pub fn wait_for_room(pool: &Pool, n: usize) {
    let permits: Vec<_> = (0..n).map(|_| pool::block_on(pool.reserve())).collect();
    assert!(permits.iter().all(Result::is_ok));
}

/// Whether `cond` comes to hold within `limit`.
pub fn holds_within(limit: Duration, mut cond: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + limit;
    loop {
        if cond() {
            return true;
        }
        if Instant::now() >= until {
            return cond();
        }
        thread::sleep(Duration::from_millis(2));
    }
}
