// What a crate with strict lints may write.
#![forbid(unsafe_code)]
#![deny(warnings, missing_docs, missing_debug_implementations, unreachable_pub, private_interfaces)]
#![deny(unused_qualifications, let_underscore_drop, unused_results, single_use_lifetimes)]
//! Documented.

use std::path::Path;

use pool::{JobContext, call, pool_job};

/// Private, with a private type.
#[pool_job]
fn private(hidden: Hidden, ctx: &JobContext) -> Hidden {
    let _ = ctx;
    hidden
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Hidden(u32);

/// Modules.
pub mod jobs {
    /// Its own name.
    pub mod resize {
        /// Documented.
        #[pool::pool_job(marker = Resize)]
        pub fn resize(_: u32, mut width: u32) -> u32 {
            width += 1;
            width
        }
    }
    pub use resize::{Resize, resize};

    /// Never there.
    #[pool::pool_job]
    #[cfg(any())]
    pub fn absent(a: NoSuchType) {}

    /// Old.
    #[pool::pool_job]
    #[deprecated]
    pub fn old() {}

    #[pool::pool_job]
    pub(crate) async fn visible(text: &str) -> String {
        text.into()
    }

    #[pool::pool_job]
    pub(in crate::jobs) fn narrow() {}

    pub(super) fn calls_narrow() {
        drop(pool::call!(self::narrow));
        drop(pool::call!(super::private, super::Hidden(1)));
    }
}

macro_rules! job {
    ($name:ident, $parameter:ident: $type:ty, $body:expr) => {
        #[pool_job]
        fn $name($parameter: $type, other: u32) -> $type {
            let _ = other;
            $body
        }
    };
}

job!(twice, number: u64, number * 2);

macro_rules! job_of {
    ($name:ident, $parameter:ident: $type:ty, $context:ty, $output:ty, $body:expr) => {
        #[pool_job]
        fn $name($parameter: $type, _ctx: $context, _: u32, _1: u32, _: u32) -> $output {
            $body
        }
    };
}

job_of!(length, text: &str, &JobContext, usize, text.len());
job_of!(bytes, bytes: &[u8], &JobContext, Vec<u8>, bytes.to_vec());
job_of!(never, path: &Path, &JobContext, !, panic!("{}", path.display()));

/// Nothing but bytes.
#[pool_job]
fn reversed(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.reverse();
    bytes
}

macro_rules! called {
    ($job:path, $($args:tt)*) => {
        call!($job, $($args)*)
    };
}

impl Hidden {
    fn method(&self) {
        #[pool_job]
        fn inside(_path: &Path) -> ! {
            std::process::exit(0)
        }
        drop(call!(inside, Path::new("a")));
        let _ = self;
    }
}

#[pool::worker_start]
fn prepare() {}

#[pool::worker_start]
fn try_to_prepare() -> Result<(), std::io::Error> {
    Ok(())
}

#[pool::main(flavor = "current_thread")]
async fn main() -> Result<(), std::num::ParseIntError> {
    #[pool_job]
    fn local(text: String) -> Result<u32, String> {
        text.parse::<u32>().map_err(|error| error.to_string())
    }
    drop(call!(local, "1".into()));
    drop(call!(private, Hidden(1)));
    drop(call!(crate::jobs::Resize, 1, 2,));
    drop(call!(jobs::resize::Resize, 1, 2));
    drop(call!(jobs::visible, &String::from("a")));
    drop(called!(twice, 1, 2));
    drop(call!(length, "a", 1, 2, 3));
    drop(call!(bytes, b"a", 1, 2, 3));
    drop(call!(never, "a".as_ref(), 1, 2, 3));
    drop(call!(reversed, vec![1]));
    jobs::calls_narrow();
    Hidden(1).method();
    if jobs::resize(0, 1) == 0 {
        return Ok(());
    }
    assert_eq!(twice("2".parse()?, 0), 4);
    Ok(())
}
