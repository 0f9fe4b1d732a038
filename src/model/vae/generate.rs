//! Rows from latent numbers.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::decoder::SampleBuffers;
use super::loss::{VaeBuffers, VaeLoss};
use super::{Prior, Vae, VaeSettings};
use crate::encode::Codes;
use crate::encode::Layout;
use crate::error::Result;
use crate::model::refined::Sampler;
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
    pub fn from_tensors(layout: &Layout, settings: VaeSettings, tensors: &[Tensor]) -> Result<Self> {
        let vae = Vae::new(layout, settings)?;
        let prior = Prior::from_tensors(vae.settings.latent, tensors)?;
        let parameters = vae.table.import(tensors)?;
        Ok(Self { vae, parameters, prior })
    }

    pub fn vae(&self) -> &Vae {
        &self.vae
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
        let (width, latent, shared) = (self.vae.width(), self.vae.settings.latent, self.vae.settings.shared);
        let (mut buffers, mut drawn) = (SampleBuffers::default(), Vec::new());
        codes.clear();
        offsets.clear();
        offsets.push(0);

        // The first row of every unit; it decides how many follow.
        let mut normals = Matrix::default();
        normals.reshape(units, latent);
        let mut first = vec![0u16; units * width];
        for start in (0..units).step_by(TILE_ROWS) {
            let tile = start..(start + TILE_ROWS).min(units);
            let z = &mut buffers.latent;
            z.reshape(tile.len(), latent);
            for (r, unit) in tile.clone().enumerate() {
                self.prior.draw(rng, 0, normals.row_mut(unit), z.row_mut(r));
            }
            self.vae.decoder.sample(&self.parameters, &mut buffers, rng, &mut drawn);
            first[tile.start * width..tile.end * width].copy_from_slice(&drawn);
        }
        let Some(column) = rows_column else {
            *codes = first;
            offsets.extend(1..=units as u32);
            return;
        };
        let mut further = Vec::new();
        for (unit, row) in first.chunks_exact(width).enumerate() {
            let rows = u32::from(row[column]) + 1;
            let start = offsets[unit];
            further.extend((start + 1..start + rows).map(|place| (unit, place as usize)));
            offsets.push(start + rows);
        }
        codes.resize(offsets[units] as usize * width, 0);
        for (row, &place) in first.chunks_exact(width).zip(&*offsets) {
            codes[place as usize * width..][..width].copy_from_slice(row);
        }
        for tile in further.chunks(TILE_ROWS) {
            let z = &mut buffers.latent;
            z.reshape(tile.len(), latent);
            for (r, &(unit, _)) in tile.iter().enumerate() {
                self.prior.draw(rng, shared, normals.row_mut(unit), z.row_mut(r));
            }
            self.vae.decoder.sample(&self.parameters, &mut buffers, rng, &mut drawn);
            for (&(unit, place), row) in tile.iter().zip(drawn.chunks_exact(width)) {
                codes[place * width..][..width].copy_from_slice(row);
                codes[place * width + column] = first[unit * width + column];
            }
        }
    }

    /// The importance-weighted bound of each row (arXiv:1509.00519), [`DRAWS`] latent vectors each. Sums of weights
    /// over growing parts of a row give each column its part; the first one also has that of the latent numbers.
    fn nats(&self, codes: &[u16], rng: &mut ChaCha8Rng, nats: &mut [f64]) {
        let width = self.vae.width();
        let key: [u8; 32] = rng.random();
        let tiles = codes.par_chunks(TILE_ROWS * width).zip(nats.par_chunks_mut(TILE_ROWS * width));
        tiles.enumerate().for_each_init(VaeBuffers::default, |buffers, (tile, (codes, nats))| {
            let rows = codes.len() / width;
            let codes = Codes { codes: codes.to_vec(), width, offsets: (0..=rows as u32).collect() };
            let units: Vec<u32> = (0..rows as u32).collect();
            // Logarithms of the draws' weights: draws by rows by columns, the sums so far.
            let mut sums = vec![0.0f64; DRAWS * rows * width];
            for (draw, sums) in sums.chunks_exact_mut(rows * width).enumerate() {
                let loss = VaeLoss { vae: &self.vae, codes: &codes, key, step: (tile * DRAWS + draw) as u32 };
                loss.encode(&self.parameters, &units, buffers);
                let ratios: Vec<f64> = (0..rows).map(|r| buffers.log_ratio(r, &self.prior)).collect();
                self.vae.decoder.forward(&self.parameters, &codes.codes, &mut buffers.decoder);
                let output = buffers.decoder.mlp.output();
                softmax::probabilities(output.values_mut(), &self.vae.offsets);
                for (r, (sums, ratio)) in sums.chunks_exact_mut(width).zip(ratios).enumerate() {
                    let mut sum = ratio;
                    for (j, s) in sums.iter_mut().enumerate() {
                        let p = output.row(r)[self.vae.offsets[j] + usize::from(codes.row(r)[j])];
                        sum += f64::from(p).ln();
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
