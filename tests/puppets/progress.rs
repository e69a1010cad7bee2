//! A program that shows how far it is, for a terminal to look at.
//!
//! Its argument is a directory. Each of its jobs notes there that it has begun, and waits there for
//! a file to be made; `a` says how far it is and prints a line, `c` panics, `d` needs two attempts.

use std::path::{Path, PathBuf};

use pool::{JobContext, Output, Pool, RetryPolicy, call, pool_job};
use pool_tests::jobs::{self, Death};

#[pool_job]
fn work(ctx: &JobContext, dir: &Path, name: &str) {
    jobs::append(&dir.join("begun"), &format!("{name}{}", ctx.attempt()));
    match (name, ctx.attempt()) {
        ("a", _) => {
            println!("printed by \u{1b}[31ma\u{1b}[0m");
            ctx.progress(3, 10);
            ctx.message("reading");
        }
        ("c", _) => jobs::die(Death::Panic),
        ("d", 1) => jobs::die(Death::Abort),
        _ => {}
    }
    let gate = dir.join(name);
    while !gate.exists() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

#[pool::main]
fn main() -> Result<(), pool::BuildError> {
    let dir = PathBuf::from(std::env::args_os().nth(1).unwrap_or_default());
    let retry = RetryPolicy::attempts(2);
    let pool = Pool::builder().workers(2).retry(retry).stdout(Output::Capture).build()?;
    let names = ["a", "b", "c", "d", "e"];
    let calls = names.map(|name| call!(work, &dir, name).label(format!("label {name}")));
    let stream = pool.map(calls).unordered().progress("shown");
    stream.blocking().for_each(drop);
    Ok(())
}
