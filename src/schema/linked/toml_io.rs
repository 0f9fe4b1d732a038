//! Reading and writing the schema of linked tables.

use super::LinkedSchema;
use crate::error::{Error, Result};
use crate::schema::{Schema, parse_toml};
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::path::Path;

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

impl LinkedSchema {
    /// Reads and checks a schema file.
    ///
    /// # Errors
    /// Bad input when the file cannot be read, is not such TOML, or fails [`LinkedSchema::check`].
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path)
            .map_err(|e| Error::bad_input(format!("the schema cannot be read ({})", e.kind())).file(path))?;
        Self::from_toml(&text).map_err(|e| e.file(path))
    }

    /// Parses and checks the text of a schema.
    ///
    /// # Errors
    /// As [`LinkedSchema::read`], without the file name.
    pub fn from_toml(text: &str) -> Result<Self> {
        let schema: Self = parse_toml(text)?;
        schema.check()?;
        Ok(schema)
    }

    /// The schema as a TOML file. [`LinkedSchema::from_toml`] reads it back to an equal value.
    ///
    /// # Errors
    /// The values cannot be written as TOML.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|e| Error::failed(e.to_string()))
    }
}
