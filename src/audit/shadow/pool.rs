//! Members and holdout as one table, and random halves of it.

use crate::error::{Error, Result};
use crate::ingest::{Frame, FrameColumn, MISSING, Values};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// All real rows, the members' units first: the units of an audit in its numbering.
///
/// # Privacy
/// Holds real rows. Touches sensitive data, releases nothing.
pub struct Pool {
    frame: Frame,
    /// The unit of each row.
    unit_of: Vec<u32>,
    units: usize,
    members: usize,
}

impl Pool {
    /// Joins two tables that were read under one schema.
    ///
    /// # Errors
    /// Bad input when a column is of another kind in the holdout.
    pub fn new(members: Frame, holdout: Frame) -> Result<Self> {
        let (first, units) = (members.units(), members.units() + holdout.units());
        let own = |frame: &Frame| frame.unit.clone().unwrap_or_else(|| (0..frame.rows as u32).collect());
        let unit_of: Vec<u32> =
            own(&members).into_iter().chain(own(&holdout).into_iter().map(|unit| unit + first as u32)).collect();
        let join = |(a, b): (FrameColumn, FrameColumn)| match (a.values, b.values) {
            (Values::Number(a_values), Values::Number(b_values)) => {
                Ok(FrameColumn { name: a.name, values: Values::Number([a_values, b_values].concat()) })
            }
            (Values::Text { codes, labels }, Values::Text { codes: b_codes, labels: b_labels }) => {
                let shift = labels.len() as u32;
                let shifted = b_codes.into_iter().map(|code| if code == MISSING { code } else { code + shift });
                let codes = codes.into_iter().chain(shifted).collect();
                Ok(FrameColumn { name: a.name, values: Values::Text { codes, labels: [labels, b_labels].concat() } })
            }
            _ => Err(Error::bad_input("numbers in one table and text in the other").column(a.name)),
        };
        let unit = members.unit.is_some().then(|| unit_of.clone());
        let rows = unit_of.len();
        let columns = members.columns.into_iter().zip(holdout.columns).map(join).collect::<Result<_>>()?;
        Ok(Self { frame: Frame { rows, columns, unit }, unit_of, units, members: first })
    }

    pub fn frame(&self) -> &Frame {
        &self.frame
    }

    pub fn units(&self) -> usize {
        self.units
    }

    pub fn members(&self) -> usize {
        self.members
    }

    /// Which units shadow model `shadow` is fitted to: half of them, whoever is a member. Models go in pairs, one with
    /// either half, so that each unit is in as many models as it is out of.
    pub fn half(&self, shadow: usize, seed: u64) -> Vec<bool> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(shadow as u64 / 2);
        let mut order: Vec<usize> = (0..self.units).collect();
        order.shuffle(&mut rng);
        let mut within = vec![shadow % 2 == 1; self.units];
        order[..self.units / 2].iter().for_each(|&unit| within[unit] = !within[unit]);
        within
    }

    /// The rows of these units, numbered anew.
    pub fn part(&self, within: &[bool]) -> Frame {
        let rows: Vec<usize> = (0..self.frame.rows).filter(|&row| within[self.unit_of[row] as usize]).collect();
        let take = |column: &FrameColumn| {
            let values = match &column.values {
                Values::Number(values) => Values::Number(rows.iter().map(|&row| values[row]).collect()),
                Values::Text { codes, labels } => {
                    Values::Text { codes: rows.iter().map(|&row| codes[row]).collect(), labels: labels.clone() }
                }
            };
            FrameColumn { name: column.name.clone(), values }
        };
        let mut next = 0;
        let number = |&within: &bool| {
            next += u32::from(within);
            next.saturating_sub(1)
        };
        let numbers: Vec<u32> = within.iter().map(number).collect();
        let unit = self.frame.unit.as_ref().map(|unit| rows.iter().map(|&row| numbers[unit[row] as usize]).collect());
        Frame { rows: rows.len(), columns: self.frame.columns.iter().map(take).collect(), unit }
    }

    /// The sum over a unit's rows.
    pub fn by_unit(&self, rows: &[f64]) -> Vec<f64> {
        let mut sums = vec![0.0; self.units];
        self.unit_of.iter().zip(rows).for_each(|(&unit, score)| sums[unit as usize] += score);
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(numbers: &[f64], codes: &[u32], labels: &[&str], unit: &[u32]) -> Frame {
        Frame {
            rows: numbers.len(),
            columns: vec![
                FrameColumn { name: "n".into(), values: Values::Number(numbers.to_vec()) },
                FrameColumn {
                    name: "t".into(),
                    values: Values::Text {
                        codes: codes.to_vec(),
                        labels: labels.iter().map(|&l| l.to_owned()).collect(),
                    },
                },
            ],
            unit: Some(unit.to_vec()),
        }
    }

    #[test]
    fn halves_are_pairs_and_rows_go_with_their_unit() {
        let members = frame(&[1.0, 2.0, 3.0], &[0, 1, 0], &["a", "b"], &[0, 1, 0]);
        let holdout = frame(&[4.0, 5.0], &[0, MISSING], &["b"], &[0, 1]);
        let pool = Pool::new(members, holdout).unwrap();
        assert_eq!((pool.units(), pool.members(), pool.frame().units()), (4, 2, 4));
        for pair in 0..4 {
            let halves = [2 * pair, 2 * pair + 1].map(|shadow| pool.half(shadow, 7));
            assert_eq!(halves[0].iter().filter(|&&within| within).count(), 2);
            assert!(halves[0].iter().zip(&halves[1]).all(|(a, b)| a != b), "a pair has all units between them");
        }
        let part = pool.part(&[true, false, true, false]);
        assert_eq!((part.rows, part.unit.as_deref()), (3, Some(&[0, 0, 1][..])));
        let Values::Number(numbers) = &part.columns[0].values else { panic!("numbers") };
        let Values::Text { codes, labels } = &part.columns[1].values else { panic!("text") };
        assert_eq!(numbers, &[1.0, 3.0, 4.0]);
        assert_eq!(codes.iter().map(|&code| labels[code as usize].as_str()).collect::<Vec<_>>(), ["a", "a", "b"]);
        assert_eq!(pool.by_unit(&[1.0, 2.0, 4.0, 8.0, 16.0]), [5.0, 2.0, 8.0, 16.0]);
    }
}
