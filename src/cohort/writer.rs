//! Files of rows: Parquet, CSV, Arrow IPC, NDJSON; whole or not at all.

use super::generate::{Cohort, generate};
use super::ndjson::NdjsonSink;
use crate::error::{Error, Result};
use crate::output;
use arrow_array::RecordBatch;
use arrow_cast::cast;
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use flate2::Compression;
use flate2::write::GzEncoder;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::basic::{Compression as Codec, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use rayon::prelude::*;
use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

/// Format of a file of rows, told by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    Parquet,
    Csv,
    Arrow,
    /// FHIR resources, where tables and columns are named as theirs; plain objects elsewhere.
    Ndjson,
}

impl Format {
    /// The ending of a file's name.
    pub fn ending(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Csv => "csv",
            Self::Arrow => "arrow",
            Self::Ndjson => "ndjson",
        }
    }

    /// The format that a file name asks for; of standard output, CSV.
    ///
    /// # Errors
    /// Usage error for any ending but `.parquet`, `.csv`, `.csv.gz`, `.arrow`.
    pub fn of(path: &Path) -> Result<Self> {
        match path.extension().and_then(|e| e.to_str()) {
            Some("parquet") => Ok(Self::Parquet),
            Some("csv") => Ok(Self::Csv),
            Some("arrow") => Ok(Self::Arrow),
            _ if output::is_standard(path) || is_packed(path) => Ok(Self::Csv),
            _ => Err(Error::usage("cannot tell the format of the output from its name").file(path).remedy(
                "end the name in .parquet, .csv, .csv.gz or .arrow, or write CSV to standard output with -o -",
            )),
        }
    }
}

/// Whether a name asks for CSV in gzip.
fn is_packed(path: &Path) -> bool {
    path.to_str().is_some_and(|name| name.ends_with(".csv.gz"))
}

/// What a cohort file says of its origin, as key-value metadata.
pub type Provenance = Vec<(String, String)>;

/// Draws `rows` rows and writes them to `path`: to a temporary name first, so
/// that a half-written file is never visible. Memory does not grow with `rows`; `progress` hears how many are written.
///
/// # Privacy
/// Post-processing of a released model.
pub fn write(
    cohort: &Cohort<'_>,
    rows: u64,
    seed: u64,
    provenance: &Provenance,
    path: &Path,
    mut progress: impl FnMut(u64),
) -> Result<()> {
    write_batches(cohort.schema(), provenance, path, |sink| {
        let mut written = 0;
        generate(cohort, rows, seed, |batches| {
            written += batches.iter().map(RecordBatch::num_rows).sum::<usize>() as u64;
            sink(batches)?;
            progress(written);
            Ok(())
        })
    })
}

/// Writes the batches that `fill` hands on to `path`, in order: to a temporary
/// name first. What is handed on together is one row group of a Parquet file.
///
/// # Errors
/// Usage error for a name that tells no format; what `fill` gives; failure to write.
pub fn write_batches(
    schema: SchemaRef,
    provenance: &Provenance,
    path: &Path,
    fill: impl FnOnce(&mut dyn FnMut(Vec<RecordBatch>) -> Result<()>) -> Result<()>,
) -> Result<()> {
    write_batches_as(Format::of(path)?, schema, provenance, path, fill)
}

/// As [`write_batches`], in a format that the name need not tell.
///
/// # Errors
/// What `fill` gives; failure to write.
pub fn write_batches_as(
    format: Format,
    schema: SchemaRef,
    provenance: &Provenance,
    path: &Path,
    fill: impl FnOnce(&mut dyn FnMut(Vec<RecordBatch>) -> Result<()>) -> Result<()>,
) -> Result<()> {
    let table = path.file_stem().unwrap_or_default().to_string_lossy();
    if output::is_standard(path) {
        return output::to_standard(|out| fill_sink(sink(format, (&table, out), &schema, provenance)?, schema, fill));
    }
    output::atomically(path, |file| {
        if !is_packed(path) {
            return fill_sink(sink(format, (&table, file), &schema, provenance)?, schema, fill);
        }
        let mut packed = GzEncoder::new(file, Compression::default());
        fill_sink(sink(format, (&table, &mut packed), &schema, provenance)?, schema, fill)?;
        packed.finish().map(drop).map_err(failed)
    })
}

/// A file of these rows, in memory.
///
/// # Errors
/// A type that the format does not know.
pub fn parquet_bytes(rows: RecordBatch) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut sink = sink(Format::Parquet, ("", &mut bytes), &rows.schema(), &Vec::new())?;
    sink.write(vec![rows])?;
    sink.finish()?;
    Ok(bytes)
}

/// Fills a sink with batches; where there are none, with one that has no rows.
fn fill_sink(
    mut sink: Box<dyn Sink + '_>,
    schema: SchemaRef,
    fill: impl FnOnce(&mut dyn FnMut(Vec<RecordBatch>) -> Result<()>) -> Result<()>,
) -> Result<()> {
    let mut empty = true;
    fill(&mut |batches| {
        empty = false;
        sink.write(batches)
    })?;
    if empty {
        sink.write(vec![RecordBatch::new_empty(schema)])?;
    }
    sink.finish()
}

/// What went wrong is not repeated: the error of a writer may quote a cell, and `infer` writes real ones.
pub(super) fn failed<E>(_error: E) -> Error {
    Error::failed("the table cannot be written").remedy(
        "check the room on the disk; where a value does not fit the format, write another one: .parquet or .arrow",
    )
}

fn with_provenance(schema: &Schema, provenance: &Provenance) -> SchemaRef {
    let metadata: HashMap<String, String> = provenance.iter().cloned().collect();
    Arc::new(schema.clone().with_metadata(metadata))
}

/// Where rows of a table of this name and schema go, in a file of this format.
pub(super) fn sink<'f>(
    format: Format,
    (table, file): (&str, impl Write + Send + 'f),
    schema: &SchemaRef,
    provenance: &Provenance,
) -> Result<Box<dyn Sink + 'f>> {
    Ok(match format {
        Format::Parquet => Box::new(ParquetSink::new(file, schema, provenance)?),
        Format::Csv => Box::new(CsvSink(arrow_csv::WriterBuilder::new().with_header(true).build(file))),
        Format::Ndjson => Box::new(NdjsonSink::new(file, table, schema)),
        Format::Arrow => Box::new(ArrowSink::new(file, schema.clone(), provenance)?),
    })
}

pub(super) trait Sink {
    fn write(&mut self, batches: Vec<RecordBatch>) -> Result<()>;
    fn finish(self: Box<Self>) -> Result<()>;
}

/// The types as Parquet has them. It knows no seconds and no days of 64 bits: such numbers would be written without a
/// word on what they count, and most readers would take them for integers.
fn in_parquet(schema: &Schema) -> SchemaRef {
    let known = |data_type: &DataType| match data_type {
        DataType::Timestamp(TimeUnit::Second, zone) => DataType::Timestamp(TimeUnit::Millisecond, zone.clone()),
        DataType::Time32(_) => DataType::Time32(TimeUnit::Millisecond),
        DataType::Date64 => DataType::Date32,
        other => other.clone(),
    };
    let field = |field: &Arc<Field>| field.as_ref().clone().with_data_type(known(field.data_type()));
    Arc::new(Schema::new(schema.fields().iter().map(field).collect::<Vec<_>>()))
}

/// One row group a wave, its columns encoded in parallel.
struct ParquetSink<W: Write + Send> {
    schema: SchemaRef,
    file: SerializedFileWriter<W>,
    groups: ArrowRowGroupWriterFactory,
    number: usize,
}

impl<W: Write + Send> ParquetSink<W> {
    fn new(file: W, schema: &Schema, provenance: &Provenance) -> Result<Self> {
        // In the Arrow schema as well: pyarrow and R look for metadata there, and nowhere else once there is one.
        let schema = with_provenance(&in_parquet(schema), provenance);
        let metadata = provenance.iter().map(|(k, v)| KeyValue::new(k.clone(), v.clone())).collect();
        let properties = WriterProperties::builder()
            .set_compression(Codec::ZSTD(ZstdLevel::try_new(1).map_err(failed)?))
            .set_created_by(format!("synthward {}", env!("CARGO_PKG_VERSION")))
            .set_key_value_metadata(Some(metadata))
            .build();
        let writer = ArrowWriter::try_new(file, schema.clone(), Some(properties)).map_err(failed)?;
        let (file, groups) = writer.into_serialized_writer().map_err(failed)?;
        Ok(Self { schema, file, groups, number: 0 })
    }
}

impl<W: Write + Send> Sink for ParquetSink<W> {
    fn write(&mut self, batches: Vec<RecordBatch>) -> Result<()> {
        let writers = self.groups.create_column_writers(self.number).map_err(failed)?;
        // The schema is flat, so a column is a leaf.
        let chunks: Vec<ArrowColumnChunk> = writers
            .into_par_iter()
            .enumerate()
            .map(|(index, mut writer)| {
                let field = self.schema.field(index);
                for batch in &batches {
                    for leaf in compute_leaves(field, &cast(batch.column(index), field.data_type())?)? {
                        writer.write(&leaf)?;
                    }
                }
                writer.close()
            })
            .collect::<Result<_, _>>()
            .map_err(failed)?;
        let mut group = self.file.next_row_group().map_err(failed)?;
        for chunk in chunks {
            chunk.append_to_row_group(&mut group).map_err(failed)?;
        }
        group.close().map_err(failed)?;
        self.number += 1;
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.file.close().map_err(failed)?;
        Ok(())
    }
}

struct CsvSink<W: Write>(arrow_csv::Writer<W>);

impl<W: Write> Sink for CsvSink<W> {
    fn write(&mut self, batches: Vec<RecordBatch>) -> Result<()> {
        batches.iter().try_for_each(|batch| self.0.write(batch)).map_err(failed)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

struct ArrowSink<W: Write>(arrow_ipc::writer::FileWriter<W>);

impl<W: Write> ArrowSink<W> {
    fn new(file: W, schema: SchemaRef, provenance: &Provenance) -> Result<Self> {
        let schema = with_provenance(&schema, provenance);
        Ok(Self(arrow_ipc::writer::FileWriter::try_new(file, &schema).map_err(failed)?))
    }
}

impl<W: Write> Sink for ArrowSink<W> {
    fn write(&mut self, batches: Vec<RecordBatch>) -> Result<()> {
        batches.iter().try_for_each(|batch| self.0.write(batch)).map_err(failed)
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.0.finish().map_err(failed)
    }
}
