//! How numbers are written. What bounds the reader's risk is rounded up.

/// Three significant digits, for figures that claim nothing.
pub fn figure(x: f64) -> String {
    written(x, 3, f64::round)
}

/// Four significant digits, rounded up.
pub(super) fn bound(x: f64) -> String {
    // A value that is a round number but for its last bits stays one.
    written(x, 4, |scaled| (scaled - 1e-6).ceil())
}

/// Three decimals, for columns of figures that are compared.
pub(super) fn decimals(x: f64) -> String {
    let text = format!("{x:.3}");
    // A small negative number is no negative zero.
    if text == "-0.000" { "0.000".into() } else { text.replace('-', "\u{2212}") }
}

/// A share as a percentage with one decimal.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1}\u{a0}%", share * 100.0)
}

/// A whole number in groups of three digits.
pub(super) fn count(x: f64) -> String {
    let digits = format!("{:.0}", x.abs());
    let mut grouped = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if x < 0.0 { format!("\u{2212}{grouped}") } else { grouped }
}

fn written(x: f64, digits: i32, rounding: impl Fn(f64) -> f64) -> String {
    if x == 0.0 {
        return "0".to_owned();
    }
    if !x.is_finite() {
        return if x.is_nan() { "absent".to_owned() } else { "infinite".to_owned() };
    }
    let last_digit = x.abs().log10().floor() as i32 - digits + 1;
    let rounded = rounding(x * 10f64.powi(-last_digit)) * 10f64.powi(last_digit);
    let trimmed = |text: String| match text.split_once('.') {
        Some(_) => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        None => text,
    };
    match rounded.abs() {
        size if !(1e-3..1e9).contains(&size) => {
            let text = format!("{:.*e}", (digits - 1) as usize, rounded);
            let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            format!("{}e{exponent}", trimmed(mantissa.to_owned()))
        }
        size if size >= 1e3 => count(rounded),
        _ => trimmed(format!("{:.*}", (-last_digit).max(0) as usize, rounded)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        let cases = [(0.0, "0"), (1.0, "1"), (2.7654, "2.77"), (0.01234, "0.0123"), (0.000_012_3, "1.23e-5")];
        for (x, text) in cases.into_iter().chain([(1234.5, "1,230"), (-0.25, "-0.25"), (f64::INFINITY, "infinite")]) {
            assert_eq!(figure(x), text);
        }
    }

    #[test]
    fn bounds_are_rounded_up() {
        let cases = [(1.0, "1"), (1.0001, "1.001"), (0.99987, "0.9999"), (1e-6, "1e-6"), (2980.1, "2,981")];
        for (x, text) in cases.into_iter().chain([(std::f64::consts::E, "2.719"), (1.01e-6, "1.01e-6")]) {
            assert_eq!(bound(x), text);
        }
    }

    #[test]
    fn decimals_have_no_negative_zero() {
        assert_eq!([-0.0004, 0.0, -0.25].map(decimals), ["0.000", "0.000", "\u{2212}0.250"]);
    }

    #[test]
    fn counts_are_grouped() {
        assert_eq!([0.0, 999.0, 1000.0, 1_234_567.0].map(count), ["0", "999", "1,000", "1,234,567"]);
    }
}
