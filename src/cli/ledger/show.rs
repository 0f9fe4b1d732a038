//! What a ledger says.

use crate::cli::answers::{LedgerAnswer, Spent};
use crate::cli::{Global, print, print_json};
use crate::error::Result;
use synthward_privacy::infinite::OrInfinity;
use synthward_privacy::ledger::{Ledger, Line, Record, Rehearsal};

pub fn show(global: &Global, ledger: &Ledger) -> Result<()> {
    let (epsilon, delta) = ledger.spent(None);
    let tables = ledger.tables().into_iter().map(|(table, source)| {
        let (epsilon, delta) = ledger.spent(source);
        Spent { table, source, epsilon: OrInfinity(epsilon), delta, cap: ledger.cap(source) }
    });
    let tables: Vec<Spent> = tables.collect();
    if global.json {
        return print_json(&LedgerAnswer::Shown {
            lines: ledger.lines(),
            epsilon: OrInfinity(epsilon),
            delta,
            tables: &tables,
        });
    }
    let is_rehearsal = |line: &&Line| matches!(line.record, Record::Rehearsed { .. });
    let told = |line: &Line| format!("{}  {:<12}  {}\n", line.time, line.who, in_words(&line.record, ledger));
    let mut text: String = ledger.lines().iter().filter(|line| !is_rehearsal(line)).map(told).collect();
    let rehearsals: String = ledger.lines().iter().filter(is_rehearsal).map(told).collect();
    if !rehearsals.is_empty() {
        text.push_str("\nthrowaway fits to real rows, whose models were dropped; no cap counts them:\n");
        text.push_str(&rehearsals);
        text.push('\n');
    }
    for Spent { table, source, epsilon, delta, cap } in &tables {
        let source = source.map_or("no source named: all fits count".to_owned(), |source| format!("source {source}"));
        let spent = figure(epsilon.0);
        text.push_str(&format!(
            "table {table} ({source})\n  spent in all: epsilon {spent}, delta {delta:e} (basic composition)\n"
        ));
        if let Some(cap) = cap {
            text.push_str(&format!("  left under the cap of {cap}: epsilon {:.6}\n", (cap - epsilon.0).max(0.0)));
        }
    }
    print(&text)
}

fn in_words(record: &Record, ledger: &Ledger) -> String {
    let of = |source: &Option<String>| source.as_ref().map_or(String::new(), |source| format!(" of source {source}"));
    match record {
        Record::Opened { table: Some(table), .. } => format!("opened   for table {table}"),
        Record::Opened { table: None, .. } => "opened".to_owned(),
        Record::Continued { version } => format!("format   {version} from here on"),
        Record::Table { table, source } => format!("table    {table}{}", of(source)),
        Record::Intent { fit, source, epsilon, delta, file, tool, .. } => {
            let tool = tool.as_deref().unwrap_or("0.1.0 or earlier");
            let epsilon = figure(*epsilon);
            let file = file.as_ref().map_or_else(String::new, |file| format!(", to {file}"));
            let whose = whose(source, ledger);
            format!("intent   fit {fit}: epsilon {epsilon}, delta {delta:e}{file}{whose}, by version {tool}")
        }
        Record::Cap { epsilon: Some(cap), source } => format!("cap      epsilon {cap} in all{}", of(source)),
        Record::Cap { epsilon: None, source } => format!("cap      none{}", of(source)),
        Record::Refused { fit } => format!("refused  fit {fit}: nothing was spent"),
        Record::Drawn { fit } => format!("drawn    fit {fit}: from here on it counts"),
        Record::Checkpoint { fit, sha256, .. } => format!("kept     fit {fit}: checkpoint {sha256}"),
        Record::Resumed { fit } => format!("resumed  fit {fit}: nothing more is spent"),
        Record::Outcome { fit, model_sha256, .. } => format!("released fit {fit}: model {model_sha256}"),
        Record::Rehearsed { test, fits, epsilon, delta, .. } => {
            let test = match test {
                Rehearsal::Canaries => "canaries",
                Rehearsal::ShadowModels => "shadow models",
            };
            format!("tested   {test}: at most {fits} fits at epsilon {}, delta {delta:e}", figure(*epsilon))
        }
    }
}

/// Whose budget it is, where the ledger keeps those of several sources: the names of its tables, and how the source's begins,
/// since tables of other persons may have the same name.
fn whose(source: &Option<String>, ledger: &Ledger) -> String {
    let tables = ledger.tables();
    let Some(source) = source.as_deref().filter(|source| tables.iter().any(|(_, of)| *of != Some(source))) else {
        return String::new();
    };
    let own: Vec<&str> = tables.iter().filter(|(_, of)| *of == Some(source)).map(|(table, _)| *table).collect();
    format!(", of {} ({}...)", own.join(", "), &source[..source.len().min(8)])
}

/// An epsilon in words: one without noise is infinite.
pub fn figure(epsilon: f64) -> String {
    if epsilon == f64::INFINITY { "infinite (NOT PRIVATE: no noise)".into() } else { format!("{epsilon:.6}") }
}
