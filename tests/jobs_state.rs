//! States: made once in each worker, when the first job asks, and lent to all that ask after it.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use pool::{JobContext, JobError, JobErrorKind, Pool, RetryPolicy, call, pool_job, submit};
use pool_tests::jobs::{self, Badge, Death};
use pool_tests::{isolated, lines, pids, scratch, wait_until};

/// A variable that the test gives to its workers as a path.
fn path_in(variable: &str) -> PathBuf {
    std::env::var_os(variable).unwrap().into()
}

#[track_caller]
fn said(error: &JobError, parts: &[&str]) {
    let JobErrorKind::State(text) = error.kind() else { panic!("{error}") };
    let whole = error.to_string();
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
        assert!(whole.contains(part), "{part:?} is not in {whole:?}");
    }
}

/// Neither `Send` nor `Sync`.
struct Tally(Rc<RefCell<Vec<u32>>>);

#[pool::state]
fn tally() -> Tally {
    jobs::append(&path_in("TALLY_LOG"), &std::process::id().to_string());
    Tally(Rc::default())
}

#[pool_job]
fn count(#[state] tally: &Tally, n: u32) -> (u32, Vec<u32>) {
    tally.0.borrow_mut().push(n);
    (std::process::id(), tally.0.borrow().clone())
}

#[pool_job]
fn count_and_panic(#[state] tally: &Tally) {
    let mut numbers = tally.0.borrow_mut();
    numbers.push(1000);
    panic!("in the middle of it");
}

#[pool::test]
fn a_state_is_made_before_the_first_job_that_asks_and_kept_for_the_others() {
    isolated(|| {
        let log = scratch("log");
        let pool = Pool::builder().workers(1).env("TALLY_LOG", &log).build().unwrap();
        let worker = submit!(pool => jobs::pid).wait().unwrap();
        assert!(lines(&log).is_empty());
        assert_eq!(submit!(pool => count, 1).wait().unwrap(), (worker, vec![1]));
        assert_eq!(submit!(pool => count, 2).wait().unwrap(), (worker, vec![1, 2]));
        // A panic leaves it as it is.
        assert!(submit!(pool => count_and_panic).wait().unwrap_err().is_panic());
        assert_eq!(submit!(pool => count, 3).wait().unwrap(), (worker, vec![1, 2, 1000, 3]));
        assert_eq!(pids(&log), [worker]);
        // The worker that takes its place begins without.
        assert!(submit!(pool => jobs::die, Death::Abort).wait().is_err());
        let (other, numbers) = submit!(pool => count, 4).wait().unwrap();
        assert_eq!(numbers, [4]);
        assert_eq!(pids(&log), [worker, other]);
    });
}

#[pool::test]
fn each_worker_makes_its_own() {
    isolated(|| {
        let log = scratch("log");
        let pool = Pool::builder().workers(3).env("TALLY_LOG", &log).build().unwrap();
        let handles: Vec<_> = (0..300).map(|n| submit!(pool => count, n)).collect();
        let mut longest = std::collections::HashMap::new();
        let mut jobs = 0;
        for handle in handles {
            let (worker, numbers) = handle.wait().unwrap();
            let longest = longest.entry(worker).or_insert(0);
            *longest = numbers.len().max(*longest);
            jobs += 1;
        }
        // What the workers counted makes up all jobs: nothing was made anew.
        assert_eq!(longest.values().sum::<usize>(), jobs);
        let made = pids(&log);
        assert_eq!(made.iter().collect::<HashSet<_>>().len(), made.len());
        assert_eq!(made.iter().collect::<HashSet<_>>(), longest.keys().collect());
    });
}

#[pool::state]
fn nested() -> Box<dyn Fn(u32) -> u32> {
    let factor = 3;
    Box::new(move |n| n * factor)
}

#[pool::state]
fn borrowing_type() -> Cow<'static, str> {
    "cow".into()
}

mod elsewhere {
    type Made<T> = std::io::Result<T>;

    #[pool::state]
    fn motto() -> Made<String> {
        Ok("festina lente".to_owned())
    }

    #[pool::state]
    #[expect(clippy::type_complexity, reason = "any type will do")]
    pub(crate) fn table() -> Result<(u8, [Option<fn() -> u8>; 1]), std::fmt::Error> {
        Ok((7, [Some(|| 8)]))
    }
}

#[pool_job]
#[expect(clippy::borrowed_box, clippy::type_complexity, reason = "any type will do")]
#[expect(clippy::too_many_arguments, clippy::ptr_arg, reason = "any number, and any type")]
async fn everything(
    first: u32,
    #[state] nested: &Box<dyn Fn(u32) -> u32>,
    ctx: &JobContext,
    #[state] cow: &Cow<'_, str>,
    text: &str,
    #[pool::state] table: &(u8, [Option<fn() -> u8>; 1]),
    #[state] _: &String,
    #[state] badge: &Badge,
    #[state] again: &Badge,
) -> (u32, String, u32) {
    tokio_yield().await;
    assert!(std::ptr::eq(badge, again) && badge.0 == std::process::id());
    assert_eq!((table.0, table.1[0].unwrap()()), (7, 8));
    (nested(first), format!("{cow}{text}"), ctx.attempt())
}

async fn tokio_yield() {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return std::task::Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

#[pool::test]
fn states_of_any_type_of_any_crate_stand_beside_context_and_arguments() {
    isolated(|| {
        let pool = Pool::new(2).unwrap();
        let output = submit!(pool => everything, 14, "s").wait().unwrap();
        assert_eq!(output, (42, "cows".to_owned(), 1));
        // A job of one crate, its state made in another.
        assert_eq!(submit!(pool => jobs::motto).wait().unwrap(), "festina lente");
        let by_name = pool::Call::named::<String>("pool_tests::jobs::motto", ());
        assert_eq!(pool.submit(by_name).wait().unwrap(), "festina lente");
    });
}

#[test]
fn job_and_maker_stay_ordinary_functions() {
    let tally = Tally(Rc::default());
    assert_eq!(count(&tally, 5).1, [5]);
    assert_eq!(elsewhere::table().unwrap().0, 7);
}

/// What a maker does is in a file that the test writes.
struct Moody;

struct Complaint(String);

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        assert_ne!(self.0, "choke", "no words");
        write!(f, "a complaint: {}", self.0)
    }
}

#[pool::state]
fn moody() -> Result<Moody, Complaint> {
    jobs::append(&path_in("MOODY_LOG"), &std::process::id().to_string());
    match std::fs::read_to_string(path_in("MOODY")).unwrap_or_default().as_str() {
        "panic" => panic!("in a bad mood"),
        "resume" => std::panic::resume_unwind(Box::new(7)),
        "spin" => loop {
            std::thread::sleep(Duration::from_millis(1));
        },
        "exit" => std::process::exit(5),
        "" => Ok(Moody),
        other => Err(Complaint(other.to_owned())),
    }
}

#[pool_job]
fn ask(#[state] _: &Moody) -> u32 {
    std::process::id()
}

#[pool_job]
async fn ask_async(n: u8, #[state] _: &Moody) -> u8 {
    n
}

fn moody_pool() -> (Pool, PathBuf, PathBuf) {
    let (mood, log) = (scratch("mood"), scratch("log"));
    let pool = Pool::builder().workers(1).env("MOODY", &mood).env("MOODY_LOG", &log);
    let pool = pool.retry(RetryPolicy::attempts(5).on_panic(true)).build().unwrap();
    (pool, mood, log)
}

#[pool::test]
fn a_maker_that_failed_is_called_again_by_the_next_job_that_asks() {
    isolated(|| {
        let (pool, mood, log) = moody_pool();
        let worker = submit!(pool => jobs::pid).wait().unwrap();
        let complain = |what: &str, reason: &str| {
            std::fs::write(&mood, what).unwrap();
            let error = submit!(pool => ask).wait().unwrap_err();
            said(&error, &["`jobs_state::Moody`", "job `jobs_state::ask` (", reason]);
            said(&error, &["`jobs_state::moody` (", "jobs_state.rs:", "calls it again"]);
            // It is the same for a second attempt: there is none.
            assert_eq!(error.attempts(), 1);
        };
        complain("no model", "failed: a complaint: no model");
        complain("panic", "panicked at ");
        complain("panic", ": in a bad mood");
        complain("resume", "panicked: a panic whose payload is no string");
        complain("choke", "no words");
        let error = submit!(pool => ask_async, 1).wait().unwrap_err();
        said(&error, &["job `jobs_state::ask_async` (", "no words"]);
        // Jobs that do not ask are not concerned.
        assert_eq!(submit!(pool => jobs::pid).wait().unwrap(), worker);
        assert_eq!(lines(&log).len(), 6);
        std::fs::write(&mood, "").unwrap();
        assert_eq!(submit!(pool => ask).wait().unwrap(), worker);
        assert_eq!(submit!(pool => ask_async, 2).wait().unwrap(), 2);
        std::fs::write(&mood, "panic").unwrap();
        assert_eq!(submit!(pool => ask).wait().unwrap(), worker);
        assert_eq!(pids(&log), [worker; 7]);
    });
}

#[pool::test]
fn a_maker_is_part_of_its_job_for_timeout_cancel_and_crash() {
    isolated(|| {
        let (pool, mood, log) = moody_pool();
        std::fs::write(&mood, "spin").unwrap();
        let call = call!(ask).timeout(Duration::from_millis(100)).retry(RetryPolicy::attempts(2));
        let error = pool.submit(call).wait().unwrap_err();
        assert!(error.is_timeout() && error.attempts() == 2, "{error}");
        let handle = submit!(pool => ask);
        wait_until("it is made", || lines(&log).len() == 3);
        handle.cancel();
        assert!(handle.wait().unwrap_err().is_cancelled());
        std::fs::write(&mood, "exit").unwrap();
        let error = pool.submit(call!(ask).retry(RetryPolicy::attempts(1))).wait().unwrap_err();
        assert!(error.is_crash(), "{error}");
        std::fs::write(&mood, "").unwrap();
        assert!(submit!(pool => ask).wait().is_ok());
    });
}

/// Nobody makes it.
struct Orphan;

#[pool_job]
fn ask_in_vain(first: u8, #[state] _: &Orphan) -> u8 {
    first
}

/// Two make it.
struct Twin;

mod twins {
    #[pool::state]
    fn romulus() -> super::Twin {
        super::Twin
    }

    #[pool::state]
    fn remus() -> Result<super::Twin, String> {
        Ok(super::Twin)
    }
}

#[pool_job]
fn ask_for_twin(#[state] _: &Twin) {}

#[pool::test]
fn no_maker_and_two_of_them_are_errors_that_name_the_places_and_the_way_out() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let worker = submit!(pool => jobs::pid).wait().unwrap();
        let error = submit!(pool => ask_in_vain, 1).wait().unwrap_err();
        said(&error, &["`jobs_state::Orphan`", "`jobs_state::ask_in_vain` (", "jobs_state.rs:"]);
        said(&error, &["#[pool::state]", "-> jobs_state::Orphan", "use that_crate as _;"]);
        let error = submit!(pool => ask_for_twin).wait().unwrap_err();
        said(&error, &["`jobs_state::Twin`", "`jobs_state::twins::romulus` (", "2 functions"]);
        said(&error, &["`jobs_state::twins::remus` (", "jobs_state.rs:", "#[pool::state]"]);
        assert_eq!(submit!(pool => jobs::pid).wait().unwrap(), worker);
    });
}

#[pool::test]
fn arguments_that_do_not_fit_are_told_before_anything_is_made() {
    isolated(|| {
        let (pool, _, log) = moody_pool();
        let call = pool::Call::named::<u8>("jobs_state::ask_async", ("one",));
        let error = pool.submit(call).wait().unwrap_err();
        assert!(matches!(error.kind(), JobErrorKind::Decode(_)), "{error}");
        assert!(lines(&log).is_empty());
    });
}

/// Who asked first.
struct First(String, Cell<u32>);

#[pool::state]
fn first() -> First {
    let context = JobContext::current().unwrap();
    First(context.job_name().to_owned(), Cell::new(context.attempt()))
}

#[pool_job]
fn who_was_first(#[state] first: &First) -> (String, u32) {
    (first.0.clone(), first.1.get())
}

#[pool::test]
fn a_maker_sees_the_context_of_the_job_that_asks() {
    isolated(|| {
        #[pool_job]
        fn inner(#[state] first: &First) {
            first.1.set(first.1.get() + 1);
        }
        let pool = Pool::new(1).unwrap();
        submit!(pool => inner).wait().unwrap();
        let (name, number) = submit!(pool => who_was_first).wait().unwrap();
        assert!(name.ends_with("::inner"), "{name}");
        assert_eq!(number, 2);
    });
}

/// Says when it is dropped.
struct Dropped;

impl Drop for Dropped {
    fn drop(&mut self) {
        jobs::append(Path::new(&path_in("DROP_LOG")), "dropped");
    }
}

#[pool::state]
fn dropped() -> Dropped {
    Dropped
}

#[pool_job]
fn use_dropped(#[state] _: &Dropped) {}

#[pool::test]
fn a_worker_ends_without_dropping_its_states() {
    isolated(|| {
        let log = scratch("log");
        let pool = Pool::builder().workers(1).env("DROP_LOG", &log).build().unwrap();
        submit!(pool => use_dropped).wait().unwrap();
        pool::block_on(pool.close());
        assert!(lines(&log).is_empty());
    });
}
