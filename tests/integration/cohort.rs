//! A fitted model and the cohorts drawn from it.

use crate::hospital::{FIRST_PATIENT, Hospital, MAX_VISITS, SCHEMA};
use crate::world::World;
use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_schema::SchemaRef;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::sync::LazyLock;

/// A world with `visits.parquet`, its inspected schema and `model.safetensors`.
struct Fitted {
    world: World,
    hospital: Hospital,
}

fn fitted(model: &str) -> Fitted {
    let world = World::shared(&format!("fitted-{model}"));
    let hospital = Hospital::new(2000, FIRST_PATIENT);
    world.write("visits.parquet", hospital.parquet());
    world.write("holdout.parquet", Hospital::new(700, 5_000_001).parquet());
    world.run("inspect visits.parquet --unit patient --assume-public -o drafted.toml").succeeds();
    // A draft names no target, and bounds the rows of a patient by a default.
    let drafted = world.text("drafted.toml").replace("max_rows_per_unit = 4", "max_rows_per_unit = 3");
    assert!(drafted.contains("max_rows_per_unit = 3"));
    let target = &SCHEMA[SCHEMA.find("[[target]]").unwrap()..];
    world.write("schema.toml", format!("{drafted}\n{target}"));
    let fit = "fit visits.parquet --schema schema.toml --epsilon 3 --delta 1e-5 -o model.safetensors --model";
    world.run_with("SYNTHWARD_TEST_MIXTURE_STEPS", "128", &format!("{fit} {model}")).succeeds();
    Fitted { world, hospital }
}

static VAE: LazyLock<Fitted> = LazyLock::new(|| fitted("vae"));
static INDEPENDENT: LazyLock<Fitted> = LazyLock::new(|| fitted("independent"));
static MARGINAL: LazyLock<Fitted> = LazyLock::new(|| fitted("marginal"));

fn all() -> [&'static Fitted; 3] {
    [&INDEPENDENT, &MARGINAL, &VAE]
}

impl Fitted {
    /// Draws a cohort to a file of this name.
    fn generate(&self, rows: usize, options: &str, name: &str) {
        self.world.run(&format!("generate model.safetensors --rows {rows} {options} -o {name}")).succeeds();
    }

    /// Reads a Parquet cohort back: what the file says of itself, and its rows as one batch.
    fn parquet(&self, name: &str) -> (HashMap<String, String>, SchemaRef, RecordBatch) {
        let file = File::open(self.world.path(name)).unwrap();
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        let pairs = builder.metadata().file_metadata().key_value_metadata().cloned().unwrap_or_default();
        let pairs = pairs.into_iter().map(|pair| (pair.key, pair.value.unwrap_or_default())).collect();
        let schema = builder.schema().clone();
        let batches: Vec<RecordBatch> = builder.build().unwrap().map(Result::unwrap).collect();
        let batch = arrow_select::concat::concat_batches(&schema, &batches).unwrap();
        (pairs, schema, batch)
    }
}

#[test]
fn types_order_and_nullability_are_the_inputs() {
    for fitted in all() {
        fitted.generate(2000, "", "types.parquet");
        let (_, schema, batch) = fitted.parquet("types.parquet");
        let input = fitted.hospital.batch().schema();
        let describe = |schema: &SchemaRef| -> Vec<String> {
            let fields = schema.fields().iter().filter(|field| field.name() != "note");
            fields.map(|f| format!("{} {} {}", f.name(), f.data_type(), f.is_nullable())).collect()
        };
        assert_eq!(describe(&schema), describe(&input));
        for field in schema.fields() {
            let missing = batch[field.name().as_str()].null_count();
            let was_missing = fitted.hospital.column(field.name()).count() < fitted.hospital.rows.len();
            assert_eq!(missing > 0, was_missing, "{}: {missing} missing", field.name());
        }
    }
}

#[test]
fn values_keep_their_domain_and_spelling() {
    for fitted in all() {
        fitted.generate(3000, "--seed 5", "values.csv");
        let csv = fitted.world.text("values.csv");
        let mut lines = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
        let header = lines.next().unwrap();
        let rows: Vec<Vec<&str>> = lines.collect();
        for name in ["sex", "age", "weight", "admitted", "smoker", "stage", "diagnosis", "ward", "readmitted"] {
            let index = header.iter().position(|column| *column == name).unwrap();
            let real: HashSet<&str> = fitted.hospital.column(name).collect();
            let (mut drawn, mut outside) = (HashSet::new(), HashSet::new());
            for cell in rows.iter().map(|row| row[index]).filter(|cell| !cell.is_empty()) {
                drawn.insert(cell);
                if !real.contains(cell) {
                    outside.insert(cell);
                }
            }
            // Ages, weights and days lie between the ends; a value between that nobody had is no fault.
            if ["age", "weight", "admitted"].contains(&name) {
                let number = |cell: &str| cell.replace('-', "").parse::<f64>().unwrap();
                let ends = real.iter().map(|c| number(c)).fold((f64::MAX, f64::MIN), |(a, b), x| (a.min(x), b.max(x)));
                assert!(drawn.iter().all(|c| (ends.0..=ends.1).contains(&number(c))), "{name}");
                let written = |cell: &&&str| cell.len() == 10 || cell.split('.').nth(1).is_none_or(|d| d.len() == 1);
                assert_eq!(drawn.iter().filter(written).count(), drawn.len(), "{name}: resolution");
                assert!(drawn.len() > 20, "{name}");
            } else {
                assert!(outside.is_empty(), "{name}: {outside:?}");
                assert_eq!(drawn.len(), real.len(), "{name}");
            }
        }
    }
}

#[test]
fn identifiers_are_fresh_and_patients_have_a_plausible_number_of_rows() {
    for fitted in all() {
        fitted.generate(2500, "--seed 11", "keys.parquet");
        let (_, _, batch) = fitted.parquet("keys.parquet");
        let real: HashSet<&str> = fitted.hospital.column("visit").chain(fitted.hospital.column("patient")).collect();
        let visits: HashSet<&str> = batch["visit"].as_string::<i32>().iter().flatten().collect();
        let patients: Vec<i64> = batch["patient"].as_primitive::<Int64Type>().values().to_vec();
        assert_eq!(visits.len(), 2500, "a visit has a key of its own");
        assert!(visits.iter().all(|key| !real.contains(key)));
        assert!(patients.iter().all(|key| !real.contains(key.to_string().as_str())));
        let mut rows: HashMap<i64, usize> = HashMap::new();
        for patient in &patients {
            *rows.entry(*patient).or_default() += 1;
        }
        assert!(rows.values().all(|rows| (1..=MAX_VISITS).contains(rows)));
        for count in 1..=MAX_VISITS {
            // A third of the patients each; the model is noisy, so between a tenth and two thirds.
            let share = rows.values().filter(|rows| **rows == count).count() as f64 / rows.len() as f64;
            assert!((0.1..0.67).contains(&share), "{count} visits: {share}");
        }
        let runs = patients.chunk_by(|a, b| a == b).count();
        assert_eq!(runs, rows.len(), "the rows of a patient stand together");
    }
}

#[test]
fn a_seed_gives_the_same_bytes_at_any_number_of_threads() {
    let formats = [&["parquet", "csv", "arrow"][..]].into_iter().chain(std::iter::repeat(&["parquet"][..]));
    for (fitted, formats) in all().into_iter().zip(formats) {
        for format in formats {
            let name = |run: &str| format!("seed-{run}.{format}");
            fitted.generate(6000, "--seed 3 --threads 1", &name("one"));
            fitted.generate(6000, "--seed 3 --threads 2", &name("two"));
            fitted.generate(6000, "--seed 4 --threads 2", &name("other"));
            let bytes = |run: &str| fitted.world.read(&name(run));
            assert!(bytes("one") == bytes("two"), "{format}");
            assert!(bytes("one") != bytes("other"), "{format}");
        }
    }
}

#[test]
fn every_format_holds_the_same_rows() {
    for fitted in all() {
        for format in ["parquet", "csv", "arrow"] {
            fitted.generate(1234, "--seed 9", &format!("same.{format}"));
        }
        let (_, _, parquet) = fitted.parquet("same.parquet");
        let file = File::open(fitted.world.path("same.arrow")).unwrap();
        let reader = arrow_ipc::reader::FileReader::try_new(file, None).unwrap();
        let arrow: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
        let arrow = arrow_select::concat::concat_batches(&parquet.schema(), &arrow).unwrap();
        let mut csv = Vec::new();
        arrow_csv::WriterBuilder::new().with_header(true).build(&mut csv).write(&parquet).unwrap();
        assert_eq!(String::from_utf8(csv).unwrap(), fitted.world.text("same.csv"));
        for column in 0..parquet.num_columns() {
            // A dictionary may be numbered in another way.
            let plain =
                |batch: &RecordBatch| arrow_cast::cast(batch.column(column), &arrow_schema::DataType::Utf8).unwrap();
            assert_eq!(&plain(&parquet), &plain(&arrow));
        }
    }
}

#[test]
fn the_number_of_rows_is_exact() {
    for fitted in all() {
        for rows in [0, 1, 2, 2047, 4099] {
            fitted.generate(rows, "", "exact.parquet");
            assert_eq!(fitted.parquet("exact.parquet").2.num_rows(), rows);
        }
    }
}

#[test]
fn a_cohort_says_where_it_comes_from() {
    for (fitted, model) in all().into_iter().zip(["independent", "marginal", "vae"]) {
        fitted.generate(10, "--seed 21", "origin.parquet");
        let (said, ..) = fitted.parquet("origin.parquet");
        let expected = [
            ("version", env!("CARGO_PKG_VERSION")),
            ("model", model),
            ("schema", "visits"),
            ("delta", "0.00001"),
            ("seed", "21"),
            ("domains_assumed_public", "true"),
        ];
        for (key, value) in expected {
            assert_eq!(said[&format!("synthward.{key}")], value, "{key}");
        }
        let epsilon: f64 = said["synthward.epsilon"].parse().unwrap();
        assert!(epsilon <= 3.0 && epsilon > 2.9, "{epsilon}");
        assert!(said["synthward.unit"].contains("patient") && said["synthward.adjacency"].contains("add or remove"));
        let model = fitted.world.run("generate model.safetensors --rows 1 -o one.csv --json").succeeds().json();
        assert_eq!(said["synthward.model_sha256"], model["model_sha256"].as_str().unwrap());
    }
}

#[test]
fn evaluation_has_its_floors_and_ceilings() {
    for fitted in all() {
        fitted.generate(2000, "", "judged.parquet");
        let command =
            "evaluate --real visits.parquet --holdout holdout.parquet --synthetic judged.parquet --schema schema.toml";
        let printed = fitted.world.run(&format!("{command} --json -o evaluation.json")).succeeds().json();
        assert_eq!(printed, fitted.world.json("evaluation.json"));
        for way in ["one_way", "two_way", "three_way"] {
            for side in ["synthetic", "floor"] {
                let figure = printed["tvd"][way][side].as_f64().unwrap();
                assert!(figure > 0.0 && figure < 1.0, "{way}, {side}: {figure}");
            }
        }
        for tstr in printed["tstr"].as_array().unwrap() {
            let ceiling = tstr["trtr"]["roc_auc"].as_f64().unwrap();
            assert!(ceiling > 0.65, "readmission depends on age: {ceiling}");
            assert!(tstr["tstr"]["roc_auc"].as_f64().is_some(), "{tstr}");
        }
        assert_eq!(printed["tstr"][0]["target"], "readmission");
        assert!(printed["tvd"]["one_way"]["synthetic"].as_f64().unwrap() < 0.3);
        assert!(printed["detection_auc"]["synthetic"].as_f64().unwrap() > 0.45);
    }
}

/// A CSV cohort has moments in the form that its table had them in, so that whatever reads the one reads the other.
#[test]
fn moments_in_csv_are_written_as_the_input_wrote_them() {
    let world = World::new();
    let row =
        |i: u32| format!("{:02}.{:02}.20{:02} {:02}:{:02},{}\n", i % 28 + 1, i % 12 + 1, i % 20, i % 24, i % 60, i % 3);
    let table = |rows: std::ops::Range<u32>| format!("admitted,stage\n{}", rows.map(row).collect::<String>());
    world.write("stays.csv", table(0..400)).write("holdout.csv", table(400..600));
    world.run("inspect stays.csv --unit row --assume-public -o schema.toml").succeeds();
    assert!(world.text("schema.toml").contains("%d.%m.%Y %H:%M"), "{}", world.text("schema.toml"));
    world.run("fit stays.csv --schema schema.toml --epsilon 5 --delta 1e-5 -o model.safetensors").succeeds();
    world.run("generate model.safetensors --rows 300 -o cohort.csv").succeeds();
    let cohort = world.text("cohort.csv");
    for line in cohort.lines().skip(1) {
        let moment = line.split(',').next().unwrap();
        let shape: String = moment.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
        assert_eq!(shape, "99.99.9999 99:99", "{moment}");
    }
    let judged = "evaluate --real stays.csv --holdout holdout.csv --synthetic cohort.csv --schema schema.toml";
    world.run(judged).succeeds();
}
