//! Scheduler and links behind one lock: enter, feed, act, leave.
//!
//! 1. Whoever has news tries the lock. Got it: drain the inbox, feed, act on what the scheduler
//!    says, unlock, and look at the inbox once more. Not: put the news into the inbox and try
//!    once more; whoever holds the lock looks after it is unlocked, so nothing is left behind.
//! 2. A thread that came to submit does at most [`COMBINE`] entries for others, then leaves the
//!    rest to the driver. Only the driver waits for the lock; the others make way for it.
//! 3. Under the lock nothing of a user's runs: wakers are woken and values are dropped after it,
//!    by [`After`].
//!
//! This is the only file that calls the scheduler.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError, Weak};
use std::task::{Context, Waker};
use std::thread::{self, ThreadId};
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};

use super::after::After;
use super::backlog::{Count, Share};
use super::cell::{Cell, Manner};
use super::latch::Latch;
use super::launch::LaunchPlan;
use super::link::{Answer, Link};
use super::seats::Seats;
use crate::error::WorkerExit;
use crate::policy::Terms;
use crate::scheduler::{Config, Readiness, Scheduler, Time, WorkerId};
use crate::stats::WorkReport;

/// What a submitting thread does for others before it leaves the rest to the driver.
const COMBINE: usize = 64;

/// One pool of worker processes.
pub(crate) struct Host {
    core: Mutex<Core>,
    inbox: Mutex<VecDeque<News>>,
    /// Length of the inbox, to be seen without its lock.
    mail: AtomicUsize,
    driver_waiting: AtomicBool,
    /// Places in the queue. Taken before a job enters, given back when it is first handed out.
    pub(crate) room: Semaphore,
    closed: AtomicBool,
    /// Wakes the driver: an earlier deadline, or mail that a submitter left behind.
    pub(super) bell: Notify,
    /// Every worker is gone and reaped, every job resolved.
    pub(crate) rest: Latch,
    pub(super) plan: LaunchPlan,
    runtime: OnceLock<Handle>,
    driver: OnceLock<ThreadId>,
    epoch: Instant,
    /// Where the host was made: a fork child has copies of everything and owns nothing.
    pid: u32,
    me: Weak<Host>,
}

/// What is behind the lock.
pub(super) struct Core {
    pub(super) scheduler: Scheduler<Arc<Cell>>,
    pub(super) seats: Seats,
    /// Works of this pool, to be asked in turn.
    pub(super) shares: VecDeque<Arc<Share>>,
    pub(super) totals: WorkReport,
    pub(super) defaults: Terms,
    /// When the driver will look by itself.
    armed: Option<Time>,
    /// Who waits for the workers to be up.
    ready: Vec<Waker>,
    /// Why the last launch failed.
    pub(super) trouble: Option<Arc<str>>,
    /// Tasks that look after a worker, until it is reaped.
    pub(super) tasks: usize,
}

/// Something that happened.
pub(super) enum News {
    Submit(Arc<Cell>),
    GiveUp(Arc<Cell>, Manner),
    Attach(Arc<Share>),
    Launched(Arc<Link>),
    Ready(WorkerId),
    Answers(Arc<Link>, Vec<Answer>),
    Gone(Gone),
    /// The task that looked after a worker has ended.
    Reaped,
    /// Time has passed, or a queue has new jobs.
    Look,
    Close,
    Shutdown,
}

/// A worker's end.
pub(super) struct Gone {
    pub(super) worker: WorkerId,
    /// `None` if no process ever came to be.
    pub(super) link: Option<Arc<Link>>,
    pub(super) exit: WorkerExit,
    /// What the exit alone does not say.
    pub(super) detail: Option<String>,
    /// It had not greeted.
    pub(super) in_launch: bool,
}

impl Host {
    pub(crate) fn new(config: Config, plan: LaunchPlan, queue_capacity: usize) -> Arc<Host> {
        let epoch = Instant::now();
        let workers = config.workers;
        let defaults = config.defaults;
        Arc::new_cyclic(|me| Host {
            core: Mutex::new(Core {
                scheduler: Scheduler::new(config, Time::default()),
                seats: Seats::new(workers),
                shares: VecDeque::new(),
                totals: WorkReport::default(),
                defaults,
                armed: None,
                ready: Vec::new(),
                trouble: None,
                tasks: 0,
            }),
            inbox: Mutex::default(),
            mail: AtomicUsize::new(0),
            driver_waiting: AtomicBool::new(false),
            room: Semaphore::new(queue_capacity.min(Semaphore::MAX_PERMITS)),
            closed: AtomicBool::new(false),
            bell: Notify::new(),
            rest: Latch::default(),
            plan,
            runtime: OnceLock::new(),
            driver: OnceLock::new(),
            epoch,
            pid: std::process::id(),
            me: me.clone(),
        })
    }

    pub(super) fn set_runtime(&self, runtime: Handle) {
        // Set once, by the driver, before anything is entered.
        let _ = self.runtime.set(runtime);
    }

    /// By the driver, on its own thread.
    pub(super) fn set_driver(&self) {
        let _ = self.driver.set(thread::current().id());
    }

    /// The driver's runtime.
    pub(crate) fn runtime(&self) -> Option<&Handle> {
        self.runtime.get()
    }

    /// Whether new jobs are refused: closed, shut down, or this is a fork child of the host.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire) || self.is_foreign()
    }

    /// This process is a fork child of the one that made the pool.
    pub(crate) fn is_foreign(&self) -> bool {
        std::process::id() != self.pid
    }

    /// The largest payload that may travel.
    pub(crate) fn max_payload(&self) -> u64 {
        self.plan.max_payload
    }

    /// Whether this is the driver's own thread.
    pub(crate) fn is_driver(&self) -> bool {
        self.driver.get() == Some(&thread::current().id())
    }

    /// Hands in a job that holds a place in the queue.
    pub(crate) fn submit(&self, cell: Arc<Cell>) {
        self.enter(News::Submit(cell));
    }

    pub(super) fn give_up(&self, cell: Arc<Cell>, manner: Manner) {
        if !self.is_foreign() {
            self.enter(News::GiveUp(cell, manner));
        }
    }

    /// A queue has new jobs.
    pub(super) fn look(&self) {
        if !self.is_foreign() {
            self.enter(News::Look);
        }
    }

    /// Starts to work on the share's queue.
    pub(crate) fn attach(&self, share: Arc<Share>) {
        self.enter(News::Attach(share));
    }

    /// Refuses new jobs from here on and stops when the accepted ones have ended. Returns what
    /// was counted before.
    pub(crate) fn close(&self) -> WorkReport {
        let before = self.totals();
        self.closed.store(true, Ordering::Release);
        self.room.close();
        if !self.is_foreign() {
            self.enter(News::Close);
        }
        before
    }

    /// Ends everything now.
    pub(crate) fn shutdown(&self) {
        self.closed.store(true, Ordering::Release);
        self.room.close();
        if !self.is_foreign() {
            self.enter(News::Shutdown);
        }
    }

    /// How the jobs that have ended so far did so.
    pub(crate) fn totals(&self) -> WorkReport {
        self.lock().totals
    }

    /// Whether every worker has been up, and if not, why; registers `cx` while that is open.
    pub(crate) fn poll_ready(&self, cx: &mut Context<'_>) -> (Readiness, Option<Arc<str>>) {
        let waker = cx.waker().clone();
        let mut core = self.lock();
        let readiness = core.scheduler.readiness();
        if readiness == Readiness::Pending && !core.ready.iter().any(|w| w.will_wake(&waker)) {
            core.ready.push(waker);
        }
        (readiness, core.trouble.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Time {
        Time::after_start(self.epoch.elapsed())
    }

    pub(super) fn moment(&self, instant: Instant) -> Time {
        Time::after_start(instant.saturating_duration_since(self.epoch))
    }

    pub(super) fn weak(&self) -> Weak<Host> {
        self.me.clone()
    }

    /// Brings news into the core; never waits for its lock.
    pub(super) fn enter(&self, news: News) {
        let mut after = After::default();
        match self.try_lock() {
            Some(core) => self.work(core, Some(news), &mut after),
            None => {
                let mut inbox = self.inbox();
                inbox.push_back(news);
                self.mail.store(inbox.len(), Ordering::SeqCst);
                drop(inbox);
                fence(Ordering::SeqCst);
                // The driver is about to take the lock and drains the inbox first thing.
                if !self.driver_waiting.load(Ordering::SeqCst) {
                    if let Some(core) = self.try_lock() {
                        self.work(core, None, &mut after);
                    }
                }
            }
        }
        after.settle(&self.room);
    }

    /// The same for the driver's tasks: waits for the lock, and empties the inbox.
    pub(super) fn enter_as_driver(&self, news: News) {
        self.drive(Some(news), false);
    }

    /// The driver looks at the clock. Returns when it has to look again.
    pub(super) fn tick(&self) -> Option<Time> {
        self.drive(Some(News::Look), true)
    }

    fn drive(&self, mut news: Option<News>, is_tick: bool) -> Option<Time> {
        let mut after = After::default();
        let next = loop {
            self.driver_waiting.store(true, Ordering::SeqCst);
            let mut core = self.lock();
            self.driver_waiting.store(false, Ordering::SeqCst);
            self.drain(&mut core, usize::MAX, &mut after);
            if let Some(news) = news.take() {
                self.feed(&mut core, news, &mut after);
            }
            if is_tick {
                core.armed = core.scheduler.poll_timeout();
            } else {
                self.arm(&mut core);
            }
            let next = core.armed;
            self.leave(core, &mut after);
            if self.mail.load(Ordering::SeqCst) == 0 {
                break next;
            }
        };
        after.settle(&self.room);
        next
    }

    /// Wakes the driver if it would look too late.
    fn arm(&self, core: &mut Core) {
        let due = core.scheduler.poll_timeout();
        if due.is_some_and(|due| core.armed.is_none_or(|armed| due < armed)) {
            core.armed = due;
            self.bell.notify_one();
        }
    }

    /// Holds the lock: feeds what is in the inbox, then `news`, until nothing is left.
    fn work<'a>(&'a self, mut core: MutexGuard<'a, Core>, news: Option<News>, after: &mut After) {
        let mut grant = COMBINE;
        let mut news = news;
        loop {
            grant = self.drain(&mut core, grant, after);
            // Behind those that came before it: first come, first served. If the grant is used
            // up, it goes to the end of the inbox for the same reason.
            match news.take() {
                Some(news) if grant > 0 || self.mail.load(Ordering::SeqCst) == 0 => {
                    self.feed(&mut core, news, after);
                }
                Some(news) => {
                    let mut inbox = self.inbox();
                    inbox.push_back(news);
                    self.mail.store(inbox.len(), Ordering::SeqCst);
                }
                None => {}
            }
            self.arm(&mut core);
            self.leave(core, after);
            // Somebody may have put mail between our last look and the unlock, and not got the
            // lock.
            if self.mail.load(Ordering::SeqCst) == 0 {
                return;
            }
            if grant == 0 || self.driver_waiting.load(Ordering::SeqCst) {
                self.bell.notify_one();
                return;
            }
            match self.try_lock() {
                Some(again) => core = again,
                None => return,
            }
        }
    }

    fn leave(&self, core: MutexGuard<'_, Core>, after: &mut After) {
        let mut core = core;
        if !core.ready.is_empty() && core.scheduler.readiness() != Readiness::Pending {
            after.wakers.append(&mut core.ready);
        }
        if core.tasks == 0 && core.scheduler.is_at_rest() && !self.rest.is_set() {
            after.wakers.extend(self.rest.set());
            self.bell.notify_one();
        }
        drop(core);
        fence(Ordering::SeqCst);
    }

    /// Feeds at most `grant` entries of the inbox; returns what is left of the grant.
    fn drain(&self, core: &mut Core, mut grant: usize, after: &mut After) -> usize {
        while grant > 0 {
            let mut inbox = self.inbox();
            let Some(news) = inbox.pop_front() else { break };
            self.mail.store(inbox.len(), Ordering::SeqCst);
            drop(inbox);
            self.feed(core, news, after);
            grant -= 1;
        }
        grant
    }

    fn feed(&self, core: &mut Core, news: News, after: &mut After) {
        core.feed(self, news, after);
        core.feed_hungry(self, after);
    }

    fn try_lock(&self) -> Option<MutexGuard<'_, Core>> {
        match self.core.try_lock() {
            Ok(core) => Some(core),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn inbox(&self) -> MutexGuard<'_, VecDeque<News>> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("closed", &self.is_closed()).finish_non_exhaustive()
    }
}

/// How an outcome is counted.
pub(super) fn count_of(outcome: &super::cell::Outcome) -> Count {
    match outcome {
        Ok(_) => Count::Succeeded,
        Err(error) if error.is_cancelled() || error.is_pool_closed() => Count::Cancelled,
        Err(_) => Count::Failed,
    }
}
