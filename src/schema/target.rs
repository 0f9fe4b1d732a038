//! What an analyst would predict from the table, declared so that usefulness can be measured.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Schema;
use super::analysis::{NAME_LABELS, modelled, names_labels, refused};
use crate::error::Result;

/// The kind of prediction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// One class against the rest: `positive` names the class.
    Binary,
    /// Each value of the column is a class.
    Multiclass,
    /// The column is a number.
    Regression,
}

/// One prediction task: `column` from all the others, but for those in `exclude`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub struct Target {
    /// The name under which the figures appear.
    pub name: String,
    /// The column that is predicted.
    pub column: String,
    pub task: Task,
    /// Binary only: the values that count as positive; every other one that is present is negative.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub positive: Vec<String>,
    /// Columns that may not be used: weights, or what is only known afterwards.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// Binary only: categorical columns whose categories are groups of people that the prediction should treat alike.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
}

impl Target {
    /// Checks the target against the columns of `schema`.
    ///
    /// # Errors
    /// Bad input naming the target and the remedy.
    pub(super) fn check(&self, schema: &Schema) -> Result<()> {
        let refuse = |what: String, remedy: &str| refused("target", &self.name, what, remedy);
        let column = modelled(schema, "target", &self.name, &self.column)?;
        for name in &self.exclude {
            modelled(schema, "target", &self.name, name)?;
        }
        for name in &self.groups {
            let group = modelled(schema, "target", &self.name, name)?;
            if !group.kind.has_labels() {
                return refuse(format!("`{name}` has no list of groups"), NAME_LABELS);
            }
        }
        if self.task != Task::Binary && !self.groups.is_empty() {
            return refuse(
                "groups are compared for a binary task only".into(),
                "choose task = \"binary\", or remove groups",
            );
        }
        match self.task {
            Task::Regression if !column.kind.is_numeric() => {
                refuse(format!("`{}` is not a number", column.name), "choose task = \"binary\" or \"multiclass\"")
            }
            Task::Binary | Task::Multiclass if column.kind.is_numeric() => {
                refuse(format!("`{}` is a number", column.name), "choose task = \"regression\"")
            }
            Task::Binary if !names_labels(column, &self.positive) => refuse(
                "positive does not name categories of the column".into(),
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
    fn reads_the_short_form_and_refuses_a_misspelt_key() {
        let short = r#"{"name": "stay", "column": "days", "task": "regression"}"#;
        let target: Target = serde_json::from_str(short).unwrap();
        assert_eq!((target.task, target.positive.len(), target.exclude.len()), (Task::Regression, 0, 0));
        let misspelt = r#"{"name": "stay", "column": "days", "task": "regression", "positves": ["1"]}"#;
        assert!(serde_json::from_str::<Target>(misspelt).is_err());
    }
}
