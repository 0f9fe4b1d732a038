//! Sections of CPT and HCPCS codes (public: the ranges by which the two are divided).

/// The last number of each section of CPT and of its parts.
const SECTIONS: [(u32, &str, &str); 35] = [
    (1999, "anesthesia", "anesthesia"),
    (10_021, "surgery", "general"),
    (19_499, "surgery", "integumentary system"),
    (29_999, "surgery", "musculoskeletal system"),
    (32_999, "surgery", "respiratory system"),
    (37_799, "surgery", "cardiovascular system"),
    (38_999, "surgery", "hemic and lymphatic systems"),
    (39_599, "surgery", "mediastinum and diaphragm"),
    (49_999, "surgery", "digestive system"),
    (53_899, "surgery", "urinary system"),
    (55_899, "surgery", "male genital system"),
    (55_980, "surgery", "reproductive system"),
    (58_999, "surgery", "female genital system"),
    (59_899, "surgery", "maternity care"),
    (60_699, "surgery", "endocrine system"),
    (64_999, "surgery", "nervous system"),
    (68_899, "surgery", "eye"),
    (69_990, "surgery", "ear"),
    (76_499, "radiology", "diagnostic"),
    (76_999, "radiology", "ultrasound"),
    (77_092, "radiology", "guidance, breast and bone"),
    (77_799, "radiology", "radiation oncology"),
    (79_999, "radiology", "nuclear medicine"),
    (80_999, "pathology", "panels and drug assays"),
    (81_099, "pathology", "urinalysis"),
    (81_599, "pathology", "molecular pathology"),
    (84_999, "pathology", "chemistry"),
    (85_999, "pathology", "hematology"),
    (86_849, "pathology", "immunology"),
    (86_999, "pathology", "transfusion"),
    (87_999, "pathology", "microbiology"),
    (89_398, "pathology", "anatomic pathology"),
    (99_199, "medicine", "medicine"),
    (99_499, "evaluation and management", "evaluation and management"),
    (99_999, "medicine", "home services"),
];

/// What is above a code, the coarsest first: of CPT the section and its part, the category for II and III; of HCPCS level II
/// the letter, and the letter with the first digit.
pub(super) fn sections(code: &str) -> Vec<String> {
    let code = code.trim();
    let (first, last) = (code.chars().next(), code.chars().last());
    match (first, last) {
        (Some(letter), _) if letter.is_ascii_alphabetic() => {
            let letter = letter.to_ascii_uppercase();
            let digit = code.chars().nth(1).filter(char::is_ascii_digit);
            std::iter::once(letter.to_string()).chain(digit.map(|digit| format!("{letter}{digit}"))).collect()
        }
        (_, Some(category)) if category.is_ascii_alphabetic() => {
            vec![format!("category {}", category.to_ascii_uppercase())]
        }
        _ => match code.parse::<u32>().ok().and_then(|number| SECTIONS.iter().find(|(end, ..)| number <= *end)) {
            Some((_, section, part)) => vec![(*section).into(), (*part).into()],
            None => vec!["other".into()],
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_fall_into_their_sections() {
        assert!(SECTIONS.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for (code, above) in [
            ("00100", &["anesthesia", "anesthesia"][..]),
            ("100", &["anesthesia", "anesthesia"]),
            ("44950", &["surgery", "digestive system"]),
            ("71046", &["radiology", "diagnostic"]),
            ("80053", &["pathology", "panels and drug assays"]),
            ("83036", &["pathology", "chemistry"]),
            ("90471", &["medicine", "medicine"]),
            ("99213", &["evaluation and management", "evaluation and management"]),
            ("99605", &["medicine", "home services"]),
            ("3044F", &["category F"]),
            ("0075T", &["category T"]),
            ("J1885", &["J", "J1"]),
            ("g0438", &["G", "G0"]),
            ("?", &["other"]),
            ("", &["other"]),
            ("É", &["other"]),
        ] {
            assert_eq!(sections(code), above, "{code}");
        }
    }
}
