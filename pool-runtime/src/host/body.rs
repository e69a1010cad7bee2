//! What plays a worker: a process of its own, or a thread of this one, which cannot be killed.

use crate::scheduler::Ending;

/// Why a job on a thread has no better end; `demand`: what it should have ended as.
pub(super) fn runs_on(demand: &Ending) -> String {
    let what = match demand {
        Ending::TimedOut(limit) => format!("its time limit of {limit:?} has passed"),
        Ending::MemoryLimit(limit) => format!("it went beyond its memory limit of {limit} bytes"),
        _ => "it was cancelled".to_owned(),
    };
    format!(
        "{what}, and what runs on a thread of this program (`in_process`, `POOL_IN_PROCESS`) \
         cannot be killed: it goes on, and its slot is busy until it returns; let it look at \
         `JobContext::is_cancelled` and give it a grace period, or run it in a worker process"
    )
}
