//! How good is a synthetic table? Each figure beside its floor or its ceiling.
//!
//! Three tables take part. The *real* one trained the generator; it sets bins, domains and the
//! floors. The *holdout* has real rows that the generator never saw; fidelity is measured
//! against it. The *synthetic* one is judged, whoever made it. The questions, one file each:
//!
//! | file | question |
//! |---|---|
//! | `tvd` | are single columns, pairs and triples distributed alike? |
//! | `queries` | does one who counts rows get the same shares? |
//! | `association` | do columns hang together as strongly? |
//! | `copies` | are its rows training rows? |
//! | `tstr` | does a model trained on it work on real patients? |
//! | `calibration` | can that model's probabilities be believed? |
//! | `fairness` | does that model treat groups of people alike? |
//! | `survival` | do its patients live as long? |
//! | `regression` | do analysts draw the same conclusions? |
//! | `noise` | how far can that be off by the noise of the release? |
//! | `detection` | can a model tell its rows from real ones? |
//! | `numbers` | have numbers the same means, spreads and zeros? |
//! | `quality` | are cells missing, impossible, or all the same? |
//!
//! Rows that break a constraint of the schema are counted as `ingest` counts them.
//!
//! Definitions follow an independent reference judge, down to its random choices
//! (`numpy_choice`), so that both print the same distances. None of the figures is evidence of
//! privacy: that is for the accountant and the audit.
//!
//! Numbers are clamped to the schema's ranges first, so that what one person's value weighs is bounded. Rows of one unit
//! are not independent: no fold splits a unit, and intervals are by unit.

mod analyses;
mod association;
pub(crate) mod boosting;
mod calibration;
mod cholesky;
mod codes;
mod coefficient;
mod copies;
mod detection;
mod evaluation;
mod fairness;
mod feature;
#[cfg(test)]
mod fixture;
mod linear;
mod metrics;
mod newton;
mod noise;
mod numbers;
mod numpy_choice;
mod one_person;
mod quality;
mod queries;
mod regression;
mod survival;
pub(crate) mod table;
#[cfg(test)]
mod tests;
mod tree;
mod tstr;
mod tvd;

pub use analyses::{
    Band, Calibration, Estimate, Fairness, GroupFigures, GroupGap, GroupScores, LeftOut, RegressionFigures,
    RegressionTerm, Reliability, ReliabilityBin, SurvivalCurve, SurvivalFigures, SurvivalGroup,
};
pub use evaluation::{
    Area, Association, ColumnFigures, ConstraintFigures, Copies, DetectionColumn, Evaluation, Figure, Influence,
    MissingRate, Missingness, ModelKind, NumberFigures, OfTables, OnePerson, Queries, RareCategories, RareShare, Rows,
    Scores, Tstr, Tvd, Validity, Violations,
};

pub use noise::ReleaseNoise;

use rayon::prelude::*;

use crate::error::Result;
use crate::ingest::{Frame, count_broken};
use crate::schema::Schema;
use codes::ColumnCodes;
use detection::Detection;
use numpy_choice::NumpyRng;
use table::{Column, Table, Tables};

/// Goes with every evaluation.
const NOTE: &str = "Computed on real rows for the controller of the data. \
    These figures lie outside the epsilon claim and are not evidence of privacy.";
/// Goes with what one person can move.
const INFLUENCE: &str = "Before anything was computed, numbers were clamped to the ranges of the schema, and where it has \
    none to the tenth lowest and tenth highest person's. So no value weighs more than its range allows, and what a person \
    moves is bounded as said here and beside the scores of each target. Correlations, F1 at the share of positives in training \
    and the estimates of regressions have no such bound below their own range. A bound is no differential privacy: these figures \
    are the controller's.";
/// Columns named as giving the synthetic rows away at most.
const DETECTION_COLUMNS: usize = 5;

/// A figure of fewer people says little, and says it of few: it is not shown.
pub const SMALLEST_GROUP: usize = 10;
/// Standard errors on either side of a 95 % interval.
pub const Z95: f64 = 1.959_963_984_540_054;

/// What can be chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EvaluateOptions {
    /// Fixes triples, subsamples and models.
    pub seed: u64,
}

/// Judges `synthetic` against `holdout`, with `real`, the generator's training rows, for floors and ceilings; on the
/// targets and analyses that `schema` declares, too.
///
/// The same figures at any number of threads.
///
/// # Errors
/// A table without rows, columns that differ between the tables, a target or an analysis that names an unknown
/// column or does not fit its column.
///
/// # Privacy
/// Touches sensitive data. The figures are unprotected functions of real rows: for the
/// controller, outside the epsilon claim, as [`Evaluation::note`] says.
pub fn evaluate(
    real: &Frame,
    holdout: &Frame,
    synthetic: &Frame,
    schema: &Schema,
    options: EvaluateOptions,
) -> Result<Evaluation> {
    let seed = options.seed;
    let mut tables = Tables::align(real, holdout, synthetic)?;
    tables.clamp(|tables, column| clamped(tables, column, schema));
    keep_judged(&mut tables, real.rows, seed);
    let survival = schema.survival.iter().map(|s| survival::survival(&tables, schema, s)).collect::<Result<_>>()?;
    let regressions =
        schema.regressions.iter().map(|r| regression::regression(&tables, schema, r)).collect::<Result<_>>()?;
    let (tstr, predictions) = tstr::tstr(&tables, &schema.targets, seed)?;
    let fairness: Vec<Vec<Fairness>> =
        predictions.iter().map(|p| fairness::fairness(&tables, schema, p)).collect::<Result<_>>()?;
    let codes: Vec<ColumnCodes> =
        (0..tables.names.len()).into_par_iter().map(|column| ColumnCodes::new(&tables, column)).collect();
    let columns: Vec<ColumnFigures> =
        (0..codes.len()).into_par_iter().map(|column| column_figures(&tables, &codes, column, schema)).collect();
    let rare = |of: fn(&RareCategories) -> Option<usize>| {
        Some(columns.iter().filter_map(|c| c.rare_categories.as_ref()).filter_map(of).sum())
    };
    let rates: Vec<MissingRate> = columns.iter().map(|c| c.missing_rate).collect();
    let (detection_auc, detection_columns) = raw_detection(&tables, seed);
    let [in_real, in_holdout] = [real, holdout].map(|frame| count_broken(frame, schema));
    let constraint = |((name, synthetic), ((_, real), (_, holdout)))| ConstraintFigures {
        name,
        synthetic,
        real: Some(real),
        holdout: Some(holdout),
    };
    let constraints = count_broken(synthetic, schema).into_iter().zip(in_real.into_iter().zip(in_holdout));
    Ok(Evaluation {
        note: NOTE.to_owned(),
        seed,
        rows: Rows {
            real: real.rows,
            holdout: holdout.rows,
            synthetic: synthetic.rows,
            synthetic_judged: tables.synthetic.rows,
        },
        influence: influence(&tables),
        tvd: Tvd {
            one_way: Figure {
                synthetic: metrics::mean(columns.iter().map(|c| c.tvd.synthetic)),
                floor: metrics::mean(columns.iter().map(|c| c.tvd.floor)),
            },
            two_way: tvd::two_way(&codes).map(Figure::from),
            three_way: tvd::three_way(&codes, seed).map(Figure::from),
        },
        queries: queries::queries(&tables, seed),
        association: association::association(&tables, &codes),
        copies: copies::copies(&tables),
        tstr,
        calibration: predictions.iter().map(|p| calibration::calibration(&tables, p)).collect(),
        fairness: fairness.concat(),
        survival,
        regressions,
        detection_auc,
        detection_auc_binned: binned_detection(&tables, &codes, seed),
        detection_columns,
        missingness: quality::missingness(&tables, &rates),
        validity: Validity {
            synthetic: quality::violations(&tables, &tables.synthetic),
            floor: quality::violations(&tables, &tables.holdout),
        },
        constraints: constraints.map(constraint).collect(),
        rare_categories: RareCategories {
            kept: rare(|r| r.kept),
            lost: rare(|r| r.lost),
            lost_in_holdout: rare(|r| r.lost_in_holdout),
        },
        columns,
    })
}

/// Tells of each column that a constraint names how far it is from the holdout in a cohort that was drawn without them.
///
/// # Errors
/// As [`evaluate`].
///
/// # Privacy
/// As [`evaluate`].
pub fn compare_unconstrained(
    evaluation: &mut Evaluation,
    (real, holdout): (&Frame, &Frame),
    unconstrained: &Frame,
    schema: &Schema,
) -> Result<()> {
    let mut tables = Tables::align(real, holdout, unconstrained)?;
    tables.clamp(|tables, column| clamped(tables, column, schema));
    let named: Vec<String> = schema.constraints.iter().flat_map(|constraint| constraint.rule.columns()).collect();
    let touched = |figures: &&mut ColumnFigures| named.contains(&figures.name);
    for figures in evaluation.columns.iter_mut().filter(touched) {
        let column = tables.position(&figures.name);
        let distance = |column| tvd::distance(&[&ColumnCodes::new(&tables, column)]).synthetic;
        figures.tvd_without_constraints = column.map(distance);
    }
    Ok(())
}

/// Puts intervals that include the noise of the release beside the cohort's estimates of declared regressions and survival
/// curves.
///
/// # Errors
/// As [`evaluate`].
///
/// # Privacy
/// Post-processing: looks at the cohort, the model and the figures.
pub fn with_noise(evaluation: &mut Evaluation, synthetic: &Frame, schema: &Schema, noise: &ReleaseNoise) -> Result<()> {
    let mut tables = Tables::align(synthetic, synthetic, synthetic)?;
    tables.clamp(|tables, column| clamped(tables, column, schema));
    keep_judged(&mut tables, evaluation.rows.real, evaluation.seed);
    for (figures, declared) in evaluation.regressions.iter_mut().zip(&schema.regressions) {
        regression::with_noise(figures, &tables, schema, declared, noise)?;
    }
    for (figures, declared) in evaluation.survival.iter_mut().zip(&schema.survival) {
        survival::with_noise(figures, &tables, schema, declared, noise)?;
    }
    Ok(())
}

/// Of a cohort with more rows than the real table, as many are judged.
fn keep_judged(tables: &mut Tables, real_rows: usize, seed: u64) {
    if tables.synthetic.rows > real_rows {
        tables.synthetic = tables.synthetic.drawn(real_rows, NumpyRng::new(&[seed, 9]));
    }
}

/// The range that a number column is clamped to.
fn clamped(tables: &Tables, column: usize, schema: &Schema) -> Option<(f64, f64)> {
    let declared = schema.column(&tables.names[column]).and_then(|column| column.range());
    declared.or_else(|| tables.tenth_ends(column))
}

/// What one person of either real table weighs.
fn influence(tables: &Tables) -> Influence {
    let [real, holdout] = [&tables.train, &tables.holdout].map(Table::most_rows_of_unit);
    Influence {
        note: INFLUENCE.to_owned(),
        most_rows_real: real,
        most_rows_holdout: holdout,
        share: holdout as f64 / tables.holdout.rows as f64,
    }
}

impl From<tvd::Distance> for Figure {
    fn from(distance: tvd::Distance) -> Self {
        Self { synthetic: distance.synthetic, floor: distance.floor }
    }
}

fn column_figures(tables: &Tables, codes: &[ColumnCodes], column: usize, schema: &Schema) -> ColumnFigures {
    let is_amount = schema.column(&tables.names[column]).is_some_and(|column| column.kind.is_amount());
    ColumnFigures {
        name: tables.names[column].clone(),
        tvd: tvd::distance(&[&codes[column]]).into(),
        tvd_without_constraints: None,
        missing_rate: quality::missing_rate(tables, column),
        distinct_real: Some(quality::distinct(&tables.train.columns[column])),
        distinct_holdout: Some(quality::distinct(&tables.holdout.columns[column])),
        distinct_synthetic: quality::distinct(&tables.synthetic.columns[column]),
        rare_share: quality::rare_share(&codes[column]),
        rare_categories: quality::rare_categories(tables, &codes[column], column),
        entropy_ratio: quality::entropy_ratio(&codes[column]),
        numbers: numbers::number_figures(tables, column, influence(tables).share).filter(|_| is_amount),
    }
}

/// Detection on the cells as they are, and the columns that give the synthetic rows away.
fn raw_detection(tables: &Tables, seed: u64) -> (Option<Area>, Vec<DetectionColumn>) {
    let synthetic = detection::detect(&tables.holdout, &tables.synthetic, seed);
    let floor = detection::detect(&tables.holdout, &tables.train, seed);
    let (Some(synthetic), Some(floor)) = (synthetic, floor) else { return (None, Vec::new()) };
    let mut order: Vec<usize> = (0..tables.names.len()).collect();
    order.sort_by(|&a, &b| synthetic.gain_shares[b].total_cmp(&synthetic.gain_shares[a]));
    let column = |c: usize| DetectionColumn { column: tables.names[c].clone(), gain_share: synthetic.gain_shares[c] };
    let columns = order.into_iter().take(DETECTION_COLUMNS).map(column).collect();
    (Some(Area::of(&synthetic, &floor)), columns)
}

/// Detection on the cells of the total variation distance: bins of a number, missing included, in their order.
fn binned_detection(tables: &Tables, codes: &[ColumnCodes], seed: u64) -> Option<Area> {
    let binned = |table: &Table, of: fn(&ColumnCodes) -> &Vec<u32>| {
        let column = |(column, codes): (&Column, &ColumnCodes)| match column {
            Column::Number { .. } => Column::numbers(of(codes).iter().map(|&code| f64::from(code)).collect()),
            Column::Category(_) => Column::Category(of(codes).clone()),
        };
        Table { columns: table.columns.iter().zip(codes).map(column).collect(), unit: table.unit.clone(), ..*table }
    };
    let holdout = binned(&tables.holdout, |c| &c.holdout);
    let synthetic = detection::detect(&holdout, &binned(&tables.synthetic, |c| &c.synthetic), seed)?;
    let floor = detection::detect(&holdout, &binned(&tables.train, |c| &c.train), seed)?;
    Some(Area::of(&synthetic, &floor))
}

impl Area {
    fn of(synthetic: &Detection, floor: &Detection) -> Self {
        Self {
            synthetic: synthetic.auc,
            floor: floor.auc,
            synthetic_interval: synthetic.interval,
            floor_interval: floor.interval,
        }
    }
}
