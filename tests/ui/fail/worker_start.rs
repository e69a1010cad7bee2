#[pool::worker_start]
async fn waits() {}

#[pool::worker_start]
fn configured(verbose: bool) {
    let _ = verbose;
}

#[pool::worker_start]
fn counted() -> u32 {
    1
}

struct NoText;

#[pool::worker_start]
fn fails() -> Result<(), NoText> {
    Err(NoText)
}

fn main() {}
