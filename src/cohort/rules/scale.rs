//! The numbers that a column's positions are written as.

use crate::cohort::numbers::{Numbers, as_written};
use crate::encode::Domain;
use crate::schema::datetime::Ticks;
use crate::schema::{Column, Kind};
use arrow_schema::DataType;

/// Positions around the one that arithmetic gives which are looked at before all are searched.
const NEAR: u32 = 2;

/// A numeric column as its positions are written.
pub(super) struct Scale {
    numbers: Numbers,
    column: Column,
    data_type: DataType,
    /// Where the type counts in other ticks: how many of the column's own one of them has.
    ticks: Option<f64>,
    min: f64,
    step: f64,
    positions: u32,
}

impl Scale {
    /// `None` for a column that is no number.
    pub fn new(column: &Column, domain: &Domain, data_type: DataType) -> Option<Self> {
        let Domain::Numbers { min, step, positions } = *domain else { return None };
        let own = column.ticks();
        let written = Ticks::of(&data_type).filter(|ticks| column.kind == Kind::Datetime && *ticks != own);
        let numbers = Numbers::new(column, min, step);
        let numbers = match written {
            Some(ticks) => numbers.in_ticks(own, ticks),
            None => numbers,
        };
        let ticks = written.map(|ticks| ticks.nanoseconds() as f64 / own.nanoseconds() as f64);
        Some(Self { numbers, column: column.clone(), data_type, ticks, min, step, positions })
    }

    /// The number at a position, as it is read back from a file; a moment in the column's own ticks.
    pub fn value(&self, position: u32) -> f64 {
        let x = self.numbers.at(position);
        match self.ticks {
            Some(ticks) => x * ticks,
            None => as_written(x, &self.column, &self.data_type),
        }
    }

    /// How far positions are apart.
    pub fn step(&self) -> f64 {
        self.step
    }

    /// Where a number would stand, if the column had a place for it.
    fn guess(&self, x: f64) -> u32 {
        ((x - self.min) / self.step).round().clamp(0.0, f64::from(self.positions - 1)) as u32
    }

    /// The position nearest to a number.
    pub fn nearest(&self, x: f64) -> u32 {
        let above = self.first(x, |value| value >= x).min(self.positions - 1);
        let far = |p: &u32| (self.value(*p) - x).abs();
        [above.saturating_sub(1), above].into_iter().min_by(|a, b| far(a).total_cmp(&far(b))).unwrap_or(above)
    }

    /// The first position whose number is far enough, else how many there are: what is far enough stays so. `about` is
    /// where that may be.
    pub fn first(&self, about: f64, far_enough: impl Fn(f64) -> bool) -> u32 {
        let far_enough = |p: u32| far_enough(self.value(p));
        let guess = self.guess(about);
        let (mut low, mut high) = (0, self.positions);
        let (before, after) = (guess.saturating_sub(NEAR), guess.saturating_add(NEAR).min(self.positions - 1));
        if far_enough(after) {
            high = after
        } else {
            low = after + 1
        }
        if low <= before && before < high {
            if far_enough(before) { high = before } else { low = before + 1 }
        }
        while low < high {
            let middle = low + (high - low) / 2;
            if far_enough(middle) { high = middle } else { low = middle + 1 }
        }
        low
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::ArrowType;
    use proptest::prelude::*;

    fn scales() -> Vec<Scale> {
        let typed = |kind: Kind, data_type: &str| {
            let mut column = Column::new("x", kind);
            column.arrow_type = Some(data_type.parse::<ArrowType>().unwrap());
            column
        };
        let of = |column: &Column, min: f64, step: f64, data_type: DataType| {
            Scale::new(column, &Domain::Numbers { min, step, positions: 500 }, data_type).unwrap()
        };
        let mut real = typed(Kind::Real, "float32");
        real.decimals = Some(1);
        let mut text = typed(Kind::Datetime, "utf8");
        text.format = Some("%Y-%m-%d %H:%M".into());
        vec![
            of(&typed(Kind::Integer, "int16"), -50.0, 1.0, DataType::Int16),
            of(&real, 3.0, 0.1, DataType::Float32),
            of(&typed(Kind::Real, "decimal128(9, 1)"), 0.0, 0.037, DataType::Decimal128(9, 1)),
            of(&text, 0.0, 7.0, DataType::Utf8),
            of(&typed(Kind::Datetime, "timestamp[s]"), 0.0, 3600.0, DataType::Date32),
        ]
    }

    proptest! {
        /// The first far enough and the nearest are those that looking at every position finds.
        #[test]
        fn positions_are_found_as_by_looking_at_all(which in 0usize..5, part in -0.2f64..1.2) {
            let scale = &scales()[which];
            let (first, last) = (scale.value(0), scale.value(499));
            let x = first + part * (last - first);
            for strict in [false, true] {
                let enough = |value: f64| if strict { value > x } else { value >= x };
                let expected = (0..500).find(|&p| enough(scale.value(p))).unwrap_or(500);
                prop_assert_eq!(scale.first(x, enough), expected);
            }
            let nearest = (0..500).map(|p| (scale.value(p) - x).abs()).fold(f64::INFINITY, f64::min);
            let found = (scale.value(scale.nearest(x)) - x).abs();
            prop_assert!(found <= nearest, "{found} {nearest}");
        }
    }
}
