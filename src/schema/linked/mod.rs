//! What is public about tables that hang together: the root, which has a row a person, and the tables below it.
//!
//! ```toml
//! [linked]
//! name = "hospital"
//!
//! [[table]]
//! name   = "patients"          # the file patients.csv, .csv.gz, .parquet, .arrow or .ndjson of the folder
//! key    = "Id"
//! origin = "BIRTHDATE"         # the moment that a person's other moments are told from
//! end    = "DEATHDATE"         # no row of the person lies after it
//!
//! [[table.column]]             # as the columns of a single table
//! name = "Id"
//! kind = "identifier"
//!
//! [[table]]
//! name     = "encounters"
//! key      = "Id"
//! parent   = "patients"
//! links    = { PATIENT = "patients" }
//! order    = "START"           # rows of a parent follow each other in this order
//! max_rows = 400               # of one parent; what comes later is left out
//!
//! [[table]]
//! name           = "payers"
//! reference      = true        # nobody's: public, and copied as it is
//! reference_from = "public"    # a person says so, and has looked at this file
//! sha256         = "…"
//!
//! [[table]]
//! name = "letters"
//! drop = true                  # left out
//! ```
//!
//! The privacy unit is a row of the root with everything below it. A single table is read by [`Schema`](super::Schema); one
//! whose rows follow each other is taken apart into two such tables by [`Schema::history`].

mod check;
mod history;
mod names;
mod rules;
mod toml_io;
mod view;

use super::{Column, Constraint, ConstraintFrom, Reading, Rule, Schema, TableSpec};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub use names::{BARE_KEYS, KEY_WORDS, PERSONS, singular};
pub use toml_io::AnySchema;
pub use view::{DAY, From, PLACES, View, ViewColumn, range_seconds};

/// Rows of one parent that are kept where the schema does not say.
pub const DEFAULT_MAX_ROWS: u32 = 100;

/// Everything that is public about tables that hang together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkedSchema {
    pub linked: LinkedSpec,
    #[serde(rename = "table")]
    pub tables: Vec<LinkedTable>,
    /// The one table that they are read from and written to, where they are no files of a folder: see [`Schema::history`].
    #[serde(skip)]
    pub history: Option<Box<Schema>>,
}

/// What is public about the tables as a whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkedSpec {
    /// Name in reports and in the ledger.
    pub name: String,
    /// Random identifier of the source, which has the budget: see that of a table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Number of rows of the root, as it is declared to be public; a folder of another number is fitted as if it had so
    /// many. Absent: it is not public, and is to be estimated privately.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub units: Option<u64>,
    /// A number that the rows of the root are not below, where no more than that is public: delta is held against it before anything
    /// is spent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least_units: Option<u64>,
    /// The most epsilon that all fits of this source together may spend: see that of a table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epsilon_cap: Option<f64>,
    /// Someone took what was read from the rows for public.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub assumed_public: bool,
}

/// What is done with rows whose keys do not fit, and with lines that are none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// The tables are refused.
    #[default]
    Refuse,
    /// The rows are left out.
    Drop,
}

/// What the first moment of a parent's rows is told from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Since {
    /// The moment of the parent's row; of the root, its `origin`.
    #[default]
    Parent,
    /// The start of the column's public range: for tables that were cut out of the calendar.
    Calendar,
}

/// One of the tables.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkedTable {
    /// The name of its file, without the ending.
    pub name: String,
    /// Leave the table out: it is neither modelled nor copied.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub drop: bool,
    /// A table of nobody's, such as one of wards: public, and copied as it is. Nothing else is said of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reference: bool,
    /// Who says that it is nobody's: `fit` wants `public`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference_from: Option<ConstraintFrom>,
    /// Of a reference table: SHA-256 of the file that this was said of, in hex. No other is copied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Who says how the table hangs together with the others: key, parent, links, order, origin and end, and whether it is
    /// left out. Absent, the schema's author.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub structure_from: Option<ConstraintFrom>,
    /// The column by which other tables name its rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The table whose rows it hangs on; the root has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Columns that hold keys of other tables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub links: BTreeMap<String, String>,
    /// The moment by which the rows of a parent follow each other; in the order of the file where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub since: Since,
    /// Of the root: the moment that a person's other moments are told from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// Of the root: the moment after which no row of the person lies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
    /// Rows of one parent that are kept: the first ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rows: Option<u32>,
    /// Rows whose parent is not there.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_dangling: Policy,
    /// Rows whose key an earlier row has.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_duplicate: Policy,
    /// Lines of NDJSON that are no resource of the table; rows of other files are refused where they are damaged.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_broken: Policy,
    /// Texts that mean a missing cell, compared without surrounding blanks, and numbers that do, by value. An empty text does in
    /// any case.
    #[serde(default = "super::empty_text")]
    pub missing: Vec<String>,
    /// How the text of the table's file is read, where it is not plain CSV.
    #[serde(default, skip_serializing_if = "Reading::is_plain")]
    pub reading: Reading,
    /// In the order of the table.
    #[serde(rename = "column", default)]
    pub columns: Vec<Column>,
    /// Rules that hold in every row.
    #[serde(rename = "constraint", default, skip_serializing_if = "Vec::is_empty")]
    pub constraints: Vec<Constraint>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl LinkedSpec {
    /// As the ledger has it.
    pub fn table(&self) -> TableSpec {
        TableSpec {
            name: self.name.clone(),
            source: self.source.clone(),
            privacy_unit: None,
            max_rows_per_unit: None,
            order: None,
            missing: Vec::new(),
            reading: Reading::default(),
            units: self.units,
            at_least_units: self.at_least_units,
            epsilon_cap: self.epsilon_cap,
            assumed_public: self.assumed_public,
        }
    }
}

impl LinkedSchema {
    /// The place of the table of this name.
    pub fn place(&self, name: &str) -> Option<usize> {
        self.tables.iter().position(|table| table.name == name)
    }

    /// The place of a table's parent.
    pub fn parent(&self, table: usize) -> Option<usize> {
        self.tables[table].parent.as_deref().and_then(|name| self.place(name))
    }

    /// The tables of persons, each after its parent; the root is the first. Neither reference tables nor those that are
    /// left out are among them.
    pub fn tree(&self) -> Vec<usize> {
        let is_root = |&t: &usize| self.tables[t].parent.is_none() && self.tables[t].is_personal();
        let mut tree: Vec<usize> = (0..self.tables.len()).filter(is_root).collect();
        let mut next = 0;
        while next < tree.len() {
            let children = self.children(tree[next]);
            tree.extend(children);
            next += 1;
        }
        tree
    }

    /// The columns that hold keys of tables above, with the places of these; that of the parent comes first.
    pub fn links_above(&self, table: usize) -> Vec<(&str, usize)> {
        let mut above = Vec::new();
        let mut at = self.parent(table);
        while let Some(place) = at {
            let own = self.tables[table].links.iter().filter(|(_, name)| **name == self.tables[place].name);
            above.extend(own.map(|(column, _)| (column.as_str(), place)));
            at = self.parent(place);
        }
        above
    }

    /// The tables that hang on this one.
    pub fn children(&self, table: usize) -> Vec<usize> {
        (0..self.tables.len()).filter(|&t| self.parent(t) == Some(table) && self.tables[t].is_personal()).collect()
    }
}

impl LinkedTable {
    /// A table with a name, and nothing else said.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            drop: false,
            reference: false,
            reference_from: None,
            sha256: None,
            structure_from: None,
            key: None,
            parent: None,
            links: BTreeMap::new(),
            order: None,
            since: Since::default(),
            origin: None,
            end: None,
            max_rows: None,
            on_dangling: Policy::default(),
            on_duplicate: Policy::default(),
            on_broken: Policy::default(),
            missing: super::empty_text(),
            reading: Reading::default(),
            columns: Vec::new(),
            constraints: Vec::new(),
        }
    }

    /// Whether it is one of persons: neither left out nor a reference table.
    pub fn is_personal(&self) -> bool {
        !self.drop && !self.reference
    }

    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The columns that do not go down from row to row of a parent.
    pub fn ascending(&self) -> impl Iterator<Item = &String> {
        let columns = self.constraints.iter().filter_map(|constraint| match &constraint.rule {
            Rule::Ascending { columns } => Some(columns),
            _ => None,
        });
        columns.flatten()
    }

    /// The most rows of one parent.
    pub fn max_rows(&self) -> u32 {
        self.max_rows.unwrap_or(DEFAULT_MAX_ROWS)
    }
}
