//! Reads what a worker prints, cuts it into lines, and keeps the last of it.
//!
//! The pipes are read whether anybody wants the lines or not: a job must not block because of
//! what it prints. What is kept is bounded: the beginning of one line for each stream, and the tail
//! of stderr. Nobody waits for the end of a pipe, which a descendant of the worker may hold open
//! for ever.

use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::hub::Hub;
use super::race::race;
use super::wakers::wake_all;
use crate::happening::{OutputStream, PoolEvent};
use crate::id::JobId;
use crate::os::PipeEnd;

/// What is read at a time: others have their turn after it.
const CHUNK: usize = 16 * 1024;
/// A longer line comes in pieces.
const LINE: usize = 64 * 1024;
/// Reads of what lies in a pipe: more than it holds, and yet bounded, since somebody may go on
/// writing into it.
const READS: usize = 96;
/// What is kept of stderr: so many bytes, and so many lines of them.
const TAIL: usize = 4 * 1024;
const TAIL_LINES: usize = 20;

/// What one worker prints.
#[derive(Debug)]
pub(super) struct Capture {
    slot: usize,
    stdout: Option<Source>,
    stderr: Option<Source>,
    /// Which of the two is looked at first: in turn.
    stderr_first: bool,
}

/// One stream.
#[derive(Debug)]
struct Source {
    stream: OutputStream,
    /// `None` once it has ended.
    end: Option<PipeEnd>,
    /// Read and not delivered: the beginning of a line, after each delivery.
    pending: Vec<u8>,
    /// So much of it was looked at, and has no line end.
    scanned: usize,
}

/// What the core knows of a worker whose output is captured, and what it may want to know.
#[derive(Debug, Default)]
pub(super) struct Journal(Mutex<Entry>);

#[derive(Debug, Default)]
struct Entry {
    /// The one that runs.
    job: Option<JobId>,
    /// The end of what was read from stderr since that job began.
    tail: Vec<u8>,
    /// There was more before it.
    is_cut: bool,
}

impl Journal {
    /// From here on this job runs there, or none.
    pub(super) fn begin(&self, job: Option<JobId>) {
        let mut entry = self.entry();
        if job.is_some() {
            entry.tail.clear();
            entry.is_cut = false;
        }
        entry.job = job;
    }

    /// The last lines; `None` if there was nothing.
    pub(super) fn tail(&self) -> Option<Arc<str>> {
        let entry = self.entry();
        let text = String::from_utf8_lossy(&entry.tail);
        let mut text = text.trim_end();
        if entry.is_cut {
            // The first line may be the end of one; if it is all there is, that is better than
            // nothing.
            text = text.split_once('\n').map_or(text, |(_, rest)| rest);
        }
        let lines = text.rmatch_indices('\n').nth(TAIL_LINES - 1);
        let text = lines.map_or(text, |(at, _)| &text[at + 1..]);
        (!text.is_empty()).then(|| text.into())
    }

    fn job(&self) -> Option<JobId> {
        self.entry().job
    }

    fn note(&self, bytes: &[u8]) {
        let mut entry = self.entry();
        let bytes = &bytes[bytes.len().saturating_sub(TAIL)..];
        let excess = (entry.tail.len() + bytes.len()).saturating_sub(TAIL);
        entry.is_cut |= excess > 0;
        entry.tail.drain(..excess);
        entry.tail.extend_from_slice(bytes);
    }

    fn entry(&self) -> MutexGuard<'_, Entry> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Capture {
    /// `None` for a stream that goes elsewhere.
    pub(super) fn new(slot: u32, stdout: Option<PipeEnd>, stderr: Option<PipeEnd>) -> Capture {
        let source = |stream, end: Option<PipeEnd>| {
            end.map(|end| Source { stream, end: Some(end), pending: Vec::new(), scanned: 0 })
        };
        Capture {
            slot: slot as usize,
            stdout: source(OutputStream::Stdout, stdout),
            stderr: source(OutputStream::Stderr, stderr),
            stderr_first: false,
        }
    }

    /// Whether there is anything to capture.
    pub(super) fn is_on(&self) -> bool {
        self.stdout.is_some() || self.stderr.is_some()
    }

    /// Waits until the worker prints, and takes some of it; to be followed by
    /// [`deliver`](Self::deliver). Never ready if nothing is captured. May be dropped at any time.
    pub(super) async fn read(&mut self) {
        self.stderr_first = !self.stderr_first;
        if self.stdout.is_none() && self.stderr.is_none() {
            return std::future::pending().await;
        }
        let (stdout, stderr) = (pin!(read(&mut self.stdout)), pin!(read(&mut self.stderr)));
        match self.stderr_first {
            true => race(stderr, stdout).await,
            false => race(stdout, stderr).await,
        };
    }

    /// Tells of the lines that are whole.
    pub(super) fn deliver(&mut self, hub: &Hub, journal: Option<&Journal>) {
        let slot = self.slot;
        for source in self.sources() {
            source.deliver(slot, hub, journal, Rest::Stays);
        }
    }

    /// Goes on as long as it is polled.
    pub(super) async fn pump(&mut self, hub: &Hub, journal: Option<&Journal>) {
        loop {
            self.read().await;
            self.deliver(hub, journal);
            tokio::task::yield_now().await;
        }
    }

    /// Takes all that the worker has printed so far. At the end of a job, what it has begun is a
    /// line.
    pub(super) fn drain(&mut self, hub: &Hub, journal: Option<&Journal>, rest: Rest) {
        let slot = self.slot;
        for source in self.sources() {
            let mut reads = 0;
            while reads < READS && source.take_some() {
                source.deliver(slot, hub, journal, Rest::Stays);
                reads += 1;
            }
            if reads < READS {
                source.deliver(slot, hub, journal, rest);
            }
        }
    }

    /// The same at the worker's death.
    pub(super) fn finish(mut self, hub: &Hub, journal: Option<&Journal>) {
        self.drain(hub, journal, Rest::Line);
        let slot = self.slot;
        for source in self.sources() {
            source.deliver(slot, hub, journal, Rest::Line);
        }
    }

    fn sources(&mut self) -> impl Iterator<Item = &mut Source> {
        self.stdout.iter_mut().chain(&mut self.stderr)
    }
}

/// What becomes of the beginning of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// It is a line.
    Line,
    /// Its end may come.
    Stays,
}

async fn read(source: &mut Option<Source>) {
    let Some(Source { end: Some(end), pending, .. }) = source else {
        return std::future::pending().await;
    };
    pending.reserve(CHUNK);
    let result = end.read(pending, CHUNK).await;
    if !matches!(result, Ok(1..)) {
        if let Some(source) = source {
            source.end = None;
        }
    }
}

impl Source {
    /// False if there is nothing now.
    fn take_some(&mut self) -> bool {
        let Some(end) = &self.end else { return false };
        self.pending.reserve(CHUNK);
        match end.try_read(&mut self.pending, CHUNK) {
            Ok(1..) => true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            Ok(0) | Err(_) => {
                self.end = None;
                false
            }
        }
    }

    fn deliver(&mut self, slot: usize, hub: &Hub, journal: Option<&Journal>, rest: Rest) {
        if self.pending.is_empty() {
            return;
        }
        let stream = self.stream;
        if let (OutputStream::Stderr, Some(journal)) = (stream, journal) {
            journal.note(&self.pending[self.scanned..]);
        }
        let job = journal.and_then(Journal::job);
        let mut wakers = Vec::new();
        let mut tell = |line: &[u8]| {
            hub.publish_line(&mut wakers, || {
                let line = String::from_utf8_lossy(line).into_owned();
                PoolEvent::Output { slot, job, stream, line }
            });
        };
        let mut done = 0;
        while let Some((line, next)) = cut(&self.pending[done..], self.scanned) {
            tell(&self.pending[done..done + line]);
            done += next;
            self.scanned = 0;
        }
        if rest == Rest::Line || self.end.is_none() {
            if done < self.pending.len() {
                tell(&self.pending[done..]);
            }
            done = self.pending.len();
        }
        self.pending.drain(..done);
        self.scanned = self.pending.len();
        wake_all(&mut wakers);
    }
}

/// The first line of `bytes`, of which `scanned` are known to have no line end: its length, and
/// where the next one begins. `None` if there is only a beginning.
fn cut(bytes: &[u8], scanned: usize) -> Option<(usize, usize)> {
    let within = &bytes[..bytes.len().min(LINE + 1)];
    let at = within.iter().skip(scanned).position(|&byte| byte == b'\n');
    if let Some(at) = at.map(|at| scanned + at) {
        let has_return = at > 0 && bytes[at - 1] == b'\r';
        return Some((at - usize::from(has_return), at + 1));
    }
    if bytes.len() <= LINE {
        return None;
    }
    // Not within a character, where these are characters.
    let is_inside = |&at: &usize| bytes[at] & 0xC0 == 0x80;
    let at = (LINE - 3..=LINE).rev().find(|at| !is_inside(at)).unwrap_or(LINE);
    Some((at, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_at_their_ends_and_long_ones_between_characters() {
        assert_eq!(cut(b"", 0), None);
        assert_eq!(cut(b"beginning", 0), None);
        assert_eq!(cut(b"one\ntwo\n", 0), Some((3, 4)));
        assert_eq!(cut(b"one\r\ntwo\n", 2), Some((3, 5)));
        assert_eq!(cut(b"\n", 0), Some((0, 1)));
        assert_eq!(cut(b"\r\n", 0), Some((0, 2)));
        let mut long = vec![b'x'; LINE];
        assert_eq!(cut(&long, 0), None);
        long.push(b'\n');
        assert_eq!(cut(&long, LINE), Some((LINE, LINE + 1)), "it is not longer than that");
        long[LINE] = b'x';
        assert_eq!(cut(&long, LINE), Some((LINE, LINE)));
        long[LINE - 2..=LINE].copy_from_slice("€".as_bytes());
        assert_eq!(cut(&long, LINE), Some((LINE - 2, LINE - 2)));
        long.fill(0xBF);
        assert_eq!(cut(&long, 0), Some((LINE, LINE)), "no text at all");
    }

    #[test]
    fn a_tail_is_the_end_of_what_was_noted_since_the_job_began() {
        let journal = Journal::default();
        assert_eq!(journal.tail(), None);
        journal.note(b"one\ntwo");
        assert_eq!(journal.tail().as_deref(), Some("one\ntwo"));
        journal.begin(None);
        assert!(journal.tail().is_some());
        journal.begin(Some(JobId::from_words([0, 1])));
        assert_eq!(journal.tail(), None);
        journal.note(b"\n\n");
        assert_eq!(journal.tail(), None, "no line says anything");
        (0..10_000).for_each(|n| journal.note(format!("line {n}\n").as_bytes()));
        let tail = journal.tail().unwrap();
        assert!(tail.starts_with("line 9980\n") && tail.ends_with("\nline 9999"), "{tail}");
        journal.note(&[0xFF; 3 * TAIL]);
        assert_eq!(journal.tail().unwrap().chars().count(), TAIL);
    }
}
