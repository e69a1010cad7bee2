//! The way in, in every order of events that memory allows: when everybody has gone, no news is
//! left in the inbox unless the driver's bell was rung.
//!
//! This follows `core.rs` step by step, under the same names, with the same order of atomics and
//! fences; whoever changes one changes the other. What is behind the lock is a list of the news
//! that were fed. A bell is heard by a driver that comes when the others have gone.
//!
//! The lock is a word here and not loom's mutex, which does not try what happens if somebody tries
//! to lock between a lock and its unlock. Loom takes `SeqCst` at a load or a store for no more
//! than `AcqRel`, so what holds here holds by the fences alone.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex as Plain, atomic};

use loom::model::Builder;
use loom::sync::Mutex;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use loom::thread;

/// So few that a grant is used up.
const COMBINE: usize = 1;
const DRIVER_COMBINE: usize = 1;

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    Nothing,
    NoFenceAfterPost,
    NoFenceAfterUnlock,
    /// Whoever unlocks does not look at the inbox again.
    NoLookAfterUnlock,
    /// Whoever has posted does not try to lock again.
    NoTryAfterPost,
    /// Whoever has only looked at the core does not see to the inbox.
    NoCatchingUp,
    /// A grant that is used up rings no bell.
    NoBell,
    /// Whoever only posts rings the bell if the inbox was empty a moment before.
    FirstBeforePost,
    /// The driver says when it looks again after its last look at the inbox.
    ArmsAfterAll,
    /// The driver says that it is at work until after its last look at the inbox.
    WorksForEver,
    /// Nobody looks at what was taken out of the inbox and not fed.
    ForgetsOpened,
}

type News = u32;

struct Host {
    is_locked: AtomicBool,
    /// Behind the lock.
    fed: Plain<Vec<News>>,
    /// Behind the lock, too: taken out of the inbox.
    taken: Plain<VecDeque<News>>,
    inbox: Mutex<VecDeque<News>>,
    len: AtomicUsize,
    /// How many were taken out and not fed.
    opened: AtomicUsize,
    driver_at_work: AtomicBool,
    is_due_soon: AtomicBool,
    bell: atomic::AtomicBool,
    /// There is no driver any more.
    rest: bool,
    flaw: Flaw,
}

/// Has the lock.
struct Inner<'a>(&'a Host);

impl Drop for Inner<'_> {
    fn drop(&mut self) {
        self.0.is_locked.store(false, Ordering::Release);
    }
}

impl Host {
    fn new(flaw: Flaw, rest: bool) -> Arc<Host> {
        Arc::new(Host {
            is_locked: AtomicBool::new(false),
            fed: Plain::default(),
            taken: Plain::default(),
            inbox: Mutex::default(),
            len: AtomicUsize::new(0),
            opened: AtomicUsize::new(0),
            driver_at_work: AtomicBool::new(false),
            is_due_soon: AtomicBool::new(false),
            bell: atomic::AtomicBool::new(false),
            rest,
            flaw,
        })
    }

    fn enter(&self, news: News) {
        if !self.driver_at_work.load(Ordering::SeqCst) {
            if let Some(inner) = self.try_lock() {
                return self.work(inner, Some(news));
            }
        }
        self.post(news);
        self.fence_unless(Flaw::NoFenceAfterPost);
        if self.flaw == Flaw::NoTryAfterPost {
            return;
        }
        if !self.driver_at_work.load(Ordering::SeqCst) {
            if let Some(inner) = self.try_lock() {
                self.work(inner, None);
            }
        }
    }

    fn submit_behind(&self, news: News) {
        let is_first = if self.flaw == Flaw::FirstBeforePost {
            let was_empty = self.len.load(Ordering::Acquire) == 0;
            self.post(news);
            was_empty
        } else {
            self.post(news)
        };
        if !is_first {
            return;
        }
        self.fence_unless(Flaw::NoFenceAfterPost);
        if !self.is_due_soon.load(Ordering::SeqCst) {
            self.ring();
        }
        if self.rest {
            self.catch_up();
        }
    }

    /// As the driver looks at the clock, and is not to look again soon.
    fn tick(&self) {
        self.drive_by(None, true);
    }

    fn drive(&self, news: Option<News>) {
        self.drive_by(news, false);
    }

    fn drive_by(&self, news: Option<News>, is_tick: bool) {
        let mut news = news;
        let mut grant = DRIVER_COMBINE;
        loop {
            self.driver_at_work.store(true, Ordering::SeqCst);
            let inner = self.lock();
            grant = self.drain(&inner, grant);
            if let Some(news) = news.take() {
                self.feed(&inner, news);
            }
            if is_tick && self.flaw != Flaw::ArmsAfterAll {
                self.is_due_soon.store(false, Ordering::SeqCst);
            }
            self.leave(inner, true);
            if self.is_empty() {
                break;
            }
            if self.rest {
                grant = DRIVER_COMBINE;
            } else if grant == 0 {
                self.ring();
                break;
            }
        }
        if self.flaw == Flaw::WorksForEver {
            self.driver_at_work.store(false, Ordering::SeqCst);
        }
        if is_tick && self.flaw == Flaw::ArmsAfterAll {
            self.is_due_soon.store(false, Ordering::SeqCst);
        }
    }

    fn work<'a>(&'a self, inner: Inner<'a>, news: Option<News>) {
        let mut inner = inner;
        let mut news = news;
        let mut grant = COMBINE;
        loop {
            grant = self.drain(&inner, grant);
            match news.take() {
                Some(news) if grant > 0 || self.is_empty() => {
                    self.feed(&inner, news);
                }
                Some(news) => _ = self.post(news),
                None => {}
            }
            self.leave(inner, false);
            if self.flaw == Flaw::NoLookAfterUnlock || self.is_empty() {
                return;
            }
            if self.rest {
                grant = COMBINE;
            } else if grant == 0 || self.driver_at_work.load(Ordering::SeqCst) {
                self.ring();
                return;
            }
            match self.try_lock() {
                Some(again) => inner = again,
                None => return,
            }
        }
    }

    fn look_at(&self) {
        drop(self.lock());
        if self.flaw != Flaw::NoCatchingUp {
            self.catch_up();
        }
    }

    /// The same if nobody has the lock.
    fn try_look_at(&self) {
        if self.driver_at_work.load(Ordering::SeqCst) {
            return;
        }
        if let Some(inner) = self.try_lock() {
            drop(inner);
            self.catch_up();
        }
    }

    fn catch_up(&self) {
        self.fence_unless(Flaw::NoFenceAfterUnlock);
        if self.is_empty() || self.driver_at_work.load(Ordering::SeqCst) {
            return;
        }
        if let Some(inner) = self.try_lock() {
            self.work(inner, None);
        }
    }

    fn leave(&self, inner: Inner<'_>, is_driver: bool) {
        drop(inner);
        if is_driver && self.flaw != Flaw::WorksForEver {
            self.driver_at_work.store(false, Ordering::SeqCst);
        }
        self.fence_unless(Flaw::NoFenceAfterUnlock);
    }

    fn is_empty(&self) -> bool {
        let opened = || match self.flaw {
            Flaw::ForgetsOpened => 0,
            _ => self.opened.load(Ordering::Acquire),
        };
        self.len.load(Ordering::Acquire) == 0 && opened() == 0
    }

    fn drain(&self, inner: &Inner<'_>, mut grant: usize) -> usize {
        if self.is_empty() {
            return grant;
        }
        let mut taken = self.taken.lock().unwrap();
        while grant > 0 {
            if taken.is_empty() {
                let mut inbox = self.inbox.lock().unwrap();
                taken.append(&mut inbox);
                self.len.store(0, Ordering::Release);
            }
            let Some(news) = taken.pop_front() else { break };
            self.feed(inner, news);
            grant -= 1;
        }
        self.opened.store(taken.len(), Ordering::Release);
        grant
    }

    fn feed(&self, _: &Inner<'_>, news: News) {
        self.fed.lock().unwrap().push(news);
    }

    fn post(&self, news: News) -> bool {
        let mut inbox = self.inbox.lock().unwrap();
        inbox.push_back(news);
        self.len.store(inbox.len(), Ordering::Release);
        inbox.len() == 1
    }

    fn ring(&self) {
        if self.flaw != Flaw::NoBell {
            self.bell.store(true, atomic::Ordering::SeqCst);
        }
    }

    fn try_lock(&self) -> Option<Inner<'_>> {
        let (free, held) = (false, true);
        let word = &self.is_locked;
        let taken = word.compare_exchange(free, held, Ordering::Acquire, Ordering::Relaxed);
        taken.ok().map(|_| Inner(self))
    }

    fn lock(&self) -> Inner<'_> {
        loop {
            match self.try_lock() {
                Some(inner) => return inner,
                None => thread::yield_now(),
            }
        }
    }

    fn fence_unless(&self, flaw: Flaw) {
        if self.flaw != flaw {
            fence(Ordering::SeqCst);
        }
    }

    /// Everybody has gone: the driver comes if its bell was rung, or by its clock.
    fn assert_nothing_is_left(&self, news: &[News]) {
        if self.is_due_soon.load(Ordering::SeqCst) {
            self.ring();
        }
        while !self.rest && self.bell.swap(false, atomic::Ordering::SeqCst) {
            self.drive(None);
        }
        let mut fed = self.fed.lock().unwrap().clone();
        fed.sort_unstable();
        assert_eq!(fed, news, "news are left behind");
    }
}

/// What a thread does.
type Deed = fn(&Host);

/// Runs the deeds at once, the last one on the model's own thread, with at most `switches` moments
/// at which a thread is made to wait though it could go on.
fn all_at_once(
    flaw: Flaw,
    rest: bool,
    switches: usize,
    deeds: &'static [Deed],
    news: &'static [News],
) {
    let mut model = Builder::new();
    model.preemption_bound = Some(switches);
    model.check(move || {
        let host = Host::new(flaw, rest);
        let (last, others) = deeds.split_last().unwrap();
        let spawn = |deed: &Deed| {
            let (host, deed) = (host.clone(), *deed);
            thread::spawn(move || deed(&host))
        };
        let threads: Vec<_> = others.iter().map(spawn).collect();
        last(&host);
        for thread in threads {
            thread.join().unwrap();
        }
        host.assert_nothing_is_left(news);
    });
}

/// Two threads that submit, and the driver.
fn submit_and_drive(flaw: Flaw, rest: bool) {
    let deeds: &[Deed] = &[|host| host.enter(1), |host| host.enter(2), |host| host.drive(Some(3))];
    all_at_once(flaw, rest, 3, deeds, &[1, 2, 3]);
}

/// Two threads that submit, one of them twice.
fn submit(flaw: Flaw, rest: bool) {
    let deeds: &[Deed] = &[
        |host| host.enter(1),
        |host| {
            host.enter(2);
            host.enter(3);
        },
    ];
    all_at_once(flaw, rest, 5, deeds, &[1, 2, 3]);
}

/// One that submits, and one that takes a picture.
fn submit_and_look(flaw: Flaw) {
    all_at_once(flaw, false, usize::from(u8::MAX), &[|host| host.enter(1), Host::look_at], &[1]);
}

/// Two that submit, and one that leaves its job to whoever comes next.
fn submit_and_leave(flaw: Flaw, rest: bool) {
    let deeds: &[Deed] =
        &[|host| host.enter(1), |host| host.enter(2), |host| host.submit_behind(3)];
    all_at_once(flaw, rest, 3, deeds, &[1, 2, 3]);
}

/// Two that leave their jobs to whoever comes next, which may be the driver by its clock; this was
/// the last time that it comes so soon.
fn leave_and_tick(flaw: Flaw) {
    let deeds: &[Deed] = &[
        |host| host.submit_behind(1),
        |host| host.submit_behind(2),
        |host| {
            host.is_due_soon.store(true, Ordering::SeqCst);
            host.tick();
        },
    ];
    all_at_once(flaw, false, 3, deeds, &[1, 2]);
}

#[test]
fn no_news_is_left_behind_by_two_who_submit_and_the_driver() {
    submit_and_drive(Flaw::Nothing, false);
}

#[test]
fn no_news_is_left_behind_by_those_who_submit_or_look() {
    submit(Flaw::Nothing, false);
    submit_and_look(Flaw::Nothing);
    submit_and_leave(Flaw::Nothing, false);
}

#[test]
fn a_pool_at_rest_needs_no_driver() {
    submit(Flaw::Nothing, true);
    submit_and_leave(Flaw::Nothing, true);
}

#[test]
fn a_driver_that_leaves_a_pool_at_rest_leaves_nothing() {
    submit_and_drive(Flaw::Nothing, true);
}

#[test]
fn no_news_is_left_behind_beside_a_driver_by_those_who_only_look_or_leave_their_jobs() {
    let looks: &[Deed] = &[|host| host.enter(1), Host::try_look_at, |host| host.drive(None)];
    all_at_once(Flaw::Nothing, false, 3, looks, &[1]);
    let leaves: &[Deed] =
        &[|host| host.enter(1), |host| host.submit_behind(2), |host| host.drive(Some(3))];
    all_at_once(Flaw::Nothing, false, 3, leaves, &[1, 2, 3]);
}

#[test]
fn whoever_leaves_its_job_to_a_driver_that_comes_by_its_clock_need_not_ring() {
    leave_and_tick(Flaw::Nothing);
}

#[test]
#[should_panic(expected = "news are left behind")]
fn the_driver_says_when_it_looks_again_before_its_last_look() {
    leave_and_tick(Flaw::ArmsAfterAll);
}

#[test]
#[should_panic(expected = "news are left behind")]
fn there_is_a_fence_between_the_post_and_the_look_at_the_clock() {
    leave_and_tick(Flaw::NoFenceAfterPost);
}

#[test]
#[should_panic(expected = "news are left behind")]
fn whether_the_inbox_was_empty_is_seen_under_its_lock() {
    submit_and_leave(Flaw::FirstBeforePost, false);
}

#[test]
#[should_panic(expected = "news are left behind")]
fn whoever_unlocks_looks_again() {
    submit(Flaw::NoLookAfterUnlock, false);
}

#[test]
#[should_panic(expected = "news are left behind")]
fn whoever_posts_tries_again() {
    submit(Flaw::NoTryAfterPost, false);
}

#[test]
#[should_panic(expected = "news are left behind")]
fn there_is_a_fence_behind_the_post() {
    submit(Flaw::NoFenceAfterPost, false);
}

#[test]
#[should_panic(expected = "news are left behind")]
fn there_is_a_fence_behind_the_unlock() {
    submit(Flaw::NoFenceAfterUnlock, false);
}

#[test]
#[should_panic(expected = "news are left behind")]
fn whoever_only_looked_catches_up() {
    submit_and_look(Flaw::NoCatchingUp);
}

#[test]
#[should_panic(expected = "news are left behind")]
fn what_is_left_to_the_driver_rings_its_bell() {
    submit_and_drive(Flaw::NoBell, false);
}

#[test]
#[should_panic(expected = "news are left behind")]
fn the_driver_is_at_work_no_longer_when_it_looks_for_the_last_time() {
    submit_and_drive(Flaw::WorksForEver, false);
}

#[test]
#[should_panic(expected = "news are left behind")]
fn what_was_taken_out_and_not_fed_is_seen_to() {
    submit_and_leave(Flaw::ForgetsOpened, false);
}
