//! Reading a schema; errors point at the line and the column of the file.

use std::fs;
use std::ops::Range;
use std::path::Path;

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use toml::Spanned;

use super::Schema;
use super::analysis::Place;
use crate::error::{Error, Result};

impl Schema {
    /// Reads and checks a schema file.
    ///
    /// # Errors
    /// Bad input when the file cannot be read, is not TOML, has a field that
    /// no schema has, or fails [`Schema::check`]; with the place in the file. So with a file of parents that it names.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = fs::read_to_string(path).map_err(|e| {
            let why = match e.kind() {
                std::io::ErrorKind::NotFound => "there is no such file",
                std::io::ErrorKind::InvalidData => "the file is not UTF-8 text",
                std::io::ErrorKind::IsADirectory => "this is a directory, not a file",
                _ => "the file cannot be read",
            };
            Error::bad_input(why)
                .file(path)
                .remedy("give the path of a schema; `synthward inspect TABLE -o schema.toml` drafts one")
        })?;
        let read = Self::in_folder(&text, path.parent().unwrap_or(Path::new("")));
        read.map_err(|e| if e.file.is_none() { e.file(path) } else { e })
    }

    /// Parses and checks the text of a schema. Files that it names are relative to the working folder.
    ///
    /// # Errors
    /// As [`Schema::read`], without the file name.
    pub fn from_toml(text: &str) -> Result<Self> {
        Self::in_folder(text, Path::new(""))
    }

    /// The same with files relative to this folder.
    fn in_folder(text: &str, folder: &Path) -> Result<Self> {
        let mut schema: Self = parse_toml(text)?;
        schema.columns.iter_mut().try_for_each(|column| column.read_parents(folder))?;
        schema.check().map_err(|mut e| {
            e.what = format!("{}{}", place(text, schema.span_of(&e, text)), e.what);
            e
        })?;
        Ok(schema)
    }

    /// Where what a failed check means stands in the text: the last `[[column]]` of the error's name, or the first
    /// target, analysis or constraint that is not possible.
    fn span_of(&self, error: &Error, text: &str) -> Option<Range<usize>> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Spans {
            column: Vec<Spanned<IgnoredAny>>,
            target: Vec<Spanned<IgnoredAny>>,
            survival: Vec<Spanned<IgnoredAny>>,
            regression: Vec<Spanned<IgnoredAny>>,
            constraint: Vec<Spanned<IgnoredAny>>,
        }
        let spans: Spans = toml::from_str(text).ok()?;
        let found = match &error.column {
            Some(name) => spans.column.get(self.columns.iter().rposition(|c| c.name == *name)?),
            None if self.check_columns().is_err() => None,
            None => match self.checked_analyses().find(|(_, result)| result.is_err())?.0 {
                Place::Target(index) => spans.target.get(index),
                Place::Survival(index) => spans.survival.get(index),
                Place::Regression(index) => spans.regression.get(index),
                Place::Constraint(index) => spans.constraint.get(index),
            },
        };
        found.map(Spanned::span)
    }
}

/// Parses TOML; an error says the line and the column.
pub(crate) fn parse_toml<T: DeserializeOwned>(text: &str) -> Result<T> {
    toml::from_str(text).map_err(|e| {
        let what = format!("{}{}", place(text, e.span()), without_value(e.message().trim()));
        Error::bad_input(what).remedy("mend the file at this place")
    })
}

/// A message of the parser less the value that it quotes: bounds and categories of a draft were read from rows.
fn without_value(message: &str) -> String {
    for (kind, what) in [("invalid type: ", "wrong type"), ("invalid value: ", "wrong value")] {
        if message.starts_with(kind) {
            return match message.rsplit_once(", expected ") {
                Some((_, expected)) => format!("{what}, expected {}", plain(expected)),
                None => what.into(),
            };
        }
    }
    if message.starts_with("data did not match any variant") {
        return "wrong value".into();
    }
    if let Some(rest) = message.strip_prefix("unknown variant `") {
        return match rest.rsplit_once("`, expected ") {
            Some((_, expected)) => format!("unknown word, expected {expected}"),
            None => "unknown word".into(),
        };
    }
    message.into()
}

/// What the parser expected, in words that name no type of this program.
fn plain(expected: &str) -> &str {
    match expected {
        "f64" | "f32" | "a float" => "a number",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number that is not negative",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "a sequence" | "sequence" => "a list in brackets",
        "a map" | "map" => "keys with their values",
        "string" | "path string" => "a text in quotes",
        "string or table" => "a word in quotes",
        words if words.starts_with("struct ") => "keys with their values",
        words if words.contains("enum ") => "another value",
        words => words,
    }
}

/// "line 3, column 5: ", both counted from 1.
fn place(text: &str, span: Option<Range<usize>>) -> String {
    let Some(before) = span.and_then(|s| text.get(..s.start)) else { return String::new() };
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    format!("line {line}, column {column}: ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        Schema::from_toml(text).unwrap_err().to_string()
    }

    /// Not `f64`, `struct TableSpec` or an enum's name.
    #[test]
    fn errors_name_no_types_of_the_program() {
        let of_column = |field: &str| {
            error(&format!("[table]\nname = \"t\"\n[[column]]\nname = \"a\"\nkind = \"integer\"\n{field}\n"))
        };
        for (message, words) in [
            (error("table = 3\n"), "wrong type, expected keys with their values"),
            (error("[table]\nname = \"t\"\nunits = -4\n"), "wrong value, expected a whole number that is not negative"),
            (error("[table]\nname = \"t\"\nepsilon_cap = true\n"), "wrong type, expected a number"),
            (error("[table]\nname = \"t\"\nmissing = 3\n"), "wrong type, expected a list in brackets"),
            (of_column("decimals = 2.5"), "expected a whole number that is not negative"),
            (of_column("categories = 1"), "expected a list in brackets"),
            (of_column("min = []"), "expected a number"),
        ] {
            assert!(message.contains(words), "{message}");
            for word in ["f64", "u32", "u64", "struct", "enum", "sequence", "variant", "map"] {
                assert!(!message.contains(word), "{word}: {message}");
            }
        }
    }

    #[test]
    fn errors_point_at_the_line_and_the_column() {
        assert!(error("[table]\nname = \"t\"\nrows = 4\n").starts_with("line 3, column 1: unknown field `rows`"));
        assert!(
            error("[table]\nname = \"t\"\n[[column]]\nname = \"a\"\nkind = \"number\"\n")
                .starts_with("line 5, column 8: unknown word, expected one of ")
        );
        assert!(error("[table\n").starts_with("line 1, column 7: "));
        assert!(
            error("[table]\nname = \"t\"\n[[column]]\nname = \"a\"\nkind = \"real\"\nmin = true\n")
                .contains("expected a number")
        );
        let type_error = error("[table]\nname = \"t\"\n[[column]]\nname = \"a\"\nkind = \"real\"\ntype = \"list\"\n");
        assert!(type_error.starts_with("line 6, column 8: the Arrow type list is not supported"), "{type_error}");
    }

    #[test]
    fn errors_do_not_quote_values() {
        let column = |line: &str| format!("[table]\nname = \"t\"\n[[column]]\nname = \"a\"\nkind = \"real\"\n{line}\n");
        for line in [
            "min = [\"zq-secret\"]",
            "decimals = \"zq-secret, expected `, \"",
            "decimals = -77417741",
            "decimals = 77417741",
            "categories = [77417741]",
            "categories = \"zq-secret\"",
            "nullable = \"zq-secret\"",
            "domain_from = \"zq-secret\"",
            "categories = [\"zq-secret",
            "categories = [\"zq-\\qsecret\"]",
            "zq = 1\nzq = \"zq-secret\"",
            "min = 7741-77-41",
        ] {
            let message = error(&column(line));
            assert!(message.starts_with("line ") || message.contains("column `a`"), "{message}");
            for secret in ["secret", "7741"] {
                assert!(!message.contains(secret), "{line}: {message}");
            }
        }
    }

    #[test]
    fn failed_checks_point_at_the_column_they_mean() {
        let text = "[table]\nname = \"t\"\n\n[[column]]\nname = \"a\"\nkind = \"integer\"\n\n[[column]]\nname = \"b\"\nkind = \"integer\"\nmin = 3\nmax = 1\n";
        let message = error(text);
        assert!(message.starts_with("column `b`: line 8, column 1: "), "{message}");
        let declared =
            |table: &str| format!("[table]\nname = \"t\"\n\n[[column]]\nname = \"a\"\nkind = \"boolean\"\n\n{table}");
        for (table, at) in [
            ("[[target]]\nname = \"x\"\ncolumn = \"b\"\ntask = \"binary\"\n", "target `x`: "),
            ("[[survival]]\nname = \"x\"\ntime = \"b\"\nevent = \"a\"\nevent_is = [\"true\"]\n", "survival `x`: "),
            (
                "[[regression]]\nname = \"x\"\noutcome = \"b\"\ntask = \"binary\"\ncovariates = [\"a\"]\n",
                "regression `x`: ",
            ),
        ] {
            let message = error(&declared(table));
            assert!(message.starts_with(&format!("line 8, column 1: {at}`b` is not a modelled column")), "{message}");
        }
    }

    #[test]
    fn unreadable_files_are_bad_input() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().join("absent.toml"), folder.path().to_path_buf()] {
            let e = Schema::read(&path).unwrap_err();
            assert_eq!(e.kind.exit_code(), 3);
            assert_eq!(e.file.as_deref(), Some(path.as_path()));
        }
    }

    #[test]
    fn each_malformed_schema_is_refused_where_it_is_wrong() {
        let read =
            |name: &str| Schema::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/malformed").join(name));
        assert!(read("good.toml").unwrap().check_for_fit().is_ok());
        for (name, what) in [
            ("unknown_field.toml", "line 31, column 1: unknown field `decimal`"),
            ("not_toml.toml", "line 4, column 16: "),
            ("min_above_max.toml", "line 12, column 1: min is above max"),
        ] {
            let e = read(name).unwrap_err();
            assert!(e.what.starts_with(what) && e.kind.exit_code() == 3, "{name}: {e}");
        }
        for (name, what) in [("domain_from_data.toml", "read from the rows"), ("no_privacy_unit.toml", "whose privacy")]
        {
            let e = read(name).unwrap().check_for_fit().unwrap_err();
            assert!(e.what.contains(what) && e.remedy.is_some(), "{name}: {e}");
        }
    }
}
