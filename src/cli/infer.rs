//! `synthward infer`.

use super::answers::Inferred;
use super::{Global, print, print_json};
use crate::cohort::{Format, Provenance, write_batches};
use crate::encode::Records;
use crate::error::{Error, Result};
use crate::infer::{Fill, MAX_IMPUTATIONS, Scores, score};
use crate::ingest::{self, RawTable, Source};
use crate::model::ModelFile;
use crate::output;
use crate::schema::Kind;
use arrow_array::{ArrayRef, Float64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use std::path::PathBuf;
use std::sync::Arc;

/// Score the rows of a table by a model, or fill their missing cells.
///
/// No privacy is spent: the model is released. But the rows are real, so the output and what is printed are for the
/// data's controller and lie outside the privacy guarantee.
#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("task").required(true).args(["score", "fill"])))]
#[command(after_help = "Examples:\n  synthward infer model.safetensors others.csv.gz --score -o scores.parquet\n  \
                        synthward infer model.safetensors others.csv.gz --fill --imputations 5 -o completed.parquet")]
pub struct Infer {
    /// A model made by `fit`
    model: PathBuf,
    /// Rows under the model's own schema
    table: String,
    /// Write the log likelihood of each row (nats, at the resolution of the model's cells) and print the mean
    /// cross-entropy and each column's perplexity; columns count given those before them
    #[arg(long)]
    score: bool,
    /// Write the table with each missing cell drawn given the known cells of its row
    #[arg(long)]
    fill: bool,
    /// Versions of each row [default: 1]; more than one are numbered by a column `imputation`
    #[arg(long, value_name = "M", conflicts_with = "score")]
    imputations: Option<usize>,
    /// The same seed gives the same output, at any number of threads
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,
    /// What is written: .parquet, .csv or .arrow
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

/// The column of the scores.
const SCORE: &str = "log_likelihood_bound";

impl Infer {
    pub fn run(self, global: &Global) -> Result<()> {
        Format::of(&self.output)?;
        output::check_writable(&self.output)?;
        let imputations = self.imputations.unwrap_or(1);
        if !(1..=MAX_IMPUTATIONS).contains(&imputations) {
            return Err(Error::usage(format!("--imputations {imputations}"))
                .expected(format!("a number from 1 to {MAX_IMPUTATIONS}"))
                .remedy("ask for fewer versions of each row"));
        }
        let (model, sha256) = ModelFile::read(&self.model)?;
        let table = ingest::read(&Source::from(&self.table))?;
        tracing::info!("the rows are real: what is made of them is for the data's controller, outside the guarantee");
        if self.score {
            self.score(global, &model, &sha256, &table)
        } else {
            self.fill(global, &model, &sha256, &table, imputations)
        }
    }

    fn score(&self, global: &Global, model: &ModelFile, sha256: &str, table: &RawTable) -> Result<()> {
        let frame = table.load_to_score(&model.header.schema)?;
        let records = frame.map(|frame| Records::new(&frame, &model.domain, &model.header.codecs)).for_controller();
        let scores = score(model, &records, self.seed);
        let keys = table.batch(|name| is_key(model, name))?.for_controller();
        let rows = scored(&keys, &scores)?;
        write_batches(rows.schema(), &self.provenance(sha256), &self.output, |sink| sink(vec![rows]))?;
        tracing::info!("wrote {}", self.output.display());
        if global.json { print_json(&Inferred::Scored(&scores)) } else { print(&summary(&scores)) }
    }

    fn fill(
        &self,
        global: &Global,
        model: &ModelFile,
        sha256: &str,
        table: &RawTable,
        imputations: usize,
    ) -> Result<()> {
        let frame = table.load_to_fill(&model.header.schema)?;
        let records =
            frame.map(|frame| Records::with_cells(&frame, &model.domain, &model.header.codecs)).for_controller();
        let batch = table.batch(|_| true)?.for_controller();
        let fill = Fill::new(model, &records, &batch, table.is_text(), imputations, self.seed)?;
        write_batches(fill.schema(), &self.provenance(sha256), &self.output, |sink| fill.run(sink))?;
        tracing::info!("wrote {}", self.output.display());
        if global.json {
            let (seed, output) = (self.seed, &*self.output);
            print_json(&Inferred::Filled { imputations, seed, model_sha256: sha256, output })?;
        }
        Ok(())
    }

    /// What the file says of its origin: not what a cohort says, for it is no cohort.
    fn provenance(&self, sha256: &str) -> Provenance {
        [
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("model_sha256", sha256.to_owned()),
            ("seed", self.seed.to_string()),
            ("private", "not private: holds what real rows say".to_owned()),
        ]
        .map(|(key, value)| (format!("synthward.{key}"), value))
        .into()
    }
}

/// Whether a column tells rows apart, so that scores can be joined with them.
fn is_key(model: &ModelFile, name: &str) -> bool {
    let schema = &model.header.schema;
    let kept = |column: &crate::schema::Column| column.kind == Kind::Identifier && !column.drop;
    schema.table.unit_column() == Some(name) || schema.column(name).is_some_and(kept)
}

/// The keys of the rows beside their scores.
fn scored(keys: &RecordBatch, scores: &Scores) -> Result<RecordBatch> {
    let mut fields: Vec<Field> = keys.schema_ref().fields().iter().map(|field| field.as_ref().clone()).collect();
    let mut arrays = keys.columns().to_vec();
    fields.push(Field::new(SCORE, DataType::Float64, false));
    arrays.push(Arc::new(Float64Array::from(scores.log_likelihood_bound.clone())) as ArrayRef);
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(|e| Error::failed(e.to_string()))
}

fn summary(scores: &Scores) -> String {
    let mut text =
        format!("mean cross-entropy: {:.4} nats per record, {} records\n", scores.nats_per_record, scores.rows);
    if scores.impossible_rows > 0 {
        text.push_str(&format!("impossible in the model: {} records\n", scores.impossible_rows));
    }
    text.push_str(&format!("\n{:<34}{:>10}{:>12}\n", "given the columns before", "nats", "perplexity"));
    for column in &scores.columns {
        text.push_str(&format!("{:<34}{:>10.4}{:>12.3}\n", column.column, column.nats, column.perplexity));
    }
    text
}
