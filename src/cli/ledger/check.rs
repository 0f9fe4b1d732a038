//! Which fits were made by versions whose guarantee had holes, and what their true epsilon was, where it can be said.
//!
//! `docs/advisory-2026-11.md` describes the holes, by the numbers that the findings have here.

use super::show::figure;
use crate::cli::answers::LedgerAnswer;
use crate::cli::{Global, print, print_json};
use crate::error::Result;
use crate::report::number_or_infinity;
use schemars::JsonSchema;
use serde::Serialize;
use synthward_privacy::Event;
use synthward_privacy::accountant::Accountant;
use synthward_privacy::infinite::OrInfinity;
use synthward_privacy::ledger::{Ledger, Record};

/// Above this noise multiplier the sampler of DP-SGD's noise was not proved.
const LARGEST_MULTIPLIER: f64 = 8000.0;

/// A fit that was not refused.
#[derive(Serialize, JsonSchema)]
pub struct CheckedFit {
    /// Its name in the ledger.
    pub fit: String,
    pub time: String,
    /// The version that began it; absent for 0.1.0 and earlier, which did not say theirs.
    pub version: Option<String>,
    /// What the ledger says was spent: a number, or "inf".
    #[schemars(schema_with = "number_or_infinity")]
    pub epsilon: OrInfinity,
    pub delta: f64,
    /// Empty where nothing is known against it.
    pub findings: Vec<Finding>,
}

/// What was wrong.
#[derive(Serialize, JsonSchema)]
pub struct Finding {
    /// Its number in the advisory.
    pub hole: u8,
    /// Whom it concerns, and what follows.
    pub what: String,
    /// The true epsilon is at most this, as far as this finding goes; absent where it cannot be said.
    pub epsilon: Option<f64>,
    /// At this delta.
    pub delta: Option<f64>,
}

pub fn check(global: &Global, ledger: &Ledger) -> Result<()> {
    let fits = fits(ledger);
    if global.json {
        return print_json(&LedgerAnswer::Checked { fits: &fits });
    }
    let mut text = String::new();
    for CheckedFit { fit, time, version, epsilon, delta, findings } in
        fits.iter().filter(|fit| !fit.findings.is_empty())
    {
        let (version, epsilon) = (version.as_deref().unwrap_or("0.1.0 or earlier"), figure(epsilon.0));
        text.push_str(&format!("{time}  fit {fit}, version {version}: epsilon {epsilon}, delta {delta:e}\n"));
        for Finding { hole, what, epsilon, delta } in findings {
            let figures = epsilon.zip(*delta).map_or("what it was cannot be said".into(), |(epsilon, delta)| {
                format!("epsilon is at most {epsilon:.4} at delta {delta:.2e}")
            });
            text.push_str(&format!("  {hole:>2}. {what}: {figures}\n"));
        }
    }
    let affected = fits.iter().filter(|fit| !fit.findings.is_empty()).count();
    text.push_str(&format!("{affected} of {} fits are of versions whose guarantee had holes\n", fits.len()));
    if affected > 0 {
        text.push_str("docs/advisory-2026-11.md describes them, by these numbers, and those that no ledger shows\n");
    }
    print(&text)
}

/// The fits of a ledger, without those that were refused.
fn fits(ledger: &Ledger) -> Vec<CheckedFit> {
    let of = |fit: &str, is_it: fn(&Record) -> bool| {
        ledger.lines().iter().filter(|line| line.record.fit() == Some(fit) && is_it(&line.record)).count()
    };
    let lines = ledger.lines().iter().filter_map(|line| {
        let Record::Intent { fit, epsilon, delta, event, tool, .. } = &line.record else { return None };
        if of(fit, |record| matches!(record, Record::Refused { .. })) > 0 {
            return None;
        }
        let resumed = of(fit, |record| matches!(record, Record::Resumed { .. }));
        let is_affected = tool.is_none() && epsilon.is_finite();
        Some(CheckedFit {
            fit: fit.clone(),
            time: line.time.clone(),
            version: tool.clone(),
            epsilon: OrInfinity(*epsilon),
            delta: *delta,
            findings: if is_affected { findings(event, *epsilon, *delta, resumed) } else { Vec::new() },
        })
    });
    lines.collect()
}

/// What is known against a fit of version 0.1.0.
fn findings(event: &Event, epsilon: f64, delta: f64, resumed: usize) -> Vec<Finding> {
    let unsaid = |hole, what: &str| Finding { hole, what: what.into(), epsilon: None, delta: None };
    let mut findings = vec![unsaid(
        1,
        "if `inspect` drafted the schema, the order of its categories, and types and completeness of columns, may be facts of \
         rows, and they are in the model",
    )];
    let trains = any(event, &|event| matches!(event, Event::PoissonSubsampled { .. }));
    if trains {
        findings.push(unsaid(2, "a person with thousands of rows may have moved a step by more than the clip allows"));
    }
    if resumed > 0 {
        let releases = resumed as f64 + 1.0;
        findings.push(Finding {
            hole: 3,
            what: format!("it was resumed {resumed} times, and whoever kept its files may have so many models more"),
            epsilon: Some(releases * epsilon),
            delta: Some(releases * delta),
        });
    }
    let (replaced, at) = with_one_replaced(event, epsilon, delta);
    findings.push(Finding {
        hole: 5,
        what:
            "if the schema stated `units`, the guarantee was that of replacing a person, not of adding or removing one"
                .into(),
        epsilon: Some(replaced),
        delta: Some(at),
    });
    if trains {
        findings.push(unsaid(
            6,
            "the margin for rounding was no bound for large batches: noise may have been short by up to 1 %",
        ));
    }
    let is_beyond =
        |event: &Event| matches!(event, Event::Gaussian { noise_multiplier } if *noise_multiplier > LARGEST_MULTIPLIER);
    if any(event, &is_beyond) {
        findings.push(unsaid(8, "its noise multiplier is above what the sampler was proved for"));
    }
    findings
}

/// Epsilon and delta of a fit's events where neighbours differ by one person in the place of another.
///
/// Two histograms of total weight 1 differ by sqrt(2) at most, and the same noise is accounted for that. Of any other event
/// it is known that a replacement is a removal and an addition: twice epsilon, at (1 + e^epsilon) delta.
fn with_one_replaced(event: &Event, epsilon: f64, delta: f64) -> (f64, f64) {
    let histograms = replaced(event).and_then(|event| Accountant::default().epsilon(&event, delta).ok());
    match histograms {
        Some(epsilon) => (epsilon, delta),
        None => (2.0 * epsilon, ((1.0 + epsilon.exp()) * delta).min(1.0)),
    }
}

/// Histograms alone, with the noise multiplier that they have for one person in the place of another.
fn replaced(event: &Event) -> Option<Event> {
    Some(match event {
        Event::DiscreteGaussian { sigma, sensitivity } => {
            Event::DiscreteGaussian { sigma: sigma / std::f64::consts::SQRT_2, sensitivity: *sensitivity }
        }
        Event::Repeated { event, count } => Event::Repeated { event: Box::new(replaced(event)?), count: *count },
        Event::Composed { events } => Event::Composed { events: events.iter().map(replaced).collect::<Option<_>>()? },
        _ => return None,
    })
}

/// Whether the event is such a one, or has one in it.
fn any(event: &Event, is_it: &dyn Fn(&Event) -> bool) -> bool {
    is_it(event)
        || match event {
            Event::Repeated { event, .. } | Event::PoissonSubsampled { event, .. } => any(event, is_it),
            Event::Composed { events } => events.iter().any(|event| any(event, is_it)),
            _ => false,
        }
}
