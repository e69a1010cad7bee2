#[pool::main]
#[tokio::main]
async fn main() {}

#[pool::main(worker_threads = 0)]
#[async_std::main]
async fn other_runtime() {}

#[pool::test]
#[tokio::test(flavor = "multi_thread")]
async fn test() {}

#[pool::test]
#[ignore]
#[actix_rt::test]
async fn test_of_another_runtime(_: u32) {}

#[pool::test]
#[test]
fn twice() {}
