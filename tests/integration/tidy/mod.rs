//! House rules, checked over the text of the repository.
//!
//! A rule is a function from a file to the lines that break it. Each has a test
//! of its own on a snippet that breaks it, because a rule that cannot fire is
//! no rule. The tests here run every rule over every file.

mod imports;
mod network;
mod source;
mod trusted_core;
mod words;

use source::Source;
use std::fs;
use std::path::{Path, PathBuf};

/// What a rule found: `path:line: what`.
type Findings = Vec<String>;

fn finding(source: &Source, line: usize, what: impl std::fmt::Display) -> String {
    format!("{}:{line}: {what}", source.path)
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file under a folder of the repository, in order.
fn sources(folder: &str) -> Vec<Source> {
    let mut folders = vec![root().join(folder)];
    let mut files: Vec<PathBuf> = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    let relative = |path: &Path| path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/");
    files.iter().map(|path| Source::parse(&relative(path), &fs::read_to_string(path).unwrap())).collect()
}

/// The files that reach a user: without `#[cfg(test)]` items and the files of test modules.
fn shipped(folder: &str) -> Vec<Source> {
    let sources = sources(folder);
    let tests: Vec<PathBuf> = sources.iter().flat_map(Source::test_modules).collect();
    let kept = |source: &&Source| !tests.iter().any(|test| Path::new(&source.path).starts_with(test));
    sources.iter().filter(kept).map(Source::shipped).collect()
}

fn assert_none(findings: Findings) {
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

fn over(sources: Vec<Source>, rule: fn(&Source) -> Findings) {
    assert!(!sources.is_empty(), "no file was found");
    assert_none(sources.iter().flat_map(rule).collect());
}

#[test]
fn imports_run_one_way() {
    over(shipped("src"), imports::one_way);
}

#[test]
fn the_trusted_core_has_no_files_no_clock_no_environment() {
    over(shipped("privacy/src"), trusted_core::no_io);
}

#[test]
fn the_trusted_core_depends_on_little() {
    let manifest = fs::read_to_string(root().join("privacy/Cargo.toml")).unwrap();
    assert_none(trusted_core::few_dependencies(&manifest));
}

#[test]
fn every_public_item_of_the_trusted_core_says_what_it_does_to_privacy() {
    over(shipped("privacy/src"), trusted_core::privacy_section);
}

#[test]
fn noise_cannot_be_seeded() {
    over(shipped("privacy/src"), trusted_core::no_seeding);
}

#[test]
fn only_tests_are_built_to_replay_noise() {
    for name in ["Cargo.toml", "privacy/Cargo.toml"] {
        let manifest = fs::read_to_string(root().join(name)).unwrap();
        assert!(manifest.contains("test-noise"), "{name} knows the feature");
        assert_none(trusted_core::replayed_by_tests_alone(name, &manifest));
    }
}

#[test]
fn only_the_controllers_rooms_read_real_rows_in_the_clear() {
    let rooms = [shipped("src"), shipped("privacy/src")].into_iter().flatten();
    over(rooms.collect(), words::no_for_controller);
}

#[test]
fn unsafe_code_stays_in_the_compute_core() {
    let folders = [sources("src"), sources("tests")].into_iter().flatten();
    over(folders.collect(), words::no_unsafe);
}

#[test]
fn nothing_is_left_undone() {
    let folders = [sources("src"), sources("privacy/src"), sources("tests")].into_iter().flatten();
    over(folders.collect(), words::nothing_undone);
}
