//! What a terminal sees beside results: help, completions, manual pages.

use crate::world::World;

const COMMANDS: [&str; 13] = [
    "inspect",
    "fit",
    "generate",
    "infer",
    "evaluate",
    "audit",
    "account",
    "ledger",
    "plan",
    "run",
    "selftest",
    "completions",
    "man",
];

#[test]
fn every_command_has_help_and_those_that_do_work_an_example() {
    let world = World::new();
    let help = world.run("--help").succeeds().stdout;
    assert!(help.lines().count() < 40, "help is short");
    for command in COMMANDS {
        assert!(help.contains(&format!("\n  {command} ")), "{command}");
        let own = world.run(&format!("{command} --help")).succeeds().stdout;
        assert!(own.contains("Usage: synthward"), "{command}");
        assert!(own.contains("Example") && own.contains(&format!("synthward {command} ")), "{command}: {own}");
    }
}

#[test]
fn completions_know_the_commands() {
    let world = World::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = world.run(&format!("completions {shell}")).succeeds().stdout;
        for command in COMMANDS {
            assert!(script.contains(command), "{shell}: {command}");
        }
    }
    world.refuses(2, "completions tcsh", &["possible values"]);
}

#[test]
fn each_command_has_a_manual_page() {
    let world = World::new();
    world.run("man pages").succeeds();
    for name in COMMANDS.map(|command| format!("synthward-{command}")).into_iter().chain(["synthward".into()]) {
        let page = world.text(&format!("pages/{name}.1"));
        assert!(page.contains(".TH ") && page.contains("SYNOPSIS"), "{name}");
    }
    assert!(world.text("pages/synthward-fit.1").contains("epsilon"));
}
