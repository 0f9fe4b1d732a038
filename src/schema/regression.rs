//! Regressions, declared so that conclusions from the cohort can be compared with those from real rows.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Schema;
use super::analysis::{modelled, names_labels, refused};
use super::target::Task;
use crate::error::Result;

/// One outcome explained by a few covariates: by logistic regression, or by least squares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Regression {
    /// The name under which the figures appear.
    pub name: String,
    /// The column that is explained.
    pub outcome: String,
    /// `binary`: odds ratios; `regression`: coefficients.
    pub task: Task,
    /// Binary only: the values of the outcome that count as positive.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub positive: Vec<String>,
    /// The columns that explain it: numbers per their own unit, categories against the first that the schema lists.
    pub covariates: Vec<String>,
}

impl Regression {
    /// Checks the declaration against the columns of `schema`.
    ///
    /// # Errors
    /// Bad input naming the declaration and the remedy.
    pub(super) fn check(&self, schema: &Schema) -> Result<()> {
        let refuse = |what: String, remedy: &str| refused("regression", &self.name, what, remedy);
        let column = |name: &str| modelled(schema, "regression", &self.name, name);
        let outcome = column(&self.outcome)?;
        if self.covariates.is_empty() {
            return refuse("covariates is empty".into(), "name at least one column");
        }
        for (i, name) in self.covariates.iter().enumerate() {
            let kind = column(name)?.kind;
            if !kind.is_amount() && !kind.has_labels() {
                return refuse(
                    format!("`{name}` has kind {}", kind.name()),
                    "name integer, real, categorical, ordinal or boolean columns as covariates",
                );
            }
            if *name == self.outcome || self.covariates[..i].contains(name) {
                return refuse(format!("`{name}` is named twice"), "name each column once");
            }
        }
        match self.task {
            Task::Multiclass => refuse("no regression has several classes".into(), "choose task = \"binary\""),
            Task::Regression if !outcome.kind.is_amount() => {
                refuse(format!("`{}` is not a number", outcome.name), "choose task = \"binary\"")
            }
            Task::Binary if outcome.kind.is_numeric() => {
                refuse(format!("`{}` is a number", outcome.name), "choose task = \"regression\"")
            }
            Task::Binary if !names_labels(outcome, &self.positive) => refuse(
                "positive does not name categories of the outcome".into(),
                "list the categories that count as positive",
            ),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regressions_must_be_possible() {
        let columns = "[table]\nname = \"t\"\n[[column]]\nname = \"days\"\nkind = \"integer\"\n\
            [[column]]\nname = \"dead\"\nkind = \"boolean\"\n[[column]]\nname = \"day\"\nkind = \"datetime\"\n";
        let with = |lines: &str| Schema::from_toml(&format!("{columns}[[regression]]\nname = \"x\"\n{lines}\n"));
        let binary = "outcome = \"dead\"\ntask = \"binary\"\npositive = [\"true\"]\n";
        let linear = "outcome = \"days\"\ntask = \"regression\"\n";
        assert!(with(&format!("{binary}covariates = [\"days\"]")).is_ok());
        assert!(with(&format!("{linear}covariates = [\"dead\"]")).is_ok());
        for (lines, what) in [
            (format!("{binary}covariates = []"), "covariates is empty"),
            (format!("{binary}covariates = [\"sex\"]"), "`sex` is not a modelled column"),
            (format!("{binary}covariates = [\"day\"]"), "`day` has kind datetime"),
            (format!("{binary}covariates = [\"days\", \"days\"]"), "`days` is named twice"),
            (format!("{linear}covariates = [\"days\"]"), "`days` is named twice"),
            (binary.replace("true", "yes") + "covariates = [\"days\"]", "positive does not name"),
            (linear.replace("days", "dead") + "covariates = [\"days\"]", "`dead` is not a number"),
            (binary.replace("dead", "days") + "covariates = [\"dead\"]", "`days` is a number"),
            (binary.replace("binary", "multiclass") + "covariates = [\"days\"]", "no regression has several classes"),
        ] {
            let e = with(&lines).unwrap_err();
            assert!(e.what.contains("regression `x`: ") && e.what.contains(what) && e.remedy.is_some(), "{e}");
        }
    }
}
