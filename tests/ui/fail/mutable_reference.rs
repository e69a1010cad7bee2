use pool::{call, pool_job};

#[pool_job]
fn clear(text: &mut String) {
    text.clear();
}

fn main() {
    let _ = call!(clear, &mut String::new());
}
