//! One error type for the whole program.
//!
//! An error names the file, the row and the column, says what was expected and
//! how to mend it. It never carries the value of a cell: a patient's value must
//! not reach a terminal or a log. Each kind has its documented exit code.

use schemars::JsonSchema;
use serde::Serialize;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, as far as the caller of the program is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The machine or the program failed: exit code 1.
    Failed,
    /// The command line makes no sense: exit code 2.
    Usage,
    /// A file, a schema or a setting cannot be used: exit code 3.
    BadInput,
    /// The ledger's cap does not allow the spending: exit code 4.
    BudgetRefused,
    /// The audit found a leak: exit code 5.
    LeakFound,
    /// The audit could not have told whether there is a leak: exit code 6.
    Inconclusive,
    /// The self-test found that the program does not do what the claim rests on: exit code 5.
    Fault,
    /// The user stopped a job, which can be gone on with: exit code 130.
    Interrupted,
}

impl ErrorKind {
    /// The process exit code, as the README documents it.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::BadInput => 3,
            Self::BudgetRefused => 4,
            Self::LeakFound | Self::Fault => 5,
            Self::Inconclusive => 6,
            Self::Interrupted => 130,
        }
    }
}

/// Fields instead of prose, so that nothing but these can be printed.
#[derive(Debug)]
pub struct Error {
    pub kind: ErrorKind,
    pub what: String,
    pub file: Option<PathBuf>,
    pub row: Option<u64>,
    pub column: Option<String>,
    pub expected: Option<String>,
    pub remedy: Option<String>,
}

impl Error {
    pub fn new(kind: ErrorKind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), file: None, row: None, column: None, expected: None, remedy: None }
    }

    pub fn failed(what: impl Into<String>) -> Self {
        Self::new(ErrorKind::Failed, what)
    }

    pub fn usage(what: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, what)
    }

    pub fn bad_input(what: impl Into<String>) -> Self {
        Self::new(ErrorKind::BadInput, what)
    }

    #[must_use]
    pub fn file(mut self, path: impl AsRef<Path>) -> Self {
        self.file = Some(path.as_ref().to_path_buf());
        self
    }

    /// Row of data, counted from 1 (the header is not counted).
    #[must_use]
    pub fn row(mut self, row: u64) -> Self {
        self.row = Some(row);
        self
    }

    #[must_use]
    pub fn column(mut self, name: impl Into<String>) -> Self {
        self.column = Some(name.into());
        self
    }

    #[must_use]
    pub fn expected(mut self, what: impl Into<String>) -> Self {
        self.expected = Some(what.into());
        self
    }

    #[must_use]
    pub fn remedy(mut self, what: impl Into<String>) -> Self {
        self.remedy = Some(what.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}: ", file.display())?;
        }
        if let Some(row) = self.row {
            write!(f, "row {row}: ")?;
        }
        if let Some(column) = &self.column {
            write!(f, "column `{column}`: ")?;
        }
        f.write_str(&self.what)?;
        if let Some(expected) = &self.expected {
            write!(f, "; expected {expected}")?;
        }
        if let Some(remedy) = &self.remedy {
            write!(f, "\n  remedy: {remedy}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// Why the system refused, in words.
pub fn why(kind: io::ErrorKind) -> String {
    let words = match kind {
        io::ErrorKind::NotFound => "there is no such file or folder",
        io::ErrorKind::PermissionDenied => "permission is denied",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "the disk is full",
        io::ErrorKind::ReadOnlyFilesystem => "the disk is read-only",
        io::ErrorKind::IsADirectory => "it is a folder",
        io::ErrorKind::NotADirectory => "a part of its path is no folder",
        io::ErrorKind::InvalidData => "it is not UTF-8 text",
        kind => return kind.to_string(),
    };
    words.into()
}

impl From<synthward_privacy::Error> for Error {
    fn from(e: synthward_privacy::Error) -> Self {
        use synthward_privacy::Error as Core;
        match e {
            Core::Parameter { .. } | Core::Accounting(_) | Core::Ledger { .. } => Self::bad_input(e.to_string()),
            Core::NotPlanned { .. }
            | Core::StepsSpent { .. }
            | Core::NoRandomness
            | Core::Sampler
            | Core::NotCertified { .. } => Self::failed(e.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_names_place_expectation_and_remedy() {
        let e = Error::bad_input("not a whole number")
            .file("t.csv")
            .row(7)
            .column("age")
            .expected("an integer")
            .remedy("mend it");
        assert_eq!(
            e.to_string(),
            "t.csv: row 7: column `age`: not a whole number; expected an integer\n  remedy: mend it"
        );
        assert_eq!(e.kind.exit_code(), 3);
    }
}
