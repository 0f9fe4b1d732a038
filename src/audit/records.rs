//! The rows of an audit in one numbering: the pool of members and holdout, and the synthetic rows.

use crate::error::{Error, Result};
use crate::evaluate::table::{Column, Table, Tables};
use crate::ingest::MISSING;
use rand::SeedableRng;
use rand::seq::index::sample;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Places of numbers run from 0 to this; [`NOWHERE`] is missing.
pub(super) const LAST_PLACE: u16 = 32_000;
/// What a value is called that the schema does not list.
const UNLISTED: &str = "a value that the schema does not list";
/// The blur of a near copy, in standard deviations.
const BLUR: f64 = 0.05;
/// The place of a missing cell, and of a category beyond the first 65,534.
pub(super) const NOWHERE: u16 = u16::MAX;

/// One column of both tables. Places are label-free: they come from the pool, whoever is a member.
pub(super) struct Places {
    pub is_number: bool,
    /// Of the pool's rows: of a number its mean rank in the pool on the scale of [`LAST_PLACE`], else the category.
    pub pool: Vec<u16>,
    pub synthetic: Vec<u16>,
    /// Of numbers, their size in quarters of a twentieth of the pool's standard deviation; empty for categories.
    pub pool_sizes: Vec<u16>,
    pub synthetic_sizes: Vec<u16>,
    /// The pool's places, sorted.
    pub sorted: Vec<u16>,
}

impl Places {
    /// Share of the pool within `reach` of a place.
    pub fn share_within(&self, place: u16, reach: u16) -> f64 {
        let from = self.sorted.partition_point(|&p| p < place.saturating_sub(reach));
        let to = self.sorted.partition_point(|&p| p <= place.saturating_add(reach));
        (to - from) as f64 / self.sorted.len() as f64
    }
}

/// The rows of an audit. The pool's rows stand by unit; each unit is a member or a holdout unit.
///
/// The order of the units is as good as random, and knows no label: it hangs on what stands in their rows and in the two
/// tables, and would be the same if members and holdout changed their roles. So whatever is cut off, sampled, or chosen
/// among equals by that order favours neither side. It once began with the members.
///
/// # Privacy
/// Holds real rows. Touches sensitive data, releases nothing.
pub(super) struct Records {
    pub names: Vec<String>,
    pub labels: Vec<Vec<String>>,
    pub columns: Vec<Places>,
    /// The pool's rows as boosting reads them, and the synthetic ones.
    pub pool_table: Table,
    pub synthetic_table: Table,
    /// First row of each unit in the pool, and the number of rows at the end.
    pub offsets: Vec<u32>,
    /// The unit of each row of the pool.
    pub unit_of: Vec<u32>,
    /// Whether each unit is a member.
    pub member: Vec<bool>,
    /// The number of each unit in the two tables, the holdout's behind the members'.
    pub numbers: Vec<u32>,
    /// Hash of all cells of each row; equal rows have equal hashes, whatever table they stand in.
    pub pool_keys: Vec<u64>,
    pub synthetic_keys: Vec<u64>,
}

impl Records {
    /// Pools the members and the holdout of `tables` (its training and holdout tables), with the unit of each row.
    ///
    /// # Errors
    /// Bad input where a column is missing in every real row.
    pub fn new(tables: Tables, member_units: &[u32], holdout_units: &[u32]) -> Result<Self> {
        let Tables { names, mut labels, mut train, mut holdout, mut synthetic, .. } = tables;
        for (column, labels) in labels.iter_mut().enumerate() {
            sort_labels(labels, [&mut train, &mut holdout, &mut synthetic].map(|table| &mut table.columns[column]));
        }
        let members = member_units.iter().max().map_or(0, |&unit| unit + 1);
        let place_of: HashMap<u32, u64> = places_in_pool(&train, member_units)
            .chain(places_in_pool(&holdout, holdout_units).map(|(unit, place)| (members + unit, place)))
            .collect();
        let unit_of_row: Vec<u32> =
            member_units.iter().copied().chain(holdout_units.iter().map(|&unit| members + unit)).collect();
        let mut order: Vec<usize> = (0..unit_of_row.len()).collect();
        order.sort_by_key(|&row| (place_of[&unit_of_row[row]], unit_of_row[row]));
        let pool = train.concat(&holdout).take(&order);
        if let Some(column) = (0..names.len()).find(|&c| (0..pool.rows).all(|row| pool.columns[c].is_missing(row))) {
            return Err(Error::bad_input("every cell of the column is missing, in members and holdout")
                .column(&names[column])
                .remedy("leave the column out with drop = true in the schema, in all three tables"));
        }
        let of_rows: Vec<u32> = order.iter().map(|&row| unit_of_row[row]).collect();
        let mut offsets = vec![0];
        for row in 1..=of_rows.len() {
            if row == of_rows.len() || of_rows[row] != of_rows[row - 1] {
                offsets.push(row as u32);
            }
        }
        let numbers: Vec<u32> = offsets[..offsets.len() - 1].iter().map(|&row| of_rows[row as usize]).collect();
        let columns = pool.columns.par_iter().zip(&synthetic.columns).map(|(a, b)| places(a, b)).collect();
        Ok(Self {
            names,
            labels,
            columns,
            pool_keys: keys(&pool),
            synthetic_keys: keys(&synthetic),
            pool_table: pool,
            synthetic_table: synthetic,
            unit_of: unit_of(&offsets),
            offsets,
            member: numbers.iter().map(|&number| number < members).collect(),
            numbers,
        })
    }

    /// Replaces labels that are not public: nothing may be called by a value that was read from the rows.
    pub fn forget_labels(&mut self, is_public: &dyn Fn(&str, &str) -> bool) {
        for (name, labels) in self.names.iter().zip(&mut self.labels) {
            let private = labels.iter_mut().filter(|label| !is_public(name, label));
            private.for_each(|label| UNLISTED.clone_into(label));
        }
    }

    pub fn pool_rows(&self) -> usize {
        self.pool_table.rows
    }

    pub fn synthetic_rows(&self) -> usize {
        self.synthetic_table.rows
    }

    pub fn units(&self) -> usize {
        self.member.len()
    }

    pub fn members(&self) -> usize {
        self.member.iter().filter(|&&m| m).count()
    }

    /// The pool's rows of the same unit.
    pub fn kin(&self, row: usize) -> std::ops::Range<usize> {
        let unit = self.unit_of[row] as usize;
        self.offsets[unit] as usize..self.offsets[unit + 1] as usize
    }

    /// The highest score of a unit's rows: rows of a unit are pooled.
    pub fn by_unit(&self, scores: &[f64]) -> Vec<f64> {
        let highest =
            |o: &[u32]| scores[o[0] as usize..o[1] as usize].iter().copied().fold(f64::NEG_INFINITY, f64::max);
        self.offsets.windows(2).map(highest).collect()
    }

    /// The same units with other synthetic rows.
    pub fn with_synthetic(&self, rows: &[Origin]) -> Self {
        let both = self.pool_table.concat(&self.synthetic_table);
        let number = |origin: &Origin| match *origin {
            Origin::Pool(row) => row,
            Origin::Synthetic(row) => self.pool_rows() + row,
        };
        let synthetic = both.take(&rows.iter().map(number).collect::<Vec<_>>());
        self.of(&(0..self.units()).collect::<Vec<_>>(), synthetic)
    }

    /// Only some units, in ascending order, with the rows `synthetic` of the pool as the synthetic table.
    pub fn of_units(&self, units: &[usize], synthetic: &[usize]) -> Self {
        self.of(units, self.pool_table.take(synthetic))
    }

    /// Only some units, in ascending order, with the same synthetic rows.
    pub fn part(&self, units: &[usize]) -> Self {
        self.of(units, self.synthetic_table.clone())
    }

    fn of(&self, units: &[usize], synthetic: Table) -> Self {
        let rows_of = |&unit: &usize| self.offsets[unit] as usize..self.offsets[unit + 1] as usize;
        let rows: Vec<usize> = units.iter().flat_map(rows_of).collect();
        let pool = self.pool_table.take(&rows);
        let mut offsets = vec![0];
        for unit in units {
            offsets.push(offsets[offsets.len() - 1] + rows_of(unit).len() as u32);
        }
        Self {
            names: self.names.clone(),
            labels: self.labels.clone(),
            columns: pool.columns.par_iter().zip(&synthetic.columns).map(|(a, b)| places(a, b)).collect(),
            pool_keys: keys(&pool),
            synthetic_keys: keys(&synthetic),
            pool_table: pool,
            synthetic_table: synthetic,
            unit_of: unit_of(&offsets),
            offsets,
            member: units.iter().map(|&unit| self.member[unit]).collect(),
            numbers: units.iter().map(|&unit| self.numbers[unit]).collect(),
        }
    }

    /// Some of a large pool's units, of either side as many rows as there is room for, and some of the synthetic rows; none
    /// where there is room for all. Which ones depends on no label.
    pub fn sample(&self, most: usize, seed: u64) -> Option<Self> {
        if self.pool_rows().max(self.synthetic_rows()) <= most {
            return None;
        }
        let rows_of = |unit: usize| (self.offsets[unit + 1] - self.offsets[unit]) as usize;
        let of_side = |of: bool| (0..self.units()).filter(|&u| self.member[u] == of).map(rows_of).sum::<usize>();
        let (members, others) = (of_side(true), of_side(false));
        let room = |own: usize, other: usize| own.min((most / 2).max(most.saturating_sub(other)));
        let mut left = [room(others, members), room(members, others)];
        let has_room = |unit: &usize| {
            let left = &mut left[usize::from(self.member[*unit])];
            let fits = *left >= rows_of(*unit);
            *left = if fits { *left - rows_of(*unit) } else { 0 };
            fits
        };
        let units: Vec<usize> = (0..self.units()).filter(has_room).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let made = sample(&mut rng, self.synthetic_rows(), self.synthetic_rows().min(most)).into_vec();
        Some(self.of(&units, self.synthetic_table.take(&made)))
    }
}

/// Numbers the labels of a column anew, in their own order: they came in that of the members' table.
fn sort_labels(labels: &mut Vec<String>, tables: [&mut Column; 3]) {
    let mut order: Vec<usize> = (0..labels.len()).collect();
    order.sort_unstable_by(|&a, &b| labels[a].cmp(&labels[b]));
    let mut new = vec![0; labels.len()];
    order.iter().zip(0..).for_each(|(&old, place)| new[old] = place);
    *labels = order.iter().map(|&old| std::mem::take(&mut labels[old])).collect();
    for column in tables {
        if let Column::Category(codes) = column {
            codes.iter_mut().filter(|code| **code != MISSING).for_each(|code| *code = new[*code as usize]);
        }
    }
}

/// Where each unit of a table goes in the pool: by a hash of its cells, of the whole table, and of its number among equal
/// units.
fn places_in_pool(table: &Table, units: &[u32]) -> impl Iterator<Item = (u32, u64)> {
    let hash = |of: &dyn Fn(&mut DefaultHasher)| {
        let mut hasher = DefaultHasher::new();
        of(&mut hasher);
        hasher.finish()
    };
    let keys = keys(table);
    let whole = keys.iter().fold(0u64, |sum, key| sum.wrapping_add(hash(&|h| key.hash(h))));
    let mut first_seen = Vec::new();
    let mut of_unit: HashMap<u32, u64> = HashMap::new();
    for (&unit, key) in units.iter().zip(&keys) {
        let content = of_unit.entry(unit).or_insert_with(|| {
            first_seen.push(unit);
            0
        });
        *content = hash(&|h| (*content, key).hash(h));
    }
    let mut equal: HashMap<u64, u32> = HashMap::new();
    first_seen.into_iter().map(move |unit| {
        let content = of_unit[&unit];
        let number = equal.entry(content).or_default();
        *number += 1;
        let mut hasher = DefaultHasher::new();
        (whole, content, *number).hash(&mut hasher);
        (unit, hasher.finish())
    })
}

/// The unit of each row.
fn unit_of(offsets: &[u32]) -> Vec<u32> {
    (0..).zip(offsets.windows(2)).flat_map(|(unit, o)| vec![unit; (o[1] - o[0]) as usize]).collect()
}

/// Where a synthetic row of a control comes from.
pub(super) enum Origin {
    Pool(usize),
    Synthetic(usize),
}

fn places(pool: &Column, synthetic: &Column) -> Places {
    let (is_number, [pool, synthetic], [pool_sizes, synthetic_sizes]) = match (pool, synthetic) {
        (Column::Number { values, .. }, Column::Number { values: made, .. }) => {
            let (place, size) = scales(values);
            let places = [values, made].map(|values| values.iter().map(|&v| place(v)).collect::<Vec<u16>>());
            (true, places, [values, made].map(|values| values.iter().map(|&v| size(v)).collect::<Vec<u16>>()))
        }
        (Column::Category(codes), Column::Category(made)) => {
            let place = |&code: &u32| if code == MISSING { NOWHERE } else { code.min(u32::from(NOWHERE)) as u16 };
            (false, [codes, made].map(|codes| codes.iter().map(place).collect()), [Vec::new(), Vec::new()])
        }
        _ => unreachable!("aligned tables agree on the kind of a column"),
    };
    let mut sorted = pool.clone();
    sorted.sort_unstable();
    Places { is_number, pool, synthetic, pool_sizes, synthetic_sizes, sorted }
}

/// Where a number stands in the ranks of the pool, and its size on the scale of the pool.
fn scales(values: &[f64]) -> (impl Fn(f64) -> u16, impl Fn(f64) -> u16) {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|v| !v.is_nan()).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let n = sorted.len().max(1) as f64;
    let mean = sorted.iter().sum::<f64>() / n;
    let deviation = (sorted.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
    // Whole numbers cannot be blurred by less than 1.
    let finest: f64 = if sorted.iter().all(|v| v.fract() == 0.0) { 1.0 } else { f64::MIN_POSITIVE };
    let unit = (BLUR * deviation).max(finest) / 4.0;
    let size = move |v: f64| {
        if v.is_nan() { 0 } else { ((v - mean) / unit + f64::from(LAST_PLACE)).clamp(1.0, f64::from(NOWHERE)) as u16 }
    };
    let scale = f64::from(LAST_PLACE) / (2.0 * n);
    let place = move |v: f64| {
        let below = sorted.partition_point(|&x| x < v);
        let up_to = sorted.partition_point(|&x| x <= v);
        if v.is_nan() { NOWHERE } else { ((below + up_to) as f64 * scale) as u16 }
    };
    (place, size)
}

/// A hash of all cells of each row.
fn keys(table: &Table) -> Vec<u64> {
    let key = |row: usize| {
        let mut hasher = DefaultHasher::new();
        for column in &table.columns {
            match column {
                // 0.0 and -0.0 are equal, and so is one missing cell to another.
                Column::Number { values, .. } => {
                    let value = values[row];
                    (if value.is_nan() { u64::MAX } else { (value + 0.0).to_bits() }).hash(&mut hasher);
                }
                Column::Category(codes) => codes[row].hash(&mut hasher),
            }
        }
        hasher.finish()
    };
    (0..table.rows).into_par_iter().map(key).collect()
}

/// How often each key occurs.
pub(super) fn counts(keys: &[u64]) -> HashMap<u64, u32> {
    let mut counts = HashMap::with_capacity(keys.len());
    keys.iter().for_each(|&key| *counts.entry(key).or_insert(0) += 1);
    counts
}
