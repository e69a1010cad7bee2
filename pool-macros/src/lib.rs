//! The macros of the `pool-runtime` crate, which re-exports them: use them as
//! `pool::pool_job`, `pool::main`, `pool::test`, `pool::state` and `pool::worker_start`.
//!
//! Each expansion is the item as it was written, and as little beside it as will do; everything
//! it names is `::pool::__private`, or lies under the path given with `crate = path`.

mod args;
mod expand;
#[cfg(test)]
mod golden;
mod model;
mod shape;

use proc_macro::TokenStream;

/// Makes a free function a job: workers can run it, [`call!`] and [`submit!`] know it by its path.
///
/// The function stays what it was and can be called directly. Beside it stands a hidden type of
/// the same name (a type and a function do not meet), which the macros use as the path.
///
/// # Options
///
/// | option | meaning |
/// |---|---|
/// | `name = "…"` | the job's name; without it, the full path of the function |
/// | `timeout = "30s"` | how long one attempt may run: a whole number and `ms`, `s`, `m` or `h` |
/// | `retries = 2` | how many attempts may follow the first, after a crash or a timeout |
/// | `priority = "high"` | the queue it waits in: `low`, `normal` or `high` |
/// | `marker = Ident` | the name of the hidden type, where the function's is taken by another type or module |
/// | `crate = path` | where the crate `pool` is, if not at `::pool`; in quotes or without |
///
/// What a call says comes before what is said here, and that before what the pool says.
///
/// # Parameters and output
///
/// The function may be `async` (its future need not be `Send`) and private, and may stand in any
/// module or function body. A parameter is a plain name or `_`, and its type is one of these:
///
/// | parameter | meaning |
/// |---|---|
/// | `x: T` | sent; `T: Serialize + DeserializeOwned` |
/// | `x: &T` | sent borrowed, received in its owned form and lent (`&str`, `&[T]`, `&Path`, `&Config`) |
/// | `ctx: &JobContext` | not sent: the context of the running job, known by the last word of its path |
/// | `#[state] s: &T` | not sent: the worker's value of type `T`, which a [`state`](macro@state) function makes |
///
/// The output is any `T: Serialize + DeserializeOwned`; `-> !` counts as `()`. `Vec<u8>` and
/// `&[u8]` as a whole parameter or output travel as bytes, not as a list.
///
/// Values travel as MessagePack, which has one nil: `Some(None)` of an `Option<Option<T>>` and
/// `Some(())` arrive as `None`. Use an enum of your own where that matters.
///
/// # Errors
///
/// Refused with the reason and the way out: generic functions, `self`, `impl Trait`, `dyn Trait`,
/// patterns, a second context, `&mut T`, named lifetimes, references inside other types or in the
/// output, `unsafe`, `extern` and variadic functions, unknown options. A type that cannot be sent
/// is the compiler's error at that type. A function in an `impl` block is the compiler's error as
/// well: an attribute cannot see where it stands.
///
/// # Examples
///
/// ```no_run
/// use std::path::Path;
/// use pool::{Failure, pool_job, submit};
///
/// #[pool_job(timeout = "30s", retries = 2)]
/// fn crop(path: &Path, bytes: usize) -> Result<u64, Failure> {
///     let image = std::fs::read(path)?;
///     std::fs::write(path, &image[..bytes])?;
///     Ok(bytes as u64)
/// }
///
/// #[pool::main]
/// async fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let bytes = submit!(crop, Path::new("a.png"), 100).await??;
///     println!("{bytes} bytes are left");
///     Ok(())
/// }
/// ```
///
/// [`call!`]: https://docs.rs/pool-runtime/latest/pool/macro.call.html
/// [`submit!`]: https://docs.rs/pool-runtime/latest/pool/macro.submit.html
#[proc_macro_attribute]
pub fn pool_job(args: TokenStream, item: TokenStream) -> TokenStream {
    expand::job(args.into(), item.into()).into()
}

/// Lets the workers of a program start at its `main`, which may be `async`.
///
/// The first action of the program is then to see whether it was started as a worker: if so, it
/// serves and exits, and nothing of the function runs. When the function ends, by return or by
/// panic, the global pool is shut down.
///
/// # Options
///
/// | option | meaning |
/// |---|---|
/// | `flavor = "…"` | `"multi_thread"` (the default) or `"current_thread"`: the tokio runtime of an `async fn` |
/// | `worker_threads = 4` | threads of that runtime, with `"multi_thread"` |
/// | `crate = path` | where the crate `pool` is, if not at `::pool` |
///
/// `#[tokio::main]` below this attribute is refused: the runtime is made here. For another runtime,
/// or one with other options, leave `async` away and block on that runtime in the function.
///
/// # Panics
///
/// If the tokio runtime of an `async fn` cannot be built.
///
/// # Examples
///
/// ```
/// # #[pool::pool_job]
/// # fn add(a: u32, b: u32) -> u32 { a + b }
/// #[pool::main]
/// async fn main() -> Result<(), pool::JobError> {
///     println!("{}", pool::submit!(add, 1, 2).await?);
///     Ok(())
/// }
/// ```
#[proc_macro_attribute]
pub fn main(args: TokenStream, item: TokenStream) -> TokenStream {
    expand::main(args.into(), item.into()).into()
}

/// A test that may use a pool: `#[test]`, and a place where the test binary can be entered as a
/// worker. The function may be `async`.
///
/// One such test in a binary is enough for all of its workers. The end of a test does not end
/// the global pool, which its neighbours use as well.
///
/// # Options
///
/// Those of [`main`](macro@main); the default `flavor` is `"current_thread"`, as with tokio.
/// `#[ignore]` and `#[should_panic]` work as with `#[test]`.
///
/// # Examples
///
/// ```test_harness
/// # #[pool::pool_job]
/// # fn add(a: u32, b: u32) -> u32 { a + b }
/// #[pool::test]
/// async fn adds() {
///     assert_eq!(pool::submit!(add, 1, 2).await.unwrap(), 3);
/// }
/// ```
#[proc_macro_attribute]
pub fn test(args: TokenStream, item: TokenStream) -> TokenStream {
    expand::test(args.into(), item.into()).into()
}

/// A function that each worker runs before its first job: logger, panic hook, limits.
///
/// It is `fn()` or `fn() -> Result<(), E>` with `E: Display`. There may be any number of them, in
/// no order. One that fails, fails the start of the worker. The only option is `crate = path`.
///
/// # Examples
///
/// ```
/// #[pool::worker_start]
/// fn logger() -> Result<(), std::io::Error> {
///     // env_logger::try_init()
///     Ok(())
/// }
/// # fn main() {}
/// ```
#[proc_macro_attribute]
pub fn worker_start(args: TokenStream, item: TokenStream) -> TokenStream {
    expand::worker::worker_start(args.into(), item.into()).into()
}

/// A function that makes a value which a worker keeps for its jobs: a model, a connection, a cache.
///
/// It is `fn() -> T`, or `fn() -> Result<T, E>` with `E: Display`, for any `T: 'static` of any
/// crate; `T` need be neither `Send` nor `Sync`. A job asks for the value by a parameter
/// `#[state] s: &T`, which its caller does not pass. The only option is `crate = path`.
///
/// # The life of a state
///
/// Each worker has its own value of each type. It is made when the first job in that worker asks
/// for it, on the worker's one thread and after the job's arguments were read; the time that it takes
/// counts to that job's timeout. From then on every job in that worker that asks gets the same
/// value, async jobs too. A worker that replaces another one begins without any.
///
/// A job that changes the value (through a `Cell`, `RefCell` or `Mutex`) changes it for the jobs
/// after it, in that worker only. A job that panics leaves it as it is then, half changed or not.
/// The value is never dropped: the process of a worker ends without that. What has to be finished
/// at the end of a job, such as a buffered file, is the job's to finish.
///
/// A maker cannot ask for another state. One that needs the same thing calls the other function
/// for a value of its own, or both are made as one type.
///
/// # Errors
///
/// A maker that returns an error or panics is called again by the next job that asks. The job at
/// hand gets `JobErrorKind::State`, and so it does where no function makes the type or more than
/// one does; the text names type, job, places and the way out. Neither the worker nor other jobs
/// suffer. (A program built with `panic = "abort"` loses the worker to the maker's panic, which is
/// reported as `Panicked`.)
///
/// Refused at compile time: parameters, generic and `async` functions, `-> ()`, `-> impl Trait`;
/// at a job, a `#[state]` parameter that is no plain `&T` with a sized `T`.
///
/// # Examples
///
/// ```
/// use std::collections::HashMap;
///
/// struct Words(HashMap<String, u32>);
///
/// #[pool::state]
/// fn words() -> std::io::Result<Words> {
///     let text = std::fs::read_to_string("words.txt")?;
///     Ok(Words(text.lines().zip(0..).map(|(word, n)| (word.to_owned(), n)).collect()))
/// }
///
/// #[pool::pool_job]
/// fn number_of(#[state] words: &Words, word: &str) -> Option<u32> {
///     words.0.get(word).copied()
/// }
///
/// // The caller passes the word only.
/// let call = pool::call!(number_of, "house");
/// # drop(call);
/// ```
#[proc_macro_attribute]
pub fn state(args: TokenStream, item: TokenStream) -> TokenStream {
    expand::worker::state(args.into(), item.into()).into()
}
