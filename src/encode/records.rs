//! Rows as they stand in a table, with what is not known of them.

use std::collections::HashMap;

use super::Codec;
use super::domain::{ModelColumn, TableDomain};
use super::grid::positions;
use crate::ingest::{Frame, MISSING, Values};

/// Stands for the code of a cell that is missing from the table.
pub const UNKNOWN: u16 = u16::MAX;

/// The joint codes of rows in the order of the table, none left out, nothing grouped: what a released model is asked
/// about.
///
/// # Privacy
/// Touches sensitive data, releases nothing.
pub struct Records {
    /// Rows by columns of the domain; [`UNKNOWN`] where the cell, or its column, is missing.
    pub codes: Vec<u16>,
    pub width: usize,
    /// The cells themselves, where they were kept.
    cells: Option<Cells>,
}

/// Rows by columns of the domain.
struct Cells {
    positions: Vec<u32>,
    /// The numbers as they stand in the table; NaN elsewhere.
    numbers: Vec<f64>,
}

impl Records {
    /// Places the cells of a frame. Values outside a domain count as they do when a model is fitted. The number of
    /// rows of the unit is counted in the frame, and unknown without units.
    ///
    /// # Privacy
    /// Touches sensitive data, releases nothing.
    pub fn new(frame: &Frame, domain: &TableDomain, codecs: &[Codec]) -> Self {
        Self::read(frame, domain, codecs, None)
    }

    /// As [`Records::new`]; the cells themselves are kept beside their codes.
    ///
    /// # Privacy
    /// Touches sensitive data, releases nothing.
    pub fn with_cells(frame: &Frame, domain: &TableDomain, codecs: &[Codec]) -> Self {
        let cells = frame.rows * domain.columns.len();
        let kept = Cells { positions: vec![MISSING; cells], numbers: vec![f64::NAN; cells] };
        Self::read(frame, domain, codecs, Some(kept))
    }

    fn read(frame: &Frame, domain: &TableDomain, codecs: &[Codec], mut kept: Option<Cells>) -> Self {
        let width = domain.columns.len();
        let mut codes = vec![UNKNOWN; frame.rows * width];
        let rows: Vec<u32> = (0..frame.rows as u32).collect();
        for (j, (column, codec)) in domain.columns.iter().zip(codecs).enumerate() {
            let cells = codes.iter_mut().skip(j).step_by(width);
            if Some(j) == domain.rows_column {
                let numbers = rows_of_units(frame, domain.max_rows_per_unit);
                cells.zip(numbers).for_each(|(code, position)| *code = codec.joint_code(position));
                continue;
            }
            let Some(values) = frame.columns.iter().find(|c| c.name == column.name).map(|c| &c.values) else {
                continue;
            };
            let fallback = column.domain.fallback();
            for ((row, position), code) in positions(values, &column.domain, &rows).into_iter().enumerate().zip(cells) {
                let is_missing = match values {
                    Values::Number(numbers) => numbers[row].is_nan(),
                    Values::Text { codes, .. } => codes[row] == MISSING,
                };
                if !is_missing {
                    let position = if position == MISSING && !column.nullable { fallback } else { position };
                    *code = codec.joint_code(position);
                    if let Some(kept) = &mut kept {
                        kept.positions[row * width + j] = position;
                        if let Values::Number(numbers) = values {
                            kept.numbers[row * width + j] = numbers[row];
                        }
                    }
                }
            }
        }
        Self { codes, width, cells: kept }
    }

    /// The positions and the numbers of a row's cells, where they were kept.
    pub fn cells(&self, r: usize) -> Option<(&[u32], &[f64])> {
        let row = r * self.width..(r + 1) * self.width;
        self.cells.as_ref().map(|cells| (&cells.positions[row.clone()], &cells.numbers[row]))
    }

    /// The codes, a missing cell being a value like any other: rows by columns. In a column that is declared complete it
    /// counts as it does when a model is fitted. A unit of which the number of rows is not known has one.
    ///
    /// # Privacy
    /// Touches sensitive data, releases nothing.
    pub fn complete(&self, domain: &TableDomain, codecs: &[Codec]) -> Vec<u16> {
        let position = |column: &ModelColumn| if column.nullable { MISSING } else { column.domain.fallback() };
        let columns = domain.columns.iter().zip(codecs);
        let missing: Vec<u16> = columns.map(|(column, codec)| codec.joint_code(position(column))).collect();
        let code = |(cell, &code): (usize, &u16)| match (code, cell % self.width) {
            (UNKNOWN, j) if Some(j) == domain.rows_column => 0,
            (UNKNOWN, j) => missing[j],
            (code, _) => code,
        };
        self.codes.iter().enumerate().map(code).collect()
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.codes.len() / self.width.max(1)
    }

    pub fn row(&self, r: usize) -> &[u16] {
        &self.codes[r * self.width..(r + 1) * self.width]
    }
}

/// The number of rows of each row's unit, less one; nothing where there are no units.
fn rows_of_units(frame: &Frame, most: u32) -> Vec<u32> {
    let units = frame.unit.as_deref().unwrap_or_default();
    let mut counts: HashMap<u32, u32> = HashMap::new();
    units.iter().for_each(|&unit| *counts.entry(unit).or_default() += 1);
    units.iter().map(|unit| counts[unit].min(most.max(1)) - 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::{Domain, Leaf, MAX_BINS};
    use crate::ingest::FrameColumn;

    #[test]
    fn cells_keep_their_place_and_missing_ones_are_unknown() {
        let labels = |labels: &[&str]| Domain::Labels {
            labels: labels.iter().map(|&l| l.into()).collect(),
            other: None,
            groups: vec![],
        };
        let column =
            |name: &str, domain, nullable| ModelColumn { name: name.into(), domain, nullable, grows_from: None };
        let domain = TableDomain {
            columns: vec![
                column("n", Domain::Numbers { min: 0.0, step: 1.0, positions: 2 }, false),
                column("t", labels(&["a", "b"]), true),
                column("absent", labels(&["x"]), true),
                column("rows of the unit", labels(&["1", "2"]), false),
            ],
            rows_column: Some(3),
            max_rows_per_unit: 2,
        };
        let leaves: Vec<Leaf> = (0..2).map(|p| Leaf { first: p, last: p, count: 50.0 }).collect();
        let of_labels = |j: usize, nullable: bool, counts: &[f64]| {
            Codec::of_labels(&domain.columns[j].domain, nullable, counts, 100.0, 1.0)
        };
        let codecs = [
            Codec::of_leaves(&leaves, None, 100.0, MAX_BINS),
            of_labels(1, true, &[40.0, 40.0, 20.0]),
            of_labels(2, true, &[80.0, 20.0]),
            of_labels(3, false, &[50.0, 50.0]),
        ];
        let mut frame = Frame {
            rows: 4,
            columns: vec![
                FrameColumn { name: "n".into(), values: Values::Number(vec![1.0, f64::NAN, 9.0, 0.0]) },
                FrameColumn {
                    name: "t".into(),
                    values: Values::Text {
                        codes: vec![0, 1, MISSING, 2],
                        labels: ["a", "b", "z"].map(String::from).to_vec(),
                    },
                },
            ],
            unit: Some(vec![0, 1, 0, 0]),
        };
        let records = Records::new(&frame, &domain, &codecs);
        let column = |j: usize| -> Vec<u16> { (0..records.rows()).map(|r| records.row(r)[j]).collect() };
        assert_eq!(column(0), [1, UNKNOWN, 1, 0]);
        assert_eq!(column(1), [0, 1, UNKNOWN, 2], "a label outside counts as a missing one, but is known");
        assert_eq!(column(2), [UNKNOWN; 4]);
        assert_eq!(column(3), [1, 0, 1, 1]);
        assert!(records.cells(0).is_none());
        let kept = Records::with_cells(&frame, &domain, &codecs);
        assert!(kept.codes == records.codes);
        let (positions, numbers) = kept.cells(2).unwrap();
        assert_eq!((positions[0], numbers[0]), (1, 9.0), "the number is the table's, its place is in the domain");
        assert!(positions[1] == MISSING && numbers[1].is_nan());
        let complete = records.complete(&domain, &codecs);
        assert_eq!(complete[4..12], [0, 1, 1, 0, 1, 2, 1, 1], "whatever is missing counts as in a fit");
        frame.unit = None;
        assert_eq!(Records::new(&frame, &domain, &codecs).row(0)[3], UNKNOWN);
    }
}
