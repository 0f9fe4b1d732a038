//! Persons, drawn with everything below them.

use super::super::rules::{Row, Setting};
use super::{LinkedCohort, Table, cannot_hold};
use crate::encode::{Domain, Positions};
use crate::error::{Error, Result};
use crate::ingest::MISSING;
use crate::model::{Generator, Part, mixture::Posterior};
use crate::schema::linked::{DAY, From, PLACES, Since, range_seconds, seconds_per_tick};
use rand_chacha::ChaCha8Rng;

/// Times that a row is drawn anew because it breaks a constraint, at most.
const ATTEMPTS: usize = 8;

/// Rows of a table that are drawn together, at most: a model that asks for more is not one of patients.
const MOST_ROWS: usize = 1 << 24;

/// Some persons with everything below them.
pub(super) struct Block {
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
    /// Which of its parent's rows each is.
    place: Vec<u32>,
    /// When each row was, in seconds; not a number where that is missing.
    moments: Vec<f64>,
    /// The moments of the view's columns that are told as passed time, in seconds: rows by such columns.
    pub times: Vec<f64>,
}

impl Drawn {
    fn new(width: usize) -> Self {
        let (positions, times) = (Vec::new(), Vec::new());
        let (parent, person, place) = (Vec::new(), Vec::new(), Vec::new());
        Self { positions, width, parent, person, place, moments: Vec::new(), times }
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

/// What is known of a row's time before it is drawn, in seconds.
#[derive(Clone, Copy)]
struct Before {
    /// What its own time is told from.
    base: f64,
    /// It is not before this ...
    first: f64,
    /// ... and not after that.
    last: f64,
    /// What its age is told from.
    known: f64,
    /// The moment from which ages are told.
    origin: f64,
}

impl LinkedCohort<'_> {
    /// Draws persons.
    pub(super) fn draw(&self, persons: usize, rng: &mut ChaCha8Rng) -> Result<Block> {
        let mut block = Block { tables: Vec::with_capacity(self.tables.len()) };
        for (number, table) in self.tables.iter().enumerate() {
            let drawn = match table.parent {
                None => self.draw_persons(table, persons, rng)?,
                Some(parent) => self.draw_below(number, &block, parent, rng)?,
            };
            block.tables.push(drawn);
        }
        self.end(&mut block)?;
        Ok(block)
    }

    fn draw_persons(&self, table: &Table, persons: usize, rng: &mut ChaCha8Rng) -> Result<Drawn> {
        let part = &self.model.parts[0];
        let mut drawn = Drawn::new(part.view.columns.len());
        let (mut codes, mut offsets) = (Vec::new(), Vec::new());
        part.mixture.generate(persons, None, None, rng, &mut codes, &mut offsets);
        let mut posterior = Posterior::default();
        for (person, codes) in codes.chunks_exact_mut(drawn.width.max(1)).enumerate() {
            let mut positions = vec![MISSING; drawn.width];
            self.settle(table, part, codes, &mut positions, &Limits::none(), rng, |codes, rng| {
                part.mixture.start(1, &mut posterior);
                let class = part.mixture.draw_class(0, &posterior, rng);
                (0..codes.len()).for_each(|j| codes[j] = part.mixture.draw_code(class, j, None, rng));
            })?;
            drawn.positions.extend(&positions);
            drawn.parent.push(person as u32);
            drawn.person.push(person as u32);
            drawn.place.push(0);
            let origin = self.origin(part, &positions);
            drawn.moments.push(origin);
            for j in told_as_passed(part) {
                let (base, step) = (if origin.is_nan() { 0.0 } else { origin }, part.view.columns[j].step);
                drawn.times.push(base + self.passed(part, j, positions[j]) * step);
            }
        }
        Ok(drawn)
    }

    /// The moment of a person's row.
    fn origin(&self, part: &Part, positions: &[u32]) -> f64 {
        let table = &self.schema().tables[part.table];
        let Some(column) = table.origin.as_ref().and_then(|name| table.column(name)) else { return f64::NAN };
        let place = part.view.schema.columns.iter().position(|c| c.name == column.name);
        place.map_or(f64::NAN, |j| self.passed(part, j, positions[j]) * seconds_per_tick(column))
    }

    /// The number at a position of a numeric column of a view.
    fn passed(&self, part: &Part, j: usize, position: u32) -> f64 {
        match part.model.domain.columns[j].domain {
            Domain::Numbers { min, step, .. } if position != MISSING => min + step * f64::from(position),
            _ => f64::NAN,
        }
    }

    fn draw_below(&self, number: usize, block: &Block, parent: usize, rng: &mut ChaCha8Rng) -> Result<Drawn> {
        let (table, part) = (&self.tables[number], &self.model.parts[number]);
        let above = &block.tables[parent];
        let schema = self.schema();
        let declared = &schema.tables[part.table];
        let mut drawn = Drawn::new(part.view.columns.len());
        let mut posterior = Posterior::default();
        let (mut codes, mut positions) = (vec![0u16; drawn.width], vec![MISSING; drawn.width]);
        let range = match declared.moment() {
            Some(column) => range_seconds(column)?,
            None => (f64::NEG_INFINITY, f64::INFINITY),
        };
        let moment_above = schema.moment_above(part.table);
        for row_above in 0..above.rows() {
            let count = table.count.map_or(0, |column| above.position(row_above, column));
            let person = above.person[row_above];
            let ancestors = self.ancestors(block, parent, row_above);
            let moment_above = moment_above.map_or(f64::NAN, |t| self.moment_of(block, &ancestors, t));
            let origin = block.tables[0].moments[person as usize];
            let mut known = f64::NAN;
            for place in 0..count {
                let before = Before {
                    base: match declared.since {
                        _ if place > 0 && !known.is_nan() => known,
                        Since::Parent if !moment_above.is_nan() => moment_above,
                        _ => schema.calendar(part.table),
                    },
                    first: [known, moment_above, origin].into_iter().fold(range.0, f64::max),
                    last: range.1,
                    known: if schema.age_is_of_parent(part.table) { moment_above } else { known },
                    origin: if origin.is_nan() { schema.calendar(part.table) } else { origin },
                };
                // After the end of the calendar there are no rows.
                if before.first > before.last {
                    break;
                }
                for (j, source) in part.view.columns.iter().enumerate() {
                    let most = part.model.domain.columns[j].domain.positions() - 1;
                    positions[j] = match source.from {
                        From::Above(t, index) => self.position_above(block, &ancestors, t, index),
                        From::CountAbove(_) => count.min(most),
                        From::Previous(index) if place > 0 => {
                            own_column(part, index).map_or(MISSING, |own| drawn.position(drawn.rows() - 1, own))
                        }
                        From::Place => place.min(PLACES as u32 - 1),
                        From::Age if !before.known.is_nan() => {
                            (((before.known - before.origin) / DAY).floor().clamp(0.0, f64::from(most))) as u32
                        }
                        _ => MISSING,
                    };
                }
                let limits = Limits::new(part, before);
                let known_codes: Vec<(usize, u16)> = (0..drawn.width)
                    .filter(|&j| !table.drawn[j])
                    .map(|j| (j, part.model.header.codecs[j].joint_code(positions[j])))
                    .collect();
                let mixture = &part.mixture;
                let mut draw = |codes: &mut [u16], rng: &mut ChaCha8Rng| {
                    mixture.start(1, &mut posterior);
                    for &(j, code) in &known_codes {
                        codes[j] = code;
                        mixture.observe(0, j, code, &mut posterior);
                    }
                    if let Some((j, agreement)) = &limits.agreement {
                        mixture.restrict(0, *j, agreement, &mut posterior);
                    }
                    let class = mixture.draw_class(0, &posterior, rng);
                    for j in (0..codes.len()).filter(|&j| table.drawn[j]) {
                        let own = limits.agreement.as_ref().filter(|(limited, _)| *limited == j);
                        codes[j] = mixture.draw_code(class, j, own.map(|(_, agreement)| &**agreement), rng);
                    }
                };
                draw(&mut codes, rng);
                self.settle(table, part, &mut codes, &mut positions, &limits, rng, draw)?;
                drawn.positions.extend(&positions);
                drawn.parent.push(row_above as u32);
                drawn.person.push(person);
                drawn.place.push(place);
                if drawn.rows() > MOST_ROWS {
                    return Err(Error::bad_input(format!("table `{}`: the model draws too many rows", declared.name))
                        .remedy("fit it again with a smaller max_rows in the schema"));
                }
                let moment = self.own_moment(part, &positions, before);
                if !moment.is_nan() {
                    known = moment;
                }
                drawn.moments.push(moment);
                for j in told_as_passed(part) {
                    let base = match part.view.columns[j].from {
                        From::Gap(_) => f64::NAN,
                        _ if !moment.is_nan() => moment,
                        From::Passed(index) if moment_above.is_nan() => range_seconds(&declared.columns[index])?.0,
                        _ => moment_above,
                    };
                    let time = base + self.passed(part, j, positions[j]) * part.view.columns[j].step;
                    drawn.times.push(if matches!(part.view.columns[j].from, From::Gap(_)) { moment } else { time });
                }
            }
        }
        Ok(drawn)
    }

    /// When a row was, in seconds.
    fn own_moment(&self, part: &Part, positions: &[u32], before: Before) -> f64 {
        let gap = part.view.columns.iter().position(|column| matches!(column.from, From::Gap(_)));
        gap.map_or(f64::NAN, |j| {
            let moment = before.base + self.passed(part, j, positions[j]) * part.view.columns[j].step;
            moment.clamp(before.first, before.last)
        })
    }

    /// The row of each part that a row belongs to, from its own part upwards.
    fn ancestors(&self, block: &Block, part: usize, row: usize) -> Vec<(usize, usize)> {
        let mut ancestors = vec![(part, row)];
        let (mut part, mut row) = (part, row);
        while let Some(parent) = self.tables[part].parent {
            row = block.tables[part].parent[row] as usize;
            part = parent;
            ancestors.push((part, row));
        }
        ancestors
    }

    fn moment_of(&self, block: &Block, ancestors: &[(usize, usize)], table: usize) -> f64 {
        let found = ancestors.iter().find(|(part, _)| self.model.parts[*part].table == table);
        found.map_or(f64::NAN, |&(part, row)| block.tables[part].moments[row])
    }

    fn position_above(&self, block: &Block, ancestors: &[(usize, usize)], table: usize, index: usize) -> u32 {
        let found = ancestors.iter().find(|(part, _)| self.model.parts[*part].table == table);
        let position = |&(part, row): &(usize, usize)| {
            Some(block.tables[part].position(row, own_column(&self.model.parts[part], index)?))
        };
        found.and_then(position).unwrap_or(MISSING)
    }

    /// Positions of a row whose codes were drawn, which hold the constraints; `draw` draws other codes.
    #[allow(clippy::too_many_arguments)]
    fn settle(
        &self,
        table: &Table,
        part: &Part,
        codes: &mut [u16],
        positions: &mut [u32],
        limits: &Limits,
        rng: &mut ChaCha8Rng,
        mut draw: impl FnMut(&mut [u16], &mut ChaCha8Rng),
    ) -> Result<()> {
        let setting =
            Setting { decoders: table.decoders.iter().collect(), region: None, free: Some(table.drawn.clone()) };
        for attempt in 0..=ATTEMPTS {
            for j in (0..codes.len()).filter(|&j| table.drawn[j]) {
                positions[j] = limits.position(j, &table.decoders[j], codes[j], rng);
            }
            let Some(rules) = &table.rules else { return Ok(()) };
            let mut row = Row { positions, codes, known: &[] };
            if rules.settle(&mut row, &setting, rng) || attempt == ATTEMPTS && rules.repair(&mut row, &setting) {
                return Ok(());
            }
            draw(codes, rng);
        }
        Err(cannot_hold(&self.schema().tables[part.table].name))
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
        let step = part.view.columns[passed[end]].step;
        for person in 0..persons {
            let after = self.passed(part, passed[end], block.tables[0].position(person, passed[end])) * step;
            let time = (last_moment[person] + after).max(last_time[person]);
            let is_none = after.is_nan() || time > last && column.nullable;
            block.tables[0].times[person * passed.len() + end] = if is_none { f64::NAN } else { time };
        }
        Ok(())
    }
}

/// The column of a part's view that is the table's own column of this index.
fn own_column(part: &Part, index: usize) -> Option<usize> {
    part.view.columns.iter().position(|column| column.from == From::Own(index))
}

/// The positions that a row's own time may have.
struct Limits {
    /// Of the column that tells it, how far each cell agrees.
    agreement: Option<(usize, Vec<f32>)>,
    first: u32,
    last: u32,
}

impl Limits {
    fn none() -> Self {
        Self { agreement: None, first: 0, last: MISSING }
    }

    fn new(part: &Part, before: Before) -> Self {
        let gap = part.view.columns.iter().position(|column| matches!(column.from, From::Gap(_)));
        let Some(j) = gap else { return Self::none() };
        let (column, step) = (&part.model.domain.columns[j], part.view.columns[j].step);
        let Domain::Numbers { min, step: units, positions } = column.domain else { return Self::none() };
        let place = |time: f64| ((time - before.base) / step - min) / units;
        let most = f64::from(positions - 1);
        let first = place(before.first).ceil().clamp(0.0, most) as u32;
        let last = (place(before.last).floor().clamp(0.0, most) as u32).max(first);
        if first == 0 && last == positions - 1 {
            return Self::none();
        }
        let mut allowed = Positions::range(first, last + 1);
        if column.nullable {
            allowed = allowed.union(&Positions::missing());
        }
        Self { agreement: Some((j, part.model.header.codecs[j].shares(&allowed))), first, last }
    }

    fn position(&self, j: usize, decoder: &crate::encode::Decoder, code: u16, rng: &mut ChaCha8Rng) -> u32 {
        if self.agreement.as_ref().is_none_or(|(limited, _)| *limited != j) {
            return decoder.draw(code, rng);
        }
        decoder.draw_between(code, self.first, self.last, rng).unwrap_or_else(|| match decoder.draw(code, rng) {
            MISSING => MISSING,
            position => position.clamp(self.first, self.last),
        })
    }
}
