//! What `privacy/` may hold: arithmetic on slices, and nothing that reaches outside.

use super::source::{Source, attribute, line};
use super::{Findings, finding};
use proc_macro2::{Delimiter, TokenTree};

/// Modules of the standard library that reach outside the process.
const OUTSIDE: [&str; 7] = ["fs", "io", "time", "env", "net", "process", "os"];

/// Names and macros that do.
const REACHING: [&str; 12] = [
    "File",
    "OpenOptions",
    "Instant",
    "SystemTime",
    "TcpStream",
    "stdin",
    "stdout",
    "stderr",
    "include_bytes",
    "include_str",
    "option_env",
    "tracing",
];
const PRINTING: [&str; 5] = ["print", "println", "eprint", "eprintln", "dbg"];

/// Everything the trusted core may be built on. Each crate here is part of what the claim rests on.
const DEPENDENCIES: [&str; 11] = [
    "libm",
    "opendp",
    "pulp",
    "rand_chacha",
    "rand_core",
    "rayon",
    "realfft",
    "serde",
    "serde_json",
    "sha2",
    "thiserror",
];

/// No file, clock, environment, network, process or terminal.
pub fn no_io(source: &Source) -> Findings {
    let paths = source.paths();
    let modules = paths.iter().filter(|path| {
        let standard = ["std", "core", "alloc"].contains(&path.names[0].as_str());
        standard && OUTSIDE.contains(&path.names[1].as_str())
    });
    let modules =
        modules.map(|path| finding(source, path.line, format_args!("{} reaches outside", path.names.join("::"))));
    let names = source.names();
    let names = names
        .iter()
        .filter(|(name, _, bang)| REACHING.contains(&name.as_str()) || (*bang && PRINTING.contains(&name.as_str())));
    modules
        .chain(names.map(|(name, line, _)| finding(source, *line, format_args!("`{name}` reaches outside"))))
        .collect()
}

/// No dependency but the ones that were weighed, in no table of the manifest but the tests' own.
pub fn few_dependencies(manifest: &str) -> Findings {
    let manifest: toml::Table = manifest.parse().expect("privacy/Cargo.toml is TOML");
    let mut tables: Vec<&toml::Table> = vec![&manifest];
    tables.extend(
        manifest
            .get("target")
            .and_then(toml::Value::as_table)
            .into_iter()
            .flat_map(|targets| targets.values().filter_map(toml::Value::as_table)),
    );
    let dependencies = tables.iter().flat_map(|table| {
        ["dependencies", "build-dependencies"].into_iter().filter_map(|kind| table.get(kind)?.as_table())
    });
    let unknown = dependencies.flat_map(toml::Table::keys).filter(|name| !DEPENDENCIES.contains(&name.as_str()));
    unknown.map(|name| format!("privacy/Cargo.toml: `{name}` is not among the crates the claim may rest on")).collect()
}

/// The feature that seeds and replays noise is asked for by the tests alone: a manifest turns it on in no table but that of
/// its tests' dependencies, and by no default.
pub fn replayed_by_tests_alone(name: &str, manifest: &str) -> Findings {
    let manifest: toml::Table = manifest.parse().expect("a manifest is TOML");
    let shipped = manifest.iter().filter(|(table, _)| !["features", "dev-dependencies"].contains(&table.as_str()));
    let features = manifest.get("features").and_then(toml::Value::as_table).into_iter().flatten();
    let mut asking = shipped.map(|(table, value)| (table.as_str(), value));
    let asked = asking.find(|(_, value)| value.to_string().contains("test-noise"));
    let asked = asked.or_else(|| {
        let mut others = features.filter(|(feature, _)| *feature != "test-noise");
        others.find(|(_, value)| value.to_string().contains("test-noise")).map(|(feature, value)| (&**feature, value))
    });
    asked.map(|(table, _)| format!("{name}: `{table}` asks for the feature that seeds noise")).into_iter().collect()
}

/// Only the one door for randomness makes a generator.
pub fn no_seeding(source: &Source) -> Findings {
    if source.path == "privacy/src/rng.rs" {
        return Findings::new();
    }
    let names = source.names();
    let seeding = names.iter().filter(|(name, ..)| ["seed_from_u64", "from_seed", "from_rng"].contains(&name.as_str()));
    seeding
        .map(|(name, line, _)| finding(source, *line, format_args!("`{name}`: noise has one door, rng.rs")))
        .collect()
}

/// Every `pub` function, type, trait, constant and method says what it does to privacy.
/// Fields, variants, modules and re-exports are exempt, and so is what only the crate sees: methods of a type that
/// the file does not make public.
pub fn privacy_section(source: &Source) -> Findings {
    let mut found = Findings::new();
    search(source, source.all(), &hidden_types(source.all()), &mut found);
    found
}

/// Types that are declared here without a plain `pub`.
fn hidden_types(tokens: &[TokenTree]) -> Vec<String> {
    let is_type = |at: &usize| ["struct", "enum", "union"].contains(&tokens[*at].to_string().as_str());
    let is_public = |at: usize| at > 0 && tokens[at - 1].to_string() == "pub";
    let hidden = (0..tokens.len()).filter(is_type).filter(|at| !is_public(*at));
    hidden.filter_map(|at| tokens.get(at + 1)).map(ToString::to_string).collect()
}

fn search(source: &Source, tokens: &[TokenTree], hidden: &[String], found: &mut Findings) {
    let mut docs = String::new();
    let mut at = 0;
    while at < tokens.len() {
        if let Some(text) = attribute(tokens, at) {
            if text.starts_with("doc") {
                docs.push_str(&text);
            }
            at += 2;
            continue;
        }
        match &tokens[at] {
            TokenTree::Ident(word) if word == "pub" => {
                if let Some((kind, name)) = public_item(&tokens[at + 1..])
                    && !docs.contains("# Privacy")
                {
                    found.push(finding(
                        source,
                        line(&tokens[at]),
                        format_args!("{kind} `{name}` has no `# Privacy` section"),
                    ));
                }
            }
            TokenTree::Ident(word) if word == "impl" => {
                let is_body = |t: &TokenTree| matches!(t, TokenTree::Group(g) if g.delimiter() == Delimiter::Brace);
                let body = at + tokens[at..].iter().position(is_body).unwrap_or_default();
                if tokens[at..body].iter().any(|token| hidden.contains(&token.to_string())) {
                    at = body;
                }
            }
            TokenTree::Group(group) => {
                search(source, &group.stream().into_iter().collect::<Vec<_>>(), hidden, found);
            }
            _ => {}
        }
        docs.clear();
        at += 1;
    }
}

/// Kind and name of the item after `pub`, if it is one that must speak.
fn public_item(after: &[TokenTree]) -> Option<(String, String)> {
    let words: Vec<String> = after.iter().take(6).map(ToString::to_string).collect();
    let words = words.iter().map(String::as_str);
    let mut words = words.skip_while(|word| ["async", "unsafe", "extern", "\"C\""].contains(word)).peekable();
    let mut kind = words.next()?;
    if kind == "const" && words.peek().is_some_and(|next| ["fn", "unsafe", "async"].contains(next)) {
        kind = words.find(|word| *word == "fn")?;
    }
    let speaks = ["fn", "struct", "enum", "union", "trait", "const", "static", "type"].contains(&kind);
    speaks.then(|| (kind.to_owned(), words.next().unwrap_or_default().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Source {
        Source::parse("privacy/src/x.rs", text)
    }

    #[test]
    fn reaching_outside_is_found() {
        for text in [
            "use std::fs::read;",
            "use std::{collections::HashMap, time::Duration};",
            "fn f() { let _ = std::env::var(\"X\"); }",
            "fn f() { println!(\"x\") }",
            "fn f(file: &mut File) {}",
            "const TABLE: &str = include_str!(\"x\");",
        ] {
            assert!(!no_io(&parsed(text)).is_empty(), "{text}");
        }
        assert_eq!(
            no_io(&parsed("//! std::fs\nuse std::collections::HashMap;\nfn f() { format!(\"println!\"); }")),
            Findings::new()
        );
    }

    #[test]
    fn new_dependencies_are_found() {
        for manifest in [
            "[dependencies]\nreqwest = \"1\"\n",
            "[target.'cfg(unix)'.dependencies]\nlibc = \"1\"\n",
            "[build-dependencies]\ncc = \"1\"\n",
        ] {
            assert_eq!(few_dependencies(manifest).len(), 1, "{manifest}");
        }
        assert_eq!(
            few_dependencies("[dependencies]\nserde = \"1\"\n[dev-dependencies]\nproptest = \"1\"\n"),
            Findings::new()
        );
    }

    #[test]
    fn a_build_that_replays_noise_is_found() {
        for manifest in [
            "[dependencies]\ncore = { path = \"x\", features = [\"test-noise\"] }\n",
            "[features]\ndefault = [\"test-noise\"]\n",
            "[features]\nfast = [\"core/test-noise\"]\n",
            "[build-dependencies]\ncore = { features = [\"test-noise\"] }\n",
        ] {
            assert_eq!(replayed_by_tests_alone("m", manifest).len(), 1, "{manifest}");
        }
        let good =
            "[features]\ntest-noise = [\"core/test-noise\"]\n[dev-dependencies]\nx = { features = [\"test-noise\"] }\n";
        assert_eq!(replayed_by_tests_alone("m", good), Findings::new());
    }

    #[test]
    fn seeded_noise_is_found() {
        assert_eq!(no_seeding(&parsed("fn f(s: u64) { ChaCha20Rng::seed_from_u64(s); }")).len(), 1);
        assert_eq!(
            no_seeding(&Source::parse("privacy/src/rng.rs", "fn f(k: K) { R::from_seed(k); }")),
            Findings::new()
        );
    }

    #[test]
    fn silent_public_items_are_found() {
        for text in [
            "/// A sum.\npub fn f() {}",
            "pub struct S;",
            "/// E.\n#[derive(Debug)]\npub enum E { A }",
            "impl S { /// One.\n/// # Privacy\n/// Public.\npub fn a(&self) {}\n/// Two.\npub fn b(&self) {} }",
            "pub const fn f() {}",
            "struct A;\nimpl B { pub fn f() {} }",
            "pub const N: usize = 1;",
            "/// # Privacy\n/// Public.\nfn a() {}\npub trait T {}",
        ] {
            assert_eq!(privacy_section(&parsed(text)).len(), 1, "{text}");
        }
    }

    #[test]
    fn speaking_and_private_items_pass() {
        for text in [
            "/// A sum.\n///\n/// # Privacy\n/// Post-processing.\n#[must_use]\npub fn f() {}",
            "pub(crate) fn f() {}\nfn g() {}\npub use a::b;\npub mod c;",
            "/// # Privacy\n/// Public.\npub struct S { pub field: u8 }",
            "pub(crate) struct Hidden<T>(T);\nimpl<T> Hidden<T> { pub fn f() {} }",
        ] {
            assert_eq!(privacy_section(&parsed(text)), Findings::new(), "{text}");
        }
    }
}
