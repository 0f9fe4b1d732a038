//! The Arrow types that a table may have, by the names that Arrow users know.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use arrow_schema::{DataType, TimeUnit};
use schemars::{JsonSchema, Schema as JsonSchemaObject, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};

/// The Arrow type of a column of the input, which the cohort gives back.
///
/// It is written as text: `boolean`, `int8` to `int64`, `uint8` to `uint64`,
/// `float32`, `float64`, `utf8`, `large_utf8`, `utf8_view`, `date32`, `date64`,
/// `time32[ms]`, `time64[us]`, `timestamp[us]`, `timestamp[us, UTC]`,
/// `decimal128(10, 2)`, `dictionary(int32, utf8)`. Time units are `s`, `ms`,
/// `us`, `ns`. Every other Arrow type (nested ones, binary, durations, 16-bit
/// floats, wider decimals) is refused by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArrowType(DataType);

impl ArrowType {
    /// The type that text has when nothing else is said.
    pub const UTF8: Self = Self(DataType::Utf8);
    /// Whole numbers read from text.
    pub const INT64: Self = Self(DataType::Int64);
    /// Other numbers read from text.
    pub const FLOAT64: Self = Self(DataType::Float64);
    /// True and false.
    pub const BOOLEAN: Self = Self(DataType::Boolean);
    /// Days.
    pub const DATE32: Self = Self(DataType::Date32);

    /// Times of day in microseconds, read from text.
    pub const TIME64_US: Self = Self(DataType::Time64(TimeUnit::Microsecond));

    /// Instants in microseconds, read from text.
    pub fn timestamp_us(utc: bool) -> Self {
        Self(DataType::Timestamp(TimeUnit::Microsecond, utc.then(|| "UTC".into())))
    }

    /// The type as arrow-rs has it.
    pub fn data_type(&self) -> &DataType {
        &self.0
    }

    /// Strings, plain or as a dictionary.
    pub fn is_text(&self) -> bool {
        match &self.0 {
            DataType::Dictionary(_, values) => is_string(values),
            other => is_string(other),
        }
    }

    /// Integers of any width and sign.
    pub fn is_integer(&self) -> bool {
        self.0.is_integer()
    }

    /// Integers, floats and decimals.
    pub fn is_numeric(&self) -> bool {
        self.0.is_numeric()
    }

    /// Times without a date.
    pub fn is_time_of_day(&self) -> bool {
        matches!(self.0, DataType::Time32(_) | DataType::Time64(_))
    }

    /// Dates, times of day and timestamps.
    pub fn is_temporal(&self) -> bool {
        self.0.is_temporal()
    }

    /// The refusal of a type that is not in the list.
    pub fn unsupported(name: &str) -> Error {
        Error::bad_input(format!("the Arrow type {name} is not supported"))
            .expected("boolean, an integer, float32, float64, text, a date, a time, a timestamp, decimal128 or a dictionary of text")
            .remedy("cast the column to one of these types, leave it out of the table, or write drop = true in the schema")
    }
}

impl TryFrom<&DataType> for ArrowType {
    type Error = Error;

    /// # Errors
    /// Bad input, naming the type, for a type outside the list above.
    fn try_from(data_type: &DataType) -> Result<Self> {
        use DataType as D;
        let accepted = match data_type {
            D::Boolean | D::Float32 | D::Float64 | D::Date32 | D::Date64 | D::Timestamp(..) => true,
            D::Time32(unit) => matches!(unit, TimeUnit::Second | TimeUnit::Millisecond),
            D::Time64(unit) => matches!(unit, TimeUnit::Microsecond | TimeUnit::Nanosecond),
            D::Decimal128(precision, scale) => (1..=38).contains(precision) && (0..=*precision as i8).contains(scale),
            D::Dictionary(keys, values) => keys.is_integer() && is_string(values),
            other => other.is_integer() || is_string(other),
        };
        if accepted { Ok(Self(data_type.clone())) } else { Err(Self::unsupported(&data_type.to_string())) }
    }
}

impl FromStr for ArrowType {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        parse(text.trim()).and_then(|t| Self::try_from(&t).ok()).ok_or_else(|| Self::unsupported(text))
    }
}

impl fmt::Display for ArrowType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_type(&self.0, f)
    }
}

impl Serialize for ArrowType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ArrowType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(|e: Error| serde::de::Error::custom(e.what))
    }
}

impl JsonSchema for ArrowType {
    fn schema_name() -> Cow<'static, str> {
        "ArrowType".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> JsonSchemaObject {
        json_schema!({
            "type": "string",
            "description": "Arrow type of the input column, such as int64, utf8, timestamp[us, UTC], \
                            decimal128(10, 2) or dictionary(int32, utf8).",
        })
    }
}

fn is_string(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// Types without parameters, by name.
const PLAIN: [(&str, DataType); 17] = [
    ("boolean", DataType::Boolean),
    ("int8", DataType::Int8),
    ("int16", DataType::Int16),
    ("int32", DataType::Int32),
    ("int64", DataType::Int64),
    ("uint8", DataType::UInt8),
    ("uint16", DataType::UInt16),
    ("uint32", DataType::UInt32),
    ("uint64", DataType::UInt64),
    ("float32", DataType::Float32),
    ("float64", DataType::Float64),
    ("utf8", DataType::Utf8),
    ("large_utf8", DataType::LargeUtf8),
    ("utf8_view", DataType::Utf8View),
    ("date32", DataType::Date32),
    ("date64", DataType::Date64),
    ("float16", DataType::Float16),
];

fn parse(text: &str) -> Option<DataType> {
    if let Some((_, plain)) = PLAIN.iter().find(|(name, _)| *name == text) {
        return Some(plain.clone());
    }
    let open = text.find(['[', '('])?;
    let (name, rest) = text.split_at(open);
    let close = if rest.starts_with('[') { ']' } else { ')' };
    let inner = rest[1..].strip_suffix(close)?;
    let (first, second) = match inner.split_once(',') {
        Some((first, second)) => (first.trim(), Some(second.trim())),
        None => (inner.trim(), None),
    };
    Some(match (name, close, second) {
        ("timestamp", ']', zone) => DataType::Timestamp(unit(first)?, zone.map(Into::into)),
        ("time32", ']', None) => DataType::Time32(unit(first)?),
        ("time64", ']', None) => DataType::Time64(unit(first)?),
        ("decimal128", ')', Some(scale)) => DataType::Decimal128(first.parse().ok()?, scale.parse().ok()?),
        ("dictionary", ')', Some(values)) => DataType::Dictionary(Box::new(parse(first)?), Box::new(parse(values)?)),
        _ => return None,
    })
}

fn unit(text: &str) -> Option<TimeUnit> {
    Some(match text {
        "s" => TimeUnit::Second,
        "ms" => TimeUnit::Millisecond,
        "us" => TimeUnit::Microsecond,
        "ns" => TimeUnit::Nanosecond,
        _ => return None,
    })
}

fn write_type(data_type: &DataType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let unit = |unit: &TimeUnit| match unit {
        TimeUnit::Second => "s",
        TimeUnit::Millisecond => "ms",
        TimeUnit::Microsecond => "us",
        TimeUnit::Nanosecond => "ns",
    };
    match data_type {
        DataType::Timestamp(u, None) => write!(f, "timestamp[{}]", unit(u)),
        DataType::Timestamp(u, Some(zone)) => write!(f, "timestamp[{}, {zone}]", unit(u)),
        DataType::Time32(u) => write!(f, "time32[{}]", unit(u)),
        DataType::Time64(u) => write!(f, "time64[{}]", unit(u)),
        DataType::Decimal128(precision, scale) => write!(f, "decimal128({precision}, {scale})"),
        DataType::Dictionary(keys, values) => {
            f.write_str("dictionary(")?;
            write_type(keys, f)?;
            f.write_str(", ")?;
            write_type(values, f)?;
            f.write_str(")")
        }
        plain => match PLAIN.iter().find(|(_, t)| t == plain) {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "{plain}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_accepted_type_is_written_and_read_back() {
        for text in [
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
            "timestamp[s]",
            "timestamp[ms, UTC]",
            "timestamp[us, Europe/Berlin]",
            "timestamp[ns, +01:00]",
            "decimal128(10, 2)",
            "dictionary(int32, utf8)",
            "dictionary(uint8, large_utf8)",
        ] {
            let parsed: ArrowType = text.parse().unwrap();
            assert_eq!(parsed.to_string(), text);
            assert_eq!(ArrowType::try_from(parsed.data_type()).unwrap(), parsed);
        }
    }

    #[test]
    fn other_types_are_refused_by_name() {
        for text in [
            "float16",
            "binary",
            "list(int8)",
            "decimal128(50, 2)",
            "decimal128(4, 9)",
            "time32[us]",
            "timestamp[h]",
            "dictionary(utf8, utf8)",
            "duration[us]",
            "",
        ] {
            let e = text.parse::<ArrowType>().unwrap_err();
            assert!(e.to_string().contains(text), "{e}");
        }
        assert!(ArrowType::try_from(&DataType::new_list(DataType::Int8, true)).unwrap_err().what.contains("List"));
    }
}
