//! What the templates print beside the report itself: figures worked out from
//! the claim, events gathered by share, and pictures.

use minijinja::Value;
use serde::Serialize;

use super::checklist::{Item, checklist};
use super::facts::{LedgerLine, Report};
use super::shares::{Share, by_share};
use super::utility::Utility;
use super::{MarginalPlot, chart};
use crate::audit::{AttackFigures, Audit, Roc};
use crate::error::Result;
use crate::evaluate::{Evaluation, Figure};
use synthward_privacy::infinite::OrInfinity;

/// Suspicions that the claim is explained with.
const SUSPICIONS: [f64; 3] = [0.01, 0.1, 0.5];
/// From here on a toss-up can become near certainty.
const NEAR_CERTAINTY: f64 = 0.99;

#[derive(Serialize)]
pub(super) struct Page<'a> {
    report: &'a Report,
    /// Whether this is the controller's report, which compares with real rows.
    controllers: bool,
    claim: Option<Explained>,
    shares: Vec<Share<'a>>,
    ledger_sum: LedgerSum,
    utility: Option<Utility<'a>>,
    plots: Vec<Plot<'a>>,
    audit: Option<Audited<'a>>,
    checklist: Vec<Item>,
    /// SHA-256 of the page's JSON twin.
    twin: Option<&'a str>,
}

impl<'a> Page<'a> {
    /// # Errors
    /// Exit code 1 when a picture cannot be drawn.
    pub(super) fn of(report: &'a Report, twin: Option<&'a str>) -> Result<Self> {
        let evaluation = report.evaluation.as_ref();
        Ok(Self {
            report,
            controllers: true,
            claim: report.claim.as_ref().map(|claim| Explained::of(claim.epsilon, claim.delta)),
            shares: by_share(&report.budget),
            ledger_sum: LedgerSum::of(&report.ledger),
            utility: evaluation.map(Utility::of).transpose()?,
            audit: report.audit.as_ref().map(Audited::of).transpose()?,
            checklist: checklist(report),
            twin,
            plots: report.marginals.iter().map(|plot| Plot::of(plot, evaluation)).collect::<Result<_>>()?,
        })
    }
}

/// The claim in numbers that a reader can weigh.
#[derive(Serialize)]
pub(super) struct Explained {
    /// e to the epsilon.
    factor: f64,
    /// `delta` is one in so many.
    one_in: Option<f64>,
    guesses: Vec<Guess>,
    weak: bool,
}

/// How sure someone can become that a patient is in the table.
#[derive(Serialize)]
struct Guess {
    before: f64,
    after: f64,
}

impl Explained {
    pub(super) fn of(epsilon: f64, delta: f64) -> Self {
        // Bayes' rule with a likelihood ratio of at most e^epsilon, in a form that cannot overflow; rounded up.
        let after = |before: f64| ((before / (before + (1.0 - before) * (-epsilon).exp())) * 1e3).ceil() / 1e3;
        Self {
            factor: epsilon.exp(),
            one_in: (delta > 0.0).then(|| 1.0 / delta),
            guesses: SUSPICIONS.map(|before| Guess { before, after: after(before) }).into(),
            weak: after(0.5) >= NEAR_CERTAINTY,
        }
    }
}

/// All of the ledger by basic composition.
#[derive(Serialize)]
struct LedgerSum {
    epsilon: OrInfinity,
    delta: f64,
}

impl LedgerSum {
    fn of(ledger: &[LedgerLine]) -> Self {
        Self {
            epsilon: OrInfinity(ledger.iter().filter_map(|line| line.epsilon).map(|epsilon| epsilon.0).sum()),
            delta: ledger.iter().filter_map(|line| line.delta).sum(),
        }
    }
}

/// Attacks that are shown of each kind.
const SHOWN: usize = 12;

/// The audit, attacks on everybody apart from those on single strata, and ROC curves.
#[derive(Serialize)]
struct Audited<'a> {
    on_all: Vec<&'a AttackFigures>,
    /// The clearest of those on strata.
    on_strata: Vec<&'a AttackFigures>,
    tests: usize,
    curves: Vec<(&'a str, Value)>,
}

impl<'a> Audited<'a> {
    fn of(audit: &'a Audit) -> Result<Self> {
        let (on_all, on_strata): (Vec<_>, Vec<_>) = audit.attacks.iter().partition(|attack| attack.stratum == "all");
        let curve = |roc: &'a Roc| -> Result<_> {
            let points: Vec<_> = roc.points.iter().map(|p| (p.fpr, p.tpr, p.interval.0, p.interval.1)).collect();
            Ok((roc.attack.as_str(), safe(chart::roc(&points)?)))
        };
        Ok(Self {
            on_all,
            on_strata: on_strata.into_iter().take(SHOWN).collect(),
            tests: audit.attacks.len() + audit.risks.len(),
            curves: audit.roc.iter().map(curve).collect::<Result<_>>()?,
        })
    }
}

/// A plot with its figures as text.
#[derive(Serialize)]
struct Plot<'a> {
    column: &'a str,
    svg: Value,
    cells: Vec<Cell<'a>>,
    /// Distance of this column's marginal, where it was evaluated.
    tvd: Option<Figure>,
    suppressed: usize,
}

#[derive(Serialize)]
struct Cell<'a> {
    label: &'a str,
    /// `None`: fewer than ten.
    real: Option<f64>,
    synthetic: f64,
}

impl<'a> Plot<'a> {
    fn of(plot: &'a MarginalPlot, evaluation: Option<&Evaluation>) -> Result<Self> {
        let figures = evaluation.and_then(|e| e.columns.iter().find(|c| c.name == plot.column));
        let shares = plot.real.iter().zip(&plot.synthetic);
        let cells = plot.labels.iter().zip(shares).map(|(label, (&real, &synthetic))| Cell { label, real, synthetic });
        Ok(Self {
            column: &plot.column,
            svg: safe(chart::marginal(plot)?),
            cells: cells.collect(),
            tvd: figures.map(|c| c.tvd),
            suppressed: plot.real.iter().filter(|share| share.is_none()).count(),
        })
    }
}

/// A picture, which the chart crate has escaped.
pub(super) fn safe(svg: String) -> Value {
    Value::from_safe_string(svg)
}
