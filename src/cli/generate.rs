//! `synthward generate`.

use super::progress::Progress;
use super::{Global, print_json};
use crate::cohort::{self, Cohort, Format};
use crate::error::Result;
use crate::model::ModelFile;
use std::path::{Path, PathBuf};

/// Draw a synthetic cohort from a model.
///
/// This is post-processing: it may be repeated at no cost to anyone's privacy.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  synthward generate model.safetensors --rows 100000 -o cohort.parquet")]
pub struct Generate {
    /// A model made by `fit`
    model: PathBuf,
    /// Rows to draw
    #[arg(long, value_name = "N")]
    rows: u64,
    /// The same seed gives the same bytes, at any number of threads
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,
    /// The cohort: .parquet, .csv or .arrow
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

impl Generate {
    pub fn run(self, global: &Global) -> Result<()> {
        Format::of(&self.output)?;
        let (model, sha256) = ModelFile::read(&self.model)?;
        write_cohort(global, &model, &sha256, self.rows, self.seed, &self.output)?;
        if global.json {
            print_json(&serde_json::json!({
                "rows": self.rows,
                "seed": self.seed,
                "model_sha256": sha256,
                "output": self.output,
            }))?;
        }
        Ok(())
    }
}

/// Draws and writes a cohort, with progress and provenance.
pub fn write_cohort(
    global: &Global,
    model: &ModelFile,
    model_sha256: &str,
    rows: u64,
    seed: u64,
    output: &Path,
) -> Result<()> {
    if let Some(reason) = model.header.plan.not_private() {
        tracing::warn!("NOT PRIVATE: {reason}; the cohort is personal data");
    }
    let cohort = Cohort::new(model)?;
    let provenance = model.provenance(model_sha256, seed);
    let mut progress = Progress::new(global, "generate", rows);
    let mut done = 0;
    cohort::write(&cohort, rows, seed, &provenance, output, |written| {
        done += written;
        progress.at(done, "");
    })?;
    drop(progress);
    tracing::info!("wrote {rows} rows to {}", output.display());
    Ok(())
}
