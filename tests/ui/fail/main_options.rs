#[pool::main(flavor = "many_threads", worker_threads = 0, name = "x")]
async fn main() {}
