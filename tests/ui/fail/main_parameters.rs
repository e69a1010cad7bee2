#[pool::main(worker_threads = 2)]
fn main(arguments: Vec<String>) {
    let _ = arguments.len();
}
