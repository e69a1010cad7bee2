//! What the world knows without the scheduler: the truth about processes and jobs.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::error::WorkerExit;
use crate::policy::Terms;

use super::super::event::{Ending, JobKey, Reply, Time, WorkerId};

/// splitmix64.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5EED)
    }

    pub(super) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.roll() % n.max(1)
    }

    pub(super) fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    pub(super) fn one_of<V: Copy>(&mut self, values: &[V]) -> V {
        values[self.below(values.len() as u64) as usize]
    }

    pub(super) fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_micros(from * 1000 + self.below((to - from) * 1000))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Starting,
    Running,
    /// `Stop` was performed.
    Leaving,
}

/// Whether a process has let jobs lie, and must not get others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silent {
    No,
    /// It had less than the 50 ms, but a timeout may have passed.
    Perhaps,
    Yes,
}

/// Why an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    Panic,
    Crash(WorkerExit),
    Timeout,
    Memory,
}

/// A model worker. Its window is what was sent and has not been answered to the scheduler.
pub(super) struct Process {
    pub(super) id: WorkerId,
    pub(super) life: Life,
    pub(super) since: Time,
    /// What is sent to it lies there until it is up.
    pub(super) connected: bool,
    /// It runs what it has, and has greeted: while it is said to start, the greeting is not read yet.
    pub(super) is_up: bool,
    /// It will never get ready.
    pub(super) hangs: bool,
    pub(super) fails_to_start: bool,
    /// A kill does not end it.
    pub(super) immortal: bool,
    /// A stop does not end it.
    pub(super) stubborn: bool,
    /// By SIGSTOP.
    pub(super) stopped: bool,
    /// Dead, and the scheduler has not been told.
    pub(super) dead: bool,
    pub(super) killed_at: Option<Time>,
    /// The scheduler counts this kill as a failed launch.
    pub(super) killed_launch: bool,
    /// It was killed while it ran a job, and cannot be.
    pub(super) runs_on: bool,
    pub(super) window: VecDeque<usize>,
    /// What each of these was expected to take, in nanoseconds.
    pub(super) loads: VecDeque<u64>,
    /// How long, as far as is expected, the oldest reply that it holds back will have waited.
    pub(super) held: u64,
    /// The first so many jobs of the window are claimed, and of these the first so many
    /// answered: the replies were written and not yet fed.
    pub(super) claimed: usize,
    pub(super) replies: VecDeque<Reply>,
    /// It has answered a job while it was recalled the last time.
    pub(super) has_just_answered: bool,
    pub(super) owes_awake: bool,
    pub(super) asked_at: Option<Time>,
    pub(super) recalled_at: Option<Time>,
    /// When the head of the window became the head.
    pub(super) head_since: Time,
    pub(super) idle_since: Time,
    /// The last of that, and of what its head has shown of itself.
    pub(super) last_sign: Time,
    /// It was found to have too much memory, and while it ran which job.
    pub(super) over: bool,
    pub(super) over_with: Option<usize>,
    /// It did not take what it was given.
    pub(super) silent: Silent,
    pub(super) served: u64,
}

impl Process {
    pub(super) fn new(id: WorkerId, since: Time) -> Self {
        Process {
            id,
            life: Life::Starting,
            since,
            connected: false,
            is_up: false,
            hangs: false,
            fails_to_start: false,
            immortal: false,
            stubborn: false,
            stopped: false,
            dead: false,
            killed_at: None,
            killed_launch: false,
            runs_on: false,
            window: VecDeque::new(),
            loads: VecDeque::new(),
            held: 0,
            claimed: 0,
            replies: VecDeque::new(),
            has_just_answered: false,
            owes_awake: false,
            asked_at: None,
            recalled_at: None,
            head_since: since,
            idle_since: since,
            last_sign: since,
            over: false,
            over_with: None,
            silent: Silent::No,
            served: 0,
        }
    }

    /// The scheduler was told that it is ready, and has not sent it away since.
    pub(super) fn serves(&self) -> bool {
        self.life == Life::Running && self.killed_at.is_none()
    }

    /// The job that it has lies there until it is said to be ready.
    pub(super) fn holds_early(&self) -> bool {
        self.life == Life::Starting && self.killed_at.is_none() && !self.window.is_empty()
    }

    /// The head of its window, which has these terms, has had its timeout or its stall timeout.
    pub(super) fn is_out_of_time(&self, terms: &Terms, now: Time) -> bool {
        let over = |since: Time, wait: Option<Duration>| wait.is_some_and(|w| since + w <= now);
        over(self.head_since, terms.timeout) || over(self.last_sign, terms.stall_timeout)
    }

    /// It is executing the last job it claimed.
    pub(super) fn is_running_a_job(&self) -> bool {
        self.claimed > self.replies.len()
    }
}

/// What is known of one job.
pub(super) struct ModelJob {
    pub(super) key: JobKey,
    /// Of its function.
    pub(super) kind: u16,
    pub(super) terms: Arc<Terms>,
    pub(super) deadline: Option<(Time, Duration)>,
    /// Whoever reads its frame dies before claiming it.
    pub(super) poison: bool,
    pub(super) ending: Option<Ending>,
    /// The reply to its last attempt was written, not at the last moment, and not read yet.
    pub(super) answered: bool,
    /// Its reply was fed, in time.
    pub(super) replied: Option<Reply>,
    pub(super) cancelled: bool,
    pub(super) killed: bool,
    /// It was handed out before.
    pub(super) touched: bool,
    /// Where it is, if it was handed out.
    pub(super) worker: Option<WorkerId>,
    /// Claims, each a started attempt.
    pub(super) claims: u32,
    /// The number of the last attempt that was claimed, and of the last handed out.
    pub(super) claimed_attempt: u32,
    pub(super) attempt: u32,
    /// How often an unclaimed death was charged to it.
    pub(super) poison_charges: u32,
    pub(super) moves: u8,
    /// Its worker was killed while it ran it, and cannot be.
    pub(super) runs_on: bool,
    /// How often its place in the bounded queue was given free.
    pub(super) places_freed: u32,
    /// How the last attempt failed.
    pub(super) failure: Option<Failure>,
    /// It waits for its back-off until then, and not for more than a tenth longer.
    pub(super) not_before: Time,
    pub(super) not_after: Time,
    /// It was at the head of a window before.
    pub(super) begun: bool,
    /// Since when it has waited where it is.
    pub(super) waits_since: Time,
    /// Its place in line when it was handed out, and the attempts counted then.
    pub(super) order: u64,
    pub(super) order_at: u32,
}

impl ModelJob {
    /// Attempts that count.
    pub(super) fn counted(&self) -> u32 {
        self.claims + self.poison_charges
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.cancelled || self.killed
    }

    pub(super) fn is_past_deadline(&self, now: Time) -> bool {
        self.deadline.is_some_and(|(at, _)| at <= now)
    }

    /// By the policy's own words: half as much again at each retry.
    pub(super) fn memory_limit_at(&self, attempt: u32) -> Option<u64> {
        let limit = self.terms.memory_limit? as f64;
        Some((1..attempt).fold(limit, |limit, _| limit * 1.5) as u64)
    }

    pub(super) fn may_try_again(&self, failure: Failure) -> bool {
        let retry = &self.terms.retry;
        let asked_for = match failure {
            Failure::Panic => retry.on_panic,
            Failure::Crash(_) | Failure::Memory => retry.on_crash,
            Failure::Timeout => retry.on_timeout,
        };
        asked_for && self.counted() < retry.attempts
    }
}
