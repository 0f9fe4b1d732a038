//! Columns that follow from others: `inspect` drafts how, somebody vouches, and the cohort holds it.

use crate::world::World;
use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::LazyLock;
use synthward::ingest::{Source, count_broken, load};
use synthward::schema::{Constraint, ConstraintFrom, Rule, Schema};

/// The clinic's table, its draft with everything vouched for, and a cohort of a model of it.
struct Clinic {
    world: World,
    draft: String,
    schema: Schema,
}

static CLINIC: LazyLock<Clinic> = LazyLock::new(|| {
    let world = World::shared("follows");
    let table = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/clinic/visits.csv");
    world.write("visits.csv", std::fs::read(table).unwrap());
    let draft = world.run("inspect visits.csv --unit row --quiet").succeeds().stdout;
    world.run("inspect visits.csv --unit row --assume-public -o schema.toml").succeeds();
    let fit = "fit visits.csv --schema schema.toml --epsilon 3 --delta 1e-5 -o model.safetensors --seed 1";
    world.run_with("SYNTHWARD_TEST_MIXTURE_STEPS", "128", fit).succeeds();
    world.run("generate model.safetensors --rows 1200 --seed 1 -o cohort.csv").succeeds();
    let schema = Schema::from_toml(&world.text("schema.toml")).unwrap();
    Clinic { world, draft, schema }
});

fn rule(schema: &Schema, is: impl Fn(&Rule) -> bool) -> Option<&Constraint> {
    schema.constraints.iter().find(|constraint| is(&constraint.rule))
}

/// The texts of each column of a CSV file without quotes.
fn cells(text: &str) -> HashMap<String, Vec<String>> {
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap().split(',').collect();
    let mut cells: HashMap<String, Vec<String>> = HashMap::new();
    for line in lines {
        for (name, cell) in names.iter().zip(line.split(',')) {
            cells.entry((*name).to_owned()).or_default().push(cell.to_owned());
        }
    }
    cells
}

#[test]
fn what_follows_is_drafted_each_as_what_it_is() {
    let titles: Vec<String> = CLINIC.schema.constraints.iter().map(Constraint::title).collect();
    for expected in [
        "bmi = 10000 * weight_kg / height_cm^2",
        "systolic_mean = (systolic_1 + systolic_2) / 2",
        "nights = discharged - admitted",
        "decade groups age",
        "school_years by school",
        "admitted <= discharged",
        "followup_days <= death_day",
        "pregnancies missing unless sex = 'F'",
        "cigarettes missing unless smoker = 'yes'",
    ] {
        assert!(titles.iter().any(|title| title == expected), "{expected}: {titles:#?}");
    }
    let of_kind = |kind: &str| CLINIC.schema.constraints.iter().filter(|c| c.rule.kind() == kind).count();
    assert_eq!(["formula", "bins", "dependency"].map(of_kind), [3, 1, 1], "{titles:#?}");
    let implies = |when: &str, then: &str| {
        let is = |rule: &Rule| matches!(rule, Rule::Implication { when: w, then: t } if w.contains(when) && t.contains(then));
        assert!(rule(&CLINIC.schema, is).is_some(), "{when} {then}: {titles:#?}");
    };
    implies("sex = 'M'", "pregnant = 'no'");
    implies("'widowed'", "age >= ");
}

#[test]
fn a_dependency_has_its_map_and_groups_their_ends() {
    let Some(Constraint { rule: Rule::Dependency { map, .. }, .. }) =
        rule(&CLINIC.schema, |rule| matches!(rule, Rule::Dependency { .. }))
    else {
        panic!()
    };
    let years: Vec<(&str, String)> = map.iter().map(|(school, years)| (school.as_str(), years.spelled())).collect();
    let expected = [("college", "13"), ("none", "0"), ("primary", "6"), ("secondary", "10"), ("university", "17")];
    assert_eq!(years, expected.map(|(school, years)| (school, years.to_owned())));
    let Some(Constraint { rule: Rule::Bins { starts, values, .. }, .. }) =
        rule(&CLINIC.schema, |rule| matches!(rule, Rule::Bins { .. }))
    else {
        panic!()
    };
    assert_eq!(*starts, (1..10).map(|decade| f64::from(decade) * 10.0).collect::<Vec<_>>());
    assert_eq!((values.len(), values[3].spelled()), (10, "30s".to_owned()));
}

/// Each rule is marked, and `fit` wants somebody to vouch for each.
#[test]
fn every_drafted_rule_is_marked_and_refused_by_itself() {
    let Clinic { world, draft, schema } = &*CLINIC;
    let heads = draft.lines().filter(|line| line.starts_with("[[constraint]]"));
    assert!(heads.clone().count() >= 10 && heads.clone().all(|line| line.ends_with("# read from rows")), "{draft}");
    let drafted = Schema::from_toml(draft).unwrap();
    assert!(drafted.constraints.iter().all(|constraint| constraint.from == ConstraintFrom::Data));
    for number in [0, schema.constraints.len() - 1] {
        let mut schema = schema.clone();
        schema.constraints[number].from = ConstraintFrom::Data;
        world.write(&format!("unvouched-{number}.toml"), schema.to_toml());
        let fit = format!(
            "fit visits.csv --schema unvouched-{number}.toml --epsilon 1 --delta 1e-5 -o unvouched.safetensors"
        );
        world.run(&fit).exits(3).says(&["was read from the rows"]);
    }
    assert!(
        draft.contains("step        = 5000   # read from rows")
            && draft.contains("step        = 0.25   # read from rows"),
        "{draft}"
    );
}

#[test]
fn a_cohort_holds_every_rule_in_every_row() {
    let Clinic { world, schema, .. } = &*CLINIC;
    let cohort = load(&Source::from(world.path("cohort.csv").as_path()), schema).unwrap().for_controller();
    assert_eq!(cohort.rows, 1200);
    let broken: Vec<(String, usize)> =
        count_broken(&cohort, schema).into_iter().filter(|(_, rows)| *rows > 0).collect();
    assert!(broken.is_empty(), "{broken:?}");
    let real = load(&Source::from(world.path("visits.csv").as_path()), schema).unwrap().for_controller();
    assert!(count_broken(&real, schema).iter().all(|(_, rows)| *rows == 0));
}

/// Nights are kept as drawn, and the later day is computed: drawn days would be much further apart.
#[test]
fn nights_between_two_days_are_as_many_as_in_the_rows() {
    let mean = |file: &str| {
        let nights = cells(&CLINIC.world.text(file)).remove("nights").unwrap();
        let present: Vec<f64> = nights.iter().filter_map(|cell| cell.parse().ok()).collect();
        present.iter().sum::<f64>() / present.len() as f64
    };
    let (real, drawn) = (mean("visits.csv"), mean("cohort.csv"));
    assert!((drawn / real - 1.0).abs() < 0.15, "{drawn} {real}");
}

/// Twelve incomes stay twelve, and numbers on a lattice stay on it.
#[test]
fn few_values_stay_values_and_numbers_keep_their_lattice() {
    let world = &CLINIC.world;
    let (real, made) = (cells(&world.text("visits.csv")), cells(&world.text("cohort.csv")));
    let distinct =
        |cells: &HashMap<String, Vec<String>>, name: &str| cells[name].iter().cloned().collect::<BTreeSet<_>>();
    assert!(distinct(&made, "income").is_subset(&distinct(&real, "income")));
    let numbers = |name: &str| made[name].iter().map(|cell| cell.parse::<f64>().unwrap()).collect::<Vec<_>>();
    assert!(numbers("salary").iter().all(|salary| salary % 5000.0 == 0.0));
    assert!(numbers("dose").iter().all(|dose| dose % 0.25 == 0.0));
    let says = |name: &str, words: &str| {
        let place = CLINIC.draft.find(&format!("\nname        = \"{name}\"")).unwrap();
        let column = &CLINIC.draft[CLINIC.draft[..place].rfind("[[column]]").unwrap()..place];
        assert!(column.contains("# read from rows: ") && column.contains(words), "{name}: {column}");
    };
    says("income", "12 different numbers");
    says("site", "19 whole numbers");
    assert!(CLINIC.draft.contains("name        = \"postcode\"\nkind        = \"code\""), "{}", CLINIC.draft);
}

/// Known cells stay as they are; what is missing follows from them, forwards and backwards.
#[test]
fn missing_cells_are_filled_by_what_they_follow_from() {
    let Clinic { world, schema, .. } = &*CLINIC;
    let mut lines: Vec<Vec<String>> =
        world.text("visits.csv").lines().take(61).map(|line| line.split(',').map(str::to_owned).collect()).collect();
    let place = |name: &str| lines[0].iter().position(|own| own == name).unwrap();
    let (bmi, weight, decade, years, mean) =
        (place("bmi"), place("weight_kg"), place("decade"), place("school_years"), place("systolic_mean"));
    for (row, line) in lines.iter_mut().enumerate().skip(1) {
        let emptied = if row % 2 == 0 { vec![bmi, decade, years, mean] } else { vec![weight] };
        emptied.into_iter().for_each(|j| line[j].clear());
    }
    let text: String = lines.iter().map(|line| line.join(",") + "\n").collect();
    world.write("holes.csv", text);
    world.run("infer model.safetensors holes.csv --fill -o filled.csv --seed 1").succeeds();
    let filled = load(&Source::from(world.path("filled.csv").as_path()), schema).unwrap().for_controller();
    for (title, rows) in count_broken(&filled, schema) {
        let is_filled = ["bmi", "systolic_mean", "decade", "school_years"].iter().any(|name| title.starts_with(name));
        assert!(!is_filled || rows == 0, "{title}: {rows}");
    }
}

/// A condition on what is computed is one on what it is computed from.
#[test]
fn a_condition_may_ask_for_what_is_computed() {
    let world = &CLINIC.world;
    for (name, condition) in
        [("heavy", "bmi >= 30"), ("thirties", "decade = '30s'"), ("seventeen", "school_years = 17")]
    {
        let output = format!("{name}.csv");
        world
            .run_words(&["generate", "model.safetensors", "--rows", "60", "--where", condition, "-o", &output])
            .succeeds();
        let made = cells(&world.text(&output));
        let holds = |row: usize| match name {
            "heavy" => made["bmi"][row].parse::<f64>().unwrap() >= 30.0,
            "thirties" => made["age"][row].starts_with('3') && made["age"][row].len() == 2,
            _ => made["school"][row] == "university",
        };
        assert!((0..60).all(holds), "{condition}");
    }
}

/// What holds in one table and not in another one is no rule, and a whole number that has decimals there is none.
#[test]
fn a_second_table_takes_away_what_it_contradicts() {
    let world = World::new();
    let row = |n: usize| {
        let (a, b) = (n * 7 % 50, n * 11 % 60);
        (a, b, a + b)
    };
    let table = |rows: std::ops::Range<usize>, odd: bool| {
        let line = |n: usize| {
            let (a, b, sum) = row(n);
            let sum = if odd && n.is_multiple_of(3) { sum + 7 } else { sum };
            format!("{a},{},{sum},{}\n", if odd { format!("{b}.5") } else { b.to_string() }, ["x", "y"][n % 2])
        };
        format!("a,b,sum,group\n{}", rows.map(line).collect::<String>())
    };
    world.write("train.csv", table(0..400, false)).write("holdout.csv", table(400..600, true).replace(",x\n", ",z\n"));
    let alone = world.run("inspect train.csv --unit row --quiet").succeeds().stdout;
    assert!(alone.contains("kind = \"sum\"\nfrom = \"data\"\ntotal = \"sum\""), "{alone}");
    let both = world.run("inspect train.csv --also holdout.csv --unit row --quiet").succeeds().stdout;
    assert!(!both.contains("kind = \"sum\""), "{both}");
    let schema = Schema::from_toml(&both).unwrap();
    assert_eq!(schema.column("b").unwrap().decimals, Some(1));
    assert_eq!(schema.column("group").unwrap().categories, ["x", "y", "z"]);
    for name in ["train.csv", "holdout.csv"] {
        assert!(load(&Source::from(world.path(name).as_path()), &schema).is_ok(), "{name}");
    }
    world.write("other.csv", "a,b,c\n1,2,3\n");
    world.refuses(3, "inspect train.csv --also other.csv", &["not the same columns", "`c`", "`group`", "`sum`"]);
    world.refuses(2, "inspect . --also other.csv", &["--also does not go with a folder"]);
}
