//! Constraints of tables whose moments are told as passed time.

use super::view::resolution_seconds;
use super::{From, LinkedSchema, range_seconds};
use crate::error::Result;
use crate::schema::{Constraint, Kind, Rule};

impl LinkedSchema {
    /// The range of the moments by which rows of a table follow each other, in seconds: that of the column, less what leaves
    /// no room for a moment that a constraint puts before or after it. None where the table has no such moments.
    ///
    /// # Errors
    /// Bad input where a moment has no range.
    pub fn moment_range(&self, table: usize) -> Result<Option<(f64, f64)>> {
        let own = &self.tables[table];
        let Some(moment) = own.moment() else { return Ok(None) };
        let (mut first, mut last) = range_seconds(moment)?;
        for constraint in &own.constraints {
            let Rule::Inequality { low, high, strict } = &constraint.rule else { continue };
            let room = if *strict { resolution_seconds(moment) } else { 0.0 };
            if let Some(high) = own.column(high).filter(|_| *low == moment.name) {
                last = last.min(range_seconds(high)?.1 - room);
            }
            if let Some(low) = own.column(low).filter(|_| *high == moment.name) {
                first = first.max(range_seconds(low)?.0 + room);
            }
        }
        Ok(Some((first, last)))
    }

    /// Whether every row of a cohort can be made to hold a constraint of its table. Of moments that are told as passed time
    /// only some orders can: those between the row's own moment and one that is told from it, or two such, with room for both.
    ///
    /// # Errors
    /// Bad input where a moment has no range.
    pub fn is_held(&self, table: usize, constraint: &Constraint) -> Result<bool> {
        let (own, view) = (&self.tables[table], self.view(table)?);
        if let Rule::Ascending { columns } = &constraint.rule {
            // Cells that are drawn as they are can be kept from going down.
            let is_drawn = |name: &String| {
                let drawn = view.schema.columns[..view.drawn].iter().zip(&view.columns);
                drawn.filter(|(column, _)| column.name == *name).any(|(column, told)| {
                    matches!(told.from, From::Own(_)) && (column.kind.is_numeric() || column.kind == Kind::Ordinal)
                })
            };
            return Ok(columns.iter().all(is_drawn));
        }
        let in_view = view.schema.constraints.contains(constraint);
        let Rule::Inequality { low, high, strict } = &constraint.rule else { return Ok(in_view) };
        let told = |name: &String| {
            let place = view.schema.columns.iter().position(|column| column.name == *name)?;
            Some((own.column(name)?, view.columns[place].from))
        };
        let (Some((low, low_from)), Some((high, high_from))) = (told(low), told(high)) else { return Ok(false) };
        let is_moment = |name: &str| own.moment().is_some_and(|moment| moment.name == name);
        let is_told = match (low_from, high_from) {
            (From::Own(_), From::Own(_)) => return Ok(in_view),
            (From::Passed(_), From::Passed(_)) => in_view,
            (_, From::Passed(_)) => is_moment(&low.name),
            (From::Passed(_), _) => is_moment(&high.name),
            (_, From::End(_)) => is_moment(&low.name) && !strict,
            _ => false,
        };
        let room = if *strict { resolution_seconds(low) } else { 0.0 };
        let (low_range, high_range) = (range_seconds(low)?, range_seconds(high)?);
        // A moment that is told from another one is moved to its range; a row of a parent is only drawn where there is room.
        let is_row = matches!(low_from, From::Gap(_)) || matches!(high_from, From::Gap(_));
        let is_moved = |from: From| matches!(from, From::Passed(_) | From::End(_)) && !is_row;
        let has_room = (!is_moved(low_from) || low_range.0 + room <= high_range.0)
            && (!is_moved(high_from) || low_range.1 + room <= high_range.1);
        // What is told from a moment begins with the last of its own moments that is not after it.
        let (low_grid, high_grid) = (resolution_seconds(low), resolution_seconds(high));
        let is_exact = match (low_from, high_from) {
            (From::Passed(_), From::Passed(_)) => low_grid == high_grid,
            (From::Passed(_), _) => true,
            _ => low_grid % high_grid == 0.0,
        };
        Ok(is_told && is_exact && has_room)
    }
}
