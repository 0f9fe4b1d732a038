//! Plans, schemas and ledgers in the words of a report.

use crate::config::ReportConfig;
use crate::encode::Codec;
use crate::error::Result;
use crate::model::{Header, LinkedModel, ModelFile, Part};
use crate::report::{BudgetLine, Claim, ColumnFact, FOR_CONTROLLER, LedgerLine, Report, Setting, Units};
use crate::schema::{Column, DomainFrom, Kind, LinkedSchema, Schema};
use crate::train::read_ledger;
use std::path::Path;
use synthward_privacy::infinite::OrInfinity;
use synthward_privacy::ledger::Record;
use synthward_privacy::plan::{Mechanism, PlanEntry};

/// What the report of a table says that its model knows.
pub fn facts(model: &ModelFile, seed: u64) -> Report {
    let header = &model.header;
    let plan = &header.plan;
    let (schema, assumed_public) = (&header.schema, header.schema.table.assumed_public);
    Report {
        note: FOR_CONTROLLER.into(),
        title: format!("Synthetic cohort of {}", schema.table.name),
        table: schema.table.name.clone(),
        date: chrono::Utc::now().format("%Y-%m-%d").to_string(),
        tool_version: header.version.clone(),
        model: header.model.to_string(),
        settings: settings(header),
        stated: ReportConfig::default(),
        seed: Some(seed),
        not_private: plan.not_private().map(|reason| reason.to_string()),
        claim: plan.is_private().then(|| Claim {
            epsilon: plan.epsilon(),
            delta: plan.delta(),
            unit: plan.unit().to_string(),
            adjacency: "tables that differ by one unit with all its rows, added or removed".into(),
            accountant: plan.accountant().to_string(),
            units: Some(units(schema.table.units, header.units)),
            rows_used: format!("at most {}; further ones were dropped at random", schema.table.max_rows_per_unit()),
            assumed_public,
        }),
        budget: plan.entries().iter().map(budget_line).collect(),
        ledger: Vec::new(),
        columns: schema.columns.iter().map(|column| column_fact(column, assumed_public)).collect(),
        files: Vec::new(),
        evaluation: None,
        audit: None,
        all_tables: None,
        marginals: Vec::new(),
        selftest: None,
        reproduce: None,
    }
}

/// What the report of one of several linked tables says that their model knows. The claim is that of the whole model, and the
/// columns are the table's own: those of its view beside them were made.
pub fn linked_facts(model: &LinkedModel, part: &Part, seed: u64) -> Report {
    let schema = &model.header.schema;
    let (table, assumed_public) = (&schema.tables[part.table], schema.linked.assumed_public);
    let report = facts(&part.model, seed);
    Report {
        title: format!("Synthetic cohort of {}: {}", schema.linked.name, table.name),
        claim: report.claim.map(|claim| Claim {
            adjacency: "folders that differ by one person with all rows below, added or removed".into(),
            units: Some(units(schema.linked.units, model.header.units)),
            rows_used: rows_used(schema),
            assumed_public,
            ..claim
        }),
        columns: table.columns.iter().map(|column| column_fact(column, assumed_public)).collect(),
        ..report
    }
}

/// What the report of a table with an order says that its model knows.
pub fn history_facts(model: &LinkedModel, flat: &Schema, seed: u64) -> Report {
    let (table, assumed_public) = (&flat.table, flat.table.assumed_public);
    let report = facts(&model.parts[1].model, seed);
    Report {
        title: format!("Synthetic cohort of {}", table.name),
        table: table.name.clone(),
        claim: report.claim.map(|claim| Claim {
            units: Some(units(table.units, model.header.units)),
            rows_used: format!(
                "the first {} by `{}`; later ones were left out",
                table.max_rows_per_unit(),
                table.order.as_deref().unwrap_or_default()
            ),
            assumed_public,
            ..claim
        }),
        columns: flat.columns.iter().map(|column| column_fact(column, assumed_public)).collect(),
        ..report
    }
}

/// How many units there are, as far as this may be said.
fn units(public: Option<u64>, released: f64) -> Units {
    public.map_or(Units::Noisy(released), Units::Public)
}

/// How many rows of a person are used, in words.
fn rows_used(schema: &LinkedSchema) -> String {
    let below = schema.tree().into_iter().filter_map(|table| {
        let (table, parent) = (&schema.tables[table], schema.parent(table)?);
        Some(format!(
            "the first {} of `{}` below a row of `{}`",
            table.max_rows(),
            table.name,
            schema.tables[parent].name
        ))
    });
    let all = [format!("one of `{}`", schema.tables[schema.tree()[0]].name)].into_iter().chain(below);
    format!("{}; later ones were left out", all.collect::<Vec<_>>().join(", "))
}

/// The settings of a generator: whatever its header has of them, by name.
fn settings(header: &Header) -> Vec<Setting> {
    fn gather(name: String, value: &serde_json::Value, into: &mut Vec<Setting>) {
        match value {
            serde_json::Value::Object(fields) => {
                for (field, value) in fields {
                    gather(if name.is_empty() { field.clone() } else { format!("{name}, {field}") }, value, into);
                }
            }
            value => into.push(Setting { name: name.replace('_', " "), value: value.to_string() }),
        }
    }
    let cells: usize = header.codecs.iter().map(Codec::cells).sum();
    let mut settings = vec![
        Setting { name: "columns".into(), value: header.codecs.len().to_string() },
        Setting { name: "cells of all columns".into(), value: cells.to_string() },
    ];
    if let Ok(own) = serde_json::to_value(&header.settings) {
        gather(String::new(), &own, &mut settings);
    }
    settings.retain(|setting| setting.value != "null");
    settings
}

/// A planned mechanism in words.
pub fn budget_line(entry: &PlanEntry) -> BudgetLine {
    let (what, noise) = match entry.mechanism {
        Mechanism::Histogram => ("histogram", "discrete Gaussian noise"),
        Mechanism::WeightedHistograms => ("weighted histograms in one release", "discrete Gaussian noise"),
        Mechanism::GaussianSum { .. } => ("sum of clipped vectors", "discrete Gaussian noise"),
        Mechanism::SubsampledGaussian { .. } => ("clipped gradient sums over Poisson-sampled units", "Gaussian noise"),
        Mechanism::Quantile { .. } => ("one end of a range", "exponential mechanism"),
        Mechanism::CategoryList { .. } => ("list of categories", "thresholded discrete Laplace counts"),
    };
    let noise = if entry.noise_multiplier == 0.0 { "no noise" } else { noise };
    let (sampling_rate, steps) = match entry.mechanism {
        Mechanism::SubsampledGaussian { sampling_rate, steps, .. } => (Some(sampling_rate), Some(steps)),
        _ => (None, None),
    };
    BudgetLine {
        share: entry.share.to_string(),
        name: entry.name.clone(),
        mechanism: format!("{what}, {noise}"),
        noise_multiplier: entry.noise_multiplier,
        sampling_rate,
        steps,
    }
}

/// What is public about a column, and who says so. A domain that was read from the rows is not told.
pub fn column_fact(column: &Column, assumed_public: bool) -> ColumnFact {
    let domain = match (column.kind, column.range()) {
        _ if column.drop => "left out".into(),
        (Kind::Identifier, _) => "not modelled, fresh keys".into(),
        _ if column.domain_from == Some(DomainFrom::Data) => "read from the rows".into(),
        (_, Some((min, max))) => format!("{} to {}", bound_text(column, min), bound_text(column, max)),
        _ if column.domain_from == Some(DomainFrom::Discovered) && column.labels().is_empty() => "to be learnt".into(),
        _ => format!("{} categories", column.labels().len()),
    };
    let vouched_by = match column.domain_from {
        Some(DomainFrom::Public) if assumed_public => "assumed at inspect (--assume-public)",
        Some(DomainFrom::Public) => "the schema's author",
        Some(DomainFrom::Discovered) if column.kind_from.is_some() => {
            "paid for in the budget; for the kind, the schema's author"
        }
        Some(DomainFrom::Discovered) => "paid for in the budget",
        Some(DomainFrom::Data) if column.is_modelled() => "nobody",
        Some(DomainFrom::Data) | None if column.kind_from.is_some() => "for the kind, the schema's author",
        Some(DomainFrom::Data) | None => "nobody: not needed",
    };
    ColumnFact { name: column.name.clone(), kind: column.kind.name().into(), domain, vouched_by: vouched_by.into() }
}

/// An end of a column's range as the table writes it.
pub fn bound_text(column: &Column, value: f64) -> String {
    if column.kind == Kind::Datetime {
        column.clock().format(value, column.format.as_deref()).unwrap_or_default()
    } else {
        format!("{value}")
    }
}

/// The lines of a ledger that count for a source, in words.
///
/// # Errors
/// As [`read_ledger`].
pub fn ledger_lines(path: &Path, source: Option<&str>) -> Result<Vec<LedgerLine>> {
    let ledger = read_ledger(path)?;
    let line = |line: &synthward_privacy::ledger::Line| {
        let (kind, epsilon, delta) = match &line.record {
            Record::Opened { .. } => ("opened", None, None),
            Record::Intent { epsilon, delta, .. } if epsilon.is_finite() => ("intent", Some(*epsilon), Some(*delta)),
            Record::Intent { epsilon, delta, .. } => ("intent, without noise", Some(*epsilon), Some(*delta)),
            Record::Checkpoint { .. } => ("checkpoint", None, None),
            Record::Resumed { .. } => ("resumed", None, None),
            Record::Outcome { .. } => ("released", None, None),
            Record::Cap { epsilon, .. } => ("cap", *epsilon, None),
            Record::Continued { .. } => ("format", None, None),
            Record::Table { .. } => ("table", None, None),
            Record::Rehearsed { .. } => ("tested by throwaway fits", None, None),
            Record::Drawn { .. } => ("drawn", None, None),
            Record::Refused { .. } => ("refused, not spent", None, None),
        };
        LedgerLine {
            time: line.time.clone(),
            who: line.who.clone(),
            kind: kind.into(),
            epsilon: epsilon.map(OrInfinity),
            delta,
        }
    };
    Ok(ledger.lines_of(source).map(line).collect())
}
