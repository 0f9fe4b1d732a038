//! Missing cells, drawn from what the model makes of the others.

use super::modelled::{Incomplete, Modelled};
use crate::cohort::{ColumnValues, Rules, data_type};
use crate::encode::{Codec, Layout, Records, UNKNOWN};
use crate::error::{Error, Result};
use crate::model::{Evidence, ModelFile};
use crate::schema::Column;
use arrow_array::{Array, ArrayRef, Int32Array, RecordBatch, UInt32Array};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;

/// Versions of each row, at most.
pub const MAX_IMPUTATIONS: usize = 100;
/// The column that numbers the versions of a row.
const IMPUTATION: &str = "imputation";
/// Rows of the output made at a time: it bounds the memory, and has no influence on the rows.
const ROWS_PER_BATCH: usize = 16_384;

/// Rows of a table to be completed.
///
/// Each missing cell of a modelled column is drawn given the row's known cells; rows of a unit are completed one by one.
/// A completed row holds the constraints of the model's schema, where its known cells allow that; that rows differ from
/// each other is not among them.
/// All other cells stay as they are.
///
/// # Privacy
/// Touches sensitive data; the result is for the data's controller.
pub struct Fill<'a> {
    model: &'a ModelFile,
    records: &'a Records,
    layout: Layout,
    imputations: usize,
    seed: u64,
    columns: Vec<Output<'a>>,
    modelled: Vec<Modelled>,
    /// The constraints of the model's schema.
    rules: Option<Rules<'a>>,
    schema: SchemaRef,
}

/// A column of the output.
struct Output<'a> {
    /// The column as it was read; `None` where it was absent.
    read: Option<&'a ArrayRef>,
    /// The model's column that completes it, with what makes its values.
    drawn: Option<(usize, ColumnValues)>,
}

impl<'a> Fill<'a> {
    /// Prepares to complete `table`, whose cells `records` holds as codes, `imputations` times. A modelled column that
    /// the table lacks is added at its end, as text where `as_text` says that the table is.
    ///
    /// # Errors
    /// Bad input when the values of a column do not fit its type in the table, or when the name of the column that
    /// numbers the versions is taken.
    ///
    /// # Privacy
    /// Touches sensitive data, releases nothing.
    pub fn new(
        model: &'a ModelFile,
        records: &'a Records,
        table: &'a RecordBatch,
        as_text: bool,
        imputations: usize,
        seed: u64,
    ) -> Result<Self> {
        let (header, domain) = (&model.header, &model.domain);
        let values = |index: usize, stored: Option<&DataType>| {
            let column = &domain.columns[index];
            let Some(declared) = header.schema.column(&column.name) else {
                return Err(Error::bad_input("the model lacks this column").column(&column.name));
            };
            let own = if as_text { DataType::Utf8 } else { data_type(declared) };
            let stored = stored.cloned().unwrap_or(own);
            Ok((stored.clone(), ColumnValues::in_type(declared, &column.domain, stored)?))
        };
        let of_table = |name: &str| {
            (0..domain.columns.len()).find(|&j| Some(j) != domain.rows_column && domain.columns[j].name == name)
        };
        let (mut columns, mut fields) = (Vec::new(), Vec::new());
        let read_schema = table.schema_ref();
        for (field, read) in read_schema.fields().iter().zip(table.columns()) {
            let drawn = match of_table(field.name()) {
                Some(index) => Some((index, values(index, Some(field.data_type()))?.1)),
                None => None,
            };
            columns.push(Output { read: Some(read), drawn });
            fields.push(Field::new(field.name(), field.data_type().clone(), true));
        }
        for (index, column) in domain.columns.iter().enumerate() {
            if Some(index) != domain.rows_column && read_schema.column_with_name(&column.name).is_none() {
                let (data_type, values) = values(index, None)?;
                columns.push(Output { read: None, drawn: Some((index, values)) });
                fields.push(Field::new(&column.name, data_type, true));
            }
        }
        if imputations > 1 {
            if fields.iter().any(|field| field.name() == IMPUTATION) {
                return Err(Error::bad_input("the name is needed for the number of the imputation")
                    .column(IMPUTATION)
                    .remedy("rename the column of the table, or ask for one imputation"));
            }
            fields.push(Field::new(IMPUTATION, DataType::Int32, false));
        }
        let modelled = header.codecs.iter().zip(&domain.columns);
        let written = |column: &Column| {
            let own = || if as_text { DataType::Utf8 } else { data_type(column) };
            read_schema.field_with_name(&column.name).map_or_else(|_| own(), |field| field.data_type().clone())
        };
        Ok(Self {
            rules: Rules::new(model, written)?,
            model,
            records,
            layout: Layout { cells: header.codecs.iter().map(Codec::cells).collect() },
            imputations,
            seed,
            columns,
            modelled: modelled.map(|(codec, column)| Modelled::new(codec, column.nullable)).collect(),
            schema: Arc::new(Schema::new(fields)),
        })
    }

    /// The columns of the table in its order, those that it lacked, and the number of the imputation where there are
    /// several.
    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// Hands the completed rows on in order, all versions of a row together. The same seed gives the same rows, at any
    /// number of threads.
    ///
    /// # Errors
    /// What `sink` gives; a value that does not fit its column.
    ///
    /// # Privacy
    /// Touches sensitive data: what is handed on holds it, for the data's controller.
    pub fn run(&self, mut sink: impl FnMut(Vec<RecordBatch>) -> Result<()>) -> Result<()> {
        let step = (ROWS_PER_BATCH / self.imputations).max(1);
        for start in (0..self.records.rows()).step_by(step) {
            let rows = start..(start + step).min(self.records.rows());
            let drawn: Vec<Vec<u32>> = rows.clone().into_par_iter().map(|row| self.draw(row)).collect();
            sink(vec![self.batch(rows, &drawn)?])?;
        }
        Ok(())
    }

    /// Columns of the model that are missing in a row.
    fn missing(&self, row: usize) -> impl Iterator<Item = usize> {
        let codes = self.records.row(row).iter().enumerate();
        codes.filter(|&(j, &code)| code == UNKNOWN && Some(j) != self.model.domain.rows_column).map(|(j, _)| j)
    }

    /// Positions for the missing cells of a row: version by version, in the order of the columns.
    fn draw(&self, row: usize) -> Vec<u32> {
        let missing: Vec<usize> = self.missing(row).collect();
        if missing.is_empty() {
            return Vec::new();
        }
        let mut evidence = Evidence::none(&self.layout);
        for (j, &code) in self.records.row(row).iter().enumerate() {
            match (&self.modelled[j].present, code) {
                (Some(present), UNKNOWN) => evidence.restrict(j, present),
                (None, UNKNOWN) => {}
                _ => evidence.observe(j, code),
            }
        }
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(row as u64);
        let (mut codes, mut offsets) = (Vec::new(), Vec::new());
        self.model.generator.generate(self.imputations, None, Some(&evidence), &mut rng, &mut codes, &mut offsets);
        let mut positions = Vec::with_capacity(self.imputations * missing.len());
        for version in codes.chunks_exact_mut(self.layout.width()) {
            self.complete(version, &missing, &evidence, &mut rng);
            let Some((rules, cells)) = self.rules.as_ref().zip(self.records.cells(row)) else {
                positions.extend(missing.iter().map(|&j| self.modelled[j].decoder.draw(version[j], &mut rng)));
                continue;
            };
            let incomplete = Incomplete { positions: cells.0, numbers: cells.1, missing: &missing };
            let mut offsets = Vec::new();
            let held = incomplete.holding(rules, &self.modelled, version, &mut rng, |others, rng| {
                self.model.generator.generate(1, None, Some(&evidence), rng, others, &mut offsets);
                self.complete(others, &missing, &evidence, rng);
            });
            positions.extend(missing.iter().map(|&j| held[j]));
        }
        positions
    }

    /// Puts codes that agree with the evidence in the place of those that do not.
    fn complete(&self, version: &mut [u16], missing: &[usize], evidence: &Evidence, rng: &mut ChaCha8Rng) {
        for &j in missing {
            if evidence.column(j)[usize::from(version[j])] <= 0.0 {
                version[j] = self.modelled[j].fallback(rng);
            }
        }
    }

    fn batch(&self, rows: Range<usize>, drawn: &[Vec<u32>]) -> Result<RecordBatch> {
        let failed = |e: ArrowError| Error::failed(e.to_string());
        let mut arrays = Vec::with_capacity(self.columns.len() + 1);
        for Output { read, drawn: source } in &self.columns {
            let read = read.map(|read| read.slice(rows.start, rows.len()));
            let positions = source.as_ref().map(|(j, values)| (self.positions(*j, rows.clone(), drawn), values));
            arrays.push(match (read, positions) {
                (Some(read), Some(((positions, places), values))) if !positions.is_empty() => {
                    let values = values.array(&positions)?;
                    arrow_select::interleave::interleave(&[&read as &dyn Array, &values], &places).map_err(failed)?
                }
                (Some(read), _) if self.imputations == 1 => read,
                (Some(read), _) => {
                    let of_row = |row: u32| std::iter::repeat_n(row, self.imputations);
                    let rows: UInt32Array = (0..rows.len() as u32).flat_map(of_row).collect::<Vec<_>>().into();
                    arrow_select::take::take(&read, &rows, None).map_err(failed)?
                }
                // A column that was absent is missing in every row.
                (None, Some(((positions, _), values))) => values.array(&positions)?,
                (None, None) => return Err(Error::failed("a column comes from nowhere")),
            });
        }
        if self.imputations > 1 {
            let numbers = rows.flat_map(|_| 1..=self.imputations as i32);
            arrays.push(Arc::new(numbers.collect::<Int32Array>()));
        }
        RecordBatch::try_new(self.schema.clone(), arrays).map_err(failed)
    }

    /// The positions drawn for a column, and for each row of the output where its cell is: in the table (0) or among
    /// those (1).
    fn positions(&self, j: usize, rows: Range<usize>, drawn: &[Vec<u32>]) -> (Vec<u32>, Vec<(usize, usize)>) {
        let (mut positions, mut places) = (Vec::new(), Vec::with_capacity(rows.len() * self.imputations));
        for (place, (row, own)) in rows.zip(drawn).enumerate() {
            let among = self.missing(row).position(|missing| missing == j);
            let count = own.len() / self.imputations;
            for version in 0..self.imputations {
                match among {
                    Some(among) => {
                        places.push((1, positions.len()));
                        positions.push(own[version * count + among]);
                    }
                    None => places.push((0, place)),
                }
            }
        }
        (positions, places)
    }
}
