//! What the controller's report shows of figures that were computed on real rows: nothing that tells of fewer than ten of
//! them.
//!
//! `evaluation.json` and `audit.json` are exact. The report is read by more of the controller's people, so it has a coarse
//! copy of both, from which no count below ten can be read back, and no difference of counts that is so small:
//!
//! - a count is down to tens, and left out below ten, and so is a group of so few;
//! - a share of rows, or a distance of shares, is rounded to parts of at least ten rows, an end of an interval outwards;
//! - an area under a curve has three decimals, a p-value one digit, a bound of epsilon one decimal;
//! - an odds ratio stands only where category and reference have ten people of either outcome;
//! - entropies, which give away how rare a single value is, are left out.
//!
//! Rounding is no mechanism: what is left lies outside the epsilon claim as before, and does not leave with the cohort.

use crate::audit::shadow::ShadowFigures;
use crate::audit::{AttackFigures, Audit, Controls, CopyFigures, Highest, Proxies, Risk, Roc, Sample, Sizes, TprAtFpr};
use crate::evaluate::{
    Area, Association, Calibration, ColumnFigures, ConstraintFigures, Copies, DetectionColumn, Estimate, Evaluation,
    Fairness, Figure, GroupFigures, GroupGap, GroupScores, Influence, LeftOut, MissingRate, Missingness, NumberFigures,
    OfTables, OnePerson, Queries, RareCategories, RareShare, RegressionFigures, RegressionTerm, Reliability,
    ReliabilityBin, Rows, SMALLEST_GROUP, Scores, SurvivalCurve, SurvivalFigures, SurvivalGroup, Tstr, Tvd, Validity,
    Violations,
};
use crate::schema::target::Task;

/// A share of `rows` rows in parts of at least ten of them.
pub(super) fn share(x: f64, rows: usize) -> f64 {
    in_parts(x, rows, f64::round)
}

fn in_parts(x: f64, rows: usize, rounding: fn(f64) -> f64) -> f64 {
    let parts = (rows / SMALLEST_GROUP).max(1) as f64;
    // Zero is added so that no -0 is written.
    rounding(x * parts) / parts + 0.0
}

/// Both ends of an interval of a share, rounded outwards.
fn interval((low, high): (f64, f64), rows: usize) -> (f64, f64) {
    (in_parts(low, rows, f64::floor), in_parts(high, rows, f64::ceil))
}

/// Down to tens.
///
/// # Privacy
/// Of real rows: outside the guarantee, as all that is coarse here.
pub fn tens(count: usize) -> usize {
    count / SMALLEST_GROUP * SMALLEST_GROUP
}

/// Down to tens; `None` below ten.
fn tens_if_any(count: Option<usize>) -> Option<usize> {
    count.filter(|&count| count >= SMALLEST_GROUP).map(tens)
}

fn decimals(x: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (x * scale).round() / scale + 0.0
}

/// For areas under a curve and other means over rows that are no shares.
fn three_decimals(x: f64) -> f64 {
    decimals(x, 3)
}

fn significant(x: f64, digits: i32) -> f64 {
    if x == 0.0 || !x.is_finite() { x } else { decimals(x, digits - 1 - x.abs().log10().floor() as i32) }
}

/// A bound, up to two digits.
fn upwards(x: f64) -> f64 {
    if x <= 0.0 {
        return x;
    }
    let scale = 10_f64.powi(1 - x.log10().floor() as i32);
    (x * scale).ceil() / scale
}

/// A figure whose two sides are shares of so many rows.
fn figure(of: Figure, rows: Sides) -> Figure {
    Figure { synthetic: share(of.synthetic, rows.synthetic), floor: share(of.floor, rows.floor) }
}

/// Rows that the two sides of a [`Figure`] are shares of.
#[derive(Clone, Copy)]
struct Sides {
    synthetic: usize,
    floor: usize,
}

fn constraint(exact: &ConstraintFigures) -> ConstraintFigures {
    ConstraintFigures { real: tens_if_any(exact.real), holdout: tens_if_any(exact.holdout), ..exact.clone() }
}

/// The copy of an evaluation that a report shows.
pub fn evaluation(exact: &Evaluation) -> Evaluation {
    let Rows { real, holdout, synthetic, synthetic_judged } = exact.rows;
    let against_holdout = Sides { synthetic: holdout, floor: real.min(holdout) };
    let distance = |of: Figure| figure(of, against_holdout);
    let pair = |(low, high): (f64, f64)| (three_decimals(low), three_decimals(high));
    let area = |of: Area| Area {
        synthetic: three_decimals(of.synthetic),
        floor: three_decimals(of.floor),
        synthetic_interval: pair(of.synthetic_interval),
        floor_interval: pair(of.floor_interval),
    };
    Evaluation {
        note: exact.note.clone(),
        seed: exact.seed,
        rows: Rows {
            real: tens(real),
            holdout: tens(holdout),
            synthetic,
            // Of a large cohort as many are judged as there are real rows.
            synthetic_judged: tens(synthetic_judged),
        },
        influence: Influence {
            note: exact.influence.note.clone(),
            most_rows_real: exact.influence.most_rows_real.next_multiple_of(SMALLEST_GROUP),
            most_rows_holdout: exact.influence.most_rows_holdout.next_multiple_of(SMALLEST_GROUP),
            share: upwards(exact.influence.share),
        },
        tvd: Tvd {
            one_way: distance(exact.tvd.one_way),
            two_way: exact.tvd.two_way.map(distance),
            three_way: exact.tvd.three_way.map(distance),
        },
        queries: Queries { three_way: distance(exact.queries.three_way), prefixes: distance(exact.queries.prefixes) },
        association: Association {
            mean_difference: exact.association.mean_difference.map(distance),
            columns: exact.association.columns.clone(),
            holdout: exact
                .association
                .holdout
                .iter()
                .map(|row| row.iter().map(|&x| share(x, holdout)).collect())
                .collect(),
            synthetic: exact.association.synthetic.clone(),
        },
        copies: Copies {
            synthetic: share(exact.copies.synthetic, synthetic_judged),
            holdout: share(exact.copies.holdout, holdout),
        },
        tstr: exact.tstr.iter().map(tstr).collect(),
        calibration: exact.calibration.iter().map(calibration).collect(),
        fairness: exact.fairness.iter().map(fairness).collect(),
        survival: exact.survival.iter().map(survival).collect(),
        regressions: exact.regressions.iter().map(|figures| regression(figures, real, holdout)).collect(),
        detection_auc: exact.detection_auc.map(area),
        detection_auc_binned: exact.detection_auc_binned.map(area),
        detection_columns: exact
            .detection_columns
            .iter()
            .map(|c| DetectionColumn { column: c.column.clone(), gain_share: three_decimals(c.gain_share) })
            .collect(),
        missingness: Missingness {
            mean_difference: distance(exact.missingness.mean_difference),
            largest_difference: distance(exact.missingness.largest_difference),
            correlation_difference: exact.missingness.correlation_difference.map(distance),
        },
        validity: Validity {
            synthetic: violations(exact.validity.synthetic, synthetic_judged),
            floor: violations(exact.validity.floor, holdout),
        },
        constraints: exact.constraints.iter().map(constraint).collect(),
        rare_categories: rare_categories(exact.rare_categories),
        columns: exact.columns.iter().map(|figures| column(figures, exact.rows, exact.influence.share)).collect(),
    }
}

fn violations(of: Violations, rows: usize) -> Violations {
    Violations {
        rows: share(of.rows, rows),
        not_a_number: share(of.not_a_number, rows),
        not_whole: share(of.not_whole, rows),
        outside_range: share(of.outside_range, rows),
        unknown_category: share(of.unknown_category, rows),
        missing_where_never: share(of.missing_where_never, rows),
    }
}

fn column(exact: &ColumnFigures, Rows { real, holdout, synthetic_judged, .. }: Rows, one_person: f64) -> ColumnFigures {
    ColumnFigures {
        name: exact.name.clone(),
        tvd: figure(exact.tvd, Sides { synthetic: holdout, floor: real.min(holdout) }),
        tvd_without_constraints: exact.tvd_without_constraints.map(|x| share(x, holdout)),
        missing_rate: MissingRate {
            real: share(exact.missing_rate.real, real),
            holdout: share(exact.missing_rate.holdout, holdout),
            synthetic: exact.missing_rate.synthetic,
        },
        distinct_real: tens_if_any(exact.distinct_real),
        distinct_holdout: tens_if_any(exact.distinct_holdout),
        distinct_synthetic: exact.distinct_synthetic,
        rare_share: RareShare {
            real: share(exact.rare_share.real, real),
            holdout: share(exact.rare_share.holdout, holdout),
            // The real rows say which values are rare.
            synthetic: share(exact.rare_share.synthetic, synthetic_judged),
        },
        rare_categories: exact.rare_categories.map(rare_categories),
        entropy_ratio: None,
        numbers: exact.numbers.and_then(|of| numbers(&of, one_person)),
    }
}

/// In steps of what ten people move, who have so large a share of the holdout each.
/// None where ten people move a figure by so much that it would say nothing: the mean by more than half a standard deviation, the
/// variance by more than half of itself.
fn numbers(exact: &NumberFigures, one_person: f64) -> Option<NumberFigures> {
    let of_real = |of: OfTables, rounded: &dyn Fn(f64) -> f64| OfTables {
        real: rounded(of.real),
        holdout: rounded(of.holdout),
        synthetic: of.synthetic,
    };
    let in_steps = |x: f64, step: f64| if step > 0.0 { (x / step).round() * step + 0.0 } else { x };
    let people = SMALLEST_GROUP as f64;
    let width = exact.one_person / one_person;
    let (of_mean, of_variance) = (people * exact.one_person, people * exact.one_person * width);
    let least = exact.deviation.real.min(exact.deviation.holdout);
    if of_mean > 0.5 * least || of_variance > 0.5 * least.powi(2) {
        return None;
    }
    Some(NumberFigures {
        mean: of_real(exact.mean, &|x| significant(in_steps(x, of_mean), 4)),
        deviation: of_real(exact.deviation, &|x| significant(in_steps(x * x, of_variance).sqrt(), 4)),
        zeros: of_real(exact.zeros, &|x| three_decimals(in_steps(x, people * one_person))),
        one_person: upwards(exact.one_person),
    })
}

fn rare_categories(exact: RareCategories) -> RareCategories {
    RareCategories {
        kept: tens_if_any(exact.kept),
        lost: tens_if_any(exact.lost),
        lost_in_holdout: tens_if_any(exact.lost_in_holdout),
    }
}

fn tstr(exact: &Tstr) -> Tstr {
    let rows = tens_if_any(exact.rows);
    let scores = |of: &Scores| rows.map_or_else(Scores::default, |rows| scores(of, rows));
    Tstr {
        target: exact.target.clone(),
        column: exact.column.clone(),
        task: exact.task,
        model: exact.model,
        rows,
        one_person: OnePerson {
            share: upwards(exact.one_person.share),
            roc_auc: exact.one_person.roc_auc.map(upwards),
            macro_f1: exact.one_person.macro_f1.map(upwards),
            average_precision: exact.one_person.average_precision.map(upwards),
            r2: exact.one_person.r2.map(upwards),
            rmse: exact.one_person.rmse.map(upwards),
            mae: exact.one_person.mae.map(upwards),
        },
        tstr: scores(&exact.tstr),
        trtr: scores(&exact.trtr),
        majority: scores(&exact.majority),
        remark: exact.remark.clone(),
    }
}

fn scores(exact: &Scores, rows: usize) -> Scores {
    let share = |x| share(x, rows);
    Scores {
        roc_auc: exact.roc_auc.map(three_decimals),
        macro_f1: exact.macro_f1.map(share),
        macro_f1_at_prevalence: exact.macro_f1_at_prevalence.map(share),
        accuracy: exact.accuracy.map(share),
        average_precision: exact.average_precision.map(share),
        brier: exact.brier.map(share),
        r2: exact.r2.map(share),
        rmse: exact.rmse.map(|x| significant(x, 3)),
        mae: exact.mae.map(|x| significant(x, 3)),
    }
}

fn calibration(exact: &Calibration) -> Calibration {
    let bin = |bin: &ReliabilityBin| ReliabilityBin {
        rows: tens(bin.rows),
        predicted: three_decimals(bin.predicted),
        observed: share(bin.observed, bin.rows),
    };
    let curve = |curve: &Reliability| Reliability {
        expected_calibration_error: share(
            curve.expected_calibration_error,
            curve.bins.iter().map(|bin| bin.rows).sum(),
        ),
        bins: curve.bins.iter().map(bin).collect(),
    };
    Calibration {
        target: exact.target.clone(),
        tstr: exact.tstr.as_ref().map(curve),
        trtr: exact.trtr.as_ref().map(curve),
    }
}

fn fairness(exact: &Fairness) -> Fairness {
    let group = |group: &GroupFigures| {
        let positive = tens_if_any(group.positive);
        let scores = |of: GroupScores| GroupScores {
            roc_auc: of.roc_auc.map(three_decimals),
            selection_rate: of.selection_rate.map(|x| share(x, group.rows)),
            true_positive_rate: of.true_positive_rate.zip(positive).map(|(x, positive)| share(x, positive)),
        };
        GroupFigures {
            group: group.group.clone(),
            rows: tens(group.rows),
            positive,
            tstr: scores(group.tstr),
            trtr: scores(group.trtr),
        }
    };
    let groups: Vec<GroupFigures> = exact.groups.iter().map(group).collect();
    Fairness {
        target: exact.target.clone(),
        column: exact.column.clone(),
        omitted: exact.omitted,
        largest_gap: GroupGap::of(&groups),
        groups,
    }
}

fn survival(exact: &SurvivalFigures) -> SurvivalFigures {
    let start = exact.times.first().copied().unwrap_or(0.0);
    let group = |group: &SurvivalGroup| {
        let curve = |of: &SurvivalCurve| curve(of, start, group.horizon);
        let rows = |of: &SurvivalCurve| of.rows.unwrap_or(0);
        let holdout = rows(&group.holdout);
        let sides = Sides { synthetic: holdout, floor: holdout.min(rows(&group.real)) };
        SurvivalGroup {
            group: group.group.clone(),
            real: curve(&group.real),
            holdout: curve(&group.holdout),
            synthetic: group.synthetic.clone(),
            with_noise: group.with_noise.clone(),
            horizon: group.horizon,
            distance: group.distance.map(|of| figure(of, sides)),
        }
    };
    SurvivalFigures {
        name: exact.name.clone(),
        by: exact.by.clone(),
        times: exact.times.clone(),
        groups: exact.groups.iter().map(group).collect(),
        remark: exact.remark.clone(),
    }
}

fn curve(exact: &SurvivalCurve, start: f64, horizon: Option<f64>) -> SurvivalCurve {
    let rows = exact.rows.unwrap_or(0);
    let each = |of: &[Option<f64>], rounding: fn(f64) -> f64| -> Vec<Option<f64>> {
        of.iter().map(|x| x.map(|x| in_parts(x, rows, rounding))).collect()
    };
    // The mean of the survival over the time, which is a mean of shares.
    let restricted = |(mean, horizon): (f64, f64)| {
        let span = horizon - start;
        if span > 0.0 { start + span * share((mean - start) / span, rows) } else { mean }
    };
    let all = |left_out: f64| (rows as f64 / (1.0 - left_out)).round() as usize;
    let large_enough = |&left_out: &f64| left_out < 1.0 && all(left_out) >= SMALLEST_GROUP;
    SurvivalCurve {
        rows: tens_if_any(exact.rows),
        survival: each(&exact.survival, f64::round),
        lower: each(&exact.lower, f64::floor),
        upper: each(&exact.upper, f64::ceil),
        restricted_mean: exact.restricted_mean.zip(horizon).map(restricted),
        left_out: exact.left_out.filter(large_enough).map(|left_out| share(left_out, all(left_out))),
    }
}

fn regression(exact: &RegressionFigures, real: usize, holdout: usize) -> RegressionFigures {
    let two_decimals = |x: f64| decimals(x, 2);
    let term = |term: &RegressionTerm| {
        let is_ratio = exact.task == Task::Binary && term.category.is_some();
        let shown =
            |of: Option<Estimate>, fewest: Option<usize>| of.filter(|_| !is_ratio || fewest.is_some()).map(estimate);
        let (fewest_real, fewest_holdout) = (tens_if_any(term.fewest_real), tens_if_any(term.fewest_holdout));
        let known = shown(term.real, fewest_real);
        RegressionTerm {
            covariate: term.covariate.clone(),
            category: term.category.clone(),
            reference: term.reference.clone(),
            fewest_real,
            fewest_holdout,
            real: known,
            holdout: shown(term.holdout, fewest_holdout),
            synthetic: term.synthetic,
            with_noise: term.with_noise,
            overlap: known.and(term.overlap).map(two_decimals),
            standardised_difference: known.and(term.standardised_difference).map(two_decimals),
        }
    };
    let figure = |of: Figure| Figure { synthetic: two_decimals(of.synthetic), floor: two_decimals(of.floor) };
    RegressionFigures {
        name: exact.name.clone(),
        outcome: exact.outcome.clone(),
        task: exact.task,
        terms: exact.terms.iter().map(term).collect(),
        left_out: LeftOut {
            real: share(exact.left_out.real, real),
            holdout: share(exact.left_out.holdout, holdout),
            synthetic: exact.left_out.synthetic,
        },
        mean_overlap: exact.mean_overlap.map(figure),
        same_conclusion: exact.same_conclusion.map(figure),
        remark: exact.remark.clone(),
    }
}

fn estimate(of: Estimate) -> Estimate {
    let [estimate, lower, upper] = [of.estimate, of.lower, of.upper].map(|x| significant(x, 3));
    Estimate { estimate, lower, upper }
}

/// The copy of an audit that a report shows.
pub fn audit(exact: &Audit) -> Audit {
    let Sizes { members, holdout, .. } = exact.sizes;
    let attacks = exact.attacks.iter().filter(|of| enough(of.members, of.units - of.members));
    let curves = exact.roc.iter().filter(|_| enough(members, holdout));
    Audit {
        sizes: Sizes {
            members: tens(members),
            holdout: tens(holdout),
            member_rows: tens(exact.sizes.member_rows),
            holdout_rows: tens(exact.sizes.holdout_rows),
            ..exact.sizes.clone()
        },
        sample: exact.sample.as_ref().map(|of| Sample {
            members: tens(of.members),
            holdout: tens(of.holdout),
            ..of.clone()
        }),
        epsilon_lower_bound: match exact.white_box {
            // Canaries are nobody.
            Some(_) => exact.epsilon_lower_bound,
            None => (exact.epsilon_lower_bound * 10.0).floor() / 10.0,
        },
        attacks: attacks.map(attack).collect(),
        roc: curves.map(|roc| Roc { attack: roc.attack.clone(), points: rates(&roc.points, members) }).collect(),
        risks: exact.risks.iter().filter(|risk| risk.attacked >= SMALLEST_GROUP).map(risk).collect(),
        copies: CopyFigures {
            members: share(exact.copies.members, members),
            holdout: share(exact.copies.holdout, holdout),
        },
        controls: Controls { exchangeable_p: significant(exact.controls.exchangeable_p, 1), ..exact.controls.clone() },
        shadow: exact.shadow.as_ref().map(shadow),
        proxies: proxies(&exact.proxies, exact.sizes.synthetic_rows),
        ..exact.clone()
    }
}

fn attack(exact: &AttackFigures) -> AttackFigures {
    AttackFigures {
        units: tens(exact.units),
        members: tens(exact.members),
        auc: three_decimals(exact.auc),
        auc_ci: (three_decimals(exact.auc_ci.0), three_decimals(exact.auc_ci.1)),
        p_area: exact.p_area.map(|p| significant(p, 1)),
        highest: exact.highest.as_ref().filter(|of| enough(of.members, of.units - of.members)).map(highest),
        tpr_at_fpr: rates(&exact.tpr_at_fpr, exact.members),
        p: significant(exact.p, 1),
        p_holm: significant(exact.p_holm, 1),
        ..exact.clone()
    }
}

/// Whether there are so many of either that they may be shown.
fn enough(members: usize, others: usize) -> bool {
    members.min(others) >= SMALLEST_GROUP
}

fn highest(exact: &Highest) -> Highest {
    Highest {
        units: tens(exact.units),
        members: tens(exact.members),
        chance: three_decimals(exact.chance),
        interval: interval(exact.interval, exact.units),
        p: significant(exact.p, 1),
    }
}

fn rates(exact: &[TprAtFpr], members: usize) -> Vec<TprAtFpr> {
    let rate =
        |of: &TprAtFpr| TprAtFpr { fpr: of.fpr, tpr: share(of.tpr, members), interval: interval(of.interval, members) };
    exact.iter().map(rate).collect()
}

fn risk(exact: &Risk) -> Risk {
    Risk {
        attacked: tens(exact.attacked),
        members: share(exact.members, exact.attacked),
        control: share(exact.control, exact.attacked),
        excess: share(exact.excess, exact.attacked),
        excess_ci: interval(exact.excess_ci, exact.attacked),
        p: significant(exact.p, 1),
        p_holm: significant(exact.p_holm, 1),
        ..exact.clone()
    }
}

fn shadow(exact: &ShadowFigures) -> ShadowFigures {
    let mut coarse = exact.clone();
    coarse.units = tens(exact.units);
    for attack in &mut coarse.attacks {
        attack.auc_on_shadows = three_decimals(attack.auc_on_shadows);
    }
    coarse
}

fn proxies(exact: &Proxies, synthetic_rows: usize) -> Proxies {
    Proxies {
        note: exact.note.clone(),
        nearest_is_member: share(exact.nearest_is_member, synthetic_rows),
        nearest_is_member_expected: three_decimals(exact.nearest_is_member_expected),
        distance_5_percent_members: significant(exact.distance_5_percent_members, 2),
        distance_5_percent_holdout: significant(exact.distance_5_percent_holdout, 2),
        distance_ratio_members: three_decimals(exact.distance_ratio_members),
        distance_ratio_holdout: three_decimals(exact.distance_ratio_holdout),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a holdout of 600, ten people move the mean of a column from 0 to 60 by 1.
    #[test]
    fn figures_that_ten_people_could_move_at_will_are_left_out() {
        let of = |x: f64| OfTables { real: x, holdout: x, synthetic: x };
        let figures =
            |deviation| NumberFigures { mean: of(3.96), deviation: of(deviation), zeros: of(0.0), one_person: 0.1 };
        let coarse = numbers(&figures(15.0), 0.1 / 60.0).unwrap();
        assert_eq!((coarse.mean.holdout, coarse.mean.synthetic), (4.0, 3.96));
        assert!((coarse.deviation.holdout - 15.0).abs() < 2.0);
        // One part of sixty of the variance would be told as none at all.
        assert_eq!(numbers(&figures(3.82), 0.1 / 60.0), None);
    }

    #[test]
    fn few_real_rows_that_break_a_constraint_are_not_shown() {
        let figures = |real, holdout| ConstraintFigures { name: "rule".into(), synthetic: 3, real, holdout };
        assert_eq!(constraint(&figures(Some(25), Some(9))), figures(Some(20), None));
    }
}
