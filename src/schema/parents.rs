//! A supplied tree of codes: the parent of each, from a public table.

use super::Column;
use crate::error::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

/// Levels of a tree of codes, at most.
const MOST_LEVELS: usize = 32;

/// Under which code each code stands. A code without a parent is a root.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected the name of a CSV file, or a table of codes and their parents")]
pub enum Parents {
    /// A CSV file with the columns `code` and `parent`; its path is relative to the schema. It is public, is read with the
    /// schema, and its parents go into the model.
    File(String),
    /// The parent of each code.
    Of(BTreeMap<String, String>),
}

impl Parents {
    /// The codes above one, the nearest first.
    pub fn above<'a>(&'a self, code: &'a str) -> impl Iterator<Item = &'a str> {
        let parent = move |code: &&'a str| match self {
            Self::Of(parents) => parents.get(*code).map(String::as_str),
            Self::File(_) => None,
        };
        std::iter::successors(parent(&code), parent)
    }

    /// A code that stands below so many others that there is a circle, or a tree that is none of codes.
    pub(super) fn too_deep(&self) -> Option<&str> {
        let Self::Of(parents) = self else { return None };
        let is_too_deep = |code: &&String| self.above(code).take(MOST_LEVELS + 1).count() > MOST_LEVELS;
        parents.keys().find(is_too_deep).map(String::as_str)
    }

    /// The same without what is above none of these codes.
    pub(super) fn of_codes(&self, codes: &[String]) -> Self {
        let Self::Of(parents) = self else { return self.clone() };
        let mut kept = BTreeMap::new();
        for code in codes {
            for below in std::iter::once(code.as_str()).chain(self.above(code)) {
                let Some(parent) = parents.get(below) else { break };
                if kept.insert(below.to_owned(), parent.clone()).is_some() {
                    break;
                }
            }
        }
        Self::Of(kept)
    }

    /// Reads a file of parents, for these codes; for all, where there are none yet.
    ///
    /// # Errors
    /// Bad input, with file and line: the file cannot be read or lacks a column, a code is empty, has two parents or
    /// stands above itself, or none of the codes is there.
    fn read(path: &Path, codes: &[String]) -> Result<Self> {
        let (parents, lines) = rows(path).map_err(|e| e.file(path))?;
        let all = Self::Of(parents);
        if let Some(code) = all.too_deep() {
            let line = lines.get(code).copied().unwrap_or(0);
            return Err(Error::bad_input(format!(
                "line {line}: the code stands above itself, or more than {MOST_LEVELS} levels down"
            ))
            .file(path)
            .remedy("a tree has no circle: mend the parents"));
        }
        let known: HashSet<&str> = match &all {
            Self::Of(parents) => parents.values().chain(lines.keys()).map(String::as_str).collect(),
            Self::File(_) => HashSet::new(),
        };
        if codes.is_empty() {
            return Ok(all);
        }
        if !codes.iter().any(|code| known.contains(code.as_str())) {
            return Err(Error::bad_input("none of the column's categories is in the file")
                .file(path)
                .expected("codes spelled as in the categories")
                .remedy("give the table of the same code system"));
        }
        Ok(all.of_codes(codes))
    }
}

impl Column {
    /// Reads the file of parents, if one is named, which is relative to this folder. What it keeps of it may not depend on
    /// categories that nobody vouches for: `fit --discover-epsilon` forgets those, and keeps the tree.
    ///
    /// # Errors
    /// As for any file of parents: bad input with file and line.
    pub(super) fn read_parents(&mut self, folder: &Path) -> Result<()> {
        if let Some(Parents::File(name)) = &self.parents {
            let vouched = if self.domain_is_public() { self.categories.as_slice() } else { &[] };
            let read = Parents::read(&folder.join(name), vouched);
            self.parents = Some(read.map_err(|e| e.column(&self.name))?);
        }
        Ok(())
    }
}

/// The parents in a file, and the line of each code.
fn rows(path: &Path) -> Result<(BTreeMap<String, String>, HashMap<String, u64>)> {
    let unreadable = |e: csv::Error| {
        let line = e.position().map_or_else(String::new, |at| format!("line {}: ", at.line()));
        let why = match e.kind() {
            csv::ErrorKind::Io(e) if e.kind() == std::io::ErrorKind::NotFound => "there is no such file",
            csv::ErrorKind::Io(_) => "the file cannot be read",
            csv::ErrorKind::Utf8 { .. } => "the file is not UTF-8 text",
            csv::ErrorKind::UnequalLengths { .. } => "the row has more or fewer cells than the header",
            _ => "the file is no CSV",
        };
        Error::bad_input(format!("{line}{why}")).remedy("give a CSV file of codes and their parents")
    };
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(path).map_err(unreadable)?;
    let header = reader.headers().map_err(unreadable)?;
    let place =
        |name: &str| header.iter().position(|own| own.trim_start_matches('\u{feff}').eq_ignore_ascii_case(name));
    let (Some(code), Some(parent)) = (place("code"), place("parent")) else {
        return Err(Error::bad_input("line 1: a column of the parents is not there")
            .expected("a header with `code` and `parent`")
            .remedy("name the two columns"));
    };
    let (mut parents, mut lines) = (BTreeMap::new(), HashMap::new());
    for row in reader.records() {
        let row = row.map_err(unreadable)?;
        let line = row.position().map_or(0, csv::Position::line);
        let (code, parent) = (&row[code], &row[parent]);
        if code.is_empty() {
            return Err(Error::bad_input(format!("line {line}: the code is empty")).remedy("remove the line"));
        }
        if let Some(before) = lines.insert(code.to_owned(), line)
            && parents.get(code).map_or("", String::as_str) != parent
        {
            return Err(Error::bad_input(format!("line {line}: the code has another parent in line {before}"))
                .remedy("keep one parent of each code: a tree has no more"));
        }
        if !parent.is_empty() {
            parents.insert(code.to_owned(), parent.to_owned());
        }
    }
    Ok((parents, lines))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{DomainFrom, Kind};

    fn of(parents: &[(&str, &str)]) -> Parents {
        Parents::Of(parents.iter().map(|(code, parent)| ((*code).into(), (*parent).into())).collect())
    }

    fn read(text: &str, codes: &[&str]) -> Result<Parents> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("parents.csv");
        std::fs::write(&path, text).unwrap();
        Parents::read(&path, &codes.iter().map(|code| (*code).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn circles_and_chains_are_found_and_trees_have_none() {
        assert!(of(&[("a", "b"), ("b", "c"), ("d", "b")]).too_deep().is_none());
        assert!(of(&[("a", "b")]).too_deep().is_none());
        assert!(of(&[]).too_deep().is_none());
        for parents in [&[("a", "a")][..], &[("a", "b"), ("b", "a")], &[("x", "a"), ("a", "b"), ("b", "c"), ("c", "a")]]
        {
            assert!(of(parents).too_deep().is_some(), "{parents:?}");
        }
        let chain: Vec<[String; 2]> = (0..=MOST_LEVELS).map(|i| [i, i + 1].map(|code| code.to_string())).collect();
        let links: Vec<(&str, &str)> = chain.iter().map(|[code, parent]| (code.as_str(), parent.as_str())).collect();
        assert!(of(&links[1..]).too_deep().is_none() && of(&links).too_deep().is_some());
    }

    #[test]
    fn a_file_gives_what_is_above_the_codes_and_no_more() {
        let text = "\u{feff}Parent,note,Code\nb,x,a\nroot,x,b\n,x,root\nroot,x,c\nb,x,a\n";
        assert_eq!(read(text, &[]).unwrap(), of(&[("a", "b"), ("b", "root"), ("c", "root")]));
        let read = read(text, &["a", "elsewhere"]).unwrap();
        assert_eq!(read, of(&[("a", "b"), ("b", "root")]));
        assert_eq!(read.above("a").collect::<Vec<_>>(), ["b", "root"]);
        assert_eq!(read.above("elsewhere").count(), 0);
    }

    /// Of two categories that the rows have, the file would tell which were there when the schema was drafted.
    #[test]
    fn categories_that_nobody_vouches_for_leave_the_tree_whole() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tree.csv"), "code,parent\na,root\nb,root\n").unwrap();
        let mut column = Column::new("finding", Kind::Code);
        column.categories = vec!["a".to_owned()];
        for (domain_from, kept) in
            [(DomainFrom::Data, &[("a", "root"), ("b", "root")][..]), (DomainFrom::Public, &[("a", "root")])]
        {
            column.domain_from = Some(domain_from);
            column.parents = Some(Parents::File("tree.csv".to_owned()));
            column.read_parents(folder.path()).unwrap();
            assert_eq!(column.parents, Some(of(kept)), "{domain_from:?}");
        }
    }

    #[test]
    fn each_malformed_file_is_refused_where_it_is_wrong() {
        for (text, what) in [
            ("code,up\na,b\n", "line 1: a column of the parents"),
            ("code,parent\na,b\na,c\n", "line 3: the code has another parent in line 2"),
            ("code,parent\na,b\na,\n", "line 3: the code has another parent in line 2"),
            ("code,parent\na,b\nb,a\n", "line 2: the code stands above itself"),
            ("code,parent\n,b\n", "line 2: the code is empty"),
            ("code,parent\na,b\nc\n", "line 3: the row has more or fewer cells"),
            ("code,parent\nx,y\n", "none of the column's categories"),
        ] {
            let e = read(text, &["a"]).unwrap_err();
            assert!(e.what.starts_with(what) && e.file.is_some() && e.remedy.is_some(), "{text}: {e}");
            assert_eq!(e.kind.exit_code(), 3);
        }
        let e = Parents::read(Path::new("nowhere.csv"), &[]).unwrap_err();
        assert!(e.what.starts_with("there is no such file"), "{e}");
    }
}
