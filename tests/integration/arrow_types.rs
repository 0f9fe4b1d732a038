//! Every Arrow type that a table may have, from the table to the cohort; and those that it may not have.

use crate::world::World;
use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{
    Array, ArrayRef, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray, new_null_array,
};
use arrow_cast::cast;
use arrow_schema::{DataType, Field, Fields, IntervalUnit, Schema, SchemaRef, TimeUnit, UnionFields, UnionMode};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::collections::BTreeSet;
use std::fs::File;
use std::sync::Arc;
use synthward::schema::ArrowType;

const ROWS: i64 = 400;

/// Every type that a table may have, parameters included.
fn accepted() -> Vec<DataType> {
    let mut names: Vec<String> = [
        "boolean",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
        "float32",
        "float64",
        "utf8",
        "large_utf8",
        "utf8_view",
        "date32",
        "date64",
        "time32[s]",
        "time32[ms]",
        "time64[us]",
        "time64[ns]",
    ]
    .map(str::to_owned)
    .into();
    for unit in ["s", "ms", "us", "ns"] {
        names.push(format!("timestamp[{unit}]"));
        names.extend(["UTC", "Europe/Berlin", "+01:00"].map(|zone| format!("timestamp[{unit}, {zone}]")));
    }
    names.extend(
        ["1, 0", "5, 1", "9, 9", "10, 2", "18, 4", "20, 0", "38, 0", "38, 10"].map(|d| format!("decimal128({d})")),
    );
    for keys in ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"] {
        names.extend(["utf8", "large_utf8", "utf8_view"].map(|values| format!("dictionary({keys}, {values})")));
    }
    names.iter().map(|name| name.parse::<ArrowType>().unwrap().data_type().clone()).collect()
}

/// Values that fill a good part of what the type can say.
fn values(data_type: &DataType, nullable: bool) -> ArrayRef {
    let per_second = |unit: &TimeUnit| match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    };
    let present = |i: i64| !nullable || i % 5 != 3;
    let integers = |value: &dyn Fn(i64) -> i64| -> ArrayRef {
        Arc::new((0..ROWS).map(|i| present(i).then(|| value(i * 7919 % 251))).collect::<Int64Array>())
    };
    let texts = || -> ArrayRef {
        Arc::new(
            (0..ROWS)
                .map(|i| present(i).then_some(["low", "middle", "high"][(i % 3) as usize]))
                .collect::<StringArray>(),
        )
    };
    match data_type {
        DataType::Boolean => cast(&integers(&|x| x % 2), data_type).unwrap(),
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
            let bits = 8 * data_type.primitive_width().unwrap() as u32;
            cast(&integers(&|x| (x - 125) << (bits - 8).min(38)), data_type).unwrap()
        }
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => {
            let bits = 8 * data_type.primitive_width().unwrap() as u32;
            cast(&integers(&|x| x << (bits - 8).min(38)), data_type).unwrap()
        }
        DataType::Float32 | DataType::Float64 => {
            let eighths: Float64Array = (0..ROWS).map(|i| present(i).then(|| (i * 7919 % 251) as f64 / 8.0)).collect();
            cast(&eighths, data_type).unwrap()
        }
        DataType::Date32 => cast(&cast(&integers(&|x| 10_000 + 12 * x), &DataType::Int32).unwrap(), data_type).unwrap(),
        DataType::Date64 => cast(&integers(&|x| (10_000 + 12 * x) * 86_400_000), data_type).unwrap(),
        DataType::Time32(unit) => {
            let counts = integers(&|x| x * 344 * per_second(unit));
            cast(&cast(&counts, &DataType::Int32).unwrap(), data_type).unwrap()
        }
        DataType::Time64(unit) => cast(&integers(&|x| x * 344 * per_second(unit)), data_type).unwrap(),
        DataType::Timestamp(unit, _) => {
            cast(&integers(&|x| (1_000_000_000 + 77_777 * x) * per_second(unit)), data_type).unwrap()
        }
        DataType::Decimal128(precision, scale) => {
            let unscaled = |i: i64| i128::from(i * 7919 % 251 - 125) * 10i128.pow(u32::from(*precision).min(14)) / 126;
            let cells: Decimal128Array = (0..ROWS).map(|i| present(i).then(|| unscaled(i))).collect();
            Arc::new(cells.with_precision_and_scale(*precision, *scale).unwrap())
        }
        text => cast(&texts(), text).unwrap(),
    }
}

/// Each accepted type twice: with missing cells and without.
fn table() -> RecordBatch {
    let mut fields = Vec::new();
    let mut arrays = Vec::new();
    for data_type in accepted() {
        for nullable in [true, false] {
            let name = format!("{}, {}", data_type, if nullable { "may be missing" } else { "whole" });
            arrays.push(values(&data_type, nullable));
            fields.push(Field::new(name, data_type.clone(), nullable));
        }
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

/// The table's file in both formats; `None` where Parquet does not know a type.
fn parquet(batch: &RecordBatch) -> Option<Vec<u8>> {
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).ok()?;
    writer.write(batch).ok()?;
    writer.into_inner().ok()
}

fn arrow(batch: &RecordBatch) -> Vec<u8> {
    let mut writer = arrow_ipc::writer::FileWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    writer.write(batch).unwrap();
    writer.into_inner().unwrap()
}

fn read(world: &World, name: &str) -> RecordBatch {
    let file = File::open(world.path(name)).unwrap();
    let (schema, batches): (SchemaRef, Vec<RecordBatch>) = if name.ends_with("parquet") {
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        (builder.schema().clone(), builder.build().unwrap().map(Result::unwrap).collect())
    } else {
        let reader = arrow_ipc::reader::FileReader::try_new(file, None).unwrap();
        (reader.schema(), reader.map(Result::unwrap).collect())
    };
    arrow_select::concat::concat_batches(&schema, &batches).unwrap()
}

/// What Parquet can say: it counts no seconds, and days in 32 bits only.
fn in_parquet(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Timestamp(TimeUnit::Second, zone) => DataType::Timestamp(TimeUnit::Millisecond, zone.clone()),
        DataType::Time32(TimeUnit::Second) => DataType::Time32(TimeUnit::Millisecond),
        DataType::Date64 => DataType::Date32,
        other => other.clone(),
    }
}

fn described(batch: &RecordBatch, data_type: impl Fn(&DataType) -> DataType) -> Vec<String> {
    let fields = batch.schema_ref().fields().iter();
    fields.map(|f| format!("{}: {}, nullable {}", f.name(), data_type(f.data_type()), f.is_nullable())).collect()
}

/// The cells that are not missing, as numbers.
fn numbers(array: &ArrayRef) -> Vec<f64> {
    let plain = match array.data_type() {
        DataType::Date32 | DataType::Time32(_) => cast(array, &DataType::Int32).unwrap(),
        DataType::Date64 | DataType::Time64(_) | DataType::Timestamp(..) => cast(array, &DataType::Int64).unwrap(),
        _ => array.clone(),
    };
    let floats = cast(&plain, &DataType::Float64).unwrap();
    floats.as_primitive::<Float64Type>().iter().flatten().collect()
}

fn texts(array: &ArrayRef) -> BTreeSet<String> {
    let texts = cast(array, &DataType::Utf8).unwrap();
    texts.as_string::<i32>().iter().flatten().map(str::to_owned).collect()
}

/// A world with the table and a model of it.
fn fitted(format: &str) -> (World, RecordBatch) {
    let (world, batch) = (World::new(), table());
    world.write("table.parquet", parquet(&batch).unwrap()).write("table.arrow", arrow(&batch));
    world.run(&format!("inspect table.{format} --unit row --assume-public -o schema.toml")).succeeds();
    // Rules of so regular a table would leave nothing missing.
    world.write("schema.toml", world.text("schema.toml").split("[[constraint]]").next().unwrap());
    world.run(&format!("fit table.{format} --schema schema.toml --epsilon 20 --model independent -o m")).succeeds();
    (world, batch)
}

fn assert_comes_back(input: &RecordBatch, cohort: &RecordBatch, data_type: impl Fn(&DataType) -> DataType) {
    assert_eq!(described(cohort, DataType::clone), described(input, data_type));
    for (index, field) in input.schema_ref().fields().iter().enumerate() {
        let (name, real) = (field.name(), input.column(index));
        let drawn = cast(cohort.column(index), field.data_type()).unwrap();
        assert_eq!(drawn.null_count() > 0, field.is_nullable(), "{name}: {} missing", drawn.null_count());
        if field.data_type() == &DataType::Boolean || ArrowType::try_from(field.data_type()).unwrap().is_text() {
            assert_eq!(texts(&drawn), texts(real), "{name}");
            continue;
        }
        let ends = |cells: &[f64]| cells.iter().fold((f64::MAX, f64::MIN), |(a, b), x| (a.min(*x), b.max(*x)));
        let (real, drawn) = (ends(&numbers(real)), ends(&numbers(&drawn)));
        assert!(real.0 <= drawn.0 && drawn.1 <= real.1, "{name}: {drawn:?} is not within {real:?}");
        assert!(drawn.1 - drawn.0 > 0.5 * (real.1 - real.0), "{name}: {drawn:?} is little of {real:?}");
    }
}

#[test]
fn every_type_comes_back_from_both_formats_in_all_three() {
    for format in ["parquet", "arrow"] {
        let (world, input) = fitted(format);
        for name in ["cohort.parquet", "cohort.arrow", "cohort.csv"] {
            world.run(&format!("generate m --rows 1000 -o {name}")).succeeds();
        }
        let (parquet, arrow) = (read(&world, "cohort.parquet"), read(&world, "cohort.arrow"));
        assert_comes_back(&input, &arrow, DataType::clone);
        assert_comes_back(&input, &parquet, in_parquet);
        for whole in numbers(&arrow["Date64, whole"]) {
            assert_eq!(whole % 86_400_000.0, 0.0, "a date of 64 bits is a whole day");
        }
        assert_csv(&world.text("cohort.csv"), &arrow);
    }
}

/// As many columns and rows, and a moment with a zone is written with its offset.
fn assert_csv(text: &str, cohort: &RecordBatch) {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header = reader.headers().unwrap().clone();
    let names: Vec<&str> = cohort.schema_ref().fields().iter().map(|f| f.name().as_str()).collect();
    assert_eq!(header.iter().collect::<Vec<_>>(), names);
    let berlin = names.iter().position(|name| name.contains("Berlin") && name.ends_with("whole")).unwrap();
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), cohort.num_rows());
    let summer = rows.iter().filter(|row| row[berlin].ends_with("+02:00")).count();
    let winter = rows.iter().filter(|row| row[berlin].ends_with("+01:00")).count();
    assert!(summer > 0 && winter > 0 && summer + winter == rows.len(), "{summer} in summer, {winter} in winter");
}

#[test]
fn a_parquet_file_says_what_its_numbers_count_to_readers_that_know_no_arrow() {
    let (world, _) = fitted("arrow");
    world.run("generate m --rows 10 -o cohort.parquet").succeeds();
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(world.path("cohort.parquet")).unwrap()).unwrap();
    let columns = builder.parquet_schema().columns();
    let mut moments = 0;
    for (column, field) in columns.iter().zip(builder.schema().fields()) {
        if field.data_type().is_temporal() {
            moments += 1;
            assert!(column.logical_type_ref().is_some(), "{}", field.name());
        }
    }
    assert!(moments > 40, "{moments}");
}

/// Types that a table may not have, with what the message calls them.
fn refused() -> Vec<(&'static str, Field)> {
    let item = || Arc::new(Field::new("item", DataType::Int8, true));
    let boxed = |data_type: DataType| Box::new(data_type);
    let pair = Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Int8, true)]);
    let entries = Field::new("entries", DataType::Struct(pair.clone()), false);
    let union = || {
        UnionFields::try_new([0, 1], [Field::new("a", DataType::Int8, true), Field::new("b", DataType::Utf8, true)])
            .unwrap()
    };
    let runs = DataType::RunEndEncoded(
        Arc::new(Field::new("run_ends", DataType::Int32, false)),
        Arc::new(Field::new("values", DataType::Utf8, true)),
    );
    let types = [
        ("List(", DataType::List(item())),
        ("LargeList(", DataType::LargeList(item())),
        ("FixedSizeList(", DataType::FixedSizeList(item(), 2)),
        ("ListView(", DataType::ListView(item())),
        ("LargeListView(", DataType::LargeListView(item())),
        ("Struct(", DataType::Struct(pair)),
        ("Map(", DataType::Map(Arc::new(entries), false)),
        ("Binary", DataType::Binary),
        ("LargeBinary", DataType::LargeBinary),
        ("BinaryView", DataType::BinaryView),
        ("FixedSizeBinary(16)", DataType::FixedSizeBinary(16)),
        ("Duration(", DataType::Duration(TimeUnit::Second)),
        ("Interval(", DataType::Interval(IntervalUnit::MonthDayNano)),
        ("Float16", DataType::Float16),
        ("Decimal32(", DataType::Decimal32(9, 2)),
        ("Decimal64(", DataType::Decimal64(18, 2)),
        ("Decimal128(5, -2)", DataType::Decimal128(5, -2)),
        ("Decimal256(", DataType::Decimal256(50, 2)),
        ("Null", DataType::Null),
        ("Dictionary(Int32, Int64)", DataType::Dictionary(boxed(DataType::Int32), boxed(DataType::Int64))),
        ("RunEndEncoded(", runs),
        ("Union(", DataType::Union(union(), UnionMode::Sparse)),
        ("Union(", DataType::Union(union(), UnionMode::Dense)),
    ];
    let mut fields: Vec<_> = types.map(|(name, data_type)| (name, Field::new("odd", data_type, true))).into();
    // As R writes labelled numbers, and pandas its periods.
    for (name, data_type) in [("arrow.r.vctrs", DataType::Int32), ("pandas.period", DataType::Int64)] {
        let metadata = [("ARROW:extension:name".to_owned(), name.to_owned())];
        fields.push((name, Field::new("odd", data_type, true).with_metadata(metadata)));
    }
    fields
}

/// False where Parquet gave up a type, as it does with runs: what it has then is ordinary text.
fn has_types_of(bytes: &[u8], batch: &RecordBatch) -> bool {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::copy_from_slice(bytes)).unwrap();
    builder.schema().fields().iter().zip(batch.schema_ref().fields()).all(|(a, b)| a.data_type() == b.data_type())
}

#[test]
fn every_other_type_is_refused_by_name() {
    let schema = |end: &str| {
        format!(
            "[table]\nname = \"t\"\nprivacy_unit = \"row\"\n\
             [[column]]\nname = \"age\"\nkind = \"integer\"\nmin = 0\nmax = 9\ndomain_from = \"public\"\n\
             [[column]]\nname = \"odd\"\nkind = \"categorical\"\ncategories = [\"a\"]\ndomain_from = \"public\"\n{end}"
        )
    };
    let mut in_parquet = 0;
    for (name, field) in refused() {
        let odd = new_null_array(field.data_type(), ROWS as usize);
        let age: ArrayRef = Arc::new(Int64Array::from(vec![4; ROWS as usize]));
        let fields = vec![Field::new("age", DataType::Int64, false), field];
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![age, odd]).unwrap();
        let world = World::new();
        world
            .write("t.arrow", arrow(&batch))
            .write("s.toml", schema(""))
            .write("dropped.toml", schema("drop = true\n"));
        // The writer of Parquet stops at a union.
        let written = if name == "Union(" { None } else { parquet(&batch) };
        let files = match written.filter(|bytes| has_types_of(bytes, &batch)) {
            Some(bytes) => {
                world.write("t.parquet", bytes);
                in_parquet += 1;
                vec!["t.arrow", "t.parquet"]
            }
            None => vec!["t.arrow"],
        };
        for file in files {
            let fit = format!("fit {file} --epsilon 1 --model independent -o m --schema");
            world.refuses(3, &format!("{fit} s.toml"), &[name, "`odd`", "is not supported"]);
            let inspected = world.run(&format!("inspect {file} --unit row"));
            if inspected.code == Some(0) {
                // The draft leaves it out, and says why.
                assert!(inspected.stdout.contains(&format!("The Arrow type {name}")), "{inspected}");
                world.run(&format!("{fit} dropped.toml --ledger dropped.jsonl")).succeeds();
            } else {
                inspected.exits(3).says(&[name, "`odd`", "leave it out of the table"]);
            }
        }
    }
    assert!(in_parquet >= 15, "{in_parquet}");
}
