//! The clipped sum against an oracle that knows none of its tricks: one unit at a time, one row at a time, every
//! gradient entry formed and summed in `f64`.

use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::nn::{Activation, Mlp, MlpBuffers, Table, softmax};

/// Codes through an embedding and two dense layers to a softmax over the same codes: every layer type once.
struct Toy {
    table: Table,
    embedding: Embedding,
    mlp: Mlp,
    cells: Vec<usize>,
    /// First cell of each column, and the total.
    blocks: Vec<usize>,
    codes: Vec<u16>,
    offsets: Vec<usize>,
}

#[derive(Default)]
struct ToyBuffers {
    codes: Vec<u16>,
    mlp: MlpBuffers,
    slope: Matrix,
    gradient: Matrix,
}

const ACTIVATION: Activation = Activation::Silu;

impl Toy {
    fn new(cells: &[usize], hidden: [usize; 2], rows: &[usize], seed: u64) -> (Self, Vec<f32>) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut table = Table::default();
        let blocks = blocks(cells);
        let total = blocks[cells.len()];
        let embedding = Embedding::new(&mut table, "embedding", blocks.clone(), hidden[0]);
        let mlp = Mlp::new(&mut table, "mlp", &[hidden[0], hidden[1], total], ACTIVATION);
        let mut parameters = vec![0.0; table.len()];
        embedding.initialise(&mut parameters, 1.0, &mut rng);
        mlp.initialise(&mut parameters, 1.0, &mut rng);
        parameters.iter_mut().for_each(|p| *p += rng.random_range(-0.1..0.1));
        let offsets = std::iter::once(0).chain(rows.iter().scan(0, |sum, r| {
            *sum += r;
            Some(*sum)
        }));
        let offsets: Vec<usize> = offsets.collect();
        let count = offsets[rows.len()];
        let codes =
            (0..count).flat_map(|_| cells.iter().map(|&c| rng.random_range(0..c) as u16).collect::<Vec<_>>()).collect();
        (Self { table, embedding, mlp, cells: cells.to_vec(), blocks, codes, offsets }, parameters)
    }

    fn row(&self, r: usize) -> &[u16] {
        &self.codes[r * self.cells.len()..(r + 1) * self.cells.len()]
    }

    fn units(&self) -> Vec<u32> {
        (0..self.offsets.len() as u32 - 1).collect()
    }
}

fn blocks(cells: &[usize]) -> Vec<usize> {
    (0..=cells.len()).map(|j| cells[..j].iter().sum()).collect()
}

impl Network for Toy {
    type Buffers = ToyBuffers;

    fn rows(&self, unit: u32) -> usize {
        self.offsets[unit as usize + 1] - self.offsets[unit as usize]
    }

    fn backpropagate(&self, parameters: &[f32], units: &[u32], buffers: &mut ToyBuffers) {
        let ToyBuffers { codes, mlp, slope, gradient } = buffers;
        codes.clear();
        for &unit in units {
            (self.offsets[unit as usize]..self.offsets[unit as usize + 1]).for_each(|r| codes.extend(self.row(r)));
        }
        let rows = codes.len() / self.cells.len();
        mlp.input().reshape(rows, self.embedding.outputs());
        slope.reshape(rows, self.embedding.outputs());
        self.embedding.forward(parameters, codes, mlp.input());
        ACTIVATION.apply_with_slope(mlp.input().values_mut(), slope.values_mut());
        self.mlp.forward(parameters, mlp);
        softmax::cross_entropy_gradient(mlp.output().values_mut(), &self.blocks, codes);
        self.mlp.backward(parameters, mlp, Some(gradient));
        gradient.values_mut().iter_mut().zip(slope.values()).for_each(|(g, s)| *g *= s);
    }

    fn traces(&self, buffers: &mut ToyBuffers, visit: &mut dyn FnMut(Trace<'_>)) {
        visit(Trace::Embedding {
            layer: &self.embedding,
            codes: &buffers.codes,
            gradient: &mut buffers.gradient,
            units: None,
        });
        self.mlp.traces(&mut buffers.mlp, None, visit);
    }
}

/// Loss and full gradient of one row in `f64`, written out from the definitions.
fn oracle_row(toy: &Toy, parameters: &[f64], codes: &[u16], gradient: &mut [f64]) -> f64 {
    let blocks = blocks(&toy.cells);
    let at = |range: std::ops::Range<usize>| &parameters[range];
    let silu = |x: f64| x / (1.0 + (-x).exp());
    let slope = |x: f64| {
        let s = 1.0 / (1.0 + (-x).exp());
        s * (1.0 + x * (1.0 - s))
    };
    let (h1, h2, total) = (toy.embedding.outputs(), toy.mlp.layers()[0].outputs(), blocks[toy.cells.len()]);
    let hits: Vec<usize> = codes.iter().zip(&blocks).map(|(&c, b)| b + usize::from(c)).collect();
    let embedding = at(toy.embedding.weight.range());
    let x1: Vec<f64> = (0..h1)
        .map(|k| at(toy.embedding.bias.range())[k] + hits.iter().map(|h| embedding[h * h1 + k]).sum::<f64>())
        .collect();
    let a1: Vec<f64> = x1.iter().map(|&x| silu(x)).collect();
    let layers = toy.mlp.layers();
    let dense = |layer: &Dense, a: &[f64], outputs: usize| -> Vec<f64> {
        let (w, b) = (at(layer.weight.range()), at(layer.bias.range()));
        (0..outputs).map(|o| b[o] + a.iter().enumerate().map(|(i, a)| a * w[i * outputs + o]).sum::<f64>()).collect()
    };
    let x2 = dense(&layers[0], &a1, h2);
    let a2: Vec<f64> = x2.iter().map(|&x| silu(x)).collect();
    let logits = dense(&layers[1], &a2, total);
    let (mut loss, mut g3) = (0.0, vec![0.0; total]);
    for (block, &code) in blocks.windows(2).zip(codes) {
        let sum: f64 = logits[block[0]..block[1]].iter().map(|l| l.exp()).sum();
        loss += sum.ln() - logits[block[0] + usize::from(code)];
        (block[0]..block[1]).for_each(|k| g3[k] = logits[k].exp() / sum);
        g3[block[0] + usize::from(code)] -= 1.0;
    }
    let back = |layer: &Dense, g: &[f64], x: &[f64]| -> Vec<f64> {
        let w = at(layer.weight.range());
        let input = |(i, &x): (usize, &f64)| {
            slope(x) * g.iter().enumerate().map(|(o, g)| g * w[i * g_len(layer) + o]).sum::<f64>()
        };
        x.iter().enumerate().map(input).collect()
    };
    fn g_len(layer: &Dense) -> usize {
        layer.outputs()
    }
    let g2 = back(&layers[1], &g3, &x2);
    let g1 = back(&layers[0], &g2, &x1);
    for (layer, a, g) in [(&layers[0], &a1, &g2), (&layers[1], &a2, &g3)] {
        for (i, a) in a.iter().enumerate() {
            (0..g.len()).for_each(|o| gradient[layer.weight.range().start + i * g.len() + o] += a * g[o]);
        }
        (0..g.len()).for_each(|o| gradient[layer.bias.range().start + o] += g[o]);
    }
    for (k, g) in g1.iter().enumerate() {
        hits.iter().for_each(|h| gradient[toy.embedding.weight.range().start + h * h1 + k] += g);
        gradient[toy.embedding.bias.range().start + k] += g;
    }
    loss
}

/// What the oracle knows of a unit: the squared norm that it is clipped by, and the sum over its rows of one plus the norm
/// of the row's gradient. Where rows cancel, or a probability is subtracted from nearly one, `f32` cannot be better
/// than a rounding of the latter.
struct Truth {
    squared_norm: f64,
    magnitude: f64,
}

/// Every unit that has rows, and the clipped sum.
fn oracle(toy: &Toy, parameters: &[f32], units: &[u32], coefficient: &dyn Fn(f64) -> f32) -> (Vec<Truth>, Vec<f64>) {
    let parameters: Vec<f64> = parameters.iter().map(|&p| f64::from(p)).collect();
    let (mut truths, mut sum) = (Vec::new(), vec![0.0; parameters.len()]);
    let squared = |g: &[f64]| g.iter().map(|g| g * g).sum::<f64>();
    for &unit in units.iter().filter(|&&u| toy.rows(u) > 0) {
        let (mut gradient, mut magnitude, mut longest) = (vec![0.0; parameters.len()], 0.0, 0.0f64);
        for r in toy.offsets[unit as usize]..toy.offsets[unit as usize + 1] {
            let mut part = vec![0.0; parameters.len()];
            oracle_row(toy, &parameters, toy.row(r), &mut part);
            magnitude += 1.0 + squared(&part).sqrt();
            longest = longest.max(squared(&part));
            gradient.iter_mut().zip(&part).for_each(|(g, p)| *g += p);
        }
        let by_itself = toy.rows(unit) > MOST_ROWS;
        let squared_norm = if by_itself { squared(&gradient) } else { squared(&gradient).max(longest) };
        truths.push(Truth { squared_norm, magnitude });
        let c = f64::from(coefficient(squared_norm));
        sum.iter_mut().zip(&gradient).for_each(|(s, g)| *s += c * g);
    }
    (truths, sum)
}

fn clip(bound: f64) -> impl Fn(f64) -> f32 + Sync {
    move |squared| (bound / squared.sqrt()).min(1.0) as f32
}

/// Squared norms as the clipped sum sees them, in no order, and its result.
fn fast(
    toy: &Toy,
    parameters: &[f32],
    units: &[u32],
    coefficient: &(dyn Fn(f64) -> f32 + Sync),
) -> (Vec<f64>, Vec<f32>) {
    let norms = std::sync::Mutex::new(Vec::new());
    let spy = |squared: f64| {
        norms.lock().unwrap().push(squared);
        coefficient(squared)
    };
    let mut out = vec![f32::NAN; parameters.len()];
    add_parts(clipped_sum(toy, parameters, units, &spy, &mut Workspace::default()), 0, &mut out);
    (norms.into_inner().unwrap(), out)
}

fn assert_agree(toy: &Toy, parameters: &[f32], units: &[u32], bound: f64) {
    let coefficient = clip(bound);
    let (truths, sum) = oracle(toy, parameters, units, &coefficient);
    for (&unit, truth) in units.iter().filter(|&&u| toy.rows(u) > 0).zip(&truths) {
        let (seen, _) = fast(toy, parameters, &[unit], &coefficient);
        let (wanted, seen) = (truth.squared_norm.sqrt(), seen[0].sqrt());
        let tolerance = 1e-5 * wanted + 1e-6 * truth.magnitude;
        assert!((wanted - seen).abs() <= tolerance, "norm {seen}, not {wanted}");
    }
    let scale = sum.iter().map(|s| s * s).sum::<f64>().sqrt();
    let coarse: f64 = truths.iter().map(|t| f64::from(coefficient(t.squared_norm)) * t.magnitude).sum();
    let (_, seen) = fast(toy, parameters, units, &coefficient);
    let error = sum.iter().zip(&seen).map(|(a, &b)| (a - f64::from(b)).powi(2)).sum::<f64>().sqrt();
    assert!(error <= 1e-5 * scale + 1e-6 * coarse, "clipped sum off by {error} of {scale}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_the_oracle(
        cells in prop::collection::vec(1usize..6, 1..5),
        hidden in [1usize..20, 1usize..20],
        rows in prop::collection::vec(prop_oneof![4 => 1usize..3, 1 => Just(0), 1 => 3usize..30], 1..30),
        seed in any::<u64>(),
        bound in 0.05f64..20.0,
    ) {
        let (toy, parameters) = Toy::new(&cells, hidden, &rows, seed);
        assert_agree(&toy, &parameters, &toy.units(), bound);
    }
}

#[test]
fn units_of_a_thousand_rows_and_many_tiles_agree_with_the_oracle() {
    let rows: Vec<usize> = [1000, 0, 1, 300, 2, 7].into_iter().chain(std::iter::repeat_n(3, 200)).collect();
    let (toy, parameters) = Toy::new(&[3, 5, 2], [12, 9], &rows, 5);
    assert_agree(&toy, &parameters, &toy.units(), 0.5);
}

#[test]
fn both_forms_of_the_norm_agree() {
    // Few rows take the Gram form, and more than `MOST_ROWS` are formed; of an embedding also few, where it is narrow.
    for (hidden, rows) in [([200, 150], 3), ([200, 150], 60), ([6, 5], 3)] {
        let (toy, parameters) = Toy::new(&[40, 30, 20], hidden, &[rows, 1, rows], 6);
        assert_agree(&toy, &parameters, &toy.units(), 1.0);
    }
}

#[test]
fn a_batch_may_be_empty_and_may_repeat_nothing_from_the_last() {
    let (toy, parameters) = Toy::new(&[3, 4], [5, 4], &[2, 1, 600, 3], 7);
    let mut workspace = Workspace::default();
    let (mut first, mut again) = (vec![0.0; parameters.len()], vec![0.0; parameters.len()]);
    let coefficient = clip(1.0);
    let mut run = |units: &[u32], out: &mut [f32]| {
        add_parts(clipped_sum(&toy, &parameters, units, &coefficient, &mut workspace), 0, out);
    };
    run(&[1, 3], &mut first);
    run(&[0, 1, 2, 3], &mut again);
    run(&[1, 3], &mut again);
    assert_eq!(first, again);
    run(&[], &mut again);
    assert!(again.iter().all(|&v| v == 0.0));
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let rows: Vec<usize> = (0..900).map(|u| u % 5).collect();
    let (toy, parameters) = Toy::new(&[3, 4, 6], [17, 11], &rows, 8);
    let at = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| fast(&toy, &parameters, &toy.units(), &clip(1.0)).1)
    };
    let one = at(1);
    assert!(one.iter().any(|&v| v != 0.0));
    assert_eq!(one, at(2));
    assert_eq!(one, at(5));
}

#[test]
fn a_unit_with_infinities_is_dropped_and_harms_no_other() {
    let (mut toy, mut parameters) = Toy::new(&[4, 3], [6, 5], &[1, 2, 1, 2], 9);
    toy.codes.iter_mut().for_each(|c| *c %= 3);
    let before = oracle(&toy, &parameters, &[0, 2, 3], &clip(0.7)).1;
    // Cell 3 of the first column poisons the rows that hit it, and only those.
    let poisoned = toy.embedding.weight.range().start + 3 * toy.embedding.outputs();
    for poison in [f32::INFINITY, f32::NAN, 3e38] {
        parameters[poisoned..poisoned + 6].fill(poison);
        toy.codes[2] = 3; // a row of unit 1
        let greedy = |squared: f64| if squared.is_finite() { clip(0.7)(squared) } else { 1.0 };
        let (_, sum) = fast(&toy, &parameters, &toy.units(), &greedy);
        let norm = sum.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
        assert!(norm <= 4.0 * 0.7, "sensitivity bound holds with {poison}");
        if !poison.is_finite() {
            for (a, &b) in before.iter().zip(&sum) {
                assert!((a - f64::from(b)).abs() < 1e-5);
            }
        }
    }
}

#[test]
fn the_oracle_gradient_is_the_derivative_of_its_loss() {
    let (toy, parameters) = Toy::new(&[3, 2, 4], [5, 6], &[1], 10);
    let parameters: Vec<f64> = parameters.iter().map(|&p| f64::from(p)).collect();
    let mut gradient = vec![0.0; parameters.len()];
    oracle_row(&toy, &parameters, toy.row(0), &mut gradient);
    assert_eq!(gradient.len(), toy.table.len());
    for i in 0..parameters.len() {
        let shifted = |by: f64| {
            let mut p = parameters.clone();
            p[i] += by;
            oracle_row(&toy, &p, toy.row(0), &mut vec![0.0; p.len()])
        };
        let difference = (shifted(1e-5) - shifted(-1e-5)) / 2e-5;
        assert!((difference - gradient[i]).abs() < 1e-8, "parameter {i}");
    }
}

#[test]
fn zero_gradients_give_zero() {
    let (toy, mut parameters) = Toy::new(&[1, 1], [3, 2], &[2, 1], 11);
    parameters.fill(0.0); // one cell a column: the loss is zero whatever the parameters
    let (norms, sum) = fast(&toy, &parameters, &toy.units(), &|n| if n == 0.0 { 1.0 } else { 0.0 });
    assert_eq!((norms, sum), (vec![0.0; 2], vec![0.0; parameters.len()]));
}

/// Bits of what each unit of a tile leaves behind, layer by layer.
fn left_behind<N: Network>(network: &N, parameters: &[f32], units: &[u32]) -> Vec<Vec<u32>> {
    let (mut buffers, mut left) = (N::Buffers::default(), vec![Vec::new(); units.len()]);
    let ends = units.iter().scan(0, |end, &unit| {
        *end += network.rows(unit);
        Some(*end)
    });
    let offsets: Vec<usize> = std::iter::once(0).chain(ends).collect();
    network.backpropagate(parameters, units, &mut buffers);
    network.traces(&mut buffers, &mut |trace| {
        let own = trace.units().unwrap_or(&offsets);
        let matrices = match trace {
            Trace::Dense { input, gradient, .. } => vec![input, gradient],
            Trace::Embedding { gradient, .. } => vec![gradient],
        };
        for (left, rows) in left.iter_mut().zip(own.windows(2)) {
            matrices
                .iter()
                .for_each(|matrix| left.extend(matrix.rows_of(rows[0]..rows[1]).iter().map(|x| x.to_bits())));
        }
    });
    left
}

/// Whoever shares a tile, and wherever a unit stands in it: tiles of one unit, of few, of one row less than a vector and one
/// more, and of all.
pub(crate) fn assert_units_do_not_see_each_other<N: Network>(network: &N, parameters: &[f32], units: u32) {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let alone: Vec<Vec<u32>> = (0..units).flat_map(|unit| left_behind(network, parameters, &[unit])).collect();
    assert!(alone.iter().any(|left| !left.is_empty()));
    for size in [2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65, 100, units as usize] {
        let mut tile: Vec<u32> = (0..units).collect();
        rand::seq::SliceRandom::shuffle(&mut tile[..], &mut rng);
        tile.truncate(size);
        for (&unit, left) in tile.iter().zip(left_behind(network, parameters, &tile)) {
            assert!(left == alone[unit as usize], "unit {unit} in a tile of {size} units");
        }
    }
}

#[test]
fn a_unit_leaves_the_same_bits_behind_whoever_shares_its_tile() {
    for (hidden, rows) in [([512, 128], [1; 120]), ([17, 3], [1; 120]), ([1, 40], std::array::from_fn(|unit| unit % 4))]
    {
        let (toy, parameters) = Toy::new(&[3, 4, 130], hidden, &rows, 12);
        assert_units_do_not_see_each_other(&toy, &parameters, 120);
    }
}

/// One dense layer that is given what rows leave behind.
struct Given {
    table: Table,
    layer: Dense,
    /// Rows of each unit: inputs and gradients.
    units: Vec<Vec<(Vec<f32>, Vec<f32>)>>,
}

impl Network for Given {
    type Buffers = (Matrix, Matrix);

    fn rows(&self, unit: u32) -> usize {
        self.units[unit as usize].len()
    }

    fn backpropagate(&self, _: &[f32], units: &[u32], (input, gradient): &mut (Matrix, Matrix)) {
        let rows: Vec<_> = units.iter().flat_map(|&unit| &self.units[unit as usize]).collect();
        input.reshape(rows.len(), self.layer.inputs());
        gradient.reshape(rows.len(), self.layer.outputs());
        for (r, (a, g)) in rows.into_iter().enumerate() {
            input.row_mut(r).copy_from_slice(a);
            gradient.row_mut(r).copy_from_slice(g);
        }
    }

    fn traces(&self, (input, gradient): &mut (Matrix, Matrix), visit: &mut dyn FnMut(Trace<'_>)) {
        visit(Trace::Dense { layer: &self.layer, input, gradient, units: None });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// What the trusted core takes for granted of a leaf: few terms, each of them and their sum no longer than the bound less
    /// 2^-13 of it, and a sum that is off by what its order allows. Terms are those that were summed, as real numbers.
    #[test]
    fn terms_are_short_and_sums_are_rounded_as_often_as_promised(
        units in prop::collection::vec((1usize..50, -6f32..6.0, any::<bool>()), 1..24),
        (inputs, outputs) in (1usize..24, 1usize..24),
        alike in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut table = Table::default();
        let layer = Dense::new(&mut table, "layer", inputs, outputs);
        let mut random = |n: usize| (0..n).map(|_| rng.random_range(-1.0f32..1.0)).collect::<Vec<f32>>();
        let same = (random(inputs), random(outputs));
        let unit = |&(rows, exponent, cancels): &(usize, f32, bool)| {
            let row = |r: usize| {
                let (a, mut g) = if alike { same.clone() } else { (random(inputs), random(outputs)) };
                let sign = if cancels && r % 2 == 1 { -1.0 } else { 1.0 };
                g.iter_mut().for_each(|g| *g *= sign * 10f32.powf(exponent));
                (a, g)
            };
            (0..rows).map(row).collect()
        };
        let units: Vec<_> = units.iter().map(unit).collect();
        let network = Given { table, layer, units };
        let all: Vec<u32> = (0..network.units.len() as u32).collect();
        // As the trusted core's, for a bound of 1.
        let coefficient = |squared: f64| (squared.sqrt().recip().min(1.0) * (1.0 - 2f64.powi(-12))) as f32;
        let mut sums = [vec![]];
        let parameters = vec![0.0; network.table.len()];
        let mut workspace = Workspace::default();
        clipped_sums(&network, &parameters, |_| &all, &coefficient, &mut workspace, &mut sums);
        let length = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
        let mut wanted = vec![0.0; parameters.len()];
        for rows in &network.units {
            let of_row = |(a, g): &(Vec<f32>, Vec<f32>), c: f32| {
                let ones = a.iter().chain(&[1.0]);
                ones.flat_map(|&a| g.iter().map(move |&g| f64::from(a) * f64::from(g * c))).collect::<Vec<f64>>()
            };
            let sum = |c: f32| rows.iter().fold(vec![0.0; parameters.len()], |mut sum: Vec<f64>, row| {
                sum.iter_mut().zip(of_row(row, c)).for_each(|(s, t)| *s += t);
                sum
            });
            let contribution = if rows.len() > MOST_ROWS {
                let (mut buffers, mut own) = (Default::default(), vec![0.0; parameters.len()]);
                let unit = network.units.iter().position(|unit| std::ptr::eq(unit, rows)).unwrap() as u32;
                network.backpropagate(&parameters, &[unit], &mut buffers);
                network.traces(&mut buffers, &mut |trace| trace.add_sum(true, &mut own));
                let own: Vec<f64> = own.into_iter().map(f64::from).collect();
                let c = f64::from(coefficient(length(&own).powi(2)));
                own.into_iter().map(|x| c * x).collect()
            } else {
                let longest = rows.iter().map(|row| length(&of_row(row, 1.0))).fold(length(&sum(1.0)), f64::max);
                let c = coefficient(longest.powi(2));
                for row in rows {
                    prop_assert!(length(&of_row(row, c)) <= 1.0 - 2f64.powi(-13));
                }
                sum(c)
            };
            prop_assert!(length(&contribution) <= 1.0 - 2f64.powi(-13), "{}", length(&contribution));
            wanted.iter_mut().zip(&contribution).for_each(|(w, c)| *w += c);
        }
        let off: Vec<f64> = wanted.iter().zip(&sums[0]).map(|(w, &s)| w - f64::from(s)).collect();
        let sum = |of: fn(usize) -> usize| network.units.iter().map(|rows| of(terms(rows.len()))).sum::<usize>();
        let (t, m, q) = (sum(|t| t), network.units.len(), sum(|t| t * t));
        let roundings = 0.5 * (t * m + q + 2 * t + 2 * m) as f64;
        // The terms are computed with norms of another order of summation: a coefficient may differ by 2^-24.
        prop_assert!(length(&off) <= 2f64.powi(-24) * (1.001 * roundings + network.units.len() as f64), "{}", length(&off));
    }
}
