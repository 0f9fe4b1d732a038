//! Which codes share a joint cell: those below the same node of their system's tree.
//!
//! A tree is a chain a code: the nodes above it, the coarsest first. Some systems give it by the text of their codes, any
//! by a supplied table of parents. The tree is cut where it gives the most groups that joint cells allow: the group with the
//! most codes is split into those of the next level, as long as there is room. All of it is public.

use super::{MAX_LABELS, icd9, procedures};
use crate::schema::{CodeSystem, Column, Parents};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

/// The group of each label of a column; empty where nothing says which are kin.
pub(super) fn groups(column: &Column, labels: &[String]) -> Vec<u32> {
    let of_text = |chain: fn(&str) -> Vec<String>| labels.iter().map(|label| chain(label)).collect();
    let chains: Vec<Vec<String>> = match (&column.parents, column.system) {
        (Some(parents), _) => below(parents, labels),
        (None, Some(CodeSystem::Icd9cm)) => of_text(|label| vec![icd9::chapter(label).to_string()]),
        (None, Some(CodeSystem::Cpt | CodeSystem::Hcpcs)) => of_text(procedures::sections),
        (None, Some(CodeSystem::Icd10 | CodeSystem::Atc | CodeSystem::Prefix)) => {
            of_text(|label| vec![label.chars().take(1).collect()])
        }
        // Their codes are numbers that say nothing of kin.
        (None, Some(CodeSystem::Loinc | CodeSystem::Rxnorm | CodeSystem::Snomed) | None) => return Vec::new(),
    };
    cut(&chains)
}

/// The chain of each code in a supplied tree. It ends with the last node that has codes below it; a code that stands alone is
/// its own.
fn below(parents: &Parents, labels: &[String]) -> Vec<Vec<String>> {
    let inner: HashSet<&str> = labels.iter().flat_map(|label| parents.above(label)).collect();
    let chain = |label: &String| {
        let mut chain: Vec<String> = parents.above(label).map(str::to_owned).collect();
        chain.reverse();
        if chain.is_empty() || inner.contains(label.as_str()) {
            chain.push(label.clone());
        }
        chain
    };
    labels.iter().map(chain).collect()
}

/// Numbers groups of chains in order of appearance. Where there are more roots than joint cells, these are the groups.
fn cut(chains: &[Vec<String>]) -> Vec<u32> {
    // The largest first, then the one that appears first; with the level at which it may be split.
    let entry = |members: Vec<usize>, level: usize| (members.len(), Reverse(members), level);
    let all: Vec<usize> = (0..chains.len()).collect();
    let mut open: BinaryHeap<_> = split(chains, &all, 0).into_iter().map(|root| entry(root, 1)).collect();
    let mut closed: Vec<Vec<usize>> = Vec::new();
    while let Some((_, Reverse(members), level)) = open.pop() {
        let parts = split(chains, &members, level);
        let is_whole = members.iter().all(|&member| chains[member].len() <= level);
        if is_whole || open.len() + closed.len() + parts.len() > MAX_LABELS {
            closed.push(members);
        } else {
            open.extend(parts.into_iter().map(|part| entry(part, level + 1)));
        }
    }
    closed.sort();
    let mut groups = vec![0; chains.len()];
    for (group, members) in (0..).zip(closed) {
        members.into_iter().for_each(|member| groups[member] = group);
    }
    groups
}

/// Members by their node of a level, in order of appearance; those whose chain ends before it stay together.
fn split(chains: &[Vec<String>], members: &[usize], level: usize) -> Vec<Vec<usize>> {
    let mut places: HashMap<Option<&String>, usize> = HashMap::new();
    let mut parts: Vec<Vec<usize>> = Vec::new();
    for &member in members {
        let place = *places.entry(chains[member].get(level)).or_insert(parts.len());
        if place == parts.len() {
            parts.push(Vec::new());
        }
        parts[place].push(member);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Kind;
    use proptest::prelude::*;

    fn grouped(column: &Column, labels: &[&str]) -> Vec<u32> {
        groups(column, &labels.iter().map(|label| (*label).to_owned()).collect::<Vec<_>>())
    }

    fn of_system(system: CodeSystem) -> Column {
        Column { system: Some(system), ..Column::new("code", Kind::Code) }
    }

    fn of_parents(parents: &[(String, String)]) -> Column {
        let parents = Parents::Of(parents.iter().cloned().collect());
        Column { parents: Some(parents), ..Column::new("code", Kind::Code) }
    }

    #[test]
    fn the_text_of_a_code_says_its_group() {
        assert_eq!(grouped(&of_system(CodeSystem::Icd9cm), &["250.1", "8", "250.83", "V57", "9"]), [0, 1, 0, 2, 1]);
        assert_eq!(grouped(&of_system(CodeSystem::Atc), &["A10", "B01", "A02"]), [0, 1, 0]);
        assert_eq!(grouped(&of_system(CodeSystem::Hcpcs), &["44950", "J1885", "49000", "J2001"]), [0, 1, 0, 2]);
        assert!(grouped(&of_system(CodeSystem::Snomed), &["404684003"]).is_empty());
    }

    #[test]
    fn a_supplied_tree_is_cut_where_joint_cells_allow() {
        let up = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(code, parent)| ((*code).to_owned(), (*parent).to_owned())).collect::<Vec<_>>()
        };
        let few = up(&[("1", "blood"), ("2", "blood"), ("3", "urine"), ("blood", "all"), ("urine", "all")]);
        // `all` is split; `blood` is a code itself, and stands with those below it; `x` is in no tree.
        assert_eq!(grouped(&of_parents(&few), &["1", "3", "2", "x", "blood"]), [0, 1, 0, 2, 0]);
        // A class of a hundred finer ones stays whole, and the others are split as far as they go.
        let many: Vec<(String, String)> = (0..200)
            .flat_map(|n| {
                let (fine, class) = if n < 100 { (n, "wide") } else { (n % 10 + 100, "narrow") };
                [(format!("c{n}"), format!("f{fine}")), (format!("f{fine}"), class.to_owned())]
            })
            .collect();
        let labels: Vec<String> = (0..200).map(|n| format!("c{n}")).collect();
        let own = groups(&of_parents(&many), &labels);
        assert!(own[..100].iter().all(|&group| group == 0));
        assert_eq!(own[100..].iter().collect::<HashSet<_>>().len(), 10);
    }

    proptest! {
        /// Groups are numbered without gaps, kin by the finest node are together, and there are not more than joint cells
        /// unless there are more roots.
        #[test]
        fn a_cut_is_a_partition(paths in prop::collection::vec(prop::collection::vec(0u8..6, 1..5), 1..300)) {
            let chain = |path: &Vec<u8>| (1..=path.len()).map(|end| format!("{:?}", &path[..end])).collect::<Vec<_>>();
            let chains: Vec<Vec<String>> = paths.iter().map(chain).collect();
            let groups = cut(&chains);
            let most = groups.iter().max().unwrap() + 1;
            prop_assert!(most as usize <= MAX_LABELS);
            prop_assert_eq!(groups.iter().collect::<HashSet<_>>().len(), most as usize);
            for (a, b) in (0..chains.len()).zip(1..chains.len()) {
                prop_assert!(chains[a] != chains[b] || groups[a] == groups[b]);
            }
            prop_assert_eq!(groups, cut(&chains));
        }
    }
}
