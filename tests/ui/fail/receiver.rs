use pool::pool_job;

struct Counter;

impl Counter {
    #[pool_job]
    fn count(&self, by: u32) -> u32 {
        by
    }
}

fn main() {}
