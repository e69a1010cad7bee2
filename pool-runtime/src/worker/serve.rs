//! One thread: read a frame, claim the job, run it, reply. Panics end here.
//!
//! A job is claimed after its header if it is large (its body is still on the way), else after
//! its body; a job that cannot be claimed was taken back by the host, and is passed over. The
//! host hears of that by a `Poke`, so it knows that this worker is awake.

use std::any::Any;
use std::cell::OnceCell;
use std::future::Future;
use std::io::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::runtime::Runtime;

use super::panic;
use crate::context::{About, CancelWatch, JobContext, Running};
use crate::os::{self, ChannelEnd};
use crate::recorder::Farewell;
use crate::registry::{Encoded, Fault, JobEntry, Stage, Table, Wanted};
use crate::state::StateStore;
use crate::wire::{
    BIG, Flags, Frame, FrameReader, Header, PRELUDE_LEN, PanicReport, Prelude, Refusal, ToHost,
    ToWorker, Welcome,
};

/// No job is running.
const NO_SEQ: u64 = u64::MAX;

/// A worker that has greeted its host.
pub(super) struct Worker {
    replies: Arc<Replies>,
    watch: Arc<CancelWatch>,
    table: &'static Table,
    welcome: Welcome,
    /// For async jobs; made at the first of them.
    runtime: OnceCell<Runtime>,
    states: StateStore,
}

/// What became of a job.
type Outcome = Result<Result<Encoded, Fault>, PanicReport>;

impl Worker {
    pub(super) fn new(
        channel: Arc<ChannelEnd>,
        watch: Arc<CancelWatch>,
        table: &'static Table,
        welcome: Welcome,
    ) -> Self {
        let replies =
            Arc::new(Replies { channel, watch: watch.clone(), running: AtomicU64::new(NO_SEQ) });
        let (runtime, states) = (OnceCell::new(), StateStore::default());
        Worker { replies, watch, table, welcome, runtime, states }
    }

    /// Hands over a panic report where the process is about to abort.
    pub(super) fn last_words(&self) -> impl Fn(PanicReport) + Send + Sync + 'static {
        let replies = self.replies.clone();
        move |report| {
            let seq = replies.running.load(Ordering::Relaxed);
            if seq != NO_SEQ {
                replies.send(ToHost::Panicked, Flags::NONE, seq, 0, &report.encode());
            }
        }
    }

    /// Serves until the host says that it is over.
    pub(super) fn serve(self) -> ! {
        let channel = self.replies.channel.clone();
        let limit = self.welcome.max_payload.saturating_add(PRELUDE_LEN as u64);
        let mut frames = FrameReader::<ToWorker>::new(limit);
        // Whether the frame that is being read was claimed before its body came.
        let mut claimed = None;
        loop {
            let frame = frames.next(|header| {
                if header.kind == ToWorker::Run && header.flags.has(Flags::BIG) {
                    claimed = Some(self.watch.recorder.claim(header.seq));
                }
                Ok(())
            });
            match frame {
                Ok(Some(Frame { header, prelude, body })) => match header.kind {
                    ToWorker::Run => {
                        let claim = || self.watch.recorder.claim(header.seq);
                        if claimed.take().unwrap_or_else(claim) {
                            self.run(&header, prelude, body.into_vec());
                        } else {
                            self.replies.send(ToHost::Poke, Flags::NONE, header.seq, 0, &[]);
                        }
                    }
                    // `exit`, not `_exit`: what jobs have left for the end of the process runs.
                    ToWorker::Shutdown => std::process::exit(0),
                    ToWorker::Welcome => self.part(Farewell::Confused),
                },
                Ok(None) => match frames.fill(&mut &*channel) {
                    // The guard sees it too, and ends the group.
                    Ok(0) => os::end_own_group(),
                    Ok(_) => {}
                    Err(_) => self.part(Farewell::ChannelLost),
                },
                Err(_) => self.part(Farewell::Confused),
            }
        }
    }

    fn run(&self, header: &Header<ToWorker>, prelude: Option<Prelude>, body: Vec<u8>) {
        let started = Instant::now();
        let (Some(prelude), Some(job)) = (prelude, self.table.entry(header.job)) else {
            self.part(Farewell::Confused)
        };
        let about = About {
            id: prelude.id,
            name: job.name(),
            attempt: prelude.attempt,
            slot: self.welcome.slot as usize,
            until: prelude.remaining.map(|left| started + left),
            seq: header.seq,
        };
        self.replies.running.store(header.seq, Ordering::Relaxed);
        let running = Running::begin(about, self.watch.clone());
        let arguments = Encoded { bytes: body, raw: header.flags.has(Flags::RAW) };
        let (runtime, states) = (&self.runtime, &self.states);
        let mut scene = Scene { job, arguments, running, runtime, states };
        let outcome: Outcome = panic::catch(|| (job.run)(&mut scene));
        drop(scene);
        // A line without its end would be lost if this process is killed later on.
        let _ = std::io::stdout().flush();
        self.replies.running.store(NO_SEQ, Ordering::Relaxed);
        let micros = started.elapsed().as_micros().min(u128::from(u16::MAX)) as u16;
        self.reply(header.seq, micros, outcome);
    }

    /// Leaves, and leaves word why.
    fn part(&self, farewell: Farewell) -> ! {
        self.watch.recorder.say_farewell(farewell);
        os::leave(os::EXIT_BROKEN)
    }

    fn reply(&self, seq: u64, micros: u16, outcome: Outcome) {
        let limit = self.welcome.max_payload;
        let refusal = match outcome {
            Err(report) => {
                let report = report.encode();
                return self.replies.send(ToHost::Panicked, Flags::NONE, seq, micros, &report);
            }
            Ok(Ok(output)) if output.bytes.len() as u64 <= limit => {
                let flags = Flags::NONE.and_if(output.raw, Flags::RAW);
                return self.replies.send(ToHost::Done, flags, seq, micros, &output.bytes);
            }
            Ok(Ok(output)) => Refusal::TooLarge { size: output.bytes.len() as u64, limit },
            Ok(Err(Fault::Decode(text))) => Refusal::Decode(text),
            Ok(Err(Fault::Encode(text))) => Refusal::Encode(text),
            Ok(Err(Fault::State(text))) => Refusal::State(text),
        };
        self.replies.send(ToHost::Failed, Flags::NONE, seq, micros, &refusal.encode());
    }
}

/// The way back to the host.
struct Replies {
    channel: Arc<ChannelEnd>,
    watch: Arc<CancelWatch>,
    /// The job that runs now.
    running: AtomicU64,
}

impl Replies {
    fn send(&self, kind: ToHost, flags: Flags, seq: u64, micros: u16, body: &[u8]) {
        // Below 4 GiB: outputs are held to `max_payload`, texts are cut.
        let len = body.len() as u32;
        let flags = flags.and_if(body.len() > BIG, Flags::BIG);
        let header = Header { len, kind, flags, job: micros, seq };
        if self.channel.write_all(&header.encode(), body).is_err() {
            // Or the host is gone, which the guard is about to notice.
            self.watch.recorder.say_farewell(Farewell::ChannelLost);
            os::leave(os::EXIT_BROKEN)
        }
    }
}

/// What a job's shim sees of this worker.
struct Scene<'a> {
    job: &'static JobEntry,
    arguments: Encoded,
    running: Running,
    runtime: &'a OnceCell<Runtime>,
    states: &'a StateStore,
}

impl Stage for Scene<'_> {
    fn take_arguments(&mut self) -> Encoded {
        std::mem::take(&mut self.arguments)
    }

    fn context(&self) -> &dyn Any {
        let context: &JobContext = self.running.context();
        context
    }

    fn state(&self, wanted: Wanted) -> Result<&dyn Any, Fault> {
        self.states.get(wanted, self.job, &|maker| panic::catch(maker).map_err(panic::in_short))
    }

    fn block_on(&self, job: Pin<&mut dyn Future<Output = ()>>) {
        let runtime = self.runtime.get_or_init(|| {
            // Caught and reported as this job's panic.
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap_or_else(|error| panic!("no runtime for an async job: {error}"))
        });
        runtime.block_on(job);
    }
}
