//! Groups of units on which the attacks are run: everybody, the most isolated, and rare groups. Label-free, all of them.

use super::records::{NOWHERE, Records};

/// Shares of the units that are the most isolated.
const ISOLATED: [f64; 2] = [0.02, 0.1];
/// A group is rare when it has such a share of the units ...
const RARE: std::ops::RangeInclusive<f64> = 0.003..=0.05;
/// ... and this many members and others at least.
const LEAST_UNITS: usize = 8;
/// Rare groups at most, the largest first.
const MOST_RARE: usize = 60;
/// Of a number's range, the ends with so large a share of the units are groups of their own.
const END: f64 = 0.02;

/// What a stratum is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    All,
    Isolated,
    Rare,
}

pub(super) struct Stratum {
    pub name: String,
    pub class: Class,
    pub units: Vec<usize>,
}

/// The strata of an audit. `isolation` has an entry a unit.
pub(super) fn strata(records: &Records, isolation: &[f64]) -> Vec<Stratum> {
    let mut strata = vec![Stratum { name: "all".into(), class: Class::All, units: (0..records.units()).collect() }];
    let mut order: Vec<usize> = (0..records.units()).collect();
    order.sort_by(|&a, &b| isolation[b].total_cmp(&isolation[a]));
    for share in ISOLATED {
        let units = order[..(records.units() as f64 * share).ceil() as usize].to_vec();
        strata.push(Stratum {
            name: format!("the {:.0} % most isolated", share * 100.0),
            class: Class::Isolated,
            units,
        });
    }
    let mut rare: Vec<Stratum> = (0..records.columns.len()).flat_map(|column| groups(records, column)).collect();
    rare.retain(|stratum| {
        let members = stratum.units.iter().filter(|&&unit| records.member[unit]).count();
        let share = stratum.units.len() as f64 / records.units() as f64;
        RARE.contains(&share) && members >= LEAST_UNITS && stratum.units.len() - members >= LEAST_UNITS
    });
    rare.sort_by_key(|stratum| std::cmp::Reverse(stratum.units.len()));
    rare.truncate(MOST_RARE);
    strata.extend(rare);
    strata
}

/// Units with each value of a category; of a number the units at either end.
fn groups(records: &Records, column: usize) -> Vec<Stratum> {
    let places = &records.columns[column];
    let name = &records.names[column];
    let units = |keep: &dyn Fn(u16) -> bool| -> Vec<usize> {
        let mut units: Vec<usize> = (0..records.pool_rows())
            .filter(|&row| keep(places.pool[row]))
            .map(|row| records.unit_of[row] as usize)
            .collect();
        units.dedup();
        units
    };
    let rare = |name: String, units| Stratum { name, class: Class::Rare, units };
    let sorted = &places.sorted[..places.sorted.partition_point(|&p| p != NOWHERE)];
    let missing = rare(format!("{name} is missing"), units(&|place| place == NOWHERE));
    if places.is_number {
        if sorted.is_empty() {
            return vec![missing];
        }
        let end = (sorted.len() as f64 * END) as usize;
        let (low, high) = (sorted[end], sorted[sorted.len() - 1 - end]);
        let low = rare(format!("{name} among the lowest {:.0} %", END * 100.0), units(&|p| p < low));
        let high = rare(format!("{name} among the highest {:.0} %", END * 100.0), units(&|p| p > high && p != NOWHERE));
        return vec![low, high, missing];
    }
    let mut strata: Vec<Stratum> = sorted
        .chunk_by(|a, b| a == b)
        .filter(|run| {
            RARE.contains(&(run.len() as f64 / places.pool.len() as f64)) || records.units() < records.pool_rows()
        })
        .map(|run| {
            let label = records.labels[column].get(usize::from(run[0])).cloned().unwrap_or_default();
            rare(format!("{name} = {label}"), units(&|place| place == run[0]))
        })
        .collect();
    strata.push(missing);
    strata
}
