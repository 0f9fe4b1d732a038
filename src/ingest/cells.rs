//! From polars columns to plain vectors.

use std::collections::HashMap;

use polars::prelude::{Column as PolarsColumn, DataType, PolarsError, TimeUnit};

use super::frame::MISSING;
use crate::schema::datetime::Ticks;

/// Text cells as codes into the distinct texts, in order of first appearance.
pub(super) struct Texts {
    pub codes: Vec<u32>,
    pub labels: Vec<String>,
}

impl Texts {
    /// Any column as text: numbers as Rust writes them (`1.0` as `1`), booleans as `false` and `true`.
    pub fn of(column: &PolarsColumn) -> Result<Self, PolarsError> {
        match column.dtype() {
            DataType::String => {
                let mut seen: HashMap<&str, u32> = HashMap::new();
                let codes =
                    column.str()?.iter().map(|cell| cell.map_or(MISSING, |cell| number_in(&mut seen, cell))).collect();
                Ok(Self { codes, labels: in_order(seen, str::to_owned) })
            }
            DataType::Float32 => Ok(Self::of_numbers(&numbers(column)?, |x| (x as f32).to_string())),
            DataType::Float64 => Ok(Self::of_numbers(&numbers(column)?, |x| x.to_string())),
            _ => Self::of(&column.cast(&DataType::String)?),
        }
    }

    /// Numbers as text, NaN as missing.
    pub fn of_numbers(values: &[f64], write: impl Fn(f64) -> String) -> Self {
        let mut seen: HashMap<u64, u32> = HashMap::new();
        // Adding zero makes a negative zero positive.
        let code = |x: &f64| if x.is_nan() { MISSING } else { number_in(&mut seen, (x + 0.0).to_bits()) };
        let codes = values.iter().map(code).collect();
        Self { codes, labels: in_order(seen, |bits| write(f64::from_bits(bits))) }
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

/// Integers, floats and decimals as `f64`; a null is NaN.
pub(super) fn numbers(column: &PolarsColumn) -> Result<Vec<f64>, PolarsError> {
    let floats = column.cast(&DataType::Float64)?;
    Ok(floats.f64()?.iter().map(|cell| cell.unwrap_or(f64::NAN)).collect())
}

/// Dates, times and timestamps as ticks, rounded down; a null is NaN.
pub(super) fn ticks(column: &PolarsColumn, ticks: Ticks) -> Result<Vec<f64>, PolarsError> {
    let stored = match column.dtype() {
        DataType::Date => Ticks::Day,
        DataType::Datetime(TimeUnit::Milliseconds, _) => Ticks::Millisecond,
        DataType::Datetime(TimeUnit::Microseconds, _) => Ticks::Microsecond,
        _ => Ticks::Nanosecond,
    };
    let counts = column.to_physical_repr().cast(&DataType::Int64)?;
    let (from, to) = (i128::from(stored.nanoseconds()), i128::from(ticks.nanoseconds()));
    let convert = |count: i64| (i128::from(count) * from).div_euclid(to) as f64;
    Ok(counts.i64()?.iter().map(|cell| cell.map_or(f64::NAN, convert)).collect())
}
