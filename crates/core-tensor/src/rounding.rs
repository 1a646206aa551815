//! Counts from shares: `⌈ratio · n⌉` as decimal arithmetic has it.
//!
//! In binary, 0.28 · 25 is 7.000000000000001, whose ceiling is 8, and 0.29 · 100 is 28.999999999999996, whose floor is 28. Both functions take a number that differs from an integer by a few
//! rounding errors for that integer.

/// The relative distance from an integer that rounding errors of a few operations explain.
const TOLERANCE: f64 = 8. * f64::EPSILON;

fn near_integer(x: f64) -> Option<f64> {
    let nearest = x.round();
    ((x - nearest).abs() <= TOLERANCE * nearest.abs()).then_some(nearest)
}

/// The smallest count that is not below `x`, up to rounding errors; 0 for negative numbers and NaN, the largest count for what is larger.
///
/// ```
/// use core_tensor::rounding::ceil_to_count;
/// assert_eq!(ceil_to_count(0.28 * 25.), 7);
/// assert_eq!(ceil_to_count(0.55 * 100.), 55);
/// assert_eq!(ceil_to_count(1.1 * 100. / 10.), 11);
/// assert_eq!(ceil_to_count(7.1), 8);
/// ```
pub fn ceil_to_count(x: f64) -> usize {
    near_integer(x).unwrap_or(x.ceil()) as usize
}

/// The largest count that is not above `x`, up to rounding errors; 0 for negative numbers and NaN, the largest count for what is larger.
///
/// ```
/// use core_tensor::rounding::floor_to_count;
/// assert_eq!(floor_to_count(0.29 * 100.), 29);
/// assert_eq!(floor_to_count(28.9), 28);
/// ```
pub fn floor_to_count(x: f64) -> usize {
    near_integer(x).unwrap_or(x.floor()) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_those_of_decimal_arithmetic() {
        for n in 0..=2000_usize {
            for hundredths in 0..=300_usize {
                let product = hundredths as f64 / 100. * n as f64;
                let exact = hundredths * n;
                assert_eq!(ceil_to_count(product), exact.div_ceil(100), "{hundredths} % of {n}");
                assert_eq!(floor_to_count(product), exact / 100, "{hundredths} % of {n}");
            }
        }
        // thousandths of large counts
        for n in [1 << 20, 25_557_032, 1_000_000_007_usize] {
            for thousandths in 1..1000_usize {
                let product = thousandths as f64 * 1e-3 * n as f64;
                assert_eq!(ceil_to_count(product), (thousandths * n).div_ceil(1000));
            }
        }
    }

    #[test]
    fn numbers_without_a_count_have_a_near_one() {
        assert_eq!([f64::NAN, -1., -0., f64::NEG_INFINITY].map(ceil_to_count), [0; 4]);
        assert_eq!([f64::INFINITY, 1e300].map(floor_to_count), [usize::MAX; 2]);
        assert_eq!([1e-300, f64::MIN_POSITIVE].map(ceil_to_count), [1; 2]);
    }
}
