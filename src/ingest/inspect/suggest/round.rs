//! Round numbers: what a person would have written.

/// Significant digits in which a number is tried, at most.
const DIGITS: i32 = 6;

/// The roundest number above `low`, and not above `high`.
pub(super) fn between(low: f64, high: f64) -> f64 {
    if !(low < high) {
        return high;
    }
    let largest = low.abs().max(high.abs()).max(f64::MIN_POSITIVE).log10().ceil() as i32;
    let steps = (0..16).flat_map(|power| [1.0, 0.5].map(|part| (part, largest - power)));
    let at = |(part, power): (f64, i32)| {
        // Whole powers of ten alone, so that tenths are what they are written as.
        let (unit, parts) = (10f64.powi(power.max(0)) * part, 10f64.powi((-power).max(0)) / part);
        if power > 0 { (high / unit).floor() * unit } else { (high * parts).floor() / parts }
    };
    steps.map(at).find(|x| *x > low && *x <= high).unwrap_or(high)
}

/// The roundest number not below `low`, and below `high`.
pub(super) fn above(low: f64, high: f64) -> f64 {
    let x = -between(-high, -low);
    if x == 0.0 { 0.0 } else { x }
}

/// The number in ever more digits.
pub(super) fn ever_finer(x: f64) -> impl Iterator<Item = f64> {
    let size = if x == 0.0 { 0 } else { x.abs().log10().floor() as i32 };
    (0..DIGITS).map(move |digits| {
        let parts = 10f64.powi((size - digits).abs());
        if size > digits { (x / parts).round() * parts } else { (x * parts).round() / parts }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_roundest_number_is_found() {
        for (low, high, expected) in [
            (38.0, 41.0, 40.0),
            (39.0, 40.0, 40.0),
            (24.97, 25.02, 25.0),
            (17.2, 17.9, 17.5),
            (-3.0, 2.0, 0.0),
            (0.21, 0.34, 0.3),
            (6.0, 6.0, 6.0),
            (1013.0, 1014.0, 1014.0),
            (41_310.0, 99_999.0, 50_000.0),
        ] {
            assert_eq!(between(low, high), expected, "{low} {high}");
        }
        assert_eq!(
            [above(17.0, 23.0), above(0.0, 3.0), above(-7.0, -2.0), above(41_310.0, 99_999.0)],
            [20.0, 0.0, -5.0, 50_000.0]
        );
        let finer: Vec<f64> = ever_finer(0.453_592).collect();
        assert_eq!(finer[..3], [0.5, 0.45, 0.454]);
        assert_eq!(ever_finer(703.07).nth(2), Some(703.0));
    }
}
