//! Words that may stand in some rooms only, or nowhere.

use super::source::{Source, attribute, line};
use super::{Findings, finding};
use proc_macro2::TokenTree;

fn in_any(source: &Source, folders: &[&str]) -> bool {
    folders.iter().any(|folder| source.path.starts_with(folder))
}

/// `for_controller` takes real rows out of their wrapper; only what is outside the epsilon claim, and says so, may.
pub fn no_for_controller(source: &Source) -> Findings {
    if in_any(source, &["src/evaluate/", "src/audit/", "src/cli/", "privacy/src/sensitive.rs"]) {
        return Findings::new();
    }
    let names = source.names();
    let calls = names.iter().filter(|(name, ..)| name == "for_controller");
    calls
        .map(|(name, line, _)| finding(source, *line, format_args!("`{name}` outside evaluate, audit and cli")))
        .collect()
}

/// `unsafe` only where the compute core needs it.
pub fn no_unsafe(source: &Source) -> Findings {
    if in_any(source, &["src/nn/"]) {
        return Findings::new();
    }
    let names = source.names();
    let blocks = names.iter().filter(|(name, ..)| name == "unsafe");
    blocks.map(|(_, line, _)| finding(source, *line, "`unsafe` outside src/nn")).collect()
}

/// No stub, no debugging aid, no test that is switched off.
pub fn nothing_undone(source: &Source) -> Findings {
    let names = source.names();
    let stub =
        |(name, _, bang): &&(String, usize, bool)| *bang && ["todo", "unimplemented", "dbg"].contains(&name.as_str());
    let mut found: Findings =
        names.iter().filter(stub).map(|(name, line, _)| finding(source, *line, format_args!("`{name}!`"))).collect();
    ignored(source, source.all(), &mut found);
    found
}

fn ignored(source: &Source, tokens: &[TokenTree], found: &mut Findings) {
    for (at, token) in tokens.iter().enumerate() {
        if attribute(tokens, at).is_some_and(|text| text.starts_with("ignore")) {
            found.push(finding(source, line(token), "`#[ignore]`: a test runs or goes"));
        }
        if let TokenTree::Group(group) = token {
            ignored(source, &group.stream().into_iter().collect::<Vec<_>>(), found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_real_rows_are_found() {
        let text = "fn f(x: Sensitive<T>) { x.for_controller(); Sensitive::for_controller; }";
        assert_eq!(no_for_controller(&Source::parse("src/train/fit.rs", text)).len(), 2);
        assert_eq!(no_for_controller(&Source::parse("src/evaluate/mod.rs", text)), Findings::new());
    }

    #[test]
    fn unsafe_code_is_found() {
        let text = "#![deny(unsafe_code)]\nfn f() { unsafe { g() } }";
        assert_eq!(
            no_unsafe(&Source::parse("src/cohort/writer.rs", text)),
            ["src/cohort/writer.rs:2: `unsafe` outside src/nn"]
        );
        assert_eq!(no_unsafe(&Source::parse("src/nn/simd.rs", text)), Findings::new());
    }

    #[test]
    fn undone_work_is_found() {
        let text = "fn f() { todo!() }\nfn g() { unimplemented!(\"x\") }\nmod m { #[test] #[ignore = \"slow\"] fn h() { dbg!(1); } }";
        assert_eq!(nothing_undone(&Source::parse("src/a.rs", text)).len(), 4);
        assert_eq!(nothing_undone(&Source::parse("src/a.rs", "// todo!()\nfn todo() { \"dbg!\"; }")), Findings::new());
    }
}
