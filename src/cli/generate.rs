//! `synthward generate`.

use super::answers::{Asked, Generated};
use super::progress::Progress;
use super::{Global, linked, print_json};
use crate::cohort::{self, Cohort, Condition, Format, Rarity};
use crate::error::{Error, Result};
use crate::model::{AnyModel, LinkedModel, ModelFile};
use crate::report::words::figure;
use std::path::{Path, PathBuf};

/// Draw a synthetic cohort from a model.
///
/// This is post-processing: it may be repeated at no cost to anyone's privacy.
#[derive(clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Generate {
    /// A model made by `fit`
    model: PathBuf,
    /// Rows to draw; of a model of linked tables, persons
    #[arg(long, value_name = "N")]
    rows: u64,
    /// The same seed gives the same bytes, at any number of threads
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,
    /// Only rows that satisfy a condition, such as "age >= 65 and readmitted = '<30'"; of linked tables, persons
    #[arg(long = "where", value_name = "CONDITION")]
    condition: Option<String>,
    /// The cohort: .parquet, .csv, .csv.gz or .arrow; `-` writes CSV to standard output; of a model of linked tables, a new
    /// folder
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// The files in the folder of linked tables [default: parquet]
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<Format>,
    /// The folder from which the reference tables of linked tables are copied
    #[arg(long, value_name = "DIR")]
    reference: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
Examples:
  synthward generate model.safetensors --rows 100000 -o cohort.parquet
  synthward generate model.safetensors --rows 5000 --where \"age >= 65 and readmitted = '<30'\" -o old.parquet

Conditions:
  column = value   !=   <   <=   >   >=        numbers, true, false; texts and dates in 'single quotes'
  column in ('a', 'b')   not in (...)   between 1 and 9   is null   is not null
  joined by and, or, not and parentheses; names that are no plain words go in \"double quotes\"
Ordinal columns are ordered as their categories stand in the schema. A missing cell satisfies no comparison. All rows of
a patient satisfy the condition; of linked tables it is one on the columns of the persons' own table. Rare conditions cost
no more than frequent ones. Rows also hold the constraints of the schema; what they and the condition exclude together
ends with exit code 3.";

impl Generate {
    pub fn run(self, global: &Global) -> Result<()> {
        let (model, sha256) = match AnyModel::read(&self.model)? {
            AnyModel::Linked(model, sha256) => return self.run_linked(global, &model, &sha256),
            AnyModel::Table(model, sha256) => (model, sha256),
        };
        if self.format.is_some() || self.reference.is_some() {
            return Err(Error::usage("--format and --reference are for linked tables").remedy("leave them out"));
        }
        Format::of(&self.output)?;
        global.may_write(&self.output)?;
        let condition = self.condition.as_deref().map(|text| Condition::new(&model, text, self.seed)).transpose()?;
        if let Some(condition) = &condition {
            log_rarity(condition.rarity(), "units", !model.header.schema.constraints.is_empty());
        }
        write_cohort(global, &model, &sha256, condition.as_ref(), self.rows, self.seed, &self.output)?;
        if global.json {
            print_json(&Generated {
                rows: self.rows,
                seed: self.seed,
                model_sha256: &sha256,
                private: model.header.plan.protects(),
                output: &self.output,
                condition: condition.as_ref().map(|asked| Asked { condition: asked.text(), rarity: asked.rarity() }),
            })?;
        }
        Ok(())
    }
}

impl Generate {
    fn run_linked(self, global: &Global, model: &LinkedModel, sha256: &str) -> Result<()> {
        if model.header.history.is_some() {
            return self.run_history(global, model, sha256);
        }
        if self.condition.is_some() && model.network.is_some() {
            return Err(Error::usage("--where is for models of linked tables without a network")
                .remedy("leave it out, or fit a model with --model marginal"));
        }
        let condition =
            self.condition.as_deref().map(|text| Condition::of_persons(model, text, self.seed)).transpose()?;
        if let Some(condition) = &condition {
            log_rarity(
                condition.rarity(),
                "persons",
                model.header.schema.tables.iter().any(|table| !table.constraints.is_empty()),
            );
        }
        let asked = linked::Asked {
            persons: self.rows,
            seed: self.seed,
            output: &self.output,
            format: self.format.unwrap_or(Format::Parquet),
            reference: self.reference.as_deref(),
            condition: condition.as_ref(),
        };
        let copied = linked::generate(global, model, sha256, &asked)?;
        if global.json { linked::tell_generated(&asked, sha256, model, &copied) } else { Ok(()) }
    }
}

impl Generate {
    /// Of a table with an order.
    fn run_history(self, global: &Global, model: &LinkedModel, sha256: &str) -> Result<()> {
        if self.condition.is_some() {
            return Err(Error::usage("--where is for models of tables without an order")
                .remedy("leave it out, or fit a model without `order` in the schema"));
        }
        if self.format.is_some() || self.reference.is_some() {
            return Err(Error::usage("--format and --reference are for linked tables").remedy("leave them out"));
        }
        let (rows, seed, output) = (self.rows, self.seed, &*self.output);
        Format::of(output)?;
        global.may_write(output)?;
        linked::generate_history(global, model, sha256, (rows, seed), output)?;
        let private = model.header.plan.protects();
        let answer = Generated { rows, seed, model_sha256: sha256, private, output, condition: None };
        if global.json { print_json(&answer) } else { Ok(()) }
    }
}

fn log_rarity(rarity: &Rarity, of: &str, has_constraints: bool) {
    let Rarity { probability, expected_units, units, expected_units_std, .. } = rarity;
    let doubt = rarity
        .expected_units_opinion_std
        .map_or_else(String::new, |std| format!(" and {std:.1} by what the model is unsure of"));
    let before = if has_constraints { ", before its constraints" } else { "" };
    tracing::info!(
        "the condition has probability {} in the model{before}: about {expected_units:.1} of {units:.0} {of}, \
         give or take {expected_units_std:.1} by chance{doubt}",
        figure(*probability)
    );
}

/// Draws and writes a cohort, with progress and provenance.
pub fn write_cohort(
    global: &Global,
    model: &ModelFile,
    model_sha256: &str,
    condition: Option<&Condition>,
    rows: u64,
    seed: u64,
    output: &Path,
) -> Result<()> {
    if let Some(reason) = model.header.plan.not_private() {
        tracing::warn!("NOT PRIVATE: {reason}; the cohort is personal data");
    }
    let mut cohort = Cohort::new(model, Format::of(output)?)?;
    let mut provenance = model.provenance(model_sha256, seed);
    if let Some(condition) = condition {
        cohort = cohort.given(condition)?;
        provenance.push(("synthward.where".to_owned(), condition.text().to_owned()));
    }
    let mut progress = Progress::new(global, "generate", rows);
    cohort::write(&cohort, rows, seed, &provenance, output, |written| progress.at(written, ""))?;
    drop(progress);
    tracing::info!("wrote {rows} rows to {}", output.display());
    Ok(())
}
