//! The codes of a real table, in memory or on disk.

use super::{Codes, Identities};
use crate::error::{Error, Result};
use crate::spill::Spill;
use rayon::prelude::*;
use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock};

/// Rows that are turned from columns in one go.
const ROWS: usize = 1 << 16;
/// Units that are woven in one go.
const UNITS: usize = 1 << 8;

/// Rows as codes, sorted by unit, as [`Codes`] are, that need not fit into memory.
///
/// # Privacy
/// Touches sensitive data, releases nothing; travels as `Sensitive<CodeStore>`.
pub struct CodeStore {
    cells: Cells,
    width: usize,
    /// `units + 1` row offsets.
    offsets: Vec<u32>,
    /// What the units' identities are made of, and they themselves, once they were asked for.
    origin: Identities,
    identities: OnceLock<Arc<Vec<u64>>>,
    /// The first failure of a reading: see [`CodeStore::check`].
    failure: Mutex<Result<()>>,
}

/// `rows x width` codes.
enum Cells {
    Memory(Vec<u16>),
    Disk(Spill),
}

/// Of rows that are nobody's: a unit's identity is its place.
impl From<Codes> for CodeStore {
    fn from(Codes { codes, width, offsets }: Codes) -> Self {
        Self::new(Cells::Memory(codes), width, offsets, Identities::Places)
    }
}

impl CodeStore {
    fn new(cells: Cells, width: usize, offsets: Vec<u32>, origin: Identities) -> Self {
        Self { cells, width, offsets, origin, identities: OnceLock::new(), failure: Mutex::new(Ok(())) }
    }

    /// The rows of several tables, unit by unit, each of `width` codes that `told` makes of it, given the rows of one unit in one
    /// table: nothing of it may depend on other units. With each table come its number, which `told` is given, and `units + 1`
    /// offsets of the units' rows, which lie in the units' order. `identities` says who the units are. At most `memory` bytes are
    /// kept in memory.
    ///
    /// # Errors
    /// A temporary file cannot be read or written.
    ///
    /// # Privacy
    /// Touches sensitive data, releases nothing.
    pub fn woven(
        tables: &[(u16, Self, Vec<u32>)],
        (units, width): (usize, usize),
        identities: Identities,
        memory: u64,
        told: impl Fn(u16, &[u16]) -> Vec<u16> + Sync,
    ) -> Result<Self> {
        let rows: usize = tables.iter().map(|(_, table, _)| *table.offsets.last().unwrap_or(&0) as usize).sum();
        if rows >= u32::MAX as usize {
            return Err(
                Error::bad_input("the tables have too many rows together").expected(format!("less than {}", u32::MAX))
            );
        }
        let fits = 2 * (rows as u64) * (width as u64) <= memory;
        let (mut kept, mut spill) = (Vec::new(), if fits { None } else { Some(Spill::new(memory)?) });
        let mut offsets = vec![0u32];
        for start in (0..units).step_by(UNITS) {
            let some = start..(start + UNITS).min(units);
            let woven = some.into_par_iter().map(|unit| {
                let (mut own, mut woven) = (Vec::new(), Vec::new());
                for (number, table, offsets) in tables {
                    own.clear();
                    table.append_rows(offsets[unit] as usize..offsets[unit + 1] as usize, &mut own);
                    woven.extend(told(*number, &own));
                }
                woven
            });
            for mut woven in woven.collect::<Vec<Vec<u16>>>() {
                offsets.push(offsets[offsets.len() - 1] + (woven.len() / width) as u32);
                match &mut spill {
                    None => kept.append(&mut woven),
                    Some(spill) => {
                        let bytes: Vec<u8> = woven.into_iter().flat_map(u16::to_le_bytes).collect();
                        spill.append(&bytes)?;
                    }
                }
            }
        }
        tables.iter().try_for_each(|(_, table, _)| table.check())?;
        Ok(Self::new(spill.map_or(Cells::Memory(kept), Cells::Disk), width, offsets, identities))
    }

    /// Number of columns.
    pub fn width(&self) -> usize {
        self.width
    }

    pub fn units(&self) -> usize {
        self.offsets.len() - 1
    }

    /// What tells a unit from all others: its coins and its draws in training hang on nothing else. All are made when one is
    /// first asked for, 8 bytes a unit.
    ///
    /// # Privacy
    /// Touches sensitive data, releases nothing.
    pub fn identity(&self, unit: u32) -> u64 {
        self.identities.get_or_init(|| self.origin.of(self))[unit as usize]
    }

    /// Number of rows of unit `u`.
    pub fn rows_of(&self, u: usize) -> usize {
        (self.offsets[u + 1] - self.offsets[u]) as usize
    }

    /// Puts the rows of unit `u` behind what is in `into`. Where they cannot be read it puts zeros, and
    /// [`CodeStore::check`] tells.
    ///
    /// # Privacy
    /// Touches sensitive data, releases nothing.
    pub fn append_unit(&self, u: usize, into: &mut Vec<u16>) {
        self.append_rows(self.offsets[u] as usize..self.offsets[u + 1] as usize, into);
    }

    /// The units of this range, in memory.
    ///
    /// # Privacy
    /// Touches sensitive data, releases nothing.
    pub fn units_in(&self, units: Range<usize>) -> Codes {
        let offsets = &self.offsets[units.start..=units.end];
        let (first, last) = (offsets[0], offsets[offsets.len() - 1]);
        let mut codes = Vec::new();
        self.append_rows(first as usize..last as usize, &mut codes);
        Codes { codes, width: self.width, offsets: offsets.iter().map(|offset| offset - first).collect() }
    }

    fn append_rows(&self, rows: Range<usize>, into: &mut Vec<u16>) {
        let cells = rows.start * self.width..rows.end * self.width;
        match &self.cells {
            Cells::Memory(codes) => into.extend_from_slice(&codes[cells]),
            Cells::Disk(spill) => {
                let mut bytes = [0; 1024];
                let (mut offset, mut left) = (2 * cells.start as u64, 2 * cells.len());
                while left > 0 {
                    let some = left.min(bytes.len());
                    let bytes = &mut bytes[..some];
                    if let Err(e) = spill.read(offset, bytes) {
                        bytes.fill(0);
                        self.fail(e);
                    }
                    into.extend(bytes.as_chunks().0.iter().map(|&code| u16::from_le_bytes(code)));
                    (offset, left) = (offset + some as u64, left - some);
                }
            }
        }
    }

    fn fail(&self, error: Error) {
        if let Ok(mut failure) = self.failure.lock()
            && failure.is_ok()
        {
            *failure = Err(error);
        }
    }

    /// Whether all that was asked for could be read: to be asked before anything is made of it.
    ///
    /// # Errors
    /// The temporary file could not be read.
    pub fn check(&self) -> Result<()> {
        self.failure.lock().map_or(Ok(()), |mut failure| std::mem::replace(&mut *failure, Ok(())))
    }
}

/// Codes column by column, on their way to rows.
pub(super) struct Transposed {
    rows: usize,
    width: usize,
    memory: u64,
    columns: Columns,
    /// Columns so far.
    pushed: usize,
}

enum Columns {
    /// Already as rows.
    Rows(Vec<u16>),
    /// One after the other.
    Disk(Spill),
}

impl Transposed {
    /// For `width` columns of `rows` cells, of which at most `memory` bytes are kept in memory.
    pub fn new(rows: usize, width: usize, memory: u64) -> Result<Self> {
        let fits = 2 * (rows as u64) * (width as u64) <= memory;
        let columns = if fits { Columns::Rows(vec![0; rows * width]) } else { Columns::Disk(Spill::new(0)?) };
        Ok(Self { rows, width, memory, columns, pushed: 0 })
    }

    /// The next column.
    pub fn push(&mut self, codes: impl Iterator<Item = u16>) -> Result<()> {
        match &mut self.columns {
            Columns::Rows(rows) => {
                rows.iter_mut().skip(self.pushed).step_by(self.width).zip(codes).for_each(|(cell, code)| *cell = code);
            }
            Columns::Disk(spill) => {
                let bytes: Vec<u8> = codes.flat_map(u16::to_le_bytes).collect();
                spill.append(&bytes)?;
            }
        }
        self.pushed += 1;
        Ok(())
    }

    /// The rows; `offsets` and `identities` are those of the units.
    pub fn finish(self, offsets: Vec<u32>, identities: Identities) -> Result<CodeStore> {
        let columns = match self.columns {
            Columns::Rows(rows) => return Ok(CodeStore::new(Cells::Memory(rows), self.width, offsets, identities)),
            Columns::Disk(columns) => columns,
        };
        let mut codes = Spill::new(self.memory)?;
        let mut column = Vec::new();
        for start in (0..self.rows).step_by(ROWS) {
            let rows = ROWS.min(self.rows - start);
            let mut block = vec![0; 2 * rows * self.width];
            column.resize(2 * rows, 0);
            for j in 0..self.width {
                columns.read(2 * (j * self.rows + start) as u64, &mut column)?;
                let cells = block.chunks_exact_mut(2).skip(j).step_by(self.width);
                cells.zip(column.chunks_exact(2)).for_each(|(cell, code)| cell.copy_from_slice(code));
            }
            codes.append(&block)?;
        }
        Ok(CodeStore::new(Cells::Disk(codes), self.width, offsets, identities))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three columns of 70,000 rows, units of none to three rows: the same wherever the codes lie.
    #[test]
    fn rows_are_the_same_wherever_they_lie() {
        let rows = ROWS + 4464;
        let code = |row: usize, column: usize| (row * 7 + column * 11) as u16;
        let mut offsets = vec![0u32];
        while offsets[offsets.len() - 1] < rows as u32 {
            offsets.push((offsets[offsets.len() - 1] + offsets.len() as u32 % 4).min(rows as u32));
        }
        let store = |memory: u64| {
            let mut columns = Transposed::new(rows, 3, memory).unwrap();
            (0..3).for_each(|column| columns.push((0..rows).map(|row| code(row, column))).unwrap());
            columns.finish(offsets.clone(), Identities::Places).unwrap()
        };
        let expected: Vec<u16> = (0..rows).flat_map(|row| (0..3).map(move |column| code(row, column))).collect();
        for memory in [0, 100_000, u64::MAX] {
            let store = store(memory);
            assert_eq!(matches!(store.cells, Cells::Memory(_)), memory == u64::MAX);
            let mut all = Vec::new();
            (0..store.units()).for_each(|unit| store.append_unit(unit, &mut all));
            assert!(all == expected, "{memory}");
            let part = store.units_in(5..900);
            assert_eq!(part.units(), 895);
            assert_eq!(part.codes, expected[3 * offsets[5] as usize..3 * offsets[900] as usize]);
            assert_eq!(part.unit_rows(3).len(), store.rows_of(8));
            store.check().unwrap();
        }
    }

    /// Two tables of 1,928 units, with none to two rows and with one: each unit's rows together, wherever they lie.
    #[test]
    fn the_rows_of_a_unit_are_woven_together() {
        let units = 4 * UNITS + 904;
        let table = |rows: &dyn Fn(usize) -> usize, width: usize| {
            let mut offsets = vec![0u32];
            (0..units).for_each(|unit| offsets.push(offsets[unit] + rows(unit) as u32));
            let codes = (0..offsets[units] as usize * width).map(|cell| cell as u16).collect();
            let store: CodeStore = Codes { codes, width, offsets: offsets.clone() }.into();
            (store, offsets)
        };
        let (first, second) = (table(&|unit| unit % 3, 2), table(&|_| 1, 1));
        let expected = |unit: usize| {
            let mut rows = Vec::new();
            for row in first.1[unit]..first.1[unit + 1] {
                rows.extend([0, (2 * row) as u16, (2 * row + 1) as u16]);
            }
            rows.extend([7, unit as u16, 0]);
            rows
        };
        for memory in [0, u64::MAX] {
            let copy = |store: &CodeStore| CodeStore::from(store.units_in(0..units));
            let tables = [(0, copy(&first.0), first.1.clone()), (7, copy(&second.0), second.1.clone())];
            let woven = CodeStore::woven(&tables, (units, 3), Identities::Places, memory, |number, rows| {
                let width = if number == 0 { 2 } else { 1 };
                let row = |row: &[u16]| [number, row[0], row.get(1).copied().unwrap_or(0)];
                rows.chunks_exact(width).flat_map(row).collect()
            });
            let woven = woven.unwrap();
            assert_eq!(matches!(woven.cells, Cells::Memory(_)), memory == u64::MAX);
            for unit in 0..units {
                let mut rows = Vec::new();
                woven.append_unit(unit, &mut rows);
                assert_eq!(rows, expected(unit), "{memory} {unit}");
            }
        }
    }

    #[test]
    fn what_cannot_be_read_is_told_of() {
        let store = CodeStore::new(Cells::Disk(Spill::new(0).unwrap()), 2, vec![0, 1], Identities::Places);
        let mut row = Vec::new();
        store.append_unit(0, &mut row);
        assert_eq!(row, [0, 0]);
        assert!(store.check().is_err() && store.check().is_ok(), "told once");
    }
}
