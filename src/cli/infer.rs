//! `synthward infer`.

use super::answers::Inferred;
use super::secrecy::say;
use super::{Global, linked, print, print_json};
use crate::cohort::{Format, Provenance, write_batches};
use crate::encode::Records;
use crate::error::{Error, Result};
use crate::infer::{ColumnScore, Fill, LinkedScores, MAX_IMPUTATIONS, Scores, TableScores, score};
use crate::ingest::{self, RawTable, Source};
use crate::model::{AnyModel, LinkedModel, ModelFile};
use crate::output;
use crate::schema::Kind;
use arrow_array::{ArrayRef, Float64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Score the rows of a table by a model, or fill their missing cells.
///
/// With a model of linked tables, the persons in a folder are scored, or the tables in it are filled: each row given those
/// above it and the one before it. No privacy is spent: the model is released. But the rows are real, so the output and what is printed are for the
/// data's controller and lie outside the privacy guarantee.
#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("task").required(true).args(["score", "fill"])))]
#[command(after_help = "Examples:\n  synthward infer model.safetensors others.csv.gz --score -o scores.parquet\n  \
                        synthward infer model.safetensors others.csv.gz --fill --imputations 5 -o completed.parquet\n  \
                        synthward infer hospital.safetensors others/ --fill -o completed/")]
pub struct Infer {
    /// A model made by `fit`
    model: PathBuf,
    /// Rows under the model's own schema; for a model of linked tables, their folder
    table: String,
    /// Write the log likelihood of each row (nats, at the resolution of the model's cells) and print the mean
    /// cross-entropy and each column's perplexity; columns count given those before them. Of linked tables, write the nats
    /// of each person
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
    /// What is written: .parquet, .csv or .arrow; filled linked tables are written to a new folder
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// The files in the folder of filled linked tables [default: csv]
    #[arg(long, value_enum, value_name = "FORMAT", conflicts_with = "score")]
    format: Option<Format>,
}

/// The column of the scores.
const SCORE: &str = "log_likelihood_bound";

impl Infer {
    pub fn run(self, global: &Global) -> Result<()> {
        let imputations = self.imputations.unwrap_or(1);
        if !(1..=MAX_IMPUTATIONS).contains(&imputations) {
            return Err(Error::usage(format!("--imputations {imputations}"))
                .expected(format!("a number from 1 to {MAX_IMPUTATIONS}"))
                .remedy("ask for fewer versions of each row"));
        }
        let (model, sha256) = match AnyModel::read(&self.model)? {
            AnyModel::Linked(model, sha256) => return self.run_linked(global, &model, &sha256, imputations),
            AnyModel::Table(model, sha256) => (model, sha256),
        };
        if self.format.is_some() {
            return Err(
                Error::usage("--format is for linked tables").remedy("leave it out: the name of the output tells")
            );
        }
        Format::of(&self.output)?;
        global.may_write(&self.output)?;
        let table = ingest::read(&Source::from(&self.table), &model.header.schema.table.reading)?;
        tell_real();
        if self.score {
            self.score(global, &model, &sha256, &table)
        } else {
            self.fill(global, &model, &sha256, &table, imputations)
        }
    }

    fn run_linked(&self, global: &Global, model: &LinkedModel, sha256: &str, imputations: usize) -> Result<()> {
        let folder = Path::new(&self.table);
        if model.header.history.is_some() {
            if self.fill {
                return Err(Error::usage("--fill is for models of tables without an order")
                    .remedy("fit a model without `order` in the schema"));
            }
            if self.table == "-" {
                return Err(Error::usage("is no file, and the model is one of a single table with an order")
                    .file(folder)
                    .remedy("name a table"));
            }
        } else if folder.is_file() || self.table == "-" {
            return Err(Error::usage("is no folder, and the model is one of linked tables")
                .file(folder)
                .remedy("name the folder of the tables, or a model of a single table"));
        }
        if imputations != 1 {
            return Err(Error::usage("--imputations is for single tables")
                .remedy("leave it out; another --seed fills the tables in another way"));
        }
        let asked = linked::Inferring { model, folder, output: &self.output, provenance: self.provenance(sha256) };
        if self.score {
            let scores = linked::score(global, &asked, self.seed)?;
            self.tell_scored(global, &Inferred::ScoredLinked(&scores), &summary_linked(&scores))
        } else {
            linked::fill(&asked, self.seed, self.format.unwrap_or(Format::Csv))?;
            self.tell_filled(global, sha256, imputations)
        }
    }

    /// Where the scores themselves go to standard output, what they come to stands beside it.
    fn tell_scored(&self, global: &Global, answer: &Inferred, words: &str) -> Result<()> {
        match (global.json, output::is_standard(&self.output)) {
            (true, _) => print_json(answer),
            (false, true) => {
                say(words.trim_end());
                Ok(())
            }
            (false, false) => print(words),
        }
    }

    fn tell_filled(&self, global: &Global, sha256: &str, imputations: usize) -> Result<()> {
        tracing::info!("wrote {}", self.output.display());
        let (seed, output) = (self.seed, &*self.output);
        let answer = Inferred::Filled { imputations, seed, model_sha256: sha256, output };
        if global.json { print_json(&answer) } else { Ok(()) }
    }

    fn score(&self, global: &Global, model: &ModelFile, sha256: &str, table: &RawTable) -> Result<()> {
        let frame = table.load_to_score(&model.header.schema)?;
        let records = frame.map(|frame| Records::new(&frame, &model.domain, &model.header.codecs)).for_controller();
        let scores = score(model, &records, self.seed);
        let keys = table.batch(|name| is_key(model, name))?.for_controller();
        let rows = scored(&keys, &scores)?;
        write_batches(rows.schema(), &self.provenance(sha256), &self.output, |sink| sink(vec![rows]))?;
        tracing::info!("wrote {}", self.output.display());
        self.tell_scored(global, &Inferred::Scored(&scores), &summary(&scores))
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
        let batch = table.plain(&model.header.schema)?.for_controller();
        let fill = Fill::new(model, &records, &batch, table.is_text(), imputations, self.seed)?;
        write_batches(fill.schema(), &self.provenance(sha256), &self.output, |sink| fill.run(sink))?;
        self.tell_filled(global, sha256, imputations)
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

pub(super) fn tell_real() {
    tracing::info!("the rows are real: what is made of them is for the data's controller, outside the guarantee");
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
    text.push('\n');
    text.push_str(&table_of("given the columns before", &scores.columns));
    text
}

fn summary_linked(scores: &LinkedScores) -> String {
    let mut text =
        format!("mean cross-entropy: {:.4} nats per person, {} persons\n", scores.nats_per_person, scores.persons);
    text.push_str(&format!("{:.4} nats per row, {} rows\n", scores.nats_per_row, scores.rows));
    if scores.impossible_rows > 0 {
        text.push_str(&format!("impossible in the model: {} rows\n", scores.impossible_rows));
    }
    for TableScores { table, rows, nats_per_row, perplexity, columns, .. } in &scores.tables {
        text.push_str(&format!("\n{table}: {rows} rows\n"));
        text.push_str(&table_of("given what is told and before", columns));
        text.push_str(&format!("{:<34}{nats_per_row:>10.4}{perplexity:>12.3}\n", "a row"));
    }
    text
}

fn table_of(title: &str, columns: &[ColumnScore]) -> String {
    let mut text = format!("{title:<34}{:>10}{:>12}\n", "nats", "perplexity");
    for column in columns {
        text.push_str(&format!("{:<34}{:>10.4}{:>12.3}\n", column.column, column.nats, column.perplexity));
    }
    text
}
