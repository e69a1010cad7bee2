//! News for whoever gets the core's lock next.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::cell::Cell;
use super::news::News;

/// Places for news that are kept.
const KEPT: usize = 4096;

#[derive(Default)]
pub(super) struct Inbox {
    pile: Mutex<Pile>,
    /// Its length, to be seen without its lock.
    len: AtomicUsize,
}

#[derive(Default)]
struct Pile {
    news: VecDeque<News>,
    /// How many of these are jobs.
    jobs: u64,
}

impl Inbox {
    /// Whether nothing lies in it. After a fence it sees what was put there before.
    pub(super) fn is_empty(&self) -> bool {
        self.len.load(Ordering::Acquire) == 0
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    /// How many jobs lie in it.
    pub(super) fn jobs(&self) -> u64 {
        self.pile().jobs
    }

    /// True if the inbox was empty: whoever put in what lies there already has seen to it that
    /// somebody comes.
    pub(super) fn put(&self, news: News) -> bool {
        match news {
            News::Submit(cell) => self.put_job(cell),
            news => self.add(&mut self.pile(), news),
        }
    }

    /// The same for a job.
    #[inline]
    pub(super) fn put_job(&self, cell: Arc<Cell>) -> bool {
        let mut pile = self.pile();
        pile.jobs += 1;
        self.add(&mut pile, News::Submit(cell))
    }

    #[inline(always)]
    fn add(&self, pile: &mut Pile, news: News) -> bool {
        pile.news.push_back(news);
        self.len.store(pile.news.len(), Ordering::Release);
        pile.news.len() == 1
    }

    /// Moves at most `most` of them, the first ones, to the end of `to`; how many.
    pub(super) fn take(&self, most: usize, to: &mut VecDeque<News>) -> usize {
        let mut pile = self.pile();
        let count = pile.news.len().min(most);
        if count == pile.news.len() && to.is_empty() {
            pile.jobs = 0;
            // Both keep their room, if that is not much.
            if to.capacity() > KEPT {
                *to = VecDeque::new();
            }
            std::mem::swap(&mut pile.news, to);
        } else {
            pile.jobs -= pile.news.iter().take(count).filter(|news| is_job(news)).count() as u64;
            to.extend(pile.news.drain(..count));
        }
        self.len.store(pile.news.len(), Ordering::Release);
        count
    }

    fn pile(&self) -> MutexGuard<'_, Pile> {
        self.pile.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_job(news: &News) -> bool {
    matches!(news, News::Submit(_))
}
