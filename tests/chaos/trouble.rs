//! Who disturbs a pool from outside: signals at random, handles that are given up, and wakers that
//! hold up the thread that calls them.

use std::fs;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use pool::Canceller;
use rustix::process::{Pid, Signal};

use crate::board::{Board, WORKERS};
use crate::plan::Chance;

/// Signals workers at random until it is told to end. Whoever was stopped is woken again.
#[derive(Debug, Default)]
pub(crate) struct Disturbance {
    end: AtomicBool,
    pub(crate) kills: AtomicU64,
    pub(crate) stops: AtomicU64,
}

impl Disturbance {
    pub(crate) fn run(&self, board: &Board, mut chance: Chance) {
        // Very many jobs meet less trouble each, and more in all, so that they come to an end.
        let pause = 25_000 * (board.jobs as u64 / 100_000).clamp(1, 8);
        let mut asleep: Vec<(Instant, u32)> = Vec::new();
        while !self.end.load(Ordering::Relaxed) {
            thread::sleep(chance.micros(pause));
            let now = Instant::now();
            asleep.retain(|&(until, pid)| {
                let stays = now < until;
                if !stays && is_mine(pid) {
                    signal(pid, Signal::CONT);
                }
                stays
            });
            let pid = board.worker(chance.below(WORKERS as u64) as usize).load(Ordering::Relaxed);
            if pid == 0 || !is_mine(pid) {
                continue;
            }
            if chance.below(2) == 0 {
                self.kills.fetch_add(u64::from(signal(pid, Signal::KILL)), Ordering::Relaxed);
            } else if signal(pid, Signal::STOP) {
                self.stops.fetch_add(1, Ordering::Relaxed);
                // Mostly for less than it takes to be noticed as silent.
                let most = if chance.below(4) == 0 { 150_000 } else { 20_000 };
                asleep.push((now + chance.micros(most), pid));
            }
        }
        for (_, pid) in asleep {
            if is_mine(pid) {
                signal(pid, Signal::CONT);
            }
        }
    }

    /// Ends it at the latest when this is dropped: also where an assertion fails.
    pub(crate) fn ends_with(&self) -> impl Drop + '_ {
        struct Ends<'a>(&'a Disturbance);
        impl Drop for Ends<'_> {
            fn drop(&mut self) {
                self.0.end.store(true, Ordering::Relaxed);
            }
        }
        Ends(self)
    }
}

/// Whether `pid` is alive and a child of this process: its number may be another's by now.
fn is_mine(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let parent = format!("PPid:\t{}", std::process::id());
    status.lines().any(|line| line == parent) && !status.contains("State:\tZ")
}

fn signal(pid: u32, signal: Signal) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| rustix::process::kill_process(pid, signal).is_ok())
}

/// A job that is to be given up, and how.
pub(crate) struct Quits {
    pub(crate) job: Canceller,
    pub(crate) kills: bool,
    pub(crate) at: Instant,
}

impl Quits {
    pub(crate) fn now(&self) {
        match self.kills {
            true => self.job.kill(),
            false => self.job.cancel(),
        }
    }
}

/// Gives up jobs from a thread of its own, each at its moment, until nobody sends any more.
pub(crate) fn quit(jobs: &Receiver<Quits>) {
    let mut waiting: Vec<Quits> = Vec::new();
    loop {
        let next = waiting.iter().map(|quits| quits.at).min();
        let wait = next.map(|at| at.saturating_duration_since(Instant::now()));
        match jobs.recv_timeout(wait.unwrap_or(Duration::from_secs(3600))) {
            Ok(quits) => waiting.push(quits),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let now = Instant::now();
        waiting.retain(|quits| {
            if quits.at <= now {
                quits.now();
            }
            quits.at > now
        });
    }
}

/// Whoever wakes it, which is mostly the pool's driver, gets nothing done for so long.
struct Sleepy(Duration);

impl Wake for Sleepy {
    fn wake(self: Arc<Self>) {
        thread::sleep(self.0);
    }
}

/// Leaves such a waker with a job: the next one who looks at it takes it back. If the job has ended
/// already, this is its end.
pub(crate) fn leave_sleepy_waker<F: Future + Unpin>(
    job: &mut F,
    delay: Duration,
) -> Option<F::Output> {
    let waker = Waker::from(Arc::new(Sleepy(delay)));
    match Pin::new(job).poll(&mut Context::from_waker(&waker)) {
        std::task::Poll::Ready(ended) => Some(ended),
        std::task::Poll::Pending => None,
    }
}
