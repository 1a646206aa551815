//! Elementary functions of f32, written so that the compiler can compute many at once. Polynomials were fitted for the smallest relative error, with each coefficient rounded to f32 before the next
//! was fitted; sums of products are fused (one rounding), so that results have the same bits on every processor. Errors are below two units in the last place, see the tests.
//!
//! Where a result would be subnormal (below 2⁻¹²⁶ ≈ 1.2e-38) the functions made of an exponential give 0: subnormal operands cost some processors over a hundred cycles each, and such a value is
//! lost in any sum with a number above 1e-30.

use std::f32::consts::{LN_2, LOG2_E};

/// `ln 2` less its nearest f32.
const LN_2_REST: f32 = -1.904_654_3e-9;

/// A polynomial by Horner's rule, from the highest coefficient.
#[inline(always)]
fn polynomial<const N: usize>(x: f32, coefficients: [f32; N]) -> f32 {
    let mut sum = coefficients[0];
    let mut at = 1;
    while at < N {
        sum = sum.mul_add(x, coefficients[at]);
        at += 1;
    }
    sum
}

/// `x + rest = n ln 2 + r` with an integer `n` and `|r| ≤ 0.347`: a number whose lowest nine bits are `n` modulo 512, and `eʳ − 1`.
#[inline(always)]
fn exponential_parts(x: f32, rest: f32) -> (u32, f32) {
    // Adding and subtracting 1.5 · 2²³ rounds to an integer, which is then in the low bits.
    const ROUNDING: f32 = 12_582_912.;
    let shifted = x.mul_add(LOG2_E, ROUNDING);
    let n = shifted - ROUNDING;
    // The first product with n has few enough digits for the difference to be exact.
    let r = (-n).mul_add(LN_2, x) + (-n).mul_add(LN_2_REST, rest);
    let p = polynomial(r, [1.976_441_4e-4, 1.393_238_1e-3, 8.333_543e-3, 4.166_649_3e-2, 1.666_666_7e-1, 0.5]);
    (shifted.to_bits(), (r * r).mul_add(p, r))
}

/// `2ⁿ x` for normal results.
#[inline(always)]
fn scaled(x: f32, n: u32) -> f32 {
    f32::from_bits(x.to_bits().wrapping_add(n << 23))
}

/// Arguments of the exponential below which it is not normal, and above which it is not finite.
const LOWEST: f32 = -87.336_54;
const HIGHEST: f32 = 88.722_83;

/// `eˣ`; infinity beyond the range of f32, 0 where it is not normal, NaN for NaN.
#[inline(always)]
pub(super) fn exp_f32(x: f32) -> f32 {
    let (n, r) = exponential_parts(x, 0.);
    let power = scaled(1. + r, n);
    let power = if x > HIGHEST { f32::INFINITY } else { power };
    if x < LOWEST { 0. } else { power }
}

/// `tanh x = −m / (2 + m)` with `m = e^{−2|x|} − 1`.
#[inline(always)]
pub(super) fn tanh_f32(x: f32) -> f32 {
    let a = x.abs();
    // Above this it is 1. Written as a comparison that a NaN fails, so that it passes through.
    let a = if a > 10. { 10. } else { a };
    let (n, r) = exponential_parts(-2. * a, 0.);
    let power = scaled(1., n);
    let magnitude = -power.mul_add(r, power - 1.) / power.mul_add(r, power + 1.);
    magnitude.copysign(x)
}

/// `1 / (1 + e^{−x})`.
#[inline(always)]
pub(super) fn sigmoid_f32(x: f32) -> f32 {
    let a = x.abs();
    // Written as a comparison that a NaN fails, so that it passes through.
    let a = if a > 100. { 100. } else { a };
    let (n, r) = exponential_parts(-a, 0.);
    let power = if a > -LOWEST { 0. } else { scaled(1., n) };
    let larger = 1. / power.mul_add(r, power + 1.);
    // e^{−|x|} / (1 + e^{−|x|}); the product with a power of two is exact.
    let base = power * larger;
    if x < 0. { base.mul_add(r, base) } else { larger }
}

/// `eˣ − 1`, without cancellation near 0.
#[inline(always)]
pub(super) fn exp_m1_f32(x: f32) -> f32 {
    let (n, r) = exponential_parts(x, 0.);
    // Half of the power of two, which is finite where the result is.
    let half = scaled(0.5, n);
    let value = 2. * half.mul_add(r, half - 0.5);
    let value = if x > HIGHEST { f32::INFINITY } else { value };
    // The sign of a zero is kept.
    let value = if x == 0. { x } else { value };
    if x < -20. { -1. } else { value }
}

/// `log(1 + f) + n ln 2` for `−1/4 ≤ f ≤ 1/2`.
#[inline(always)]
fn logarithm_of_parts(f: f32, n: f32) -> f32 {
    let p = polynomial(
        f,
        [
            -4.513_366_5e-2,
            1.047_103_6e-1,
            -1.316_408e-1,
            1.447_799_2e-1,
            -1.664_693_2e-1,
            1.999_083_3e-1,
            -2.500_010_7e-1,
            3.333_345e-1,
            -0.5,
        ],
    );
    n.mul_add(LN_2, (f * f).mul_add(p, f))
}

/// The exponent that brings a positive normal number between 3/4 and 3/2, in its place within the bits of f32.
#[inline(always)]
fn exponent(x: f32) -> u32 {
    x.to_bits().wrapping_sub(0.75_f32.to_bits()) & 0xff80_0000
}

/// An exponent in its place as a number.
#[inline(always)]
fn exponent_value(exponent: u32) -> f32 {
    (exponent.cast_signed() >> 23) as f32
}

/// The natural logarithm; −∞ for 0, NaN for negative numbers.
#[inline(always)]
pub(super) fn ln_f32(x: f32) -> f32 {
    // Subnormal numbers are scaled by 2²⁵ first.
    let is_small = x < f32::MIN_POSITIVE;
    let normal = if is_small { x * 33_554_432. } else { x };
    let e = exponent(normal);
    let n = exponent_value(e) - if is_small { 25. } else { 0. };
    let value = logarithm_of_parts(f32::from_bits(normal.to_bits().wrapping_sub(e)) - 1., n);
    // Infinity and NaN stay what they are.
    let value = if x < f32::INFINITY { value } else { x };
    let value = if x == 0. { f32::NEG_INFINITY } else { value };
    if x < 0. { f32::NAN } else { value }
}

/// `log(1 + x)`, without cancellation near 0.
#[inline(always)]
pub(super) fn ln_1p_f32(x: f32) -> f32 {
    // Beside large numbers the 1 is lost in any case; they are scaled by 2⁻⁶⁴, so that the powers of two below stay normal.
    let is_large = x > 1e30;
    let y = if is_large { x * 5.421_011e-20 } else { x };
    let e = exponent(1. + y);
    // 2⁻ⁿ (1 + y) − 1, rounded once.
    let scale = f32::from_bits(1f32.to_bits().wrapping_sub(e));
    let f = y.mul_add(scale, scale - 1.);
    let value = logarithm_of_parts(f, exponent_value(e) + if is_large { 64. } else { 0. });
    let value = if x < f32::INFINITY { value } else { x };
    let value = if x == -1. { f32::NEG_INFINITY } else { value };
    // The sign of a zero is kept.
    let value = if x == 0. { x } else { value };
    if x < -1. { f32::NAN } else { value }
}

/// `log(1 + eˣ) = max(x, 0) + log(1 + e^{−|x|})`.
#[inline(always)]
pub(super) fn softplus_f32(x: f32) -> f32 {
    // A NaN must not vanish in the comparison.
    let positive = if x <= 0. { 0. } else { x };
    positive + ln_1p_f32(exp_f32(-x.abs()))
}

/// The square of a number: its nearest f32 and the rest.
#[inline(always)]
fn square(x: f32) -> (f32, f32) {
    let high = x * x;
    (high, x.mul_add(x, -high))
}

/// `e^{−high − low}` for a positive sum as a power of two and the rest less 1; 0 where that is not normal.
#[inline(always)]
fn falling_parts(high: f32, low: f32) -> (f32, f32) {
    let (n, r) = exponential_parts(-high, -low);
    (if high > 87. { 0. } else { scaled(1., n) }, r)
}

/// 0 in the place of a positive number that is not normal.
#[inline(always)]
fn normal_or_zero(x: f32) -> f32 {
    if x < f32::MIN_POSITIVE { 0. } else { x }
}

/// `e^{s²} erfc(s) / t` with `t = 1 / (1 + 9/16 s)` is `LEADING + v P(v)` with `v = t − CENTRE` and the polynomial `RATIO`.
const CENTRE: f32 = 0.3125;
const LEADING: f32 = 4.478_022e-1;
const RATIO: [f32; 10] = [
    -1.425_064_9e-2,
    1.015_713_5e-1,
    -2.131_334_8e-1,
    1.344_139e-1,
    1.116_205e-1,
    -1.268_913_1e-1,
    -1.659_809_2e-1,
    1.004_068_7e-1,
    4.136_304e-1,
    5.332_068e-1,
];

/// `erfc(s)` for `s = 16/9 · a · (slope + slope_rest) ≥ 0` with `s² = high + low`: the exponential of `−s²` times a polynomial in `t = 1 / (1 + 9/16 s)`, whose rounding errors are carried along.
#[inline(always)]
fn tail(a: f32, (slope, slope_rest): (f32, f32), (high, low): (f32, f32)) -> f32 {
    let denominator = slope.mul_add(a, 1.);
    let denominator_rest = slope_rest.mul_add(a, slope.mul_add(a, 1. - denominator));
    let t = 1. / denominator;
    // The true 1 / (1 + …) is t (1 + e).
    let e = (-t).mul_add(denominator_rest, (-t).mul_add(denominator, 1.));
    let v = t - CENTRE;
    let rest = polynomial(v, RATIO);
    let v = t.mul_add(e, v);
    let p = v.mul_add(rest, LEADING);
    let p_rest = v.mul_add(rest, LEADING - p);
    let w = p * t;
    let w_rest = w.mul_add(e, t.mul_add(p_rest, p.mul_add(t, -w)));
    let (power, r) = falling_parts(high, low);
    normal_or_zero((w + w.mul_add(r, w_rest.mul_add(r, w_rest))) * power)
}

/// 9/16 of √½ in two parts.
const SLOPE: (f32, f32) = (0.397_747_58, -1.181_929_2e-8);

/// The distribution function `Φ` and the density of the standard normal, to the relative precision of f32 at both ends.
#[inline(always)]
pub(super) fn normal_f32(x: f32) -> (f32, f32) {
    let a = x.abs();
    // Written as a comparison that a NaN fails, so that it passes through.
    let a = if a > 14.5 { 14.5 } else { a };
    let (high, low) = square(a);
    let (high, low) = (0.5 * high, 0.5 * low);
    let tail = normal_or_zero(0.5 * tail(a, SLOPE, (high, low)));
    let (power, r) = falling_parts(high, low);
    // 1 / √(2π)
    const SCALE: f32 = 0.398_942_3;
    (if x > 0. { 1. - tail } else { tail }, normal_or_zero(SCALE.mul_add(r, SCALE) * power))
}

/// [`normal_f32`] with a relative error of at most 5e-7, in fewer steps; 0 and 1 from 12.9 on.
#[inline(always)]
pub(super) fn near_normal_f32(x: f32) -> (f32, f32) {
    let a = x.abs();
    // Written as a comparison that a NaN fails, so that it passes through.
    let a = if a > 12.9 { 12.9 } else { a };
    let (high, low) = square(a);
    let (n, r) = exponential_parts(-0.5 * high, -0.5 * low);
    let t = 1. / SLOPE.0.mul_add(a, 1.);
    let p = polynomial(t - CENTRE, RATIO).mul_add(t - CENTRE, LEADING) * (0.5 * t);
    let tail = if a >= 12.9 { 0. } else { scaled(p.mul_add(r, p), n) };
    // 1 / √(2π)
    const SCALE: f32 = 0.398_942_3;
    let density = if a >= 12.9 { 0. } else { scaled(SCALE.mul_add(r, SCALE), n) };
    (if x > 0. { 1. - tail } else { tail }, density)
}

/// `1 − erf(x)`, to the relative precision of f32 at both ends.
#[inline(always)]
pub(super) fn erfc_f32(x: f32) -> f32 {
    let a = x.abs();
    let a = if a > 10.5 { 10.5 } else { a };
    let tail = tail(a, (0.5625, 0.), square(a));
    if x > 0. { tail } else { 2. - tail }
}

/// The error function.
#[inline(always)]
pub(super) fn erf_f32(x: f32) -> f32 {
    let a = x.abs();
    let a = if a > 10.5 { 10.5 } else { a };
    let far = (1. - tail(a, (0.5625, 0.), square(a))).copysign(x);
    // x (1 + s P(s)) with s = x²
    let p = polynomial(
        x * x,
        [7.531_972e-5, -7.917_904e-4, 5.178_558e-3, -2.684_917e-2, 1.128_349_1e-1, -3.761_262e-1, 1.283_791_7e-1],
    );
    if a < 1. { x.mul_add(p, x) } else { far }
}

/// Sine and cosine by reduction to `|r| ≤ π/4`, in f64, which is exact enough for `|x| < 2⁵⁰`: `r`, and the number of quarter turns modulo 2³².
#[inline(always)]
fn quarter_turns(x: f32) -> (f32, u32) {
    use std::f64::consts::{FRAC_2_PI, FRAC_PI_2};
    // Adding and subtracting 1.5 · 2⁵² rounds to an integer, which is then in the low bits.
    const ROUNDING: f64 = 6_755_399_441_055_744.;
    const FRAC_PI_2_REST: f64 = 6.123_233_995_736_766e-17;
    let x = f64::from(x);
    let shifted = x.mul_add(FRAC_2_PI, ROUNDING);
    let n = shifted - ROUNDING;
    let r = (-n).mul_add(FRAC_PI_2_REST, (-n).mul_add(FRAC_PI_2, x));
    (r as f32, shifted.to_bits() as u32)
}

/// The sine of `turns` quarter turns and `r`.
#[inline(always)]
fn sine_of_parts(r: f32, turns: u32) -> f32 {
    let s = r * r;
    let sine = (r * s).mul_add(polynomial(s, [2.832_680_1e-6, -1.985_307_2e-4, 8.333_379e-3, -1.666_666_7e-1]), r);
    let p = polynomial(s, [-2.887_845_2e-7, 2.482_200_8e-5, -1.388_898e-3, 4.166_666_8e-2]);
    let cosine = (s * s).mul_add(p, (-0.5f32).mul_add(s, 1.));
    let value = if turns & 1 == 0 { sine } else { cosine };
    f32::from_bits(value.to_bits() ^ ((turns & 2) << 30))
}

/// The sine for `|x| < 2⁵⁰`.
#[inline(always)]
pub(super) fn sin_f32(x: f32) -> f32 {
    let (r, turns) = quarter_turns(x);
    sine_of_parts(r, turns)
}

/// The cosine for `|x| < 2⁵⁰`.
#[inline(always)]
pub(super) fn cos_f32(x: f32) -> f32 {
    let (r, turns) = quarter_turns(x);
    sine_of_parts(r, turns.wrapping_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest error in units in the last place of the result, over a fine grid of numbers and, where both ends are positive, of magnitudes; results that are not normal may be 0.
    fn worst(f: impl Fn(f32) -> f32, exact: impl Fn(f64) -> f64, from: f32, to: f32) -> f64 {
        let steps = if cfg!(miri) { 200 } else { 1_000_000 };
        let share = |i: i32| f64::from(i) / f64::from(steps);
        let (low, high) = (f64::from(from), f64::from(to));
        let even = (0..=steps).map(|i| low + (high - low) * share(i));
        let by_magnitude = (0..=steps).filter(|_| low > 0.).map(|i| low * (high / low).powf(share(i)));
        even.chain(by_magnitude)
            .map(|x| {
                let x = (x as f32).clamp(from, to);
                let (value, expected) = (f(x), exact(f64::from(x)));
                let nearest = expected.abs() as f32;
                if nearest < f32::MIN_POSITIVE {
                    return if f64::from(value.abs()) <= 2. * expected.abs() { 0. } else { f64::INFINITY };
                }
                (f64::from(value) - expected).abs() / f64::from(nearest.next_up() - nearest)
            })
            .fold(0., f64::max)
    }

    #[test]
    fn functions_are_exact_to_two_units_in_the_last_place() {
        use candle_core::cpu::erf::{erf_f64, erfc_f64};
        assert!(worst(exp_f32, f64::exp, -110., 88.722_83) < 1.01);
        assert!(worst(tanh_f32, f64::tanh, 1e-30, 12.) < 2.);
        assert!(worst(sigmoid_f32, |x| 1. / (1. + (-x).exp()), -110., 30.) < 2.);
        assert!(worst(exp_m1_f32, f64::exp_m1, 1e-30, 88.722_83) < 1.5);
        assert!(worst(|x| exp_m1_f32(-x), |x| (-x).exp_m1(), 1e-30, 110.) < 1.5);
        assert!(worst(ln_f32, f64::ln, 1e-45, f32::MAX) < 1.);
        assert!(worst(ln_f32, f64::ln, 0.4, 2.5) < 1.);
        assert!(worst(ln_1p_f32, f64::ln_1p, 1e-30, f32::MAX) < 1.);
        assert!(worst(|x| ln_1p_f32(-x), |x| (-x).ln_1p(), 1e-30, 0.999_999_9) < 1.);
        assert!(worst(softplus_f32, |x| x.max(0.) + (-x.abs()).exp().ln_1p(), -110., 80.) < 2.);
        assert!(worst(erf_f32, erf_f64, 1e-30, 6.) < 1.5);
        assert!(worst(erfc_f32, erfc_f64, 1e-30, 11.) < 2.);
        assert!(worst(erfc_f32, erfc_f64, -6., 0.) < 1.5);
        let distribution = |x: f64| 0.5 * erfc_f64(-x * std::f64::consts::FRAC_1_SQRT_2);
        assert!(worst(|x| normal_f32(x).0, distribution, -15., 8.) < 2.);
        let density = |x: f64| (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt();
        assert!(worst(|x| normal_f32(x).1, density, -15., 15.) < 2.);
        assert!(worst(|x| near_normal_f32(x).0, distribution, -12.89, 8.) < 6.);
        assert!(worst(|x| near_normal_f32(x).1, density, -12.89, 12.89) < 2.);
        for limit in [4., 1e3, 1e7] {
            assert!(worst(sin_f32, f64::sin, -limit, limit) < 2. && worst(cos_f32, f64::cos, -limit, limit) < 2.);
        }
        assert!(worst(sin_f32, f64::sin, 1e-30, 1e15) < 2. && worst(cos_f32, f64::cos, 1e-30, 1e15) < 2.);
    }

    #[test]
    fn limits_are_those_of_the_functions() {
        const INF: f32 = f32::INFINITY;
        assert_eq!([0., -INF, INF, 200., 88.722_84].map(exp_f32), [1., 0., INF, INF, INF]);
        assert_eq!([-87.336_55, -100., -1e30].map(exp_f32), [0., 0., 0.], "not normal");
        assert_eq!([INF, -INF, 1e30].map(tanh_f32), [1., -1., 1.]);
        assert_eq!([INF, -INF, 1e30, -1e30, -88., 0.].map(sigmoid_f32), [1., 0., 1., 0., 0., 0.5]);
        assert_eq!([-INF, -1e30, INF, 1e30].map(exp_m1_f32), [-1., -1., INF, INF]);
        assert_eq!([0., -0., 1., INF].map(ln_f32), [-INF, -INF, 0., INF]);
        assert_eq!([0., -1., INF].map(ln_1p_f32), [0., -INF, INF]);
        assert_eq!([0., INF, -INF, 4., -9., 1e30].map(erf_f32), [0., 1., -1., 1., -1., 1.]);
        assert_eq!([0., INF, -INF, 9.3, 1e30].map(erfc_f32), [1., 0., 2., 0., 0.]);
        assert_eq!([-INF, -1000., -90.].map(softplus_f32), [0., 0., 0.]);
        assert_eq!([200., INF].map(softplus_f32), [200., INF]);
        assert_eq!(([0., -0.].map(sin_f32), cos_f32(0.)), ([0., 0.], 1.));
        let zeros = [tanh_f32, exp_m1_f32, ln_1p_f32, erf_f32].map(|f| f(-0.));
        assert!(zeros.iter().all(|zero| *zero == 0. && zero.is_sign_negative()));
        for f in [
            exp_f32,
            tanh_f32,
            sigmoid_f32,
            exp_m1_f32,
            ln_f32,
            ln_1p_f32,
            softplus_f32,
            erf_f32,
            erfc_f32,
            sin_f32,
            cos_f32,
        ] {
            assert!(f(f32::NAN).is_nan());
        }
        assert!(ln_f32(-1.).is_nan() && ln_1p_f32(-1.5).is_nan() && ln_f32(-INF).is_nan());
        for f in [normal_f32, near_normal_f32] {
            assert!(f(f32::NAN).0.is_nan() && f(f32::NAN).1.is_nan());
            assert_eq!([-INF, -20., 20., INF].map(|x| f(x).0), [0., 0., 1., 1.]);
            assert_eq!([-INF, 20.].map(|x| f(x).1), [0., 0.]);
        }
    }

    /// The same source, compiled for instruction sets with and without fused multiply-add, gives the same bits.
    #[test]
    fn bits_do_not_depend_on_the_processor() {
        crate::kernel::multiversion! {
            fn all<T>(x: &[T], out: &mut [T]) {
                for (out, &x) in out.chunks_exact_mut(5).zip(x) {
                    let (distribution, density) = x.normal();
                    out.copy_from_slice(&[Real::exp(x), Real::tanh(x), x.sigmoid(), distribution, density]);
                }
            }
        }
        use crate::kernel::Real;
        let x: Vec<f32> = (-500..500).map(|i| i as f32 * 0.0371).collect();
        let mut out = vec![0f32; 5 * x.len()];
        all(&x, &mut out);
        for (out, &x) in out.chunks_exact(5).zip(&x) {
            let (distribution, density) = normal_f32(x);
            assert_eq!(out, [exp_f32(x), tanh_f32(x), sigmoid_f32(x), distribution, density]);
        }
    }
}
