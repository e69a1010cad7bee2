use pool::pool_job;

struct Model;

#[pool_job]
fn train(#[state] model: &Model, epochs: u32) -> u32 {
    let _ = model;
    epochs
}

fn main() {}
