//! Conditions as disjoint boxes.

use std::collections::BTreeMap;

use crate::encode::Positions;
use crate::error::{Error, Result};

/// Boxes that a condition may come apart into, at most: each is drawn from on its own.
pub const MAX_BOXES: usize = 64;

/// The rows whose cells are all in the sets of their columns; a column without a set may have any cell. No set is
/// empty.
pub type Region = BTreeMap<usize, Positions>;

/// Disjoint boxes: a row is in one of them at most.
#[derive(Clone, Debug)]
pub struct Boxes(Vec<Region>);

impl Boxes {
    pub fn none() -> Self {
        Self(Vec::new())
    }

    pub fn everything() -> Self {
        Self(vec![Region::new()])
    }

    /// Rows with one of these positions in column `j`.
    pub fn of(j: usize, positions: Positions) -> Self {
        if positions.is_empty() { Self::none() } else { Self(vec![Region::from([(j, positions)])]) }
    }

    pub fn regions(&self) -> &[Region] {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Rows in both.
    ///
    /// # Errors
    /// Bad input when more than [`MAX_BOXES`] boxes come of it.
    pub fn and(self, other: &Self) -> Result<Self> {
        let mut boxes = Vec::new();
        for (own, further) in self.0.iter().flat_map(|own| other.0.iter().map(move |further| (own, further))) {
            if let Some(both) = intersection(own, further) {
                add(&mut boxes, both)?;
            }
        }
        Ok(Self(boxes))
    }

    /// Rows in either: these boxes, and what is left of the others without them. `all` has the positions of each
    /// column.
    ///
    /// # Errors
    /// As [`Boxes::and`].
    pub fn or(self, other: &Self, all: &[Positions]) -> Result<Self> {
        let mut further = Vec::new();
        for region in &other.0 {
            let mut left = vec![region.clone()];
            for own in &self.0 {
                let mut rest = Vec::new();
                for part in left {
                    for piece in difference(part, own, all) {
                        add(&mut rest, piece)?;
                    }
                }
                left = rest;
            }
            for piece in left {
                add(&mut further, piece)?;
            }
        }
        let mut boxes = self.0;
        for region in further {
            add(&mut boxes, region)?;
        }
        Ok(Self(boxes))
    }
}

/// Adds a box that overlaps none; boxes that differ in one column become one.
fn add(boxes: &mut Vec<Region>, mut region: Region) -> Result<()> {
    while let Some((place, j)) = boxes.iter().enumerate().find_map(|(i, own)| Some((i, only_difference(own, &region)?)))
    {
        let own = boxes.swap_remove(place);
        if let (Some(own), Some(positions)) = (own.get(&j), region.get_mut(&j)) {
            *positions = positions.union(own);
        }
    }
    boxes.push(region);
    if boxes.len() > MAX_BOXES {
        return Err(Error::bad_input(format!("the condition comes apart into more than {MAX_BOXES} separate cases"))
            .remedy("ask for fewer alternatives: use `in (...)` and `between`, or draw several cohorts"));
    }
    Ok(())
}

/// The column that alone tells two boxes apart.
fn only_difference(a: &Region, b: &Region) -> Option<usize> {
    if a.len() != b.len() || a.keys().ne(b.keys()) {
        return None;
    }
    let mut different = a.iter().zip(b.values()).filter(|((_, a), b)| a != b).map(|((&j, _), _)| j);
    let j = different.next()?;
    different.next().is_none().then_some(j)
}

fn intersection(a: &Region, b: &Region) -> Option<Region> {
    let mut both = a.clone();
    for (&j, positions) in b {
        let narrowed = both.get(&j).map_or_else(|| positions.clone(), |own| own.intersection(positions));
        if narrowed.is_empty() {
            return None;
        }
        both.insert(j, narrowed);
    }
    Some(both)
}

/// The rows of `region` that are not in `without`, as disjoint boxes: one a column in which it is left.
fn difference(mut region: Region, without: &Region, all: &[Positions]) -> Vec<Region> {
    if intersection(&region, without).is_none() {
        return vec![region];
    }
    let mut pieces = Vec::new();
    for (&j, positions) in without {
        let own = region.get(&j).unwrap_or(&all[j]);
        let (outside, inside) = (own.minus(positions), own.intersection(positions));
        if !outside.is_empty() {
            let mut piece = region.clone();
            piece.insert(j, outside);
            pieces.push(piece);
            region.insert(j, inside);
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::MISSING;
    use proptest::prelude::*;

    /// Expressions over three columns of four positions and a missing one.
    #[derive(Clone, Debug)]
    enum Tree {
        Leaf(usize, Vec<u32>),
        And(Box<Tree>, Box<Tree>),
        Or(Box<Tree>, Box<Tree>),
    }

    fn tree() -> impl Strategy<Value = Tree> {
        let leaf = (0usize..3, prop::collection::vec(0u32..5, 0..4)).prop_map(|(j, members)| Tree::Leaf(j, members));
        leaf.prop_recursive(4, 24, 2, |inner| {
            prop_oneof![
                (inner.clone(), inner.clone()).prop_map(|(a, b)| Tree::And(Box::new(a), Box::new(b))),
                (inner.clone(), inner).prop_map(|(a, b)| Tree::Or(Box::new(a), Box::new(b))),
            ]
        })
    }

    fn position(member: u32) -> u32 {
        if member == 4 { MISSING } else { member }
    }

    fn boxes(tree: &Tree) -> Result<Boxes> {
        let all = vec![Positions::all(4, true); 3];
        match tree {
            Tree::Leaf(j, members) => {
                let one = |&m: &u32| if m == 4 { Positions::missing() } else { Positions::range(m, m + 1) };
                Ok(Boxes::of(*j, members.iter().map(one).fold(Positions::none(), |all, one| all.union(&one))))
            }
            Tree::And(a, b) => boxes(a)?.and(&boxes(b)?),
            Tree::Or(a, b) => boxes(a)?.or(&boxes(b)?, &all),
        }
    }

    fn holds(tree: &Tree, row: [u32; 3]) -> bool {
        match tree {
            Tree::Leaf(j, members) => members.iter().any(|&m| position(m) == row[*j]),
            Tree::And(a, b) => holds(a, row) && holds(b, row),
            Tree::Or(a, b) => holds(a, row) || holds(b, row),
        }
    }

    proptest! {
        /// Every row that satisfies the expression is in one box, and every other in none.
        #[test]
        fn boxes_are_disjoint_and_say_what_the_expression_says(tree in tree()) {
            let Ok(boxes) = boxes(&tree) else { return Ok(()) };
            for cell in 0..125 {
                let row = [cell % 5, cell / 5 % 5, cell / 25].map(position);
                let inside = |region: &&Region| region.iter().all(|(&j, positions)| positions.contains(row[j]));
                let count = boxes.regions().iter().filter(inside).count();
                prop_assert_eq!(count, usize::from(holds(&tree, row)), "{:?}", row);
            }
            prop_assert!(boxes.regions().iter().flat_map(|region| region.values()).all(|p| !p.is_empty()));
        }
    }

    #[test]
    fn alternatives_in_one_column_are_one_box() {
        let all = [Positions::all(1000, true)];
        let mut boxes = Boxes::none();
        for p in (0..1000).step_by(3) {
            boxes = boxes.or(&Boxes::of(0, Positions::range(p, p + 1)), &all).unwrap();
        }
        assert_eq!(boxes.regions().len(), 1);
    }

    #[test]
    fn conditions_that_explode_are_refused() {
        let all = vec![Positions::all(2, false); 40];
        let mut boxes = Boxes::everything();
        let mut outcome = Ok(());
        for j in (0..40).step_by(2) {
            let either = Boxes::of(j, Positions::range(0, 1)).or(&Boxes::of(j + 1, Positions::range(0, 1)), &all);
            match boxes.clone().and(&either.unwrap()) {
                Ok(both) => boxes = both,
                Err(e) => outcome = Err(e),
            }
        }
        let e = outcome.unwrap_err();
        assert_eq!(e.kind.exit_code(), 3);
        assert!(e.what.contains("more than 64") && e.remedy.is_some());
    }
}
