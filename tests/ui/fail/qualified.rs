use pool::{call, pool_job};

#[pool_job]
unsafe fn careless(a: u32) -> u32 {
    a
}

#[pool_job]
extern "C" fn foreign(a: u32) -> u32 {
    a
}

#[pool_job]
unsafe extern "C" fn variadic(a: u32, ...) -> u32 {
    a
}

fn main() {
    let _ = (call!(careless, 1), call!(foreign, 1), call!(variadic, 1));
}
