//! The rules of the house, as tests over the source text.
//!
//! `pool-runtime/ARCHITECTURE.md` says why each of them is there. A rule reads files and never
//! compiles anything, so all of them together take less than a second: they run first.

mod circles;
mod floors;
mod source;
mod text;
mod words;

/// Fails with all findings at once, one a line.
fn report(rule: &str, findings: Vec<String>) {
    assert!(findings.is_empty(), "{rule}:\n  {}\n", findings.join("\n  "));
}
