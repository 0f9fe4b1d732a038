//! What kind of column it is.

use super::super::header::ROW_NAMES;
use super::dates;
use super::identifiers;
use super::profile::{CHECKED_CODE_SHARE, Profile, TIME_OF_DAY};
use super::{Distinct, Finding, FindingClass};
use crate::schema::datetime::{self, Ticks};
use crate::schema::{ArrowType, Bound, CodeSystem, Column, Kind, Resolution, Spelling};
use std::collections::HashSet;

/// Text with more distinct values than this is taken for free text.
const MAX_LISTED: usize = 1_000;

/// A list of categories longer than this deserves a second look.
const MANY_LISTED: usize = 50;

/// Distinct values that codes have at least: fewer are plain categories.
const MIN_CODES: usize = 30;

/// Share of distinct values that must have the shape of a code system.
const CODE_SHARE: f64 = 0.98;

/// Digits after the point up to which a number is called a decimal.
const MAX_DECIMALS: usize = 6;

/// Different moments that show a resolution, at least.
const FEWEST_MOMENTS: usize = 10;

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

/// Words that postcodes are named by.
const POSTCODES: [&str; 5] = ["zip", "zipcode", "postcode", "postal", "plz"];

/// Words per value from which nearly unique text is prose.
const PROSE_WORDS: f64 = 3.0;

/// Words that places are named by.
const PLACES: [&str; 8] = ["birthplace", "city", "town", "village", "municipality", "district", "county", "place"];

/// Texts that may mean "not known"; they are mentioned, never taken for missing.
const UNKNOWN_WORDS: [&str; 18] = [
    "unknown",
    "unk",
    "unknown/invalid",
    "invalid",
    "not available",
    "not known",
    "not mapped",
    "not recorded",
    "not reported",
    "unspecified",
    "undefined",
    "missing",
    "no data",
    "refused",
    "declined",
    "-",
    ".",
    "n.a.",
];

/// Numbers that may mean "not known".
const UNKNOWN_NUMBERS: [f64; 12] =
    [-1.0, -9.0, -99.0, -999.0, -9999.0, 99.0, 999.0, 9999.0, 99_999.0, 999_999.0, 9_999_999.0, 99_999_999.0];

/// Formats that dates in text are tried in, the unambiguous ones first.
const FORMATS: [&str; 27] = [
    "%Y-%m-%d",
    "%Y-%m-%dT%H:%M:%SZ",
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%dT%H:%M:%S%.fZ",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%:z",
    "%Y-%m-%d %H:%M",
    "%Y/%m/%d",
    "%d.%m.%Y %H:%M",
    "%d.%m.%Y",
    "%d.%m.%y",
    "%d-%m-%Y",
    "%m-%d-%Y",
    "%d-%b-%Y",
    "%d%b%Y",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d/%m/%Y %H:%M",
    "%m/%d/%Y %H:%M",
    "%d/%m/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M:%S",
    "%d/%m/%y",
    "%m/%d/%y",
    "%H:%M:%S",
    "%H:%M",
];

/// A column as drafted, and why.
pub(super) struct Draft {
    pub column: Column,
    pub findings: Vec<Finding>,
}

impl Draft {
    fn new(profile: &Profile, kind: Kind) -> Self {
        let mut column = Column::new(&profile.name, kind);
        column.arrow_type = Some(profile.arrow_type.clone().unwrap_or(ArrowType::UTF8));
        Self { column, findings: Vec::new() }
    }

    fn note(mut self, class: FindingClass, note: impl Into<String>) -> Self {
        self.findings.push(Finding { class, note: note.into() });
        self
    }

    fn typed(mut self, profile: &Profile, from_text: ArrowType) -> Self {
        self.column.arrow_type = Some(profile.arrow_type.clone().unwrap_or(from_text));
        self
    }

    fn dropped(mut self) -> Self {
        self.column.drop = true;
        self
    }
}

/// Drafts one column; the first rule that fits decides.
pub(super) fn draft(profile: &Profile, is_unit: bool) -> Draft {
    let mut draft = unit(profile, is_unit)
        .or_else(|| row_names(profile))
        .or_else(|| empty(profile))
        .or_else(|| datetime(profile))
        .or_else(|| identifier(profile))
        .or_else(|| boolean(profile))
        .or_else(|| code(profile))
        .or_else(|| numeric(profile))
        .unwrap_or_else(|| listed(profile));
    if let Some(marks) = profile.marks.filter(|_| is_of_numbers(&draft.column)) {
        draft.column.suffix = marks.suffix().map(str::to_owned);
        draft.column.limits = marks.limits;
        let limits = if marks.limits { " A cell such as <0.5 stands for the number that it names." } else { "" };
        draft =
            draft.note(FindingClass::Notation, format!("Numbers, as `reading`, `suffix` and `limits` say.{limits}"));
    }
    if draft.column.is_modelled() {
        draft.findings.extend(oddities(profile));
    }
    draft
}

fn is_of_numbers(column: &Column) -> bool {
    column.kind.is_amount() || column.arrow_type.as_ref().is_some_and(ArrowType::is_numeric)
}

fn unit(profile: &Profile, is_unit: bool) -> Option<Draft> {
    let draft = || key(profile).note(FindingClass::PrivacyUnit, "The privacy unit; generated rows get fresh ones.");
    is_unit.then(draft)
}

fn row_names(profile: &Profile) -> Option<Draft> {
    let note = "The first column has no name: names or numbers of rows, as R and pandas write them. Left out.";
    (profile.name == ROW_NAMES).then(|| key(profile).dropped().note(FindingClass::Key, note))
}

fn identifier(profile: &Profile) -> Option<Draft> {
    let found = identifiers::recognise(profile)?;
    Some(if found.drop {
        key(profile).dropped().note(found.class, format!("Direct identifier: {}. Left out.", found.reason))
    } else {
        key(profile).note(found.class, format!("Key: {}. Generated rows get fresh ones.", found.reason))
    })
}

fn key(profile: &Profile) -> Draft {
    let whole = profile.numbers().is_some_and(|n| n.iter().all(|x| x.fract() == 0.0));
    Draft::new(profile, Kind::Identifier).typed(profile, if whole { ArrowType::INT64 } else { ArrowType::UTF8 })
}

fn empty(profile: &Profile) -> Option<Draft> {
    if let Some(data_type) = &profile.unsupported {
        let mut draft = Draft::new(profile, Kind::Identifier).dropped();
        draft.column.arrow_type = None;
        return Some(
            draft
                .note(FindingClass::UnsupportedType, format!("The Arrow type {data_type} is not supported. Left out.")),
        );
    }
    let draft = Draft::new(profile, Kind::Identifier).dropped();
    profile.labels.is_empty().then(|| draft.note(FindingClass::Empty, "Every cell is missing. Left out."))
}

fn boolean(profile: &Profile) -> Option<Draft> {
    let typed = profile.arrow_type == Some(ArrowType::BOOLEAN);
    let spelled = profile.arrow_type.is_none() && profile.all(|label| matches!(label, "true" | "false"));
    (typed || spelled).then(|| Draft::new(profile, Kind::Boolean).typed(profile, ArrowType::BOOLEAN))
}

fn datetime(profile: &Profile) -> Option<Draft> {
    let (format, arrow_type) = match &profile.arrow_type {
        Some(t) if t.is_temporal() => (None, t.clone()),
        _ if profile.is_text() => {
            let format = FORMATS.into_iter().find(|format| dates::fits(profile, format))?;
            let format = dates::turned(format).filter(|_| profile.is_month_first).unwrap_or(format);
            let arrow_type = match Ticks::of_format(format) {
                Ticks::Day => ArrowType::DATE32,
                _ if !format.contains("%Y") => ArrowType::TIME64_US,
                _ => ArrowType::timestamp_us(format.ends_with('Z') || format.ends_with("%:z")),
            };
            (Some(format), profile.arrow_type.clone().unwrap_or(arrow_type))
        }
        _ => return None,
    };
    let mut draft = Draft::new(profile, Kind::Datetime);
    draft.column.arrow_type = Some(arrow_type);
    draft.column.format = format.map(str::to_owned);
    let ticks = draft.column.ticks();
    let moments: Vec<i128> = profile.labels.iter().filter_map(|l| datetime::nanoseconds(l, format)).collect();
    let (min, max) = (*moments.iter().min()?, *moments.iter().max()?);
    draft.column.resolution = resolution(&moments, ticks);
    let time_of_day = draft.column.arrow_type.as_ref().is_some_and(ArrowType::is_time_of_day);
    let tick = i128::from(ticks.nanoseconds());
    let bound = |moment: i128| {
        let moment = moment.div_euclid(tick) * tick;
        datetime::written(moment, time_of_day.then_some(TIME_OF_DAY), ticks).map(Bound::Moment)
    };
    (draft.column.min, draft.column.max) = (bound(min), bound(max));
    if let Some(format) = format {
        let turned = dates::turned(format).filter(|turned| dates::fits(profile, turned));
        let ambiguous = match turned {
            Some(_) if profile.is_month_first => " Day and month could be exchanged: other columns show their order.",
            Some(_) => " Day and month could be exchanged: check the format.",
            None => "",
        };
        let century = if format.contains("%y") { " Years below 69 are taken for 20xx." } else { "" };
        draft = draft.note(FindingClass::DateAsText, format!("Text, read as {format}.{ambiguous}{century}"));
    }
    if profile.words.iter().any(|w| w.contains("birth") || w == "dob") {
        let note = "A date of birth narrows down a person: the year, or an age, would do for most purposes.";
        draft = draft.note(FindingClass::QuasiIdentifier, note);
    }
    Some(draft)
}

/// The coarsest resolution that is coarser than the ticks and has all moments on its multiples; none where there are so
/// few that chance could have put them there.
fn resolution(moments: &[i128], ticks: Ticks) -> Option<Resolution> {
    let tick = i128::from(ticks.nanoseconds());
    let holds = |resolution: &Resolution| {
        let step = resolution.ticks(ticks);
        let nanoseconds = step as i128 * tick;
        step > 1.0 && moments.iter().all(|moment| (moment.div_euclid(tick) * tick).rem_euclid(nanoseconds) == 0)
    };
    Resolution::ALL.into_iter().filter(|_| moments.len() >= FEWEST_MOMENTS).find(holds)
}

fn code(profile: &Profile) -> Option<Draft> {
    let labels = &profile.labels;
    let coded_name = profile.has_word(&[
        "code",
        "codes",
        "icd",
        "icd9",
        "icd10",
        "diag",
        "diagnosis",
        "dx",
        "atc",
        "loinc",
        "snomed",
        "rxnorm",
        "rxcui",
    ]);
    let whole = profile.numbers().is_some_and(|n| n.iter().all(|x| x.fract() == 0.0 && *x >= 0.0));
    if labels.len() < MIN_CODES && !(coded_name && whole && labels.len() > 2) || profile.is_near_unique() {
        return None;
    }
    let share = |test: &dyn Fn(&str) -> bool| labels.iter().filter(|l| test(l)).count() as f64 / labels.len() as f64;
    let any = |test: &dyn Fn(&str) -> bool| labels.iter().any(|l| test(l));
    let convincing = |system: CodeSystem| match system {
        CodeSystem::Icd9cm => any(&|l| l.starts_with(['V', 'E'])) || coded_name && any(&|l| l.contains('.')),
        CodeSystem::Atc => share(&|l| l.len() >= 5) >= 0.5,
        _ => true,
    };
    let by_shape = CodeSystem::RECOGNISABLE.into_iter().find(|system| {
        let wanted = if system.has_check_digit() { CHECKED_CODE_SHARE } else { CODE_SHARE };
        share(&|l| system.has_shape(l)) >= wanted && convincing(*system)
    });
    let by_name = || {
        if profile.has_word(&["rxnorm", "rxcui"]) {
            Some(CodeSystem::Rxnorm)
        } else if profile.has_word(&POSTCODES) || coded_name && whole {
            Some(CodeSystem::Prefix)
        } else {
            None
        }
    };
    let system = by_shape.or_else(by_name)?;
    if labels.len() < MIN_CODES && by_shape.is_none() {
        return None;
    }
    let mut draft =
        Draft::new(profile, Kind::Code).typed(profile, if whole { ArrowType::INT64 } else { ArrowType::UTF8 });
    if labels.iter().any(|l| l.trim() != l || l.starts_with('+') || l.len() > 1 && l.starts_with('0')) {
        draft.column.arrow_type = Some(profile.arrow_type.clone().unwrap_or(ArrowType::UTF8));
    }
    draft.column.system = Some(system);
    draft.column.categories.clone_from(labels);
    draft.column.categories.sort_unstable();
    let what = match system {
        CodeSystem::Prefix => "Codes of no system known here.".to_owned(),
        system => format!("{} codes.", system.title()),
    };
    draft = draft.note(FindingClass::CodeSystem, what);
    if profile.has_word(&POSTCODES) {
        draft = draft.note(
            FindingClass::QuasiIdentifier,
            "A postcode narrows down a person: fewer digits would do for most purposes.",
        );
    }
    Some(draft)
}

fn numeric(profile: &Profile) -> Option<Draft> {
    let numbers = profile.numbers()?;
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
        return Some(suspect_ends(suspect_codes(draft, profile, &numbers), numbers));
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
    Some(suspect_ends(draft, numbers))
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
        draft.column.categories = in_natural_order(&profile.labels, |label| label.trim().parse().ok());
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

fn listed(profile: &Profile) -> Draft {
    let labels = &profile.labels;
    let words = labels.iter().map(|l| l.split_whitespace().count()).sum::<usize>() as f64 / labels.len().max(1) as f64;
    if labels.len() > MAX_LISTED || profile.is_near_unique() && words >= PROSE_WORDS {
        return Draft::new(profile, Kind::Identifier).dropped().note(
            FindingClass::FreeText,
            "Free text, or too many different values to list. Left out: it may name persons.",
        );
    }
    let ordered = labels.len() > 1 && profile.all(|label| interval(label).is_some());
    let mut draft = Draft::new(profile, if ordered { Kind::Ordinal } else { Kind::Categorical });
    draft.column.categories = in_natural_order(labels, |l| if ordered { interval(l) } else { l.trim().parse().ok() });
    if profile.has_word(&PLACES) && labels.len() > MANY_LISTED {
        let note = "A place narrows down a person: a larger region would do for most purposes.";
        draft = draft.note(FindingClass::QuasiIdentifier, note);
    } else if profile.is_near_unique() {
        let note = "Nearly every row has its own value: is it an identifier?";
        draft = draft.note(FindingClass::QuasiIdentifier, note);
    } else if labels.len() > MANY_LISTED {
        draft = draft.note(
            FindingClass::ManyCategories,
            format!("{} categories: group the rare ones if you can.", labels.len()),
        );
    }
    draft
}

fn oddities(profile: &Profile) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut note = |class, note: String| findings.push(Finding { class, note });
    if profile.distinct() == Distinct::One {
        note(FindingClass::Constant, "The same value in every row that has one.".into());
    }
    let markers: Vec<String> = profile.markers.iter().filter(|m| !m.is_empty()).map(|m| format!("{m:?}")).collect();
    if !markers.is_empty() {
        let share = 100.0 * profile.missing as f64 / profile.rows.max(1) as f64;
        note(
            FindingClass::MissingMarker,
            format!("{} taken for missing ({share:.1} % of the rows are).", markers.join(" and ")),
        );
    }
    if profile.is_text() {
        for label in &profile.labels {
            let plain = label.trim().to_lowercase();
            if UNKNOWN_WORDS.contains(&plain.as_str()) {
                note(
                    FindingClass::MissingSuspected,
                    format!("{label:?} may mean missing: add it to missing in [table] if so."),
                );
            } else if plain == "none" {
                note(
                    FindingClass::MissingSuspected,
                    format!("{label:?} is kept as a category: it often means \"not done\"."),
                );
            }
        }
    }
    findings
}

/// Mentions an end of the range that looks like a marker far from all other values.
fn suspect_ends(draft: Draft, mut numbers: Vec<f64>) -> Draft {
    numbers.sort_unstable_by(f64::total_cmp);
    let [first, second, .., before, last] = numbers.as_slice() else { return draft };
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

/// Labels in the order of the numbers that they say, then of their text: whatever their counts are.
pub(super) fn in_natural_order(labels: &[String], number: impl Fn(&str) -> Option<f64>) -> Vec<String> {
    let key = |label: &str| number(label).filter(|x| !x.is_nan());
    let mut sorted = labels.to_vec();
    sorted.sort_by(|a, b| key(a).partial_cmp(&key(b)).unwrap_or(std::cmp::Ordering::Equal).then_with(|| a.cmp(b)));
    sorted
}

/// The lower end of an interval such as `[70-80)`, `20-29`, `< 5`, `>200`, `80+`, `18 to 25`.
fn interval(label: &str) -> Option<f64> {
    let text = label.trim();
    let open = text.trim_start_matches(['[', '(', '<', '>', '=', '\u{2264}', '\u{2265}', ' ']);
    let end = open.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(open.len());
    let low: f64 = open[..end].parse().ok()?;
    let rest = open[end..].trim_end_matches([']', ')']).trim();
    let high = rest.strip_prefix("to ").or_else(|| rest.strip_prefix(['-', '\u{2013}', ',', ';'])).map(str::trim);
    let closes = rest == "+" || high.is_some_and(|h| h.parse::<f64>().is_ok_and(|h| h >= low));
    let one_sided = rest.is_empty() && open.len() < text.len();
    match text.chars().next()? {
        '<' | '\u{2264}' if one_sided => Some(low - 0.5),
        '>' | '\u{2265}' if one_sided => Some(low + 0.5),
        _ => closes.then_some(low),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_ordered_by_their_lower_end() {
        let labels = [">200", "[75-100)", "[0-25)", "[100-125)"].map(str::to_owned);
        assert_eq!(in_natural_order(&labels, interval), ["[0-25)", "[75-100)", "[100-125)", ">200"]);
        for text in ["20-29", "< 5", "80+", "18 to 25", "(3.5, 4]"] {
            assert!(interval(text).is_some(), "{text}");
        }
        for text in ["NO", "2012-01", "29-20", "7", "A1-A2", "", "<", "1-2-3"] {
            assert!(interval(text).is_none() || text == "2012-01", "{text}");
        }
    }

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
