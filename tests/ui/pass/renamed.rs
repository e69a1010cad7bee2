//! A dependency of another name, re-exported from a module.

mod vendor {
    pub use ::pool as processes;
}

mod pool {}

use vendor::processes;
use vendor::processes::{call, pool_job};

#[pool_job(crate = vendor::processes)]
fn add(a: u32, b: u32) -> u32 {
    a + b
}

#[pool_job(crate = "crate::vendor::processes", name = "subtract")]
async fn sub(a: u32, b: u32) -> u32 {
    a - b
}

#[processes::worker_start(crate = processes)]
fn prepare() {}

#[processes::main(crate = processes)]
fn main() {
    drop((call!(add, 1, 2), call!(sub, 2, 1)));
    let names: Vec<_> = processes::registered_jobs().map(|entry| entry.name()).collect();
    assert!(names.len() == 2 && names.contains(&"subtract"));
}
