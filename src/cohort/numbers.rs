//! Numbers as a cohort writes them.

use crate::schema::datetime::Ticks;
use crate::schema::{ArrowType, Column, Kind};
use arrow_schema::DataType;

/// How the positions of a numeric column become the numbers in a file: what is written may be coarser than the grid.
pub(super) struct Numbers {
    min: f64,
    step: f64,
    /// Digits after the point; none for whole numbers, and when nothing is rounded.
    decimals: Option<u32>,
    whole: bool,
}

impl Numbers {
    pub(super) fn new(column: &Column, min: f64, step: f64) -> Self {
        let whole = column.kind != Kind::Real;
        Self { min, step, decimals: column.decimals.filter(|_| !whole), whole }
    }

    /// The same moments counted in other ticks.
    pub(super) fn in_ticks(self, from: Ticks, to: Ticks) -> Self {
        let ratio = from.nanoseconds() as f64 / to.nanoseconds() as f64;
        Self { min: self.min * ratio, step: self.step * ratio, ..self }
    }

    pub(super) fn is_whole(&self) -> bool {
        self.whole
    }

    pub(super) fn at(&self, position: u32) -> f64 {
        let x = self.min + self.step * f64::from(position);
        match (self.whole, self.decimals) {
            (true, _) => x.round(),
            (false, Some(decimals)) => rounded(x, decimals as i32),
            (false, None) => x,
        }
    }
}

fn rounded(x: f64, decimals: i32) -> f64 {
    let scale = 10f64.powi(decimals);
    (x * scale).round() / scale
}

/// A number as it can be read back from the column's own type.
pub(super) fn as_written(x: f64, column: &Column, data_type: &DataType) -> f64 {
    match data_type {
        DataType::Float32 => f64::from(x as f32),
        DataType::Decimal128(_, scale) => rounded(x, i32::from(*scale)),
        t if t.is_integer() => x.trunc(),
        t if column.kind == Kind::Datetime && ArrowType::try_from(t).is_ok_and(|t| t.is_text()) => {
            let format = column.format.as_deref();
            let clock = column.clock();
            clock.format(x, format).and_then(|text| clock.parse(&text, format)).unwrap_or(x)
        }
        _ => x,
    }
}
