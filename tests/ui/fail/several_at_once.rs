use pool::{call, pool_job};

#[pool_job(retries = -1, prio = "high")]
unsafe fn all<T>((_a, _b): (u32, u32), _c: &mut String, _d: &[&T]) -> impl Sized {
}

fn main() {
    let _ = call!(all, (1, 2), &mut String::new(), &[&1u8]);
}
