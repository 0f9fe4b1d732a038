//! `docs/keys.md` has every key of schemas and run files, as the types say them: `UPDATE_SCHEMAS=1 cargo test keys` writes it
//! anew. Its examples stand in `fixtures/keys`, which the program reads.

use schemars::{Schema, schema_for};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use synthward::config::RunConfig;
use synthward::schema::{AnySchema, LinkedSchema};

const HEAD: &str = "\
# Every key

What may stand in a schema (`schema.toml`), in the schema of a folder of linked tables and in a run file (`run.toml`). This
page is made from the types that read them, with the examples of `fixtures/keys`; `inspect` drafts a schema with most of it.
";

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/keys").join(name)
}

/// A file of keys: what the page calls it, its types, its example, and what its tables are called there.
struct File {
    title: &'static str,
    schema: Value,
    example: toml::Table,
}

impl File {
    /// With the keys that another example has and this one cannot have.
    fn with(mut self, name: &str) -> Self {
        let other: toml::Table = std::fs::read_to_string(fixture(name)).unwrap().parse().unwrap();
        for (table, keys) in other {
            let own = self.example[&table].as_table_mut().unwrap();
            keys.as_table().unwrap().iter().for_each(|(key, value)| {
                own.entry(key.clone()).or_insert(value.clone());
            });
        }
        self
    }

    fn new(title: &'static str, schema: Schema, example: &str) -> Self {
        let example = std::fs::read_to_string(fixture(example)).unwrap().parse().unwrap();
        Self { title, schema: serde_json::to_value(schema).unwrap(), example }
    }

    /// What a field refers to, if anything.
    fn referred<'s>(&'s self, field: &'s Value) -> Option<&'s Value> {
        let of_null = field["anyOf"].as_array().and_then(|any| any.iter().find(|one| one["$ref"].is_string()));
        let name =
            [field, &field["items"], of_null.unwrap_or(&Value::Null)].into_iter().find_map(|v| v["$ref"].as_str())?;
        self.schema["$defs"].get(name.rsplit('/').next()?)
    }

    /// The tables of keys, each with its heading, its type and its examples.
    fn tables(&self) -> Vec<(String, &Value, Vec<&toml::Table>)> {
        let mut tables = Vec::new();
        let root = vec![&self.example];
        self.gather("", &self.schema, &root, &mut tables);
        tables
    }

    fn gather<'s>(
        &'s self,
        path: &str,
        of: &'s Value,
        examples: &[&'s toml::Table],
        into: &mut Vec<(String, &'s Value, Vec<&'s toml::Table>)>,
    ) {
        for (name, field) in of["properties"].as_object().unwrap() {
            let Some(table) = self.referred(field).filter(|table| table["properties"].is_object()) else { continue };
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            let heading = if field["type"] == "array" { format!("[[{path}]]") } else { format!("[{path}]") };
            let within = |example: &&'s toml::Table| match example.get(name) {
                Some(toml::Value::Array(tables)) => tables.iter().filter_map(toml::Value::as_table).collect(),
                Some(toml::Value::Table(table)) => vec![table],
                _ => Vec::new(),
            };
            let within: Vec<&toml::Table> = examples.iter().flat_map(within).collect();
            into.push((heading, table, within.clone()));
            self.gather(&path, table, &within, into);
        }
    }

    /// What a value may be.
    fn values(&self, field: &Value) -> String {
        let kind = |value: &Value| match value.as_str() {
            Some("integer") => "whole number",
            Some("number") => "number",
            Some("boolean") => "true or false",
            Some("array") => "list of texts",
            Some("object") => "keys with texts",
            _ => "text",
        };
        let of = self.referred(field).unwrap_or(field);
        if let Some(words) = of["oneOf"].as_array() {
            let words: Vec<String> =
                words.iter().map(|word| format!("`{}`", word["const"].as_str().unwrap())).collect();
            return words.join(", ");
        }
        if let Some(words) = of["enum"].as_array() {
            let words: Vec<String> = words.iter().map(|word| format!("`{}`", word.as_str().unwrap())).collect();
            return words.join(", ");
        }
        let kinds: BTreeSet<&str> = match (of["anyOf"].as_array(), of["type"].as_array()) {
            (Some(any), _) => any.iter().map(|one| kind(&one["type"])).collect(),
            (None, Some(types)) => types.iter().filter(|kind| *kind != "null").map(kind).collect(),
            (None, None) => [kind(&of["type"])].into(),
        };
        kinds.into_iter().collect::<Vec<_>>().join(", ")
    }
}

/// One line, without what a table of Markdown would take for its own.
fn line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

/// The page, and the keys that no example has.
fn page() -> (String, Vec<String>) {
    let files = [
        File::new("The schema of a table", schema_for!(synthward::schema::Schema), "schema.toml"),
        File::new("The schema of a folder", schema_for!(LinkedSchema), "folder.toml"),
        File::new("The run file", schema_for!(RunConfig), "run.toml").with("divided.toml"),
    ];
    let all: Vec<_> = files.iter().flat_map(File::tables).collect();
    let (mut out, mut without) = (HEAD.to_owned(), Vec::new());
    let mut told: BTreeSet<String> = BTreeSet::new();
    for file in &files {
        let _ = write!(out, "\n## {}\n", file.title);
        for (heading, table, examples) in file.tables() {
            let _ = write!(out, "\n### `{heading}`\n\n");
            let keys: Vec<(&String, &Value)> = table["properties"]
                .as_object()
                .unwrap()
                .iter()
                .filter(|(_, field)| file.referred(field).is_none_or(|of| !of["properties"].is_object()))
                .collect();
            // Columns and constraints of a folder's tables are those of a table.
            if !told.insert(serde_json::to_string(&table["properties"]).unwrap()) {
                let _ = writeln!(out, "As above.");
                continue;
            }
            let _ = writeln!(out, "| key | what it says | value | example |\n|---|---|---|---|");
            for (key, field) in keys {
                let needed = table["required"].as_array().is_some_and(|needed| needed.iter().any(|name| name == key));
                let own = field["description"].as_str();
                let says = own.or_else(|| file.referred(field)?["description"].as_str()).unwrap_or_default();
                let needed = if needed { " Needed." } else { "" };
                let default = match &field["default"] {
                    Value::Null => String::new(),
                    default => format!(" Absent: `{default}`."),
                };
                let elsewhere = all.iter().flat_map(|(_, _, examples)| examples);
                let example = examples.iter().chain(elsewhere).find_map(|example| example.get(key));
                if example.is_none() || says.is_empty() {
                    without.push(format!("{heading} {key}"));
                }
                let example = example.map_or_else(String::new, |example| format!("`{key} = {example}`"));
                let (says, values) = (line(&format!("{says}{needed}{default}")), file.values(field));
                let _ = writeln!(out, "| `{key}` | {says} | {values} | {} |", line(&example));
            }
            for (key, field) in table["properties"].as_object().unwrap() {
                let Some(words) = file.referred(field).and_then(|of| of["oneOf"].as_array()) else { continue };
                let word = |word: &Value| {
                    let says = line(word["description"].as_str().unwrap_or_default());
                    format!("  - `{}`: {says}\n", word["const"].as_str().unwrap())
                };
                let _ = write!(out, "\n- `{key}`\n{}", words.iter().map(word).collect::<String>());
            }
        }
    }
    (out, without)
}

#[test]
fn every_key_has_its_words_and_an_example() {
    for name in ["schema.toml", "folder.toml"] {
        AnySchema::read(fixture(name)).unwrap_or_else(|e| panic!("{e}"));
    }
    for name in ["run.toml", "divided.toml"] {
        RunConfig::read(&fixture(name)).unwrap_or_else(|e| panic!("{e}"));
    }
    let (page, without) = page();
    assert!(without.is_empty(), "keys without words, or without an example in fixtures/keys: {without:?}");
    for word in ["[`", "::"] {
        assert!(!page.contains(word), "a name of the program's own in the page: {word}");
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/keys.md");
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == page, "docs/keys.md is not what the types say: run UPDATE_SCHEMAS=1 cargo test keys");
}
