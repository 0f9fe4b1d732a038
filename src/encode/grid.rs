//! Real rows as positions, grouped and bounded by privacy unit.

use super::domain::{Domain, TableDomain};
use super::{Codec, Codes};
use crate::error::{Error, Result};
use crate::ingest::{Frame, MISSING, Values};
use rand::SeedableRng;
use rand::seq::IteratorRandom;
use rand_chacha::ChaCha8Rng;
use std::collections::HashMap;
use synthward_privacy::UnitKey;

/// Positions of every cell, column by column, rows sorted by unit.
///
/// # Privacy
/// Touches sensitive data, releases nothing; travels as `Sensitive<Grid>`.
pub struct Grid {
    /// One vector a column of the [`TableDomain`]; [`MISSING`] is missing.
    pub columns: Vec<Vec<u32>>,
    /// `units + 1` row offsets.
    pub offsets: Vec<u32>,
}

/// The rows of each unit that are used, at most so many.
///
/// # Privacy
/// Touches sensitive data, releases nothing; travels as `Sensitive`.
pub struct UnitRows {
    /// Rows of the frame, sorted by unit, in their order within it.
    rows: Vec<u32>,
    /// `units + 1` offsets into `rows`.
    offsets: Vec<u32>,
}

impl UnitRows {
    /// Groups the rows of a frame by unit and keeps at most `max_rows` of each,
    /// chosen at random by the secret `key`, in their order.
    ///
    /// # Privacy
    /// Touches sensitive data, releases nothing.
    pub fn new(frame: &Frame, max_rows: usize, key: &UnitKey) -> Self {
        let (rows, offsets) = bounded_rows(frame, max_rows, key);
        Self { rows, offsets }
    }

    pub fn units(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Rows of the frame that are kept of unit `u`.
    pub fn of(&self, u: usize) -> &[u32] {
        &self.rows[self.offsets[u] as usize..self.offsets[u + 1] as usize]
    }
}

impl Grid {
    /// Places every cell of the rows that are kept.
    ///
    /// # Errors
    /// The frame lacks a column of the domain.
    ///
    /// # Privacy
    /// Touches sensitive data, releases nothing.
    pub fn new(frame: &Frame, unit_rows: &UnitRows, domain: &TableDomain) -> Result<Self> {
        let UnitRows { rows, offsets } = unit_rows;
        let mut columns = Vec::with_capacity(domain.columns.len());
        for (index, column) in domain.columns.iter().enumerate() {
            if Some(index) == domain.rows_column {
                columns.push(
                    offsets
                        .windows(2)
                        .flat_map(|w| std::iter::repeat_n(w[1] - w[0] - 1, (w[1] - w[0]) as usize))
                        .collect(),
                );
                continue;
            }
            let values = frame
                .columns
                .iter()
                .find(|c| c.name == column.name)
                .map(|c| &c.values)
                .ok_or_else(|| Error::bad_input("is missing from the table").column(&column.name))?;
            let mut positions = positions(values, &column.domain, rows);
            if !column.nullable {
                // A missing cell in a column declared complete is outside the domain.
                let fallback = column.domain.fallback();
                for position in positions.iter_mut().filter(|p| **p == MISSING) {
                    *position = fallback;
                }
            }
            columns.push(positions);
        }
        Ok(Self { columns, offsets: offsets.clone() })
    }

    pub fn units(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Rows of unit `u`.
    pub fn unit_rows(&self, u: usize) -> std::ops::Range<usize> {
        self.offsets[u] as usize..self.offsets[u + 1] as usize
    }

    /// The joint codes of every row.
    ///
    /// # Privacy
    /// Touches sensitive data, releases nothing.
    pub fn encode(&self, codecs: &[Codec]) -> Codes {
        let width = codecs.len();
        let rows = self.columns.first().map_or(0, Vec::len);
        let mut codes = vec![0u16; rows * width];
        for (j, (codec, positions)) in codecs.iter().zip(&self.columns).enumerate() {
            for (row, &position) in positions.iter().enumerate() {
                codes[row * width + j] = codec.joint_code(position);
            }
        }
        Codes { codes, width, offsets: self.offsets.clone() }
    }
}

/// Rows to keep, sorted by unit, and the units' offsets among them.
fn bounded_rows(frame: &Frame, max_rows: usize, key: &UnitKey) -> (Vec<u32>, Vec<u32>) {
    let Some(unit) = &frame.unit else {
        return ((0..frame.rows as u32).collect(), (0..=frame.rows as u32).collect());
    };
    let units = unit.iter().max().map_or(0, |&m| m as usize + 1);
    let mut starts = vec![0u32; units + 1];
    for &u in unit {
        starts[u as usize + 1] += 1;
    }
    for u in 0..units {
        starts[u + 1] += starts[u];
    }
    let mut sorted = vec![0u32; frame.rows];
    let mut next = starts.clone();
    for (row, &u) in unit.iter().enumerate() {
        sorted[next[u as usize] as usize] = row as u32;
        next[u as usize] += 1;
    }
    let mut rng = ChaCha8Rng::from_seed(key.bytes());
    let mut rows = Vec::with_capacity(frame.rows);
    let mut offsets = Vec::with_capacity(units + 1);
    offsets.push(0);
    for u in 0..units {
        let own = &sorted[starts[u] as usize..starts[u + 1] as usize];
        if own.len() <= max_rows {
            rows.extend_from_slice(own);
        } else {
            let mut kept = own.iter().copied().choose_multiple(&mut rng, max_rows);
            kept.sort_unstable();
            rows.extend(kept);
        }
        offsets.push(rows.len() as u32);
    }
    (rows, offsets)
}

/// Positions of some rows' cells; [`MISSING`] also where a value is outside and has no place to go.
pub(super) fn positions(values: &Values, domain: &Domain, rows: &[u32]) -> Vec<u32> {
    match (values, domain) {
        (Values::Text { codes, labels }, Domain::Labels { labels: known, other, .. }) => {
            let place: HashMap<&str, u32> = known.iter().enumerate().map(|(i, l)| (l.as_str(), i as u32)).collect();
            let outside = other.unwrap_or(MISSING);
            let of_code: Vec<u32> =
                labels.iter().map(|label| place.get(label.as_str()).copied().unwrap_or(outside)).collect();
            rows.iter().map(|&r| of_code.get(codes[r as usize] as usize).copied().unwrap_or(MISSING)).collect()
        }
        (Values::Number(numbers), Domain::Numbers { min, step, positions }) => rows
            .iter()
            .map(|&r| {
                let x = numbers[r as usize];
                if x.is_nan() {
                    MISSING
                } else {
                    ((x - min) / step).round().clamp(0.0, f64::from(positions - 1)) as u32
                }
            })
            .collect(),
        // The frame was loaded under the same schema, so kinds agree; anything else is outside the domain.
        _ => vec![MISSING; rows.len()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::ModelColumn;
    use crate::ingest::FrameColumn;

    fn frame(unit: Option<Vec<u32>>) -> Frame {
        let numbers = vec![1.0, 2.0, f64::NAN, 99.0, -5.0, 3.0];
        Frame {
            rows: 6,
            columns: vec![
                FrameColumn { name: "n".into(), values: Values::Number(numbers) },
                FrameColumn {
                    name: "t".into(),
                    values: Values::Text {
                        codes: vec![0, 1, 2, MISSING, 0, 1],
                        labels: vec!["a".into(), "b".into(), "z".into()],
                    },
                },
            ],
            unit,
        }
    }

    fn domain(max_rows: u32) -> TableDomain {
        let mut columns = vec![
            ModelColumn {
                name: "n".into(),
                domain: Domain::Numbers { min: 0.0, step: 1.0, positions: 11 },
                nullable: true,
            },
            ModelColumn {
                name: "t".into(),
                domain: Domain::Labels { labels: vec!["a".into(), "b".into()], other: Some(1), groups: vec![] },
                nullable: true,
            },
        ];
        let rows_column = (max_rows > 1).then(|| {
            columns.push(ModelColumn {
                name: "rows of the unit".into(),
                domain: Domain::Labels { labels: vec!["1".into(), "2".into()], other: None, groups: vec![] },
                nullable: false,
            });
            2
        });
        TableDomain { columns, rows_column, max_rows_per_unit: max_rows }
    }

    fn grid(unit: Option<Vec<u32>>, max_rows: usize) -> Grid {
        let frame = frame(unit);
        Grid::new(&frame, &UnitRows::new(&frame, max_rows, &UnitKey::from_system().unwrap()), &domain(max_rows as u32))
            .unwrap()
    }

    #[test]
    fn values_outside_go_where_the_domain_says() {
        let grid = grid(None, 1);
        assert_eq!(grid.columns[0], [1, 2, MISSING, 10, 0, 3]);
        assert_eq!(grid.columns[1], [0, 1, 1, MISSING, 0, 1]);
        assert_eq!(grid.units(), 6);
    }

    #[test]
    fn rows_are_grouped_and_bounded_by_unit() {
        let grid = grid(Some(vec![0, 1, 0, 0, 1, 2]), 2);
        assert_eq!(grid.offsets, [0, 2, 4, 5], "unit 0 had three rows and keeps two");
        assert_eq!(grid.columns[2], [1, 1, 1, 1, 0], "rows of the unit, less one");
        assert_eq!(grid.columns[0][2..4], [2, 0], "unit 1 keeps its rows in order");
    }

    /// A known choice would let one patient change which rows of all later
    /// patients are read. Unit 0 keeps two rows of three: sixty fits that all
    /// keep the same two would happen by chance once in 10^28.
    #[test]
    fn which_rows_are_kept_is_secret() {
        let kept = || grid(Some(vec![0, 1, 0, 0, 1, 2]), 2).columns[0][..2].to_vec();
        let first = kept();
        assert!((0..60).any(|_| kept() != first));
    }
}
