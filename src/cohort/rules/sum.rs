//! Totals, computed from their parts.

use super::Rules;
use super::row::{Row, Setting};
use crate::encode::Positions;
use crate::ingest::MISSING;
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
        for (place, &part) in self.parts.iter().enumerate() {
            let Some(scale) = rules.scales[part].as_ref().filter(|_| row.has(part) && setting.is_free(part)) else {
                continue;
            };
            let before = row.value(rules, part);
            let mut wanted = scale.nearest(before + rest);
            // A coarse part that takes the nearest step can leave more than the finer ones have room for.
            let left = before + rest - scale.value(wanted);
            match self.room(rules, &self.parts[place + 1..], row, setting) {
                Some((_, up)) if left > up => wanted = wanted.saturating_add(1),
                Some((down, _)) if left < down => wanted = wanted.saturating_sub(1),
                _ => {}
            }
            if let Some(nearest) = setting.allowed(rules, part).nearest(wanted) {
                rules.steer(part, &Positions::range(nearest, nearest.saturating_add(1)), row, setting);
            }
            rest -= row.value(rules, part) - before;
        }
    }

    /// The most that these parts can take away together, and add, each with half a step more; `None` where none can move.
    fn room(&self, rules: &Rules, parts: &[usize], row: &Row, setting: &Setting) -> Option<(f64, f64)> {
        let movable = parts.iter().filter(|&&part| row.has(part) && setting.is_free(part));
        let of_part = |&part: &usize| {
            let scale = rules.scales[part].as_ref()?;
            let end = |far: u32| setting.allowed(rules, part).nearest(far).map(|position| scale.value(position));
            let (value, half) = (row.value(rules, part), scale.step() / 2.0);
            Some((end(0)? - value - half, end(MISSING - 1)? - value + half))
        };
        movable.filter_map(of_part).reduce(|(down, up), (d, u)| (down + d, up + u))
    }
}
