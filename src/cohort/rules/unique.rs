//! Rows that are like no other.

use super::Rules;
use super::row::Row;
use sha2::{Digest, Sha256};
use std::collections::HashSet;

/// No two rows have the same values in these columns.
pub(super) struct Unique {
    pub columns: Vec<usize>,
    /// Whether the unit is one of them: then rows of a unit differ.
    pub of_unit: bool,
}

/// The rows that a cohort has so far, 128 bits for each and rule.
#[derive(Default)]
pub struct Seen(Vec<HashSet<u128>>);

impl Seen {
    /// Whether rows with these keys may follow: none is there, and none twice among them.
    pub fn allows(&self, keys: &[Option<u128>], rules: usize) -> bool {
        let rows = keys.len() / rules.max(1);
        (0..rows * rules).all(|at| {
            let Some(key) = keys[at] else { return true };
            let there = self.0.get(at % rules).is_some_and(|seen| seen.contains(&key));
            !there && (0..at).rev().skip(rules - 1).step_by(rules).all(|before| keys[before] != Some(key))
        })
    }

    pub fn add(&mut self, keys: &[Option<u128>], rules: usize) {
        self.0.resize_with(rules, HashSet::new);
        for (at, key) in keys.iter().enumerate() {
            self.0[at % rules].extend(key);
        }
    }
}

impl Rules<'_> {
    /// How many rules say that rows differ.
    pub fn unique_rules(&self) -> usize {
        self.unique.len()
    }

    /// The columns that rows may be told apart by.
    pub fn unique_columns(&self) -> impl Iterator<Item = usize> {
        self.unique.iter().flat_map(|rule| rule.columns.iter().copied())
    }

    /// One key a rule of a row of this unit; none where a cell is missing. Equal values have equal keys, and others do not,
    /// but for a chance of 2^-128 a pair.
    pub fn keys(&self, row: &Row, unit: u64, keys: &mut Vec<Option<u128>>) {
        for rule in &self.unique {
            let mut digest = Sha256::new();
            digest.update(if rule.of_unit { unit } else { 0 }.to_le_bytes());
            for &j in &rule.columns {
                let value = match self.scales[j] {
                    Some(_) => (row.value(self, j) + 0.0).to_bits(),
                    None => u64::from(row.positions[j]),
                };
                digest.update(value.to_le_bytes());
            }
            let is_complete = rule.columns.iter().all(|&j| row.has(j));
            keys.push(is_complete.then(|| {
                let bytes: [u8; 32] = digest.finalize().into();
                bytes[..16].iter().fold(0, |key, &byte| key << 8 | u128::from(byte))
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_compared_with_those_before_and_among_each_other() {
        let mut seen = Seen::default();
        assert!(seen.allows(&[Some(1), None, Some(2), None], 2));
        assert!(!seen.allows(&[Some(1), None, Some(1), Some(5)], 2), "the same key of the same rule twice");
        assert!(seen.allows(&[Some(1), Some(2), Some(2), Some(1)], 2), "keys of different rules");
        seen.add(&[Some(1), None, Some(2), Some(3)], 2);
        assert!(!seen.allows(&[Some(2), None], 2) && !seen.allows(&[None, Some(3)], 2));
        assert!(seen.allows(&[Some(3), Some(1)], 2) && seen.allows(&[None, None], 2));
    }
}
