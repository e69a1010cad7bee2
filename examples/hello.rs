//! The smallest program: a function that runs in a worker process.

use pool::{pool_job, submit};

#[pool_job]
fn add(a: u32, b: u32) -> u32 {
    a + b
}

#[pool::main]
async fn main() -> Result<(), pool::JobError> {
    println!("{}", submit!(add, 1, 2).await?);
    Ok(())
}
