//! Does a model trained on synthetic rows treat groups of people as one trained on real rows does?

use super::SMALLEST_GROUP;
use super::analyses::{Fairness, GroupFigures, GroupGap, GroupScores};
use super::metrics;
use super::table::{Column, Tables, units_of};
use super::tstr::{Predicted, Predictions};
use crate::error::{Error, Result};
use crate::schema::Schema;

/// One entry per column of the target's `groups`.
///
/// # Errors
/// A column that the tables or the schema lack, or one of numbers.
///
/// # Privacy
/// Touches sensitive data. The figures are for the controller, outside the epsilon claim. Groups are called by what the
/// schema lists.
pub fn fairness(tables: &Tables, schema: &Schema, predictions: &Predictions) -> Result<Vec<Fairness>> {
    predictions.target.groups.iter().map(|column| of_column(tables, schema, predictions, column)).collect()
}

fn of_column(tables: &Tables, schema: &Schema, predictions: &Predictions, name: &str) -> Result<Fairness> {
    let target = &predictions.target.name;
    let column = tables.position(name).map(|c| (c, &tables.holdout.columns[c]));
    let (Some((column, Column::Category(codes))), Some(labels)) = (column, schema.column(name).map(|c| c.labels()))
    else {
        return Err(Error::bad_input(format!("target `{target}`: its groups need a categorical column"))
            .column(name)
            .remedy("name in `groups` categorical, ordinal or boolean columns of the table"));
    };
    let selected = [&predictions.tstr, &predictions.trtr].map(|p| p.as_ref().map(|p| (p, p.selected())));
    let of_label = |label: &String| {
        let code = tables.category(column, label)?;
        let members: Vec<usize> = (0..predictions.rows.len()).filter(|&i| codes[predictions.rows[i]] == code).collect();
        let units = |of: &dyn Fn(usize) -> bool| {
            let rows = members.iter().filter(|&&i| of(i)).map(|&i| predictions.rows[i]);
            units_of(rows.map(|row| tables.holdout.unit[row]))
        };
        let positive = |i: usize| predictions.positive[i];
        let enough = Enough {
            positive: units(&positive) >= SMALLEST_GROUP,
            negative: units(&|i| !positive(i)) >= SMALLEST_GROUP,
        };
        let [tstr, trtr] = [0, 1].map(|model| match &selected[model] {
            Some((predicted, selected)) => scores(&members, &predictions.positive, predicted, selected, enough),
            None => GroupScores::default(),
        });
        (units(&|_| true) >= SMALLEST_GROUP).then(|| GroupFigures {
            group: label.clone(),
            rows: members.len(),
            positive: Some(members.iter().filter(|&&i| predictions.positive[i]).count()),
            tstr,
            trtr,
        })
    };
    let groups: Vec<GroupFigures> = labels.iter().filter_map(of_label).collect();
    Ok(Fairness {
        target: target.clone(),
        column: name.to_owned(),
        omitted: labels.len() - groups.len(),
        largest_gap: GroupGap::of(&groups),
        groups,
    })
}

/// Whether so many people of a group have either outcome that a figure of them may be shown.
#[derive(Clone, Copy)]
struct Enough {
    positive: bool,
    negative: bool,
}

/// Scores of the rows numbered in `members`.
fn scores(
    members: &[usize],
    positive: &[bool],
    predicted: &Predicted,
    selected: &[bool],
    enough: Enough,
) -> GroupScores {
    let is_positive: Vec<bool> = members.iter().map(|&i| positive[i]).collect();
    let probability: Vec<f64> = members.iter().map(|&i| predicted.probability[i]).collect();
    let hits = is_positive.iter().filter(|&&p| p).count();
    let called = members.iter().filter(|&&i| selected[i]).count();
    let called_hits = members.iter().filter(|&&i| selected[i] && positive[i]).count();
    GroupScores {
        roc_auc: if enough.positive && enough.negative { metrics::roc_auc(&is_positive, &probability) } else { None },
        selection_rate: (!members.is_empty()).then(|| called as f64 / members.len() as f64),
        true_positive_rate: enough.positive.then(|| called_hits as f64 / hits as f64),
    }
}

impl GroupGap {
    /// The largest gaps between any of `groups`.
    pub fn of(groups: &[GroupFigures]) -> Self {
        Self { tstr: gaps(groups, |g| g.tstr), trtr: gaps(groups, |g| g.trtr) }
    }
}

/// Largest less smallest of each score; none where fewer than two groups have it.
fn gaps(groups: &[GroupFigures], of: fn(&GroupFigures) -> GroupScores) -> GroupScores {
    let gap = |score: fn(GroupScores) -> Option<f64>| {
        let scores: Vec<f64> = groups.iter().filter_map(|g| score(of(g))).collect();
        let (low, high) = (scores.iter().copied().reduce(f64::min)?, scores.iter().copied().reduce(f64::max)?);
        (scores.len() > 1).then_some(high - low)
    };
    GroupScores {
        roc_auc: gap(|s| s.roc_auc),
        selection_rate: gap(|s| s.selection_rate),
        true_positive_rate: gap(|s| s.true_positive_rate),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::fixture::{frame, patients_schema, text};
    use crate::schema::Target;
    use crate::schema::target::Task;

    #[test]
    fn scores_of_groups_known_by_hand() {
        // Twenty women and men, half of them positive; nine in the east, none in the north and one without a sex.
        let sex: Vec<&str> = ["F", "M"].into_iter().cycle().take(40).chain([""]).collect();
        let site: Vec<&str> = (0..41).map(|i| if i < 9 { "east" } else { "south" }).collect();
        let table = frame(vec![text("sex", &sex), text("site", &site)]);
        let mut tables = Tables::align(&table, &table, &table).unwrap();
        let positive: Vec<bool> = (0..41).map(|i| i < 20).collect();
        // The model sees positive women only.
        let probability = (0..41).map(|i| if i < 20 && i % 2 == 0 { 0.9 } else { 0.1 }).collect();
        let target = Target {
            name: "t".into(),
            column: "outcome".into(),
            task: Task::Binary,
            positive: vec!["yes".into()],
            exclude: vec![],
            groups: vec!["sex".into(), "site".into()],
        };
        let predicted = Predicted { probability, prevalence: 10.0 / 41.0 };
        let predictions =
            Predictions { target: &target, rows: (0..41).collect(), positive, tstr: Some(predicted), trtr: None };
        let found = fairness(&tables, &patients_schema(""), &predictions).unwrap();
        let scores = |roc_auc, selection_rate, true_positive_rate| GroupScores {
            roc_auc: Some(roc_auc),
            selection_rate: Some(selection_rate),
            true_positive_rate: Some(true_positive_rate),
        };
        let [women, men] = [0, 1].map(|i| &found[0].groups[i]);
        assert_eq!((women.group.as_str(), women.rows, women.tstr), ("F", 20, scores(1.0, 0.5, 1.0)));
        assert_eq!((men.group.as_str(), men.rows, men.tstr), ("M", 20, scores(0.5, 0.0, 0.0)));
        assert_eq!(found[0].largest_gap, GroupGap { tstr: scores(0.5, 0.5, 1.0), trtr: GroupScores::default() });
        assert_eq!((found[1].groups.len(), found[1].omitted), (1, 3), "south alone has ten rows");
        assert_eq!(found[1].largest_gap.tstr, GroupScores::default(), "there is nothing to compare it with");
        tables.holdout.unit = (0..41).map(|row| row % 9).collect();
        let found = fairness(&tables, &patients_schema(""), &predictions).unwrap();
        assert!(found.iter().all(|column| column.groups.is_empty()), "many rows of nine people");
    }
}
