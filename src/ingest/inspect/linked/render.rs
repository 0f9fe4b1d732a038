//! The inspection of a folder as tables for the terminal.

use super::super::render::{columns, thousands};
use super::LinkedInspection;
use std::fmt::Write;

impl LinkedInspection {
    /// A line a table, then a line a column of each table of persons.
    ///
    /// # Privacy
    /// Outside the guarantee: for the controller only.
    pub fn render(&self) -> String {
        let mut out = format!("{}: {} tables\n\n", self.source, self.tables.len());
        let mut lines = vec![["table", "rows", "hangs on", "order", "note"].map(str::to_owned)];
        for (table, report) in self.schema.tables.iter().zip(&self.tables) {
            let hangs_on = match &table.parent {
                _ if table.reference => "- (reference)".to_owned(),
                _ if table.drop => "- (left out)".to_owned(),
                None => "- (root)".to_owned(),
                Some(parent) => parent.clone(),
            };
            let told = [
                (report.dangling, "rows without a parent"),
                (report.duplicates, "rows with a key twice"),
                (report.broken, "lines that are no resource"),
            ];
            let notes: Vec<String> = told
                .into_iter()
                .filter(|(rows, _)| *rows > 0)
                .map(|(rows, what)| format!("{} {what}", thousands(rows)))
                .collect();
            let order = table.order.clone().unwrap_or_else(|| "-".into());
            lines.push([table.name.clone(), thousands(report.rows), hangs_on, order, notes.join(", ")]);
        }
        let width = |i: usize| lines.iter().map(|line| line[i].chars().count()).max().unwrap_or(0);
        let [name, rows, hangs_on, order] = [width(0), width(1), width(2), width(3)];
        for [a, b, c, d, e] in &lines {
            let line = format!("{a:<name$}  {b:>rows$}  {c:<hangs_on$}  {d:<order$}  {e}");
            let _ = writeln!(out, "{}", line.trim_end());
        }
        for file in &self.skipped {
            let _ = writeln!(out, "{file} is left out: it holds no resources of a type that is read");
        }
        for (table, report) in self.schema.tables.iter().zip(&self.tables).filter(|(table, _)| table.is_personal()) {
            let _ = write!(out, "\n{}\n\n{}", table.name, columns(&report.columns));
        }
        let left_out: Vec<&str> = self.schema.tables.iter().filter(|t| t.drop).map(|t| t.name.as_str()).collect();
        if !left_out.is_empty() {
            let _ = writeln!(
                out,
                "\nleft out, since it is not known whose rows these are: {} (say in the schema how they hang on the others, or \
                 --reference TABLE where nothing in one is a person's)",
                left_out.join(", ")
            );
        }
        if let Some(&root) = self.schema.tree().first() {
            let _ =
                writeln!(out, "\nprivacy unit: a row of {} with all that hangs on it", self.schema.tables[root].name);
        }
        out
    }
}
