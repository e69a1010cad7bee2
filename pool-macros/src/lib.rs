//! The macros of the `pool-runtime` crate, which re-exports them: use them as
//! `pool::pool_job`, `pool::main`, `pool::test` and `pool::worker_start`.
//!
//! Each expansion is the item as it was written, and as little beside it as will do; everything
//! it names is `::pool::__private`, or lies under the path given with `crate = path`.

mod args;
mod expand;
mod model;

use proc_macro::TokenStream;

/// Makes a function a job, which workers can run.
#[proc_macro_attribute]
pub fn pool_job(args: TokenStream, item: TokenStream) -> TokenStream {
    expand::job(args.into(), item.into()).into()
}

/// Wraps `main`.
#[proc_macro_attribute]
pub fn main(args: TokenStream, item: TokenStream) -> TokenStream {
    expand::main(args.into(), item.into()).into()
}

/// Wraps a test.
#[proc_macro_attribute]
pub fn test(args: TokenStream, item: TokenStream) -> TokenStream {
    expand::test(args.into(), item.into()).into()
}

/// Registers a hook.
#[proc_macro_attribute]
pub fn worker_start(args: TokenStream, item: TokenStream) -> TokenStream {
    expand::worker_start(args.into(), item.into()).into()
}
