//! `synthward fit`.

use super::answers::Fitted;
use super::ledger::{LedgerPlace, ledger_of};
use super::memory::MemoryLimit;
use super::progress::Bars;
use super::{Global, linked, print_json, stop};
use crate::config::{DEFAULT_DELTA, ModelChoice};
use crate::error::{Error, Result};
use crate::ingest::Source;
use crate::model::{ModelFile, ModelKind};
use crate::output;
use crate::schema::{AnySchema, LinkedSchema};
use crate::train::{self, Check, FitRequest, LedgerFile, LinkedRequest, Place};
use std::path::{Path, PathBuf};
use synthward_privacy::Budget;

/// Fit a differentially private model to a table.
///
/// The guarantee holds for a whole patient: all rows of the schema's privacy unit.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  synthward fit encounters.csv.gz --schema schema.toml --epsilon 1 -o model.safetensors"
)]
pub struct Fit {
    /// CSV (also gzipped), Parquet or Arrow IPC; `-` reads standard input; for a schema of linked tables, their folder
    table: String,
    /// What is public about the table; `inspect` drafts it
    #[arg(long, value_name = "SCHEMA")]
    schema: PathBuf,
    /// The privacy budget of this fit; `inf` adds no noise: a reference that is NOT PRIVATE
    #[arg(long, value_name = "E", allow_hyphen_values = true, value_parser = parse_epsilon)]
    epsilon: f64,
    /// Refused when it is not below 1 / (declared number of units), or above 1e-5 where none is declared; without meaning
    /// when epsilon is infinite
    #[arg(long, value_name = "D", default_value_t = DEFAULT_DELTA, allow_hyphen_values = true)]
    delta: f64,
    /// The part of epsilon that pays for learning the domains which are not public [default: such domains are refused]
    #[arg(long, value_name = "E", allow_hyphen_values = true)]
    discover_epsilon: Option<f64>,
    /// Which generator to fit
    #[arg(long, value_enum, default_value_t)]
    model: ModelChoice,
    #[command(flatten)]
    ledger: LedgerPlace,
    /// Fixes initialisation, never the privacy noise
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,
    /// The model file
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// Go on with the last unfinished fit of the same plan; spends nothing more
    #[arg(long)]
    resume: bool,
    #[command(flatten)]
    memory: MemoryLimit,
}

impl Fit {
    pub fn run(self, global: &Global) -> Result<()> {
        let read = AnySchema::read(&self.schema)?;
        let schema = match read.to_fit().map_err(|e| e.file(&self.schema))? {
            AnySchema::Linked(schema) => return self.run_linked(global, &schema),
            AnySchema::Table(schema) => schema,
        };
        let source: Source = self.table.as_str().into();
        let ledger = self.ledger.of(None, &self.schema);
        let request = FitRequest {
            source: &source,
            schema: &schema,
            model: kind(self.model),
            budget: budget(self.epsilon, self.delta)?,
            discover_epsilon: self.discover_epsilon,
            seed: self.seed,
            memory: self.memory.of_table()?,
        };
        let (model, sha256) = fit_and_write(global, &request, &Kept::of(&ledger, &self))?;
        if global.json {
            print_json(&Fitted { output: &self.output, model_sha256: &sha256, header: &model.header })
        } else {
            Ok(())
        }
    }
}

impl Fit {
    fn run_linked(self, global: &Global, schema: &LinkedSchema) -> Result<()> {
        if self.discover_epsilon.is_some() {
            return Err(match schema.history {
                None => Error::usage("--discover-epsilon is for single tables").remedy("leave it out"),
                Some(_) => Error::usage("--discover-epsilon is for tables without an order")
                    .remedy("leave it out, or `order` out of the schema"),
            });
        }
        let ledger = self.ledger.of(None, &self.schema);
        let request = LinkedRequest {
            folder: Path::new(&self.table),
            schema,
            model: kind(self.model),
            budget: budget(self.epsilon, self.delta)?,
            seed: self.seed,
            memory: self.memory.of_table()?,
        };
        let (model, sha256) = linked::fit(global, &request, &Kept::of(&ledger, &self))?;
        if global.json { linked::tell_fitted(&self.output, &sha256, &model) } else { Ok(()) }
    }
}

/// The model that a choice stands for.
pub fn kind(choice: ModelChoice) -> ModelKind {
    match choice {
        ModelChoice::Auto | ModelChoice::Marginal => ModelKind::Marginal,
        ModelChoice::Vae => ModelKind::Vae,
        ModelChoice::Diffusion => ModelKind::Diffusion,
        ModelChoice::Independent => ModelKind::Independent,
    }
}

/// Reads `--epsilon`. Infinity has to be spelt out: a number too large for a double is a typing error, and must not turn
/// the noise off.
fn parse_epsilon(text: &str) -> std::result::Result<f64, &'static str> {
    let spelt = ["inf", "infinity"].iter().any(|word| text.trim_start_matches('+').eq_ignore_ascii_case(word));
    match text.parse::<f64>() {
        Ok(epsilon) if epsilon != f64::INFINITY || spelt => Ok(epsilon),
        _ => Err("expected a number above 0 and at most 1000, or inf for a reference that is not private"),
    }
}

/// The target of a fit; an infinite epsilon is none.
pub fn budget(epsilon: f64, delta: f64) -> Result<Budget> {
    if epsilon == f64::INFINITY { Ok(Budget::unlimited()) } else { Ok(Budget::new(epsilon, delta)?) }
}

/// Where a fit is recorded and kept: see [`Place`].
pub struct Kept<'a> {
    pub ledger: &'a Path,
    pub output: &'a Path,
    pub tables: &'a str,
    pub resume: bool,
    pub check: &'a Check<'a>,
}

impl<'a> Kept<'a> {
    /// What a fit alone keeps.
    fn of(ledger: &'a Path, fit: &'a Fit) -> Self {
        Self { ledger, output: &fit.output, tables: "", resume: fit.resume, check: &|| Ok(()) }
    }

    pub fn place(&self, global: &Global, ledger: &'a LedgerFile) -> Place<'a> {
        let Self { output, tables, resume, check, .. } = *self;
        Place { ledger, output, tables, resume, overwrites: global.force, check, stop: stop() }
    }

    /// Refuses, before anything is spent on it, a model that cannot be written.
    pub fn check_output(&self) -> Result<()> {
        match output::is_standard(self.output) {
            true => Err(Error::usage("a model is written to a file").remedy("name one with -o")),
            false => output::check_writable(self.output),
        }
    }
}

/// Fits and writes a model, or goes on with it. Returns the model and the SHA-256 of its file.
pub fn fit_and_write(global: &Global, request: &FitRequest, kept: &Kept<'_>) -> Result<(ModelFile, String)> {
    let output = kept.output;
    kept.check_output()?;
    let ledger = ledger_of(kept.ledger, &request.schema.table)?;
    if request.schema.table.assumed_public {
        tracing::warn!(
            "the schema's domains were read from the rows and are assumed public; the guarantee leaves them out"
        );
    }
    if request.budget.is_unlimited() {
        tracing::warn!("NOT PRIVATE: epsilon is infinite, so no noise is added; whatever is made is personal data");
    }
    let mut bars = Bars::new(global);
    let (model, sha256) = train::fit(request, &kept.place(global, &ledger), &mut |progress| bars.at(progress))?;
    drop(bars);
    let plan = &model.header.plan;
    let (file, kind) = (output.display(), model.header.model);
    match plan.not_private() {
        None => tracing::info!(
            "wrote {file}: {kind} at epsilon {:.4}, delta {:e}, unit: {}",
            plan.epsilon(),
            plan.delta(),
            plan.unit()
        ),
        Some(reason) => tracing::warn!("wrote {file}: {kind}, NOT PRIVATE: {reason}"),
    }
    Ok((model, sha256))
}
