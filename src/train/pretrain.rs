//! The warm start: training on rows of a released mixture, which costs nothing.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::encode::Codes;
use crate::model::{Generator, Mixture, Trainable};
use crate::nn::{Adam, AdamSettings, Workspace, add_parts, plain_sum};

/// Units of a batch.
const BATCH: usize = 1024;
/// Batches drawn at a time, in parallel.
const WAVE: usize = 16;
const LEARNING_RATE: f32 = 2e-3;
const AVERAGE_DECAY: f32 = 0.99;

/// Trains `network` from `parameters` on rows that `mixture` draws, new ones at each step, and returns the running
/// average of its weights. The learning rate falls to nothing along half a cosine.
///
/// # Privacy
/// Post-processing of the mixture.
pub(super) fn pretrain<T: Trainable>(
    network: &T,
    mut parameters: Vec<f32>,
    mixture: &Mixture,
    rows_column: Option<usize>,
    seed: u64,
) -> Vec<f32> {
    let steps = std::env::var("SW_PRE").ok().and_then(|v| v.parse().ok()).unwrap_or(3000usize);
    let width = mixture.width();
    let units: Vec<u32> = (0..BATCH as u32).collect();
    let mut optimiser =
        Adam::new(AdamSettings { learning_rate: LEARNING_RATE, average_decay: AVERAGE_DECAY }, &parameters);
    let mut gradient = vec![0.0; parameters.len()];
    let mut workspace = Workspace::default();
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    for wave in 0..steps.div_ceil(WAVE) {
        let batches: Vec<Codes> = (0..WAVE)
            .into_par_iter()
            .map(|batch| {
                let mut rng = ChaCha8Rng::from_seed(key);
                rng.set_stream((wave * WAVE + batch) as u64);
                let (mut codes, mut offsets) = (Vec::new(), Vec::new());
                mixture.generate(BATCH, rows_column, None, &mut rng, &mut codes, &mut offsets);
                Codes { codes, width, offsets }
            })
            .collect();
        for (batch, codes) in batches.iter().enumerate() {
            let step = wave * WAVE + batch;
            let loss = network.loss(codes, key, step as u32);
            let parts = plain_sum(&loss, &parameters, &units, &mut workspace);
            add_parts(parts, 0, &mut gradient);
            let scale = 1.0 / BATCH as f32;
            gradient.iter_mut().for_each(|g| *g *= scale);
            let progress = step as f32 / steps as f32;
            optimiser
                .set_learning_rate(LEARNING_RATE * (0.5 + 0.5 * (std::f32::consts::PI * progress).cos()).max(0.01));
            optimiser.step(&mut parameters, &gradient);
            network.mask(&mut parameters);
        }
    }
    let mut average = optimiser.average().to_vec();
    network.mask(&mut average);
    average
}
