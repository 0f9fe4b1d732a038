//! What the page prints of an evaluation: figures beside their floor and ceiling, and pictures.

use minijinja::Value;
use serde::Serialize;

use super::analyses::{self, Calibrated, Regression, Survival};
use super::chart;
use super::page::safe;
use crate::error::Result;
use crate::evaluate::{Association, Evaluation, Figure, ModelKind, Scores, Tstr};

/// Pairs of columns whose association differs most, at most.
const PAIRS: usize = 10;

/// The evaluation in rows of a table, each with its gauge.
#[derive(Serialize)]
pub(super) struct Utility<'a> {
    evaluation: &'a Evaluation,
    distances: Vec<DistanceRow>,
    tstr: Vec<TstrRow<'a>>,
    /// One line of each target.
    targets: Vec<&'a Tstr>,
    /// Remarks on targets, each said once.
    remarks: Vec<(&'a str, &'a str)>,
    detection: Vec<DistanceRow>,
    association: Option<Heat<'a>>,
    calibrations: Vec<Calibrated<'a>>,
    survival: Vec<Survival<'a>>,
    regressions: Vec<Regression<'a>>,
}

/// A figure that should be near its floor.
#[derive(Serialize)]
struct DistanceRow {
    what: &'static str,
    synthetic: Option<f64>,
    floor: Option<f64>,
    gauge: Value,
}

/// A score between its floor and its ceiling.
#[derive(Serialize)]
struct TstrRow<'a> {
    target: &'a str,
    model: &'static str,
    score: &'static str,
    majority: Option<f64>,
    tstr: Option<f64>,
    trtr: Option<f64>,
    gauge: Value,
}

impl<'a> Utility<'a> {
    pub(super) fn of(evaluation: &'a Evaluation) -> Result<Self> {
        let tvd = &evaluation.tvd;
        let queries = evaluation.queries;
        let distances = [
            ("single columns", Some(tvd.one_way)),
            ("pairs", tvd.two_way),
            ("triples", tvd.three_way),
            ("counts of three conditions", Some(queries.three_way)),
            ("association of pairs", evaluation.association.mean_difference),
        ];
        let farthest = distances.iter().filter_map(|(_, figure)| *figure);
        let farthest = farthest.map(|figure| figure.synthetic.max(figure.floor)).fold(0.0, f64::max);
        let detection =
            [("as they are", evaluation.detection_auc), ("numbers in bins", evaluation.detection_auc_binned)];
        let detection = detection.map(|(what, area)| (what, area.map(Figure::from)));
        let mut remarks: Vec<(&str, &str)> = Vec::new();
        for line in &evaluation.tstr {
            if let Some(remark) = &line.remark
                && !remarks.contains(&(&line.target, remark))
            {
                remarks.push((&line.target, remark));
            }
        }
        let mut targets: Vec<&Tstr> = evaluation.tstr.iter().collect();
        targets.dedup_by_key(|line| &line.target);
        let rows = |figures: &[(&'static str, Option<Figure>)], axis| -> Result<Vec<_>> {
            figures.iter().map(|(what, figure)| distance_row(what, *figure, axis)).collect()
        };
        Ok(Self {
            evaluation,
            distances: rows(&distances, (0.0, farthest))?,
            tstr: evaluation.tstr.iter().flat_map(scores).map(tstr_row).collect::<Result<_>>()?,
            targets,
            remarks,
            detection: rows(&detection, (0.5, 1.0))?,
            association: Heat::of(&evaluation.association)?,
            calibrations: evaluation.calibration.iter().map(Calibrated::of).collect::<Result<_>>()?,
            survival: analyses::survival(&evaluation.survival)?,
            regressions: evaluation.regressions.iter().map(Regression::of).collect::<Result<_>>()?,
        })
    }
}

fn distance_row(what: &'static str, figure: Option<Figure>, axis: (f64, f64)) -> Result<DistanceRow> {
    let gauge = match figure {
        Some(figure) => safe(chart::gauge(axis, Some(figure.floor), None, figure.synthetic)?),
        None => Value::from(()),
    };
    Ok(DistanceRow { what, synthetic: figure.map(|f| f.synthetic), floor: figure.map(|f| f.floor), gauge })
}

type Score<'a> = (&'a Tstr, &'static str, fn(&Scores) -> Option<f64>);

/// The scores worth a row: those that at least one side has.
fn scores(line: &Tstr) -> Vec<Score<'_>> {
    let all: [Score; 3] =
        [(line, "ROC-AUC", |s| s.roc_auc), (line, "macro F1", |s| s.macro_f1), (line, "R²", |s| s.r2)];
    let known = |(line, _, of): &Score| of(&line.tstr).or(of(&line.trtr)).is_some();
    all.into_iter().filter(known).collect()
}

fn tstr_row<'a>((line, score, of): Score<'a>) -> Result<TstrRow<'a>> {
    let (majority, tstr, trtr) = (of(&line.majority), of(&line.tstr), of(&line.trtr));
    let gauge = match tstr {
        Some(tstr) => {
            let ends = || [majority, Some(tstr), trtr].into_iter().flatten();
            let axis = (ends().fold(f64::INFINITY, f64::min), ends().fold(f64::NEG_INFINITY, f64::max));
            safe(chart::gauge(axis, majority, trtr, tstr)?)
        }
        None => Value::from(()),
    };
    let model = match line.model {
        ModelKind::GradientBoosting => "gradient boosting",
        ModelKind::LogisticRegression => "logistic regression",
        ModelKind::RidgeRegression => "ridge regression",
    };
    Ok(TstrRow { target: &line.target, model, score, majority, tstr, trtr, gauge })
}

/// Associations of all pairs of columns.
#[derive(Serialize)]
struct Heat<'a> {
    holdout: Value,
    synthetic: Value,
    difference: Value,
    /// Those that differ most: two columns, and both associations.
    pairs: Vec<(&'a str, &'a str, f64, f64)>,
}

impl<'a> Heat<'a> {
    fn of(association: &'a Association) -> Result<Option<Self>> {
        let Association { columns, holdout, synthetic, .. } = association;
        if columns.len() < 2 {
            return Ok(None);
        }
        let mut pairs: Vec<(usize, usize)> =
            (0..columns.len()).flat_map(|i| (i + 1..columns.len()).map(move |j| (i, j))).collect();
        let apart = |&(i, j): &(usize, usize)| (synthetic[i][j] - holdout[i][j]).abs();
        pairs.sort_by(|a, b| apart(b).total_cmp(&apart(a)));
        let pair = |(i, j): (usize, usize)| (&*columns[i], &*columns[j], holdout[i][j], synthetic[i][j]);
        Ok(Some(Self {
            holdout: safe(chart::heat(columns, holdout)?),
            synthetic: safe(chart::heat(columns, synthetic)?),
            difference: safe(chart::difference(columns, holdout, synthetic)?),
            pairs: pairs.into_iter().take(PAIRS).map(pair).collect(),
        }))
    }
}
