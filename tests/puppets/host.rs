//! A program as a user writes one: its `main` is wrapped and it uses the global pool.
//!
//! With the arguments `forever FILE` its job notes its worker in `FILE` and never ends.

use std::path::Path;

use pool::{pool_job, submit};
use pool_tests::jobs;

#[pool_job]
fn speak() {
    println!("a job speaks");
}

#[pool::main]
fn main() -> Result<(), pool::JobError> {
    println!("main begins");
    let arguments: Vec<_> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        None => submit!(speak).wait()?,
        Some(_) => submit!(jobs::spin, Path::new(&arguments[2])).wait()?,
    }
    println!("main ends");
    Ok(())
}
