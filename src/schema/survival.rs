//! Survival curves, declared so that the cohort's can be compared with the real ones.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Schema;
use super::analysis::{NAME_LABELS, modelled, names_labels, refused};
use crate::error::Result;

/// Time to an event, possibly censored: one Kaplan-Meier curve, or one per category of `by`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Survival {
    /// The name under which the curves appear.
    pub name: String,
    /// The column of times to the event or to the end of observation, in its own unit.
    pub time: String,
    /// The column that says what ended the observation.
    pub event: String,
    /// The values of `event` that are the event; every other one that is present is censored.
    pub event_is: Vec<String>,
    /// A categorical column: one curve per category that the schema lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// Categories that an error lists: the schema's, as its author wrote them.
const MOST_LISTED: usize = 12;

impl Survival {
    /// Checks the declaration against the columns of `schema`.
    ///
    /// # Errors
    /// Bad input naming the declaration and the remedy.
    pub(super) fn check(&self, schema: &Schema) -> Result<()> {
        let refuse = |what: String, remedy: &str| refused("survival", &self.name, what, remedy);
        let column = |name: &str| modelled(schema, "survival", &self.name, name);
        if !column(&self.time)?.kind.is_amount() {
            return refuse(format!("`{}` is not a number", self.time), "name an integer or real column of times");
        }
        let event = column(&self.event)?;
        let is_number = |value: &String| value.trim().parse::<f64>().is_ok();
        let known = match event.kind.is_numeric() {
            true => !self.event_is.is_empty() && self.event_is.iter().all(is_number),
            false => names_labels(event, &self.event_is),
        };
        if !known {
            let labels = event.labels();
            let has = match labels.len() {
                0 => String::new(),
                1..=MOST_LISTED => format!(": it has {}", labels.join(", ")),
                more => format!(": it has {}, and {} more", labels[..MOST_LISTED].join(", "), more - MOST_LISTED),
            };
            return refuse(
                format!("event_is does not name values of `{}`", event.name),
                &format!("list the values that count as the event{has}"),
            );
        }
        match &self.by {
            Some(by) if !column(by)?.kind.has_labels() => {
                refuse(format!("`{by}` has no list of categories"), NAME_LABELS)
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_must_be_possible() {
        let columns = "[table]\nname = \"t\"\n[[column]]\nname = \"days\"\nkind = \"integer\"\n\
            [[column]]\nname = \"dead\"\nkind = \"boolean\"\n[[column]]\nname = \"status\"\nkind = \"integer\"\n";
        let with = |lines: &str| Schema::from_toml(&format!("{columns}[[survival]]\nname = \"x\"\n{lines}\n"));
        assert!(with("time = \"days\"\nevent = \"dead\"\nevent_is = [\"true\"]\nby = \"dead\"").is_ok());
        assert!(with("time = \"days\"\nevent = \"status\"\nevent_is = [\"1\", \"2\"]").is_ok());
        for (lines, what) in [
            ("time = \"dead\"\nevent = \"dead\"\nevent_is = [\"true\"]", "`dead` is not a number"),
            ("time = \"days\"\nevent = \"gone\"\nevent_is = [\"true\"]", "`gone` is not a modelled column"),
            ("time = \"days\"\nevent = \"dead\"\nevent_is = [\"1\"]", "event_is does not name values of `dead`"),
            ("time = \"days\"\nevent = \"dead\"\nevent_is = []", "event_is does not name values of `dead`"),
            ("time = \"days\"\nevent = \"status\"\nevent_is = [\"yes\"]", "event_is does not name values of `status`"),
            (
                "time = \"days\"\nevent = \"dead\"\nevent_is = [\"true\"]\nby = \"days\"",
                "`days` has no list of categories",
            ),
        ] {
            let e = with(lines).unwrap_err();
            assert!(e.what.contains("survival `x`: ") && e.what.contains(what) && e.remedy.is_some(), "{e}");
        }
    }
}
