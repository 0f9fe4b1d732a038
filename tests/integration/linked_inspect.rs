//! `inspect` on a folder of tables that hang together.

use crate::schemas::assert_valid;
use crate::world::{SECRET, World, sha256};
use synthward::schema::linked::{LinkedTable, Policy, Since};
use synthward::schema::{ConstraintFrom, Kind, LinkedSchema, Rule};

const PATIENTS: usize = 40;

fn patient(n: usize) -> String {
    format!("5605b66b-e92d-c16c-1b83-{n:012}")
}

fn visit(n: usize) -> String {
    format!("32c84703-2481-49cd-d571-{n:012}")
}

/// A hospital of four tables: patients under a byte-order mark, their visits, tests of the visits with headers in upper
/// case, and wards, which are nobody's. Some visits are of patients who are not there, and one key stands twice.
fn hospital() -> World {
    let world = World::new();
    std::fs::create_dir(world.path("hospital")).unwrap();
    let patients = (0..PATIENTS).map(|n| {
        let sex = ["F", "M"][n % 2];
        let died = if n % 5 == 0 { format!("2021-01-{:02}", n % 28 + 1) } else { String::new() };
        format!(
            "{},{}-03-{:02},{died},{sex},Anna{n},999-{:02}-{:04}\n",
            patient(n),
            1930 + n,
            n % 28 + 1,
            n + 10,
            n + 1000
        )
    });
    let patients: String = patients.collect();
    world.write("hospital/patients.csv", format!("\u{feff}Id,BIRTHDATE,DEATHDATE,sex,FIRST,SSN\n{patients}"));
    let day = |n: usize| format!("2020-{:02}-{:02}", n % 12 + 1, n * 7 % 28 + 1);
    let visits: String = (0..200)
        .map(|n| {
            let who = if n % 50 == 49 { 900 + n } else { n % PATIENTS };
            let own = if n == 150 { 149 } else { n };
            let (start, ward) = (day(n), n % 3);
            format!(
                "{},{},{start}T08:{:02}:00Z,{start}T23:{:02}:30Z,{ward}\n",
                visit(own),
                patient(who),
                n % 60,
                n % 50
            )
        })
        .collect();
    world.write("hospital/visits.csv", format!("Id,patient,start,stop,ward\n{visits}"));
    let texts = ["Measurement of the blood pressure", "Count of red blood cells", "Scan of the whole head"];
    let tests: String = (0..400)
        .map(|n| {
            let (of, code) = (n % 200, n * 5 % 3);
            let who = if of % 50 == 49 { 900 + of } else { of % PATIENTS };
            format!("{},{},{},{},{},\n", day(of), patient(who), visit(of), 7000 + code, texts[code])
        })
        .collect();
    world.write("hospital/TESTS.csv", format!("DATE,PATIENT,VISIT,CODE,DESCRIPTION,REMARK\n{tests}"));
    world.write("hospital/wards.csv", "Id,name\n0,surgery\n1,birth\n2,other\n");
    world.write("hospital/README.md", "No table.");
    world
}

fn schema(world: &World, arguments: &str) -> LinkedSchema {
    world.run(&format!("inspect hospital -o schema.toml {arguments}")).succeeds();
    LinkedSchema::from_toml(&world.text("schema.toml")).unwrap()
}

/// Nothing tells whose the rows of a table would be that has none: it is left out until somebody says.
#[test]
fn a_table_without_rows_is_left_out() {
    let world = hospital();
    world.write("hospital/drugs.csv", "Id,patient,code\n");
    for options in ["", "--assume-public"] {
        let schema = schema(&world, options);
        let drugs = schema.tables.iter().find(|table| table.name == "drugs").unwrap();
        assert!(drugs.drop && !drugs.reference && drugs.columns.len() == 3);
        assert_eq!(schema.check_for_fit().is_ok(), options.contains("assume"));
        assert!(
            world.text("schema.toml").contains("# read from rows: The table has no rows"),
            "{}",
            world.text("schema.toml")
        );
        std::fs::remove_file(world.path("schema.toml")).unwrap();
    }
}

#[test]
fn a_folder_is_drafted_without_edits() {
    let world = hospital();
    let schema = schema(&world, "--assume-public --reference wards");
    schema.check_for_fit().unwrap();
    assert_eq!(LinkedSchema::from_toml(&schema.to_toml()).unwrap(), schema);
    assert_eq!(
        (schema.linked.name.as_str(), schema.linked.units, schema.linked.assumed_public),
        ("hospital", Some(40), true)
    );
    let names: Vec<&str> = schema.tables.iter().map(|table| table.name.as_str()).collect();
    assert_eq!(names, ["TESTS", "patients", "visits", "wards"]);
    let [tests, patients, visits, wards] = &schema.tables[..] else { panic!() };
    assert_eq!((patients.key.as_deref(), patients.parent.as_deref()), (Some("Id"), None));
    assert_eq!((patients.origin.as_deref(), patients.end.as_deref()), (Some("BIRTHDATE"), Some("DEATHDATE")));
    for name in ["FIRST", "SSN"] {
        assert!(patients.column(name).unwrap().drop, "{name}");
    }
    assert_eq!((visits.parent.as_deref(), visits.order.as_deref()), (Some("patients"), Some("start")));
    assert_eq!((visits.since, visits.max_rows), (Since::Calendar, Some(5)));
    assert_eq!((visits.on_dangling, visits.on_duplicate), (Policy::Drop, Policy::Drop));
    assert_eq!(visits.column("ward").unwrap().kind, Kind::Categorical);
    let ordered = |rule: &Rule| matches!(rule, Rule::Inequality { low, high, .. } if low == "start" && high == "stop");
    assert!(visits.constraints.iter().any(|constraint| ordered(&constraint.rule)));
    assert_eq!((tests.parent.as_deref(), tests.order.as_deref()), (Some("visits"), Some("DATE")));
    assert_eq!(tests.links.len(), 2);
    assert!(tests.column("REMARK").unwrap().drop);
    let follows = |rule: &Rule| matches!(rule, Rule::Dependency { of, on, map, .. } if of == "DESCRIPTION" && on == "CODE" && map.len() == 3);
    assert!(tests.constraints.iter().any(|constraint| follows(&constraint.rule)));
    assert!(wards.reference && wards.columns.is_empty() && wards.reference_from == Some(ConstraintFrom::Public));
    assert_eq!(wards.sha256, Some(sha256(&world.read("hospital/wards.csv"))));
}

#[test]
fn what_is_read_from_the_rows_is_marked() {
    let world = hospital();
    let schema = schema(&world, "");
    assert!(schema.check_for_fit().is_err());
    assert_eq!((schema.linked.units, schema.linked.assumed_public), (None, false));
    let is_marked = |table: &LinkedTable| !table.reference && table.structure_from == Some(ConstraintFrom::Data);
    assert!(schema.tables.iter().all(|table| is_marked(table) && table.max_rows.is_none()));
    assert!(schema.tables[3].drop, "a table to which no link was found is left out");
    let text = world.text("schema.toml");
    assert!(!text.contains("= \"public\"\n") && text.contains("from = \"data\""), "{text}");
}

#[test]
fn the_summary_and_the_answer_name_the_tables() {
    let world = hospital();
    let outcome = world.run("inspect hospital --reference WARDS --json").succeeds();
    assert_valid("inspect_folder.json", &outcome.json());
    for words in ["patients", "- (root)", "- (reference)", "4 rows without a parent", "1 rows with a key twice"] {
        assert!(outcome.stderr.contains(words), "{words}: {outcome}");
    }
}

#[test]
fn folders_that_are_no_tables_of_persons_are_refused() {
    let world = hospital();
    world.refuses(2, "inspect hospital --unit patient", &["--unit does not go with a folder", "leave it out"]);
    std::fs::create_dir(world.path("empty")).unwrap();
    world.refuses(3, "inspect empty", &["the folder has no tables", ".csv.gz", "name another folder"]);
    std::fs::create_dir(world.path("nobody")).unwrap();
    world.write("nobody/wards.csv", format!("Id,name\n0,{SECRET}\n1,b\n"));
    world.refuses(3, "inspect nobody", &["no table of persons", "rename the file"]);
    world.write("nobody/patients.csv", format!("sex,age\n{SECRET},3\n{SECRET},3\n"));
    world.refuses(3, "inspect nobody", &["table `patients`", "no column names each of its rows"]);
    world.write("nobody/patients.csv", format!("Id,sex\n1,{SECRET},3\n"));
    world.refuses(3, "inspect nobody", &["patients.csv", "row 1", "take the file out of the folder"]);
}
