//! The types of resources that are read, and the columns of each.

use super::path;
use crate::schema::Schema;
use serde_json::{Number, Value, json};

/// A type of resource, as a table.
#[derive(Debug)]
pub struct Resource {
    pub name: &'static str,
    pub(super) elements: &'static [Element],
}

/// An element of a resource, as a column.
#[derive(Debug)]
pub struct Element {
    pub(super) column: &'static str,
    shape: Shape,
    /// Where it may stand; it is written to the first of these.
    paths: &'static [&'static str],
}

#[derive(Debug)]
enum Shape {
    Text,
    /// A date, or a date and time.
    Moment,
    Number,
    /// A reference to a resource of this type, of which the column has the id.
    Reference(&'static str),
}

const fn text(column: &'static str, paths: &'static [&'static str]) -> Element {
    Element { column, shape: Shape::Text, paths }
}

const fn moment(column: &'static str, paths: &'static [&'static str]) -> Element {
    Element { column, shape: Shape::Moment, paths }
}

const fn reference(column: &'static str, to: &'static str, paths: &'static [&'static str]) -> Element {
    Element { column, shape: Shape::Reference(to), paths }
}

const ID: Element = text("id", &["id"]);
const STATUS: Element = text("status", &["status"]);
const SUBJECT: Element = reference("subject", "Patient", &["subject.reference"]);
const ENCOUNTER: Element = reference("encounter", "Encounter", &["encounter.reference"]);

const CODE: Element = text("code", &["code.coding[].code"]);
const DISPLAY: &[&str] = &["code.coding[].display", "code.text"];

static RESOURCES: [Resource; 6] = [
    Resource {
        name: "Patient",
        elements: &[
            ID,
            moment("birthDate", &["birthDate"]),
            moment("deceasedDateTime", &["deceasedDateTime"]),
            text("gender", &["gender"]),
            text("maritalStatus", &["maritalStatus.coding[].code", "maritalStatus.text"]),
            text(
                "race",
                &[
                    "extension[us-core-race].extension[text].valueString",
                    "extension[us-core-race].extension[ombCategory].valueCoding.display",
                    "extension[us-core-race].extension[ombCategory].valueCoding.code",
                ],
            ),
            text(
                "ethnicity",
                &[
                    "extension[us-core-ethnicity].extension[text].valueString",
                    "extension[us-core-ethnicity].extension[ombCategory].valueCoding.display",
                    "extension[us-core-ethnicity].extension[ombCategory].valueCoding.code",
                ],
            ),
            text("state", &["address[].state"]),
            text("city", &["address[].city"]),
            text("postalCode", &["address[].postalCode"]),
        ],
    },
    Resource {
        name: "Encounter",
        elements: &[
            ID,
            SUBJECT,
            STATUS,
            text("class", &["class.code"]),
            text("type", &["type[].coding[].code"]),
            text("type_display", &["type[].coding[].display", "type[].text"]),
            moment("period_start", &["period.start"]),
            moment("period_end", &["period.end"]),
            text("reasonCode", &["reasonCode[].coding[].code"]),
        ],
    },
    Resource {
        name: "Condition",
        elements: &[
            ID,
            SUBJECT,
            ENCOUNTER,
            CODE,
            text("code_display", DISPLAY),
            text("code_system", &["code.coding[].system"]),
            text("clinicalStatus", &["clinicalStatus.coding[].code"]),
            moment("onsetDateTime", &["onsetDateTime"]),
            moment("abatementDateTime", &["abatementDateTime"]),
            moment("recordedDate", &["recordedDate"]),
        ],
    },
    Resource {
        name: "MedicationRequest",
        elements: &[
            ID,
            SUBJECT,
            ENCOUNTER,
            STATUS,
            text("intent", &["intent"]),
            text("code", &["medicationCodeableConcept.coding[].code"]),
            text("display", &["medicationCodeableConcept.coding[].display", "medicationCodeableConcept.text"]),
            moment("authoredOn", &["authoredOn"]),
        ],
    },
    Resource {
        name: "Observation",
        elements: &[
            ID,
            SUBJECT,
            ENCOUNTER,
            STATUS,
            text("category", &["category[].coding[].code"]),
            CODE,
            text("display", DISPLAY),
            moment("effectiveDateTime", &["effectiveDateTime", "effectivePeriod.start"]),
            Element { column: "value", shape: Shape::Number, paths: &["valueQuantity.value", "valueInteger"] },
            text("unit", &["valueQuantity.unit"]),
            text("valueCode", &["valueCodeableConcept.coding[].code"]),
        ],
    },
    Resource {
        name: "Procedure",
        elements: &[
            ID,
            SUBJECT,
            ENCOUNTER,
            STATUS,
            CODE,
            text("display", DISPLAY),
            moment("performed_start", &["performedPeriod.start", "performedDateTime"]),
            moment("performed_end", &["performedPeriod.end"]),
        ],
    },
];

impl Resource {
    /// The type of this name, where it is one that is read.
    pub fn of(name: &str) -> Option<&'static Self> {
        RESOURCES.iter().find(|resource| resource.name == name)
    }

    /// The type that a table is named after; capitals do not matter.
    pub fn of_table(name: &str) -> Option<&'static Self> {
        RESOURCES.iter().find(|resource| resource.name.eq_ignore_ascii_case(name))
    }

    /// The type that a schema is of: it knows all columns of that type, and so of no other.
    pub(super) fn of_schema(schema: &Schema) -> Option<&'static Self> {
        let is_known = |element: &Element| schema.column(element.column).is_some();
        RESOURCES.iter().find(|resource| resource.elements.iter().all(is_known))
    }

    /// The names of its columns.
    pub(super) fn columns(&self) -> impl Iterator<Item = &'static str> {
        self.elements.iter().map(|element| element.column)
    }

    /// The names of all types that are read.
    pub(super) fn names() -> String {
        RESOURCES.each_ref().map(|resource| resource.name).join(", ")
    }

    /// The element that is this column.
    pub fn element(&self, column: &str) -> Option<&'static Element> {
        self.elements.iter().find(|element| element.column == column)
    }

    /// A resource without elements.
    pub fn empty(&self) -> Value {
        json!({ "resourceType": self.name })
    }
}

impl Element {
    /// The cell of a resource; empty where it is missing.
    pub(super) fn cell(&self, resource: &Value) -> String {
        let cell = self.paths.iter().find_map(|path| self.spelled(path::get(resource, path)?));
        cell.unwrap_or_default()
    }

    fn spelled(&self, value: &Value) -> Option<String> {
        match (&self.shape, value) {
            (Shape::Reference(to), value) => id(value.as_str()?, to).map(str::to_owned),
            (Shape::Moment, Value::String(text)) => Some(whole_date(text)),
            (_, Value::String(text)) => Some(text.clone()),
            (_, Value::Number(number)) => Some(number.to_string()),
            (_, Value::Bool(value)) => Some(value.to_string()),
            _ => None,
        }
    }

    /// Gives a resource the element of a cell that is not missing.
    pub fn put(&self, resource: &mut Value, cell: &str) {
        let value = match self.shape {
            Shape::Text | Shape::Moment => cell.into(),
            Shape::Number => number(cell),
            Shape::Reference(to) => format!("{to}/{cell}").into(),
        };
        path::set(resource, self.paths[0], value);
    }
}

/// A date of which the day, or the month too, is not told becomes the first day that it may be; any other text stays.
fn whole_date(text: &str) -> String {
    let is_number = |part: &str, digits: usize| part.len() == digits && part.bytes().all(|b| b.is_ascii_digit());
    match text.split_once('-') {
        None if is_number(text, 4) => format!("{text}-01-01"),
        Some((year, month)) if is_number(year, 4) && is_number(month, 2) => format!("{text}-01"),
        _ => text.to_owned(),
    }
}

/// A number, or the text of a cell that is none, such as the label of all others.
fn number(cell: &str) -> Value {
    cell.parse::<Number>().map_or_else(|_| cell.into(), Value::Number)
}

/// The id of a reference: `Patient/ID`, also behind an address and before a version, or `urn:uuid:ID`.
fn id<'r>(reference: &'r str, to: &str) -> Option<&'r str> {
    if let Some(id) = reference.strip_prefix("urn:uuid:") {
        return Some(id);
    }
    let mut steps = reference.split('/').skip_while(|step| *step != to);
    steps.nth(1).filter(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_told_by_their_type() {
        for (reference, expected) in [
            ("Patient/p-1", Some("p-1")),
            ("https://hospital.test/fhir/Patient/p-1/_history/2", Some("p-1")),
            ("urn:uuid:0c3a", Some("0c3a")),
            ("Group/g", None),
            ("Patient/", None),
            ("#contained", None),
            ("", None),
        ] {
            assert_eq!(id(reference, "Patient"), expected, "{reference}");
        }
    }

    #[test]
    fn columns_have_names_of_their_own() {
        for resource in &RESOURCES {
            let mut names: Vec<&str> = resource.elements.iter().map(|element| element.column).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), resource.elements.len(), "{}", resource.name);
        }
    }

    /// A schema tells the type: no type has all columns of another one.
    #[test]
    fn no_type_is_part_of_another() {
        for (one, other) in RESOURCES.iter().flat_map(|one| RESOURCES.iter().map(move |other| (one, other))) {
            let is_part = one.columns().all(|column| other.element(column).is_some());
            assert_eq!(is_part, one.name == other.name, "{} {}", one.name, other.name);
        }
    }

    #[test]
    fn a_date_without_day_is_the_first_that_it_may_be() {
        let element = Resource::of("Patient").unwrap().element("birthDate").unwrap();
        for (date, cell) in [
            ("1980", "1980-01-01"),
            ("1980-05", "1980-05-01"),
            ("1980-05-17", "1980-05-17"),
            ("1980-05-17T01:02:03Z", "1980-05-17T01:02:03Z"),
            ("80", "80"),
            ("1980-5", "1980-5"),
            ("-", "-"),
            ("", ""),
        ] {
            assert_eq!(element.cell(&json!({ "birthDate": date })), cell);
        }
    }

    #[test]
    fn the_first_place_that_has_it_counts() {
        let resource = Resource::of("Patient").unwrap();
        let cell = |value: &Value| resource.element("race").unwrap().cell(value);
        let omb = json!({ "url": "ombCategory", "valueCoding": { "code": "2106-3" } });
        let race = |parts: Value| {
            json!({ "extension": [
            { "url": "other" },
            { "url": "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race", "extension": parts },
        ] })
        };
        assert_eq!(cell(&race(json!([omb]))), "2106-3");
        assert_eq!(cell(&race(json!([omb, { "url": "text", "valueString": "White" }]))), "White");
        assert_eq!(cell(&json!({ "extension": [] })), "");
    }

    #[test]
    fn numbers_are_written_as_numbers() {
        let element = Resource::of("Observation").unwrap().element("value").unwrap();
        for (cell, expected) in [("37.5", json!(37.5)), ("12", json!(12)), ("other", json!("other"))] {
            let mut resource = json!({});
            element.put(&mut resource, cell);
            assert_eq!(resource["valueQuantity"]["value"], expected);
            assert_eq!(element.cell(&resource), cell);
        }
        assert_eq!(element.cell(&json!({ "valueInteger": 4 })), "4");
    }
}
