//! The rows of a table on their way into a fit.

use super::discover::BoundedTable;
use super::fit::FitRequest;
use super::units::PublicUnits;
use super::witness::Witness;
use crate::encode::{Grid, TableDomain, UnitRows};
use crate::error::Result;
use crate::ingest::{ColumnStore, Frame, broken, count_class, outside, store};
use crate::schema::Schema;
use std::sync::Arc;
use synthward_privacy::Sensitive;
use synthward_privacy::plan::Plan;

/// Reads the table and bounds the rows of each unit.
///
/// # Privacy
/// Touches sensitive data, releases nothing but that the table fits its schema
/// or where it does not; tells the operator, outside the guarantee, where it has another number of units than is declared.
pub(super) fn read_table(request: &FitRequest, schema: &Schema, plan: &Plan) -> Result<Sensitive<BoundedTable>> {
    let table = bound(schema, store(request.source, schema, request.memory / 2)?);
    Ok(table.map(|table| {
        PublicUnits::of(&schema.table).compare(table.rows.units(), plan);
        table
    }))
}

/// A table in memory, with what `witness` adds to it, and the rows of each unit bounded.
///
/// # Privacy
/// Touches sensitive data, releases nothing.
pub(super) fn joined<W: Witness>(
    schema: &Schema,
    frame: Sensitive<Frame>,
    witness: &W,
) -> Result<Sensitive<BoundedTable>> {
    Ok(bound(schema, frame.map(|frame| ColumnStore::of(witness.join(frame))).transpose()?))
}

/// Bounds the rows of each unit.
///
/// # Privacy
/// Touches sensitive data, releases nothing.
fn bound(schema: &Schema, table: Sensitive<ColumnStore>) -> Sensitive<BoundedTable> {
    let most = schema.table.max_rows_per_unit() as usize;
    table.map(|columns| BoundedTable { rows: Arc::new(UnitRows::new(&columns, most)), columns })
}

/// Tells the operator where rows do not hold what the schema says, which may have been learnt: it is kept by now.
///
/// # Privacy
/// Touches sensitive data; tells the operator, outside the guarantee, in which columns values were moved into the domain and
/// which constraints rows break, in classes of ten.
pub(super) fn tell_of_rows(table: &Sensitive<BoundedTable>, schema: &Schema) -> Result<()> {
    let told = table.map_ref(|BoundedTable { columns, .. }| {
        for column in schema.modelled() {
            let Some(values) = columns.column(&column.name)? else { continue };
            if let Some(class) = count_class(outside(&values, column)) {
                tracing::warn!(
                    "column `{}`: {class} values outside the domain were moved to where the schema says",
                    column.name
                );
            }
        }
        for constraint in &schema.constraints {
            let frame = columns.frame(&constraint.rule.columns())?;
            if let Some(class) = count_class(broken(&frame, schema, &constraint.rule)) {
                let title = constraint.title();
                tracing::warn!("constraint `{title}`: {class} rows break it; generated rows will hold it");
            }
        }
        Ok(())
    });
    told.transpose().map(drop)
}

/// Places the cells of the table in the domain.
///
/// # Privacy
/// Touches sensitive data, releases nothing.
pub(super) fn place(table: Sensitive<BoundedTable>, domain: &TableDomain) -> Sensitive<Grid> {
    table.map(|BoundedTable { columns, rows }| Grid::new(columns, rows, domain.clone()))
}
