//! `JobStream::progress` where stderr is no terminal: plain lines.

use std::process::Command;

use pool::{JobContext, Pool, RetryPolicy, call, pool_job};
use pool_tests::jobs::{self, Death};
use pool_tests::{Isolation, isolated, scratch};

/// The second of every ten fails, the fourth needs two attempts.
#[pool_job]
fn shaky(ctx: &JobContext, number: u64) -> u64 {
    match (number % 10, ctx.attempt()) {
        (2, _) => jobs::die(Death::Panic),
        (4, 1) => jobs::die(Death::Abort),
        _ => {}
    }
    number
}

/// The lines of one stream. The first may stand behind what the test harness has begun to say.
fn lines_of<'a>(said: &'a str, name: &str) -> Vec<&'a str> {
    let name = format!("{name}: ");
    let lines = said.lines().filter_map(|line| {
        let (before, line) = line.split_once(&name)?;
        (before.is_empty() || before.ends_with("... ")).then_some(line)
    });
    lines.collect()
}

#[pool::test]
fn a_plain_line_for_every_tenth_and_one_at_the_end() {
    let body = || {
        let policy = RetryPolicy::attempts(2);
        let pool = Pool::builder().workers(2).retry(policy).build().unwrap();
        let stream = pool.map((0..50).map(|n| call!(shaky, n))).progress("shake");
        assert_eq!(stream.blocking().filter(Result::is_ok).count(), 45);
    };
    Isolation::new().run_and_read(body, |said| {
        assert!(!said.contains('\r') && !said.contains('\u{1b}'), "{said}");
        let lines = lines_of(said, "shake");
        assert_eq!(lines.len(), 10, "{said}");
        for (line, tenth) in lines.iter().zip(1..) {
            let begin = format!("{} of 50 ({} %), ", 5 * tenth, 10 * tenth);
            assert!(line.starts_with(&begin), "{line:?} does not begin with {begin:?}");
        }
        assert!(lines[4].contains("/s, ") && lines[4].ends_with(" left"), "{}", lines[4]);
        assert!(lines[9].starts_with("50 of 50 (100 %), 5 failed, 5 retried, in "), "{}", lines[9]);
    });
}

#[pool::test]
fn an_unknown_total_is_not_told() {
    let body = || {
        let pool = Pool::new(2).unwrap();
        let odd = (0..50).filter(|n| n % 2 == 1).map(|n| call!(jobs::echo, n));
        assert_eq!(pool.map(odd).unordered().progress("odd").blocking().count(), 25);
    };
    Isolation::new().run_and_read(body, |said| {
        let lines = lines_of(said, "odd");
        assert_eq!(lines.len(), 1, "{said}");
        assert!(lines[0].starts_with("25 done, in "), "{}", lines[0]);
    });
}

#[pool::test]
fn a_stream_that_is_dropped_says_where_it_stopped() {
    let body = || {
        let pool = Pool::new(2).unwrap();
        let calls = |n| (0..n).map(|n| call!(jobs::echo, n));
        let mut stream = pool.map(calls(100)).progress("dropped").blocking();
        assert!(stream.by_ref().take(3).all(|result| result.is_ok()));
        drop(stream);
        // All results were taken, though nobody asked whether there are more.
        let mut stream = pool.map(calls(3)).progress("taken").blocking();
        assert!(stream.by_ref().take(3).all(|result| result.is_ok()));
        drop(stream);
        let mut stream = pool.map(calls(100)).progress("closed").blocking();
        assert!(stream.next().is_some_and(|result| result.is_ok()));
        drop(pool.close());
        stream.for_each(drop);
        // Nothing was begun.
        drop(pool.map(calls(3)).progress("idle"));
    };
    Isolation::new().run_and_read(body, |said| {
        let last = |name| lines_of(said, name).last().copied().unwrap_or_default();
        assert!(last("dropped").starts_with("stopped at 3 of 100 (3 %), in "), "{said}");
        assert!(last("taken").starts_with("3 of 3 (100 %), in "), "{said}");
        assert!(last("closed").starts_with("stopped at "), "{said}");
        assert_eq!(last("idle"), "", "{said}");
    });
}

#[pool::test]
fn none_says_nothing_at_all() {
    let body = || {
        let pool = Pool::new(1).unwrap();
        let stream = pool.map((0..20).map(|n| call!(jobs::echo, n))).progress("silent");
        assert_eq!(stream.blocking().count(), 20);
    };
    let isolation = Isolation::new().env("POOL_PROGRESS", "none");
    isolation.run_and_read(body, |said| assert!(!said.contains("silent:"), "{said}"));
}

#[pool::test]
fn there_is_no_bar_where_there_is_no_terminal() {
    let body = || {
        let pool = Pool::new(1).unwrap();
        let stream = pool.map((0..20).map(|n| call!(jobs::echo, n))).progress("asked\nfor");
        assert_eq!(stream.blocking().count(), 20);
    };
    let isolation = Isolation::new().env("POOL_PROGRESS", "bar");
    isolation.run_and_read(body, |said| {
        assert!(!said.contains('\r') && !said.contains('\u{1b}'), "{said}");
        assert_eq!(lines_of(said, "asked for").len(), 10, "{said}");
    });
}

#[pool::test]
fn into_a_pipe_go_plain_lines() {
    isolated(|| {
        let dir = scratch("dir");
        std::fs::create_dir(&dir).unwrap();
        ["a", "b", "c", "d", "e"].iter().for_each(|name| jobs::open(&dir.join(name)));
        let mut command = Command::new(env!("CARGO_BIN_EXE_puppet-progress"));
        let output = command.arg(&dir).env_remove("POOL_PROGRESS").output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        assert!(!said.contains('\r') && !said.contains('\u{1b}'), "{said}");
        let lines = lines_of(&said, "shown");
        assert_eq!(lines.len(), 5, "{said}");
        assert!(lines[4].starts_with("5 of 5 (100 %), 1 failed, 1 retried, in "), "{said}");
    });
}
