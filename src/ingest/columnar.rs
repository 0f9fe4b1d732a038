//! Parquet and Arrow IPC, batch by batch.

use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek};

use arrow_array::{ArrayRef, RecordBatch};
use arrow_ipc::reader::{FileReader, StreamReader};
use arrow_schema::{ArrowError, Field, Schema as ArrowSchema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::reader::ChunkReader;

use super::guard;
use super::raw::check_names;
use super::source::{Bytes, Format, Source};
use crate::error::{Error, Result};
use crate::schema::ArrowType;

/// Rows of a batch of a Parquet file; Arrow IPC has batches of its own.
const BATCH_ROWS: usize = 1 << 16;

type Batches = Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>> + Send>;

/// A Parquet or Arrow IPC file that is being read.
pub(super) struct Reader {
    source: Source,
    format: Format,
    /// The fields of the file with their Arrow types; the name of an unsupported one stands as the error.
    pub fields: Vec<(String, Result<ArrowType, String>)>,
    batches: Batches,
}

impl Reader {
    /// Reads as far as the types.
    ///
    /// # Errors
    /// Bad input: a damaged file, columns without names of their own.
    pub fn new(source: &Source, bytes: Bytes, format: Format) -> Result<Self> {
        let opened = guard::quietly(|| match bytes {
            Bytes::File(file) => open(file, format),
            Bytes::Memory(bytes) if format == Format::Parquet => parquet(bytes),
            Bytes::Memory(bytes) => arrow(Cursor::new(bytes), format),
            Bytes::Stream(stream) => stream_of(stream),
        });
        let (schema, batches) = opened.ok_or_else(|| damaged(source, format))?;
        let names: Vec<String> = schema.fields().iter().map(|f| f.name().clone()).collect();
        check_names(source, &names)?;
        let fields = schema.fields().iter().map(|field| (field.name().clone(), supported(field))).collect();
        Ok(Self { source: source.clone(), format, fields, batches })
    }

    /// The supported columns of the next rows. `None` at the end.
    ///
    /// # Errors
    /// Bad input: a damaged file.
    pub fn next(&mut self) -> Result<Option<(usize, Vec<ArrayRef>)>> {
        loop {
            let next = guard::quietly(|| self.batches.next().transpose());
            match next.ok_or_else(|| damaged(&self.source, self.format))? {
                Some(batch) if batch.num_rows() == 0 => {}
                Some(batch) => return Ok(Some((batch.num_rows(), batch.columns().to_vec()))),
                None => return Ok(None),
            }
        }
    }
}

type Opening = Result<(ArrowSchema, Batches), ArrowError>;

fn open(file: File, format: Format) -> Opening {
    if format == Format::Parquet { parquet(file) } else { arrow(BufReader::new(file), format) }
}

fn parquet<R: ChunkReader + 'static>(bytes: R) -> Opening {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes)?;
    let schema = builder.schema().as_ref().clone();
    let mask = ProjectionMask::roots(builder.parquet_schema(), wanted(&schema));
    let batches = builder.with_projection(mask).with_batch_size(BATCH_ROWS).build()?;
    Ok((schema, Box::new(batches)))
}

fn arrow<R: Read + Seek + Send + 'static>(mut bytes: R, format: Format) -> Opening {
    bytes.rewind()?;
    if format == Format::ArrowStream {
        return stream_of(bytes);
    }
    let schema = FileReader::try_new(&mut bytes, None)?.schema().as_ref().clone();
    bytes.rewind()?;
    Ok((schema.clone(), Box::new(FileReader::try_new(bytes, Some(wanted(&schema)))?)))
}

fn stream_of<R: Read + Send + 'static>(bytes: R) -> Opening {
    let reader = StreamReader::try_new(bytes, None)?;
    let schema = reader.schema().as_ref().clone();
    let wanted = wanted(&schema);
    Ok((schema, Box::new(reader.map(move |batch| batch?.project(&wanted)))))
}

/// The places of the supported columns.
fn wanted(schema: &ArrowSchema) -> Vec<usize> {
    let fields = schema.fields().iter().enumerate();
    fields.filter(|(_, field)| supported(field).is_ok()).map(|(place, _)| place).collect()
}

/// The type of a field, or its name where it is not supported. An extension means something else than the type that it
/// is stored in, such as months or labelled codes.
fn supported(field: &Field) -> Result<ArrowType, String> {
    match field.extension_type_name() {
        Some(extension) => Err(format!("{extension} (an extension of {})", field.data_type())),
        None => ArrowType::try_from(field.data_type()).map_err(|_| field.data_type().to_string()),
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

    use super::super::{Frame, MISSING, Values, Vouched, count_outside, inspect, load, read as read_table};
    use super::*;
    use crate::schema::{Kind, Reading, Schema, TableSpec};
    use arrow_schema::DataType;

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
            _ => {
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
            source: None,
            privacy_unit: None,
            max_rows_per_unit: None,
            order: None,
            missing: vec![],
            reading: Reading::default(),
            units: None,
            at_least_units: None,
            epsilon_cap: None,
            assumed_public: false,
        };
        let columns = read_table(source, &Reading::default()).unwrap().columns.into_iter().map(|raw| {
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
            let table = read_table(&write(folder.path(), format, &batch), &Reading::default()).unwrap();
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
        let raw = read_table(&source, &Reading::default()).unwrap();
        let draft = inspect(&raw, &[], Some("row"), Vouched::All).unwrap().schema;
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
                if let Err(e) = read_table(&source, &Reading::default()) {
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
