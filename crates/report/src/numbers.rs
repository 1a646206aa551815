//! Numbers for people. The exact number is in `report.json`.

/// 4 significant digits: `85.61`, `0.01235`, `1.235e7`.
pub fn number(value: f64) -> String {
    significant(value, 4)
}

/// 3 significant digits without zeros at the end, for a small place: `0.5`, `85.6`.
pub fn short_number(value: f64) -> String {
    let text = significant(value, 3);
    if text.contains('e') || !text.contains('.') {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The given number of significant digits, 1 or more; in scientific form below 0.0001 and from 10,000,000 on.
pub fn significant(value: f64, digits: usize) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let after_first = digits.saturating_sub(1);
    // Printing in scientific form first rounds, so that 9.9999 counts as 10.
    let scientific = format!("{value:.after_first$e}");
    let exponent: i64 = scientific.split_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or(0);
    if !(-4..7).contains(&exponent) {
        return scientific;
    }
    let decimals = usize::try_from(after_first as i64 - exponent).unwrap_or(0);
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_show_four_significant_digits() {
        for (value, expected) in [
            (85.6123, "85.61"),
            (0.0, "0"),
            (9.99999, "10.00"),
            (0.012345, "0.01235"),
            (1234567.0, "1234567"),
            (12345678.0, "1.235e7"),
            (-0.000012345, "-1.234e-5"),
            (f64::NAN, "NaN"),
        ] {
            // 0.000012345 lies just below the decimal number, so it rounds down.
            assert_eq!(number(value), expected);
        }
    }

    #[test]
    fn short_numbers_end_in_no_zero() {
        assert_eq!(short_number(0.5), "0.5");
        assert_eq!(short_number(100.0), "100");
        assert_eq!(short_number(2.999), "3");
    }
}
