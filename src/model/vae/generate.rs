//! Rows from latent numbers.

use std::sync::Arc;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::base::{BaseBuffers, NextRows};
use super::decoder::SampleBuffers;
use super::loss::{VaeBuffers, VaeLoss};
use super::{Prior, Vae, VaeSettings};
use crate::encode::Layout;
use crate::encode::{CodeStore, Codes};
use crate::error::Result;
use crate::model::mixture::{Mixture, Posterior};
use crate::model::refined::Sampler;
use crate::model::rows::RowsOfUnits;
use crate::nn::{Matrix, Tensor, softmax};

/// A trained VAE, ready to generate.
#[derive(Clone, Debug)]
pub struct VaeGenerator {
    vae: Vae,
    parameters: Vec<f32>,
    prior: Prior,
}

/// Latent vectors behind the likelihood of a row.
const DRAWS: usize = 4;
/// Rows decoded at a time.
const TILE_ROWS: usize = 256;

impl VaeGenerator {
    /// # Panics
    /// When the parameters are not those of the architecture.
    pub fn new(vae: Vae, parameters: Vec<f32>, prior: Prior) -> Self {
        assert_eq!(parameters.len(), vae.table.len(), "parameters of this architecture");
        Self { vae, parameters, prior }
    }

    /// Reads what [`Sampler::tensors`] wrote.
    ///
    /// # Errors
    /// Bad input when a tensor is missing, has the wrong size, or holds values that are not finite.
    pub fn from_tensors(
        layout: &Layout,
        settings: VaeSettings,
        mixture: Arc<Mixture>,
        rows_column: Option<usize>,
        tensors: &[Tensor],
    ) -> Result<Self> {
        let vae = Vae::new(layout, settings, mixture, rows_column)?;
        let prior = Prior::from_tensors(vae.settings.latent, tensors)?;
        let parameters = vae.table.import(tensors)?;
        Ok(Self { vae, parameters, prior })
    }

    #[cfg(test)]
    pub fn parameters(&self) -> &[f32] {
        &self.parameters
    }

    pub fn vae(&self) -> &Vae {
        &self.vae
    }
}

impl Vae {
    /// Rows of `units` units from the latent law `prior`: see [`Sampler::sample`].
    pub(super) fn draw_rows(
        &self,
        parameters: &[f32],
        prior: &Prior,
        units: usize,
        rows_column: Option<usize>,
        rng: &mut ChaCha8Rng,
    ) -> Codes {
        let (width, latent, shared) = (self.width(), self.settings.latent, self.settings.shared);
        let (mut buffers, mut drawn, mut normals) = (SampleBuffers::default(), Vec::new(), Matrix::default());
        let (mut codes, mut offsets) = (Vec::new(), vec![0]);
        let mut posterior = Posterior::default();
        for start in (0..units).step_by(TILE_ROWS) {
            let tile = TILE_ROWS.min(units - start);
            normals.reshape(tile, latent);
            self.base.mixture.start(tile, &mut posterior);
            let mut rows = RowsOfUnits::new(tile, rows_column);
            while !rows.active.is_empty() {
                let is_first = rows.is_first();
                buffers.latent.reshape(rows.active.len(), latent);
                for (i, &unit) in rows.active.iter().enumerate() {
                    let keep = if is_first { 0 } else { shared };
                    prior.draw(rng, keep, normals.row_mut(unit), buffers.latent.row_mut(i));
                }
                drawn.clear();
                drawn.resize(rows.active.len() * width, 0);
                let mut next = NextRows { base: &self.base, is_first, posterior: &mut posterior };
                self.decoder.sample(parameters, &mut next, &mut buffers, rng, &mut drawn);
                let kept = rows.add(&drawn, width);
                self.base.mixture.keep(&kept, &mut posterior);
            }
            rows.append_to(width, &mut codes, &mut offsets);
        }
        Codes { codes, width, offsets }
    }
}

impl Sampler for VaeGenerator {
    fn sample(
        &self,
        units: usize,
        rows_column: Option<usize>,
        rng: &mut ChaCha8Rng,
        codes: &mut Vec<u16>,
        offsets: &mut Vec<u32>,
    ) {
        let drawn = self.vae.draw_rows(&self.parameters, &self.prior, units, rows_column, rng);
        (*codes, *offsets) = (drawn.codes, drawn.offsets);
    }

    /// The importance-weighted bound of each row (arXiv:1509.00519), [`DRAWS`] latent vectors each. Sums of weights
    /// over growing parts of a row give each column its part; the first one also has that of the latent numbers.
    fn nats(&self, codes: &[u16], rng: &mut ChaCha8Rng, nats: &mut [f64]) {
        let width = self.vae.width();
        let key: [u8; 32] = rng.random();
        let tiles = codes.par_chunks(TILE_ROWS * width).zip(nats.par_chunks_mut(TILE_ROWS * width));
        tiles.enumerate().for_each_init(VaeBuffers::default, |buffers, (tile, (codes, nats))| {
            let rows = codes.len() / width;
            let store = CodeStore::from(Codes { codes: codes.to_vec(), width, offsets: (0..=rows as u32).collect() });
            let units: Vec<u32> = (0..rows as u32).collect();
            // Logarithms of the draws' weights: draws by rows by columns, the sums so far.
            let mut sums = vec![0.0f64; DRAWS * rows * width];
            let mut base = Matrix::default();
            base.reshape(rows, self.vae.offsets[width]);
            base.values_mut().fill(0.0);
            let starts: Vec<usize> = (0..=rows).collect();
            self.vae.base.add(codes, &starts, &mut BaseBuffers::default(), &mut base);
            for (draw, sums) in sums.chunks_exact_mut(rows * width).enumerate() {
                let loss = VaeLoss { vae: &self.vae, codes: &store, key, step: (tile * DRAWS + draw) as u32 };
                loss.encode(&self.parameters, &units, buffers);
                let ratios: Vec<f64> = (0..rows).map(|r| buffers.log_ratio(r, &self.prior)).collect();
                self.vae.decoder.forward(&self.parameters, codes, &mut buffers.decoder);
                let output = buffers.decoder.mlp.output();
                output.values_mut().iter_mut().zip(base.values()).for_each(|(o, b)| *o += b);
                softmax::probabilities(output.values_mut(), &self.vae.offsets);
                for (r, (sums, ratio)) in sums.chunks_exact_mut(width).zip(ratios).enumerate() {
                    let mut sum = ratio;
                    for (j, s) in sums.iter_mut().enumerate() {
                        let p = output.row(r)[self.vae.offsets[j] + usize::from(codes[r * width + j])];
                        sum += f64::from(p.max(f32::MIN_POSITIVE)).ln();
                        *s = sum;
                    }
                }
            }
            for (r, nats) in nats.chunks_exact_mut(width).enumerate() {
                let mut before = 0.0;
                for (j, nats) in nats.iter_mut().enumerate() {
                    let logs = sums.iter().skip(r * width + j).step_by(rows * width);
                    let largest = logs.clone().copied().fold(f64::NEG_INFINITY, f64::max);
                    let now = largest + (logs.map(|l| (l - largest).exp()).sum::<f64>() / DRAWS as f64).ln();
                    *nats = before - now;
                    before = now;
                }
            }
        });
    }

    fn tensors(&self) -> Vec<Tensor> {
        let mut tensors = self.vae.table.export(&self.parameters);
        tensors.extend(self.prior.tensors());
        tensors
    }
}
