//! What a run is taken to need, and how two measurements tell it.

use crate::config::InputConfig;
use crate::error::{Error, Result, why};
use schemars::JsonSchema;
use serde::Serialize;
use std::path::Path;
use tempfile::TempDir;

/// Who is held out of a fit.
#[derive(Clone, Copy, Debug)]
pub enum HeldOut<'a> {
    /// The people of this table or folder.
    Others(&'a Path),
    /// A part of the people of the table itself.
    Share(f64),
}

impl<'a> HeldOut<'a> {
    pub fn of(input: &InputConfig, holdout: Option<&'a Path>) -> Self {
        holdout.map_or(Self::Share(input.share()), Self::Others)
    }

    pub fn others(self) -> Option<&'a Path> {
        match self {
            Self::Others(path) => Some(path),
            Self::Share(_) => None,
        }
    }

    /// Of so many, those who are fitted and those who are held out; `others` is how many the other table has.
    pub fn divide(self, all: f64, others: Option<f64>) -> (f64, f64) {
        match self {
            Self::Others(_) => (all, others.unwrap_or(0.0)),
            Self::Share(share) => ((1.0 - share) * all, share * all),
        }
    }
}

/// What a run is taken to need.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Estimate {
    /// Rows of the table, of a folder those of all its tables of persons, as far as they can be known without reading them.
    pub rows: u64,
    /// Rows of the holdout, likewise.
    pub holdout_rows: u64,
    pub stages: Vec<Stage>,
    /// Sum of the stages.
    pub seconds: f64,
    /// Largest memory, in megabytes; absent where the system does not say what is used.
    pub memory_mb: Option<f64>,
}

/// A part of a run.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Stage {
    pub name: &'static str,
    pub seconds: f64,
}

/// The straight line through two measurements, at `x`; never below the larger of them.
pub fn line(x: f64, x0: f64, y0: f64, x1: f64, y1: f64) -> f64 {
    let slope = if x1 > x0 { ((y1 - y0) / (x1 - x0)).max(0.0) } else { 0.0 };
    y0.max(y1) + slope * (x - x1).max(0.0)
}

/// The parabola through nothing and two measurements, at `x`: of work in which rows are held against rows. It never bends down.
pub fn parabola(x: f64, x0: f64, y0: f64, x1: f64, y1: f64) -> f64 {
    let each = y1 / x1;
    let bend = if x1 > x0 { ((each - y0 / x0) / (x1 - x0)).clamp(0.0, each / x1) } else { 0.0 };
    x * (each + bend * (x - x1))
}

/// A folder for invented tables, which goes with them.
///
/// # Errors
/// It cannot be made.
pub fn temporary_folder() -> Result<TempDir> {
    tempfile::tempdir().map_err(|e| Error::failed(format!("no temporary folder ({})", why(e.kind()))))
}

/// Forgets the largest memory so far, where the system can.
pub fn reset_peak() {
    // Without it the largest memory is that of the whole process, which is what a run has to have, too.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// The largest resident memory, in megabytes.
pub fn peak_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_with_the_square_is_told_from_two_measurements() {
        let at = |x: f64| 3.0 * x + 0.5 * x * x;
        let close = |a: f64, b: f64| (a - b).abs() < 1e-9 * b;
        assert!(close(parabola(100.0, 2.0, at(2.0), 6.0, at(6.0)), at(100.0)));
        assert!(close(parabola(50.0, 2.0, 5.0, 4.0, 8.0), 100.0), "what grows slower is taken to grow as the rows do");
        assert!(close(parabola(50.0, 2.0, 1.0, 4.0, 16.0), 2500.0), "or at most as their square");
        assert!(close(parabola(6.0, 6.0, 7.0, 6.0, 7.0), 7.0), "one measurement of the whole is the whole");
    }
}
