//! How likely trajectories are.

use super::loss::{TrajectoryBuffers, TrajectoryLoss};
use super::{Trajectory, TrajectoryGenerator};
use crate::encode::CodeStore;
use crate::nn::softmax;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// Latent vectors behind the likelihood of a person.
const DRAWS: usize = 4;
/// Persons scored at a time: without influence on the scores.
const PERSONS: usize = 16;

/// Nats of some rows of one chapter.
#[derive(Clone, Debug, Default)]
pub struct ChapterNats {
    /// One a row.
    pub rows: Vec<f64>,
    /// Sums over the rows, one a drawn column of the view.
    pub columns: Vec<f64>,
}

impl TrajectoryGenerator {
    /// How unexpected the rows of persons are, in nats, chapter by chapter: the importance-weighted bound of each person
    /// (arXiv:1509.00519), [`DRAWS`] latent vectors each. The columns of a row have the mean of what they cost under each; what
    /// the latent numbers cost counts with the first column of the person's own row.
    ///
    /// # Privacy
    /// Touches sensitive data, where the rows are real; the result is for the data's controller.
    pub fn nats(&self, codes: &CodeStore, rng: &mut ChaCha8Rng) -> Vec<ChapterNats> {
        let key: [u8; 32] = rng.random();
        let starts: Vec<usize> = (0..codes.units()).step_by(PERSONS).collect();
        let parts: Vec<Vec<ChapterNats>> = starts
            .into_par_iter()
            .map_init(TrajectoryBuffers::default, |buffers, start| {
                let units: Vec<u32> = (start as u32..(start + PERSONS).min(codes.units()) as u32).collect();
                self.trajectory.nats(&self.parameters, (codes, key), &units, buffers)
            })
            .collect();
        let mut all: Vec<ChapterNats> = self.trajectory.chapters.iter().map(|_| ChapterNats::default()).collect();
        for part in parts {
            for (all, chapter) in all.iter_mut().zip(part) {
                all.rows.extend(chapter.rows);
                all.columns.resize(chapter.columns.len(), 0.0);
                all.columns.iter_mut().zip(chapter.columns).for_each(|(sum, nats)| *sum += nats);
            }
        }
        all
    }
}

impl Trajectory {
    /// Nats of the persons of a tile.
    fn nats(
        &self,
        parameters: &[f32],
        (codes, key): (&CodeStore, [u8; 32]),
        units: &[u32],
        buffers: &mut TrajectoryBuffers,
    ) -> Vec<ChapterNats> {
        // Logarithms of the draws' weights, persons by draws; and of the probabilities, a chapter, cells by draws.
        let mut totals = vec![0.0f64; units.len() * DRAWS];
        let mut logs: Vec<Vec<f64>> = Vec::new();
        let mut persons: Vec<Vec<usize>> = Vec::new();
        for draw in 0..DRAWS {
            let loss = TrajectoryLoss { trajectory: self, codes, key, step: draw as u32, most_rows: usize::MAX };
            loss.encode(parameters, units, buffers);
            (0..units.len()).for_each(|person| totals[person * DRAWS + draw] = buffers.log_ratio(person));
            loss.decode(parameters, buffers);
            for (number, chapter) in self.chapters.iter().enumerate() {
                let (offsets, starts) = (chapter.drawn_offsets(), buffers.starts(number).to_vec());
                let columns = offsets.len() - 1;
                if draw == 0 {
                    let rows = starts[units.len()];
                    logs.push(vec![0.0; rows * columns * DRAWS]);
                    let person = |row: usize| starts.partition_point(|start| *start <= row) - 1;
                    persons.push((0..rows).map(person).collect());
                }
                if columns == 0 {
                    continue;
                }
                let (logits, drawn) = buffers.output(number);
                softmax::probabilities(logits.values_mut(), &offsets);
                for (row, codes) in drawn.chunks_exact(columns).enumerate() {
                    for (j, &code) in codes.iter().enumerate() {
                        let p = logits.row(row)[offsets[j] + usize::from(code)];
                        let log = f64::from(p.max(f32::MIN_POSITIVE)).ln();
                        logs[number][(row * columns + j) * DRAWS + draw] = log;
                        totals[persons[number][row] * DRAWS + draw] += log;
                    }
                }
            }
        }
        let (mut weights, mut left) = (Vec::with_capacity(totals.len()), Vec::with_capacity(units.len()));
        for totals in totals.chunks_exact(DRAWS) {
            let largest = totals.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = totals.iter().map(|total| (total - largest).exp()).sum();
            weights.extend(totals.iter().map(|total| (total - largest).exp() / sum));
            left.push((DRAWS as f64).ln() - largest - sum.ln());
        }
        let mut nats: Vec<ChapterNats> = Vec::with_capacity(self.chapters.len());
        for ((chapter, logs), persons) in self.chapters.iter().zip(&logs).zip(&persons) {
            let drawn = &chapter.order[chapter.known..];
            let mut own = ChapterNats { rows: vec![0.0; persons.len()], columns: vec![0.0; drawn.len()] };
            for (cell, logs) in logs.chunks_exact(DRAWS).enumerate() {
                let (row, j) = (cell / drawn.len(), cell % drawn.len());
                let weights = &weights[persons[row] * DRAWS..(persons[row] + 1) * DRAWS];
                let cost = -logs.iter().zip(weights).map(|(log, weight)| log * weight).sum::<f64>();
                own.rows[row] += cost;
                own.columns[drawn[j]] += cost;
                left[persons[row]] -= cost;
            }
            nats.push(own);
        }
        // The first chapter is that of the persons' own rows.
        if let Some(ChapterNats { rows, columns }) = nats.first_mut()
            && let Some(first) = columns.first_mut()
        {
            for (row, &person) in persons[0].iter().enumerate() {
                rows[row] += left[person];
                *first += left[person];
            }
        }
        nats
    }
}
