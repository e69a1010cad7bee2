use pool::{call, pool_job};

#[pool_job]
fn add((a, b): (u32, u32), ref c: u32, d @ 0..: u32) -> u32 {
    a + b + c + d
}

fn main() {
    let _ = call!(add, (1, 2), 3, 4);
}
