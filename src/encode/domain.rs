//! What the schema makes public about each modelled column.

use super::{Layout, MAX_BINS, icd9};
use crate::error::{Error, Result};
use crate::schema::{CodeSystem, Column, DomainFrom, Kind, Schema};
use arrow_schema::DataType;
use serde::{Deserialize, Serialize};

/// Positions on a numeric grid, at most: a finer resolution is coarsened.
const MAX_POSITIONS: f64 = (1u64 << 30) as f64;
/// Positions of a real column whose schema states no decimals.
const DEFAULT_POSITIONS: f64 = 1e6;
/// Labels that a list counts for while it is not discovered, where a size has to be chosen.
const NOMINAL_LABELS: usize = 16;

/// The public values of a column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Domain {
    /// A list of labels. A value outside goes to `other` when there is one, else it counts as missing.
    Labels {
        labels: Vec<String>,
        other: Option<u32>,
        /// Coarse group of each label in its code system; empty for a flat list.
        groups: Vec<u32>,
    },
    /// The numbers `min + step * p` for `p` in `0..positions`. A value outside is clamped.
    Numbers { min: f64, step: f64, positions: u32 },
}

impl Domain {
    /// How many positions there are, missing left out.
    pub fn positions(&self) -> u32 {
        match self {
            Self::Labels { labels, .. } => labels.len() as u32,
            Self::Numbers { positions, .. } => *positions,
        }
    }

    /// Where a value without a place goes in a column that is declared complete.
    pub(super) fn fallback(&self) -> u32 {
        match self {
            Self::Labels { other, .. } => other.unwrap_or(0),
            Self::Numbers { .. } => 0,
        }
    }
}

/// One modelled column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelColumn {
    pub name: String,
    pub domain: Domain,
    /// Whether cells may be missing; missing is a position of its own.
    pub nullable: bool,
}

/// All modelled columns: the schema's, and the number of rows of the unit when
/// a unit may have several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableDomain {
    pub columns: Vec<ModelColumn>,
    /// Index in `columns` of the number of rows of the unit.
    pub rows_column: Option<usize>,
    /// At most so many rows of a unit are read.
    pub max_rows_per_unit: u32,
}

impl TableDomain {
    /// The public domain of a schema that has passed `check_for_fit`. A domain
    /// that is yet to be discovered counts as the widest range, and as a list
    /// of what is known of it.
    ///
    /// # Errors
    /// Bad input when a column lacks what its kind needs.
    ///
    /// # Privacy
    /// Public facts only.
    pub fn of(schema: &Schema) -> Result<Self> {
        let mut columns: Vec<ModelColumn> = schema.modelled().map(model_column).collect::<Result<_>>()?;
        let max_rows_per_unit = schema.table.max_rows_per_unit();
        let rows_column = (max_rows_per_unit > 1).then_some(columns.len());
        if rows_column.is_some() {
            columns.push(ModelColumn {
                name: "rows of the unit".into(),
                domain: Domain::Labels {
                    labels: (1..=max_rows_per_unit).map(|n| n.to_string()).collect(),
                    other: None,
                    groups: Vec::new(),
                },
                nullable: false,
            });
        }
        Ok(Self { columns, rows_column, max_rows_per_unit })
    }

    /// The largest layout that codecs of this domain can have, lists that are not
    /// discovered yet aside: what the size of a network may be chosen from before
    /// anything is measured.
    pub fn largest_layout(&self) -> Layout {
        let cells = |column: &ModelColumn| {
            let present = match &column.domain {
                Domain::Labels { labels, .. } if labels.is_empty() => NOMINAL_LABELS,
                Domain::Labels { labels, groups, .. } => groups.iter().max().map_or(labels.len(), |&g| g as usize + 1),
                Domain::Numbers { positions, .. } => (*positions as usize).min(MAX_BINS),
            };
            present + usize::from(column.nullable)
        };
        Layout { cells: self.columns.iter().map(cells).collect() }
    }
}

fn model_column(column: &Column) -> Result<ModelColumn> {
    let domain = if column.kind.is_numeric() {
        numbers(column)?
    } else {
        let labels = column.labels();
        if labels.is_empty() && column.domain_from != Some(DomainFrom::Discovered) {
            return Err(Error::bad_input("has no categories")
                .column(&column.name)
                .expected("the public list of its values")
                .remedy("add `categories` to the column, or set `drop = true`"));
        }
        let other = column.other.as_ref().and_then(|other| labels.iter().position(|label| label == other));
        let groups = match column.system {
            Some(CodeSystem::Icd9cm) => labels.iter().map(|label| icd9::chapter(label)).collect(),
            Some(_) => first_characters(&labels),
            None => Vec::new(),
        };
        Domain::Labels { labels, other: other.map(|index| index as u32), groups }
    };
    Ok(ModelColumn { name: column.name.clone(), domain, nullable: column.nullable })
}

fn numbers(column: &Column) -> Result<Domain> {
    let Some((min, max)) = column.range() else {
        if column.domain_from == Some(DomainFrom::Discovered) {
            return Ok(Domain::Numbers { min: 0.0, step: 1.0, positions: MAX_POSITIONS as u32 });
        }
        return Err(Error::bad_input("has no range")
            .column(&column.name)
            .expected("min and max")
            .remedy("add the public range of the column to the schema"));
    };
    let step = match (column.kind, column.decimals) {
        (Kind::Datetime, _) => datetime_step(max - min, 1e9 / column.ticks().nanoseconds() as f64, counts_days(column)),
        (Kind::Real, Some(decimals)) => 10f64.powi(-(decimals as i32)),
        (Kind::Real, None) if max > min => (max - min) / DEFAULT_POSITIONS,
        _ => 1.0,
    };
    let step = step * ((max - min) / step / MAX_POSITIONS).ceil().max(1.0);
    Ok(Domain::Numbers { min, step, positions: ((max - min) / step).round() as u32 + 1 })
}

/// Whether the column's type means whole days, whatever its ticks.
fn counts_days(column: &Column) -> bool {
    column.arrow_type.as_ref().is_some_and(|t| *t.data_type() == DataType::Date64)
}

/// The finest of tick, second, minute, hour and day that gives few enough positions; or a day.
fn datetime_step(range: f64, ticks_per_second: f64, days: bool) -> f64 {
    let seconds = [1.0, 60.0, 3600.0, 86_400.0].map(|s| (s * ticks_per_second).max(1.0));
    let fits = |step: &f64| !days && range / step <= MAX_POSITIONS;
    std::iter::once(1.0).chain(seconds).find(fits).unwrap_or(seconds[3])
}

/// A flat prefix tree: the first character of each label, numbered in order of appearance.
fn first_characters(labels: &[String]) -> Vec<u32> {
    let mut seen: Vec<Option<char>> = Vec::new();
    labels
        .iter()
        .map(|label| {
            let first = label.chars().next();
            let place = seen.iter().position(|&c| c == first).unwrap_or_else(|| {
                seen.push(first);
                seen.len() - 1
            });
            place as u32
        })
        .collect()
}
