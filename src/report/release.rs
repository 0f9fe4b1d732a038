//! What goes with a cohort to those who receive it: the claim, what paid for it, and how the cohort was made.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::facts::{BudgetLine, Claim, ColumnFact, FileFact, Report, Setting};
use super::page::Explained;
use super::shares::{Share, by_share};
use crate::config::ReportConfig;

/// Goes with every release.
const NOTE: &str = "For those who receive the cohort. Nothing here was computed from real rows but by the mechanisms of the \
    budget. Comparisons with real rows and attacks on the cohort are in the controller's own report.";

/// The report for recipients, `release.json`.
///
/// # Privacy
/// Post-processing: public facts, and what the model and its cohort say. It has no place for a figure that was computed from
/// real rows outside the plan, nor for a name of staff.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// For whom this is, and what it holds.
    pub note: String,
    pub title: String,
    /// Day on which it was made, ISO 8601.
    pub date: String,
    pub tool_version: String,
    /// Kind of the generator, as on the command line.
    pub model: String,
    /// What only people know; how real tables were split is left out.
    pub stated: ReportConfig,
    /// Seed of initialisation and generation; the privacy noise has none.
    pub seed: Option<u64>,
    /// Why nothing here is differentially private, where the program knows.
    pub not_private: Option<String>,
    /// `None`: nothing here is differentially private.
    pub claim: Option<Claim>,
    pub budget: Vec<BudgetLine>,
    pub tables: Vec<ReleasedTable>,
    /// The files of the release, with the SHA-256 of their bytes.
    pub files: Vec<FileFact>,
}

/// What is public about one table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleasedTable {
    /// The schema's name for it.
    pub table: String,
    /// What shapes its generator, by name.
    pub settings: Vec<Setting>,
    pub columns: Vec<ColumnFact>,
}

impl Release {
    /// Of what a model knows of its tables, the root first; `files` are those that are released.
    pub fn of(title: String, facts: Vec<Report>, stated: &ReportConfig, files: Vec<FileFact>) -> Option<Self> {
        let Report { date, tool_version, model, seed, not_private, claim, budget, .. } = facts.first()?.clone();
        let table = |of: Report| ReleasedTable { table: of.table, settings: of.settings, columns: of.columns };
        Some(Self {
            note: NOTE.into(),
            title,
            date,
            tool_version,
            model,
            stated: ReportConfig { split: None, ..stated.clone() },
            seed,
            not_private,
            claim,
            budget,
            tables: facts.into_iter().map(table).collect(),
            files,
        })
    }
}

/// What the templates print.
#[derive(Serialize)]
pub(super) struct ReleasePage<'a> {
    report: &'a Release,
    controllers: bool,
    claim: Option<Explained>,
    shares: Vec<Share<'a>>,
    twin: Option<&'a str>,
}

impl<'a> ReleasePage<'a> {
    pub(super) fn of(report: &'a Release, twin: Option<&'a str>) -> Self {
        Self {
            report,
            controllers: false,
            claim: report.claim.as_ref().map(|claim| Explained::of(claim.epsilon, claim.delta)),
            shares: by_share(&report.budget),
            twin,
        }
    }
}
