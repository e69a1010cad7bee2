#[pool::main(flavor = "current_thread", worker_threads = 2)]
async fn main() -> impl std::process::Termination {
    std::process::ExitCode::SUCCESS
}
