//! Epsilons in JSON, which knows no infinity: a finite one is a number, infinity is the text `"inf"`.

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How infinity is written.
const INFINITY: &str = "inf";

/// An epsilon as it is written and read: a number, or `"inf"` where nothing is guaranteed.
///
/// # Privacy
/// Public: a figure of a plan or of a sum of plans.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OrInfinity(pub f64);

impl Serialize for OrInfinity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for OrInfinity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize(deserializer).map(Self)
    }
}

/// Writes an epsilon; with [`deserialize`] for `#[serde(with = "...")]`.
///
/// # Privacy
/// Public: touches no data.
pub fn serialize<S: Serializer>(epsilon: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if *epsilon == f64::INFINITY { serializer.serialize_str(INFINITY) } else { serializer.serialize_f64(*epsilon) }
}

/// Reads an epsilon.
///
/// # Privacy
/// Public: touches no data.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    deserializer.deserialize_any(EpsilonVisitor)
}

struct EpsilonVisitor;

impl Visitor<'_> for EpsilonVisitor {
    type Value = f64;

    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "a number or \"{INFINITY}\"")
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<f64, E> {
        Ok(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<f64, E> {
        Ok(value as f64)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<f64, E> {
        Ok(value as f64)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<f64, E> {
        if text == INFINITY {
            Ok(f64::INFINITY)
        } else {
            Err(E::invalid_value(serde::de::Unexpected::Str(text), &self))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epsilons_survive_json() {
        for (epsilon, text) in [(0.25, "0.25"), (1.0, "1.0"), (f64::INFINITY, "\"inf\"")] {
            let json = serde_json::to_string(&OrInfinity(epsilon)).unwrap();
            assert_eq!(json, text);
            assert_eq!(serde_json::from_str::<OrInfinity>(&json).unwrap().0, epsilon);
        }
        assert_eq!(serde_json::from_str::<OrInfinity>("2").unwrap().0, 2.0);
        for odd in ["\"Inf\"", "\"1\"", "null", "true", "\"-inf\""] {
            assert!(serde_json::from_str::<OrInfinity>(odd).is_err(), "{odd}");
        }
    }
}
