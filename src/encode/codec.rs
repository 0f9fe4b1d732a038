//! A column's codec: joint cells for the networks, and the law inside each.

use super::domain::Domain;
use super::positions::Positions;
use crate::ingest::MISSING;
use rand::Rng;
use serde::{Deserialize, Serialize};

/// Joint cells of a numeric column, at most, missing left out.
pub const MAX_BINS: usize = 32;

/// Joint cells of labels, or of their groups, at most, missing left out: the rarer ones share one.
pub const MAX_LABELS: usize = 64;

/// Labels whose released count is below so many noise standard deviations are
/// modelled as one joint cell and told apart by their own counts only.
const RARE: f64 = 2.0;

/// A run of positions with its released count.
#[derive(Clone, Debug, PartialEq)]
pub struct Leaf {
    pub first: u32,
    pub last: u32,
    pub count: f64,
}

/// A run of positions inside a joint cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Fine {
    joint: u16,
    first: u32,
    last: u32,
    /// Released probability of the run.
    probability: f32,
}

/// How the positions of one column become joint codes and come back.
///
/// # Privacy
/// Post-processing: made from public domains and released counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Codec {
    /// Joint cells, missing included.
    cells: usize,
    /// Runs in order of position; missing, when there is one, is the last.
    fine: Vec<Fine>,
}

impl Codec {
    /// A codec of labels from their released counts. `counts` has one entry a
    /// label and, for a nullable column, one more for missing; `total` is the
    /// public or released number of units, `noise_std` that of each count.
    ///
    /// Labels of a code system share the joint cell of their group; rare labels
    /// share one joint cell.
    pub fn of_labels(domain: &Domain, nullable: bool, counts: &[f64], total: f64, noise_std: f64) -> Self {
        let labels = domain.positions() as usize;
        let probabilities = to_distribution(counts, total);
        let groups: &[u32] = match domain {
            Domain::Labels { groups, .. } => groups,
            Domain::Numbers { .. } => &[],
        };
        let key = |label: usize| groups.get(label).copied().unwrap_or(label as u32);
        let keys = (0..labels).map(key).max().map_or(0, |k| k as usize + 1);
        let mut mass = vec![0.0; keys];
        for label in 0..labels {
            mass[key(label) as usize] += probabilities[label];
        }
        let mut masses = mass.clone();
        masses.sort_unstable_by(|a, b| b.total_cmp(a));
        let least = if keys > MAX_LABELS { masses[MAX_LABELS - 2] } else { 0.0 };
        let is_rare = |k: usize| mass[k] < least || mass[k] * total < RARE * noise_std;
        let mut joint_of_key = vec![u16::MAX; keys];
        let mut cells = 0;
        for k in (0..labels).map(|l| key(l) as usize) {
            if joint_of_key[k] == u16::MAX && !is_rare(k) {
                joint_of_key[k] = cells;
                cells += 1;
            }
        }
        if joint_of_key.contains(&u16::MAX) && labels > 0 {
            // All rare keys, and keys without a label, share one last cell.
            let any_rare = (0..labels).any(|l| joint_of_key[key(l) as usize] == u16::MAX);
            for joint in joint_of_key.iter_mut().filter(|j| **j == u16::MAX) {
                *joint = cells;
            }
            cells += u16::from(any_rare);
        }
        let mut fine: Vec<Fine> = (0..labels)
            .map(|label| Fine {
                joint: joint_of_key[key(label) as usize],
                first: label as u32,
                last: label as u32,
                probability: probabilities[label] as f32,
            })
            .collect();
        let missing = nullable.then(|| probabilities.get(labels).copied().unwrap_or(0.0));
        Self::finish(&mut fine, cells, missing)
    }

    /// A codec of which nothing but the public domain is known: numbers in at most `bins` equal cells, labels each in a cell
    /// but for the last of `bins`, which has all that are left.
    pub fn of_equal(domain: &Domain, bins: usize) -> Self {
        let positions = domain.positions();
        let width = if matches!(domain, Domain::Labels { .. }) { 1 } else { positions.div_ceil(bins as u32).max(1) };
        let runs = (0..positions).step_by(width as usize).enumerate();
        let probability = width as f32 / positions.max(1) as f32;
        let fine = |(joint, first): (usize, u32)| Fine {
            joint: joint.min(bins - 1) as u16,
            first,
            last: first.saturating_add(width - 1).min(positions - 1),
            probability,
        };
        let fine: Vec<Fine> = runs.map(fine).collect();
        Self { cells: fine.len().min(bins), fine }
    }

    /// A codec of numbers from released leaves in order of position: at most
    /// `bins` joint cells of about equal mass; a single position that holds
    /// that much (a spike) is a cell of its own.
    pub fn of_leaves(leaves: &[Leaf], missing: Option<f64>, total: f64, bins: usize) -> Self {
        let counts: Vec<f64> = leaves.iter().map(|l| l.count).chain(missing).collect();
        let probabilities = to_distribution(&counts, total);
        let present: f64 = probabilities[..leaves.len()].iter().sum();
        let share = (present / bins as f64).max(f64::MIN_POSITIVE);
        let (mut joint, mut mass) = (0u16, 0.0);
        let mut fine = Vec::with_capacity(leaves.len() + 1);
        for (leaf, &probability) in leaves.iter().zip(&probabilities) {
            let full = mass > 0.0 && (mass + probability > 1.25 * share || probability >= share);
            if full && usize::from(joint) + 1 < bins {
                joint += 1;
                mass = 0.0;
            }
            mass += probability;
            fine.push(Fine { joint, first: leaf.first, last: leaf.last, probability: probability as f32 });
        }
        Self::finish(&mut fine, joint + 1, missing.map(|_| probabilities[leaves.len()]))
    }

    fn finish(fine: &mut Vec<Fine>, cells: u16, missing: Option<f64>) -> Self {
        if let Some(probability) = missing {
            fine.push(Fine { joint: cells, first: MISSING, last: MISSING, probability: probability as f32 });
        }
        Self { cells: usize::from(cells) + usize::from(missing.is_some()), fine: std::mem::take(fine) }
    }

    /// The same with a joint cell for missing ones, though none was seen.
    #[must_use]
    pub fn with_missing(mut self) -> Self {
        if self.fine.last().is_none_or(|fine| fine.first != MISSING) {
            let joint = self.cells as u16;
            self.fine.push(Fine { joint, first: MISSING, last: MISSING, probability: 0.0 });
            self.cells += 1;
        }
        self
    }

    /// The same with the law moved towards one in which each run has half the probability of the run before, by the part of
    /// their squared distance that noise explains (James and Stein 1961). `noise_variance` is that of the shares of all
    /// joint cells together. Of counts of which nothing is known but noise, large ones are thus rare.
    #[must_use]
    pub fn toward_small(mut self, noise_variance: f64) -> Self {
        let runs = self.fine.iter().filter(|fine| fine.first != MISSING).count() as i32;
        let halves = |place: usize| 0.5f64.powi(place as i32 + 1) / (1.0 - 0.5f64.powi(runs));
        let own = self.marginal();
        let mut small = vec![0.0; self.cells];
        for (place, fine) in self.fine.iter().enumerate().filter(|(_, fine)| fine.first != MISSING) {
            small[usize::from(fine.joint)] += halves(place);
        }
        let distance: f64 = own.iter().zip(&small).map(|(own, small)| (own - small).powi(2)).sum();
        let kept = (1.0 - noise_variance / distance.max(f64::MIN_POSITIVE)).max(0.0);
        for (place, fine) in self.fine.iter_mut().enumerate() {
            let small = if fine.first == MISSING { 0.0 } else { halves(place) };
            fine.probability = (kept * f64::from(fine.probability) + (1.0 - kept) * small) as f32;
        }
        self
    }

    /// Joint cells, missing included.
    pub fn cells(&self) -> usize {
        self.cells
    }

    /// The released probability of each joint cell.
    pub fn marginal(&self) -> Vec<f64> {
        let mut marginal = vec![0.0; self.cells];
        for fine in &self.fine {
            marginal[usize::from(fine.joint)] += f64::from(fine.probability);
        }
        marginal
    }

    /// The mean position of the released law, of one joint cell or of all; 0 where it has no mass.
    pub fn mean_position(&self, cell: Option<u16>) -> f64 {
        let own = || self.fine.iter().filter(|f| cell.is_none_or(|cell| f.joint == cell));
        let mass: f64 = own().map(|f| f64::from(f.probability)).sum();
        let middle = |f: &Fine| f64::from(f.probability) * (f64::from(f.first) + f64::from(f.last)) / 2.0;
        if mass > 0.0 { own().map(middle).sum::<f64>() / mass } else { 0.0 }
    }

    /// So many positions evenly spaced in the released law of what is not missing; none where it has no mass.
    pub fn quantiles(&self, count: usize) -> Vec<u32> {
        let present = || self.fine.iter().filter(|f| f.first != MISSING);
        let mass: f64 = present().map(|f| f64::from(f.probability)).sum();
        let (mut runs, mut before) = (present().peekable(), 0.0);
        let quantile = |n: usize| {
            let wanted = (n as f64 + 0.5) / count as f64 * mass;
            while runs.peek().is_some_and(|f| before + f64::from(f.probability) <= wanted) {
                before += runs.next().map_or(0.0, |f| f64::from(f.probability));
            }
            let f = runs.peek()?;
            Some(f.first + ((wanted - before) / f64::from(f.probability) * f64::from(f.last - f.first)) as u32)
        };
        (0..count).map_while(quantile).collect()
    }

    /// The joint code of a position. A position no run covers takes the nearest run below.
    pub fn joint_code(&self, position: u32) -> u16 {
        let next = self.fine.partition_point(|f| f.first <= position);
        self.fine.get(next.saturating_sub(1)).map_or(0, |f| f.joint)
    }

    /// For each joint cell, the part of its law that lies in the allowed positions.
    pub fn shares(&self, allowed: &Positions) -> Vec<f32> {
        let share = |(pieces, whole): (Vec<Piece>, f32)| pieces.iter().map(|piece| piece.weight).sum::<f32>() / whole;
        (0..self.cells).map(|cell| share(self.pieces(cell, allowed)).clamp(0.0, 1.0)).collect()
    }

    /// The allowed parts of a joint cell's runs, and the weight of all its runs. A cell without mass counts its runs
    /// alike.
    fn pieces(&self, cell: usize, allowed: &Positions) -> (Vec<Piece>, f32) {
        let own = || self.fine.iter().filter(|f| usize::from(f.joint) == cell);
        let mass: f32 = own().map(|f| f.probability).sum();
        let weight = |f: &Fine| if mass > 0.0 { f.probability } else { 1.0 };
        let part = |f: &Fine, (first, last): (u32, u32)| {
            let weight = if (first, last) == (f.first, f.last) {
                weight(f)
            } else {
                weight(f) * (f64::from(last - first + 1) / (f64::from(f.last - f.first) + 1.0)) as f32
            };
            Piece { first, last, weight }
        };
        let parts = own().flat_map(|f| allowed.within(f.first, f.last).map(move |run| part(f, run)));
        (parts.collect(), own().map(weight).sum())
    }

    /// The positions of a joint cell.
    pub fn positions(&self, cell: u16) -> Positions {
        Positions::of_runs(self.fine.iter().filter(|f| f.joint == cell).map(|f| (f.first, f.last)))
    }

    /// The likeliest position of a joint cell, in the middle of its likeliest run, and its probability.
    pub fn likeliest(&self, cell: u16) -> Option<(u32, f32)> {
        let each = |f: &Fine| f.probability / ((f.last - f.first) as f32 + 1.0);
        let best = self.fine.iter().filter(|f| f.joint == cell).max_by(|a, b| each(a).total_cmp(&each(b)))?;
        Some((best.first + (best.last - best.first) / 2, each(best)))
    }

    /// Whether the codec, read from a file, is consistent and fits its column:
    /// runs in order and inside the domain, missing last and only where it may
    /// be, no joint cell empty, probabilities that are numbers.
    pub fn fits(&self, domain: &Domain, nullable: bool) -> bool {
        let (present, missing) = match self.fine.split_last() {
            Some((last, present)) if nullable && last.first == MISSING => (present, true),
            _ => (&self.fine[..], false),
        };
        let mut used = vec![false; self.cells.min(usize::from(u16::MAX))];
        for fine in &self.fine {
            match used.get_mut(usize::from(fine.joint)) {
                Some(used) => *used = true,
                None => return false,
            }
        }
        used.len() == self.cells
            && used.iter().all(|&u| u)
            && missing == nullable
            && present.iter().all(|f| f.first <= f.last && f.last < domain.positions())
            && present.windows(2).all(|w| w[0].last < w[1].first)
            && self.fine.iter().all(|f| (0.0..=1.0).contains(&f.probability))
    }
}

/// Counts to probabilities: the nearest non-negative counts (in L2) that add
/// up to `total`, which sets small noisy counts to zero instead of letting
/// their positive half pile up.
fn to_distribution(counts: &[f64], total: f64) -> Vec<f64> {
    let total = total.max(1.0);
    let mut sorted = counts.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let (mut sum, mut threshold) = (0.0, 0.0);
    for (i, &count) in sorted.iter().enumerate() {
        sum += count;
        let candidate = (sum - total) / (i + 1) as f64;
        if count > candidate {
            threshold = candidate;
        }
    }
    counts.iter().map(|c| (c - threshold).max(0.0) / total).collect()
}

/// A run of positions that may be drawn.
struct Piece {
    first: u32,
    last: u32,
    weight: f32,
}

/// Tables for drawing positions inside joint cells.
pub struct Decoder {
    /// Start of each joint cell in `runs`, and the end.
    starts: Vec<u32>,
    /// First position, number of positions less one, and cumulative probability inside the cell.
    runs: Vec<(u32, u32, f32)>,
}

impl Decoder {
    pub fn new(codec: &Codec) -> Self {
        Self::within(codec, &Positions::all(MISSING, true))
    }

    /// Draws allowed positions only, by the law of each cell given that. A cell without any gives [`MISSING`]: it must
    /// not be asked.
    pub fn within(codec: &Codec, allowed: &Positions) -> Self {
        let mut starts = Vec::with_capacity(codec.cells + 1);
        let mut runs: Vec<(u32, u32, f32)> = Vec::with_capacity(codec.fine.len());
        for cell in 0..codec.cells {
            starts.push(runs.len() as u32);
            let (pieces, _) = codec.pieces(cell, allowed);
            let mass: f32 = pieces.iter().map(|piece| piece.weight).sum();
            let mut cumulative = 0.0;
            for Piece { first, last, weight } in pieces {
                cumulative += weight / mass;
                runs.push((first, last - first, cumulative));
            }
        }
        starts.push(runs.len() as u32);
        Self { starts, runs }
    }

    fn cell(&self, joint: u16) -> &[(u32, u32, f32)] {
        &self.runs[self.starts[usize::from(joint)] as usize..self.starts[usize::from(joint) + 1] as usize]
    }

    /// The last position that the joint cell may have.
    pub fn last(&self, joint: u16) -> Option<u32> {
        self.cell(joint).last().map(|&(first, span, _)| first + span)
    }

    /// Draws a position of the joint cell among `from..=to`, by the law of the cell given that; none where it has none
    /// there.
    pub fn draw_between(&self, joint: u16, from: u32, to: u32, rng: &mut impl Rng) -> Option<u32> {
        let mut before = 0.0;
        let parts: Vec<(u32, u32, f32)> = self
            .cell(joint)
            .iter()
            .filter_map(|&(first, span, cumulative)| {
                let weight = cumulative - before;
                before = cumulative;
                let (start, end) = (first.max(from), (first + span).min(to));
                let part = |start, end| (f64::from(end - start) + 1.0) / (f64::from(span) + 1.0);
                (start <= end).then(|| (start, end, weight * part(start, end) as f32))
            })
            .collect();
        let mut rest = rng.random::<f32>() * parts.iter().map(|part| part.2).sum::<f32>();
        let (mut start, mut end, _) = *parts.last()?;
        for part in parts {
            rest -= part.2;
            if rest < 0.0 {
                (start, end) = (part.0, part.1);
                break;
            }
        }
        Some(rng.random_range(start..=end))
    }

    /// Draws a position of the joint cell.
    pub fn draw(&self, joint: u16, rng: &mut impl Rng) -> u32 {
        let own = self.cell(joint);
        let (first, span) = match own {
            [] => return MISSING,
            [(first, span, _)] => (*first, *span),
            _ => {
                let u: f32 = rng.random();
                let place = own.partition_point(|&(_, _, cumulative)| cumulative <= u).min(own.len() - 1);
                (own[place].0, own[place].1)
            }
        };
        if span == 0 { first } else { first + rng.random_range(0..=span) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn counts_that_are_noise_are_small_ones() {
        let leaves = [(0, 30.0), (1, 30.0), (3, 10.0), (7, 30.0)];
        let leaves: Vec<Leaf> = leaves.iter().map(|&(first, count)| Leaf { first, last: first * 2, count }).collect();
        let codec = Codec::of_leaves(&leaves, None, 100.0, 4);
        let law = |noise: f64| codec.clone().toward_small(noise).marginal();
        let close = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
        let halves = [8.0 / 15.0, 4.0 / 15.0, 2.0 / 15.0, 1.0 / 15.0];
        assert!(close(&law(0.0), &codec.marginal()) && close(&law(10.0), &halves));
        let distance: f64 = codec.marginal().iter().zip(halves).map(|(own, half)| (own - half).powi(2)).sum();
        let between: Vec<f64> = codec.marginal().iter().zip(halves).map(|(own, half)| (own + half) / 2.0).collect();
        assert!(close(&law(distance / 2.0), &between));
        let missing = Codec::of_leaves(&leaves, Some(50.0), 150.0, 4).toward_small(10.0);
        assert!(close(&missing.marginal(), &[&halves[..], &[0.0]].concat()));
    }

    #[test]
    fn a_spike_keeps_its_own_cell() {
        let leaves: Vec<Leaf> =
            (0..100).map(|p| Leaf { first: p, last: p, count: if p == 40 { 5000.0 } else { 50.0 } }).collect();
        let codec = Codec::of_leaves(&leaves, Some(100.0), 10_050.0, MAX_BINS);
        let spike = codec.joint_code(40);
        assert!(codec.joint_code(39) < spike && spike < codec.joint_code(41));
        assert!(codec.cells() <= MAX_BINS + 1);
        assert_eq!(usize::from(codec.joint_code(MISSING)), codec.cells() - 1);
        assert!((codec.marginal().iter().sum::<f64>() - 1.0).abs() < 1e-5);
        assert!(codec.fits(&Domain::Numbers { min: 0.0, step: 1.0, positions: 100 }, true));
    }

    #[test]
    fn rare_labels_share_a_cell_and_keep_their_own_law() {
        let domain = Domain::Labels { labels: (0..5).map(|i| i.to_string()).collect(), other: None, groups: vec![] };
        let codec = Codec::of_labels(&domain, false, &[600.0, 300.0, 60.0, 30.0, 10.0], 1000.0, 40.0);
        assert_eq!(codec.cells(), 3);
        assert_eq!(codec.joint_code(2), codec.joint_code(4));
        let decoder = Decoder::new(&codec);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let draws: Vec<u32> = (0..6000).map(|_| decoder.draw(2, &mut rng)).collect();
        let share = draws.iter().filter(|&&d| d == 2).count() as f64 / 6000.0;
        assert!((share - 0.6).abs() < 0.03, "{share}");
        assert!(draws.iter().all(|d| (2..5).contains(d)));
    }

    #[test]
    fn groups_are_joint_and_codes_are_drawn_inside() {
        let domain = Domain::Labels {
            labels: ["a1", "b1", "a2", "b2"].map(String::from).to_vec(),
            other: None,
            groups: vec![0, 1, 0, 1],
        };
        let codec = Codec::of_labels(&domain, true, &[10.0, 20.0, 30.0, 40.0, 5.0], 105.0, 0.1);
        assert_eq!(codec.cells(), 3);
        assert_eq!(codec.joint_code(0), codec.joint_code(2));
        assert_ne!(codec.joint_code(0), codec.joint_code(1));
    }

    #[test]
    fn a_draw_between_two_positions_follows_the_law_of_the_cell() {
        let leaves = [Leaf { first: 0, last: 9, count: 100.0 }, Leaf { first: 10, last: 19, count: 300.0 }];
        let codec = Codec::of_leaves(&leaves, Some(100.0), 500.0, 1);
        let decoder = Decoder::new(&codec);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let draws: Vec<u32> = (0..8000).map(|_| decoder.draw_between(0, 5, 12, &mut rng).unwrap()).collect();
        assert!(draws.iter().all(|p| (5..=12).contains(p)));
        let low = draws.iter().filter(|&&p| p < 10).count() as f64 / 8000.0;
        assert!((low - 50.0 / (50.0 + 90.0)).abs() < 0.03, "{low}");
        assert_eq!((decoder.draw_between(0, 20, 30, &mut rng), decoder.last(0)), (None, Some(19)));
        assert_eq!(codec.positions(0), Positions::range(0, 20));
        let (likeliest, probability) = codec.likeliest(0).unwrap();
        assert!(likeliest == 14 && (probability - 0.06).abs() < 1e-6);
    }

    #[test]
    fn a_restricted_decoder_draws_allowed_positions_by_their_law() {
        let leaves = [Leaf { first: 0, last: 9, count: 100.0 }, Leaf { first: 10, last: 19, count: 300.0 }];
        let codec = Codec::of_leaves(&leaves, Some(100.0), 500.0, 1);
        let allowed = Positions::range(5, 12).union(&Positions::missing());
        let shares = codec.shares(&allowed);
        assert!((shares[0] - (50.0 + 60.0) / 400.0).abs() < 1e-6 && shares[1] == 1.0, "{shares:?}");
        let decoder = Decoder::within(&codec, &allowed);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let draws: Vec<u32> = (0..8000).map(|_| decoder.draw(0, &mut rng)).collect();
        assert!(draws.iter().all(|&p| allowed.contains(p) && p != MISSING));
        let low = draws.iter().filter(|&&p| p < 10).count() as f64 / 8000.0;
        assert!((low - 50.0 / 110.0).abs() < 0.03, "{low}");
        assert_eq!(decoder.draw(1, &mut rng), MISSING);
        assert_eq!(codec.shares(&Positions::missing()), [0.0, 1.0]);
    }

    proptest! {
        /// Every position that goes in comes out of its own joint cell.
        #[test]
        fn decoding_inverts_encoding(
            counts in prop::collection::vec(-50.0f64..500.0, 1..60),
            missing in prop::option::of(-10.0f64..100.0),
            total in 1.0f64..5000.0,
            seed in 0u64..1000,
        ) {
            let leaves: Vec<Leaf> =
                counts.iter().enumerate().map(|(i, &count)| Leaf { first: 3 * i as u32, last: 3 * i as u32 + 2, count }).collect();
            let labels = Domain::Labels { labels: vec![String::new(); counts.len()], other: None, groups: vec![] };
            let with_missing: Vec<f64> = counts.iter().copied().chain(missing).collect();
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let numbers = Domain::Numbers { min: 0.0, step: 1.0, positions: 3 * counts.len() as u32 };
            for (codec, domain) in [
                (Codec::of_leaves(&leaves, missing, total, MAX_BINS), &numbers),
                (Codec::of_labels(&labels, missing.is_some(), &with_missing, total, 10.0), &labels),
            ] {
                prop_assert!(codec.fits(domain, missing.is_some()));
                let decoder = Decoder::new(&codec);
                for joint in 0..codec.cells() as u16 {
                    let position = decoder.draw(joint, &mut rng);
                    prop_assert_eq!(codec.joint_code(position), joint);
                }
            }
        }

        #[test]
        fn distributions_are_distributions(counts in prop::collection::vec(-100.0f64..100.0, 1..50), total in 1.0f64..1000.0) {
            let p = to_distribution(&counts, total);
            prop_assert!(p.iter().all(|&x| x >= 0.0));
            prop_assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        }
    }
}
