//! Columns of numbers: counts and amounts, the step that they keep, and few numbers that are values of their own.

use super::FindingClass;
use super::kinds::{Draft, MAX_LISTED, POSTCODES, in_natural_order};
use super::profile::Profile;
use crate::schema::{ArrowType, Bound, Kind, Spelling};
use std::collections::HashSet;

/// Digits after the point up to which a number is called a decimal.
const MAX_DECIMALS: usize = 6;

/// Share of distinct values that must get by with the decimals written down.
const DECIMALS_SHARE: f64 = 0.95;

/// Numbers that may be values of their own rather than points on a scale, at most ...
const FEW_NUMBERS: usize = 20;
/// ... the rows of each, on average, at least ...
const ROWS_OF_EACH: usize = 10;
/// ... and how many times as many places there are between the first and the last of them, at least.
const FAR_APART: f64 = 3.0;

/// Bits of evidence for a step: of so many numbers that only chance makes multiples of it, it would do so once in a million
/// columns.
const STEP_BITS: f64 = 20.0;

/// Digits that postcodes and other codes have at least.
const CODE_DIGITS: usize = 4;

/// Numbers that may mean "not known".
const UNKNOWN_NUMBERS: [f64; 12] =
    [-1.0, -9.0, -99.0, -999.0, -9999.0, 99.0, 999.0, 9999.0, 99_999.0, 999_999.0, 9_999_999.0, 99_999_999.0];

/// Numbers: whole ones, ones with decimals, and few that are values of their own.
pub(super) fn numeric(profile: &Profile) -> Option<Draft> {
    let mut numbers = profile.numbers()?;
    numbers.sort_unstable_by(f64::total_cmp);
    // A number may be spelled twice.
    numbers.dedup();
    let (min, max) = ends(numbers.iter().copied())?;
    if numbers.iter().all(|x| x.fract() == 0.0) {
        // Beyond 2^53 a 64-bit float no longer tells whole numbers apart: such numbers are names, not counts.
        let too_large = max.abs().max(min.abs()) >= 2f64.powi(53);
        let spelled_real = profile.arrow_type.is_none() && profile.labels.iter().any(|l| l.contains(['.', 'e', 'E']));
        let from_text = if spelled_real { ArrowType::FLOAT64 } else { ArrowType::INT64 };
        let spelled = one_spelling_each(&profile.labels);
        let are_two = spelled.len() == 2 && min < max;
        if are_two || numbers.len() <= MAX_LISTED && (too_large || codes_by_name(profile) || profile.has_check_digits())
        {
            let mut draft = Draft::new(profile, Kind::Categorical).typed(profile, from_text);
            draft.column.categories = in_natural_order(&spelled, |l| l.trim().parse().ok());
            let note = "Whole numbers that look like codes: integer would mean that they can be counted.";
            return Some(if are_two { draft } else { draft.note(FindingClass::NumbersAsCodes, note) });
        }
        let step = step(&numbers, 0);
        if let Some(draft) = few_numbers(profile, &numbers, step.unwrap_or(1.0), from_text.clone()) {
            return Some(draft);
        }
        let mut draft = Draft::new(profile, Kind::Integer).typed(profile, from_text);
        (draft.column.min, draft.column.max) = (Some(Bound::Integer(min as i64)), Some(Bound::Integer(max as i64)));
        draft.column.step = step;
        return Some(suspect_ends(suspect_codes(draft, profile, &numbers), &numbers));
    }
    let mut digits: Vec<usize> = profile.labels.iter().map(|l| decimals(l)).collect();
    digits.sort_unstable();
    let usual = digits[((digits.len() as f64 * DECIMALS_SHARE).ceil() as usize).clamp(1, digits.len()) - 1];
    let most = digits.last().copied().unwrap_or(0);
    let step = if most <= MAX_DECIMALS { step(&numbers, most as i32) } else { None };
    // What the step has, all of its multiples may need.
    let usual = if step.is_some() { most } else { usual };
    let finest = step.unwrap_or(10f64.powi(-(usual.min(MAX_DECIMALS) as i32)));
    if let Some(draft) = few_numbers(profile, &numbers, finest, ArrowType::FLOAT64) {
        return Some(draft);
    }
    let mut draft = Draft::new(profile, Kind::Real).typed(profile, ArrowType::FLOAT64);
    (draft.column.min, draft.column.max) = (Some(Bound::Real(min)), Some(Bound::Real(max)));
    draft.column.step = step;
    if usual <= MAX_DECIMALS {
        draft.column.decimals = Some(usual as u32);
        if most > usual {
            draft = draft.note(FindingClass::Decimals, "A few values have more decimals than written here.");
        }
    }
    Some(suspect_ends(draft, &numbers))
}

/// What all numbers, of so many decimals, are multiples of, where that is coarser than their digits.
fn step(numbers: &[f64], decimals: i32) -> Option<f64> {
    let scale = 10f64.powi(decimals);
    let units: Vec<u64> = numbers.iter().map(|x| (x * scale).abs().round() as u64).filter(|unit| *unit != 0).collect();
    let largest = units.iter().copied().max().filter(|largest| *largest < 1 << 53)?;
    let common = units.iter().fold(0, |a, &b| divisor(a, b));
    // Multiples of one and the same number are no evidence, nor is a number alone.
    let evidence = (units.len() as f64 - 1.0) * (common as f64).log2();
    (common > 1 && common < largest && evidence >= STEP_BITS).then(|| common as f64 / scale)
}

/// The greatest common divisor.
fn divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { divisor(b, a % b) }
}

/// Few numbers, each in many rows and far apart, are values and no scale: between them nothing may be drawn.
fn few_numbers(profile: &Profile, numbers: &[f64], finest: f64, from_text: ArrowType) -> Option<Draft> {
    let (min, max) = ends(numbers.iter().copied())?;
    let places = (max - min) / finest + 1.0;
    let are_few = (3..=FEW_NUMBERS).contains(&numbers.len()) && profile.present() >= ROWS_OF_EACH * numbers.len();
    (are_few && places >= FAR_APART * numbers.len() as f64).then(|| {
        let mut draft = Draft::new(profile, Kind::Ordinal).typed(profile, from_text);
        draft.column.categories = in_natural_order(&one_spelling_each(&profile.labels), |label| label.trim().parse().ok());
        let note = format!(
            "{} different numbers, far apart: kept as values, in their order. If any number between may occur, kind = \"integer\" \
             or \"real\", with min and max; if they are codes, kind = \"categorical\".",
            numbers.len()
        );
        draft.note(FindingClass::FewValues, note)
    })
}

/// Mentions whole numbers that may be codes or grades.
fn suspect_codes(draft: Draft, profile: &Profile, numbers: &[f64]) -> Draft {
    let count = numbers.len();
    let Some((min, max)) = ends(numbers.iter().copied()) else { return draft };
    let digits = |x: f64| x.abs().max(1.0).log10() as usize + 1;
    let repeated = profile.present() >= ROWS_OF_EACH * count;
    if (3..=FEW_NUMBERS).contains(&count) && repeated {
        let note = format!(
            "{count} whole numbers: if they are codes, write kind = \"categorical\", and if they are grades, kind = \"ordinal\", \
             each with its categories."
        );
        draft.note(FindingClass::FewValues, note)
    } else if (FEW_NUMBERS..=MAX_LISTED).contains(&count)
        && repeated
        && draft.column.step.is_none()
        && digits(min) >= CODE_DIGITS
        && digits(min) == digits(max)
        && max - min >= FAR_APART * count as f64
    {
        let note = format!(
            "{count} whole numbers of {} digits, far apart: if they are codes such as postcodes, write kind = \"code\" and system = \
             \"prefix\", with categories; between them nothing is drawn then.",
            digits(min)
        );
        draft.note(FindingClass::FewValues, note)
    } else {
        draft
    }
}

/// The first spelling of each number: a file may have one as 1 and as 1.0.
fn one_spelling_each(labels: &[String]) -> Vec<String> {
    let mut seen = HashSet::new();
    labels.iter().filter(|label| seen.insert(Spelling::Exact.spell(label))).cloned().collect()
}

/// Few whole numbers under a name that codes have.
fn codes_by_name(profile: &Profile) -> bool {
    const NAMES: [&str; 18] = [
        "id",
        "ids",
        "type",
        "code",
        "cd",
        "class",
        "category",
        "group",
        "status",
        "flag",
        "source",
        "sex",
        "gender",
        "race",
        "ethnicity",
        "concept",
        "ind",
        "indicator",
    ];
    let named = profile.words.last().is_some_and(|w| NAMES.contains(&w.as_str()))
        || profile.has_word(&["concept"])
        || profile.has_word(&POSTCODES);
    // A key with many values was recognised before; what is left under such a name are codes.
    named
}

/// Mentions an end of the range that looks like a marker far from all other values.
fn suspect_ends(draft: Draft, numbers: &[f64]) -> Draft {
    let [first, second, .., before, last] = numbers else { return draft };
    let span = before - second;
    let far = |end: f64, next: f64| UNKNOWN_NUMBERS.contains(&end) && (end - next).abs() > span.max(1.0);
    let negative = *first < 0.0 && *second >= 0.0 && UNKNOWN_NUMBERS.contains(first);
    let suspects = [(*first, negative || far(*first, *second)), (*last, far(*last, *before))];
    suspects.into_iter().filter(|(_, odd)| *odd).fold(draft, |draft, (end, _)| {
        draft.note(
            FindingClass::MissingSuspected,
            format!("{end} may mean missing: add \"{end}\" to missing in [table] if so."),
        )
    })
}

fn ends(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |ends, x| {
        let (min, max) = ends.unwrap_or((x, x));
        Some((min.min(x), max.max(x)))
    })
}

/// Digits after the point; many for a number with an exponent.
fn decimals(label: &str) -> usize {
    match label.trim().split_once('.') {
        _ if label.contains(['e', 'E']) => usize::MAX,
        Some((_, digits)) => digits.len(),
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_what_all_are_multiples_of_and_chance_would_not_make_them() {
        let of = |numbers: &[f64], decimals: i32| step(numbers, decimals);
        assert_eq!(of(&[5000.0, 10_000.0, 35_000.0], 0), Some(5000.0));
        let quarters: Vec<f64> = (1..9).map(|n| f64::from(n) * 0.25).collect();
        assert_eq!(of(&quarters, 2), Some(0.25));
        assert_eq!(of(&[2.0, 4.0, 6.0, 8.0], 0), None, "four even numbers are chance");
        assert_eq!(of(&[700.0], 0), None);
        assert_eq!(of(&[0.0, 5000.0, 10_001.0], 0), None);
    }

    #[test]
    fn decimals_are_counted_as_spelled() {
        assert_eq!(["1", "1.50", "-0.125"].map(decimals), [0, 2, 3]);
        assert!(decimals("1.5e-3") > MAX_DECIMALS);
    }
}
