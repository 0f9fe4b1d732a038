//! Health code systems, known by the shape of their codes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The system that the codes of a `code` column belong to. It says how a code
/// is cut into coarser ones; it does not hold the list of codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CodeSystem {
    /// ICD-9-CM diagnoses: `250.83`, `V57`, `E909.1`; the point may be left out.
    Icd9cm,
    /// ICD-10 and ICD-10-CM: `E11`, `E11.65`, `S72.001A`; the point may be left out.
    Icd10,
    /// Anatomical Therapeutic Chemical: `A`, `A10`, `A10B`, `A10BA`, `A10BA02`.
    Atc,
    /// LOINC: digits, a hyphen, a check digit (`4548-4`).
    Loinc,
    /// RxNorm concept numbers.
    Rxnorm,
    /// SNOMED CT concept numbers: 6 to 18 digits with a check digit.
    Snomed,
    /// CPT: `99213`, `3044F`, `0075T`; kin by the sections of the numbers.
    Cpt,
    /// HCPCS: the codes of CPT, and of level II: `J1885`.
    Hcpcs,
    /// Any other codes: a longer common prefix means closer kin.
    Prefix,
}

impl CodeSystem {
    /// The systems that a shape alone can tell, in the order they are tried.
    /// RxNorm and CPT numbers look like any number, HCPCS codes like ICD-10 without a point, and any text has prefixes.
    pub const RECOGNISABLE: [Self; 5] = [Self::Loinc, Self::Snomed, Self::Icd9cm, Self::Atc, Self::Icd10];

    /// The name used in a schema.
    pub fn name(self) -> &'static str {
        match self {
            Self::Icd9cm => "icd9cm",
            Self::Icd10 => "icd10",
            Self::Atc => "atc",
            Self::Loinc => "loinc",
            Self::Rxnorm => "rxnorm",
            Self::Snomed => "snomed",
            Self::Cpt => "cpt",
            Self::Hcpcs => "hcpcs",
            Self::Prefix => "prefix",
        }
    }

    /// The name as people write it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Icd9cm => "ICD-9-CM",
            Self::Icd10 => "ICD-10",
            Self::Atc => "ATC",
            Self::Loinc => "LOINC",
            Self::Rxnorm => "RxNorm",
            Self::Snomed => "SNOMED CT",
            Self::Cpt => "CPT",
            Self::Hcpcs => "HCPCS",
            Self::Prefix => "prefix",
        }
    }

    /// True when codes of this system end in a check digit.
    pub fn has_check_digit(self) -> bool {
        matches!(self, Self::Loinc | Self::Snomed)
    }

    /// True when `code` is written as a code of this system would be. The code
    /// itself need not exist.
    pub fn has_shape(self, code: &str) -> bool {
        let code = code.trim();
        if !code.is_ascii() {
            return false;
        }
        match self {
            Self::Icd9cm => icd9(code),
            Self::Icd10 => icd10(code),
            Self::Atc => atc(code),
            Self::Loinc => loinc(code),
            Self::Rxnorm => digits(code, 1..=8),
            Self::Snomed => digits(code, 6..=18) && verhoeff(code),
            Self::Cpt => cpt(code),
            Self::Hcpcs => cpt(code) || hcpcs(code),
            Self::Prefix => !code.is_empty(),
        }
    }
}

fn digits(text: &str, length: std::ops::RangeInclusive<usize>) -> bool {
    length.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

fn icd9(code: &str) -> bool {
    let (stem, detail) = match code.split_once('.') {
        Some((_, "")) => return false,
        Some(parts) => parts,
        None => (code, ""),
    };
    let stem_holds = match stem.as_bytes().first() {
        Some(b'V') => digits(&stem[1..], 2..=2),
        Some(b'E') => digits(&stem[1..], 3..=3),
        // A number loses its leading zeros on its way through a spreadsheet.
        _ => digits(stem, 1..=3),
    };
    stem_holds && (detail.is_empty() || digits(detail, 1..=2))
}

fn icd10(code: &str) -> bool {
    let b = code.as_bytes();
    if b.len() < 3 || b.len() > 8 {
        return false;
    }
    let stem =
        b[0].is_ascii_uppercase() && b[1].is_ascii_digit() && (b[2].is_ascii_digit() || matches!(b[2], b'A' | b'B'));
    let detail = match &b[3..] {
        [b'.', rest @ ..] => rest,
        rest => rest,
    };
    stem && (b.len() == 3 || (1..=4).contains(&detail.len()))
        && detail.iter().all(|c| c.is_ascii_digit() || c.is_ascii_uppercase())
}

fn atc(code: &str) -> bool {
    let b = code.as_bytes();
    matches!(b.len(), 1 | 3 | 4 | 5 | 7)
        && b.iter().enumerate().all(|(i, c)| match i {
            0 => c.is_ascii_uppercase() && b"ABCDGHJLMNPRSV".contains(c),
            1 | 2 | 5 | 6 => c.is_ascii_digit(),
            _ => c.is_ascii_uppercase(),
        })
}

fn cpt(code: &str) -> bool {
    let (stem, last) = code.split_at(code.len().saturating_sub(1));
    digits(code, 5..=5) || digits(stem, 4..=4) && ["F", "M", "T", "U"].contains(&last)
}

fn hcpcs(code: &str) -> bool {
    let (letter, rest) = code.split_at(code.len().min(1));
    letter.starts_with(|c: char| ('A'..='V').contains(&c)) && digits(rest, 4..=4)
}

/// LOINC ends in a Luhn check digit.
fn loinc(code: &str) -> bool {
    let Some((number, check)) = code.split_once('-') else { return false };
    if !digits(number, 1..=7) || !digits(check, 1..=1) {
        return false;
    }
    let sum: u32 = number
        .bytes()
        .rev()
        .enumerate()
        .map(|(i, b)| {
            let d = u32::from(b - b'0') * if i % 2 == 0 { 2 } else { 1 };
            d / 10 + d % 10
        })
        .sum();
    (10 - sum % 10) % 10 == u32::from(check.as_bytes()[0] - b'0')
}

/// SNOMED CT identifiers end in a Verhoeff check digit: the dihedral group of
/// order ten, with a permutation by position.
fn verhoeff(digits: &str) -> bool {
    const PERMUTATION: [u8; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    fn dihedral(a: u8, b: u8) -> u8 {
        match (a < 5, b < 5) {
            (true, true) => (a + b) % 5,
            (true, false) => (a + b - 5) % 5 + 5,
            (false, true) => (a - 5 + 5 - b) % 5 + 5,
            (false, false) => (a - 5 + 5 - (b - 5)) % 5,
        }
    }
    let check = digits.bytes().rev().enumerate().fold(0, |check, (position, b)| {
        let digit = (0..position % 8).fold(b - b'0', |d, _| PERMUTATION[usize::from(d)]);
        dihedral(check, digit)
    });
    check == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_the_shape_of_their_own_system() {
        let cases: [(CodeSystem, &[&str], &[&str]); 7] = [
            (
                CodeSystem::Icd9cm,
                &["250.83", "V57", "E909", "8", "250", "E909.1"],
                &["2500.1", "V5", "250.", "[70-80)", "F10"],
            ),
            (
                CodeSystem::Icd10,
                &["E11", "E11.65", "S72.001A", "I10", "C7A"],
                &["E1", "250", "E11.", "e11", "No", "E11.12345"],
            ),
            (CodeSystem::Cpt, &["99213", "00100", "3044F", "0075T"], &["9921", "J1885", "3044A", "", "999999"]),
            (CodeSystem::Hcpcs, &["J1885", "G0438", "99213"], &["J188", "W1885", "J18855", "j1885", ""]),
            (CodeSystem::Atc, &["A", "A10", "A10B", "A10BA", "A10BA02"], &["A1", "A10BA0", "F10", "Z10"]),
            // LOINC's own users' guide and common laboratory codes.
            (CodeSystem::Loinc, &["4548-4", "2345-7", "718-7", "8302-2"], &["4548-5", "45484", "2012-01"]),
            // SNOMED CT: clinical finding, diabetes mellitus, encounter for problem.
            (CodeSystem::Snomed, &["404684003", "73211009", "185347001"], &["404684004", "7321", "12345"]),
        ];
        for (system, good, bad) in cases {
            for code in good {
                assert!(system.has_shape(code), "{} {code}", system.name());
            }
            for code in bad {
                assert!(!system.has_shape(code), "{} {code}", system.name());
            }
        }
    }

    #[test]
    fn the_name_is_the_one_in_a_schema() {
        for system in CodeSystem::RECOGNISABLE {
            assert_eq!(serde_json::to_value(system).unwrap(), system.name());
        }
    }
}
