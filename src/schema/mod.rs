//! What is public about a table.
//!
//! A schema is one TOML file that a person reads, corrects and vouches for:
//! whose privacy is protected, what each column means and which values it may
//! have. Everything in it is treated as public, so everything in it must be
//! public: `domain_from = "data"` marks what [`inspect`](crate::ingest::inspect)
//! read from the rows, kind and type included, and `fit` refuses it unless it is
//! told to learn such domains privately and pay for them, and somebody vouches
//! for the kinds (`kind_from = "public"`).
//!
//! ```toml
//! [table]
//! name = "diabetes130"
//! privacy_unit = "patient_nbr"   # a column, or "row" when each row is a different person
//! max_rows_per_unit = 4          # more rows of a unit are dropped at random
//! order = "encounter_id"         # optional: rows of a unit follow each other by it; the first ones are kept then
//! missing = ["?", ""]
//!
//! [[column]]
//! name = "time_in_hospital"
//! kind = "integer"
//! min = 1
//! max = 14
//! domain_from = "public"
//! ```
//!
//! The schema also declares what the cohort should be good for, and `evaluate` compares it:
//! predictions (`[[target]]`), survival curves and regressions.
//!
//! ```toml
//! [[survival]]
//! name = "home"
//! time = "time_in_hospital"      # a number
//! event = "discharge_disposition_id"
//! event_is = ["1"]               # every other value is censored
//! by = "gender"                  # optional: a curve per category
//!
//! [[regression]]
//! name = "readmission"
//! outcome = "readmitted"
//! task = "binary"                # odds ratios; "regression": coefficients
//! positive = ["<30", ">30"]
//! covariates = ["gender", "time_in_hospital"]
//! ```
//!
//! Where the table is not plain CSV, it says how the text of its file is read (`Reading`):
//!
//! ```toml
//! [table]
//! reading = { separator = ";", decimal = ",", thousands = ".", encoding = "latin1" }
//! ```
//!
//! And it declares rules that hold in every row (`[[constraint]]`): generated rows hold them, too.
//!
//! ```toml
//! [[constraint]]
//! kind = "inequality"            # implication forbidden missing sum formula bins dependency unique
//! low  = "admitted"
//! high = "discharged"
//! ```
//!
//! A value outside the domain has a place to go: a number or a moment moves to
//! the nearer of `min` and `max`; a category becomes `other` where the column
//! declares one and missing where it does not. A boolean and a missing cell
//! have no outside.

mod analysis;
mod arrow_type;
mod check;
mod code_system;
mod column;
mod constraint;
pub mod datetime;
pub(crate) mod expression;
pub(crate) mod formula;
pub mod linked;
mod parents;
mod reading;
mod regression;
mod source;
mod spelling;
mod survival;
pub mod target;
mod toml_in;
mod toml_out;

pub use arrow_type::ArrowType;
pub use check::MAX_DECIMALS;
pub use code_system::CodeSystem;
pub use column::{Bound, Column, DomainFrom, Kind, Resolution};
pub use constraint::{Constraint, ConstraintFrom, MapValue, Rule};
pub(crate) use constraint::{Counting, Unit, common_unit, group, is_computed, is_sum, own_tolerance};
pub use linked::{AnySchema, LinkedSchema};
pub use parents::Parents;
pub use reading::{Notation, Reading, limit};
pub use regression::Regression;
pub use source::new_source;
pub(crate) use spelling::Spelling;
pub use survival::Survival;
pub use target::Target;
pub(crate) use toml_in::parse_toml;
pub use toml_out::{Notes, Read};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The privacy unit of a table in which each row is a different person.
pub const ROW: &str = "row";

/// Rows kept of one unit when the schema does not say and a unit may have several.
pub const DEFAULT_MAX_ROWS_PER_UNIT: u32 = 4;

/// Everything that is public about a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Schema {
    pub table: TableSpec,
    /// In the order of the table.
    #[serde(rename = "column", default)]
    pub columns: Vec<Column>,
    /// What the cohort should be good for: the evaluation predicts these.
    #[serde(rename = "target", default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<Target>,
    /// Survival curves that the evaluation compares.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub survival: Vec<Survival>,
    /// Regressions that the evaluation compares.
    #[serde(rename = "regression", default, skip_serializing_if = "Vec::is_empty")]
    pub regressions: Vec<Regression>,
    /// Rules that hold in every row.
    #[serde(rename = "constraint", default, skip_serializing_if = "Vec::is_empty")]
    pub constraints: Vec<Constraint>,
}

/// What is public about the table as a whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TableSpec {
    /// Name in reports and in the ledger.
    pub name: String,
    /// Random identifier of the source, which has the budget: excerpts, splits and later exports of the same persons have
    /// the same. It says nothing of the rows, and no model has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Whose privacy is protected: the column that names the person, or `row`. `fit` wants it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub privacy_unit: Option<String>,
    /// Rows kept of one unit, at most; further ones are left out. Absent, it is 4, and 1 where each row is a unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rows_per_unit: Option<u32>,
    /// The column by which the rows of a unit follow each other: a moment, a number, or an identifier of whole numbers. `fit`
    /// then tells each row from the one before it, and keeps the first rows of a unit; see `docs/linked.md`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
    /// Texts that mean a missing cell, compared without surrounding blanks, and numbers that do, by value. An empty text does in
    /// any case.
    #[serde(default = "empty_text")]
    pub missing: Vec<String>,
    /// How the text of the table's file is read, where it is not plain CSV.
    #[serde(default, skip_serializing_if = "Reading::is_plain")]
    pub reading: Reading,
    /// Number of units, as it is declared to be public; a table of another number is fitted as if it had so many. Absent:
    /// it is not public, and is to be estimated privately.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub units: Option<u64>,
    /// A number that the units are not below, where no more than that is public: delta is held against it before anything
    /// is spent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least_units: Option<u64>,
    /// The most epsilon that all fits of this source together may spend, as its owner allows; the ledger enforces it, and
    /// where there is no ledger of the source, nothing is fitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epsilon_cap: Option<f64>,
    /// Someone took what was read from the rows for public (`inspect --assume-public`). Every output repeats it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub assumed_public: bool,
}

fn empty_text() -> Vec<String> {
    vec![String::new()]
}

impl TableSpec {
    /// The bound on the rows of one unit: as declared, else 1 when each row is
    /// a unit and [`DEFAULT_MAX_ROWS_PER_UNIT`] when a column names it.
    pub fn max_rows_per_unit(&self) -> u32 {
        let default = if self.unit_column().is_some() { DEFAULT_MAX_ROWS_PER_UNIT } else { 1 };
        self.max_rows_per_unit.unwrap_or(default)
    }

    /// The column that names the unit, when one does.
    pub fn unit_column(&self) -> Option<&str> {
        self.privacy_unit.as_deref().filter(|unit| *unit != ROW)
    }

    /// True when `text`, trimmed, is one of the missing markers, or empty: a CSV file has no other way to leave a cell out.
    pub fn is_missing(&self, text: &str) -> bool {
        let text = text.trim();
        text.is_empty() || self.missing.iter().any(|marker| marker.trim() == text)
    }
}

impl Schema {
    /// The column of this name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|c| c.name == name)
    }

    /// The schema as a model may carry it: of identifiers nothing but name and type, for fresh keys are never missing; of
    /// columns that are left out nothing but the name. No cohort has more of them, and `inspect` may have read it from the
    /// rows. What the ledger needs is no business of the model's.
    pub fn released(&self) -> Self {
        let unit = self.table.unit_column();
        let bare = |column: &Column| Column {
            arrow_type: column.arrow_type.clone().filter(|_| !column.drop || Some(&*column.name) == unit),
            nullable: false,
            domain_from: column.domain_from.filter(|from| *from == DomainFrom::Public),
            kind_from: column.kind_from,
            drop: column.drop,
            ..Column::new(&column.name, Kind::Identifier)
        };
        let whole = |column: &Column| Column {
            parents: column.parents.as_ref().map(|parents| parents.of_codes(&column.categories)),
            ..column.clone()
        };
        let columns = self.columns.iter().map(|c| if c.is_modelled() { whole(c) } else { bare(c) }).collect();
        let table = TableSpec { source: None, epsilon_cap: None, ..self.table.clone() };
        Self { table, columns, ..self.clone() }
    }

    /// The columns of a frame, in order: neither dropped nor identifiers.
    pub fn modelled(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|c| c.is_modelled())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nobody vouches for the values of a column that is left out, so no model may carry them.
    #[test]
    fn a_released_schema_has_no_values_of_columns_that_are_not_modelled() {
        let mut dropped = Column::new("village", Kind::Categorical);
        dropped.categories = vec!["read from the rows".into()];
        (dropped.arrow_type, dropped.drop) = (Some(ArrowType::UTF8), true);
        let mut key = Column::new("patient", Kind::Identifier);
        (key.arrow_type, key.max) = (Some(ArrowType::INT64), Some(Bound::Integer(98_765)));
        let mut sex = Column::new("sex", Kind::Categorical);
        sex.categories = vec!["F".into(), "M".into()];
        let schema =
            Schema::from_toml("[table]\nname = \"t\"\n[[column]]\nname = \"x\"\nkind = \"boolean\"\n").unwrap();
        let (source, epsilon_cap) = (Some("0123456789abcdef".into()), Some(3.0));
        let table = TableSpec { source, epsilon_cap, ..schema.table.clone() };
        let released = Schema { table, columns: vec![dropped, key, sex.clone()], ..schema.clone() }.released();
        assert_eq!(released.table, schema.table, "source and cap are the ledger's business");
        let bare = |name: &str| Column { nullable: false, ..Column::new(name, Kind::Identifier) };
        assert_eq!(released.columns[0], Column { drop: true, ..bare("village") });
        assert_eq!(released.columns[1], Column { arrow_type: Some(ArrowType::INT64), ..bare("patient") });
        assert_eq!(released.columns[2], sex);
    }
}
