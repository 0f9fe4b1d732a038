//! Joint codes back to Arrow arrays in the input's own types.

use crate::encode::{Codec, Decoder, Domain};
use crate::error::{Error, Result};
use crate::ingest::MISSING;
use crate::schema::{ArrowType, Column, Kind, datetime};
use arrow_array::{Array, ArrayRef, Float64Array, Int64Array, StringArray, UInt32Array};
use arrow_cast::cast;
use arrow_schema::DataType;
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// The Arrow type of a column in the cohort: the schema's, else the plainest of its kind.
pub(super) fn data_type(column: &Column) -> DataType {
    let default = || match column.kind {
        Kind::Integer | Kind::Identifier => ArrowType::INT64,
        Kind::Real => ArrowType::FLOAT64,
        Kind::Boolean => ArrowType::BOOLEAN,
        Kind::Datetime => ArrowType::timestamp_us(false),
        Kind::Categorical | Kind::Ordinal | Kind::Code => ArrowType::UTF8,
    };
    column.arrow_type.clone().unwrap_or_else(default).data_type().clone()
}

/// Turns the joint codes of one modelled column into an array.
pub(super) struct ColumnDecoder {
    decoder: Decoder,
    kind: ValueKind,
    data_type: DataType,
}

enum ValueKind {
    /// The labels in the target type.
    Labels(ArrayRef),
    /// `min + step * position`, whole.
    Whole { min: f64, step: f64 },
    /// The same, rounded to decimals.
    Real { min: f64, step: f64, decimals: Option<u32> },
    /// A moment written as text.
    MomentText { min: f64, step: f64, column: Box<Column> },
}

impl ColumnDecoder {
    pub(super) fn new(column: &Column, domain: &Domain, codec: &Codec) -> Result<Self> {
        let data_type = data_type(column);
        let kind = match *domain {
            Domain::Labels { ref labels, .. } => {
                let labels: ArrayRef = Arc::new(StringArray::from_iter_values(labels));
                ValueKind::Labels(cast(&labels, &data_type).map_err(|_| not_writable(column))?)
            }
            Domain::Numbers { min, step, .. } => match column.kind {
                Kind::Datetime if ArrowType::try_from(&data_type)?.is_text() => {
                    ValueKind::MomentText { min, step, column: Box::new(column.clone()) }
                }
                Kind::Real => ValueKind::Real { min, step, decimals: column.decimals },
                _ => ValueKind::Whole { min, step },
            },
        };
        Ok(Self { decoder: Decoder::new(codec), kind, data_type })
    }

    /// The array of a run of rows; codes are `codes[j], codes[j + width], ...`.
    pub(super) fn decode(&self, codes: &[u16], column: usize, width: usize, rng: &mut ChaCha8Rng) -> Result<ArrayRef> {
        let positions: Vec<u32> =
            codes.iter().skip(column).step_by(width).map(|&code| self.decoder.draw(code, rng)).collect();
        let number = |p: u32, min: f64, step: f64| (p != MISSING).then(|| min + step * f64::from(p));
        let plain: ArrayRef = match &self.kind {
            ValueKind::Labels(labels) => {
                let indices: UInt32Array = positions.iter().map(|&p| (p != MISSING).then_some(p)).collect();
                return arrow_select::take::take(labels, &indices, None).map_err(|e| Error::failed(e.to_string()));
            }
            ValueKind::Whole { min, step } => Arc::new(
                positions.iter().map(|&p| number(p, *min, *step).map(|x| x.round() as i64)).collect::<Int64Array>(),
            ),
            ValueKind::Real { min, step, decimals } => {
                let scale = decimals.map(|d| 10f64.powi(d as i32));
                let rounded = |x: f64| scale.map_or(x, |s| (x * s).round() / s);
                Arc::new(positions.iter().map(|&p| number(p, *min, *step).map(rounded)).collect::<Float64Array>())
            }
            ValueKind::MomentText { min, step, column } => Arc::new(
                positions
                    .iter()
                    .map(|&p| {
                        number(p, *min, *step)
                            .and_then(|x| datetime::format(x, column.format.as_deref(), column.ticks()))
                    })
                    .collect::<StringArray>(),
            ),
        };
        cast(&plain, &self.data_type).map_err(|e| Error::failed(e.to_string()))
    }
}

/// Fresh keys for an identifier column: numbers, or text such as `S0000001`.
pub(super) fn surrogates(keys: impl Iterator<Item = u64>, column: &Column) -> Result<ArrayRef> {
    let data_type = data_type(column);
    let plain: ArrayRef = if data_type.is_integer() {
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
