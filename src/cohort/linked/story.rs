//! Persons, drawn with everything below them.

use super::super::generate::{Case, shared_out};
use super::super::rules::{Row, Setting};
use super::below::{Below, Limits};
use super::{LinkedCohort, Table, cannot_hold};
use crate::encode::Domain;
use crate::error::Result;
use crate::ingest::MISSING;
use crate::model::{Generator, Part, Room};
use crate::schema::linked::{From, range_seconds};
use rand_chacha::ChaCha8Rng;

/// Times that a row is drawn anew because it breaks a constraint, at most.
const ATTEMPTS: usize = 8;

/// Some persons with everything below them.
pub(super) struct Block {
    /// The latent numbers of each person, where the model has some.
    latent: Vec<Vec<f32>>,
    /// In the order of the model's parts.
    pub tables: Vec<Drawn>,
}

/// The rows of a table, in the order of the story.
pub(super) struct Drawn {
    /// Rows by the columns of the view.
    pub positions: Vec<u32>,
    width: usize,
    /// The row of the parent, and that of the root.
    pub parent: Vec<u32>,
    pub person: Vec<u32>,
    /// When each row was, in seconds; not a number where that is missing.
    pub moments: Vec<f64>,
    /// The moments of the view's columns that are told as passed time, in seconds: rows by such columns.
    pub times: Vec<f64>,
}

impl Block {
    pub fn latent(&self, person: u32) -> &[f32] {
        self.latent.get(person as usize).map_or(&[], |latent| latent)
    }
}

impl Drawn {
    pub fn new(width: usize) -> Self {
        let (positions, times) = (Vec::new(), Vec::new());
        Self { positions, width, parent: Vec::new(), person: Vec::new(), moments: Vec::new(), times }
    }

    pub fn rows(&self) -> usize {
        self.parent.len()
    }

    pub fn position(&self, row: usize, column: usize) -> u32 {
        self.positions[row * self.width + column]
    }
}

/// The columns of a view that are told as passed time.
pub(super) fn told_as_passed(part: &Part) -> impl Iterator<Item = usize> {
    let is_passed = |from: From| matches!(from, From::Gap(_) | From::Passed(_) | From::End(_));
    part.view.columns.iter().enumerate().filter(move |(_, column)| is_passed(column.from)).map(|(j, _)| j)
}

impl LinkedCohort<'_> {
    /// Draws persons.
    pub(super) fn draw(&self, persons: usize, rng: &mut ChaCha8Rng) -> Result<Block> {
        let latent = self.model.network.as_ref().map(|network| (0..persons).map(|_| network.latent(rng)).collect());
        let mut block = Block { latent: latent.unwrap_or_default(), tables: Vec::with_capacity(self.tables.len()) };
        for (number, table) in self.tables.iter().enumerate() {
            let drawn = match table.parent {
                None => self.draw_persons(table, persons, &block, rng)?,
                Some(parent) => Below::new(self, number, parent)?.draw(&block, rng)?,
            };
            block.tables.push(drawn);
        }
        self.end(&mut block)?;
        Ok(block)
    }

    fn draw_persons(&self, table: &Table, persons: usize, block: &Block, rng: &mut ChaCha8Rng) -> Result<Drawn> {
        let part = &self.model.parts[0];
        let mut drawn = Drawn::new(part.view.columns.len());
        let (mut codes, mut offsets) = (Vec::new(), Vec::new());
        let mut order = vec![0; persons];
        match &self.cases[..] {
            [] => part.law.mixture().generate(persons, None, None, rng, &mut codes, &mut offsets),
            [_] => codes.resize(persons * drawn.width, 0),
            cases => {
                codes.resize(persons * drawn.width, 0);
                order = shared_out(cases.iter().map(|case| case.share), persons, rng);
            }
        }
        let mut room = Room::default();
        for (person, codes) in codes.chunks_exact_mut(drawn.width.max(1)).enumerate() {
            let case = self.cases.get(usize::from(order[person]));
            let mut positions = vec![MISSING; drawn.width];
            let latent = block.latent(person as u32);
            let narrowed = |case: &Case| (0..drawn.width).filter(|&j| case.narrows(j)).collect();
            let narrowed: Vec<usize> = case.map_or_else(Vec::new, narrowed);
            let agreement = |&j: &usize| Some((j, case?.evidence.column(j)));
            let agreement: Vec<(usize, &[f32])> = narrowed.iter().filter_map(agreement).collect();
            let mut draw = |codes: &mut [u16], rng: &mut ChaCha8Rng| {
                self.model.draw_row(0, latent, &agreement, &mut room, rng, codes);
            };
            if case.is_some() || self.model.network.is_some() {
                draw(codes, rng);
            }
            self.settle(table, part, codes, &mut positions, &Limits::none(), case, rng, draw)?;
            drawn.positions.extend(&positions);
            drawn.parent.push(person as u32);
            drawn.person.push(person as u32);
            let origin = self.origin(part, &positions);
            drawn.moments.push(origin);
            for j in told_as_passed(part) {
                let told = part.view.columns[j];
                let since = if origin.is_nan() { self.schema().first_moment(part.table, told.from)? } else { origin };
                drawn.times.push(told.after(since, self.passed(part, j, positions[j])));
            }
        }
        Ok(drawn)
    }

    /// The moment of a person's row.
    fn origin(&self, part: &Part, positions: &[u32]) -> f64 {
        let table = &self.schema().tables[part.table];
        let Some(column) = table.origin.as_ref().and_then(|name| table.column(name)) else { return f64::NAN };
        let place = part.view.schema.columns.iter().position(|c| c.name == column.name);
        place.map_or(f64::NAN, |j| column.clock().seconds(self.passed(part, j, positions[j])))
    }

    /// The number at a position of a numeric column of a view.
    pub(super) fn passed(&self, part: &Part, j: usize, position: u32) -> f64 {
        match part.model.domain.columns[j].domain {
            Domain::Numbers { min, step, .. } if position != MISSING => min + step * f64::from(position),
            _ => f64::NAN,
        }
    }

    /// The row of each part that a row belongs to, from its own part upwards.
    pub(super) fn ancestors(&self, block: &Block, part: usize, row: usize) -> Vec<(usize, usize)> {
        let mut ancestors = vec![(part, row)];
        let (mut part, mut row) = (part, row);
        while let Some(parent) = self.tables[part].parent {
            row = block.tables[part].parent[row] as usize;
            part = parent;
            ancestors.push((part, row));
        }
        ancestors
    }

    pub(super) fn moment_of(&self, block: &Block, ancestors: &[(usize, usize)], table: usize) -> f64 {
        let found = ancestors.iter().find(|(part, _)| self.model.parts[*part].table == table);
        found.map_or(f64::NAN, |&(part, row)| block.tables[part].moments[row])
    }

    pub(super) fn position_above(
        &self,
        block: &Block,
        ancestors: &[(usize, usize)],
        table: usize,
        index: usize,
    ) -> u32 {
        let found = ancestors.iter().find(|(part, _)| self.model.parts[*part].table == table);
        let position = |&(part, row): &(usize, usize)| {
            Some(block.tables[part].position(row, own_column(&self.model.parts[part], index)?))
        };
        found.and_then(position).unwrap_or(MISSING)
    }

    /// Positions of a row whose codes were drawn, which hold the constraints and are of the case; `draw` draws other codes.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn settle(
        &self,
        table: &Table,
        part: &Part,
        codes: &mut [u16],
        positions: &mut [u32],
        limits: &Limits,
        case: Option<&Case>,
        rng: &mut ChaCha8Rng,
        mut draw: impl FnMut(&mut [u16], &mut ChaCha8Rng),
    ) -> Result<()> {
        let own = table.decoders.iter().enumerate();
        let decoders = own.map(|(j, own)| case.and_then(|case| case.decoders.get(&j)).unwrap_or(own)).collect();
        let region = case.map_or(&limits.region, |case| &case.region);
        let setting = Setting { decoders, region: Some(region), free: Some(table.drawn.clone()) };
        for attempt in 0..=ATTEMPTS {
            case.map_or(Ok(()), |case| case.check(codes))?;
            for j in (0..codes.len()).filter(|&j| table.drawn[j]) {
                positions[j] = limits.position(j, setting.decoders[j], codes[j], rng);
            }
            let Some(rules) = &table.rules else { return Ok(()) };
            let mut row = Row { positions, codes, known: &[] };
            if rules.settle(&mut row, &setting, rng) || attempt == ATTEMPTS && rules.repair(&mut row, &setting) {
                return Ok(());
            }
            draw(codes, rng);
        }
        Err(cannot_hold(&self.schema().tables[part.table].name, case.is_some()))
    }

    /// Puts the end of each person after all that was drawn of the person. An end after the calendar's is none.
    fn end(&self, block: &mut Block) -> Result<()> {
        let part = &self.model.parts[0];
        let declared = &self.schema().tables[part.table];
        let Some(column) = declared.end.as_ref().and_then(|name| declared.column(name)) else { return Ok(()) };
        let last = range_seconds(column)?.1;
        let passed: Vec<usize> = told_as_passed(part).collect();
        let Some(end) = passed.iter().position(|&j| matches!(part.view.columns[j].from, From::End(_))) else {
            return Ok(());
        };
        let persons = block.tables[0].rows();
        let mut last_moment = block.tables[0].moments.clone();
        let mut last_time = last_moment.clone();
        for (drawn, part) in block.tables[1..].iter().zip(&self.model.parts[1..]) {
            let width = told_as_passed(part).count();
            for row in 0..drawn.rows() {
                let person = drawn.person[row] as usize;
                last_moment[person] = last_moment[person].max(drawn.moments[row]);
                let times = &drawn.times[row * width..(row + 1) * width];
                last_time[person] = times.iter().fold(last_time[person].max(drawn.moments[row]), |a, &b| a.max(b));
            }
        }
        let told = part.view.columns[passed[end]];
        let calendar = self.schema().first_moment(part.table, told.from)?;
        for person in 0..persons {
            let since = if last_moment[person].is_nan() { calendar } else { last_moment[person] };
            let steps = self.passed(part, passed[end], block.tables[0].position(person, passed[end]));
            let time = told.after(since, steps).max(last_time[person]);
            let is_none = steps.is_nan() || time > last && column.nullable;
            block.tables[0].times[person * passed.len() + end] = if is_none { f64::NAN } else { time };
        }
        Ok(())
    }
}

/// The column of a part's view that is the table's own column of this index.
pub(super) fn own_column(part: &Part, index: usize) -> Option<usize> {
    part.view.columns.iter().position(|column| column.from == From::Own(index))
}
