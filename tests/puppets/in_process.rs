//! A program whose `main` nobody wrapped and whose jobs run on threads of its own process, for
//! tools that look at one process.
//!
//! `sum`: jobs of every kind, and nothing is wrong with them. `stray`: a job that reads what it has
//! given back. `abort`: a job that aborts. `panic`: one that panics, and a thread that does.

use pool::{JobContext, Pool, call, pool_job, submit};

/// What a breakpoint is set at.
#[pool_job]
#[inline(never)]
fn watched_job(a: u32, b: u32) -> u32 {
    std::hint::black_box(a + b)
}

#[pool_job]
async fn waits(ctx: &JobContext) -> u32 {
    std::future::ready(()).await;
    ctx.attempt()
}

#[pool_job]
#[inline(never)]
fn stray_job() -> u32 {
    let given_back = {
        let numbers = std::hint::black_box(vec![7_u32; 4]);
        numbers.as_ptr()
    };
    stray_read(given_back)
}

#[expect(unsafe_code, reason = "a mistake to be found")]
fn stray_read(at: *const u32) -> u32 {
    // SAFETY: none; a checker has to notice.
    unsafe { at.read_volatile() }
}

#[pool_job]
fn aborts() {
    std::process::abort();
}

#[pool_job]
fn panics() {
    panic!("in a job");
}

fn main() {
    let how = std::env::args().nth(1).unwrap_or_default();
    if how == "panic" {
        std::panic::set_hook(Box::new(|info| println!("the program's hook: {info}")));
    }
    let pool = Pool::builder().workers(2).in_process().build().unwrap();
    match how.as_str() {
        "sum" => {
            let sums = pool.map((0..20).map(|n| call!(watched_job, n, 1)));
            let sum: u32 = sums.blocking().map(Result::unwrap).sum();
            println!("sum: {sum}, attempt: {}", submit!(pool => waits).wait().unwrap());
        }
        "stray" => println!("stray: {}", submit!(pool => stray_job).wait().unwrap()),
        "abort" => println!("abort: {:?}", submit!(pool => aborts).wait()),
        "panic" => {
            println!("job: {}", submit!(pool => panics).wait().unwrap_err());
            let _ = std::thread::spawn(|| panic!("on a thread")).join();
        }
        other => println!("{other:?} is not known"),
    }
    pool::block_on(pool.shutdown_async());
}
