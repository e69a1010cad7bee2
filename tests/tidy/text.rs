//! The shape of files, their names, and what the texts of the project say about each other.

use super::report;
use super::source::{self, Token, tokens};

/// A file that is longer is two rooms.
const MAX_LINES: usize = 500;
/// The same for a file of nothing but tests.
const MAX_TEST_LINES: usize = 800;

#[test]
fn no_file_is_too_long() {
    let mut findings = Vec::new();
    for source in source::all() {
        let length = source.length();
        if length > if source.is_test { MAX_TEST_LINES } else { MAX_LINES } {
            findings.push(format!("{}: {length} lines", source.path));
        }
    }
    report("too long, tests aside: find the second noun in it", findings);
}

#[test]
fn every_file_says_what_it_is() {
    let silent = |text: &str| !text.trim_start_matches("#![no_main]").trim().starts_with("//!");
    let sources = source::all().into_iter().filter(|source| silent(&source.text));
    report("begin with `//!`", sources.map(|source| source.path).collect());
}

#[test]
fn a_mod_file_holds_prose_and_declarations_only() {
    let mut findings = Vec::new();
    for source in source::all().iter().filter(|source| source.path.ends_with("/mod.rs")) {
        for item in items(&source.tokens()) {
            let plain = matches!(item, "mod" | "use" | "const" | "type" | "");
            if !plain {
                findings.push(format!("{}: an item that begins with `{item}`", source.path));
            }
        }
    }
    report("move it into a file that is named after it", findings);
}

/// The first word of every item, attributes and visibility aside. Right for the items that are
/// allowed; anything else gives words that are not.
fn items<'a>(tokens: &[Token<'a>]) -> Vec<&'a str> {
    let mut items = Vec::new();
    let mut depth = 0_usize;
    let mut is_start = true;
    let mut previous = Token::Mark(';');
    for &token in tokens {
        match token {
            Token::Mark('[' | '{' | '(') => depth += 1,
            Token::Mark(']' | '}' | ')') => {
                depth = depth.saturating_sub(1);
                // An attribute, or what is not allowed anyway.
                is_start |= depth == 0 && token != Token::Mark(')') && previous != Token::Mark(',');
            }
            Token::Mark(';') if depth == 0 => is_start = true,
            Token::Word("pub") if depth == 0 => is_start = true,
            Token::Word(word) if depth == 0 && is_start => {
                items.push(word);
                is_start = false;
            }
            _ => {}
        }
        previous = token;
    }
    items
}

#[test]
fn names_say_what_is_in_it() {
    const EMPTY: &[&str] = &["utils", "util", "common", "helpers", "types", "manager", "misc"];
    let mut findings = Vec::new();
    for source in source::all() {
        let stem = source.path.trim_end_matches(".rs");
        let empty = stem.split('/').find(|name| EMPTY.contains(name));
        findings.extend(empty.map(|name| format!("{}: `{name}`", source.path)));
        if source.path.ends_with("src/core.rs") {
            findings.push(format!("{}: hides the crate of that name", source.path));
        }
    }
    report("a name that says nothing", findings);
}

#[test]
fn no_text_knows_a_machine() {
    // In two parts, so that this file does not find itself.
    let homes = [["/ho", "me/"].concat(), ["/ro", "ot/"].concat(), ["/wo", "rk/"].concat()];
    let mut findings = Vec::new();
    for (path, text) in source::all_texts() {
        for (n, line) in text.lines().enumerate() {
            for home in &homes {
                let found = line.match_indices(home.as_str()).any(|(at, _)| {
                    let before = line[..at].chars().next_back().unwrap_or(' ');
                    !before.is_alphanumeric() && !"._-/*}".contains(before)
                });
                if found {
                    findings.push(format!("{path}:{}: {home}", n + 1));
                }
            }
        }
    }
    report("an absolute path of some machine", findings);
}

#[test]
fn the_readme_names_the_test_command_that_ci_runs() {
    let readme = read("README.md");
    let ci = read(".ci/run");
    for begin in ["cargo run --example", "cargo test"] {
        let command = readme.lines().map(str::trim).find(|line| line.starts_with(begin));
        let command = command.unwrap_or_else(|| panic!("README.md has no line `{begin} …`"));
        if begin == "cargo test" {
            assert!(ci.contains(command), ".ci/run does not run `{command}`");
        }
    }
}

#[test]
fn the_map_knows_every_room() {
    let map = read("pool-runtime/ARCHITECTURE.md");
    let mut findings = Vec::new();
    for source in source::library() {
        let place = source.place();
        let name = place.rsplit('/').next().unwrap_or(place);
        if !map.contains(name) {
            findings.push(format!("{place} is not in pool-runtime/ARCHITECTURE.md"));
        }
    }
    report("the map is out of date", findings);
}

#[test]
fn the_tests_that_the_map_and_the_security_page_rely_on_exist() {
    let map = read("pool-runtime/ARCHITECTURE.md");
    let (_, absent) = map.split_once("## What is deliberately absent").expect("it says so");
    let claims = [absent, &read("SECURITY.md")].concat();
    report("no test of that name", missing_tests(&claims));
}

/// What is named as a test in a text, and is none.
fn missing_tests(claims: &str) -> Vec<String> {
    // Names of tests are sentences: long, and without any mark.
    let quoted = claims.split('`').skip(1).step_by(2);
    let is_sentence = |name: &str| {
        let plain = name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        plain && name.matches('_').count() >= 3 && name != "max_jobs_per_worker"
    };
    let sources = source::all();
    let exists = |name: &str| {
        let head = format!("fn {name}(");
        sources.iter().any(|source| source.text.contains(&head))
    };
    quoted.filter(|name| is_sentence(name) && !exists(name)).map(str::to_owned).collect()
}

#[test]
fn the_table_of_the_contract_names_files_and_tests_that_exist() {
    let table = read("tests/CONTRACT.md");
    let mut findings = Vec::new();
    let sources = source::all();
    for row in table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| section"))
    {
        let proofs = row.trim_end_matches('|').rsplit('|').next().unwrap_or_default();
        let mut path = String::new();
        let mut tests = 0;
        for quoted in proofs.split('`').skip(1).step_by(2) {
            // The file is named once, before its tests.
            if quoted.contains(['.', '/']) {
                path = format!("tests/{quoted}").replace("tests/../", "");
                let is_file = source::root().join(&path).exists();
                // Those of `ui` are a test each.
                let is_proof = path.starts_with("tests/ui/") || !path.ends_with(".rs");
                tests += usize::from(is_file && is_proof);
                findings.extend((!is_file).then(|| format!("there is no {path}: {row}")));
                continue;
            }
            tests += 1;
            let head = format!("fn {quoted}(");
            let holds =
                |source: &source::Source| source.path == path && source.text.contains(&head);
            if !sources.iter().any(holds) {
                findings.push(format!("no test {quoted} in {path}"));
            }
        }
        findings.extend((tests == 0).then(|| format!("nothing proves: {row}")));
    }
    report("tests/CONTRACT.md is out of date", findings);
}

#[test]
fn the_contract_test_uses_every_public_item() {
    let lib = source::library().into_iter().find(|source| source.path.ends_with("src/lib.rs"));
    let lib = lib.expect("the library has a door");
    let used: String =
        ["", "/jobs", "/shapes"].map(|part| read(&format!("tests/contract{part}.rs"))).concat();
    let used = tokens(&used);
    let mut findings = Vec::new();
    for exported in lib.code.split("pub use ").skip(1) {
        let (names, _) = exported.split_once(';').unwrap_or((exported, ""));
        let names = names.rsplit("::").next().unwrap_or_default();
        let names = tokens(names).into_iter().filter(|token| matches!(token, Token::Word(_)));
        for name in names.filter(|name| !used.contains(name)) {
            findings.push(format!("{name:?}"));
        }
    }
    report("public, and not used in tests/contract.rs", findings);
}

#[test]
fn every_example_says_what_it_shows_and_is_built() {
    let manifest = read("examples/Cargo.toml");
    let mut findings = Vec::new();
    for source in source::all() {
        if let Some(name) = source.path.strip_prefix("examples/") {
            if !manifest.contains(&format!("path = \"{name}\"")) {
                findings.push(format!("{name} is not in examples/Cargo.toml"));
            }
        }
    }
    report("an example that nobody runs", findings);
}

fn read(path: &str) -> String {
    let path = source::root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn items_are_found_behind_attributes_and_visibility() {
    let code = "#![deny(x)] mod a; #[cfg(unix)] pub(crate) use b::{c, d}; const E: [u8; 2] = [1]; \
                pub fn f() {} struct G;";
    assert_eq!(items(&tokens(code)), ["mod", "use", "const", "fn", "struct"]);
}
