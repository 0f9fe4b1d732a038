//! The story of a small hospital, told by hand.

use super::{Kept, LinkedTables, read_linked};
use crate::ingest::{MISSING, Values};
use crate::schema::{LinkedSchema, Schema};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use synthward_privacy::UnitKey;

const SCHEMA: &str = r#"
    [linked]
    name = "hospital"
    [[table]]
    name = "people"
    key = "id"
    origin = "born"
    end = "died"
    column = [
        { name = "id", kind = "identifier" },
        { name = "born", kind = "datetime", type = "date32", min = "1950-01-01", max = "2010-12-31", domain_from = "public" },
        { name = "died", kind = "datetime", type = "date32", min = "2000-01-01", max = "2030-12-31", domain_from = "public" },
        { name = "sex", kind = "categorical", categories = ["F", "M"], domain_from = "public" },
    ]
    [[table]]
    name = "visits"
    key = "id"
    parent = "people"
    links = { who = "people" }
    order = "start"
    since = "calendar"
    max_rows = 3
    column = [
        { name = "id", kind = "identifier" },
        { name = "who", kind = "identifier" },
        { name = "start", kind = "datetime", type = "timestamp[s]", resolution = "hour", min = "2010-01-01T00:00:00", max = "2030-12-31T00:00:00", domain_from = "public" },
        { name = "stop", kind = "datetime", type = "timestamp[s]", resolution = "hour", min = "2010-01-01T00:00:00", max = "2030-12-31T00:00:00", domain_from = "public" },
        { name = "class", kind = "categorical", categories = ["a", "b"], domain_from = "public" },
    ]
    [[table.constraint]]
    kind = "inequality"
    low = "start"
    high = "stop"
    [[table]]
    name = "tests"
    parent = "visits"
    links = { visit = "visits" }
    order = "day"
    column = [
        { name = "visit", kind = "identifier" },
        { name = "day", kind = "datetime", type = "date32", min = "2010-01-01", max = "2030-12-31", domain_from = "public" },
        { name = "value", kind = "integer", min = 0, max = 9, domain_from = "public" },
    ]
"#;

/// Two people, of whom the first has two visits that stand in the file in the wrong order, and the second none.
fn read(visits: &str) -> (LinkedSchema, Arc<LinkedTables>) {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("people.csv", "id,born,died,sex\np,2000-01-01,2020-01-11,F\nq,1990-06-01,,M\n");
    write("Visits.CSV", visits);
    write("tests.csv", "visit,day,value\n1,2020-01-03,7\n1,2020-01-01,5\n");
    let schema = LinkedSchema::from_toml(SCHEMA).unwrap();
    let tables = read_linked(folder.path(), &schema, 1 << 20).unwrap().for_controller();
    (schema, Arc::new(tables))
}

const VISITS: &str =
    "id,who,start,stop,class\n2,p,2020-01-01T12:00:00,,b\n1,p,2019-12-31T12:00:00,2019-12-31T15:00:00,a\n";

/// A column of a table's view, a missing cell as none.
fn cells((schema, tables): &(LinkedSchema, Arc<LinkedTables>), table: &str, column: &str) -> Vec<Option<f64>> {
    let place = schema.place(table).unwrap();
    let store = tables.view(place, &schema.view(place).unwrap()).unwrap();
    match store.column(column).unwrap().unwrap() {
        Values::Number(cells) => cells.into_iter().map(|x| (!x.is_nan()).then_some(x)).collect(),
        Values::Text { codes, labels } => {
            let place = |code: u32| {
                let label = labels.get(code as usize)?;
                ["F", "M", "a", "b", "1", "2", "3", "4"].iter().position(|l| l == label).map(|place| place as f64)
            };
            codes.into_iter().map(|code| if code == MISSING { None } else { place(code) }).collect()
        }
    }
}

#[test]
fn rows_stand_beside_what_they_are_told_from() {
    let read = read(VISITS);
    let days = |from: (i32, u32, u32), to: (i32, u32, u32)| {
        let day = |(y, m, d)| chrono::NaiveDate::from_ymd_opt(y, m, d).unwrap();
        (day(to) - day(from)).num_days() as f64
    };
    let all = |table: &str, column: &str| cells(&read, table, column);
    assert_eq!(all("people", "number of visits"), [Some(2.0), Some(0.0)]);
    assert_eq!(all("people", "died"), [Some(8.0), None], "days from the last row below, of a test, to the end");
    let first = days((2010, 1, 1), (2019, 12, 31)) * 24.0 + 12.0;
    assert_eq!(all("visits", "start"), [Some(first), Some(24.0)], "hours of the calendar, then since the row before");
    assert_eq!(all("visits", "stop"), [Some(3.0), None], "hours since the start");
    assert_eq!(all("visits", "class"), [Some(2.0), Some(3.0)]);
    assert_eq!(all("visits", "previous class"), [None, Some(2.0)]);
    assert_eq!(all("visits", "place of the row"), [Some(4.0), Some(5.0)]);
    assert_eq!(all("visits", "people.sex"), [Some(0.0), Some(0.0)]);
    assert_eq!(all("visits", "all visits"), [Some(2.0), Some(2.0)]);
    assert_eq!(all("visits", "number of tests"), [Some(2.0), Some(0.0)]);
    let age = days((2000, 1, 1), (2019, 12, 31));
    assert_eq!(all("visits", "age before the row"), [None, Some(age)]);
    assert_eq!(all("tests", "value"), [Some(5.0), Some(7.0)], "in the order of their days");
    assert_eq!(
        all("tests", "day"),
        [Some(1.0), Some(2.0)],
        "days since noon of the visit's, then since the row before"
    );
    assert_eq!(all("tests", "visits.class"), [Some(2.0), Some(2.0)]);
    assert_eq!(all("tests", "age before the row"), [Some(age), Some(age)]);
}

/// Days from a moment to a date are those from its day.
#[test]
fn dates_follow_moments_by_whole_days() {
    let read = read(&VISITS.replace("T12:00:00,2019-12-31T15", "T20:00:00,2019-12-31T22"));
    assert_eq!(cells(&read, "tests", "day"), [Some(1.0), Some(2.0)]);
    assert_eq!(cells(&read, "visits", "start")[1], Some(16.0));
}

/// The unit is the person in every table, and only who has rows there is one.
#[test]
fn units_are_people_and_the_first_rows_are_kept() {
    let more = |n: usize| format!("{},q,2015-01-{:02}T00:00:00,,a\n", n + 10, n + 1);
    let read = read(&(VISITS.to_owned() + &(0..5).map(more).collect::<String>()));
    let (schema, tables) = &read;
    let units = |table: &str| {
        let place = schema.place(table).unwrap();
        tables.view_frame(place, &schema.view(place).unwrap()).unwrap().unit.unwrap()
    };
    assert_eq!((units("people"), units("visits"), units("tests")), (vec![0, 1], vec![0, 0, 1, 1, 1], vec![0, 0]));
    assert_eq!(cells(&read, "visits", "start")[3..], [Some(24.0), Some(24.0)]);
    assert_eq!(cells(&read, "people", "number of visits"), [Some(2.0), Some(3.0)], "two of five are left out");
}

/// A history of persons, who may stand apart in the file.
const HISTORY: &str = r#"
    column = [
        { name = "who", kind = "identifier", type = "int64" },
        { name = "n", kind = "integer", min = 0, max = 99, domain_from = "public" },
        { name = "m", kind = "integer", min = 0, max = 99, domain_from = "public" },
    ]
    [table]
    name = "t"
    privacy_unit = "who"
    max_rows_per_unit = 2
    order = "n"
"#;

/// A folder of persons and their rows.
const FOLDER: &str = r#"
    [linked]
    name = "t"
    [[table]]
    name = "people"
    key = "who"
    column = [{ name = "who", kind = "identifier", type = "int64" }, { name = "n", kind = "integer", min = 0, max = 99, domain_from = "public" }]
    [[table]]
    name = "rows"
    parent = "people"
    links = { who = "people" }
    max_rows = 2
    column = [{ name = "who", kind = "identifier", type = "int64" }, { name = "m", kind = "integer", min = 0, max = 99, domain_from = "public" }]
"#;

/// The identity of each person, with what is kept of the person's rows, under a key of these bytes.
fn persons(path: &Path, schema: &LinkedSchema, key: &Arc<UnitKey>) -> BTreeMap<u64, Vec<Option<u64>>> {
    let tables = super::read(path, schema, Kept::Modelled, 1 << 20, key.subkey("all")).unwrap().for_controller();
    let identities = tables.identities().1;
    let read = (schema.clone(), Arc::new(tables));
    let below = &schema.tables[1].name;
    let kept = cells(&read, below, "m");
    let mut persons: BTreeMap<u64, Vec<Option<u64>>> = identities.iter().map(|&one| (one, Vec::new())).collect();
    for (&person, cell) in read.1.person_of_rows(1).unwrap().iter().zip(kept) {
        persons.entry(identities[person as usize]).or_default().push(cell.map(|cell| cell as u64));
    }
    persons
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whoever is put in, wherever: all others keep their identity and their rows. Keys are what their type says.
    #[test]
    fn one_person_more_changes_nobody_else(
        rows in vec((0u32..6, 0u32..50, 0u32..50), 1..30),
        more in vec((0u32..50, 0u32..50, 0usize..30), 1..5),
    ) {
        let key = Arc::new(UnitKey::from_system().unwrap());
        let mut with: Vec<(u32, u32, u32)> = rows.clone();
        more.iter().for_each(|&(n, m, place)| with.insert(place.min(with.len()), (77, n, m)));
        let folder = tempfile::tempdir().unwrap();
        let history = Schema::from_toml(HISTORY).unwrap().history().unwrap().unwrap();
        let linked = LinkedSchema::from_toml(FOLDER).unwrap();
        let read = |rows: &[(u32, u32, u32)], zeros: &str| {
            let path = folder.path().join("t.csv");
            let lines: String = rows.iter().map(|(who, n, m)| format!("{zeros}{who},{n},{m}\n")).collect();
            std::fs::write(&path, format!("who,n,m\n{lines}")).unwrap();
            let mut all = vec![persons(&path, &history, &key)];
            let mut seen = Vec::new();
            rows.iter().for_each(|row| if !seen.contains(&row.0) { seen.push(row.0) });
            let people: String = seen.iter().map(|who| format!("{who},7\n")).collect();
            let below: String = rows.iter().map(|(who, _, m)| format!("{zeros}{who},{m}\n")).collect();
            std::fs::write(folder.path().join("people.csv"), format!("who,n\n{people}")).unwrap();
            std::fs::write(folder.path().join("rows.csv"), format!("who,m\n{below}")).unwrap();
            all.push(persons(folder.path(), &linked, &key));
            all
        };
        let (before, after) = (read(&rows, ""), read(&with, "00"));
        for (before, mut after) in before.into_iter().zip(after) {
            prop_assert_eq!(after.len(), before.len() + 1);
            after.retain(|person, _| before.contains_key(person));
            prop_assert_eq!(before, after);
        }
    }
}
