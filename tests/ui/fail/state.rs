use std::path::Path;

use pool::{JobContext, call, pool_job};

struct Model;

#[pool_job]
fn taken(#[state] model: Model, #[state(big)] other: &mut Model, epochs: u32) -> u32 {
    let _ = (model, other);
    epochs
}

#[pool_job]
fn unsized_types(#[state] a: &str, #[state] b: &[u8], #[state] c: &dyn ToString) {
    let _ = (a, b, c);
}

#[pool_job]
fn unnamed(#[state] a: &impl Sized, #[state] ctx: &JobContext, #[state] b: &'static Model) {
    let _ = (a, ctx, b);
}

#[pool_job]
fn unsized_path(#[state] path: &Path) {
    let _ = path;
}

fn main() {
    // None of them is passed, refused or not.
    let _ = (call!(taken, 1), call!(unsized_types), call!(unnamed));
}
