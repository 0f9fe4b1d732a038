//! About how many persons linked tables have, and how many rows each has, told from the sizes of the files.

use super::estimate::HeldOut;
use super::rows::{FileSize, Storage, bytes};
use crate::cohort::{Format, LinkedCohort, is_fhir, write_folder, write_history};
use crate::error::Result;
use crate::ingest::{Source, table_file};
use crate::schema::{LinkedSchema, Schema};
use crate::train::{LinkedRequest, probe};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Persons of the two invented folders whose difference is what a row takes, and rows that each row of theirs has below it.
const FEW_PERSONS: u64 = 500;
const MORE_PERSONS: u64 = 1500;
const ROWS_OF_A_PARENT: f64 = 1.0;
/// Rows of two invented tables with an order, likewise.
const FEW_ROWS: u64 = 1000;
const MORE_ROWS: u64 = 3000;
/// Fewest persons that are fitted, or held out.
const LEAST_PERSONS: f64 = 20.0;
/// Tables are not taken to be fuller than to this part of the most rows that a parent may have.
const FULLEST: f64 = 0.95;

/// Persons and rows of linked tables, as far as they can be known without reading one.
#[derive(Clone, Debug)]
pub struct Persons {
    pub fitted: f64,
    pub held_out: f64,
    /// Rows of those who are fitted, in all tables; of a table with an order, its own.
    pub rows: f64,
    /// Rows of a person in the table that has most of them.
    pub rows_of_the_fullest: f64,
    /// Rows of a row of the parent, by the place of each table in the schema.
    pub rows_of_a_parent: Vec<f64>,
    /// In which the tables of the cohort are written.
    pub format: Format,
}

impl Persons {
    /// Told from the files. `scratch` is a folder for invented ones.
    ///
    /// # Errors
    /// A file that is not there; what planning a fit refuses; a folder that cannot be written to.
    pub fn told(request: &LinkedRequest, held_out: HeldOut<'_>, scratch: &Path) -> Result<Self> {
        match &request.schema.history {
            None => Self::of_folder(request, held_out, scratch),
            Some(flat) => Self::of_table(request, flat, held_out, scratch),
        }
    }

    fn of_folder(request: &LinkedRequest, held_out: HeldOut<'_>, scratch: &Path) -> Result<Self> {
        let schema = request.schema;
        let files = files(schema, request.folder)?;
        let is_ndjson = |path: &PathBuf| Storage::of(path, true).format == Format::Ndjson;
        let writes_ndjson = is_fhir(schema) && files.values().all(is_ndjson);
        let storages: BTreeMap<usize, Storage> =
            files.iter().map(|(&table, file)| (table, Storage::of(file, writes_ndjson))).collect();
        let invented = probe::invent_linked(request, FEW_PERSONS as f64, &vec![ROWS_OF_A_PARENT; schema.tables.len()])?;
        let mut sizes = BTreeMap::new();
        for format in [Format::Csv, Format::Ndjson, Format::Parquet, Format::Arrow] {
            let stored: BTreeMap<usize, Storage> =
                storages.iter().filter(|(_, storage)| storage.format == format).map(|(&t, &s)| (t, s)).collect();
            if stored.is_empty() {
                continue;
            }
            let cohort = LinkedCohort::new(&invented, format)?;
            let sample = |persons: u64| {
                let folder = scratch.join(format!("{persons} persons as {}", format.ending()));
                let rows = write_folder(&cohort, (persons, 0), &Vec::new(), (&folder, format), &[], |_| {})?;
                let measured = schema.tree().into_iter().zip(rows).filter_map(|(table, rows)| {
                    let file = folder.join(&schema.tables[table].name).with_extension(format.ending());
                    Some((table, stored.get(&table)?.bytes(&file).map(|bytes| (rows as f64, bytes))))
                });
                measured.map(|(table, size)| Ok((table, size?))).collect::<Result<BTreeMap<usize, (f64, f64)>>>()
            };
            let (few, more) = (sample(FEW_PERSONS)?, sample(MORE_PERSONS)?);
            for (&table, &storage) in &stored {
                let columns = &schema.tables[table].columns;
                sizes.insert(table, FileSize::between(few[&table], more[&table], columns, storage));
            }
        }
        let root = schema.tree()[0];
        let told = |files: &BTreeMap<usize, PathBuf>| -> Result<BTreeMap<usize, f64>> {
            files.iter().map(|(&table, file)| Ok((table, sizes[&table].rows(bytes(file)?)))).collect()
        };
        let rows = told(&files)?;
        let others = held_out.others().map(|holdout| told(&self::files(schema, holdout)?)).transpose()?;
        let all = schema.linked.units.map_or(rows[&root], |units| units as f64);
        // Whatever the size of a row was wrong by, it was wrong by in all files.
        let scale = all / rows[&root];
        let (fitted, held_out) = divided(held_out, all, others.map(|rows| rows[&root] * scale));
        let of_a_parent = |table: usize| match schema.parent(table).filter(|_| rows.contains_key(&table)) {
            None => 1.0,
            Some(parent) => (rows[&table] / rows[&parent]).min(FULLEST * f64::from(schema.tables[table].max_rows())),
        };
        Ok(Self {
            fitted,
            held_out,
            rows: rows.values().sum::<f64>() * scale * fitted / all,
            rows_of_the_fullest: rows.values().fold(0.0, |most: f64, &rows| most.max(rows)) / rows[&root],
            rows_of_a_parent: (0..schema.tables.len()).map(of_a_parent).collect(),
            format: storages[&root].format,
        })
    }

    /// Of a table with an order. Where nobody says how many persons there are, they are taken to be the rarer the more rows
    /// they have.
    fn of_table(request: &LinkedRequest, flat: &Schema, held_out: HeldOut<'_>, scratch: &Path) -> Result<Self> {
        let storage = Storage::of(request.folder, false);
        let most = f64::from(flat.table.max_rows_per_unit());
        let usual = probe::mean_rows(flat.table.max_rows_per_unit());
        let invented = probe::invent_linked(request, FEW_PERSONS as f64, &[1.0, usual])?;
        let cohort = LinkedCohort::new(&invented, storage.format)?;
        let sample = |rows: u64| {
            let file = scratch.join(format!("{rows} rows.{}", storage.ending()));
            write_history(&cohort, (rows, 0), &Vec::new(), &file, |_| {})?;
            Ok::<_, crate::error::Error>((rows as f64, storage.bytes(&file)?))
        };
        let size = FileSize::between(sample(FEW_ROWS)?, sample(MORE_ROWS)?, &flat.columns, storage);
        let told = size.rows(bytes(request.folder)?);
        // Nobody is in the table without a row.
        let rows = flat.table.units.map_or(told, |units| told.max(units as f64));
        let each = |units: u64| (rows / units as f64).min((FULLEST * most).max(1.0));
        let each = flat.table.units.map_or(usual, each);
        let all = flat.table.units.map_or(rows / each, |units| units as f64);
        let others = held_out.others().map(|holdout| bytes(holdout).map(|bytes| size.rows(bytes))).transpose()?;
        let (fitted, held_out) = divided(held_out, all, others.map(|others| all * others / told));
        Ok(Self {
            fitted,
            held_out,
            rows: rows * fitted / all,
            rows_of_the_fullest: each,
            rows_of_a_parent: vec![1.0, each],
            format: storage.format,
        })
    }

    /// Rows that a person has, in all tables.
    pub fn rows_of_a_person(&self) -> f64 {
        self.rows / self.fitted
    }
}

/// Of all persons those who are fitted, and those who are held out: others, or a part of them.
fn divided(held_out: HeldOut<'_>, all: f64, others: Option<f64>) -> (f64, f64) {
    let (fitted, held_out) = held_out.divide(all, others);
    (fitted.max(LEAST_PERSONS), held_out.max(LEAST_PERSONS))
}

/// The file of each table of persons.
fn files(schema: &LinkedSchema, folder: &Path) -> Result<BTreeMap<usize, PathBuf>> {
    let file = |table: usize| {
        let source: Source = table_file(folder, &schema.tables[table].name)?;
        Ok((table, source.as_path().to_path_buf()))
    };
    schema.tree().into_iter().map(file).collect()
}
