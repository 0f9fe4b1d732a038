//! `synthward completions`.

use super::{Cli, print};
use crate::error::{Error, Result};
use clap::CommandFactory;
use clap_complete::Shell;

/// Print completions for a shell.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  synthward completions bash > ~/.local/share/bash-completion/completions/synthward")]
pub struct Completions {
    /// The shell that is to complete
    shell: Shell,
}

impl Completions {
    pub fn run(self) -> Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "synthward", &mut script);
        print(&String::from_utf8(script).map_err(|_| Error::failed("the completions are not UTF-8 text"))?)
    }
}
