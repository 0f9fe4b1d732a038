//! Which table is the root, which hang on it, and which are nobody's.

use super::Table;
use super::keys::Link;
use super::names::{self, PERSONS};
use crate::error::{Error, Result};

/// Part of the rows whose parent is there, at least.
const COVERED: f64 = 0.99;

/// What each table is.
#[derive(Debug)]
pub(super) struct Roles {
    pub root: usize,
    /// Of each table, which of its links names the parent.
    pub parents: Vec<Option<usize>>,
    /// The tables of persons, each after its parent.
    pub tree: Vec<usize>,
}

impl Roles {
    /// Whether a table is one of persons.
    pub fn is_personal(&self, place: usize) -> bool {
        self.tree.contains(&place)
    }

    /// Whether a link is declared: one that names the parent, or another table of persons.
    pub fn is_kept(&self, place: usize, index: usize, links: &[Link]) -> bool {
        let link = &links[index];
        match self.parents[place] {
            Some(parent) if parent == index => true,
            Some(parent) if links[parent].to == link.to => false,
            _ => link.to != place && link.is_kept() && self.is_personal(link.to),
        }
    }
}

/// Finds the root, and what hangs on it, among the tables that are no reference.
///
/// # Errors
/// Bad input: there is no table of persons, or its rows have no key.
pub(super) fn roles(
    tables: &[Table],
    keys: &[Option<usize>],
    links: &[Vec<Link>],
    references: &[bool],
) -> Result<Roles> {
    let root = root(tables, keys, links, references)?;
    let mut roles = Roles { root, parents: vec![None; tables.len()], tree: vec![root] };
    let mut personal = vec![root];
    let links_to = |place: usize, to: &[usize]| {
        links[place].iter().any(|link| link.to != place && link.is_kept() && to.contains(&link.to))
    };
    let is_next = |&place: &usize, personal: &[usize]| {
        !references[place] && !personal.contains(&place) && links_to(place, personal)
    };
    while let Some(next) = (0..tables.len()).find(|place| is_next(place, &personal)) {
        personal.push(next);
    }
    let mut depth = vec![0; tables.len()];
    personal.sort_unstable();
    while let Some(place) = {
        let waiting: Vec<usize> = personal.iter().copied().filter(|place| !roles.tree.contains(place)).collect();
        let is_ready = |&&place: &&usize| !links_to(place, &waiting);
        // Where keys go round in a circle, a table is placed by those that are not in it.
        let in_circle = || waiting.iter().find(|&&place| links_to(place, &roles.tree));
        waiting.iter().find(is_ready).or_else(in_circle).copied()
    } {
        let placed = links[place]
            .iter()
            .enumerate()
            .filter(|(_, link)| link.to != place && link.is_kept() && roles.tree.contains(&link.to));
        let share = |link: &Link| link.present as f64 / tables[place].raw.rows as f64;
        let rank = |link: &Link| (share(link) >= COVERED, if share(link) >= COVERED { depth[link.to] } else { 0 });
        let best = placed.max_by(|(_, a), (_, b)| {
            let to_root = |link: &Link| link.to == root;
            rank(a).cmp(&rank(b)).then(to_root(a).cmp(&to_root(b))).then(a.present.cmp(&b.present))
        });
        let Some((index, link)) = best else { break };
        depth[place] = depth[link.to] + 1;
        roles.parents[place] = Some(index);
        roles.tree.push(place);
    }
    Ok(roles)
}

fn root(tables: &[Table], keys: &[Option<usize>], links: &[Vec<Link>], references: &[bool]) -> Result<usize> {
    let possible = || (0..tables.len()).filter(|&place| !references[place]);
    let named = |person: &&str| possible().find(|&place| names::thing(&tables[place].name) == **person);
    if let Some(place) = PERSONS.iter().find_map(named) {
        return match keys[place] {
            Some(_) => Ok(place),
            None => Err(Error::bad_input(format!(
                "table `{}` is named after persons, and no column names each of its rows",
                tables[place].name
            ))
            .expected("a column such as Id, whole and with another value in each row")
            .remedy("add the key of the persons, or rename the file where it holds no persons")),
        };
    }
    let linking = |to: usize| {
        let links_to = |(place, links): &(usize, &Vec<Link>)| *place != to && links.iter().any(|link| link.to == to);
        links.iter().enumerate().filter(links_to).count()
    };
    let best = possible().max_by_key(|&place| (linking(place), tables[place].raw.rows));
    best.filter(|&place| linking(place) > 0).ok_or_else(|| {
        Error::bad_input("no table of persons is found: none is named after them, and none is linked to")
            .expected("a table such as patients.csv with a key, and columns named after it in the others")
            .remedy("rename the file that has a row a person; a single table is inspected by its own path")
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::{Vouched, folder, keys};
    use super::*;

    /// Tables of these names and contents.
    pub fn tables(files: &[(&str, &str)]) -> Vec<Table> {
        let temporary = tempfile::tempdir().unwrap();
        for (name, content) in files {
            std::fs::write(temporary.path().join(format!("{name}.csv")), content).unwrap();
        }
        let (mut tables, _) = folder::read(temporary.path(), Vouched::All, &Default::default()).unwrap();
        tables.sort_by_key(|table| files.iter().position(|(name, _)| *name == table.name));
        tables
    }

    fn tree(files: &[(&str, &str)]) -> Result<Vec<(String, String)>> {
        let tables = tables(files);
        let keys = keys::keys(&tables);
        let links = keys::links(&tables, &keys);
        let roles = roles(&tables, &keys, &links, &vec![false; tables.len()])?;
        let parent = |place: usize| roles.parents[place].map_or("", |index| &links[place][index].name).to_owned();
        Ok(roles.tree.iter().map(|&place| (tables[place].name.clone(), parent(place))).collect())
    }

    fn pairs(tree: &[(String, String)]) -> Vec<(&str, &str)> {
        tree.iter().map(|(table, parent)| (table.as_str(), parent.as_str())).collect()
    }

    #[test]
    fn tables_hang_on_the_deepest_one_that_covers_them() {
        let files = [
            ("wards", "Id,name\n7,a\n8,b\n"),
            ("tests", "visit,patient\n10,1\n11,1\n12,2\n"),
            ("visits", "Id,patient,ward\n10,1,7\n11,1,8\n12,2,7\n"),
            ("drugs", "visit,patient\n10,1\n99,2\n98,2\n97,2\n"),
            ("patients", "Id,sex\n1,F\n2,M\n"),
        ];
        assert_eq!(
            pairs(&tree(&files).unwrap()),
            [("patients", ""), ("visits", "patients"), ("tests", "visits"), ("drugs", "patients")]
        );
    }

    #[test]
    fn without_a_known_name_the_root_is_what_most_link_to() {
        let files = [
            ("cases", "Id,sex\n1,F\n2,M\n"),
            ("stays", "Id,case\n5,1\n6,2\n"),
            ("tests", "case,stay\n1,5\n2,6\n"),
            ("films", "case\n1\n2\n"),
        ];
        assert_eq!(tree(&files).unwrap()[0].0, "cases");
    }

    #[test]
    fn no_root_is_told() {
        let e = tree(&[("a", "x,y\n1,2\n"), ("b", "z,w\n1,2\n")]).unwrap_err();
        assert!(e.what.contains("no table of persons"), "{e}");
        let e = tree(&[("patients", "sex,age\nF,1\nF,1\n")]).unwrap_err();
        assert!(e.what.contains("no column names each of its rows"), "{e}");
    }
}
