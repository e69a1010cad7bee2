//! The public surface of the library, compared with `pool-runtime/public-api.txt`: every item that
//! another crate can name, its methods, what is implemented for it, and its auto traits. So it
//! changes on purpose only, and a change is seen where it is read: in the difference of that file.
//! To renew the file: `POOL_GOLDEN=overwrite cargo test -p pool-tests --test public_api`.
//!
//! Items are read from the sources, so that it needs no other toolchain than the one at hand; auto
//! traits are what the compiler says.

mod auto_traits;
mod render;
mod source;

use std::collections::BTreeSet;
use std::path::Path;

use source::Library;

#[test]
fn the_public_api_is_the_one_that_was_written_down() {
    let auto_traits = auto_traits::of_all();
    let mut text = String::from(
        "// What other crates can name in `pool` (package pool-runtime). A line that goes or changes\n\
         // breaks programs. tests/public_api/main.rs says how this file is compared and renewed.\n",
    );
    let public = render::public(&Library::read("pool-runtime"));
    for item in &public {
        text.push('\n');
        if item.is_type {
            for (of, traits) in auto_traits.iter().filter(|(of, _)| base(of) == item.name) {
                text.push_str(&format!("// {of}: {traits}\n"));
            }
        }
        text.push_str(&item.texts.join("\n"));
        text.push('\n');
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pool-runtime/public-api.txt");
    if std::env::var_os("POOL_GOLDEN").is_some_and(|mode| mode == "overwrite") {
        std::fs::write(&path, &text).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    let gone: Vec<_> = wanted.lines().filter(|line| !text.lines().any(|l| l == *line)).collect();
    let new: Vec<_> = text.lines().filter(|line| !wanted.lines().any(|l| l == *line)).collect();
    assert!(
        text == wanted,
        "pool-runtime/public-api.txt differs (POOL_GOLDEN=overwrite accepts it):\n- {}\n+ {}",
        gone.join("\n- "),
        new.join("\n+ ")
    );
}

/// `JobHandle<u8>` is a `JobHandle`.
fn base(of: &str) -> &str {
    of.split(['<', ' ']).next().unwrap_or(of)
}

#[test]
fn every_public_type_has_its_auto_traits_looked_at() {
    let public = render::public(&Library::read("pool-runtime"));
    let types: BTreeSet<&str> =
        public.iter().filter(|item| item.is_type).map(|item| item.name.as_str()).collect();
    let probes = auto_traits::of_all();
    let probed: BTreeSet<&str> = probes.iter().map(|(of, _)| base(of)).collect();
    assert_eq!(probed, types, "the list is in tests/public_api/auto_traits.rs");
}

#[test]
fn the_reader_sees_through_imports_and_leaves_out_what_is_hidden() {
    let public = render::public(&Library::read("pool-runtime"));
    let find = |name: &str| public.iter().find(|item| item.name == name);
    let handle = find("JobHandle").expect("it is public").texts.concat();
    // Defined in one file, implemented in others, by names that were imported.
    for part in ["pub fn cancel(&self);", "pub fn progress(&self)", "impl<T> Drop for JobHandle<T>"]
    {
        assert!(handle.contains(part), "no {part:?} in:\n{handle}");
    }
    assert!(find("__private").is_none() && find("__called_directly!").is_none());
    assert!(find("submit!").is_some() && find("pool_job").is_some());
}
