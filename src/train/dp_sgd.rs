//! The training loop of a network.

use super::fit::{Observe, Progress};
use super::keeper::Keeper;
use super::witness::Witness;
use crate::encode::{CodeStore, Codes};
use crate::error::Result;
use crate::model::{Trainable, Training};
use crate::nn::{self, Adam, AdamSettings, Network, Workspace, add_parts, clipped_sum, clipped_sums};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use std::time::{Duration, Instant};
use synthward_privacy::mechanism::{ClippedSum, SubsampledGaussian};
use synthward_privacy::plan::Plan;
use synthward_privacy::{Clip, Sensitive, UnitKey};

/// Name of the DP-SGD entry in the plan.
pub(super) const TRAIN: &str = "dp-sgd";

/// Time between two looks at the progress.
const INTERVAL: Duration = Duration::from_millis(500);

/// A unit gives no more terms than the mechanism has paid for.
const _: () = assert!(nn::MOST_ROWS <= SubsampledGaussian::MOST_TERMS);

/// How a training goes.
pub(super) struct Course<'a> {
    pub training: &'a Training,
    /// Public or released number of units.
    pub units: f64,
    /// Of the rows that the network draws for itself; never of the noise.
    pub seed: u64,
    pub begin: Begin,
}

/// Where a training begins or goes on: the weights, and what the optimiser remembers, when it has begun already.
pub(super) type Begin = (Vec<f32>, Option<[Vec<f32>; 3]>);

/// Trains a network by DP-SGD, and returns the running average of its weights. `keeper` may keep it between
/// two steps, and end it.
///
/// No loss is ever computed for show: a loss on real rows is a release. The
/// last weights' running average is the model; no checkpoint is chosen.
///
/// # Privacy
/// Releases the planned steps [`TRAIN`].
pub(super) fn train<T: Trainable, W: Witness>(
    plan: &mut Plan,
    codes: &Sensitive<CodeStore>,
    network: &T,
    course: Course<'_>,
    mut keeper: Option<Keeper<'_, '_>>,
    witness: &W,
    observe: &mut Observe<'_>,
) -> Result<Vec<f32>> {
    let Course { training, units, seed, begin: (mut parameters, memory) } = course;
    let steps = training.steps as u64;
    let mut mechanism = plan.subsampled_gaussian(TRAIN, units)?;
    let settings = AdamSettings { learning_rate: training.learning_rate, average_decay: training.average_decay };
    let mut optimiser = match memory {
        None => Adam::new(settings, &parameters),
        Some(memory) => Adam::resume(settings, memory, mechanism.steps_done()),
    };
    let key = UnitKey::from_system()?.bytes();
    let mut workspace = Workspace::default();
    let mut own = Own::new(seed, training.expected_batch_size, parameters.len());
    let clip = Clip::new(f64::from(training.clipping_norm))?;
    witness.starts(network, &parameters, codes, clip, units)?;
    let mut looked = Instant::now();
    for step in mechanism.steps_done()..steps {
        if let Some(keeper) = &mut keeper {
            keeper.between(plan, &mechanism, &parameters, &optimiser)?;
        }
        let terms = |codes: &CodeStore, unit| nn::terms(network.loss(codes, key, step as u32).rows(unit));
        let sum =
            mechanism.accumulate(codes, CodeStore::units, CodeStore::identity, terms, |codes, batch, clip, sums| {
                let coefficient = |squared_norm: f64| clip.coefficient(squared_norm);
                let loss = witness.plant(network.loss(codes, key, step as u32), codes.units(), step);
                clipped_sums(&loss, &parameters, |leaf| batch.leaf(leaf), &coefficient, &mut workspace, sums);
            })?;
        codes.map_ref(CodeStore::check).transpose()?;
        let own = own.gradient(network, &parameters, step, clip);
        let blocks = optimiser.blocks(&mut parameters, ClippedSum::BLOCK).zip(own.par_chunks(ClippedSum::BLOCK));
        sum.release(own.len(), blocks.enumerate(), |(index, (block, own)), mean| {
            let mut difference = [0.0; ClippedSum::BLOCK];
            let difference = &mut difference[..mean.len()];
            difference.iter_mut().zip(mean).zip(own).for_each(|((d, m), o)| *d = m - o);
            witness.stepped(step, index * ClippedSum::BLOCK, difference);
            block.step(difference);
        });
        network.mask(&mut parameters);
        if looked.elapsed() > INTERVAL || step + 1 == steps {
            looked = Instant::now();
            observe(Progress {
                what: "network",
                done: step + 1,
                total: steps,
                epsilon_spent: plan.epsilon_spent(step + 1)?,
            });
        }
    }
    let mut average = optimiser.average().to_vec();
    network.mask(&mut average);
    Ok(average)
}

/// The network draws as many units for each step as are expected in the batch, up to this, in so many tasks.
const MOST_OWN: usize = 1024;
const OWN_TASKS: usize = 4;

/// Units that the network draws for each step.
pub(super) fn own_units(expected_batch_size: usize) -> usize {
    expected_batch_size.clamp(OWN_TASKS, MOST_OWN)
}

/// The mean clipped gradient of rows that the network draws itself.
///
/// Clipping is not fair: it takes more from rows that surprise the network, so the mean of clipped gradients is not zero
/// where the network is right, and training by it would forget what is rare. The same mean over the network's own rows
/// is off by the same, and costs nothing: steps follow the difference, which vanishes where the network is right.
struct Own<B> {
    seed: u64,
    units: usize,
    gradient: Vec<f32>,
    workspace: Workspace<B>,
}

impl<B: Default + Send + Sync> Own<B> {
    fn new(seed: u64, expected_batch_size: usize, parameters: usize) -> Self {
        Self {
            seed,
            units: own_units(expected_batch_size),
            gradient: vec![0.0; parameters],
            workspace: Workspace::default(),
        }
    }

    fn gradient<T: Trainable<Buffers = B>>(
        &mut self,
        network: &T,
        parameters: &[f32],
        step: u64,
        clip: Clip,
    ) -> &[f32] {
        let drawn: Vec<Codes> = (0..OWN_TASKS as u64)
            .into_par_iter()
            .map(|task| {
                let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
                rng.set_stream(step * OWN_TASKS as u64 + task);
                network.draw(parameters, self.units / OWN_TASKS, &mut rng)
            })
            .collect();
        let mut codes = Codes { codes: Vec::new(), width: drawn[0].width, offsets: vec![0] };
        for part in drawn {
            let rows = codes.rows() as u32;
            codes.codes.extend(part.codes);
            codes.offsets.extend(part.offsets[1..].iter().map(|offset| offset + rows));
        }
        let codes = CodeStore::from(codes);
        let units: Vec<u32> = (0..codes.units() as u32).collect();
        let mut key = [0; 32];
        key[..8].copy_from_slice(&self.seed.to_le_bytes());
        let coefficient = |squared_norm: f64| clip.coefficient(squared_norm);
        let loss = network.loss(&codes, key, step as u32);
        let parts = clipped_sum(&loss, parameters, &units, &coefficient, &mut self.workspace);
        add_parts(parts, 0, &mut self.gradient);
        let scale = 1.0 / units.len() as f32;
        self.gradient.iter_mut().for_each(|g| *g *= scale);
        self.gradient[..network.drawn_with().start].fill(0.0);
        self.gradient[network.drawn_with().end..].fill(0.0);
        &self.gradient
    }
}

#[cfg(test)]
mod tests {
    use super::super::witness::Unwatched;
    use super::*;
    use crate::encode::Layout;
    use crate::model::{Diffusion, DiffusionSettings, Marginals, Mixture, Vae, VaeSettings};
    use crate::nn::allocations::{allocations, count_this_thread};
    use crate::nn::gemm;
    use std::sync::Arc;
    use synthward_privacy::plan::{Mechanism, Request, Share};
    use synthward_privacy::{Budget, PrivacyUnit};

    /// 1,500 units of none to forty rows of three columns.
    fn codes() -> CodeStore {
        let (mut codes, mut offsets) = (Vec::new(), vec![0]);
        for unit in 0..1500 {
            for row in 0..[1, 1, 3, 0, 40][unit % 5] {
                codes.extend([(unit % 3) as u16, (row % 4) as u16, (unit % 2) as u16]);
            }
            offsets.push((codes.len() / 3) as u32);
        }
        Codes { codes, width: 3, offsets }.into()
    }

    /// What a network draws after a course on 2,000 units without noise.
    fn fitted<T: Trainable>(network: &T, start: Vec<f32>, data: &Sensitive<CodeStore>, training: &Training) -> Codes {
        let steps = training.steps as u64;
        let sampled = Mechanism::SubsampledGaussian {
            clipping_norm: f64::from(training.clipping_norm),
            sampling_rate: 0.25,
            steps,
        };
        let request = Request { name: TRAIN.into(), share: Share::Train, weight: 1.0, mechanism: sampled };
        let mut plan = Plan::calibrate(PrivacyUnit::Row, Budget::unlimited(), vec![request]).unwrap();
        let parameters = train(
            &mut plan,
            data,
            network,
            Course { training, units: 2000.0, seed: 1, begin: (start, None) },
            None,
            &Unwatched,
            &mut |_| (),
        )
        .unwrap();
        network.draw(&parameters, 1000, &mut ChaCha8Rng::seed_from_u64(1))
    }

    /// The last of four columns is the parity of the others: no marginal of three columns shows it, so the control that
    /// the networks start from knows nothing of it and has it right in 500 of 1,000 rows (standard deviation 16).
    /// Without noise, 2,000 units; batches are drawn with fresh keys, and a sum's last bits depend on the processor.
    #[test]
    fn networks_learn_what_no_marginal_of_three_columns_shows() {
        let layout = Layout { cells: vec![2; 4] };
        let rows: Vec<u16> =
            (0..2000u16).flat_map(|i| [i & 1, i >> 1 & 1, i >> 2 & 1, (i & 7).count_ones() as u16 & 1]).collect();
        let data = Sensitive::new(CodeStore::from(Codes { codes: rows, width: 4, offsets: (0..=2000).collect() }));
        let mixture = || Arc::new(Mixture::independent(&Marginals::from_noisy(&layout, &[1.0; 8]).unwrap()));
        let training = Training {
            expected_batch_size: 500,
            steps: 200,
            learning_rate: 1e-2,
            clipping_norm: 1.0,
            average_decay: 0.9,
        };
        let agree = |codes: &Codes| codes.codes.chunks(4).filter(|row| (row[0] ^ row[1] ^ row[2]) == row[3]).count();
        let vae =
            Vae::new(&layout, VaeSettings { hidden: vec![24, 24], ..VaeSettings::choose() }, mixture(), None).unwrap();
        let drawn = fitted(&vae, vae.initialise(1), &data, &training);
        assert!(agree(&drawn) > 900, "vae: {} of 1,000", agree(&drawn));
        let settings = DiffusionSettings { hidden: vec![24, 24], ..DiffusionSettings::choose(&layout) };
        let diffusion = Diffusion::new(&layout, settings, mixture(), None).unwrap();
        let drawn = fitted(&diffusion, diffusion.initialise(1), &data, &training);
        assert!(agree(&drawn) > 900, "diffusion: {} of 1,000", agree(&drawn));
    }

    /// One unit in ten has a 1, and so says the mixture. All gradients are clipped: their mean alone would forget the 1s.
    #[test]
    fn a_network_that_is_right_stays_where_it_is() {
        let layout = Layout { cells: vec![2, 2] };
        let marginals = Marginals::from_noisy(&layout, &[1800.0, 200.0, 1000.0, 1000.0]).unwrap();
        let mixture = Arc::new(Mixture::independent(&marginals));
        let rows: Vec<u16> = (0..2000u16).flat_map(|i| [u16::from(i % 10 == 0), i / 10 % 2]).collect();
        let data = Sensitive::new(CodeStore::from(Codes { codes: rows, width: 2, offsets: (0..=2000).collect() }));
        let training = Training {
            expected_batch_size: 500,
            steps: 60,
            learning_rate: 1e-2,
            clipping_norm: 0.01,
            average_decay: 0.9,
        };
        let vae =
            Vae::new(&layout, VaeSettings { hidden: vec![24, 24], ..VaeSettings::choose() }, mixture, None).unwrap();
        let drawn = fitted(&vae, vae.initialise(1), &data, &training);
        let ones = drawn.codes.chunks(2).filter(|row| row[0] == 1).count();
        assert!((60..=140).contains(&ones), "{ones} of 1,000 rows have a 1");
    }

    #[test]
    fn a_step_allocates_nothing_once_the_largest_batch_was_seen() {
        let layout = Layout { cells: vec![3, 4, 2] };
        let mixture = Arc::new(Mixture::independent(&Marginals::from_noisy(&layout, &[1.0; 9]).unwrap()));
        let vae = Vae::new(&layout, VaeSettings::choose(), mixture, None).unwrap();
        let mut parameters = vae.initialise(1);
        let settings = AdamSettings { learning_rate: 1e-3, average_decay: 0.9 };
        let mut optimiser = Adam::new(settings, &parameters);
        let sampled = Mechanism::SubsampledGaussian { clipping_norm: 1.0, sampling_rate: 1.0, steps: 28 };
        let request = Request { name: TRAIN.into(), share: Share::Train, weight: 1.0, mechanism: sampled };
        let budget = Budget::new(1.0, 1e-6).unwrap();
        let mut plan = Plan::calibrate(PrivacyUnit::Row, budget, vec![request]).unwrap();
        let mut mechanism = plan.subsampled_gaussian(TRAIN, 1500.0).unwrap();
        let (data, mut workspace) = (Sensitive::new(codes()), Workspace::default());
        let mut step = |units: usize| {
            let terms = |codes: &CodeStore, unit| nn::terms(codes.rows_of(unit as usize));
            let sum = mechanism.accumulate(
                &data,
                CodeStore::units,
                CodeStore::identity,
                terms,
                |codes, batch, clip, sums| {
                    let coefficient = |squared_norm: f64| clip.coefficient(squared_norm);
                    let loss = vae.loss(codes, [1; 32], 1);
                    let first = |leaf| batch.leaf(leaf).split_at_checked(units).map_or(batch.leaf(leaf), |some| some.0);
                    clipped_sums(&loss, &parameters, first, &coefficient, &mut workspace, sums);
                },
            );
            let blocks = optimiser.blocks(&mut parameters, ClippedSum::BLOCK);
            sum.unwrap().release(vae.parameters(), blocks, |block, mean| block.step(mean));
        };
        for threads in [1, 2] {
            let counted = rayon::ThreadPoolBuilder::new().num_threads(threads).start_handler(|_| count_this_thread());
            let pool = counted.build().unwrap();
            // Each thread's packing memory, whichever tiles come its way.
            let matrix = ndarray::Array2::<f32>::zeros((512, 512));
            pool.broadcast(|_| gemm(matrix.view(), matrix.view(), 0.0, matrix.clone().view_mut()));
            pool.install(|| {
                step(1500);
                step(1500);
                // How many leaves a step has is chance: of six pairs of steps one has no more than any before it.
                let allocated = |_| {
                    let before = allocations();
                    step(1500);
                    step(7);
                    allocations() - before
                };
                assert_eq!((0..6).map(allocated).min(), Some(0), "{threads} threads");
            });
        }
    }
}
