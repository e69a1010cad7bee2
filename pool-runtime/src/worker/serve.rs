//! One thread: read a frame, claim the job, run it, reply. Panics end here.
//!
//! Replies are held back while there is more to do; they are written before this thread waits for
//! anything, and before a job that would make them wait for too long.
//!
//! A job is claimed after its header if it is large (its body is still on the way), else after
//! its body; a job that cannot be claimed was taken back by the host, and is passed over. The
//! host hears of that by a `Passed`, so it knows that this worker is awake.

use std::any::Any;
use std::cell::{Cell, OnceCell};
use std::future::Future;
use std::io::{self, Write as _};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use super::clock::{Lap, LapClock};
use super::outbox::Outbox;
use super::panic;
use crate::context::{About, CancelWatch, JobContext, Running};
use crate::os::{self, ChannelEnd, WithoutWaiting};
use crate::recorder::Farewell;
use crate::registry::{Encoded, Fault, JobEntry, Stage, Table, Wanted};
use crate::spin::{self, Spinner};
use crate::state::StateStore;
use crate::trace;
use crate::wire::{
    Flags, Frame, FrameBody, FrameReader, Header, PRELUDE_LEN, PanicReport, Prelude, Refusal,
    ToHost, ToWorker, Welcome, coarse,
};

/// How long the first job is looked for. If one waits, its host has to wake up for the greeting before
/// it sends it, which takes longer than between two jobs.
const FIRST_LOOK: Duration = Duration::from_micros(150);

/// Outputs that are surely held back, if so little is.
const SMALL: usize = 256;

/// Jobs that take so many nanoseconds may have closed the channel: to ask costs a thirtieth of it.
const WORTH_A_LOOK: u64 = 2_000;

/// A worker that has greeted its host.
pub(super) struct Worker {
    outbox: Arc<Outbox>,
    watch: Arc<CancelWatch>,
    table: &'static Table,
    welcome: Welcome,
    /// For async jobs; made at the first of them.
    runtime: OnceCell<Runtime>,
    states: StateStore,
    clock: LapClock,
    /// The job that was answered last.
    answered: Cell<u64>,
    /// Whether to look for the next job before sleeping.
    spinner: Spinner,
    /// Nothing has been waited for yet.
    is_new: Cell<bool>,
}

/// Why a worker serves no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// The host said so.
    Told,
    /// The host hung up.
    HostGone,
    /// It cannot go on.
    Broken(Farewell),
}

impl Worker {
    pub(super) fn new(
        outbox: Arc<Outbox>,
        watch: Arc<CancelWatch>,
        table: &'static Table,
        welcome: Welcome,
    ) -> Self {
        let (runtime, states) = (OnceCell::new(), StateStore::default());
        let spinner = Spinner::new(welcome.spins);
        let (clock, answered) = (LapClock::default(), Cell::new(0));
        let is_new = Cell::new(true);
        Worker { outbox, watch, table, welcome, runtime, states, clock, answered, spinner, is_new }
    }

    /// Hands over a panic report where the process is about to abort.
    pub(super) fn last_words(&self) -> impl Fn(PanicReport) + Send + Sync + 'static {
        let outbox = self.outbox.clone();
        move |report| {
            if let Some(seq) = outbox.running() {
                outbox.end();
                let sent = outbox.conclude(seq);
                let sent = sent.and_then(|()| {
                    outbox.send(ToHost::Panicked, Flags::NONE, seq, 0, &report.encode())
                });
                let sent = sent.and_then(|()| outbox.write_replies());
                if let Err(farewell) = sent {
                    outbox.part(farewell);
                }
            }
        }
    }

    /// Serves until it is over, and ends this process.
    pub(super) fn serve_and_leave(self) -> ! {
        match self.serve() {
            // `exit`, not `_exit`: what jobs have left for the end of the process runs.
            Over::Told => std::process::exit(0),
            // The guard sees it too, and ends the group.
            Over::HostGone => os::end_own_group(),
            Over::Broken(farewell) => self.outbox.part(farewell),
        }
    }

    /// Serves until it is over.
    pub(super) fn serve(&self) -> Over {
        let channel = self.outbox.channel();
        let limit = self.welcome.max_payload.saturating_add(PRELUDE_LEN as u64);
        let mut frames = FrameReader::<ToWorker>::new(limit);
        // Whether the frame that is being read was claimed before its body came.
        let mut claimed = None;
        loop {
            // Most are of this kind.
            let is_small = |header: &Header<_>| {
                header.kind == ToWorker::Run
                    && header.flags.has(Flags::CTX)
                    && !header.flags.has(Flags::BIG)
            };
            if let Some((header, body, behind)) = frames.next_in_place(is_small) {
                let done = match body.split_first_chunk() {
                    Some((prelude, body)) if self.watch.recorder.claim(header.seq) => {
                        let (prelude, body) = (Prelude::decode(prelude), FrameBody::Lies(body));
                        let is_flushed = header.flags.has(Flags::FLUSH);
                        let goes_on = || !is_flushed && header.is_like_first_of(behind);
                        self.run(&header, &prelude, body, goes_on)
                    }
                    Some(_) => self.pass(header.seq),
                    None => Err(Farewell::Confused),
                };
                match done {
                    Ok(()) => continue,
                    Err(farewell) => return Over::Broken(farewell),
                }
            }
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
                        let done = match (claimed.take().unwrap_or_else(claim), prelude) {
                            (true, Some(prelude)) => self.run(&header, &prelude, body, || false),
                            (true, None) => Err(Farewell::Confused),
                            (false, _) => self.pass(header.seq),
                        };
                        if let Err(farewell) = done {
                            return Over::Broken(farewell);
                        }
                    }
                    ToWorker::Shutdown => return Over::Told,
                    ToWorker::Welcome => return Over::Broken(Farewell::Confused),
                },
                Ok(None) => {
                    self.clock.stop();
                    match self.fill(&channel, &mut frames) {
                        Ok(0) => return Over::HostGone,
                        Ok(_) => {}
                        Err(farewell) => return Over::Broken(farewell),
                    }
                }
                Err(_) => return Over::Broken(Farewell::Confused),
            }
        }
    }

    /// Reads on; how many bytes came. Before it waits for them, all replies are written. While it
    /// looks for them, a host that looks as well need not be woken by that.
    fn fill(
        &self,
        channel: &ChannelEnd,
        frames: &mut FrameReader<ToWorker>,
    ) -> Result<usize, Farewell> {
        let mut filled = None;
        let limit = if self.is_new.take() { FIRST_LOOK } else { spin::LIMIT };
        self.spinner.spin_for(limit, || {
            if !self.watch.recorder.is_watched(self.answered.get()) {
                if let Err(farewell) = self.outbox.write_replies() {
                    filled = Some(Err(farewell));
                    return true;
                }
            }
            filled = match frames.fill(&mut WithoutWaiting(channel)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
                result => Some(result.map_err(|_| Farewell::ChannelLost)),
            };
            filled.is_some()
        });
        if let Some(filled) = filled {
            return filled;
        }
        self.outbox.write_replies()?;
        frames.fill(&mut &*channel).map_err(|_| Farewell::ChannelLost)
    }

    /// Passes over a job that was taken back.
    fn pass(&self, seq: u64) -> Result<(), Farewell> {
        self.outbox.send(ToHost::Passed, Flags::NONE, seq, 0, &[])
    }

    /// `goes_on`: whether a job of the same function lies behind this one, and nothing is to be written
    /// before it.
    fn run(
        &self,
        header: &Header<ToWorker>,
        prelude: &Prelude,
        body: FrameBody<'_>,
        goes_on: impl FnOnce() -> bool,
    ) -> Result<(), Farewell> {
        if header.flags.has(Flags::FLUSH) && self.outbox.holds_back() {
            self.outbox.write_replies()?;
            self.clock.stop();
        }
        self.clock.begin(header.job, os::nanos);
        let Some(job) = self.table.entry(header.job) else { return Err(Farewell::Confused) };
        self.follow_host();
        self.outbox.begin(header.seq);
        // Filled where they are: what is put together in parts, and moved right after, is waited for.
        let (mut output, mut given) = (Encoded::default(), Ok(()));
        let caught = {
            let about = About {
                id: prelude.id,
                name: job.name(),
                attempt: prelude.attempt,
                slot: self.welcome.slot as usize,
                until: prelude.remaining.map(|left| Instant::now() + left),
                seq: header.seq,
            };
            let running = Running::begin(about, &self.watch);
            let (runtime, states) = (&self.runtime, &self.states);
            let raw = header.flags.has(Flags::RAW);
            let mut scene = Scene { job, arguments: body, raw, running, runtime, states };
            // Only a fault is moved: what was just written in parts is waited for.
            let mut run = || {
                if let Err(fault) = (job.run)(&mut scene, &mut output) {
                    given = Err(fault);
                }
            };
            panic::catch(&mut run)
        };
        // A line without its end would be lost if this process is killed later on. A thread is not
        // killed, and somebody else in the program may hold stdout until this very job has ended.
        if !self.watch.is_of_thread() {
            let _ = std::io::stdout().flush();
            os::flush_c_stdout();
        }
        self.outbox.end();
        // Nothing is to be written in between, and the host has not just taken the next one back.
        let goes_on = || {
            let is_plain = matches!((&caught, &given), (Ok(()), Ok(())));
            let is_small = is_plain && output.bytes.len() <= SMALL && self.outbox.has_room();
            is_small && self.watch.recorder.next() == header.seq + 1 && goes_on()
        };
        let Lap { took, ended } = self.clock.end(goes_on, os::nanos);
        // A job that has closed the channel has ended its worker, whatever it returns, and the next one
        // must not pay for it. Of the shortest this is seen when something is read or written next, or
        // by the look that they share.
        if took >= WORTH_A_LOOK && !self.outbox.channel().is_open() {
            return Err(Farewell::ChannelLost);
        }
        let took = coarse::encode(Duration::from_nanos(took));
        self.outbox.conclude(header.seq)?;
        self.answered.set(header.seq);
        let reply = |kind, flags, body: &[u8]| {
            self.outbox.reply(kind, flags, header.seq, took, body, ended)
        };
        let limit = self.welcome.max_payload;
        let size = output.bytes.len() as u64;
        let replied = match (caught, given) {
            (Ok(()), Ok(())) if size <= limit => {
                reply(ToHost::Done, Flags::NONE.and_if(output.raw, Flags::RAW), &output.bytes)
            }
            (Ok(()), Ok(())) => {
                reply(ToHost::Failed, Flags::NONE, &Refusal::TooLarge { size, limit }.encode())
            }
            (Ok(()), Err(fault)) => {
                let refusal = match fault {
                    Fault::Decode(text) => Refusal::Decode(text),
                    Fault::Encode(text) => Refusal::Encode(text),
                    Fault::State(text) => Refusal::State(text),
                };
                reply(ToHost::Failed, Flags::NONE, &refusal.encode())
            }
            (Err(report), _) => reply(ToHost::Panicked, Flags::NONE, &report.encode()),
        };
        // What it took to write replies is not the next job's.
        if !self.outbox.holds_back() {
            self.clock.stop();
        }
        replied
    }

    /// What jobs log goes the way of their replies, as far as the host takes it by now. On a thread
    /// of the host it is the host's own.
    fn follow_host(&self) {
        if self.watch.is_of_thread() {
            return;
        }
        let level = || self.watch.recorder.log_level();
        trace::follow(level, || {
            let state = self.outbox.clone();
            (move || state.running().is_some(), self.outbox.way())
        });
    }

    /// What it keeps for its jobs goes; what these have left to its runtime is not waited for.
    pub(super) fn end(self) {
        drop(self.states);
        if let Some(runtime) = self.runtime.into_inner() {
            runtime.shutdown_background();
        }
    }
}

/// What a job's shim sees of this worker.
struct Scene<'a> {
    job: &'static JobEntry,
    /// Until they are taken.
    arguments: FrameBody<'a>,
    raw: bool,
    running: Running,
    runtime: &'a OnceCell<Runtime>,
    states: &'a StateStore,
}

impl Stage for Scene<'_> {
    #[inline]
    fn take_raw(&mut self) -> Option<Vec<u8>> {
        if self.raw { Some(self.arguments.take_vec()) } else { None }
    }

    #[inline]
    fn arguments(&self) -> &[u8] {
        self.arguments.as_slice()
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
