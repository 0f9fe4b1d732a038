//! The schema's constraints, held by every row.
//!
//! Rows are worked on as positions, after their codes were drawn and before a value is written. A row is settled: columns
//! in order are drawn from the parts of their cells that keep the order ([`inequality`]), totals and dependent columns are
//! computed ([`sum`], [`formula`], [`dependency`]), and what no row may be is looked at ([`never`]). Where the cells that the model drew
//! do not allow it, the unit is drawn anew (`settled`), which conditions the model's law on the rules; and where that
//! succeeds too rarely, the row is repaired: its cells move to the nearest allowed positions.
//!
//! Numbers are compared as they are written. All of it sees the released model and the public schema, and no real row.

mod dependency;
mod formula;
mod inequality;
mod never;
mod of_unit;
mod row;
mod scale;
mod sum;
mod unique;

use super::condition::boxes::Region;
use crate::encode::Positions;
use crate::error::{Error, Result};
use crate::ingest::MISSING;
use crate::model::ModelFile;
use crate::schema::{Column, Counting, Rule, Unit, common_unit};
use arrow_schema::DataType;
use dependency::Dependency;
use formula::{Formula, Input};
use inequality::{Chain, Inequality};
use never::Never;
use of_unit::OfUnit;
use rand_chacha::ChaCha8Rng;
use scale::Scale;
use sum::Sum;

pub(super) use of_unit::UnitCells;
pub use row::{Row, Setting};
pub(super) use unique::Seen;
use unique::Unique;

/// Rounds of moves that a repair takes at most: a move for one rule can break another.
const REPAIRS: usize = 8;

/// A column that is computed from others.
enum Computed<'m> {
    Sum(Sum),
    Formula(Formula),
    Dependency(Dependency<'m>),
}

impl Computed<'_> {
    fn column(&self) -> usize {
        match self {
            Self::Sum(sum) => sum.total,
            Self::Formula(formula) => formula.computed(),
            Self::Dependency(dependency) => dependency.of,
        }
    }

    fn columns(&self) -> Vec<usize> {
        match self {
            Self::Sum(sum) => sum.columns(),
            Self::Formula(formula) => formula.columns(),
            Self::Dependency(dependency) => vec![dependency.of, dependency.on],
        }
    }

    fn holds(&self, rules: &Rules, row: &Row) -> bool {
        match self {
            Self::Sum(sum) => sum.holds(rules, row),
            Self::Formula(formula) => formula.holds(rules, row),
            Self::Dependency(dependency) => dependency.holds(row),
        }
    }

    fn settle(&self, rules: &Rules, row: &mut Row, setting: &Setting) -> bool {
        match self {
            Self::Sum(sum) => sum.settle(rules, row, setting),
            Self::Formula(formula) => formula.settle(rules, row, setting),
            Self::Dependency(dependency) => dependency.settle(row, setting),
        }
    }

    fn steer(&self, rules: &Rules, target: &Positions, row: &mut Row, setting: &Setting) {
        match self {
            Self::Sum(sum) => sum.steer(rules, target, row, setting),
            Self::Formula(formula) => formula.steer(rules, target, row, setting),
            Self::Dependency(dependency) => dependency.steer(rules, target, row, setting),
        }
    }
}

/// The constraints of a model's schema, as its columns have them.
pub struct Rules<'m> {
    /// All positions of each column.
    all: Vec<Positions>,
    /// How numbers are written, of columns that are numbers.
    scales: Vec<Option<Scale>>,
    chains: Vec<Chain>,
    /// Inequalities of which an end is computed.
    late: Vec<Chain>,
    /// In an order in which each has what it needs.
    computed: Vec<Computed<'m>>,
    never: Vec<Never>,
    unique: Vec<Unique>,
    of_unit: OfUnit,
}

impl<'m> Rules<'m> {
    /// The constraints of the model's schema, for values that are written in these types; `None` where it has none.
    ///
    /// # Errors
    /// Bad input for a constraint that asks for what the model does not know.
    ///
    /// # Privacy
    /// Post-processing.
    pub fn new(model: &'m ModelFile, written: impl Fn(&Column) -> DataType) -> Result<Option<Self>> {
        let (schema, domain) = (&model.header.schema, &model.domain);
        if schema.constraints.is_empty() {
            return Ok(None);
        }
        let declared = |j: usize| schema.column(&domain.columns[j].name).filter(|_| Some(j) != domain.rows_column);
        let place = |name: &str| {
            let found = (0..domain.columns.len()).find(|&j| domain.columns[j].name == name && declared(j).is_some());
            found.ok_or_else(|| Error::bad_input("the model lacks this column").column(name))
        };
        let places = |names: &[String]| names.iter().map(|name| place(name)).collect::<Result<Vec<_>>>();
        let scale = |j: usize| Scale::new(declared(j)?, &domain.columns[j].domain, written(declared(j)?));
        let mut rules = Self {
            all: domain.columns.iter().map(|c| Positions::all(c.domain.positions(), c.nullable)).collect(),
            scales: (0..domain.columns.len()).map(scale).collect(),
            chains: Vec::new(),
            late: Vec::new(),
            computed: Vec::new(),
            never: Vec::new(),
            unique: Vec::new(),
            of_unit: OfUnit::default(),
        };
        for index in schema.computing() {
            match &schema.constraints[index].rule {
                Rule::Sum { total, parts } => {
                    let (total, mut parts) = (place(total)?, places(parts)?);
                    let step = |j: &usize| rules.scales[*j].as_ref().map_or(0.0, Scale::step);
                    parts.sort_by(|a, b| step(b).total_cmp(&step(a)));
                    if let Some(column) = declared(total) {
                        rules.computed.push(Computed::Sum(Sum { total, parts, column: column.clone() }));
                    }
                }
                Rule::Dependency { of, on, map, missing_together } => {
                    let dependency = Dependency::new(model, [place(of)?, place(on)?], map, *missing_together);
                    rules.computed.push(Computed::Dependency(dependency));
                }
                Rule::Bins { of, on, starts, values, missing_together } => {
                    let columns = [place(of)?, place(on)?];
                    if let Some(scale) = &rules.scales[columns[1]] {
                        let groups = (&starts[..], &values[..]);
                        let bins = Dependency::of_groups(model, columns, scale, groups, *missing_together);
                        rules.computed.push(Computed::Dependency(bins));
                    }
                }
                Rule::Formula { of, tolerance, .. } => {
                    let input = |name: &String| {
                        let index = place(name).ok()?;
                        Some(Input { index, counting: Counting::of(declared(index)?) })
                    };
                    let formula = schema.constraints[index].rule.formula().and_then(|formula| formula.map(&input));
                    let of = place(of)?;
                    if let Some((formula, column)) = formula.zip(declared(of)) {
                        let parts = (formula, column.clone(), *tolerance);
                        let may_turn = |j: usize| {
                            let name = &domain.columns[j].name;
                            let others = schema.computing().into_iter().filter(|&other| other != index);
                            others
                                .flat_map(|other| schema.constraints[other].rule.columns())
                                .all(|other| other != *name)
                        };
                        let formula = Formula::new(&rules, &model.header.codecs, of, parts, may_turn);
                        rules.computed.push(Computed::Formula(formula));
                    }
                }
                _ => {}
            }
        }
        let (mut early, mut late) = (Vec::new(), Vec::new());
        for constraint in &schema.constraints {
            match &constraint.rule {
                Rule::Inequality { low, high, strict } => {
                    let (low, high) = (place(low)?, place(high)?);
                    let units = declared(low)
                        .zip(declared(high))
                        .map_or((Unit::OWN, Unit::OWN), |(low, high)| common_unit(low, high));
                    let rule = Inequality { low, high, strict: *strict, units };
                    let is_late = rules.is_computed(low) || rules.is_computed(high);
                    if is_late { late.push(rule) } else { early.push(rule) }
                }
                Rule::Implication { .. } | Rule::Forbidden { .. } | Rule::Missing { .. } => {
                    rules.never.extend(Never::of_rule(model, &rules.all, &constraint.rule)?);
                }
                Rule::Unique { columns } => {
                    let unit = schema.table.unit_column();
                    let own = columns.iter().filter(|name| Some(name.as_str()) != unit).map(|name| place(name));
                    let of_unit = columns.iter().any(|name| Some(name.as_str()) == unit);
                    rules.unique.push(Unique { columns: own.collect::<Result<_>>()?, of_unit });
                }
                Rule::Constant { columns } => rules.of_unit.constant.extend(places(columns)?),
                Rule::Ascending { columns } => rules.of_unit.ascending.extend(places(columns)?),
                Rule::Sum { .. } | Rule::Dependency { .. } | Rule::Bins { .. } | Rule::Formula { .. } => {}
            }
        }
        (rules.chains, rules.late) = (Chain::all(early), Chain::all(late));
        Ok(Some(rules))
    }

    fn is_computed(&self, j: usize) -> bool {
        self.computed.iter().any(|computed| computed.column() == j)
    }

    /// Whether a column decides a computed one.
    fn decides(&self, j: usize) -> bool {
        self.computed.iter().any(|computed| computed.column() != j && computed.columns().contains(&j))
    }

    /// Narrows what a condition allows to what its computed columns can be computed from, and says what is to be drawn for
    /// that: a column that is computed in every row may be drawn as it will. `None` where nothing is left.
    pub(super) fn narrow(&self, region: &mut Region) -> Option<Region> {
        let mut computed = Vec::new();
        for dependency in self.computed.iter().rev() {
            let Computed::Dependency(dependency) = dependency else { continue };
            let Dependency { of, on, missing_together, .. } = dependency;
            let says = |target: &&Positions| *missing_together || !target.contains(MISSING);
            let Some(target) = region.get(of).filter(says) else { continue };
            let silent = if *missing_together { Positions::none() } else { Positions::missing() };
            let gives = dependency.preimage(target).union(&silent);
            let allowed = region.get(on).unwrap_or(&self.all[*on]).intersection(&gives);
            if allowed.is_empty() {
                return None;
            }
            if !allowed.contains(MISSING) || *missing_together {
                computed.push(*of);
            }
            region.insert(*on, allowed);
        }
        let mut drawn = region.clone();
        for of in computed {
            let missing = if drawn[&of].contains(MISSING) { Positions::none() } else { Positions::missing() };
            drawn.insert(of, self.all[of].minus(&missing));
        }
        Some(drawn)
    }

    /// The labels that a column may have since those that it gives are known; `None` where it gives none.
    ///
    /// # Privacy
    /// Post-processing; of a real row as sensitive as the row.
    pub fn giving(&self, j: usize, positions: &[u32]) -> Option<Positions> {
        let known = self.computed.iter().filter_map(|computed| match computed {
            Computed::Dependency(dependency) if dependency.on == j && positions[dependency.of] != MISSING => {
                let of = positions[dependency.of];
                Some(dependency.preimage(&Positions::range(of, of + 1)))
            }
            _ => None,
        });
        let given = known.reduce(|all, one| all.intersection(&one)).filter(|given| !given.is_empty());
        given.filter(|_| self.scales[j].is_none())
    }

    /// Changes the positions of a row so that it holds the rules, as far as the cells that the model drew allow it. False
    /// where they do not.
    pub fn settle(&self, row: &mut Row, setting: &Setting, rng: &mut ChaCha8Rng) -> bool {
        self.settle_given(row, setting);
        self.chains.iter().all(|chain| chain.settle(self, row, setting, rng))
            && self.computed.iter().all(|computed| computed.settle(self, row, setting))
            && {
                // Of what was computed, too.
                self.settle_given(row, setting);
                self.settle_late(row, setting, rng)
            }
            && self.holds(row, setting)
    }

    /// Gives what rules give; what one gives another may ask for.
    fn settle_given(&self, row: &mut Row, setting: &Setting) {
        for _ in 0..2 {
            self.never.iter().for_each(|never| never.settle(self, row, setting));
        }
    }

    /// Draws a column that is to be above or below a computed one, and computes nothing itself.
    fn settle_late(&self, row: &mut Row, setting: &Setting, rng: &mut ChaCha8Rng) -> bool {
        let inequalities = || self.late.iter().chain(&self.chains).flat_map(|chain| &chain.rules);
        for rule in self.late.iter().flat_map(|chain| &chain.rules) {
            if rule.holds(self, row) {
                continue;
            }
            let movable = |j: &usize| !self.is_computed(*j) && !self.decides(*j) && setting.is_free(*j);
            let Some(j) = [rule.low, rule.high].into_iter().find(movable) else { return false };
            let (mut first, mut end) = (0, u32::MAX);
            for other in inequalities().filter(|other| row.has(other.low) && row.has(other.high)) {
                if other.high == j {
                    first = first.max(other.first_high(self, row.value(self, other.low)));
                }
                if other.low == j {
                    end = end.min(other.end_low(self, row.value(self, other.high)));
                }
            }
            let drawn =
                end.checked_sub(1).and_then(|last| setting.decoders[j].draw_between(row.codes[j], first, last, rng));
            let Some(position) = drawn else { return false };
            row.positions[j] = position;
        }
        true
    }

    /// Whether a row holds all rules, but those about cells that are all known, and is of its case.
    pub fn holds(&self, row: &Row, setting: &Setting) -> bool {
        let inequality = |rule: &Inequality| rule.holds(self, row) || !setting.concerns(&[rule.low, rule.high]);
        self.never.iter().all(|never| never.holds(row) || !setting.concerns(&never.columns))
            && self.chains.iter().chain(&self.late).flat_map(|chain| &chain.rules).all(inequality)
            && self.computed.iter().all(|c| c.holds(self, row) || !setting.concerns(&c.columns()))
            && setting.region.is_none_or(|region| region.iter().all(|(&j, own)| own.contains(row.positions[j])))
    }

    /// Moves cells to the nearest positions that hold the rules. False where that is not found.
    pub fn repair(&self, row: &mut Row, setting: &Setting) -> bool {
        for _ in 0..REPAIRS {
            if self.holds(row, setting) {
                return true;
            }
            for never in self.never.iter().filter(|never| setting.concerns(&never.columns)) {
                if !never.holds(row) {
                    never.repair(self, row, setting);
                }
            }
            for chain in &self.chains {
                chain.repair(self, row, setting);
            }
            for computed in &self.computed {
                if !computed.settle(self, row, setting) {
                    computed.steer(self, setting.allowed(self, computed.column()), row, setting);
                    computed.settle(self, row, setting);
                }
            }
            for chain in &self.late {
                chain.repair(self, row, setting);
            }
        }
        self.holds(row, setting)
    }

    /// Brings a column to the nearest of these positions; a computed one by way of what it is computed from.
    fn steer(&self, j: usize, target: &Positions, row: &mut Row, setting: &Setting) {
        match self.computed.iter().find(|computed| computed.column() == j && setting.is_free(j)) {
            Some(_) if target.contains(row.positions[j]) => {}
            Some(computed) => {
                computed.steer(self, target, row, setting);
                computed.settle(self, row, setting);
            }
            None => {
                if let Some(nearest) = target.nearest(row.positions[j]) {
                    row.positions[j] = nearest;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
