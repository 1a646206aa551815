//! Whole numbers from products that rounding may have moved across one.

/// Relative distance within which a product counts as the whole number next to it: some roundings of f64, far below what a setting with few digits can mean.
const SLACK: f64 = 8. * f64::EPSILON;

fn settled(product: f64) -> Option<f64> {
    let whole = product.round();
    ((product - whole).abs() <= SLACK * product.abs()).then_some(whole)
}

/// `⌈share · count⌉` for a share that is meant as the decimal number that it is written as: 0.28 · 25 is 7, not 8.
pub(crate) fn ceil_product(share: f64, count: usize) -> f64 {
    let product = share * count as f64;
    settled(product).unwrap_or_else(|| product.ceil())
}

/// `⌊share · count⌋` in the same sense: 0.29 · 100 is 29, not 28.
pub(crate) fn floor_product(share: f64, count: usize) -> f64 {
    let product = share * count as f64;
    settled(product).unwrap_or_else(|| product.floor())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_decimal_shares_are_whole_where_they_should_be() {
        // exact in integers: share = hundredths / 100
        for hundredths in 1..=100usize {
            for count in 1..=2000 {
                let share = hundredths as f64 / 100.;
                assert_eq!(ceil_product(share, count), (hundredths * count).div_ceil(100) as f64, "{share} {count}");
                assert_eq!(floor_product(share, count), (hundredths * count / 100) as f64, "{share} {count}");
            }
        }
        // what the bare product gives
        assert_eq!(((0.28f64 * 25.).ceil(), (0.29f64 * 100.).floor()), (8., 28.));
        assert!(floor_product(f64::NAN, 3).is_nan());
    }
}
