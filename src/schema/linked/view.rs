//! The story of a table, as a flat table: each row with what came before it.
//!
//! A row of a child is told from the row that it hangs on and from the row before it. So its [`View`] has the table's own
//! columns, with moments as the time that passed since an earlier one, the numbers of rows below, and the columns that it
//! is told from. A model of the view, drawn given these, is the law of the next row.

use super::{LinkedSchema, LinkedTable, Since};
use crate::error::{Error, Result};
use crate::schema::{Bound, Column, Constraint, DomainFrom, Kind, Resolution, Rule, Schema};

/// Positions of a column of passed time, at most: a finer resolution is coarsened.
const MAX_POSITIONS: f64 = (1u64 << 30) as f64;
/// Rows of a parent that are told apart by their place; later ones are alike.
pub const PLACES: usize = 4;
/// Seconds of a day, in which ages are counted.
pub const DAY: f64 = 86_400.0;

/// Where a column of a view comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// The table's own column of this index, as it is.
    Own(usize),
    /// The moment of this index by which rows follow each other, as the time since the row before; of the first row, since
    /// what [`Since`] says.
    Gap(usize),
    /// The root's last moment, of this index, as the time since the last row below.
    End(usize),
    /// Another moment of this index, as the time since that of the row: its order or origin, else that of the row above.
    Passed(usize),
    /// Rows below a row, in this table.
    Count(usize),
    /// A column, of this index, of the row of a table above.
    Above(usize, usize),
    /// Rows of a table below the row of the parent that it hangs on.
    CountAbove(usize),
    /// The table's own column of this index in the row before, of the same parent.
    Previous(usize),
    /// The place among the rows of the parent.
    Place,
    /// Days between the origin, or else the start of the calendar, and what is known of a row's time before it is drawn.
    Age,
}

impl From {
    /// Whether it is drawn; what is not is known before.
    pub fn is_drawn(self) -> bool {
        matches!(self, Self::Own(_) | Self::Gap(_) | Self::End(_) | Self::Passed(_) | Self::Count(_))
    }

    /// Whether it is a count or a time that passed.
    pub fn is_amount(self) -> bool {
        matches!(self, Self::Gap(_) | Self::End(_) | Self::Passed(_) | Self::Count(_) | Self::CountAbove(_))
    }
}

/// A column of a view.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ViewColumn {
    pub from: From,
    /// Seconds of one step of passed time; 1 for what is no time.
    pub step: f64,
    /// Seconds that its moments are whole multiples of; 1 for what is no time.
    grid: f64,
}

impl ViewColumn {
    fn plain(from: From) -> Self {
        Self { from, step: 1.0, grid: 1.0 }
    }

    /// The last of the column's moments that is not after this one, in seconds.
    pub fn on_grid(&self, moment: f64) -> f64 {
        // Ticks times their length are seconds but for their last digits.
        ((moment + 1e-5) / self.grid).floor() * self.grid
    }

    /// Steps from one moment to another, told on the column's own grid: a date is as many days after any moment of a day.
    pub fn steps(&self, since: f64, until: f64) -> f64 {
        ((self.on_grid(until) - self.on_grid(since)) / self.step).round()
    }

    /// The moment so many steps after another one.
    pub fn after(&self, since: f64, steps: f64) -> f64 {
        self.on_grid(since) + steps * self.step
    }
}

/// A table with what each of its rows is told from.
#[derive(Clone, Debug)]
pub struct View {
    /// The columns as those of a flat table, with the constraints that it can hold.
    pub schema: Schema,
    /// One for each column of the schema.
    pub columns: Vec<ViewColumn>,
    /// Pairs of columns that are measured, in groups that are measured alike.
    pub pairs: Vec<Vec<[usize; 2]>>,
    /// How many columns are measured here: they come first. After them are those that follow from others by a map, and what
    /// rows are told from.
    pub drawn: usize,
}

/// The ends of a datetime column's public range, in seconds.
pub fn range_seconds(column: &Column) -> Result<(f64, f64)> {
    let (min, max) = column.range().ok_or_else(|| {
        Error::bad_input("has no range").column(&column.name).expected("min and max").remedy("add the public range")
    })?;
    let clock = column.clock();
    Ok((clock.seconds(min), clock.seconds(max)))
}

/// Seconds that moments of a column are whole multiples of.
pub(super) fn resolution_seconds(column: &Column) -> f64 {
    let days = column.ticks().nanoseconds() >= 86_400_000_000_000;
    match column.resolution {
        Some(Resolution::Day) => DAY,
        Some(Resolution::Hour) => 3600.0,
        Some(Resolution::Minute) => 60.0,
        Some(Resolution::Second) => 1.0,
        None if days => DAY,
        None => 1.0,
    }
}

/// An integer column of a view.
fn whole(name: String, min: f64, max: f64, nullable: bool) -> Column {
    let mut column = Column::new(name, Kind::Integer);
    (column.min, column.max) = (Some(Bound::Integer(min as i64)), Some(Bound::Integer(max as i64)));
    column.nullable = nullable;
    column.domain_from = Some(DomainFrom::Public);
    column
}

struct Builder<'s> {
    schema: &'s LinkedSchema,
    table: usize,
    columns: Vec<(Column, ViewColumn)>,
}

impl Builder<'_> {
    fn own(&self) -> &LinkedTable {
        &self.schema.tables[self.table]
    }

    fn push(&mut self, column: Column, from: From) {
        self.columns.push((column, ViewColumn::plain(from)));
    }

    /// Whether a constraint says that a moment is not before another one, and whether it is after it.
    fn follows(&self, low: &str, high: &str) -> Option<bool> {
        self.own().constraints.iter().find_map(|constraint| match &constraint.rule {
            Rule::Inequality { low: l, high: h, strict } if l == low && h == high => Some(*strict),
            _ => None,
        })
    }

    /// The time that passes until a moment of the table; seconds of its steps, and of its grid.
    fn passed(&self, index: usize) -> Result<(Column, f64, f64)> {
        let (table, column) = (self.own(), &self.own().columns[index]);
        let (first, last) = range_seconds(column)?;
        let is_order = table.order.as_ref() == Some(&column.name);
        let is_end = table.end.as_ref() == Some(&column.name);
        let base = if table.parent.is_none() { table.origin.as_ref() } else { table.order.as_ref() };
        let (mut low, mut high) = if is_order || is_end {
            let root = &self.schema.tables[self.schema.tree()[0]];
            let from = match (&root.origin, table.since) {
                (Some(origin), Since::Parent) => root.column(origin).map(range_seconds).transpose()?,
                _ => None,
            };
            (0.0, last - from.map_or(first, |(from, _)| from.min(first)))
        } else {
            let (base_first, base_last) = match base.and_then(|name| table.column(name)) {
                Some(base) => range_seconds(base)?,
                None => self.above_range()?.unwrap_or((first, last)),
            };
            let name = base.map_or("", String::as_str);
            match (self.follows(name, &column.name), self.follows(&column.name, name)) {
                (Some(strict), _) => (if strict { 1.0 } else { 0.0 }, last - base_first),
                (_, Some(strict)) => (first - base_last, if strict { -1.0 } else { 0.0 }),
                _ => (first - base_last, last - base_first),
            }
        };
        let grid = resolution_seconds(column);
        let mut step = grid;
        while (high - low) / step >= MAX_POSITIONS {
            step *= 60.0;
        }
        (low, high) = ((low / step).ceil(), (high / step).floor());
        Ok((whole(column.name.clone(), low, high.max(low), column.nullable), step, grid))
    }

    /// The range of the nearest moments above.
    fn above_range(&self) -> Result<Option<(f64, f64)>> {
        let above = self.schema.moment_above(self.table);
        above.and_then(|place| self.schema.tables[place].moment()).map(range_seconds).transpose()
    }

    /// Days that a person's rows can be away from the origin.
    fn age(&self) -> Result<Option<Column>> {
        let Some(parent) = self.schema.parent(self.table) else { return Ok(None) };
        let root = &self.schema.tables[self.schema.tree()[0]];
        // What is known of the time of a row: that of the row before it, or of the row that it hangs on.
        let timed = self.own().order.as_ref().and_then(|name| self.own().column(name));
        let above = &self.schema.tables[parent];
        let above = above.order.as_ref().and_then(|name| above.column(name));
        let Some(moment) = above.or(timed) else { return Ok(None) };
        let (first, last) = range_seconds(moment)?;
        let from = match root.origin.as_ref().and_then(|name| root.column(name)) {
            Some(origin) => range_seconds(origin)?.0.min(first),
            None => first,
        };
        Ok(Some(whole("age before the row".into(), 0.0, ((last - from) / DAY).ceil().max(1.0), true)))
    }

    /// What the rows of a table say of those below them.
    fn told_by(&mut self, above: usize) {
        let schema = self.schema;
        for (index, column) in schema.tables[above].columns.iter().enumerate() {
            let computed = schema.tables[above].computed().any(|name| name == column.name);
            if column.is_modelled() && column.kind != Kind::Datetime && !computed {
                // Both sides of one table have names of their own, by which rules that are about both know them.
                let name = match schema.history {
                    Some(_) => column.name.clone(),
                    None => format!("{}.{}", schema.tables[above].name, column.name),
                };
                let told = Column { name, nullable: true, ..column.clone() };
                self.push(told, From::Above(above, index));
            }
        }
    }
}

impl LinkedTable {
    /// The column that says when a row was: the order, or of the root the origin.
    pub fn moment(&self) -> Option<&Column> {
        self.order.as_ref().or(self.origin.as_ref()).and_then(|name| self.column(name))
    }

    /// Columns that a map gives from another one, for each of its categories and where it is missing: nothing is to be
    /// learnt of them.
    fn computed(&self) -> impl Iterator<Item = &str> {
        self.constraints.iter().filter_map(|constraint| match &constraint.rule {
            Rule::Dependency { of, on, map, missing_together } => {
                let (of_column, on_column) = (self.column(of)?, self.column(on)?);
                let categories = &on_column.categories;
                let is_whole = !categories.is_empty()
                    && categories.iter().all(|category| map.contains_key(category))
                    && (*missing_together || !of_column.nullable && !on_column.nullable);
                is_whole.then_some(of.as_str())
            }
            _ => None,
        })
    }
}

impl LinkedSchema {
    /// The nearest table above whose rows have a moment.
    pub fn moment_above(&self, table: usize) -> Option<usize> {
        let mut above = self.parent(table);
        while let Some(place) = above.filter(|&place| self.tables[place].moment().is_none()) {
            above = self.parent(place);
        }
        above
    }

    /// Whether the age of a row is that of the row it hangs on; else it is that of the row before it.
    pub fn age_is_of_parent(&self, table: usize) -> bool {
        self.parent(table).is_some_and(|parent| self.tables[parent].order.is_some())
    }

    /// What a moment is told from where nothing is known that was before it: the start of its own range, in seconds.
    ///
    /// # Errors
    /// Bad input where it has no range.
    pub fn first_moment(&self, table: usize, from: From) -> Result<f64> {
        match from {
            From::Gap(index) | From::Passed(index) | From::End(index) => {
                Ok(range_seconds(&self.tables[table].columns[index])?.0)
            }
            _ => Ok(self.calendar(table)),
        }
    }

    /// The first moment of a table's calendar, or of the nearest one above, in seconds.
    pub fn calendar(&self, table: usize) -> f64 {
        let moment = |table: usize| self.tables[table].moment().and_then(|column| range_seconds(column).ok());
        let found = moment(table).or_else(|| moment(self.moment_above(table)?));
        found.map_or(0.0, |(first, _)| first)
    }

    /// What the rows of a table are told from, and how.
    ///
    /// # Errors
    /// Bad input where a moment has no range.
    ///
    /// # Privacy
    /// Public facts only.
    pub fn view(&self, table: usize) -> Result<View> {
        let own = &self.tables[table];
        let mut builder = Builder { schema: self, table, columns: Vec::new() };
        let is_computed = |column: &&Column| own.computed().any(|name| name == column.name);
        let modelled = own.columns.iter().enumerate().filter(|(_, column)| column.is_modelled());
        for (index, column) in modelled.clone().filter(|(_, column)| !is_computed(column)) {
            let is_moment = column.kind == Kind::Datetime;
            // Where no row has a moment that others could be told from, each is told as it is.
            let stands_for_itself = match own.parent {
                None => own.origin.is_none() || own.origin.as_ref() == Some(&column.name),
                Some(_) => own.order.is_none() && self.moment_above(table).is_none(),
            };
            if is_moment && !stands_for_itself {
                let (passed, step, grid) = builder.passed(index)?;
                let from = match Some(&column.name) {
                    name if name == own.order.as_ref() => From::Gap(index),
                    name if name == own.end.as_ref() => From::End(index),
                    _ => From::Passed(index),
                };
                builder.columns.push((passed, ViewColumn { from, step, grid }));
            } else {
                builder.push(column.clone(), From::Own(index));
            }
        }
        for child in self.children(table) {
            let most = f64::from(self.tables[child].max_rows());
            let count = whole(format!("number of {}", self.tables[child].name), 0.0, most, false);
            builder.push(count, From::Count(child));
        }
        let drawn = builder.columns.len();
        for (index, column) in modelled.filter(|(_, column)| is_computed(column)) {
            builder.push(column.clone(), From::Own(index));
        }
        if let Some(parent) = self.parent(table) {
            let root = self.tree()[0];
            builder.told_by(root);
            if parent != root {
                builder.told_by(parent);
            }
            let count = whole(format!("all {}", own.name), 0.0, f64::from(own.max_rows()), false);
            builder.push(count, From::CountAbove(table));
            for index in 0..drawn {
                let (column, ViewColumn { from, .. }) = builder.columns[index].clone();
                let From::Own(place) = from else { continue };
                let previous = Column { name: format!("previous {}", column.name), nullable: true, ..column };
                builder.push(previous, From::Previous(place));
            }
            let mut place = Column::new("place of the row", Kind::Categorical);
            place.categories = (1..=PLACES).map(|place| place.to_string()).collect();
            place.other = Some(PLACES.to_string());
            place.nullable = false;
            place.domain_from = Some(DomainFrom::Public);
            builder.push(place, From::Place);
            if let Some(age) = builder.age()? {
                builder.push(age, From::Age);
            }
        }
        let pairs = pairs(&builder.columns, drawn);
        let (columns, sources): (Vec<Column>, Vec<ViewColumn>) = builder.columns.into_iter().unzip();
        let mut schema = own.alone();
        if let Some(flat) = self.history.as_ref().filter(|_| own.parent.is_some()) {
            schema.constraints.extend(flat.across_history());
        }
        schema.constraints.retain(|rule| holds_in_view(rule, &columns, &sources));
        schema.columns = columns;
        Ok(View { schema, columns: sources, pairs, drawn })
    }
}

/// Whether a constraint can be told of the columns of a view: moments there are times that passed since one and the same
/// moment.
fn holds_in_view(constraint: &Constraint, columns: &[Column], sources: &[ViewColumn]) -> bool {
    let is_as_it_is = |from: From| matches!(from, From::Own(_) | From::Above(..));
    let source = |name: &String| columns.iter().position(|column| column.name == *name).map(|place| sources[place]);
    let rule = &constraint.rule;
    match rule {
        Rule::Inequality { low, high, .. } => match (source(low), source(high)) {
            (Some(low), Some(high)) => match (low.from, high.from) {
                (From::Passed(_), From::Passed(_)) => low.step == high.step,
                (low, high) => [low, high].into_iter().all(is_as_it_is),
            },
            _ => false,
        },
        Rule::Sum { .. } | Rule::Dependency { .. } | Rule::Formula { .. } | Rule::Bins { .. } => {
            let is_own = |told: ViewColumn| matches!(told.from, From::Own(_));
            rule.columns().iter().all(|name| source(name).is_some_and(is_own))
        }
        _ => rule.columns().iter().all(|name| source(name).is_some_and(|told| is_as_it_is(told.from))),
    }
}

/// The pairs of columns that tell how a row follows from what is known, in groups that are measured alike: how rows follow
/// from those before them, what goes together in a row, and what follows from the rows above. Of the row before, a column
/// is told from the same one; how the columns of the row before go together is told by what goes together in a row.
fn pairs(columns: &[(Column, ViewColumn)], drawn: usize) -> Vec<Vec<[usize; 2]>> {
    let known: Vec<usize> = (0..columns.len()).filter(|&j| !columns[j].1.from.is_drawn()).collect();
    let (mut before, mut within, mut above) = (Vec::new(), Vec::new(), Vec::new());
    for &place in known.iter().filter(|&&j| columns[j].1.from == From::Place) {
        let previous = known.iter().filter(|&&j| matches!(columns[j].1.from, From::Previous(_)));
        before.extend(previous.map(|&previous| [previous, place]));
    }
    for a in 0..drawn {
        within.extend((a + 1..drawn).map(|b| [a, b]));
        for &b in &known {
            match (columns[a].1.from, columns[b].1.from) {
                (From::Own(own), From::Previous(previous)) if own == previous => before.push([a, b]),
                (_, From::Previous(_)) => {}
                (_, From::Place) => before.push([a, b]),
                _ => above.push([a, b]),
            }
        }
    }
    [before, within, above].into_iter().filter(|group| !group.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_that_passed_leads_back_to_the_moment() {
        let day = ViewColumn { from: From::Passed(0), step: DAY, grid: DAY };
        assert_eq!(day.steps(15.0 * 3600.0, 0.0), 0.0, "a date is of the day of a moment");
        for since in (-40..40).map(|n| f64::from(n) * 3600.5) {
            for until in [-3.0 * DAY, 0.0, 11.0 * DAY] {
                assert_eq!(day.after(since, day.steps(since, until)), until);
            }
        }
        let second = ViewColumn { from: From::Passed(0), step: 1.0, grid: 1.0 };
        for ticks in [1_577_880_000_000_000i64, 1_577_880_001_000_000, -1_577_880_007_000_000] {
            let moment = ticks as f64 * 1e-6;
            assert_eq!(second.after(0.0, second.steps(0.0, moment)), (ticks / 1_000_000) as f64);
        }
    }
}
