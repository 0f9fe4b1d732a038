//! One column, real against synthetic, with nothing in it that tells of a few people.
//!
//! Three rules keep single patients out of a plot. A cell with fewer than
//! [`MIN_CELL_UNITS`] patients of the holdout shows no real figure. A category
//! appears by name only where so many patients or any synthetic row have it.
//! And the suppressed figure cannot be had by subtraction: shares are rounded,
//! and they are shares of the cells shown whenever the hidden ones together
//! hold too few patients.
//!
//! Cells are cut on the schema's public range, so no extreme value is printed.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::coarse;
use crate::ingest::{Frame, FrameColumn, MISSING, Values};

/// A real cell with fewer units than this is suppressed.
pub const MIN_CELL_UNITS: u64 = 10;
/// Categories shown by name when they have no order; the others are one cell together.
const MAX_CATEGORIES: usize = 12;
/// Bins of a numeric column, and categories shown by name when they stand in an order.
const MAX_BINS: usize = 20;

/// What is public about the values of a column: how its cells are cut and named.
pub enum Axis<'a> {
    /// Numbers from `min` to `max`, written by `text`.
    Numbers { min: f64, max: f64, whole: bool, text: Box<dyn Fn(f64) -> String + 'a> },
    /// Categories that stand in this order.
    Ordered(Vec<String>),
    /// Categories in no order: the commonest comes first.
    Unordered,
}

/// The shares of one column's cells in the holdout and in the cohort.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MarginalPlot {
    pub column: String,
    /// Both ends of a numeric column's public range, its cells being bins from the smallest; `None` for categories.
    pub range: Option<[String; 2]>,
    /// Name of each cell.
    pub labels: Vec<String>,
    /// Share of the holdout's rows; `None` where fewer than [`MIN_CELL_UNITS`] patients are in the cell.
    pub real: Vec<Option<f64>>,
    /// Share of the cohort's rows.
    pub synthetic: Vec<f64>,
    /// The last cell holds the missing values.
    pub has_missing: bool,
}

/// Plots of the columns that both tables have, in the order of `real`.
///
/// `axis_of` says what is public about a column; a column it does not know is
/// left out, and so is one whose cells are not of the axis' kind.
///
/// # Privacy
/// Touches sensitive data: `real` are rows of the holdout. What it returns is
/// for the controller, outside the epsilon claim, with small cells suppressed.
pub fn marginal_plots<'a>(
    real: &Frame,
    synthetic: &Frame,
    axis_of: impl Fn(&str) -> Option<Axis<'a>>,
) -> Vec<MarginalPlot> {
    let holdout = Rows::of(real);
    let cohort = Rows { unit: None, ..Rows::of(synthetic) };
    let plot = |column: &FrameColumn| {
        let twin = synthetic.columns.iter().find(|c| c.name == column.name)?;
        let cells = match (&column.values, &twin.values, axis_of(&column.name)?) {
            (Values::Number(x), Values::Number(y), Axis::Numbers { min, max, whole, text }) => {
                numbers(x, y, &Bins::new(min, max, whole)?, &text)
            }
            (Values::Text { codes, labels }, Values::Text { codes: twin_codes, labels: twin_labels }, axis) => {
                let order = match axis {
                    Axis::Ordered(order) => order,
                    Axis::Unordered => Vec::new(),
                    Axis::Numbers { .. } => return None,
                };
                let real = Texts { codes, labels };
                categories(&real, &Texts { codes: twin_codes, labels: twin_labels }, &order, &holdout, &cohort)
            }
            _ => return None,
        };
        Some(cells.plot(&column.name, &holdout, &cohort))
    };
    real.columns.iter().filter_map(plot).collect()
}

/// Row numbers of a table, those of a unit next to one another.
struct Rows<'a> {
    order: Vec<usize>,
    unit: Option<&'a [u32]>,
}

impl<'a> Rows<'a> {
    fn of(frame: &'a Frame) -> Self {
        let mut order: Vec<usize> = (0..frame.rows).collect();
        if let Some(unit) = &frame.unit {
            order.sort_by_key(|&row| unit[row]);
        }
        Self { order, unit: frame.unit.as_deref() }
    }

    /// Rows and units in each of `n` cells.
    fn count(&self, n: usize, cell_of_row: impl Fn(usize) -> usize) -> Vec<Count> {
        let mut counts = vec![Count::default(); n];
        let mut last_unit = vec![None; n];
        for &row in &self.order {
            let cell = cell_of_row(row);
            counts[cell].rows += 1;
            let unit = self.unit.map_or(row, |unit| unit[row] as usize);
            if last_unit[cell].replace(unit) != Some(unit) {
                counts[cell].units += 1;
            }
        }
        counts
    }
}

#[derive(Clone, Copy, Default)]
struct Count {
    rows: u64,
    units: u64,
}

impl Count {
    fn is_small(self) -> bool {
        self.units < MIN_CELL_UNITS
    }
}

/// A column cut into cells: their names, and the cell of each row on either side.
struct Cells {
    /// See [`MarginalPlot::range`].
    range: Option<[String; 2]>,
    /// Named cells; behind them come the nameless ones.
    labels: Vec<String>,
    nameless: &'static [&'static str],
    real: Vec<usize>,
    synthetic: Vec<usize>,
}

impl Cells {
    fn plot(self, column: &str, holdout: &Rows, cohort: &Rows) -> MarginalPlot {
        let Self { range, mut labels, nameless, real, synthetic } = self;
        let n = labels.len() + nameless.len();
        let mut real = real_shares(holdout, n, &real);
        let counts = cohort.count(n, |row| synthetic[row]);
        let rows = cohort.order.len().max(1) as f64;
        let mut synthetic: Vec<f64> = counts.iter().map(|c| c.rows as f64 / rows).collect();
        // A nameless cell that no synthetic row is in goes when it is small:
        // whether it is small or empty is not told. The last is the missing one.
        let mut has_missing = false;
        for name in nameless {
            let cell = labels.len();
            has_missing = real[cell].is_some() || synthetic[cell] > 0.0;
            if has_missing {
                labels.push((*name).to_owned());
            } else {
                real.remove(cell);
                synthetic.remove(cell);
            }
        }
        MarginalPlot { column: column.to_owned(), range, labels, real, synthetic, has_missing }
    }
}

/// Shares of the real rows, without the small cells.
///
/// The whole is all rows, or the rows of the cells shown when the hidden cells
/// together are small, so that one less the sum is never a small count. Each
/// share is rounded to parts of at least ten rows.
fn real_shares(holdout: &Rows, n: usize, cells: &[usize]) -> Vec<Option<f64>> {
    let counts = holdout.count(n, |row| cells[row]);
    let hidden = holdout.count(2, |row| usize::from(counts[cells[row]].is_small()))[1];
    let rows = holdout.order.len() as u64;
    let whole = if hidden.is_small() { rows - hidden.rows } else { rows };
    let share = |c: &Count| (!c.is_small()).then(|| coarse::share(c.rows as f64 / whole as f64, whole as usize));
    counts.iter().map(share).collect()
}

/// Equal cells on a public range.
struct Bins {
    min: f64,
    max: f64,
    whole: bool,
    width: f64,
    count: usize,
}

impl Bins {
    /// `None` when the range is not one.
    fn new(min: f64, max: f64, whole: bool) -> Option<Self> {
        if !(min.is_finite() && max.is_finite() && min <= max) {
            return None;
        }
        let span = if whole { max - min + 1.0 } else { max - min };
        let width = if whole { (span / MAX_BINS as f64).ceil() } else { span / MAX_BINS as f64 };
        let count = if width > 0.0 { (span / width).ceil().clamp(1.0, MAX_BINS as f64) as usize } else { 1 };
        Some(Self { min, max, whole, width, count })
    }

    /// The bin of a number; a missing one is in the cell behind the last bin.
    fn cell(&self, x: f64) -> usize {
        match x {
            x if x.is_nan() => self.count,
            _ if self.count == 1 => 0,
            x => (((x - self.min) / self.width).max(0.0) as usize).min(self.count - 1),
        }
    }

    fn label(&self, bin: usize, text: &dyn Fn(f64) -> String) -> String {
        let low = self.min + bin as f64 * self.width;
        let high = if bin + 1 == self.count { self.max } else { low + self.width - f64::from(u8::from(self.whole)) };
        if low == high { text(low) } else { format!("{} to {}", text(low), text(high)) }
    }
}

fn numbers(real: &[f64], synthetic: &[f64], bins: &Bins, text: &dyn Fn(f64) -> String) -> Cells {
    let cells = |values: &[f64]| values.iter().map(|&x| bins.cell(x)).collect();
    Cells {
        range: Some([bins.min, bins.max].map(text)),
        labels: (0..bins.count).map(|bin| bins.label(bin, text)).collect(),
        nameless: &["missing"],
        real: cells(real),
        synthetic: cells(synthetic),
    }
}

/// The codes of a text column and what they stand for.
struct Texts<'a> {
    codes: &'a [u32],
    labels: &'a [String],
}

impl Texts<'_> {
    /// The cell of each row, `missing` for a missing one.
    fn cells(&self, cell_of_label: &HashMap<&str, usize>, missing: usize) -> Vec<usize> {
        let cells: Vec<usize> = self.labels.iter().map(|label| cell_of_label[label.as_str()]).collect();
        self.codes.iter().map(|&code| if code == MISSING { missing } else { cells[code as usize] }).collect()
    }
}

/// One cell for each of the commonest categories, then the other ones
/// together, then the missing values. `order` is empty when there is none.
fn categories(real: &Texts, synthetic: &Texts, order: &[String], holdout: &Rows, cohort: &Rows) -> Cells {
    let mut names: Vec<&str> = Vec::new();
    let mut index: HashMap<&str, usize> = HashMap::new();
    for label in order.iter().chain(synthetic.labels).chain(real.labels) {
        index.entry(label).or_insert_with(|| {
            names.push(label);
            names.len() - 1
        });
    }
    let every = |texts: &Texts| texts.cells(&index, names.len());
    let (real, synthetic) = (every(real), every(synthetic));

    let real_counts = holdout.count(names.len() + 1, |row| real[row]);
    let synthetic_counts = cohort.count(names.len() + 1, |row| synthetic[row]);
    let share = |rows: u64, table: &Rows| rows as f64 / table.order.len().max(1) as f64;
    let weight = |&name: &usize| {
        let real = if real_counts[name].is_small() { 0 } else { real_counts[name].rows };
        share(real, holdout) + share(synthetic_counts[name].rows, cohort)
    };
    let mut named: Vec<usize> = (0..names.len()).filter(|name| weight(name) > 0.0).collect();
    named.sort_by(|a, b| weight(b).total_cmp(&weight(a)).then_with(|| names[*a].cmp(names[*b])));
    named.truncate(if order.is_empty() { MAX_CATEGORIES } else { MAX_BINS });
    if !order.is_empty() {
        named.sort_unstable();
    }

    let mut cell_of_name = vec![named.len(); names.len()];
    named.iter().enumerate().for_each(|(cell, &name)| cell_of_name[name] = cell);
    cell_of_name.push(named.len() + 1);
    let moved = |cells: Vec<usize>| cells.into_iter().map(|name| cell_of_name[name]).collect();
    Cells {
        range: None,
        labels: named.iter().map(|&name| names[name].to_owned()).collect(),
        nameless: &["all other values", "missing"],
        real: moved(real),
        synthetic: moved(synthetic),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(columns: Vec<(&str, Values)>, unit: Option<Vec<u32>>) -> Frame {
        let rows = match &columns[0].1 {
            Values::Number(x) => x.len(),
            Values::Text { codes, .. } => codes.len(),
        };
        let columns = columns.into_iter().map(|(name, values)| FrameColumn { name: name.into(), values }).collect();
        Frame { rows, columns, unit }
    }

    /// A text column with so many rows of each label; `"?"` is missing.
    fn texts(counts: &[(&str, usize)]) -> Values {
        let labels: Vec<String> = counts.iter().map(|(l, _)| (*l).to_owned()).filter(|l| l != "?").collect();
        let code = |label: &str| labels.iter().position(|l| l == label).map_or(MISSING, |i| i as u32);
        let codes = counts.iter().flat_map(|(label, n)| std::iter::repeat_n(code(label), *n)).collect();
        Values::Text { codes, labels }
    }

    fn whole(min: f64, max: f64) -> Axis<'static> {
        Axis::Numbers { min, max, whole: true, text: Box::new(|x| x.to_string()) }
    }

    fn plot(real: Values, synthetic: Values, axis: impl Fn() -> Axis<'static>) -> MarginalPlot {
        let (real, synthetic) = (frame(vec![("c", real)], None), frame(vec![("c", synthetic)], None));
        marginal_plots(&real, &synthetic, |_| Some(axis())).remove(0)
    }

    #[test]
    fn small_cells_show_no_figure_and_cannot_be_subtracted() {
        let real = texts(&[("often", 989), ("also", 1_000), ("seldom", 9), ("once", 2)]);
        let p = plot(real, texts(&[("often", 50), ("also", 40), ("seldom", 10)]), || Axis::Unordered);
        assert_eq!(p.labels, ["often", "also", "seldom"], "`once` is in no synthetic row, so it has no name here");
        assert_eq!(p.real[2], None);
        let whole: f64 = p.real.iter().flatten().sum();
        assert!((whole - 0.994).abs() < 0.002, "eleven hidden rows may be told: {whole}");

        let p = plot(texts(&[("a", 600), ("b", 391), ("c", 9)]), texts(&[("a", 1), ("c", 1)]), || Axis::Unordered);
        assert_eq!(p.real.iter().flatten().sum::<f64>(), 1.0, "nine hidden rows may not");
    }

    #[test]
    fn a_rare_value_of_the_holdout_is_not_named() {
        let p = plot(texts(&[("a", 100), ("rare <name>", 9), ("?", 3)]), texts(&[("a", 5)]), || Axis::Unordered);
        assert_eq!((p.labels.as_slice(), p.has_missing), (["a".to_owned()].as_slice(), false));
        let p = plot(texts(&[("a", 100), ("?", 30)]), texts(&[("a", 5)]), || Axis::Unordered);
        assert_eq!((p.labels.as_slice(), p.has_missing), (["a".to_owned(), "missing".to_owned()].as_slice(), true));
    }

    #[test]
    fn cells_count_patients_and_not_rows() {
        let values = || texts(&[("a", 30), ("b", 30)]);
        let unit = (0..60).map(|row| if row < 30 { row / 3 } else { 10 + row / 4 }).collect();
        let (real, synthetic) = (frame(vec![("c", values())], Some(unit)), frame(vec![("c", values())], None));
        let p = marginal_plots(&real, &synthetic, |_| Some(Axis::Unordered)).remove(0);
        assert!(p.real[0].is_some(), "ten patients with three rows each");
        assert_eq!(p.real[1], None, "nine patients, some thirty rows");
    }

    #[test]
    fn the_commonest_twelve_have_names() {
        let names: Vec<String> = (0..40).map(|i| format!("c{i:02}")).collect();
        let counts: Vec<(&str, usize)> = names.iter().enumerate().map(|(i, n)| (n.as_str(), 10 + i)).collect();
        let p = plot(texts(&counts), texts(&counts), || Axis::Unordered);
        assert_eq!(p.labels.len(), MAX_CATEGORIES + 1);
        assert_eq!((p.labels[0].as_str(), p.labels[12].as_str()), ("c39", "all other values"));
        assert!((p.synthetic.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn ordered_categories_keep_their_order() {
        let order = || Axis::Ordered(["low", "mid", "high"].map(str::to_owned).to_vec());
        let p = plot(texts(&[("high", 50), ("low", 20)]), texts(&[("mid", 5), ("high", 5)]), order);
        assert_eq!(p.labels, ["low", "mid", "high"]);
        assert_eq!(p.real, [Some(2.0 / 7.0), None, Some(5.0 / 7.0)]);
    }

    #[test]
    fn bins_lie_on_the_public_range() {
        let real: Vec<f64> = (0..100).map(|i| f64::from(i % 5)).chain([977.0, f64::NAN]).collect();
        let p = plot(Values::Number(real), Values::Number(vec![1.0, f64::NAN]), || whole(0.0, 99.0));
        assert_eq!(p.labels.len(), 21);
        assert_eq!((p.labels[0].as_str(), p.labels[19].as_str()), ("0 to 4", "95 to 99"));
        assert_eq!(p.range, Some(["0".to_owned(), "99".to_owned()]));
        assert_eq!(p.real[0], Some(1.0));
        assert_eq!(p.real[19], None, "one row beyond the range");
        assert_eq!((p.labels[20].as_str(), p.real[20], p.synthetic[20]), ("missing", None, 0.5));
        assert!(p.labels.iter().all(|label| !label.contains("977")));
    }

    #[test]
    fn few_whole_numbers_have_a_bin_each() {
        let p = plot(Values::Number(vec![1.0; 20]), Values::Number(vec![3.0]), || whole(1.0, 3.0));
        assert_eq!(p.labels, ["1", "2", "3"]);
        let p = plot(Values::Number(vec![1.0; 20]), Values::Number(vec![1.0]), || whole(1.0, 1.0));
        assert_eq!(p.labels, ["1"]);
        let real = || Axis::Numbers { min: 0.5, max: 0.5, whole: false, text: Box::new(|x| x.to_string()) };
        assert_eq!(plot(Values::Number(vec![0.5; 20]), Values::Number(vec![0.5]), real).labels, ["0.5"]);
        let broken = || Axis::Numbers { min: 1.0, max: f64::NAN, whole: false, text: Box::new(|x| x.to_string()) };
        let frame = frame(vec![("c", Values::Number(vec![1.0]))], None);
        assert!(marginal_plots(&frame, &frame, |_| Some(broken())).is_empty());
    }

    #[test]
    fn an_empty_table_has_plots_without_figures() {
        let p = plot(Values::Number(vec![]), Values::Number(vec![]), || whole(0.0, 3.0));
        assert_eq!((p.real, p.synthetic), (vec![None; 4], vec![0.0; 4]));
    }
}
