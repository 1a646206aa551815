//! Counts from products of decimal fractions.

/// `⌈value⌉` of a product of rounded numbers: a product that exceeds a whole number by rounding errors alone is that number. `1.1 · 100 / 10` is 11.000000000000002
/// in binary, and 11 by hand.
pub(crate) fn ceil_of_product(value: f64) -> f64 {
    // three roundings of half a unit each, and that of the decimal fraction
    (value - 4. * f64::EPSILON * value.abs()).ceil()
}

#[cfg(test)]
mod tests {
    use super::ceil_of_product;

    #[test]
    fn rounding_errors_add_no_unit() {
        for (factor, tokens, experts, expected) in [
            (1.1, 100., 10., 11.),
            (1.25, 8., 4., 3.),
            (0.55, 100., 1., 55.),
            (0.28, 25., 1., 7.),
            (1.2, 1e6, 16., 75_000.),
        ] {
            assert_eq!(ceil_of_product(factor * tokens / experts), expected, "{factor} · {tokens} / {experts}");
        }
        // every two-digit factor and number of tokens against whole numbers
        for percent in 1..400u64 {
            for tokens in 1..200u64 {
                let exact = (percent * tokens).div_ceil(800);
                let value = ceil_of_product(percent as f64 / 100. * tokens as f64 / 8.);
                assert_eq!(value, exact as f64, "{percent} % of {tokens} / 8");
            }
        }
        assert_eq!(ceil_of_product(f64::MIN_POSITIVE), 1.);
        assert_eq!(ceil_of_product(1. + 1e-12), 2.);
        assert_eq!(ceil_of_product(0.), 0.);
    }
}
