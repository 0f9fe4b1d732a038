//! The schema applied to a table.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use rayon::prelude::*;
use synthward_privacy::Sensitive;

use super::cells::{Texts, numbers, single, ticks};
use super::frame::{Frame, FrameColumn, MISSING, Values};
use super::header::ROW_NAMES;
use super::raw::{RawColumn, RawTable, Rows, Stored};
use crate::error::{Error, Result};
use crate::schema::{ArrowType, Column, Kind, Notation, Schema, Spelling};

/// What a column must be present for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Demand {
    /// Real rows: every column but the dropped ones, and whole where the schema says so.
    Whole,
    /// Generated rows: what is modelled; identifiers may be left out, and missing cells are for the evaluation to judge.
    Modelled,
    /// Real rows to score: what is modelled, and whole where the schema says so.
    Scored,
    /// Real rows to audit with, or those of linked tables to fill: what is modelled, missing cells anywhere, and the privacy
    /// unit.
    Audited,
    /// Real rows to fill: any of what is modelled; what is missing is asked for.
    Partial,
}

impl RawTable {
    /// Applies a schema to real rows: missing markers become missing cells,
    /// text becomes numbers, moments or dictionary codes, the column of the
    /// privacy unit becomes dense ids in order of first appearance.
    ///
    /// Values outside a column's domain stay as they are; [`count_outside`]
    /// counts them and the encoder moves them.
    ///
    /// # Errors
    /// Bad input naming the column, and the row of a cell, for: a column that
    /// is in the schema or in the table only (a dropped column may be absent),
    /// a cell of the wrong type, a missing cell in a column that is not
    /// nullable, a row without its privacy unit.
    ///
    /// # Privacy
    /// Touches sensitive data, releases nothing but that the table fits its
    /// schema or where it does not; no error carries a cell.
    pub fn load(&self, schema: &Schema) -> Result<Sensitive<Frame>> {
        self.all_rows().frame(schema, Demand::Whole).map(Sensitive::new)
    }

    /// Applies a schema to generated rows, of this program or another:
    /// identifiers may be absent, and [`Frame::unit`] is `None` then; a missing
    /// cell is accepted anywhere.
    ///
    /// # Errors
    /// Bad input as for [`RawTable::load`].
    pub fn load_cohort(&self, schema: &Schema) -> Result<Frame> {
        self.all_rows().frame(schema, Demand::Modelled)
    }

    /// Applies a schema to real rows that a model is to score: identifiers may
    /// be absent.
    ///
    /// # Errors
    /// Bad input as for [`RawTable::load`].
    ///
    /// # Privacy
    /// As [`RawTable::load`].
    pub fn load_to_score(&self, schema: &Schema) -> Result<Sensitive<Frame>> {
        self.all_rows().frame(schema, Demand::Scored).map(Sensitive::new)
    }

    /// Applies a schema to real rows that an audit compares: other identifiers than the privacy unit may be absent, and a
    /// missing cell is accepted anywhere, since holdout rows may miss what no training row does.
    ///
    /// # Errors
    /// Bad input as for [`RawTable::load`].
    ///
    /// # Privacy
    /// As [`RawTable::load`].
    pub fn load_to_audit(&self, schema: &Schema) -> Result<Sensitive<Frame>> {
        self.all_rows().frame(schema, Demand::Audited).map(Sensitive::new)
    }

    /// The text of the privacy unit of each row, where the schema names its column: to find a person in two tables.
    ///
    /// # Errors
    /// A row without its unit, a column that cannot be read.
    ///
    /// # Privacy
    /// Touches sensitive data, releases nothing.
    pub fn unit_labels(&self, schema: &Schema) -> Result<Option<Sensitive<Vec<String>>>> {
        Ok(self.all_rows().units(schema)?.map(|units| Sensitive::new(units.labels)))
    }

    /// The texts of the keys in a column, each once; a row without a key has none.
    ///
    /// # Errors
    /// The table lacks the column, or it cannot be read.
    ///
    /// # Privacy
    /// Touches sensitive data, releases nothing.
    pub fn key_labels(&self, column: &str, schema: &Schema) -> Result<Sensitive<Vec<String>>> {
        self.all_rows().keys(column, schema).map(|keys| Sensitive::new(keys.labels))
    }

    /// Applies a schema to real rows that a model is to complete: any column
    /// may be absent, and any cell missing.
    ///
    /// # Errors
    /// Bad input as for [`RawTable::load`].
    ///
    /// # Privacy
    /// As [`RawTable::load`].
    pub fn load_to_fill(&self, schema: &Schema) -> Result<Sensitive<Frame>> {
        self.all_rows().frame(schema, Demand::Partial).map(Sensitive::new)
    }
}

impl Rows<'_> {
    fn frame(&self, schema: &Schema, demand: Demand) -> Result<Frame> {
        let columns = self.columns(schema, demand)?;
        let unit = self.units(schema)?.map(|units| units.codes);
        Ok(Frame { rows: self.rows, columns, unit })
    }

    /// The modelled columns.
    pub(super) fn columns(&self, schema: &Schema, demand: Demand) -> Result<Vec<FrameColumn>> {
        self.check_columns(schema, demand)?;
        let columns: Vec<(&Column, &RawColumn)> =
            schema.modelled().filter_map(|column| Some((column, self.column(&column.name)?))).collect();
        let read = |(column, raw): &(&Column, &RawColumn)| {
            let values =
                self.values(column, raw, schema).map_err(|e| e.file(self.source.as_path()).column(&column.name))?;
            if matches!(demand, Demand::Whole | Demand::Scored) && !column.nullable {
                self.check_present(column, &values)?;
            }
            Ok(FrameColumn { name: column.name.clone(), values })
        };
        // All are read before the first error is told, so that it is the first.
        columns.par_iter().map(read).collect::<Vec<_>>().into_iter().collect()
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|c| c.name.as_str())
    }

    fn check_columns(&self, schema: &Schema, demand: Demand) -> Result<()> {
        let unit = schema.table.unit_column();
        let needed = |c: &&Column| match demand {
            Demand::Whole => !c.drop || Some(c.name.as_str()) == unit,
            Demand::Modelled | Demand::Scored => c.is_modelled(),
            Demand::Audited => c.is_modelled() || Some(c.name.as_str()) == unit,
            Demand::Partial => false,
        };
        let absent =
            quoted(schema.columns.iter().filter(needed).map(|c| c.name.as_str()).filter(|n| self.column(n).is_none()));
        // Names or numbers of rows may be there or not, as whoever wrote the file liked.
        let unknown = quoted(self.names().filter(|n| schema.column(n).is_none() && *n != ROW_NAMES));
        let bad = |what: String, remedy: &str| Err(self.source.bad(what).remedy(remedy));
        let known = self.names().filter(|n| schema.column(n).is_some()).count();
        match (absent.as_str(), unknown.as_str()) {
            ("", "") => Ok(()),
            // Without a header line, the names would be the cells of the first row: they are not shown.
            _ if known == 0 => bad(
                "none of the table's column names is one of the schema's".to_owned(),
                "check that the schema belongs to this table, and that the table begins with a header line",
            ),
            ("", unknown) => bad(
                format!("the table has columns that the schema does not know: {unknown}"),
                "add them to the schema (drop = true leaves a column out), or draft it anew with `synthward inspect`",
            ),
            (absent, "") => bad(
                format!("the table lacks columns of the schema: {absent}"),
                "add them to the table, or remove them from the schema",
            ),
            (absent, unknown) => bad(
                format!(
                    "the table lacks columns of the schema: {absent}; and has columns that the schema does not know: {unknown}"
                ),
                "check that the schema belongs to this table, and the spelling of the names",
            ),
        }
    }

    fn values(&self, column: &Column, raw: &RawColumn, schema: &Schema) -> Result<Values> {
        let texts = || self.texts(raw, schema);
        match (column.kind, raw.stored.arrow_type()?) {
            (Kind::Integer | Kind::Real, Some(t)) if t.is_numeric() => {
                let values = numbers(raw.stored.cells()?).map_err(|_| self.unreadable(column))?;
                let values = one_meaning(column, schema, values);
                match values.iter().position(|x| column.kind == Kind::Integer && !x.is_nan() && x.fract() != 0.0) {
                    Some(row) => Err(self.wrong(column, row)),
                    None => Ok(Values::Number(values)),
                }
            }
            (Kind::Datetime, Some(t)) if t.is_temporal() => {
                let moments = ticks(raw.stored.cells()?, column.clock()).map_err(|_| self.unreadable(column))?;
                Ok(Values::Number(one_meaning(column, schema, moments)))
            }
            (Kind::Integer | Kind::Real | Kind::Datetime, t) if t.is_none_or(|t| t.is_text()) => {
                self.parsed(column, &texts()?, schema)
            }
            (Kind::Boolean, t) if t.is_none_or(|t| t.is_text() || *t == ArrowType::BOOLEAN) => {
                self.booleans(column, &texts()?)
            }
            (Kind::Categorical | Kind::Ordinal | Kind::Code, t) if t.is_none_or(|t| !t.is_temporal()) => {
                let mut texts = texts()?;
                let declared = column.arrow_type.as_ref().and_then(Spelling::of);
                if let Some(spelling) = declared.or_else(|| t.and_then(Spelling::of)) {
                    spell(&mut texts, spelling, column, schema);
                }
                let Texts { codes, labels } = texts;
                Ok(Values::Text { codes, labels })
            }
            (_, t) => Err(self
                .source
                .bad(format!("the column has type {}", t.map_or_else(|| "text".to_owned(), ToString::to_string)))
                .column(&column.name)
                .expected(expectation(column))
                .remedy("give the column another kind in the schema, or another type in the table")),
        }
    }

    /// Distinct texts without the missing markers.
    fn texts(&self, raw: &RawColumn, schema: &Schema) -> Result<Texts> {
        let mut texts = Texts::of(raw.stored.cells()?)
            .map_err(|_| self.source.bad("the column cannot be read").column(&raw.name))?;
        texts.remove(|text| schema.table.is_missing(text));
        let column = schema.column(&raw.name).filter(|_| matches!(raw.stored, Stored::Text(_)));
        if let Some(spelling) = column.and_then(|column| Notation::of(self.reading, column)) {
            texts.rename(|text| spelling.plain(text).map_or_else(|| text.to_owned(), Cow::into_owned));
        }
        Ok(texts)
    }

    /// Text to numbers or ticks: each distinct text is read once.
    fn parsed(&self, column: &Column, texts: &Texts, schema: &Schema) -> Result<Values> {
        let clock = column.clock();
        let parse = |text: &str| match column.kind {
            Kind::Datetime => clock.parse(text, column.format.as_deref()),
            kind => number(text).filter(|x| kind != Kind::Integer || x.fract() == 0.0),
        };
        let values = one_meaning(column, schema, self.each_label(column, texts, parse)?);
        Ok(Values::Number(texts.codes.iter().map(|c| values.get(*c as usize).copied().unwrap_or(f64::NAN)).collect()))
    }

    fn booleans(&self, column: &Column, texts: &Texts) -> Result<Values> {
        let read = |text: &str| match text.trim() {
            t if t.eq_ignore_ascii_case("false") => Some(0),
            t if t.eq_ignore_ascii_case("true") => Some(1),
            _ => None,
        };
        let values: Vec<u32> = self.each_label(column, texts, read)?;
        let codes = texts.codes.iter().map(|c| values.get(*c as usize).copied().unwrap_or(MISSING)).collect();
        Ok(Values::Text { codes, labels: column.labels() })
    }

    fn each_label<T>(&self, column: &Column, texts: &Texts, read: impl Fn(&str) -> Option<T>) -> Result<Vec<T>> {
        let read = |(code, label): (u32, &String)| read(label).ok_or(code);
        (0..).zip(&texts.labels).map(read).collect::<Result<_, u32>>().map_err(|code| {
            // Labels are in order of first appearance, so this is the first bad row.
            self.wrong(column, texts.first_row(code).unwrap_or_default())
        })
    }

    /// The privacy unit of each row, where the schema names its column.
    pub(super) fn units(&self, schema: &Schema) -> Result<Option<Texts>> {
        let Some(raw) = schema.table.unit_column().and_then(|name| self.column(name)) else { return Ok(None) };
        let texts = self.canonical(raw, schema)?;
        match texts.first_row(MISSING) {
            Some(row) => Err(self
                .source
                .bad("the privacy unit is missing")
                .row(self.number(row))
                .column(&raw.name)
                .remedy("a row that belongs to nobody cannot be protected: complete it or leave it out")),
            None => Ok(Some(texts)),
        }
    }

    /// The texts of an identifier as its type says: 7 and 007 are one person where keys are numbers, and two where they are
    /// texts.
    fn canonical(&self, raw: &RawColumn, schema: &Schema) -> Result<Texts> {
        let mut texts = self.texts(raw, schema)?;
        let declared = schema.column(&raw.name).and_then(|column| column.arrow_type.as_ref());
        if declared.is_some_and(ArrowType::is_numeric) && raw.stored.arrow_type()?.is_none_or(|t| !t.is_integer()) {
            // A power of ten is read as a double: where that may be another number, the text is a key of its own.
            let is_plain = |text: &str| !text.contains(['e', 'E']);
            let is_exact = |text: &str| is_plain(text) || number(text).is_some_and(|x| x.abs() < (1u64 << 53) as f64);
            texts.rename(|text| {
                Spelling::Exact.spell(text).filter(|_| is_exact(text)).unwrap_or_else(|| text.to_owned())
            });
        }
        Ok(texts)
    }

    /// The texts of an identifier column, which the table has to have.
    pub(super) fn keys(&self, name: &str, schema: &Schema) -> Result<Texts> {
        match self.column(name) {
            Some(raw) => self.canonical(raw, schema),
            None => Err(self.source.bad("the table lacks this column").column(name).remedy("correct the schema")),
        }
    }

    /// The whole numbers in an identifier column, none for a missing cell.
    pub(super) fn whole_numbers(&self, name: &str, schema: &Schema) -> Result<Vec<Option<i64>>> {
        let texts = self.keys(name, schema)?;
        let read = |(code, label): (u32, &String)| {
            label.trim().parse::<i64>().map_err(|_| {
                self.source
                    .bad("the cell is no whole number, and the column is the order of the rows")
                    .row(self.number(texts.first_row(code).unwrap_or_default()))
                    .column(name)
                    .remedy("name another column as `order` in [table], or leave it out")
            })
        };
        let numbers: Vec<i64> = (0..).zip(&texts.labels).map(read).collect::<Result<_>>()?;
        Ok(texts.codes.iter().map(|&code| numbers.get(code as usize).copied()).collect())
    }

    /// The number of a row in the table, from its place among these.
    fn number(&self, row: usize) -> u64 {
        (self.before + row) as u64 + 1
    }

    fn check_present(&self, column: &Column, values: &Values) -> Result<()> {
        let missing = match values {
            Values::Number(values) => values.iter().position(|x| x.is_nan()),
            Values::Text { codes, .. } => codes.iter().position(|c| *c == MISSING),
        };
        match missing {
            Some(row) => {
                let (what, remedy) = match values {
                    Values::Number(_) => ("is missing", "write nullable = true in the schema, or complete the table"),
                    Values::Text { .. } => (
                        "is missing or has no value that the schema lists",
                        "complete the table, add the value to `categories`, or write nullable = true in the schema: such \
                         cells are missing then",
                    ),
                };
                Err(self
                    .source
                    .bad(format!("the cell {what}, but the schema says nullable = false"))
                    .row(self.number(row))
                    .column(&column.name)
                    .remedy(remedy))
            }
            None => Ok(()),
        }
    }

    fn wrong(&self, column: &Column, row: usize) -> Error {
        self.source
            .bad(format!("the cell is not of kind {}", column.kind.name()))
            .row(self.number(row))
            .column(&column.name)
            .expected(expectation(column))
            .remedy("mend the cell, add its text to missing in [table], or give the column another kind")
    }

    fn unreadable(&self, column: &Column) -> Error {
        self.source.bad("the column cannot be read").column(&column.name).remedy("give it a plainer type in the table")
    }
}

/// Numbers and moments as any file would have them: a narrow float as narrow, and a missing marker missing, however it is
/// written.
fn one_meaning(column: &Column, schema: &Schema, mut values: Vec<f64>) -> Vec<f64> {
    if column.arrow_type.as_ref().and_then(Spelling::of) == Some(Spelling::Single) {
        values.iter_mut().for_each(|x| *x = single(*x));
    }
    let clock = column.clock();
    let read = |marker: &String| match column.kind {
        Kind::Datetime => clock.parse(marker, column.format.as_deref()),
        _ => number(marker),
    };
    let markers: Vec<f64> = schema.table.missing.iter().filter_map(read).collect();
    // Adding zero makes a negative zero positive.
    values.iter_mut().for_each(|x| *x = if markers.contains(x) { f64::NAN } else { *x + 0.0 });
    values
}

/// Texts of a column of numbers or truths as the categories have them, whatever the file's own spelling: 0, 0.0 and -0 are
/// one category.
fn spell(texts: &mut Texts, spelling: Spelling, column: &Column, schema: &Schema) {
    let one = |text: &str| spelling.spell(text).unwrap_or_else(|| text.to_owned());
    let markers: HashSet<String> = schema.table.missing.iter().map(|marker| one(marker)).collect();
    texts.remove(|text| markers.contains(&one(text)));
    let own: HashSet<&str> = column.categories.iter().map(String::as_str).collect();
    // The first of two that say the same is the last to be put in.
    let by_value: HashMap<String, &str> = column.categories.iter().rev().map(|c| (one(c), c.as_str())).collect();
    texts.rename(|text| match one(text) {
        _ if own.contains(text) => text.to_owned(),
        value => by_value.get(&value).map_or(value, |&category| category.to_owned()),
    });
}

/// Number of cells outside the domain of each column that has any, in column order.
///
/// # Privacy
/// As [`outside`].
pub fn count_outside(frame: &Frame, schema: &Schema) -> Vec<(String, usize)> {
    let count = |cells: &FrameColumn| Some((cells.name.clone(), outside(&cells.values, schema.column(&cells.name)?)));
    frame.columns.iter().filter_map(count).filter(|(_, count)| *count > 0).collect()
}

/// Number of cells outside the domain of their column, for the operator's log: such cells are clamped, become `other`, or
/// become missing.
///
/// # Privacy
/// Outside the guarantee: the count is read from the rows. It is for the controller only.
pub fn outside(values: &Values, column: &Column) -> usize {
    match values {
        Values::Number(values) => {
            let Some((min, max)) = column.range() else { return 0 };
            values.iter().filter(|x| **x < min || **x > max).count()
        }
        Values::Text { codes, labels } => {
            let domain = column.labels();
            if domain.is_empty() {
                return 0;
            }
            let known: std::collections::HashSet<&String> = domain.iter().collect();
            let inside: Vec<bool> = labels.iter().map(|label| known.contains(label)).collect();
            codes.iter().filter(|c| inside.get(**c as usize) == Some(&false)).count()
        }
    }
}

/// A finite number in plain or exponent notation.
pub(super) fn number(text: &str) -> Option<f64> {
    let text = text.trim();
    let plain = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E'));
    if plain { text.parse().ok().filter(|x: &f64| x.is_finite()) } else { None }
}

fn expectation(column: &Column) -> String {
    match (column.kind, &column.format) {
        (Kind::Integer, _) => "a whole number, such as 3 or 3.0".into(),
        (Kind::Real, _) => "a number with a decimal point, such as 3.5".into(),
        (Kind::Datetime, Some(format)) => format!("a moment written as {format}"),
        (Kind::Datetime, None) => "an ISO 8601 date or time".into(),
        (Kind::Boolean, _) => "true or false".into(),
        (kind, _) => format!("text or numbers for kind {}", kind.name()),
    }
}

fn quoted<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::{Source, load, read};
    use super::*;

    const SCHEMA: &str = r#"
        [table]
        name = "stays"
        privacy_unit = "patient"
        missing = ["?", ""]
        [[column]]
        name = "age"
        kind = "integer"
        min = 0
        max = 120
        [[column]]
        name = "sex"
        kind = "categorical"
        categories = ["F", "M", "None"]
        [[column]]
        name = "patient"
        kind = "identifier"
        [[column]]
        name = "cost"
        kind = "real"
        [[column]]
        name = "day"
        kind = "datetime"
        format = "%d.%m.%Y"
        min = "2000-01-01"
        max = "2000-12-31"
        [[column]]
        name = "dead"
        kind = "boolean"
        nullable = false
        [[column]]
        name = "note"
        kind = "identifier"
        drop = true
    "#;

    /// Doubles are too coarse for long keys; 7, 007 and 7.0 are one number.
    #[test]
    fn long_keys_stay_apart() {
        let schema = "[table]\nname = \"t\"\nprivacy_unit = \"who\"\n\
            [[column]]\nname = \"who\"\nkind = \"identifier\"\ntype = \"int64\"\n\
            [[column]]\nname = \"age\"\nkind = \"integer\"\nmin = 0\nmax = 9\n";
        let schema = Schema::from_toml(schema).unwrap();
        let units = |keys: &[&str]| {
            let file = tempfile::Builder::new().suffix(".csv").tempfile().unwrap();
            let rows: String = keys.iter().map(|key| format!("{key},1\n")).collect();
            fs::write(file.path(), format!("who,age\n{rows}")).unwrap();
            load(&Source::from(file.path()), &schema).unwrap().for_controller().units()
        };
        assert_eq!(units(&["9007199254740992.0", "9007199254740993.0", "9007199254740994", "9007199254740992"]), 3);
        assert_eq!(units(&["9007199254740993e0", "9007199254740992e0", "7e0", "7"]), 3);
        assert_eq!(units(&["7", "007", "7.0", "+7", " 7.00 "]), 1);
    }
    const HEADER: &str = "patient,sex,age,cost,day,dead,note\n";

    fn schema() -> Schema {
        Schema::from_toml(SCHEMA).unwrap()
    }

    fn loaded(rows: &str, schema: &Schema) -> Result<Frame> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stays.csv");
        fs::write(&path, rows).unwrap();
        load(&Source::from(&path), schema).map(Sensitive::for_controller)
    }

    fn error(rows: &str) -> Error {
        let e = loaded(&format!("{HEADER}{rows}"), &schema()).err().unwrap();
        assert_eq!(e.kind.exit_code(), 3);
        assert!(e.remedy.is_some() && e.file.is_some(), "{e}");
        e
    }

    fn numbers_of<'a>(frame: &'a Frame, name: &str) -> &'a [f64] {
        match &frame.columns.iter().find(|c| c.name == name).unwrap().values {
            Values::Number(values) => values,
            Values::Text { .. } => panic!("{name} is text"),
        }
    }

    #[test]
    fn text_gets_its_meaning_from_the_schema() {
        let frame = loaded(
            &format!(
                "{HEADER}p9,None,30,1e2,31.01.2000,True,x\np2,?,,0.5,,false,y\np9, ? ,3.0, ? ,01.01.2000,FALSE,\n"
            ),
            &schema(),
        )
        .unwrap();
        assert_eq!(frame.rows, 3);
        assert_eq!(
            frame.columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(),
            ["age", "sex", "cost", "day", "dead"]
        );
        assert_eq!(frame.unit, Some(vec![0, 1, 0]));
        let age = numbers_of(&frame, "age");
        assert!(age[0] == 30.0 && age[1].is_nan() && age[2] == 3.0);
        assert!(numbers_of(&frame, "cost")[..2] == [100.0, 0.5] && numbers_of(&frame, "cost")[2].is_nan());
        // 2000-01-01 is day 10,957 of the epoch.
        assert!(numbers_of(&frame, "day")[0] == 10_987.0 && numbers_of(&frame, "day")[2] == 10_957.0);
        assert!(
            frame.columns[1].values == Values::Text { codes: vec![0, MISSING, MISSING], labels: vec!["None".into()] }
        );
        let booleans = vec!["false".to_owned(), "true".to_owned()];
        assert!(frame.columns[4].values == Values::Text { codes: vec![1, 0, 0], labels: booleans });
    }

    #[test]
    fn a_cell_of_the_wrong_type_is_named_by_row_and_column() {
        for (cells, column) in [
            ("p,F,3.5,1,01.01.2000,true,", "age"),
            ("p,F,secret,1,01.01.2000,true,", "age"),
            ("p,F,inf,1,01.01.2000,true,", "age"),
            ("p,F,3,\"1,5\",01.01.2000,true,", "cost"),
            ("p,F,3,1,2000-01-01,true,", "day"),
            ("p,F,3,1,01.01.2000,yes,", "dead"),
            ("p,F,3,1,01.01.2000,?,", "dead"),
            ("?,F,3,1,01.01.2000,true,", "patient"),
        ] {
            let e = error(&format!("p,F,3,1,01.01.2000,true,\n{cells}\n"));
            assert_eq!((e.row, e.column.as_deref()), (Some(2), Some(column)), "{e}");
            assert!(!e.to_string().contains("secret"));
        }
    }

    #[test]
    fn columns_must_be_those_of_the_schema() {
        let refused = |rows: &str| loaded(rows, &schema()).err().unwrap().what;
        assert_eq!(
            refused("patient,sex,age,cost,dead\np,F,3,1,true\n"),
            "the table lacks columns of the schema: `day`"
        );
        assert_eq!(
            refused("patient,sex,age,cost,day,dead,extra,more\np,F,3,1,01.01.2000,true,1,2\n"),
            "the table has columns that the schema does not know: `extra`, `more`"
        );
        assert!(
            loaded("patient,sex,age,cost,day,dead\np,F,3,1,01.01.2000,true\n", &schema()).is_ok(),
            "a dropped column may be absent"
        );
    }

    #[test]
    fn a_cohort_may_lack_identifiers_but_no_modelled_column() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cohort.csv");
        let cohort = |text: &str| {
            fs::write(&path, text).unwrap();
            read(&Source::from(&path), &Default::default()).unwrap().load_cohort(&schema())
        };
        assert!(cohort("sex,age,cost,day,dead\nF,3,1,01.01.2000,\n").is_ok_and(|frame| frame.unit.is_none()));
        assert!(cohort("sex,age,cost,day\nF,3,1,01.01.2000\n").is_err());
    }

    #[test]
    fn cells_outside_the_domain_are_kept_and_counted() {
        let rows = format!("{HEADER}p,X,130,1,01.01.1999,true,\np,X,-1,1,01.01.2000,true,\np,F,?,1,?,true,\n");
        let frame = loaded(&rows, &schema()).unwrap();
        assert_eq!(numbers_of(&frame, "age")[..2], [130.0, -1.0]);
        let expected = [("age".to_owned(), 2), ("sex".to_owned(), 2), ("day".to_owned(), 1)];
        assert_eq!(count_outside(&frame, &schema()), expected);
    }

    #[test]
    fn numbers_are_plain() {
        for (text, value) in [("3", 3.0), (" -0.5 ", -0.5), ("+1e3", 1000.0), (".5", 0.5)] {
            assert_eq!(number(text), Some(value));
        }
        for text in ["", "nan", "inf", "1,5", "0x10", "1_000", "1e999", "-"] {
            assert_eq!(number(text), None, "{text}");
        }
    }
}
