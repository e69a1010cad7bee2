//! How far one job says that it is, and who wants to hear of it. Behind the lock of its cell.

use std::task::Waker;

use crate::stats::Progress;

/// Made by the first report, or by the first who asks: most jobs have none.
#[derive(Default)]
pub(super) struct Track {
    /// `None`: this attempt has not said anything.
    latest: Option<Progress>,
    /// Grows with each report of any attempt.
    version: u64,
    /// Listeners that wait, by their number.
    waiting: Vec<(u64, Waker)>,
    /// The number of the next listener.
    next: u64,
}

impl Track {
    /// The same once more is no news: what came last is told again before a job's reply.
    pub(super) fn note(&mut self, progress: Progress, wakers: &mut Vec<Waker>) {
        if self.latest.as_ref() == Some(&progress) {
            return;
        }
        self.latest = Some(progress);
        self.version += 1;
        self.wake_all(wakers);
    }

    /// Another attempt begins with nothing.
    pub(super) fn start_over(&mut self) {
        self.latest = None;
    }

    pub(super) fn latest(&self) -> Option<&Progress> {
        self.latest.as_ref()
    }

    /// A number for a new listener.
    pub(super) fn register(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// What is new for somebody who has seen `seen`.
    pub(super) fn news(&self, seen: &mut u64) -> Option<Progress> {
        if *seen == self.version {
            return None;
        }
        *seen = self.version;
        self.latest.clone()
    }

    /// Lets `listener` know of the next news. Returns the waker that it had left before.
    #[must_use]
    pub(super) fn wait(&mut self, listener: u64, waker: Waker) -> Option<Waker> {
        match self.waiting.iter_mut().find(|(other, _)| *other == listener) {
            Some((_, old)) => Some(std::mem::replace(old, waker)),
            None => {
                self.waiting.push((listener, waker));
                None
            }
        }
    }

    /// The listener is gone. Returns its waker.
    #[must_use]
    pub(super) fn forget(&mut self, listener: u64) -> Option<Waker> {
        let place = self.waiting.iter().position(|(other, _)| *other == listener)?;
        Some(self.waiting.swap_remove(place).1)
    }

    pub(super) fn wake_all(&mut self, wakers: &mut Vec<Waker>) {
        wakers.extend(self.waiting.drain(..).map(|(_, waker)| waker));
    }
}
