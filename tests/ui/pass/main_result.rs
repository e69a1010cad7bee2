//! `main` in its other shapes.

#![deny(warnings)]

#[derive(Debug)]
struct Failed;

impl From<std::fmt::Error> for Failed {
    fn from(_: std::fmt::Error) -> Self {
        Failed
    }
}

#[pool::main]
fn main() -> Result<(), Failed> {
    if std::env::args().count() > 100 {
        Err(std::fmt::Error)?;
    }
    boxed().map_err(|_| Failed)?;
    let _: fn() -> ! = never;
    Ok(())
}

#[pool::main(worker_threads = 1)]
async fn boxed() -> Result<(), Box<dyn std::error::Error>> {
    if std::env::args().count() > 100 {
        return Err("too many".into());
    }
    std::future::ready(()).await;
    Ok(())
}

#[pool::main]
async fn never() -> ! {
    std::process::exit(0)
}
