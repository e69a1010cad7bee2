//! Scheduler and links behind one lock: enter, feed, act, leave.
//!
//! 1. Whoever has news tries the lock. Got it: drain the inbox, feed, act on what the scheduler
//!    says, unlock, and look at the inbox once more. Not: put the news into the inbox and try
//!    once more; whoever holds the lock looks after it is unlocked, so nothing is left behind. A lock
//!    that the driver has is not tried, nor is any by who submits a job that may as well wait until the
//!    driver comes, if that is soon (`submit.rs`).
//! 2. A thread that came to submit does at most [`COMBINE`] entries for others, then leaves the
//!    rest to the driver, which waits for the lock, as does who only wants to see what is there.
//! 3. Under the lock nothing of a user's runs: wakers are woken and values are dropped after it,
//!    by [`After`].
//!
//! Only [`Core`] feeds the scheduler (`act.rs` and `answers.rs`), and this file asks it when to look
//! next. `core/model.rs` follows the way in and out, step by step, and tries every order of events:
//! whoever changes one changes the other.

mod visits;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError, Weak};
use std::task::Waker;
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::act::Core;
use super::after::After;
use super::backlog::Share;
use super::cell::{Cell, Holder, Numbered, Place, PoolNumber};
use super::hub::Hub;
use super::inbox::{Inbox, Letter, Mail};
use super::latch::Latch;
use super::launch::LaunchPlan;
use super::looks::Looks;
use super::news::{Around, News};
use super::room::Room;
use super::row;
use crate::os::fork_depth;
use crate::scheduler::{Config, Readiness, Time, WorkerId};
use crate::stats::WorkReport;

/// What a submitting thread does for others before it leaves the rest to the driver.
const COMBINE: usize = 64;
/// What the driver does before it looks after its other tasks.
const DRIVER_COMBINE: usize = 4096;

/// What is fed out of the inbox at one look at the clock.
const AT_A_TIME: usize = 64;

/// A driver that comes within this time need not be rung for jobs that may wait so long.
const SOON: Duration = Duration::from_millis(1);

/// One pool of worker processes.
pub(crate) struct Host {
    inner: Mutex<Inner>,
    pub(super) inbox: Inbox,
    /// The driver is about to take the lock, or has it: it looks at the inbox after that.
    driver_at_work: AtomicBool,
    /// The driver comes soon, by its clock.
    pub(super) is_due_soon: AtomicBool,
    /// A job like others that are submitted would wait behind some that no worker takes.
    pub(super) is_backed_up: AtomicBool,
    /// Something was left behind for whoever comes next, since the driver has come by its clock.
    pub(super) has_left_some: AtomicBool,
    /// There is one processor: a worker cannot run while somebody submits.
    pub(super) is_on_one: bool,
    /// Places in the queue.
    pub(crate) room: Room,
    /// How many workers it has at most.
    pub(crate) workers: u32,
    /// Wakes the driver: an earlier deadline, a launch, or mail that a submitter left behind.
    pub(super) bell: Notify,
    /// Workers that the driver has to start.
    launches: Mutex<VecDeque<WorkerId>>,
    /// Every worker is gone and reaped, every job resolved.
    pub(crate) rest: Latch,
    runtime: OnceLock<Handle>,
    driver: OnceLock<ThreadId>,
    pub(super) around: Around,
}

/// The core, and who waits for something of it. Not in one cache line with its lock, which others try.
#[repr(align(128))]
struct Inner {
    core: Core,
    /// Out of the inbox, and to be fed before what lies there.
    opened: Mail,
    /// When the driver will look by itself.
    armed: Option<Time>,
    /// Who waits for the workers to be up.
    ready: Vec<Waker>,
}

/// The driver's, around each lock. If it panics it does not look at the inbox, and comes once more.
struct AtWork<'a>(&'a Host);

impl AtWork<'_> {
    fn begin(host: &Host) -> AtWork<'_> {
        host.driver_at_work.store(true, Ordering::SeqCst);
        AtWork(host)
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.0.driver_at_work.store(false, Ordering::SeqCst);
        if thread::panicking() {
            self.0.bell.notify_one();
        }
    }
}

impl Host {
    pub(crate) fn new(config: Config, plan: LaunchPlan, queue_capacity: usize) -> Arc<Host> {
        Self::on(row::is_on_one_processor(), config, plan, queue_capacity)
    }

    fn on(is_on_one: bool, config: Config, plan: LaunchPlan, queue_capacity: usize) -> Arc<Host> {
        row::begin_to_count(is_on_one);
        let workers = config.workers;
        let looks = Looks::new(plan.spin);
        Arc::new_cyclic(|me: &Weak<Host>| {
            let holder: Weak<dyn Holder> = me.clone();
            Host {
                inner: Mutex::new(Inner {
                    core: Core::new(config),
                    opened: Mail::default(),
                    armed: None,
                    ready: Vec::new(),
                }),
                inbox: Inbox::default(),
                driver_at_work: AtomicBool::new(false),
                is_due_soon: AtomicBool::new(false),
                is_backed_up: AtomicBool::new(false),
                has_left_some: AtomicBool::new(false),
                is_on_one,
                room: Room::new(queue_capacity),
                workers,
                bell: Notify::new(),
                launches: Mutex::default(),
                rest: Latch::default(),
                runtime: OnceLock::new(),
                driver: OnceLock::new(),
                around: Around {
                    plan,
                    closed: AtomicBool::new(false),
                    look_is_due: AtomicBool::new(false),
                    looks,
                    epoch: Instant::now(),
                    hub: Hub::new(),
                    depth: fork_depth(),
                    number: Numbered::new(&holder),
                    holder,
                },
            }
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

    /// Whether new jobs are refused: closed, shut down, or this is a fork child of the host.
    pub(crate) fn is_closed(&self) -> bool {
        self.around.is_closed()
    }

    /// This process is a fork child of the one that made the pool.
    pub(crate) fn is_foreign(&self) -> bool {
        self.around.is_foreign()
    }

    /// Where to learn what happens here.
    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.around.hub
    }

    /// The largest payload that may travel.
    pub(crate) fn max_payload(&self) -> u64 {
        self.around.plan.max_payload
    }

    /// The driver's, once there is one.
    pub(super) fn driver_runtime(&self) -> Option<&Handle> {
        self.runtime.get()
    }

    /// Whether this is the driver's own thread.
    pub(crate) fn is_driver(&self) -> bool {
        self.driver.get() == Some(&thread::current().id())
    }

    /// A queue has new jobs.
    pub(crate) fn look(&self) {
        if !self.is_foreign() && !self.around.look_is_due.swap(true, Ordering::SeqCst) {
            self.enter(News::Pushed);
        }
    }

    /// Starts to work on the share's queue.
    pub(crate) fn attach(&self, share: Arc<Share>) {
        if self.is_foreign() {
            drop(share.finish());
        } else {
            self.enter(News::Attach(share));
        }
    }

    /// Refuses new jobs from here on and stops when the accepted ones have ended. Returns what
    /// was counted before.
    pub(crate) fn close(&self) -> WorkReport {
        if self.is_foreign() {
            return WorkReport::default();
        }
        let before = self.totals();
        self.around.closed.store(true, Ordering::Release);
        self.room.close();
        self.enter(News::Close);
        before
    }

    /// Ends everything now.
    pub(crate) fn shutdown(&self) {
        if self.is_foreign() {
            return;
        }
        self.around.closed.store(true, Ordering::Release);
        self.room.close();
        self.enter(News::Shutdown);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Time {
        self.around.now()
    }

    /// By which cells know this pool, if it has one.
    #[inline]
    pub(crate) fn pool_number(&self) -> Option<PoolNumber> {
        self.around.number.as_ref().map(Numbered::number)
    }

    /// Where a job of this pool is.
    pub(crate) fn place(&self) -> Place {
        self.around.place()
    }

    /// A worker that the driver has to start.
    pub(super) fn take_launch(&self) -> Option<WorkerId> {
        self.launches.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// Brings news into the core; never waits for its lock.
    pub(super) fn enter(&self, news: News) {
        self.bring(news);
    }

    /// The same for those who do so all the time.
    #[inline(always)]
    pub(super) fn bring(&self, news: News) {
        // To try a lock that another processor has takes the lock away from there.
        if !self.is_driver_at_work() {
            if let Some(inner) = self.try_lock() {
                return self.work(inner, Some(news));
            }
        }
        self.inbox.put(news);
        fence(Ordering::SeqCst);
        if !self.is_driver_at_work() {
            if let Some(inner) = self.try_lock() {
                self.work(inner, None);
            }
        }
    }

    #[inline]
    fn is_driver_at_work(&self) -> bool {
        self.driver_at_work.load(Ordering::SeqCst)
    }

    /// The same for the driver's tasks: waits for the lock, and empties the inbox.
    pub(super) fn enter_as_driver(&self, news: News) {
        self.enter_by_driver(|core, after| core.feed(&self.around, news, core.now, after));
    }

    /// The same for what one of its tasks does there.
    pub(super) fn enter_by_driver<R>(&self, act: impl FnOnce(&mut Core, &mut After) -> R) -> R {
        let mut done = None;
        self.drive(|core, after| done = Some(act(core, after)), false);
        done.expect("it was done once")
    }

    /// The driver looks at the clock. Returns when it has to look again.
    pub(super) fn tick(&self) -> Option<Time> {
        self.drive(|core, after| core.feed(&self.around, News::Look, core.now, after), true)
    }

    fn drive(&self, act: impl FnOnce(&mut Core, &mut After), is_tick: bool) -> Option<Time> {
        let mut after = After::new();
        let mut act = Some(act);
        let mut grant = DRIVER_COMBINE;
        let next = loop {
            let at_work = AtWork::begin(self);
            let mut inner = self.lock();
            grant = self.drain(&mut inner, grant, &mut after);
            if let Some(act) = act.take() {
                inner.core.now = self.now();
                act(&mut inner.core, &mut after);
                inner.core.see_to_others(&self.around, &mut after);
            }
            if is_tick {
                // Who leaves something behind does so again and again, and need not ring.
                let comes_again = self.has_left_some.swap(false, Ordering::Relaxed);
                self.arm(&mut inner, comes_again.then(|| self.now() + SOON));
            }
            let next = inner.armed;
            self.leave(inner, Some(at_work), &mut after);
            if self.inbox.is_empty() {
                break next;
            }
            if self.rest.is_set() {
                // It does not come again.
                grant = DRIVER_COMBINE;
            } else if grant == 0 {
                // There are replies to be read, too.
                self.bell.notify_one();
                break next;
            }
        };
        self.settle(after);
        next
    }

    /// Holds the lock: feeds what is in the inbox, then `news`, until nothing is left.
    fn work<'a>(&'a self, inner: MutexGuard<'a, Inner>, news: Option<News>) {
        let mut after = After::new();
        self.work_on(inner, news, &mut after);
        self.settle(after);
    }

    fn work_on<'a>(&'a self, inner: MutexGuard<'a, Inner>, news: Option<News>, after: &mut After) {
        let mut inner = inner;
        let mut news = news;
        let mut grant = COMBINE;
        loop {
            grant = self.drain(&mut inner, grant, after);
            // Behind those that came before it: first come, first served. If the grant is used
            // up, it goes to the end of the inbox for the same reason.
            match news.take() {
                Some(news) if grant > 0 || self.inbox.is_empty() => {
                    self.feed(&mut inner, news, self.now(), after);
                }
                Some(news) => _ = self.inbox.put(news),
                None => {}
            }
            self.leave(inner, None, after);
            // Somebody may have put mail between our last look and the unlock, and not got the
            // lock.
            if self.inbox.is_empty() {
                return;
            }
            if self.rest.is_set() {
                // There is no driver any more, and nothing but refusals is left to be done.
                grant = COMBINE;
            } else if grant == 0 || self.is_driver_at_work() {
                self.bell.notify_one();
                return;
            }
            match self.try_lock() {
                Some(again) => inner = again,
                None => return,
            }
        }
    }

    /// Unlocks, once it is known who has to hear of what was done.
    fn leave(
        &self,
        mut inner: MutexGuard<'_, Inner>,
        driver: Option<AtWork<'_>>,
        after: &mut After,
    ) {
        inner.core.flush(driver.is_some(), after);
        let scheduler = &inner.core.scheduler;
        if !inner.ready.is_empty() && scheduler.readiness() != Readiness::Pending {
            after.wakers.append(&mut inner.ready);
        }
        let scheduler = &inner.core.scheduler;
        let is_at_rest = inner.core.unreaped == 0 && scheduler.is_at_rest();
        if is_at_rest && !self.rest.is_set() {
            self.around.hub.end(&mut after.wakers);
            after.wakers.extend(self.rest.set());
            self.bell.notify_one();
        }
        // Wake the driver if it would look too late. It comes again for what follows in a row.
        let now = inner.core.now;
        let soon = driver.is_none() && self.is_on_one && row::is_dense(now);
        let soon = soon.then(|| now + SOON);
        let due = scheduler.poll_timeout().into_iter().chain(soon).min();
        if due.is_some_and(|due| inner.armed.is_none_or(|armed| due < armed)) {
            self.has_left_some.fetch_or(soon.is_some(), Ordering::Relaxed);
            self.arm(&mut inner, soon);
            self.bell.notify_one();
        }
        // Submitters look at it all the time: it is only written to where it changes.
        let is_backed_up = inner.core.scheduler.is_backed_up();
        if self.is_backed_up.load(Ordering::Relaxed) != is_backed_up {
            self.is_backed_up.store(is_backed_up, Ordering::Relaxed);
        }
        if driver.is_some() {
            // What wakers submit on its thread is no row.
            row::ends();
        }
        drop(inner);
        drop(driver);
        fence(Ordering::SeqCst);
    }

    /// When the driver looks at the clock again. Whoever unlocks looks at the inbox after that: who
    /// has left something there and still sees that the driver comes soon is seen.
    fn arm(&self, inner: &mut Inner, at_latest: Option<Time>) {
        inner.armed = inner.core.scheduler.poll_timeout().into_iter().chain(at_latest).min();
        let is_soon = inner.armed.is_some_and(|due| due.since(self.now()) <= SOON);
        self.is_due_soon.store(is_soon, Ordering::SeqCst);
    }

    /// Outside of the lock.
    fn settle(&self, mut after: Box<After>) {
        if !after.writes.is_empty() {
            after.write();
        }
        if !after.launches.is_empty() {
            let launches = &self.launches;
            let mut launches = launches.lock().unwrap_or_else(PoisonError::into_inner);
            launches.extend(after.launches.drain(..));
            drop(launches);
            self.bell.notify_one();
        }
        let lost = std::mem::take(&mut after.lost);
        after.settle(&self.room, self.runtime.get());
        for (cell, manner) in lost {
            // If it is on its way to this pool, the pool finds the note with it.
            if !self.around.is_here(&cell.place()) {
                Cell::give_up(&cell, manner);
            }
        }
    }

    /// Feeds at most `grant` entries of the inbox; returns what is left of the grant.
    fn drain(&self, inner: &mut Inner, mut grant: usize, after: &mut After) -> usize {
        if self.inbox.is_empty() {
            return grant;
        }
        while grant > 0 {
            if inner.opened.is_empty() {
                self.inbox.take(&mut inner.opened);
                if inner.opened.is_empty() {
                    break;
                }
            }
            let now = self.now();
            for _ in 0..grant.min(AT_A_TIME) {
                match inner.opened.pop() {
                    Some(Letter::Job(cell)) => inner.core.take_in(&self.around, cell, now, after),
                    Some(Letter::News(news)) => self.feed(inner, news, now, after),
                    None => break,
                }
                grant -= 1;
            }
        }
        self.inbox.put_off(&mut inner.opened);
        grant
    }

    fn feed(&self, inner: &mut Inner, news: News, now: Time, after: &mut After) {
        inner.core.feed(&self.around, news, now, after);
        inner.core.see_to_others(&self.around, after);
    }

    fn try_lock(&self) -> Option<MutexGuard<'_, Inner>> {
        match self.inner.try_lock() {
            Ok(inner) => Some(inner),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::path::PathBuf;
    use std::time::Duration;

    use super::super::cell::{Cell, CellRef, Order};
    use super::super::launch::{Output, Program};
    use super::super::news::Gone;
    use super::*;
    use crate::error::WorkerExit;
    use crate::policy::Terms;
    use crate::wire::Payload;

    /// A host without a driver: nothing happens but what the test does.
    fn host() -> Arc<Host> {
        host_on(false)
    }

    fn host_on(is_on_one: bool) -> Arc<Host> {
        let config = Config {
            workers: 1,
            window: 1,
            horizon: Duration::MAX,
            latency: Duration::MAX,
            max_jobs_per_worker: None,
            idle_timeout: None,
            start_timeout: Duration::MAX,
            killable: true,
            defaults: Terms::default(),
            seed: 1,
        };
        let plan = LaunchPlan {
            program: Program::Other(PathBuf::new()),
            args: Vec::new(),
            environment: Vec::new(),
            threads: None,
            current_dir: None,
            stdout: Output::Null,
            stderr: Output::Null,
            pool: None,
            max_payload: 100,
            start_timeout: Duration::MAX,
            fingerprint: 0,
            spin: false,
        };
        Host::on(is_on_one, config, plan, 10)
    }

    /// A job on its way to the host.
    fn cell(host: &Host) -> CellRef {
        let order =
            Order { number: 0, label: None, arguments: Payload::EMPTY, raw: false, options: None };
        Cell::new(order, host.place())
    }

    /// All that is left to be done is to reap the worker.
    fn lose_the_worker_of_one_shut_down(host: &Host) {
        host.shutdown();
        let worker = WorkerId { slot: 0, generation: 1 };
        let exit = WorkerExit::Unknown;
        let gone = Gone { worker, link: None, exit, detail: String::new(), in_launch: true };
        host.enter(News::Gone(Box::new(gone)));
    }

    /// Submits a job while the driver has the lock.
    fn leave_one_in_the_inbox(host: &Host) {
        host.submit(cell(host));
        assert_eq!(host.inbox.len(), 1);
    }

    /// Submits a job while somebody else has the lock, who then leaves without a look.
    fn leave_one_behind(host: &Arc<Host>) {
        let held = host.lock();
        host.submit(cell(host));
        drop(held);
        assert_eq!(host.inbox.len(), 1);
    }

    #[test]
    fn a_job_in_the_inbox_is_counted_as_queued() {
        let host = host();
        assert_eq!(host.stats().submitted(), 0);
        leave_one_behind(&host);
        assert_eq!((host.stats().queued, host.stats().submitted()), (1, 1));
        leave_one_behind(&host);
        assert_eq!(host.snapshot().oldest_queued.map(|_| ()), Some(()));
        assert_eq!(host.stats().queued, 2);
        host.shutdown();
        leave_one_behind(&host);
        assert_eq!((host.stats().queued, host.stats().submitted()), (1, 3));
        assert_eq!((host.stats().queued, host.stats().cancelled), (0, 3));
    }

    /// A job that is submitted, and how many lie in the inbox then.
    fn submit(host: &Arc<Host>) -> (CellRef, usize) {
        let cell = cell(host);
        host.submit(cell.clone());
        (cell, host.inbox.len())
    }

    fn is_rung(host: &Host) -> bool {
        let mut rung = std::pin::pin!(host.bell.notified());
        rung.as_mut().poll(&mut std::task::Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn on_one_processor_jobs_in_a_row_are_left_for_the_driver_or_for_whoever_waits() {
        for is_on_one in [false, true] {
            let several = 4;
            // Once more if this thread was held up: then they were no row.
            let host = loop {
                let host = host_on(is_on_one);
                // Its worker is to be started, for which the driver is rung as well.
                let (first, _) = submit(&host);
                assert!(is_rung(&host) && !first.give_way_or_look(Waker::noop()));
                let began = host.now();
                let rung = [(); 4].map(|()| (submit(&host).1, is_rung(&host)));
                if host.now().since(began) < SOON {
                    assert_eq!(rung, [(0, false), (0, false), (0, false), (0, is_on_one)]);
                    break host;
                }
            };
            let tick = || {
                std::thread::scope(|scope| scope.spawn(|| host.tick()).join().map(|_| ())).unwrap();
                host.is_due_soon.load(Ordering::SeqCst)
            };
            // The driver has a look, and comes again.
            assert_eq!(tick(), is_on_one);
            let left: Vec<_> = (1..=3).map(|n| (n, submit(&host))).collect();
            for (n, (cell, in_inbox)) in &left {
                assert_eq!((*in_inbox, cell.attempt()), (if is_on_one { *n } else { 0 }, 0));
            }
            // The driver was told that it comes soon, and need not be told again.
            assert!(!is_rung(&host));
            assert!(!left[0].1.0.give_way_or_look(Waker::noop()));
            assert_eq!(host.inbox.len(), 0);
            assert_eq!(host.lock().core.scheduler.queued(), 1 + several + 3);
            // For those that were left it comes once more, and then no more.
            assert_eq!([tick(), tick()], [is_on_one, false]);
        }
    }

    #[test]
    fn what_was_left_behind_enters_before_the_queue_is_said_to_be_full() {
        let host = host_on(true);
        let in_inbox = (0..40).map(|_| submit(&host).1).max();
        assert!(in_inbox > Some(0));
        while let Some(place) = host.room.try_acquire() {
            place.keep();
        }
        assert!(host.try_acquire().is_none());
        assert_eq!(host.inbox.len(), 0);
    }

    /// Its driver has left.
    #[test]
    fn a_pool_at_rest_refuses_all_that_came_late_however_many_they_are() {
        let host = host();
        lose_the_worker_of_one_shut_down(&host);
        host.enter(News::Reaped);
        assert!(host.rest.is_set());
        for _ in 0..3 * COMBINE {
            host.inbox.put(News::Submit(cell(&host)));
        }
        host.submit(cell(&host));
        assert_eq!(host.inbox.len(), 0);
        assert_eq!(host.stats().cancelled, 3 * COMBINE as u64 + 1);
    }

    #[test]
    fn a_driver_that_leaves_leaves_nothing_however_much_there_is() {
        let host = host();
        lose_the_worker_of_one_shut_down(&host);
        for _ in 0..3 * DRIVER_COMBINE {
            host.inbox.put(News::Submit(cell(&host)));
        }
        host.enter_as_driver(News::Reaped);
        assert!(host.rest.is_set());
        assert_eq!(host.inbox.len(), 0);
    }

    #[test]
    fn a_driver_that_panics_in_the_core_comes_once_more() {
        let host = host();
        let panics = std::panic::AssertUnwindSafe(|| {
            host.enter_by_driver(|_, _| {
                leave_one_in_the_inbox(&host);
                panic!("as planned");
            });
        });
        assert!(std::panic::catch_unwind(panics).is_err());
        assert!(!host.is_driver_at_work());
        assert!(is_rung(&host));
    }

    /// Whoever has had the lock has to look at the inbox after it, or a job lies there until
    /// somebody else has news.
    #[test]
    fn whoever_only_looked_sees_to_what_was_left_behind_meanwhile() {
        let looks: [fn(&Host); 5] = [
            |host| drop(host.stats()),
            |host| drop(host.snapshot()),
            |host| _ = host.totals(),
            |host| _ = host.poll_ready(&mut std::task::Context::from_waker(Waker::noop())),
            |host| _ = format!("{host:?}"),
        ];
        for look in looks {
            let host = host();
            leave_one_behind(&host);
            look(&host);
            assert_eq!(host.inbox.len(), 0);
            assert_eq!(host.lock().core.scheduler.queued(), 1);
        }
    }
}
