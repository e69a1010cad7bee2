use pool::{call, pool_job};

#[pool_job]
fn shout(text: impl Into<String>, times: u32) -> impl ToString {
    text.into().repeat(times as usize)
}

fn main() {
    let _ = call!(shout, "a", 2);
}
