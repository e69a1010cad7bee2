//! Expansions compared with the files in `golden/`, so that what the macros emit changes only on
//! purpose. To renew the files: `POOL_GOLDEN=overwrite cargo test -p pool-macros`.

use std::path::Path;

use proc_macro2::TokenStream;

use crate::expand;

type Expand = fn(TokenStream, TokenStream) -> TokenStream;

/// Compares and gives the expansion; the name is that of the file.
#[track_caller]
fn check(name: &str, expand: Expand, args: &str, item: &str) -> String {
    let tokens = expand(args.parse().unwrap(), item.parse().unwrap());
    let text = prettyplease::unparse(&syn::parse2(tokens).unwrap());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/golden/{name}.rs"));
    if std::env::var_os("POOL_GOLDEN").is_some_and(|mode| mode == "overwrite") {
        std::fs::write(&path, &text).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        text == wanted,
        "{} differs from this expansion (POOL_GOLDEN=overwrite accepts it):\n{text}",
        path.display()
    );
    text
}

#[test]
fn job() {
    let item = "
        /// Adds.
        #[must_use]
        pub(crate) fn add(a: u32, _: u32) -> u32 { a }";
    check("job", expand::job, "", item);
}

#[test]
fn job_without_parameters() {
    check("job_without_parameters", expand::job, "", "fn stop() -> ! { loop {} }");
}

#[test]
fn job_with_all_options() {
    let args =
        r#"name = "resize", timeout = "90m", retries = 2, priority = "low", marker = Resize"#;
    let item = "
        #[cfg(unix)]
        pub async fn resize(ctx: &JobContext, path: &Path, mut bytes: Vec<u8>) -> Vec<u8> { bytes }";
    check("job_with_all_options", expand::job, args, item);
}

#[test]
fn job_with_state() {
    let item = "
        async fn ask(#[state] model: &Model, ctx: &JobContext, #[state] _: &Rc<Cache>, q: u8) {}";
    check("job_with_state", expand::job, "", item);
}

#[test]
fn job_rejected() {
    let item = "fn sort<T: Ord>(ctx: &JobContext, #[state(x)] s: &mut S, items: &mut [T]) -> &T { &items[0] }";
    check("job_rejected", expand::job, "speed = 1", item);
}

#[test]
fn job_in_an_impl() {
    check("job_in_an_impl", expand::job, "", "fn add(&self, a: u32) {}");
}

#[test]
fn main() {
    check("main", expand::main, "", "fn main() -> Result<(), E> { work()?; Ok(()) }");
}

#[test]
fn main_async() {
    let item = "async fn main() -> Result<(), E> { work().await?; Ok(()) }";
    check("main_async", expand::main, "worker_threads = 4", item);
}

#[test]
fn test() {
    check("test", expand::test, "", "#[ignore] #[should_panic] fn works() { panic!() }");
}

#[test]
fn test_async() {
    let args = r#"flavor = "multi_thread""#;
    check("test_async", expand::test, args, "async fn works() { work().await }");
}

#[test]
fn state() {
    check(
        "state",
        expand::worker::state,
        "",
        "#[cfg(unix)] fn model() -> Result<Model, E> { load() }",
    );
}

#[test]
fn worker_start() {
    let item = "fn logger() -> Result<(), E> { init() }";
    check("worker_start", expand::worker::worker_start, "", item);
}

#[test]
fn no_expansion_names_the_default_crate_when_another_is_given() {
    let main = "async fn main() {}";
    let cases: [(Expand, &str); 8] = [
        (
            expand::job,
            "async fn add(ctx: &JobContext, #[state] s: &S, a: u32, b: &[u8]) -> Vec<u8> { loop {} }",
        ),
        (expand::job, "fn refused(a: &mut u32) {}"),
        (expand::main, main),
        (expand::test, main),
        (expand::worker::state, "fn model() -> Model { load() }"),
        (expand::worker::state, "fn refused(a: u32) -> Model { load() }"),
        (expand::worker::worker_start, "fn start() {}"),
        (expand::worker::worker_start, "fn refused(a: u32) {}"),
    ];
    for (expand, item) in cases {
        for args in ["crate = vendor::processes", "crate = \"vendor::processes\""] {
            let text = expand(args.parse().unwrap(), item.parse().unwrap()).to_string();
            let text = text.replace(' ', "");
            assert!(!text.contains("::pool::"), "{text}");
            assert!(text.contains("vendor::processes::__private") || item.contains("refused"));
        }
    }
}

#[test]
fn every_expansion_keeps_the_users_function() {
    let cases: [(Expand, &str); 5] = [
        (expand::job, "fn refused<T>(a: &mut T) -> impl Sized { body(a) }"),
        (expand::main, "fn refused(a: u32) { body(a) }"),
        (expand::test, "async fn refused(a: u32) { body(a) }"),
        (expand::worker::state, "async fn refused(a: u32) { body(a) }"),
        (expand::worker::worker_start, "async fn refused(a: u32) { body(a) }"),
    ];
    for (expand, item) in cases {
        let text = expand("speed = 1".parse().unwrap(), item.parse().unwrap()).to_string();
        assert!(text.contains("body (a)"), "{text}");
        // At least the option and one more: all mistakes are told at once.
        assert!(text.matches("compile_error").count() >= 2, "{text}");
    }
}

#[test]
fn an_attribute_that_makes_a_runtime_is_refused_and_left_out() {
    let cases: [(Expand, &str, bool); 9] = [
        (expand::main, "tokio::main", true),
        (expand::main, "::async_std::main", true),
        (expand::main, "tokio::test", true),
        (expand::test, "tokio::test", true),
        (expand::test, "actix_rt::test", true),
        // What these do cannot be known.
        (expand::main, "main", false),
        (expand::main, "my::tokio::main", false),
        (expand::main, "test_log::test", false),
        (expand::test, "tokio::instrument", false),
    ];
    for (expand, path, refused) in cases {
        let item = format!("#[{path}(flavor = \"local\")] async fn main() {{ work().await }}");
        let text = expand(TokenStream::new(), item.parse().unwrap()).to_string();
        assert_eq!(text.matches("compile_error").count(), usize::from(refused), "{text}");
        assert_eq!(text.contains("\"local\""), !refused, "{text}");
    }
}
