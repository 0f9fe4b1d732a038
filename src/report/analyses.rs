//! Pictures of the analyses that a schema declares: calibration, survival, regressions.

use minijinja::Value;
use serde::Serialize;

use super::chart::{self, Interval};
use super::page::safe;
use crate::error::Result;
use crate::evaluate::{Band, Calibration, Estimate, Figure, RegressionFigures, Reliability, SurvivalFigures};
use crate::schema::target::Task;

/// Terms of a regression in its picture, at most; its table has all.
const TERMS: usize = 24;

/// How a prediction of a target can be believed.
#[derive(Serialize)]
pub(super) struct Calibrated<'a> {
    figures: &'a Calibration,
    svg: Value,
}

impl<'a> Calibrated<'a> {
    pub(super) fn of(figures: &'a Calibration) -> Result<Self> {
        let points = |curve: &Option<Reliability>| -> Vec<(f64, f64)> {
            let bins = curve.iter().flat_map(|curve| &curve.bins);
            bins.map(|bin| (bin.predicted, bin.observed)).collect()
        };
        let svg = safe(chart::calibration(&points(&figures.trtr), &points(&figures.tstr))?);
        Ok(Self { figures, svg })
    }
}

/// The survival of one group.
#[derive(Serialize)]
pub(super) struct Survival<'a> {
    name: &'a str,
    by: Option<&'a str>,
    group: Option<&'a str>,
    /// Restricted means of holdout and synthetic rows.
    means: (Option<f64>, Option<f64>),
    horizon: Option<f64>,
    distance: Option<Figure>,
    remark: Option<&'a str>,
    /// Half-way to `horizon`: the time, and the interval of the cohort's survival that includes the noise.
    with_noise: Option<[f64; 3]>,
    /// `None` where too few are at risk.
    svg: Option<Value>,
}

/// One entry a group of each analysis.
pub(super) fn survival(all: &[SurvivalFigures]) -> Result<Vec<Survival<'_>>> {
    let mut found = Vec::new();
    for figures in all {
        let ends = (figures.times.first().copied().unwrap_or(0.0), figures.times.last().copied().unwrap_or(0.0));
        for group in &figures.groups {
            let real = &group.holdout;
            let band: Vec<Option<(f64, f64)>> = real
                .survival
                .iter()
                .zip(real.lower.iter().zip(&real.upper))
                // Where there is no interval, the estimate alone.
                .map(|(estimate, (low, high))| low.zip(*high).or(estimate.zip(*estimate)))
                .collect();
            let synthetic = &group.synthetic.survival;
            let noisy = |band: &Band| -> Vec<Option<[f64; 3]>> {
                let ends = band.lower.iter().zip(&band.upper);
                synthetic.iter().zip(ends).map(|(s, (low, high))| Some([(*s)?, (*low)?, (*high)?])).collect()
            };
            let noisy = group.with_noise.as_ref().map(noisy);
            let last = group.horizon.and_then(|horizon| figures.times.iter().position(|&time| time == horizon));
            let half_way = last
                .zip(noisy.as_ref())
                .and_then(|(last, noisy)| noisy[last / 2].map(|[_, low, high]| [figures.times[last / 2], low, high]));
            found.push(Survival {
                name: &figures.name,
                by: figures.by.as_deref(),
                group: group.group.as_deref(),
                means: (real.restricted_mean, group.synthetic.restricted_mean),
                horizon: group.horizon,
                distance: group.distance,
                remark: figures.remark.as_deref(),
                with_noise: half_way,
                svg: match group.distance {
                    Some(_) => Some(safe(chart::survival(ends, &band, synthetic, noisy.as_deref())?)),
                    None => None,
                },
            });
        }
    }
    Ok(found)
}

/// A regression with its picture.
#[derive(Serialize)]
pub(super) struct Regression<'a> {
    figures: &'a RegressionFigures,
    ratios: bool,
    svg: Value,
    /// Whether there are intervals that include the noise.
    with_noise: bool,
    /// Of each term, whether the noise takes away what it concludes.
    doubtful: Vec<bool>,
}

impl<'a> Regression<'a> {
    pub(super) fn of(figures: &'a RegressionFigures) -> Result<Self> {
        let ratios = figures.task == Task::Binary;
        let interval = |Estimate { estimate, lower, upper }: Estimate| Interval { estimate, lower, upper };
        let row = |term: &crate::evaluate::RegressionTerm| {
            let name = match &term.category {
                Some(category) => format!("{} {category}", term.covariate),
                None => term.covariate.clone(),
            };
            (name, term.real.map(interval), term.synthetic.map(interval))
        };
        let rows: Vec<_> = figures.terms.iter().take(TERMS).map(row).collect();
        Ok(Self {
            figures,
            ratios,
            svg: safe(chart::forest(&rows, ratios)?),
            with_noise: figures.terms.iter().any(|term| term.with_noise.is_some()),
            doubtful: figures.terms.iter().map(|term| figures.is_doubtful(term)).collect(),
        })
    }
}
