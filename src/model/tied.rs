//! The law of a row given what it is told from: a mixture, and columns that are tied to one that is known.
//!
//! Classes tell how all columns hang together, and there are too few of them to tell at once how each column of a row
//! follows from the same one of the row before. So a column may be tied to a known one: in every class each of its cells is
//! so many times likelier than in the class alone, by a factor for each cell of the known column. The factors are those
//! with which the pair of the two has the law that was measured (iterative proportional fitting, Deming and Stephan 1940),
//! as far as that stands out of its noise.

use super::Mixture;
use super::mixture::{Factors, Measured, Posterior};
use crate::encode::Layout;
use crate::error::{Error, Result};
use crate::nn::{Matrix, Tensor};
use ndarray::{Array2, ArrayView1, s};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// Rounds of the fit of a tie's factors.
const ROUNDS: usize = 20;
/// Standard deviations of a squared distance made of noise that a distance must be above what is expected of it.
const DEVIATIONS: f64 = 3.0;
/// Nats that a tie must tell of its column.
const LEAST_GAIN: f32 = 1e-4;
/// No cell gets less than this part of what the classes give it.
const LEAST_PART: f32 = 1e-3;
/// Factors of what is stored are at most this, and at least one by this.
const MOST: f32 = 1e6;
const TIE: &str = "tie";

/// A mixture with ties.
#[derive(Clone, Debug)]
pub struct Tied {
    mixture: Mixture,
    /// Of each column, if it is tied.
    ties: Vec<Option<Tie>>,
}

#[derive(Clone, Debug)]
struct Tie {
    /// The known column.
    on: usize,
    /// Its cells by those of the tied column.
    factors: Array2<f32>,
    /// Its cells by classes: the sum of each class's probabilities times the factors.
    totals: Array2<f32>,
}

impl Tie {
    fn new(mixture: &Mixture, on: usize, of: usize, factors: Array2<f32>) -> Self {
        Self { on, totals: mixture.totals(of, &factors), factors }
    }
}

/// What is known of some rows.
#[derive(Clone, Debug, Default)]
pub struct Known {
    posterior: Posterior,
    /// The cells of what each is told from, and of what was observed since: rows by columns.
    codes: Vec<Option<u16>>,
}

impl Tied {
    /// A mixture without ties.
    pub fn untied(mixture: Mixture) -> Self {
        let ties = vec![None; mixture.width()];
        Self { mixture, ties }
    }

    /// Ties each of the first `drawn` columns to the one of the others that tells most of it beyond the classes, among the
    /// pairs that were measured.
    ///
    /// # Privacy
    /// Post-processing.
    pub fn fit(mixture: Mixture, measured: &Measured, drawn: usize) -> Self {
        let tie = |of: usize| {
            let pairs = measured.tables.iter().filter(|table| table.columns.len() == 2 && table.columns[0] == of);
            let candidates = pairs.filter(|table| table.columns[1] >= drawn).map(|table| {
                let on = table.columns[1];
                let own = mixture.pair(on, of);
                let released = Array2::from_shape_fn(own.dim(), |(i, x)| table.shares[x * own.nrows() + i]);
                let mut wanted = own.clone();
                for ((mut wanted, own), released) in
                    wanted.outer_iter_mut().zip(own.outer_iter()).zip(released.outer_iter())
                {
                    let kept = kept(own, released, table.noise_std);
                    let moved = own.iter().zip(released).map(|(m, r)| (m + kept * (r - m)).max(LEAST_PART * m));
                    wanted.iter_mut().zip(moved).for_each(|(w, moved)| *w = moved);
                    let scale = own.sum() / wanted.sum().max(f32::MIN_POSITIVE);
                    wanted.mapv_inplace(|w| w * scale);
                }
                let told = |(w, m): (&f32, &f32)| if *w > 0.0 { w * (w / m.max(f32::MIN_POSITIVE)).ln() } else { 0.0 };
                (wanted.iter().zip(&own).map(told).sum::<f32>(), on, wanted)
            });
            let best = candidates.max_by(|a, b| a.0.total_cmp(&b.0))?;
            let (gain, on, wanted) = best;
            (gain > LEAST_GAIN).then(|| Tie::new(&mixture, on, of, factors(&mixture, (on, of), &wanted)))
        };
        let ties = (0..mixture.width()).into_par_iter().map(|of| if of < drawn { tie(of) } else { None }).collect();
        Self { mixture, ties }
    }

    pub fn mixture(&self) -> &Mixture {
        &self.mixture
    }

    /// Forgets all about one row.
    pub fn start(&self, known: &mut Known) {
        self.start_rows(1, known);
    }

    /// Forgets all about so many rows.
    pub fn start_rows(&self, rows: usize, known: &mut Known) {
        self.mixture.start(rows, &mut known.posterior);
        known.codes.clear();
        known.codes.resize(rows * self.ties.len(), None);
    }

    /// As [`Tied::observe_row`], of one row.
    pub fn observe(&self, j: usize, code: u16, known: &mut Known) -> f32 {
        self.observe_row(0, j, code, known)
    }

    /// A column of a row has this cell: first all that the row is told from, then its own. Returns how likely that was. What
    /// was impossible is forgotten.
    pub fn observe_row(&self, r: usize, j: usize, code: u16, known: &mut Known) -> f32 {
        let Known { posterior, codes } = known;
        codes[r * self.ties.len() + j] = Some(code);
        match self.factors(r, j, codes) {
            None => self.mixture.observe(r, j, code, posterior),
            Some(factors) => {
                let one = [(usize::from(code), 1.0)];
                self.mixture.weigh(r, j, one.into_iter(), Some(factors), posterior)
            }
        }
    }

    /// A column has one of the cells that agree with what is known, each as far as it does.
    pub fn restrict(&self, j: usize, agreement: &[f32], known: &mut Known) {
        let agreeing = agreement.iter().copied().enumerate().filter(|(_, agreement)| *agreement > 0.0);
        let Known { posterior, codes } = known;
        self.mixture.weigh(0, j, agreeing, self.factors(0, j, codes), posterior);
    }

    /// Draws the class of the row.
    pub fn draw_class(&self, known: &Known, rng: &mut ChaCha8Rng) -> usize {
        self.mixture.draw_class(0, &known.posterior, rng)
    }

    /// Draws a cell of a column in a class, among those that agree, where some do.
    pub fn draw_code(
        &self,
        class: usize,
        j: usize,
        agreement: Option<&[f32]>,
        known: &Known,
        rng: &mut ChaCha8Rng,
    ) -> u16 {
        match (self.factors(0, j, &known.codes), agreement) {
            (None, agreement) => self.mixture.draw_code(class, j, agreement, rng),
            (Some(factors), agreement) => {
                let weight = |(x, factor): (usize, &f32)| factor * agreement.map_or(1.0, |agreement| agreement[x]);
                let weights: Vec<f32> = factors.cells.iter().enumerate().map(weight).collect();
                self.mixture.draw_code(class, j, Some(&weights), rng)
            }
        }
    }

    /// The probabilities of the cells of a column, one row a row, given what is known of each.
    pub fn shares(&self, j: usize, known: &mut Known, shares: &mut Matrix) {
        let Known { posterior, codes } = known;
        self.mixture.shares(j, |r| self.factors(r, j, codes), posterior, shares);
    }

    fn factors(&self, r: usize, j: usize, codes: &[Option<u16>]) -> Option<Factors<'_>> {
        let tie = self.ties[j].as_ref()?;
        let cell = usize::from(codes[r * self.ties.len() + tie.on]?);
        Some(Factors { cells: tie.factors.row(cell), totals: tie.totals.row(cell) })
    }

    /// The weights.
    pub fn tensors(&self) -> Vec<Tensor> {
        use super::Generator;
        let of_tie = |(of, tie): (usize, &Option<Tie>)| {
            let Tie { on, factors, .. } = tie.as_ref()?;
            let shape = vec![factors.nrows(), factors.ncols()];
            Some((format!("{TIE}.{of}.{on}"), shape, factors.iter().copied().collect()))
        };
        self.mixture.tensors().into_iter().chain(self.ties.iter().enumerate().filter_map(of_tie)).collect()
    }

    /// Reads what [`Tied::tensors`] wrote, of which the first `drawn` columns are drawn.
    ///
    /// # Errors
    /// As [`Mixture::from_tensors`]; a tie of columns that are none, or whose factors are no positive numbers.
    pub fn from_tensors(layout: &Layout, drawn: usize, tensors: &[Tensor]) -> Result<Self> {
        let mut tied = Self::untied(Mixture::from_tensors(layout, tensors)?);
        for (name, shape, values) in tensors {
            let Some(places) = name.strip_prefix(&format!("{TIE}.")) else { continue };
            let places = places.split_once('.').and_then(|(of, on)| Some((of.parse().ok()?, on.parse().ok()?)));
            let places = places.filter(|&(of, on)| of < drawn && (drawn..layout.width()).contains(&on));
            let fits = |&(of, on): &(usize, usize)| *shape == [layout.cells[on], layout.cells[of]];
            let is_factor = |factor: &f32| (1.0 / MOST..=MOST).contains(factor);
            let tie = places.filter(fits).filter(|_| values.iter().all(is_factor)).and_then(|(of, on)| {
                let factors = Array2::from_shape_vec((shape[0], shape[1]), values.clone()).ok()?;
                Some((of, Tie::new(&tied.mixture, on, of, factors)))
            });
            let (of, tie) = tie.ok_or_else(|| Error::bad_input("the tensors of the ties do not fit the columns"))?;
            tied.ties[of] = Some(tie);
        }
        Ok(tied)
    }
}

/// The part of the way from the classes' shares to the released ones that is not noise: none where their squared distance
/// is one that noise alone often makes.
fn kept(own: ArrayView1<f32>, released: ArrayView1<f32>, noise_std: f32) -> f32 {
    let distance: f64 = own.iter().zip(released).map(|(m, r)| f64::from(m - r).powi(2)).sum();
    let cells = own.len() as f64;
    let expected = (cells + DEVIATIONS * (2.0 * cells).sqrt()) * f64::from(noise_std).powi(2);
    (1.0 - expected / distance.max(f64::MIN_POSITIVE)).max(0.0) as f32
}

/// The factors with which columns `on` and `of` have this law.
fn factors(mixture: &Mixture, (on, of): (usize, usize), wanted: &Array2<f32>) -> Array2<f32> {
    let (known, own) = (mixture.weighed(on), mixture.block(of));
    let mut factors = Array2::ones(wanted.dim());
    for i in 0..wanted.nrows() {
        let mut row = factors.row_mut(i);
        for _ in 0..ROUNDS {
            let mut law = vec![0.0f32; wanted.ncols()];
            for (class, weights) in own.outer_iter().enumerate() {
                let total = class_total(&weights, &row.view());
                if total > 0.0 {
                    let scale = known[[class, i]] / total;
                    law.iter_mut().zip(weights).zip(&row).for_each(|((law, p), f)| *law += scale * p * f);
                }
            }
            for ((factor, wanted), law) in row.iter_mut().zip(wanted.slice(s![i, ..])).zip(law) {
                if *wanted > 0.0 && law > 0.0 {
                    *factor = (*factor * wanted / law).clamp(1.0 / MOST, MOST);
                }
            }
        }
    }
    factors
}

fn class_total(weights: &ArrayView1<f32>, factors: &ArrayView1<f32>) -> f32 {
    weights.iter().zip(factors).map(|(p, f)| p * f).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Marginals, MeasuredTable};
    use rand::{Rng, SeedableRng};

    const CELLS: [usize; 3] = [3, 4, 2];

    /// Three classes; the first column is drawn, the others are known.
    fn mixture() -> Mixture {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut probabilities = Vec::new();
        for cells in [CELLS, CELLS, CELLS].concat() {
            let weights: Vec<f32> = (0..cells).map(|_| rng.random_range(0.1f32..1.0)).collect();
            probabilities.extend(weights.iter().map(|w| w / weights.iter().sum::<f32>()));
        }
        let tensors = [
            ("mixture.probabilities".to_owned(), vec![3, 9], probabilities),
            ("mixture.weights".to_owned(), vec![1, 3], vec![0.5, 0.3, 0.2]),
        ];
        Mixture::from_tensors(&layout(), &tensors).unwrap()
    }

    fn layout() -> Layout {
        Layout { cells: CELLS.to_vec() }
    }

    /// Released laws of the first column with each of the others.
    fn measured(shares: [Vec<f32>; 2], noise_std: f32) -> Measured {
        let tables =
            shares.into_iter().zip(1..).map(|(shares, on)| MeasuredTable { columns: vec![0, on], shares, noise_std });
        Measured {
            layout: layout(),
            marginals: Marginals::from_noisy(&layout(), &[1.0; 9]).unwrap(),
            marginals_noise_std: vec![0.0; 9],
            tables: tables.collect(),
        }
    }

    /// The classes' own law of the first column and another one.
    fn own(on: usize) -> Vec<f32> {
        mixture().pair(0, on).iter().copied().collect()
    }

    /// A law with most of the shares where both columns have the same cell.
    fn alike() -> Vec<f32> {
        (0..3).flat_map(|x| (0..4).map(move |i| if x == i { 0.22 } else { 0.04 })).collect()
    }

    fn tied() -> Tied {
        Tied::fit(mixture(), &measured([alike(), own(2)], 1e-5), 1)
    }

    #[test]
    fn the_measured_law_is_that_of_the_tie() {
        let (tied, mut known) = (tied(), Known::default());
        for i in 0..4u16 {
            let alone: f32 = (0..3).map(|x| own(1)[x * 4 + usize::from(i)]).sum();
            let column: Vec<f32> = (0..3).map(|x| alike()[x * 4 + usize::from(i)]).collect();
            for x in 0..3u16 {
                tied.start(&mut known);
                assert!((tied.observe(1, i, &mut known) - alone).abs() < 1e-5);
                let told = column[usize::from(x)] / column.iter().sum::<f32>();
                assert!((tied.observe(0, x, &mut known) - told).abs() < 1e-4, "{i} {x}");
            }
            // Two of the cells together, and draws among them.
            tied.start(&mut known);
            tied.observe(1, i, &mut known);
            let agreement = [1.0, 0.0, 1.0];
            let mut rng = ChaCha8Rng::seed_from_u64(u64::from(i));
            tied.restrict(0, &agreement, &mut known);
            let firsts = (0..20_000).filter(|_| {
                let class = tied.draw_class(&known, &mut rng);
                tied.draw_code(class, 0, Some(&agreement), &known, &mut rng) == 0
            });
            let (share, told) = (firsts.count() as f32 / 20_000.0, column[0] / (column[0] + column[2]));
            // Five standard deviations.
            assert!((share - told).abs() < 0.018, "{share} {told}");
        }
    }

    #[test]
    fn what_is_not_known_ties_nothing() {
        let (tied, mut known) = (tied(), Known::default());
        tied.start(&mut known);
        let first = tied.observe(0, 0, &mut known);
        let alone: f32 = own(1)[..4].iter().sum();
        assert!((first - alone).abs() < 1e-5);
    }

    /// Twenty laws that are the classes' own but for their noise. The squared distance of a row of three cells has a chi-square
    /// law of three degrees, which is three standard deviations above its mean in 1.6 % of rows, so that a law of six rows has
    /// one in 9 %, and more than three of twenty laws do with 10 % of seeds at most. The seed is fixed.
    #[test]
    fn noise_ties_nothing() {
        let mut rng = ChaCha8Rng::seed_from_u64(8);
        let noise = rand_distr::Normal::new(0.0f32, 0.01).unwrap();
        let tied = (0..20).filter(|_| {
            let mut noisy = |shares: Vec<f32>| shares.into_iter().map(|s| s + rng.sample(noise)).collect();
            let measured = measured([noisy(own(1)), noisy(own(2))], 0.01);
            Tied::fit(mixture(), &measured, 1).ties[0].is_some()
        });
        assert!(tied.count() <= 3);
    }

    #[test]
    fn what_is_stored_is_read_back_or_refused() {
        let (tied, mut known, mut again) = (tied(), Known::default(), Known::default());
        let tensors = tied.tensors();
        assert_eq!(tensors[2].0, "tie.0.1");
        let read = Tied::from_tensors(&layout(), 1, &tensors).unwrap();
        tied.start(&mut known);
        read.start(&mut again);
        tied.observe(1, 2, &mut known);
        read.observe(1, 2, &mut again);
        assert_eq!(tied.observe(0, 1, &mut known), read.observe(0, 1, &mut again));
        let stored = |name: &str, shape: [usize; 2], value: f32| {
            let tie = (name.to_owned(), shape.to_vec(), vec![value; shape[0] * shape[1]]);
            Tied::from_tensors(&layout(), 1, &[tensors[0].clone(), tensors[1].clone(), tie])
        };
        assert!(stored("tie.0.2", [2, 3], 1.0).is_ok());
        for (name, shape, value) in [
            ("tie.1.2", [2, 4], 1.0),
            ("tie.0.0", [3, 3], 1.0),
            ("tie.0.9", [2, 3], 1.0),
            ("tie.x", [2, 3], 1.0),
            ("tie.0.2", [3, 2], 1.0),
            ("tie.0.2", [2, 3], -1.0),
            ("tie.0.2", [2, 3], f32::NAN),
        ] {
            assert!(stored(name, shape, value).is_err(), "{name} {shape:?} {value}");
        }
    }
}
