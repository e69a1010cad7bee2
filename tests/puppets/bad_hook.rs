//! A program whose start hook does what the variable `HOOK` says.

use pool::{JobErrorKind, Pool, pool_job, submit};

#[pool::worker_start]
fn hook() -> Result<(), String> {
    match std::env::var("HOOK").as_deref() {
        Ok("fail") => Err("no licence".to_owned()),
        Ok("panic") => panic!("no patience"),
        Ok("exit") => std::process::exit(9),
        _ => Ok(()),
    }
}

#[pool_job]
fn add(a: u32, b: u32) -> u32 {
    a + b
}

#[pool::main]
fn main() {
    let pool = match Pool::new(1) {
        Ok(pool) => pool,
        Err(error) => return println!("pool: {error}"),
    };
    match submit!(pool => add, 1, 2).wait() {
        Ok(sum) => println!("job: {sum}"),
        Err(error) => match error.kind() {
            JobErrorKind::WorkerStart(text) => println!("job: WorkerStart {text}"),
            _ => println!("job: {error}"),
        },
    }
    match pool::block_on(pool.ready()) {
        Ok(()) => println!("ready"),
        Err(error) => println!("ready: {error}"),
    }
}
