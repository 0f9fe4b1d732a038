//! `synthward inspect`.

use super::secrecy::say;
use super::{Global, print, print_json};
use crate::error::Result;
use crate::{ingest, output};
use std::path::PathBuf;

/// Draft a schema from a table.
///
/// What is read from the rows is marked as such: check it against a codebook
/// before you fit. Rules that hold in every row are suggested as constraints.
/// The draft is as sensitive as the table.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  synthward inspect encounters.csv.gz --unit patient_nbr -o schema.toml")]
pub struct Inspect {
    /// CSV (also gzipped), Parquet or Arrow IPC; `-` reads standard input
    table: String,
    /// The column that names the patient, or `row` when each row is a different person
    #[arg(long, value_name = "COL|row")]
    unit: Option<String>,
    /// Vouch that everything the draft reads from the rows is public; recorded in every output
    #[arg(long)]
    assume_public: bool,
    /// Write the schema here instead of to standard output
    #[arg(long, short, value_name = "SCHEMA")]
    output: Option<PathBuf>,
}

impl Inspect {
    pub fn run(self, global: &Global) -> Result<()> {
        let raw = ingest::read(&self.table.as_str().into())?;
        let mut inspection = ingest::inspect(&raw, self.unit.as_deref(), self.assume_public)?;
        let comparable = inspection.comparable();
        if comparable.modelled().next().is_some() {
            let suggested = raw.load(&comparable)?.map(|frame| ingest::suggest(&frame, &comparable));
            inspection.suggest(suggested.for_controller());
        }
        if !global.quiet {
            say(inspection.render().trim_end());
        }
        match &self.output {
            Some(path) => {
                output::write_bytes(path, inspection.to_toml().as_bytes())?;
                tracing::info!("wrote {}", path.display());
            }
            None if global.json => {}
            None => print(&inspection.to_toml())?,
        }
        if global.json { print_json(&inspection) } else { Ok(()) }
    }
}
