//! In which order day and month stand.

use super::profile::Profile;
use crate::schema::datetime;

/// The year 1000 in nanoseconds since 1970: a year of two digits is not one of the first century.
const FIRST_YEAR: i128 = -30_610_224_000_000_000_000;

/// Formats in which the day comes first, and those in which the month does.
const TURNED: [[&str; 2]; 5] = [
    ["%d/%m/%Y", "%m/%d/%Y"],
    ["%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M"],
    ["%d/%m/%Y %H:%M:%S", "%m/%d/%Y %H:%M:%S"],
    ["%d/%m/%y", "%m/%d/%y"],
    ["%d-%m-%Y", "%m-%d-%Y"],
];

/// The format with day and month exchanged.
pub(super) fn turned(format: &str) -> Option<&'static str> {
    TURNED.iter().find_map(|[day, month]| match format {
        _ if format == *day => Some(*month),
        _ if format == *month => Some(*day),
        _ => None,
    })
}

/// Whether all cells of a column can be read so.
pub(super) fn fits(profile: &Profile, format: &str) -> bool {
    let fits = |moment: i128| !format.contains("%Y") || moment >= FIRST_YEAR;
    profile.all(|label| datetime::nanoseconds(label, Some(format)).is_some_and(fits))
}

/// Tells from the columns in which a number above 12 decides it what holds for those in which none does.
pub(super) fn settle_order(profiles: &mut [Profile]) {
    let shown = |order: usize| {
        profiles.iter().filter(|p| p.is_text()).any(|profile| {
            TURNED.iter().any(|formats| fits(profile, formats[order]) && !fits(profile, formats[1 - order]))
        })
    };
    let is_month_first = shown(1) && !shown(0);
    for profile in profiles {
        let either = |[day, month]: &[&str; 2]| fits(profile, day) && fits(profile, month);
        profile.is_month_first = is_month_first && profile.is_text() && TURNED.iter().any(either);
    }
}
