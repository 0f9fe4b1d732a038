//! One value, one spelling: what a text says where the type of a column makes it more than a text.
//!
//! `0`, `0.0` and `-0` are one number, and `True` and `true` one truth. They are many texts, and files differ in which they
//! have: pandas writes `0.0` where a cell of the column is missing, Parquet has no spelling at all.

use super::ArrowType;
use arrow_schema::DataType;

/// How values of a type are spelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spelling {
    /// Digit by digit: whole numbers and decimals.
    Exact,
    Single,
    Double,
    Truth,
}

impl Spelling {
    /// That of a type; none of text, where each spelling is a value of its own.
    pub fn of(arrow_type: &ArrowType) -> Option<Self> {
        match arrow_type.data_type() {
            DataType::Float32 => Some(Self::Single),
            DataType::Float64 => Some(Self::Double),
            DataType::Boolean => Some(Self::Truth),
            _ => arrow_type.is_numeric().then_some(Self::Exact),
        }
    }

    /// The one spelling of what the text says; none where it says nothing of this type.
    pub fn spell(self, text: &str) -> Option<String> {
        let text = text.trim();
        let number = || text.parse::<f64>().ok().filter(|x| x.is_finite());
        match self {
            Self::Exact => exact(text).or_else(|| exact(&number()?.to_string())),
            // Adding zero makes a negative zero positive.
            Self::Single => number().map(|x| (x as f32 + 0.0).to_string()),
            Self::Double => number().map(|x| (x + 0.0).to_string()),
            Self::Truth => {
                let lower = text.to_ascii_lowercase();
                ["false", "true"].contains(&lower.as_str()).then_some(lower)
            }
        }
    }
}

/// A number in plain digits without what does not count.
fn exact(text: &str) -> Option<String> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    let sign = if text.starts_with('-') && !(whole.is_empty() && fraction.is_empty()) { "-" } else { "" };
    let whole = if whole.is_empty() { "0" } else { whole };
    Some(if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_one_value_is_spelled_once() {
        for (spelling, texts, one) in [
            (Spelling::Exact, &["0", "0.0", "-0", "00.", " +.0 ", "0e3"][..], "0"),
            (Spelling::Exact, &["-1.50", "-01.5", "-15e-1"], "-1.5"),
            (Spelling::Exact, &["12345678901234567890123456789012345678.0"], "12345678901234567890123456789012345678"),
            (Spelling::Double, &["0", "0.0", "-0.0", "0e3"], "0"),
            (Spelling::Double, &["9007199254740993", "9007199254740992.0"], "9007199254740992"),
            (Spelling::Single, &["0.1", "0.10000000149", "1e-1"], "0.1"),
            (Spelling::Truth, &["True", "true", " TRUE"], "true"),
        ] {
            for text in texts {
                assert_eq!(spelling.spell(text).as_deref(), Some(one), "{spelling:?} {text}");
            }
        }
        for text in ["", "-", ".", "inf", "NaN", "1,5", "0x1", "one"] {
            for spelling in [Spelling::Exact, Spelling::Single, Spelling::Double, Spelling::Truth] {
                assert_eq!(spelling.spell(text), None, "{spelling:?} {text}");
            }
        }
    }
}
