//! What the rows of a unit have in common, and the order in which they stand.

use super::Rules;
use super::row::{Row, Setting};
use crate::ingest::MISSING;
use std::ops::Range;

/// Rules over the rows of a unit.
#[derive(Default)]
pub(super) struct OfUnit {
    /// Columns in which all rows of a unit have the value of its first one.
    pub constant: Vec<usize>,
    /// Columns that do not go down from row to row.
    pub ascending: Vec<usize>,
}

/// The cells of several rows, row by row.
pub struct UnitCells<'c> {
    pub positions: &'c mut [u32],
    pub codes: &'c mut [u16],
    pub width: usize,
}

impl UnitCells<'_> {
    pub fn row(&self, r: usize) -> Range<usize> {
        r * self.width..(r + 1) * self.width
    }

    pub fn rows(&self) -> usize {
        self.codes.len() / self.width.max(1)
    }

    /// Puts the cells of the first row into these columns of row `r`.
    fn repeat(&mut self, columns: &[usize], r: usize) {
        for &j in columns {
            self.codes[r * self.width + j] = self.codes[j];
            self.positions[r * self.width + j] = self.positions[j];
        }
    }
}

impl<'m> Rules<'m> {
    /// Whether rows of a unit depend on each other.
    pub(in crate::cohort) fn bind_rows(&self) -> bool {
        !self.of_unit.constant.is_empty() || !self.of_unit.ascending.is_empty()
    }

    /// The setting of a unit's rows after its first one: what they have in common with it is not to be changed.
    pub(in crate::cohort) fn later<'s>(&self, setting: &Setting<'s>) -> Setting<'s> {
        self.without(setting, |j| self.of_unit.constant.contains(&j))
    }

    /// The setting of a single row that is changed when its unit is done.
    pub(in crate::cohort) fn alone<'s>(&self, setting: &Setting<'s>) -> Setting<'s> {
        self.without(setting, |j| self.of_unit.constant.contains(&j) || self.of_unit.ascending.contains(&j))
    }

    fn without<'s>(&self, setting: &Setting<'s>, fixed: impl Fn(usize) -> bool) -> Setting<'s> {
        let free = (0..self.all.len()).map(|j| setting.is_free(j) && !fixed(j)).collect();
        Setting { decoders: setting.decoders.clone(), region: setting.region, free: Some(free) }
    }

    /// Gives row `r` what it has in common with the first.
    pub(in crate::cohort) fn repeat(&self, cells: &mut UnitCells, r: usize) {
        cells.repeat(&self.of_unit.constant, r);
    }

    /// Puts the rows of a unit in order: as they are by the first of the ascending columns, and then, cell by cell, by each
    /// other one, with what is computed from it. False where the cells that were moved break a rule of their new rows.
    pub(in crate::cohort) fn arrange(&self, cells: &mut UnitCells, setting: &Setting) -> bool {
        let Some((&first, others)) = self.of_unit.ascending.split_first() else { return true };
        let order = self.order(cells, first);
        let take = |r: &usize| cells.row(*r);
        let codes: Vec<u16> = order.iter().flat_map(|r| cells.codes[take(r)].to_vec()).collect();
        let positions: Vec<u32> = order.iter().flat_map(|r| cells.positions[take(r)].to_vec()).collect();
        cells.codes.copy_from_slice(&codes);
        cells.positions.copy_from_slice(&positions);
        let mut moved = false;
        for &j in others {
            let order = self.order(cells, j);
            moved |= order.iter().enumerate().any(|(r, &from)| r != from);
            let own: Vec<(u16, u32)> =
                order.iter().map(|r| r * cells.width + j).map(|at| (cells.codes[at], cells.positions[at])).collect();
            for (r, (code, position)) in own.into_iter().enumerate() {
                (cells.codes[r * cells.width + j], cells.positions[r * cells.width + j]) = (code, position);
            }
        }
        !moved
            || (0..cells.rows()).all(|r| {
                let own = cells.row(r);
                let (positions, codes) = (&mut cells.positions[own.clone()], &cells.codes[own]);
                let mut row = Row { positions, codes, known: &[] };
                self.computed.iter().all(|computed| computed.settle(self, &mut row, setting))
                    && self.holds(&row, setting)
            })
    }

    /// The rows in the order of a column; those without a cell stay where they are.
    fn order(&self, cells: &UnitCells, j: usize) -> Vec<usize> {
        let position = |r: usize| cells.positions[r * cells.width + j];
        let present: Vec<usize> = (0..cells.rows()).filter(|&r| position(r) != MISSING).collect();
        let mut sorted = present.clone();
        sorted.sort_by_key(|&r| position(r));
        let mut order: Vec<usize> = (0..cells.rows()).collect();
        present.into_iter().zip(sorted).for_each(|(place, r)| order[place] = r);
        order
    }
}
