//! Writing a schema as a person would: aligned, a comment at each oddity.

use std::fmt::Write;

use serde::Serialize;
use toml::Value;

use super::{Bound, Column, Constraint, Parents, Reading, Regression, Schema, Survival, Target};

/// Width at which lists of categories are broken.
const WIDTH: usize = 110;

/// Width of the longest field name of a column, `domain_from`.
const FIELD: usize = 11;

/// Width of the longest field name of the table, `max_rows_per_unit`.
const TABLE_FIELD: usize = 17;

pub(super) const HEADER: &str = "\
# What is public about the table. Everything in this file is treated as public: it goes into the model and the
# reports as it stands. `# read from rows` stands beside each field, and before each remark, that `inspect`
# read from the rows: who vouches for a column, a table or a rule vouches for all that is marked so in it.
# domain_from = \"public\"  a person vouches for the column (codebook, data dictionary, common knowledge)
# domain_from = \"data\"    nobody does: `fit` refuses it, unless --discover-epsilon pays for range or list
# kind_from   = \"public\"  beside \"data\": a person vouches for kind, type and format; no budget pays for them
# from        = \"data\"    a constraint was seen to hold in every row; `fit` refuses it. Where it holds by what
#                         the columns mean, write from = \"public\"; else remove it
";

/// Beside a field that was read from the rows.
const READ_FROM_ROWS: &str = "# read from rows";

/// Comments to write beside a schema.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Notes {
    /// Under `[table]`.
    pub table: Vec<String>,
    /// Under the `[[column]]` of the same index; missing entries mean none.
    pub columns: Vec<Vec<String>>,
    pub read: Read,
}

/// Which fields were read from the rows, and are marked so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Read {
    #[default]
    Nothing,
    /// All of a column.
    All,
}

impl Notes {
    /// A remark that was made of the rows.
    pub fn read_from_rows(remark: &str) -> String {
        format!("{}: {remark}", &READ_FROM_ROWS[2..])
    }
}

impl Read {
    pub(super) fn is_any(self) -> bool {
        self != Self::Nothing
    }
}

impl Schema {
    /// The schema as a TOML file that a person can read and edit.
    /// [`Schema::from_toml`] reads it back to an equal value.
    pub fn to_toml(&self) -> String {
        self.to_toml_with(&Notes::default())
    }

    /// As [`Schema::to_toml`], with comments.
    pub fn to_toml_with(&self, notes: &Notes) -> String {
        let mut out = String::from(HEADER);
        out.push_str("\n[table]\n");
        let table = &self.table;
        comments(&mut out, &notes.table);
        field(&mut out, TABLE_FIELD, "name", text(&table.name));
        if let Some(source) = &table.source {
            field(&mut out, TABLE_FIELD, "source", text(source));
        }
        if let Some(unit) = &table.privacy_unit {
            field(&mut out, TABLE_FIELD, "privacy_unit", text(unit));
        }
        if let Some(rows) = table.max_rows_per_unit {
            field(&mut out, TABLE_FIELD, "max_rows_per_unit", rows.to_string());
        }
        if let Some(order) = &table.order {
            field(&mut out, TABLE_FIELD, "order", text(order));
        }
        field(&mut out, TABLE_FIELD, "missing", list(&table.missing));
        if let Some(reading) = table.reading.to_toml() {
            marked(&mut out, TABLE_FIELD, "reading", reading, notes.read.is_any());
        }
        if let Some(units) = table.units {
            marked(&mut out, TABLE_FIELD, "units", units.to_string(), notes.read.is_any());
        }
        if let Some(units) = table.at_least_units {
            field(&mut out, TABLE_FIELD, "at_least_units", units.to_string());
        }
        if let Some(cap) = table.epsilon_cap {
            field(&mut out, TABLE_FIELD, "epsilon_cap", format!("{cap:?}"));
        }
        if table.assumed_public {
            field(&mut out, TABLE_FIELD, "assumed_public", "true".into());
        }
        for (index, column) in self.columns.iter().enumerate() {
            out.push_str("\n[[column]]\n");
            comments(&mut out, notes.columns.get(index).map_or(&[], Vec::as_slice));
            write_column(&mut out, column, notes.read);
        }
        out.push_str(&analyses(self));
        out.push_str(&rules(&self.constraints, notes.read.is_any()));
        out
    }
}

pub(super) fn write_column(out: &mut String, column: &Column, read: Read) {
    field(out, FIELD, "name", text(&column.name));
    let mut optional = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            let is_read = match name {
                "domain_from" | "kind_from" => false,
                _ => read.is_any(),
            };
            marked(out, FIELD, name, value, is_read);
        }
    };
    optional("kind", Some(text(column.kind.name())));
    optional("type", column.arrow_type.as_ref().map(|t| text(&t.to_string())));
    optional("system", column.system.map(|s| text(s.name())));
    optional("parents", column.parents.as_ref().map(parents));
    optional("format", column.format.as_deref().map(text));
    optional("min", column.min.as_ref().map(bound));
    optional("max", column.max.as_ref().map(bound));
    optional("decimals", column.decimals.map(|d| d.to_string()));
    optional("step", column.step.map(number));
    optional("resolution", column.resolution.map(|r| text(r.name())));
    optional("suffix", column.suffix.as_deref().map(text));
    optional("limits", column.limits.then(|| "true".into()));
    optional("categories", (!column.categories.is_empty()).then(|| list(&column.categories)));
    optional("other", column.other.as_deref().map(text));
    optional("nullable", (column.is_modelled() || !column.nullable).then(|| column.nullable.to_string()));
    optional("domain_from", column.domain_from.map(|from| text(from.name())));
    optional("kind_from", column.kind_from.map(|from| text(from.name())));
    optional("drop", column.drop.then(|| "true".into()));
}

pub(super) fn comments(out: &mut String, notes: &[String]) {
    for line in notes.iter().flat_map(|note| note.lines()) {
        out.push_str("# ");
        // A control character would end the comment or break the file.
        out.extend(line.chars().filter(|c| !c.is_control()));
        out.push('\n');
    }
}

pub(super) fn field(out: &mut String, width: usize, name: &str, value: String) {
    marked(out, width, name, value, false);
}

/// A field, and whether it was read from the rows.
pub(super) fn marked(out: &mut String, width: usize, name: &str, value: String, is_read: bool) {
    let (first, rest) = value.split_at(value.find('\n').unwrap_or(value.len()));
    let mark = if is_read { format!("   {READ_FROM_ROWS}") } else { String::new() };
    let _ = writeln!(out, "{name:<width$} = {first}{mark}{rest}");
}

/// A number, without a point where it is whole.
fn number(x: f64) -> String {
    if x.fract() == 0.0 && x.abs() < 1e15 { format!("{x:.0}") } else { Value::Float(x).to_string() }
}

fn bound(bound: &Bound) -> String {
    match bound {
        Bound::Integer(n) => n.to_string(),
        Bound::Real(x) => Value::Float(*x).to_string(),
        Bound::Moment(moment) => text(moment),
    }
}

impl Reading {
    /// How a file is read, on one line; nothing where nothing is said.
    pub fn to_toml(&self) -> Option<String> {
        let Self { separator, decimal, thousands, encoding, sheet, from } = self;
        let mark = |mark: &Option<char>| mark.map(|mark| text(&mark.to_string()));
        let fields = [
            ("separator", mark(separator)),
            ("decimal", mark(decimal)),
            ("thousands", mark(thousands)),
            ("encoding", encoding.as_deref().map(text)),
            ("sheet", sheet.as_deref().map(text)),
            ("from", from.map(|from| text(from.name()))),
        ];
        let said = fields.into_iter().filter_map(|(name, value)| Some(format!("{name} = {}", value?)));
        let said = said.collect::<Vec<_>>().join(", ");
        (!said.is_empty()).then(|| format!("{{ {said} }}"))
    }
}

fn parents(parents: &Parents) -> String {
    match parents {
        Parents::File(name) => text(name),
        Parents::Of(parents) => {
            let pairs: Vec<String> =
                parents.iter().map(|(code, parent)| format!("{} = {}", text(code), text(parent))).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
    }
}

/// A basic string on one line.
pub(super) fn text(value: &str) -> String {
    let mut out = String::from("\"");
    for c in value.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

pub(super) fn list(values: &[String]) -> String {
    let items: Vec<String> = values.iter().map(|v| text(v)).collect();
    let line = format!("[{}]", items.join(", "));
    if line.len() + FIELD + 3 <= WIDTH {
        return line;
    }
    let mut out = String::from("[");
    let mut room = 0;
    for item in &items {
        let needed = item.len() + 2;
        if needed > room {
            out.truncate(out.trim_end().len());
            out.push_str("\n    ");
            room = WIDTH - 4;
        }
        room = room.saturating_sub(needed);
        let _ = write!(out, "{item}, ");
    }
    out.truncate(out.trim_end().len());
    out.push_str("\n]");
    out
}

/// The targets and analyses, a table each.
fn analyses(schema: &Schema) -> String {
    #[derive(Serialize)]
    struct Tables<'a> {
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        target: &'a [Target],
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        survival: &'a [Survival],
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        regression: &'a [Regression],
    }
    let tables = Tables { target: &schema.targets, survival: &schema.survival, regression: &schema.regressions };
    match toml::to_string(&tables) {
        Ok(tables) if !tables.is_empty() => format!("\n{tables}"),
        _ => String::new(),
    }
}

/// The rules, a table each.
fn rules(constraints: &[Constraint], are_read: bool) -> String {
    #[derive(Serialize)]
    struct Tables<'a> {
        constraint: &'a [Constraint],
    }
    match toml::to_string(&Tables { constraint: constraints }) {
        Ok(tables) if !constraints.is_empty() => format!("\n{}", marked_rules(&tables, "[[constraint]]", are_read)),
        _ => String::new(),
    }
}

/// The text of rules, in which those that were seen to hold in the rows say so.
pub(super) fn marked_rules(rules: &str, head: &str, are_read: bool) -> String {
    match are_read {
        true => rules.replace(&format!("{head}\n"), &format!("{head}   {READ_FROM_ROWS}\n")),
        false => rules.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::target::Task;
    use super::super::{
        ArrowType, CodeSystem, ConstraintFrom, DomainFrom, Kind, MapValue, Resolution, Rule, TableSpec,
    };
    use super::*;

    fn table() -> TableSpec {
        TableSpec {
            name: "stays".into(),
            source: Some("0123456789abcdef".into()),
            privacy_unit: Some("patient".into()),
            max_rows_per_unit: Some(3),
            order: None,
            missing: vec!["?".into(), String::new()],
            reading: Reading {
                separator: Some('\t'),
                decimal: Some(','),
                thousands: None,
                encoding: Some("latin1".into()),
                sheet: None,
                from: Some(ConstraintFrom::Data),
            },
            units: Some(40),
            at_least_units: None,
            epsilon_cap: Some(2.5),
            assumed_public: true,
        }
    }

    fn example() -> Schema {
        let sex = Column {
            categories: vec!["F".into(), "M \"x\"\n\\".into(), "None".into()],
            other: Some("None".into()),
            arrow_type: Some(ArrowType::UTF8),
            domain_from: Some(DomainFrom::Public),
            nullable: false,
            ..Column::new("sex", Kind::Categorical)
        };
        let cost = Column {
            min: Some(Bound::Real(-0.5)),
            max: Some(Bound::Real(2e6)),
            decimals: Some(2),
            suffix: Some("%".into()),
            limits: true,
            arrow_type: Some("decimal128(10, 2)".parse().unwrap()),
            domain_from: Some(DomainFrom::Data),
            kind_from: Some(ConstraintFrom::Public),
            ..Column::new("cost", Kind::Real)
        };
        let start = Column {
            min: Some(Bound::Moment("1999-01-01".into())),
            max: Some(Bound::Moment("2008-12-31".into())),
            format: Some("%d.%m.%Y".into()),
            resolution: Some(Resolution::Day),
            arrow_type: Some(ArrowType::DATE32),
            ..Column::new("start", Kind::Datetime)
        };
        let code = Column {
            system: Some(CodeSystem::Icd9cm),
            categories: (0..200).map(|n| format!("{n}.1")).collect(),
            parents: Some(Parents::Of([("1.1".into(), "\"one\"".into()), ("2.1".into(), "1.1".into())].into())),
            ..Column::new("diag", Kind::Code)
        };
        let age = Column {
            min: Some(Bound::Integer(0)),
            max: Some(Bound::Integer(120)),
            ..Column::new("age", Kind::Integer)
        };
        let note = Column { drop: true, ..Column::new("note", Kind::Identifier) };
        let columns = vec![
            Column::new("patient", Kind::Identifier),
            sex,
            cost,
            start,
            code,
            age,
            note,
            Column::new("dead", Kind::Boolean),
        ];
        let target = Target {
            name: "death".into(),
            column: "dead".into(),
            task: Task::Binary,
            positive: vec!["true".into()],
            exclude: vec!["cost".into()],
            groups: vec!["sex".into()],
        };
        let survival = Survival {
            name: "life".into(),
            time: "age".into(),
            event: "dead".into(),
            event_is: vec!["true".into()],
            by: Some("sex".into()),
        };
        let regression = Regression {
            name: "costs".into(),
            outcome: "cost".into(),
            task: Task::Regression,
            positive: vec![],
            covariates: vec!["age".into(), "sex".into()],
        };
        let stay = Constraint {
            name: Some("age by sex".into()),
            from: ConstraintFrom::Data,
            rule: Rule::Dependency {
                of: "age".into(),
                on: "sex".into(),
                map: [("F".into(), MapValue::Integer(3)), ("None".into(), MapValue::Integer(4))].into(),
                missing_together: false,
            },
        };
        let cheap = Constraint::new(Rule::Forbidden { never: "cost < 0.5 or sex = 'None'".into() });
        Schema {
            table: table(),
            columns,
            targets: vec![target],
            survival: vec![survival],
            regressions: vec![regression],
            constraints: vec![stay, cheap],
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let schema = example();
        let notes = Notes {
            table: vec!["two\nlines".into()],
            columns: vec![vec![], vec!["odd \u{7} one".into()]],
            ..Notes::default()
        };
        let text = schema.to_toml_with(&notes);
        assert_eq!(Schema::from_toml(&text).unwrap(), schema, "{text}");
        assert!(
            text.contains("# two\n# lines\n") && text.contains("[[column]]\n# odd  one\nname        = \"sex\"\n"),
            "{text}"
        );
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
    }

    #[test]
    fn a_draft_says_beside_each_field_what_was_read_from_the_rows() {
        let schema = example();
        {
            let read = Read::All;
            let text = schema.to_toml_with(&Notes { read, ..Notes::default() });
            assert_eq!(Schema::from_toml(&text).unwrap(), schema, "{text}");
            let is_marked = |start: &str| {
                let mut lines = text.lines().filter(|line| line.starts_with(start)).peekable();
                assert!(lines.peek().is_some(), "{start}");
                lines.all(|line| line.ends_with("   # read from rows"))
            };
            for field in [
                "reading ",
                "limits ",
                "kind   ",
                "type ",
                "min ",
                "categories ",
                "nullable ",
                "drop ",
                "units ",
                "[[constraint]]",
            ] {
                assert!(is_marked(field), "{field}: {text}");
            }
            assert!(["name ", "domain_from ", "kind_from ", "privacy_unit ", "missing "].iter().all(|f| !is_marked(f)));
        }
    }

    #[test]
    fn json_carries_the_same_schema() {
        let schema = example();
        let json = serde_json::to_string(&schema).unwrap();
        assert_eq!(serde_json::from_str::<Schema>(&json).unwrap(), schema);
    }
}
