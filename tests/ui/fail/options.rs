use pool::{call, pool_job};

#[pool_job(name = "", timeout = "30 seconds", retries = "2", priority = "urgent", retry = 1, marker)]
fn add(a: u32, b: u32) -> u32 {
    a + b
}

#[pool_job(timeout = "0s", timeout = "1s" "2s")]
fn sub(a: u32, b: u32) -> u32 {
    a - b
}

fn main() {
    let _ = (call!(add, 1, 2), call!(sub, 2, 1));
}
