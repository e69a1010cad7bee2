//! The way back to the host: replies, and what is said beside them by any thread of a job.
//!
//! A reply is put into the recorder's ring, and there it counts: the host can see it. It lies nowhere
//! else until it goes over the channel. That is later, unless it was seen by then, and together with
//! others: when there is nothing else to do, when they are many or the oldest has waited for long,
//! and before a job with which that would be too long. A large reply goes at once, and so does one of a job that
//! has logged: what it said comes first.
//!
//! One frame is written at a time. A reply waits until the channel takes it, as long as that may
//! be. What is said beside it (a record of something that was logged) waits a moment at most: it
//! goes into a backlog, and whoever holds the channel writes it. While the host does not read, or
//! the backlog is full, records are dropped and counted.
//!
//! A poke (there is news in the recorder) does not wait at all: it is written only if nobody else
//! is writing and the channel takes it now. Else it is *due*: the guard tries again every few
//! milliseconds, and whoever writes the next reply takes it along. What the channel took in part is finished
//! before anything else.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use crate::context::CancelWatch;
use crate::os::{self, ChannelEnd};
use crate::recorder::{Farewell, Recorder};
use crate::trace;
use crate::wire::{BIG, Flags, HEADER_LEN, Header, RING_ROOM, ToHost};

use batch::{BATCH, Batch};

mod batch;

/// No job is running.
const NO_SEQ: u64 = u64::MAX;
/// Bytes of records that wait to be written.
const BACKLOG: usize = 256 * 1024;
/// More than a small reply has.
const MARGIN: u64 = 512;
/// How long a thread that logs waits for a host that does not read.
const PATIENCE: Duration = Duration::from_millis(100);

pub(super) struct Outbox {
    channel: Arc<ChannelEnd>,
    watch: Arc<CancelWatch>,
    /// A fork of this process has the channel too, and is not its worker.
    depth: u32,
    /// The job that runs now.
    running: AtomicU64,
    /// It has logged something, or somebody is about to. Changes under the lock of the backlog: set
    /// before `running` is looked at, and looked at after that has changed, each with a fence between
    /// (`model.rs`). So nothing is said of a job behind its reply, and a job that has said nothing
    /// ends without the lock.
    has_logged: AtomicBool,
    /// The job that ended last has logged something.
    had_logged: AtomicBool,
    /// Somebody has a [way](Self::way) to log.
    has_way: AtomicBool,
    batch: Batch,
    /// What was taken to be written is not on the channel yet: the batch does not tell of it any more.
    has_rest: AtomicBool,
    /// Held while something is written.
    gate: Mutex<Gate>,
    backlog: Mutex<Backlog>,
    /// A poke is to be written.
    poke: AtomicBool,
    /// One is among what could not be written.
    poke_is_stuck: AtomicBool,
}

/// Whoever holds it may write.
#[derive(Default)]
struct Gate {
    /// Taken from the backlog, and not written yet; the first frame may be in part.
    rest: Vec<u8>,
    written: usize,
    /// The host did not read when it was last tried.
    is_stuck: bool,
    /// Bytes of replies that the host has seen before they were written.
    left_out: u64,
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
    /// Jobs report by it from here on.
    pub(super) fn new(channel: Arc<ChannelEnd>, watch: &Arc<CancelWatch>) -> Arc<Self> {
        let outbox = Arc::new(Outbox {
            channel,
            watch: watch.clone(),
            depth: os::fork_depth(),
            running: AtomicU64::new(NO_SEQ),
            has_logged: AtomicBool::new(false),
            had_logged: AtomicBool::new(false),
            has_way: AtomicBool::new(false),
            batch: Batch::new(),
            has_rest: AtomicBool::new(false),
            gate: Mutex::default(),
            backlog: Mutex::default(),
            poke: AtomicBool::new(false),
            poke_is_stuck: AtomicBool::new(false),
        });
        // A thread that plays a worker has an end, and with it all that was its own.
        let way = Arc::downgrade(&outbox);
        watch.reporter.poke_by(move |is_new| way.upgrade().is_none_or(|way| way.poke(is_new)));
        outbox
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
        let seq = self.running.load(Ordering::Relaxed);
        self.running.store(NO_SEQ, Ordering::Release);
        // Without a way nobody can have logged: this is most of what the end of a job costs.
        if !self.has_way.load(Ordering::Relaxed) {
            return;
        }
        fence(Ordering::SeqCst);
        let has_logged = self.has_logged.load(Ordering::Acquire);
        self.had_logged.store(has_logged, Ordering::Relaxed);
        if has_logged {
            self.end_log(seq);
        }
    }

    /// Waits for whoever is about to say something of the job, and says what could not be said.
    #[cold]
    fn end_log(&self, seq: u64) {
        let mut backlog = self.backlog();
        self.has_logged.store(false, Ordering::Relaxed);
        let dropped = std::mem::take(&mut backlog.dropped);
        if dropped > 0 {
            push_frame(&mut backlog.frames, seq, &trace::dropped(dropped));
        }
    }

    /// The job that runs now.
    pub(super) fn running(&self) -> Option<u64> {
        Some(self.running.load(Ordering::SeqCst)).filter(|seq| *seq != NO_SEQ)
    }

    /// Says something, behind all that was said before it. It may be
    /// [held back](Self::write_replies).
    pub(super) fn send(
        &self,
        kind: ToHost,
        flags: Flags,
        seq: u64,
        took: u16,
        body: &[u8],
    ) -> Result<(), Farewell> {
        self.reply(kind, flags, seq, took, body, None)
    }

    /// The same; `now`, if it is known, tells whether what was held back has waited for long. By the
    /// thread that runs the jobs.
    pub(super) fn reply(
        &self,
        kind: ToHost,
        flags: Flags,
        seq: u64,
        took: u16,
        body: &[u8],
        now: Option<u64>,
    ) -> Result<(), Farewell> {
        // Below 4 GiB: outputs are held to `max_payload`, texts are cut.
        let len = body.len() as u32;
        let fits = body.len() <= RING_ROOM && !self.had_logged.load(Ordering::Relaxed);
        let flags = flags.and_if(body.len() > BIG, Flags::BIG).and_if(fits, Flags::RING);
        let header = Header { len, kind, flags, job: took, seq };
        let written = if fits {
            self.batch.put(&self.watch.recorder, &header, body);
            match self.batch.may_be_due(now) {
                true => self.write_due(now),
                false => Ok(()),
            }
        } else {
            let mut gate = self.gate();
            let written = self.write_rest(&mut gate);
            written.and_then(|()| self.channel.write_all(&header.encode(), body))
        };
        // The channel is lost; or the host is gone, which the guard is about to notice.
        written.map_err(|_| Farewell::ChannelLost)
    }

    /// Writes what was held back if it is too much or has waited for long, now that it is looked at
    /// what of it the host has seen.
    #[cold]
    fn write_due(&self, now: Option<u64>) -> io::Result<()> {
        let mut gate = self.gate();
        let was_seen = gate.forget_seen(&self.batch, &self.watch.recorder);
        let held = self.batch.held();
        if held >= BATCH || held > 0 && !was_seen {
            return self.write_rest(&mut gate);
        }
        // What is left has not waited for long.
        self.batch.may_be_due(now);
        Ok(())
    }

    /// Whether any are held back, or were taken by somebody who has not written them. If not, the last
    /// one has just been written, or seen.
    #[inline]
    pub(super) fn holds_back(&self) -> bool {
        self.batch.held() > 0 || self.has_rest.load(Ordering::Acquire)
    }

    /// Whether a small reply is surely held back.
    #[inline]
    pub(super) fn has_room(&self) -> bool {
        self.batch.held() < BATCH - MARGIN && !self.had_logged.load(Ordering::Relaxed)
    }

    /// Writes the replies that were held back, unless the host has seen them.
    pub(super) fn write_replies(&self) -> Result<(), Farewell> {
        if !self.holds_back() {
            return Ok(());
        }
        let mut gate = self.gate();
        gate.forget_seen(&self.batch, &self.watch.recorder);
        // Somebody else may have had to leave it, since the host did not read.
        if self.batch.held() == 0 && gate.rest.is_empty() {
            return Ok(());
        }
        self.write_rest(&mut gate).map_err(|_| Farewell::ChannelLost)
    }

    /// The job is over: writes what it has said last of its progress, if anything.
    #[inline]
    pub(super) fn conclude(&self, seq: u64) -> Result<(), Farewell> {
        match self.watch.reporter.conclude(&self.watch.recorder, seq) {
            Some(last) => self.send(ToHost::Progress, Flags::NONE, seq, 0, &last.encode()),
            None => Ok(()),
        }
    }

    /// Tells the host that there is news in the recorder; not `is_new`: unless it was told.
    /// Never waits. False if somebody has to [try again](Self::try_poke).
    fn poke(&self, is_new: bool) -> bool {
        // Its locks are copies of ours, in whatever state.
        if os::fork_depth() != self.depth {
            return true;
        }
        if is_new {
            self.poke.store(true, Ordering::SeqCst);
            fence(Ordering::SeqCst);
        }
        self.try_poke();
        !self.is_poke_due()
    }

    /// Whether a poke waits to be written.
    pub(super) fn is_poke_due(&self) -> bool {
        self.poke.load(Ordering::SeqCst) || self.poke_is_stuck.load(Ordering::SeqCst)
    }

    /// Writes the poke that is due, if that can be done now.
    pub(super) fn try_poke(&self) {
        loop {
            let mut gate = match self.gate.try_lock() {
                Ok(gate) => gate,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => return,
            };
            if !self.is_poke_due() {
                return;
            }
            // Due until it is written: else the guard could look in between, and sleep.
            self.poke_is_stuck.store(true, Ordering::SeqCst);
            self.take_poke(&mut gate);
            // The host is gone or the channel is lost: the guard and the next reply notice.
            let flushed = self.try_flush(&mut gate, Duration::ZERO);
            let is_stuck = matches!(flushed, Ok(Flushed::Stuck));
            self.poke_is_stuck.store(is_stuck, Ordering::SeqCst);
            drop(gate);
            fence(Ordering::SeqCst);
            // Another thread's, which found the gate closed.
            if is_stuck || !self.poke.load(Ordering::SeqCst) {
                return;
            }
        }
    }

    /// Puts the poke that is due behind what waits already.
    fn take_poke(&self, gate: &mut Gate) {
        if self.poke.swap(false, Ordering::SeqCst) {
            gate.rest.extend_from_slice(&poke_frame());
        }
    }

    /// Writes all that was said, however long that takes.
    fn write_rest(&self, gate: &mut Gate) -> io::Result<()> {
        self.take_poke(gate);
        self.poke_is_stuck.store(false, Ordering::SeqCst);
        loop {
            self.take_to(gate);
            if gate.rest.is_empty() {
                return Ok(());
            }
            self.channel.write_all(&gate.rest, &[])?;
            self.clear(gate);
        }
    }

    /// A way to say something of the job that runs then, by any thread. To be asked for between jobs.
    pub(super) fn way(self: &Arc<Self>) -> impl Fn(&[u8]) + Send + Sync + use<> {
        self.has_way.store(true, Ordering::Relaxed);
        let way = self.clone();
        move |body| way.log(body)
    }

    /// Says something of the running job, unless there is none.
    fn log(&self, body: &[u8]) {
        // Its locks are copies of ours, in whatever state.
        if os::fork_depth() != self.depth {
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
        self.has_logged.store(true, Ordering::Release);
        fence(Ordering::SeqCst);
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
        self.try_flush(gate, patience).unwrap_or_else(|_| self.part(Farewell::ChannelLost))
    }

    fn try_flush(&self, gate: &mut Gate, patience: Duration) -> io::Result<Flushed> {
        self.take_to(gate);
        while gate.written < gate.rest.len() {
            match self.channel.write_some(&gate.rest[gate.written..], patience) {
                Ok(n) => gate.written += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    gate.is_stuck = true;
                    return Ok(Flushed::Stuck);
                }
                Err(error) => return Err(error),
            }
        }
        self.clear(gate);
        Ok(Flushed::All)
    }

    /// Takes all that waits, behind what is left of what was taken before; if that is much, it
    /// goes first. What was logged last is of a later job than the replies: these are looked at under
    /// the lock of the backlog, so a reply that was put before a record came is not left behind
    /// (`model.rs`).
    fn take_to(&self, gate: &mut Gate) {
        gate.rest.drain(..gate.written);
        gate.written = 0;
        // Said before the batch is shorter: whoever sees that sees this.
        self.has_rest.store(true, Ordering::Release);
        let mut backlog = self.backlog();
        self.batch.take_to(&self.watch.recorder, &mut gate.rest);
        if gate.rest.is_empty() {
            std::mem::swap(&mut gate.rest, &mut backlog.frames);
        } else if gate.rest.len() + backlog.frames.len() <= BACKLOG {
            gate.rest.append(&mut backlog.frames);
        }
        drop(backlog);
        if gate.rest.is_empty() {
            self.clear(gate);
        }
    }

    /// All is written that was taken.
    fn clear(&self, gate: &mut Gate) {
        gate.rest.clear();
        gate.written = 0;
        gate.is_stuck = false;
        self.has_rest.store(false, Ordering::Release);
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
        match farewell {
            // Perhaps because the host is gone; and the guard, which sees that a moment later, ends
            // with this process: nobody else would end what jobs have left in its group.
            Farewell::ChannelLost => os::end_own_group(),
            Farewell::Confused => os::leave(os::EXIT_BROKEN),
        }
    }
}

impl Gate {
    /// What the host has seen need not come over the channel, and is not held back any more. Whether
    /// there was any of it.
    fn forget_seen(&mut self, batch: &Batch, recorder: &Recorder) -> bool {
        let seen = batch.forget_below(recorder.seen());
        if seen > 0 {
            self.left_out += seen;
            recorder.leave_out(self.left_out);
        }
        seen > 0
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

/// Of no job in particular, and yet with a number that was sent: some job has run.
fn poke_frame() -> [u8; HEADER_LEN] {
    Header { len: 0, kind: ToHost::Poke, flags: Flags::NONE, job: 0, seq: 0 }.encode()
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::os::Nudge;
    use crate::recorder::Recorder;
    use crate::wire::Source as _;

    fn outbox() -> (Arc<Outbox>, ChannelEnd) {
        let (_, file) = Recorder::create().unwrap();
        let recorder = Recorder::open(&file).unwrap();
        let watch = CancelWatch::new(recorder, Nudge::new().unwrap());
        let (channel, host) = ChannelEnd::pair_for_tests().unwrap();
        (Outbox::new(Arc::new(channel), &Arc::new(watch)), host)
    }

    fn read(mut host: &ChannelEnd, n: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(n);
        while bytes.len() < n {
            let max = n - bytes.len();
            assert_ne!(host.read_into(&mut bytes, max).unwrap(), 0);
        }
        bytes
    }

    fn frame(kind: ToHost, len: usize) -> Header<ToHost> {
        let flags = Flags::NONE.and_if(len > BIG, Flags::BIG);
        Header { len: len as u32, kind, flags, job: 0, seq: 0 }
    }

    fn reply(outbox: &Outbox, seq: u64, body: &[u8]) {
        outbox.send(ToHost::Done, Flags::NONE, seq, 0, body).unwrap();
    }

    fn read_reply(host: &ChannelEnd, seq: u64, body: &[u8]) {
        let header = read_header(host);
        assert_eq!((header.kind, header.seq), (ToHost::Done, seq));
        let mut bytes = read(host, header.frame_len() - HEADER_LEN);
        bytes.truncate(header.len as usize);
        assert!(bytes == body);
    }

    fn read_header(host: &ChannelEnd) -> Header<ToHost> {
        Header::decode(read(host, HEADER_LEN).first_chunk().unwrap(), 1 << 30).unwrap()
    }

    #[test]
    fn a_poke_does_not_wait_for_a_full_channel_and_comes_later_once() {
        let (outbox, host) = outbox();
        assert!(outbox.poke(true));
        assert_eq!(read_header(&host), frame(ToHost::Poke, 0));
        let mut pokes = 1;
        while outbox.poke(true) {
            pokes += 1;
        }
        // Others would be sent too, but nobody pokes again before the host has taken notice.
        outbox.try_poke();
        assert!(outbox.is_poke_due() && !outbox.poke(false));
        thread::scope(|scope| {
            scope.spawn(|| {
                reply(&outbox, 0, b"and a reply");
                outbox.write_replies().unwrap();
            });
            for _ in 0..pokes {
                assert_eq!(read_header(&host), frame(ToHost::Poke, 0));
            }
            read_reply(&host, 0, b"and a reply");
        });
        assert!(!outbox.is_poke_due());
        outbox.try_poke();
        reply(&outbox, 1, b"");
        outbox.write_replies().unwrap();
        read_reply(&host, 1, b"");
    }

    #[test]
    fn replies_are_in_the_ring_at_once_and_on_the_channel_together() {
        let (host_side, file) = Recorder::create().unwrap();
        let watch = CancelWatch::new(Recorder::open(&file).unwrap(), Nudge::new().unwrap());
        let (channel, host) = ChannelEnd::pair_for_tests().unwrap();
        let outbox = Outbox::new(Arc::new(channel), &Arc::new(watch));
        let bodies: [&[u8]; 4] = [b"", b"one", &[2; 1000], &[3; RING_ROOM]];
        for (seq, body) in bodies.iter().enumerate() {
            reply(&outbox, seq as u64, body);
            assert!(host_side.has_news(0));
        }
        // The last one was too much to be held back, and a large one goes by itself.
        let large = [4; RING_ROOM + 1];
        thread::scope(|scope| {
            scope.spawn(|| reply(&outbox, 4, &large));
            bodies.iter().enumerate().for_each(|(seq, body)| read_reply(&host, seq as u64, body));
            read_reply(&host, 4, &large);
        });
        // What was seen does not come again, and that is said.
        reply(&outbox, 5, b"seen");
        let end = outbox.batch.end.load(Ordering::Relaxed);
        reply(&outbox, 6, b"");
        host_side.see(end);
        assert_eq!(host_side.left_out(), 0);
        outbox.write_replies().unwrap();
        read_reply(&host, 6, b"");
        assert_eq!(host_side.left_out(), HEADER_LEN as u64 + 8);
    }

    #[test]
    fn a_reply_comes_behind_what_its_job_has_logged_and_before_the_next_ones() {
        let (outbox, host) = outbox();
        reply(&outbox, 0, b"first");
        let log = outbox.way();
        outbox.begin(1);
        log(b"a record");
        outbox.end();
        reply(&outbox, 1, b"second");
        read_reply(&host, 0, b"first");
        let header = read_header(&host);
        assert_eq!((header.kind, header.seq), (ToHost::Log, 1));
        assert_eq!(read(&host, 8), b"a record");
        // At once: nobody asked for it.
        let header = read_header(&host);
        assert_eq!((header.kind, header.flags, header.seq), (ToHost::Done, Flags::NONE, 1));
        assert_eq!(read(&host, 6), b"second");
    }

    /// A thread of a job that has ended logs, and takes the reply along, but the host does not read.
    #[test]
    fn a_reply_that_another_thread_took_in_vain_is_written_before_the_worker_waits() {
        let (outbox, host) = outbox();
        let log = outbox.way();
        reply(&outbox, 0, b"the reply");
        let mut filled = 0;
        while let Ok(n) = outbox.channel.write_some(&[0; 4096], Duration::ZERO) {
            filled += n;
        }
        log(b"late");
        assert!(outbox.holds_back());
        read(&host, filled);
        outbox.write_replies().unwrap();
        assert!(!outbox.holds_back());
        read_reply(&host, 0, b"the reply");
    }

    #[test]
    fn a_poke_that_is_stuck_is_due_at_every_moment() {
        let (outbox, _host) = outbox();
        while outbox.poke(true) {}
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            // The guard, or a thread of the job.
            scope.spawn(|| {
                for _ in 0..100_000 {
                    outbox.try_poke();
                }
                is_over.store(true, Ordering::Relaxed);
            });
            let mut was_due = true;
            while !is_over.load(Ordering::Relaxed) {
                was_due &= outbox.is_poke_due();
            }
            assert!(was_due);
        });
    }

    #[test]
    fn frames_of_several_threads_do_not_interleave() {
        const REPLIES: usize = 200;
        let (outbox, host) = outbox();
        let body = vec![7; 300_000];
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..REPLIES {
                    outbox.send(ToHost::Done, Flags::NONE, 0, 0, &body).unwrap();
                }
                is_over.store(true, Ordering::Relaxed);
            });
            for _ in 0..2 {
                scope.spawn(|| {
                    while !is_over.load(Ordering::Relaxed) {
                        outbox.poke(true);
                    }
                });
            }
            let mut left = REPLIES;
            while left > 0 {
                let header = read_header(&host);
                if header != frame(ToHost::Poke, 0) {
                    assert_eq!(header, frame(ToHost::Done, body.len()));
                    assert!(read(&host, body.len()) == body);
                    left -= 1;
                }
            }
        });
    }
}
