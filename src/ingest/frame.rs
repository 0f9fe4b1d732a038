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
    /// At most so many rows of each unit, evenly among those that stand next to each other.
    #[must_use]
    pub fn thinned(&self, most: usize) -> Self {
        let Some(unit) = self.unit.as_ref().filter(|_| self.rows > 0) else { return self.clone() };
        let mut kept: Vec<usize> = Vec::new();
        let mut start = 0;
        for own in unit.chunk_by(|a, b| a == b) {
            let take = own.len().min(most.max(1));
            kept.extend((0..take).map(|place| start + place * own.len() / take));
            start += own.len();
        }
        let values = |values: &Values| match values {
            Values::Number(cells) => Values::Number(kept.iter().map(|&row| cells[row]).collect()),
            Values::Text { codes, labels } => {
                Values::Text { codes: kept.iter().map(|&row| codes[row]).collect(), labels: labels.clone() }
            }
        };
        let column = |c: &FrameColumn| FrameColumn { name: c.name.clone(), values: values(&c.values) };
        let unit = kept.iter().map(|&row| unit[row]).collect();
        Self { rows: kept.len(), columns: self.columns.iter().map(column).collect(), unit: Some(unit) }
    }

    /// Number of privacy units.
    pub fn units(&self) -> usize {
        self.unit.as_ref().map_or(self.rows, |unit| unit.iter().max().map_or(0, |&last| last as usize + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thinned_frame_has_some_rows_of_every_unit() {
        let values = Values::Number((0..8).map(f64::from).collect());
        let columns = vec![FrameColumn { name: "n".into(), values }];
        let frame = Frame { rows: 8, columns, unit: Some(vec![0, 0, 0, 0, 0, 1, 2, 2]) };
        let thin = frame.thinned(2);
        assert_eq!((thin.rows, thin.unit), (5, Some(vec![0, 0, 1, 2, 2])));
        assert!(matches!(&thin.columns[0].values, Values::Number(n) if n == &[0.0, 2.0, 5.0, 6.0, 7.0]));
        assert!(frame.thinned(9) == frame && frame.thinned(0).rows == 3);
    }
}
