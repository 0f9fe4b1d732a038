//! What no row may be.

use super::Rules;
use super::row::{Row, Setting};
use crate::cohort::condition::Reader;
use crate::cohort::condition::boxes::Region;
use crate::cohort::condition::meaning::Field;
use crate::encode::Positions;
use crate::error::Result;
use crate::model::ModelFile;
use crate::schema::expression::{Expression, Test};

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
        Ok(Self { expression, columns, allowed: boxes.map_or(Vec::new(), |boxes| boxes.regions().to_vec()) })
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
