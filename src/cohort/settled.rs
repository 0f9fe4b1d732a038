//! Units whose rows hold the schema's constraints.
//!
//! A unit of which a row cannot be settled is drawn anew, which conditions the model's law on the rules. The one that takes
//! its place has as many rows: so the numbers of rows are as the model has them, and not those of units that hold rules by
//! having few. What is left after some rounds is repaired row by row.

use super::generate::{Block, Case, Cohort, UNITS_PER_BLOCK, stream};
use super::rules::{Row, Rules, Seen, Setting, UnitCells};
use crate::error::{Error, Result};
use crate::ingest::MISSING;
use crate::model::Evidence;
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

/// Rounds of new units for those that break a rule, at most.
const ROUNDS: usize = 16;
/// Rounds that take units as they come; those after them are drawn with the number of rows that is wanted.
const PLAIN_ROUNDS: usize = 4;
/// Further units drawn for a block, at most, as a multiple of its own.
const FURTHER: usize = 3;
/// Draws of positions in the cells of a unit whose rows must differ from others ...
const RESETTLED: usize = 8;
/// ... and of units that may take its place.
const DIFFERENT: usize = 16;
/// Positions on either side of its own that a cell is moved by so that a row differs, at most.
const FAR: u32 = 4096;
/// Where the random streams begin that draw rows which differ: no block has them.
const DIFFERENT_STREAMS: u64 = 1 << 62;

/// Units that wait for others in their place, by case and number of rows.
type Waiting = BTreeMap<(u16, usize), VecDeque<usize>>;

impl Block {
    fn rows(&self, unit: usize) -> Range<usize> {
        self.offsets[unit] as usize..self.offsets[unit + 1] as usize
    }

    fn units(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    fn case(&self, unit: usize) -> u16 {
        self.cases.get(self.offsets[unit] as usize).copied().unwrap_or(0)
    }

    /// Leaves out these rows, which are in order. No unit loses all of its own.
    fn drop_rows(&mut self, dropped: &[usize], width: usize) {
        if dropped.is_empty() {
            return;
        }
        let stays = |r: &usize| dropped.binary_search(r).is_err();
        let kept: Vec<usize> = (0..self.codes.len() / width).filter(stays).collect();
        let cells = || kept.iter().flat_map(|r| r * width..(r + 1) * width);
        self.codes = cells().map(|cell| self.codes[cell]).collect();
        self.positions = cells().map(|cell| self.positions[cell]).collect();
        self.cases = kept.iter().filter_map(|&r| self.cases.get(r).copied()).collect();
        for offset in &mut self.offsets {
            *offset -= dropped.partition_point(|&r| r < *offset as usize) as u32;
        }
    }

    /// The cells of a unit's rows.
    fn cells(&mut self, unit: usize, width: usize) -> UnitCells<'_> {
        let rows = self.rows(unit);
        let cells = rows.start * width..rows.end * width;
        UnitCells { positions: &mut self.positions[cells.clone()], codes: &mut self.codes[cells], width }
    }

    /// Puts a unit of another block in the place of one of this, of as many rows.
    fn put(&mut self, unit: usize, other: &Self, from: usize, width: usize) {
        let cells = |rows: Range<usize>| rows.start * width..rows.end * width;
        let (own, theirs) = (cells(self.rows(unit)), cells(other.rows(from)));
        self.codes[own.clone()].copy_from_slice(&other.codes[theirs.clone()]);
        self.positions[own].copy_from_slice(&other.positions[theirs]);
    }

    /// Puts one of its units in the place of another: its rows, or its first row for each where the numbers of rows differ.
    fn copy(&mut self, unit: usize, from: usize, width: usize, rows_column: Option<usize>) {
        let (own, theirs) = (self.rows(unit), self.rows(from));
        for row in 0..own.len() {
            let other = theirs.start + if own.len() == theirs.len() { row } else { 0 };
            for j in (0..width).filter(|&j| Some(j) != rows_column) {
                let (to, from) = ((own.start + row) * width + j, other * width + j);
                (self.codes[to], self.positions[to]) = (self.codes[from], self.positions[from]);
            }
        }
    }
}

/// What the first row of a unit keeps to, and what the others do.
struct Settings<'s> {
    first: Setting<'s>,
    /// Where it is not the same.
    later: Option<Setting<'s>>,
}

impl<'s> Settings<'s> {
    fn new(rules: &Rules, first: Setting<'s>) -> Self {
        let later = rules.bind_rows().then(|| rules.later(&first));
        Self { first, later }
    }

    fn of_row(&self, r: usize) -> &Setting<'s> {
        self.later.as_ref().filter(|_| r > 0).unwrap_or(&self.first)
    }
}

impl Cohort<'_> {
    fn width(&self) -> usize {
        self.model.domain.columns.len()
    }

    /// What rows of this case keep to.
    fn setting(&self, case: u16) -> Setting<'_> {
        let case = self.cases.get(usize::from(case));
        let decoder = |(j, own)| case.and_then(|case: &Case| case.decoders.get(&j)).unwrap_or(own);
        Setting {
            decoders: self.decoders.iter().enumerate().map(decoder).collect(),
            region: case.map(|case| &case.region),
            free: None,
        }
    }

    /// Draws the positions of a unit's rows and settles them. False where a row cannot be.
    fn settle(&self, rules: &Rules, block: &mut Block, unit: usize, settings: &Settings, rng: &mut ChaCha8Rng) -> bool {
        let mut holds = true;
        let mut cells = block.cells(unit, self.width());
        for r in 0..cells.rows() {
            let own = cells.row(r);
            for (at, decoder) in own.clone().zip(&settings.first.decoders) {
                cells.positions[at] = decoder.draw(cells.codes[at], rng);
            }
            if r > 0 {
                rules.repeat(&mut cells, r);
            }
            let (positions, codes) = (&mut cells.positions[own.clone()], &cells.codes[own]);
            holds &= rules.settle(&mut Row { positions, codes, known: &[] }, settings.of_row(r), rng);
        }
        holds && rules.arrange(&mut cells, &settings.first)
    }

    /// Brings the rows of a unit to the nearest positions that hold the rules; where that is not found for one of its later
    /// rows, or for their order, all become like the first. False where it is not found for that.
    fn repair(&self, rules: &Rules, block: &mut Block, unit: usize, settings: &Settings) -> bool {
        let width = self.width();
        let rows = block.rows(unit).len();
        let mut cells = block.cells(unit, width);
        if !self.repair_row(rules, &mut cells, 0, &settings.first) {
            return false;
        }
        let (codes, positions) = (cells.codes[..width].to_vec(), cells.positions[..width].to_vec());
        let mut repair = |r: usize| {
            rules.repeat(&mut cells, r);
            self.repair_row(rules, &mut cells, r, settings.of_row(r))
        };
        let done = (1..rows).all(&mut repair);
        if !(done && rules.arrange(&mut cells, &settings.first)) {
            (0..rows).map(|r| r * width..(r + 1) * width).for_each(|own| {
                cells.codes[own.clone()].copy_from_slice(&codes);
                cells.positions[own].copy_from_slice(&positions);
            });
        }
        true
    }

    fn repair_row(&self, rules: &Rules, cells: &mut UnitCells, r: usize, setting: &Setting) -> bool {
        let own = cells.row(r);
        let (positions, codes) = (&mut cells.positions[own.clone()], &cells.codes[own]);
        rules.repair(&mut Row { positions, codes, known: &[] }, setting)
    }

    /// Puts others of the block that hold the rules, of the same case and as many rows where there is one, in the place of these
    /// units.
    ///
    /// # Errors
    /// Bad input where there is none.
    fn replace(&self, block: &mut Block, lost: &[usize]) -> Result<()> {
        let mut next = 0;
        for &unit in lost {
            let is_of_case = |other: &usize| block.case(*other) == block.case(unit) && !lost.contains(other);
            let is_like = |other: &usize| is_of_case(other) && block.rows(*other).len() == block.rows(unit).len();
            // One after the other, so that none stands for many.
            let mut all = (next..block.units()).chain(0..next);
            let other = all.clone().find(is_like).or_else(|| all.find(is_of_case)).ok_or_else(|| self.cannot_hold())?;
            block.copy(unit, other, self.width(), self.model.domain.rows_column);
            next = other + 1;
        }
        Ok(())
    }

    /// Gives each row of a block positions that hold the rules.
    ///
    /// # Errors
    /// Bad input where that cannot be.
    pub(super) fn settled(
        &self,
        rules: &Rules,
        mut block: Block,
        number: u64,
        codes_rng: &mut ChaCha8Rng,
        rng: &mut ChaCha8Rng,
    ) -> Result<Block> {
        block.positions = vec![0; block.codes.len()];
        let settings: Vec<Settings> =
            (0..self.cases.len().max(1) as u16).map(|case| Settings::new(rules, self.setting(case))).collect();
        let mut waiting = Waiting::new();
        for unit in 0..block.units() {
            let case = block.case(unit);
            if !self.settle(rules, &mut block, unit, &settings[usize::from(case)], rng) {
                waiting.entry((case, block.rows(unit).len())).or_default().push_back(unit);
            }
        }
        let mut further = 0;
        for round in 0..ROUNDS {
            if waiting.is_empty() || further > FURTHER * UNITS_PER_BLOCK {
                break;
            }
            let mut wanted: BTreeMap<(u16, usize), usize> = BTreeMap::new();
            for (&(case, rows), units) in &waiting {
                let rows = if round < PLAIN_ROUNDS || self.model.domain.rows_column.is_none() { 0 } else { rows };
                *wanted.entry((case, rows)).or_default() += units.len();
            }
            for ((case, rows), units) in wanted {
                further += units;
                let mut drawn = self.drawn_of(case, rows, units, codes_rng);
                for unit in 0..drawn.units() {
                    let key = (case, drawn.rows(unit).len());
                    let Some(&place) = waiting.get(&key).and_then(|units| units.front()) else { continue };
                    if self.settle(rules, &mut drawn, unit, &settings[usize::from(case)], rng) {
                        block.put(place, &drawn, unit, self.width());
                        waiting.entry(key).or_default().pop_front();
                    }
                }
            }
            waiting.retain(|_, units| !units.is_empty());
        }
        let mut lost: Vec<usize> = Vec::new();
        for ((case, _), units) in &waiting {
            for &unit in units {
                if !self.repair(rules, &mut block, unit, &settings[usize::from(*case)]) {
                    lost.push(unit);
                }
            }
        }
        self.replace(&mut block, &lost)?;
        if rules.unique_rules() > 0 {
            let mut keys = Vec::with_capacity(block.codes.len() / self.width() * rules.unique_rules());
            for unit in 0..block.units() {
                let rows = block.rows(unit);
                keys.extend(self.keys(rules, &mut block, rows, unit_key(number, unit)));
            }
            block.keys = keys;
        }
        Ok(block)
    }

    /// Units of a case, that are to have so many rows each where that is not 0.
    fn drawn_of(&self, case: u16, rows: usize, units: usize, rng: &mut ChaCha8Rng) -> Block {
        let mut evidence: Option<Evidence> = self.cases.get(usize::from(case)).map(|case| case.evidence.clone());
        if let (Some(column), true) = (self.model.domain.rows_column, rows > 0) {
            evidence.get_or_insert_with(|| Evidence::none(&self.layout())).observe(column, (rows - 1) as u16);
        }
        let mut drawn = self.units(units, evidence.as_ref(), rng);
        drawn.positions = vec![0; drawn.codes.len()];
        drawn
    }

    fn cannot_hold(&self) -> Error {
        let (what, remedy) = match self.cases.is_empty() {
            true => ("the constraints of the schema cannot be held together", "fit a model with fewer constraints"),
            false => (
                "the constraints of the schema and the condition cannot be held together",
                "ask for more values, or for what the constraints allow",
            ),
        };
        Error::bad_input(format!("{what} in a row of this model")).remedy(remedy)
    }

    /// Makes the first `wanted` rows of a block differ from those seen and from each other, where the schema says so. Blocks
    /// come one after the other.
    ///
    /// # Errors
    /// Bad input where no row is left that differs.
    pub(super) fn differing(
        &self,
        rules: &Rules,
        (seed, number): (u64, u64),
        block: &mut Block,
        wanted: usize,
        seen: &mut Seen,
    ) -> Result<()> {
        let count = rules.unique_rules();
        let mut rng = stream(seed, DIFFERENT_STREAMS + number);
        let (mut kept, mut dropped) = (0, Vec::new());
        for unit in (0..block.units()).filter(|_| count > 0) {
            let own = block.rows(unit);
            let own = own.start..own.end.min(own.start + wanted - kept);
            let key = unit_key(number, unit);
            let mut keys = block.keys[own.start * count..own.end * count].to_vec();
            let mut fallen = Vec::new();
            if !seen.allows(&keys, count) {
                (keys, fallen) = self.different(rules, block, (unit, key), own.clone(), seen, &mut rng)?;
            }
            seen.add(&keys, count);
            kept += own.len() - fallen.len();
            dropped.extend(fallen);
            if kept == wanted {
                break;
            }
        }
        block.drop_rows(&dropped, self.width());
        Ok(())
    }

    fn keys(&self, rules: &Rules, block: &mut Block, rows: Range<usize>, unit: u64) -> Vec<Option<u128>> {
        let mut keys = Vec::new();
        for r in rows {
            let cells = r * self.width()..(r + 1) * self.width();
            let (codes, positions) = (&block.codes[cells.clone()], &mut block.positions[cells]);
            rules.keys(&Row { positions, codes, known: &[] }, unit, &mut keys);
        }
        keys
    }

    /// Draws positions in a unit's cells, and then the unit, anew until its rows differ; else moves a cell of those that do
    /// not; else drops these, where others are left. Returns the keys of the rows that stay, and the rows that do not.
    fn different(
        &self,
        rules: &Rules,
        block: &mut Block,
        (unit, key): (usize, u64),
        own: Range<usize>,
        seen: &Seen,
        rng: &mut ChaCha8Rng,
    ) -> Result<(Vec<Option<u128>>, Vec<usize>)> {
        let (count, case) = (rules.unique_rules(), block.case(unit));
        let settings = Settings::new(rules, self.setting(case));
        let setting = rules.alone(&settings.first);
        let cells = block.rows(unit).start * self.width()..block.rows(unit).end * self.width();
        let before = (block.codes[cells.clone()].to_vec(), block.positions[cells.clone()].to_vec());
        for _ in 0..RESETTLED {
            if self.settle(rules, block, unit, &settings, rng) {
                let keys = self.keys(rules, block, own.clone(), key);
                if seen.allows(&keys, count) {
                    return Ok((keys, Vec::new()));
                }
            }
            block.codes[cells.clone()].copy_from_slice(&before.0);
            block.positions[cells.clone()].copy_from_slice(&before.1);
        }
        let mut drawn = self.drawn_of(case, block.rows(unit).len(), DIFFERENT, rng);
        for other in 0..drawn.units() {
            if drawn.rows(other).len() != block.rows(unit).len()
                || !self.settle(rules, &mut drawn, other, &settings, rng)
            {
                continue;
            }
            let rows = drawn.rows(other);
            let keys = self.keys(rules, &mut drawn, rows.start..rows.start + own.len(), key);
            if seen.allows(&keys, count) {
                block.put(unit, &drawn, other, self.width());
                return Ok((keys, Vec::new()));
            }
        }
        let rows_may_fall =
            self.model.domain.rows_column.is_none_or(|j| setting.region.is_none_or(|own| !own.contains_key(&j)));
        let (mut keys, mut dropped): (Vec<Option<u128>>, Vec<usize>) = Default::default();
        for r in own {
            let cells = r * self.width()..(r + 1) * self.width();
            let (codes, positions) = (&block.codes[cells.clone()], &mut block.positions[cells]);
            let before = keys.clone();
            let differs = |row: &Row| {
                keys.clone_from(&before);
                rules.keys(row, key, &mut keys);
                seen.allows(&keys, count)
            };
            if !moved(rules, &setting, positions, codes, differs) {
                keys = before;
                if r + 1 == block.rows(unit).end && keys.is_empty() || !rows_may_fall {
                    return Err(Error::bad_input("no further row differs from all others as the constraints want it")
                        .remedy("ask for fewer rows, or leave the unique constraint out of the schema"));
                }
                dropped.push(r);
            }
        }
        Ok((keys, dropped))
    }
}

/// What a unit's own key is, in a block of this number.
fn unit_key(number: u64, unit: usize) -> u64 {
    number * UNITS_PER_BLOCK as u64 + unit as u64 + 1
}

/// Moves one cell of a row as little as it takes to satisfy `wanted`, and the rules. The columns take turns.
fn moved(
    rules: &Rules,
    setting: &Setting,
    positions: &mut [u32],
    codes: &[u16],
    mut wanted: impl FnMut(&Row) -> bool,
) -> bool {
    let start = positions.to_vec();
    let mut is_good = |positions: &mut [u32]| {
        let mut row = Row { positions, codes, known: &[] };
        rules.repair(&mut row, setting) && wanted(&row)
    };
    if is_good(positions) {
        return true;
    }
    for far in 1..=FAR {
        for j in rules.unique_columns() {
            let own = start[j];
            for position in [own.checked_sub(far), own.checked_add(far)].into_iter().flatten() {
                if own == MISSING || !setting.is_free(j) || !setting.allowed(rules, j).contains(position) {
                    continue;
                }
                positions.copy_from_slice(&start);
                positions[j] = position;
                if is_good(positions) {
                    return true;
                }
            }
        }
    }
    false
}
