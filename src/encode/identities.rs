//! Who each unit is, as far as its draws have to know.

use super::CodeStore;
use rayon::prelude::*;
use std::sync::Arc;
use synthward_privacy::{UnitHasher, UnitKey};

/// What the draws that belong to a unit are addressed by: its key or its content under a secret key, so that one unit more
/// leaves the draws of all others as they are, wherever it stands.
#[derive(Clone)]
pub enum Identities {
    /// Each unit's place: of rows that are nobody's.
    Places,
    /// What the units' keys give, 0 for a unit without a key, or nothing where no unit has one; and the secret key under
    /// which such a unit is known by the content of its rows and its number among those of equal content.
    Secret { named: Arc<Vec<u64>>, key: Arc<UnitKey> },
}

impl Identities {
    /// The identity of each unit of `codes`, 64 bits. Where rows cannot be read, [`CodeStore::check`] tells.
    ///
    /// # Privacy
    /// Touches sensitive data, releases nothing.
    pub(super) fn of(&self, codes: &CodeStore) -> Arc<Vec<u64>> {
        let Self::Secret { named, key } = self else { return Arc::new((0..codes.units() as u64).collect()) };
        let name = |unit: usize| named.get(unit).copied().filter(|&name| name != 0);
        let mut unnamed: Vec<u32> = (0..codes.units() as u32).filter(|&unit| name(unit as usize).is_none()).collect();
        if unnamed.is_empty() {
            return named.clone();
        }
        let content = key.subkey("content").hasher();
        let identity =
            |rows: &mut Vec<u16>, unit: usize| name(unit).unwrap_or_else(|| hash(&content, rows, codes, unit));
        let mut all: Vec<u64> = (0..codes.units()).into_par_iter().map_init(Vec::new, identity).collect();
        // Those of equal content are numbered; the first keeps the identity of the content.
        unnamed.par_sort_unstable_by_key(|&unit| (all[unit as usize], unit));
        let numbered = key.subkey("number").hasher();
        let mut start = 0;
        while start < unnamed.len() {
            let of_content = all[unnamed[start] as usize];
            let equal = unnamed[start..].iter().take_while(|&&unit| all[unit as usize] == of_content).count();
            for number in 1..equal {
                let name = [of_content.to_le_bytes(), (number as u64).to_le_bytes()].concat();
                all[unnamed[start + number] as usize] = numbered.hash(&name).0;
            }
            start += equal;
        }
        Arc::new(all)
    }
}

/// 64 bits of a unit's rows.
fn hash(hasher: &UnitHasher, rows: &mut Vec<u16>, codes: &CodeStore, unit: usize) -> u64 {
    rows.clear();
    codes.append_unit(unit, rows);
    let bytes: Vec<u8> = rows.iter().flat_map(|code| code.to_le_bytes()).collect();
    hasher.hash(&bytes).0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::Codes;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// Units of these rows of one column, with or without a name, and the identity of each.
    fn identities(units: &[(Vec<u16>, u64)], key: &Arc<UnitKey>) -> Vec<u64> {
        let rows: Vec<u16> = units.iter().flat_map(|unit| unit.0.clone()).collect();
        let mut offsets = vec![0];
        units.iter().for_each(|unit| offsets.push(offsets[offsets.len() - 1] + unit.0.len() as u32));
        let named = Arc::new(units.iter().map(|unit| unit.1).collect());
        let codes = CodeStore::from(Codes { codes: rows, width: 1, offsets });
        Identities::Secret { named, key: key.clone() }.of(&codes).to_vec()
    }

    proptest! {
        /// Whoever is put in wherever, all others keep their identity: those of equal rows among themselves.
        #[test]
        fn one_unit_more_changes_nobody_elses_identity(
            mut units in vec((vec(0u16..2, 0..3), 0u64..3), 0..20),
            more in (vec(0u16..2, 0..3), 0u64..3),
            place in 0usize..20,
        ) {
            let key = Arc::new(UnitKey::from_system().unwrap());
            let with_content = |units: &[(Vec<u16>, u64)]| {
                let mut all: Vec<_> = units.iter().cloned().zip(identities(units, &key)).collect();
                all.sort_unstable();
                all
            };
            let before = with_content(&units);
            units.insert(place.min(units.len()), more.clone());
            let mut after = with_content(&units);
            let new = after.iter().position(|one| !before.contains(one)).or_else(|| {
                // A name that somebody has already.
                after.iter().position(|one| one.0 == more)
            });
            after.remove(new.unwrap());
            prop_assert_eq!(before, after);
        }
    }

    #[test]
    fn equal_rows_toss_different_coins() {
        let key = Arc::new(UnitKey::from_system().unwrap());
        let mut all = identities(&vec![(vec![3], 0); 50], &key);
        all.extend(identities(&vec![(vec![4], 0); 50], &key));
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 100);
        let other = Arc::new(UnitKey::from_system().unwrap());
        assert_ne!(identities(&[(vec![3], 0)], &key), identities(&[(vec![3], 0)], &other));
        assert_eq!(identities(&[(vec![3], 9), (vec![4], 9)], &key), [9, 9], "names come from elsewhere");
    }
}
