//! What a program takes in with the library, compared with `texts/dependencies.txt`: the packages
//! that are linked at run time or run at compile time, with their licences, and what each optional
//! feature adds. A package that is new there is new for every user: it comes in on purpose only.
//! To renew the file: `POOL_GOLDEN=overwrite cargo test -p pool-tests --test dependencies`.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// Names and licences, sorted. The same platform everywhere, so that the file is.
fn packages(features: &[&str]) -> BTreeSet<String> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["tree", "--package", "pool-runtime", "--edges", "normal,build", "--locked"]);
    cargo.args(["--target", "x86_64-unknown-linux-gnu", "--prefix", "none", "--no-dedupe"]);
    cargo.args(["--format", "{p}: {l}"]).args(features);
    let output = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo tree: {errors}");
    let found = String::from_utf8(output.stdout).unwrap();
    // `name v1.0.0 (proc-macro): MIT`; versions are the lock file's.
    let found: BTreeSet<String> = found
        .lines()
        .filter_map(|line| {
            let (package, licence) = line.rsplit_once(": ")?;
            Some(format!("{}: {licence}", package.split(' ').next()?))
        })
        .collect();
    assert!(found.iter().any(|line| line.starts_with("tokio: ")), "{found:?}");
    found
}

fn listed() -> String {
    let default = packages(&[]);
    let mut text = String::from("# always\n");
    let mut add = |packages: &mut dyn Iterator<Item = &String>| {
        for package in packages {
            text.push_str(package);
            text.push('\n');
        }
    };
    add(&mut default.iter());
    for feature in ["progress", "tracing"] {
        let more = packages(&["--features", feature]);
        add(&mut [format!("\n# more with `{feature}`")].iter());
        add(&mut more.difference(&default));
    }
    text
}

#[test]
fn no_package_comes_in_by_accident() {
    let text = listed();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("texts/dependencies.txt");
    if std::env::var_os("POOL_GOLDEN").is_some_and(|mode| mode == "overwrite") {
        std::fs::write(&path, &text).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(text == wanted, "{} differs; the packages are now:\n{text}", path.display());
}

/// Each may be used under terms that let a program be anything, as our own do.
#[test]
fn every_licence_goes_with_ours() {
    let all = packages(&["--all-features"]);
    let strange: Vec<_> = all.iter().filter(|line| !goes_with_ours(line)).collect();
    assert!(strange.is_empty(), "look at these before they come in: {strange:?}");
}

/// One of the alternatives has to be known, and all that it joins by `AND`.
fn goes_with_ours(line: &str) -> bool {
    const KNOWN: &[&str] =
        &["MIT", "Apache-2.0", "0BSD", "Zlib", "BSD-3-Clause", "Unicode-3.0", "ISC"];
    let Some((_, licence)) = line.split_once(": ") else { return false };
    let licence = licence.replace(['(', ')'], "").replace('/', " OR ");
    licence.split(" AND ").all(|part| part.split(" OR ").any(|name| KNOWN.contains(&name.trim())))
}

#[test]
fn a_licence_that_asks_for_more_is_noticed() {
    for fine in ["a: MIT", "a: MIT/Apache-2.0", "a: (MIT OR GPL-3.0) AND Unicode-3.0"] {
        assert!(goes_with_ours(fine), "{fine}");
    }
    for strange in ["a: GPL-3.0", "a: MIT AND GPL-3.0", "a: ", "a"] {
        assert!(!goes_with_ours(strange), "{strange}");
    }
}
