//! The way back to the host: replies, and what is said beside them by any thread of a job.
//!
//! One frame is written at a time. A reply waits until the channel takes it, as long as that may
//! be. What is said beside it (a record of something that was logged) waits a moment at most: it
//! goes into a backlog, and whoever holds the channel writes it. While the host does not read, or
//! the backlog is full, records are dropped and counted.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use crate::context::CancelWatch;
use crate::os::{self, ChannelEnd};
use crate::recorder::Farewell;
use crate::trace;
use crate::wire::{BIG, Flags, Header, ToHost};

/// No job is running.
const NO_SEQ: u64 = u64::MAX;
/// Bytes of records that wait to be written.
const BACKLOG: usize = 256 * 1024;
/// How long a thread that logs waits for a host that does not read.
const PATIENCE: Duration = Duration::from_millis(100);

pub(super) struct Outbox {
    channel: Arc<ChannelEnd>,
    watch: Arc<CancelWatch>,
    /// A fork of this process has the channel too, and is not its worker.
    pid: u32,
    /// The job that runs now. Changes under the lock of the backlog, so that nothing is said of a
    /// job behind its reply.
    running: AtomicU64,
    /// Held while something is written.
    gate: Mutex<Gate>,
    backlog: Mutex<Backlog>,
}

/// Whoever holds it may write.
#[derive(Default)]
struct Gate {
    /// Taken from the backlog, and not written yet; the first frame may be in part.
    rest: Vec<u8>,
    written: usize,
    /// The host did not read when it was last tried.
    is_stuck: bool,
}

#[derive(Default)]
struct Backlog {
    frames: Vec<u8>,
    dropped: u64,
}

/// What became of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flushed {
    All,
    /// The channel takes no more.
    Stuck,
}

impl Outbox {
    pub(super) fn new(channel: Arc<ChannelEnd>, watch: Arc<CancelWatch>) -> Self {
        Outbox {
            channel,
            watch,
            pid: std::process::id(),
            running: AtomicU64::new(NO_SEQ),
            gate: Mutex::default(),
            backlog: Mutex::default(),
        }
    }

    pub(super) fn channel(&self) -> Arc<ChannelEnd> {
        self.channel.clone()
    }

    /// A job runs from here on.
    pub(super) fn begin(&self, seq: u64) {
        self.running.store(seq, Ordering::Release);
    }

    /// The job is over: what is said from here on is not said of it.
    pub(super) fn end(&self) {
        let mut backlog = self.backlog();
        let seq = self.running.swap(NO_SEQ, Ordering::AcqRel);
        let dropped = std::mem::take(&mut backlog.dropped);
        if dropped > 0 {
            push_frame(&mut backlog.frames, seq, &trace::dropped(dropped));
        }
    }

    /// The job that runs now.
    pub(super) fn running(&self) -> Option<u64> {
        Some(self.running.load(Ordering::Acquire)).filter(|seq| *seq != NO_SEQ)
    }

    /// Writes a reply, behind all that was said before it.
    pub(super) fn send(
        &self,
        kind: ToHost,
        flags: Flags,
        seq: u64,
        took: u16,
        body: &[u8],
    ) -> Result<(), Farewell> {
        // Below 4 GiB: outputs are held to `max_payload`, texts are cut.
        let len = body.len() as u32;
        let flags = flags.and_if(body.len() > BIG, Flags::BIG);
        let header = Header { len, kind, flags, job: took, seq };
        let mut gate = self.gate();
        let written = self.write_rest(&mut gate);
        let written = written.and_then(|()| self.channel.write_all(&header.encode(), body));
        drop(gate);
        // The channel is lost; or the host is gone, which the guard is about to notice.
        written.map_err(|_| Farewell::ChannelLost)
    }

    /// Writes all that was said, however long that takes.
    fn write_rest(&self, gate: &mut Gate) -> io::Result<()> {
        loop {
            gate.take_from(&mut self.backlog());
            if gate.rest.is_empty() {
                return Ok(());
            }
            self.channel.write_all(&gate.rest, &[])?;
            gate.clear();
        }
    }

    /// Says something of the running job, unless there is none.
    pub(super) fn log(&self, body: &[u8]) {
        // Its locks are copies of ours, in whatever state.
        if std::process::id() != self.pid {
            return;
        }
        if self.put(body).is_err() {
            // Make room, and wait for whoever is at it.
            let mut gate = self.gate();
            let patience = gate.patience();
            self.flush(&mut gate, patience);
            drop(gate);
            if let Err(mut full) = self.put(body) {
                full.dropped += 1;
            }
        }
        self.write_on();
    }

    /// Puts a record into the backlog, unless that is full.
    fn put(&self, body: &[u8]) -> Result<(), MutexGuard<'_, Backlog>> {
        let mut backlog = self.backlog();
        let Some(seq) = self.running() else { return Ok(()) };
        if backlog.frames.len() + body.len() > BACKLOG {
            return Err(backlog);
        }
        push_frame(&mut backlog.frames, seq, body);
        Ok(())
    }

    /// Writes the backlog, unless somebody else is writing, who looks at it afterwards.
    fn write_on(&self) {
        loop {
            let mut gate = match self.gate.try_lock() {
                Ok(gate) => gate,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => return,
            };
            let patience = gate.patience();
            let flushed = self.flush(&mut gate, patience);
            drop(gate);
            fence(Ordering::SeqCst);
            if flushed == Flushed::Stuck || self.backlog().frames.is_empty() {
                return;
            }
        }
    }

    /// Writes what is in the backlog now.
    fn flush(&self, gate: &mut Gate, patience: Duration) -> Flushed {
        gate.take_from(&mut self.backlog());
        while gate.written < gate.rest.len() {
            match self.channel.write_some(&gate.rest[gate.written..], patience) {
                Ok(n) => gate.written += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    gate.is_stuck = true;
                    return Flushed::Stuck;
                }
                Err(_) => self.part(Farewell::ChannelLost),
            }
        }
        gate.clear();
        Flushed::All
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn backlog(&self) -> MutexGuard<'_, Backlog> {
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends this process, and leaves word why.
    pub(super) fn part(&self, farewell: Farewell) -> ! {
        self.watch.recorder.say_farewell(farewell);
        os::leave(os::EXIT_BROKEN)
    }
}

impl Gate {
    /// Takes all that waits, behind what is left of what was taken before; if that is much, it
    /// goes first.
    fn take_from(&mut self, backlog: &mut Backlog) {
        self.rest.drain(..self.written);
        self.written = 0;
        if self.rest.is_empty() {
            std::mem::swap(&mut self.rest, &mut backlog.frames);
        } else if self.rest.len() + backlog.frames.len() <= BACKLOG {
            self.rest.append(&mut backlog.frames);
        }
    }

    fn clear(&mut self) {
        self.rest.clear();
        self.written = 0;
        self.is_stuck = false;
    }

    fn patience(&self) -> Duration {
        if self.is_stuck { Duration::ZERO } else { PATIENCE }
    }
}

fn push_frame(frames: &mut Vec<u8>, seq: u64, body: &[u8]) {
    // A record is far shorter than 4 GiB.
    let len = body.len() as u32;
    let header = Header { len, kind: ToHost::Log, flags: Flags::NONE, job: 0, seq };
    frames.extend_from_slice(&header.encode());
    frames.extend_from_slice(body);
}
