//! No circles: among the files of one folder, imports go one way.

use std::collections::{BTreeMap, BTreeSet};

use super::report;
use super::source::{self, Token};

/// Folders and files that are allowed to know each other: they are one noun in several files.
/// Folder, files, reason.
const TOGETHER: &[(&str, &[&str], &str)] = &[];

/// First names of all paths that begin with `start`, as in `start::name` and
/// `start::{name, name::…}`.
pub(super) fn uses(tokens: &[Token<'_>], start: &str) -> Vec<String> {
    use Token::{Mark, Word};
    let mut names = Vec::new();
    for (i, window) in tokens.windows(3).enumerate() {
        if window != [Word(start), Mark(':'), Mark(':')] {
            continue;
        }
        // `$crate::…` in a macro, and `other::start::…`.
        let before = i.checked_sub(1).map(|n| tokens[n]);
        if matches!(before, Some(Mark('$' | ':'))) {
            continue;
        }
        names.extend(names_at(&tokens[i + 3..]));
    }
    names
}

/// The names at the beginning of a path: one, or those of a group.
fn names_at(tokens: &[Token<'_>]) -> Vec<String> {
    match tokens.first() {
        Some(Token::Word(name)) => vec![(*name).to_owned()],
        Some(Token::Mark('{')) => {
            let mut names = Vec::new();
            let mut depth = 0_usize;
            let mut expected = true;
            for &token in tokens {
                match token {
                    Token::Mark('{') => depth += 1,
                    Token::Mark('}') => {
                        depth -= 1;
                        if depth == 0 {
                            break;
                        }
                    }
                    Token::Mark(',') if depth == 1 => expected = true,
                    Token::Word(name) if depth == 1 && expected => {
                        names.push(name.to_owned());
                        expected = false;
                    }
                    _ => {}
                }
            }
            names
        }
        _ => Vec::new(),
    }
}

type Graph = BTreeMap<String, BTreeSet<String>>;

/// Who imports whom among the files (and folders) of each folder.
fn graphs() -> BTreeMap<String, Graph> {
    let sources = source::library();
    let mut graphs: BTreeMap<String, Graph> = BTreeMap::new();
    for source in &sources {
        let path = source.place().trim_end_matches(".rs").trim_end_matches("/mod");
        let parts: Vec<&str> = path.split('/').collect();
        // On every level from the root down: what does my ancestor there import of its siblings?
        for level in 0..parts.len() {
            let folder = parts[..level].join("/");
            let mut names = Vec::new();
            if level == 0 {
                names.extend(uses(&source.tokens(), "crate"));
            } else {
                let steps = parts.len() - level;
                let supers = vec!["super"; steps];
                names.extend(uses_of_path(&source.tokens(), &supers));
                let mut full = vec!["crate"];
                full.extend(&parts[..level]);
                names.extend(uses_of_path(&source.tokens(), &full));
            }
            let graph = graphs.entry(folder.clone()).or_default();
            let edges = graph.entry(parts[level].to_owned()).or_default();
            edges.extend(
                names
                    .into_iter()
                    .filter(|name| name != parts[level] && is_module(&sources, &folder, name)),
            );
        }
    }
    graphs
}

fn uses_of_path(tokens: &[Token<'_>], path: &[&str]) -> Vec<String> {
    let mut wanted = Vec::new();
    for part in path {
        wanted.extend([Token::Word(part), Token::Mark(':'), Token::Mark(':')]);
    }
    let mut names = Vec::new();
    for i in 0..tokens.len() {
        let before = i.checked_sub(1).map(|n| tokens[n]);
        if tokens[i..].starts_with(&wanted) && before != Some(Token::Mark(':')) {
            names.extend(names_at(&tokens[i + wanted.len()..]));
        }
    }
    names
}

fn is_module(sources: &[source::Source], folder: &str, name: &str) -> bool {
    let stem = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
    sources.iter().any(|source| {
        let place = source.place();
        place == format!("{stem}.rs") || place.starts_with(&format!("{stem}/"))
    })
}

#[test]
fn imports_of_neighbours_go_one_way() {
    let mut findings = Vec::new();
    let mut seen = vec![false; TOGETHER.len()];
    for (folder, graph) in graphs() {
        for circle in circles(&graph) {
            let known =
                TOGETHER.iter().position(|(place, files, _)| *place == folder && circle == *files);
            match known {
                Some(n) => seen[n] = true,
                None => {
                    let folder = if folder.is_empty() { "the root" } else { &folder };
                    findings.push(format!("{folder}: {}", circle.join(", ")));
                }
            }
        }
    }
    for (n, (folder, files, _)) in TOGETHER.iter().enumerate() {
        if !seen[n] {
            findings.push(format!("{folder}: no more a circle: {}", files.join(", ")));
        }
    }
    report("files that import each other: move what they share down", findings);
}

/// Groups of files that all reach each other.
fn circles(graph: &Graph) -> Vec<Vec<String>> {
    let reach: BTreeMap<&String, BTreeSet<&String>> =
        graph.keys().map(|from| (from, reachable(graph, from))).collect();
    let mut found: BTreeSet<Vec<String>> = BTreeSet::new();
    for (from, reached) in &reach {
        if reached.contains(from) {
            let mutual =
                reached.iter().filter(|to| reach.get(*to).is_some_and(|r| r.contains(from)));
            found.insert(mutual.map(|name| (*name).clone()).collect());
        }
    }
    found.into_iter().collect()
}

fn reachable<'a>(graph: &'a Graph, from: &String) -> BTreeSet<&'a String> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<&String> = graph.get(from).into_iter().flatten().collect();
    while let Some(next) = open.pop() {
        if reached.insert(next) {
            open.extend(graph.get(next).into_iter().flatten());
        }
    }
    reached
}

#[test]
fn a_circle_is_found() {
    let tokens =
        source::tokens("use super::{b::X, c}; use super::d::{e, f}; super::super::g::h();");
    assert_eq!(uses_of_path(&tokens, &["super"]), ["b", "c", "d", "super"]);
    assert_eq!(uses_of_path(&tokens, &["super", "super"]), ["g"]);
    let edge = |to: &[&str]| to.iter().map(|s| (*s).to_owned()).collect::<BTreeSet<_>>();
    let graph = Graph::from([
        ("a".to_owned(), edge(&["b", "c"])),
        ("b".to_owned(), edge(&["a"])),
        ("c".to_owned(), edge(&[])),
    ]);
    assert_eq!(circles(&graph), [["a".to_owned(), "b".to_owned()]]);
}
