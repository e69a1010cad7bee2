//! How to test jobs: most of it without any process, the rest with real workers.
//!
//! A job function stays an ordinary function, so its logic is tested like any other. What only a
//! worker shows (arguments and outputs on their journey, crashes, time limits, cancelling) is
//! tested with `#[pool::test]`: the workers are the test program itself, under `cargo test` and
//! under nextest, without any set-up.
//!
//! Run the tests: `cargo test -p pool-examples --example testing_your_jobs`

use std::collections::BTreeMap;

use pool::{JobContext, pool_job, submit};

/// How often each letter occurs.
#[pool_job]
fn letters(text: &str) -> Result<BTreeMap<char, u64>, String> {
    let mut counts = BTreeMap::new();
    for c in text.chars() {
        match c {
            'a'..='z' => *counts.entry(c).or_default() += 1,
            ' ' => {}
            _ => return Err(format!("{c:?} is no letter")),
        }
    }
    Ok(counts)
}

/// Leibniz' series. Asked to stop, it gives what it has.
#[pool_job]
fn pi(ctx: &JobContext, terms: u64) -> f64 {
    let mut sum = 0.0;
    for n in 0..terms {
        let term = 4.0 / (2 * n + 1) as f64;
        sum += if n % 2 == 0 { term } else { -term };
        if n % 1000 == 999 && ctx.is_cancelled() {
            break;
        }
    }
    sum
}

/// Passes its text to a library that nobody should trust.
#[pool_job]
fn trust(text: &str) -> usize {
    if text.contains("evil") { std::process::abort() } else { text.len() }
}

#[pool::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("hello: {:?}", submit!(letters, "hello").await??);
    println!("pi: {:.4}", submit!(pi, 1_000_000).await?);
    println!("trusted with {} bytes", submit!(trust, "good").await?);
    println!("the tests are the point: see the head of this example");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pool::{JobErrorKind, Pool, call};

    use super::*;

    // Called directly: fast, under a debugger, with coverage.
    #[test]
    fn letters_are_counted() {
        assert_eq!(letters("abba"), Ok(BTreeMap::from([('a', 2), ('b', 2)])));
        assert!(letters("a1").is_err());
    }

    // A context that belongs to no pool, for a job that wants one: never cancelled, no limits.
    #[test]
    fn the_series_comes_close() {
        assert!((pi(&JobContext::detached(), 1_000_000) - std::f64::consts::PI).abs() < 1e-5);
    }

    // Through the global pool: do arguments and output survive the journey?
    #[pool::test]
    async fn a_worker_answers_what_the_function_does() {
        assert_eq!(submit!(letters, "to be or not").await.unwrap(), letters("to be or not"));
        // The job's own `Err` is a value like any other, inside of `Ok`.
        assert_eq!(submit!(letters, "2 be").await.unwrap().unwrap_err(), "'2' is no letter");
    }

    // Called directly, this would end the test program. A test need not be async.
    #[pool::test]
    fn a_crash_costs_one_job() {
        let (evil, good) = (submit!(trust, "evil"), submit!(trust, "good"));
        assert!(evil.wait().unwrap_err().is_crash());
        assert_eq!(good.wait().unwrap(), 4);
    }

    // A pool of its own, for settings that only one test wants.
    #[pool::test]
    async fn a_text_beyond_the_limit_is_refused() {
        let pool = Pool::builder().workers(1).max_payload(1000).build().unwrap();
        let error = submit!(pool => letters, &"a".repeat(2000)).await.unwrap_err();
        assert!(matches!(error.kind(), JobErrorKind::PayloadTooLarge { limit: 1000, .. }));
    }

    // What the context says to a job that is asked to stop, only a worker shows.
    #[pool::test]
    async fn a_job_whose_time_is_over_gives_what_it_has() {
        let (limit, grace) = (Duration::from_millis(300), Duration::from_secs(20));
        let pool = Pool::new(1).unwrap();
        let handle = pool.submit(call!(pi, u64::MAX).timeout(limit).grace_period(grace));
        let so_far = handle.await.unwrap();
        assert!((3.1..3.2).contains(&so_far), "{so_far}");
    }
}
