//! A queue of jobs that pools work off, and what a shutdown in the middle leaves of it.
//!
//! Every job gets the same settings (its state) and an item of its own. The first pool does all
//! of a small queue. The second one is shut down in the middle of a larger queue: the jobs that
//! had not started are in the queue again, in their order, and a third pool finishes them. The
//! handles that `push` gave are good for whichever pool runs the job.

use std::time::Duration;

use pool::{JobHandle, JobQueue, Pool, call, pool_job};
use serde::{Deserialize, Serialize};

/// What all jobs share. It is sent with each of them; only the host keeps it.
#[derive(Serialize, Deserialize)]
struct Settings {
    unit: String,
    pause: Duration,
}

/// What one job is about.
#[derive(Clone, Serialize, Deserialize)]
struct Item {
    name: String,
    text: String,
}

#[pool_job]
fn measure(settings: &Settings, item: &Item) -> String {
    std::thread::sleep(settings.pause);
    format!("{} has {} {}", item.name, item.text.len(), settings.unit)
}

#[pool::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let settings = Settings { unit: "bytes".to_owned(), pause: Duration::from_millis(20) };
    to_the_end(&settings).await?;
    with_a_shutdown_in_the_middle(&settings).await
}

async fn to_the_end(settings: &Settings) -> Result<(), Box<dyn std::error::Error>> {
    println!("a queue that is worked off:");
    let queue = JobQueue::new();
    let handles = fill(&queue, settings, 5).await;
    let pool = Pool::new(2)?;
    let report = pool.work(&queue).await;
    for handle in handles {
        println!("  {}", handle.await?);
    }
    println!("  {} succeeded, {} are left", report.succeeded, queue.count());
    Ok(())
}

async fn with_a_shutdown_in_the_middle(
    settings: &Settings,
) -> Result<(), Box<dyn std::error::Error>> {
    println!("a queue whose pool is shut down in the middle:");
    let queue = JobQueue::new();
    let mut handles = fill(&queue, settings, 20).await;

    let pool = Pool::new(2)?;
    let watched = handles.remove(4);
    let stop = async {
        println!("  {}: that is enough for now", watched.await?);
        pool.shutdown().await;
        Ok::<_, pool::JobError>(())
    };
    let (report, stopped) = tokio::join!(pool.work(&queue), stop);
    stopped?;
    println!(
        "  {} succeeded, {} were cut off, {} had not started and are in the queue again",
        report.succeeded,
        report.cancelled,
        queue.count()
    );

    let report = Pool::new(2)?.work(&queue).await;
    println!("  {} more succeeded in another pool, {} are left", report.succeeded, queue.count());
    for handle in handles {
        match handle.await {
            Ok(_) => {}
            // Only those that were running at the shutdown; whether they may run again is for
            // the program to say.
            Err(error) if error.is_pool_closed() => println!("  {error}"),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

async fn fill(queue: &JobQueue, settings: &Settings, count: usize) -> Vec<JobHandle<String>> {
    let mut handles = Vec::new();
    for n in 1..=count {
        let item = Item { name: format!("item {n}"), text: "x".repeat(n * n) };
        let call = call!(measure, settings, &item).label(item.name.as_str());
        handles.push(queue.push(call).await);
    }
    handles
}
