//! The commands on folders of tables that hang together.

mod judge;
mod run;

use super::answers::{self, Fitted, GeneratedLinked};
use super::fit::Kept;
use super::infer::tell_real;
use super::ledger::ledger_of;
use super::progress::{Bars, Progress};
use super::{Global, print_json};
use crate::cohort::{self, Condition, Format, LinkedCohort, Provenance, is_fhir, write_batches, write_batches_as};
use crate::error::{Error, Result};
use crate::infer::{LinkedFill, LinkedScores, score_linked};
use crate::ingest::{
    Reference, Source, read_linked, read_linked_table, read_linked_to_fill, reference_files, table_file,
};
use crate::model::LinkedModel;
use crate::output;
use crate::train::{self, LinkedRequest};
use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, UInt32Array};
use arrow_schema::{ArrowError, DataType, Field, Schema};
use std::path::Path;
use std::sync::Arc;

pub use judge::{Folders, LinkedAudit, LinkedEvaluation};
pub use run::{refuse_settings, run};

/// Fits and writes a model of linked tables, or ends its fit. Returns the model and the SHA-256 of its file.
pub fn fit(global: &Global, request: &LinkedRequest, kept: &Kept<'_>) -> Result<(LinkedModel, String)> {
    let output = kept.output;
    kept.check_output()?;
    if request.schema.history.is_none() {
        // Before anything is spent on a model beside which they cannot be copied.
        request.schema.check_for_fit()?;
        reference_files(request.folder, request.schema)?;
    }
    let ledger = ledger_of(kept.ledger, &request.schema.linked.table())?;
    if request.schema.linked.assumed_public {
        tracing::warn!(
            "the schema's domains were read from the rows and are assumed public; the guarantee leaves them out"
        );
    }
    if request.budget.is_unlimited() {
        tracing::warn!("NOT PRIVATE: epsilon is infinite, so no noise is added; whatever is made is personal data");
    }
    let mut bars = Bars::new(global);
    let (model, sha256) = train::fit_linked(request, &kept.place(global, &ledger), &mut |progress| bars.at(progress))?;
    drop(bars);
    let (plan, file) = (&model.header.plan, output.display());
    let what = match model.header.history {
        Some(_) => format!("{} of persons and their rows", model.header.model),
        None => format!("{} tables", model.parts.len()),
    };
    match plan.not_private() {
        None => tracing::info!(
            "wrote {file}: {what} at epsilon {:.4}, delta {:e}, unit: {}",
            plan.epsilon(),
            plan.delta(),
            plan.unit()
        ),
        Some(reason) => tracing::warn!("wrote {file}: {what}, NOT PRIVATE: {reason}"),
    }
    Ok((model, sha256))
}

/// Says what was fitted.
pub fn tell_fitted(output: &Path, model_sha256: &str, model: &LinkedModel) -> Result<()> {
    print_json(&Fitted { output, model_sha256, header: &model.header })
}

/// What a cohort of linked tables is to be.
pub struct Asked<'a> {
    pub persons: u64,
    pub seed: u64,
    pub output: &'a Path,
    pub format: Format,
    /// A folder whose reference tables are copied.
    pub reference: Option<&'a Path>,
    /// What all persons satisfy.
    pub condition: Option<&'a Condition>,
}

/// Draws and writes a cohort of linked tables. Returns the reference files that were copied beside them.
pub fn generate(global: &Global, model: &LinkedModel, model_sha256: &str, asked: &Asked<'_>) -> Result<Vec<Reference>> {
    let Asked { persons, seed, output, format, reference, condition } = *asked;
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
    for Reference { file, sha256 } in &files {
        tracing::info!("{} is declared public, and is copied as it is (SHA-256 {sha256})", file.display());
    }
    let mut cohort = LinkedCohort::new(model, format)?;
    let mut provenance = model.provenance(model_sha256, seed);
    if let Some(condition) = condition {
        cohort = cohort.given(condition)?;
        provenance.push(("synthward.where".to_owned(), condition.text().to_owned()));
    }
    let mut progress = Progress::new(global, "generate", persons);
    cohort::write_folder(&cohort, (persons, seed), &provenance, (output, format), &files, |done| {
        progress.at(done, "");
    })?;
    drop(progress);
    tracing::info!("wrote {persons} persons to {}, with copies of {} reference files", output.display(), files.len());
    Ok(files)
}

/// Draws and writes a cohort of so many rows, by a model of a table with an order.
pub fn generate_history(
    global: &Global,
    model: &LinkedModel,
    model_sha256: &str,
    (rows, seed): (u64, u64),
    output: &Path,
) -> Result<()> {
    if let Some(reason) = model.header.plan.not_private() {
        tracing::warn!("NOT PRIVATE: {reason}; the cohort is personal data");
    }
    let cohort = LinkedCohort::new(model, Format::of(output)?)?;
    let provenance = model.provenance(model_sha256, seed);
    let mut progress = Progress::new(global, "generate", rows);
    cohort::write_history(&cohort, (rows, seed), &provenance, output, |done| progress.at(done, ""))?;
    drop(progress);
    tracing::info!("wrote {rows} rows to {}", output.display());
    Ok(())
}

/// Says what was generated.
pub fn tell_generated(asked: &Asked<'_>, model_sha256: &str, model: &LinkedModel, copied: &[Reference]) -> Result<()> {
    let (persons, seed, output) = (asked.persons, asked.seed, asked.output);
    let condition = asked.condition.map(|asked| answers::Asked { condition: asked.text(), rarity: asked.rarity() });
    let private = model.header.plan.protects();
    print_json(&GeneratedLinked { persons, seed, model_sha256, private, output, condition, copied })
}

/// What a model of linked tables is asked about.
pub struct Inferring<'a> {
    pub model: &'a LinkedModel,
    /// Of the tables; of a table with an order, its file.
    pub folder: &'a Path,
    pub output: &'a Path,
    pub provenance: Provenance,
}

/// Scores persons and writes the scores beside their keys.
pub fn score(global: &Global, asked: &Inferring<'_>, seed: u64) -> Result<LinkedScores> {
    let Inferring { model, folder, output, provenance } = asked;
    Format::of(output)?;
    global.may_write(output)?;
    let schema = &model.header.schema;
    let tables = Arc::new(read_linked(folder, schema, u64::MAX)?.for_controller());
    tell_real();
    let scores = score_linked(model, &tables, seed)?;
    let root = &schema.tables[schema.tree()[0]];
    let source = match schema.history {
        Some(_) => Source::from(*folder),
        None => table_file(folder, &root.name)?,
    };
    let keys = read_linked_table(&source, root)?.batch(|name| root.key.as_deref() == Some(name))?.for_controller();
    let rows = scored(&keys, tables.file_rows(schema.tree()[0])?, &scores)?;
    write_batches(rows.schema(), provenance, output, |sink| sink(vec![rows]))?;
    tracing::info!("wrote {}", output.display());
    Ok(scores)
}

/// Fills the tables of a folder and writes them to another one.
pub fn fill(asked: &Inferring<'_>, seed: u64, format: Format) -> Result<()> {
    let Inferring { model, folder, output, provenance } = asked;
    output::check_new_folder(output)?;
    let schema = &model.header.schema;
    if format == Format::Ndjson && !is_fhir(schema) {
        return Err(Error::usage("these tables cannot be written as NDJSON that could be read again")
            .expected("tables named after FHIR resources, with columns of theirs alone")
            .remedy("choose another --format: csv, parquet or arrow"));
    }
    let reference = reference_files(folder, schema)?;
    let tables = Arc::new(read_linked_to_fill(folder, schema, u64::MAX)?.for_controller());
    tell_real();
    output::folder_atomically(output, |filled| {
        let read = |name: &str| {
            let table = schema.tables.iter().find(|table| table.name == name);
            let table = table.ok_or_else(|| Error::failed(format!("the schema has no table `{name}`")))?;
            Ok(read_linked_table(&table_file(folder, &table.name)?, table)?.plain(&table.alone())?.for_controller())
        };
        let write = |table: &str, rows: RecordBatch| {
            let name = table_file(folder, table)?.table_name();
            let file = filled.join(format!("{name}.{}", format.ending()));
            write_batches_as(format, rows.schema(), provenance, &file, |sink| sink(vec![rows]))
        };
        LinkedFill::new(model, &tables, seed).run(read, write)?;
        cohort::copy_files(&reference, filled)
    })
}

/// The keys of persons, which stand in these rows of the file, beside their scores.
fn scored(keys: &RecordBatch, rows: &[u32], scores: &LinkedScores) -> Result<RecordBatch> {
    let failed = |e: ArrowError| Error::failed(e.to_string());
    let places = UInt32Array::from(rows.to_vec());
    let mut fields: Vec<Field> = keys.schema_ref().fields().iter().map(|field| field.as_ref().clone()).collect();
    let taken = keys.columns().iter().map(|key| arrow_select::take::take(key, &places, None).map_err(failed));
    let mut arrays = taken.collect::<Result<Vec<ArrayRef>>>()?;
    let nats = scores.nats_of_person();
    let rows_of_person = &scores.rows_of_person;
    fields.push(Field::new("rows", DataType::Int64, false));
    arrays.push(Arc::new(Int64Array::from_iter_values(rows_of_person.iter().map(|&rows| rows as i64))));
    let per_row = nats.iter().zip(rows_of_person).map(|(nats, &rows)| nats / rows as f64).collect();
    let mut push = |name: String, nats: Vec<f64>| {
        fields.push(Field::new(name, DataType::Float64, false));
        arrays.push(Arc::new(Float64Array::from(nats)));
    };
    push("nats".into(), nats);
    push("nats_per_row".into(), per_row);
    scores.tables.iter().for_each(|table| push(format!("nats.{}", table.table), table.nats_of_person.clone()));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(failed)
}
