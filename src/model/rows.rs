//! Rows of units that are drawn side by side.

/// The rows of some units, drawn round after round: the first row of each, then the next one of each unit that has one
/// left. The code of the rows column in a unit's first row, plus one, is its number of rows.
pub(super) struct RowsOfUnits {
    rows_column: Option<usize>,
    /// Units that have a row left, in order.
    pub active: Vec<usize>,
    rows: Vec<Vec<u16>>,
    left: Vec<usize>,
}

impl RowsOfUnits {
    pub fn new(units: usize, rows_column: Option<usize>) -> Self {
        Self { rows_column, active: (0..units).collect(), rows: vec![Vec::new(); units], left: vec![1; units] }
    }

    /// Whether the first rows are next.
    pub fn is_first(&self) -> bool {
        self.active.first().is_none_or(|&unit| self.rows[unit].is_empty())
    }

    /// The column that is given in the next rows, and its code in each of them.
    pub fn given(&self) -> Option<(usize, impl Iterator<Item = u16>)> {
        let column = self.rows_column.filter(|_| !self.is_first())?;
        Some((column, self.active.iter().map(move |&unit| self.rows[unit][column])))
    }

    /// Takes the next row of each active unit. Returns the places, among the units that were active, of those that
    /// still are.
    pub fn add(&mut self, drawn: &[u16], width: usize) -> Vec<usize> {
        let is_first = self.is_first();
        for (&unit, row) in self.active.iter().zip(drawn.chunks_exact(width)) {
            let rows = &mut self.rows[unit];
            let start = rows.len();
            rows.extend_from_slice(row);
            if let Some(column) = self.rows_column {
                if is_first {
                    self.left[unit] = usize::from(row[column]) + 1;
                } else {
                    rows[start + column] = rows[column];
                }
            }
            self.left[unit] -= 1;
        }
        let kept: Vec<usize> = (0..self.active.len()).filter(|&i| self.left[self.active[i]] > 0).collect();
        self.active = kept.iter().map(|&i| self.active[i]).collect();
        kept
    }

    /// Appends the units, one after the other.
    pub fn append_to(self, width: usize, codes: &mut Vec<u16>, offsets: &mut Vec<u32>) {
        for rows in self.rows {
            codes.extend_from_slice(&rows);
            offsets.push((codes.len() / width) as u32);
        }
    }
}
