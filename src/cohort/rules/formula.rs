//! Columns that are computed from others by a formula.

use super::Rules;
use super::row::{Row, Setting};
use crate::encode::Positions;
use crate::schema::{Column, Counting, formula, is_computed};

/// `of` is what the formula gives.
pub(super) struct Formula {
    pub of: usize,
    /// What it is computed from.
    pub inputs: Vec<usize>,
    pub formula: formula::Formula<Input>,
    pub column: Column,
    pub tolerance: Option<f64>,
}

/// A column that a formula names.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Input {
    pub index: usize,
    pub counting: Counting,
}

impl Formula {
    /// All columns that it is about.
    pub fn columns(&self) -> Vec<usize> {
        std::iter::once(self.of).chain(self.inputs.iter().copied()).collect()
    }

    /// What the row gives; nothing where a cell is missing or the formula has no value.
    fn value(&self, rules: &Rules, row: &Row) -> Option<f64> {
        let cell = |input: &Input| {
            if row.has(input.index) { input.counting.count(row.value(rules, input.index)) } else { f64::NAN }
        };
        Some(self.formula.value(&cell)).filter(|x| x.is_finite() && row.has(self.of))
    }

    pub fn holds(&self, rules: &Rules, row: &Row) -> bool {
        let is = |computed: f64| is_computed(row.value(rules, self.of), computed, &self.column, self.tolerance);
        self.value(rules, row).is_none_or(is)
    }

    /// Computes the column, or where it is known the last input that is not; false where the result has no place.
    pub fn settle(&self, rules: &Rules, row: &mut Row, setting: &Setting) -> bool {
        let Some(computed) = self.value(rules, row) else { return true };
        if setting.is_free(self.of) {
            let Some(scale) = &rules.scales[self.of] else { return false };
            // Where the nearest one is not allowed, the tolerance may leave another one.
            let allowed = setting.allowed(rules, self.of).nearest(scale.nearest(computed));
            row.positions[self.of] = allowed.unwrap_or(row.positions[self.of]);
            return allowed.is_some() && self.holds(rules, row);
        }
        let Some(&last) = self.inputs.iter().rev().find(|&&input| setting.is_free(input)) else { return true };
        self.solve(rules, row.value(rules, self.of), last, row);
        setting.allows(last, row.positions[last]) && self.holds(rules, row)
    }

    /// Moves the inputs, one after the other, until the result has a place among these positions, or is the known one.
    pub fn steer(&self, rules: &Rules, target: &Positions, row: &mut Row, setting: &Setting) {
        let Some(scale) = &rules.scales[self.of] else { return };
        for &input in &self.inputs {
            let Some(computed) = self.value(rules, row) else { return };
            let wanted = match setting.is_free(self.of) {
                true => target.nearest(scale.nearest(computed)).map(|position| scale.value(position)),
                false => Some(row.value(rules, self.of)),
            };
            let Some(wanted) = wanted.filter(|_| setting.is_free(input)) else { continue };
            if is_computed(wanted, computed, &self.column, self.tolerance) {
                return;
            }
            let before = row.positions[input];
            self.solve(rules, wanted, input, row);
            let found = setting.allowed(rules, input).nearest(row.positions[input]);
            row.positions[input] = before;
            if let Some(found) = found {
                rules.steer(input, &Positions::range(found, found.saturating_add(1)), row, setting);
            }
        }
    }

    /// Gives an input the position with which the row gives a number, or comes nearest to it: the formula is taken to go up or
    /// down with each of its inputs.
    fn solve(&self, rules: &Rules, wanted: f64, input: usize, row: &mut Row) {
        let last = rules.all[input].within(0, u32::MAX - 1).last().map_or(0, |(_, last)| last);
        let far = |position: u32, row: &mut Row| {
            row.positions[input] = position;
            self.value(rules, row).map_or(f64::INFINITY, |x| x - wanted)
        };
        let (mut low, mut high) = (0, last);
        let grows = far(high, row) >= far(low, row);
        while low < high {
            let middle = low + (high - low) / 2;
            if (far(middle, row) >= 0.0) == grows { high = middle } else { low = middle + 1 }
        }
        let around = [low.saturating_sub(1), low, low.saturating_add(1).min(last)];
        let nearest = around.into_iter().min_by(|&a, &b| far(a, row).abs().total_cmp(&far(b, row).abs()));
        row.positions[input] = nearest.unwrap_or(low);
    }
}
