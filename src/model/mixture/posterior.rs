//! The mixture run backward: what evidence and rows say of the classes.

use rayon::prelude::*;

use super::conditionals::Posterior;
use super::fit::MEMBERS;
use super::generate::Mixture;
use crate::model::Evidence;

/// Rows whose classes one task follows.
const TILE_ROWS: usize = 256;

impl Mixture {
    /// The probability that a row of class `k` agrees with the evidence, on all columns but `without`.
    pub(super) fn agreement(&self, k: usize, evidence: &Evidence, without: Option<usize>) -> f64 {
        let columns = evidence.columns().iter().filter(|&&j| Some(j) != without);
        columns.map(|&j| self.column_agreement(k, j, evidence)).product()
    }

    fn column_agreement(&self, k: usize, j: usize, evidence: &Evidence) -> f64 {
        self.column(k, j).iter().zip(evidence.column(j)).map(|(p, a)| f64::from(p * a)).sum()
    }

    /// The distribution of a unit's class, given that all its rows agree with the evidence.
    pub(super) fn posterior(&self, rows_column: Option<usize>, evidence: Option<&Evidence>) -> Vec<f64> {
        let prior = self.weights.iter().map(|&w| f64::from(w));
        let Some(evidence) = evidence else { return prior.collect() };
        let given = |(k, prior): (usize, f64)| {
            let agreement = self.agreement(k, evidence, rows_column);
            let Some(column) = rows_column else { return prior * agreement };
            let numbers = self.column(k, column).iter().zip(evidence.column(column));
            let all_agree: f64 =
                numbers.enumerate().map(|(code, (p, a))| f64::from(p * a) * agreement.powi(code as i32 + 1)).sum();
            prior * all_agree
        };
        let mut weights: Vec<f64> = prior.enumerate().map(given).collect();
        let total: f64 = weights.iter().sum();
        if total > 0.0 {
            weights.iter_mut().for_each(|w| *w /= total);
        }
        weights
    }

    /// The probability that a row agrees, as each member of the committee has it: the members' classes lie one after
    /// the other, as many each.
    pub(super) fn opinions(&self, evidence: &Evidence) -> Vec<f64> {
        let members = if self.classes().is_multiple_of(MEMBERS) { MEMBERS } else { 1 };
        let classes = self.classes() / members;
        let opinion = |member: usize| {
            let own = member * classes..(member + 1) * classes;
            let weight: f64 = own.clone().map(|k| f64::from(self.weights[k])).sum();
            let agree = own.map(|k| f64::from(self.weights[k]) * self.agreement(k, evidence, None)).sum::<f64>();
            if weight > 0.0 { agree / weight } else { 0.0 }
        };
        (0..members).map(opinion).collect()
    }

    /// The negative logarithm of the probability of each cell given those before it in the row.
    pub(super) fn exact_nats(&self, codes: &[u16], nats: &mut [f64]) {
        let width = self.offsets.len() - 1;
        let tiles = codes.par_chunks(TILE_ROWS * width).zip(nats.par_chunks_mut(TILE_ROWS * width));
        tiles.for_each_init(Posterior::default, |posterior, (codes, nats)| {
            for (codes, nats) in codes.chunks_exact(width).zip(nats.chunks_exact_mut(width)) {
                self.start(1, posterior);
                for (j, (&code, nats)) in codes.iter().zip(nats).enumerate() {
                    *nats = -f64::from(self.observe(0, j, code, posterior)).ln();
                }
            }
        });
    }
}
