use pool::{call, pool_job};

#[pool_job]
fn longest<'a>(a: &'a str, b: &'static str) -> usize {
    a.len().max(b.len())
}

fn main() {
    let _ = call!(longest, "a", "b");
}
