//! News for whoever gets the core's lock next.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::cell::CellRef;
use super::news::News;

/// Places for news that are kept.
const KEPT: usize = 4096;

/// In cache lines of its own: whoever submits writes to it.
#[derive(Default)]
#[repr(align(128))]
pub(super) struct Inbox {
    mail: Mutex<Mail>,
    /// Its length, to be seen without its lock.
    len: AtomicUsize,
    /// How much was taken out and is not fed yet. Written to under the core's lock only.
    opened: AtomicUsize,
}

/// News in the order in which they came. Jobs are most of them, and lie apart, a word each.
#[derive(Default)]
pub(super) struct Mail {
    jobs: VecDeque<CellRef>,
    /// How many jobs have left it.
    gone: usize,
    /// Each with the number of jobs, of all there ever were, that came before it.
    others: VecDeque<(usize, News)>,
}

/// One of them.
pub(super) enum Letter {
    Job(CellRef),
    News(News),
}

impl Mail {
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn len(&self) -> usize {
        self.jobs.len() + self.others.len()
    }

    /// How many jobs lie in it.
    pub(super) fn jobs(&self) -> u64 {
        self.jobs.len() as u64
    }

    #[inline]
    fn put(&mut self, news: News) {
        match news {
            News::Submit(cell) => self.jobs.push_back(cell),
            news => self.others.push_back((self.gone.wrapping_add(self.jobs.len()), news)),
        }
    }

    /// The one that came first.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<Letter> {
        match self.others.front() {
            Some(&(before, _)) if before == self.gone => {
                self.others.pop_front().map(|(_, news)| Letter::News(news))
            }
            _ => {
                let job = self.jobs.pop_front()?;
                self.gone = self.gone.wrapping_add(1);
                Some(Letter::Job(job))
            }
        }
    }

    /// An empty one keeps its room, if that is not much.
    fn forget_much_room(&mut self) {
        if self.is_empty() && self.jobs.capacity().max(self.others.capacity()) > KEPT {
            *self = Mail::default();
        }
    }
}

impl Inbox {
    /// Whether nothing lies in it, and all that was taken out is fed. After a fence it sees what was put
    /// there before.
    pub(super) fn is_empty(&self) -> bool {
        self.len.load(Ordering::Acquire) == 0 && self.opened.load(Ordering::Acquire) == 0
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Acquire) + self.opened.load(Ordering::Acquire)
    }

    /// How many jobs lie in it.
    pub(super) fn jobs(&self) -> u64 {
        self.mail().jobs()
    }

    /// True if the inbox was empty: whoever put in what lies there already has seen to it that
    /// somebody comes.
    #[inline]
    pub(super) fn put(&self, news: News) -> bool {
        let mut mail = self.mail();
        mail.put(news);
        self.note_len(&mail) == 1
    }

    /// The same for a job.
    pub(super) fn put_job(&self, cell: CellRef) -> bool {
        let mut mail = self.mail();
        mail.jobs.push_back(cell);
        self.note_len(&mail) == 1
    }

    /// Moves all of them into `to`, which is empty: none is looked at while others wait for the lock.
    pub(super) fn take(&self, to: &mut Mail) {
        let mut mail = self.mail();
        std::mem::swap(&mut *mail, to);
        self.note_len(&mail);
    }

    /// What of `opened` is not fed yet comes before what lies here. Under the core's lock only.
    pub(super) fn put_off(&self, opened: &mut Mail) {
        opened.forget_much_room();
        let len = opened.len();
        if self.opened.load(Ordering::Relaxed) != len {
            self.opened.store(len, Ordering::Release);
        }
    }

    #[inline]
    fn note_len(&self, mail: &Mail) -> usize {
        let len = mail.len();
        self.len.store(len, Ordering::Release);
        len
    }

    fn mail(&self) -> MutexGuard<'_, Mail> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::cell::{Cell, Order, Place};
    use super::*;
    use crate::wire::Payload;

    fn job() -> CellRef {
        let arguments = Payload::EMPTY;
        let order = Order { number: 0, label: None, arguments, raw: false, options: None };
        Cell::new(order, Place::Nowhere)
    }

    /// Feeds what was taken out, as far as `most` goes.
    fn feed(inbox: &Inbox, opened: &mut Mail, most: usize) -> Vec<Letter> {
        if opened.is_empty() {
            inbox.take(opened);
        }
        let fed = std::iter::from_fn(|| opened.pop()).take(most).collect();
        inbox.put_off(opened);
        fed
    }

    #[test]
    fn much_room_is_not_kept() {
        let (inbox, mut opened) = (Inbox::default(), Mail::default());
        for n in 0..4 * KEPT {
            inbox.put(if n % 2 == 0 { News::Look } else { News::Submit(job()) });
        }
        for _ in 0..3 {
            inbox.put(News::Look);
            feed(&inbox, &mut opened, usize::MAX);
        }
        for mail in [&opened, &inbox.mail()] {
            assert!(mail.jobs.capacity() <= KEPT && mail.others.capacity() <= KEPT);
        }
    }

    /// What was put in comes out in that order, however it is taken.
    #[test]
    fn first_come_first_served() {
        for most in [1, 2, 3, 7, usize::MAX] {
            let (inbox, mut opened) = (Inbox::default(), Mail::default());
            let (mut put, mut fed, mut seed) = (Vec::new(), Vec::new(), most as u64 | 1);
            for _ in 0..300 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                match seed >> 60 {
                    0..6 => {
                        let cell = job();
                        put.push(Some(cell.id()));
                        let was_empty = inbox.mail().is_empty();
                        assert_eq!(inbox.put_job(cell), was_empty);
                    }
                    6..8 => {
                        put.push(None);
                        inbox.put(News::Close);
                    }
                    8 => {
                        let cell = job();
                        put.push(Some(cell.id()));
                        inbox.put(News::Submit(cell));
                    }
                    _ => fed.extend(feed(&inbox, &mut opened, most)),
                }
                assert_eq!(inbox.len(), put.len() - fed.len());
                assert_eq!(inbox.is_empty(), put.len() == fed.len());
            }
            while !inbox.is_empty() {
                fed.extend(feed(&inbox, &mut opened, most));
            }
            let fed: Vec<_> = fed
                .into_iter()
                .map(|letter| match letter {
                    Letter::Job(cell) => Some(cell.id()),
                    Letter::News(_) => None,
                })
                .collect();
            assert_eq!(fed, put);
            assert_eq!((inbox.len(), inbox.jobs(), opened.jobs()), (0, 0, 0));
        }
    }
}
