//! Imports go one way.

use super::source::{NamePath, Source};
use super::{Findings, finding};

/// Room and the rooms it may import. Whoever is not named in a row is out of its reach.
const MAY_IMPORT: [(&str, &[&str]); 20] = [
    ("error", &["privacy"]),
    ("output", &["error"]),
    ("config", &["error", "schema"]),
    ("seal", &["error"]),
    ("spill", &["error"]),
    ("nn", &["error"]),
    ("schema", &["error", "privacy"]),
    ("ingest", &["error", "output", "spill", "schema", "privacy"]),
    ("encode", &["error", "spill", "ingest", "schema", "privacy"]),
    ("model", &["error", "nn", "encode", "schema", "privacy"]),
    ("train", &["error", "output", "seal", "config", "model", "nn", "encode", "ingest", "schema", "privacy"]),
    ("cohort", &["error", "output", "config", "model", "encode", "ingest", "schema", "privacy"]),
    ("infer", &["error", "output", "config", "cohort", "model", "encode", "ingest", "schema", "privacy"]),
    ("evaluate", &["error", "output", "config", "cohort", "train", "model", "encode", "ingest", "schema", "privacy"]),
    ("audit", BELOW_AUDIT),
    ("selftest", &["error", "audit", "nn", "ingest", "privacy"]),
    ("report", BELOW_CLI),
    ("cli", BELOW_CLI_AND_REPORT),
    ("lib", &["cli"]),
    ("main", &["cli"]),
];

const BELOW_AUDIT: &[&str] = &[
    "error", "output", "config", "evaluate", "cohort", "train", "model", "nn", "encode", "ingest", "schema", "privacy",
];

const BELOW_CLI: &[&str] = &[
    "error", "output", "config", "selftest", "evaluate", "audit", "infer", "cohort", "train", "model", "encode",
    "ingest", "schema", "privacy",
];

const BELOW_CLI_AND_REPORT: &[&str] = &[
    "error", "output", "config", "report", "selftest", "evaluate", "audit", "infer", "cohort", "train", "model",
    "encode", "ingest", "schema", "privacy",
];

/// Names that a room must not use, wherever they come from: generation never
/// sees a real row, and the auditor is a second opinion on the accountant.
const MUST_NOT_NAME: [(&str, &[&str]); 2] =
    [("cohort", &["Sensitive", "for_controller"]), ("audit", &["accountant", "Accountant", "calibrate"])];

/// No path leads to a room that this one may not import, and no file stands outside the known rooms.
pub fn one_way(source: &Source) -> Findings {
    let modules = modules(&source.path);
    let room = modules.first().map_or("", String::as_str);
    let Some((_, allowed)) = MAY_IMPORT.iter().find(|(name, _)| *name == room) else {
        return vec![finding(source, 1, format_args!("`{room}` is no known room: give it a row in MAY_IMPORT"))];
    };
    let forbidden = |path: &NamePath| {
        let target = target(path, &modules)?;
        let known = MAY_IMPORT.iter().any(|(name, _)| *name == target) || target == "privacy";
        (known && target != room && !allowed.contains(&target))
            .then(|| finding(source, path.line, format_args!("`{room}` must not import `{target}`")))
    };
    let imports = source.paths().iter().filter_map(forbidden).collect::<Vec<_>>();
    let unnamed = MUST_NOT_NAME.iter().find(|(name, _)| *name == room).map_or(&[][..], |(_, names)| names);
    let names = source.names();
    let named = names.iter().filter(|(name, ..)| unnamed.contains(&name.as_str()));
    let named = named.map(|(name, line, _)| finding(source, *line, format_args!("`{room}` must not name `{name}`")));
    imports.into_iter().chain(named).collect()
}

/// `src/model/vae/loss.rs` is `[model, vae, loss]`.
fn modules(path: &str) -> Vec<String> {
    let path = path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
    path.split('/').map(str::to_owned).collect()
}

/// The room that a path leads to, if it leaves its own module tree.
fn target<'p>(path: &'p NamePath, modules: &[String]) -> Option<&'p str> {
    let names = &path.names;
    match names.first()?.as_str() {
        "crate" | "synthward" => names.get(1).map(String::as_str),
        "synthward_privacy" => Some("privacy"),
        "super" => {
            let up = names.iter().take_while(|name| *name == "super").count();
            if up < modules.len() { None } else { names.get(up).map(String::as_str) }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(path: &str, text: &str) -> Findings {
        one_way(&Source::parse(path, text))
    }

    #[test]
    fn imports_against_the_direction_are_found() {
        for (path, text) in [
            ("src/schema/check.rs", "use crate::ingest::Frame;"),
            ("src/nn/dense.rs", "use synthward_privacy::Clip;"),
            ("src/nn/dense.rs", "use crate::{error::Error, encode::Layout};"),
            ("src/model/vae/mod.rs", "fn f() { crate::train::fit() }"),
            ("src/model/vae/loss.rs", "use super::super::super::train;"),
            ("src/model/independent.rs", "use crate::ingest::MISSING;"),
            ("src/cohort/generate.rs", "use crate::train::measure;"),
            ("src/cohort/generate.rs", "fn f(x: &Sensitive<Codes>) {}"),
            ("src/audit/bound.rs", "use synthward_privacy::accountant;"),
            ("src/evaluate/tvd.rs", "use crate::cli::print;"),
            ("src/error.rs", "use crate::schema::Schema;"),
            ("src/helpers/mod.rs", "fn f() {}"),
        ] {
            assert!(!broken(path, text).is_empty(), "{path}: {text}");
        }
    }

    #[test]
    fn imports_along_the_direction_pass() {
        for (path, text) in [
            ("src/encode/grid.rs", "use crate::ingest::Frame; use super::Codec; use synthward_privacy::Sensitive;"),
            ("src/model/vae/loss.rs", "use super::super::Marginals; use crate::nn::Matrix;"),
            ("src/cohort/generate.rs", "use crate::model::ModelFile; // Sensitive\nuse std::io::Write;"),
            ("src/cli/run.rs", "use crate::report; use super::Global;"),
            ("src/main.rs", "fn main() { synthward::cli::main() }"),
        ] {
            assert_eq!(broken(path, text), Findings::new(), "{path}: {text}");
        }
    }
}
