//! A table as the schema sees it: typed columns, missing cells marked.

/// Code of a missing cell in [`Values::Text`].
pub const MISSING: u32 = u32::MAX;

/// The cells of one column.
#[derive(Clone, PartialEq)]
pub enum Values {
    /// Integers, reals, and datetimes as ticks of their Arrow unit. NaN is missing.
    Number(Vec<f64>),
    /// Everything else, as dictionary codes into `labels`. [`MISSING`] is missing.
    Text { codes: Vec<u32>, labels: Vec<String> },
}

/// One named column.
#[derive(Clone, PartialEq)]
pub struct FrameColumn {
    pub name: String,
    pub values: Values,
}

/// A table after the schema was applied to it: columns in schema order,
/// dropped and identifier columns left out.
///
/// # Privacy
/// Touches sensitive data, releases nothing. A frame of real rows travels as
/// `Sensitive<Frame>`; it has no `Debug` so that it cannot be printed by chance.
#[derive(Clone, PartialEq)]
pub struct Frame {
    pub rows: usize,
    pub columns: Vec<FrameColumn>,
    /// Dense id of the privacy unit of each row, when the schema names a unit column.
    pub unit: Option<Vec<u32>>,
}

impl Frame {
    /// Number of privacy units.
    pub fn units(&self) -> usize {
        self.unit.as_ref().map_or(self.rows, |unit| unit.iter().max().map_or(0, |&last| last as usize + 1))
    }
}
