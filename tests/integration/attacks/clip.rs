//! No unit moves a sum by more than its noise pays for, however many rows it has.
//!
//! Each test adds one unit to a table and compares what two mechanisms of the trusted core would release, had they no noise:
//! the one with the unit and the one without, under the same coins. They may differ by the clipping norm, 1, times
//! `SubsampledGaussian::sensitivity_margin`. The whole of it is driven: coins, leaves, forward and backward, norms, clip, sums,
//! grid.

use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use std::sync::Arc;
use synthward::encode::{CodeStore, Codes, Layout};
use synthward::model::vae::trajectory::{Above, Told};
use synthward::model::{
    Diffusion, DiffusionSettings, Marginals, Mixture, Tied, Trainable, Trajectory, Vae, VaeSettings,
};
use synthward::nn::{Dense, Embedding, Matrix, Network, Table, Trace, Workspace, clipped_sums, terms};
use synthward_privacy::mechanism::{ClippedSum, SubsampledGaussian};
use synthward_privacy::plan::{Mechanism, Plan, Request, Share};
use synthward_privacy::{Budget, PrivacyUnit, Sensitive};

/// How far the last of the units moves the sum, and how far it may.
struct Moved {
    by: f64,
    at_most: f64,
}

/// Compares the sums of all `units` and of all but the last. Everybody is drawn.
fn moved(network: &impl Network, parameters: &[f32], units: usize, expected_batch_size: f64) -> Moved {
    let mechanism = || {
        let mechanism = Mechanism::SubsampledGaussian { clipping_norm: 1.0, sampling_rate: 1.0, steps: 1 };
        let request = Request { name: "steps".into(), share: Share::Train, weight: 1.0, mechanism };
        let mut plan = Plan::calibrate(PrivacyUnit::Row, Budget::unlimited(), vec![request]).unwrap();
        plan.subsampled_gaussian("steps", expected_batch_size).unwrap()
    };
    let sum = |mechanism: &mut SubsampledGaussian, units: usize| {
        let (mut workspace, mut mean) = (Workspace::default(), vec![0.0; parameters.len()]);
        let sum = mechanism.accumulate(
            &Sensitive::new(units),
            |&units| units,
            |_, unit| unit.into(),
            |_, unit| terms(network.rows(unit)),
            |_, batch, clip, sums| {
                let coefficient = |squared_norm: f64| clip.coefficient(squared_norm);
                clipped_sums(network, parameters, |leaf| batch.leaf(leaf), &coefficient, &mut workspace, sums);
            },
        );
        let blocks = mean.par_chunks_mut(ClippedSum::BLOCK);
        sum.unwrap().release(parameters.len(), blocks, |out, mean| out.copy_from_slice(mean));
        mean.into_iter().map(|x| f64::from(x) * expected_batch_size).collect::<Vec<f64>>()
    };
    let (mut with, mut without) = (mechanism(), mechanism());
    without.share_coins(&with);
    let at_most = with.sensitivity_margin(parameters.len());
    let (with, without) = (sum(&mut with, units), sum(&mut without, units - 1));
    let length = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
    // What is released is in single precision.
    let printed = 2f64.powi(-24) * (length(&mut with.iter().copied()) + length(&mut without.iter().copied()));
    Moved { by: length(&mut with.iter().zip(&without).map(|(a, b)| a - b)), at_most: at_most + printed }
}

/// A dense layer with its bias, and an embedding with its own, that are given what rows leave behind.
struct Given {
    table: Table,
    dense: Dense,
    embedding: Embedding,
    units: Vec<Rows>,
}

/// Rows of a unit.
#[derive(Clone, Default)]
struct Rows {
    inputs: Vec<[f32; INPUTS]>,
    gradients: Vec<[f32; OUTPUTS]>,
    codes: Vec<u16>,
}

const INPUTS: usize = 6;
const OUTPUTS: usize = 4;
const CELLS: usize = 3;

#[derive(Default)]
struct Left {
    input: Matrix,
    gradient: Matrix,
    codes: Vec<u16>,
    of_codes: Matrix,
}

impl Given {
    fn new(units: Vec<Rows>) -> Self {
        let mut table = Table::default();
        let dense = Dense::new(&mut table, "dense", INPUTS, OUTPUTS);
        let embedding = Embedding::new(&mut table, "embedding", vec![0, CELLS], OUTPUTS);
        Self { table, dense, embedding, units }
    }

    fn moved(&self, expected_batch_size: f64) -> Moved {
        moved(self, &vec![0.0; self.table.len()], self.units.len(), expected_batch_size)
    }
}

impl Network for Given {
    type Buffers = Left;

    fn rows(&self, unit: u32) -> usize {
        self.units[unit as usize].codes.len()
    }

    fn backpropagate(&self, _parameters: &[f32], units: &[u32], left: &mut Left) {
        let rows: Vec<&Rows> = units.iter().map(|&unit| &self.units[unit as usize]).collect();
        left.codes = rows.iter().flat_map(|rows| rows.codes.clone()).collect();
        left.input.reshape(left.codes.len(), INPUTS);
        left.gradient.reshape(left.codes.len(), OUTPUTS);
        let inputs = rows.iter().flat_map(|rows| rows.inputs.iter().flatten());
        left.input.values_mut().iter_mut().zip(inputs).for_each(|(to, from)| *to = *from);
        let gradients = rows.iter().flat_map(|rows| rows.gradients.iter().flatten());
        left.gradient.values_mut().iter_mut().zip(gradients).for_each(|(to, from)| *to = *from);
        left.of_codes.copy_from(&left.gradient);
    }

    fn traces(&self, left: &mut Left, visit: &mut dyn FnMut(Trace<'_>)) {
        let Left { input, gradient, codes, of_codes } = left;
        visit(Trace::Dense { layer: &self.dense, input, gradient, units: None });
        visit(Trace::Embedding { layer: &self.embedding, codes, gradient: of_codes, units: None });
    }
}

/// Rows of random direction, each of about this length.
fn rows(count: usize, length: f32, rng: &mut ChaCha8Rng) -> Rows {
    let mut rows = Rows::default();
    for _ in 0..count {
        rows.inputs.push(std::array::from_fn(|_| rng.random_range(-1.0..1.0)));
        rows.gradients.push(std::array::from_fn(|_| 0.4 * length * rng.random_range(-1.0f32..1.0)));
        rows.codes.push(rng.random_range(0..CELLS as u16));
    }
    rows
}

/// Rows of one direction, of which the first half points one way and the second, but for one row, the other.
fn cancelling(count: usize, length: f32, rng: &mut ChaCha8Rng) -> Rows {
    let one = rows(1, length, rng);
    let mut all = Rows::default();
    for row in 0..count {
        let sign = if 2 * row < count { 1.0 } else { -1.0 };
        all.inputs.push(one.inputs[0].map(|x| x * rng.random_range(0.999..1.001)));
        all.gradients.push(one.gradients[0].map(|g| g * sign));
        all.codes.push(0);
    }
    all
}

/// Rows that cancel but for one, which is as long as the clip allows; they are rounded to the same side one after the other on
/// their way up and not at all on their way down: what is lost on the way is left in the end, on top of the one.
fn lossy(count: usize) -> Rows {
    let mut values = Vec::new();
    for sum in 0..count / 2 {
        let above = (sum + 1) as f32;
        values.push(1.0 + 0.49 * (f32::from_bits(above.to_bits() + 1) - above));
    }
    let gained: f64 = values.iter().map(|&value| f64::from(value) - 1.0).sum();
    values.extend(std::iter::repeat_n(-1.0, count / 2));
    values.push(-gained as f32 - 0.288);
    Rows {
        inputs: vec![[0.0; INPUTS]; values.len()],
        gradients: values.iter().map(|&value| [value; OUTPUTS]).collect(),
        codes: vec![0; values.len()],
    }
}

/// Pairs of rows that cancel altogether, in random order.
fn pairs(count: usize, length: f32, rng: &mut ChaCha8Rng) -> Rows {
    let half = rows(count / 2, length, rng);
    let mut gradients: Vec<[f32; OUTPUTS]> = half.gradients.iter().flat_map(|row| [*row, row.map(|g| -g)]).collect();
    rand::seq::SliceRandom::shuffle(&mut gradients[..], rng);
    Rows { inputs: vec![[0.0; INPUTS]; gradients.len()], codes: vec![0; gradients.len()], gradients }
}

/// Summed row by row in `f32`, with norms in `f64`, as they once were, these moved the sum by 1.70 C, by 46 C
/// and, in rows half as long, by 0.73 C.
#[test]
fn rows_that_cancel_leave_nothing_behind() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let ordinary: Vec<Rows> = (0..20).map(|_| rows(1, 3.0, &mut rng)).collect();
    for hostile in [lossy(6_143), lossy(49_151), pairs(86_000, 3e3, &mut rng)] {
        let count = hostile.codes.len();
        let units = ordinary.iter().cloned().chain([hostile]).collect();
        let Moved { by, at_most } = Given::new(units).moved(20.0);
        assert!(by <= at_most, "{count} rows move the sum by {by}");
    }
}

/// Few rows a unit, long ones that cancel altogether, so that the clip of their sum lets them be, in every unit:
/// they moved the sum by up to 36 C.
#[test]
fn units_of_few_rows_that_cancel_do_not_add_up() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    for count in [4, 8, 32, 34] {
        let units = (0..600).map(|_| pairs(count, 1e8, &mut rng)).collect();
        let Moved { by, at_most } = Given::new(units).moved(600.0);
        assert!(by <= at_most, "units of {count} rows: {by}");
    }
}

/// 8,192 units of one gradient: each adds to the same entries of a bias and of an embedding. Another
/// construction moved sums of whole lanes by 1.0673 C where the noise paid for 1.0625 C.
#[test]
fn gradients_alike_are_rounded_within_the_margin() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    for _ in 0..3 {
        let one = rows(1, 1e3, &mut rng);
        let network = Given::new(vec![one; 8_193]);
        let Moved { by, at_most } = network.moved(8_192.0);
        assert!((0.99..=at_most).contains(&by), "{by}");
        assert!(at_most < 1.008, "{at_most}");
    }
}

/// What no norm can be computed of is dropped, and what could leave the range of single precision, too.
#[test]
fn a_unit_beyond_single_precision_is_dropped() {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    for (input, gradient) in
        [(1.0, f32::NAN), (f32::INFINITY, 1.0), (f32::INFINITY, 0.0), (1e30, 1e30), (3e38, 3e-39), (3e38, 1e-45)]
    {
        for count in [1, 5, 100] {
            let mut units: Vec<Rows> = (0..200).map(|_| rows(2, 3.0, &mut rng)).collect();
            let mut hostile = rows(count, 1.0, &mut rng);
            hostile.inputs[count / 2][1] = input;
            hostile.gradients[count / 2][2] = gradient;
            units.push(hostile);
            let Moved { by, at_most } = Given::new(units).moved(200.0);
            assert!(by <= at_most, "{count} rows, {input:e} times {gradient:e}: {by}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any units, in any order, of any length, in a batch of any size.
    #[test]
    fn one_unit_moves_the_sum_by_no_more_than_is_paid_for(
        units in prop::collection::vec((0usize..50, -6f32..6.0, any::<bool>()), 1..120),
        copies in 1usize..4,
        more in 0f64..9.0,
        seed in any::<u64>(),
    ) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let unit = |&(count, exponent, cancels): &(usize, f32, bool)| match cancels {
            true => cancelling(count, 10f32.powf(exponent), &mut rng),
            false => rows(count, 10f32.powf(exponent), &mut rng),
        };
        let few: Vec<Rows> = units.iter().map(unit).collect();
        let all = std::iter::repeat_n(&few[1..], copies).flatten().cloned().chain(few.iter().take(1).cloned()).collect();
        let Moved { by, at_most } = Given::new(all).moved(2f64.powf(more));
        prop_assert!(by <= at_most, "{by}, at most {at_most}");
    }
}

fn layout() -> Layout {
    Layout { cells: vec![3, 7, 2, 40] }
}

/// Units of one row, of few and of many, and a last one of a hundred.
fn patients(rng: &mut ChaCha8Rng) -> CodeStore {
    let (mut codes, mut offsets) = (Vec::new(), vec![0]);
    for unit in 0..401usize {
        for _ in 0..if unit == 400 { 100 } else { [1, 1, 3, 0, 12, 40][unit % 6] } {
            codes.extend(layout().cells.iter().map(|&cells| rng.random_range(0..cells as u16)));
        }
        offsets.push((codes.len() / 4) as u32);
    }
    Codes { codes, width: 4, offsets }.into()
}

fn shaken(mut parameters: Vec<f32>, network: &impl Trainable, rng: &mut ChaCha8Rng) -> Vec<f32> {
    parameters.iter_mut().for_each(|p| *p += rng.random_range(-0.3..0.3));
    network.mask(&mut parameters);
    parameters
}

fn assert_the_last_unit_moves_little<T: Trainable>(name: &str, network: &T, initial: Vec<f32>, codes: &CodeStore) {
    let parameters = shaken(initial, network, &mut ChaCha8Rng::seed_from_u64(6));
    let loss = network.loss(codes, [7; 32], 1);
    let Moved { by, at_most } = moved(&loss, &parameters, codes.units(), codes.units() as f64);
    assert!((0.9..=at_most).contains(&by), "{name}: {by}");
}

#[test]
fn networks_keep_the_bound() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let codes = patients(&mut rng);
    let counts: Vec<f64> = (0..layout().total()).map(|cell| 100.0 + 40.0 * (cell % 3) as f64).collect();
    let mixture = Arc::new(Mixture::independent(&Marginals::from_noisy(&layout(), &counts).unwrap()));
    let vae = Vae::new(&layout(), VaeSettings::choose(), mixture.clone(), None).unwrap();
    assert_the_last_unit_moves_little("vae", &vae, vae.initialise(1), &codes);
    let diffusion = Diffusion::new(&layout(), DiffusionSettings::choose(&layout()), mixture, None).unwrap();
    assert_the_last_unit_moves_little("diffusion", &diffusion, diffusion.initialise(1), &codes);
}

/// The rows of a person are those of all tables.
#[test]
fn trajectories_keep_the_bound() {
    let told = |cells: &[usize], drawn: usize, above| {
        let layout = Layout { cells: cells.to_vec() };
        let marginals = Marginals::from_noisy(&layout, &vec![100.0; layout.total()]).unwrap();
        let law = Arc::new(Tied::untied(Mixture::independent(&marginals)));
        Told { law, drawn, known: (drawn..cells.len()).collect(), first: None, layout, above }
    };
    let below = Above { chapter: 0, column: 1, rows: vec![0, 1, 2, 5] };
    let settings = VaeSettings { hidden: vec![24], latent: 4, shared: 4, kl_weight: 0.5 };
    let chapters = vec![told(&[3, 4], 2, None), told(&[2, 3, 2], 2, Some(below))];
    let trajectory = Trajectory::new(settings, chapters).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let (mut codes, mut offsets) = (Vec::new(), vec![0]);
    for person in 0..301 {
        codes.extend(trajectory.rows(0, &[rng.random_range(0..3), rng.random_range(0..4)]));
        for _ in 0..if person == 300 { 90 } else { [1, 0, 3, 0, 20, 60][person % 6] } {
            let row = [rng.random_range(0..2), rng.random_range(0..3), rng.random_range(0..2)];
            codes.extend(trajectory.rows(1, &row));
        }
        offsets.push((codes.len() / trajectory.width()) as u32);
    }
    let codes = CodeStore::from(Codes { codes, width: trajectory.width(), offsets });
    assert_the_last_unit_moves_little("trajectory", &trajectory, trajectory.initialise(1), &codes);
}
