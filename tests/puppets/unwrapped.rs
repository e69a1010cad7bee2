//! A program that forgot `#[pool::main]`: it says what it is told.

use pool::{Pool, pool_job, submit};

#[pool_job]
fn add(a: u32, b: u32) -> u32 {
    a + b
}

fn main() {
    println!("main runs");
    match Pool::new(2) {
        Ok(_) => println!("pool: built"),
        Err(error) => println!("pool: {error}"),
    }
    match Pool::try_global() {
        Ok(_) => println!("global: built"),
        Err(error) => println!("global: {error}"),
    }
    match submit!(add, 1, 2).wait() {
        Ok(sum) => println!("submit: {sum}"),
        Err(error) => println!("submit: {error}"),
    }
}
