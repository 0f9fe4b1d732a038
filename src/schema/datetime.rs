//! Moments as numbers: ticks since an epoch, as a [`Clock`] says, or since midnight for times of day.

use std::fmt::Write;

use arrow_schema::{DataType, TimeUnit};
use chrono::format::{Item, StrftimeItems};
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime};

/// Nanoseconds of a day.
const DAY: i128 = 86_400_000_000_000;

/// The unit in which a datetime column is counted in a frame.
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

/// How the moments of a column are counted: in whole ticks since an epoch.
///
/// They are held as `f64`, which counts exactly up to 2^53. Microseconds since 1970 are exact until the year 2255.
/// Nanoseconds since 1970 would be rounded to 256 of them, so where a column has a range they are counted from the day on
/// which that begins, and exact for the 104 days that follow; a model tells no nanoseconds apart in a longer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    pub ticks: Ticks,
    /// The start of a day, in nanoseconds since 1970-01-01 (UTC).
    epoch: i64,
}

impl Clock {
    /// Ticks since 1970.
    pub fn since_1970(ticks: Ticks) -> Self {
        Self { ticks, epoch: 0 }
    }

    /// Ticks since the start of the day of a moment, in nanoseconds since 1970.
    pub fn since_day_of(ticks: Ticks, moment: i128) -> Self {
        Self { ticks, epoch: i64::try_from(moment.div_euclid(DAY) * DAY).unwrap_or(0) }
    }

    /// A moment in nanoseconds since 1970, in ticks: rounded down.
    pub fn count(self, nanoseconds: i128) -> f64 {
        self.ticks.count(nanoseconds - i128::from(self.epoch))
    }

    /// As [`parse`].
    pub fn parse(self, text: &str, format: Option<&str>) -> Option<f64> {
        nanoseconds(text, format).map(|n| self.count(n))
    }

    /// As [`format`].
    pub fn format(self, value: f64, format: Option<&str>) -> Option<String> {
        let passed = Some(value).filter(|x| x.is_finite()).map(|x| x.round() as i128)?;
        let passed = passed.checked_mul(i128::from(self.ticks.nanoseconds()))?;
        written(passed.checked_add(i128::from(self.epoch))?, format, self.ticks)
    }

    /// Whole ticks from 1970 to the epoch.
    pub fn epoch(self, ticks: Ticks) -> i64 {
        self.epoch / ticks.nanoseconds()
    }

    /// Seconds since 1970.
    pub fn seconds(self, value: f64) -> f64 {
        value * (self.ticks.nanoseconds() as f64 / 1e9) + self.epoch(Ticks::Second) as f64
    }

    /// Ticks of seconds since 1970.
    pub fn of_seconds(self, seconds: f64) -> f64 {
        (seconds - self.epoch(Ticks::Second) as f64) / (self.ticks.nanoseconds() as f64 / 1e9)
    }
}

/// True when every directive of a `strftime` format is known.
pub fn is_format(format: &str) -> bool {
    StrftimeItems::new(format).all(|item| !matches!(item, Item::Error))
}

/// Reads a moment, in ticks since 1970. With `None` as format, ISO 8601 and RFC 3339 are
/// understood: a date, a time, or both, with or without offset.
pub fn parse(text: &str, format: Option<&str>, ticks: Ticks) -> Option<f64> {
    Clock::since_1970(ticks).parse(text, format)
}

/// Reads a moment as [`parse`] does, in nanoseconds since 1970.
pub fn nanoseconds(text: &str, format: Option<&str>) -> Option<i128> {
    let text = text.trim();
    match format {
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
    }
}

/// Writes a moment in ticks since 1970 in a `strftime` format, or in ISO 8601 as a date when ticks
/// are days and as date and time otherwise. `None` when it is out of range.
pub fn format(value: f64, format: Option<&str>, ticks: Ticks) -> Option<String> {
    Clock::since_1970(ticks).format(value, format)
}

/// Writes a moment in nanoseconds since 1970 as [`format`] does.
pub fn written(nanoseconds: i128, format: Option<&str>, ticks: Ticks) -> Option<String> {
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
    fn nanoseconds_are_exact_where_they_are_counted_from_a_day() {
        let first = nanoseconds("2020-02-29T23:59:59.999999998", None).unwrap();
        let clock = Clock::since_day_of(Ticks::Nanosecond, first);
        assert_eq!(clock.count(first + 1) - clock.count(first), 1.0);
        for text in ["2020-02-29T23:59:59.999999998", "2020-05-01T00:00:00.000000001", "2020-02-28T12:00:00.000000003"]
        {
            let value = clock.parse(text, None).unwrap();
            assert_eq!(clock.format(value, None).as_deref(), Some(text));
        }
        let since_1970 = Clock::since_1970(Ticks::Nanosecond);
        assert_eq!(since_1970.count(first), since_1970.count(first - 1), "an f64 does not tell them apart");
        assert_eq!(clock.seconds(clock.of_seconds(1_583_020_799.5)), 1_583_020_799.5);
        assert_eq!(Clock::since_day_of(Ticks::Nanosecond, i128::MAX / 2), since_1970);
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
