//! A program of a stranger, with a `main` by the attribute or by hand, and its own global pool.
//!
//! The first argument says which; a second one makes no difference.

#![expect(clippy::unwrap_used, reason = "a puppet has nothing better to do with an error")]

use pool::{BuildError, JobError, JobErrorKind, Pool, pool_job, submit};

#[pool_job]
fn add(a: u32, b: u32) -> u32 {
    a + b
}

#[pool_job]
fn arguments() -> Vec<String> {
    std::env::args().skip(1).collect()
}

/// The names of things, as a program has them that renamed the dependency.
mod vendor {
    pub(crate) use ::pool as processes;
}

mod wrapped {
    use super::{JobError, vendor};

    #[pool::main(flavor = "multi_thread", worker_threads = 2, crate = vendor::processes)]
    pub(crate) async fn main() -> Result<(), JobError> {
        super::one_main();
        super::use_it().await
    }
}

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("by hand") => {
            pool::serve_if_worker();
            one_main();
            pool::block_on(use_it()).unwrap();
            pool::block_on(Pool::global().shutdown());
        }
        _ => wrapped::main().unwrap(),
    }
    println!("all is well");
}

fn one_main() {
    println!("one main ran");
}

async fn use_it() -> Result<(), JobError> {
    let global: Result<&'static Pool, BuildError> = Pool::builder().workers(2).build_global();
    let global: &'static Pool = global.unwrap();
    assert_eq!(submit!(add, 1, 2).await?, 3);
    assert_eq!(Pool::global().stats().succeeded, 1);
    let again: Result<&'static Pool, BuildError> = Pool::builder().build_global();
    assert!(again.is_err() && Pool::try_global().is_ok());
    assert_eq!(global.stats().workers.len(), 2);

    let me = std::env::current_exe().unwrap();
    let how = std::env::args().nth(1).unwrap();
    let own = Pool::builder().workers(1).executable(me).args([how.as_str(), "more"]);
    let own: Pool = own.build().unwrap();
    assert_eq!(submit!(own => arguments).await?, [how.as_str(), "more"]);

    let none = Pool::builder().workers(1).executable("/bin/false").build().unwrap();
    let error = submit!(none => add, 1, 2).await.unwrap_err();
    assert!(matches!(error.kind(), JobErrorKind::WorkerStart(_)), "{error}");
    Ok(())
}
