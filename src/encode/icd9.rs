//! Chapters of ICD-9-CM (public: the classification's own ranges).

/// Last three-digit category of each numeric chapter. Diabetes mellitus (250)
/// stands alone, since it would otherwise hide most of the endocrine chapter.
const CHAPTER_ENDS: [u16; 17] = [139, 239, 279, 289, 319, 389, 459, 519, 579, 629, 679, 709, 739, 759, 779, 799, 999];

/// The chapter of a code: the numeric chapters in order, then diabetes, V, E, and codes of another shape.
pub(super) fn chapter(code: &str) -> u32 {
    let chapters = CHAPTER_ENDS.len() as u32;
    let code = code.trim();
    match code.as_bytes().first() {
        Some(b'V' | b'v') => return chapters + 1,
        Some(b'E' | b'e') => return chapters + 2,
        _ => {}
    }
    match code.split('.').next().unwrap_or("").parse::<u16>() {
        Ok(250) => chapters,
        Ok(n) => CHAPTER_ENDS.iter().position(|&end| n <= end).map_or(chapters + 3, |c| c as u32),
        Err(_) => chapters + 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_fall_into_their_chapters() {
        assert_eq!(chapter("8"), 0);
        assert_eq!(chapter("250.83"), 17);
        assert_eq!(chapter("251"), 2);
        assert_eq!(chapter("428.0"), 6);
        assert_eq!(chapter("V57"), 18);
        assert_eq!(chapter("E909"), 19);
        assert_eq!(chapter("?"), 20);
        assert!(["0", "999", "1000", "", "V", "É"].iter().all(|c| chapter(c) <= 20));
    }
}
