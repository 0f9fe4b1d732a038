//! Real rows as positions, grouped and bounded by privacy unit.

use super::Codec;
use super::Identities;
use super::code_store::{CodeStore, Transposed};
use super::domain::{Domain, TableDomain};
use crate::error::{Error, Result};
use crate::ingest::{ColumnStore, MISSING, Values};
use rand::SeedableRng;
use rand::seq::IteratorRandom;
use rand_chacha::ChaCha8Rng;
use std::collections::HashMap;
use std::sync::Arc;
use synthward_privacy::UnitKey;

/// Where every cell of a table lies in the domain. A column is placed when it is asked for, so that there is never more than
/// one in memory.
///
/// # Privacy
/// Touches sensitive data, releases nothing; travels as `Sensitive<Grid>`.
pub struct Grid {
    table: ColumnStore,
    rows: Arc<UnitRows>,
    domain: TableDomain,
}

/// One column of a [`Grid`].
///
/// # Privacy
/// Touches sensitive data, releases nothing; travels as `Sensitive<GridColumn>`.
pub struct GridColumn {
    /// The position of each cell, rows sorted by unit; [`MISSING`] is missing.
    positions: Vec<u32>,
    rows: Arc<UnitRows>,
}

/// The rows of each unit that are used, at most so many.
///
/// # Privacy
/// Touches sensitive data, releases nothing; travels as `Sensitive`.
pub struct UnitRows {
    /// Rows of the table, sorted by unit, in their order within it.
    rows: Vec<u32>,
    /// `units + 1` offsets into `rows`.
    offsets: Vec<u32>,
    identities: Identities,
}

impl UnitRows {
    /// Groups the rows of a table by unit and keeps at most `max_rows` of each, in their order: which ones is drawn at
    /// random under the table's secret key, by the unit's identity.
    ///
    /// # Privacy
    /// Touches sensitive data, releases nothing.
    pub fn new(table: &ColumnStore, max_rows: usize) -> Self {
        let (key, named) = table.identities();
        let (rows, offsets) = bounded_rows(table, max_rows, &key.subkey("rows that are kept"), &named);
        Self { rows, offsets, identities: Identities::Secret { named, key } }
    }

    pub fn units(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Rows of the table that are kept of unit `u`.
    pub fn of(&self, u: usize) -> &[u32] {
        &self.rows[self.range(u)]
    }

    /// Where the rows of unit `u` are among those that are kept.
    fn range(&self, u: usize) -> std::ops::Range<usize> {
        self.offsets[u] as usize..self.offsets[u + 1] as usize
    }
}

impl Grid {
    /// Places every cell of the rows that are kept.
    ///
    /// # Privacy
    /// Touches sensitive data, releases nothing.
    pub fn new(table: ColumnStore, rows: Arc<UnitRows>, domain: TableDomain) -> Self {
        Self { table, rows, domain }
    }

    pub fn units(&self) -> usize {
        self.rows.units()
    }

    /// The column of this index in the domain.
    ///
    /// # Errors
    /// The table lacks the column; the temporary file cannot be read.
    ///
    /// # Privacy
    /// Touches sensitive data, releases nothing.
    pub fn column(&self, index: usize) -> Result<GridColumn> {
        let rows = self.rows.clone();
        if Some(index) == self.domain.rows_column {
            let lengths = rows.offsets.windows(2).map(|w| w[1] - w[0]);
            let positions = lengths.flat_map(|length| std::iter::repeat_n(length.saturating_sub(1), length as usize));
            let positions = positions.collect();
            return Ok(GridColumn { positions, rows });
        }
        let column = &self.domain.columns[index];
        let values = self
            .table
            .column(&column.name)?
            .ok_or_else(|| Error::bad_input("is missing from the table").column(&column.name))?;
        let mut positions = positions(&values, &column.domain, &rows.rows);
        if !column.nullable {
            // A missing cell in a column declared complete is outside the domain.
            let fallback = column.domain.fallback();
            for position in positions.iter_mut().filter(|p| **p == MISSING) {
                *position = fallback;
            }
        }
        Ok(GridColumn { positions, rows })
    }

    /// The joint codes of every row, of which at most `memory` bytes are kept in memory.
    ///
    /// # Errors
    /// As [`Grid::column`].
    ///
    /// # Privacy
    /// Touches sensitive data, releases nothing.
    pub fn encode(&self, codecs: &[Codec], memory: u64) -> Result<CodeStore> {
        let mut columns = Transposed::new(self.rows.rows.len(), codecs.len(), memory)?;
        for (j, codec) in codecs.iter().enumerate() {
            let column = self.column(j)?;
            columns.push(column.positions.iter().map(|&position| codec.joint_code(position)))?;
        }
        columns.finish(self.rows.offsets.clone(), self.rows.identities.clone())
    }
}

impl GridColumn {
    pub fn units(&self) -> usize {
        self.rows.units()
    }

    /// The positions of the rows of unit `u`.
    pub fn of(&self, u: usize) -> &[u32] {
        &self.positions[self.rows.range(u)]
    }
}

/// Rows to keep, sorted by unit, and the units' offsets among them.
fn bounded_rows(table: &ColumnStore, max_rows: usize, key: &UnitKey, named: &[u64]) -> (Vec<u32>, Vec<u32>) {
    let Some(unit) = table.unit() else {
        return ((0..table.rows() as u32).collect(), (0..=table.rows() as u32).collect());
    };
    let units = table.units();
    let mut starts = vec![0u32; units + 1];
    for &u in unit {
        starts[u as usize + 1] += 1;
    }
    for u in 0..units {
        starts[u + 1] += starts[u];
    }
    let mut sorted = vec![0u32; table.rows()];
    let mut next = starts.clone();
    for (row, &u) in unit.iter().enumerate() {
        sorted[next[u as usize] as usize] = row as u32;
        next[u as usize] += 1;
    }
    let mut rng = ChaCha8Rng::from_seed(key.bytes());
    let mut rows = Vec::with_capacity(table.rows());
    let mut offsets = Vec::with_capacity(units + 1);
    offsets.push(0);
    for u in 0..units {
        let own = &sorted[starts[u] as usize..starts[u + 1] as usize];
        if own.len() <= max_rows {
            rows.extend_from_slice(own);
        } else {
            rng.set_stream(named[u]);
            rng.set_word_pos(0);
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
    use crate::ingest::{Frame, FrameColumn};
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

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
                grows_from: None,
            },
            ModelColumn {
                name: "t".into(),
                domain: Domain::Labels { labels: vec!["a".into(), "b".into()], other: Some(1), groups: vec![] },
                nullable: true,
                grows_from: None,
            },
        ];
        let rows_column = (max_rows > 1).then(|| {
            columns.push(ModelColumn {
                name: "rows of the unit".into(),
                domain: Domain::Labels { labels: vec!["1".into(), "2".into()], other: None, groups: vec![] },
                nullable: false,
                grows_from: None,
            });
            2
        });
        TableDomain { columns, rows_column, max_rows_per_unit: max_rows }
    }

    fn grid(unit: Option<Vec<u32>>, max_rows: usize) -> Grid {
        let table = ColumnStore::of(frame(unit)).unwrap();
        let rows = Arc::new(UnitRows::new(&table, max_rows));
        Grid::new(table, rows, domain(max_rows as u32))
    }

    fn positions_of(grid: &Grid, column: usize) -> Vec<u32> {
        grid.column(column).unwrap().positions
    }

    #[test]
    fn values_outside_go_where_the_domain_says() {
        let grid = grid(None, 1);
        assert_eq!(positions_of(&grid, 0), [1, 2, MISSING, 10, 0, 3]);
        assert_eq!(positions_of(&grid, 1), [0, 1, 1, MISSING, 0, 1]);
        assert_eq!(grid.units(), 6);
    }

    #[test]
    fn rows_are_grouped_and_bounded_by_unit() {
        let grid = grid(Some(vec![0, 1, 0, 0, 1, 2]), 2);
        assert_eq!(grid.rows.offsets, [0, 2, 4, 5], "unit 0 had three rows and keeps two");
        assert_eq!(positions_of(&grid, 2), [1, 1, 1, 1, 0], "rows of the unit, less one");
        assert_eq!(grid.column(0).unwrap().of(1), [2, 0], "unit 1 keeps its rows in order");
    }

    /// A known choice would let one patient change which rows of all later
    /// patients are read. Unit 0 keeps two rows of three: sixty fits that all
    /// keep the same two would happen by chance once in 10^28.
    #[test]
    fn which_rows_are_kept_is_secret() {
        let kept = || grid(Some(vec![0, 1, 0, 0, 1, 2]), 2).column(0).unwrap().of(0).to_vec();
        let first = kept();
        assert!((0..60).any(|_| kept() != first));
    }

    proptest! {
        /// Whoever is put in, wherever the rows stand: of all others the same rows are kept.
        #[test]
        fn one_unit_more_changes_nobody_elses_rows(
            rows in vec(0u32..5, 1..60),
            places in vec(0usize..60, 1..9),
            max_rows in 1usize..4,
        ) {
            let key = UnitKey::from_system().unwrap();
            // Rows by their number, each of somebody: what is kept of each.
            let kept = |rows: &[(u32, usize)]| {
                let mut seen: Vec<u32> = Vec::new();
                rows.iter().for_each(|(who, _)| if !seen.contains(who) { seen.push(*who) });
                let unit = rows.iter().map(|(who, _)| seen.iter().position(|one| one == who).unwrap() as u32).collect();
                let table = ColumnStore::of(Frame { rows: rows.len(), columns: Vec::new(), unit: Some(unit) }).unwrap();
                let named: Vec<u64> = seen.iter().map(|who| key.hasher().hash(&who.to_le_bytes()).0).collect();
                let (kept, offsets) = bounded_rows(&table, max_rows, &key, &named);
                let of = |unit: usize| {
                    let own = &kept[offsets[unit] as usize..offsets[unit + 1] as usize];
                    own.iter().map(|&row| rows[row as usize].1).collect::<Vec<_>>()
                };
                seen.iter().enumerate().map(|(unit, &who)| (who, of(unit))).collect::<BTreeMap<_, _>>()
            };
            let rows: Vec<(u32, usize)> = rows.into_iter().zip(0..).collect();
            let mut with = rows.clone();
            places.iter().for_each(|&place| with.insert(place.min(with.len()), (99, place)));
            let (before, mut after) = (kept(&rows), kept(&with));
            prop_assert!(after.remove(&99).is_some());
            prop_assert_eq!(before, after);
        }
    }
}
