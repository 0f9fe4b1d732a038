//! Names that are meant, perhaps.

/// Names shown where one is not known.
const SHOWN: usize = 5;

/// The names that take the fewest changes to become `name`, nearest first.
pub fn nearest<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Vec<&'n str> {
    let name: Vec<char> = name.to_lowercase().chars().take(64).collect();
    let mut near: Vec<(usize, &str)> = names.map(|other| (changes(&name, other), other)).collect();
    near.sort_by_key(|&(changes, _)| changes);
    near.into_iter().take(SHOWN).map(|(_, other)| other).collect()
}

/// Names in backticks, with commas.
pub fn list<'n>(names: impl Iterator<Item = &'n str>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Letters to insert, remove or replace (Levenshtein's distance), regardless of case.
fn changes(name: &[char], other: &str) -> usize {
    let mut before: Vec<usize> = (0..=name.len()).collect();
    for (row, c) in other.to_lowercase().chars().take(64).enumerate() {
        let mut now = vec![row + 1];
        for (i, &d) in name.iter().enumerate() {
            now.push((before[i] + usize::from(c != d)).min(before[i + 1] + 1).min(now[i] + 1));
        }
        before = now;
    }
    before[name.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_comes_first() {
        let names = ["gender", "age", "readmitted", "race", "A1Cresult", "weight"];
        assert_eq!(nearest("readmited", names.into_iter())[0], "readmitted");
        assert_eq!(nearest("AGE", names.into_iter())[0], "age");
        assert_eq!(changes(&['k', 'i', 't', 't', 'e', 'n'], "sitting"), 3);
        assert_eq!(list(["a", "b"].into_iter()), "`a`, `b`");
    }
}
