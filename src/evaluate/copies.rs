//! Rows that are a training row, cell by cell.

use std::collections::HashSet;

use super::evaluation::Copies;
use super::table::{Column, Table, Tables};

/// Shares of rows that are exactly a training row.
///
/// # Privacy
/// Touches sensitive data. The figures are for the controller, outside the epsilon claim.
pub fn copies(tables: &Tables) -> Copies {
    let columns = tables.names.len();
    let train = cells(&tables.train);
    let known: HashSet<&[u64]> = train.chunks(columns).collect();
    let share = |table: &Table| {
        let found = cells(table).chunks(columns).filter(|row| known.contains(row)).count();
        found as f64 / table.rows as f64
    };
    Copies { synthetic: share(&tables.synthetic), holdout: share(&tables.holdout) }
}

/// The cells row by row; equal numbers are equal cells, and so are missing ones.
fn cells(table: &Table) -> Vec<u64> {
    let cell = |row: usize, column: &Column| match column {
        Column::Number { values, .. } if values[row].is_nan() => f64::NAN.to_bits(),
        // Zero and minus zero are one value.
        Column::Number { values, .. } => (values[row] + 0.0).to_bits(),
        Column::Category(codes) => u64::from(codes[row]),
    };
    (0..table.rows).flat_map(|row| table.columns.iter().map(move |column| cell(row, column))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::fixture::{frame, number, text};

    #[test]
    fn a_copy_is_equal_in_every_cell() {
        let real = frame(vec![number("x", &[0.0, f64::NAN, 2.0]), text("sex", &["F", "M", ""])]);
        let holdout = frame(vec![number("x", &[0.0, 2.0]), text("sex", &["M", "M"])]);
        let synthetic = frame(vec![number("x", &[-0.0, f64::NAN, 2.0, 2.0]), text("sex", &["F", "M", "", "F"])]);
        let found = copies(&Tables::align(&real, &holdout, &synthetic).unwrap());
        assert_eq!((found.synthetic, found.holdout), (0.75, 0.0));
    }
}
