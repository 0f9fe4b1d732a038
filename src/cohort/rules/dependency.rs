//! Columns that another one gives: the value is the schema's, or the likeliest that the model has.

use super::Rules;
use super::row::{Row, Setting};
use crate::encode::{Codec, Domain, Positions};
use crate::ingest::MISSING;
use crate::model::ModelFile;
use crate::schema::MapValue;
use std::collections::{BTreeMap, HashMap};

/// Each value of `on` has one value of `of`.
pub(super) struct Dependency<'m> {
    pub of: usize,
    pub on: usize,
    /// Whether one is missing where the other is; else a missing one says nothing of the other.
    pub missing_together: bool,
    on_codec: &'m Codec,
    on_positions: u32,
    /// The position of `of` for those of `on` that the schema tells; none where the domain has no such value.
    declared: HashMap<u32, Option<u32>>,
    /// The likeliest position of `of` in each joint cell of `on`.
    likeliest: Vec<u32>,
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
        let declared = pairs.collect();
        let of_codec = &model.header.codecs[of];
        let (missing, shares) = (of_codec.joint_code(MISSING), of_codec.marginal());
        let law = model.generator.released_pair(on, of);
        let likeliest = |row: ndarray::ArrayView1<f32>| {
            let weight = |cell: u16| {
                let (position, probability) = of_codec.likeliest(cell)?;
                let share = f64::from(probability) / shares[usize::from(cell)].max(f64::MIN_POSITIVE);
                Some((position, f64::from(row[usize::from(cell)]) * share))
            };
            let present = (0..of_codec.cells() as u16).filter(|&cell| !columns[of].nullable || cell != missing);
            let best = present.filter_map(weight).max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
            best.map_or(0, |(position, _)| position)
        };
        let likeliest = law.outer_iter().map(likeliest).collect();
        Self {
            of,
            on,
            missing_together,
            on_codec: &model.header.codecs[on],
            on_positions: columns[on].domain.positions(),
            declared,
            likeliest,
        }
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
        let cell = || Some(self.likeliest[usize::from(self.on_codec.joint_code(on))]);
        self.declared.get(&on).copied().unwrap_or_else(cell)
    }

    /// The positions of `on` that give one of these.
    pub fn preimage(&self, target: &Positions) -> Positions {
        let cells = (0..).zip(&self.likeliest).filter(|(_, position)| target.contains(**position));
        let likely = cells.fold(Positions::none(), |all, (cell, _)| all.union(&self.on_codec.positions(cell)));
        let mut declared: Vec<(&u32, &Option<u32>)> = self.declared.iter().collect();
        declared.sort_unstable();
        let one = |on: u32| Positions::range(on, on + 1);
        let all = declared.iter().fold(likely.minus(&Positions::missing()), |all, (on, _)| all.minus(&one(**on)));
        let given = declared.iter().filter(|(_, of)| of.is_some_and(|of| target.contains(of)));
        let given = given.fold(all, |all, (on, _)| all.union(&one(**on)));
        match self.missing_together && target.contains(MISSING) {
            true => given.union(&Positions::missing()),
            false => given,
        }
    }

    /// The positions of `on` that give this one: [`Dependency::preimage`], for a column of labels.
    pub fn giving(&self, of: u32) -> Positions {
        let gives = (0..self.on_positions).filter(|&on| self.image(on) == Some(of));
        gives.fold(Positions::none(), |all, on| all.union(&Positions::range(on, on + 1)))
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
