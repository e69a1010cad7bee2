use pool::{call, pool_job};

#[pool_job]
fn first<T: Clone, const N: usize>(items: [T; N]) -> T
where
    T: Default,
{
    items.first().cloned().unwrap_or_default()
}

fn main() {
    let _ = call!(first, [1]);
}
