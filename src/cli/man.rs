//! `synthward man`.

use super::Cli;
use crate::error::{Error, Result, why};
use crate::output;
use clap::CommandFactory;
use clap_mangen::Man as Page;
use std::path::PathBuf;

/// Write the manual pages: one of the program, one a command.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  synthward man ~/.local/share/man/man1")]
pub struct Man {
    /// The folder for them
    folder: PathBuf,
}

impl Man {
    pub fn run(self) -> Result<()> {
        std::fs::create_dir_all(&self.folder).map_err(|e| {
            Error::failed(format!("the folder cannot be made ({})", why(e.kind())))
                .file(&self.folder)
                .remedy("name a folder that you may write to")
        })?;
        let mut program = Cli::command();
        // Gives subcommands the global options and their full names.
        program.build();
        let commands = program.get_subcommands().filter(|command| command.get_name() != "help").cloned();
        for command in commands.chain([program.clone()]) {
            let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
            let mut page = Vec::new();
            Page::new(command).render(&mut page).map_err(|e| Error::failed(format!("a page cannot be made ({e})")))?;
            output::write_bytes(&self.folder.join(format!("{name}.1")), &page)?;
        }
        tracing::info!("wrote {}", self.folder.display());
        Ok(())
    }
}
