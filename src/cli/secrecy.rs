//! What the process itself could give away: its memory, and the words of a panic.

use std::io::Write;
use std::panic::{self, AssertUnwindSafe, Location};

/// Exit code of a program that gave up, as the README documents it.
const GAVE_UP: u8 = 1;

/// Runs the program so that a panic shows its place and nothing else: its own words may quote a cell.
pub fn guarded(run: impl FnOnce() -> u8) -> u8 {
    panic::set_hook(Box::new(|panic| say(&words(panic.location()))));
    panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or(GAVE_UP)
}

fn words(place: Option<&Location<'_>>) -> String {
    let place = place.map_or_else(|| "an unknown place".into(), ToString::to_string);
    format!(
        "error: the program has a fault, at {place} of synthward {}\n  remedy: please report this line; it holds nothing of \
         the table",
        env!("CARGO_PKG_VERSION")
    )
}

/// A line on standard error; when nobody reads it, nothing can be done.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Has the system write no core file of this process, whatever its user's settings: it would hold the rows in the clear.
///
/// # Errors
/// Where the system refuses.
#[cfg(unix)]
pub fn forbid_core_dumps() -> std::io::Result<()> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    // A core that is handed to a program, as crash reporters have it, knows no limit of size.
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}

#[cfg(not(unix))]
pub fn forbid_core_dumps() -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// Set in the process that is to panic.
    const PANIC: &str = "SYNTHWARD_TEST_PANIC";

    /// In a process of its own: the hook belongs to the process.
    #[test]
    fn a_panic_says_its_place_and_not_its_words() {
        if std::env::var_os(PANIC).is_some() {
            let code = guarded(|| panic!("the cell is {}", "zq-secret-7741"));
            let thread = guarded(|| {
                let panics = || rayon::join(|| [0u8; 2][std::hint::black_box(7)], || "zq-secret-7741".len());
                panics().0
            });
            say(&format!("codes {code} and {thread}"));
            return;
        }
        let test = "cli::secrecy::tests::a_panic_says_its_place_and_not_its_words";
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(PANIC, "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{said}");
        assert_eq!(said.matches("secrecy.rs:").count(), 2, "{said}");
        assert!(said.contains("please report") && said.contains("codes 1 and 1"), "{said}");
        assert!(!said.contains("zq-secret"), "{said}");
    }
}
