//! Attacks that look for synthetic rows like a record, and for records like a synthetic row.

use super::super::neighbours::{Alike, Measure, NEAREST, PARENTS, Side, Surroundings};
use super::super::records::{Records, counts};
use super::super::result::Proxies;
use rand::SeedableRng;
use rand::seq::index::sample;
use rand_chacha::ChaCha8Rng;
use std::collections::HashSet;

/// Rows of the pool that others are calibrated against, at most.
const MOST_REFERENCES: usize = 20_000;
/// A synthetic row copies a record nearly when it explains these shares of what is particular about it.
const NEAR: [f64; 3] = [0.95, 0.85, 0.7];
/// A bit of agreement more speaks so many bits for one parent of a synthetic row against another.
const PARENT_RATE: f64 = 0.5;

/// All comparisons of an audit, from which the attacks of this file score.
pub(super) struct Resemblance {
    synthetic: Vec<Surroundings>,
    pool: Vec<Surroundings>,
    parents: Vec<[Alike; PARENTS]>,
}

impl Resemblance {
    pub fn new(records: &Records, seed: u64) -> Self {
        let measure = Measure::new(records, None);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let rows = records.pool_rows();
        let mut some: Vec<u32> =
            sample(&mut rng, rows, rows.min(MOST_REFERENCES)).iter().map(|row| row as u32).collect();
        some.sort_unstable();
        let synthetic = measure.targets(Side::Synthetic, (0..records.synthetic_rows() as u32).collect());
        let references = measure.targets(Side::Pool, some);
        let pool = measure.targets(Side::Pool, (0..records.pool_rows() as u32).collect());
        let rows: Vec<usize> = (0..records.pool_rows()).collect();
        Self {
            synthetic: measure.surroundings(records, &rows, &synthetic, Side::Synthetic),
            pool: measure.surroundings(records, &rows, &references, Side::Pool),
            parents: measure.parents(records, &pool),
        }
    }

    /// How isolated each row is among the others: the mean distance of its nearest ones (Achilles, 2306.10308).
    pub fn isolation(&self) -> Vec<f64> {
        self.pool.iter().map(|near| near.distance.iter().sum::<f64>() / NEAREST as f64).collect()
    }

    /// The calibrated score of each row, from its surroundings among the synthetic rows and among the pool.
    fn calibrated(&self, score: impl Fn(&Surroundings, &Surroundings) -> f64) -> Vec<f64> {
        self.synthetic.iter().zip(&self.pool).map(|(synthetic, pool)| score(synthetic, pool)).collect()
    }

    /// Near copies, by the scales that are reached, where the synthetic row is nearer than any other record.
    pub fn near_copies(&self) -> Vec<f64> {
        self.calibrated(|synthetic, pool| {
            let reached = NEAR.iter().filter(|&&share| synthetic.agreement[0] >= share).count();
            if synthetic.agreement[0] > pool.agreement[0] { reached as f64 } else { 0.0 }
        })
    }

    /// Agreement with the nearest synthetic row against that with the nearest other record.
    pub fn agreement(&self) -> Vec<f64> {
        self.calibrated(|synthetic, pool| synthetic.agreement[0] - pool.agreement[0])
    }

    /// Distance to the nearest other record against that to the nearest synthetic row.
    pub fn distance(&self) -> Vec<f64> {
        self.calibrated(|synthetic, pool| (pool.distance[0] + 0.1).ln() - (synthetic.distance[0] + 0.1).ln())
    }

    /// The same, over several nearest rows.
    pub fn several_distances(&self) -> Vec<f64> {
        let mean = |near: &Surroundings| near.distance.iter().sum::<f64>() / NEAREST as f64;
        self.calibrated(|synthetic, pool| (mean(pool) + 0.1).ln() - (mean(synthetic) + 0.1).ln())
    }

    /// The half of the columns on which a synthetic row stands out most.
    pub fn halves(&self) -> Vec<f64> {
        self.calibrated(|synthetic, pool| {
            let excess = synthetic.halves.iter().zip(&pool.halves).map(|(s, p)| s - p);
            excess.fold(f64::NEG_INFINITY, f64::max)
        })
    }

    /// Density among the synthetic rows against density among the records (DOMIAS, 2302.12580), of one of two widths.
    pub fn density(&self, width: usize) -> Vec<f64> {
        self.calibrated(|synthetic, pool| synthetic.log_density[width] - pool.log_density[width])
    }

    /// How many synthetic rows a record is the likeliest parent of, each shared out by likelihood: what the record adds to
    /// the likelihood of the synthetic table (Gen-LRA, 2508.21146), to first order. Records that are tied have equal shares;
    /// those that are tied with more than are kept have none, for which of them are kept would be a matter of their order.
    pub fn lineage(&self, records: &Records) -> Vec<f64> {
        let mut scores = vec![0.0; records.pool_rows()];
        for parents in &self.parents {
            let told = parents.iter().take_while(|p| p.bits > parents[NEAREST].bits);
            let likelihood = |p: &Alike| ((p.bits - parents[0].bits) * PARENT_RATE).exp2();
            let total: f64 = told.clone().map(likelihood).sum();
            told.for_each(|parent| scores[parent.row as usize] += likelihood(parent) / total);
        }
        scores
    }

    /// The most bits by which some synthetic row agrees with a record more than with anybody else's.
    pub fn margin(&self, records: &Records) -> Vec<f64> {
        let mut scores = vec![0.0_f64; records.pool_rows()];
        for parents in &self.parents {
            let unit = records.unit_of[parents[0].row as usize];
            let other =
                parents.iter().find(|p| records.unit_of[p.row as usize] != unit).unwrap_or(&parents[PARENTS - 1]);
            let score = &mut scores[parents[0].row as usize];
            *score = score.max(parents[0].bits - other.bits);
        }
        scores
    }

    /// Whether both halves of the columns of a row lead to the same synthetic row, and so link what two tables know.
    pub fn linked(&self) -> Vec<bool> {
        self.synthetic.iter().map(|near| near.halves_at[0] == near.halves_at[1]).collect()
    }

    /// What the field prints of distances, though no attacker is behind it.
    pub fn proxies(&self, records: &Records) -> Proxies {
        let nearest = |of_members: bool| -> Vec<(f64, f64)> {
            let mut of: Vec<(f64, f64)> = (0..records.pool_rows())
                .filter(|&row| records.member[records.unit_of[row] as usize] == of_members)
                .map(|row| &self.synthetic[row].distance)
                .map(|d| (d[0], if d[1] > 0.0 { d[0] / d[1] } else { 1.0 }))
                .collect();
            of.sort_by(|a, b| a.0.total_cmp(&b.0));
            of
        };
        let (members, holdout) = (nearest(true), nearest(false));
        let low = |of: &[(f64, f64)]| of[of.len() / 20].0;
        let ratio = |of: &[(f64, f64)]| of.iter().map(|(_, ratio)| ratio).sum::<f64>() / of.len() as f64;
        // The share of members among the nearest records, where all of those that are equally near are kept.
        let to_member = |parents: &[Alike; PARENTS]| {
            let nearest: Vec<&Alike> = parents.iter().take_while(|p| p.bits == parents[0].bits).collect();
            let members = nearest.iter().filter(|p| records.member[records.unit_of[p.row as usize] as usize]).count();
            (nearest.len() < PARENTS).then_some(members as f64 / nearest.len() as f64)
        };
        let told: Vec<f64> = self.parents.iter().filter_map(to_member).collect();
        let rows_of_members = members.len() as f64 / records.pool_rows() as f64;
        Proxies {
            note: "not evidence of privacy".into(),
            nearest_is_member: if told.is_empty() {
                rows_of_members
            } else {
                told.iter().sum::<f64>() / told.len() as f64
            },
            nearest_is_member_expected: rows_of_members,
            distance_5_percent_members: low(&members),
            distance_5_percent_holdout: low(&holdout),
            distance_ratio_members: ratio(&members),
            distance_ratio_holdout: ratio(&holdout),
        }
    }
}

/// Exact copies among the rows with the given keys. Those of rows that nobody else in the pool has come first.
pub(in super::super) fn copies(records: &Records, synthetic: &HashSet<u64>) -> Vec<f64> {
    let equal = counts(&records.pool_keys);
    let score = |key: &u64| if synthetic.contains(key) { 1.0 / f64::from(equal[key]) } else { 0.0 };
    records.pool_keys.iter().map(score).collect()
}
