//! Rules that hold in every row, declared so that the cohort keeps them.

mod check;
mod fields;
mod order;

use std::collections::BTreeMap;

use arrow_schema::DataType;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::datetime::Clock;
use super::expression::{Asked, Expression, Test, parse};
use super::formula::{self, Formula};
use super::{Column, Kind, Schema};
use fields::Fields;

const SECONDS_OF_A_DAY: f64 = 86_400.0;

/// One rule of `[[constraint]]`. A missing cell satisfies every kind but those that ask for it by `is null`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Fields", into = "Fields")]
pub struct Constraint {
    /// The name under which it is told of; a rule without one is called by what it says.
    pub name: Option<String>,
    pub from: ConstraintFrom,
    pub rule: Rule,
}

/// Who says that a rule holds, that a table is nobody's, or what a column is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ConstraintFrom {
    /// A person vouches for it, from knowledge of the world and not of these rows.
    #[default]
    Public,
    /// It was seen to hold in the rows, and is as sensitive as they are.
    Data,
}

impl ConstraintFrom {
    /// The name used in a schema.
    pub fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Data => "data",
        }
    }
}

/// What a constraint says.
#[derive(Clone, Debug, PartialEq)]
pub enum Rule {
    /// `low` is not above `high`, and below it where the rule is strict.
    Inequality { low: String, high: String, strict: bool },
    /// No row of which `when` is true has `then` false.
    Implication { when: String, then: String },
    /// True of no row.
    Forbidden { never: String },
    /// `total` is the sum of the parts.
    Sum { total: String, parts: Vec<String> },
    /// No two rows of a table have the same values in all of these columns.
    Unique { columns: Vec<String> },
    /// All rows of a unit have the same values in these columns.
    Constant { columns: Vec<String> },
    /// From row to row of a unit, as they stand in the table, none of these columns goes down.
    Ascending { columns: Vec<String> },
    /// Each value of `on` has one value of `of`: that of the map, or one drawn once from the model's law. Where
    /// `missing_together`, one is missing where the other is; else a missing one says nothing of the other.
    Dependency { of: String, on: String, map: BTreeMap<String, MapValue>, missing_together: bool },
    /// `of` is computed from other columns, and not farther from that than the tolerance: half of what its own digits can
    /// tell, where none is given.
    Formula { of: String, formula: String, tolerance: Option<f64> },
    /// `of` groups the numbers of `on`: the first value stands for those below the first of `starts`, each other one for
    /// those from its start to the next one's. `missing_together` as of a dependency.
    Bins { of: String, on: String, starts: Vec<f64>, values: Vec<MapValue>, missing_together: bool },
    /// Of a row in which `unless` is false, all of these columns are missing.
    Missing { columns: Vec<String>, unless: String },
}

/// A value of a dependency's map.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a text, a number, true or false")]
pub enum MapValue {
    Boolean(bool),
    Integer(i64),
    Real(f64),
    Text(String),
}

impl MapValue {
    /// The value as it would be spelled in a table.
    pub fn spelled(&self) -> String {
        match self {
            Self::Boolean(value) => value.to_string(),
            Self::Integer(value) => value.to_string(),
            Self::Real(value) => value.to_string(),
            Self::Text(text) => text.clone(),
        }
    }
}

impl Rule {
    /// The name of the kind in a schema.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Inequality { .. } => "inequality",
            Self::Implication { .. } => "implication",
            Self::Forbidden { .. } => "forbidden",
            Self::Sum { .. } => "sum",
            Self::Unique { .. } => "unique",
            Self::Constant { .. } => "constant",
            Self::Ascending { .. } => "ascending",
            Self::Dependency { .. } => "dependency",
            Self::Formula { .. } => "formula",
            Self::Bins { .. } => "bins",
            Self::Missing { .. } => "missing",
        }
    }

    /// The names of the columns that it is about.
    pub fn columns(&self) -> Vec<String> {
        match self {
            Self::Inequality { low, high, .. } => vec![low.clone(), high.clone()],
            Self::Implication { .. } | Self::Forbidden { .. } | Self::Missing { .. } => {
                self.never().iter().flat_map(Expression::tests).map(|test| test.column.clone()).collect()
            }
            Self::Sum { total, parts } => std::iter::once(total).chain(parts).cloned().collect(),
            Self::Unique { columns } | Self::Constant { columns } | Self::Ascending { columns } => columns.clone(),
            Self::Dependency { of, on, .. } | Self::Bins { of, on, .. } => vec![of.clone(), on.clone()],
            Self::Formula { of, .. } => std::iter::once(of.clone()).chain(self.inputs()).collect(),
        }
    }

    /// What a formula is computed from; nothing where it cannot be read.
    pub(crate) fn formula(&self) -> Option<Formula> {
        match self {
            Self::Formula { formula, .. } => formula::parse(formula).ok(),
            _ => None,
        }
    }

    /// The names of the columns that a formula is computed from.
    fn inputs(&self) -> Vec<String> {
        self.formula().map_or_else(Vec::new, |formula| formula.columns().into_iter().cloned().collect())
    }

    /// For an implication, what is forbidden and what is missing: what no row may satisfy. Nothing where it cannot be read.
    pub(crate) fn never(&self) -> Option<Expression> {
        match self {
            Self::Forbidden { never } => parse(never).ok(),
            Self::Implication { when, then } => {
                Some(Expression::All(vec![parse(when).ok()?, Expression::Not(Box::new(parse(then).ok()?))]))
            }
            Self::Missing { columns, unless } => {
                let is_there = |column: &String| {
                    Expression::Test(Test { column: column.clone(), at: 1, negated: true, asked: Asked::Null })
                };
                let any = Expression::Any(columns.iter().map(is_there).collect());
                Some(Expression::All(vec![Expression::Not(Box::new(parse(unless).ok()?)), any]))
            }
            _ => None,
        }
    }
}

impl Constraint {
    /// A rule that a person vouches for.
    pub fn new(rule: Rule) -> Self {
        Self { name: None, from: ConstraintFrom::Public, rule }
    }

    /// Its name, or what it says.
    pub fn title(&self) -> String {
        let names = |names: &[String], between: &str| names.join(between);
        match (&self.name, &self.rule) {
            (Some(name), _) => name.clone(),
            (None, Rule::Inequality { low, high, strict }) => {
                format!("{low} {} {high}", if *strict { "<" } else { "<=" })
            }
            (None, Rule::Implication { when, then }) => format!("when {when} then {then}"),
            (None, Rule::Forbidden { never }) => format!("never {never}"),
            (None, Rule::Sum { total, parts }) => format!("{total} = {}", names(parts, " + ")),
            (None, Rule::Unique { columns }) => format!("unique {}", names(columns, ", ")),
            (None, Rule::Constant { columns }) => format!("constant {}", names(columns, ", ")),
            (None, Rule::Ascending { columns }) => format!("ascending {}", names(columns, ", ")),
            (None, Rule::Dependency { of, on, .. }) => format!("{of} by {on}"),
            (None, Rule::Formula { of, formula, .. }) => format!("{of} = {formula}"),
            (None, Rule::Bins { of, on, .. }) => format!("{of} groups {on}"),
            (None, Rule::Missing { columns, unless }) => format!("{} missing unless {unless}", names(columns, ", ")),
        }
    }
}

/// What makes the numbers of two columns that are compared ones of the same unit: ticks become those of the finer one.
pub(crate) fn common_unit(low: &Column, high: &Column) -> (Unit, Unit) {
    if low.kind != Kind::Datetime || high.kind != Kind::Datetime {
        return (Unit::OWN, Unit::OWN);
    }
    let (low, high) = (low.clock(), high.clock());
    let finer = if low.ticks.nanoseconds() < high.ticks.nanoseconds() { low.ticks } else { high.ticks };
    let unit = |clock: Clock| Unit {
        scale: (clock.ticks.nanoseconds() / finer.nanoseconds()) as f64,
        offset: (clock.epoch(finer) - low.epoch(finer)) as f64,
    };
    (unit(low), unit(high))
}

/// How the numbers of a column become comparable with those of another one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Unit {
    scale: f64,
    offset: f64,
}

impl Unit {
    /// Numbers that are comparable as they are.
    pub(crate) const OWN: Self = Self { scale: 1.0, offset: 0.0 };

    /// A number of the column in the common unit.
    pub(crate) fn of(self, x: f64) -> f64 {
        x * self.scale + self.offset
    }

    /// A number in the common unit as one of the column.
    pub(crate) fn back(self, x: f64) -> f64 {
        (x - self.offset) / self.scale
    }
}

/// Whether `sum` is written as the column of totals writes `total`.
pub(crate) fn is_sum(total: f64, sum: f64, column: &Column) -> bool {
    let coarse = column.arrow_type.as_ref().is_some_and(|t| *t.data_type() == DataType::Float32);
    let slack = if coarse { total.abs() * f64::from(f32::EPSILON) } else { 0.0 };
    (total - sum).abs() < 0.5 * 10f64.powi(-(column.decimals.unwrap_or(0) as i32)) + slack
}

/// How far a cell may be from what its formula gives, where nothing is said: half of what the digits of the column tell
/// apart. Nothing where it does not say how many it has.
pub(crate) fn own_tolerance(column: &Column) -> Option<f64> {
    let digits = match column.kind {
        Kind::Integer => Some(0),
        _ => column.decimals,
    };
    digits.map(|digits| 0.5 * 10f64.powi(-(digits as i32)).max(column.step.unwrap_or(0.0)))
}

/// Whether a cell is what its formula gives, within the tolerance and what floats cannot tell.
pub(crate) fn is_computed(x: f64, computed: f64, column: &Column, tolerance: Option<f64>) -> bool {
    let coarse = column.arrow_type.as_ref().is_some_and(|t| *t.data_type() == DataType::Float32);
    let slack = x.abs().max(1.0) * if coarse { f64::from(f32::EPSILON) } else { 1e-9 };
    (x - computed).abs() <= tolerance.or_else(|| own_tolerance(column)).unwrap_or(0.0) + slack
}

/// How a formula counts the numbers of a column: moments in days, others as they are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Counting(Option<Clock>);

impl Counting {
    pub(crate) fn of(column: &Column) -> Self {
        Self((column.kind == Kind::Datetime).then(|| column.clock()))
    }

    pub(crate) fn count(self, x: f64) -> f64 {
        self.0.map_or(x, |clock| clock.seconds(x) / SECONDS_OF_A_DAY)
    }
}

/// Which of the groups that begin at `starts` a number is in.
pub(crate) fn group(x: f64, starts: &[f64]) -> usize {
    starts.partition_point(|start| *start <= x)
}

impl Schema {
    /// The constraints but those that were seen to hold in the rows: nobody vouches for these, and no budget pays for
    /// them.
    pub fn public_constraints(&self) -> Vec<Constraint> {
        self.constraints.iter().filter(|constraint| constraint.from == ConstraintFrom::Public).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_without_a_name_is_called_by_what_it_says() {
        let rule = Rule::Sum { total: "all".into(), parts: vec!["a".into(), "b".into()] };
        let mut constraint = Constraint::new(rule);
        assert_eq!(constraint.title(), "all = a + b");
        constraint.name = Some("costs".into());
        assert_eq!(constraint.title(), "costs");
    }

    #[test]
    fn an_implication_is_broken_where_its_end_is_false() {
        let rule = Rule::Implication { when: "a = 1".into(), then: "b = 2".into() };
        let truth = |a: Option<bool>, b: Option<bool>| {
            rule.never().unwrap().truth(&|test| if test.column == "a" { a } else { b })
        };
        assert_eq!(truth(Some(true), Some(false)), Some(true));
        assert_eq!(truth(Some(true), None), None, "a missing cell breaks nothing");
        assert_eq!(truth(Some(false), Some(false)), Some(false));
    }
}
