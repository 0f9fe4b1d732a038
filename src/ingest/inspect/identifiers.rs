//! Columns that name a person, and columns that may be the privacy unit.

use super::profile::Profile;
use super::{FindingClass, UnitCandidate};
use crate::schema::{Column, Kind};

/// Share of distinct values that must look alike for a shape to count.
const ALIKE: f64 = 0.9;

/// Numbers that stand for categories have at most so many values, whatever the size of the table.
const FEW_CODES: usize = 20;

/// In a large table there may be more of them: up to so many, each for a hundred rows or more.
const MORE_CODES: usize = 200;

/// Whole numbers of more digits are exact neither as a float nor as a count of anything.
const MAX_COUNT_DIGITS: usize = 15;

/// Why a column should not be modelled.
pub(super) struct Identifier {
    pub class: FindingClass,
    /// A direct identifier is left out; a key comes back as a fresh surrogate.
    pub drop: bool,
    pub reason: &'static str,
}

/// Recognises direct identifiers and keys by name and by shape.
pub(super) fn recognise(profile: &Profile) -> Option<Identifier> {
    let direct = |reason| Some(Identifier { class: FindingClass::DirectIdentifier, drop: true, reason });
    let key = |reason| Some(Identifier { class: FindingClass::Key, drop: false, reason });
    if let Some(reason) = direct_by_name(profile).or_else(|| direct_by_shape(profile)) {
        return direct(reason);
    }
    if mostly(profile, is_uuid) && profile.labels.len() > FEW_CODES {
        return key("a UUID");
    }
    let few = profile.labels.len() <= FEW_CODES
        || profile.labels.len() <= MORE_CODES && profile.labels.len() * 100 <= profile.present();
    let is_integer = profile.numbers().is_some_and(|numbers| numbers.iter().all(|x| x.fract() == 0.0));
    if profile.is_key_named() && !few && (is_integer || profile.is_text()) && !profile.has_word(&["concept"]) {
        return key("named like one, with many values");
    }
    if is_integer
        && !few
        && !profile.has_check_digits()
        && profile.labels.iter().any(|label| label.trim().len() > MAX_COUNT_DIGITS)
    {
        return key("whole numbers too large to count anything");
    }
    if is_integer && is_row_number(profile) {
        return key("counts the rows");
    }
    if profile.is_text() && profile.is_near_unique() && profile.numbers().is_none() && mostly(profile, is_token) {
        return key("nearly every row has its own");
    }
    None
}

/// Columns that may name the privacy unit: keys and record numbers without
/// missing cells. Those named like a patient come first, then those
/// whose values repeat, then the more numerous.
pub(super) fn unit_candidates(profiles: &[Profile], columns: &[Column]) -> Vec<UnitCandidate> {
    let mut found: Vec<(bool, bool, UnitCandidate)> = profiles
        .iter()
        .zip(columns)
        .filter(|(p, c)| {
            c.kind == Kind::Identifier && (!c.drop || p.has_word(&["mrn"])) && p.missing == 0 && p.labels.len() > 1
        })
        .map(|(p, _)| {
            let max_rows = p.counts.iter().copied().max().unwrap_or(0);
            let candidate = UnitCandidate { column: p.name.clone(), units: p.labels.len(), max_rows };
            (is_patient_named(p), max_rows > 1, candidate)
        })
        .collect();
    found.sort_by_key(|(patient, repeats, c)| std::cmp::Reverse((*patient, *repeats, c.units)));
    found.into_iter().map(|(.., candidate)| candidate).collect()
}

fn is_patient_named(profile: &Profile) -> bool {
    profile.has_word(&[
        "patient",
        "patients",
        "pat",
        "subject",
        "person",
        "mrn",
        "member",
        "beneficiary",
        "participant",
        "pid",
        "patientid",
        "subjectid",
        "personid",
    ])
}

fn direct_by_name(profile: &Profile) -> Option<&'static str> {
    const PERSONS: &[&str] = &[
        "first",
        "last",
        "given",
        "family",
        "middle",
        "maiden",
        "full",
        "patient",
        "person",
        "birth",
        "mother",
        "father",
        "doctor",
        "physician",
        "provider",
        "contact",
        "spouse",
        "owner",
        "sur",
    ];
    let has = |words: &[&str]| profile.has_word(words);
    let whole = profile.words.concat();
    let is = |names: &[&str]| names.contains(&whole.as_str());
    if profile.numbers().is_none()
        && (is(&["name", "first", "last", "maiden", "middle"])
            || has(&[
                "surname",
                "firstname",
                "lastname",
                "forename",
                "fullname",
                "middlename",
                "givenname",
                "familyname",
                "maidenname",
                "patientname",
                "ownername",
                "vorname",
                "nachname",
            ])
            || has(&["name", "names"]) && has(PERSONS))
    {
        return Some("a person's name");
    }
    if has(&["ssn", "nhs", "hicn", "mbi"])
        || is(&["socialsecuritynumber", "socialsecurity", "nationalid", "nationalidentifier"])
    {
        return Some("a national or social security number");
    }
    if has(&["mrn"]) || is(&["medicalrecordnumber", "medicalrecordno", "recordnumber"]) {
        return Some("a medical record number");
    }
    if has(&["passport", "passports"]) {
        return Some("a passport number");
    }
    if has(&["drivers", "driver", "licence", "license", "driverslicense", "driverslicence"]) {
        return Some("a licence number");
    }
    if has(&["email", "emails"]) || is(&["mail"]) || whole.contains("emailaddress") || (has(&["e"]) && has(&["mail"])) {
        return Some("an e-mail address");
    }
    if has(&["phone", "telephone", "tel", "fax", "mobile", "cellphone", "telecom", "phonenumber"]) {
        return Some("a telephone number");
    }
    if has(&["address", "addr", "street", "address1", "address2", "addressline", "streetaddress", "homeaddress"])
        && profile.numbers().is_none()
    {
        return Some("an address");
    }
    if has(&["lat", "lon", "lng", "latitude", "longitude"]) && profile.labels.len() > FEW_CODES {
        return Some("an exact place");
    }
    if has(&["ip", "url", "website"]) && profile.is_text() {
        return Some("an internet address");
    }
    if has(&["iban", "beneficiaryid"])
        || is(&["accountnumber", "policynumber", "insurancenumber", "insuranceid", "healthplannumber"])
    {
        return Some("an account or insurance number");
    }
    None
}

fn direct_by_shape(profile: &Profile) -> Option<&'static str> {
    if !profile.is_text() {
        return None;
    }
    if mostly(profile, is_ssn) {
        Some("written like a social security number")
    } else if mostly(profile, is_email) {
        Some("written like an e-mail address")
    } else if mostly(profile, is_phone) {
        Some("written like a telephone number")
    } else if mostly(profile, |l| l.starts_with("http://") || l.starts_with("https://")) {
        Some("an internet address")
    } else {
        None
    }
}

/// True when nearly all distinct values, and at least three, have the shape.
fn mostly(profile: &Profile, shape: impl Fn(&str) -> bool) -> bool {
    let alike = profile.labels.iter().filter(|label| shape(label.trim())).count();
    profile.labels.len() >= 3 && alike as f64 >= ALIKE * profile.labels.len() as f64
}

/// `A` for letters, `9` for digits, else the character itself.
fn mask(text: &str) -> String {
    let class = |c: char| match c {
        c if c.is_ascii_digit() => '9',
        c if c.is_alphabetic() => 'A',
        c => c,
    };
    text.chars().map(class).collect()
}

fn is_ssn(text: &str) -> bool {
    mask(text) == "999-99-9999"
}

fn is_email(text: &str) -> bool {
    let domain = text.split_once('@').map_or("", |(_, domain)| domain);
    domain.contains('.') && !text.contains(char::is_whitespace)
}

/// Seven to fifteen digits with the punctuation of a telephone number: a date has less, an interval too.
fn is_phone(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let punctuation = text.bytes().filter(|b| matches!(b, b'-' | b' ' | b'(' | b')' | b'+' | b'.')).count();
    let starts = text.starts_with(['+', '('])
        || matches!(mask(text).as_str(), "999-999-9999" | "999-9999" | "999 999 9999" | "999.999.9999");
    starts && (7..=15).contains(&digits) && punctuation > 0 && digits + punctuation == text.len()
}

fn is_uuid(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    parts.iter().map(|p| p.len()).eq([8, 4, 4, 4, 12]) && parts.iter().all(|p| p.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// One word with a digit in it, of a length that keys have.
fn is_token(text: &str) -> bool {
    text.len() >= 4 && !text.contains(char::is_whitespace) && text.contains(|c: char| c.is_ascii_digit())
}

/// Unique whole numbers without gaps.
fn is_row_number(profile: &Profile) -> bool {
    let Some(numbers) = profile.numbers().filter(|_| profile.is_near_unique()) else { return false };
    let (min, max) = numbers.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), x| (lo.min(*x), hi.max(*x)));
    max - min == (profile.rows - 1) as f64 && numbers.len() == profile.rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_of_direct_identifiers() {
        assert!(is_ssn("999-76-6866") && !is_ssn("1999-76-686"));
        assert!(is_email("a.b@clinic.example") && !is_email("10@3") && !is_email("a@b c.d"));
        assert!(is_phone("+49 30 1234567") && is_phone("(617) 555-0100") && is_phone("617-555-0100"));
        assert!(!is_phone("2012-01-31") && !is_phone("[70-80)") && !is_phone("250.83") && !is_phone("-1234567890"));
        assert!(is_uuid("1d604da9-9a81-4ba9-80c2-de3375d59b40") && !is_uuid("1d604da9-9a81"));
        assert!(is_token("S99984236") && !is_token("Pediatrics") && !is_token("two words2"));
    }
}
