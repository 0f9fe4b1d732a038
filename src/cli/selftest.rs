//! `synthward selftest`.

use super::{Global, print, print_json};
use crate::error::{Error, ErrorKind, Result};
use crate::selftest::{SelfTest, selftest};

/// Check that noise, clipping, accountant and audit of this copy work on this machine.
#[derive(clap::Args)]
#[command(after_help = "\
Reads no table and takes seconds. A sound program fails with a probability below one in a million; exit code 5 means a
fault, and that nothing this copy makes is to be relied upon.

Example:\n  synthward selftest")]
pub struct SelfTestCommand {}

impl SelfTestCommand {
    pub fn run(self, global: &Global) -> Result<()> {
        let found = selftest()?;
        if global.json {
            print_json(&found)?
        } else {
            print(&table(&found))?
        }
        refuse_fault(&found)
    }
}

/// An error, with its exit code, where a check failed.
pub fn refuse_fault(found: &SelfTest) -> Result<()> {
    let failed: Vec<&str> = found.failed().map(|check| check.name.as_str()).collect();
    if failed.is_empty() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Fault, format!("the self-test found a fault: {}", failed.join("; ")))
        .remedy("use nothing that this copy makes; build or install it anew, and report the fault if it stays"))
}

fn table(found: &SelfTest) -> String {
    let mut text = format!("{:<44}{:<58}{:>14}   allowed\n", "check", "figure", "found");
    for check in &found.checks {
        let (least, most) = (figure(check.least), figure(check.most));
        let verdict = if check.passed { "" } else { "   FAILED" };
        let found = figure(check.found);
        text.push_str(&format!("{:<44}{:<58}{found:>14}   {least} to {most}{verdict}\n", check.name, check.figure));
    }
    let (all, failed) = (found.checks.len(), found.failed().count());
    text.push_str(&format!(
        "\n{} of {all} passed; a false alarm has a probability of {:e} at most\n",
        all - failed,
        found.false_alarm
    ));
    text
}

/// About two significant digits.
fn figure(x: f64) -> String {
    if x == 0.0 || x.abs() >= 1e-2 { format!("{}", (x * 1e3).round() / 1e3) } else { format!("{x:.1e}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selftest::Check;

    #[test]
    fn a_fault_is_named_and_has_its_exit_code() {
        let check = |name: &str, passed| Check {
            name: name.into(),
            figure: "a figure".into(),
            found: 0.25,
            least: 0.0,
            most: 1e-7,
            passed,
        };
        let mut found = SelfTest { false_alarm: 1e-6, checks: vec![check("a sound part", true)] };
        assert!(refuse_fault(&found).is_ok());
        found.checks.push(check("a broken part", false));
        let error = refuse_fault(&found).unwrap_err();
        assert_eq!(error.kind.exit_code(), 5);
        assert!(error.to_string().contains("a broken part") && !error.to_string().contains("a sound part"));
        let table = table(&found);
        assert!(table.contains("0.25   0 to 1.0e-7   FAILED") && table.contains("1 of 2 passed"), "{table}");
    }
}
