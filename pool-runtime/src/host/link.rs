//! The host's end of one worker: what is to be written, what was read, and how to end it.
//!
//! Its window (which jobs it was given) lies in the core, under the core's lock. Here is what may
//! be touched without that: the out-buffer under a lock of its own, and atomics.

use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use tokio::sync::Notify;

use super::body::Body;
use super::capture::Journal;
use super::cell::Arguments;
use super::limits::Limits;
use super::out::{Out, PIECE, SMALL};
use crate::error::{JobErrorKind, PanicInfo};
use crate::os::HostEnd;
use crate::recorder::Recorder;
use crate::scheduler::{Time, WorkerId};
use crate::stats::Progress;
use crate::trace::{self, RECORD_LIMIT, Record};
use crate::wire::{
    Flags, Frame, HEADER_LEN, Header, PRELUDE_LEN, PROGRESS_ROOM, PanicReport, Prelude, Refusal,
    ToHost, ToWorker, WireFault, coarse, put_words,
};

/// So much is not held back.
const MUCH: usize = 8 * 1024;
/// For so long a frame is held back, so that others go with it, if a reply is due that brings
/// somebody here.
const HELD_BACK: Duration = Duration::from_micros(20);
/// What a submitting thread writes at most.
const WRITE_GRANT: usize = 64 * 1024;
/// What is so large that the driver has no time for it.
pub(super) const LARGE: usize = 4 << 20;
/// What the driver writes in one turn.
const DRIVER_GRANT: usize = 256 * 1024;
/// Reports of a worker may be longer than a small `max_payload`, and never as long as a large one.
pub(super) const TEXT_ROOM: u64 = 512 * 1024;

#[derive(Debug)]
pub(crate) struct Link {
    pub(super) worker: WorkerId,
    pub(super) process: Body,
    pub(super) channel: HostEnd,
    pub(super) recorder: Recorder,
    /// Of a worker whose output is captured.
    pub(super) journal: Option<Journal>,
    /// How many jobs were put into the out-buffer: the seq of the next one.
    sent: AtomicU64,
    /// How much of the recorder's ring has come over the channel.
    received: AtomicU64,
    /// Up to where they were seen there.
    seen: AtomicU64,
    out: Mutex<Out>,
    /// What its jobs may have of memory.
    pub(super) limits: Limits,
    /// Tells the driver that the rest has to be written when the channel takes it.
    pub(super) blocked: Notify,
    /// Why the host gave this worker up, whatever its exit says.
    condemned: Mutex<Option<String>>,
    /// Somebody looks for replies, or will in a moment, as far as is known: also for those to jobs that
    /// it is given from now on.
    is_looked_at: AtomicBool,
}

/// How far a write came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrote {
    /// Nothing is left to be written, or ever will be.
    All,
    /// As much as it was to write.
    ItsGrant,
    /// The channel takes no more for now.
    UntilFull,
}

/// What a worker says, but for the outputs of jobs, which are taken as they come.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) seq: u64,
    pub(crate) said: Said,
    /// How long the job ran, by the worker's own word.
    pub(crate) took: Duration,
}

#[derive(Debug)]
pub(crate) enum Said {
    Failed(Box<JobErrorKind>),
    Panicked(Box<PanicInfo>),
    /// The job that runs has logged something.
    Logged(Box<Record>),
    /// It passed over a frame that was recalled.
    Awake,
    /// There is news in the recorder.
    News,
    /// How far its job is.
    Progress(Box<Progress>),
}

impl Link {
    pub(super) fn new(
        worker: WorkerId,
        process: Body,
        channel: HostEnd,
        recorder: Recorder,
        journal: Option<Journal>,
    ) -> Self {
        Link {
            worker,
            process,
            channel,
            recorder,
            journal,
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            seen: AtomicU64::new(0),
            out: Mutex::default(),
            limits: Limits::default(),
            blocked: Notify::new(),
            condemned: Mutex::new(None),
            is_looked_at: AtomicBool::new(false),
        }
    }

    /// Puts one job behind `frames`, to be [handed over](Self::hand_over) with them; its seq is the
    /// count of those that were sent before. Under the core's lock.
    /// `prompt`: the worker writes all replies before it begins.
    pub(super) fn run(
        &self,
        frames: &mut Vec<u8>,
        job: u16,
        raw: bool,
        prompt: bool,
        prelude: Prelude,
        arguments: Arguments<'_>,
    ) {
        let seq = self.sent.load(Ordering::Relaxed);
        self.sent.store(seq + 1, Ordering::Relaxed);
        if let Some(level) = trace::wanted() {
            self.recorder.want_log_level(level);
        }
        // `max_payload` keeps a body below 4 GiB.
        let len = arguments.len();
        let flags = Flags::CTX.and_if(prompt, Flags::FLUSH).and_if(raw, Flags::RAW);
        let flags = flags.and_if(len > crate::wire::BIG, Flags::BIG);
        let len = (PRELUDE_LEN + len) as u32;
        let header = Header { len, kind: ToWorker::Run, flags, job, seq };
        let (header, prelude) = (header.words(), prelude.words());
        let put_head = |bytes: &mut Vec<u8>| {
            put_words(bytes, header);
            put_words(bytes, prelude);
        };
        match arguments {
            Arguments::Few(few) => {
                put_head(frames);
                let end = frames.len() + few.len();
                put_words(frames, few.words());
                frames.truncate(end);
            }
            Arguments::Whole(body) if body.as_slice().len() <= SMALL => {
                put_head(frames);
                frames.extend_from_slice(body.as_slice());
            }
            Arguments::Whole(body) => {
                let mut head = Vec::with_capacity(HEADER_LEN + PRELUDE_LEN);
                put_head(&mut head);
                let mut out = self.out();
                out.append(frames, seq);
                return out.push_large(head, body.clone(), seq + 1);
            }
        }
        if frames.len() >= PIECE {
            self.hand_over(frames);
        }
    }

    /// Puts all `frames` into the out-buffer, to be [flushed](Self::flush). Under the core's lock.
    pub(super) fn hand_over(&self, frames: &mut Vec<u8>) {
        if !frames.is_empty() {
            self.out().append(frames, self.sent());
        }
    }

    /// Tells the worker to exit.
    pub(super) fn stop(&self) {
        let kind = ToWorker::Shutdown;
        let header = Header { len: 0, kind, flags: Flags::NONE, job: 0, seq: 0 };
        self.out().append(&mut header.encode().to_vec(), self.sent());
        self.flush();
    }

    /// Whether what is to be written has to go now: it is much, the last write was a while ago, or
    /// no reply is to be waited for. `awaited`: the seq of the first job without one. If it is held
    /// back, whoever brings that reply asks again. Under the core's lock.
    pub(super) fn is_due(&self, awaited: Option<u64>, now: Time) -> bool {
        let mut out = self.out();
        let is_awaited = awaited.is_some_and(|seq| seq < out.next());
        let is_due = out.len() >= MUCH || !is_awaited || now.since(out.wrote_at) >= HELD_BACK;
        if is_due {
            out.wrote_at = now;
        }
        is_due
    }

    /// Writes what fits now.
    pub(super) fn flush(&self) {
        let mut out = self.out();
        if !out.is_blocked && self.write_some(&mut out, WRITE_GRANT) != Wrote::All {
            out.is_blocked = true;
            self.blocked.notify_one();
        }
    }

    /// Finds out whether the worker has stopped listening, for a frame that lies there already: else
    /// the next write does.
    pub(super) fn probe(&self) {
        use io::ErrorKind::{BrokenPipe, ConnectionReset};
        // Some systems want a part, be it empty.
        let probed = self.channel.try_write(&[IoSlice::new(&[])]);
        let is_lost = |error: &io::Error| matches!(error.kind(), BrokenPipe | ConnectionReset);
        if probed.is_err_and(|error| is_lost(&error)) {
            self.out().close();
            self.blocked.notify_one();
        }
    }

    /// The driver's part of writing. True if the channel takes no more for now.
    pub(super) fn write_on(&self) -> bool {
        let mut out = self.out();
        let wrote = self.write_some(&mut out, DRIVER_GRANT);
        out.is_blocked = wrote != Wrote::All;
        wrote == Wrote::UntilFull
    }

    /// Whether so much has to be written that the driver has no time for it.
    pub(super) fn has_much_to_write(&self) -> bool {
        let out = self.out();
        out.is_blocked && out.len() >= LARGE
    }

    /// Whether the driver has something to write.
    pub(super) fn is_blocked(&self) -> bool {
        self.out().is_blocked
    }

    /// Whether nothing can be written any more.
    pub(super) fn is_closed(&self) -> bool {
        self.out().is_closed
    }

    /// Writes about `grant` bytes.
    fn write_some(&self, out: &mut Out, grant: usize) -> Wrote {
        let mut granted = 0;
        while !out.is_empty() {
            if granted >= grant {
                return Wrote::ItsGrant;
            }
            let mut parts = std::array::from_fn(|_| IoSlice::new(&[]));
            let count = out.gather(grant - granted, &mut parts);
            match self.channel.try_write(&parts[..count]) {
                Ok(n) => {
                    granted += n;
                    out.written(n);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Wrote::UntilFull;
                }
                Err(error) => {
                    out.close();
                    self.blocked.notify_one();
                    // The worker is gone, or has closed its end, and the driver sees to it; or else
                    // the frame is cut off, and nothing that is written behind it would be
                    // understood.
                    use io::ErrorKind::{BrokenPipe, ConnectionReset};
                    if !matches!(error.kind(), BrokenPipe | ConnectionReset) {
                        self.condemn(format!("writing to it failed: {error}"));
                    }
                    return Wrote::All;
                }
            }
        }
        Wrote::All
    }

    /// Takes back every job that was not claimed: returns the seq of the first. Under the core's
    /// lock, as `run`.
    pub(super) fn recall(&self) -> u64 {
        let sent = self.sent.load(Ordering::Relaxed);
        let first = self.recorder.recall(sent).unwrap_or_else(|| {
            self.condemn("it scribbles in the recorder".to_owned());
            sent
        });
        self.limits.recall(first);
        self.out().recall(first);
        first
    }

    /// The last lines that it wrote to stderr, where these are captured.
    pub(super) fn stderr_tail(&self) -> Option<Arc<str>> {
        self.journal.as_ref().and_then(Journal::tail)
    }

    /// The worker's number.
    pub(super) fn slot(&self) -> usize {
        self.worker.slot as usize
    }

    /// How many jobs were sent.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Another frame of the ring, of so many bytes, has come over the channel. By the driver only.
    pub(super) fn receive(&self, len: usize) {
        let received = self.received.load(Ordering::Relaxed) + len as u64;
        self.received.store(received, Ordering::Release);
    }

    /// From where on the recorder's ring has replies that the host has not got: what came over the
    /// channel is on its way to the core, if it is not there yet.
    pub(super) fn unseen(&self) -> u64 {
        let received = self.received.load(Ordering::Acquire);
        let passed = received.wrapping_add(self.recorder.left_out());
        passed.max(self.seen.load(Ordering::Acquire))
    }

    /// Somebody looks for the replies to jobs up to this one, and to those that it is given meanwhile.
    pub(super) fn look_at_up_to(&self, seq: u64) {
        self.is_looked_at.store(true, Ordering::Relaxed);
        self.recorder.watch(seq);
    }

    /// Whoever did looks no more, once this is over.
    pub(super) fn look_away(&self) {
        self.is_looked_at.store(false, Ordering::Relaxed);
        self.recorder.unwatch();
    }

    pub(super) fn is_looked_at(&self) -> bool {
        self.is_looked_at.load(Ordering::Relaxed)
    }

    /// What came over the channel was not looked for.
    pub(super) fn nobody_looked(&self) {
        if self.is_looked_at() {
            self.is_looked_at.store(false, Ordering::Relaxed);
        }
    }

    /// Whether there may be such replies.
    pub(super) fn has_unseen_replies(&self) -> bool {
        self.recorder.has_news(self.unseen())
    }

    /// The ring's frames are booked up to there. Under the core's lock.
    pub(super) fn see(&self, to: u64) {
        self.seen.store(to, Ordering::Release);
        self.recorder.see(to);
    }

    /// Whether job `seq` was started, as far as the recorder says.
    pub(super) fn was_claimed(&self, seq: u64) -> bool {
        seq < self.recorder.next()
    }

    /// Ends the worker; a thread only when what it runs has returned.
    pub(super) fn kill(&self) {
        self.process.kill();
        if self.process.is_thread() {
            self.channel.hang_up();
        }
    }

    /// Asks job `seq` to stop. Returns who has to be woken for it.
    pub(super) fn ask(&self, seq: u64) -> Vec<Waker> {
        self.recorder.ask(seq);
        self.process.take_waiting()
    }

    /// Ends the worker for a fault of its own, which its death is then reported with.
    pub(super) fn condemn(&self, reason: String) {
        self.condemned.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason);
        self.kill();
    }

    pub(super) fn is_condemned(&self) -> bool {
        self.condemned.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    pub(super) fn verdict(&self) -> Option<String> {
        self.condemned.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn out(&self) -> MutexGuard<'_, Out> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Answer {
    /// Checks a header before its body is awaited: `sent` jobs were sent, and outputs may have
    /// `limit` bytes.
    pub(crate) fn check(header: &Header<ToHost>, sent: u64, limit: u64) -> Result<(), WireFault> {
        let len = u64::from(header.len);
        match header.kind {
            ToHost::Done if len > limit => Err(WireFault::Length { len, limit }),
            ToHost::Failed | ToHost::Panicked if len > TEXT_ROOM => {
                Err(WireFault::Length { len, limit: TEXT_ROOM })
            }
            ToHost::Log if RECORD_LIMIT == 0 => {
                Err(WireFault::Unexpected("a log frame that nobody asked for"))
            }
            ToHost::Log if len > u64::from(RECORD_LIMIT) => {
                Err(WireFault::Length { len, limit: RECORD_LIMIT.into() })
            }
            ToHost::Progress if len > PROGRESS_ROOM => {
                Err(WireFault::Length { len, limit: PROGRESS_ROOM })
            }
            ToHost::Poke | ToHost::Passed if len > 0 => {
                Err(WireFault::Unexpected("a poke with a body"))
            }
            ToHost::Done
            | ToHost::Failed
            | ToHost::Panicked
            | ToHost::Log
            | ToHost::Poke
            | ToHost::Passed
            | ToHost::Progress => {
                let seq = header.seq;
                if seq < sent { Ok(()) } else { Err(WireFault::Seq { seq }) }
            }
            ToHost::Hello => Err(WireFault::Unexpected("a second greeting")),
        }
    }

    /// What a checked frame says, if it brings no output.
    pub(crate) fn read(frame: &Frame<'_, ToHost>) -> Result<Answer, WireFault> {
        let Frame { header, body, .. } = frame;
        let said = match header.kind {
            ToHost::Panicked => {
                let PanicReport { message, location, backtrace } =
                    PanicReport::decode(body.as_slice())?;
                Said::Panicked(Box::new(PanicInfo { message, location, backtrace }))
            }
            ToHost::Failed => Said::Failed(Box::new(match Refusal::decode(body.as_slice())? {
                Refusal::Decode(text) => JobErrorKind::Decode(text),
                Refusal::Encode(text) => JobErrorKind::Encode(text),
                Refusal::State(text) => JobErrorKind::State(text),
                Refusal::TooLarge { size, limit } => JobErrorKind::PayloadTooLarge { size, limit },
            })),
            ToHost::Passed => Said::Awake,
            ToHost::Poke => Said::News,
            ToHost::Progress => Said::Progress(Box::new(Progress::decode(body.as_slice())?)),
            ToHost::Log => {
                let record = Record::read(body.as_slice());
                Said::Logged(Box::new(record.ok_or(WireFault::Body("log record"))?))
            }
            ToHost::Done | ToHost::Hello => return Err(WireFault::Unexpected("an odd frame")),
        };
        let took = Duration::from_nanos(coarse::decode(header.job));
        Ok(Answer { seq: header.seq, said, took })
    }
}
