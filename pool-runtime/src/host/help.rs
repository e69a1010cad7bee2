//! Whoever waits for a short job looks for its reply: the driver is asleep, and would have to be
//! woken for it first.
//!
//! The worker is told by a word in the recorder, before it has the job, that somebody will look,
//! and leaves the reply in the ring for as long as it looks for another job itself; then it writes
//! into the channel, which wakes the driver, so nothing is lost if nobody comes. When the word is
//! taken back there is one more look: the worker may have seen the old one.
//!
//! A stream does so for all of its jobs that are short, in whichever workers these are: it looks at
//! their rings when it has no result to give, and what it finds makes room for the next jobs, which
//! it hands out in the same breath. So calls go round and round without anybody being woken, and
//! without the driver. The word stays as long as something is found; between two looks a worker
//! relies on it only while it looks for jobs itself.

use std::sync::Arc;

use super::cell::{Cell, JobStatus};
use super::core::Host;
use super::link::Link;
use super::news::News;

impl Host {
    /// Looks for the reply to a short job that is alone in its worker, for a moment at most.
    pub(super) fn look_for_reply(&self, cell: &Arc<Cell>) {
        if self.is_foreign() || !self.around.spinner.is_on() {
            return;
        }
        let Some(link) = self.try_look_at(|core| core.link_of_lone(cell)).flatten() else {
            return;
        };
        self.around.spinner.spin(|| {
            self.take_replies(&link);
            cell.status() == JobStatus::Ended
        });
        link.recorder.unwatch();
        self.take_replies(&link);
    }

    /// Looks for the replies to short jobs, for a moment at most, until `is_found`.
    pub(crate) fn look_for_replies(&self, is_found: impl Fn() -> bool) {
        if self.is_foreign() || !self.around.spinner.is_on() {
            return;
        }
        let links = self.try_look_at(|core| core.seats.links_looked_for()).unwrap_or_default();
        if links.is_empty() {
            return;
        }
        let take = || links.iter().for_each(|link| self.take_replies(link));
        let has_found = self.around.spinner.spin(|| {
            take();
            is_found()
        });
        if !has_found {
            links.iter().for_each(|link| link.recorder.unwatch());
            take();
        }
    }

    fn take_replies(&self, link: &Arc<Link>) {
        if link.has_unseen_replies() {
            self.enter(News::Replies(link.clone()));
        }
    }
}
