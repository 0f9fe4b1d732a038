//! Putting the decoder's one-way marginals back where the released ones are.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::{LEAST_PROBABILITY, Prior, Vae};
use crate::model::Marginals;
use crate::nn::{MlpBuffers, softmax};

/// Latent vectors that stand for the prior.
const DRAWS: usize = 4096;
/// Rows decoded at a time.
const TILE_ROWS: usize = 256;
/// Rounds of correction; each one divides what is left by a small factor.
const ROUNDS: usize = 12;

impl Vae {
    /// Shifts the decoder's output biases until its average distributions over draws of `prior` are the released
    /// marginals. Training drifts away from them, because its noise is larger than theirs.
    ///
    /// # Privacy
    /// Post-processing.
    pub fn calibrate(&self, parameters: &mut [f32], prior: &Prior, marginals: &Marginals, seed: u64) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut buffers = MlpBuffers::default();
        let mut normal = vec![0.0; self.settings.latent];
        let mut draws = vec![0.0; DRAWS * self.settings.latent];
        draws.chunks_exact_mut(self.settings.latent).for_each(|z| prior.draw(&mut rng, 0, &mut normal, z));
        let mut mean = vec![0.0f64; marginals.probabilities().len()];
        for _ in 0..ROUNDS {
            mean.fill(0.0);
            for tile in draws.chunks(TILE_ROWS * self.settings.latent) {
                let z = buffers.input();
                z.reshape(tile.len() / self.settings.latent, self.settings.latent);
                z.values_mut().copy_from_slice(tile);
                self.decoder.forward(parameters, &mut buffers);
                let output = buffers.output();
                softmax::probabilities(output.values_mut(), &self.offsets);
                for r in 0..output.rows() {
                    mean.iter_mut().zip(output.row(r)).for_each(|(m, &p)| *m += f64::from(p) / DRAWS as f64);
                }
            }
            for ((bias, &now), &wanted) in
                parameters[self.output_bias()].iter_mut().zip(&mean).zip(marginals.probabilities())
            {
                let step = (wanted.max(LEAST_PROBABILITY) / (now as f32).max(LEAST_PROBABILITY)).ln();
                *bias += step.clamp(-2.0, 2.0);
            }
        }
    }
}
