//! A constraint as it stands in a file.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Constraint, ConstraintFrom, MapValue, Rule};

/// The kind of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum RuleKind {
    /// `low <= high`, or `low < high` where `strict`.
    Inequality,
    /// Where `when` holds, `then` does.
    Implication,
    /// `never` holds in no row.
    Forbidden,
    /// `total` is the sum of `parts`.
    Sum,
    /// No two rows agree in all of `columns`.
    Unique,
    /// All rows of a unit agree in `columns`.
    Constant,
    /// From row to row of a unit none of `columns` goes down.
    Ascending,
    /// Each value of `on` has one value of `of`.
    Dependency,
    /// `of` is computed by `formula`.
    Formula,
    /// `of` groups the numbers of `on`.
    Bins,
    /// `columns` are missing unless a condition holds.
    Missing,
}

/// All fields that a constraint can have; each belongs to one kind.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename = "Constraint", deny_unknown_fields)]
pub struct Fields {
    /// The name under which the rule is told of; without one it is called by what it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    kind: RuleKind,
    /// Who says that the rule holds. `fit` wants `public`.
    #[serde(default)]
    from: ConstraintFrom,
    /// Inequality: the column that is not above `high`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    low: Option<String>,
    /// Inequality: the column that is not below `low`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    high: Option<String>,
    /// Inequality: the columns are not equal either.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
    /// Implication: a condition, as `generate --where` takes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    when: Option<String>,
    /// Implication: what is not false where `when` is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    then: Option<String>,
    /// Forbidden: a condition that is true of no row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    never: Option<String>,
    /// Sum: the column of the sum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    total: Option<String>,
    /// Sum: the columns that are added up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parts: Option<Vec<String>>,
    /// Unique: the columns of which no two rows have the same values. Constant, ascending: the columns that are so in the
    /// rows of each unit. Missing: the columns that are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    columns: Option<Vec<String>>,
    /// Dependency, bins: the column that is given by `on`. Formula: the column that is computed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    of: Option<String>,
    /// Dependency, bins: the column that gives `of`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    on: Option<String>,
    /// Dependency: the value of `of` for values of `on`, where it is public; each other is drawn once from the model's law.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    map: BTreeMap<String, MapValue>,
    /// Dependency, bins: one column is missing where the other is. Otherwise a missing value says nothing of the other column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    missing_together: Option<bool>,
    /// Formula: arithmetic over columns, such as `weight / (height / 100)^2`, with + - * / ^, parentheses, and floor, round,
    /// sqrt, ln, exp, min, max. A moment counts in days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    formula: Option<String>,
    /// Formula: how far `of` may be from it; without it, half of what the digits of `of` tell apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tolerance: Option<f64>,
    /// Bins: the numbers of `on` at which a group begins, in their order. Below the first is a group, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    starts: Option<Vec<f64>>,
    /// Bins: the value of `of` in each group, one more than `starts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    values: Option<Vec<MapValue>>,
    /// Missing: a condition, as `generate --where` takes it; where it is false, all of `columns` are missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unless: Option<String>,
}

impl RuleKind {
    /// The fields that it must have, and those that it may have.
    fn fields(self) -> (&'static [&'static str], &'static [&'static str]) {
        match self {
            Self::Inequality => (&["low", "high"], &["strict"]),
            Self::Implication => (&["when", "then"], &[]),
            Self::Forbidden => (&["never"], &[]),
            Self::Sum => (&["total", "parts"], &[]),
            Self::Unique | Self::Constant | Self::Ascending => (&["columns"], &[]),
            Self::Dependency => (&["of", "on"], &["map", "missing_together"]),
            Self::Formula => (&["of", "formula"], &["tolerance"]),
            Self::Bins => (&["of", "on", "starts", "values"], &["missing_together"]),
            Self::Missing => (&["columns", "unless"], &[]),
        }
    }
}

impl TryFrom<Fields> for Constraint {
    type Error = String;

    fn try_from(fields: Fields) -> Result<Self, String> {
        #[rustfmt::skip]
        let Fields {
            name, kind, from, low, high, strict, when, then, never, total, parts, columns, of, on, map, missing_together,
            formula, tolerance, starts, values, unless,
        } = fields;
        let given = [
            ("low", low.is_some()),
            ("high", high.is_some()),
            ("strict", strict.is_some()),
            ("when", when.is_some()),
            ("then", then.is_some()),
            ("never", never.is_some()),
            ("total", total.is_some()),
            ("parts", parts.is_some()),
            ("columns", columns.is_some()),
            ("of", of.is_some()),
            ("on", on.is_some()),
            ("map", !map.is_empty()),
            ("missing_together", missing_together.is_some()),
            ("formula", formula.is_some()),
            ("tolerance", tolerance.is_some()),
            ("starts", starts.is_some()),
            ("values", values.is_some()),
            ("unless", unless.is_some()),
        ];
        let (wanted, allowed) = kind.fields();
        if let Some((field, _)) =
            given.iter().find(|(field, is)| *is && !wanted.contains(field) && !allowed.contains(field))
        {
            return Err(format!(
                "`{field}` belongs to another kind of constraint; this one has {}",
                listed(wanted, allowed)
            ));
        }
        let rule = match kind {
            RuleKind::Inequality => {
                low.zip(high).map(|(low, high)| Rule::Inequality { low, high, strict: strict.unwrap_or(false) })
            }
            RuleKind::Implication => when.zip(then).map(|(when, then)| Rule::Implication { when, then }),
            RuleKind::Forbidden => never.map(|never| Rule::Forbidden { never }),
            RuleKind::Sum => total.zip(parts).map(|(total, parts)| Rule::Sum { total, parts }),
            RuleKind::Unique => columns.map(|columns| Rule::Unique { columns }),
            RuleKind::Constant => columns.map(|columns| Rule::Constant { columns }),
            RuleKind::Ascending => columns.map(|columns| Rule::Ascending { columns }),
            RuleKind::Dependency => {
                let missing_together = missing_together.unwrap_or(false);
                of.zip(on).map(|(of, on)| Rule::Dependency { of, on, map, missing_together })
            }
            RuleKind::Formula => of.zip(formula).map(|(of, formula)| Rule::Formula { of, formula, tolerance }),
            RuleKind::Bins => {
                let missing_together = missing_together.unwrap_or(false);
                let groups = of.zip(on).zip(starts.zip(values));
                groups.map(|((of, on), (starts, values))| Rule::Bins { of, on, starts, values, missing_together })
            }
            RuleKind::Missing => columns.zip(unless).map(|(columns, unless)| Rule::Missing { columns, unless }),
        };
        let missing = || {
            let missing = wanted.iter().find(|field| !given.iter().any(|(name, is)| is & (name == *field)));
            format!("the constraint lacks `{}`; it has {}", missing.unwrap_or(&"a field"), listed(wanted, allowed))
        };
        Ok(Self { name, from, rule: rule.ok_or_else(missing)? })
    }
}

fn listed(wanted: &[&str], allowed: &[&str]) -> String {
    wanted.iter().chain(allowed).map(|field| format!("`{field}`")).collect::<Vec<_>>().join(", ")
}

impl From<Constraint> for Fields {
    fn from(Constraint { name, from, rule }: Constraint) -> Self {
        let blank = |kind| Self {
            name,
            kind,
            from,
            low: None,
            high: None,
            strict: None,
            when: None,
            then: None,
            never: None,
            total: None,
            parts: None,
            columns: None,
            of: None,
            on: None,
            map: BTreeMap::new(),
            missing_together: None,
            formula: None,
            tolerance: None,
            starts: None,
            values: None,
            unless: None,
        };
        match rule {
            Rule::Inequality { low, high, strict } => {
                Self { low: Some(low), high: Some(high), strict: Some(strict), ..blank(RuleKind::Inequality) }
            }
            Rule::Implication { when, then } => {
                Self { when: Some(when), then: Some(then), ..blank(RuleKind::Implication) }
            }
            Rule::Forbidden { never } => Self { never: Some(never), ..blank(RuleKind::Forbidden) },
            Rule::Sum { total, parts } => Self { total: Some(total), parts: Some(parts), ..blank(RuleKind::Sum) },
            Rule::Unique { columns } => Self { columns: Some(columns), ..blank(RuleKind::Unique) },
            Rule::Constant { columns } => Self { columns: Some(columns), ..blank(RuleKind::Constant) },
            Rule::Ascending { columns } => Self { columns: Some(columns), ..blank(RuleKind::Ascending) },
            Rule::Dependency { of, on, map, missing_together } => {
                let missing_together = missing_together.then_some(true);
                Self { of: Some(of), on: Some(on), map, missing_together, ..blank(RuleKind::Dependency) }
            }
            Rule::Formula { of, formula, tolerance } => {
                Self { of: Some(of), formula: Some(formula), tolerance, ..blank(RuleKind::Formula) }
            }
            Rule::Bins { of, on, starts, values, missing_together } => Self {
                of: Some(of),
                on: Some(on),
                starts: Some(starts),
                values: Some(values),
                missing_together: missing_together.then_some(true),
                ..blank(RuleKind::Bins)
            },
            Rule::Missing { columns, unless } => {
                Self { columns: Some(columns), unless: Some(unless), ..blank(RuleKind::Missing) }
            }
        }
    }
}
