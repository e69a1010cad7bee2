#[pool::pool_job]
struct Add;

trait Adds {
    #[pool::pool_job]
    fn add(a: u32) -> u32;
}

#[pool::main]
static MAIN: u32 = 1;

fn main() {
    let _ = Add;
}
