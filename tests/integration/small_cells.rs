//! A report tells of no fewer than ten real rows; the controller's own files are exact.

use crate::hospital::{FIRST_PATIENT, Hospital, SCHEMA};
use crate::world::World;
use serde_json::Value;

const RUN: &str = r#"
[input]
table = "visits.csv"
schema = "schema.toml"
holdout = "holdout.csv"

[fit]
model = "independent"
epsilon = 2.0
delta = 1e-5

[cohort]
rows = 1500
"#;

const ANALYSES: &str = r#"groups = ["sex", "stage"]

[[survival]]
name = "time to readmission"
time = "age"
event = "readmitted"
event_is = ["yes"]
by = "sex"

[[regression]]
name = "odds of readmission"
task = "binary"
outcome = "readmitted"
positive = ["yes"]
covariates = ["sex", "stage", "smoker"]
"#;

/// Visits of which few end in a readmission, most of those of women in the last stage.
fn visits(patients: u64, first: u64) -> String {
    let mut hospital = Hospital::new(patients, first);
    for row in 0..hospital.rows.len() {
        let of_few =
            hospital.cell(row, "sex").as_deref() == Some("F") && hospital.cell(row, "stage").as_deref() == Some("IV");
        let readmitted = row % if of_few { 13 } else { 101 } == 0;
        *hospital.cell(row, "readmitted") = Some(if readmitted { "yes" } else { "no" }.into());
    }
    hospital.csv()
}

/// Every share of real rows in an evaluation and an audit, with the number of rows that it is a share of.
fn shares(evaluation: &Value, audit: &Value) -> Vec<(String, f64, f64)> {
    let mut found = Vec::new();
    let mut add = |what: &str, of: &Value, names: &[&str], rows: &Value| {
        for name in names {
            let values = of[*name].as_array().cloned().unwrap_or_else(|| vec![of[*name].clone()]);
            let known = values.iter().filter_map(Value::as_f64);
            found.extend(
                known
                    .zip(std::iter::repeat(rows.as_f64()))
                    .filter_map(|(share, rows)| Some((format!("{what} {name}"), share, rows?))),
            );
        }
    };
    let each = |of: &Value| of.as_array().unwrap().clone();
    let rows = &evaluation["rows"];
    let fewest = if rows["real"].as_u64() < rows["holdout"].as_u64() { &rows["real"] } else { &rows["holdout"] };
    for name in ["one_way", "two_way", "three_way"] {
        add("tvd", &evaluation["tvd"][name], &["synthetic"], &rows["holdout"]);
        add("tvd", &evaluation["tvd"][name], &["floor"], fewest);
    }
    add("copies", &evaluation["copies"], &["holdout"], &rows["holdout"]);
    add("copies", &evaluation["copies"], &["synthetic"], &rows["synthetic_judged"]);
    let violations = ["rows", "not_a_number", "not_whole", "outside_range", "unknown_category", "missing_where_never"];
    add("validity", &evaluation["validity"]["floor"], &violations, &rows["holdout"]);
    for column in each(&evaluation["columns"]) {
        let name = column["name"].as_str().unwrap();
        add(name, &column["tvd"], &["synthetic"], &rows["holdout"]);
        add(name, &column["tvd"], &["floor"], fewest);
        for shares in ["missing_rate", "rare_share"] {
            add(name, &column[shares], &["real"], &rows["real"]);
            add(name, &column[shares], &["holdout"], &rows["holdout"]);
        }
    }
    for line in each(&evaluation["tstr"]) {
        for scores in ["tstr", "trtr", "majority"] {
            let names = ["macro_f1", "accuracy", "average_precision", "brier"];
            add(scores, &line[scores], &names, &line["rows"]);
        }
    }
    for line in each(&evaluation["calibration"]) {
        for curve in ["tstr", "trtr"] {
            for bin in each(&line[curve]["bins"]) {
                add("calibration", &bin, &["observed"], &bin["rows"]);
            }
        }
    }
    for group in each(&evaluation["fairness"]).iter().flat_map(|by| each(&by["groups"])) {
        for scores in ["tstr", "trtr"] {
            add("group", &group[scores], &["selection_rate"], &group["rows"]);
            add("group", &group[scores], &["true_positive_rate"], &group["positive"]);
        }
    }
    for group in each(&evaluation["survival"]).iter().flat_map(|of| each(&of["groups"])) {
        for table in ["real", "holdout"] {
            add("survival", &group[table], &["survival", "lower", "upper"], &group[table]["rows"]);
        }
    }
    for regression in each(&evaluation["regressions"]) {
        add("left out", &regression["left_out"], &["real"], &rows["real"]);
        add("left out", &regression["left_out"], &["holdout"], &rows["holdout"]);
    }
    add("copies", &audit["copies"], &["members"], &audit["sizes"]["members"]);
    add("copies", &audit["copies"], &["holdout"], &audit["sizes"]["holdout"]);
    for attack in each(&audit["attacks"]) {
        for rate in each(&attack["tpr_at_fpr"]) {
            add("attack", &rate, &["tpr"], &attack["members"]);
        }
    }
    for rate in each(&audit["roc"]).iter().flat_map(|roc| each(&roc["points"])) {
        add("roc", &rate, &["tpr"], &audit["sizes"]["members"]);
    }
    for risk in each(&audit["risks"]) {
        add("risk", &risk, &["members", "control"], &risk["attacked"]);
    }
    found
}

/// The shares from which a number of rows can be read that is no multiple of ten.
fn telling(shares: &[(String, f64, f64)]) -> Vec<&(String, f64, f64)> {
    let is_telling = |(_, share, rows): &&(String, f64, f64)| {
        let tens = share * rows / 10.0;
        (tens - tens.round()).abs() > 1e-6
    };
    shares.iter().filter(is_telling).collect()
}

#[test]
fn a_report_has_no_share_of_fewer_than_ten_real_rows() {
    let world = World::new();
    world.write("visits.csv", visits(1000, FIRST_PATIENT)).write("holdout.csv", visits(500, 5_000_001));
    world.write("schema.toml", format!("{SCHEMA}{ANALYSES}")).write("run.toml", RUN);
    world.run("run run.toml -o out").runs();
    let (evaluation, audit) = (world.json("out/evaluation.json"), world.json("out/audit.json"));
    let report = world.json("out/report.json");
    let (exact, coarse) = (shares(&evaluation, &audit), shares(&report["evaluation"], &report["audit"]));
    let places =
        |of: &[(String, f64, f64)]| of.iter().map(|share| share.0.clone()).collect::<std::collections::BTreeSet<_>>();
    for place in
        ["calibration observed", "group true_positive_rate", "survival survival", "readmitted tvd", "risk members"]
    {
        assert!(places(&exact).iter().any(|found| found.starts_with(place.split(' ').next().unwrap())), "{place}");
    }
    assert!(telling(&exact).len() > 100, "the controller's files are exact: {:?}", telling(&exact));
    assert!(coarse.len() > exact.len() / 2, "{} of {}", coarse.len(), exact.len());
    assert!(telling(&coarse).is_empty(), "{:?}", telling(&coarse));
    // Shares of a known number of rows can be told from counts of few; so can what is counted itself.
    for rows in ["real", "holdout"] {
        let (exact, coarse) =
            (evaluation["rows"][rows].as_u64().unwrap(), report["evaluation"]["rows"][rows].as_u64().unwrap());
        assert_eq!(coarse, exact / 10 * 10);
    }
    let column =
        |of: &Value, name: &str| of["columns"].as_array().unwrap().iter().find(|c| c["name"] == name).unwrap().clone();
    assert_eq!(column(&evaluation, "stage")["distinct_real"], 4);
    let stage = column(&report["evaluation"], "stage");
    assert!(stage["distinct_real"].is_null() && stage["entropy_ratio"].is_null());
    assert!(world.text("out/report.html").contains("multiples of ten rows"));
}
