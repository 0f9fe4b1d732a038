//! A model asked about rows: scores, and missing cells filled.

use crate::hospital::{FIRST_PATIENT, Hospital, SCHEMA};
use crate::world::{SECRET, World};
use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{Array, RecordBatch};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fs::File;
use std::sync::LazyLock;

/// A fitted model, and the rows of other patients as `others.csv` and `others.parquet`.
fn fitted(model: &str) -> World {
    let world = World::shared(&format!("infer-{model}"));
    world.write("visits.csv", Hospital::new(2000, FIRST_PATIENT).csv()).write("schema.toml", SCHEMA);
    let others = others();
    world.write("others.csv", others.csv()).write("others.parquet", others.parquet());
    let fit = "fit visits.csv --schema schema.toml --epsilon 5 --delta 1e-5 -o model.safetensors --model";
    world.run(&format!("{fit} {model}")).succeeds();
    world
}

fn others() -> Hospital {
    Hospital::new(400, 7_000_001)
}

static INDEPENDENT: LazyLock<World> = LazyLock::new(|| fitted("independent"));
static MARGINAL: LazyLock<World> = LazyLock::new(|| fitted("marginal"));

fn parquet(world: &World, name: &str) -> RecordBatch {
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(world.path(name)).unwrap()).unwrap();
    let schema = builder.schema().clone();
    let batches: Vec<RecordBatch> = builder.build().unwrap().map(Result::unwrap).collect();
    arrow_select::concat::concat_batches(&schema, &batches).unwrap()
}

/// The cells of a column as texts.
fn texts(batch: &RecordBatch, column: &str) -> Vec<Option<String>> {
    let array = arrow_cast::cast(&batch[column], &arrow_schema::DataType::Utf8).unwrap();
    array.as_string::<i32>().iter().map(|cell| cell.map(str::to_owned)).collect()
}

#[test]
fn every_row_gets_a_score_beside_its_keys() {
    let mut means = Vec::new();
    for world in [&*INDEPENDENT, &*MARGINAL] {
        let printed = world.run("infer model.safetensors others.parquet --score -o s.parquet --json").succeeds().json();
        let scores = parquet(world, "s.parquet");
        let names: Vec<&String> = scores.schema_ref().fields().iter().map(|field| field.name()).collect();
        assert_eq!(names, ["visit", "patient", "log_likelihood_bound"]);
        let input = others().batch();
        assert_eq!((&scores["visit"], &scores["patient"]), (&input["visit"], &input["patient"]));
        let bounds = scores["log_likelihood_bound"].as_primitive::<Float64Type>();
        let mean = -bounds.values().iter().sum::<f64>() / bounds.len() as f64;
        assert!((printed["nats_per_record"].as_f64().unwrap() - mean).abs() < 1e-9);
        assert_eq!((&printed["rows"], &printed["impossible_rows"]), (&bounds.len().into(), &0.into()));
        let columns = printed["columns"].as_array().unwrap();
        let sum: f64 = columns.iter().map(|column| column["nats"].as_f64().unwrap()).sum();
        assert!((sum - mean).abs() < 1e-9, "columns add up: the number of rows of the unit is left out");
        assert_eq!(columns.len(), 9);
        let of = |name: &str| columns.iter().find(|c| c["column"] == name).unwrap()["perplexity"].as_f64().unwrap();
        assert!(of("sex") > 1.5 && of("sex") < 2.3, "two values, nearly even: {}", of("sex"));
        assert!((of("ward") - 1.0).abs() < 0.1, "a single value: {}", of("ward"));
        means.push(of("readmitted"));
    }
    assert!(means[1] < means[0] - 0.05, "readmission depends on age, and one of the models knows: {means:?}");
}

#[test]
fn scores_do_not_depend_on_threads_nor_on_other_rows_nor_on_the_format() {
    let world = &*MARGINAL;
    world.run("infer model.safetensors others.csv --score -o one.csv --threads 1").succeeds();
    let told = world.run("infer model.safetensors others.csv --score -o two.csv --threads 2").succeeds();
    assert!(told.stdout.contains("mean cross-entropy") && told.stdout.contains("perplexity"), "{told}");
    assert!(told.stderr.contains("for the data's controller"), "{told}");
    assert!(world.read("one.csv") == world.read("two.csv"));
    world.run("infer model.safetensors others.parquet --score -o three.csv").succeeds();
    assert!(world.read("one.csv") == world.read("three.csv"));
    // Without keys, and without half of the rows.
    let text = others().csv();
    let without_keys: Vec<&str> = text.lines().map(|line| line.splitn(3, ',').nth(2).unwrap()).collect();
    world.write("keyless.csv", without_keys[..=200].join("\n"));
    world.run("infer model.safetensors keyless.csv --score -o keyless-scores.csv").succeeds();
    let all = world.text("one.csv");
    let expected: Vec<&str> = all.lines().take(201).map(|line| line.rsplit(',').next().unwrap()).collect();
    let keyless = world.text("keyless-scores.csv");
    assert_eq!(keyless.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn missing_cells_are_filled_and_all_others_stay() {
    for world in [&*INDEPENDENT, &*MARGINAL] {
        world.run("infer model.safetensors others.parquet --fill -o filled.parquet").succeeds();
        let (filled, input) = (parquet(world, "filled.parquet"), others().batch());
        assert_eq!(filled.num_rows(), input.num_rows());
        let types = |b: &RecordBatch| -> Vec<String> {
            b.schema_ref().fields().iter().map(|f| format!("{} {}", f.name(), f.data_type())).collect()
        };
        assert_eq!(types(&filled), types(&input));
        let mut count = 0;
        for field in input.schema_ref().fields() {
            assert_eq!(filled[field.name().as_str()].null_count(), 0, "{}", field.name());
            for (after, before) in texts(&filled, field.name()).iter().zip(texts(&input, field.name())) {
                match before {
                    Some(before) => assert_eq!(after.as_ref(), Some(&before), "{}", field.name()),
                    None => count += 1,
                }
            }
        }
        assert!(count > 200, "{count}");
        for weight in texts(&filled, "weight").into_iter().flatten() {
            assert!((30.0..=200.0).contains(&weight.parse::<f64>().unwrap()), "{weight}");
        }
    }
}

#[test]
fn filled_cells_follow_the_rest_of_the_row() {
    let world = &*MARGINAL;
    // Readmission is likelier above sixty: take it out, and have it filled in.
    let mut hospital = others();
    let ages: Vec<u32> = hospital.column("age").map(|age| age.parse().unwrap()).collect();
    (0..hospital.rows.len()).for_each(|row| *hospital.cell(row, "readmitted") = None);
    world.write("taken.csv", hospital.csv());
    world.run("infer model.safetensors taken.csv --fill --imputations 5 -o given.csv").succeeds();
    let text = world.text("given.csv");
    let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let header = lines.next().unwrap();
    assert_eq!(header.last(), Some(&"imputation"));
    let readmitted = header.iter().position(|name| *name == "readmitted").unwrap();
    let mut shares = [[0.0f64; 2]; 2];
    for (place, line) in lines.enumerate() {
        assert_eq!(line.last().unwrap().parse::<usize>().unwrap(), place % 5 + 1);
        let old = usize::from(ages[place / 5] > 60);
        shares[old][0] += 1.0;
        shares[old][1] += f64::from(u8::from(line[readmitted] == "yes"));
    }
    let [young, old] = shares.map(|[all, yes]| yes / all);
    assert!(old - young > 0.25, "0.7 and 0.2 in the table: {old} {young}");
}

#[test]
fn fills_do_not_depend_on_threads_but_on_the_seed() {
    let world = &*MARGINAL;
    for (name, options) in [("a.csv", "--seed 1 --threads 1"), ("b.csv", "--seed 1 --threads 2"), ("c.csv", "--seed 2")]
    {
        world.run(&format!("infer model.safetensors others.csv --fill --imputations 3 {options} -o {name}")).succeeds();
    }
    assert!(world.read("a.csv") == world.read("b.csv"));
    assert!(world.read("a.csv") != world.read("c.csv"));
}

#[test]
fn an_absent_column_is_added_and_filled() {
    for table in ["csv", "parquet"] {
        let world = &*MARGINAL;
        world.write("part.csv", "age,sex,weight,note\n70,F,?,x\n20,M,70.0,\n?,?,?,y\n");
        let source = if table == "csv" { "part.csv" } else { "part-filled.csv" };
        world.run("infer model.safetensors part.csv --fill -o part-filled.csv").succeeds();
        world.run(&format!("infer model.safetensors {source} --fill -o whole.{table}")).succeeds();
        let text = world.text("part-filled.csv");
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
        let names = ["age", "sex", "weight", "note", "admitted", "smoker", "stage", "diagnosis", "ward", "readmitted"];
        assert_eq!(lines[0], names);
        assert_eq!((&lines[1][..2], &lines[2][..4]), (&["70", "F"][..], &["20", "M", "70.0", ""][..]));
        assert!(lines[3][0].parse::<u32>().unwrap() < 100 && ["F", "M"].contains(&lines[3][1]));
        for line in &lines[1..] {
            assert!(line[4].len() == 10 && line[4] >= "2019-01-01", "a date: {}", line[4]);
            assert!(["true", "false"].contains(&line[5]) && line[8] == "central");
        }
    }
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    let world = World::new();
    let text = others().csv();
    world.write("model.safetensors", INDEPENDENT.read("model.safetensors")).write("others.csv", &text);
    let without_last: String = text.lines().map(|line| line.splitn(3, ',').nth(2).unwrap().to_owned() + "\n").collect();
    world.write("keyless.csv", without_last.replacen("sex,", "gender,", 1));
    world.write("short.csv", "age,sex\n70,F\n");
    world.write("gap.csv", text.replacen(",F,", ",?,", 1));
    world.write("wrong.csv", text.replacen(",F,", &format!(",F,{SECRET}"), 1));
    let refuse = |code: i32, options: &str, words: &[&str]| {
        world.refuses(code, &format!("infer model.safetensors {options}"), words);
    };
    refuse(2, "others.csv -o out.csv", &["--score", "--fill"]);
    refuse(2, "others.csv --score --fill -o out.csv", &["cannot be used with"]);
    refuse(2, "others.csv --score --imputations 2 -o out.csv", &["cannot be used with"]);
    refuse(2, "others.csv --fill --imputations 0 -o out.csv", &["1 to 100"]);
    refuse(2, "others.csv --fill --imputations 101 -o out.csv", &["1 to 100"]);
    refuse(2, "others.csv --score -o out.xlsx", &[".parquet"]);
    refuse(3, "short.csv --score -o out.csv", &["lacks columns", "`weight`"]);
    refuse(3, "keyless.csv --fill -o out.csv", &["does not know", "`gender`"]);
    refuse(3, "gap.csv --score -o out.csv", &["`sex`", "nullable = false"]);
    refuse(3, "wrong.csv --fill -o out.csv", &["`age`", "not of kind integer"]);
    refuse(3, "absent.csv --fill -o out.csv", &["no such file"]);
}
