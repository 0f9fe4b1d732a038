//! Columns that are computed from others by a formula.
//!
//! Where the formula leaves little of what it is made of, as the nights between two days, its columns drawn apart would not keep
//! that little: the formula is turned round, and one of them is computed from what it gives and the rest.

use super::Rules;
use super::row::{Row, Setting};
use crate::encode::{Codec, Positions};
use crate::schema::{Column, Counting, formula, is_computed};

/// How much more a formula varies over columns drawn apart than what it gives does, for it to be turned round.
const FAR_APART: f64 = 4.0;
/// Values of each column by which that is told: a prime number, so that each column can run through them in steps of its own.
const TRIED: usize = 211;

/// `of` is what the formula gives.
pub(super) struct Formula {
    of: usize,
    /// What it is computed from.
    inputs: Vec<usize>,
    formula: formula::Formula<Input>,
    column: Column,
    tolerance: Option<f64>,
    /// All columns that it is about: the one that is computed, and then those that are where it is known.
    giving_way: Vec<usize>,
}

/// A column that a formula names.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Input {
    pub index: usize,
    pub counting: Counting,
}

impl Formula {
    /// `column` is what the formula gives; `may_turn` says of an input whether it may be computed instead.
    pub fn new(
        rules: &Rules,
        codecs: &[Codec],
        of: usize,
        (formula, column, tolerance): (formula::Formula<Input>, Column, Option<f64>),
        may_turn: impl Fn(usize) -> bool,
    ) -> Self {
        let inputs: Vec<usize> = formula.columns().into_iter().map(|input| input.index).collect();
        let mut giving_way: Vec<usize> = std::iter::once(of).chain(inputs.iter().rev().copied()).collect();
        let leaves_little = || {
            let apart = spread(rules, codecs, &inputs, |row| {
                let cell = |input: &Input| {
                    let place = inputs.iter().position(|&index| index == input.index);
                    place.map_or(f64::NAN, |place| input.counting.count(row[place]))
                };
                formula.value(&cell)
            });
            apart > FAR_APART * spread(rules, codecs, &[of], |row| row[0])
        };
        if let Some(&turned) = inputs.iter().find(|&&input| may_turn(input) && rules.scales[input].is_some())
            && leaves_little()
        {
            giving_way.retain(|&j| j != turned);
            giving_way.insert(0, turned);
        }
        Self { of, inputs, formula, column, tolerance, giving_way }
    }

    /// The column that is computed.
    pub fn computed(&self) -> usize {
        self.giving_way[0]
    }

    /// All columns that it is about.
    pub fn columns(&self) -> Vec<usize> {
        self.giving_way.clone()
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

    /// Computes the first column that gives way and is not known; false where the result has no place.
    pub fn settle(&self, rules: &Rules, row: &mut Row, setting: &Setting) -> bool {
        let Some(computed) = self.value(rules, row) else { return true };
        let Some(&free) = self.giving_way.iter().find(|&&j| setting.is_free(j)) else { return true };
        if free == self.of {
            let Some(scale) = &rules.scales[self.of] else { return false };
            // Where the nearest one is not allowed, the tolerance may leave another one.
            let allowed = setting.allowed(rules, self.of).nearest(scale.nearest(computed));
            row.positions[self.of] = allowed.unwrap_or(row.positions[self.of]);
            return allowed.is_some() && self.holds(rules, row);
        }
        self.solve(rules, row.value(rules, self.of), free, row);
        setting.allows(free, row.positions[free]) && self.holds(rules, row)
    }

    /// Moves the inputs, one after the other, until the result has a place among these positions, or is the known one. Where it is
    /// turned round, gives what is computed the nearest of them, and what the formula gives what comes of that.
    pub fn steer(&self, rules: &Rules, target: &Positions, row: &mut Row, setting: &Setting) {
        let Some(scale) = &rules.scales[self.of] else { return };
        if self.computed() != self.of && setting.is_free(self.computed()) && setting.is_free(self.of) {
            let turned = self.computed();
            row.positions[turned] = target.nearest(row.positions[turned]).unwrap_or(row.positions[turned]);
            let given = self.value(rules, row).and_then(|x| setting.allowed(rules, self.of).nearest(scale.nearest(x)));
            row.positions[self.of] = given.unwrap_or(row.positions[self.of]);
            return;
        }
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

/// Standard deviation of what rows of these columns give, each drawn from its own law whatever the others are; 0 where that
/// is not known.
fn spread(rules: &Rules, codecs: &[Codec], columns: &[usize], value: impl Fn(&[f64]) -> f64) -> f64 {
    let law = |&j: &usize| -> Vec<f64> {
        let scale = rules.scales[j].as_ref();
        scale.map_or_else(Vec::new, |scale| codecs[j].quantiles(TRIED).into_iter().map(|p| scale.value(p)).collect())
    };
    let laws: Vec<Vec<f64>> = columns.iter().map(law).collect();
    if laws.iter().any(|law| law.len() < TRIED) {
        return 0.0;
    }
    let row = |n: usize| -> Vec<f64> { laws.iter().zip(1..).map(|(law, step)| law[n * step % TRIED]).collect() };
    let values: Vec<f64> = (0..TRIED).map(|n| value(&row(n))).filter(|x| x.is_finite()).collect();
    let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
    (values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / values.len().max(1) as f64).sqrt()
}
