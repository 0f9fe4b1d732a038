//! Sets of positions of one column.

use crate::ingest::MISSING;

/// A set of positions, the missing one included: disjoint runs in order, none touching the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Positions(Vec<(u32, u32)>);

impl Positions {
    /// The empty set.
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// The missing cell alone.
    pub fn missing() -> Self {
        Self(vec![(MISSING, MISSING)])
    }

    /// Runs that overlap nowhere, in order.
    pub fn of_runs(runs: impl Iterator<Item = (u32, u32)>) -> Self {
        let mut joined: Vec<(u32, u32)> = Vec::new();
        for (first, last) in runs {
            match joined.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
                _ => joined.push((first, last)),
            }
        }
        Self(joined)
    }

    /// The positions `first..end`.
    pub fn range(first: u32, end: u32) -> Self {
        if first < end { Self(vec![(first, end - 1)]) } else { Self::none() }
    }

    /// All of a column that has so many positions, and a missing one where it is nullable.
    pub fn all(positions: u32, nullable: bool) -> Self {
        let present = Self::range(0, positions);
        if nullable { present.union(&Self::missing()) } else { present }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn contains(&self, position: u32) -> bool {
        let next = self.0.partition_point(|&(first, _)| first <= position);
        next > 0 && position <= self.0[next - 1].1
    }

    /// The parts of `first..=last` that are in the set, in order.
    pub fn within(&self, first: u32, last: u32) -> impl Iterator<Item = (u32, u32)> {
        let start = self.0.partition_point(|&(_, end)| end < first);
        self.0[start..]
            .iter()
            .take_while(move |&&(start, _)| start <= last)
            .map(move |&(start, end)| (start.max(first), end.min(last)))
    }

    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self(self.0.iter().flat_map(|&(first, last)| other.within(first, last)).collect())
    }

    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut runs: Vec<(u32, u32)> = self.0.iter().chain(&other.0).copied().collect();
        runs.sort_unstable();
        Self::of_runs(runs.into_iter())
    }

    /// The member that is nearest to a position, which may be missing as the member may: the one below of two as near,
    /// and the missing one only where there is no other, or where it is asked for.
    pub fn nearest(&self, position: u32) -> Option<u32> {
        if self.contains(position) {
            return Some(position);
        }
        let present = self.0.iter().filter(|run| run.0 != MISSING);
        let ends = present.map(|&(first, last)| if position < first { first } else { last.min(position) });
        ends.min_by_key(|end| (end.abs_diff(position), *end)).or_else(|| self.contains(MISSING).then_some(MISSING))
    }

    /// What is in this set and not in the other.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        let mut runs = Vec::with_capacity(self.0.len());
        for &(first, last) in &self.0 {
            let mut next = Some(first);
            for (start, end) in other.within(first, last) {
                if let Some(first) = next.filter(|&first| first < start) {
                    runs.push((first, start - 1));
                }
                next = end.checked_add(1);
            }
            if let Some(first) = next.filter(|&first| first <= last) {
                runs.push((first, last));
            }
        }
        Self(runs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Sets among 12 positions and the missing one, by their members.
    fn of(members: &[u32]) -> Positions {
        let one = |&p: &u32| if p == 12 { Positions::missing() } else { Positions::range(p, p + 1) };
        members.iter().map(one).fold(Positions::none(), |all, one| all.union(&one))
    }

    proptest! {
        #[test]
        fn sets_behave_like_sets(a in prop::collection::vec(0u32..13, 0..12), b in prop::collection::vec(0u32..13, 0..12)) {
            let (x, y) = (of(&a), of(&b));
            for member in 0..13 {
                let position = if member == 12 { MISSING } else { member };
                let (in_a, in_b) = (a.contains(&member), b.contains(&member));
                prop_assert_eq!(x.contains(position), in_a);
                prop_assert_eq!(x.intersection(&y).contains(position), in_a && in_b);
                prop_assert_eq!(x.union(&y).contains(position), in_a || in_b);
                prop_assert_eq!(x.minus(&y).contains(position), in_a && !in_b);
            }
            prop_assert_eq!(x.minus(&y).union(&x.intersection(&y)), x.clone());
            prop_assert!(x.0.windows(2).all(|w| w[0].1 + 1 < w[1].0));
            for position in 0..12u32 {
                let members = a.iter().copied().filter(|&m| m < 12);
                let nearest = members.min_by_key(|m| (m.abs_diff(position), *m));
                let expected = nearest.or((!a.is_empty()).then_some(MISSING));
                prop_assert_eq!(x.nearest(position), expected);
            }
        }
    }
}
