//! A program that is inside of a runtime before it asks whether it is a worker, as under
//! `#[tokio::main]`.

use pool::{Pool, pool_job, submit};

/// As deep as a main thread allows, more or less.
fn deep(n: u32) -> u64 {
    let room = std::hint::black_box([n; 256]);
    if n == 0 { 0 } else { deep(n - 1) + u64::from(room[n as usize % 256] - n) + 1 }
}

#[pool_job]
async fn later(n: u32) -> u64 {
    tokio::task::yield_now().await;
    deep(n)
}

#[pool_job]
fn now(n: u32) -> u64 {
    deep(n)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        pool::serve_if_worker();
        println!("main runs");
        let pool = Pool::new(1)?;
        println!("now: {}", submit!(pool => now, 2000).await?);
        println!("later: {}", submit!(pool => later, 2000).await?);
        pool.shutdown().await;
        Ok(())
    })
}
