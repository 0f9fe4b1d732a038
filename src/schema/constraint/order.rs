//! The order in which rules decide columns.

use std::collections::HashSet;

use super::Rule;
use crate::schema::Schema;

/// The columns that a rule computes from others, with those it computes them from.
fn computed(rule: &Rule) -> Option<(&str, Vec<String>)> {
    match rule {
        Rule::Sum { total, parts } => Some((total, parts.clone())),
        Rule::Dependency { of, on, .. } | Rule::Bins { of, on, .. } => Some((of, vec![on.clone()])),
        Rule::Formula { of, .. } => Some((of, rule.inputs())),
        _ => None,
    }
}

impl Rule {
    /// The column that it computes from others.
    pub(crate) fn computes(&self) -> Option<&str> {
        computed(self).map(|(column, _)| column)
    }
}

/// The pairs of columns of which a rule says that the second comes after the first.
fn compared(rule: &Rule) -> Option<(&str, Vec<String>)> {
    match rule {
        Rule::Inequality { low, high, .. } => Some((high, vec![low.clone()])),
        _ => None,
    }
}

/// The number of the first constraint that computes a column which another one before it computes.
pub(super) fn computed_twice(schema: &Schema, index: usize) -> Option<&str> {
    let (column, _) = computed(&schema.constraints[index].rule)?;
    let before = schema.constraints[..index].iter().filter_map(|constraint| computed(&constraint.rule));
    before.into_iter().find(|(other, _)| *other == column).map(|(other, _)| other)
}

/// Whether the constraint of this number, with those before it, goes round in a circle.
pub(super) fn closes_circle(schema: &Schema, index: usize) -> bool {
    [computed, compared].into_iter().any(|after| {
        let rules = || schema.constraints[..=index].iter().filter_map(|constraint| after(&constraint.rule));
        let Some((start, first)) = after(&schema.constraints[index].rule) else { return false };
        let (mut seen, mut open) = (HashSet::new(), first);
        while let Some(column) = open.pop() {
            if column == start {
                return true;
            }
            if seen.insert(column.clone()) {
                open.extend(rules().filter(|(later, _)| *later == column).flat_map(|(_, earlier)| earlier));
            }
        }
        false
    })
}

impl Schema {
    /// The numbers of the constraints that compute a column, each after those that compute what it needs.
    pub(crate) fn computing(&self) -> Vec<usize> {
        let mut left: Vec<usize> =
            (0..self.constraints.len()).filter(|&i| computed(&self.constraints[i].rule).is_some()).collect();
        let mut order = Vec::with_capacity(left.len());
        while !left.is_empty() {
            let of = |i: usize| computed(&self.constraints[i].rule);
            let waits = |i: usize| {
                let needs = of(i).map(|(_, needs)| needs).unwrap_or_default();
                left.iter().any(|&other| of(other).is_some_and(|(column, _)| needs.iter().any(|need| need == column)))
            };
            let (ready, rest): (Vec<usize>, Vec<usize>) = left.iter().partition(|&&i| !waits(i));
            if ready.is_empty() {
                break;
            }
            order.extend(ready);
            left = rest;
        }
        order
    }
}
