//! The rows of a table that hang on rows which were drawn before.

use super::story::{Block, Drawn, own_column, told_as_passed};
use super::{LinkedCohort, Table};
use crate::cohort::condition::boxes::Region;
use crate::encode::{Decoder, Domain, Positions};
use crate::error::{Error, Result};
use crate::ingest::MISSING;
use crate::model::{Part, Room};
use crate::schema::linked::{DAY, From, LinkedTable, PLACES, Since};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;

/// Rows of a table that are drawn together, at most: a model that asks for more is not one of patients.
const MOST_ROWS: usize = 1 << 22;

/// A table whose rows are drawn below others.
pub(super) struct Below<'a> {
    cohort: &'a LinkedCohort<'a>,
    table: &'a Table<'a>,
    part: &'a Part,
    /// Its place among the parts.
    number: usize,
    declared: &'a LinkedTable,
    /// The part that its rows hang on.
    parent: usize,
    /// The range of its moments, in seconds.
    range: (f64, f64),
    /// The start of the calendar.
    calendar: f64,
    /// The column of the view that tells the row's own moment.
    gap: Option<usize>,
    /// Columns of the view that do not go down from row to row.
    ascending: Vec<usize>,
}

/// The row that rows hang on.
struct Above<'b> {
    block: &'b Block,
    row: usize,
    /// Its own row and those above it, by part.
    ancestors: Vec<(usize, usize)>,
    /// Rows that hang on it.
    count: u32,
    moment: f64,
    origin: f64,
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
}

impl Above<'_> {
    fn person(&self) -> u32 {
        let (part, row) = self.ancestors[0];
        self.block.tables[part].person[row]
    }
}

impl<'a> Below<'a> {
    pub fn new(cohort: &'a LinkedCohort<'a>, number: usize, parent: usize) -> Result<Self> {
        let (table, part, schema) = (&cohort.tables[number], &cohort.model.parts[number], cohort.schema());
        let column = |name: &String| part.view.schema.columns.iter().position(|column| column.name == *name);
        Ok(Self {
            cohort,
            table,
            part,
            number,
            declared: &schema.tables[part.table],
            parent,
            range: schema.moment_range(part.table)?.unwrap_or((f64::NEG_INFINITY, f64::INFINITY)),
            calendar: schema.calendar(part.table),
            gap: part.view.columns.iter().position(|column| matches!(column.from, From::Gap(_))),
            ascending: schema.tables[part.table].ascending().filter_map(column).collect(),
        })
    }

    pub fn draw(&self, block: &Block, rng: &mut ChaCha8Rng) -> Result<Drawn> {
        let width = self.part.view.columns.len();
        let mut drawn = Drawn::new(width);
        let mut room = Room::default();
        let (mut codes, mut positions) = (vec![0u16; width], vec![MISSING; width]);
        for row in 0..block.tables[self.parent].rows() {
            let above = self.above(block, row);
            let mut known = f64::NAN;
            // The last position of each ascending column.
            let mut reached: Vec<Option<u32>> = vec![None; self.ascending.len()];
            for place in 0..above.count {
                let before = self.before(&above, place, known);
                // After the end of the calendar there are no rows.
                if before.first > before.last {
                    break;
                }
                self.tell(&above, place, before, &drawn, &mut positions);
                let mut limits = Limits::new(self.part, self.gap, before);
                for (&j, reached) in self.ascending.iter().zip(&reached) {
                    limits.ascend(self.part, j, *reached);
                }
                let latent = block.latent(above.person());
                self.draw_row(&mut codes, &mut positions, (&limits, latent), &mut room, rng)?;
                if drawn.rows() == MOST_ROWS {
                    return Err(Error::bad_input(format!(
                        "table `{}`: the model draws too many rows",
                        self.declared.name
                    ))
                    .remedy("fit it again with a smaller max_rows in the schema"));
                }
                for (&j, reached) in self.ascending.iter().zip(&mut reached) {
                    *reached = Some(positions[j]).filter(|&position| position != MISSING).or(*reached);
                }
                let moment = self.moment(&positions, before);
                if !moment.is_nan() {
                    known = moment;
                }
                self.push(&mut drawn, &above, &positions, moment)?;
            }
        }
        Ok(drawn)
    }

    fn above<'b>(&self, block: &'b Block, row: usize) -> Above<'b> {
        let rows = &block.tables[self.parent];
        let ancestors = self.cohort.ancestors(block, self.parent, row);
        let moment_above = self.cohort.schema().moment_above(self.part.table);
        Above {
            block,
            row,
            count: self.table.count.map_or(0, |column| rows.position(row, column)),
            moment: moment_above.map_or(f64::NAN, |table| self.cohort.moment_of(block, &ancestors, table)),
            origin: block.tables[0].moments[rows.person[row] as usize],
            ancestors,
        }
    }

    /// What is known of the time of a row; `known` is the last moment of the rows before it.
    fn before(&self, above: &Above, place: u32, known: f64) -> Before {
        let first = [known, above.moment, above.origin].into_iter().fold(self.range.0, f64::max);
        let (mut first, mut last) = (first, self.range.1);
        if let Some(gap) = self.gap {
            let told = self.part.view.columns[gap];
            (first, last) = (told.on_grid(first), told.on_grid(last));
        }
        Before {
            base: match self.declared.since {
                _ if place > 0 && !known.is_nan() => known,
                Since::Parent if !above.moment.is_nan() => above.moment,
                _ => self.calendar,
            },
            first,
            last,
            known: if self.cohort.schema().age_is_of_parent(self.part.table) { above.moment } else { known },
        }
    }

    /// The positions of what a row is told from.
    fn tell(&self, above: &Above, place: u32, before: Before, drawn: &Drawn, positions: &mut [u32]) {
        let origin = if above.origin.is_nan() { self.calendar } else { above.origin };
        for (j, source) in self.part.view.columns.iter().enumerate() {
            let most = self.part.model.domain.columns[j].domain.positions() - 1;
            positions[j] = match source.from {
                From::Above(table, index) => self.cohort.position_above(above.block, &above.ancestors, table, index),
                From::CountAbove(_) => above.count.min(most),
                From::Previous(index) if place > 0 => {
                    own_column(self.part, index).map_or(MISSING, |own| drawn.position(drawn.rows() - 1, own))
                }
                From::Place => place.min(PLACES as u32 - 1),
                From::Age if !before.known.is_nan() => {
                    ((before.known - origin) / DAY).floor().clamp(0.0, f64::from(most)) as u32
                }
                _ => MISSING,
            };
        }
    }

    /// Draws the row's own columns, given what it is told from.
    fn draw_row(
        &self,
        codes: &mut [u16],
        positions: &mut [u32],
        (limits, latent): (&Limits, &[f32]),
        room: &mut Room,
        rng: &mut ChaCha8Rng,
    ) -> Result<()> {
        for j in (0..codes.len()).filter(|&j| !self.table.drawn[j]) {
            codes[j] = self.part.model.header.codecs[j].joint_code(positions[j]);
        }
        let agreement: Vec<(usize, &[f32])> = limits.columns.iter().map(|(j, limit)| (*j, &*limit.agreement)).collect();
        let mut draw = |codes: &mut [u16], rng: &mut ChaCha8Rng| {
            self.cohort.model.draw_row(self.number, latent, &agreement, room, rng, codes);
        };
        draw(codes, rng);
        self.cohort.settle(self.table, self.part, codes, positions, limits, None, rng, draw)
    }

    /// When a row was, in seconds.
    fn moment(&self, positions: &[u32], before: Before) -> f64 {
        self.gap.map_or(f64::NAN, |j| {
            let moment = self.part.view.columns[j].after(before.base, self.cohort.passed(self.part, j, positions[j]));
            moment.clamp(before.first, before.last)
        })
    }

    fn push(&self, drawn: &mut Drawn, above: &Above, positions: &[u32], moment: f64) -> Result<()> {
        drawn.positions.extend(positions);
        drawn.parent.push(above.row as u32);
        drawn.person.push(above.person());
        drawn.moments.push(moment);
        for j in told_as_passed(self.part) {
            let told = self.part.view.columns[j];
            drawn.times.push(match told.from {
                From::Gap(_) => moment,
                from => {
                    let since = match (moment.is_nan(), above.moment.is_nan()) {
                        (false, _) => moment,
                        (true, false) => above.moment,
                        (true, true) => self.cohort.schema().first_moment(self.part.table, from)?,
                    };
                    told.after(since, self.cohort.passed(self.part, j, positions[j]))
                }
            });
        }
        Ok(())
    }
}

/// The positions that columns of a row may have.
#[derive(Default)]
pub(super) struct Limits {
    columns: BTreeMap<usize, Limit>,
    /// The same, as rules of a row see it.
    pub region: Region,
}

/// The positions that one column may have, where it is not missing.
struct Limit {
    /// How far each cell agrees.
    agreement: Vec<f32>,
    first: u32,
    last: u32,
}

impl Limits {
    pub fn none() -> Self {
        Self::default()
    }

    /// Those of a row's own time.
    fn new(part: &Part, gap: Option<usize>, before: Before) -> Self {
        let mut limits = Self::none();
        let Some(j) = gap else { return limits };
        let (column, told) = (&part.model.domain.columns[j], part.view.columns[j]);
        let Domain::Numbers { min, step: units, positions } = column.domain else { return limits };
        let place = |time: f64| ((time - told.on_grid(before.base)) / told.step - min) / units;
        let most = f64::from(positions - 1);
        let first = place(before.first).ceil().clamp(0.0, most) as u32;
        let last = (place(before.last).floor().clamp(0.0, most) as u32).max(first);
        limits.limit(part, j, (first, last));
        limits
    }

    /// A column is not below the position that it has reached.
    fn ascend(&mut self, part: &Part, j: usize, reached: Option<u32>) {
        let last = part.model.domain.columns[j].domain.positions() - 1;
        self.limit(part, j, (reached.unwrap_or(0), last));
    }

    fn limit(&mut self, part: &Part, j: usize, (first, last): (u32, u32)) {
        let column = &part.model.domain.columns[j];
        if first == 0 && last == column.domain.positions() - 1 {
            return;
        }
        let mut allowed = Positions::range(first, last + 1);
        if column.nullable {
            allowed = allowed.union(&Positions::missing());
        }
        let agreement = part.model.header.codecs[j].shares(&allowed);
        self.columns.insert(j, Limit { agreement, first, last });
        self.region.insert(j, allowed);
    }

    pub fn position(&self, j: usize, decoder: &Decoder, code: u16, rng: &mut ChaCha8Rng) -> u32 {
        let Some(Limit { first, last, .. }) = self.columns.get(&j) else { return decoder.draw(code, rng) };
        decoder.draw_between(code, *first, *last, rng).unwrap_or_else(|| match decoder.draw(code, rng) {
            MISSING => MISSING,
            position => position.clamp(*first, *last),
        })
    }
}
