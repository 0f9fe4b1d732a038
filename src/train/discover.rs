//! Discovery: ranges and categories that nobody vouches for, learnt privately
//! and paid for in the plan.
//!
//! A numeric column takes two noisy quantiles over a public grid of candidates;
//! its range is drawn from them with room to spare, since the bins of the
//! measuring step follow the mass and an end that lies too far out costs
//! little. A column of categories takes one thresholded noisy histogram. Both
//! count units, not rows.

use crate::encode::UnitRows;
use crate::error::{Error, Result};
use crate::ingest::{ColumnStore, MISSING, Values};
use crate::schema::{Bound, Column, DomainFrom, Kind, MAX_DECIMALS, Schema, datetime};
use arrow_schema::DataType;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use synthward_privacy::Sensitive;
use synthward_privacy::plan::{Mechanism, Plan, Request, Share};

/// Part of the plan's delta for the thresholds of all category lists.
const THRESHOLD_DELTA_SHARE: f64 = 0.1;
/// The nearest quantile to an end of a range that is asked for.
const NEAREST_QUANTILE: f64 = 0.005;
/// The farthest one, where the budget is too small for any nearer.
const FARTHEST_QUANTILE: f64 = 0.4;
/// The candidates between no value and the first are drawn with probability
/// below this, as a logarithm, where the quantile is not the farthest.
const LOG_FAILURE: f64 = -4.6;
/// How far a range reaches: log-odds of a value beyond each end, were the
/// column logistic. One in ten thousand.
const REACH: f64 = 9.2;
/// Digits that tell values of a discovered real column apart, of the width of its range.
const SIGNIFICANT_DIGITS: f64 = 4.0;

/// Candidates are all numbers of three significant digits between 10^-3 and 10^12 in magnitude ...
const DECADES: std::ops::Range<i32> = -3..12;
/// ... zero, and every whole number up to this magnitude ...
const LAST_WHOLE: i32 = 9_999;
/// ... and for moments the first day of every month from January of the first to January of the last year.
const YEARS: (i32, i32) = (1850, 2150);

/// A table as it was read, and which of its rows count.
///
/// # Privacy
/// Touches sensitive data; travels as `Sensitive`.
pub struct BoundedTable {
    pub columns: ColumnStore,
    pub rows: Arc<UnitRows>,
}

impl BoundedTable {
    /// One column alone.
    fn column(&self, name: &str) -> Result<BoundedColumn> {
        let values =
            self.columns.column(name)?.ok_or_else(|| Error::bad_input("is missing from the table").column(name))?;
        Ok(BoundedColumn { values, rows: self.rows.clone() })
    }
}

/// A column as it was read, and which of its rows count.
struct BoundedColumn {
    values: Values,
    rows: Arc<UnitRows>,
}

impl BoundedColumn {
    fn units(&self) -> usize {
        self.rows.units()
    }
}

/// The planned events: `epsilon` is split evenly over them. `schema` is one
/// [`Schema::without_private_domains`].
pub fn requests(schema: &Schema, epsilon: f64, delta: f64) -> Vec<Request> {
    let to_discover = || schema.modelled().filter(|c| c.domain_from == Some(DomainFrom::Discovered));
    let lists = to_discover().filter(|c| !c.kind.is_numeric()).count();
    let delta = THRESHOLD_DELTA_SHARE * delta / lists.max(1) as f64;
    let numeric = to_discover().filter(|c| c.kind.is_numeric() && !is_time_of_day(c)).count();
    let epsilon = epsilon / (2 * numeric + lists).max(1) as f64;
    let per_unit = schema.table.max_rows_per_unit();
    let request = |name, mechanism| Request { name, share: Share::Discover, weight: 1.0, mechanism };
    to_discover()
        .flat_map(|column| match column.kind {
            _ if is_time_of_day(column) => Vec::new(),
            kind if kind.is_numeric() => {
                let ends = [low_end(column), high_end(column)];
                ends.into_iter().map(|name| request(name, Mechanism::Quantile { epsilon })).collect()
            }
            _ => vec![request(categories(column), Mechanism::CategoryList { epsilon, delta, per_unit })],
        })
        .collect()
}

/// A column of which no category was found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Unlisted {
    column: String,
    /// About so many units must share a category.
    threshold: f64,
}

impl Unlisted {
    /// Tells the operator.
    ///
    /// # Privacy
    /// Post-processing: to be told once it is kept.
    pub fn tell(&self) {
        let Self { column, threshold } = self;
        tracing::warn!(
            "column `{column}`: no category was found, since about {threshold:.0} units must share one at this budget; \
             give --discover-epsilon more, or vouch for the categories in the schema"
        );
    }
}

/// Learns every domain that is to be discovered and gives the schema with
/// them, and the columns of which it found nothing. `units` is the public or released number of units. Nobody is told
/// anything yet.
///
/// # Privacy
/// Releases the planned events of [`requests`], nothing else.
pub fn discover(
    plan: &mut Plan,
    table: &Sensitive<BoundedTable>,
    schema: &Schema,
    units: f64,
) -> Result<(Schema, Vec<Unlisted>)> {
    let mut schema = schema.clone();
    let mut unlisted = Vec::new();
    let modelled = schema.columns.iter_mut().filter(|c| c.is_modelled());
    for column in modelled.filter(|c| c.domain_from == Some(DomainFrom::Discovered)) {
        if is_time_of_day(column) {
            let day = DAY_NANOSECONDS / column.ticks().nanoseconds() as f64;
            set_range(column, 0.0, day - 1.0)?;
        } else if column.kind.is_numeric() {
            discover_range(plan, table, column, units)?;
        } else {
            unlisted.extend(discover_categories(plan, table, column)?);
        }
    }
    schema.forget_impossible_analyses();
    Ok((schema, unlisted))
}

const DAY_NANOSECONDS: f64 = 86_400e9;

fn low_end(column: &Column) -> String {
    format!("{}: lower end", column.name)
}

fn high_end(column: &Column) -> String {
    format!("{}: upper end", column.name)
}

fn categories(column: &Column) -> String {
    format!("{}: categories", column.name)
}

/// Times of day have a range that their type tells.
fn is_time_of_day(column: &Column) -> bool {
    column.kind == Kind::Datetime && column.arrow_type.as_ref().is_some_and(|t| t.is_time_of_day())
}

fn discover_range(plan: &mut Plan, table: &Sensitive<BoundedTable>, column: &mut Column, units: f64) -> Result<()> {
    let candidates = candidates(column);
    let cells = table.map_ref(|table| table.column(&column.name)).transpose()?;
    let mut end = |name: &str, lower: bool| -> Result<(f64, f64)> {
        let mechanism = plan.quantile(name)?;
        let nearest = nearest_quantile(mechanism.epsilon(), candidates.len(), units);
        let quantile = if lower { nearest } else { 1.0 - nearest };
        // The first of the unit's rows that has a value, moved outwards to a candidate.
        let value_of = |cells: &BoundedColumn, unit: usize| match &cells.values {
            Values::Number(values) => {
                let mut own = cells.rows.of(unit).iter().map(|&row| values[row as usize]);
                own.find(|x| !x.is_nan()).map_or(f64::NAN, |x| outwards(&candidates, x, lower))
            }
            Values::Text { .. } => f64::NAN,
        };
        let end = mechanism.release(&cells, BoundedColumn::units, candidates.clone(), quantile, value_of)?;
        Ok((end.into_inner(), nearest))
    };
    let (low, quantile) = end(&low_end(column), true)?;
    let (high, _) = end(&high_end(column), false)?;
    let (low, high) = with_room(column, low.min(high), low.max(high), quantile);
    let (first, last) = candidates.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), &c| (a.min(c), b.max(c)));
    set_range(column, low.max(first), high.min(last))
}

fn discover_categories(
    plan: &mut Plan,
    table: &Sensitive<BoundedTable>,
    column: &mut Column,
) -> Result<Option<Unlisted>> {
    let mechanism = plan.category_list(&categories(column))?;
    let threshold = mechanism.threshold();
    let cells = table.map_ref(|table| table.column(&column.name)).transpose()?;
    let listed = mechanism.release(&cells, BoundedColumn::units, |cells, unit, into| {
        if let Values::Text { codes, labels } = &cells.values {
            let own = cells.rows.of(unit).iter().map(|&row| codes[row as usize]).filter(|&code| code != MISSING);
            into.extend(own.filter_map(|code| labels.get(code as usize)).map(String::as_str));
        }
    })?;
    let mut listed = listed.into_inner();
    let unlisted = listed.is_empty().then(|| Unlisted { column: column.name.clone(), threshold });
    if let Some(numbers) = listed.iter().map(|label| label.trim().parse::<f64>().ok()).collect::<Option<Vec<_>>>() {
        let mut pairs: Vec<(f64, String)> = numbers.into_iter().zip(listed).collect();
        pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
        listed = pairs.into_iter().map(|(_, label)| label).collect();
    }
    if let Some(other) = &column.other
        && !listed.contains(other)
    {
        listed.push(other.clone());
    }
    column.categories = listed;
    Ok(unlisted)
}

/// The public candidates for an end of a column's range, in the column's own
/// unit: ticks for a moment.
fn candidates(column: &Column) -> Vec<f64> {
    if column.kind == Kind::Datetime {
        let months = (YEARS.0..YEARS.1).flat_map(|year| (1..=12).map(move |month| (year, month)));
        let months = months.chain([(YEARS.1, 1)]);
        return months
            .filter_map(|(year, month)| datetime::parse(&format!("{year}-{month:02}-01"), None, column.ticks()))
            .collect();
    }
    let magnitudes = DECADES.flat_map(|decade| {
        // Dividing by an exact power of ten gives the double nearest to the decimal.
        (100..1000).map(move |digits| match decade - 2 {
            exponent @ 0.. => f64::from(digits) * 10f64.powi(exponent),
            exponent => f64::from(digits) / 10f64.powi(-exponent),
        })
    });
    let whole = (1..=LAST_WHOLE).map(f64::from);
    let kept = |x: &f64| column.kind != Kind::Integer || x.fract() == 0.0;
    let positive: Vec<f64> = magnitudes.chain(whole).chain([10f64.powi(DECADES.end)]).filter(kept).collect();
    let mut all: Vec<f64> = positive.iter().flat_map(|&x| [-x, x]).chain([0.0]).collect();
    all.sort_by(f64::total_cmp);
    all.dedup();
    all
}

/// The last candidate up to `x`, or for an upper end the first from `x` on; the outermost where there is none.
fn outwards(candidates: &[f64], x: f64, lower: bool) -> f64 {
    let place = if lower {
        candidates.partition_point(|&c| c <= x).saturating_sub(1)
    } else {
        candidates.partition_point(|&c| c < x).min(candidates.len() - 1)
    };
    candidates[place]
}

/// The nearest quantile to an end that the budget can tell from the values
/// beyond all data: since all values are candidates, the one at quantile `q`
/// scores at least `q^2 units` better than those, however many are equal, and a score that is
/// `2 (ln candidates + 4.6) / epsilon` worse is drawn with probability 0.01.
fn nearest_quantile(epsilon: f64, candidates: usize, units: f64) -> f64 {
    let gap = 2.0 * ((candidates as f64).ln() - LOG_FAILURE) / epsilon;
    (gap / units.max(1.0)).sqrt().clamp(NEAREST_QUANTILE, FARTHEST_QUANTILE)
}

/// The range of a column whose quantiles at `quantile` and `1 - quantile` are
/// these: widened as a logistic law would be, down to one in ten thousand.
/// A column whose lower quantile is not negative is taken for one that never is.
fn with_room(column: &Column, low: f64, high: f64, quantile: f64) -> (f64, f64) {
    let largest = low.abs().max(high.abs());
    let least = match column.kind {
        Kind::Datetime => DAY_NANOSECONDS / column.ticks().nanoseconds() as f64,
        Kind::Real if largest > 0.0 => 0.1 * largest,
        _ => 1.0,
    };
    let odds = ((1.0 - quantile) / quantile).ln();
    let room = (high - low).max(least) * (REACH - odds) / (2.0 * odds);
    let (wide_low, wide_high) = (low - room, high + room);
    match column.kind {
        Kind::Datetime => (wide_low, wide_high),
        _ if low >= 0.0 => (wide_low.max(0.0), wide_high),
        _ if high <= 0.0 => (wide_low, wide_high.min(0.0)),
        _ => (wide_low, wide_high),
    }
}

/// Writes a range into the column, rounded outwards to its resolution and kept
/// to what its type can hold.
fn set_range(column: &mut Column, low: f64, high: f64) -> Result<()> {
    let (smallest, largest) = storable(column);
    let (low, high) = (low.clamp(smallest, largest), high.clamp(smallest, largest));
    let (min, max) = match column.kind {
        Kind::Integer => (Bound::Integer(low.floor() as i64), Bound::Integer(high.ceil() as i64)),
        Kind::Real => {
            let digits = SIGNIFICANT_DIGITS - (high - low).max(f64::MIN_POSITIVE).log10().floor();
            let decimals =
                column.decimals.or(scale(column)).unwrap_or(digits.clamp(0.0, f64::from(MAX_DECIMALS)) as u32);
            column.decimals = Some(decimals);
            let unit = 10f64.powi(decimals as i32);
            (Bound::Real((low * unit).floor() / unit), Bound::Real((high * unit).ceil() / unit))
        }
        _ => {
            let text = |x: f64| {
                let format = is_time_of_day(column).then_some("%H:%M:%S%.f");
                datetime::format(x, format, column.ticks()).map(Bound::Moment)
            };
            let ends = text(low.floor()).zip(text(high.ceil()));
            ends.ok_or_else(|| Error::failed("the discovered range is no time").column(&column.name))?
        }
    };
    (column.min, column.max) = (Some(min), Some(max));
    Ok(())
}

/// Digits after the point that the column's type fixes.
fn scale(column: &Column) -> Option<u32> {
    match column.arrow_type.as_ref()?.data_type() {
        DataType::Decimal128(_, scale) => u32::try_from(*scale).ok().map(|scale| scale.min(MAX_DECIMALS)),
        _ => None,
    }
}

/// The smallest and the largest number of the column's type, where they lie inside the candidates.
fn storable(column: &Column) -> (f64, f64) {
    match column.arrow_type.as_ref().map(|t| t.data_type()) {
        Some(DataType::Int8) => (i8::MIN.into(), i8::MAX.into()),
        Some(DataType::Int16) => (i16::MIN.into(), i16::MAX.into()),
        Some(DataType::Int32) => (i32::MIN.into(), i32::MAX.into()),
        Some(DataType::UInt8) => (0.0, u8::MAX.into()),
        Some(DataType::UInt16) => (0.0, u16::MAX.into()),
        Some(DataType::UInt32) => (0.0, u32::MAX.into()),
        Some(DataType::UInt64) => (0.0, f64::INFINITY),
        Some(DataType::Decimal128(precision, scale)) => {
            let unit = 10f64.powi(i32::from(*scale));
            let largest = (10f64.powi(i32::from(*precision)) - 1.0) / unit;
            (-largest, largest)
        }
        _ => (f64::NEG_INFINITY, f64::INFINITY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::{Frame, FrameColumn};
    use synthward_privacy::{Budget, PrivacyUnit};

    const SCHEMA: &str = r#"
        [table]
        name = "t"
        privacy_unit = "row"
        [[column]]
        name = "age"
        kind = "integer"
        type = "int16"
        min = 3
        max = 88
        domain_from = "data"
        [[column]]
        name = "weight"
        kind = "real"
        decimals = 7
        min = 1.5
        max = 7.25
        domain_from = "data"
        [[column]]
        name = "day"
        kind = "datetime"
        type = "date32"
        [[column]]
        name = "at"
        kind = "datetime"
        type = "time64[us]"
        [[column]]
        name = "sex"
        kind = "categorical"
        categories = ["canary"]
        nullable = false
        domain_from = "data"
        [[column]]
        name = "grade"
        kind = "ordinal"
        categories = ["else"]
        other = "else"
        [[column]]
        name = "dead"
        kind = "boolean"
        nullable = false
        domain_from = "data"
        [[target]]
        name = "sex"
        column = "sex"
        task = "binary"
        positive = ["canary"]
        [[survival]]
        name = "sex"
        time = "age"
        event = "sex"
        event_is = ["canary"]
        [[regression]]
        name = "death"
        outcome = "dead"
        task = "binary"
        positive = ["true"]
        covariates = ["sex"]
    "#;

    fn opened() -> Schema {
        Schema::from_toml(SCHEMA).unwrap().without_private_domains()
    }

    fn text(labels: &[&str], of: impl Fn(u32) -> u32, rows: u32) -> Values {
        Values::Text { codes: (0..rows).map(of).collect(), labels: labels.iter().map(|l| (*l).to_owned()).collect() }
    }

    /// Ages 20 to 79, weights 40 to 119.9, a year of days, sexes with one canary.
    fn table(rows: u32) -> Sensitive<BoundedTable> {
        let numbers = |of: &dyn Fn(u32) -> f64| Values::Number((0..rows).map(of).collect());
        let days = datetime::parse("2021-01-01", None, datetime::Ticks::Day).unwrap();
        let columns = vec![
            numbers(&|i| f64::from(20 + i % 60)),
            numbers(&|i| if i % 7 == 0 { f64::NAN } else { 40.0 + f64::from(i % 800) / 10.0 }),
            numbers(&|i| days + f64::from(i % 365)),
            numbers(&|i| f64::from(i) * 1e6),
            text(&["M", "canary", "F"], |i| if i == 17 { 1 } else { 2 * (i % 2) }, rows),
            text(&["10", "9", "2"], |i| i % 3, rows),
            text(&["false", "true"], |i| i % 2, rows),
        ];
        let named = |(column, values): (&Column, Values)| FrameColumn { name: column.name.clone(), values };
        let columns = opened().columns.iter().zip(columns).map(named).collect();
        let columns = ColumnStore::of(Frame { rows: rows as usize, columns, unit: None }).unwrap();
        let rows = Arc::new(UnitRows::new(&columns, 1));
        Sensitive::new(BoundedTable { columns, rows })
    }

    fn discovered(rows: u32, epsilon: f64) -> (Schema, Plan) {
        let schema = opened();
        let rest = Request { name: "n".into(), share: Share::Discover, weight: 1.0, mechanism: Mechanism::Histogram };
        let planned = requests(&schema, epsilon, 1e-5).into_iter().chain([rest]).collect();
        let mut plan = Plan::calibrate(PrivacyUnit::Row, Budget::new(2.0 * epsilon, 1e-5).unwrap(), planned).unwrap();
        let (schema, _) = discover(&mut plan, &table(rows), &schema, f64::from(rows)).unwrap();
        (schema, plan)
    }

    #[test]
    fn nothing_that_was_read_from_the_rows_stays() {
        let schema = opened();
        let json = serde_json::to_string(&schema).unwrap();
        assert!(!json.contains("88") && !json.contains("7.25") && !json.contains("canary\"],\"null"), "{json}");
        assert!(schema.modelled().all(|c| c.nullable && c.decimals.is_none()));
        let sex = schema.column("sex").unwrap();
        assert!(sex.categories.is_empty() && sex.domain_from == Some(DomainFrom::Discovered));
        assert_eq!(schema.column("dead").unwrap().domain_from, None, "a boolean has nothing to discover");
    }

    #[test]
    fn the_budget_is_split_evenly_over_the_releases() {
        let planned = requests(&opened(), 0.8, 1e-5);
        // Two for each of age, weight, day; none for the time of day and the boolean; one for sex and for grade.
        assert_eq!(planned.len(), 8);
        for request in &planned {
            match request.mechanism {
                Mechanism::Quantile { epsilon } => assert!((epsilon - 0.1).abs() < 1e-12),
                Mechanism::CategoryList { epsilon, delta, per_unit } => {
                    assert!((epsilon - 0.1).abs() < 1e-12 && (delta - 5e-7).abs() < 1e-15 && per_unit == 1);
                }
                _ => panic!("{} is no discovery", request.name),
            }
        }
    }

    /// At epsilon 5 for each release and 20,000 units each end fails with
    /// probability 0.01 at most by its bound, in truth below 1e-9.
    #[test]
    fn domains_are_wide_enough_and_not_absurd() {
        let (schema, plan) = discovered(20_000, 40.0);
        assert!(plan.epsilon() <= 80.0);
        assert!(schema.check().is_ok());
        let range = |name: &str| schema.column(name).unwrap().range().unwrap();
        let (low, high) = range("age");
        assert!((0.0..=20.0).contains(&low) && (79.0..200.0).contains(&high), "{low} {high}");
        let (low, high) = range("weight");
        assert!((0.0..=40.0).contains(&low) && (119.9..250.0).contains(&high), "{low} {high}");
        assert_eq!(schema.column("weight").unwrap().decimals, Some(2), "four digits of a width of some hundred");
        let (low, high) = range("day");
        let day = |text: &str| datetime::parse(text, None, datetime::Ticks::Day).unwrap();
        assert!((day("2018-01-01")..=day("2021-01-01")).contains(&low), "{low}");
        assert!((day("2021-12-01")..=day("2025-01-01")).contains(&high), "{high}");
        assert_eq!(range("at"), (0.0, 86_399_999_999.0));
        assert_eq!(schema.column("sex").unwrap().categories, ["F", "M"]);
        assert_eq!(schema.column("grade").unwrap().categories, ["2", "9", "10", "else"]);
        assert!(schema.targets.is_empty() && schema.survival.is_empty(), "their category is not in the list");
        assert_eq!(schema.regressions, opened().regressions);
    }

    /// Next to no budget: whatever comes out is a usable schema.
    #[test]
    fn a_budget_too_small_gives_a_poor_domain_but_a_domain() {
        let (schema, _) = discovered(150, 0.08);
        schema.check().unwrap();
        let (low, high) = schema.column("age").unwrap().range().unwrap();
        assert!(low >= -32768.0 && high <= 32767.0, "inside the column's type: {low} {high}");
        assert!(schema.column("sex").unwrap().categories.is_empty());
        assert_eq!(schema.column("grade").unwrap().categories, ["else"]);
        assert!(crate::encode::TableDomain::of(&schema).is_ok());
    }

    #[test]
    fn candidates_are_the_documented_grid() {
        let real = candidates(&Column::new("x", Kind::Real));
        assert_eq!((real.first(), real.last()), (Some(&-1e12), Some(&1e12)));
        for member in [0.0, 0.001, 0.123, 9.99, 37.1, 2016.0, -250.0, 1.23e8] {
            assert!(real.contains(&member), "{member}");
        }
        assert!(real.windows(2).all(|w| w[0] < w[1]));
        let whole = candidates(&Column::new("n", Kind::Integer));
        assert!(whole.iter().all(|x| x.fract() == 0.0) && whole.contains(&-9_999.0) && whole.contains(&0.0));
        assert_eq!(candidates(&Column::new("t", Kind::Datetime)).len(), 3601);
    }

    #[test]
    fn values_move_outwards_to_candidates() {
        let candidates = [0.0, 10.0, 20.0];
        for (x, low, high) in
            [(-5.0, 0.0, 0.0), (0.0, 0.0, 0.0), (13.0, 10.0, 20.0), (20.0, 20.0, 20.0), (99.0, 20.0, 20.0)]
        {
            assert_eq!((outwards(&candidates, x, true), outwards(&candidates, x, false)), (low, high), "{x}");
        }
    }

    /// A constant column, and one of nine tenths zeros, keep room for what is rare.
    #[test]
    fn an_end_that_meets_the_other_leaves_room() {
        let column = |kind| Column::new("x", kind);
        let (low, high) = with_room(&column(Kind::Integer), 0.0, 0.0, 0.25);
        assert!(low == 0.0 && high > 3.0, "{low} {high}");
        let (low, high) = with_room(&column(Kind::Real), -5.0, -5.0, 0.1);
        assert!(low < -5.0 && high > -5.0 && high <= 0.0, "{low} {high}");
    }
}
