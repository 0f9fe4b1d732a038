//! Scores and filled cells whose law is known by hand.

use super::{LinkedFill, LinkedScores, score_linked};
use crate::encode::{Codec, Layout, TableDomain};
use crate::ingest::{self, LinkedTables, read_linked, read_linked_to_fill, table_file};
use crate::model::{LinkedHeader, LinkedModel, Mixture, ModelKind, PartHeader, Tied};
use crate::schema::LinkedSchema;
use crate::schema::linked::From;
use arrow_array::cast::AsArray;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use synthward_privacy::plan::{Mechanism, Plan, Request, Share};
use synthward_privacy::{Budget, PrivacyUnit};
use tempfile::TempDir;

const SCHEMA: &str = r#"
    [linked]
    name = "clinic"
    [[table]]
    name = "patients"
    key = "id"
    [[table.column]]
    name = "id"
    kind = "identifier"
    [[table.column]]
    name = "group"
    kind = "categorical"
    categories = ["a", "b"]
    domain_from = "public"
    [[table]]
    name = "visits"
    parent = "patients"
    links = { patient = "patients" }
    max_rows = 4
    [[table.column]]
    name = "patient"
    kind = "identifier"
    [[table.column]]
    name = "kind"
    kind = "categorical"
    categories = ["a", "b"]
    domain_from = "public"
"#;

/// In the first class of a visit the patient's group and the visit before are `a`, if there is one, and so is its kind; in
/// the second one they are `b`.
fn model(unlikely: f32) -> LinkedModel {
    let schema = LinkedSchema::from_toml(SCHEMA).unwrap();
    let request = Request { name: "all".into(), share: Share::Measure, weight: 1.0, mechanism: Mechanism::Histogram };
    let unit = PrivacyUnit::Person("patients".into());
    let plan = Plan::calibrate(unit, Budget::new(1.0, 1e-6).unwrap(), vec![request]).unwrap();
    let (mut parts, mut laws) = (Vec::new(), Vec::new());
    for table in schema.tree() {
        let view = schema.view(table).unwrap();
        let domain = TableDomain::of_view(&view).unwrap();
        let codec = |column: &crate::encode::ModelColumn| {
            let codec = Codec::of_equal(&column.domain, 16);
            if column.nullable { codec.with_missing() } else { codec }
        };
        let codecs: Vec<Codec> = domain.columns.iter().map(codec).collect();
        let layout = Layout { cells: codecs.iter().map(Codec::cells).collect() };
        let law = |class: usize| {
            let columns = view.columns.iter().zip(&layout.cells);
            columns.flat_map(move |(column, &cells)| {
                let known = matches!(column.from, From::Own(_) | From::Above(..) | From::Previous(_));
                (0..cells).map(move |cell| match (known, cell) {
                    (false, _) => 1.0 / cells as f32,
                    (true, 2) => 0.25,
                    (true, cell) if cell == class => 0.75 - unlikely,
                    (true, _) => unlikely,
                })
            })
        };
        let tensors = [
            ("mixture.probabilities".to_owned(), vec![2, layout.total()], (0..2).flat_map(law).collect()),
            ("mixture.weights".to_owned(), vec![1, 2], vec![0.5, 0.5]),
        ];
        laws.push(Arc::new(Tied::untied(Mixture::from_tensors(&layout, &tensors).unwrap())));
        parts.push(PartHeader { table: schema.tables[table].name.clone(), units: 100.0, codecs });
    }
    LinkedModel::new(LinkedHeader::new(&schema, ModelKind::Marginal, plan, (100.0, 0), None, parts), laws, |_| {
        Ok(Vec::new())
    })
    .unwrap()
}

fn folder(patients: &str, visits: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("patients.csv"), format!("id,group\n{patients}")).unwrap();
    std::fs::write(folder.path().join("visits.csv"), format!("patient,kind\n{visits}")).unwrap();
    folder
}

fn scores(patients: &str, visits: &str) -> LinkedScores {
    let (model, folder) = (model(0.15), folder(patients, visits));
    let tables = read_linked(folder.path(), &model.header.schema, u64::MAX).unwrap().for_controller();
    score_linked(&model, &Arc::new(tables), 0).unwrap()
}

/// The completed tables: the cells of their last column, in the order of the file.
fn filled(folder: &Path, seed: u64) -> BTreeMap<String, Vec<Option<String>>> {
    let model = model(1e-6);
    let tables: LinkedTables = read_linked_to_fill(folder, &model.header.schema, u64::MAX).unwrap().for_controller();
    let tables = Arc::new(tables);
    let mut filled = BTreeMap::new();
    let read = |table: &str| {
        let raw = ingest::read(&table_file(folder, table).unwrap(), &Default::default()).unwrap();
        Ok(raw.batch(|_| true).unwrap().for_controller())
    };
    let write = |table: &str, rows: arrow_array::RecordBatch| {
        let cells = rows.column(1).as_string::<i32>().iter().map(|cell| cell.map(str::to_owned)).collect();
        filled.insert(table.to_owned(), cells);
        Ok(())
    };
    LinkedFill::new(&model, &tables, seed).run(read, write).unwrap();
    filled
}

fn close(x: f64, y: f64) {
    assert!((x - y).abs() < 1e-5, "{x} {y}");
}

#[test]
fn a_row_is_scored_given_what_it_is_told_from() {
    let scores = scores("p,a\nq,b\nr,\n", "q,b\nq,b\np,b\np,\n");
    assert_eq!((scores.persons, scores.rows, &scores.rows_of_person), (3, 7, &vec![3, 3, 1]));
    // A group, one of five numbers of visits below.
    let patients = &scores.tables[0];
    for (nats, group) in patients.nats_of_person.iter().zip([0.375, 0.375, 0.25]) {
        close(*nats, -f64::ln(group * 0.2));
    }
    let law = |same: f64, other: f64| {
        let (same, other) = (same / (same + other), other / (same + other));
        [same * 0.6 + other * 0.15, same * 0.15 + other * 0.6]
    };
    // Given the group; and given the visit before as well.
    let [alike, different] = law(0.6, 0.15);
    let [alike_twice, _] = law(0.36, 0.0225);
    let visits = &scores.tables[1];
    close(visits.nats_of_person[0], -different.ln() - f64::ln(0.25));
    close(visits.nats_of_person[1], -alike.ln() - alike_twice.ln());
    close(visits.nats_of_person[2], 0.0);
    close(visits.nats_per_row * 4.0, visits.nats_of_person.iter().sum());
    close(visits.columns[0].perplexity.ln(), visits.nats_per_row);
    close(scores.nats_of_person().iter().sum::<f64>() / 3.0, scores.nats_per_person);
    assert_eq!((visits.columns.len(), &*visits.columns[0].column, scores.impossible_rows), (1, "kind", 0));
}

#[test]
fn the_least_likely_of_all_is_finite() {
    let (model, folder) = (model(0.0), folder("p,a\n", "p,b\n"));
    let tables = read_linked(folder.path(), &model.header.schema, u64::MAX).unwrap().for_controller();
    let scores = score_linked(&model, &Arc::new(tables), 0).unwrap();
    assert_eq!(scores.impossible_rows, 1);
    assert!(scores.tables[1].nats_per_row > 80.0 && scores.nats_per_person.is_finite());
}

#[test]
fn a_row_is_filled_given_the_filled_cells_of_those_before_and_above() {
    // Each patient's group is missing; of the visits, in any order of patients, all or all but one.
    let patients: String = (0..40).map(|n| format!("p{n},\n")).collect();
    let visits: String = (0..4).flat_map(|_| (0..40).rev().map(|n| format!("p{n},\n"))).collect();
    let folder = folder(&patients, &format!("{visits}p0,\np0,\n"));
    let tables = filled(folder.path(), 3);
    let groups = &tables["patients"];
    assert!(groups.contains(&Some("a".into())) && groups.contains(&Some("b".into())));
    for (n, kind) in tables["visits"].iter().enumerate() {
        let patient = if n < 160 { 39 - n % 40 } else { 0 };
        assert_eq!(kind, &groups[patient], "also that of a patient with more visits than the model knows");
    }
    assert!(tables == filled(folder.path(), 3) && tables != filled(folder.path(), 4));
}

#[test]
fn known_cells_stay_and_tell_the_others() {
    let folder = folder("p,\nq,a\nr,c\n", "q,\nq,b\nq,\nr,\n");
    let tables = filled(folder.path(), 0);
    let cells = |name: &str| tables[name].iter().map(|cell| cell.as_deref().unwrap_or("")).collect::<Vec<_>>();
    assert_eq!(cells("patients")[1..], ["a", "c"], "what is not in the domain is a cell, too");
    assert_eq!(cells("visits")[..2], ["a", "b"]);
    assert!(cells("visits").iter().all(|kind| ["a", "b"].contains(kind)));
}
