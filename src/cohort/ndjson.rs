//! NDJSON: a FHIR resource a line, or a plain object.

use super::writer::{Sink, failed};
use crate::error::Result;
use crate::ingest::fhir::{Element, Resource};
use crate::schema::LinkedSchema;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_cast::cast;
use arrow_schema::{DataType, Field, Schema};
use serde_json::{Map, Number, Value};
use std::io::Write;

pub(super) struct NdjsonSink<W: Write> {
    file: W,
    /// The type of the resources; objects are plain where there is none.
    resource: Option<&'static Resource>,
    columns: Vec<Column>,
}

enum Column {
    Element(&'static Element),
    Text(String),
    Number(String),
    Boolean(String),
}

impl<W: Write> NdjsonSink<W> {
    /// A table named after a type of resource that is read, all columns of which are its own, is written as such.
    pub fn new(file: W, table: &str, schema: &Schema) -> Self {
        let fields = || schema.fields().iter().map(AsRef::as_ref);
        match resource(table, fields().map(Field::name)) {
            Some((resource, elements)) => {
                Self { file, resource: Some(resource), columns: elements.into_iter().map(Column::Element).collect() }
            }
            None => Self { file, resource: None, columns: fields().map(Column::plain).collect() },
        }
    }
}

/// Whether all tables of persons are written as resources, which can be read again; plain objects cannot.
pub fn is_fhir(schema: &LinkedSchema) -> bool {
    let mut tables = schema.tree().into_iter().map(|table| &schema.tables[table]);
    tables.all(|table| resource(&table.name, table.columns.iter().map(|column| &column.name)).is_some())
}

/// The type that a table is written as, and the element of each column.
fn resource<'c>(
    table: &str,
    columns: impl Iterator<Item = &'c String>,
) -> Option<(&'static Resource, Vec<&'static Element>)> {
    let resource = Resource::of_table(table)?;
    let elements = columns.map(|column| resource.element(column)).collect::<Option<_>>()?;
    Some((resource, elements))
}

impl Column {
    fn plain(field: &Field) -> Self {
        let name = field.name().clone();
        match field.data_type() {
            DataType::Boolean => Self::Boolean(name),
            data_type if data_type.is_numeric() => Self::Number(name),
            _ => Self::Text(name),
        }
    }

    fn put(&self, line: &mut Value, cell: &str) {
        match self {
            Self::Element(element) => element.put(line, cell),
            Self::Text(name) => line[name] = cell.into(),
            Self::Number(name) => line[name] = cell.parse::<Number>().map_or_else(|_| cell.into(), Value::Number),
            Self::Boolean(name) => line[name] = (cell == "true").into(),
        }
    }
}

impl<W: Write> Sink for NdjsonSink<W> {
    fn write(&mut self, batches: Vec<RecordBatch>) -> Result<()> {
        for batch in batches {
            let texts = batch.columns().iter().map(|column| cast(column, &DataType::Utf8));
            let texts: Vec<ArrayRef> = texts.collect::<Result<_, _>>().map_err(failed)?;
            for row in 0..batch.num_rows() {
                let mut line = self.resource.map_or_else(|| Value::Object(Map::new()), Resource::empty);
                for (column, texts) in self.columns.iter().zip(&texts) {
                    let cell = texts.as_string::<i32>();
                    if cell.is_valid(row) && !cell.value(row).is_empty() {
                        column.put(&mut line, cell.value(row));
                    }
                }
                serde_json::to_writer(&mut self.file, &line).map_err(failed)?;
                self.file.write_all(b"\n").map_err(failed)?;
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.file.flush().map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{BooleanArray, Float64Array, Int64Array, StringArray};
    use std::sync::Arc;

    fn written(table: &str, columns: Vec<(&str, ArrayRef)>) -> String {
        let batch =
            RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, cells)| (name, cells, true)));
        let batch = batch.unwrap();
        let mut file = Vec::new();
        let mut sink = Box::new(NdjsonSink::new(&mut file, table, &batch.schema()));
        sink.write(vec![batch]).unwrap();
        sink.finish().unwrap();
        String::from_utf8(file).unwrap()
    }

    #[test]
    fn a_table_of_a_known_type_is_one_of_resources() {
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("id", Arc::new(Int64Array::from(vec![1, 2]))),
            ("subject", Arc::new(StringArray::from(vec!["S1", "S2"]))),
            ("value", Arc::new(Float64Array::from(vec![Some(36.6), None]))),
        ];
        let lines = [
            r#"{"id":"1","resourceType":"Observation","subject":{"reference":"Patient/S1"},"valueQuantity":{"value":36.6}}"#,
            r#"{"id":"2","resourceType":"Observation","subject":{"reference":"Patient/S2"}}"#,
        ];
        assert_eq!(written("Observation", columns), format!("{}\n{}\n", lines[0], lines[1]));
    }

    #[test]
    fn another_table_is_one_of_plain_objects() {
        let columns = || -> Vec<(&str, ArrayRef)> {
            vec![
                ("id", Arc::new(Int64Array::from(vec![1]))),
                ("ward", Arc::new(StringArray::from(vec!["a \"b\""]))),
                ("open", Arc::new(BooleanArray::from(vec![true]))),
                ("cost", Arc::new(Float64Array::from(vec![2.5]))),
                ("none", Arc::new(Float64Array::from(vec![None]))),
            ]
        };
        for table in ["stays", "Patient"] {
            let line = r#"{"cost":2.5,"id":1,"open":true,"ward":"a \"b\""}"#;
            assert_eq!(written(table, columns()), format!("{line}\n"));
        }
    }
}
