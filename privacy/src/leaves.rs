//! The units of a step in leaves: who a unit is summed with.
//!
//! Clipped contributions are added up in single precision, whose rounding hangs
//! on everything that is in a sum. Were a batch one sum, or were it cut by
//! count, one unit more would round all of it anew. So it is cut by the units'
//! own places, which are secret and independent of each other: the leaves of a
//! binary tree, in which a node whose units have a load above the largest is
//! cut by the next bit of their places.
//!
//! # What one unit more changes
//! Only nodes on the way of its own place, and those only grow. Those that were
//! cut before still are; so it ends in one leaf `L` of before, or beside it.
//! Every other leaf keeps its units, in their order. `L` becomes one leaf, or is
//! cut into some, which hold together what `L` held and the unit.
//!
//! With loads of at most `r` a unit, `n` a leaf and `r <= n`, those have `n + r`
//! together at most. Where two units' places are alike in all bits there is
//! nothing to cut by, and each unit is a leaf of its own: there are then at most
//! `n + r` leaves with any load.

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

/// Sorts the units of a step into leaves of at most `largest` load, each in the order of the table.
pub(crate) fn cut(
    drawn: &mut [Drawn],
    load: &dyn Fn(u32) -> usize,
    largest: usize,
    units: &mut Vec<u32>,
    leaves: &mut Vec<Range<usize>>,
) {
    units.clear();
    leaves.clear();
    drawn.sort_unstable();
    cut_node(drawn, u32::BITS, load, largest, units, leaves);
}

/// The leaves of a node whose units have places that differ in the last `bits` bits alone.
fn cut_node(
    drawn: &mut [Drawn],
    bits: u32,
    load: &dyn Fn(u32) -> usize,
    largest: usize,
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
    if drawn.iter().map(|drawn| load(drawn.unit)).sum::<usize>() <= largest {
        return leaf(drawn);
    }
    let Some(bits) = bits.checked_sub(1) else {
        return drawn.chunks_mut(1).for_each(leaf);
    };
    let ones = drawn.partition_point(|drawn| drawn.place >> bits & 1 == 0);
    let (zeros, ones) = drawn.split_at_mut(ones);
    cut_node(zeros, bits, load, largest, units, leaves);
    cut_node(ones, bits, load, largest, units, leaves);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LARGEST: usize = 24;

    fn leaves(drawn: &[Drawn], loads: &[usize]) -> Vec<Vec<u32>> {
        let (mut units, mut leaves) = (Vec::new(), Vec::new());
        cut(&mut drawn.to_vec(), &|unit| loads[unit as usize], LARGEST, &mut units, &mut leaves);
        let batch = Batch::new(&units, &leaves);
        (0..leaves.len()).map(|leaf| batch.leaf(leaf).to_vec()).collect()
    }

    proptest! {
        /// Any loads, places that are often alike: one unit more changes one leaf, which may be cut.
        #[test]
        fn one_unit_more_changes_one_leaf(
            units in prop::collection::vec((prop_oneof![any::<u32>(), 0u32..4], 0usize..9), 1..200),
            one_more in any::<prop::sample::Index>(),
        ) {
            let loads: Vec<usize> = units.iter().map(|unit| unit.1).collect();
            let all: Vec<Drawn> =
                units.iter().zip(0..).map(|(&(place, _), unit)| Drawn { place, unit }).collect();
            let one_more = one_more.index(units.len()) as u32;
            let others: Vec<Drawn> = all.iter().copied().filter(|drawn| drawn.unit != one_more).collect();
            let (before, after) = (leaves(&others, &loads), leaves(&all, &loads));
            let load = |leaf: &[u32]| leaf.iter().map(|&unit| loads[unit as usize]).sum::<usize>();
            let mut seen: Vec<u32> = after.concat();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..units.len() as u32).collect::<Vec<_>>());
            for leaf in &after {
                prop_assert!(!leaf.is_empty() && (load(leaf) <= LARGEST || leaf.len() == 1));
                prop_assert!(leaf.is_sorted());
            }
            let gone: Vec<_> = before.iter().filter(|leaf| !after.contains(leaf)).collect();
            let new: Vec<_> = after.iter().filter(|leaf| !before.contains(leaf)).collect();
            prop_assert!(gone.len() <= 1, "{gone:?}");
            let mut held: Vec<u32> = gone.into_iter().flatten().copied().chain([one_more]).collect();
            let mut holds: Vec<u32> = new.iter().copied().flatten().copied().collect();
            held.sort_unstable();
            holds.sort_unstable();
            prop_assert_eq!(held, holds);
            prop_assert!(new.iter().map(|leaf| load(leaf)).sum::<usize>() <= LARGEST + 8);
        }
    }

    #[test]
    fn units_of_one_place_are_leaves_of_their_own_where_they_are_too_many() {
        let drawn: Vec<Drawn> = (0..9).map(|unit| Drawn { place: 7, unit }).collect();
        assert_eq!(leaves(&drawn, &[3; 9]).len(), 9);
        assert_eq!(leaves(&drawn[..8], &[3; 9]).len(), 1);
    }
}
