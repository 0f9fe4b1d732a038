//! What the schema makes public about each modelled column.

use super::{Layout, MAX_BINS, MAX_LABELS, code_tree};
use crate::error::{Error, Result};
use crate::schema::datetime::Ticks;
use crate::schema::linked::View;
use crate::schema::{Column, DomainFrom, Kind, Resolution, Schema};
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
        /// Coarse group of each label in the tree of its code system; empty for a flat list.
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

    /// The position of zero, or of the number nearest to it; the first of labels.
    pub fn position_of_zero(&self) -> u32 {
        match self {
            Self::Labels { .. } => 0,
            Self::Numbers { min, step, positions } => (-min / step).round().clamp(0.0, f64::from(positions - 1)) as u32,
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
    /// Of numbers whose size is what counts, as for counts and times that pass: the position from which the cells grow in
    /// which they are first measured. Absent, these are equal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grows_from: Option<u32>,
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
    /// The place of the column of this name.
    pub fn index(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

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
                grows_from: None,
            });
        }
        Ok(Self { columns, rows_column, max_rows_per_unit })
    }

    /// The public domain of the view of a linked table.
    ///
    /// # Errors
    /// As [`TableDomain::of`].
    ///
    /// # Privacy
    /// Public facts only.
    pub fn of_view(view: &View) -> Result<Self> {
        let mut domain = Self::of(&view.schema)?;
        for (column, source) in domain.columns.iter_mut().zip(&view.columns) {
            if let (true, Domain::Numbers { min, step, positions }) = (source.from.is_amount(), &column.domain) {
                column.grows_from = Some((-min / step).round().clamp(0.0, f64::from(positions - 1)) as u32);
            }
        }
        Ok(domain)
    }

    /// The largest layout that codecs of this domain can have, lists that are not
    /// discovered yet aside: what the size of a network may be chosen from before
    /// anything is measured.
    pub fn largest_layout(&self) -> Layout {
        let cells = |column: &ModelColumn| {
            let present = match &column.domain {
                Domain::Labels { labels, .. } if labels.is_empty() => NOMINAL_LABELS,
                Domain::Labels { labels, groups, .. } => {
                    groups.iter().max().map_or(labels.len(), |&g| g as usize + 1).min(MAX_LABELS)
                }
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
        let groups = code_tree::groups(column, &labels);
        Domain::Labels { labels, other: other.map(|index| index as u32), groups }
    };
    Ok(ModelColumn { name: column.name.clone(), domain, nullable: column.nullable, grows_from: None })
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
    let resolution = resolution(column);
    // What is in the table lies on a multiple, so the ends may be taken there, too.
    let (min, max) = match resolution.or(column.step) {
        Some(step) => {
            // The last digits of a quotient are not to cost an end that is a multiple.
            let (first, last) = ((min / step - 1e-9).ceil(), (max / step + 1e-9).floor());
            (first * step, last.max(first) * step)
        }
        None => (min, max),
    };
    let step = match (column.kind, column.decimals) {
        (Kind::Datetime, _) => datetime_step(max - min, column.ticks(), resolution.unwrap_or(1.0)),
        (Kind::Integer | Kind::Real, _) if column.step.is_some() => column.step.unwrap_or(1.0),
        (Kind::Real, Some(decimals)) => 10f64.powi(-(decimals as i32)),
        (Kind::Real, None) if max > min => (max - min) / DEFAULT_POSITIONS,
        _ => 1.0,
    };
    let step = step * ((max - min) / step / MAX_POSITIONS).ceil().max(1.0);
    Ok(Domain::Numbers { min, step, positions: ((max - min) / step).round() as u32 + 1 })
}

/// What moments of the column are whole multiples of, in ticks, where its type or the schema says so.
fn resolution(column: &Column) -> Option<f64> {
    let days = column.arrow_type.as_ref().is_some_and(|t| *t.data_type() == DataType::Date64);
    let resolution = if days { Some(Resolution::Day) } else { column.resolution };
    resolution.map(|resolution| resolution.ticks(column.ticks())).filter(|&step| step > 1.0)
}

/// The finest of tick, second, minute, hour and day that is not below `least` and gives few enough positions; or a day.
fn datetime_step(range: f64, ticks: Ticks, least: f64) -> f64 {
    let steps = Resolution::ALL.map(|resolution| resolution.ticks(ticks).max(1.0));
    let fits = |step: &f64| *step >= least && range / step <= MAX_POSITIONS;
    std::iter::once(1.0).chain(steps.into_iter().rev()).find(fits).unwrap_or(steps[0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{ArrowType, Bound};

    #[test]
    fn moments_of_a_resolution_lie_on_its_multiples_inside_the_range() {
        const DAY: f64 = 86_400e6;
        let mut column = Column {
            arrow_type: Some(ArrowType::timestamp_us(false)),
            min: Some(Bound::Moment("1970-01-01T08:00:00".into())),
            max: Some(Bound::Moment("1970-01-31T20:00:00".into())),
            resolution: Some(Resolution::Day),
            ..Column::new("at", Kind::Datetime)
        };
        let domain = |column: &Column| numbers(column).unwrap();
        assert_eq!(domain(&column), Domain::Numbers { min: DAY, step: DAY, positions: 30 });
        column.max = Some(Bound::Moment("1970-01-01T20:00:00".into()));
        assert_eq!(domain(&column), Domain::Numbers { min: DAY, step: DAY, positions: 1 }, "no midnight inside");
        column.resolution = Some(Resolution::Hour);
        assert_eq!(domain(&column), Domain::Numbers { min: DAY / 3.0, step: DAY / 24.0, positions: 13 });
    }
}
