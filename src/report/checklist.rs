//! The nineteen things that a report to a data-protection officer has to say, and which of them this one says.

use serde::Serialize;

use super::facts::Report;

/// One of them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Item {
    pub what: &'static str,
    pub state: State,
    /// Section of the page where it stands.
    pub section: &'static str,
}

/// Whether the report says it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "is", content = "why", rename_all = "snake_case")]
pub(super) enum State {
    Present,
    /// A line is left for it.
    ByHand,
    Absent(&'static str),
}

use State::{Absent, ByHand, Present};

fn present_if(there: bool, otherwise: &'static str) -> State {
    if there { Present } else { Absent(otherwise) }
}

/// All items in their order.
pub(super) fn checklist(report: &Report) -> Vec<Item> {
    const NO_AUDIT: &str = "no audit was made";
    const NO_EVALUATION: &str = "the cohort was not evaluated";
    let audit = report.audit.as_ref();
    let audited = || present_if(audit.is_some(), NO_AUDIT);
    let has_file = |role: &str| report.files.iter().any(|file| file.role == role);
    let stated = &report.stated;
    let all_stated = [&stated.purpose, &stated.recipients, &stated.legal_basis, &stated.release];
    let items = [
        (
            "Identity: data set, numbers of people and rows, fingerprints of all files, version, seed, date",
            present_if(
                ["training table", "holdout", "cohort", "model", "run file"].into_iter().all(has_file),
                "not all files were named",
            ),
            "public",
        ),
        (
            "Purpose, recipients, way of release, legal basis",
            if all_stated.iter().all(|text| text.is_some()) { Present } else { ByHand },
            "decision",
        ),
        (
            "Generator, its settings and how they were chosen; public inputs",
            present_if(!report.settings.is_empty() && !report.columns.is_empty(), "no model or no schema was given"),
            "public",
        ),
        ("Differential privacy that is claimed, in full, or that none is", Present, "privacy"),
        ("Attackers that were tried, and those that were not", audited(), "audit"),
        (
            "Whether the data are enough: split, people in both tables, likeness of members and holdout, smallest leak \
             that would be found",
            match (audit, &stated.split) {
                (None, _) => Absent(NO_AUDIT),
                (Some(_), None) => ByHand,
                (Some(_), Some(_)) => Present,
            },
            "audit",
        ),
        ("Membership: each attack with interval and corrected p", audited(), "audit"),
        ("Worst case: isolated people and rare groups", audited(), "audit"),
        ("Copies against the rate of the holdout", audited(), "audit"),
        ("Singling out, linkability, inference, as excess over a control", audited(), "audit"),
        (
            "Audit of the claim: lower bound, confidence, ceiling, canaries, assumptions",
            present_if(audit.is_some_and(|audit| audit.white_box.is_some()), "the fit was not tested with canaries"),
            "audit",
        ),
        ("Controls on this data: planted copies, fresh rows", audited(), "audit"),
        ("Customary distances, marked as no evidence of privacy", audited(), "audit"),
        (
            "Utility, so that a pass does not come from noise",
            present_if(report.evaluation.is_some(), NO_EVALUATION),
            "utility",
        ),
        ("Verdict: leak found, no leak found at a stated power, or inconclusive", audited(), "decision"),
        (
            "Residual risk, limits, conditions, expiry, what calls for a new audit",
            if stated.conditions.is_some() && stated.expiry.is_some() { Present } else { ByHand },
            "residual",
        ),
        ("What the rules ask, and where it is answered", Present, "rules"),
        ("Privacy of this page", Present, "residual"),
        ("Decision and signatures, the page's twin for machines and its fingerprint", ByHand, "signatures"),
    ];
    items.into_iter().map(|(what, state, section)| Item { what, state, section }).collect()
}
