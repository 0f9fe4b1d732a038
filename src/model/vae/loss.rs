//! The evidence bound, forward and backward.

use std::ops::Range;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use super::base::BaseBuffers;
use super::decoder::DecoderBuffers;
use super::{ACTIVATION, Prior, Vae};
use crate::encode::{CodeStore, Codes};
use crate::model::network::{Trainable, first_word};
use crate::nn::{Matrix, MlpBuffers, Network, Trace, softmax};

/// Activations and gradients of a tile of rows.
#[derive(Clone, Debug, Default)]
pub struct VaeBuffers {
    codes: Vec<u16>,
    /// `units + 1` row offsets.
    rows: Vec<usize>,
    embedding_slope: Matrix,
    embedding_gradient: Matrix,
    pub(super) encoder: MlpBuffers,
    /// The standard normal draws, and the standard deviations they were multiplied by.
    noise: Matrix,
    spread: Matrix,
    pub(super) decoder: DecoderBuffers,
    latent_gradient: Matrix,
    base: BaseBuffers,
}

impl VaeBuffers {
    /// Runs the rows last encoded through the decoder, whose output then holds the logits of every column.
    pub(super) fn decode(&mut self, vae: &Vae, parameters: &[f32]) {
        vae.decoder.forward(parameters, &self.codes, &mut self.decoder);
        vae.base.add(&self.codes, &self.rows, &mut self.base, self.decoder.mlp.output());
    }

    /// The logarithm of the prior's density over the posterior's at the latent numbers last drawn for row `r`.
    pub(super) fn log_ratio(&self, r: usize, prior: &Prior) -> f64 {
        let posterior = self.noise.row(r).iter().zip(self.spread.row(r));
        let by_posterior: f64 = posterior.map(|(&e, &s)| -0.5 * f64::from(e).powi(2) - f64::from(s).ln()).sum();
        prior.log_density(self.decoder.latent.row(r)) - by_posterior
    }

    /// The latent numbers last drawn, one row a row.
    pub(super) fn latent(&self) -> &Matrix {
        &self.decoder.latent
    }
}

/// Logarithms of posterior variances are clamped to this on both sides.
pub(super) const LOG_VARIANCE_BOUND: f32 = 12.0;

/// The negative evidence bound of some units, with its sampling noise fixed.
pub(super) struct VaeLoss<'a> {
    pub vae: &'a Vae,
    pub codes: &'a CodeStore,
    /// Draws of the latent numbers depend on this secret, the step and the unit's identity.
    pub key: [u8; 32],
    pub step: u32,
}

impl Trainable for Vae {
    type Buffers = VaeBuffers;

    fn parameters(&self) -> usize {
        self.table.len()
    }

    /// The negative evidence bound of each unit, summed over its rows.
    fn loss<'a>(&'a self, codes: &'a CodeStore, key: [u8; 32], step: u32) -> impl Network<Buffers = VaeBuffers> + 'a {
        VaeLoss { vae: self, codes, key, step }
    }

    fn draw(&self, parameters: &[f32], units: usize, rng: &mut ChaCha8Rng) -> Codes {
        let prior = Prior::standard(self.settings.latent);
        self.draw_rows(parameters, &prior, units, self.base.rows_column, rng)
    }

    fn drawn_with(&self) -> Range<usize> {
        self.decoder.start()..self.table.len()
    }

    fn mask(&self, parameters: &mut [f32]) {
        self.decoder.mask(parameters);
    }
}

impl VaeLoss<'_> {
    /// Encodes the rows of `units` and draws their latent numbers into the decoder's input.
    pub fn encode(&self, parameters: &[f32], units: &[u32], buffers: &mut VaeBuffers) {
        let VaeBuffers { codes, rows, embedding_slope, encoder, noise, spread, decoder, .. } = buffers;
        let vae = self.vae;
        assert_eq!(self.codes.width(), vae.width(), "codes have the layout of the model");
        codes.clear();
        rows.clear();
        rows.push(0);
        for &unit in units {
            self.codes.append_unit(unit as usize, codes);
            rows.push(codes.len() / vae.width());
        }
        let count = codes.len() / vae.width();
        let hidden = encoder.input();
        hidden.reshape(count, vae.embedding.outputs());
        vae.embedding.forward(parameters, codes, hidden);
        embedding_slope.reshape(count, vae.embedding.outputs());
        ACTIVATION.apply_with_slope(hidden.values_mut(), embedding_slope.values_mut());
        vae.encoder.forward(parameters, encoder);

        let (latent, shared) = (vae.settings.latent, vae.settings.shared);
        noise.reshape(count, latent);
        spread.reshape(count, latent);
        let posterior = encoder.output();
        let z = &mut decoder.latent;
        z.reshape(count, latent);
        let mut rng = ChaCha8Rng::from_seed(self.key);
        for (&unit, range) in units.iter().zip(rows.windows(2)) {
            rng.set_stream(self.codes.identity(unit));
            rng.set_word_pos(first_word(self.step));
            pool(posterior, range[0]..range[1], latent, shared);
            for r in range[0]..range[1] {
                let (mean, log_variance) = posterior.row_mut(r).split_at_mut(latent);
                for l in 0..latent {
                    let draw =
                        if l < shared && r > range[0] { noise.row(range[0])[l] } else { rng.sample(StandardNormal) };
                    let deviation = (0.5 * log_variance[l].clamp(-LOG_VARIANCE_BOUND, LOG_VARIANCE_BOUND)).exp();
                    noise.row_mut(r)[l] = draw;
                    spread.row_mut(r)[l] = deviation;
                    z.row_mut(r)[l] = mean[l] + deviation * draw;
                }
            }
        }
    }
}

/// Replaces the shared part of each row's posterior by its mean over the unit's rows.
fn pool(posterior: &mut Matrix, rows: std::ops::Range<usize>, latent: usize, shared: usize) {
    if rows.len() < 2 {
        return;
    }
    for l in (0..shared).chain(latent..latent + shared) {
        let mean = rows.clone().map(|r| posterior.row(r)[l]).sum::<f32>() / rows.len() as f32;
        rows.clone().for_each(|r| posterior.row_mut(r)[l] = mean);
    }
}

impl Network for VaeLoss<'_> {
    type Buffers = VaeBuffers;

    fn rows(&self, unit: u32) -> usize {
        self.codes.rows_of(unit as usize)
    }

    fn backpropagate(&self, parameters: &[f32], units: &[u32], buffers: &mut VaeBuffers) {
        self.encode(parameters, units, buffers);
        let vae = self.vae;
        buffers.decode(vae, parameters);
        let VaeBuffers {
            codes,
            rows,
            embedding_slope,
            embedding_gradient,
            encoder,
            noise,
            spread,
            decoder,
            latent_gradient,
            ..
        } = buffers;
        softmax::cross_entropy_gradient(decoder.mlp.output().values_mut(), &vae.offsets, codes);
        vae.decoder.backward(parameters, decoder, latent_gradient);

        // From the gradient of z and the Kullback-Leibler term to that of each row's mean and log-variance.
        let (latent, shared, kl_weight) = (vae.settings.latent, vae.settings.shared, vae.settings.kl_weight);
        let posterior = encoder.output();
        for range in rows.windows(2) {
            // The draw of the shared part, and its divergence, belong to the unit: each row's opinion has an equal part.
            let part = 1.0 / (range[1] - range[0]).max(1) as f32;
            for l in 0..shared {
                let sum: f32 = (range[0]..range[1]).map(|r| latent_gradient.row(r)[l]).sum();
                (range[0]..range[1]).for_each(|r| latent_gradient.row_mut(r)[l] = part * sum);
            }
            for r in range[0]..range[1] {
                let (mean, log_variance) = posterior.row_mut(r).split_at_mut(latent);
                for l in 0..latent {
                    let kl_weight = if l < shared { kl_weight * part } else { kl_weight };
                    let (dz, deviation) = (latent_gradient.row(r)[l], spread.row(r)[l]);
                    let inside = log_variance[l].abs() <= LOG_VARIANCE_BOUND;
                    let slope = 0.5 * (dz * noise.row(r)[l] * deviation + kl_weight * (deviation * deviation - 1.0));
                    mean[l] = dz + kl_weight * mean[l];
                    log_variance[l] = if inside { slope } else { 0.0 };
                }
            }
        }
        vae.encoder.backward(parameters, encoder, Some(embedding_gradient));
        embedding_gradient.values_mut().iter_mut().zip(embedding_slope.values()).for_each(|(g, s)| *g *= s);
    }

    fn traces(&self, buffers: &mut VaeBuffers, visit: &mut dyn FnMut(Trace<'_>)) {
        let VaeBuffers { codes, embedding_gradient, encoder, decoder, .. } = buffers;
        visit(Trace::Embedding { layer: &self.vae.embedding, codes, gradient: embedding_gradient, units: None });
        self.vae.encoder.traces(encoder, None, visit);
        self.vae.decoder.traces(codes, decoder, None, visit);
    }
}
