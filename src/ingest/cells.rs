//! From Arrow arrays to plain vectors.

use std::collections::HashMap;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef};
use arrow_cast::cast;
use arrow_schema::{ArrowError, DataType};

use super::frame::MISSING;
use crate::schema::datetime::{Clock, Ticks};

/// Text cells as codes into the distinct texts, in order of first appearance.
pub(super) struct Texts {
    pub codes: Vec<u32>,
    pub labels: Vec<String>,
}

impl Texts {
    /// Any column as text: numbers as Rust writes them (`1.0` as `1`), booleans as `false` and `true`.
    pub fn of(parts: &[ArrayRef]) -> Result<Self, ArrowError> {
        match parts.first().map(|part| part.data_type()) {
            Some(DataType::Float32) => Ok(Self::of_numbers(&numbers(parts)?, |x| (x as f32).to_string())),
            Some(DataType::Float64) => Ok(Self::of_numbers(&numbers(parts)?, |x| x.to_string())),
            Some(DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) => Ok(Self::of_text(parts)),
            _ => {
                let parts = parts.iter().map(|part| cast(part, &DataType::Utf8)).collect::<Result<Vec<_>, _>>()?;
                Ok(Self::of_text(&parts))
            }
        }
    }

    fn of_text(parts: &[ArrayRef]) -> Self {
        let mut seen: HashMap<&str, u32> = HashMap::new();
        let mut codes = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
        for cell in parts.iter().flat_map(strings) {
            codes.push(cell.map_or(MISSING, |cell| number_in(&mut seen, cell)));
        }
        Self { codes, labels: in_order(seen, str::to_owned) }
    }

    /// Numbers as text, NaN as missing.
    pub fn of_numbers(values: &[f64], write: impl Fn(f64) -> String) -> Self {
        let mut seen: HashMap<u64, u32> = HashMap::new();
        // Adding zero makes a negative zero positive.
        let code = |x: &f64| if x.is_nan() { MISSING } else { number_in(&mut seen, (x + 0.0).to_bits()) };
        let codes = values.iter().map(code).collect();
        Self { codes, labels: in_order(seen, |bits| write(f64::from_bits(bits))) }
    }

    /// Moments as text.
    pub fn of_moments(moments: &[Option<i128>], write: impl Fn(i128) -> String) -> Self {
        let mut seen: HashMap<i128, u32> = HashMap::new();
        let codes = moments.iter().map(|cell| cell.map_or(MISSING, |n| number_in(&mut seen, n))).collect();
        Self { codes, labels: in_order(seen, write) }
    }

    /// Writes each text as `canonical` says; those that become the same are one from then on.
    pub fn rename(&mut self, canonical: impl Fn(&str) -> String) {
        let mut seen: HashMap<String, u32> = HashMap::new();
        let moved: Vec<u32> = self
            .labels
            .iter()
            .map(|label| {
                let next = seen.len() as u32;
                *seen.entry(canonical(label)).or_insert(next)
            })
            .collect();
        self.labels = in_order(seen, |label| label);
        for code in &mut self.codes {
            *code = moved.get(*code as usize).copied().unwrap_or(MISSING);
        }
    }

    /// Marks the cells whose text satisfies `missing`, and forgets that text.
    pub fn remove(&mut self, missing: impl Fn(&str) -> bool) {
        let mut kept = Vec::with_capacity(self.labels.len());
        let moved: Vec<u32> = std::mem::take(&mut self.labels)
            .into_iter()
            .map(|label| {
                if missing(&label) {
                    return MISSING;
                }
                kept.push(label);
                (kept.len() - 1) as u32
            })
            .collect();
        self.labels = kept;
        for code in &mut self.codes {
            *code = moved.get(*code as usize).copied().unwrap_or(MISSING);
        }
    }

    /// Row, counted from 0, of the first cell with this code.
    pub fn first_row(&self, code: u32) -> Option<usize> {
        self.codes.iter().position(|c| *c == code)
    }

    /// Number of cells with each label.
    pub fn counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.labels.len()];
        for code in &self.codes {
            if let Some(count) = counts.get_mut(*code as usize) {
                *count += 1;
            }
        }
        counts
    }
}

fn number_in<K: std::hash::Hash + Eq>(seen: &mut HashMap<K, u32>, key: K) -> u32 {
    let next = seen.len() as u32;
    *seen.entry(key).or_insert(next)
}

fn in_order<K>(seen: HashMap<K, u32>, write: impl Fn(K) -> String) -> Vec<String> {
    let mut keys: Vec<(K, u32)> = seen.into_iter().collect();
    keys.sort_unstable_by_key(|(_, code)| *code);
    keys.into_iter().map(|(key, _)| write(key)).collect()
}

fn strings(part: &ArrayRef) -> Box<dyn Iterator<Item = Option<&str>> + '_> {
    match part.data_type() {
        DataType::LargeUtf8 => Box::new(part.as_string::<i64>().iter()),
        DataType::Utf8View => Box::new(part.as_string_view().iter()),
        _ => Box::new(part.as_string::<i32>().iter()),
    }
}

/// Integers, floats and decimals as `f64`; a null is NaN. A float of 32 bits is the number that is written of it.
pub(super) fn numbers(parts: &[ArrayRef]) -> Result<Vec<f64>, ArrowError> {
    let mut all = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
    for part in parts {
        let floats = cast(part, &DataType::Float64)?;
        let cells = floats.as_primitive::<Float64Type>().iter().map(|cell| cell.unwrap_or(f64::NAN));
        match part.data_type() {
            DataType::Float32 => all.extend(cells.map(single)),
            _ => all.extend(cells),
        }
    }
    Ok(all)
}

/// A number as 32 bits hold it, with the digits that it is written with: 0.1, and not 0.100000001490116.
pub(super) fn single(x: f64) -> f64 {
    if x.is_finite() { (x as f32).to_string().parse().unwrap_or(x) } else { x }
}

/// Dates, times and timestamps in nanoseconds since 1970, or since midnight.
pub(super) fn nanoseconds(parts: &[ArrayRef]) -> Result<Vec<Option<i128>>, ArrowError> {
    let mut all = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
    for part in parts {
        let stored =
            Ticks::of(part.data_type()).ok_or_else(|| ArrowError::CastError("the column has no moments".to_owned()))?;
        let tick = i128::from(stored.nanoseconds());
        let counts = cast(part, &DataType::Int64)?;
        all.extend(counts.as_primitive::<Int64Type>().iter().map(|cell| cell.map(|count| i128::from(count) * tick)));
    }
    Ok(all)
}

/// Dates, times and timestamps as ticks of a clock, rounded down; a null is NaN.
pub(super) fn ticks(parts: &[ArrayRef], clock: Clock) -> Result<Vec<f64>, ArrowError> {
    Ok(nanoseconds(parts)?.into_iter().map(|cell| cell.map_or(f64::NAN, |n| clock.count(n))).collect())
}
