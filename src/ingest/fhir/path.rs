//! Where an element of a resource stands.
//!
//! Steps are separated by points: `period.start`. The first of a list is `coding[]`; `extension[text]` is the extension of
//! that url, where US Core's go by their last word.

use serde_json::{Value, json};

/// What the urls of US Core's extensions begin with.
const US_CORE: &str = "http://hl7.org/fhir/us/core/StructureDefinition/";

enum Step<'p> {
    Member(&'p str),
    First(&'p str),
    Extension(&'p str),
}

impl<'p> Step<'p> {
    fn of(step: &'p str) -> Self {
        match step.split_once('[') {
            None => Self::Member(step),
            Some((name, "]")) => Self::First(name),
            Some((_, url)) => Self::Extension(url.trim_end_matches(']')),
        }
    }
}

fn has_url(extension: &Value, url: &str) -> bool {
    let own = extension.get("url").and_then(Value::as_str);
    own.is_some_and(|own| own.strip_prefix(US_CORE).unwrap_or(own) == url)
}

fn whole_url(url: &str) -> String {
    if url.starts_with("us-core-") { format!("{US_CORE}{url}") } else { url.to_owned() }
}

/// The element, where the resource has it.
pub(super) fn get<'v>(resource: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.').try_fold(resource, |at, step| match Step::of(step) {
        Step::Member(name) => at.get(name),
        Step::First(name) => at.get(name)?.get(0),
        Step::Extension(url) => at.get("extension")?.as_array()?.iter().find(|extension| has_url(extension, url)),
    })
}

/// Gives the resource the element, and what it stands in.
pub(super) fn set(resource: &mut Value, path: &str, value: Value) {
    let mut at = resource;
    for step in path.split('.') {
        at = match Step::of(step) {
            Step::Member(name) => &mut at[name],
            Step::First(name) => {
                let list = &mut at[name];
                if list.is_null() {
                    *list = json!([null]);
                }
                &mut list[0]
            }
            Step::Extension(url) => {
                let list = &mut at["extension"];
                let mut all = match list.take() {
                    Value::Array(all) => all,
                    _ => Vec::new(),
                };
                let place = all.iter().position(|extension| has_url(extension, url)).unwrap_or(all.len());
                if place == all.len() {
                    all.push(json!({ "url": whole_url(url) }));
                }
                *list = Value::Array(all);
                &mut list[place]
            }
        };
    }
    *at = value;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_there() {
        let mut resource = json!({});
        let paths = [
            "id",
            "period.start",
            "period.end",
            "type[].coding[].code",
            "type[].coding[].display",
            "extension[us-core-race].extension[text].valueString",
            "extension[us-core-ethnicity].extension[text].valueString",
        ];
        for path in paths {
            assert_eq!(get(&resource, path), None, "{path}");
            set(&mut resource, path, path.into());
        }
        for path in paths {
            assert_eq!(get(&resource, path), Some(&path.into()), "{path}");
        }
        assert_eq!(resource["type"][0]["coding"][0]["code"], "type[].coding[].code");
        assert_eq!(resource["extension"][0]["url"], "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race");
    }

    #[test]
    fn other_shapes_have_nothing_there() {
        for resource in [json!(null), json!([1]), json!({ "type": {}, "period": "x", "extension": 3 })] {
            for path in ["period.start", "type[].coding[].code", "extension[text].valueString"] {
                assert_eq!(get(&resource, path), None);
            }
        }
    }
}
