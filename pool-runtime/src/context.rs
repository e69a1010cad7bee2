//! [`JobContext`]: what a running job can know of itself and of its host's wishes.
//!
//! It lies below both houses, since jobs on threads have one too. A context outlives its job
//! without harm: from the job's end on it is cancelled, whatever comes after in that worker.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::id::JobId;
use crate::os::{Nudge, fork_depth};
use crate::recorder::{Recorder, Report};
use crate::reporter::Reporter;

thread_local! {
    /// The job that runs on this thread, if one does.
    static ABOUT: Cell<Option<About>> = const { Cell::new(None) };
    /// Somebody has asked for its context.
    static IS_MADE: Cell<bool> = const { Cell::new(false) };
    static KEPT: RefCell<Kept> = const { RefCell::new(Kept { watch: None, context: None }) };
    /// Which watch is kept: for a look that costs nothing.
    static WATCH: Cell<*const CancelWatch> = const { Cell::new(std::ptr::null()) };
    static IS_WORKER: Cell<bool> = const { Cell::new(false) };
}

/// From here on this thread of the host is a worker.
pub(crate) fn become_worker_thread() {
    IS_WORKER.set(true);
}

/// Whether this is a thread of the host that is a worker.
pub(crate) fn is_worker_thread() -> bool {
    IS_WORKER.try_with(Cell::get).unwrap_or(false)
}

/// Given to a job function that has a parameter `ctx: &JobContext`; callers do not pass it.
///
/// Cheap to clone, and may be used from any thread of the job.
///
/// # Examples
///
/// ```
/// use pool::{JobContext, pool_job};
///
/// #[pool_job]
/// fn count(ctx: &JobContext, up_to: u64) -> u64 {
///     (0..up_to).take_while(|_| !ctx.is_cancelled()).count() as u64
/// }
///
/// // The function stays an ordinary one:
/// assert_eq!(count(&JobContext::detached(), 1000), 1000);
/// ```
#[derive(Clone)]
pub struct JobContext(Arc<Inner>);

struct Inner {
    about: About,
    ended: AtomicBool,
    /// `None`: detached.
    watch: Option<Arc<CancelWatch>>,
}

/// What a job is told of itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About {
    pub(crate) id: JobId,
    pub(crate) name: &'static str,
    pub(crate) attempt: u32,
    pub(crate) slot: usize,
    pub(crate) until: Option<Instant>,
    /// Its number on the channel.
    pub(crate) seq: u64,
}

impl JobContext {
    /// A context of no pool: never cancelled, without limits. For calling a job function
    /// directly, as in a unit test.
    pub fn detached() -> JobContext {
        let id = JobId::from_words([0, 0]);
        let about = About { id, name: "", attempt: 1, slot: 0, until: None, seq: 0 };
        JobContext(Arc::new(Inner { about, ended: AtomicBool::new(false), watch: None }))
    }

    /// The context of the job that runs on this thread, deeper in the call stack than its
    /// function; `None` outside of a job and on threads that a job started.
    pub fn current() -> Option<JobContext> {
        // Whoever asks while it is made (the program's own allocator) is told that there is none.
        let made = |kept: &RefCell<Kept>| kept.try_borrow_mut().ok()?.context();
        KEPT.try_with(made).ok().flatten()
    }

    /// The job's id, the same as its handle's.
    pub fn job_id(&self) -> JobId {
        self.0.about.id
    }

    /// The job's name.
    pub fn job_name(&self) -> &str {
        self.0.about.name
    }

    /// Which attempt this is, from 1.
    pub fn attempt(&self) -> u32 {
        self.0.about.attempt
    }

    /// The worker's slot, from 0 to one below the number of workers; stable over restarts.
    pub fn worker(&self) -> usize {
        self.0.about.slot
    }

    /// Whether the job is asked to stop: its handle cancelled it, or its timeout or deadline
    /// passed, and its grace period runs. Also true once the job is over.
    ///
    /// One read of memory: cheap enough for an inner loop.
    pub fn is_cancelled(&self) -> bool {
        self.0.ended.load(Ordering::Acquire)
            || self.watch().is_some_and(|watch| watch.recorder.is_asked(self.0.about.seq))
    }

    /// Waits until [`is_cancelled`](Self::is_cancelled); noticed within about 10 ms.
    ///
    /// Works under any executor and on any thread of the job.
    ///
    /// # Cancel safety
    ///
    /// Dropping it loses nothing.
    pub fn cancelled(&self) -> Cancelled<'_> {
        Cancelled(Wait { context: self, key: None })
    }

    /// How long until the job's timeout or its deadline, whichever is first; `None` without
    /// either. Zero once it has passed.
    pub fn remaining(&self) -> Option<Duration> {
        self.0.about.until.map(|until| until.saturating_duration_since(Instant::now()))
    }

    /// Says that `done` steps of `total` are done; zero for a total that is not known.
    ///
    /// Shown by [`JobHandle::progress`](crate::JobHandle::progress). The latest report wins: the
    /// host looks every ten milliseconds or so, and sees the last one in any case. It is cheap (a
    /// fraction of a microsecond), never waits for the host, and may come from any thread of the
    /// job. From a context that is detached, or kept past its job, it goes nowhere.
    ///
    /// # Examples
    ///
    /// ```
    /// use pool::{JobContext, pool_job};
    ///
    /// #[pool_job]
    /// fn hash_all(ctx: &JobContext, files: Vec<String>) -> usize {
    ///     for (n, file) in files.iter().enumerate() {
    ///         ctx.message(file);
    ///         // … hash it …
    ///         ctx.progress(n as u64 + 1, files.len() as u64);
    ///     }
    ///     files.len()
    /// }
    ///
    /// assert_eq!(hash_all(&JobContext::detached(), vec!["a".to_owned()]), 1);
    /// ```
    pub fn progress(&self, done: u64, total: u64) {
        self.report(Report::Steps { done, total });
    }

    /// Says something beside the numbers, which stay as they are; also the other way round. In
    /// every other way as [`progress`](Self::progress).
    ///
    /// Messages are cut to 1024 bytes, between two characters.
    pub fn message(&self, text: impl AsRef<str>) {
        self.report(Report::Message(text.as_ref()));
    }

    fn report(&self, report: Report<'_>) {
        if self.0.ended.load(Ordering::Acquire) {
            return;
        }
        if let Some(watch) = self.watch() {
            watch.report(self.0.about.seq, report);
        }
    }

    /// The job is over, for whoever has this.
    fn end(&self) {
        self.0.ended.store(true, Ordering::Release);
        if let Some(watch) = self.0.watch.as_ref().filter(|watch| watch.is_wanted()) {
            watch.wake_all();
        }
    }

    /// Not in a fork of the worker: the recorder is not there.
    fn watch(&self) -> Option<&Arc<CancelWatch>> {
        self.0.watch.as_ref().filter(|watch| watch.depth == fork_depth())
    }
}

impl fmt::Debug for JobContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("JobContext").field(&self.0.about).finish()
    }
}

/// The future of [`JobContext::cancelled`].
#[derive(Debug)]
#[must_use = "futures do nothing unless they are awaited"]
pub struct Cancelled<'a>(Wait<'a>);

/// Its place among those who wait, given up when it is dropped.
#[derive(Debug)]
struct Wait<'a> {
    context: &'a JobContext,
    key: Option<u64>,
}

impl Future for Cancelled<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Wait { context, key } = &mut self.0;
        if context.is_cancelled() {
            return Poll::Ready(());
        }
        let Some(watch) = context.watch() else {
            return Poll::Pending;
        };
        watch.register(key, cx.waker().clone());
        // Asked, or over, between the look and the registration.
        if context.is_cancelled() { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if let (Some(key), Some(watch)) = (self.key, self.context.watch()) {
            watch.give_up(key);
        }
    }
}

/// What the contexts of a worker share. Who waits for a request to stop is looked after by the
/// guard, which sleeps while there is nobody.
pub(crate) struct CancelWatch {
    pub(crate) recorder: Recorder,
    /// To the guard. `None`: the host has this watch, and wakes those who wait when it asks.
    pub(crate) nudge: Option<Nudge>,
    pub(crate) reporter: Reporter,
    depth: u32,
    waiting: Mutex<Waiting>,
}

/// Who waits to be asked to stop: one waker each, however often it was polled.
#[derive(Default)]
struct Waiting {
    last_key: u64,
    wakers: BTreeMap<u64, Waker>,
}

impl CancelWatch {
    pub(crate) fn new(recorder: Recorder, nudge: Nudge) -> Self {
        let (reporter, waiting) = (Reporter::default(), Mutex::default());
        let depth = fork_depth();
        CancelWatch { recorder, nudge: Some(nudge), reporter, depth, waiting }
    }

    /// Of a worker that is a thread of its host.
    pub(crate) fn of_thread(recorder: Recorder) -> Self {
        let (reporter, waiting) = (Reporter::default(), Mutex::default());
        let depth = fork_depth();
        CancelWatch { recorder, nudge: None, reporter, depth, waiting }
    }

    pub(crate) fn is_of_thread(&self) -> bool {
        self.nudge.is_none()
    }

    fn report(&self, seq: u64, report: Report<'_>) {
        if !self.reporter.report(&self.recorder, seq, report) {
            if let Some(nudge) = &self.nudge {
                nudge.send();
            }
        }
    }

    /// Without a key it gets one, for as long as it waits.
    fn register(&self, key: &mut Option<u64>, waker: Waker) {
        let mut waiting = self.waiting();
        let first = waiting.wakers.is_empty();
        let key = *key.get_or_insert_with(|| {
            waiting.last_key += 1;
            waiting.last_key
        });
        let before = waiting.wakers.insert(key, waker);
        drop(waiting);
        // The job's own code.
        drop(before);
        if let (true, Some(nudge)) = (first, &self.nudge) {
            nudge.send();
        }
    }

    fn give_up(&self, key: u64) {
        let waker = self.waiting().wakers.remove(&key);
        drop(waker);
    }

    /// Whether somebody waits, so that the guard has to look now and then.
    pub(crate) fn is_wanted(&self) -> bool {
        !self.waiting().wakers.is_empty()
    }

    /// Those who have to look again: to be woken by the caller.
    pub(crate) fn take_waiting(&self) -> Vec<Waker> {
        let wakers = std::mem::take(&mut self.waiting().wakers);
        wakers.into_values().collect()
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets everybody look again.
    pub(crate) fn wake_all(&self) {
        for waker in self.take_waiting() {
            // A waker is the job's; neither the guard nor the worker's loop ends by its panic.
            let wake = std::panic::AssertUnwindSafe(|| waker.wake());
            if let Err(payload) = std::panic::catch_unwind(wake) {
                std::mem::forget(payload);
            }
        }
    }
}

impl JobContext {
    /// The next job's, in the place of this one if nobody else has it.
    fn renew(mut self, new: Inner) -> JobContext {
        match Arc::get_mut(&mut self.0) {
            Some(old) => *old = new,
            None => self.0 = Arc::new(new),
        }
        self
    }
}

/// What a thread keeps for the contexts of its jobs. Most jobs never ask for theirs: it is made for
/// the first who does.
struct Kept {
    /// The worker's.
    watch: Option<Arc<CancelWatch>>,
    /// The running job's if it `IS_MADE`, else one of an earlier job, in whose place it will be.
    context: Option<JobContext>,
}

impl Kept {
    fn context(&mut self) -> Option<JobContext> {
        let about = ABOUT.get()?;
        if !IS_MADE.get() {
            let new = Inner { about, ended: AtomicBool::new(false), watch: self.watch.clone() };
            self.context = Some(match self.context.take() {
                Some(spare) => spare.renew(new),
                None => JobContext(Arc::new(new)),
            });
            IS_MADE.set(true);
        }
        self.context.clone()
    }
}

/// A job is running on this thread, the only one by then. Ends its context when dropped, whichever
/// way the job ended.
pub(crate) struct Running {
    context: OnceCell<JobContext>,
}

impl Running {
    #[inline(always)]
    pub(crate) fn begin(about: About, watch: &Arc<CancelWatch>) -> Running {
        if WATCH.get() != Arc::as_ptr(watch) {
            KEPT.with_borrow_mut(|kept| kept.watch = Some(watch.clone()));
            WATCH.set(Arc::as_ptr(watch));
        }
        ABOUT.set(Some(about));
        Running { context: OnceCell::new() }
    }

    pub(crate) fn context(&self) -> &JobContext {
        self.context.get_or_init(|| {
            let made = KEPT.with_borrow_mut(Kept::context);
            made.expect("a job runs from `begin` to the end of this")
        })
    }
}

impl Drop for Running {
    #[inline]
    fn drop(&mut self) {
        ABOUT.set(None);
        // Without it nobody waits for the end of this job.
        if IS_MADE.take() {
            if let Some(context) = KEPT.with_borrow(|kept| kept.context.clone()) {
                context.end();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    fn watch() -> (Recorder, Arc<CancelWatch>) {
        let (host, file) = Recorder::create().unwrap();
        let worker = Recorder::open(&file).unwrap();
        (host, Arc::new(CancelWatch::new(worker, Nudge::new().unwrap())))
    }

    fn about(seq: u64) -> About {
        let id = JobId::from_words([0, seq]);
        About { id, name: "job", attempt: 1, slot: 3, until: None, seq }
    }

    #[test]
    fn a_context_is_cancelled_by_its_own_request_only_and_by_its_end() {
        let (host, watch) = watch();
        let first = Running::begin(about(0), &watch);
        let kept = first.context().clone();
        assert!(!kept.is_cancelled());
        host.ask(1);
        assert!(!kept.is_cancelled());
        host.ask(0);
        assert!(kept.is_cancelled());
        drop(first);
        let second = Running::begin(about(1), &watch);
        assert!(kept.is_cancelled() && !second.context().is_cancelled());
        assert_eq!(JobContext::current().unwrap().job_id(), second.context().job_id());
        drop(second);
        assert!(JobContext::current().is_none());
    }

    #[test]
    fn a_job_has_one_context_whoever_asks_first_and_the_next_job_has_another() {
        let (_host, watch) = watch();
        drop(Running::begin(about(0), &watch));
        for seq in 1..5 {
            let running = Running::begin(about(seq), &watch);
            let kept = JobContext::current().unwrap();
            assert_eq!(kept.job_id().words(), [0, seq]);
            assert!(Arc::ptr_eq(&kept.0, &running.context().0));
            drop(running);
            assert!(kept.is_cancelled() && JobContext::current().is_none());
        }
    }

    #[test]
    fn whoever_waits_is_woken_by_the_end_of_the_job() {
        let (_host, watch) = watch();
        let running = Running::begin(about(0), &watch);
        let kept = running.context().clone();
        let mut waiting = std::pin::pin!(kept.cancelled());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(waiting.as_mut().poll(&mut cx).is_pending());
        assert!(watch.is_wanted());
        drop(running);
        assert!(!watch.is_wanted());
        assert!(waiting.as_mut().poll(&mut cx).is_ready());
    }

    #[test]
    fn whoever_waits_is_known_once_however_often_it_is_polled_and_not_once_it_is_dropped() {
        let (host, file) = Recorder::create().unwrap();
        let watch = Arc::new(CancelWatch::of_thread(Recorder::open(&file).unwrap()));
        let running = Running::begin(about(0), &watch);
        let mut cx = Context::from_waker(Waker::noop());
        {
            let mut one = std::pin::pin!(running.context().cancelled());
            let mut other = std::pin::pin!(running.context().cancelled());
            for _ in 0..1000 {
                assert!(one.as_mut().poll(&mut cx).is_pending());
                assert!(other.as_mut().poll(&mut cx).is_pending());
                assert!(std::pin::pin!(running.context().cancelled()).poll(&mut cx).is_pending());
            }
            assert_eq!(watch.take_waiting().len(), 2);
            assert!(!watch.is_wanted());
            assert!(one.as_mut().poll(&mut cx).is_pending());
            assert!(watch.is_wanted());
        }
        assert!(!watch.is_wanted());
        host.ask(0);
        assert!(std::pin::pin!(running.context().cancelled()).poll(&mut cx).is_ready());
    }

    #[test]
    fn a_detached_context_is_never_cancelled() {
        let context = JobContext::detached();
        context.progress(1, 2);
        context.message("to nobody");
        assert!(!context.is_cancelled() && context.remaining().is_none());
        assert_eq!(context.attempt(), 1);
    }

    #[test]
    fn a_kept_context_reports_nothing_after_its_job_and_never_for_the_next() {
        let (host, watch) = watch();
        let reported = || host.reported().map(|r| (r.seq, r.progress.done, r.progress.message));
        let first = Running::begin(about(0), &watch);
        let kept = first.context().clone();
        kept.progress(1, 9);
        kept.message(String::from("first"));
        assert_eq!(reported(), Some((0, 1, Some("first".to_owned()))));
        drop(first);
        kept.progress(2, 9);
        assert_eq!(reported(), Some((0, 1, Some("first".to_owned()))));
        let last = watch.reporter.conclude(&watch.recorder, 0).unwrap();
        assert_eq!((last.done, last.total), (1, 9));
        // One whose report was under way when its job ended.
        let steps = Report::Steps { done: 3, total: 9 };
        watch.report(0, steps);
        let second = Running::begin(about(1), &watch);
        kept.message("late");
        assert_eq!(reported(), Some((0, 1, Some("first".to_owned()))));
        assert_eq!(watch.reporter.conclude(&watch.recorder, 1), None);
        second.context().progress(4, 5);
        kept.message("later");
        assert_eq!(reported(), Some((1, 4, None)));
    }

    #[test]
    fn the_host_is_poked_once_for_a_million_reports_that_it_does_not_look_at() {
        let (host, watch) = watch();
        let pokes = Arc::new(AtomicU32::new(0));
        let poke = pokes.clone();
        watch.reporter.poke_by(move |_| poke.fetch_add(1, Ordering::Relaxed) < 9);
        let running = Running::begin(about(0), &watch);
        for n in 0..1_000_000 {
            running.context().progress(n, 1_000_000);
        }
        assert_eq!(pokes.load(Ordering::Relaxed), 1);
        host.take_notice();
        running.context().message("done");
        running.context().message("and done");
        assert_eq!(pokes.load(Ordering::Relaxed), 2);
    }
}
