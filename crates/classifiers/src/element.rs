//! The two precisions of a matrix, and exponentials in terms that a compiler can do side by side.

/// Numbers that a matrix of comparisons is made of.
pub(crate) trait Element: Copy + Default + Send + Sync + Into<f64> + 'static {
    /// The nearest number.
    fn of(value: f64) -> Self;
    /// e^-x - 1 for x ≥ 0, in terms that a compiler can do side by side.
    fn exp_m1_of_minus(self) -> Self;
    /// The product.
    fn times(self, factor: Self) -> Self;
}

impl Element for f32 {
    #[inline(always)]
    fn of(value: f64) -> Self {
        value as f32
    }

    #[inline(always)]
    fn exp_m1_of_minus(self) -> Self {
        let (power, rest) = parts_f32(-self);
        (power - 1.) + power * rest
    }

    #[inline(always)]
    fn times(self, factor: Self) -> Self {
        self * factor
    }
}

/// e^x for x ≤ 0 to 3·10⁻⁷.
#[inline(always)]
pub(crate) fn exp_negative(x: f32) -> f32 {
    let (power, rest) = parts_f32(x);
    power * (1. + rest)
}

/// e^x = 2^n (1 + rest) for x ≤ 0: the power and the rest.
#[inline(always)]
fn parts_f32(x: f32) -> (f32, f32) {
    let x = x.max(-87.);
    let whole = (x * std::f32::consts::LOG2_E - 0.5) as i32;
    // ln 2 in two parts, the first with few bits, so that its product is exact
    let rest = x - whole as f32 * 0.693_359_4 + whole as f32 * 2.121_944_4e-4;
    // Taylor's series to the sixth power: |rest| ≤ ln 2 / 2
    let series =
        rest * (1. + rest * (0.5 + rest * (1. / 6. + rest * (1. / 24. + rest * (1. / 120. + rest * (1. / 720.))))));
    (f32::from_bits(((whole + 127) as u32) << 23), series)
}

/// 1 / 2!, 1 / 3!, … 1 / 13!
const INVERSE_FACTORIALS: [f64; 12] = {
    let mut values = [0.; 12];
    let (mut at, mut factorial) = (0, 1.);
    while at < 12 {
        factorial *= (at + 2) as f64;
        values[at] = 1. / factorial;
        at += 1;
    }
    values
};

impl Element for f64 {
    #[inline(always)]
    fn of(value: f64) -> Self {
        value
    }

    #[inline(always)]
    fn exp_m1_of_minus(self) -> Self {
        let x = (-self).max(-700.);
        let whole = (x * std::f64::consts::LOG2_E - 0.5) as i32;
        let rest = x - f64::from(whole) * 6.931_471_803_691_238e-1 - f64::from(whole) * 1.908_214_929_270_587_7e-10;
        // Taylor's series to the thirteenth power: 4·10⁻¹⁸ at ln 2 / 2
        let mut series = 0.;
        for factor in INVERSE_FACTORIALS.iter().rev() {
            series = (series + factor) * rest;
        }
        let series = rest + rest * series;
        let power = f64::from_bits(((whole + 1023) as u64) << 52);
        (power - 1.) + power * series
    }

    #[inline(always)]
    fn times(self, factor: Self) -> Self {
        self * factor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_are_right_to_their_precision() {
        for i in 0..=4000 {
            let x = f64::from(i) / 50.;
            let (found, wanted) = (f64::from(exp_negative(-x as f32)), f64::from(-x as f32).exp());
            assert!((found - wanted).abs() <= 3e-7 * wanted, "{x}: {found} {wanted}");
            for x in [x, x * 1e-5] {
                let (found, wanted) = (f64::from((x as f32).exp_m1_of_minus()), f64::from(-x as f32).exp_m1());
                assert!((found - wanted).abs() <= 5e-7 * wanted.abs(), "{x}: {found} {wanted}");
                let (found, wanted) = (x.exp_m1_of_minus(), (-x).exp_m1());
                assert!((found - wanted).abs() <= 1e-15 * wanted.abs(), "{x}: {found} {wanted}");
            }
        }
        assert_eq!(exp_negative(0.), 1.);
        assert!(exp_negative(-1e9) < 2e-38);
        assert_eq!(f64::MAX.exp_m1_of_minus(), -1.);
        assert_eq!(f32::INFINITY.exp_m1_of_minus(), -1.);
    }
}
