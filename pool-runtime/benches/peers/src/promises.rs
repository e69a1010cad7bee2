//! What the pool promises of each single job, whatever its scheduler does with it: its arguments and its
//! output are a user's types, it has a number, a place in a queue that may be full, and a status; it is
//! claimed before it runs, so that a death costs the right one; its reply can be read before it is
//! written; a panic ends with it, what it prints is out before its end, and how long it waited and ran
//! is counted. Here each costs what it costs at least, for the [skeleton](crate::skeleton): no priorities,
//! no limits, no retries, no recall.

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering, fence};
use std::time::Duration;

use crate::jobs::nothing;

/// For encoded arguments, or an encoded output.
const ROOM: usize = 8;

/// What is promised: nothing, or all of that.
pub(crate) trait Promises: Default + Send + Sync + 'static {
    /// The role of its processes.
    const ROLE: &'static str;
    /// What is kept of one job.
    type Told: Send + Sync;
    /// What whoever hands out keeps of all of them.
    type Ledger: Default + Send;

    /// A job is accepted.
    fn accept(&self) -> Self::Told;
    /// It is handed out, after such a wait.
    fn hand_out(ledger: &mut Self::Ledger, told: &Self::Told, waited: Duration) -> u64;
    /// It has ended, after such a run.
    fn end(ledger: &mut Self::Ledger, told: &Self::Told, took: Duration, output: &[u8]);
    /// So many have left the queue.
    fn leave(&self, count: usize);
    /// What the job gave.
    fn output(told: &Self::Told);
}

#[derive(Default)]
pub(crate) struct None;

impl Promises for None {
    const ROLE: &'static str = "answer";
    type Told = ();
    type Ledger = ();

    fn accept(&self) {}
    fn hand_out(_: &mut (), _: &(), _: Duration) -> u64 {
        0
    }
    fn end(_: &mut (), _: &(), _: Duration, _: &[u8]) {}
    fn leave(&self, _: usize) {}
    fn output(_: &()) {}
}

/// The shared part: numbers, and places in the queue.
pub(crate) struct All {
    next: AtomicU64,
    room: AtomicU64,
}

impl Default for All {
    fn default() -> All {
        All { next: AtomicU64::new(1), room: AtomicU64::new(u64::MAX >> 1) }
    }
}

/// Of one job. Its arguments lie where its output comes to lie.
#[derive(Default)]
pub(crate) struct Told {
    id: AtomicU64,
    word: AtomicU64,
    len: AtomicU8,
    status: AtomicU8,
}

#[derive(Default)]
pub(crate) struct Ledger {
    wait: Histogram,
    run: Histogram,
    succeeded: u64,
}

const RUNNING: u8 = 1;
const ENDED: u8 = 2;

impl Promises for All {
    const ROLE: &'static str = "answer as promised";
    type Told = Told;
    type Ledger = Ledger;

    fn accept(&self) -> Told {
        let take = |free: u64| free.checked_sub(1);
        self.room.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).expect("there is room");
        let told = Told::default();
        told.id.store(self.next.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        let (bytes, len) = encoded();
        told.put(&bytes[..len]);
        told
    }

    fn hand_out(ledger: &mut Ledger, told: &Told, waited: Duration) -> u64 {
        ledger.wait.add(waited);
        told.status.store(RUNNING, Ordering::Release);
        told.word.load(Ordering::Relaxed)
    }

    fn end(ledger: &mut Ledger, told: &Told, took: Duration, output: &[u8]) {
        ledger.run.add(took);
        ledger.succeeded += 1;
        told.put(output);
        told.status.store(ENDED, Ordering::Release);
    }

    fn leave(&self, count: usize) {
        self.room.fetch_add(count as u64, Ordering::SeqCst);
    }

    fn output(told: &Told) {
        assert_eq!(told.status.load(Ordering::Acquire), ENDED);
        let (word, len) = (told.word.load(Ordering::Relaxed), told.len.load(Ordering::Relaxed));
        let bytes = &word.to_le_bytes()[..usize::from(len)];
        rmp_serde::from_slice::<()>(bytes).expect("it gives nothing");
    }
}

impl Told {
    fn put(&self, bytes: &[u8]) {
        let mut word = [0; ROOM];
        word[..bytes.len()].copy_from_slice(bytes);
        self.word.store(u64::from_le_bytes(word), Ordering::Relaxed);
        self.len.store(bytes.len() as u8, Ordering::Relaxed);
    }
}

/// Powers of two, eight parts each.
struct Histogram {
    counts: Vec<u64>,
    sum: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { counts: vec![0; 64 * 8], sum: 0 }
    }
}

impl Histogram {
    fn add(&mut self, took: Duration) {
        let nanos = took.as_nanos() as u64 | 8;
        let power = 63 - nanos.leading_zeros();
        let part = nanos >> (power - 3) & 7;
        self.counts[(power as usize) * 8 + part as usize] += 1;
        self.sum += nanos;
    }
}

/// What a worker keeps.
pub(crate) struct Worker {
    /// The next job that nobody has claimed; the host could take back what lies behind it.
    next: AtomicU64,
    reserved: AtomicU64,
    committed: AtomicU64,
    /// Other threads of a job may say something as well.
    outbox: Mutex<u64>,
}

impl Worker {
    pub(crate) fn new() -> Worker {
        let word = || AtomicU64::new(0);
        Worker { next: word(), reserved: word(), committed: word(), outbox: Mutex::new(0) }
    }

    /// Runs a job with these arguments; its output goes to where the reply is made.
    pub(crate) fn run(&self, arguments: &[u8], reply: &mut [u8]) {
        let seq = self.next.load(Ordering::Relaxed);
        let claim = self.next.compare_exchange(seq, seq + 1, Ordering::AcqRel, Ordering::Relaxed);
        claim.expect("nobody recalls");
        let run = || {
            rmp_serde::from_slice::<()>(&arguments[..1]).expect("it takes nothing");
            nothing();
            encoded()
        };
        let (output, len) = catch_unwind(AssertUnwindSafe(run)).expect("it does not panic");
        let _ = std::io::stdout().flush();
        let mut written = self.outbox.lock().expect("nobody panics");
        *written += reply.len() as u64;
        self.reserved.store(*written, Ordering::Relaxed);
        fence(Ordering::Release);
        reply[8..16].copy_from_slice(&output);
        reply[16] = len as u8;
        self.committed.store(*written, Ordering::Release);
        drop(written);
        // Whether somebody looks for it.
        fence(Ordering::SeqCst);
    }
}

/// Nothing, as it travels, and how long that is.
fn encoded() -> ([u8; ROOM], usize) {
    let mut bytes = [0; ROOM];
    let mut rest = &mut bytes[..];
    rmp_serde::encode::write_named(&mut rest, &()).expect("a value can be encoded");
    let len = ROOM - rest.len();
    (bytes, len)
}
