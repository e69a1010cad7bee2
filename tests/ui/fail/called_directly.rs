use pool::{call, pool_job, submit};

mod jobs {
    #[pool::pool_job]
    pub fn add(a: u32, b: u32) -> u32 {
        a + b
    }
}

#[pool_job]
fn nothing() {}

fn main() {
    let _ = call!(jobs::add(1, 2));
    let _ = submit!(jobs::add(1, 2));
    let _ = submit!(crate::nothing());
    let _ = submit!(::std::mem::drop(1));
    let _ = submit!(&pool => jobs::add(1, 2));
}
