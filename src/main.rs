//! The `synthward` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    synthward::cli::main()
}
