//! A FHIR bulk export goes in, and a cohort comes out as one.

use crate::schemas::assert_valid;
use crate::world::{SECRET, World};
use serde_json::{Value, json};
use std::collections::HashSet;
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
    let world = World::new();
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
    assert_eq!(names, ["Patient", "Encounter", "Condition"]);
    let [patient, encounter, condition] = &schema.tables[..] else { panic!() };
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
    let line = "on_broken    = \"drop\"\n";
    assert_eq!(schema.matches(line).count(), 1);
    world.write("strict.toml", schema.replace(line, ""));
    world.refuses(
        3,
        "fit export --schema strict.toml --epsilon 3 --delta 1e-3 -o model.safetensors",
        &["Condition.ndjson", "row 3", "not JSON", "on_broken"],
    );
    let fitted = world.run("fit export --schema schema.toml --epsilon 3 --delta 1e-3 -o model.safetensors").succeeds();
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
