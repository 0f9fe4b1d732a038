//! Measuring: noisy one-way counts of every column, bins included.
//!
//! A column of labels takes one histogram. A numeric column starts from equal
//! cells of its public range and splits the heavy ones again and again, so that
//! bins follow the mass and a wild outlier cannot flatten the column (the idea
//! of PrivTree: Zhang, Xiao and Xie 2016, arXiv:1601.03229). Each round is one
//! planned histogram over a partition of the column; all rounds are averaged
//! where they overlap. Then noise is told from persons ([`super::tails`]).
//!
//! Equal cells of a wide range are too wide for what lies near zero, and zero itself is a value that many have: a cost, a
//! count. So zero, or the end of the range that is nearest to it, has a cell of its own, and cells grow from there.

use super::tails::settle;
use super::units::Total;
use super::witness::{CellsOf, Witness};
use crate::encode::{Codec, Domain, Grid, GridColumn, Leaf, ModelColumn, TableDomain};
use crate::error::Result;
use crate::ingest::MISSING;
use synthward_privacy::Sensitive;
use synthward_privacy::plan::{Mechanism, Plan, Request, Share};

/// Cells of the first round.
const BASE_CELLS: u32 = 128;
/// Where cells grow, each is as wide as this part of its distance from where they begin.
const GROWTH: u32 = 8;
/// Where a column is known to grow from somewhere, there are no other cells, which are as wide as this part ...
const SOLE_GROWTH: u32 = 4;
/// ... and this many splitting rounds are enough.
const GROWING_ROUNDS: u32 = 3;
/// A heavy cell is split into so many.
const BRANCHES: u32 = 8;
/// Splitting rounds, at most.
const MAX_ROUNDS: u32 = 5;
/// A cell is split when it holds more than this share of all units ...
const HEAVY_SHARE: f64 = 0.01;
/// ... and more than so many noise standard deviations.
const HEAVY_NOISE: f64 = 16.0;

/// Standard deviation of noise, in units, below which the fit takes a count for as good as exact. Which patients are in
/// the table is chance too and moves counts by more; and what divides by the noise stays finite where there is none.
pub(super) const LEAST_NOISE_STD: f64 = 0.2;

/// Variance of counts that carry no weight.
const NO_WEIGHT: f64 = 1e18;

/// The noise of a mechanism as the fit weighs it: see [`LEAST_NOISE_STD`].
pub(super) fn weighed_noise_std(noise_std: f64) -> f64 {
    noise_std.max(LEAST_NOISE_STD)
}

/// Splitting rounds of each column after the first one: a public number, taken
/// before anything is discovered. A column that needs fewer is measured again
/// in the rounds that are left.
pub fn rounds(domain: &TableDomain) -> Vec<u32> {
    domain.columns.iter().map(rounds_of).collect()
}

/// One planned histogram a round and column, named `column` or `column/round` after what `scope` says.
pub fn requests(scope: &str, domain: &TableDomain, share: f64) -> Vec<Request> {
    let names: Vec<String> =
        domain.columns.iter().flat_map(|c| (0..=rounds_of(c)).map(|r| name(scope, c, r))).collect();
    let weight = share / names.len().max(1) as f64;
    names
        .into_iter()
        .map(|name| Request { name, share: Share::Measure, weight, mechanism: Mechanism::Histogram })
        .collect()
}

/// What is known of a column once it is measured.
pub struct Column {
    pub codec: Codec,
    /// Variance of the noise in the count of each joint cell.
    pub variances: Vec<f64>,
}

/// Measures every column. `scope` and `rounds` are what [`requests`] and [`rounds`] said when the plan was
/// made; `units` is their declared or released number; a numeric column
/// gets at most `bins` joint cells. Returns the columns, and the number of units that all counts agree with.
///
/// # Privacy
/// Releases the planned histograms of [`requests`], nothing else.
#[allow(clippy::too_many_arguments)]
pub(super) fn measure<W: Witness>(
    plan: &mut Plan,
    scope: &str,
    grid: &Sensitive<Grid>,
    domain: &TableDomain,
    rounds: &[u32],
    units: f64,
    bins: usize,
    witness: &W,
) -> Result<(Vec<Column>, f64)> {
    let mut total = Total::new(units);
    let columns = domain
        .columns
        .iter()
        .zip(rounds)
        .enumerate()
        .map(|(index, (column, &rounds))| {
            let cells = grid.map_ref(|grid| grid.column(index)).transpose()?;
            let mut counter = Counter { plan, scope, index, cells, witness, total: &mut total };
            match &column.domain {
                Domain::Labels { .. } => {
                    let labels = column.domain.positions() as usize;
                    let cells = labels + usize::from(column.nullable);
                    let (counts, noise_std) =
                        counter.count(&name(scope, column, 0), cells, &|column, unit, into| {
                            into.extend(
                                column.of(unit).iter().map(|&p| if p == MISSING { labels } else { p as usize }),
                            );
                        })?;
                    let units = counter.total.get();
                    let codec = Codec::of_labels(&column.domain, column.nullable, &counts, units, noise_std);
                    let positions = (0..labels as u32).chain(column.nullable.then_some(MISSING));
                    Ok(Column::new(codec, positions.map(|position| (position, noise_std.powi(2)))))
                }
                Domain::Numbers { .. } => {
                    let (mut estimates, missing) = measure_numbers(&mut counter, column, rounds)?;
                    let mut missing = column.nullable.then_some(missing);
                    settle(&mut estimates, &mut missing, counter.total.get());
                    let variances = estimates.iter().map(|e| (e.leaf.first, e.variance));
                    let variances: Vec<(u32, f64)> =
                        variances.chain(missing.as_ref().map(|m| (MISSING, m.variance))).collect();
                    let leaves: Vec<Leaf> = estimates.into_iter().map(|e| e.leaf).collect();
                    let codec = Codec::of_leaves(&leaves, missing.map(|m| m.leaf.count), counter.total.get(), bins);
                    Ok(Column::new(codec, variances.into_iter()))
                }
            }
        })
        .collect::<Result<_>>()?;
    Ok((columns, total.get()))
}

impl Column {
    /// A column that is known from elsewhere: its own counts say nothing here.
    pub fn known(codec: Codec) -> Self {
        let variances = vec![NO_WEIGHT; codec.cells()];
        Self { codec, variances }
    }

    /// A column with the variances of counts, each given with a position of its cell.
    fn new(codec: Codec, of_positions: impl Iterator<Item = (u32, f64)>) -> Self {
        let mut variances = vec![0.0; codec.cells()];
        of_positions.for_each(|(position, variance)| variances[usize::from(codec.joint_code(position))] += variance);
        Self { codec, variances }
    }
}

fn name(scope: &str, column: &ModelColumn, round: u32) -> String {
    if round == 0 { format!("{scope}{}", column.name) } else { format!("{scope}{}/{round}", column.name) }
}

fn rounds_of(column: &ModelColumn) -> u32 {
    match column.domain {
        Domain::Labels { .. } => 0,
        Domain::Numbers { positions, .. } => {
            let mut width = positions.div_ceil(BASE_CELLS);
            let mut rounds = 0;
            while width > 1 && rounds < MAX_ROUNDS {
                width = width.div_ceil(BRANCHES);
                rounds += 1;
            }
            if column.grows_from.is_some() { rounds.min(GROWING_ROUNDS) } else { rounds }
        }
    }
}

/// A leaf and the variance of its estimate.
pub(super) struct Estimate {
    pub leaf: Leaf,
    pub variance: f64,
    /// Index among the leaves before the last split, or `None` when it was not split.
    pub parent: Option<usize>,
}

/// Runs of equal width, at most `parts`, that cover `first..=last`.
fn split(first: u32, last: u32, parts: u32) -> impl Iterator<Item = (u32, u32)> {
    let width = (last - first + 1).div_ceil(parts);
    (first..=last).step_by(width as usize).map(move |start| (start, last.min(start + (width - 1))))
}

/// Runs that cover `0..positions` and grow with the distance from `start`, by one part in `growth`.
fn growing(start: u32, positions: u32, growth: u32) -> Vec<(u32, u32)> {
    let ends = |most: u32| {
        let next = move |&far: &u32| (far < most).then(|| (far + 1 + far / growth).min(most));
        std::iter::successors(Some(0), next)
    };
    let below: Vec<u32> = ends(start).collect();
    let above: Vec<u32> = ends(positions - start).collect();
    let below = below.windows(2).rev().map(|w| (start - w[1], start - w[0] - 1));
    below.chain(above.windows(2).map(|w| (start + w[0], start + w[1] - 1))).collect()
}

/// The cells of the first round: single positions where there are few. Else equal cells, cut where cells that grow from the
/// position of zero begin, or the one nearest to it.
fn first_cells(column: &ModelColumn) -> Vec<(u32, u32)> {
    let positions = column.domain.positions();
    let equal = split(0, positions - 1, BASE_CELLS);
    if positions <= BASE_CELLS {
        return equal.collect();
    }
    if let Some(start) = column.grows_from {
        return growing(start, positions, SOLE_GROWTH);
    }
    let zero = column.domain.position_of_zero();
    let mut starts: Vec<u32> = equal.chain(growing(zero, positions, GROWTH)).map(|(first, _)| first).collect();
    starts.sort_unstable();
    starts.dedup();
    let ends = starts[1..].iter().copied().chain([positions]);
    starts.iter().zip(ends).map(|(&first, end)| (first, end - 1)).collect()
}

/// Takes planned histograms of a column, one after the other.
struct Counter<'a, W> {
    plan: &'a mut Plan,
    /// What the names of its histograms begin with.
    scope: &'a str,
    /// The column's index in the domain.
    index: usize,
    cells: Sensitive<GridColumn>,
    witness: &'a W,
    /// What all histograms so far say of the number of units.
    total: &'a mut Total,
}

impl<W: Witness> Counter<'_, W> {
    /// The noisy counts of the planned histogram `name`, and the noise in each as the fit weighs it.
    fn count(&mut self, name: &str, cells: usize, cells_of: CellsOf<'_, GridColumn>) -> Result<(Vec<f64>, f64)> {
        let histogram = self.plan.histogram(name)?;
        let noise_std = histogram.noise_std();
        let counts = histogram.release(&self.cells, GridColumn::units, cells, cells_of)?.into_inner();
        self.witness.counted_positions(self.index, &self.cells, noise_std, &counts, cells_of);
        self.total.add(&counts, weighed_noise_std(noise_std));
        Ok((counts, weighed_noise_std(noise_std)))
    }
}

fn measure_numbers<W: Witness>(
    counter: &mut Counter<'_, W>,
    column: &ModelColumn,
    rounds: u32,
) -> Result<(Vec<Estimate>, Estimate)> {
    let new =
        |first, last, parent| Estimate { leaf: Leaf { first, last, count: 0.0 }, variance: f64::INFINITY, parent };
    let mut leaves: Vec<Estimate> = first_cells(column).into_iter().map(|(a, b)| new(a, b, None)).collect();
    let mut parents: Vec<Estimate> = Vec::new();
    let mut missing = new(MISSING, MISSING, None);
    for round in 0..=rounds {
        let cells = leaves.len() + usize::from(column.nullable);
        let (counts, noise_std) =
            counter.count(&name(counter.scope, column, round), cells, &|column, unit, into| {
                into.extend(column.of(unit).iter().map(|&p| {
                    if p == MISSING { leaves.len() } else { leaves.partition_point(|e| e.leaf.first <= p) - 1 }
                }));
            })?;
        let variance = noise_std.powi(2);
        for (estimate, &count) in leaves.iter_mut().chain(column.nullable.then_some(&mut missing)).zip(&counts) {
            let known = 1.0 / estimate.variance;
            let fresh = 1.0 / variance;
            estimate.leaf.count = (estimate.leaf.count * known + count * fresh) / (known + fresh);
            estimate.variance = 1.0 / (known + fresh);
        }
        agree_with_parents(&mut leaves, &parents);
        if round < rounds {
            let units = counter.total.get();
            let heavy = |e: &Estimate| {
                e.leaf.count > (HEAVY_SHARE * units).max(HEAVY_NOISE * variance.sqrt()) && e.leaf.first < e.leaf.last
            };
            let mut next = Vec::with_capacity(leaves.len());
            let mut split_parents = Vec::new();
            for estimate in leaves {
                if heavy(&estimate) {
                    let parent = Some(split_parents.len());
                    next.extend(
                        split(estimate.leaf.first, estimate.leaf.last, BRANCHES).map(|(a, b)| new(a, b, parent)),
                    );
                    split_parents.push(estimate);
                } else {
                    next.push(Estimate { parent: None, ..estimate });
                }
            }
            (leaves, parents) = (next, split_parents);
        }
    }
    Ok((leaves, missing))
}

/// Shifts the children of each parent evenly so that their sum is the
/// inverse-variance average of the parent's estimate and their own sum.
fn agree_with_parents(leaves: &mut [Estimate], parents: &[Estimate]) {
    for (index, parent) in parents.iter().enumerate() {
        let mut children: Vec<&mut Estimate> = leaves.iter_mut().filter(|e| e.parent == Some(index)).collect();
        let sum: f64 = children.iter().map(|e| e.leaf.count).sum();
        let variance: f64 = children.iter().map(|e| e.variance).sum();
        let weight = (1.0 / parent.variance) / (1.0 / parent.variance + 1.0 / variance);
        let shift = weight * (parent.leaf.count - sum) / children.len() as f64;
        for child in &mut children {
            child.leaf.count += shift;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::witness::Unwatched;
    use super::*;
    use crate::encode::{MAX_BINS, UnitRows};
    use crate::ingest::{ColumnStore, Frame, FrameColumn, Values};
    use std::sync::Arc;
    use synthward_privacy::{Budget, PrivacyUnit};

    fn column(positions: u32) -> ModelColumn {
        ModelColumn {
            name: "x".into(),
            domain: Domain::Numbers { min: 0.0, step: 1.0, positions },
            nullable: true,
            grows_from: None,
        }
    }

    /// A table of one column, of a row a unit.
    fn grid(positions: &[u32], domain: &TableDomain) -> Sensitive<Grid> {
        let values = Values::Number(positions.iter().map(|&p| f64::from(p)).collect());
        let columns = vec![FrameColumn { name: "x".into(), values }];
        let table = ColumnStore::of(Frame { rows: positions.len(), columns, unit: None }).unwrap();
        let rows = Arc::new(UnitRows::new(&table, 1));
        Sensitive::new(Grid::new(table, rows, domain.clone()))
    }

    #[test]
    fn rounds_are_public_and_end_at_single_positions() {
        assert_eq!(rounds_of(&column(100)), 0);
        assert_eq!(rounds_of(&column(129)), 1);
        assert_eq!(rounds_of(&column(100_000)), 4);
        assert_eq!(rounds_of(&column(1 << 30)), MAX_ROUNDS);
        let runs: Vec<_> = split(5, 20, 8).collect();
        assert_eq!(runs.first(), Some(&(5, 6)));
        assert_eq!(runs.last(), Some(&(19, 20)));
    }

    #[test]
    fn growing_runs_cover_the_column_and_are_few() {
        for (start, positions) in [(0, 1_401), (0, 1 << 30), (500, 1_000), (1 << 29, 1 << 30), (129, 130)] {
            let runs = growing(start, positions, SOLE_GROWTH);
            assert!(
                runs.first().is_some_and(|run| run.0 == 0) && runs.last().is_some_and(|run| run.1 == positions - 1)
            );
            assert!(runs.windows(2).all(|w| w[0].1 + 1 == w[1].0) && runs.iter().all(|run| run.0 <= run.1));
            assert!(runs.len() < 200, "{}", runs.len());
            let width = |run: &&(u32, u32)| (run.1 - run.0 + 1, run.0.abs_diff(start).max(run.1.abs_diff(start)));
            assert!(runs.iter().all(|run| width(&run).0 <= width(&run).1 / SOLE_GROWTH + 1));
        }
    }

    /// One outlier at the end of the range, all else between 60 and 180: the
    /// bins must follow the mass (a table with blood pressure 16,020).
    #[test]
    fn an_outlier_does_not_flatten_the_column() {
        let mut positions: Vec<u32> = (0..20_000).map(|i| 60 + (i * 7919) % 121).collect();
        positions[0] = 16_020;
        let domain = TableDomain { columns: vec![column(16_021)], rows_column: None, max_rows_per_unit: 1 };
        let grid = grid(&positions, &domain);
        let mut plan =
            Plan::calibrate(PrivacyUnit::Row, Budget::new(1.0, 1e-6).unwrap(), requests("", &domain, 1.0)).unwrap();
        let (columns, _) =
            measure(&mut plan, "", &grid, &domain, &rounds(&domain), 20_000.0, MAX_BINS, &Unwatched).unwrap();
        let codec = &columns[0].codec;
        let distinct: std::collections::BTreeSet<u16> = (60..=180).map(|p| codec.joint_code(p)).collect();
        assert!(distinct.len() >= 20, "{} joint cells where the mass is", distinct.len());
        assert!(codec.fits(&domain.columns[0].domain, true));
    }

    /// Counts without noise are kept as they are, splitting and averaging included, with a variance that can be divided by.
    #[test]
    fn without_noise_counts_are_exact_and_weights_finite() {
        let positions: Vec<u32> = (0..6_000).map(|i| if i % 3 == 0 { 7 } else { 500 + i % 100 }).collect();
        let domain = TableDomain { columns: vec![column(1_000)], rows_column: None, max_rows_per_unit: 1 };
        let grid = grid(&positions, &domain);
        let mut plan = Plan::calibrate(PrivacyUnit::Row, Budget::unlimited(), requests("", &domain, 1.0)).unwrap();
        let (columns, _) =
            measure(&mut plan, "", &grid, &domain, &rounds(&domain), 6_000.0, MAX_BINS, &Unwatched).unwrap();
        let Column { codec, variances } = &columns[0];
        let spike = codec.marginal()[usize::from(codec.joint_code(7))];
        assert!((spike - 1.0 / 3.0).abs() < 1e-6, "{spike}");
        assert!(variances.iter().all(|v| v.is_finite() && *v > 0.0), "{variances:?}");
    }
}
