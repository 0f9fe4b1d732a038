//! What a report says, as plain data: the command line fills it in, the
//! template prints it, and its JSON is the report's twin for machines.

use schemars::{JsonSchema, Schema as JsonSchemaObject, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::MarginalPlot;
use crate::audit::{Audit, Verdict};
use crate::config::ReportConfig;
use crate::evaluate::Evaluation;
use crate::selftest::SelfTest;
use synthward_privacy::infinite::OrInfinity;

/// Goes with every report.
pub const FOR_CONTROLLER: &str = "For the data's controller, and not to be passed on: it holds figures computed on real \
    rows, outside the epsilon claim. What goes with the cohort is release.html with release.json.";

/// Everything that stands in one report of the controller's. A part that is `None` or empty is
/// printed as absent, with the reason.
///
/// # Privacy
/// Holds public and released facts, and the figures of `evaluation`, `audit`
/// and `marginals`, which were computed from real rows for the controller and
/// lie outside the epsilon claim.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// For whom this is, and what it holds.
    pub note: String,
    pub title: String,
    /// The schema's name for the table.
    pub table: String,
    /// Day on which the report was made, ISO 8601.
    pub date: String,
    pub tool_version: String,
    /// Kind of the generator, as on the command line.
    pub model: String,
    /// What shapes the generator, by name.
    pub settings: Vec<Setting>,
    /// What only people know.
    pub stated: ReportConfig,
    /// Seed of initialisation and generation; the privacy noise has none.
    pub seed: Option<u64>,
    /// Why nothing here is differentially private, where the program knows.
    pub not_private: Option<String>,
    /// `None`: nothing here is differentially private.
    pub claim: Option<Claim>,
    pub budget: Vec<BudgetLine>,
    pub ledger: Vec<LedgerLine>,
    pub columns: Vec<ColumnFact>,
    pub files: Vec<FileFact>,
    pub evaluation: Option<Evaluation>,
    pub audit: Option<Audit>,
    /// The verdict on all tables, where the table is one of several.
    pub all_tables: Option<AllTables>,
    pub marginals: Vec<MarginalPlot>,
    /// Whether this copy of the program worked, before it read a row.
    pub selftest: Option<SelfTest>,
    pub reproduce: Option<Reproduce>,
}

/// The audit of linked tables, judged together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AllTables {
    /// The worst of any table; no better than inconclusive where a table was left out.
    pub verdict: Verdict,
    pub tables: BTreeMap<String, Verdict>,
    /// Tables of too few persons to be audited.
    pub left_out: Vec<String>,
}

/// A setting of the generator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    pub name: String,
    pub value: String,
}

/// In a JSON Schema: a number, nothing, or `"inf"`.
pub(crate) fn number_or_infinity(_: &mut SchemaGenerator) -> JsonSchemaObject {
    json_schema!({ "anyOf": [{ "type": ["number", "null"] }, { "const": "inf" }] })
}

/// The differential privacy that is claimed, under add/remove adjacency.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    pub epsilon: f64,
    pub delta: f64,
    /// Whose whole contribution is protected, in words.
    pub unit: String,
    /// Which tables are neighbours, in words.
    pub adjacency: String,
    /// Which theory composed the events.
    pub accountant: String,
    pub units: Option<Units>,
    /// How many rows of a unit were used, in words.
    pub rows_used: String,
    /// Domains that were read from the rows were taken for public.
    pub assumed_public: bool,
}

/// How many privacy units the table has, as far as this may be said.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "known_as", content = "count", rename_all = "snake_case")]
pub enum Units {
    /// The schema says so.
    Public(u64),
    /// A mechanism released an estimate.
    Noisy(f64),
}

/// One planned mechanism.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BudgetLine {
    /// The part of the budget it belongs to.
    pub share: String,
    pub name: String,
    /// What runs, in words.
    pub mechanism: String,
    /// Noise standard deviation over sensitivity.
    pub noise_multiplier: f64,
    /// Probability that a unit is in a step's batch.
    pub sampling_rate: Option<f64>,
    pub steps: Option<u64>,
}

/// One line of the ledger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LedgerLine {
    /// RFC 3339.
    pub time: String,
    pub who: String,
    pub kind: String,
    /// `"inf"` for a fit without noise.
    #[schemars(schema_with = "number_or_infinity")]
    pub epsilon: Option<OrInfinity>,
    pub delta: Option<f64>,
}

/// What was public about one column, and who says so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ColumnFact {
    pub name: String,
    pub kind: String,
    /// The domain in words: a range, or the number of categories.
    pub domain: String,
    pub vouched_by: String,
}

/// A file that went in or came out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileFact {
    /// What the file is: training table, holdout, cohort, model.
    pub role: String,
    pub name: String,
    /// Of the file's bytes. Of a real table, of the run's secret bytes and the hash of the table in hex: a bare one would
    /// tell whether a guess at a row is right.
    pub sha256: String,
    /// Rows, where they may be told; of real ones down to tens.
    pub rows: Option<u64>,
}

/// How to make the same thing again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reproduce {
    pub commands: Vec<String>,
    /// The text of `run.toml`.
    pub run_toml: Option<String>,
}
