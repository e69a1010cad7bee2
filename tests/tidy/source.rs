//! Source files as the rules see them: without comments, without what stands in quotes, and
//! without tests.

use std::fs;
use std::path::{Path, PathBuf};

/// One file below the workspace's root.
pub(super) struct Source {
    /// Relative to the root, with `/` on every platform.
    pub(super) path: String,
    pub(super) text: String,
    /// The same text with comments, literals and test items blanked: every line is where it was.
    pub(super) code: String,
    /// The whole file is compiled for tests only.
    pub(super) is_test: bool,
}

/// One word of code or one other character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Word(&'a str),
    Mark(char),
}

/// The workspace's root.
pub(super) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every file of the project, as path and content; what is no text is left out.
pub(super) fn all_texts() -> Vec<(String, String)> {
    let ignored = fs::read_to_string(root().join(".gitignore")).unwrap_or_default();
    let mut skipped: Vec<_> = ignored.lines().map(|line| line.trim_matches('/').trim()).collect();
    skipped.extend([".git", "target"]);
    let mut texts = Vec::new();
    walk(&root(), "", &skipped, &mut texts);
    texts.sort();
    assert!(texts.len() > 50, "the tidy tests do not see the source tree");
    texts
}

fn walk(dir: &Path, prefix: &str, skipped: &[&str], texts: &mut Vec<(String, String)>) {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        if skipped.contains(&path.as_str()) {
            continue;
        }
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => {
                walk(&entry.path(), &format!("{path}/"), skipped, texts);
            }
            Ok(kind) if kind.is_file() => {
                if let Ok(text) = fs::read_to_string(entry.path()) {
                    texts.push((path, text));
                }
            }
            _ => {}
        }
    }
}

/// Every Rust file that is read by people: not the golden expansions, not the programs that must
/// fail to compile.
pub(super) fn all() -> Vec<Source> {
    let texts = all_texts().into_iter().filter(|(path, _)| {
        path.ends_with(".rs") && !path.contains("/golden/") && !path.starts_with("tests/ui/")
    });
    let mut sources: Vec<Source> = texts
        .map(|(path, text)| {
            let code = without_test_items(&blanked(&text));
            let is_test = path.starts_with("tests/") || path.starts_with("examples/tests/");
            Source { path, text, code, is_test }
        })
        .collect();
    mark_test_modules(&mut sources);
    sources
}

/// The files of the library.
pub(super) fn library() -> Vec<Source> {
    let sources = all().into_iter();
    sources.filter(|s| s.path.starts_with("pool-runtime/src/") && !s.is_test).collect()
}

impl Source {
    /// The path inside the library's `src`.
    pub(super) fn place(&self) -> &str {
        self.path.strip_prefix("pool-runtime/src/").unwrap_or(&self.path)
    }

    pub(super) fn tokens(&self) -> Vec<Token<'_>> {
        tokens(&self.code)
    }

    /// The lines, from 1, in which `word` stands as a whole word of code.
    pub(super) fn lines_with(&self, word: &str) -> Vec<usize> {
        let lines = self.code.lines().enumerate();
        let has = |line: &str| tokens(line).contains(&Token::Word(word));
        lines.filter(|(_, line)| has(line)).map(|(n, _)| n + 1).collect()
    }

    /// How many lines it has, tests aside.
    pub(super) fn length(&self) -> usize {
        let all = self.text.lines().count();
        if self.is_test { all } else { all - test_lines(&blanked(&self.text)) }
    }
}

/// Words and marks; white space is dropped.
pub(super) fn tokens(code: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let len = if is_word(first) {
            rest.find(|c| !is_word(c)).unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        let (token, tail) = rest.split_at(len);
        if is_word(first) {
            tokens.push(Token::Word(token));
        } else if !first.is_whitespace() {
            tokens.push(Token::Mark(first));
        }
        rest = tail;
    }
    tokens
}

/// Replaces comments and the content of literals by spaces. Good enough for code that `rustfmt`
/// has formatted; it is no parser.
pub(super) fn blanked(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let mut out = String::with_capacity(text.len());
    let mut i = 0;
    while i < chars.len() {
        let end = match (at(i), at(i + 1)) {
            ('/', '/') => (i..chars.len()).find(|&n| at(n) == '\n').unwrap_or(chars.len()),
            ('/', '*') => after(&chars, i + 2, &['*', '/']),
            ('r', '"' | '#') if !is_word_char(i.checked_sub(1).map_or(' ', at), at(i)) => {
                let hashes = (i + 1..).take_while(|&n| at(n) == '#').count();
                if at(i + 1 + hashes) != '"' {
                    out.push(at(i));
                    i += 1;
                    continue;
                }
                let mut close = vec!['"'];
                close.extend(std::iter::repeat_n('#', hashes));
                after(&chars, i + 2 + hashes, &close)
            }
            ('"', _) => end_of_quoted(&chars, i, '"'),
            // A character, not a lifetime.
            ('\'', '\\') => end_of_quoted(&chars, i, '\''),
            ('\'', _) if at(i + 2) == '\'' => i + 3,
            _ => {
                out.push(at(i));
                i += 1;
                continue;
            }
        };
        out.extend(chars[i..end].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
        i = end;
    }
    out
}

fn is_word_char(before: char, _first: char) -> bool {
    before.is_alphanumeric() || before == '_'
}

fn after(chars: &[char], from: usize, end: &[char]) -> usize {
    let found = (from..chars.len()).find(|&n| chars[n..].starts_with(end));
    found.map_or(chars.len(), |n| n + end.len())
}

fn end_of_quoted(chars: &[char], start: usize, quote: char) -> usize {
    let mut i = start + 1;
    while i < chars.len() && chars[i] != quote {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    (i + 1).min(chars.len())
}

const TEST_ITEM: &str = "#[cfg(test)]";

/// Where each item behind `#[cfg(test)]` begins and ends, in blanked code.
fn test_items(code: &str) -> Vec<(usize, usize)> {
    let mut items = Vec::new();
    let mut from = 0;
    while let Some(found) = code[from..].find(TEST_ITEM) {
        let start = from + found;
        let mut depth = 0_usize;
        let mut end = code.len();
        for (i, c) in code[start + TEST_ITEM.len()..].char_indices() {
            match c {
                '{' | '(' | '[' => depth += 1,
                '}' | ')' | ']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            // A statement, a field or a match arm ends at a comma or at a semicolon.
            if depth == 0 && matches!(c, ';' | '}' | ',') {
                end = start + TEST_ITEM.len() + i + c.len_utf8();
                break;
            }
        }
        items.push((start, end));
        from = end;
    }
    items
}

fn without_test_items(code: &str) -> String {
    let mut out = String::with_capacity(code.len());
    let mut from = 0;
    for (start, end) in test_items(code) {
        out.push_str(&code[from..start]);
        out.extend(code[start..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        from = end;
    }
    out.push_str(&code[from..]);
    out
}

fn test_lines(code: &str) -> usize {
    let lines = |(start, end): (usize, usize)| code[start..end].lines().count();
    test_items(code).into_iter().map(lines).sum()
}

/// Files that are declared `#[cfg(test)] mod name;` are tests as a whole, and so are theirs.
fn mark_test_modules(sources: &mut [Source]) {
    let mut roots = Vec::new();
    for source in sources.iter() {
        let code = blanked(&source.text);
        for (start, end) in test_items(&code) {
            if let [Token::Word("mod"), Token::Word(name), Token::Mark(';')] =
                tokens(&code[start + TEST_ITEM.len()..end])[..]
            {
                let folder = match source.path.rsplit_once('/') {
                    Some((folder, "mod.rs" | "lib.rs" | "main.rs")) => folder.to_owned(),
                    _ => source.path.trim_end_matches(".rs").to_owned(),
                };
                roots.push(format!("{folder}/{name}"));
            }
        }
    }
    for source in sources {
        let stem = source.path.trim_end_matches(".rs");
        source.is_test |= roots.iter().any(|root| {
            stem == root || stem.strip_prefix(root.as_str()).is_some_and(|s| s.starts_with('/'))
        });
    }
}

#[test]
fn blanking_keeps_lines_and_drops_what_is_no_code() {
    let text = "let a = \"unsafe\"; // unsafe\nlet b = 'u'; let c: &'static str = r#\"x\"#;\n";
    let code = blanked(text);
    assert_eq!(code.lines().count(), 2);
    assert!(!code.contains("unsafe") && code.contains("'static") && !code.contains('x'));
    let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n";
    assert_eq!(without_test_items(text).trim_end(), "fn a() {}");
    assert_eq!(test_lines(text), 4);
}
