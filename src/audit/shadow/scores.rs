//! How likely a model takes each unit to be, with the same draws for every model.

use super::pool::Pool;
use crate::encode::{Codec, Layout, Records};
use crate::model::{Mixture, ModelFile, ModelKind};
use crate::train;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::collections::HashMap;

/// A cell counts for so many nats at most: one that a model holds impossible would drown all others.
const MOST_NATS: f64 = 20.0;
/// Times that a network is asked: 64 latent vectors of a VAE, which looks at four each time; 16 orders in which a
/// diffusion model uncovers the columns, which takes two, so that each row is looked at with every number of columns
/// hidden, under 16 masks each (the grid of timesteps of 2503.12008).
const ASKED_VAE: u64 = 16;
const ASKED_DIFFUSION: u64 = 8;

/// What is scored, in the order of [`scores`].
pub fn channels(kind: ModelKind) -> &'static [Channel] {
    if kind == ModelKind::Independent { &[Channel::Likelihood] } else { &[Channel::Likelihood, Channel::Measured] }
}

/// A kind of score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// The log likelihood of the unit's rows, or a bound of it.
    Likelihood,
    /// The sum, over all groups of columns whose cells were counted in the fit, of the log probability of a row's cell: only
    /// what was measured (structure-aware attack, 2402.06699).
    Measured,
}

/// Scores of the pool's units in nats, a vector a channel: sums over a unit's rows.
///
/// # Privacy
/// Touches sensitive data; for the data's controller.
pub fn scores(model: &ModelFile, pool: &Pool) -> Vec<Vec<f64>> {
    let records = Records::new(pool.frame(), &model.domain, &model.header.codecs);
    let codes = records.complete(&model.domain, &model.header.codecs);
    let score = |channel: &Channel| match channel {
        Channel::Likelihood => pool.by_unit(&likelihood(model, &codes)),
        Channel::Measured => pool.by_unit(&measured(model, &codes)),
    };
    channels(model.header.model).iter().map(score).collect()
}

/// Log likelihood of each row: exact for a mixture, the importance-weighted bound of a VAE, the mean evidence bound of a
/// diffusion model. What is drawn on the way is the same for all models of a table.
fn likelihood(model: &ModelFile, codes: &[u16]) -> Vec<f64> {
    let width = model.domain.columns.len();
    let asked = match model.header.model {
        ModelKind::Independent | ModelKind::Marginal => 1,
        ModelKind::Vae => ASKED_VAE,
        ModelKind::Diffusion => ASKED_DIFFUSION,
    };
    let mut nats = vec![0.0; codes.len()];
    let mut answers: Vec<Vec<f64>> = vec![Vec::new(); codes.len() / width];
    for seed in 0..asked {
        model.generator.nats(codes, &mut ChaCha8Rng::seed_from_u64(seed), &mut nats);
        for (row, answers) in nats.chunks_exact_mut(width).zip(&mut answers) {
            if let Some(column) = model.domain.rows_column {
                row[column] = 0.0;
            }
            answers.push(-row.iter().map(|nats| nats.min(MOST_NATS)).sum::<f64>());
        }
    }
    let mean = |answers: &Vec<f64>| answers.iter().sum::<f64>() / asked as f64;
    let log_mean = |answers: &Vec<f64>| {
        let largest = answers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        largest + (answers.iter().map(|log| (log - largest).exp()).sum::<f64>() / asked as f64).ln()
    };
    if model.header.model == ModelKind::Diffusion {
        answers.iter().map(mean).collect()
    } else {
        answers.iter().map(log_mean).collect()
    }
}

/// Log probability of each row's cells in all that was counted together, as the mixture of the model has it.
fn measured(model: &ModelFile, codes: &[u16]) -> Vec<f64> {
    let layout = Layout { cells: model.header.codecs.iter().map(Codec::cells).collect() };
    // The tensors are those of a model that was read or fitted, so there is a mixture in them.
    let Ok(mixture) = Mixture::from_tensors(&layout, &model.generator.tensors()) else { return Vec::new() };
    let offsets = mixture.offsets();
    let mut with: HashMap<Option<usize>, Vec<[usize; 2]>> = HashMap::new();
    for columns in train::counted_together(model) {
        with.entry(columns.get(2).copied()).or_default().push([columns[0], columns[1]]);
    }
    let width = layout.width();
    let mut sums = vec![0.0; codes.len() / width];
    let mut third: Vec<(Option<usize>, Vec<[usize; 2]>)> = with.into_iter().collect();
    third.sort_unstable();
    for (column, pairs) in third {
        let cells: Vec<Option<(usize, u16)>> =
            column.map_or_else(|| vec![None], |c| (0..layout.cells[c]).map(|code| Some((c, code as u16))).collect());
        for with in cells {
            let probabilities = mixture.pairs(with);
            for (row, sum) in codes.chunks_exact(width).zip(&mut sums) {
                if with.is_none_or(|(column, code)| row[column] == code) {
                    let log = |&[a, b]: &[usize; 2]| {
                        let p = probabilities.row(offsets[a] + usize::from(row[a]))[offsets[b] + usize::from(row[b])];
                        f64::from(p).ln().max(-MOST_NATS)
                    };
                    *sum += pairs.iter().map(log).sum::<f64>();
                }
            }
        }
    }
    sums
}
