//! Moments as numbers: ticks since 1970-01-01 (UTC), or since midnight for times of day.

use std::fmt::Write;

use arrow_schema::{DataType, TimeUnit};
use chrono::format::{Item, StrftimeItems};
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime};

/// The unit in which a datetime column is counted in a frame.
///
/// Ticks are held as `f64`, which counts exactly up to 2^53: microseconds are
/// exact until the year 2255, nanoseconds are rounded to about 0.3 microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ticks {
    Day,
    Second,
    Millisecond,
    Microsecond,
    Nanosecond,
}

impl Ticks {
    /// Nanoseconds in one tick.
    pub fn nanoseconds(self) -> i64 {
        match self {
            Self::Day => 86_400_000_000_000,
            Self::Second => 1_000_000_000,
            Self::Millisecond => 1_000_000,
            Self::Microsecond => 1_000,
            Self::Nanosecond => 1,
        }
    }

    /// The tick of a temporal Arrow type.
    pub fn of(data_type: &DataType) -> Option<Self> {
        match data_type {
            DataType::Date32 => Some(Self::Day),
            DataType::Date64 => Some(Self::Millisecond),
            DataType::Timestamp(unit, _) | DataType::Time32(unit) | DataType::Time64(unit) => Some(match unit {
                TimeUnit::Second => Self::Second,
                TimeUnit::Millisecond => Self::Millisecond,
                TimeUnit::Microsecond => Self::Microsecond,
                TimeUnit::Nanosecond => Self::Nanosecond,
            }),
            _ => None,
        }
    }

    /// The tick of text written in `format`: days when it says no time of day.
    pub fn of_format(format: &str) -> Self {
        let names = |directives: &[&str]| directives.iter().any(|d| format.contains(d));
        if names(&["%.", "%f", "%3f", "%6f", "%9f", "%s", "%+"]) {
            Self::Microsecond
        } else if names(&["%H", "%I", "%T", "%R", "%X", "%c", "%k", "%l"]) {
            Self::Second
        } else {
            Self::Day
        }
    }

    fn count(self, nanoseconds: i128) -> f64 {
        nanoseconds.div_euclid(i128::from(self.nanoseconds())) as f64
    }
}

/// True when every directive of a `strftime` format is known.
pub fn is_format(format: &str) -> bool {
    StrftimeItems::new(format).all(|item| !matches!(item, Item::Error))
}

/// Reads a moment, in ticks. With `None` as format, ISO 8601 and RFC 3339 are
/// understood: a date, a time, or both, with or without offset.
pub fn parse(text: &str, format: Option<&str>, ticks: Ticks) -> Option<f64> {
    let text = text.trim();
    let nanoseconds = match format {
        Some(format) => parse_as(text, format),
        None => DateTime::parse_from_rfc3339(text).ok().map(|t| since_epoch(t.naive_utc())).or_else(|| {
            [
                "%Y-%m-%dT%H:%M:%S%.f",
                "%Y-%m-%d %H:%M:%S%.f",
                "%Y-%m-%dT%H:%M",
                "%Y-%m-%d %H:%M",
                "%Y-%m-%d",
                "%H:%M:%S%.f",
                "%H:%M",
            ]
            .iter()
            .find_map(|format| parse_as(text, format))
        }),
    };
    nanoseconds.map(|n| ticks.count(n))
}

/// Writes a moment in a `strftime` format, or in ISO 8601 as a date when ticks
/// are days and as date and time otherwise. `None` when it is out of range.
pub fn format(value: f64, format: Option<&str>, ticks: Ticks) -> Option<String> {
    if !value.is_finite() {
        return None;
    }
    let nanoseconds = (value.round() as i128).checked_mul(i128::from(ticks.nanoseconds()))?;
    let seconds = i64::try_from(nanoseconds.div_euclid(1_000_000_000)).ok()?;
    let moment = DateTime::from_timestamp(seconds, nanoseconds.rem_euclid(1_000_000_000) as u32)?;
    let default = if ticks == Ticks::Day { "%Y-%m-%d" } else { "%Y-%m-%dT%H:%M:%S%.f" };
    let mut text = String::new();
    write!(text, "{}", moment.format(format.unwrap_or(default))).ok()?;
    Some(text)
}

fn parse_as(text: &str, format: &str) -> Option<i128> {
    let zoned = ["%z", "%:z", "%::z", "%#z", "%+"].iter().any(|d| format.contains(d));
    if zoned {
        return DateTime::parse_from_str(text, format).ok().map(|t| since_epoch(t.naive_utc()));
    }
    NaiveDateTime::parse_from_str(text, format)
        .ok()
        .map(since_epoch)
        .or_else(|| NaiveDate::parse_from_str(text, format).ok().map(|d| since_epoch(d.and_time(NaiveTime::MIN))))
        .or_else(|| {
            let time = NaiveTime::parse_from_str(text, format).ok()?.signed_duration_since(NaiveTime::MIN);
            Some(i128::from(time.num_nanoseconds()?))
        })
}

fn since_epoch(moment: NaiveDateTime) -> i128 {
    let utc = moment.and_utc();
    i128::from(utc.timestamp()) * 1_000_000_000 + i128::from(utc.timestamp_subsec_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iso_text_is_read_in_the_ticks_asked_for() {
        assert_eq!(parse("1970-01-02", None, Ticks::Day), Some(1.0));
        assert_eq!(parse("1969-12-31", None, Ticks::Day), Some(-1.0));
        assert_eq!(parse(" 1970-01-01T00:00:01.5Z ", None, Ticks::Millisecond), Some(1500.0));
        assert_eq!(parse("1970-01-01T01:00:00+01:00", None, Ticks::Second), Some(0.0));
        assert_eq!(parse("00:01:30", None, Ticks::Second), Some(90.0));
        assert_eq!(parse("2012-02-30", None, Ticks::Day), None);
        assert_eq!(parse("soon", None, Ticks::Day), None);
    }

    #[test]
    fn a_format_is_read_and_written_back() {
        for (text, format_) in [
            ("31.12.1999", "%d.%m.%Y"),
            ("2011-01-02T09:26:36Z", "%Y-%m-%dT%H:%M:%SZ"),
            ("1/2/2003", "%-m/%-d/%Y"),
            ("2011-01-02 09:26", "%Y-%m-%d %H:%M"),
            ("23:59:58", "%H:%M:%S"),
        ] {
            let ticks = Ticks::of_format(format_);
            let value = parse(text, Some(format_), ticks).unwrap();
            assert_eq!(format(value, Some(format_), ticks).as_deref(), Some(text), "{format_}");
        }
    }

    #[test]
    fn unknown_directives_and_absurd_moments_do_not_panic() {
        assert!(is_format("%Y-%m-%d") && !is_format("%Q"));
        assert_eq!(format(1.0, Some("%Q"), Ticks::Day), None);
        assert_eq!(format(f64::NAN, None, Ticks::Day), None);
        assert_eq!(format(1e300, None, Ticks::Day), None);
        assert_eq!(parse("2012", Some("%Q"), Ticks::Day), None);
    }
}
