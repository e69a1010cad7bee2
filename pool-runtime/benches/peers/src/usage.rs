//! What processes use, from /proc; not a number where the system does not say.

use std::fs;

/// CPU time in milliseconds and voluntary switches (waits, that is) of all threads of these
/// processes.
pub(crate) fn of(pids: &[u32]) -> (f64, f64) {
    without(pids, None)
}

/// The same of all threads but the one that asks.
pub(crate) fn of_others(pids: &[u32]) -> (f64, f64) {
    without(pids, Some(rustix::thread::gettid().as_raw_nonzero().to_string()))
}

fn without(pids: &[u32], thread: Option<String>) -> (f64, f64) {
    let mut sum = (0.0, 0.0);
    for pid in pids {
        let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
            return (f64::NAN, f64::NAN);
        };
        let is_counted =
            |name: &std::ffi::OsStr| thread.as_ref().is_none_or(|it| name != it.as_str());
        for task in tasks.flatten().filter(|task| is_counted(&task.file_name())) {
            let read = |name| fs::read_to_string(task.path().join(name)).unwrap_or_default();
            let number = |word: Option<&str>| word.and_then(|word| word.trim().parse().ok());
            let nanos: f64 = number(read("schedstat").split(' ').next()).unwrap_or(f64::NAN);
            let status = read("status");
            let switches =
                status.lines().find_map(|it| it.strip_prefix("voluntary_ctxt_switches:"));
            sum.0 += nanos / 1e6;
            sum.1 += number(switches).unwrap_or(f64::NAN);
        }
    }
    sum
}

/// A number of kilobytes in one of the process's files, in KiB.
pub(crate) fn kilobytes(pid: u32, file: &str, key: &str) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
    number.and_then(|n| n.parse().ok()).unwrap_or(f64::NAN)
}

/// The pool's processes: this one and the workers.
pub(crate) fn pids(pool: &pool::Pool) -> Vec<u32> {
    let workers = pool.stats().workers.into_iter().filter_map(|worker| worker.pid);
    workers.chain([std::process::id()]).collect()
}
