use pool::{call, pool_job};

#[pool_job]
fn resize(path: &str, width: u32) -> u32 {
    path.len() as u32 * width
}

fn plain(width: u32) -> u32 {
    width
}

fn main() {
    let _ = call!(resize, "a", "b");
    let _ = call!(resize, "a");
    let _ = call!(plain, 1);
}
