//! The fraction of a gradient that is sent.

use crate::{Error, Result};

pub(crate) fn check_ratio(what: &'static str, ratio: f64) -> Result<()> {
    if ratio > 0. && ratio <= 1. {
        Ok(())
    } else {
        Err(Error::config(what, format!("{ratio} is not above 0 and at most 1")))
    }
}

/// The relative distance from a whole number that rounding errors of a few operations explain: 0.28 · 25 is 7.000000000000001 in binary and 0.29 · 100 is 28.999999999999996, but 7 and 29 are meant.
///
/// The same rule as `core_tensor::rounding`, which this crate has only with the feature `trainer`; both are tested against exact integers.
const TOLERANCE: f64 = 8. * f64::EPSILON;

fn near_integer(x: f64) -> Option<f64> {
    let nearest = x.round();
    ((x - nearest).abs() <= TOLERANCE * nearest.abs()).then_some(nearest)
}

/// `⌈x⌉` of the number that was meant.
pub(crate) fn ceil_to_count(x: f64) -> usize {
    near_integer(x).unwrap_or(x.ceil()) as usize
}

/// `⌊x⌋` of the number that was meant.
pub(crate) fn floor_to_count(x: f64) -> usize {
    near_integer(x).unwrap_or(x.floor()) as usize
}

/// `max(1, ⌊n r⌋)`, at most `n`.
pub(crate) fn target(len: usize, ratio: f64) -> usize {
    floor_to_count(len as f64 * ratio).max(1).min(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_those_of_exact_arithmetic() {
        assert_eq!((ceil_to_count(25. * 0.28), ceil_to_count(100. * 0.55)), (7, 55));
        assert_eq!((target(100, 0.29), target(100, 0.57), target(0, 0.5), target(3, 0.1)), (29, 57, 0, 1));
        // every ratio of up to four decimals, against integers
        for parts in 1..=10_000u64 {
            let ratio = parts as f64 / 1e4;
            for n in [1u64, 7, 25, 100, 999, 10_000, 1 << 20, 4_294_967_295] {
                assert_eq!(ceil_to_count(n as f64 * ratio) as u64, (n * parts).div_ceil(10_000), "{n} {ratio}");
                assert_eq!(floor_to_count(n as f64 * ratio) as u64, n * parts / 10_000, "{n} {ratio}");
            }
        }
        assert_eq!((ceil_to_count(0. * 0.5), ceil_to_count(1e18 * 1e-300)), (0, 1));
    }
}
