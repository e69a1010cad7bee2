//! The host's end of one worker: what is to be written, what was read, and how to end it.
//!
//! Its window (which jobs it was given) lies in the core, under the core's lock. Here is what may
//! be touched without that: the out-buffer under a lock of its own, and atomics.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use tokio::sync::Notify;

use super::body::Body;
use super::capture::Journal;
use super::cell::Output;
use super::limits::Limits;
use crate::error::{JobErrorKind, PanicInfo};
use crate::os::HostEnd;
use crate::recorder::Recorder;
use crate::scheduler::WorkerId;
use crate::stats::Progress;
use crate::trace::{self, RECORD_LIMIT, Record};
use crate::wire::{
    Flags, Frame, HEADER_LEN, Header, PRELUDE_LEN, PROGRESS_ROOM, PanicReport, Payload, Prelude,
    Refusal, ToHost, ToWorker, WireFault, coarse,
};

/// So much is not held back.
const MUCH: usize = 4 * 1024;
/// A worker that has fewer jobs to come to, on the channel, may run dry.
const FEW: u64 = 4;
/// What a submitting thread writes at most, while it holds the core's lock.
const WRITE_GRANT: usize = 64 * 1024;
/// What the driver writes in one turn.
const DRIVER_GRANT: usize = 256 * 1024;
/// Parts of one write: a head and a body each.
const PARTS: usize = 64;
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
    /// Up to where in the recorder's ring the replies have come over the channel.
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
}

#[derive(Debug, Default)]
struct Out {
    frames: VecDeque<OutFrame>,
    /// How many bytes they have.
    len: usize,
    /// The seq of the first job of which nothing was written.
    next: u64,
    /// The driver writes on as soon as the channel takes more; nobody else does.
    is_blocked: bool,
    /// The worker does not take any more.
    is_closed: bool,
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

/// One frame, its payload shared with its cell: once a byte of it is on the wire it has to be
/// finished, whatever became of the job.
#[derive(Debug)]
struct OutFrame {
    head: [u8; HEADER_LEN + PRELUDE_LEN],
    head_len: usize,
    payload: Payload,
    written: usize,
    /// `None`: not a job.
    seq: Option<u64>,
}

impl OutFrame {
    fn len(&self) -> usize {
        self.head_len + self.payload.as_slice().len()
    }

    /// What is left of its head and of its body.
    fn rest(&self) -> [&[u8]; 2] {
        let head = &self.head[..self.head_len];
        let body = self.payload.as_slice();
        let begun = self.written.saturating_sub(self.head_len);
        [&head[self.written.min(head.len())..], &body[begun..]]
    }
}

impl Out {
    /// So many bytes are on the wire.
    fn written(&mut self, mut count: usize) {
        while let Some(frame) = self.frames.front_mut() {
            let part = count.min(frame.len() - frame.written);
            frame.written += part;
            count -= part;
            self.len -= part;
            if let Some(seq) = frame.seq {
                self.next = seq + 1;
            }
            if frame.written < frame.len() {
                return;
            }
            self.frames.pop_front();
            if count == 0 {
                return;
            }
        }
    }
}

/// Lines up the first frames for one write of at most `limit` bytes; how many parts they have.
fn gather<'a>(
    frames: &'a VecDeque<OutFrame>,
    limit: usize,
    parts: &mut [IoSlice<'a>; PARTS],
) -> usize {
    let rests = frames.iter().flat_map(OutFrame::rest).filter(|rest| !rest.is_empty());
    let (mut count, mut left) = (0, limit);
    for (part, rest) in parts.iter_mut().zip(rests) {
        if left == 0 {
            break;
        }
        let rest = &rest[..rest.len().min(left)];
        left -= rest.len();
        *part = IoSlice::new(rest);
        count += 1;
    }
    count
}

/// What a worker answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) seq: u64,
    pub(crate) said: Said,
    /// How long the job ran, by the worker's own word.
    pub(crate) took: Duration,
    /// Its job leaves the worker beyond its memory limit.
    pub(crate) is_bloated: bool,
}

#[derive(Debug)]
pub(crate) enum Said {
    Done(Output),
    Failed(JobErrorKind),
    Panicked(PanicInfo),
    /// The job that runs has logged something.
    Logged(Record),
    /// It passed over a frame that was recalled.
    Awake,
    /// There is news in the recorder.
    News,
    /// How far its job is.
    Progress(Progress),
}

impl Said {
    /// Whether it is the answer to a job, which has ended by it.
    pub(super) fn ends_job(&self) -> bool {
        match self {
            Said::Done(_) | Said::Failed(_) | Said::Panicked(_) => true,
            Said::Logged(_) | Said::Awake | Said::News | Said::Progress(_) => false,
        }
    }
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
        }
    }

    /// Puts one job into the out-buffer, to be [flushed](Self::flush); its seq is the count of those
    /// that were sent before. Under the core's lock.
    /// `prompt`: the worker writes all replies before it begins.
    pub(super) fn run(
        &self,
        job: u16,
        raw: bool,
        prompt: bool,
        prelude: Prelude,
        payload: Payload,
    ) {
        let seq = self.sent.load(Ordering::Relaxed);
        self.sent.store(seq + 1, Ordering::Relaxed);
        if let Some(level) = trace::wanted() {
            self.recorder.want_log_level(level);
        }
        // `max_payload` keeps a body below 4 GiB.
        let body = payload.as_slice().len();
        let flags = Flags::CTX.and_if(prompt, Flags::FLUSH).and_if(raw, Flags::RAW);
        let flags = flags.and_if(body > crate::wire::BIG, Flags::BIG);
        let len = (PRELUDE_LEN + body) as u32;
        let header = Header { len, kind: ToWorker::Run, flags, job, seq };
        let mut head = [0; HEADER_LEN + PRELUDE_LEN];
        head[..HEADER_LEN].copy_from_slice(&header.encode());
        head[HEADER_LEN..].copy_from_slice(&prelude.encode());
        self.push(OutFrame { head, head_len: head.len(), payload, written: 0, seq: Some(seq) });
    }

    /// Tells the worker to exit.
    pub(super) fn stop(&self) {
        let kind = ToWorker::Shutdown;
        let header = Header { len: 0, kind, flags: Flags::NONE, job: 0, seq: 0 };
        let mut head = [0; HEADER_LEN + PRELUDE_LEN];
        head[..HEADER_LEN].copy_from_slice(&header.encode());
        let payload = Payload::EMPTY;
        self.push(OutFrame { head, head_len: HEADER_LEN, payload, written: 0, seq: None });
        self.flush();
    }

    fn push(&self, frame: OutFrame) {
        let mut out = self.out();
        if !out.is_closed {
            out.len += frame.len();
            out.frames.push_back(frame);
        }
    }

    /// Writes what fits now if it is much, or if the worker may run dry; false if that waits for the
    /// next reply, which comes before the worker has nothing to do. Under the core's lock.
    pub(super) fn flush_if_due(&self) -> bool {
        let out = self.out();
        let is_due = out.len >= MUCH || out.next < self.recorder.next().saturating_add(FEW);
        drop(out);
        if is_due {
            self.flush();
        }
        is_due
    }

    /// Writes what fits now. Under the core's lock.
    pub(super) fn flush(&self) {
        let mut out = self.out();
        if !out.is_blocked && self.write_some(&mut out, WRITE_GRANT) != Wrote::All {
            out.is_blocked = true;
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
        while !out.frames.is_empty() {
            if granted >= grant {
                return Wrote::ItsGrant;
            }
            let mut parts = std::array::from_fn(|_| IoSlice::new(&[]));
            let count = gather(&out.frames, grant - granted, &mut parts);
            match self.channel.try_write(&parts[..count]) {
                Ok(n) => {
                    granted += n;
                    out.written(n);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Wrote::UntilFull;
                }
                Err(error) => {
                    out.frames.clear();
                    out.len = 0;
                    out.is_closed = true;
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
        // What the worker would only pass over need not be written, unless it was begun.
        let recalled = |frame: &OutFrame| frame.seq.is_some_and(|seq| seq >= first);
        let mut out = self.out();
        out.frames.retain(|frame| frame.written > 0 || !recalled(frame));
        out.len = out.frames.iter().map(|frame| frame.len() - frame.written).sum();
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
        self.received.load(Ordering::Acquire).max(self.seen.load(Ordering::Acquire))
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

    /// What a checked frame says.
    pub(crate) fn read(frame: Frame<ToHost>) -> Result<Answer, WireFault> {
        let Frame { header, body, .. } = frame;
        let said = match header.kind {
            ToHost::Done => Said::Done(Output { payload: body, raw: header.flags.has(Flags::RAW) }),
            ToHost::Panicked => {
                let PanicReport { message, location, backtrace } =
                    PanicReport::decode(body.as_slice())?;
                Said::Panicked(PanicInfo { message, location, backtrace })
            }
            ToHost::Failed => Said::Failed(match Refusal::decode(body.as_slice())? {
                Refusal::Decode(text) => JobErrorKind::Decode(text),
                Refusal::Encode(text) => JobErrorKind::Encode(text),
                Refusal::State(text) => JobErrorKind::State(text),
                Refusal::TooLarge { size, limit } => JobErrorKind::PayloadTooLarge { size, limit },
            }),
            ToHost::Passed => Said::Awake,
            ToHost::Poke => Said::News,
            ToHost::Progress => Said::Progress(Progress::decode(body.as_slice())?),
            ToHost::Log => {
                let record = Record::read(body.as_slice());
                Said::Logged(record.ok_or(WireFault::Body("log record"))?)
            }
            ToHost::Hello => return Err(WireFault::Unexpected("an odd frame")),
        };
        let took = coarse::decode(header.job);
        Ok(Answer { seq: header.seq, said, took, is_bloated: false })
    }
}
