//! Counts from shares.

/// `⌈ratio · n⌉` as decimal arithmetic has it: `0.28 · 25` is 7, though its product of doubles is a little more. What exceeds an integer by less than
/// four units in the last place is taken for that integer.
pub(crate) fn ceil_of_product(ratio: f64, n: usize) -> usize {
    let product = ratio * n as f64;
    (product - 4.0 * f64::EPSILON * product).ceil() as usize
}

#[cfg(test)]
mod tests {
    use super::ceil_of_product;

    #[test]
    fn counts_are_those_of_exact_decimal_arithmetic() {
        for (ratio, n, expected) in
            [(0.28, 25, 7), (0.55, 100, 55), (0.5, 3, 2), (1.0, 9, 9), (0.01, 1, 1), (0.3, 0, 0)]
        {
            assert_eq!(ceil_of_product(ratio, n), expected, "{ratio} of {n}");
        }
        for thousandths in 1..=1000usize {
            for n in 0..2000 {
                let exact = (thousandths * n).div_ceil(1000);
                assert_eq!(ceil_of_product(thousandths as f64 / 1000.0, n), exact, "0.{thousandths:03} of {n}");
            }
        }
    }
}
