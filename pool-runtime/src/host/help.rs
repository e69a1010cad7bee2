//! Whoever waits for a short job looks for its reply: the driver is asleep, and would have to be
//! woken for it first.
//!
//! The worker is told by a word in the recorder that somebody looks, and leaves the reply in the
//! ring. When that word is taken back there is one more look: the worker may have seen the old
//! one, and from then on it writes into the channel, which wakes the driver.

use std::sync::Arc;

use super::cell::{Cell, JobStatus};
use super::core::Host;
use super::link::Link;
use super::news::News;

impl Host {
    /// Looks for the reply to a short job that is alone in its worker, for a moment at most.
    pub(super) fn look_for_reply(&self, cell: &Arc<Cell>) {
        if self.is_foreign() || !self.spinner.is_on() {
            return;
        }
        let Some(link) = self.try_look_at(|core| core.seats.link_of_lone(cell)).flatten() else {
            return;
        };
        link.recorder.watch(true);
        self.spinner.spin(|| {
            self.take_replies(&link);
            cell.status() == JobStatus::Ended
        });
        link.recorder.watch(false);
        self.take_replies(&link);
    }

    fn take_replies(&self, link: &Arc<Link>) {
        if link.has_unseen_replies() {
            self.enter(News::Replies(link.clone()));
        }
    }
}
