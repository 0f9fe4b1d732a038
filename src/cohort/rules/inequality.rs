//! Columns in order: the later one is drawn from the part of its cell that the earlier one leaves.

use super::Rules;
use super::row::{Row, Setting};
use crate::encode::Positions;
use crate::ingest::MISSING;
use crate::schema::Unit;
use rand_chacha::ChaCha8Rng;
use std::collections::HashMap;

/// Draws of a row's positions before they are made to fit: as long as one of them holds, all is as the model has it.
const TRIES: usize = 6;

/// `low` is not above `high`.
pub(super) struct Inequality {
    pub low: usize,
    pub high: usize,
    pub strict: bool,
    /// What makes the numbers of both ones of the same unit.
    pub units: (Unit, Unit),
}

impl Inequality {
    pub fn holds(&self, rules: &Rules, row: &Row) -> bool {
        if !row.has(self.low) || !row.has(self.high) {
            return true;
        }
        let (low, high) = (self.units.0.of(row.value(rules, self.low)), self.units.1.of(row.value(rules, self.high)));
        if self.strict { low < high } else { low <= high }
    }

    /// The first position of `high` that is above this number of `low`.
    pub fn first_high(&self, rules: &Rules, low: f64) -> u32 {
        let (own, low) = (self.units.1, self.units.0.of(low));
        let enough = |x: f64| if self.strict { own.of(x) > low } else { own.of(x) >= low };
        rules.scales[self.high].as_ref().map_or(0, |scale| scale.first(own.back(low), enough))
    }

    /// How many positions of `low` are below this number of `high`.
    pub fn end_low(&self, rules: &Rules, high: f64) -> u32 {
        let (own, high) = (self.units.0, self.units.1.of(high));
        let too_far = |x: f64| if self.strict { own.of(x) >= high } else { own.of(x) > high };
        rules.scales[self.low].as_ref().map_or(0, |scale| scale.first(own.back(high), too_far))
    }
}

/// Columns that inequalities hold together.
pub(super) struct Chain {
    /// In an order in which no column stands before one that is to be lower.
    pub columns: Vec<usize>,
    pub rules: Vec<Inequality>,
}

impl Chain {
    /// Inequalities in groups that have no column in common.
    pub fn all(inequalities: Vec<Inequality>) -> Vec<Self> {
        let mut chains: Vec<Self> = Vec::new();
        for rule in inequalities {
            let touches = |chain: &Self| chain.columns.contains(&rule.low) || chain.columns.contains(&rule.high);
            let (joined, rest): (Vec<Self>, Vec<Self>) = chains.into_iter().partition(touches);
            chains = rest;
            let mut chain = Self { columns: Vec::new(), rules: vec![rule] };
            chain.rules.splice(0..0, joined.into_iter().flat_map(|chain| chain.rules));
            chain.columns = chain.rules.iter().flat_map(|rule| [rule.low, rule.high]).collect();
            chains.push(chain);
        }
        chains.into_iter().map(Self::sorted).collect()
    }

    fn sorted(mut self) -> Self {
        let mut left = std::mem::take(&mut self.columns);
        left.sort_unstable();
        left.dedup();
        while !left.is_empty() {
            let waits = |&&j: &&usize| self.rules.iter().any(|rule| rule.high == j && left.contains(&rule.low));
            // The schema has no circle, so one does not wait.
            let Some(&next) = left.iter().find(|j| !waits(j)).or(left.first()) else { break };
            self.columns.push(next);
            left.retain(|&j| j != next);
        }
        self
    }

    pub fn holds(&self, rules: &Rules, row: &Row) -> bool {
        self.rules.iter().all(|rule| rule.holds(rules, row))
    }

    /// Draws the positions anew until all inequalities hold; false where the cells do not allow it.
    pub fn settle(&self, rules: &Rules, row: &mut Row, setting: &Setting, rng: &mut ChaCha8Rng) -> bool {
        for _ in 0..TRIES {
            if self.holds(rules, row) {
                return true;
            }
            for &j in &self.columns {
                if row.has(j) && setting.is_free(j) {
                    row.positions[j] = setting.decoders[j].draw(row.codes[j], rng);
                }
            }
        }
        if self.holds(rules, row) {
            return true;
        }
        let last = |row: &Row, j: usize, end: u32| Some(setting.decoders[j].last(row.codes[j])?.min(end));
        let mut choose = |row: &mut Row, j: usize, from: u32, to: u32| {
            row.positions[j] = setting.decoders[j].draw_between(row.codes[j], from, to, rng)?;
            Some(())
        };
        self.fit(rules, row, setting, &last, &mut choose).is_some() && self.holds(rules, row)
    }

    /// Chooses each column from what those before it leave, and leaves room for those after it. `last` gives the last
    /// position that a column may have up to one, and `choose` takes one between two. Nothing where there is no room.
    fn fit(
        &self,
        rules: &Rules,
        row: &mut Row,
        setting: &Setting,
        last: &impl Fn(&Row, usize, u32) -> Option<u32>,
        choose: &mut impl FnMut(&mut Row, usize, u32, u32) -> Option<()>,
    ) -> Option<()> {
        let present: Vec<usize> = self.columns.iter().copied().filter(|&j| row.has(j)).collect();
        let active = |rule: &&Inequality| present.contains(&rule.low) && present.contains(&rule.high);
        // The last position of each column that may be chosen, and the largest number of each.
        let (mut ends, mut most) = (HashMap::new(), HashMap::new());
        for &j in present.iter().rev() {
            if !setting.is_free(j) {
                most.insert(j, row.value(rules, j));
                continue;
            }
            let mut end = MISSING - 1;
            for rule in self.rules.iter().filter(active).filter(|rule| rule.low == j) {
                end = end.min(rule.end_low(rules, *most.get(&rule.high)?).checked_sub(1)?);
            }
            let end = last(row, j, end)?;
            ends.insert(j, end);
            most.insert(j, rules.scales[j].as_ref()?.value(end));
        }
        for &j in present.iter().filter(|&&j| setting.is_free(j)) {
            let below = self.rules.iter().filter(active).filter(|rule| rule.high == j);
            let from = below.map(|rule| rule.first_high(rules, row.value(rules, rule.low))).max().unwrap_or(0);
            choose(row, j, from, *ends.get(&j)?)?;
        }
        Some(())
    }

    /// Moves columns to the nearest positions that hold the inequalities.
    pub fn repair(&self, rules: &Rules, row: &mut Row, setting: &Setting) {
        let last = |_: &Row, j: usize, end: u32| setting.allowed(rules, j).within(0, end).last().map(|(_, last)| last);
        let mut choose = |row: &mut Row, j: usize, from: u32, to: u32| {
            let target = setting.allowed(rules, j).intersection(&Positions::range(from, to.saturating_add(1)));
            rules.steer(j, &target, row, setting);
            Some(())
        };
        if !self.holds(rules, row) {
            // Without room the row stays as it is, and does not hold.
            let _ = self.fit(rules, row, setting, &last, &mut choose);
        }
    }
}
