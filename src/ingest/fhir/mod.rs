//! FHIR R4 bulk export: NDJSON, a resource a line, read as a table of fixed columns.
//!
//! What a resource holds beside these columns is not read: names, addresses of houses, notes, further codings of a
//! concept.

mod path;
mod reader;
mod resource;

pub(super) use reader::{Reader, is_table};
pub use resource::{Element, Resource};
