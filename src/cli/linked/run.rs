//! `synthward run` on folders of linked tables.

use super::super::answers::RanLinked;
use super::super::audit::settle;
use super::super::facts::{ledger_lines, linked_facts};
use super::super::fit::{Kept, budget, kind};
use super::super::progress::Progress;
use super::super::run::{Salt, changed, name_of, plots, refuse_made, write_page, write_release};
use super::super::selftest::refuse_fault;
use super::super::{Global, print, print_json, to_json};
use super::judge::{Folders, LinkedAudit, LinkedEvaluation, refuse_shared_persons};
use super::{Asked, fit, generate};
use crate::cohort::{Format, is_fhir};
use crate::config::RunConfig;
use crate::error::{Error, Result, why};
use crate::ingest::{Reference, Source, read_linked, table_file};
use crate::model;
use crate::output;
use crate::report::{FileFact, Report, Reproduce, coarse, render};
use crate::schema::LinkedSchema;
use crate::selftest::selftest;
use crate::train::LinkedRequest;
use std::collections::BTreeMap;
use std::path::Path;
use synthward_privacy::infinite::OrInfinity;

/// Does all that a run file asks for: model, cohort, evaluation, audit, a report a table, ledger.
pub fn run(
    global: &Global,
    (config, text, base): (&RunConfig, &str, &Path),
    (run_file, schema): (&Path, &LinkedSchema),
    (output, ledger, resume): (&Path, &Path, bool),
    memory: u64,
) -> Result<()> {
    let (table, holdout) =
        (base.join(&config.input.table), base.join(config.input.holdout.as_deref().unwrap_or(Path::new(""))));
    refuse_settings(config, run_file)?;
    let request = LinkedRequest {
        folder: &table,
        schema,
        model: kind(config.fit.model),
        budget: budget(config.fit.epsilon, config.fit.delta)?,
        seed: config.fit.seed,
        memory,
    };
    refuse_made(global, output, resume, &["cohort"])?;
    std::fs::create_dir_all(output)
        .map_err(|e| Error::failed(format!("the folder cannot be made ({})", why(e.kind()))).file(output))?;
    let out = |name: &str| output.join(name);
    // A copy that does not work must not see a row.
    let checked = selftest()?;
    refuse_fault(&checked)?;
    // Before anything is spent on a run whose audit would be refused.
    let as_read = [files(schema, &table)?, files(schema, &holdout)?];
    refuse_shared_persons(schema, &table, &holdout)?;
    let salt = Salt::of_folder(output)?;
    let file = out("model.safetensors");
    // By other tables the audit would ask for people who are not in the model.
    let tables = salt.salted(
        &as_read.iter().flat_map(|files| files.values()).map(|(_, sha256)| &**sha256).collect::<Vec<_>>().join("\n"),
    );
    let check = || read_linked(&holdout, schema, memory / 2).map(drop);
    let (model, sha256) =
        fit(global, &request, &Kept { ledger, output: &file, tables: &tables, resume, check: &check })?;
    // Of this run, or one that it may write over.
    output::remove_folder(&out("cohort"))?;
    let root = &schema.tables[schema.tree()[0]];
    let asked = Asked {
        persons: config.cohort.rows.unwrap_or_else(|| model.expected_persons()),
        seed: config.cohort.seed,
        output: &out("cohort"),
        format: format_of(schema, &as_read[0]),
        reference: Some(&table),
        condition: None,
    };
    let copied = generate(global, &model, &sha256, &asked)?;

    let judging = Progress::endless(global, "comparing and auditing the cohort");
    let folders = Folders::read(schema, &table, &holdout, &out("cohort"))?;
    refuse_changed(schema, [&table, &holdout], &as_read)?;
    let (mut evaluations, mut audits, mut shown) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    let (_, left_out) = folders.each(|table, views| {
        let name = &schema.tables[table].name;
        let evaluation = views.evaluate(config.cohort.seed)?;
        let plots = plots(&views.view.schema, &views.tables);
        audits.insert(name.clone(), views.audit(config.cohort.seed)?);
        shown.push((table, plots));
        evaluations.insert(name.clone(), evaluation);
        Ok(())
    })?;
    let evaluation = LinkedEvaluation { tables: evaluations, left_out: left_out.clone() };
    let audit = LinkedAudit::judged(audits, left_out);
    output::write_bytes(&out("evaluation.json"), to_json(&evaluation)?.as_bytes())?;
    output::write_bytes(&out("audit.json"), to_json(&audit)?.as_bytes())?;
    let drawn = files(schema, &out("cohort"))?;
    drop(judging);

    let made = |role: &str, path: &Path, sha256: String| FileFact {
        role: role.into(),
        name: name_of(path),
        sha256,
        rows: None,
    };
    let model_file = made("model", &out("model.safetensors"), sha256);
    let facts = model.parts.iter().map(|part| linked_facts(&model, part, config.cohort.seed));
    let drawn_files = drawn.iter().map(|(&table, (file, sha256))| {
        let rows = folders.rows_of_files(table)?[2] as u64;
        Ok(FileFact { rows: Some(rows), ..made("cohort", file.as_path(), sha256.clone()) })
    });
    let copies = copied
        .iter()
        .map(|Reference { file, sha256 }| Ok(made("reference table, copied as it is", file, sha256.clone())));
    let released = std::iter::once(Ok(model_file.clone())).chain(drawn_files).chain(copies);
    let released = released.collect::<Result<Vec<_>>>()?;
    let title = format!("Synthetic cohort of {}", schema.linked.name);
    write_release(output, title, facts.collect(), &config.report, released)?;

    let all_tables = audit.all_tables();
    for (table, marginals) in shown {
        let Some(part) = model.parts.iter().find(|part| part.table == table) else { continue };
        let name = &schema.tables[table].name;
        let rows = folders.rows_of_files(table)?;
        let file = |role: &str, (file, _): &(Source, String), sha256: String, rows: usize| {
            let (role, name) = (role.into(), name_of(file.as_path()));
            FileFact { role, name, sha256, rows: Some(rows as u64) }
        };
        let real = |role: &str, files: &Files, rows: usize| {
            file(role, &files[&table], salt.salted(&files[&table].1), coarse::tens(rows))
        };
        let reference = copied
            .iter()
            .map(|Reference { file, sha256 }| made("reference table, copied as it is", file, sha256.clone()));
        let report = Report {
            files: [
                real("training table", &as_read[0], rows[0]),
                real("holdout", &as_read[1], rows[1]),
                file("cohort", &drawn[&table], drawn[&table].1.clone(), rows[2]),
                model_file.clone(),
                made("run file", run_file, model::sha256(text.as_bytes())),
            ]
            .into_iter()
            .chain(reference)
            .collect(),
            ledger: ledger_lines(ledger, schema.linked.source.as_deref())?,
            evaluation: evaluation.tables.get(name).map(coarse::evaluation),
            audit: audit.tables.get(name).map(coarse::audit),
            all_tables: Some(all_tables.clone()),
            stated: config.report.clone(),
            marginals,
            selftest: Some(checked.clone()),
            reproduce: Some(Reproduce {
                commands: vec![format!("synthward run {}", run_file.display())],
                run_toml: Some(text.to_owned()),
            }),
            ..linked_facts(&model, part, config.cohort.seed)
        };
        let stem = if *name == root.name { "report".to_owned() } else { format!("report-{name}") };
        write_page(output, &stem, &report, render)?;
    }
    tracing::info!("wrote {}", output.display());
    let plan = &model.header.plan;
    if global.json {
        let (epsilon, delta, unit) = (OrInfinity(plan.epsilon()), plan.delta(), plan.unit());
        print_json(&RanLinked { output, epsilon, delta, unit, evaluation: &evaluation, audit: &audit })?;
    } else {
        print(&summary(&evaluation, &audit))?;
    }
    settle(audit.verdict)
}

/// An error where a run file asks for what is not known of linked tables, and so of a table with an order.
pub fn refuse_settings(config: &RunConfig, run_file: &Path) -> Result<()> {
    let refused =
        [(config.fit.discover_epsilon.is_some(), "discover_epsilon"), (config.audit.canaries.is_some(), "canaries")];
    match refused.iter().find(|(given, _)| *given) {
        Some((_, setting)) => Err(Error::bad_input(format!("{setting} is for single tables without an order"))
            .file(run_file)
            .remedy("leave it out")),
        None => Ok(()),
    }
}

/// The headline figures of each table.
pub fn summary(evaluation: &LinkedEvaluation, audit: &LinkedAudit) -> String {
    let mut text = format!("{:<28}{:>10}{:>10}{:>14}{:>20}\n", "", "1-way TVD", "2-way TVD", "detection AUC", "audit");
    for (name, figures) in &evaluation.tables {
        let cell = |x: Option<f64>| x.map_or_else(|| "-".into(), |x| format!("{x:.4}"));
        let verdict = audit.tables.get(name).map_or_else(String::new, |audit| audit.verdict.to_string());
        text.push_str(&format!(
            "{name:<28}{:>10}{:>10}{:>14}{verdict:>20}\n",
            cell(Some(figures.tvd.one_way.synthetic)),
            cell(figures.tvd.two_way.map(|figure| figure.synthetic)),
            cell(figures.detection_auc.map(|figure| figure.synthetic)),
        ));
    }
    text.push_str(&format!("{}\n", audit.told()));
    text
}

/// The file of each table of persons, by the table's place in the schema, with the SHA-256 of its bytes.
type Files = BTreeMap<usize, (Source, String)>;

fn files(schema: &LinkedSchema, folder: &Path) -> Result<Files> {
    let file = |table: usize| {
        let file = table_file(folder, &schema.tables[table].name)?;
        let sha256 = file.sha256()?;
        Ok((table, (file, sha256)))
    };
    schema.tree().into_iter().map(file).collect()
}

/// An error where a table is no more what it was when the run began.
fn refuse_changed(schema: &LinkedSchema, folders: [&Path; 2], as_read: &[Files; 2]) -> Result<()> {
    for (folder, as_read) in folders.into_iter().zip(as_read) {
        let now = files(schema, folder)?;
        if let Some((_, (file, _))) = now.iter().find(|(table, file)| as_read[table] != **file) {
            return Err(changed(file.as_path()));
        }
    }
    Ok(())
}

/// The cohort's files are of the kind of the root's, but NDJSON only where all of them are and can be read again.
fn format_of(schema: &LinkedSchema, files: &Files) -> Format {
    let format = |(file, _): &(Source, String)| {
        let parts = file.parts().unwrap_or_default();
        let name = parts.first().unwrap_or(file).to_string().to_ascii_lowercase();
        match name.strip_suffix(".gz").unwrap_or(&name).rsplit('.').next() {
            Some("parquet") => Format::Parquet,
            Some("arrow") => Format::Arrow,
            Some("ndjson") => Format::Ndjson,
            _ => Format::Csv,
        }
    };
    match format(&files[&schema.tree()[0]]) {
        Format::Ndjson if !is_fhir(schema) || files.values().any(|file| format(file) != Format::Ndjson) => Format::Csv,
        format => format,
    }
}
