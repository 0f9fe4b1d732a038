//! Columns that another one gives: by groups of its numbers, or by the schema's map, and where that says nothing by a value
//! that is drawn once from the model's law.

use super::Rules;
use super::row::{Row, Setting};
use super::scale::Scale;
use crate::encode::{Codec, Decoder, Domain, Positions};
use crate::ingest::MISSING;
use crate::model::ModelFile;
use crate::schema::MapValue;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, HashMap};

/// The stream of what is drawn once for a model: every cohort of it has the same.
const DRAWN: u64 = 0x0064_7261_776e;

/// Each value of `on` has one value of `of`.
pub(super) struct Dependency<'m> {
    pub of: usize,
    pub on: usize,
    /// Whether one is missing where the other is; else a missing one says nothing of the other.
    pub missing_together: bool,
    image: Image<'m>,
}

/// The position of `of` that each of `on` gives; none where the domain has no such value.
enum Image<'m> {
    /// Of labels, each for itself.
    Labels(Vec<Option<u32>>),
    /// Of numbers, those that the schema tells, and the others by their joint cell.
    Numbers { declared: HashMap<u32, Option<u32>>, on_codec: &'m Codec, of_cells: Vec<u32> },
    /// Of groups, each with its first position.
    Groups(Vec<(u32, Option<u32>)>),
}

impl<'m> Dependency<'m> {
    pub fn new(
        model: &'m ModelFile,
        [of, on]: [usize; 2],
        map: &BTreeMap<String, MapValue>,
        missing_together: bool,
    ) -> Self {
        let columns = &model.domain.columns;
        let pairs = map.iter().filter_map(|(key, value)| {
            Some((spelled(&columns[on].domain, key)?, spelled(&columns[of].domain, &value.spelled())))
        });
        let declared: HashMap<u32, Option<u32>> = pairs.collect();
        let on_codec = &model.header.codecs[on];
        let positions = columns[on].domain.positions();
        let image = match columns[on].domain {
            Domain::Labels { .. } => {
                let cells: Vec<u16> = (0..positions).map(|position| on_codec.joint_code(position)).collect();
                let is_told = (0..positions).all(|position| declared.contains_key(&position));
                let drawn = if is_told { Vec::new() } else { drawn(model, [of, on], &cells) };
                let of_label = |position: u32| {
                    declared.get(&position).copied().unwrap_or_else(|| drawn.get(position as usize).copied())
                };
                Image::Labels((0..positions).map(of_label).collect())
            }
            Domain::Numbers { .. } => {
                let cells: Vec<u16> = (0..on_codec.cells() as u16).collect();
                Image::Numbers { declared, on_codec, of_cells: drawn(model, [of, on], &cells) }
            }
        };
        Self { of, on, missing_together, image }
    }

    /// Of a column that groups the numbers of another one.
    pub fn of_groups(
        model: &ModelFile,
        [of, on]: [usize; 2],
        scale: &Scale,
        (starts, values): (&[f64], &[MapValue]),
        missing_together: bool,
    ) -> Self {
        let first = |start: &f64| scale.first(*start, |x| x >= *start);
        let value = |value: &MapValue| spelled(&model.domain.columns[of].domain, &value.spelled());
        let groups = std::iter::once(0).chain(starts.iter().map(first)).zip(values.iter().map(value));
        Self { of, on, missing_together, image: Image::Groups(groups.collect()) }
    }

    /// Whether the rule says something of a row.
    fn concerns(&self, row: &Row) -> bool {
        self.missing_together || row.has(self.on) && row.has(self.of)
    }

    /// The position of `of` that a position of `on` gives; none where a row may not have the latter.
    fn image(&self, on: u32) -> Option<u32> {
        if on == MISSING {
            return Some(MISSING);
        }
        match &self.image {
            Image::Labels(image) => image.get(on as usize).copied().flatten(),
            Image::Numbers { declared, on_codec, of_cells } => {
                declared.get(&on).copied().unwrap_or_else(|| Some(of_cells[usize::from(on_codec.joint_code(on))]))
            }
            Image::Groups(groups) => groups[groups.partition_point(|(first, _)| *first <= on) - 1].1,
        }
    }

    /// The positions of `on` that give one of these.
    pub fn preimage(&self, target: &Positions) -> Positions {
        let one = |on: u32| Positions::range(on, on + 1);
        let gives = |of: Option<u32>| of.is_some_and(|of| target.contains(of));
        let present = match &self.image {
            Image::Labels(image) => {
                let giving = (0..).zip(image).filter(|(_, of)| gives(**of));
                Positions::of_runs(giving.map(|(on, _)| (on, on)))
            }
            Image::Numbers { declared, on_codec, of_cells } => {
                let cells = (0..).zip(of_cells).filter(|(_, of)| gives(Some(**of)));
                let drawn = cells.fold(Positions::none(), |all, (cell, _)| all.union(&on_codec.positions(cell)));
                let mut declared: Vec<(&u32, &Option<u32>)> = declared.iter().collect();
                declared.sort_unstable();
                let others =
                    declared.iter().fold(drawn.minus(&Positions::missing()), |all, (on, _)| all.minus(&one(**on)));
                let given = declared.iter().filter(|(_, of)| gives(**of));
                given.fold(others, |all, (on, _)| all.union(&one(**on)))
            }
            Image::Groups(groups) => {
                let ends = groups.iter().skip(1).map(|(first, _)| *first).chain(std::iter::once(MISSING));
                let giving = groups.iter().zip(ends).filter(|((first, of), end)| first < end && gives(*of));
                Positions::of_runs(giving.map(|((first, _), end)| (*first, end - 1)))
            }
        };
        match self.missing_together && target.contains(MISSING) {
            true => present.union(&Positions::missing()),
            false => present,
        }
    }

    pub fn holds(&self, row: &Row) -> bool {
        !self.concerns(row) || Some(row.positions[self.of]) == self.image(row.positions[self.on])
    }

    /// Computes the column; false where it may not have that value.
    pub fn settle(&self, row: &mut Row, setting: &Setting) -> bool {
        if !self.concerns(row) {
            return true;
        }
        if setting.is_free(self.of) {
            let image = self.image(row.positions[self.on]).filter(|&image| setting.allows(self.of, image));
            row.positions[self.of] = image.unwrap_or(row.positions[self.of]);
            return image.is_some();
        }
        self.holds(row) || !setting.is_free(self.on)
    }

    /// Moves `on` to the nearest position that gives one of these, or the known value.
    pub fn steer(&self, rules: &Rules, target: &Positions, row: &mut Row, setting: &Setting) {
        if self.concerns(row) && setting.is_free(self.on) {
            let known = match row.positions[self.of] {
                MISSING => Positions::missing(),
                own => Positions::range(own, own + 1),
            };
            let target = if setting.is_free(self.of) { target } else { &known };
            let gives = self.preimage(target).intersection(setting.allowed(rules, self.on));
            rules.steer(self.on, &gives, row, setting);
        }
    }
}

/// For each of these cells of `on` a position of `of`, drawn by the law that the model has of it there: so values that cannot
/// be told apart by the noisy counts are shared out as the model has them, where the likeliest would take all.
fn drawn(model: &ModelFile, [of, on]: [usize; 2], cells: &[u16]) -> Vec<u32> {
    let codec = &model.header.codecs[of];
    let (missing, is_nullable) = (codec.joint_code(MISSING), model.domain.columns[of].nullable);
    let (decoder, shares) = (Decoder::new(codec), codec.marginal());
    let law = model.generator.released_pair(on, of);
    let draw = |(number, &cell): (u64, &u16)| {
        let present = |of_cell: &usize| !is_nullable || *of_cell != usize::from(missing);
        let weights: Vec<f64> = (0..codec.cells())
            .map(|of_cell| if present(&of_cell) { f64::from(law[[usize::from(cell), of_cell]]) } else { 0.0 })
            .collect();
        // What the model has never together goes by the law of the column alone.
        let weights = if weights.iter().sum::<f64>() > 0.0 { weights } else { shares.clone() };
        let mut rng = ChaCha8Rng::seed_from_u64(DRAWN);
        rng.set_stream(number);
        let mut rest = rng.random::<f64>() * weights.iter().sum::<f64>();
        let found = (0..codec.cells()).filter(present).find(|&of_cell| {
            rest -= weights[of_cell];
            rest < 0.0
        });
        decoder.draw(found.unwrap_or(0) as u16, &mut rng)
    };
    (0..).zip(cells).map(draw).collect()
}

/// The position of a value that the schema spells.
fn spelled(domain: &Domain, text: &str) -> Option<u32> {
    match domain {
        Domain::Labels { labels, .. } => labels.iter().position(|label| label == text).map(|place| place as u32),
        Domain::Numbers { min, step, positions } => {
            let place = ((text.trim().parse::<f64>().ok()? - min) / step).round();
            (0.0..f64::from(*positions)).contains(&place).then_some(place as u32)
        }
    }
}
