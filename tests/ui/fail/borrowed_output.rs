use pool::{call, pool_job};

#[pool_job]
fn trim(text: &str) -> &str {
    text.trim()
}

#[pool_job]
fn split(text: &str) -> Vec<&str> {
    text.split(' ').collect()
}

fn main() {
    let _ = (call!(trim, "a"), call!(split, "a b"));
}
