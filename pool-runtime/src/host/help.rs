//! Whoever waits for a short job looks for its reply: the driver is asleep, and would have to be
//! woken for it first.
//!
//! The worker is told by a word in the recorder that somebody looks, and leaves the reply in the ring
//! for as long as it looks for another job itself; then it writes into the channel, which wakes the
//! driver, so nothing is lost if nobody comes. When the word is taken back there is one more look: the
//! worker may have seen the old one.
//!
//! Who awaits a handle lets others have their turn first, by waking itself once, unless nobody else has
//! asked since it did and it has found nothing for them: they may have the next call at hand. Asked
//! again it looks for any reply, in all workers that have few jobs and were given a short one last,
//! and what it finds makes room for the next ones, which it hands out in the same breath. So calls go
//! round and round among tasks or threads without the driver. If it finds none it sleeps, and so does
//! everybody after it until something has come: a hundred futures of one task do not look a hundred
//! times.
//!
//! A stream does the same for all of its jobs that are short, whenever it has no result to give. The
//! word stays as long as something is found; between two looks a worker relies on it only while it
//! looks for jobs itself.

use std::sync::Arc;
use std::task::Waker;

use super::cell::{Cell, JobStatus};
use super::core::Host;
use super::link::Link;
use super::news::News;

impl Host {
    /// Looks for the replies to short jobs, for a moment at most, until `is_found`.
    pub(crate) fn look_for_replies(&self, is_found: impl Fn() -> bool) {
        if self.is_foreign() || !self.around.looks.spinner.is_on() {
            return;
        }
        let links = self.try_look_at(|core| core.seats.links_looked_for()).unwrap_or_default();
        if links.is_empty() {
            return;
        }
        let take = || links.iter().for_each(|link| _ = self.take_replies(link));
        let has_found = self.around.looks.spinner.spin(|| {
            take();
            is_found()
        });
        if !has_found {
            links.iter().for_each(|link| link.recorder.unwatch());
            take();
        }
    }

    /// Gives way to others, or looks for the reply to a short job, or to any other, for a moment at most.
    /// Whether it is worth while to ask again.
    pub(super) fn give_way_or_look(&self, cell: &Cell, asker: &Waker, has_given_way: bool) -> bool {
        let looks = &self.around.looks;
        if looks.are_vain() || self.is_foreign() || !looks.spinner.is_on() {
            return false;
        }
        if !has_given_way && looks.gives_way(asker) {
            return true;
        }
        let links = self.try_look_at(|core| core.seats.begin_to_look()).unwrap_or_default();
        if links.is_empty() {
            return false;
        }
        let before = looks.found();
        // Of each, whatever the others have.
        let take = || links.iter().fold(false, |found, link| found | self.take_replies(link));
        let has_found = looks.spinner.spin(|| take() || cell.status() == JobStatus::Ended);
        looks.end(before);
        if has_found {
            return true;
        }
        links.iter().for_each(|link| link.look_away());
        let has_found = take();
        looks.set_vain(!has_found);
        has_found
    }

    /// Something has come over the channel.
    pub(super) fn came_by_itself(&self, link: &Link) {
        link.nobody_looked();
        self.around.looks.set_vain(false);
    }

    /// Whether some were booked: others may have to wait for what comes over the channel, or for whoever
    /// is in the core.
    fn take_replies(&self, link: &Arc<Link>) -> bool {
        if !link.has_unseen_replies() {
            return false;
        }
        let before = self.around.looks.found();
        self.enter(News::Replies(link.clone()));
        self.around.looks.found() != before
    }
}
