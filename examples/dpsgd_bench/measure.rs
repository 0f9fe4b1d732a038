//! What a step costs: private, plain, with several rows a unit, and its parts alone.

#[path = "networks.rs"]
pub mod networks;

use std::time::{Duration, Instant};

use cpu_time::ProcessTime;
use networks::{Autoencoder, Batch, Denoiser};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use rayon::prelude::*;
use synthward::nn::{
    Adam, AdamSettings, Matrix, Network, Table, Trace, Workspace, add_parts, clipped_sums, gemm, plain_sum, terms,
};
use synthward_privacy::mechanism::{ClippedSum, SubsampledGaussian};
use synthward_privacy::plan::{Mechanism, Plan, Request, Share};
use synthward_privacy::{Budget, PrivacyUnit, Sensitive};

/// Which of the two networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// The denoiser: 985,728 parameters.
    Ddpm,
    /// The autoencoder: 156,672 parameters.
    Tvae,
}

/// Numbers of a time embedding.
pub const TIME: usize = 128;
/// Latent numbers.
pub const LATENT: usize = 64;
/// Columns of the table.
const COLUMNS: usize = 128;
/// Rows of a unit where a unit has several.
const ROWS_PER_UNIT: usize = 8;

/// Medians over the steps, in milliseconds of the clock and of the processors.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    pub wall_ms: f64,
    pub cpu_ms: f64,
}

/// Everything that is measured, in turn, in one sitting.
#[derive(Clone, Copy, Debug)]
pub struct Costs {
    pub dp: Cost,
    pub plain: Cost,
    /// The same rows, eight to a unit.
    pub dp_8_rows: Cost,
    /// The noise of a step.
    pub noise: Cost,
    /// The matrix products of a step, on whole matrices, and nothing else.
    pub products: Cost,
    pub parameters: usize,
}

/// Measures `steps` steps of each kind, interleaved. As in training, each follows one of its own kind, which is not
/// timed: it brings back into the cache what the others have pushed out.
pub fn measure(model: Model, batch: usize, steps: usize) -> Costs {
    match model {
        Model::Ddpm => {
            let network = denoiser();
            interleave(&network.table, batch, TIME, steps, |batch| network.on(batch))
        }
        Model::Tvae => {
            let network = autoencoder();
            interleave(&network.table, batch, LATENT, steps, |batch| network.on(batch))
        }
    }
}

/// The denoiser that is measured.
pub fn denoiser() -> Denoiser {
    Denoiser::new(COLUMNS, TIME, 512)
}

/// The autoencoder that is measured.
pub fn autoencoder() -> Autoencoder {
    Autoencoder::new(COLUMNS, [256, 128], LATENT)
}

/// A batch of normal numbers, `rows_per_unit` rows to a unit.
pub fn batch_of(rows: usize, auxiliary: usize, rows_per_unit: usize) -> Batch {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut normal = |columns| {
        let mut matrix = Matrix::default();
        matrix.reshape(rows, columns);
        matrix.values_mut().fill_with(|| rng.sample(StandardNormal));
        matrix
    };
    let offsets = (0..=rows.div_ceil(rows_per_unit)).map(|unit| rows.min(unit * rows_per_unit)).collect();
    Batch { inputs: normal(COLUMNS), auxiliary: normal(auxiliary), targets: normal(COLUMNS), offsets }
}

/// A network under training, privately or not, on one batch that is always drawn whole.
pub struct Trainee<'a, N: Network> {
    network: &'a N,
    units: Vec<u32>,
    /// The same, as the mechanism takes them.
    data: Sensitive<Vec<u32>>,
    mechanism: SubsampledGaussian,
    parameters: Vec<f32>,
    optimiser: Adam,
    workspace: Workspace<N::Buffers>,
}

impl<'a, N: Network> Trainee<'a, N> {
    pub fn new(table: &Table, network: &'a N, units: usize, steps: usize) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut parameters = vec![0.0; table.len()];
        // PyTorch's law of a fresh linear layer has this standard deviation for the weights.
        parameters.fill_with(|| 0.026 * rng.sample::<f32, _>(StandardNormal));
        let settings = AdamSettings { learning_rate: 1e-3, average_decay: 0.99 };
        let optimiser = Adam::new(settings, &parameters);
        let mechanism = mechanism(units, steps);
        let units: Vec<u32> = (0..units as u32).collect();
        let data = Sensitive::new(units.clone());
        Self { network, units, data, mechanism, parameters, optimiser, workspace: Workspace::default() }
    }

    pub fn dp_step(&mut self) {
        let Self { network, data, mechanism, parameters, optimiser, workspace, .. } = self;
        let terms = |_: &Vec<u32>, unit| terms(network.rows(unit));
        let sum = mechanism.accumulate(
            data,
            Vec::len,
            |_, unit| unit.into(),
            terms,
            |_, batch, clip, sums| {
                let coefficient = |norm: f64| clip.coefficient(norm);
                clipped_sums(*network, parameters, |leaf| batch.leaf(leaf), &coefficient, workspace, sums);
            },
        );
        let sum = sum.expect("a step is left");
        sum.release(parameters.len(), optimiser.blocks(parameters, ClippedSum::BLOCK), |block, mean| block.step(mean));
    }

    pub fn plain_step(&mut self) {
        let Self { network, units, parameters, optimiser, workspace, .. } = self;
        let parts = plain_sum(*network, parameters, units, workspace);
        const BLOCK: usize = ClippedSum::BLOCK;
        let (share, length) = (1.0 / units.len() as f32, parameters.len());
        optimiser.blocks(parameters, BLOCK).enumerate().for_each(|(i, block)| {
            let mut mean = [0.0; BLOCK];
            let mean = &mut mean[..BLOCK.min(length - i * BLOCK)];
            add_parts(parts, i * BLOCK, mean);
            mean.iter_mut().for_each(|m| *m *= share);
            block.step(mean);
        });
    }
}

/// The mechanism a fit uses, with every unit in every batch.
fn mechanism(units: usize, steps: usize) -> SubsampledGaussian {
    let mechanism = Mechanism::SubsampledGaussian { clipping_norm: 1.0, sampling_rate: 1.0, steps: steps as u64 };
    let request = Request { name: "dp-sgd".into(), share: Share::Train, weight: 1.0, mechanism };
    let budget = Budget::new(3.0, 1e-6).expect("a budget");
    let mut plan = Plan::calibrate(PrivacyUnit::Row, budget, vec![request]).expect("a plan");
    plan.subsampled_gaussian("dp-sgd", units as f64).expect("it is in the plan")
}

fn interleave<'a, N: Network>(
    table: &Table,
    rows: usize,
    auxiliary: usize,
    steps: usize,
    on: impl Fn(&'a Batch) -> N,
) -> Costs {
    // Both live as long as the process: a network borrows its rows.
    let single: &'static Batch = Box::leak(Box::new(batch_of(rows, auxiliary, 1)));
    let several: &'static Batch = Box::leak(Box::new(batch_of(rows, auxiliary, ROWS_PER_UNIT)));
    let (single, several) = (on(single), on(several));
    let mut trainee = Trainee::new(table, &single, rows, 2 * steps);
    let mut patients = Trainee::new(table, &several, rows.div_ceil(ROWS_PER_UNIT), 2 * steps);
    let mut silent = mechanism(1, 2 * steps);
    let nobody = Sensitive::new(Vec::<u32>::new());
    let mut products = Products::new(&single, &trainee.parameters, rows);
    let mut costs: [Vec<(Duration, Duration)>; 5] = Default::default();
    for _ in 0..steps {
        let mut clock = |kind: usize, work: &mut dyn FnMut()| {
            work();
            let (wall, cpu) = (Instant::now(), ProcessTime::now());
            work();
            costs[kind].push((wall.elapsed(), cpu.elapsed()));
        };
        clock(0, &mut || trainee.dp_step());
        clock(1, &mut || trainee.plain_step());
        clock(2, &mut || patients.dp_step());
        clock(3, &mut || {
            let sum = silent
                .accumulate(&nobody, Vec::len, |_, unit| unit.into(), |_, _| 1, |_, _, _, _| ())
                .expect("a step is left");
            let blocks = trainee.parameters.par_chunks(ClippedSum::BLOCK);
            sum.release(table.len(), blocks, |_, mean| {
                std::hint::black_box(mean);
            });
        });
        clock(4, &mut || products.run());
    }
    let [dp, plain, dp_8_rows, noise, products] = costs.map(median);
    Costs { dp, plain, dp_8_rows, noise, products, parameters: table.len() }
}

fn median(costs: Vec<(Duration, Duration)>) -> Cost {
    let middle = |mut times: Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64() * 1e3
    };
    let (wall, cpu) = costs.into_iter().unzip();
    Cost { wall_ms: middle(wall), cpu_ms: middle(cpu) }
}

/// The matrix products of a step: forward, backward and the weights' gradient of every dense layer, on whole
/// matrices that each thread has its own part of.
struct Products {
    /// Inputs and outputs of each layer.
    layers: Vec<(usize, usize)>,
    parts: Vec<Part>,
}

/// One thread's rows.
#[derive(Default)]
struct Part {
    input: Matrix,
    output: Matrix,
    weight: Matrix,
    rows: usize,
}

impl Products {
    fn new<N: Network>(network: &N, parameters: &[f32], rows: usize) -> Self {
        let mut layers = Vec::new();
        let mut buffers = N::Buffers::default();
        network.backpropagate(parameters, &[0], &mut buffers);
        network.traces(&mut buffers, &mut |trace| {
            if let Trace::Dense { layer, .. } = trace {
                layers.push((layer.inputs(), layer.outputs()));
            }
        });
        let threads = rayon::current_num_threads();
        let part = |i: usize| Part { rows: (i + 1) * rows / threads - i * rows / threads, ..Part::default() };
        Self { layers, parts: (0..threads).map(part).collect() }
    }

    fn run(&mut self) {
        let layers = &self.layers;
        self.parts.par_iter_mut().for_each(|Part { input, output, weight, rows }| {
            for &(inputs, outputs) in layers {
                input.reshape(*rows, inputs);
                output.reshape(*rows, outputs);
                weight.reshape(inputs, outputs);
                gemm(input.view(), weight.view(), 0.0, output.view_mut());
                gemm(output.view(), weight.view().reversed_axes(), 0.0, input.view_mut());
                gemm(input.view().reversed_axes(), output.view(), 0.0, weight.view_mut());
            }
        });
    }
}
