//! What plays a worker: a process of its own, or a thread of this one, which cannot be killed.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Waker;
use std::thread;

use super::latch::Latch;
use crate::context::CancelWatch;
use crate::error::WorkerExit;
use crate::os::{self, ChannelEnd, HostEnd, Process};
use crate::recorder::Recorder;
use crate::scheduler::Ending;
use crate::wire::Welcome;

/// As much as the first thread of a process has on most systems: that is where jobs run in worker
/// processes. Only what is used of it is taken.
const STACK: usize = 8 << 20;

/// The loop of a worker: the host does not know the other house, and is told.
pub(crate) type ServeOnThread = fn(ChannelEnd, Arc<CancelWatch>, Welcome);

/// What plays a worker.
#[derive(Debug)]
pub(super) enum Body {
    Process(Process),
    Thread(Thread),
}

/// A thread that plays a worker.
pub(super) struct Thread {
    ended: Arc<Latch>,
    watch: Arc<CancelWatch>,
}

impl Body {
    /// Starts a thread. Inside the driver's runtime.
    pub(super) fn on_thread(
        name: String,
        serve: ServeOnThread,
        welcome: Welcome,
    ) -> Result<(Body, HostEnd, Recorder), String> {
        let recorder = Recorder::create().and_then(|(host, file)| {
            let worker = Recorder::open(&file)?;
            Ok((host, worker))
        });
        let (recorder, theirs) =
            recorder.map_err(|error| format!("no memory for its recorder: {error}"))?;
        let (channel, end) =
            os::local_channel().map_err(|error| format!("no channel to its thread: {error}"))?;
        let watch = Arc::new(CancelWatch::of_thread(theirs));
        let body = Thread { ended: Arc::default(), watch: watch.clone() };
        let at_end = AtEnd(body.ended.clone());
        let mut builder = thread::Builder::new().name(name);
        // What the user says of stacks is for these threads, too.
        if std::env::var_os("RUST_MIN_STACK").is_none() {
            builder = builder.stack_size(STACK);
        }
        let run = move || {
            let _at_end = at_end;
            serve(end, watch, welcome);
        };
        builder.spawn(run).map_err(|error| format!("no thread for it: {error}"))?;
        Ok((Body::Thread(body), channel, recorder))
    }

    pub(super) fn is_thread(&self) -> bool {
        matches!(self, Body::Thread(_))
    }

    /// Of the process that it is, or is in.
    pub(super) fn id(&self) -> u32 {
        match self {
            Body::Process(process) => process.id(),
            Body::Thread(_) => std::process::id(),
        }
    }

    /// What to call it.
    pub(super) fn describe(&self) -> String {
        match self {
            Body::Process(process) => format!("pid {}", process.id()),
            Body::Thread(_) => "a thread of this program".to_owned(),
        }
    }

    /// Kills it, if that can be done.
    pub(super) fn kill(&self) {
        match self {
            Body::Process(process) => process.kill(),
            Body::Thread(_) => {}
        }
    }

    /// Whether it will have ended soon, whatever is done.
    pub(super) fn is_leaving(&self) -> bool {
        match self {
            Body::Process(process) => process.is_leaving(),
            Body::Thread(_) => false,
        }
    }

    /// Waits until it has ended.
    pub(super) async fn ended(&self) {
        match self {
            Body::Process(process) => process.ended().await,
            Body::Thread(thread) => poll_fn(|cx| thread.ended.poll(cx)).await,
        }
    }

    /// How it ended, if it has.
    pub(super) fn reap(&self) -> Option<WorkerExit> {
        match self {
            Body::Process(process) => process.reap(),
            Body::Thread(thread) => thread.ended.is_set().then_some(WorkerExit::Code(0)),
        }
    }

    /// True if what it has started may still have to be reaped.
    pub(super) fn reap_orphans(&self) -> bool {
        match self {
            Body::Process(process) => process.reap_orphans(),
            Body::Thread(_) => false,
        }
    }

    /// Its own, in bytes: a thread has none of its own.
    pub(super) fn resident_memory(&self) -> Option<u64> {
        match self {
            Body::Process(process) => process.resident_memory(),
            Body::Thread(_) => None,
        }
    }

    /// Who waits in there to be asked to stop, and cannot see it without being woken.
    pub(super) fn take_waiting(&self) -> Vec<Waker> {
        match self {
            Body::Process(_) => Vec::new(),
            Body::Thread(thread) => thread.watch.take_waiting(),
        }
    }
}

/// Tells of the end of a thread, however that comes.
struct AtEnd(Arc<Latch>);

impl Drop for AtEnd {
    fn drop(&mut self) {
        self.0.set().into_iter().for_each(Waker::wake);
    }
}

impl fmt::Debug for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Thread").field("ended", &self.ended).finish_non_exhaustive()
    }
}

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
