//! Who runs on which core.

use std::thread;

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The cores that this program may use.
pub(crate) fn all() -> Vec<usize> {
    let all = sched_getaffinity(None).expect("a thread may know its cores");
    (0..CpuSet::MAX_CPU).filter(|cpu| all.is_set(*cpu)).collect()
}

fn set(cores: &[usize]) -> CpuSet {
    let mut set = CpuSet::new();
    cores.iter().for_each(|core| set.set(*core));
    set
}

/// Runs it on a thread that is pinned to one core, as all that it starts then is.
pub(crate) fn on_one(work: impl FnOnce() + Send) {
    thread::scope(|scope| {
        scope.spawn(|| {
            pin(None, &all()[..1]);
            work();
        });
    });
}

/// Lets the process, or this thread, run on these cores only.
pub(crate) fn pin(process: Option<Pid>, cores: &[usize]) {
    sched_setaffinity(process, &set(cores)).expect("what is ours may be pinned");
}
