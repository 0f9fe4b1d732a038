//! A sheet of a workbook, as the text that CSV would have.

use std::io::{Cursor, Read, Seek};
use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::StringBuilder;
use calamine::{Data, Range, Reader as _, open_workbook_auto_from_rs};

use super::guard;
use super::header::header;
use super::source::{Bytes, Source};
use crate::error::{Error, Result};
use crate::schema::datetime::{self, Ticks};

/// The day before the first one that workbooks count, in days since 1970.
const EPOCH: f64 = -25_569.0;
/// Milliseconds of a day: what is below is rounding.
const DAY: f64 = 86_400_000.0;

/// A sheet that was read.
pub(super) struct Reader {
    pub names: Vec<String>,
    rows: Option<(usize, Vec<ArrayRef>)>,
}

impl Reader {
    /// Reads the sheet of this name, else the only one that has cells. Its first row has the names of the columns.
    ///
    /// # Errors
    /// Bad input: no workbook, no such sheet, or several to choose from.
    pub fn new(source: &Source, bytes: Bytes, sheet: Option<&str>) -> Result<Self> {
        let bytes = match bytes {
            Bytes::Memory(bytes) => bytes,
            Bytes::File(mut file) => {
                file.rewind().and_then(|()| read(&mut file)).map_err(|e| source.unreadable(e.kind()))?
            }
            Bytes::Stream(mut stream) => read(&mut stream).map_err(|e| source.unreadable(e.kind()))?,
        };
        let sheets = guard::quietly(|| {
            let mut workbook = open_workbook_auto_from_rs(Cursor::new(bytes))?;
            Ok::<_, calamine::Error>(workbook.worksheets())
        });
        let no_workbook = || {
            source
                .bad("this is a ZIP archive, or a damaged Excel workbook")
                .remedy("unpack the archive, or save the sheet as CSV")
        };
        let sheets = sheets.ok_or_else(no_workbook)?;
        let cells = chosen(source, sheets, sheet)?;
        let mut rows = cells.rows();
        let text = |cell: &Data| spelled(cell);
        let names: Vec<String> = rows.next().into_iter().flatten().map(text).collect();
        // A column that has neither a name nor a cell is the rest of a format.
        let is_there = |column: usize| !names[column].is_empty() || rows.clone().any(|row| row[column] != Data::Empty);
        let places: Vec<usize> = (0..names.len()).filter(|&column| is_there(column)).collect();
        let names = header(source, places.iter().map(|&column| names[column].clone()).collect())?;
        let rows: Vec<&[Data]> = rows.filter(|row| row.iter().any(|cell| *cell != Data::Empty)).collect();
        let columns = places.iter().map(|&place| column(&rows, place)).collect();
        Ok(Self { names, rows: (!rows.is_empty()).then_some((rows.len(), columns)) })
    }

    /// All rows, once.
    pub fn next(&mut self) -> Option<(usize, Vec<ArrayRef>)> {
        self.rows.take()
    }
}

fn read(bytes: &mut impl Read) -> std::io::Result<bytes::Bytes> {
    let mut all = Vec::new();
    bytes.read_to_end(&mut all)?;
    Ok(all.into())
}

/// The sheet that is meant.
fn chosen(source: &Source, mut sheets: Vec<(String, Range<Data>)>, wanted: Option<&str>) -> Result<Range<Data>> {
    let told = |what: String, sheets: &[(String, Range<Data>)]| -> Error {
        let names: Vec<String> = sheets.iter().map(|(name, _)| format!("`{name}`")).collect();
        source.bad(what).expected(format!("one of {}", names.join(", "))).remedy(
            "name the sheet: `--sheet NAME` of `synthward inspect`, which writes it as `reading` into the schema",
        )
    };
    if let Some(wanted) = wanted {
        return match sheets.iter().position(|(name, _)| name == wanted) {
            Some(place) => Ok(sheets.swap_remove(place).1),
            None => Err(told(format!("the workbook has no sheet `{wanted}`"), &sheets)),
        };
    }
    sheets.retain(|(_, cells)| !cells.is_empty());
    match sheets.len() {
        0 => Err(source.bad("the workbook has no cells").remedy("check the file")),
        1 => Ok(sheets.swap_remove(0).1),
        _ => Err(told("the workbook has several sheets".to_owned(), &sheets)),
    }
}

fn column(rows: &[&[Data]], place: usize) -> ArrayRef {
    let mut cells = StringBuilder::new();
    rows.iter().for_each(|row| cells.append_value(spelled(&row[place])));
    Arc::new(cells.finish())
}

/// A cell as CSV would have it, whatever the others of its column are: numbers and moments as programs write them.
fn spelled(cell: &Data) -> String {
    match cell {
        Data::Empty => String::new(),
        Data::String(text) | Data::DateTimeIso(text) | Data::DurationIso(text) => text.clone(),
        Data::Int(number) => number.to_string(),
        Data::Float(number) => number.to_string(),
        Data::Bool(value) => value.to_string(),
        Data::Error(error) => error.to_string(),
        Data::DateTime(moment) if moment.is_datetime() => {
            // A workbook counts days; one before the first day of March 1900 is a time of day.
            let days = moment.as_f64();
            let milliseconds = ((days + EPOCH) * DAY).round();
            let format = match (days < 1.0, days.fract() != 0.0) {
                (true, _) => Some("%H:%M:%S"),
                (false, true) => Some("%Y-%m-%dT%H:%M:%S"),
                (false, false) => Some("%Y-%m-%d"),
            };
            datetime::format(milliseconds, format, Ticks::Millisecond).unwrap_or_default()
        }
        Data::DateTime(duration) => duration.as_f64().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use calamine::{ExcelDateTime, ExcelDateTimeType};

    /// One moment with a time of day among days respells nothing but itself.
    #[test]
    fn each_cell_is_spelled_by_itself() {
        let moment = |days| Data::DateTime(ExcelDateTime::new(days, ExcelDateTimeType::DateTime, false));
        let (day, noon) = (moment(43_831.0), moment(43_831.5));
        assert_eq!(
            [spelled(&day), spelled(&noon), spelled(&moment(0.25))],
            ["2020-01-01", "2020-01-01T12:00:00", "06:00:00"]
        );
        let rows = [[day.clone()], [noon], [day]];
        let rows: Vec<&[Data]> = rows.iter().map(|row| &row[..]).collect();
        let cells = column(&rows, 0);
        let cells = arrow_array::cast::AsArray::as_string::<i32>(&cells);
        assert_eq!([cells.value(0), cells.value(2)], ["2020-01-01"; 2]);
    }
}
