//! Those who only look at the core, and whoever has held its lock without any news.

use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::task::Context;

use super::super::act::Core;
use super::super::after::After;
use super::super::news::News;
use super::Host;
use crate::scheduler::Readiness;
use crate::stats::WorkReport;

impl Host {
    /// Whether every worker has been up, and if not, why; registers `cx` while that is open.
    pub(crate) fn poll_ready(&self, cx: &mut Context<'_>) -> (Readiness, Option<Arc<str>>) {
        let waker = cx.waker().clone();
        let mut inner = self.lock();
        let readiness = inner.core.scheduler.readiness();
        let is_known = || inner.ready.iter().any(|other| other.will_wake(&waker));
        if readiness == Readiness::Pending && !is_known() {
            inner.ready.push(waker);
        }
        let trouble = inner.core.trouble.as_ref().map(|trouble| trouble.text.clone());
        drop(inner);
        self.catch_up();
        (readiness, trouble)
    }

    /// How the jobs that have ended so far did so.
    pub(crate) fn totals(&self) -> WorkReport {
        // The lock of a fork child may have been held by a thread that it does not have.
        match self.is_foreign() {
            true => WorkReport::default(),
            false => self.look_at(|core, _| core.ledger.ended()),
        }
    }

    /// A still picture: nothing moves while `look` sees the core, and how many jobs lie in the
    /// inbox besides. What it takes with it is dropped outside of the lock.
    pub(in crate::host) fn look_at<R>(&self, look: impl FnOnce(&Core, u64) -> R) -> R {
        let inner = self.lock();
        let seen = look(&inner.core, self.inbox.jobs() + inner.opened.jobs());
        drop(inner);
        self.catch_up();
        seen
    }

    /// The same, and a job that runs is seen to run, though its worker's greeting may lie unread.
    pub(in crate::host) fn look_closely_at<R>(&self, look: impl FnOnce(&Core, u64) -> R) -> R {
        let mut inner = self.lock();
        let mut after = After::new();
        for link in inner.core.seats.links_not_up() {
            self.feed(&mut inner, News::Replies(link), self.now(), &mut after);
        }
        let seen = look(&inner.core, self.inbox.jobs() + inner.opened.jobs());
        self.leave(inner, None, &mut after);
        self.settle(after);
        self.catch_up();
        seen
    }

    /// The same if nobody has the lock.
    pub(in crate::host) fn try_look_at<R>(&self, look: impl FnOnce(&Core) -> R) -> Option<R> {
        let inner = if self.is_driver_at_work() { None } else { self.try_lock() }?;
        let seen = look(&inner.core);
        drop(inner);
        self.catch_up();
        Some(seen)
    }

    /// After holding the lock without any news: those who did not get it have left theirs behind.
    pub(crate) fn catch_up(&self) {
        fence(Ordering::SeqCst);
        if self.inbox.is_empty() || self.is_driver_at_work() {
            return;
        }
        if let Some(inner) = self.try_lock() {
            self.work(inner, None);
        }
    }
}
