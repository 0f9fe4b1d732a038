//! Canaries as rows of a table.

use crate::encode::{Codec, Codes, Grid, GridColumn, TableDomain, UnitRows};
use crate::error::Result;
use crate::ingest::{ColumnStore, Frame, FrameColumn, MISSING, Values};
use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha20Rng;
use std::sync::Arc;

/// All canaries, those that stay out too, in the forms that the fit gives to a table.
///
/// # Privacy
/// Touches sensitive data, releases nothing: their cells are drawn from the table's.
pub struct Candidates {
    frame: Frame,
    most_rows: usize,
    grid: Option<Grid>,
    /// The columns of the grid.
    pub columns: Vec<GridColumn>,
    pub codes: Option<Codes>,
}

impl Candidates {
    /// `count` units, each of `rows` equal rows of which at most `most_rows` are to count, beside the units of `table`.
    /// A row is rare as a combination: its columns are independent, and each label of a column is as likely as any
    /// other that the table has; numbers are those of random rows.
    pub fn draw(table: &Frame, count: usize, rows: usize, most_rows: usize, rng: &mut ChaCha20Rng) -> Self {
        let rows = if table.unit.is_some() { rows } else { 1 };
        let draw = |column: &FrameColumn, rng: &mut ChaCha20Rng| {
            let values = match &column.values {
                Values::Number(values) => {
                    let mut one = || values.choose(rng).copied().unwrap_or(f64::NAN);
                    Values::Number((0..count).flat_map(|_| std::iter::repeat_n(one(), rows)).collect())
                }
                Values::Text { labels, .. } => {
                    let last = labels.len() as u32;
                    let mut one = || if last == 0 { MISSING } else { rng.random_range(0..last) };
                    let codes = (0..count).flat_map(|_| std::iter::repeat_n(one(), rows)).collect();
                    Values::Text { codes, labels: labels.clone() }
                }
            };
            FrameColumn { name: column.name.clone(), values }
        };
        let columns = table.columns.iter().map(|column| draw(column, rng)).collect();
        let unit = table.unit.as_ref().map(|_| (0..count as u32).flat_map(|u| std::iter::repeat_n(u, rows)).collect());
        Self {
            frame: Frame { rows: count * rows, columns, unit },
            most_rows,
            grid: None,
            columns: Vec::new(),
            codes: None,
        }
    }

    /// The table with the canaries whose coin says so behind its own units.
    pub fn join(&self, mut table: Frame, coins: &[bool]) -> Frame {
        let rows = self.frame.rows / coins.len().max(1);
        let joining = || coins.iter().enumerate().filter(|(_, coin)| **coin).map(|(canary, _)| canary);
        let own_rows = || joining().flat_map(|canary| canary * rows..(canary + 1) * rows);
        let first = table.units() as u32;
        for (column, own) in table.columns.iter_mut().zip(&self.frame.columns) {
            match (&mut column.values, &own.values) {
                (Values::Number(values), Values::Number(own)) => values.extend(own_rows().map(|row| own[row])),
                // Labels are the table's own, so codes mean the same.
                (Values::Text { codes, .. }, Values::Text { codes: own, .. }) => {
                    codes.extend(own_rows().map(|row| own[row]));
                }
                _ => {}
            }
        }
        if let Some(unit) = &mut table.unit {
            unit.extend((first..).take(joining().count()).flat_map(|u| std::iter::repeat_n(u, rows)));
        }
        table.rows += joining().count() * rows;
        table
    }

    /// Places the canaries in the domain, as the fit does with the table.
    pub fn place(&mut self, domain: &TableDomain) -> Result<()> {
        let table = ColumnStore::of(self.frame.clone())?;
        let rows = Arc::new(UnitRows::new(&table, self.most_rows));
        let grid = Grid::new(table, rows, domain.clone());
        self.columns = (0..domain.columns.len()).map(|index| grid.column(index)).collect::<Result<_>>()?;
        self.grid = Some(grid);
        Ok(())
    }

    /// Encodes the canaries, as the fit does with the table.
    ///
    /// # Errors
    /// The operating system has no random numbers.
    pub fn encode(&mut self, codecs: &[Codec]) -> Result<()> {
        let store = self.grid.as_ref().map(|grid| grid.encode(codecs, u64::MAX)).transpose()?;
        self.codes = store.map(|store| store.units_in(0..store.units()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn canaries_stand_behind_the_units_of_the_table() {
        let labels = || vec!["a".to_owned(), "b".to_owned()];
        let table = Frame {
            rows: 3,
            columns: vec![
                FrameColumn { name: "n".into(), values: Values::Number(vec![1.0, 2.0, 4.0]) },
                FrameColumn { name: "t".into(), values: Values::Text { codes: vec![0, 0, 0], labels: labels() } },
            ],
            unit: Some(vec![0, 1, 0]),
        };
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let candidates = Candidates::draw(&table, 3, 2, 4, &mut rng);
        assert_eq!(candidates.frame.unit.as_deref(), Some(&[0, 0, 1, 1, 2, 2][..]));
        let joined = candidates.join(table, &[true, false, true]);
        assert_eq!((joined.rows, joined.units()), (7, 4));
        assert_eq!(joined.unit.as_deref(), Some(&[0, 1, 0, 2, 2, 3, 3][..]));
        let (Values::Number(numbers), Values::Number(own)) =
            (&joined.columns[0].values, &candidates.frame.columns[0].values)
        else {
            panic!("numbers")
        };
        assert_eq!(numbers[3..], [own[0], own[1], own[4], own[5]]);
        assert!(own[0] == own[1] && [1.0, 2.0, 4.0].contains(&own[0]));

        let rows = Frame { rows: 2, columns: vec![], unit: None };
        let candidates = Candidates::draw(&rows, 4, 3, 1, &mut rng);
        assert_eq!(candidates.join(rows, &[true, true, true, false]).rows, 5, "where a row is a unit, so is a canary");
    }
}
