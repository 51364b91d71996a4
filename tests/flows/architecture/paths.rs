//! The paths that a source file names, as the compiler would read them: use groups unfolded, comments and texts left out.

use std::iter::Peekable;

/// A path such as `crate::storage::Tx`, and the line it stands on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) path: String,
    pub(super) line: usize,
}

impl Named {
    /// Whether the path is this one or one below it.
    pub(super) fn is_in(&self, module: &str) -> bool {
        self.path
            .strip_prefix(module)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    }
}

/// The paths of a source whose module is `module` (`crate::providers::http`), which `super` and `self` start from.
pub(super) fn named(source: &str, module: &str) -> Vec<Named> {
    let mut tokens = tokens(source).into_iter().peekable();
    let mut paths = Vec::new();
    while let Some(token) = tokens.next() {
        if is_name(&token.text) {
            tree(&token, &mut tokens, "", &mut paths);
        }
    }
    for named in &mut paths {
        named.path = absolute(&named.path, module);
    }
    paths
}

/// One path or group of paths below `prefix`; `first` is its first name.
fn tree(first: &Token, rest: &mut Peekable<impl Iterator<Item = Token>>, prefix: &str, paths: &mut Vec<Named>) {
    let line = first.line;
    let mut path = match first.text.as_str() {
        "self" if !prefix.is_empty() => prefix.trim_end_matches("::").to_owned(),
        name => format!("{prefix}{name}"),
    };
    while rest.next_if(|token| token.text == "::").is_some() {
        if let Some(name) = rest.next_if(|token| is_name(&token.text)) {
            path = format!("{path}::{}", name.text);
        } else if rest.next_if(|token| token.text == "{").is_some() {
            group(rest, &format!("{path}::"), paths);
            return;
        }
    }
    if rest.next_if(|token| token.text == "as").is_some() {
        rest.next(); // the name it goes by here
    }
    paths.push(Named { path, line });
}

fn group(rest: &mut Peekable<impl Iterator<Item = Token>>, prefix: &str, paths: &mut Vec<Named>) {
    while let Some(token) = rest.next() {
        match token.text.as_str() {
            "}" => return,
            name if is_name(name) => tree(&token, rest, prefix, paths),
            _ => {}
        }
    }
}

/// The path from the crate's root.
fn absolute(path: &str, module: &str) -> String {
    let mut base: Vec<&str> = module.split("::").collect();
    let mut names = path.split("::").peekable();
    if !names.peek().is_some_and(|first| matches!(*first, "super" | "self")) {
        return path.to_owned();
    }
    names.next_if_eq(&"self");
    while names.next_if_eq(&"super").is_some() {
        base.pop();
    }
    base.extend(names);
    base.join("::")
}

struct Token {
    text: String,
    line: usize,
}

fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

/// Names, `::` and single signs.
fn tokens(source: &str) -> Vec<Token> {
    let (mut tokens, mut at, mut line) = (Vec::new(), 0, 1);
    while let Some(first) = source[at..].chars().next() {
        let rest = &source[at..];
        let length = match first {
            _ if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            _ if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            '"' => text(rest),
            'r' if rest.trim_start_matches('r').trim_start_matches('#').starts_with('"') => raw_text(rest),
            '\'' => letter(rest),
            _ if is_name(rest) => rest
                .find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(rest.len()),
            _ if rest.starts_with("::") => 2,
            _ => first.len_utf8(),
        };
        let token = &rest[..length];
        if is_name(token) && !token.contains('"') || token == "::" || "{},;".contains(token) {
            tokens.push(Token {
                text: token.to_owned(),
                line,
            });
        }
        line += token.matches('\n').count();
        at += length;
    }
    tokens
}

/// The length of a text in quotes.
fn text(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// The length of `r"…"` or `r#"…"#`.
fn raw_text(rest: &str) -> usize {
    let signs = rest[1..].bytes().take_while(|byte| *byte == b'#').count();
    let (open, close) = (signs + 2, format!("\"{}", "#".repeat(signs)));
    rest[open..]
        .find(&close)
        .map_or(rest.len(), |end| open + end + close.len())
}

/// The length of a letter in quotes, or of the sign of a lifetime.
fn letter(rest: &str) -> usize {
    let mut letters = rest.char_indices().skip(1);
    match letters.next() {
        Some((_, '\\')) => rest[3..].find('\'').map_or(rest.len(), |end| end + 4),
        Some((at, c)) if rest[at + c.len_utf8()..].starts_with('\'') => at + c.len_utf8() + 1,
        _ => 1,
    }
}

#[test]
fn an_import_is_seen_however_it_is_written() {
    let source = r##"
use crate::{
    domain::ids,
    storage::{self, StorageError}, // crate::queue
};
use super::super::resilience::{backoff as pause, *};
const NOT: &str = "crate::metrics \" crate::clock";
const RAW: &str = r#"crate::config"#;
fn f<'a>(_: &'a str) -> char { crate::keyring::sha256(':'); '"' } /* sqlx::query */
"##;
    let seen: Vec<(String, usize)> = named(source, "crate::providers::http")
        .into_iter()
        .filter(|named| named.path.starts_with("crate::"))
        .map(|named| (named.path, named.line))
        .collect();
    let expected = [
        ("crate::domain::ids", 3),
        ("crate::storage", 4),
        ("crate::storage::StorageError", 4),
        ("crate::resilience::backoff", 6),
        ("crate::keyring::sha256", 9),
    ];
    assert_eq!(seen, expected.map(|(path, line)| (path.to_owned(), line)));
}
