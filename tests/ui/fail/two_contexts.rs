use pool::{JobContext, call, pool_job};

#[pool_job]
fn twice(first: &JobContext, number: u32, second: &pool::JobContext) -> u32 {
    let _ = (first, second);
    number
}

fn main() {
    let _ = call!(twice, 1);
}
