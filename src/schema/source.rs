//! The identifier of a source of data.

use crate::error::{Error, Result};
use synthward_privacy::UnitKey;

/// Digits of a new identifier.
const DIGITS: usize = 32;
/// Digits of any identifier, at least.
const LEAST_DIGITS: usize = 16;

/// A new identifier, from the system's randomness: nothing of the rows is in it, so nothing can be guessed from it.
///
/// # Errors
/// The operating system has no random numbers.
///
/// # Privacy
/// Touches no data.
pub fn new_source() -> Result<String> {
    let key = UnitKey::from_system()?;
    Ok(key.bytes().iter().take(DIGITS / 2).map(|byte| format!("{byte:02x}")).collect())
}

/// An error where this is no identifier.
pub(super) fn check(source: Option<&str>) -> Result<()> {
    let is_one =
        |text: &str| text.len() >= LEAST_DIGITS && text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
    if source.is_none_or(is_one) {
        return Ok(());
    }
    Err(Error::bad_input("`source` is no identifier of a source")
        .expected(format!("at least {LEAST_DIGITS} digits, 0 to 9 and a to f"))
        .remedy("copy it from the schema of the same persons, or leave it out and let `synthward inspect` draw one"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_drawn_by_chance_and_one_that_was_mistyped_is_refused() {
        let [one, other] = [(); 2].map(|()| new_source().unwrap());
        assert!(one.len() == DIGITS && one != other);
        for source in [None, Some(&*one), Some("0123456789abcdef")] {
            check(source).unwrap();
        }
        for source in ["", "0123456789abcde", "0123456789ABCDEF", "patients of 2024"] {
            assert!(check(Some(source)).unwrap_err().to_string().contains("identifier of a source"), "{source}");
        }
    }
}
