//! What kind of column it is.

use super::super::header::ROW_NAMES;
use super::dates;
use super::identifiers;
use super::numbers::numeric;
use super::profile::{CHECKED_CODE_SHARE, Profile, TIME_OF_DAY};
use super::{Distinct, Finding, FindingClass};
use crate::schema::datetime::{self, Ticks};
use crate::schema::{ArrowType, Bound, CodeSystem, Column, Kind, Resolution};

/// Text with more distinct values than this is taken for free text.
pub(super) const MAX_LISTED: usize = 1_000;

/// A list of categories longer than this deserves a second look.
const MANY_LISTED: usize = 50;

/// Distinct values that codes have at least: fewer are plain categories.
const MIN_CODES: usize = 30;

/// Share of distinct values that must have the shape of a code system.
const CODE_SHARE: f64 = 0.98;

/// Different moments that show a resolution, at least.
const FEWEST_MOMENTS: usize = 10;

/// Words that postcodes are named by.
pub(super) const POSTCODES: [&str; 5] = ["zip", "zipcode", "postcode", "postal", "plz"];

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
    pub fn new(profile: &Profile, kind: Kind) -> Self {
        let mut column = Column::new(&profile.name, kind);
        column.arrow_type = Some(profile.arrow_type.clone().unwrap_or(ArrowType::UTF8));
        Self { column, findings: Vec::new() }
    }

    pub fn note(mut self, class: FindingClass, note: impl Into<String>) -> Self {
        self.findings.push(Finding { class, note: note.into() });
        self
    }

    pub fn typed(mut self, profile: &Profile, from_text: ArrowType) -> Self {
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
        } else if profile.has_word(&POSTCODES) || coded_name && whole && !is_dense(profile) {
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

/// Whether numbers of four digits and more fill a fifth of their range: so days do, and lists of codes do not.
fn is_dense(profile: &Profile) -> bool {
    let numbers = profile.numbers().unwrap_or_default();
    let (low, high) = numbers.iter().fold((f64::MAX, f64::MIN), |(low, high), &x| (low.min(x), high.max(x)));
    high >= 1000.0 && 5.0 * numbers.len() as f64 > high - low
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
    } else if labels.len() > MANY_LISTED && words >= 2.0 && labels.iter().any(|l| l.bytes().any(|b| b.is_ascii_digit()))
    {
        let note = "Many different texts with numbers in them: where these tell of single persons, write drop = true.";
        draft = draft.note(FindingClass::FreeText, note);
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
}
