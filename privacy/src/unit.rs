//! Whose contribution is protected, and which tables are neighbours.

use serde::{Deserialize, Serialize};

/// The privacy unit: whose whole contribution the guarantee protects.
///
/// # Privacy
/// Public: part of the claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrivacyUnit {
    /// Each row is a different person.
    Row,
    /// All rows with the same value in this column belong to one person.
    Column(String),
    /// A row of this table and all rows below it, in the tables that hang on it, belong to one person.
    Person(String),
}

impl std::fmt::Display for PrivacyUnit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Row => f.write_str("row (each row is a different person)"),
            Self::Column(name) => write!(f, "all rows that share one value of `{name}`"),
            Self::Person(root) => write!(f, "person (a row of `{root}` with all rows below it)"),
        }
    }
}

/// Which tables the guarantee calls neighbours.
///
/// Only add/remove is offered: under it the clipped sum of one unit's
/// gradients has sensitivity C. Replace-one would double that.
///
/// # Privacy
/// Public: part of the claim.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Adjacency {
    /// One unit with all its rows is added or removed.
    #[default]
    AddRemove,
}

#[cfg(test)]
mod tests {
    use super::PrivacyUnit;

    /// Ledgers and models of every version are read.
    #[test]
    fn units_are_written_as_ever() {
        let units = [
            (PrivacyUnit::Row, r#""row""#),
            (PrivacyUnit::Column("patient".into()), r#"{"column":"patient"}"#),
            (PrivacyUnit::Person("patients".into()), r#"{"person":"patients"}"#),
        ];
        for (unit, text) in units {
            assert_eq!(serde_json::to_string(&unit).unwrap(), text);
            assert_eq!(serde_json::from_str::<PrivacyUnit>(text).unwrap(), unit);
        }
    }
}
