//! The units of a step in leaves: who a unit is summed with.
//!
//! Clipped contributions are added up in single precision, whose rounding hangs
//! on everything that is in a sum. Were a batch one sum, or were it cut by
//! count, one unit more would round all of it anew. So it is cut by the units'
//! own places, which are secret and independent of each other: the leaves of a
//! binary tree, in which a node that is too heavy is cut by the next bit of
//! their places.
//!
//! The [`weight`] of `m` units with `T` terms, whose squared numbers add up to
//! `Q`, is `T m + Q + 2 T + 2 m`: twice how often the clipping norm is rounded in
//! a sum of theirs, as the page of
//! [`SubsampledGaussian`](crate::mechanism::SubsampledGaussian) counts it.
//!
//! # What one unit more changes
//! Only nodes on the way of its own place, and those only grow. Those that were
//! cut before still are; so it ends in one leaf `L` of before, or beside it.
//! Every other leaf keeps its units, in their order. `L` becomes one leaf, or is
//! cut into some, which hold together what `L` held and the unit.
//!
//! Let a leaf weigh at most `n (n + 5)`, and the unit have at most `r` terms. The
//! weight of units together is at least the sum of their weights apart, so what
//! `L` becomes weighs no more, in sum, than `L` and the unit together: what `L`
//! weighs and `T + r m + r^2 + 3 r + 2`. If `L` has `a` terms a unit, `a >= 1`,
//! then `Q >= a^2 m`, and `a m^2 + (a^2 + 2 a + 2) m <= n (n + 5)` asks for
//! `m <= n / sqrt(a)`. So `T + r m <= n (sqrt(a) + r / sqrt(a))`, which is
//! `n (1 + r)` at most, for `1 <= a <= r`. All in all, what `L` was and what it
//! becomes weigh at most `2 n (n + 5) + n (1 + r) + r^2 + 3 r + 2`.
//!
//! Where two units' places are alike in all bits there is nothing to cut by, and
//! each unit is a leaf of its own. At most `n + 1` leaves with any term come of `L`.

use crate::subsample::Drawn;
use std::ops::Range;

/// Some of the leaves of a step, each to be summed by itself.
///
/// # Privacy
/// Touches sensitive data, releases nothing: which units were drawn is secret.
#[derive(Clone, Copy)]
pub struct Batch<'a> {
    units: &'a [u32],
    leaves: &'a [Range<usize>],
}

impl<'a> Batch<'a> {
    pub(crate) fn new(units: &'a [u32], leaves: &'a [Range<usize>]) -> Self {
        Self { units, leaves }
    }

    /// The units of a leaf, in the order of the table.
    ///
    /// # Privacy
    /// Touches sensitive data, releases nothing.
    pub fn leaf(&self, leaf: usize) -> &'a [u32] {
        &self.units[self.leaves[leaf].clone()]
    }

    /// The units of all leaves, one leaf after the other.
    ///
    /// # Privacy
    /// Touches sensitive data, releases nothing.
    pub fn units(&self) -> impl Iterator<Item = u32> + 'a {
        let Self { units, leaves } = *self;
        leaves.iter().flat_map(|leaf| units[leaf.clone()].iter().copied())
    }
}

/// How heavy units are, given the terms of each.
fn weight(terms: impl Iterator<Item = usize>) -> usize {
    let (all, units, squares) = terms.fold((0, 0, 0), |(all, units, squares), terms| {
        (all + terms, units + usize::from(terms > 0), squares + terms * terms)
    });
    all * units + squares + 2 * all + 2 * units
}

/// Sorts the units of a step into leaves that weigh at most `heaviest`, each in the order of the table; `terms` is the number of
/// a unit's.
pub(crate) fn cut(
    drawn: &mut [Drawn],
    terms: &dyn Fn(u32) -> usize,
    heaviest: usize,
    units: &mut Vec<u32>,
    leaves: &mut Vec<Range<usize>>,
) {
    units.clear();
    leaves.clear();
    drawn.sort_unstable();
    cut_node(drawn, u32::BITS, terms, heaviest, units, leaves);
}

/// The leaves of a node whose units have places that differ in the last `bits` bits alone.
fn cut_node(
    drawn: &mut [Drawn],
    bits: u32,
    terms: &dyn Fn(u32) -> usize,
    heaviest: usize,
    units: &mut Vec<u32>,
    leaves: &mut Vec<Range<usize>>,
) {
    let mut leaf = |drawn: &mut [Drawn]| {
        let start = units.len();
        drawn.sort_unstable_by_key(|drawn| drawn.unit);
        units.extend(drawn.iter().map(|drawn| drawn.unit));
        leaves.push(start..units.len());
    };
    if drawn.is_empty() {
        return;
    }
    if weight(drawn.iter().map(|drawn| terms(drawn.unit))) <= heaviest {
        return leaf(drawn);
    }
    let Some(bits) = bits.checked_sub(1) else {
        return drawn.chunks_mut(1).for_each(leaf);
    };
    let ones = drawn.partition_point(|drawn| drawn.place >> bits & 1 == 0);
    let (zeros, ones) = drawn.split_at_mut(ones);
    cut_node(zeros, bits, terms, heaviest, units, leaves);
    cut_node(ones, bits, terms, heaviest, units, leaves);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const N: usize = 24;
    const HEAVIEST: usize = N * (N + 5);
    const MOST_TERMS: usize = 8;

    fn leaves(drawn: &[Drawn], terms: &[usize]) -> Vec<Vec<u32>> {
        let (mut units, mut leaves) = (Vec::new(), Vec::new());
        cut(&mut drawn.to_vec(), &|unit| terms[unit as usize], HEAVIEST, &mut units, &mut leaves);
        let batch = Batch::new(&units, &leaves);
        (0..leaves.len()).map(|leaf| batch.leaf(leaf).to_vec()).collect()
    }

    proptest! {
        /// Any numbers of terms, places that are often alike: one unit more changes one leaf, which may be cut.
        #[test]
        fn one_unit_more_changes_one_leaf(
            units in prop::collection::vec((prop_oneof![any::<u32>(), 0u32..4], 0..=MOST_TERMS), 1..200),
            one_more in any::<prop::sample::Index>(),
        ) {
            let terms: Vec<usize> = units.iter().map(|unit| unit.1).collect();
            let all: Vec<Drawn> =
                units.iter().zip(0..).map(|(&(place, _), unit)| Drawn { place, unit }).collect();
            let one_more = one_more.index(units.len()) as u32;
            let others: Vec<Drawn> = all.iter().copied().filter(|drawn| drawn.unit != one_more).collect();
            let (before, after) = (leaves(&others, &terms), leaves(&all, &terms));
            let weight = |leaf: &[u32]| weight(leaf.iter().map(|&unit| terms[unit as usize]));
            let mut seen: Vec<u32> = after.concat();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..units.len() as u32).collect::<Vec<_>>());
            for leaf in &after {
                prop_assert!(!leaf.is_empty() && (weight(leaf) <= HEAVIEST || leaf.len() == 1));
                prop_assert!(leaf.is_sorted());
            }
            let gone: Vec<_> = before.iter().filter(|leaf| !after.contains(leaf)).collect();
            let new: Vec<_> = after.iter().filter(|leaf| !before.contains(leaf)).collect();
            prop_assert!(gone.len() <= 1, "{gone:?}");
            let mut held: Vec<u32> = gone.iter().copied().flatten().copied().chain([one_more]).collect();
            let mut holds: Vec<u32> = new.iter().copied().flatten().copied().collect();
            held.sort_unstable();
            holds.sort_unstable();
            prop_assert_eq!(held, holds);
            let weights = |leaves: &[&Vec<u32>]| leaves.iter().map(|leaf| weight(leaf)).sum::<usize>();
            let more = N * (1 + MOST_TERMS) + MOST_TERMS * MOST_TERMS + 3 * MOST_TERMS + 2;
            prop_assert!(weights(&gone) + weights(&new) <= 2 * HEAVIEST + more);
            prop_assert!(new.iter().filter(|leaf| weight(leaf) > 0).count() <= N + 1);
        }
    }

    #[test]
    fn units_of_one_place_are_leaves_of_their_own_where_they_are_too_many() {
        let drawn: Vec<Drawn> = (0..9).map(|unit| Drawn { place: 7, unit }).collect();
        // 8 units of 8 terms weigh 1,168, and 7 weigh 910; at most 696 are allowed.
        assert_eq!(leaves(&drawn, &[8; 9]).len(), 9);
        assert_eq!(leaves(&drawn[..5], &[8; 9]).len(), 1);
    }
}
