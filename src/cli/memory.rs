//! `--memory-limit`: how much memory a fit may take.

use crate::error::{Error, Result};
use crate::train::TABLE_MEMORY;

/// What a fit takes beside its table: the program, the part of a file that is being read, marginals, a network.
const BESIDE_TABLE: u64 = 256 << 20;

/// How much memory a command may take.
#[derive(clap::Args)]
pub struct MemoryLimit {
    /// The most memory to take, such as 500MB or 2GB: more of the table is put into a temporary file, encrypted; `plan` says
    /// whether a run stays below it
    #[arg(long, value_name = "SIZE", value_parser = parse)]
    memory_limit: Option<u64>,
}

impl MemoryLimit {
    /// Bytes of a table that a fit may keep in memory.
    ///
    /// # Errors
    /// Usage: too little for a fit of any table.
    pub fn of_table(&self) -> Result<u64> {
        match self.memory_limit {
            None => Ok(TABLE_MEMORY),
            Some(limit) if limit < BESIDE_TABLE => {
                Err(Error::usage(format!("the memory limit of {} MB is too low for any fit", megabytes(limit)))
                    .expected(format!("at least {} MB", megabytes(BESIDE_TABLE)))
                    .remedy("allow more memory; what is left of it is for the table, the rest of which goes to disk"))
            }
            Some(limit) => Ok(limit - BESIDE_TABLE),
        }
    }

    /// Refuses a need, in megabytes, that is above the limit.
    ///
    /// # Errors
    /// Bad input: the need is above the limit.
    pub fn allows(&self, need: Option<f64>) -> Result<()> {
        match (self.memory_limit, need) {
            (Some(limit), Some(need)) if need > megabytes(limit) as f64 => Err(Error::bad_input(format!(
                "the run needs about {need:.0} MB of memory"
            ))
            .expected(format!("at most {} MB, by --memory-limit", megabytes(limit)))
            .remedy(
                "allow more memory, or `fit` and `generate` alone, which keep less of the tables in memory than \
                         `evaluate` and `audit`",
            )),
            _ => Ok(()),
        }
    }
}

fn megabytes(bytes: u64) -> u64 {
    bytes >> 20
}

/// Reads a number of bytes, with or without a unit.
fn parse(text: &str) -> std::result::Result<u64, &'static str> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let shift = match unit.trim().to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 10,
        "M" | "MB" | "MIB" => 20,
        "G" | "GB" | "GIB" => 30,
        "T" | "TB" | "TIB" => 40,
        _ => return Err(EXPECTED),
    };
    let number: f64 = text[..text.len() - unit.len()].parse().map_err(|_| EXPECTED)?;
    Ok((number * (1u64 << shift) as f64) as u64)
}

const EXPECTED: &str = "expected a size such as 500MB or 2GB";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        for (text, bytes) in [("1", 1), ("2GB", 2 << 30), ("1.5 g", 3 << 29), ("500mb", 500 << 20), ("64KiB", 64 << 10)]
        {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for text in ["", "GB", "-1GB", "2XB", "1e3MB", "1.2.3", "inf"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_limit_is_for_the_table_and_the_rest() {
        let limit = |memory_limit| MemoryLimit { memory_limit };
        assert_eq!(limit(None).of_table().unwrap(), TABLE_MEMORY);
        assert_eq!(limit(Some(1 << 30)).of_table().unwrap(), 768 << 20);
        assert_eq!(limit(Some(1 << 20)).of_table().unwrap_err().kind.exit_code(), 2);
        assert!(limit(Some(1 << 30)).allows(Some(1023.0)).is_ok() && limit(Some(1 << 30)).allows(None).is_ok());
        assert_eq!(limit(Some(1 << 30)).allows(Some(1025.0)).unwrap_err().kind.exit_code(), 3);
        assert!(limit(None).allows(Some(1e6)).is_ok());
    }
}
