//! A FHIR bulk export goes in, and a cohort comes out as one.

use crate::schemas::assert_valid;
use crate::world::{SECRET, World};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::io::Write;
use synthward::schema::linked::Policy;
use synthward::schema::{Kind, LinkedSchema, Rule};

const PATIENTS: usize = 60;
const ENCOUNTERS: usize = 180;
const CONDITIONS: usize = 300;

fn lines(resources: impl Iterator<Item = Value>) -> String {
    resources.map(|resource| format!("{resource}\n")).collect()
}

fn coding(code: &str, display: &str) -> Value {
    json!({ "coding": [{ "system": "http://snomed.info/sct", "code": code, "display": display }], "text": display })
}

fn patient(n: usize) -> Value {
    let race = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race";
    let mut patient = json!({
        "resourceType": "Patient",
        "id": format!("p-{n:03}"),
        "name": [{ "family": SECRET }],
        "gender": (["female", "male"][n % 2]),
        "birthDate": format!("{}-{:02}-{:02}", 1930 + n, n % 12 + 1, n % 28 + 1),
        "extension": [{ "url": race, "extension": [{ "url": "text", "valueString": (["White", "Black", "Asian"][n % 3]) }] }],
        "address": [{ "state": (["North", "South"][n / 2 % 2]) }],
    });
    if n.is_multiple_of(6) {
        patient["deceasedDateTime"] = format!("2022-{:02}-05T06:07:08+00:00", n % 12 + 1).into();
    }
    patient
}

fn encounter(n: usize) -> Value {
    let start = format!("202{}-{:02}-{:02}", n % 2, n % 12 + 1, n * 7 % 28 + 1);
    json!({
        "resourceType": "Encounter",
        "id": format!("e-{n:03}"),
        "subject": { "reference": format!("Patient/p-{:03}", n % PATIENTS) },
        "status": "finished",
        "class": { "code": (["AMB", "IMP", "EMER"][n / 4 % 3]) },
        "type": [coding(["185349003", "50849002", "32485007"][n % 3], ["Check up", "Emergency", "Admission"][n % 3])],
        "period": { "start": format!("{start}T08:{:02}:00+00:00", n % 60), "end": format!("{start}T19:{:02}:30+00:00", n % 50) },
    })
}

fn condition(n: usize) -> Value {
    let (of, kind) = (n % ENCOUNTERS, n * 5 % 3);
    json!({
        "resourceType": "Condition",
        "id": format!("c-{n:03}"),
        "subject": { "reference": format!("urn:uuid:p-{:03}", of % PATIENTS) },
        "encounter": { "reference": format!("Encounter/e-{of:03}") },
        "code": coding(["44054006", "38341003", "195967001"][kind], ["Diabetes", "Hypertension", "Asthma"][kind]),
        "onsetDateTime": format!("202{}-{:02}-{:02}T09:10:11+00:00", of % 2, of % 12 + 1, of * 7 % 28 + 1),
    })
}

/// An export of patients, their encounters and conditions, with claims, which are no table.
fn export() -> World {
    let world = World::new().of_few_steps();
    std::fs::create_dir(world.path("export")).unwrap();
    world.write("export/Patient.ndjson", lines((0..PATIENTS).map(patient)));
    world.write("export/Encounter.000.ndjson", lines((0..ENCOUNTERS).map(encounter)));
    world.write("export/Condition.ndjson", lines((0..CONDITIONS).map(condition)));
    world.write("export/Claim.ndjson", lines([json!({ "resourceType": "Claim", "id": SECRET })].into_iter()));
    world
}

/// Breaks the third line of the conditions.
fn break_a_line(world: &World) {
    let text = world.text("export/Condition.ndjson");
    let mut lines: Vec<&str> = text.lines().collect();
    let broken = format!("{{\"resourceType\":\"Condition\",\"id\":\"{SECRET}");
    lines[2] = &broken;
    world.write("export/Condition.ndjson", lines.join("\n"));
}

fn resources(world: &World, file: &str) -> Vec<Value> {
    world.text(file).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn an_export_is_drafted_without_edits() {
    let world = export();
    let outcome = world.run("inspect export --assume-public -o schema.toml --json").succeeds();
    assert_valid("inspect_folder.json", &outcome.json());
    assert_eq!(outcome.json()["skipped"], json!(["Claim.ndjson"]));
    assert!(outcome.stderr.contains("Claim.ndjson") && !outcome.stderr.contains(SECRET), "{outcome}");
    let schema = LinkedSchema::from_toml(&world.text("schema.toml")).unwrap();
    schema.check_for_fit().unwrap();
    let names: Vec<&str> = schema.tables.iter().map(|table| table.name.as_str()).collect();
    assert_eq!(names, ["Condition", "Encounter", "Patient"]);
    let [condition, encounter, patient] = &schema.tables[..] else { panic!() };
    assert_eq!((patient.key.as_deref(), patient.parent.as_deref()), (Some("id"), None));
    assert_eq!((patient.origin.as_deref(), patient.end.as_deref()), (Some("birthDate"), Some("deceasedDateTime")));
    assert_eq!(patient.column("race").unwrap().kind, Kind::Categorical);
    assert_eq!((encounter.parent.as_deref(), encounter.order.as_deref()), (Some("Patient"), Some("period_start")));
    assert_eq!((condition.parent.as_deref(), condition.order.as_deref()), (Some("Encounter"), Some("onsetDateTime")));
    for (table, text, code) in [(encounter, "type_display", "type"), (condition, "code_display", "code")] {
        let follows = |rule: &Rule| matches!(rule, Rule::Dependency { of, on, .. } if of == text && on == code);
        assert!(table.constraints.iter().any(|constraint| follows(&constraint.rule)), "{text}");
    }
    assert!(schema.tables.iter().all(|table| table.on_broken == Policy::Refuse));
}

#[test]
fn a_cohort_of_an_export_is_one() {
    let world = export();
    break_a_line(&world);
    world.run("inspect export --assume-public -o schema.toml").succeeds().says(&["1 lines that are no resource"]);
    let schema = world.text("schema.toml");
    let line = "on_broken      = \"drop\"   # read from rows\n";
    assert_eq!(schema.matches(line).count(), 1);
    world.write("strict.toml", schema.replace(line, ""));
    world.refuses(
        3,
        "fit export --schema strict.toml --epsilon 3 --delta 1e-5 -o model.safetensors",
        &["Condition.ndjson", "row 3", "not JSON", "on_broken"],
    );
    let fitted = world.run("fit export --schema schema.toml --epsilon 3 --delta 1e-5 -o model.safetensors").succeeds();
    fitted.says(&["table `Condition`: fewer than 10 lines are no resources of it"]);
    world.run("generate model.safetensors --rows 200 --format ndjson -o cohort").succeeds();

    let patients = resources(&world, "cohort/Patient.ndjson");
    let encounters = resources(&world, "cohort/Encounter.ndjson");
    let conditions = resources(&world, "cohort/Condition.ndjson");
    assert_eq!(patients.len(), 200);
    let references = |of: &[Value], to: &str| -> HashSet<String> {
        of.iter().map(|resource| format!("{to}/{}", resource["id"].as_str().unwrap())).collect()
    };
    let (to_patients, to_encounters) = (references(&patients, "Patient"), references(&encounters, "Encounter"));
    assert_eq!(to_patients.len(), 200);
    for resource in encounters.iter().chain(&conditions) {
        assert!(to_patients.contains(resource["subject"]["reference"].as_str().unwrap()), "{resource}");
    }
    for resource in &conditions {
        assert_eq!(resource["resourceType"], "Condition");
        assert!(to_encounters.contains(resource["encounter"]["reference"].as_str().unwrap()), "{resource}");
    }
    for resource in &encounters {
        let (start, end) = (&resource["period"]["start"], &resource["period"]["end"]);
        assert!(start.as_str().unwrap() <= end.as_str().unwrap(), "{resource}");
    }
    // The cohort is an export itself: it fits the schema that it was drawn by.
    world.run("inspect cohort --assume-public -o again.toml").succeeds();
    let again = LinkedSchema::from_toml(&world.text("again.toml")).unwrap();
    let hangs = |schema: &LinkedSchema| -> Vec<(String, Option<String>)> {
        schema.tables.iter().map(|table| (table.name.clone(), table.parent.clone())).collect()
    };
    assert_eq!(hangs(&again), hangs(&LinkedSchema::from_toml(&schema).unwrap()));
    assert!(again.tables.iter().all(|table| table.on_dangling == Policy::Refuse && table.on_broken == Policy::Refuse));
}

#[test]
fn a_lone_file_is_a_table_where_its_resources_are_read() {
    let world = export();
    world.run("inspect export/Patient.ndjson --unit id -o schema.toml").succeeds();
    assert!(!world.text("schema.toml").contains(SECRET));
    world.refuses(3, "inspect export/Claim.ndjson", &["Claim.ndjson", "row 1", "Patient, Encounter"]);
}

const RUN: &str = "[input]\ntable = \"export\"\nschema = \"schema.toml\"\nholdout = \"others\"\n\
                   [fit]\nmodel = \"independent\"\nepsilon = 3\ndelta = 1e-5\n[cohort]\nrows = 80\n";

/// An export of as many other people.
fn others(world: &World) {
    let patient = |n: usize| {
        let mut patient = patient(n + 17);
        patient["id"] = format!("q-{n:03}").into();
        patient["birthDate"] = format!("{}-{:02}-{:02}", 1930 + n, n * 5 % 12 + 1, n * 11 % 27 + 1).into();
        patient
    };
    let encounter = |n: usize| {
        let mut encounter = encounter(n + 1003);
        encounter["id"] = format!("e-{n:03}").into();
        encounter["subject"]["reference"] = format!("Patient/q-{:03}", n % PATIENTS).into();
        encounter
    };
    std::fs::create_dir(world.path("others")).unwrap();
    world.write("others/Patient.ndjson", lines((0..PATIENTS).map(patient)));
    world.write("others/Encounter.000.ndjson", lines((0..ENCOUNTERS).map(encounter)));
    world.write("others/Condition.ndjson", world.text("export/Condition.ndjson").replace("p-0", "q-0"));
}

/// Puts a line at the beginning of a file.
fn put_first(world: &World, file: &str, line: &str) {
    world.write(file, format!("{line}\n{}", world.text(file)));
}

/// What is left out when a folder is read first is left out when it is read again: lines that are no resource of their table,
/// even if they stand first, and patients without an id.
#[test]
fn a_run_on_an_export_gives_an_export_and_says_what_it_claims() {
    let world = export();
    break_a_line(&world);
    put_first(&world, "export/Patient.ndjson", &encounter(3).to_string());
    let year_only =
        world.text("export/Patient.ndjson").replacen("\"birthDate\":\"1935-06-06\"", "\"birthDate\":\"1935\"", 1);
    world.write("export/Patient.ndjson", year_only);
    world.run("inspect export --assume-public -o schema.toml").succeeds().says(&["1 lines that are no resource"]);
    others(&world);
    for folder in ["export", "others"] {
        let mut nobody = patient(5);
        nobody["id"] = json!(null);
        let text = world.text(&format!("{folder}/Patient.ndjson"));
        world.write(&format!("{folder}/Patient.ndjson"), format!("{text}{nobody}\n"));
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(&world.read(&format!("{folder}/Encounter.000.ndjson"))).unwrap();
        world.write(&format!("{folder}/Encounter.ndjson.gz"), packed.finish().unwrap());
        std::fs::remove_file(world.path(&format!("{folder}/Encounter.000.ndjson"))).unwrap();
    }
    let schema = world.text("schema.toml");
    assert_eq!(schema.matches("on_broken      = \"drop\"").count(), 2, "{schema}");
    assert!(schema.contains("units") && schema.contains("= 60"), "{schema}");
    world.write("schema.toml", schema.replacen("= 60", "= 61", 1)).write("run.toml", RUN);
    world.run("run run.toml -o out").runs();
    assert_eq!(resources(&world, "out/cohort/Patient.ndjson").len(), 80);
    assert!(resources(&world, "out/cohort/Encounter.ndjson").iter().all(|line| line["resourceType"] == "Encounter"));
    let plan = world.run("plan run.toml -o planned").succeeds();
    assert!(plan.stdout.contains("each row of Patient is a person, with all rows below it"), "{plan}");

    let report = world.json("out/report-Condition.json");
    assert_valid("report.json", &report);
    let claim = &report["claim"];
    assert_eq!(claim["unit"], "person (a row of `Patient` with all rows below it)");
    assert_eq!(
        (&claim["assumed_public"], &claim["units"]),
        (&true.into(), &json!({ "known_as": "public", "count": 61 }))
    );
    let rows_used = claim["rows_used"].as_str().unwrap();
    assert!(
        rows_used.starts_with("one of `Patient`, the first ")
            && rows_used.contains("of `Condition` below a row of `Encounter`")
    );
    let columns = report["columns"].as_array().unwrap();
    assert!(columns.iter().any(|column| column["name"] == "clinicalStatus"), "the table's own columns");
    let assumed = "assumed at inspect (--assume-public)";
    assert!(columns.iter().any(|column| column["name"] == "code" && column["vouched_by"] == assumed));
    for (file, rows) in [(0, CONDITIONS - 1), (1, CONDITIONS - 1)] {
        let told = "all rows of the file of which the hash is told, but down to tens: how many there are is private";
        assert_eq!(report["files"][file]["rows"], rows / 10 * 10, "{told}");
    }
    assert!(world.text("out/report.html").contains("nobody vouches for what was taken as public"));
    assert!(world.text("ledger.jsonl").contains(r#"{"person":"Patient"}"#));
}

/// A table of which no row is drawn is an empty file, and read as such. Tables of which some are no NDJSON are drawn as CSV.
#[test]
fn a_cohort_is_read_back_whatever_it_is_made_of() {
    let world = export();
    world.run("inspect export --assume-public -o schema.toml").succeeds();
    world.write("export/Condition.ndjson", "");
    others(&world);
    world.write("run.toml", RUN.replace("epsilon = 3", "epsilon = inf"));
    let ran = world.run("run run.toml -o out --json").runs().json();
    assert_eq!(world.text("out/cohort/Condition.ndjson"), "");
    assert_eq!(ran["evaluation"]["left_out"], json!(["Condition"]));
    let header = "id,subject,encounter,code,code_display,code_system,clinicalStatus,onsetDateTime,abatementDateTime,recordedDate\n";
    for folder in ["export", "others"] {
        std::fs::remove_file(world.path(&format!("{folder}/Condition.ndjson"))).unwrap();
        world.write(&format!("{folder}/Condition.csv"), header);
    }
    let ran = world.run("run run.toml -o mixed --json").runs().json();
    assert_eq!(ran["evaluation"]["left_out"], json!(["Condition"]));
    for table in ["Patient", "Encounter", "Condition"] {
        assert!(world.text(&format!("mixed/cohort/{table}.csv")).contains("id,"), "{table}");
    }
}

/// Missing elements of resources are filled, and what is written is an export again.
#[test]
fn an_export_is_filled_as_one() {
    let world = export();
    world.run("inspect export --assume-public -o schema.toml").succeeds();
    world.write("schema.toml", world.text("schema.toml").replace("[[table]]\n", "[[table]]\non_broken = \"drop\"\n"));
    world
        .run("fit export --schema schema.toml --epsilon 3 --delta 1e-5 --model independent -o model.safetensors")
        .succeeds();
    break_a_line(&world);
    world.run("infer model.safetensors export --score -o scores.csv").succeeds();
    let without = world.text("export/Patient.ndjson").replacen("\"gender\":\"male\",", "", 1);
    world.write("export/Patient.ndjson", without).write("export/Encounter.000.ndjson", "");
    world.write("export/Condition.ndjson", "not JSON\n");
    world.run("infer model.safetensors export --fill --format ndjson -o filled").succeeds();
    let patients = resources(&world, "filled/Patient.ndjson");
    assert_eq!(patients.len(), PATIENTS);
    assert!(patients.iter().all(|patient| patient["gender"].is_string() && patient["resourceType"] == "Patient"));
    assert_eq!(world.text("filled/Encounter.ndjson") + &world.text("filled/Condition.ndjson"), "");
    world.run("infer model.safetensors filled --score -o again.csv").succeeds();
}

/// A line that is none, or of a type that is not read, is named and left out only where the schema says so.
#[test]
fn a_line_that_is_no_resource_is_named() {
    let world = export();
    world.run("inspect export --assume-public -o schema.toml").succeeds();
    let good = world.text("export/Condition.ndjson");
    let fit = "fit export --schema schema.toml --epsilon 3 --delta 1e-5 --model independent -o model.safetensors";
    let dropped = world.text("schema.toml").replace("[[table]]\n", "[[table]]\non_broken = \"drop\"\n");
    world.write("dropped.toml", dropped);
    for (number, (line, what)) in [
        (format!("{{\"resourceType\":\"{SECRET}\"}}"), "no resource of a type that is read"),
        (format!("{{\"resourceType\":\"Condition\",\"id\":\"{SECRET}"), "the line is not JSON"),
        (format!("{SECRET}, {SECRET}"), "the line is not JSON"),
        (patient(1).to_string(), "a resource of another type than the table's"),
    ]
    .into_iter()
    .enumerate()
    {
        for (row, text) in [(1, format!("{line}\n{good}")), (CONDITIONS + 1, format!("{good}{line}\n"))] {
            world.write("export/Condition.ndjson", text);
            let row_says = format!("row {row}");
            world.refuses(3, fit, &["Condition.ndjson", &row_says, what, "each a Condition", "on_broken"]);
        }
        let outcome = world
            .run(&format!(
                "{} --ledger dropped-{number}.jsonl",
                fit.replace("schema.toml", "dropped.toml").replace("-o model", &format!("-o dropped-{number}"))
            ))
            .succeeds()
            .says(&["table `Condition`: fewer than 10 lines are no resources of it"]);
        assert!(!outcome.stderr.contains(SECRET), "{outcome}");
    }
}
