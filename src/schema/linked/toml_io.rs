//! Reading and writing the schema of linked tables.

use super::{LinkedSchema, LinkedTable, Policy, Since};
use crate::error::{Error, Result, why};
use crate::schema::toml_out::{HEADER, comments, field, list, marked, marked_rules, text, write_column};
use crate::schema::{Constraint, Notes, Schema, parse_toml};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Width of the longest field name of `[linked]`, `assumed_public`.
const LINKED_FIELD: usize = 14;

/// Width of the longest field name of a table, `structure_from`.
const TABLE_FIELD: usize = 14;

/// Under the head of a schema of linked tables.
const LINKED_HEADER: &str = "\
# structure_from = \"public\"  a person vouches for how a table hangs on the others, or that it is left out
# structure_from = \"data\"    nobody does: `fit` refuses it
";

/// A schema of whatever kind.
pub enum AnySchema {
    Table(Box<Schema>),
    Linked(Box<LinkedSchema>),
}

impl AnySchema {
    /// Reads and checks a schema file.
    ///
    /// # Errors
    /// As [`Schema::read`].
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        #[derive(Deserialize)]
        struct Mark {
            linked: Option<IgnoredAny>,
        }
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).unwrap_or_default();
        match toml::from_str::<Mark>(&text).is_ok_and(|mark| mark.linked.is_some()) {
            true => Ok(Self::Linked(Box::new(LinkedSchema::read(path)?))),
            false => Ok(Self::Table(Box::new(Schema::read(path)?))),
        }
    }
}

impl AnySchema {
    /// The schema as it is fitted: a table with an `order` as two that hang together.
    ///
    /// # Errors
    /// As [`Schema::history`].
    pub fn to_fit(self) -> Result<Self> {
        Ok(match self {
            Self::Table(schema) => match schema.history()? {
                Some(linked) => Self::Linked(Box::new(linked)),
                None => Self::Table(schema),
            },
            linked @ Self::Linked(_) => linked,
        })
    }
}

impl LinkedSchema {
    /// Reads and checks a schema file.
    ///
    /// # Errors
    /// Bad input when the file cannot be read, is not such TOML, or fails [`LinkedSchema::check`]; so with a file of parents
    /// that it names.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path)
            .map_err(|e| Error::bad_input(format!("the schema cannot be read ({})", why(e.kind()))).file(path))?;
        let read = Self::in_folder(&text, path.parent().unwrap_or(Path::new("")));
        read.map_err(|e| if e.file.is_none() { e.file(path) } else { e })
    }

    /// Parses and checks the text of a schema. Files that it names are relative to the working folder.
    ///
    /// # Errors
    /// As [`LinkedSchema::read`], without the file name.
    pub fn from_toml(text: &str) -> Result<Self> {
        Self::in_folder(text, Path::new(""))
    }

    /// The same with files relative to this folder.
    fn in_folder(text: &str, folder: &Path) -> Result<Self> {
        let mut schema: Self = parse_toml(text)?;
        let mut columns = schema.tables.iter_mut().flat_map(|table| &mut table.columns);
        columns.try_for_each(|column| column.read_parents(folder))?;
        schema.check()?;
        Ok(schema)
    }

    /// The schema as a TOML file that a person can read and edit.
    /// [`LinkedSchema::from_toml`] reads it back to an equal value.
    pub fn to_toml(&self) -> String {
        self.to_toml_with(&[])
    }

    /// As [`LinkedSchema::to_toml`], with comments: those of the table of the same index, missing entries mean none.
    pub fn to_toml_with(&self, notes: &[Notes]) -> String {
        let mut out = format!("{HEADER}{LINKED_HEADER}");
        out.push_str("\n[linked]\n");
        field(&mut out, LINKED_FIELD, "name", text(&self.linked.name));
        let facts = [
            ("source", self.linked.source.as_deref().map(text)),
            ("units", self.linked.units.map(|units| units.to_string())),
            ("at_least_units", self.linked.at_least_units.map(|units| units.to_string())),
            ("epsilon_cap", self.linked.epsilon_cap.map(|cap| format!("{cap:?}"))),
            ("assumed_public", self.linked.assumed_public.then(|| "true".to_owned())),
        ];
        let is_drafted = notes.iter().any(|notes| notes.read.is_any());
        for (name, value) in facts {
            let is_read = is_drafted && name == "units";
            value.into_iter().for_each(|value| marked(&mut out, LINKED_FIELD, name, value, is_read));
        }
        let none = Notes::default();
        for (index, table) in self.tables.iter().enumerate() {
            write_table(&mut out, table, notes.get(index).unwrap_or(&none));
        }
        out
    }
}

fn write_table(out: &mut String, table: &LinkedTable, notes: &Notes) {
    out.push_str("\n[[table]]\n");
    comments(out, &notes.table);
    let name = |name: &Option<String>| name.as_deref().map(text);
    let drop = |policy: Policy| (policy == Policy::Drop).then(|| text("drop"));
    let is_plain = table.reference && table.missing == crate::schema::empty_text();
    let fields = [
        ("name", Some(text(&table.name))),
        ("drop", table.drop.then(|| "true".to_owned())),
        ("reference", table.reference.then(|| "true".to_owned())),
        ("reference_from", table.reference_from.map(|from| text(from.name()))),
        ("sha256", table.sha256.as_deref().map(text)),
        ("key", name(&table.key)),
        ("parent", name(&table.parent)),
        ("links", (!table.links.is_empty()).then(|| links(&table.links))),
        ("order", name(&table.order)),
        ("since", (table.since == Since::Calendar).then(|| text("calendar"))),
        ("origin", name(&table.origin)),
        ("end", name(&table.end)),
        ("max_rows", table.max_rows.map(|rows| rows.to_string())),
        ("on_dangling", drop(table.on_dangling)),
        ("on_duplicate", drop(table.on_duplicate)),
        ("on_broken", drop(table.on_broken)),
        ("structure_from", table.structure_from.map(|from| text(from.name()))),
        ("missing", (!is_plain).then(|| list(&table.missing))),
        ("reading", table.reading.to_toml()),
    ];
    let is_said = ["name", "reference", "reference_from", "sha256", "structure_from", "missing"];
    for (name, value) in fields {
        let is_read = notes.read.is_any() && !is_said.contains(&name);
        value.into_iter().for_each(|value| marked(out, TABLE_FIELD, name, value, is_read));
    }
    for (index, column) in table.columns.iter().enumerate() {
        out.push_str("\n[[table.column]]\n");
        comments(out, notes.columns.get(index).map_or(&[], Vec::as_slice));
        write_column(out, column, notes.read);
    }
    out.push_str(&rules(&table.constraints, notes.read.is_any()));
}

/// Columns and the tables whose keys they hold, on one line.
fn links(links: &BTreeMap<String, String>) -> String {
    let is_bare = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    let key = |name: &str| if is_bare(name) && !name.is_empty() { name.to_owned() } else { text(name) };
    let links: Vec<String> = links.iter().map(|(name, table)| format!("{} = {}", key(name), text(table))).collect();
    format!("{{ {} }}", links.join(", "))
}

/// The rules of a table, a block each.
fn rules(constraints: &[Constraint], are_read: bool) -> String {
    #[derive(Serialize)]
    struct File<'a> {
        table: [Rules<'a>; 1],
    }
    #[derive(Serialize)]
    struct Rules<'a> {
        constraint: &'a [Constraint],
    }
    let written = toml::to_string(&File { table: [Rules { constraint: constraints }] }).unwrap_or_default();
    let head = "[[table.constraint]]";
    let own = written.find(head).map(|start| format!("\n{}", marked_rules(&written[start..], head, are_read)));
    own.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = r#"
        [linked]
        name = "hospital"
        source = "0123456789abcdef"
        units = 40
        epsilon_cap = 3.0
        assumed_public = true
        [[table]]
        name = "patients"
        key = "Id"
        origin = "born"
        end = "died"
        missing = ["", "?"]
        [[table.column]]
        name = "Id"
        kind = "identifier"
        [[table.column]]
        name = "born"
        kind = "datetime"
        min = "1930-01-01"
        max = "2020-01-01"
        domain_from = "public"
        [[table.column]]
        name = "died"
        kind = "datetime"
        min = "1990-01-01"
        max = "2020-01-01"
        [[table]]
        name = "stays"
        parent = "patients"
        links = { "whose stay" = "patients", ward = "wards" }
        order = "start"
        since = "calendar"
        max_rows = 20
        on_dangling = "drop"
        on_duplicate = "drop"
        on_broken = "drop"
        [[table.column]]
        name = "whose stay"
        kind = "identifier"
        [[table.column]]
        name = "ward"
        kind = "identifier"
        [[table.column]]
        name = "start"
        kind = "datetime"
        min = "2010-01-01"
        max = "2020-01-01"
        [[table.column]]
        name = "code"
        kind = "categorical"
        categories = ["1", "2"]
        [[table.column]]
        name = "text"
        kind = "categorical"
        categories = ["a b", "c"]
        [[table.constraint]]
        kind = "dependency"
        of = "text"
        on = "code"
        from = "data"
        map = { 1 = "a b", 2 = "c" }
        [[table.constraint]]
        kind = "forbidden"
        never = "code = '1' and text = 'c'"
        [[table]]
        name = "wards"
        reference = true
        reference_from = "public"
        sha256 = "00"
        [[table]]
        name = "letters"
        drop = true
        structure_from = "data"
    "#;

    #[test]
    fn what_is_written_is_read_back() {
        let schema = LinkedSchema::from_toml(SCHEMA).unwrap();
        let notes = Notes { table: vec!["a note".into()], columns: vec![vec!["a key".into()]], ..Notes::default() };
        let text = schema.to_toml_with(&[notes]);
        assert_eq!(LinkedSchema::from_toml(&text).unwrap(), schema, "{text}");
        for part in [
            "[[table]]\n# a note\nname           = \"patients\"\n",
            "[[table.column]]\n# a key\nname        = \"Id\"\n",
            "links          = { ward = \"wards\", \"whose stay\" = \"patients\" }\n",
            "[[table.constraint]]\n",
            "name           = \"wards\"\nreference      = true\nreference_from = \"public\"\n",
            "name           = \"letters\"\ndrop           = true\nstructure_from = \"data\"\n",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
