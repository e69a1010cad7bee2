//! What each job is, does and may come to: all of it follows from the seed and the job's number,
//! so that host and workers agree without having told each other.

use std::time::Duration;

use pool::WorkerExit;
use pool_tests::jobs::Death;

/// What the tries of a job that is tried again add up to.
pub(crate) const ATTEMPTS: u32 = 3;

/// splitmix64.
#[derive(Clone, Debug)]
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub(crate) fn micros(&mut self, limit: u64) -> Duration {
        Duration::from_micros(self.below(limit))
    }
}

/// How the job is written, which decides how its arguments and its output travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A number to a number, and no context.
    Bare,
    /// Bytes to bytes, as they are.
    Raw,
    /// A structure, with a context.
    Full,
    /// The same in an async function.
    Later,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    NoOp,
    /// Spins for so many microseconds, or until it is asked to stop.
    Short(u64),
    /// Says from two threads how far it is, and from a third when it is over.
    Tells,
    Panics,
    Dies(Death),
    /// Its worker is killed from within, so many microseconds later.
    Mines(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    /// It is left alone.
    No,
    Cancel,
    Kill,
    /// It has so many microseconds.
    Timeout(u64),
}

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) n: u64,
    pub(crate) shape: Shape,
    pub(crate) kind: Kind,
    pub(crate) leave: Leave,
    pub(crate) attempts: u32,
    /// Bytes of its arguments, and of its output.
    pub(crate) asks: usize,
    pub(crate) replies: usize,
    /// How long whoever brings its end is held up.
    pub(crate) delay: Option<Duration>,
    /// For what else is left to chance.
    pub(crate) chance: Chance,
}

impl Plan {
    pub(crate) fn of(seed: u64, n: u64) -> Plan {
        let mut chance = Chance(seed ^ n.wrapping_mul(0xD6E8_FEB8_6659_FD93));
        let shape = match chance.below(20) {
            0..10 => Shape::Bare,
            10..14 => Shape::Raw,
            14..19 => Shape::Full,
            _ => Shape::Later,
        };
        let knows_itself = matches!(shape, Shape::Full | Shape::Later);
        let kind = match (chance.below(1000), shape) {
            (0, _) => Kind::Dies(Death::Abort),
            (1, _) if n % 2 == 0 => Kind::Dies(Death::Segfault),
            (1, _) => Kind::Dies(Death::Exit(9)),
            (2, _) => Kind::Mines(chance.below(400)),
            (3..6, _) => Kind::Panics,
            (6..50, Shape::Full) => Kind::Tells,
            (50..150, _) => Kind::Short(chance.below(200)),
            _ => Kind::NoOp,
        };
        let leave = match chance.below(400) {
            0 | 1 => Leave::Cancel,
            2 => Leave::Kill,
            3 if knows_itself => Leave::Timeout(200 + chance.below(3000)),
            _ => Leave::No,
        };
        let kind = match (kind, leave) {
            (Kind::NoOp, Leave::Timeout(micros)) => Kind::Short(chance.below(2 * micros)),
            _ => kind,
        };
        // Who is given up is tried once: what its attempts were charged with would be a riddle.
        let is_retried = knows_itself && leave == Leave::No && chance.below(2) == 0;
        let (asks, replies) = match shape {
            Shape::Bare => (0, 0),
            _ => (size(&mut chance), size(&mut chance)),
        };
        let delay = (chance.below(500) == 0).then(|| chance.micros(5000));
        let attempts = if is_retried { ATTEMPTS } else { 1 };
        Plan { n, shape, kind, leave, attempts, asks, replies, delay, chance }
    }

    /// How its worker may die of it.
    pub(crate) fn exit(&self) -> Option<WorkerExit> {
        Some(match self.kind {
            Kind::Dies(Death::Abort) => WorkerExit::Signal(libc::SIGABRT),
            Kind::Dies(Death::Segfault) => WorkerExit::Signal(libc::SIGSEGV),
            Kind::Dies(Death::Exit(code)) => WorkerExit::Code(code),
            _ => return None,
        })
    }

    /// What its arguments carry.
    pub(crate) fn question(&self) -> Vec<u64> {
        words(self.n ^ 0x0A5C, self.asks)
    }

    /// The same as bytes, which begin with the job's number: there is nothing else that would say
    /// who it is.
    pub(crate) fn raw_question(&self) -> Vec<u8> {
        [self.n].iter().chain(&self.question()).flat_map(|word| word.to_le_bytes()).collect()
    }

    /// What its output carries.
    pub(crate) fn answer(&self) -> Vec<u64> {
        words(self.n ^ 0xF00D, self.replies)
    }

    pub(crate) fn raw_answer(&self) -> Vec<u8> {
        self.answer().iter().flat_map(|word| word.to_le_bytes()).collect()
    }
}

/// Mostly small, up to 40 KiB, and now and then 1 MiB.
fn size(chance: &mut Chance) -> usize {
    let most = match chance.below(512) {
        0 => return 1 << 20,
        1..200 => return 0,
        200..400 => 100,
        400..480 => 4 << 10,
        _ => 40 << 10,
    };
    chance.below(most) as usize
}

/// Words that follow from the key, none of which is that of another place or key.
fn words(key: u64, bytes: usize) -> Vec<u64> {
    let mut chance = Chance(key.wrapping_mul(0xA076_1D64_78BD_642F));
    (0..bytes / 8).map(|_| chance.next()).collect()
}

/// What stands for job `n` in numbers.
pub(crate) fn mark(n: u64) -> u64 {
    n.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// What stands for a payload: a sum that depends on each word and its place.
pub(crate) fn sum(words: &[u64]) -> u64 {
    let add =
        |sum: u64, word: &u64| (sum ^ word).wrapping_mul(0x2127_599B_F432_5C37).rotate_left(29);
    words.iter().fold(words.len() as u64, add)
}
