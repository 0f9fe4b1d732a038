//! The commands on folders of tables that hang together.

mod judge;
mod run;

use super::answers::{FittedLinked, GeneratedLinked};
use super::progress::{Bars, Progress};
use super::{Global, print_json};
use crate::cohort::{self, Format, LinkedCohort};
use crate::error::{Error, Result};
use crate::ingest::reference_files;
use crate::model::LinkedModel;
use crate::output;
use crate::train::{self, LedgerFile, LinkedRequest};
use std::path::Path;

pub use judge::{Folders, LinkedAudit, LinkedEvaluation};
pub use run::run;

/// Fits and writes a model of linked tables. Returns the model and the SHA-256 of its file.
pub fn fit(global: &Global, request: &LinkedRequest, ledger: &Path, output: &Path) -> Result<(LinkedModel, String)> {
    output::check_writable(output)?;
    let ledger = LedgerFile::new(ledger, &request.schema.linked.table());
    if request.schema.linked.assumed_public {
        tracing::warn!(
            "the schema's domains were read from the rows and are assumed public; the guarantee leaves them out"
        );
    }
    if request.budget.is_unlimited() {
        tracing::warn!("NOT PRIVATE: epsilon is infinite, so no noise is added; whatever is made is personal data");
    }
    let mut bars = Bars::new(global);
    let (model, sha256) = train::fit_linked(request, &ledger, output, &mut |progress| bars.at(progress))?;
    drop(bars);
    let (plan, file) = (&model.header.plan, output.display());
    match plan.not_private() {
        None => tracing::info!(
            "wrote {file}: {} tables at epsilon {:.4}, delta {:e}, unit: {}",
            model.parts.len(),
            plan.epsilon(),
            plan.delta(),
            plan.unit()
        ),
        Some(reason) => tracing::warn!("wrote {file}: {} tables, NOT PRIVATE: {reason}", model.parts.len()),
    }
    Ok((model, sha256))
}

/// Says what was fitted.
pub fn tell_fitted(output: &Path, model_sha256: &str, model: &LinkedModel) -> Result<()> {
    print_json(&FittedLinked { output, model_sha256, header: &model.header })
}

/// What a cohort of linked tables is to be.
pub struct Asked<'a> {
    pub persons: u64,
    pub seed: u64,
    pub output: &'a Path,
    pub format: Format,
    /// A folder whose reference tables are copied.
    pub reference: Option<&'a Path>,
}

/// Draws and writes a cohort of linked tables.
pub fn generate(global: &Global, model: &LinkedModel, model_sha256: &str, asked: &Asked<'_>) -> Result<()> {
    let Asked { persons, seed, output, format, reference } = *asked;
    if persons == 0 {
        return Err(Error::usage("no persons are asked for").expected("--rows of at least 1"));
    }
    if let Some(reason) = model.header.plan.not_private() {
        tracing::warn!("NOT PRIVATE: {reason}; the cohort is personal data");
    }
    output::check_new_folder(output)?;
    let files = match reference {
        Some(folder) => reference_files(folder, &model.header.schema)?,
        None => Vec::new(),
    };
    let cohort = LinkedCohort::new(model, format)?;
    let provenance = model.provenance(model_sha256, seed);
    let mut progress = Progress::new(global, "generate", persons);
    cohort::write_folder(&cohort, (persons, seed), &provenance, (output, format), &files, |done| {
        progress.at(done, "");
    })?;
    drop(progress);
    tracing::info!("wrote {persons} persons to {}", output.display());
    Ok(())
}

/// Says what was generated.
pub fn tell_generated(asked: &Asked<'_>, model_sha256: &str, model: &LinkedModel) -> Result<()> {
    let (persons, seed, output) = (asked.persons, asked.seed, asked.output);
    print_json(&GeneratedLinked { persons, seed, model_sha256, private: model.header.plan.is_private(), output })
}
