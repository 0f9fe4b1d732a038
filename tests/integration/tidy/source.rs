//! A Rust file as tokens: comments are gone, literals are single tokens, test code can be left out.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use std::path::{Path, PathBuf};

/// One file of the repository.
pub struct Source {
    /// Relative to the repository, with `/`.
    pub path: String,
    tokens: Vec<TokenTree>,
}

/// `a::b::c` as it stands in the code; a `use` tree gives one for each of its leaves.
#[derive(Debug, PartialEq)]
pub struct NamePath {
    pub names: Vec<String>,
    pub line: usize,
}

impl Source {
    pub fn parse(path: &str, text: &str) -> Self {
        let tokens: TokenStream = text.parse().unwrap_or_else(|e| panic!("{path} is not Rust: {e}"));
        Self { path: path.to_owned(), tokens: tokens.into_iter().collect() }
    }

    /// The top-level tokens, test code included.
    pub fn all(&self) -> &[TokenTree] {
        &self.tokens
    }

    /// The file without its `#[cfg(test)]` items.
    pub fn shipped(&self) -> Self {
        Self { path: self.path.clone(), tokens: without_tests(&self.tokens) }
    }

    /// Files that hold test code only, because this one declares them by `#[cfg(test)] mod name;`.
    pub fn test_modules(&self) -> Vec<PathBuf> {
        let folder = match Path::new(&self.path) {
            path if path.ends_with("mod.rs") || path.ends_with("lib.rs") => path.with_file_name(""),
            path => path.with_extension(""),
        };
        let is_test = |at: &usize| is_test_attribute(&self.tokens, *at);
        let declared = (0..self.tokens.len()).filter(is_test).filter_map(|at| match &self.tokens[at + 2..] {
            [TokenTree::Ident(keyword), TokenTree::Ident(name), TokenTree::Punct(end), ..]
                if keyword == "mod" && end.as_char() == ';' =>
            {
                Some(folder.join(name.to_string()))
            }
            _ => None,
        });
        declared.flat_map(|stem| [stem.with_extension("rs"), stem]).collect()
    }

    /// Every path of two names or more.
    pub fn paths(&self) -> Vec<NamePath> {
        let mut found = Vec::new();
        collect_paths(&self.tokens, &[], &mut found);
        found.retain(|path| path.names.len() > 1);
        found
    }

    /// Every name, with its line and whether `!` follows.
    pub fn names(&self) -> Vec<(String, usize, bool)> {
        let mut found = Vec::new();
        collect_names(&self.tokens, &mut found);
        found
    }
}

/// The line of a token, from 1.
pub fn line(token: &TokenTree) -> usize {
    token.span().start().line
}

/// True where `#[cfg(test)]` starts.
fn is_test_attribute(tokens: &[TokenTree], at: usize) -> bool {
    attribute(tokens, at).is_some_and(|text| text.replace(' ', "") == "cfg(test)")
}

/// The inside of the outer attribute that starts here.
pub fn attribute(tokens: &[TokenTree], at: usize) -> Option<String> {
    match (tokens.get(at)?, tokens.get(at + 1)?) {
        (TokenTree::Punct(hash), TokenTree::Group(group))
            if hash.as_char() == '#' && group.delimiter() == Delimiter::Bracket =>
        {
            Some(group.stream().to_string())
        }
        _ => None,
    }
}

fn without_tests(tokens: &[TokenTree]) -> Vec<TokenTree> {
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if is_test_attribute(tokens, at) {
            at += 2;
            while attribute(tokens, at).is_some() {
                at += 2;
            }
            let ends = |token: &TokenTree| match token {
                TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
                TokenTree::Punct(punct) => punct.as_char() == ';',
                _ => false,
            };
            at += tokens[at..].iter().position(ends).map_or(tokens.len() - at, |end| end + 1);
            continue;
        }
        kept.push(match &tokens[at] {
            TokenTree::Group(group) => {
                let inside: Vec<TokenTree> = group.stream().into_iter().collect();
                let mut copy = proc_macro2::Group::new(group.delimiter(), without_tests(&inside).into_iter().collect());
                copy.set_span(group.span());
                TokenTree::Group(copy)
            }
            token => token.clone(),
        });
        at += 1;
    }
    kept
}

fn collect_paths(tokens: &[TokenTree], prefix: &[String], found: &mut Vec<NamePath>) {
    let mut at = 0;
    while at < tokens.len() {
        let first = &tokens[at];
        match first {
            TokenTree::Ident(name) => {
                let mut names = prefix.to_vec();
                names.push(name.to_string());
                at += 1;
                while is_double_colon(tokens, at) {
                    match tokens.get(at + 2) {
                        Some(TokenTree::Ident(name)) => names.push(name.to_string()),
                        Some(TokenTree::Punct(star)) if star.as_char() == '*' => names.push("*".into()),
                        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                            let inside: Vec<TokenTree> = group.stream().into_iter().collect();
                            collect_paths(&inside, &names, found);
                        }
                        _ => break,
                    }
                    at += 3;
                }
                found.push(NamePath { names, line: line(first) });
            }
            TokenTree::Group(group) => {
                let inside: Vec<TokenTree> = group.stream().into_iter().collect();
                collect_paths(&inside, &[], found);
                at += 1;
            }
            _ => at += 1,
        }
    }
}

fn is_double_colon(tokens: &[TokenTree], at: usize) -> bool {
    let colon = |at: usize| matches!(tokens.get(at), Some(TokenTree::Punct(p)) if p.as_char() == ':');
    colon(at) && colon(at + 1)
}

fn collect_names(tokens: &[TokenTree], found: &mut Vec<(String, usize, bool)>) {
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Ident(name) => {
                let bang = matches!(tokens.get(at + 1), Some(TokenTree::Punct(p)) if p.as_char() == '!');
                found.push((name.to_string(), line(token), bang));
            }
            TokenTree::Group(group) => collect_names(&group.stream().into_iter().collect::<Vec<_>>(), found),
            _ => {}
        }
    }
}

#[test]
fn paths_are_spelled_out() {
    let text =
        "use crate::{a, b::{c, d::*}};\n// use crate::no;\nfn f() { let s = \"crate::no\"; g!(super::h::<T>()) }";
    let paths: Vec<String> = Source::parse("x.rs", text).paths().into_iter().map(|p| p.names.join("::")).collect();
    assert_eq!(paths, ["crate::a", "crate::b::c", "crate::b::d::*", "crate::b", "super::h"]);
}

#[test]
fn test_code_is_left_out() {
    let text =
        "mod a;\n#[cfg(test)]\n#[allow(x)]\nmod b { fn f() {} }\n#[cfg(test)]\nuse c;\n#[cfg(test)]\nmod d;\nfn e() {}";
    let source = Source::parse("src/room/mod.rs", text);
    let names: Vec<String> = source.shipped().names().into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names, ["mod", "a", "fn", "e"]);
    assert_eq!(source.test_modules(), [PathBuf::from("src/room/d.rs"), PathBuf::from("src/room/d")]);
}
