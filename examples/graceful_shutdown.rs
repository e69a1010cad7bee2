//! Ctrl-C once: what was accepted is finished. Ctrl-C twice: everything ends now.
//!
//! Every worker has a process group of its own, so that Ctrl-C in a terminal reaches this process
//! only, and this process decides what becomes of the jobs. A service does the same at `SIGTERM`.
//!
//! Without an argument it shows both ends by itself. With `serve` it works until you press Ctrl-C:
//! `cargo run -p pool-examples --example graceful_shutdown -- serve`

use std::error::Error;
use std::time::Duration;

use pool::{Pool, WorkReport, call, pool_job};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// What takes its time.
#[pool_job]
fn render(page: u32) -> String {
    std::thread::sleep(Duration::from_millis(200));
    format!("page {page} is rendered")
}

/// Renders pages, which never run out, until told otherwise by `presses` of Ctrl-C.
async fn work(mut presses: mpsc::Receiver<()>) -> Result<WorkReport, Box<dyn Error>> {
    let pool = Pool::builder().workers(2).queue_capacity(4).build()?;
    let mut pages = JoinSet::new();

    for page in 1.. {
        // No more is accepted than can be finished soon: `reserve` waits until there is room.
        let permit = tokio::select! {
            permit = pool.reserve() => permit?,
            _ = presses.recv() => break,
        };
        let handle = permit.submit(call!(render, page).label(format!("page {page}")));
        pages.spawn(async move {
            match handle.await {
                Ok(text) => println!("  {text}"),
                Err(error) => println!("  {error}"),
            }
        });
    }

    println!("  finishing what was accepted; Ctrl-C once more ends it now");
    let mut finished = pool.close();
    let report = tokio::select! {
        report = &mut finished => report,
        _ = presses.recv() => {
            println!("  ending now");
            pool.shutdown().await;
            finished.await
        }
    };
    // Every handle has resolved; this waits for the last line to be printed.
    pages.join_all().await;
    println!("  since Ctrl-C: {} finished, {} cut off", report.succeeded, report.cancelled);
    Ok(report)
}

#[pool::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (press, presses) = mpsc::channel(2);
    if std::env::args().nth(1).as_deref() == Some("serve") {
        println!("rendering; press Ctrl-C");
        let mut interrupts = signal(SignalKind::interrupt())?;
        tokio::spawn(async move {
            while interrupts.recv().await.is_some() {
                // The third and further ones have nothing to add.
                let _ = press.try_send(());
            }
        });
        work(presses).await?;
        return Ok(());
    }

    println!("Ctrl-C once:");
    let a_while = Duration::from_millis(500);
    let once = async {
        tokio::time::sleep(a_while).await;
        press.send(()).await
    };
    let (report, sent) = tokio::join!(work(presses), once);
    sent?;
    assert_eq!(report?.cancelled, 0, "nothing is cut off");

    println!("Ctrl-C twice:");
    let (press, presses) = mpsc::channel(2);
    let twice = async {
        tokio::time::sleep(a_while).await;
        press.send(()).await?;
        press.send(()).await
    };
    let (report, sent) = tokio::join!(work(presses), twice);
    sent?;
    assert!(report?.cancelled > 0, "something was running or waiting");
    Ok(())
}
