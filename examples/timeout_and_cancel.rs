//! Four ways to end a job that takes too long, and what becomes of its handle.
//!
//! A worker is a process, hence any job can be ended, even one that never looks at anything. A
//! job that does look at its `JobContext` can answer within its grace period.

use std::time::{Duration, Instant};

use pool::{JobContext, Pool, call, pool_job};

/// Never ends by itself and never looks whether it should.
#[pool_job]
fn stubborn() {
    loop {
        std::thread::sleep(Duration::from_secs(60));
    }
}

/// Counts until it is asked to stop, and says how far it came.
#[pool_job]
fn polite(ctx: &JobContext) -> String {
    let mut steps = 0_u64;
    while !ctx.is_cancelled() {
        std::thread::sleep(Duration::from_millis(1));
        steps += 1;
    }
    let so_far = if steps > 0 { "some" } else { "no" };
    format!("asked to stop after {so_far} steps, and did")
}

#[pool::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = Pool::builder().workers(2).build()?;
    pool.ready().await?;
    let short = Duration::from_millis(200);

    // A timeout counts from the moment the job can run in its worker.
    let started = Instant::now();
    let error = pool.submit(call!(stubborn).timeout(short)).await.err();
    println!("timeout:  {}", text(&error));
    assert!(error.is_some_and(|error| error.is_timeout()));

    // A deadline counts from here, the wait for a free worker included.
    let error = pool.submit(call!(stubborn).deadline(short)).await.err();
    println!("deadline: {}", text(&error));
    assert!(error.is_some_and(|error| error.is_timeout()));

    // With a grace period the job is asked first. What it answers in time is its output.
    let handle = pool.submit(call!(polite).grace_period(Duration::from_secs(10)));
    tokio::time::sleep(short).await;
    handle.cancel();
    println!("cancel:   {}", handle.await?);

    // Without one, and by `kill` always, its process is ended at once.
    let handle = pool.submit(call!(stubborn));
    let canceller = handle.canceller();
    tokio::spawn(async move {
        tokio::time::sleep(short).await;
        canceller.kill();
    });
    let error = handle.await.err();
    println!("kill:     {}", text(&error));
    assert!(error.is_some_and(|error| error.is_cancelled()));

    println!("all four within {} s; nothing is left running", started.elapsed().as_secs() + 1);
    Ok(())
}

fn text(error: &Option<pool::JobError>) -> String {
    error.as_ref().map_or_else(|| "no error".to_owned(), ToString::to_string)
}
