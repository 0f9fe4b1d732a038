//! Positions back to Arrow arrays in the input's own types.

use super::numbers::Numbers;
use super::writer::Format;
use crate::encode::Domain;
use crate::error::{Error, Result};
use crate::ingest::MISSING;
use crate::schema::datetime::Ticks;
use crate::schema::{ArrowType, Column, Kind};
use arrow_array::{Array, ArrayRef, Float64Array, Int64Array, StringArray, UInt32Array};
use arrow_cast::cast;
use arrow_schema::{ArrowError, DataType};
use std::sync::Arc;

/// The Arrow type of a column in the cohort: the schema's, else the plainest of its kind.
pub fn data_type(column: &Column) -> DataType {
    let default = || match column.kind {
        Kind::Integer | Kind::Identifier => ArrowType::INT64,
        Kind::Real => ArrowType::FLOAT64,
        Kind::Boolean => ArrowType::BOOLEAN,
        Kind::Datetime => ArrowType::timestamp_us(false),
        Kind::Categorical | Kind::Ordinal | Kind::Code => ArrowType::UTF8,
    };
    column.arrow_type.clone().unwrap_or_else(default).data_type().clone()
}

/// The type in a file of this format: as [`data_type`], but CSV and NDJSON have moments as the input wrote them, where the schema says
/// how.
pub fn written_type(column: &Column, format: Format) -> DataType {
    match (column.kind, format, &column.format) {
        (Kind::Datetime, Format::Csv | Format::Ndjson, Some(_)) => DataType::Utf8,
        _ => data_type(column),
    }
}

/// Turns positions of one modelled column into an array.
pub struct ColumnValues {
    kind: ValueKind,
    /// The type between the values and `data_type`, where that is text.
    own_type: DataType,
    data_type: DataType,
}

enum ValueKind {
    /// The labels in the target type.
    Labels(ArrayRef),
    /// Numbers; whole ones since an epoch.
    Numbers(Numbers, i64),
    /// A moment written as text.
    MomentText(Numbers, Box<Column>),
}

impl ColumnValues {
    /// Values in the type that a file has them in; text is spelled as the column's own type would be.
    ///
    /// # Errors
    /// Bad input when the values do not fit the type.
    pub fn in_type(column: &Column, domain: &Domain, data_type: DataType) -> Result<Self> {
        let is_text = ArrowType::try_from(&data_type)?.is_text();
        let own_type = if is_text { self::data_type(column) } else { data_type.clone() };
        let kind = match *domain {
            Domain::Labels { ref labels, .. } => {
                let labels: ArrayRef = Arc::new(StringArray::from_iter_values(labels));
                ValueKind::Labels(cast(&labels, &data_type).map_err(|_| not_writable(column))?)
            }
            Domain::Numbers { min, step, .. } => {
                let numbers = Numbers::new(column, min, step);
                let clock = column.clock();
                match Ticks::of(&data_type).filter(|_| column.kind == Kind::Datetime) {
                    _ if column.kind == Kind::Datetime && is_text => {
                        ValueKind::MomentText(numbers, Box::new(column.clone()))
                    }
                    Some(ticks) if ticks != clock.ticks => {
                        ValueKind::Numbers(numbers.in_ticks(clock.ticks, ticks), clock.epoch(ticks))
                    }
                    Some(ticks) => ValueKind::Numbers(numbers, clock.epoch(ticks)),
                    None => ValueKind::Numbers(numbers, 0),
                }
            }
        };
        Ok(Self { kind, own_type, data_type })
    }

    /// The array of these positions.
    ///
    /// # Errors
    /// The values cannot be cast.
    pub fn array(&self, positions: &[u32]) -> Result<ArrayRef> {
        let failed = |e: ArrowError| Error::failed(e.to_string());
        let values =
            |numbers: &Numbers| positions.iter().map(|&p| (p != MISSING).then(|| numbers.at(p))).collect::<Vec<_>>();
        let plain: ArrayRef = match &self.kind {
            ValueKind::Labels(labels) => {
                let indices: UInt32Array = positions.iter().map(|&p| (p != MISSING).then_some(p)).collect();
                return arrow_select::take::take(labels, &indices, None).map_err(failed);
            }
            ValueKind::Numbers(numbers, epoch) if numbers.is_whole() => {
                let whole = |x: f64| (x as i64).saturating_add(*epoch);
                Arc::new(values(numbers).into_iter().map(|x| x.map(whole)).collect::<Int64Array>())
            }
            ValueKind::Numbers(numbers, _) => Arc::new(Float64Array::from(values(numbers))),
            ValueKind::MomentText(numbers, column) => {
                let clock = column.clock();
                let text = |x: f64| clock.format(x, column.format.as_deref());
                let texts: StringArray = values(numbers).into_iter().map(|x| x.and_then(text)).collect();
                return cast(&texts, &self.data_type).map_err(failed);
            }
        };
        // A time of day of 32 bits is made of integers of 32 bits only.
        let plain = match self.own_type {
            DataType::Time32(_) => cast(&plain, &DataType::Int32).map_err(failed)?,
            _ => plain,
        };
        let own = cast(&plain, &self.own_type).map_err(failed)?;
        cast(&own, &self.data_type).map_err(failed)
    }
}

/// Fresh keys for an identifier column: numbers, or text such as `S0000001`.
pub(super) fn surrogates(keys: impl Iterator<Item = u64>, column: &Column) -> Result<ArrayRef> {
    links(keys, column, column)
}

/// Fresh keys for a column that links to the `key` column of another table, which says how they are spelled.
pub(super) fn links(keys: impl Iterator<Item = u64>, column: &Column, key: &Column) -> Result<ArrayRef> {
    let data_type = data_type(column);
    let plain: ArrayRef = if self::data_type(key).is_numeric() {
        Arc::new(Int64Array::from_iter_values(keys.map(|k| k as i64)))
    } else {
        Arc::new(StringArray::from_iter_values(keys.map(|k| format!("S{k:07}"))))
    };
    // A key that does not fit a narrow integer would become null; say so instead.
    let array = cast(&plain, &data_type).map_err(|_| not_writable(column))?;
    if array.null_count() > 0 { Err(not_writable(column)) } else { Ok(array) }
}

fn not_writable(column: &Column) -> Error {
    Error::bad_input("the values of the schema do not fit the column's Arrow type")
        .column(&column.name)
        .remedy("change `type` in the schema to utf8 or to a wider type")
}
