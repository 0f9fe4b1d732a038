//! The inspection as a table for the terminal.

use std::fmt::Write;

use super::{ColumnReport, Distinct, Finding, FindingClass, Inspection};

impl Inspection {
    /// An aligned table: one line per column with its kind, the share of
    /// missing cells, how many values there are, and what is odd about it.
    ///
    /// # Privacy
    /// Outside the guarantee: for the controller only.
    pub fn render(&self) -> String {
        let mut out = format!("{}: {} rows, {} columns\n\n", self.source, thousands(self.rows), self.columns.len());
        out.push_str(&columns(&self.columns));
        if let Some(reading) = self.schema.table.reading.to_toml() {
            let _ = writeln!(out, "\nreading: {reading}");
        }
        let _ = match (&self.schema.table.privacy_unit, self.unit_candidates.as_slice()) {
            (Some(unit), _) => writeln!(out, "\nprivacy unit: {unit}"),
            (None, []) => writeln!(
                out,
                "\nprivacy unit: not set; no column looks like a patient's number (--unit COLUMN, or --unit row)"
            ),
            (None, candidates) => {
                let names: Vec<&str> = candidates.iter().take(3).map(|c| c.column.as_str()).collect();
                writeln!(
                    out,
                    "\nprivacy unit: not set; candidates: {} (--unit COLUMN, or --unit row)",
                    names.join(", ")
                )
            }
        };
        let rules = &self.schema.constraints;
        if !rules.is_empty() {
            let _ = writeln!(
                out,
                "\nsuggested, each for somebody to vouch for or to remove ([[constraint]] in the schema):"
            );
            rules.iter().for_each(|rule| _ = writeln!(out, "  {}: {}", rule.rule.kind(), rule.title()));
        }
        out
    }
}

/// A line a column.
pub(super) fn columns(reports: &[ColumnReport]) -> String {
    let header = ["column", "kind", "missing", "values", "note"].map(str::to_owned);
    let lines: Vec<[String; 5]> = std::iter::once(header).chain(reports.iter().map(cells)).collect();
    let width = |i: usize| lines.iter().map(|line| line[i].chars().count()).max().unwrap_or(0);
    let [name, kind, missing, values] = [width(0), width(1), width(2), width(3)];
    let mut out = String::new();
    for [a, b, c, d, e] in &lines {
        let line = format!("{a:<name$}  {b:<kind$}  {c:>missing$}  {d:<values$}  {e}");
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out
}

fn cells(column: &ColumnReport) -> [String; 5] {
    let kind = if column.dropped { "dropped".to_owned() } else { column.kind.name().to_owned() };
    let missing = match column.missing_share {
        0.0 => "-".to_owned(),
        share if share < 0.0005 => "<0.1 %".to_owned(),
        share => format!("{:.1} %", 100.0 * share),
    };
    let notes: Vec<&str> = column.findings.iter().map(Finding::short).collect();
    [column.name.clone(), kind, missing, column.distinct.short().to_owned(), notes.join(", ")]
}

impl Distinct {
    fn short(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::One => "1",
            Self::Two => "2",
            Self::Few => "3-20",
            Self::Dozens => "21-100",
            Self::Hundreds => "101-1,000",
            Self::Thousands => "> 1,000",
            Self::NearUnique => "nearly unique",
            Self::Unique => "unique",
        }
    }
}

impl Finding {
    /// A word for the terminal, or the first clause of the note where a word would say too little.
    fn short(&self) -> &str {
        match self.class {
            FindingClass::PrivacyUnit => "privacy unit",
            FindingClass::FreeText => "free text",
            FindingClass::Empty => "empty",
            FindingClass::Constant => "constant",
            FindingClass::UnsupportedType => "unsupported type",
            FindingClass::NumbersAsCodes => "numbers as codes",
            FindingClass::DateAsText => "date as text",
            FindingClass::MissingMarker => "missing marker",
            FindingClass::MissingSuspected => "missing in disguise?",
            FindingClass::ManyCategories => "many categories",
            FindingClass::QuasiIdentifier => "narrows down a person",
            FindingClass::Decimals => "uneven decimals",
            FindingClass::FewValues => "values or numbers?",
            FindingClass::Key => "key",
            FindingClass::Notation => "numbers as text",
            FindingClass::DirectIdentifier | FindingClass::CodeSystem | FindingClass::Follows => {
                self.note.split(". ").next().unwrap_or_default().trim_end_matches('.')
            }
        }
    }
}

/// 101766 as 101,766.
pub(super) fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_have_commas() {
        assert_eq!([0, 999, 1000, 101_766].map(thousands), ["0", "999", "1,000", "101,766"]);
    }
}
