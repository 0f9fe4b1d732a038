//! `run.toml`: one file that says a whole run, all but the noise.

use crate::error::{Error, Result, why};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Delta when nothing else is said. It must stay below 1 / (declared number of units), and is refused where it does not.
pub const DEFAULT_DELTA: f64 = 1e-6;

/// Share of the people who are held out where nothing else is said.
pub const HOLDOUT: f64 = 0.2;

/// Which generator is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum ModelChoice {
    /// The best for most tables: `marginal`; `docs/generators.md` has the reasons.
    #[default]
    Auto,
    /// A mixture of products, fitted to noisy marginals of one, two and three columns.
    Marginal,
    /// The variational autoencoder: `marginal` and what DP-SGD adds to it, column after column.
    Vae,
    /// The diffusion model: `marginal` and what DP-SGD adds to it, columns in any order.
    Diffusion,
    /// Noisy one-way marginals, columns independent: the control.
    Independent,
}

/// A whole run. Paths are relative to the file.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    pub input: InputConfig,
    pub fit: FitConfig,
    #[serde(default)]
    pub cohort: CohortConfig,
    #[serde(default)]
    pub audit: AuditConfig,
    #[serde(default)]
    pub report: ReportConfig,
}

/// What stands in the report and only people know. What is absent is left to be filled in by hand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReportConfig {
    /// What the cohort is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// Who gets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipients: Option<String>,
    /// On what legal basis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub legal_basis: Option<String>,
    /// What is handed out and how often: the cohort's file, the model, answers to questions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// What recipients have to keep to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conditions: Option<String>,
    /// Until when the decision holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiry: Option<String>,
    /// How training rows and holdout were split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
}

/// How the cohort is audited.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditConfig {
    /// Tests the fit itself with so many canaries, in a throwaway fit by the same plan; absent, the fit is not tested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canaries: Option<usize>,
}

/// What is read.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InputConfig {
    /// The real table.
    pub table: PathBuf,
    /// What is public about it.
    pub schema: PathBuf,
    /// Real rows of other people, for the evaluation and the audit; absent, some of the table's people are held out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holdout: Option<PathBuf>,
    /// Part of the table's people that is held out where no holdout is given, above 0 and below 1; absent, a fifth. More of them let
    /// the audit of a small table tell something, and leave fewer to fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holdout_share: Option<f64>,
    /// The ledger of the data's source; absent, it is `ledger.jsonl` beside the schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger: Option<PathBuf>,
}

impl InputConfig {
    /// Part of the people that is held out where no holdout is given.
    pub fn share(&self) -> f64 {
        self.holdout_share.unwrap_or(HOLDOUT)
    }
}

/// How the model is fitted.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FitConfig {
    #[serde(default)]
    pub model: ModelChoice,
    /// The privacy budget of this fit. `inf` adds no noise: a reference that is not private.
    pub epsilon: f64,
    /// Below 1 / (declared number of units), or at most 1e-5 where none is declared.
    #[serde(default = "default_delta")]
    pub delta: f64,
    /// The part of epsilon that pays for learning the domains which are not public; absent, such domains are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discover_epsilon: Option<f64>,
    /// Fixes initialisation, never the privacy noise.
    #[serde(default)]
    pub seed: u64,
}

/// What is generated.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CohortConfig {
    /// Rows of the cohort, of linked tables persons; absent, as many as the model knows that the training table has: what is
    /// declared public, or was counted with noise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// The same seed gives the same cohort of a model.
    #[serde(default)]
    pub seed: u64,
}

fn default_delta() -> f64 {
    DEFAULT_DELTA
}

impl RunConfig {
    /// Reads a run file.
    ///
    /// # Errors
    /// Bad input, with the line and column of the TOML where it is known.
    pub fn read(path: &Path) -> Result<(Self, String)> {
        let text = std::fs::read_to_string(path)
            .map_err(|e| Error::bad_input(format!("the run file cannot be read ({})", why(e.kind()))).file(path))?;
        Ok((Self::from_toml(&text).map_err(|e| e.file(path))?, text))
    }

    /// Reads the text of a run file.
    ///
    /// # Errors
    /// As [`RunConfig::read`].
    pub fn from_toml(text: &str) -> Result<Self> {
        let config: Self = crate::schema::parse_toml(text)?;
        let refused = |what: &str, remedy: &str| Err(Error::bad_input(format!("holdout_share {what}")).remedy(remedy));
        match (config.input.holdout_share, &config.input.holdout) {
            (Some(_), Some(_)) => refused("stands beside a holdout", "leave one of the two out"),
            (Some(share), None) if !(share > 0.0 && share < 1.0) => {
                refused("is no part of the people", "write a number above 0 and below 1, such as 0.3")
            }
            _ => Ok(config),
        }
    }
}
