//! What commands print with `--json`, where no type of the library says it.

pub use super::ledger::{CheckedFit, Finding};
pub use super::linked::{LinkedAudit, LinkedEvaluation};
use crate::audit::Audit;
use crate::cohort::Rarity;
use crate::error::{Error, ErrorKind};
use crate::evaluate::Evaluation;
use crate::infer::{LinkedScores, Scores};
use crate::ingest::Reference;
use crate::report::number_or_infinity;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use synthward_privacy::PrivacyUnit;
use synthward_privacy::accountant::Accountant;
use synthward_privacy::case::Answer;
use synthward_privacy::infinite::OrInfinity;
use synthward_privacy::ledger::Line;

/// The answer of any command that fails.
#[derive(Serialize, JsonSchema)]
pub struct Refused<'a> {
    pub error: Failure<'a>,
}

/// What went wrong, where, and how to mend it. No cell of a table is quoted.
#[derive(Serialize, JsonSchema)]
pub struct Failure<'a> {
    pub kind: ErrorKind,
    pub exit_code: u8,
    pub what: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<&'a Path>,
    /// Row of data, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub row: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<&'a str>,
}

impl<'a> Refused<'a> {
    pub fn of(e: &'a Error) -> Self {
        let error = Failure {
            kind: e.kind,
            exit_code: e.kind.exit_code(),
            what: &e.what,
            file: e.file.as_deref(),
            row: e.row,
            column: e.column.as_deref(),
            expected: e.expected.as_deref(),
            remedy: e.remedy.as_deref(),
        };
        Self { error }
    }
}

/// The answer of `fit`.
#[derive(Serialize, JsonSchema)]
pub struct Fitted<'a, H> {
    pub output: &'a Path,
    pub model_sha256: &'a str,
    /// Everything in the model file but its weights.
    #[serde(flatten)]
    pub header: &'a H,
}

/// The answer of `split`.
#[derive(Serialize, JsonSchema)]
pub struct Divided<'a> {
    pub output: &'a Path,
    /// Rows of either side; of linked tables, persons.
    pub train: usize,
    pub holdout: usize,
    pub seed: u64,
}

/// The answer of `split --clean`.
#[derive(Serialize, JsonSchema)]
pub struct Removal<'a> {
    pub removed: &'a [PathBuf],
    /// Files that are not what was written any more, and were left.
    pub changed: &'a [PathBuf],
}

/// The answer of `generate` for linked tables.
#[derive(Serialize, JsonSchema)]
pub struct GeneratedLinked<'a> {
    pub persons: u64,
    pub seed: u64,
    pub model_sha256: &'a str,
    /// False where the noise was left out or seeded, or epsilon is so large that it protects nobody.
    pub private: bool,
    pub output: &'a Path,
    /// What the persons were to satisfy.
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    pub condition: Option<Asked<'a>>,
    /// Reference tables that were copied as they are.
    pub copied: &'a [Reference],
}

/// The answer of `generate`.
#[derive(Serialize, JsonSchema)]
pub struct Generated<'a> {
    pub rows: u64,
    pub seed: u64,
    pub model_sha256: &'a str,
    /// False where the noise was left out or seeded, or epsilon is so large that it protects nobody.
    pub private: bool,
    pub output: &'a Path,
    /// What the rows were to satisfy.
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    pub condition: Option<Asked<'a>>,
}

/// A condition and how rare it is.
#[derive(Serialize, JsonSchema)]
pub struct Asked<'a> {
    pub condition: &'a str,
    pub rarity: &'a Rarity,
}

/// The answer of `infer`.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Inferred<'a> {
    Scored(&'a Scores),
    ScoredLinked(&'a LinkedScores),
    Filled { imputations: usize, seed: u64, model_sha256: &'a str, output: &'a Path },
}

/// The answer of `account`.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Accounted<'a> {
    Mechanism {
        /// A number, or "inf" where nothing is guaranteed.
        #[schemars(schema_with = "number_or_infinity")]
        epsilon: OrInfinity,
        delta: f64,
        #[schemars(with = "String")]
        accountant: Accountant,
    },
    Cases {
        /// `id`, `value` with its optimistic twin `lower`, `rdp`, `cpu_ms`; `error` where a case was refused.
        #[schemars(with = "Vec<Map<String, Value>>")]
        results: &'a [Answer],
    },
}

/// The answer of `ledger`.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
pub enum LedgerAnswer<'a> {
    Shown {
        /// `number`, `time`, `who`, `kind` and what belongs to it, and the hash of the line before, `previous`.
        #[schemars(with = "Vec<Map<String, Value>>")]
        lines: &'a [Line],
        /// Spent in all, on all sources: a number, or "inf".
        #[schemars(schema_with = "number_or_infinity")]
        epsilon: OrInfinity,
        delta: f64,
        /// The sums of each source. One that is not named has those of all.
        tables: &'a [Spent<'a>],
    },
    Verified {
        verified: bool,
        lines: usize,
    },
    Opened {
        ledger: &'a Path,
        source: Option<&'a str>,
        /// False where the ledger had the source already.
        opened: bool,
    },
    Checked {
        /// Those that were not refused.
        fits: &'a [CheckedFit],
    },
}

/// What was spent on the source of a table.
#[derive(Serialize, JsonSchema)]
pub struct Spent<'a> {
    pub table: &'a str,
    pub source: Option<&'a str>,
    /// A number, or "inf".
    #[schemars(schema_with = "number_or_infinity")]
    pub epsilon: OrInfinity,
    pub delta: f64,
    /// The cap that the last fit's schema had.
    pub cap: Option<f64>,
}

/// The answer of `run` for linked tables.
#[derive(Serialize, JsonSchema)]
pub struct RanLinked<'a> {
    pub output: &'a Path,
    /// A number, or "inf" where no noise was asked for.
    #[schemars(schema_with = "number_or_infinity")]
    pub epsilon: OrInfinity,
    pub delta: f64,
    /// Whose whole contribution is protected.
    #[schemars(with = "Value")]
    pub unit: &'a PrivacyUnit,
    pub evaluation: &'a LinkedEvaluation,
    pub audit: &'a LinkedAudit,
}

/// The answer of `run`.
#[derive(Serialize, JsonSchema)]
pub struct Ran<'a> {
    pub output: &'a Path,
    /// A number, or "inf" where no noise was asked for.
    #[schemars(schema_with = "number_or_infinity")]
    pub epsilon: OrInfinity,
    pub delta: f64,
    /// Whose whole contribution is protected.
    #[schemars(with = "Value")]
    pub unit: &'a PrivacyUnit,
    pub evaluation: &'a Evaluation,
    pub audit: &'a Audit,
}
