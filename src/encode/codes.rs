//! The encoded table: compact integer codes, rows grouped by privacy unit.

/// The public shape of an encoded table: how many joint cells each column has.
/// The networks see only this, never a name or a value.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Layout {
    /// Cells of each column, missing included. At most 65,536 each.
    pub cells: Vec<usize>,
}

impl Layout {
    pub fn width(&self) -> usize {
        self.cells.len()
    }

    /// Sum of the columns' cells: the width of a one-hot row.
    pub fn total(&self) -> usize {
        self.cells.iter().sum()
    }

    /// First one-hot position of each column, and the total at the end: `width + 1` numbers.
    pub fn offsets(&self) -> Vec<usize> {
        std::iter::once(0)
            .chain(self.cells.iter().scan(0, |sum, &c| {
                *sum += c;
                Some(*sum)
            }))
            .collect()
    }
}

/// Rows as codes, row-major, sorted by unit.
///
/// # Privacy
/// Touches sensitive data, releases nothing; travels as `Sensitive<Codes>`.
#[derive(Clone)]
pub struct Codes {
    /// `rows x width` codes; `codes[r * width + j] < layout.cells[j]`.
    pub codes: Vec<u16>,
    pub width: usize,
    /// `units + 1` row offsets: unit `u` owns rows `offsets[u]..offsets[u + 1]`.
    pub offsets: Vec<u32>,
}

impl Codes {
    pub fn rows(&self) -> usize {
        self.codes.len() / self.width.max(1)
    }

    pub fn units(&self) -> usize {
        self.offsets.len() - 1
    }

    pub fn row(&self, r: usize) -> &[u16] {
        &self.codes[r * self.width..(r + 1) * self.width]
    }

    /// Rows of unit `u`.
    pub fn unit_rows(&self, u: usize) -> std::ops::Range<usize> {
        self.offsets[u] as usize..self.offsets[u + 1] as usize
    }
}
