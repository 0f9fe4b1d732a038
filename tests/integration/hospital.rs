//! A small hospital: several visits a patient, a column of every kind, missing cells, identifiers.

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// Visits of one patient, at most. The schema says the same.
pub const MAX_VISITS: usize = 3;

pub const FIRST_PATIENT: u64 = 900_001;

const DIAGNOSES: [&str; 8] = ["250.00", "250.13", "401.9", "414", "428", "486", "V45", "E888"];
const STAGES: [&str; 4] = ["I", "II", "III", "IV"];

/// What is public about the hospital, as a person would write it.
pub const SCHEMA: &str = r#"
[table]
name = "visits"
privacy_unit = "patient"
max_rows_per_unit = 3
missing = ["?", ""]

[[column]]
name = "visit"
kind = "identifier"
type = "utf8"
nullable = false

[[column]]
name = "patient"
kind = "identifier"
type = "int64"
nullable = false

[[column]]
name = "sex"
kind = "categorical"
type = "dictionary(int32, utf8)"
categories = ["F", "M"]
nullable = false
domain_from = "public"

[[column]]
name = "age"
kind = "integer"
type = "int16"
min = 0
max = 99
nullable = false
domain_from = "public"

[[column]]
name = "weight"
kind = "real"
type = "decimal128(5, 1)"
min = 30
max = 200
decimals = 1
domain_from = "public"

[[column]]
name = "admitted"
kind = "datetime"
type = "date32"
min = "2019-01-01"
max = "2022-12-31"
nullable = false
domain_from = "public"

[[column]]
name = "smoker"
kind = "boolean"
type = "boolean"

[[column]]
name = "stage"
kind = "ordinal"
type = "large_utf8"
categories = ["I", "II", "III", "IV"]
nullable = false
domain_from = "public"

[[column]]
name = "diagnosis"
kind = "code"
system = "icd9cm"
type = "utf8"
categories = ["250.00", "250.13", "401.9", "414", "428", "486", "E888", "V45"]
domain_from = "public"

[[column]]
name = "ward"
kind = "categorical"
type = "utf8"
categories = ["central"]
nullable = false
domain_from = "public"

[[column]]
name = "readmitted"
kind = "categorical"
type = "utf8"
categories = ["no", "yes"]
nullable = false
domain_from = "public"

[[column]]
name = "note"
kind = "identifier"
drop = true

[[target]]
name = "readmission"
column = "readmitted"
task = "binary"
positive = ["yes"]
"#;

/// The columns as a data warehouse would type them: name, type, whether cells may be missing.
fn columns() -> [(&'static str, DataType, bool); 12] {
    let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    [
        ("visit", DataType::Utf8, false),
        ("patient", DataType::Int64, false),
        ("sex", dictionary, false),
        ("age", DataType::Int16, false),
        ("weight", DataType::Decimal128(5, 1), true),
        ("admitted", DataType::Date32, false),
        ("smoker", DataType::Boolean, true),
        ("stage", DataType::LargeUtf8, false),
        ("diagnosis", DataType::Utf8, true),
        ("ward", DataType::Utf8, false),
        ("readmitted", DataType::Utf8, false),
        ("note", DataType::Utf8, false),
    ]
}

/// Visits as rows of texts; a missing cell is `None`.
pub struct Hospital {
    pub rows: Vec<Vec<Option<String>>>,
}

impl Hospital {
    /// So many patients, numbered from `first`, of one to [`MAX_VISITS`] visits each.
    pub fn new(patients: u64, first: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(first);
        let mut rows = Vec::new();
        for patient in first..first + patients {
            let sex = if rng.random_bool(0.55) { "F" } else { "M" };
            let age = rng.random_range(18..95);
            for _ in 0..rng.random_range(1..=MAX_VISITS) {
                rows.push(visit(&mut rng, patient, sex, age));
            }
        }
        Self { rows }
    }

    /// With a header line; `?` for a missing cell.
    pub fn csv(&self) -> String {
        let header = columns().map(|(name, ..)| name).join(",");
        let line = |row: &Vec<Option<String>>| {
            row.iter().map(|cell| cell.as_deref().unwrap_or("?")).collect::<Vec<_>>().join(",")
        };
        [header].into_iter().chain(self.rows.iter().map(line)).map(|line| line + "\n").collect()
    }

    pub fn batch(&self) -> RecordBatch {
        let fields = columns().map(|(name, data_type, nullable)| Field::new(name, data_type, nullable));
        let arrays = fields.iter().enumerate().map(|(index, field)| -> ArrayRef {
            let texts: StringArray = self.rows.iter().map(|row| row[index].as_deref()).collect();
            arrow_cast::cast(&texts, field.data_type()).unwrap()
        });
        let arrays = arrays.collect();
        RecordBatch::try_new(Arc::new(Schema::new(fields.to_vec())), arrays).unwrap()
    }

    pub fn parquet(&self) -> Vec<u8> {
        let batch = self.batch();
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.into_inner().unwrap()
    }

    /// The cells of a column that are not missing.
    pub fn column(&self, name: &str) -> impl Iterator<Item = &str> {
        let index = columns().iter().position(|(column, ..)| *column == name).unwrap();
        self.rows.iter().filter_map(move |row| row[index].as_deref())
    }

    pub fn cell(&mut self, row: usize, name: &str) -> &mut Option<String> {
        let index = columns().iter().position(|(column, ..)| *column == name).unwrap();
        &mut self.rows[row][index]
    }
}

fn visit(rng: &mut ChaCha8Rng, patient: u64, sex: &str, age: u32) -> Vec<Option<String>> {
    let known = [0.7, 0.9, 0.95].map(|chance| rng.random_bool(chance));
    let readmitted = rng.random_bool(if age > 60 { 0.7 } else { 0.2 });
    let stage = (age / 25 + rng.random_range(0..2)).min(3);
    vec![
        Some(format!("V-{:016x}", rng.random::<u64>())),
        Some(patient.to_string()),
        Some(sex.to_owned()),
        Some(age.to_string()),
        known[0].then(|| format!("{}.{}", rng.random_range(45..120), rng.random_range(0..10))),
        Some(format!("20{}-{:02}-{:02}", rng.random_range(19..23), rng.random_range(1..13), rng.random_range(1..29))),
        known[1].then(|| rng.random_bool(0.3).to_string()),
        Some(STAGES[stage as usize].to_owned()),
        known[2].then(|| DIAGNOSES[rng.random_range(0..DIAGNOSES.len())].to_owned()),
        Some("central".to_owned()),
        Some(if readmitted { "yes" } else { "no" }.to_owned()),
        Some(format!("Patient {patient} came in and was seen; follow up in {} weeks", rng.random_range(1..30))),
    ]
}
