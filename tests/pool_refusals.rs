//! What cannot work is said clearly: to whom, by which name, and what to do about it.

use std::process::Command;
use std::time::Duration;

use pool::{Call, JobErrorKind, Pool, call, pool_job, submit};
use pool_tests::jobs;
use pool_tests::{End, Isolation, isolated, proc, run_puppet, scratch, wait_until};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Cannot be encoded.
#[derive(Debug)]
struct Mute;

impl Serialize for Mute {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(S::Error::custom("this is mute"))
    }
}

impl<'de> Deserialize<'de> for Mute {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Ok(Mute)
    }
}

/// Cannot be decoded.
#[derive(Debug)]
struct Deaf;

impl Serialize for Deaf {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u8(1)
    }
}

impl<'de> Deserialize<'de> for Deaf {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(D::Error::custom("this is deaf"))
    }
}

/// Panics on its way.
#[derive(Debug)]
struct Bomb;

impl Serialize for Bomb {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u8(1)
    }
}

impl<'de> Deserialize<'de> for Bomb {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("a bomb in a parameter");
    }
}

#[pool_job]
fn take_mute(first: u8, mute: Mute) -> u8 {
    let _ = mute;
    first
}

#[pool_job]
fn take_deaf(first: u8, deaf: Deaf) -> u8 {
    let _ = deaf;
    first
}

#[pool_job]
fn take_bomb(bomb: Bomb) {
    let _ = bomb;
}

#[pool_job]
fn give_mute() -> Mute {
    Mute
}

#[pool_job]
fn give_deaf() -> Deaf {
    Deaf
}

#[pool_job]
fn add(a: u32, b: u32) -> u32 {
    a + b
}

#[pool_job]
fn length(bytes: &[u8]) -> usize {
    bytes.len()
}

#[pool_job]
fn zeroes(n: usize) -> Vec<u8> {
    vec![0; n]
}

#[pool_job]
fn letters(n: usize) -> String {
    "x".repeat(n)
}

#[pool_job]
fn use_the_global_pool() -> Result<u32, String> {
    let handle = submit!(jobs::pid).wait().map_err(|error| error.to_string());
    assert!(Pool::try_global().is_err());
    handle
}

#[pool_job]
fn print_rubbish_to_stdin_and_stdout() {
    println!("rubbish \u{7f}\u{1}");
}

#[track_caller]
fn said(error: &impl std::fmt::Display, parts: &[&str]) {
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}

#[pool::test]
fn an_unknown_name_lists_the_nearest_ones() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let error = pool.submit(Call::named::<u32>("pool_refusals::ad", (1, 2))).wait();
        let error = error.unwrap_err();
        assert!(matches!(error.kind(), JobErrorKind::UnknownJob(_)), "{error}");
        assert_eq!((error.job_name(), error.attempts()), ("pool_refusals::ad", 0));
        said(&error, &["`pool_refusals::ad`", "`pool_refusals::add`", "use that_crate as _;"]);
        said(&error, &[&format!("{} jobs", pool::registered_jobs().len())]);
        let error = pool.submit(Call::named::<u32>("", ())).wait().unwrap_err();
        assert!(matches!(error.kind(), JobErrorKind::UnknownJob(_)), "{error}");
    });
}

#[pool::test]
fn arguments_that_do_not_encode_or_decode_name_side_parameter_and_reason() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let worker = submit!(pool => jobs::pid).wait().unwrap();
        let error = submit!(pool => take_mute, 1, Mute).wait().unwrap_err();
        assert!(matches!(error.kind(), JobErrorKind::Encode(_)), "{error}");
        assert_eq!(error.attempts(), 0);
        said(&error, &["pool_refusals::take_mute", "host", "`mute`", "this is mute"]);
        let error = submit!(pool => take_deaf, 1, Deaf).wait().unwrap_err();
        assert!(matches!(error.kind(), JobErrorKind::Decode(_)), "{error}");
        said(&error, &["pool_refusals::take_deaf", "worker", "`deaf`", "this is deaf"]);
        let error = submit!(pool => take_bomb, Bomb).wait().unwrap_err();
        assert!(error.is_panic(), "{error}");
        assert_eq!(submit!(pool => jobs::pid).wait().unwrap(), worker);
    });
}

#[pool::test]
fn an_output_that_does_not_encode_or_decode_names_side_and_reason() {
    isolated(|| {
        let policy = pool::RetryPolicy::attempts(3).on_panic(true);
        let pool = Pool::builder().workers(1).retry(policy).build().unwrap();
        let worker = submit!(pool => jobs::pid).wait().unwrap();
        let error = submit!(pool => give_mute).wait().unwrap_err();
        assert!(matches!(error.kind(), JobErrorKind::Encode(_)), "{error}");
        said(&error, &["pool_refusals::give_mute", "worker", "output", "this is mute"]);
        // Never tried again: the same would come of it.
        assert_eq!(error.attempts(), 1);
        let error = submit!(pool => give_deaf).wait().unwrap_err();
        assert!(matches!(error.kind(), JobErrorKind::Decode(_)), "{error}");
        said(&error, &["pool_refusals::give_deaf", "host", "output", "this is deaf"]);
        assert_eq!(error.attempts(), 1);
        assert_eq!(submit!(pool => jobs::pid).wait().unwrap(), worker);
    });
}

#[pool::test]
fn arguments_by_name_that_do_not_fit_are_decode_errors() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let worker = submit!(pool => jobs::pid).wait().unwrap();
        let decode = |call: Call<pool::Named<u32>>, parts: &[&str]| {
            let error = pool.submit(call).wait().unwrap_err();
            assert!(matches!(error.kind(), JobErrorKind::Decode(_)), "{error}");
            said(&error, &["pool_refusals::add"]);
            said(&error, parts);
        };
        let name = "pool_refusals::add";
        decode(Call::named(name, ("one", 2)), &["worker", "`a`"]);
        decode(Call::named(name, (1, u64::MAX)), &["worker", "`b`"]);
        decode(Call::named(name, (1,)), &["2 parameters", "1"]);
        decode(Call::named(name, (1, 2, 3)), &["2 parameters", "3"]);
        decode(Call::named(name, ()), &["2 parameters", "0"]);
        // No tuple at all.
        let error = pool.submit(Call::named::<u32>(name, 1)).wait().unwrap_err();
        assert!(matches!(error.kind(), JobErrorKind::Encode(_)), "{error}");
        said(&error, &["(a,)"]);
        // An output of another type.
        let error = pool.submit(Call::named::<String>(name, (1, 2))).wait().unwrap_err();
        assert!(matches!(error.kind(), JobErrorKind::Decode(_)), "{error}");
        said(&error, &["host", "output"]);
        let error = pool.submit(Call::named::<u32>("pool_refusals::zeroes", (1,))).wait();
        assert!(matches!(error.unwrap_err().kind(), JobErrorKind::Decode(_)));
        let error = pool.submit(Call::named::<usize>("pool_refusals::length", (1,))).wait();
        assert!(matches!(error.unwrap_err().kind(), JobErrorKind::Decode(_)));
        assert_eq!(submit!(pool => jobs::pid).wait().unwrap(), worker);
    });
}

#[pool::test]
fn a_payload_beyond_the_limit_is_refused_in_both_directions() {
    isolated(|| {
        let pool = Pool::builder().workers(1).max_payload(1000).build().unwrap();
        let worker = submit!(pool => jobs::pid).wait().unwrap();
        assert_eq!(submit!(pool => length, &[0; 1000]).wait().unwrap(), 1000);
        let error = submit!(pool => length, &[0; 1001]).wait().unwrap_err();
        let too_large = JobErrorKind::PayloadTooLarge { size: 1001, limit: 1000 };
        assert_eq!((error.kind(), error.attempts()), (&too_large, 0), "{error}");
        said(&error, &["pool_refusals::length", "1001", "1000", "max_payload"]);
        assert_eq!(submit!(pool => zeroes, 1000).wait().unwrap().len(), 1000);
        let error = submit!(pool => zeroes, 1001).wait().unwrap_err();
        assert_eq!((error.kind(), error.attempts()), (&too_large, 1), "{error}");
        let error = submit!(pool => letters, 5000).wait().unwrap_err();
        let JobErrorKind::PayloadTooLarge { size, limit } = error.kind() else { panic!("{error}") };
        assert!((5000..5010).contains(size) && *limit == 1000, "{error}");
        let error = submit!(pool => letters, 50_000_000).wait().unwrap_err();
        assert!(matches!(error.kind(), JobErrorKind::PayloadTooLarge { .. }), "{error}");
        assert_eq!(submit!(pool => jobs::pid).wait().unwrap(), worker);
    });
}

#[pool::test]
fn settings_that_cannot_work_are_build_errors() {
    isolated(|| {
        let error = Pool::new(0).unwrap_err();
        said(&error, &["workers(0)"]);
        assert!(Pool::new(usize::MAX).is_err());
        let error = Pool::builder().executable("/not/there").build().unwrap_err();
        said(&error, &["executable", "/not/there"]);
        let error = Pool::builder().executable("/").build().unwrap_err();
        said(&error, &["executable", "`/`"]);
        let error = Pool::builder().current_dir("/nor/there").build().unwrap_err();
        said(&error, &["current_dir", "/nor/there"]);
        let error = Pool::builder().current_dir("/dev/null").build().unwrap_err();
        said(&error, &["current_dir", "/dev/null"]);
        assert!(proc::children(std::process::id()).is_empty());
    });
}

#[pool::test]
fn an_executable_that_is_no_worker_resolves_the_jobs_after_three_launches() {
    isolated(|| {
        let pool = Pool::builder().workers(2).executable("/bin/true").build().unwrap();
        let job = submit!(pool => add, 1, 2);
        let error = pool::block_on(pool.ready()).unwrap_err();
        said(&error, &["code 0"]);
        let error = job.wait().unwrap_err();
        assert!(matches!(error.kind(), JobErrorKind::WorkerStart(_)), "{error}");
        assert_eq!(error.attempts(), 0);
        said(&error, &["pool_refusals::add"]);
        // It goes on trying, but a later job hears of it too.
        let error = submit!(pool => add, 1, 2).wait().unwrap_err();
        assert!(matches!(error.kind(), JobErrorKind::WorkerStart(_)), "{error}");
    });
}

#[pool::test]
fn an_executable_that_ends_before_it_is_greeted_is_told_by_its_code_too() {
    isolated(|| {
        // Whether it ends before the greeting or after it is a race: each of these runs it again.
        for _ in 0..200 {
            let pool = Pool::builder().workers(2).executable("/bin/true").build().unwrap();
            said(&pool::block_on(pool.ready()).unwrap_err(), &["code 0"]);
        }
    });
}

#[pool::test]
fn an_executable_that_never_greets_is_given_up_after_the_start_timeout() {
    isolated(|| {
        let pool = Pool::builder().workers(1).executable("/bin/sleep").args(["10000"]);
        let pool = pool.start_timeout(Duration::from_millis(100)).build().unwrap();
        let error = submit!(pool => add, 1, 2).wait().unwrap_err();
        assert!(matches!(error.kind(), JobErrorKind::WorkerStart(_)), "{error}");
        said(&error, &["start"]);
    });
}

#[pool::test]
fn an_executable_that_speaks_another_language_is_no_worker() {
    isolated(|| {
        // It answers with what it was sent, on the channel itself.
        let script = scratch("parrot");
        std::fs::write(&script, "#!/bin/sh\nexec cat <&0 >&0\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&script, mode).unwrap();
        let pool = Pool::builder().workers(1).executable(&script).build().unwrap();
        let error = submit!(pool => add, 1, 2).wait().unwrap_err();
        assert!(matches!(error.kind(), JobErrorKind::WorkerStart(_)), "{error}");
    });
}

#[pool::test]
fn another_program_with_other_jobs_is_told_apart() {
    isolated(|| {
        let puppet = env!("CARGO_BIN_EXE_puppet-host");
        let pool = Pool::builder().workers(1).executable(puppet).build().unwrap();
        let error = submit!(pool => add, 1, 2).wait().unwrap_err();
        assert!(matches!(error.kind(), JobErrorKind::WorkerStart(_)), "{error}");
        said(&error, &["job"]);
    });
}

#[pool::test]
fn a_worker_has_no_global_pool() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        let error = submit!(pool => use_the_global_pool).wait().unwrap().unwrap_err();
        said(&error, &["worker process", "Pool::builder()"]);
    });
}

#[pool::test]
fn the_global_pool_is_built_once() {
    Isolation::new().end(End::WithPool).run(|| {
        let built = Pool::builder().workers(1).build_global().unwrap();
        assert!(std::ptr::eq(built, Pool::global()));
        let worker = submit!(jobs::pid).wait().unwrap();
        assert_eq!(submit!(jobs::pid).wait().unwrap(), worker);
        let error = Pool::builder().workers(1).build_global().unwrap_err();
        said(&error, &["global"]);
    });
}

#[pool::test]
fn the_global_pool_cannot_be_built_after_its_first_use() {
    Isolation::new().end(End::WithPool).run(|| {
        assert_eq!(submit!(add, 1, 2).wait().unwrap(), 3);
        let error = Pool::builder().workers(1).build_global().unwrap_err();
        said(&error, &["global"]);
        // One worker a core.
        let cores = std::thread::available_parallelism().unwrap().get();
        pool::block_on(Pool::global().ready()).unwrap();
        assert_eq!(proc::children(std::process::id()).len(), cores);
    });
}

#[pool::test]
fn a_failed_build_of_the_global_pool_can_be_mended() {
    Isolation::new().end(End::WithPool).run(|| {
        assert!(Pool::builder().workers(0).build_global().is_err());
        Pool::builder().workers(1).build_global().unwrap();
        assert_eq!(submit!(add, 1, 2).wait().unwrap(), 3);
    });
}

#[pool::test]
fn the_environment_says_how_many_workers_the_global_pool_has() {
    Isolation::new().end(End::WithPool).env("POOL_WORKERS", "3").run(|| {
        pool::block_on(Pool::global().ready()).unwrap();
        assert_eq!(proc::children(std::process::id()).len(), 3);
    });
}

#[pool::test]
fn a_senseless_number_of_workers_is_what_the_jobs_resolve_to() {
    Isolation::new().env("POOL_WORKERS", "a few").run(|| {
        let error = Pool::try_global().unwrap_err();
        said(&error, &["POOL_WORKERS", "a few"]);
        let error = submit!(add, 1, 2).wait().unwrap_err();
        let JobErrorKind::WorkerStart(text) = error.kind() else { panic!("{error}") };
        said(text, &["POOL_WORKERS", "a few"]);
        let error = Pool::global().try_submit(call!(add, 1, 2)).unwrap().wait().unwrap_err();
        assert!(matches!(error.kind(), JobErrorKind::WorkerStart(_)), "{error}");
        assert!(pool::block_on(Pool::global().reserve()).is_err());
        assert!(pool::block_on(Pool::global().ready()).is_err());
        // Another pool can still be built.
        assert_eq!(submit!(Pool::new(1).unwrap() => add, 1, 2).wait().unwrap(), 3);
    });
}

#[pool::test]
fn no_workers_in_the_environment_is_senseless_too() {
    Isolation::new().env("POOL_WORKERS", "0").run(|| {
        assert!(Pool::try_global().is_err());
        assert!(proc::children(std::process::id()).is_empty());
    });
}

#[pool::test]
fn a_program_whose_main_is_not_wrapped_is_told_so_and_runs_once() {
    isolated(|| {
        let (status, output) =
            run_puppet(&mut Command::new(env!("CARGO_BIN_EXE_puppet-unwrapped")));
        assert!(status.success(), "{status}: {output}");
        assert_eq!(output.matches("main runs").count(), 1, "{output}");
        said(&output, &["pool: the pool could not be built", "#[pool::main]"]);
        said(&output, &["serve_if_worker", "submit: job", "global: the pool could not be built"]);
    });
}

#[pool::test]
fn a_main_that_is_inside_of_a_runtime_may_ask_whether_it_is_a_worker() {
    isolated(|| {
        let (status, output) = run_puppet(&mut Command::new(env!("CARGO_BIN_EXE_puppet-inside")));
        assert!(status.success(), "{status}: {output}");
        assert_eq!(output.matches("main runs").count(), 1, "{output}");
        said(&output, &["now: 2000", "later: 2000"]);
    });
}

#[pool::test]
fn two_jobs_of_one_name_are_an_error_that_names_both_places() {
    isolated(|| {
        let (status, output) =
            run_puppet(&mut Command::new(env!("CARGO_BIN_EXE_puppet-duplicate")));
        assert!(status.success(), "{status}: {output}");
        said(&output, &["`twice`", "duplicate.rs:6", "duplicate.rs:11", "name ="]);
    });
}

#[pool::test]
fn a_start_hook_that_fails_is_what_the_jobs_resolve_to() {
    isolated(|| {
        for (how, reason) in [("fail", "no licence"), ("panic", "no patience"), ("exit", "code 9")]
        {
            let mut command = Command::new(env!("CARGO_BIN_EXE_puppet-bad-hook"));
            let (status, output) = run_puppet(command.env("HOOK", how));
            assert!(status.success(), "{status}: {output}");
            said(&output, &["job: WorkerStart", "ready: ", reason]);
            if how != "exit" {
                said(&output, &["puppet_bad_hook::hook", "bad_hook.rs:"]);
            }
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_puppet-bad-hook"));
        let (status, output) = run_puppet(command.env("HOOK", "succeed"));
        assert!(status.success(), "{status}: {output}");
        said(&output, &["job: 3"]);
    });
}

#[pool::test]
fn what_a_job_prints_is_not_taken_for_an_answer() {
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        submit!(pool => print_rubbish_to_stdin_and_stdout).wait().unwrap();
        assert_eq!(submit!(pool => add, 1, 2).wait().unwrap(), 3);
    });
}

#[pool::test]
fn workers_that_cannot_start_are_tried_again() {
    isolated(|| {
        // A program that is put in place only later.
        let script = scratch("worker");
        let write = |text: &str| {
            let new = scratch("new");
            std::fs::write(&new, text).unwrap();
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(&new, mode).unwrap();
            std::fs::rename(&new, &script).unwrap();
        };
        write("#!/bin/sh\nexit 1\n");
        let own = std::env::current_exe().unwrap();
        let test = "workers_that_cannot_start_are_tried_again";
        let args = ["--exact", test, "--include-ignored", "--nocapture", "--test-threads=1"];
        let pool = Pool::builder().workers(1).executable(&script).args(args).build().unwrap();
        assert!(pool::block_on(pool.ready()).is_err());
        write(&format!("#!/bin/sh\nexec {} \"$@\"\n", own.display()));
        wait_until("a job has run", || submit!(pool => add, 1, 2).wait().is_ok_and(|sum| sum == 3));
    });
}
