//! Totals, computed from their parts.

use super::Rules;
use super::row::{Row, Setting};
use crate::encode::Positions;
use crate::schema::{Column, is_sum};

/// `total` is the sum of the parts.
pub(super) struct Sum {
    pub total: usize,
    /// The finest last: what is left of a sum fits there.
    pub parts: Vec<usize>,
    pub column: Column,
}

impl Sum {
    /// All columns that it is about.
    pub fn columns(&self) -> Vec<usize> {
        std::iter::once(self.total).chain(self.parts.iter().copied()).collect()
    }

    fn is_complete(&self, row: &Row) -> bool {
        row.has(self.total) && self.parts.iter().all(|&part| row.has(part))
    }

    fn of_parts(&self, rules: &Rules, row: &Row) -> f64 {
        self.parts.iter().map(|&part| row.value(rules, part)).sum()
    }

    pub fn holds(&self, rules: &Rules, row: &Row) -> bool {
        !self.is_complete(row) || is_sum(row.value(rules, self.total), self.of_parts(rules, row), &self.column)
    }

    /// Computes the total, or where it is known the last part that is not; false where the result has no place.
    pub fn settle(&self, rules: &Rules, row: &mut Row, setting: &Setting) -> bool {
        if !self.is_complete(row) {
            return true;
        }
        let computed = match setting.is_free(self.total) {
            true => Some((self.total, self.of_parts(rules, row))),
            false => self.parts.iter().rev().find(|&&part| setting.is_free(part)).map(|&part| {
                let others = self.of_parts(rules, row) - row.value(rules, part);
                (part, row.value(rules, self.total) - others)
            }),
        };
        let Some((j, x)) = computed else { return true };
        let Some(scale) = &rules.scales[j] else { return false };
        row.positions[j] = scale.nearest(x);
        setting.allows(j, row.positions[j]) && self.holds(rules, row)
    }

    /// Moves the parts, one after the other, until the total has a place among these positions, or is the known one.
    pub fn steer(&self, rules: &Rules, target: &Positions, row: &mut Row, setting: &Setting) {
        let Some(total) = &rules.scales[self.total] else { return };
        let sum = self.of_parts(rules, row);
        let wanted = match setting.is_free(self.total) {
            true => target.nearest(total.nearest(sum)).map(|position| total.value(position)),
            false => Some(row.value(rules, self.total)),
        };
        let mut rest = wanted.map_or(0.0, |wanted| wanted - sum);
        for &part in &self.parts {
            let Some(scale) = rules.scales[part].as_ref().filter(|_| row.has(part) && setting.is_free(part)) else {
                continue;
            };
            let before = row.value(rules, part);
            let wanted = scale.nearest(before + rest);
            if let Some(nearest) = setting.allowed(rules, part).nearest(wanted) {
                rules.steer(part, &Positions::range(nearest, nearest.saturating_add(1)), row, setting);
            }
            rest -= row.value(rules, part) - before;
        }
    }
}
