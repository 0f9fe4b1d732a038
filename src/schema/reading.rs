//! How the file of a table is to be read: what a reader of text has to know before it sees a cell.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Column, ConstraintFrom, Kind};
use crate::error::{Error, Result};

/// The marks that may stand between groups of three digits; a blank stands for those of any width.
const THOUSANDS: [char; 4] = ['.', ',', ' ', '\''];

/// How the text of a table's file is read. What is absent is told from the file itself, or is as in plain CSV. Of a file
/// with types of its own nothing of it is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reading {
    /// What stands between the cells of a row; absent, the header line tells it: a comma, a semicolon, a tab or `|`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub separator: Option<char>,
    /// The mark before the decimals of a number: `.` or `,`; absent, `.`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decimal: Option<char>,
    /// The mark between groups of three digits: `.`, `,`, `'` or a blank; absent, there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thousands: Option<char>,
    /// The encoding of the text, such as `latin1` or `utf-16le`; absent, UTF-8, and UTF-16 where the file begins with its
    /// mark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// The sheet of a workbook; absent, its only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sheet: Option<String>,
    /// Who says so: `fit` refuses `data`, which stands where some of it was told from the rows. Absent, the schema's author.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<ConstraintFrom>,
}

impl Reading {
    /// True when nothing is said.
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// True when numbers are written as programs write them.
    pub fn has_plain_numbers(&self) -> bool {
        self.decimal.is_none_or(|mark| mark == '.') && self.thousands.is_none()
    }

    /// Checks that a file can be read so.
    ///
    /// # Errors
    /// Bad input naming the field.
    pub fn check(&self) -> Result<()> {
        let bad =
            |what: &str, expected: &str| Err(Error::bad_input(what).expected(expected).remedy("mend or remove it"));
        let decimal = self.decimal.unwrap_or('.');
        if self
            .separator
            .is_some_and(|mark| !mark.is_ascii() || mark.is_ascii_alphanumeric() || "\"\r\n".contains(mark))
        {
            return bad("the separator is none", "one character such as , ; | or \\t");
        }
        if !['.', ','].contains(&decimal) {
            return bad("the decimal mark is none", ". or ,");
        }
        if self.thousands.is_some_and(|mark| !THOUSANDS.contains(&mark) || mark == decimal) {
            return bad("the mark of thousands is none", ". , ' or a blank, and not the decimal mark");
        }
        if self.encoding.as_ref().is_some_and(|label| encoding_rs::Encoding::for_label(label.as_bytes()).is_none()) {
            return bad("the encoding is not known", "such as utf-8, latin1, windows-1250, utf-16le or shift_jis");
        }
        Ok(())
    }

    /// A number as plain text has it, `1.234,5` as `1234.5`; `None` where the text is no number of this reading.
    pub fn plain<'t>(&self, text: &'t str) -> Option<Cow<'t, str>> {
        let text = text.trim();
        let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
        let mantissa = digits.find(['e', 'E']).map_or(digits, |end| &digits[..end]);
        let (whole, decimals) = match mantissa.split_once(self.decimal.unwrap_or('.')) {
            Some((whole, decimals)) => (whole, Some(decimals)),
            None => (mantissa, None),
        };
        let is_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        let is_separated = self.thousands.is_some_and(|mark| whole.contains(|c| is_mark(mark, c)));
        let is_whole = if is_separated { self.is_grouped(whole) } else { is_digits(whole) };
        let is_number = is_whole && decimals.is_none_or(is_digits) && mantissa.bytes().any(|b| b.is_ascii_digit());
        // An exponent has to be a number, too: `1e` is none.
        let exponent = digits[mantissa.len()..].strip_prefix(['e', 'E']);
        let is_exponent = exponent.is_none_or(|e| {
            let e = e.strip_prefix(['+', '-']).unwrap_or(e);
            !e.is_empty() && is_digits(e)
        });
        if !is_number || !is_exponent {
            return None;
        }
        if self.has_plain_numbers() {
            return Some(Cow::Borrowed(text));
        }
        let mut plain = String::with_capacity(text.len());
        plain.push_str(&text[..text.len() - digits.len()]);
        plain.extend(whole.chars().filter(char::is_ascii_digit));
        if let Some(decimals) = decimals {
            plain.push('.');
            plain.push_str(decimals);
        }
        plain.push_str(&digits[mantissa.len()..]);
        Some(Cow::Owned(plain))
    }

    /// Whether marks stand between groups of three digits and nowhere else: one to three digits that do not begin with 0
    /// come first.
    fn is_grouped(&self, whole: &str) -> bool {
        let Some(mark) = self.thousands else { return false };
        let mut groups = whole.split(|c| is_mark(mark, c));
        let is_first = |first: &str| (1..=3).contains(&first.len()) && !first.starts_with('0');
        let is_digits = |group: &str| group.bytes().all(|b| b.is_ascii_digit());
        groups.next().is_some_and(|first| is_first(first) && is_digits(first))
            && groups.all(|group| group.len() == 3 && is_digits(group))
    }
}

fn is_mark(mark: char, c: char) -> bool {
    // No-break blanks, the wide and the narrow one, and the typographic apostrophe.
    c == mark || mark == ' ' && matches!(c, '\u{a0}' | '\u{202f}') || mark == '\'' && c == '\u{2019}'
}

/// How the numbers of one column are written in a text.
pub struct Notation<'a> {
    reading: &'a Reading,
    suffix: Option<&'a str>,
    limits: bool,
}

impl<'a> Notation<'a> {
    /// `suffix` and `limits` as in [`Column`].
    pub fn new(reading: &'a Reading, suffix: Option<&'a str>, limits: bool) -> Self {
        Self { reading, suffix, limits }
    }

    /// That of a column of numbers, unless they are plain ones.
    pub fn of(reading: &'a Reading, column: &'a Column) -> Option<Self> {
        let of_numbers = matches!(column.kind, Kind::Integer | Kind::Real)
            || column.arrow_type.as_ref().is_some_and(super::ArrowType::is_numeric);
        let notation = Self::new(reading, column.suffix.as_deref(), column.limits);
        (of_numbers && !notation.is_plain()).then_some(notation)
    }

    /// True when cells are numbers as programs write them.
    pub fn is_plain(&self) -> bool {
        self.reading.has_plain_numbers() && self.suffix.is_none() && !self.limits
    }

    /// The cell as plain text has it: without suffix, and the limit for what lies beyond it. `None` where it is no number.
    pub fn plain<'t>(&self, cell: &'t str) -> Option<Cow<'t, str>> {
        let cell = cell.trim();
        let cell = self.suffix.and_then(|suffix| cell.strip_suffix(suffix)).unwrap_or(cell);
        self.reading.plain(if self.limits { limit(cell).unwrap_or(cell) } else { cell })
    }
}

/// The number of a cell such as `<0.5` or `>= 100`.
pub fn limit(cell: &str) -> Option<&str> {
    let cell = cell.trim();
    let beyond = cell.strip_prefix(['<', '>', '\u{2264}', '\u{2265}'])?;
    Some(beyond.strip_prefix('=').unwrap_or(beyond).trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(decimal: char, thousands: Option<char>) -> Reading {
        Reading { decimal: Some(decimal), thousands, ..Reading::default() }
    }

    #[test]
    fn numbers_of_any_reading_become_plain_ones() {
        let plain =
            |decimal, thousands, text: &str| reading(decimal, thousands).plain(text).map(std::borrow::Cow::into_owned);
        for (decimal, thousands, text, expected) in [
            (',', None, " 1,5 ", Some("1.5")),
            (',', None, "-0,25e3", Some("-0.25e3")),
            (',', None, "1.5", None),
            (',', Some('.'), "1.234.567,8", Some("1234567.8")),
            (',', Some('.'), "1.5", None),
            (',', Some('.'), "01.02.2020", None),
            (',', Some('.'), "0.123", None),
            ('.', Some(','), "+12,345.60", Some("+12345.60")),
            ('.', Some(','), "1234", Some("1234")),
            ('.', Some(','), "1,23", None),
            (',', Some(' '), "1\u{202f}234\u{a0}567,5", Some("1234567.5")),
            ('.', Some('\''), "1'234", Some("1234")),
            ('.', None, "1e", None),
            ('.', None, "", None),
            ('.', None, ".", None),
            ('.', None, ".5", Some(".5")),
            ('.', None, "inf", None),
        ] {
            assert_eq!(plain(decimal, thousands, text).as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_suffix_and_a_limit_are_no_part_of_the_number() {
        let comma = reading(',', None);
        let notation = Notation::new(&comma, Some("%"), true);
        for (cell, expected) in [("12,5 %", Some("12.5")), ("< 0,5%", Some("0.5")), (">=100", Some("100")), ("<", None)]
        {
            assert_eq!(notation.plain(cell).as_deref(), expected, "{cell}");
        }
    }

    #[test]
    fn what_no_file_can_be_read_by_is_refused() {
        let refused = |reading: Reading| reading.check().unwrap_err().what;
        let plain = Reading::default();
        assert!(plain.check().is_ok() && reading(',', Some('.')).check().is_ok());
        assert!(refused(Reading { separator: Some('a'), ..plain.clone() }).contains("separator"));
        assert!(refused(reading(';', None)).contains("decimal"));
        assert!(refused(reading(',', Some(','))).contains("thousands"));
        assert!(refused(Reading { encoding: Some("latin 9000".into()), ..plain.clone() }).contains("encoding"));
        assert!(Reading { encoding: Some("latin1".into()), separator: Some('\t'), ..plain }.check().is_ok());
    }
}
