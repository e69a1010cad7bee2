//! A program with two jobs of one name: it says what it is told.

use pool::{Pool, pool_job};

/// The first; the test knows this line.
#[pool_job(name = "twice")]
fn first() {}

/// The second; the test knows this line too.

#[pool_job(name = "twice")]
fn second() {}

#[pool::main]
fn main() {
    match Pool::new(1) {
        Ok(_) => println!("built"),
        Err(error) => println!("{error}"),
    }
    match pool::submit!(first).wait() {
        Ok(()) => println!("ran"),
        Err(error) => println!("{error}"),
    }
    drop(pool::call!(second));
}
