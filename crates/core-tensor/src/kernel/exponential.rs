//! The exponential and functions made of it, for f32, written so that the compiler can compute many at once.
//!
//! The method is the one of the Cephes library: `eˣ = 2ⁿ · eʳ` with `n` the nearest integer to `x / ln 2`, and a polynomial
//! for `eʳ`. The largest relative errors found are 1.2e-7 (exp) and 4e-7 (tanh), see the tests.

/// `eˣ`; infinity and zero beyond the range of f32, NaN for NaN, denormal results included.
#[inline(always)]
pub(super) fn exp_f32(x: f32) -> f32 {
    // Adding and subtracting 1.5 · 2²³ rounds to an integer, which is then in the low bits.
    const ROUNDING: f32 = 12_582_912.;
    const ROUNDING_BITS: i32 = ROUNDING.to_bits() as i32;
    // `ln 2` in two parts, so that `n` times the first is exact.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // Written as comparisons that a NaN fails, so that it passes through.
    let x = if x > 89. { 89. } else { x };
    let x = if x < -104. { -104. } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUNDING;
    let n = shifted - ROUNDING;
    let r = (x - n * LN2_HIGH) - n * LN2_LOW;
    let mut p = 1.987_569_2e-4;
    p = p * r + 1.398_2e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_6e-1;
    p = p * r + 5e-1;
    let power = (p * r) * r + r + 1.;
    // 2ⁿ in two factors, because n reaches from −150 to 128.
    let n = (shifted.to_bits() as i32).wrapping_sub(ROUNDING_BITS);
    let half = n >> 1;
    let factor = |n: i32| f32::from_bits((n.wrapping_add(127) as u32) << 23);
    power * factor(half) * factor(n.wrapping_sub(half))
}

/// `tanh x`: `1 − 2 / (e^{2|x|} + 1)`, and a polynomial near zero, where that would cancel.
#[inline(always)]
pub(super) fn tanh_f32(x: f32) -> f32 {
    let a = x.abs();
    let far = 1. - 2. / (exp_f32(2. * a) + 1.);
    let s = a * a;
    // tanh a = a − a³/3 + 2a⁵/15 − 17a⁷/315 + 62a⁹/2835 − …
    let near = a + a * s * (-1. / 3. + s * (2. / 15. + s * (-17. / 315. + s * (62. / 2835.))));
    let magnitude = if a < 0.25 { near } else { far };
    magnitude.copysign(x)
}

/// `eˣ − 1`, by its series near zero.
#[inline(always)]
pub(super) fn exp_m1_f32(x: f32) -> f32 {
    let far = exp_f32(x) - 1.;
    let near =
        x * (1. + x * (1. / 2. + x * (1. / 6. + x * (1. / 24. + x * (1. / 120. + x * (1. / 720. + x / 5040.))))));
    if x.abs() < 0.35 { near } else { far }
}

/// `log(1 + eˣ)`: `max(x, 0) + log(1 + e)` with `e = e^{−|x|}`, and `log(1 + e) = 2 artanh s` with `s = e / (2 + e) ≤ 1/3`, which keeps the relative precision of small values.
#[inline(always)]
pub(super) fn softplus_f32(x: f32) -> f32 {
    let e = exp_f32(-x.abs());
    let s = e / (2. + e);
    let q = s * s;
    // artanh s = s (1 + s²/3 + s⁴/5 + …); what is left out is below 1e-8 of the value.
    let series =
        1. + q * (1. / 3. + q * (1. / 5. + q * (1. / 7. + q * (1. / 9. + q * (1. / 11. + q * (1. / 13. + q / 15.))))));
    // A NaN must not vanish in the comparison.
    let positive = if x <= 0. { 0. } else { x };
    positive + 2. * s * series
}

/// The distribution function and the density of the standard normal. Both keep their relative precision as far as f32 reaches: `Φ(−a) = e^{−a²/2} t P(t)` with `t = 1 / (1 + 0.3 a)` and a
/// polynomial that was fitted for the smallest relative error on 0 ≤ a ≤ 14.5, where the values become 0.
#[inline(always)]
pub(super) fn normal_f32(x: f32) -> (f32, f32) {
    let a = x.abs();
    // Written as a comparison that a NaN fails, so that it passes through.
    let a = if a > 14.5 { 14.5 } else { a };
    // a² in two parts: the first has few enough bits to be exact, so that the exponential does not magnify a rounding error.
    let high = f32::from_bits(a.to_bits() & 0xffff_f000);
    let rest = -0.5 * (a - high) * (a + high);
    let power = exp_f32(-0.5 * high * high) * (1. + rest * (1. + rest * (0.5 + rest / 6.)));
    let t = 1. / (1. + 0.3 * a);
    let mut p = 0.035_423_89_f32;
    p = p * t - 0.156_159_04;
    p = p * t + 0.204_557_69;
    p = p * t - 0.052_034_788;
    p = p * t + 0.127_692_15;
    p = p * t + 0.100_175_85;
    p = p * t + 0.120_712_15;
    p = p * t + 0.119_632_01;
    let tail = p * t * power;
    (if x > 0. { 1. - tail } else { tail }, 0.398_942_3 * power)
}

/// The error function by a rational approximation on |x| < 4, beyond which it is ±1 in f32.
#[inline(always)]
pub(super) fn erf_f32(x: f32) -> f32 {
    // As comparisons that a NaN fails, so that it passes through.
    let c = if x > 4. { 4. } else { x };
    let c = if c < -4. { -4. } else { c };
    let s = c * c;
    let mut p = -2.726_142_3e-10_f32;
    p = p * s + 2.770_681_5e-8;
    p = p * s - 2.101_024e-6;
    p = p * s - 5.692_506_4e-5;
    p = p * s - 7.349_906_3e-4;
    p = p * s - 2.954_6e-3;
    p = p * s - 1.609_603_3e-2;
    let mut q = -1.456_607_2e-5_f32;
    q = q * s - 2.133_740_5e-4;
    q = q * s - 1.682_827e-3;
    q = q * s - 7.373_329_2e-3;
    q = q * s - 1.426_473_9e-2;
    if x.abs() >= 4. { 1f32.copysign(x) } else { c * p / q }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest error relative to the value, over a fine grid.
    fn worst(f: impl Fn(f32) -> f32, exact: impl Fn(f64) -> f64, from: f32, to: f32) -> f64 {
        let steps = 400_000;
        (0..=steps)
            .map(|i| {
                let x = from + (to - from) * i as f32 / steps as f32;
                let expected = exact(f64::from(x));
                (f64::from(f(x)) - expected).abs() / expected.abs().max(f64::from(f32::MIN_POSITIVE))
            })
            .fold(0., f64::max)
    }

    #[test]
    fn functions_are_exact_to_a_few_roundings() {
        // f32 has a relative spacing of 1.2e-7.
        assert!(worst(exp_f32, f64::exp, -87., 88.7) < 1.5e-7);
        assert!(worst(tanh_f32, f64::tanh, -12., 12.) < 5e-7);
        assert!(worst(exp_m1_f32, f64::exp_m1, -20., 20.) < 5e-7);
        assert!(worst(erf_f32, candle_core::cpu::erf::erf_f64, 1e-3, 6.) < 1e-6);
        assert!(worst(softplus_f32, |x| x.exp().ln_1p(), -86., 80.) < 3e-7);
        let distribution = |x: f64| 0.5 * candle_core::cpu::erf::erfc_f64(-x * std::f64::consts::FRAC_1_SQRT_2);
        assert!(worst(|x| normal_f32(x).0, distribution, -12.9, 12.9) < 1e-6);
        let density = |x: f64| (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt();
        assert!(worst(|x| normal_f32(x).1, density, -12.9, 12.9) < 5e-7);
    }

    #[test]
    fn limits_are_those_of_the_functions() {
        assert_eq!(exp_f32(0.), 1.);
        assert_eq!(exp_f32(f32::NEG_INFINITY), 0.);
        assert_eq!(exp_f32(f32::INFINITY), f32::INFINITY);
        assert_eq!(exp_f32(200.), f32::INFINITY);
        assert!(exp_f32(f32::NAN).is_nan());
        assert!(exp_f32(-100.) > 0., "denormal");
        assert_eq!(tanh_f32(f32::INFINITY), 1.);
        assert_eq!(tanh_f32(f32::NEG_INFINITY), -1.);
        assert!(tanh_f32(f32::NAN).is_nan());
        assert_eq!(exp_m1_f32(f32::NEG_INFINITY), -1.);
        assert!(exp_m1_f32(f32::NAN).is_nan());
        assert_eq!(erf_f32(0.), 0.);
        assert_eq!([erf_f32(4.), erf_f32(f32::INFINITY), erf_f32(-9.)], [1., 1., -1.]);
        assert!(erf_f32(f32::NAN).is_nan());
        assert_eq!([f32::NEG_INFINITY, -1000.].map(softplus_f32), [0., 0.]);
        assert_eq!([200., f32::INFINITY].map(softplus_f32), [200., f32::INFINITY]);
        assert!(softplus_f32(f32::NAN).is_nan() && softplus_f32(-100.) > 0., "denormal");
        assert_eq!([f32::NEG_INFINITY, -20., 20., f32::INFINITY].map(|x| normal_f32(x).0), [0., 0., 1., 1.]);
        assert_eq!([f32::NEG_INFINITY, 20.].map(|x| normal_f32(x).1), [0., 0.]);
        assert!(normal_f32(f32::NAN).0.is_nan() && normal_f32(f32::NAN).1.is_nan());
    }
}
