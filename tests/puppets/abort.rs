//! A program in which panics abort, which says of each of its jobs how it ended.

use pool::{JobErrorKind, Pool, pool_job, submit};

#[pool_job]
fn even(n: u32) -> (u32, u32) {
    assert!(n % 2 == 0, "number {n} is odd");
    (n, std::process::id())
}

#[pool::main]
fn main() -> Result<(), pool::BuildError> {
    let one = Pool::new(1)?;
    let mut last = 0;
    for n in 0..10 {
        match submit!(one => even, n).wait() {
            Ok((m, worker)) => {
                println!("{n}: {m} by the {} worker", if worker == last { "same" } else { "next" });
                last = worker;
            }
            Err(error) => match error.kind() {
                JobErrorKind::Panicked(info) => {
                    let attempts = error.attempts();
                    println!("{n}: panicked: {}, in attempt {attempts}", info.message());
                }
                _ => println!("{n}: {error}"),
            },
        }
    }
    let two = Pool::new(2)?;
    let jobs: Vec<_> = (0..100).map(|n| submit!(two => even, n)).collect();
    let (mut panicked, mut others) = (0, 0);
    for job in jobs {
        match job.wait() {
            Ok(_) => others += 1,
            Err(error) if error.is_panic() => panicked += 1,
            Err(error) => println!("{error}"),
        }
    }
    println!("all at once: {panicked} panicked, {others} did not");
    Ok(())
}
