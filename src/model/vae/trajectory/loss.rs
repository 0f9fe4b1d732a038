//! The evidence bound of a trajectory, forward and backward.

use super::{Chapter, ChapterNetwork, Trajectory, log};
use crate::encode::{CodeStore, Codes};
use crate::model::network::{Trainable, first_word};
use crate::model::vae::decoder::DecoderBuffers;
use crate::model::vae::loss::LOG_VARIANCE_BOUND;
use crate::model::vae::{ACTIVATION, VaeSettings};
use crate::nn::{Matrix, MlpBuffers, Network, Trace, softmax};
use rand::seq::index;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use std::ops::Range;

/// Rows of a person in one chapter that a step of the training looks at, at most: which, is drawn anew at each step.
pub(super) const MOST_ROWS: usize = 32;
/// Where the draws of rows begin in a person's stream; those of the latent numbers come before.
const FIRST_WORD_OF_ROWS: u128 = 1 << 20;

/// Activations and gradients of the trajectories of a tile.
#[derive(Clone, Debug, Default)]
pub struct TrajectoryBuffers {
    codes: Vec<u16>,
    chapters: Vec<ChapterBuffers>,
    /// Rows of each person, in all chapters.
    rows: Vec<usize>,
    /// Persons by means and logarithms of variances; then their gradients.
    pub(super) posterior: Matrix,
    /// Persons by the standard normal draws, the standard deviations they were multiplied by, and the latent numbers.
    noise: Matrix,
    spread: Matrix,
    latent: Matrix,
    latent_gradient: Matrix,
}

#[derive(Clone, Debug, Default)]
struct ChapterBuffers {
    /// Rows of the network's columns, and of the drawn ones alone.
    codes: Vec<u16>,
    drawn: Vec<u16>,
    /// `persons + 1` row offsets.
    units: Vec<usize>,
    embedding_slope: Matrix,
    embedding_gradient: Matrix,
    encoder: MlpBuffers,
    decoder: DecoderBuffers,
    latent_gradient: Matrix,
    /// What the law says of the drawn cells.
    law: Vec<f32>,
}

impl ChapterBuffers {
    /// Takes a row of the chapter.
    fn push(&mut self, chapter: &Chapter, row: &[u16]) {
        let columns = &row[1..=chapter.order.len()];
        self.codes.extend(columns);
        self.drawn.extend(&columns[chapter.known..]);
        self.law.extend(row[1 + chapter.order.len()..chapter.end()].iter().map(|&steps| log(steps)));
    }
}

impl TrajectoryBuffers {
    /// The logarithm of the prior's density over the posterior's at the latent numbers last drawn for a person.
    pub(super) fn log_ratio(&self, person: usize) -> f64 {
        let draws = self.noise.row(person).iter().zip(self.spread.row(person)).zip(self.latent.row(person));
        draws.map(|((&e, &s), &z)| 0.5 * (f64::from(e).powi(2) - f64::from(z).powi(2)) + f64::from(s).ln()).sum()
    }

    /// Where the rows of each person last encoded start in a chapter, and their number.
    pub(super) fn starts(&self, chapter: usize) -> &[usize] {
        &self.chapters[chapter].units
    }

    /// What the decoder of a chapter last gave, and the drawn columns of the same rows.
    pub(super) fn output(&mut self, chapter: usize) -> (&mut Matrix, &[u16]) {
        let ChapterBuffers { decoder, drawn, .. } = &mut self.chapters[chapter];
        (decoder.mlp.output(), drawn)
    }
}

/// The negative evidence bound of some persons, with its sampling noise fixed.
pub(super) struct TrajectoryLoss<'a> {
    pub trajectory: &'a Trajectory,
    pub codes: &'a CodeStore,
    /// Draws of the latent numbers depend on this secret, the step and the person's identity.
    pub key: [u8; 32],
    pub step: u32,
    /// Rows of a person in one chapter that are looked at, at most.
    pub most_rows: usize,
}

impl Trainable for Trajectory {
    type Buffers = TrajectoryBuffers;

    fn parameters(&self) -> usize {
        self.table.len()
    }

    /// The negative evidence bound of each person, summed over all rows.
    fn loss<'a>(
        &'a self,
        codes: &'a CodeStore,
        key: [u8; 32],
        step: u32,
    ) -> impl Network<Buffers = TrajectoryBuffers> + 'a {
        TrajectoryLoss { trajectory: self, codes, key, step, most_rows: MOST_ROWS }
    }

    fn draw(&self, parameters: &[f32], units: usize, rng: &mut ChaCha8Rng) -> Codes {
        self.draw_persons(parameters, units, rng)
    }

    fn drawn_with(&self) -> Range<usize> {
        self.drawn_parameters()
    }

    fn mask(&self, parameters: &mut [f32]) {
        self.networks().for_each(|network| network.decoder.mask(parameters));
    }
}

impl TrajectoryLoss<'_> {
    /// Sorts the rows of `units` by chapter.
    fn read(&self, units: &[u32], buffers: &mut TrajectoryBuffers) {
        let TrajectoryBuffers { codes, chapters, rows, .. } = buffers;
        let trajectory = self.trajectory;
        let width = trajectory.width();
        assert_eq!(self.codes.width(), width, "codes have the layout of the model");
        chapters.resize_with(trajectory.chapters.len(), ChapterBuffers::default);
        for buffers in &mut *chapters {
            buffers.codes.clear();
            buffers.drawn.clear();
            buffers.units.clear();
            buffers.units.push(0);
            buffers.law.clear();
        }
        rows.clear();
        let mut rng = ChaCha8Rng::from_seed(self.key);
        for &unit in units {
            codes.clear();
            self.codes.append_unit(unit as usize, codes);
            rng.set_stream(self.codes.identity(unit));
            rng.set_word_pos(first_word(self.step) + FIRST_WORD_OF_ROWS);
            let (mut start, all) = (0, codes.len() / width);
            let mut looked_at = 0;
            while start < all {
                let number = codes[start * width];
                let own = (start..all).take_while(|row| codes[row * width] == number).count();
                let chosen = match own > self.most_rows {
                    true => index::sample(&mut rng, own, self.most_rows).into_vec(),
                    false => (0..own).collect(),
                };
                let number = usize::from(number);
                for row in &chosen {
                    let row = &codes[(start + row) * width..(start + row + 1) * width];
                    chapters[number].push(&trajectory.chapters[number], row);
                }
                looked_at += chosen.len();
                start += own;
            }
            rows.push(looked_at);
            for (chapter, buffers) in trajectory.chapters.iter().zip(&mut *chapters) {
                buffers.units.push(buffers.codes.len() / chapter.order.len().max(1));
            }
        }
    }

    /// Reads and encodes the rows of `units`, and draws the latent numbers of each.
    pub fn encode(&self, parameters: &[f32], units: &[u32], buffers: &mut TrajectoryBuffers) {
        self.read(units, buffers);
        let TrajectoryBuffers { chapters, rows, posterior, noise, spread, latent, .. } = buffers;
        let size = self.trajectory.settings.latent;
        posterior.reshape(units.len(), 2 * size);
        posterior.values_mut().fill(0.0);
        for (chapter, buffers) in self.trajectory.chapters.iter().zip(chapters) {
            let Some(ChapterNetwork { embedding, encoder, .. }) = &chapter.network else { continue };
            let ChapterBuffers { drawn, units, embedding_slope, encoder: room, .. } = buffers;
            let count = units[units.len() - 1];
            let hidden = room.input();
            hidden.reshape(count, embedding.outputs());
            embedding.forward(parameters, drawn, hidden);
            embedding_slope.reshape(count, embedding.outputs());
            ACTIVATION.apply_with_slope(hidden.values_mut(), embedding_slope.values_mut());
            encoder.forward(parameters, room);
            let opinions = room.output();
            for (person, range) in units.windows(2).enumerate() {
                let part = 1.0 / rows[person].max(1) as f32;
                let pooled = posterior.row_mut(person);
                for r in range[0]..range[1] {
                    pooled.iter_mut().zip(opinions.row(r)).for_each(|(pooled, opinion)| *pooled += part * opinion);
                }
            }
        }
        noise.reshape(units.len(), size);
        spread.reshape(units.len(), size);
        latent.reshape(units.len(), size);
        let mut rng = ChaCha8Rng::from_seed(self.key);
        for (person, &unit) in units.iter().enumerate() {
            rng.set_stream(self.codes.identity(unit));
            rng.set_word_pos(first_word(self.step));
            let (mean, log_variance) = posterior.row(person).split_at(size);
            for l in 0..size {
                let draw: f32 = rng.sample(StandardNormal);
                let deviation = (0.5 * log_variance[l].clamp(-LOG_VARIANCE_BOUND, LOG_VARIANCE_BOUND)).exp();
                noise.row_mut(person)[l] = draw;
                spread.row_mut(person)[l] = deviation;
                latent.row_mut(person)[l] = mean[l] + deviation * draw;
            }
        }
    }

    /// Runs the rows last encoded through the decoders, whose outputs then hold the logits of the drawn columns.
    pub fn decode(&self, parameters: &[f32], buffers: &mut TrajectoryBuffers) {
        let TrajectoryBuffers { chapters, latent, .. } = buffers;
        for (chapter, buffers) in self.trajectory.chapters.iter().zip(chapters) {
            let Some(network) = &chapter.network else { continue };
            let ChapterBuffers { codes, units, decoder, law, .. } = buffers;
            decoder.latent.reshape(units[units.len() - 1], latent.columns());
            for (person, range) in units.windows(2).enumerate() {
                (range[0]..range[1]).for_each(|r| decoder.latent.row_mut(r).copy_from_slice(latent.row(person)));
            }
            network.decoder.forward(parameters, codes, decoder);
            let output = decoder.mlp.output().values_mut();
            output.iter_mut().zip(&*law).for_each(|(logit, log)| *logit += log);
        }
    }
}

impl Network for TrajectoryLoss<'_> {
    type Buffers = TrajectoryBuffers;

    fn rows(&self, unit: u32) -> usize {
        self.codes.rows_of(unit as usize)
    }

    fn backpropagate(&self, parameters: &[f32], units: &[u32], buffers: &mut TrajectoryBuffers) {
        self.encode(parameters, units, buffers);
        self.decode(parameters, buffers);
        let TrajectoryBuffers { chapters, rows, posterior, noise, spread, latent_gradient, .. } = buffers;
        let VaeSettings { latent, kl_weight, .. } = self.trajectory.settings;
        latent_gradient.reshape(units.len(), latent);
        latent_gradient.values_mut().fill(0.0);
        for (chapter, buffers) in self.trajectory.chapters.iter().zip(&mut *chapters) {
            let Some(network) = &chapter.network else { continue };
            let ChapterBuffers { drawn, units, decoder, latent_gradient: by_row, .. } = buffers;
            softmax::cross_entropy_gradient(decoder.mlp.output().values_mut(), &chapter.drawn_offsets(), drawn);
            network.decoder.backward(parameters, decoder, by_row);
            for (person, range) in units.windows(2).enumerate() {
                let sum = latent_gradient.row_mut(person);
                (range[0]..range[1]).for_each(|r| sum.iter_mut().zip(by_row.row(r)).for_each(|(s, g)| *s += g));
            }
        }
        // From the gradient of z and the Kullback-Leibler term to that of each person's mean and log-variance.
        for person in 0..units.len() {
            let (mean, log_variance) = posterior.row_mut(person).split_at_mut(latent);
            for l in 0..latent {
                let (dz, deviation) = (latent_gradient.row(person)[l], spread.row(person)[l]);
                let inside = log_variance[l].abs() <= LOG_VARIANCE_BOUND;
                let slope = 0.5 * (dz * noise.row(person)[l] * deviation + kl_weight * (deviation * deviation - 1.0));
                mean[l] = dz + kl_weight * mean[l];
                log_variance[l] = if inside { slope } else { 0.0 };
            }
        }
        for (chapter, buffers) in self.trajectory.chapters.iter().zip(chapters) {
            let Some(network) = &chapter.network else { continue };
            let ChapterBuffers { units, embedding_slope, embedding_gradient, encoder, .. } = buffers;
            let opinions = encoder.output();
            for (person, range) in units.windows(2).enumerate() {
                // Each row's opinion has an equal part.
                let part = 1.0 / rows[person].max(1) as f32;
                for r in range[0]..range[1] {
                    let own = opinions.row_mut(r).iter_mut();
                    own.zip(posterior.row(person)).for_each(|(own, pooled)| *own = part * pooled);
                }
            }
            network.encoder.backward(parameters, encoder, Some(embedding_gradient));
            embedding_gradient.values_mut().iter_mut().zip(embedding_slope.values()).for_each(|(g, s)| *g *= s);
        }
    }

    fn traces(&self, buffers: &mut TrajectoryBuffers, visit: &mut dyn FnMut(Trace<'_>)) {
        for (chapter, buffers) in self.trajectory.chapters.iter().zip(&mut buffers.chapters) {
            let Some(ChapterNetwork { embedding, encoder, decoder }) = &chapter.network else { continue };
            let ChapterBuffers { codes, drawn, units, embedding_gradient, encoder: e, decoder: d, .. } = buffers;
            let units = Some(&**units);
            visit(Trace::Embedding { layer: embedding, codes: drawn, gradient: embedding_gradient, units });
            encoder.traces(e, units, visit);
            decoder.traces(codes, d, units, visit);
        }
    }
}
