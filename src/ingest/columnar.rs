//! Parquet and Arrow IPC: arrow-rs reads the types, polars the cells.
//!
//! polars has fewer types than Arrow (all text is one type), and the cohort
//! must give back the input's own, so the types are taken from the file's
//! metadata.

use std::io::Cursor;

use arrow_ipc::convert::try_fb_to_schema;
use arrow_ipc::{root_as_footer, root_as_message};
use arrow_schema::{DataType, Field, Schema as ArrowSchema, UnionMode};
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use polars::prelude::{DataFrame, IpcReader, IpcStreamReader, ParquetReader, SerReader};

use super::guard;
use super::raw::check_names;
use super::source::{Format, Source};
use crate::error::{Error, Result};
use crate::schema::ArrowType;

/// The fields of the file with their Arrow types (the name of an unsupported one
/// stands as the error), and the cells of the supported ones.
pub(super) struct Columnar {
    pub fields: Vec<(String, Result<ArrowType, String>)>,
    pub frame: DataFrame,
}

pub(super) fn read(source: &Source, bytes: Vec<u8>, format: Format) -> Result<Columnar> {
    let bytes = Bytes::from(bytes);
    let schema = guard::quietly(|| types(&bytes, format).ok_or(())).ok_or_else(|| damaged(source, format))?;
    let names: Vec<String> = schema.fields().iter().map(|f| f.name().clone()).collect();
    check_names(source, &names)?;
    if let Some(field) = schema.fields().iter().find(|field| hinders(field.data_type())) {
        return Err(ArrowType::unsupported(&field.data_type().to_string())
            .file(source.as_path())
            .column(field.name())
            .remedy("cast the column to one of these types, or leave it out of the table"));
    }
    let fields: Vec<_> = schema.fields().iter().map(|field| (field.name().clone(), supported(field))).collect();
    let wanted: Vec<String> = fields.iter().filter(|(_, t)| t.is_ok()).map(|(name, _)| name.clone()).collect();
    let width = wanted.len();
    let frame = guard::quietly(|| {
        let (bytes, wanted) = (Cursor::new(bytes.as_ref()), Some(wanted));
        match format {
            Format::Parquet => ParquetReader::new(bytes).with_columns(wanted).finish(),
            Format::ArrowStream => IpcStreamReader::new(bytes).with_columns(wanted).finish(),
            Format::ArrowFile | Format::Csv => IpcReader::new(bytes).with_columns(wanted).finish(),
        }
    })
    .filter(|frame| frame.width() == width)
    .ok_or_else(|| damaged(source, format))?;
    if frame.height() == 0 {
        return Err(source.bad("the table has no rows").remedy("export the table again"));
    }
    Ok(Columnar { fields, frame })
}

/// The type of a field, or its name where it is not supported. An extension means something else than the type that it
/// is stored in, such as months or labelled codes.
fn supported(field: &Field) -> Result<ArrowType, String> {
    match field.extension_type_name() {
        Some(extension) => Err(format!("{extension} (an extension of {})", field.data_type())),
        None => ArrowType::try_from(field.data_type()).map_err(|_| field.data_type().to_string()),
    }
}

/// Types that polars cannot even pass over: one such column hinders it from reading the others.
fn hinders(data_type: &DataType) -> bool {
    match data_type {
        DataType::ListView(_) | DataType::LargeListView(_) | DataType::RunEndEncoded(..) => true,
        DataType::Union(_, mode) => *mode == UnionMode::Sparse,
        DataType::Decimal32(_, scale)
        | DataType::Decimal64(_, scale)
        | DataType::Decimal128(_, scale)
        | DataType::Decimal256(_, scale) => *scale < 0,
        _ => false,
    }
}

/// The Arrow schema in the metadata of a file. `None` when the metadata is damaged.
fn types(bytes: &Bytes, format: Format) -> Option<ArrowSchema> {
    match format {
        Format::Parquet => {
            let metadata = ArrowReaderMetadata::load(bytes, ArrowReaderOptions::default()).ok()?;
            Some(metadata.schema().as_ref().clone())
        }
        Format::ArrowStream => {
            let length = u32::from_le_bytes(bytes.get(4..8)?.try_into().ok()?) as usize;
            let message = root_as_message(bytes.get(8..8usize.checked_add(length)?)?).ok()?;
            try_fb_to_schema(message.header_as_schema()?).ok()
        }
        Format::ArrowFile | Format::Csv => {
            let end = bytes.strip_suffix(b"ARROW1")?;
            let (before, length) = end.split_last_chunk::<4>()?;
            let start = before.len().checked_sub(u32::from_le_bytes(*length) as usize)?;
            let footer = root_as_footer(&before[start..]).ok()?;
            try_fb_to_schema(footer.schema()?).ok()
        }
    }
}

fn damaged(source: &Source, format: Format) -> Error {
    let name = if format == Format::Parquet { "Parquet" } else { "Arrow IPC" };
    source.bad(format!("the {name} file is damaged or ends too early")).remedy("copy or export it again")
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::path::Path;
    use std::sync::Arc;

    use arrow_array::types::Int32Type;
    use arrow_array::*;
    use arrow_ipc::writer::{FileWriter, StreamWriter};
    use parquet::arrow::ArrowWriter;

    use super::super::{Frame, MISSING, Values, count_outside, inspect, load, read as read_table};
    use super::*;
    use crate::schema::{Kind, Schema, TableSpec};

    /// One column of every family of types, with a null in row 2.
    fn batch() -> RecordBatch {
        let text = [Some("b"), None, Some("a")];
        let dictionary: DictionaryArray<Int32Type> = text.into_iter().collect();
        let columns: [(&str, ArrayRef); 18] = [
            ("bool", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]))),
            ("i8", Arc::new(Int8Array::from(vec![Some(-5), None, Some(7)]))),
            ("i16", Arc::new(Int16Array::from(vec![Some(-5), None, Some(7)]))),
            ("i64", Arc::new(Int64Array::from(vec![Some(-5), None, Some(7)]))),
            ("u8", Arc::new(UInt8Array::from(vec![Some(5), None, Some(7)]))),
            ("u64", Arc::new(UInt64Array::from(vec![Some(5), None, Some(7)]))),
            ("f32", Arc::new(Float32Array::from(vec![Some(0.5), None, Some(7.0)]))),
            ("f64", Arc::new(Float64Array::from(vec![Some(0.5), None, Some(7.0)]))),
            ("utf8", Arc::new(StringArray::from(text.to_vec()))),
            ("large", Arc::new(LargeStringArray::from(text.to_vec()))),
            ("view", Arc::new(StringViewArray::from(text.to_vec()))),
            ("dictionary", Arc::new(dictionary)),
            ("date32", Arc::new(Date32Array::from(vec![Some(10_957), None, Some(-1)]))),
            ("date64", Arc::new(Date64Array::from(vec![Some(86_400_000), None, Some(0)]))),
            ("time32", Arc::new(Time32SecondArray::from(vec![Some(90), None, Some(0)]))),
            ("seconds", Arc::new(TimestampSecondArray::from(vec![Some(90), None, Some(-90)]))),
            (
                "micros",
                Arc::new(
                    TimestampMicrosecondArray::from(vec![Some(90), None, Some(-90)]).with_timezone("Europe/Berlin"),
                ),
            ),
            (
                "decimal",
                Arc::new(
                    Decimal128Array::from(vec![Some(1050), None, Some(-5)]).with_precision_and_scale(10, 2).unwrap(),
                ),
            ),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    fn write(folder: &Path, format: Format, batch: &RecordBatch) -> Source {
        let path = folder.join("table");
        let file = File::create(&path).unwrap();
        match format {
            Format::Parquet => {
                let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
                writer.write(batch).unwrap();
                writer.close().unwrap();
            }
            Format::ArrowStream => {
                let mut writer = StreamWriter::try_new(file, &batch.schema()).unwrap();
                writer.write(batch).unwrap();
                writer.finish().unwrap();
            }
            Format::ArrowFile | Format::Csv => {
                let mut writer = FileWriter::try_new(file, &batch.schema()).unwrap();
                writer.write(batch).unwrap();
                writer.finish().unwrap();
            }
        }
        Source::from(&path)
    }

    const FORMATS: [Format; 3] = [Format::Parquet, Format::ArrowStream, Format::ArrowFile];

    fn schema_of(source: &Source) -> Schema {
        let table = TableSpec {
            name: "t".into(),
            privacy_unit: None,
            max_rows_per_unit: None,
            missing: vec![],
            units: None,
            epsilon_cap: None,
            assumed_public: false,
        };
        let columns = read_table(source).unwrap().columns.into_iter().map(|raw| {
            let arrow_type = raw.stored.arrow_type().unwrap().unwrap().clone();
            let kind = match &arrow_type {
                t if *t == ArrowType::BOOLEAN => Kind::Boolean,
                t if t.is_integer() => Kind::Integer,
                t if t.is_numeric() => Kind::Real,
                t if t.is_temporal() => Kind::Datetime,
                _ => Kind::Categorical,
            };
            let categories = if kind == Kind::Categorical { vec!["a".into(), "b".into()] } else { vec![] };
            crate::schema::Column {
                arrow_type: Some(arrow_type),
                categories,
                ..crate::schema::Column::new(raw.name, kind)
            }
        });
        Schema {
            table,
            columns: columns.collect(),
            targets: vec![],
            survival: vec![],
            regressions: vec![],
            constraints: vec![],
        }
    }

    fn frame(source: &Source, schema: &Schema) -> Frame {
        schema.check().unwrap();
        load(source, schema).map(synthward_privacy::Sensitive::for_controller).unwrap()
    }

    #[test]
    fn every_type_keeps_its_name_and_its_cells() {
        let folder = tempfile::tempdir().unwrap();
        for format in FORMATS {
            let batch = batch();
            let source = write(folder.path(), format, &batch);
            let schema = schema_of(&source);
            let types: Vec<&DataType> =
                schema.columns.iter().map(|c| c.arrow_type.as_ref().unwrap().data_type()).collect();
            let expected: Vec<&DataType> = batch.schema_ref().fields().iter().map(|f| f.data_type()).collect();
            assert_eq!(types, expected, "{format:?}");
            for column in frame(&source, &schema).columns {
                match (column.name.as_str(), column.values) {
                    ("bool", Values::Text { codes, labels }) => {
                        assert_eq!((codes, labels), (vec![1, MISSING, 0], vec!["false".into(), "true".into()]));
                    }
                    (_, Values::Text { codes, labels }) => {
                        assert_eq!(
                            (codes, labels),
                            (vec![0, MISSING, 1], vec!["b".into(), "a".into()]),
                            "{}",
                            column.name
                        );
                    }
                    (name, Values::Number(cells)) => {
                        let expected = match name {
                            "i8" | "i16" | "i64" => [-5.0, 7.0],
                            "u8" | "u64" => [5.0, 7.0],
                            "f32" | "f64" => [0.5, 7.0],
                            "date32" => [10_957.0, -1.0],
                            "date64" => [86_400_000.0, 0.0],
                            "time32" => [90.0, 0.0],
                            "seconds" | "micros" => [90.0, -90.0],
                            _ => [10.5, -0.05],
                        };
                        assert!([cells[0], cells[2]] == expected && cells[1].is_nan(), "{format:?} {name} {cells:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn every_type_is_given_back_as_it_came() {
        let folder = tempfile::tempdir().unwrap();
        let batch = batch();
        for format in FORMATS {
            let table = read_table(&write(folder.path(), format, &batch)).unwrap();
            assert!(!table.is_text());
            let back = table.batch(|name| name != "u8").unwrap().for_controller();
            assert_eq!(back.num_columns(), batch.num_columns() - 1);
            for field in back.schema_ref().fields() {
                let (before, after) = (&batch[field.name().as_str()], &back[field.name().as_str()]);
                assert_eq!(before.data_type(), after.data_type(), "{format:?}");
                // A dictionary may be numbered in another way.
                let plain = |array: &ArrayRef| match array.data_type() {
                    DataType::Dictionary(_, values) => arrow_cast::cast(array, values).unwrap(),
                    _ => array.clone(),
                };
                assert_eq!(&plain(before), &plain(after), "{format:?} {}", field.name());
            }
        }
    }

    #[test]
    fn a_draft_of_every_type_reads_its_own_table() {
        let folder = tempfile::tempdir().unwrap();
        let source = write(folder.path(), Format::Parquet, &batch());
        let raw = read_table(&source).unwrap();
        let draft = inspect(&raw, Some("row"), true).unwrap().schema;
        assert_eq!(Schema::from_toml(&draft.to_toml()).unwrap(), draft);
        draft.check_for_fit().unwrap();
        let range = |name: &str| draft.column(name).unwrap().range().unwrap();
        assert_eq!(range("date32"), (-1.0, 10_957.0));
        assert_eq!((range("time32"), range("seconds"), range("micros")), ((0.0, 90.0), (-90.0, 90.0), (-90.0, 90.0)));
        assert_eq!(range("decimal"), (-0.05, 10.5));
        let frame = frame(&source, &draft);
        assert!(count_outside(&frame, &draft).is_empty());
    }

    #[test]
    fn files_cut_anywhere_are_bad_input() {
        let folder = tempfile::tempdir().unwrap();
        for format in FORMATS {
            let source = write(folder.path(), format, &batch());
            let whole = fs::read(source.as_path()).unwrap();
            for cut in (8..whole.len() - 8).step_by(whole.len() / 40) {
                fs::write(source.as_path(), &whole[..cut]).unwrap();
                if let Err(e) = read_table(&source) {
                    assert_eq!(e.kind.exit_code(), 3);
                } else {
                    assert_eq!(format, Format::ArrowStream, "a stream may end after any batch");
                }
            }
        }
    }

    #[test]
    fn unsupported_types_can_only_be_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let columns: [(&str, ArrayRef); 2] =
            [("age", Arc::new(Int64Array::from(vec![3]))), ("blob", Arc::new(BinaryArray::from_vec(vec![b"x"])))];
        let source = write(folder.path(), Format::Parquet, &RecordBatch::try_from_iter(columns).unwrap());
        let schema = |drop: &str| {
            let text = format!(
                "[table]\nname = \"t\"\n[[column]]\nname = \"age\"\nkind = \"integer\"\n[[column]]\nname = \"blob\"\nkind = \"integer\"\n{drop}"
            );
            Schema::from_toml(&text).unwrap()
        };
        let e = load(&source, &schema("")).err().unwrap();
        assert!(e.what.contains("Binary") && e.column.as_deref() == Some("blob"), "{e}");
        assert!(load(&source, &schema("drop = true")).is_ok());
    }
}
