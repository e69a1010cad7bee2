use pool::{call, pool_job};

#[pool_job]
fn add(a: u32, #[cfg(all())] b: u32) -> u32 {
    a + b
}

fn main() {
    let _ = call!(add, 1, 2);
}
