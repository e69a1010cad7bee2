//! What the compiler says to who uses the macros wrongly, and that right use compiles and runs.
//!
//! `ui/fail` holds one small file a mistake, named after it, and beside it the compiler's words;
//! they belong to the toolchain in which they were written down. To renew them:
//! `TRYBUILD=overwrite cargo test -p pool-tests --test ui`.

#[test]
fn ui() {
    let cases = trybuild::TestCases::new();
    cases.pass("ui/pass/*.rs");
    cases.compile_fail("ui/fail/*.rs");
}
