//! What no row may be.

use super::Rules;
use super::row::{Row, Setting};
use crate::cohort::condition::Reader;
use crate::cohort::condition::boxes::Region;
use crate::cohort::condition::meaning::Field;
use crate::encode::Positions;
use crate::error::Result;
use crate::ingest::MISSING;
use crate::model::ModelFile;
use crate::schema::Rule;
use crate::schema::expression::{Expression, Test, parse};

/// A test of one column: the positions that make it true, and those that make it false.
struct Answer {
    column: usize,
    yes: Positions,
    no: Positions,
}

/// An expression that is true of no row.
pub(super) struct Never {
    expression: Expression<Answer>,
    pub columns: Vec<usize>,
    /// What columns are where it would be true, if the rule says that: to draw such rows anew would draw fewer of those on whom it
    /// hangs.
    gives: Vec<(usize, u32)>,
    /// Disjoint boxes of the rows of which it is false; none where there would be too many.
    allowed: Vec<Region>,
}

impl Never {
    /// # Errors
    /// Bad input for a column or value that the model does not know.
    pub fn new(model: &ModelFile, all: &[Positions], never: &Expression) -> Result<Self> {
        let answer = |test: &Test| {
            let field = Field::of_constraint(test, model)?;
            let (yes, no) = (field.satisfying(test, false)?, field.satisfying(test, true)?);
            Ok(Answer { column: field.index, yes, no })
        };
        let satisfying = |test: &Test, opposite: bool| {
            let Answer { column, yes, no } = answer(test)?;
            Ok((column, if opposite { no } else { yes }))
        };
        let boxes = Reader { all: all.to_vec(), satisfying }.boxes(never, true);
        let expression = never.map(&mut |test| answer(test))?;
        let columns = expression.tests().iter().map(|test| test.column).collect();
        let allowed = boxes.map_or(Vec::new(), |boxes| boxes.regions().to_vec());
        Ok(Self { expression, columns, gives: Vec::new(), allowed })
    }

    /// That of a rule, with what it gives: the columns of `missing` are so, and of an implication what `then` leaves one value of.
    ///
    /// # Errors
    /// As [`Never::new`].
    pub fn of_rule(model: &ModelFile, all: &[Positions], rule: &Rule) -> Result<Option<Self>> {
        let Some(never) = rule.never() else { return Ok(None) };
        let mut own = Self::new(model, all, &never)?;
        let place = |name: &String| model.domain.index(name);
        own.gives = match rule {
            Rule::Missing { columns, .. } => columns.iter().filter_map(place).map(|j| (j, MISSING)).collect(),
            Rule::Implication { then, .. } => {
                let then = parse(then)?.map(&mut |test| {
                    let field = Field::of_constraint(test, model)?;
                    Ok((field.index, field.satisfying(test, false)?))
                })?;
                let only = |yes: &Positions| match yes.within(0, u32::MAX - 1).collect::<Vec<_>>()[..] {
                    [(first, last)] if first == last && !yes.contains(MISSING) => Some(first),
                    [] if yes.contains(MISSING) => Some(MISSING),
                    _ => None,
                };
                match then {
                    Expression::Test((j, yes)) => only(&yes).map(|position| (j, position)).into_iter().collect(),
                    _ => Vec::new(),
                }
            }
            _ => Vec::new(),
        };
        Ok(Some(own))
    }

    /// Gives what the rule gives, where it is broken.
    pub fn settle(&self, rules: &Rules, row: &mut Row, setting: &Setting) {
        if self.gives.is_empty() || self.holds(row) {
            return;
        }
        for &(j, position) in &self.gives {
            if setting.is_free(j) && setting.allows(j, position) && rules.all[j].contains(position) {
                row.positions[j] = position;
            }
        }
    }

    pub fn holds(&self, row: &Row) -> bool {
        let answer = |test: &Answer| {
            let position = row.positions[test.column];
            if test.yes.contains(position) {
                return Some(true);
            }
            test.no.contains(position).then_some(false)
        };
        self.expression.truth(&answer) != Some(true)
    }

    /// Moves the row into the nearest box of which it is false.
    pub fn repair(&self, rules: &Rules, row: &mut Row, setting: &Setting) {
        let moves = |region: &Region| {
            let outside = region.iter().filter(|(j, own)| !own.contains(row.positions[**j]));
            let moved = |(&j, own): (&usize, &Positions)| {
                let target = own.intersection(setting.allowed(rules, j));
                (setting.is_free(j) && target.nearest(row.positions[j]).is_some()).then_some((j, target))
            };
            outside.map(moved).collect::<Option<Vec<_>>>()
        };
        let cost = |moves: &Vec<(usize, Positions)>| {
            let computed = moves.iter().filter(|(j, _)| rules.is_computed(*j)).count();
            let far = |(j, target): &(usize, Positions)| {
                target.nearest(row.positions[*j]).map_or(0, |near| u64::from(near.abs_diff(row.positions[*j])))
            };
            (computed, moves.len(), moves.iter().map(far).sum::<u64>())
        };
        if let Some(moves) = self.allowed.iter().filter_map(moves).min_by_key(cost) {
            for (j, target) in moves {
                rules.steer(j, &target, row, setting);
            }
        }
    }
}
