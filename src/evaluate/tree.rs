//! One regression tree of a boosting round, grown leaf by leaf on histograms.
//!
//! The open leaf with the largest gain is split next (Shi 2007; Ke et al. 2017, LightGBM).
//! The gain of a split is the second-order one of Chen and Guestrin 2016 (XGBoost), equation 7.
//! Categories are sorted by their mean gradient and cut like numbers, which contains the best
//! two-way grouping (Fisher 1958). Only the smaller child of a split is counted; the other is
//! the difference. Features are counted in parallel, rows of a feature always in row order,
//! so the tree is the same at any number of threads.

use std::ops::Range;

use rayon::prelude::*;

use super::feature::{Feature, UNKNOWN};

const LEAVES: usize = 31;
const MIN_LEAF_ROWS: u32 = 20;
const MIN_LEAF_HESSIAN: f64 = 1e-3;
/// A category column of so few bins is split one category against the rest.
const ONE_VS_REST_BINS: usize = 4;
/// Added to the hessian when categories are sorted; rarer categories than this are not moved.
const CATEGORY_SMOOTHING: f64 = 20.0;
/// L2 penalty of the two leaves of a grouped category split.
const CATEGORY_L2: f64 = 20.0;
/// Categories on the left of a split at most.
const MAX_LEFT_CATEGORIES: usize = 16;
/// Rows between two cuts that are tried along the sorted categories.
const MIN_GROUP_ROWS: u32 = 100;
/// Below so many row-feature cells a histogram is not worth a second thread.
const PARALLEL_CELLS: usize = 1 << 14;

/// What a row pulls its leaf by: first and second derivative of the loss; all zero if not sampled.
#[derive(Clone, Copy, Default)]
pub struct Pull {
    pub gradient: f32,
    pub hessian: f32,
    pub rows: u32,
}

/// Pulls summed.
#[derive(Clone, Copy, Default)]
struct Sum {
    gradient: f64,
    hessian: f64,
    rows: u32,
}

impl Sum {
    fn add(&mut self, pull: Pull) {
        self.gradient += f64::from(pull.gradient);
        self.hessian += f64::from(pull.hessian);
        self.rows += pull.rows;
    }

    fn plus(self, other: Self) -> Self {
        Self {
            gradient: self.gradient + other.gradient,
            hessian: self.hessian + other.hessian,
            rows: self.rows + other.rows,
        }
    }

    fn minus(self, other: Self) -> Self {
        Self {
            gradient: self.gradient - other.gradient,
            hessian: self.hessian - other.hessian,
            rows: self.rows - other.rows,
        }
    }

    fn is_enough(self) -> bool {
        self.rows >= MIN_LEAF_ROWS && self.hessian >= MIN_LEAF_HESSIAN
    }

    /// Twice the loss that the best constant step removes.
    fn score(self, l2: f64) -> f64 {
        self.gradient * self.gradient / (self.hessian + l2)
    }

    fn step(self, l2: f64) -> f64 {
        if self.hessian > 0.0 { -self.gradient / (self.hessian + l2) } else { 0.0 }
    }
}

/// A set of bins.
#[derive(Clone, Copy, Default)]
struct BinSet([u64; 4]);

impl BinSet {
    fn insert(&mut self, bin: usize) {
        self.0[bin >> 6] |= 1 << (bin & 63);
    }

    fn contains(&self, bin: u8) -> bool {
        self.0[usize::from(bin >> 6)] >> (bin & 63) & 1 == 1
    }
}

#[derive(Clone, Copy)]
struct Split {
    gain: f64,
    feature: usize,
    left_bins: BinSet,
    left: Sum,
    l2: f64,
}

enum Node {
    Leaf(f64),
    Split { feature: usize, left_bins: BinSet, left: usize, right: usize },
}

/// A grown tree: maps a row's bins to a step.
pub struct Tree {
    nodes: Vec<Node>,
}

impl Tree {
    /// The step of a row, given its bin of each feature.
    pub fn step(&self, bins: &[u8]) -> f64 {
        let mut node = 0;
        loop {
            match &self.nodes[node] {
                Node::Leaf(step) => return *step,
                Node::Split { feature, left_bins, left, right } => {
                    node = if left_bins.contains(bins[*feature]) { *left } else { *right };
                }
            }
        }
    }
}

/// A leaf that may still be split.
struct Leaf {
    node: usize,
    rows: Range<usize>,
    sum: Sum,
    l2: f64,
    /// Of each feature in use, the sum of each bin; empty once the leaf is too small to split.
    histograms: Vec<Vec<Sum>>,
    best: Option<Split>,
}

/// Grows one tree on `chosen` features; `shrinkage` multiplies each step.
pub struct Grower<'a> {
    pub features: &'a [Feature],
    pub chosen: &'a [usize],
    pub pulls: &'a [Pull],
    pub shrinkage: f64,
}

impl Grower<'_> {
    /// The tree; `scores` of all rows move by it, and `gains` by the gain of each split's feature.
    pub fn grow(&self, scores: &mut [f64], gains: &mut [f64]) -> Tree {
        let mut rows: Vec<u32> = (0..self.pulls.len() as u32).collect();
        let mut tree = Tree { nodes: vec![Node::Leaf(0.0)] };
        let mut sum = Sum::default();
        self.pulls.iter().for_each(|&pull| sum.add(pull));
        let mut root = Leaf { node: 0, rows: 0..rows.len(), sum, l2: 0.0, histograms: Vec::new(), best: None };
        root.histograms = self.histograms(&rows);
        root.best = self.best_split(&root);
        let mut leaves = vec![root];

        while leaves.len() < LEAVES {
            let gain = |leaf: &Leaf| leaf.best.map_or(0.0, |b| b.gain);
            let richest =
                (1..leaves.len()).fold(0, |best, i| if gain(&leaves[i]) > gain(&leaves[best]) { i } else { best });
            let Some(split) = leaves[richest].best.take() else { break };
            gains[split.feature] += split.gain;
            let parent = leaves.swap_remove(richest);
            let (left, right) = (tree.nodes.len(), tree.nodes.len() + 1);
            tree.nodes[parent.node] = Node::Split { feature: split.feature, left_bins: split.left_bins, left, right };
            tree.nodes.extend([Node::Leaf(0.0), Node::Leaf(0.0)]);
            let middle = parent.rows.start + self.partition(&mut rows[parent.rows.clone()], &split);
            let child = |node, rows, sum| Leaf { node, rows, sum, l2: split.l2, histograms: Vec::new(), best: None };
            let mut pair = [
                child(left, parent.rows.start..middle, split.left),
                child(right, middle..parent.rows.end, parent.sum.minus(split.left)),
            ];
            if leaves.len() + 2 < LEAVES {
                self.count(&mut pair, parent.histograms, &rows);
            }
            leaves.extend(pair);
        }
        for leaf in &leaves {
            let step = self.shrinkage * leaf.sum.step(leaf.l2);
            tree.nodes[leaf.node] = Node::Leaf(step);
            rows[leaf.rows.clone()].iter().for_each(|&row| scores[row as usize] += step);
        }
        tree
    }

    /// Rows of the left child first, both in their old order. Returns how many go left.
    fn partition(&self, rows: &mut [u32], split: &Split) -> usize {
        let bins = &self.features[split.feature].bins;
        let (left, right): (Vec<u32>, Vec<u32>) =
            rows.iter().partition(|&&row| split.left_bins.contains(bins[row as usize]));
        rows[..left.len()].copy_from_slice(&left);
        rows[left.len()..].copy_from_slice(&right);
        left.len()
    }

    /// Histograms and best splits of two siblings: the smaller is counted, the other subtracted.
    fn count(&self, pair: &mut [Leaf; 2], mut parent: Vec<Vec<Sum>>, rows: &[u32]) {
        let splittable = |leaf: &Leaf| leaf.sum.rows >= 2 * MIN_LEAF_ROWS;
        if !pair.iter().any(splittable) {
            return;
        }
        let [left, right] = pair;
        let (small, large) = if left.rows.len() <= right.rows.len() { (left, right) } else { (right, left) };
        small.histograms = self.histograms(&rows[small.rows.clone()]);
        for (sums, counted) in parent.iter_mut().zip(&small.histograms) {
            sums.iter_mut().zip(counted).for_each(|(sum, &c)| *sum = sum.minus(c));
        }
        large.histograms = parent;
        for leaf in [small, large] {
            leaf.best = if splittable(leaf) { self.best_split(leaf) } else { None };
        }
    }

    /// The sums of each bin of each feature in use over `rows`.
    fn histograms(&self, rows: &[u32]) -> Vec<Vec<Sum>> {
        let pulls: Vec<Pull> = rows.iter().map(|&row| self.pulls[row as usize]).collect();
        let count = |&feature: &usize| {
            let feature = &self.features[feature];
            let mut sums = vec![Sum::default(); feature.bin_count];
            for (&row, &pull) in rows.iter().zip(&pulls) {
                sums[usize::from(feature.bins[row as usize])].add(pull);
            }
            sums
        };
        if rows.len() * self.chosen.len() < PARALLEL_CELLS {
            return self.chosen.iter().map(count).collect();
        }
        self.chosen.par_iter().map(count).collect()
    }

    fn best_split(&self, leaf: &Leaf) -> Option<Split> {
        let of_feature = |(&feature, sums): (&usize, &Vec<Sum>)| {
            let mut search = Search { total: leaf.sum, feature, best: None };
            match (self.features[feature].is_category, sums.len() <= ONE_VS_REST_BINS) {
                (false, _) => search.number(sums),
                (true, true) => search.one_category(sums),
                (true, false) => search.category_group(sums),
            }
            search.best
        };
        let better = |a: Split, b: Split| if b.gain > a.gain { b } else { a };
        self.chosen.iter().zip(&leaf.histograms).filter_map(of_feature).reduce(better)
    }
}

/// The best split of one leaf along one feature so far.
struct Search {
    total: Sum,
    feature: usize,
    best: Option<Split>,
}

impl Search {
    /// Keeps the split if it gains more; says whether it did.
    fn offer(&mut self, left: Sum, l2: f64, left_bins: impl FnOnce() -> BinSet) {
        let gain = left.score(l2) + self.total.minus(left).score(l2) - self.total.score(0.0);
        if gain > self.best.map_or(0.0, |b| b.gain) {
            self.best = Some(Split { gain, feature: self.feature, left_bins: left_bins(), left, l2 });
        }
    }

    /// Below a cut against above, the unknown with either side.
    fn number(&mut self, sums: &[Sum]) {
        let unknown = sums[usize::from(UNKNOWN)];
        for unknown_left in [false, true] {
            if unknown_left && unknown.rows == 0 {
                break;
            }
            let mut left = if unknown_left { unknown } else { Sum::default() };
            for (cut, &sum) in sums.iter().enumerate().skip(1) {
                left = left.plus(sum);
                let right = self.total.minus(left);
                if !right.is_enough() {
                    break;
                }
                if left.is_enough() {
                    // Where no row was unknown, one that comes later goes the way of the many.
                    let with_unknown = unknown_left || (unknown.rows == 0 && left.rows > right.rows);
                    self.offer(left, 0.0, || {
                        let mut bins = BinSet::default();
                        (usize::from(!with_unknown)..=cut).for_each(|bin| bins.insert(bin));
                        bins
                    });
                }
            }
        }
    }

    /// One category against all others and the unknown.
    fn one_category(&mut self, sums: &[Sum]) {
        for (bin, &left) in sums.iter().enumerate().skip(1) {
            if left.is_enough() && self.total.minus(left).is_enough() {
                self.offer(left, 0.0, || {
                    let mut bins = BinSet::default();
                    bins.insert(bin);
                    bins
                });
            }
        }
    }

    /// The categories of lowest, then of highest, mean gradient against the others and the unknown.
    fn category_group(&mut self, sums: &[Sum]) {
        let mean = |bin: usize| sums[bin].gradient / (sums[bin].hessian + CATEGORY_SMOOTHING);
        let common = |&bin: &usize| f64::from(sums[bin].rows) >= CATEGORY_SMOOTHING;
        let mut order: Vec<usize> = (1..sums.len()).filter(common).collect();
        order.sort_by(|&a, &b| mean(a).total_cmp(&mean(b)));
        let most = MAX_LEFT_CATEGORIES.min(order.len().div_ceil(2));
        for _ in 0..2 {
            let mut left = Sum::default();
            let mut rows_since_cut = 0;
            for taken in 1..=most {
                let sum = sums[order[taken - 1]];
                left = left.plus(sum);
                rows_since_cut += sum.rows;
                let right = self.total.minus(left);
                if right.rows < MIN_GROUP_ROWS || !right.is_enough() {
                    break;
                }
                if left.is_enough() && rows_since_cut >= MIN_GROUP_ROWS {
                    rows_since_cut = 0;
                    self.offer(left, CATEGORY_L2, || {
                        let mut bins = BinSet::default();
                        order[..taken].iter().for_each(|&bin| bins.insert(bin));
                        bins
                    });
                }
            }
            order.reverse();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feature(bins: Vec<u8>, bin_count: usize, is_category: bool) -> Feature {
        Feature { bins, bin_count, is_category }
    }

    /// Grows on squared error from zero, so that a leaf's step is the mean of its labels. Returns the predictions.
    fn grow(features: &[Feature], labels: &[f64]) -> (Tree, Vec<f64>, Vec<f64>) {
        let pulls: Vec<Pull> = labels.iter().map(|&l| Pull { gradient: -l as f32, hessian: 1.0, rows: 1 }).collect();
        let chosen: Vec<usize> = (0..features.len()).collect();
        let (mut scores, mut gains) = (vec![0.0; labels.len()], vec![0.0; features.len()]);
        let grower = Grower { features, chosen: &chosen, pulls: &pulls, shrinkage: 1.0 };
        let tree = grower.grow(&mut scores, &mut gains);
        (tree, scores, gains)
    }

    #[test]
    fn a_step_in_a_number_is_found_where_it_is() {
        let bins: Vec<u8> = (0..200).map(|i| 1 + i % 10).collect();
        let labels: Vec<f64> = bins.iter().map(|&b| if b <= 3 { 1.0 } else { -2.0 }).collect();
        let (tree, scores, gains) = grow(&[feature(bins, 11, false)], &labels);
        assert_eq!(scores, labels);
        // 60 rows of 1 and 140 of -2: the squared error falls from around the mean step to none.
        let expected = 60.0 + 140.0 * 4.0 - (60.0_f64 - 280.0).powi(2) / 200.0;
        assert!((gains[0] - expected).abs() < 1e-6);
        assert_eq!((tree.step(&[3]), tree.step(&[4])), (1.0, -2.0));
        // No row was unknown; one that comes later goes with the larger leaf.
        assert_eq!(tree.step(&[UNKNOWN]), -2.0);
    }

    #[test]
    fn unknown_numbers_take_the_side_that_suits_them() {
        let bins: Vec<u8> = (0..300).map(|i| (i % 3) as u8).collect();
        let labels: Vec<f64> = bins.iter().map(|&b| if b == 1 { 5.0 } else { 1.0 }).collect();
        let (tree, scores, _) = grow(&[feature(bins, 3, false)], &labels);
        assert_eq!(scores, labels);
        assert_eq!((tree.step(&[0]), tree.step(&[1]), tree.step(&[2])), (1.0, 5.0, 1.0));
    }

    #[test]
    fn categories_are_grouped_whatever_their_order() {
        let bins: Vec<u8> = (0..1200).map(|i| 1 + (i % 12) as u8).collect();
        let high = |bin: u8| [2, 5, 11].contains(&bin);
        let labels: Vec<f64> = bins.iter().map(|&b| if high(b) { 1.0 } else { -1.0 }).collect();
        let (tree, _, _) = grow(&[feature(bins, 13, true)], &labels);
        assert!((1..=12).all(|bin| (tree.step(&[bin]) > 0.0) == high(bin)));
        assert!(tree.step(&[UNKNOWN]) < 0.0);
    }

    #[test]
    fn two_features_are_combined_and_the_useless_one_is_left_alone() {
        let a: Vec<u8> = (0..400).map(|i| 1 + (i % 2) as u8).collect();
        let b: Vec<u8> = (0..400).map(|i| 1 + (i / 2 % 2) as u8).collect();
        let noise: Vec<u8> = (0..400).map(|i| 1 + (i / 4 % 2) as u8).collect();
        let labels: Vec<f64> = a.iter().zip(&b).map(|(&a, &b)| if (a, b) == (2, 2) { 3.0 } else { 0.0 }).collect();
        let features = [feature(a, 3, false), feature(noise, 3, true), feature(b, 3, true)];
        let (_, scores, gains) = grow(&features, &labels);
        assert_eq!(scores, labels);
        assert_eq!(gains[1], 0.0);
    }

    #[test]
    fn too_few_rows_stay_one_leaf() {
        let labels: Vec<f64> = (0..39).map(f64::from).collect();
        let (_, scores, _) = grow(&[feature((0..39).collect(), 39, false)], &labels);
        assert!(scores.iter().all(|&s| s == 19.0));
    }
}
