//! Keys, as far as it must be told whether two are the same.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use rayon::prelude::*;
use synthward_privacy::{UnitHasher, UnitKey};

use super::super::cells::Texts;
use super::super::frame::MISSING;

/// 128 keyed bits of a key.
pub(super) type Key = (u64, u64);

/// Makes keys of texts; one for all tables of a folder.
pub(super) struct KeyHasher(UnitHasher);

impl KeyHasher {
    pub fn new(key: &UnitKey) -> Self {
        Self(key.subkey("names").hasher())
    }

    /// Adds the keys of a part's rows; none for a missing cell.
    pub fn extend(&self, keys: &mut Vec<Option<Key>>, texts: &Texts) {
        let of_label: Vec<Key> = texts.labels.par_iter().map(|label| self.0.hash(label.as_bytes())).collect();
        keys.extend(texts.codes.iter().map(|&code| of_label.get(code as usize).copied()));
    }
}

/// The rows that keys name.
#[derive(Default)]
pub(super) struct KeyPlaces(HashMap<Key, u32>);

impl KeyPlaces {
    /// Notes which row of the file has the key, unless one before it has it: then that one.
    pub fn insert(&mut self, key: Key, row: u32) -> Option<u32> {
        match self.0.entry(key) {
            Entry::Occupied(entry) => Some(*entry.get()),
            Entry::Vacant(entry) => {
                entry.insert(row);
                None
            }
        }
    }

    /// The keys without rows: it will be said anew which row has each.
    pub fn forget_places(&mut self) {
        self.0.values_mut().for_each(|place| *place = MISSING);
    }

    /// Says which row has the key.
    pub fn put(&mut self, key: Option<Key>, place: u32) {
        if let Some(key) = key {
            self.0.insert(key, place);
        }
    }

    /// The row of a key, [`MISSING`] for one that is left out; none where there is no such key.
    pub fn get(&self, key: Key) -> Option<u32> {
        self.0.get(&key).copied()
    }
}
