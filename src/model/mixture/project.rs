//! The last step of the fit: towards the released marginals, as far as their noise allows.

use ndarray::{Array2, ArrayView2, s};
use rayon::prelude::*;
use std::collections::BTreeMap;

use super::fit::softmax_backward;
use super::generate::Mixture;
use super::measured::{Measured, MeasuredTable};
use super::objective::{Objective, Workspace};
use crate::model::Marginals;
use crate::model::steps::{Fitted, most_steps};
use crate::nn::{Adam, AdamSettings, Matrix, gemm, softmax};

/// Steps of the optimiser.
const STEPS: usize = 200;
const LEARNING_RATE: f32 = 0.05;
const AVERAGE_DECAY: f32 = 0.9;
/// Trends of a column: see [`trends`].
const TRENDS: usize = 3;
/// A distance along a product of trends is believed from so many times the variance of its noise on.
const DOUBT: f64 = 1.0;
/// Probabilities below this start at it: a free logit that starts lower would never come back.
const LEAST_PROBABILITY: f32 = 1e-8;

/// Moves the classes of a mixture towards the released one- and two-way marginals, each shrunk towards the mixture's
/// own by what its noise alone would make of the distance (James and Stein 1961).
///
/// # Privacy
/// Post-processing.
pub(super) fn project(mixture: Mixture, measured: &Measured) -> Mixture {
    let shrunk = shrunk(&mixture, measured);
    let objective = Objective::new(&shrunk);
    let Mixture { offsets, mut probabilities, mut weights, .. } = mixture;
    let log = |p: &f32| p.max(LEAST_PROBABILITY).ln();
    let cells = probabilities.values().len();
    let mut parameters: Vec<f32> = probabilities.values().iter().chain(&weights).map(log).collect();
    let settings = AdamSettings { learning_rate: LEARNING_RATE, average_decay: AVERAGE_DECAY };
    let mut optimiser = Adam::new(settings, &parameters);
    let mut gradient = vec![0.0; parameters.len()];
    let mut workspace = Workspace::default();
    let classes = [0, weights.len()];
    let unfold = |parameters: &[f32], probabilities: &mut Matrix, weights: &mut [f32]| {
        probabilities.values_mut().copy_from_slice(&parameters[..cells]);
        softmax::probabilities(probabilities.values_mut(), &offsets);
        weights.copy_from_slice(&parameters[cells..]);
        softmax::probabilities(weights, &classes);
    };
    for _ in 0..most_steps(Fitted::Mixture, STEPS) {
        unfold(&parameters, &mut probabilities, &mut weights);
        objective.gradient(&probabilities, &weights, &mut workspace);
        softmax_backward(probabilities.values(), workspace.by_probability.values_mut(), &offsets);
        softmax_backward(&weights, &mut workspace.by_weight, &classes);
        gradient[..cells].copy_from_slice(workspace.by_probability.values());
        gradient[cells..].copy_from_slice(&workspace.by_weight);
        optimiser.step(&mut parameters, &gradient);
    }
    unfold(optimiser.average(), &mut probabilities, &mut weights);
    Mixture::new(offsets, probabilities, weights)
}

/// The one- and two-way marginals, each moved towards the mixture's.
fn shrunk(mixture: &Mixture, measured: &Measured) -> Measured {
    let one_way = mixture.one_way();
    let pairs = pairs(measured);
    let tables = pairs.par_iter().map(|table| {
        let own = mixture.pair(table.columns[0], table.columns[1]);
        let bases = [0, 1].map(|place| trends(&one_way[mixture.block_range(table.columns[place])]));
        let shares = toward_pair(own.as_slice().expect("row-major"), table, &bases);
        MeasuredTable { shares, ..table.clone() }
    });
    let mut shares = Vec::with_capacity(one_way.len());
    for block in mixture.offsets.windows(2) {
        let block = block[0]..block[1];
        shares.extend(toward(
            &one_way[block.clone()],
            &measured.marginals.probabilities()[block.clone()],
            &measured.marginals_noise_std[block],
        ));
    }
    let counts: Vec<f64> = shares.iter().map(|&s| f64::from(s)).collect();
    let marginals = Marginals::from_shares(&measured.layout, counts);
    Measured { tables: tables.collect(), marginals, ..measured.clone() }
}

/// The pairs of columns that were counted, alone or with a label: each the mean of what all tables say that have both, weighed by
/// their noise.
fn pairs(measured: &Measured) -> Vec<MeasuredTable> {
    let mut found: BTreeMap<[usize; 2], (Vec<f64>, f64)> = BTreeMap::new();
    let cells = &measured.layout.cells;
    for table in &measured.tables {
        let columns = &table.columns;
        for (i, j) in (0..columns.len()).flat_map(|i| (i + 1..columns.len()).map(move |j| (i, j))) {
            let (i, j) = if columns[i] < columns[j] { (i, j) } else { (j, i) };
            let (a, b) = (columns[i], columns[j]);
            let pair = cells[a] * cells[b];
            let precision = f64::from(table.noise_std).powi(-2) * pair as f64 / table.shares.len() as f64;
            let (sums, known) = found.entry([a, b]).or_insert_with(|| (vec![0.0; pair], 0.0));
            *known += precision;
            for (place, share) in table.shares.iter().enumerate() {
                let code = |which: usize| {
                    let inner: usize = columns[which + 1..].iter().map(|&c| cells[c]).product();
                    place / inner % cells[columns[which]]
                };
                sums[code(i) * cells[b] + code(j)] += precision * f64::from(*share);
            }
        }
    }
    let table = |(columns, (sums, precision)): ([usize; 2], (Vec<f64>, f64))| MeasuredTable {
        columns: columns.to_vec(),
        shares: sums.into_iter().map(|sum| (sum / precision) as f32).collect(),
        noise_std: precision.sqrt().recip() as f32,
    };
    found.into_iter().map(table).collect()
}

/// Directions in the cells of a column along which what hangs together changes slowly: powers of the rank, weighed by the
/// shares, and made orthonormal to each other and to the shares.
pub fn trends(shares: &[f32]) -> Vec<Vec<f64>> {
    let mut below = 0.0;
    let ranks: Vec<f64> = shares
        .iter()
        .map(|&share| {
            let rank = 2.0 * (below + f64::from(share) / 2.0) - 1.0;
            below += f64::from(share);
            rank
        })
        .collect();
    let mut found: Vec<Vec<f64>> = Vec::new();
    for power in 0..=TRENDS.min(shares.len() - 1) {
        let mut direction: Vec<f64> =
            ranks.iter().zip(shares).map(|(rank, &share)| rank.powi(power as i32) * f64::from(share)).collect();
        let length = norm(&direction);
        for other in &found {
            let common: f64 = other.iter().zip(&direction).map(|(a, b)| a * b).sum();
            direction.iter_mut().zip(other).for_each(|(x, o)| *x -= common * o);
        }
        let left = norm(&direction);
        // What is left of a direction that the others give is rounding.
        if left > 1e-6 * length {
            direction.iter_mut().for_each(|x| *x /= left);
            found.push(direction);
        }
    }
    found.drain(..found.len().min(1));
    found
}

fn norm(of: &[f64]) -> f64 {
    of.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// The pairs `own` moved towards those of a released table: along each product of two trends by what noise does not explain of
/// the distance along it, and by the same in all other directions together.
fn toward_pair(own: &[f32], table: &MeasuredTable, [of_rows, of_columns]: &[Vec<Vec<f64>>; 2]) -> Vec<f32> {
    let Some(width) = of_columns.first().map(Vec::len).filter(|_| !of_rows.is_empty()) else {
        return toward(own, &table.shares, &vec![table.noise_std; own.len()]);
    };
    let variance = f64::from(table.noise_std).powi(2);
    let mut left: Vec<f64> = table.shares.iter().zip(own).map(|(a, b)| f64::from(a - b)).collect();
    let mut shares: Vec<f64> = own.iter().map(|&share| f64::from(share)).collect();
    for row in of_rows {
        for column in of_columns {
            let along: f64 = left
                .chunks_exact(width)
                .zip(row)
                .map(|(left, r)| r * left.iter().zip(column).map(|(x, c)| x * c).sum::<f64>())
                .sum();
            let kept = (1.0 - DOUBT * variance / (along * along).max(f64::MIN_POSITIVE)).max(0.0);
            for (place, r) in row.iter().enumerate() {
                for (other, c) in column.iter().enumerate() {
                    left[place * width + other] -= along * r * c;
                    shares[place * width + other] += kept * along * r * c;
                }
            }
        }
    }
    let rest = (own.len() - of_rows.len() * of_columns.len()) as f64;
    let distance: f64 = left.iter().map(|x| x * x).sum();
    let kept = (1.0 - rest * variance / distance.max(f64::MIN_POSITIVE)).max(0.0);
    shares.iter().zip(&left).map(|(share, left)| (share + kept * left) as f32).collect()
}

/// `own` moved towards `released` by the part of their squared distance that noise does not explain.
pub(super) fn toward(own: &[f32], released: &[f32], noise_std: &[f32]) -> Vec<f32> {
    let distance: f64 = own.iter().zip(released).map(|(a, b)| f64::from(a - b).powi(2)).sum();
    let expected: f64 = noise_std.iter().map(|std| f64::from(*std).powi(2)).sum();
    let kept = (1.0 - expected / distance.max(f64::MIN_POSITIVE)).max(0.0) as f32;
    own.iter().zip(released).map(|(a, b)| a + kept * (b - a)).collect()
}

impl Mixture {
    /// The shares of each cell.
    fn one_way(&self) -> Vec<f32> {
        let mut shares = vec![0.0; self.probabilities.columns()];
        for (k, w) in self.weights.iter().enumerate() {
            shares.iter_mut().zip(self.probabilities.row(k)).for_each(|(s, p)| *s += w * p);
        }
        shares
    }

    fn block_range(&self, j: usize) -> std::ops::Range<usize> {
        self.offsets[j]..self.offsets[j + 1]
    }

    /// The distributions of a column: classes by cells.
    pub(in crate::model) fn block(&self, j: usize) -> ArrayView2<'_, f32> {
        self.probabilities.view().slice_move(s![.., self.offsets[j]..self.offsets[j + 1]])
    }

    /// The same, each times the weight of its class.
    pub(in crate::model) fn weighed(&self, j: usize) -> Array2<f32> {
        let mut weighed = self.block(j).to_owned();
        weighed.outer_iter_mut().zip(&self.weights).for_each(|(mut row, w)| row *= *w);
        weighed
    }

    /// The shares of each pair of cells of two columns.
    pub(in crate::model) fn pair(&self, a: usize, b: usize) -> Array2<f32> {
        let weighed = self.weighed(b);
        let mut shares = Array2::zeros((self.block(a).ncols(), weighed.ncols()));
        gemm(self.block(a).reversed_axes(), weighed.view(), 0.0, shares.view_mut());
        shares
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::Layout;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use rand_distr::StandardNormal;

    const CELLS: usize = 32;

    /// That two columns go up together is lost in the noise of a thousand cells, but not in that of its own direction.
    #[test]
    fn a_slope_stands_out_where_no_cell_does() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let even = vec![1.0 / CELLS as f32; CELLS];
        let bases = [trends(&even), trends(&even)];
        assert_eq!(bases[0].len(), TRENDS);
        let slope = |of: &[f32]| -> f64 {
            let rows = of.chunks_exact(CELLS).zip(&bases[0][0]);
            rows.map(|(row, r)| r * row.iter().zip(&bases[1][0]).map(|(x, c)| f64::from(*x) * c).sum::<f64>()).sum()
        };
        let own = vec![1.0 / (CELLS * CELLS) as f32; CELLS * CELLS];
        const NOISE_STD: f32 = 1e-3;
        let shares: Vec<f32> = (0..CELLS * CELLS)
            .map(|cell| {
                let along = 10.0 * bases[0][0][cell / CELLS] * bases[1][0][cell % CELLS];
                own[cell] + NOISE_STD * (along as f32 + rng.sample::<f32, _>(StandardNormal))
            })
            .collect();
        let moved = |to: &[f32]| slope(to) / f64::from(NOISE_STD);
        let table = MeasuredTable { columns: vec![0, 1], shares, noise_std: NOISE_STD };
        assert!((8.0..12.0).contains(&moved(&toward_pair(&own, &table, &bases))));
        assert!(moved(&toward(&own, &table.shares, &vec![NOISE_STD; own.len()])) < 3.0);
    }

    /// A pair that was counted alone and with a label is the mean of both, and what a label has with each column is known, too.
    #[test]
    fn all_tables_that_have_a_pair_tell_it() {
        let layout = Layout { cells: vec![2, 2, 2] };
        let table = |columns: &[usize], shares: &[f32]| MeasuredTable {
            columns: columns.into(),
            shares: shares.into(),
            noise_std: 0.1,
        };
        // The label is the first column; the last one's code runs fastest.
        let measured = Measured {
            marginals: Marginals::from_shares(&layout, vec![0.5; 6]),
            marginals_noise_std: vec![0.1; 6],
            tables: vec![
                table(&[1, 2], &[0.3, 0.0, 0.0, 0.0]),
                table(&[1, 2, 0], &[0.4, 0.2, 0.0, 0.0, 0.1, 0.0, 0.0, 0.3]),
            ],
            layout,
        };
        let found = pairs(&measured);
        let columns: Vec<&[usize]> = found.iter().map(|table| &table.columns[..]).collect();
        assert_eq!(columns, [&[0, 1][..], &[0, 2], &[1, 2]]);
        let near = |found: &[f32], shares: [f32; 4]| found.iter().zip(shares).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(near(&found[0].shares, [0.4, 0.1, 0.2, 0.3]) && near(&found[1].shares, [0.5, 0.0, 0.2, 0.3]));
        // Two cells of the label to one of the pair: half as sure.
        assert!(near(&found[2].shares, [(2.0 * 0.3 + 0.6) / 3.0, 0.0, 0.1 / 3.0, 0.3 / 3.0]), "{:?}", found[2].shares);
        assert!((found[2].noise_std - 0.1 / 1.5f32.sqrt()).abs() < 1e-6);
    }
}
