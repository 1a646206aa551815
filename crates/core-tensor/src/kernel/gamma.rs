//! The logarithm of the gamma function and its derivatives, in f64, written so that the compiler can compute many at once.
//!
//! Arguments below 8 are moved by 8 with `Γ(x + 1) = x Γ(x)`, then Stirling's series with ten Bernoulli numbers is exact to a rounding error (Abramowitz and Stegun 6.1.41, 6.3.18, 6.4.12). What stands here
//! holds for positive arguments; [`beyond`] has the others by reflection.

use std::f64::consts::{LN_2, PI};

/// A polynomial by Horner's rule, from the highest coefficient.
#[inline(always)]
fn polynomial<const N: usize>(x: f64, coefficients: [f64; N]) -> f64 {
    let mut sum = coefficients[0];
    let mut at = 1;
    while at < N {
        sum = sum.mul_add(x, coefficients[at]);
        at += 1;
    }
    sum
}

/// The natural logarithm of a number that is not negative: `n ln 2 + 2 artanh s` with `s = (m − 1) / (m + 1)` for `m` between `√½` and `√2`.
#[inline(always)]
fn ln(x: f64) -> f64 {
    const ROOT: u64 = std::f64::consts::FRAC_1_SQRT_2.to_bits();
    // 2⁵², below whose bits an integer is its own fraction.
    const INTEGERS: f64 = 4_503_599_627_370_496.;
    let is_small = x < f64::MIN_POSITIVE;
    let normal = if is_small { x * INTEGERS * 4. } else { x };
    let bits = normal.to_bits().wrapping_sub(ROOT).wrapping_add(1023 << 52);
    let exponent = bits >> 52;
    let n = f64::from_bits(exponent | INTEGERS.to_bits()) - INTEGERS - if is_small { 1077. } else { 1023. };
    let m = f64::from_bits(normal.to_bits().wrapping_sub((exponent << 52).wrapping_sub(1023 << 52)));
    let s = (m - 1.) / (m + 1.);
    let w = s * s;
    let p = polynomial(
        w,
        [
            0.146_165_854_248_886_23,
            0.153_317_106_182_107_73,
            0.181_828_894_556_749_47,
            0.222_222_111_302_598_78,
            0.285_714_286_260_032_7,
            0.399_999_999_998_994_44,
            0.666_666_666_666_667,
        ],
    );
    let value = n.mul_add(LN_2, (s * w).mul_add(p, 2. * s));
    let value = if x < f64::INFINITY { value } else { x };
    if x == 0. { f64::NEG_INFINITY } else { value }
}

/// Arguments from which on Stirling's series is used as it is.
const LARGE: f64 = 8.;

/// The argument of the series, and `x (x + 7)` where the argument was moved: the eight factors are `t`, `t + 6`, `t + 10` and `t + 12`, two at a time.
#[inline(always)]
fn moved(x: f64) -> (f64, f64) {
    (if x < LARGE { x + LARGE } else { x }, x.mul_add(x, 7. * x))
}

/// `log Γ(x)`.
#[inline(always)]
pub(super) fn lgamma(x: f64) -> f64 {
    let (y, t) = moved(x);
    let factors = if x < LARGE { (t * (t + 6.)) * ((t + 10.) * (t + 12.)) } else { 1. };
    let inverse = 1. / y;
    let series = inverse
        * polynomial(
            inverse * inverse,
            [
                0.179_644_372_368_830_57,
                -0.029_550_653_594_771_242,
                0.006_410_256_410_256_41,
                -0.001_917_526_917_526_917_6,
                0.000_841_750_841_750_841_8,
                -0.000_595_238_095_238_095_3,
                0.000_793_650_793_650_793_7,
                -0.002_777_777_777_777_778,
                0.083_333_333_333_333_33,
            ],
        );
    let stirling = (y - 0.5).mul_add(ln(y), -y) + (series + 0.918_938_533_204_672_8);
    let value = stirling - if x < LARGE { ln(factors) } else { 0. };
    if x < f64::INFINITY { value } else { x }
}

/// `ψ(x) = d log Γ(x) / dx`.
#[inline(always)]
pub(super) fn digamma(x: f64) -> f64 {
    let (y, t) = moved(x);
    // (2x + 7) Σ 1 / (t + c)
    let product = t * polynomial(t, [1., 28., 252., 720.]);
    let moved = 2f64.mul_add(x, 7.) * polynomial(t, [4., 84., 504., 720.]) / product;
    let inverse = 1. / y;
    let square = inverse * inverse;
    let series = square
        * polynomial(
            square,
            [
                3.053_954_330_270_12,
                -0.443_259_803_921_568_6,
                0.083_333_333_333_333_33,
                -0.021_092_796_092_796_094,
                0.007_575_757_575_757_576,
                -0.004_166_666_666_666_667,
                0.003_968_253_968_253_968,
                -0.008_333_333_333_333_333,
                0.083_333_333_333_333_33,
            ],
        );
    let value = (-0.5f64).mul_add(inverse, ln(y)) - series;
    if x < LARGE { value - moved } else { value }
}

/// `Σ 1 / (x + i)^k` for `k` of 2 and 3 over the eight factors, two at a time: with `s = 2x + 7` and `u = t + c`, `(s² − 2u) / u²` and `s (s² − 3u) / u³`.
#[inline(always)]
fn sums_of_powers(x: f64, t: f64) -> (f64, f64) {
    let s = 2f64.mul_add(x, 7.);
    let (mut squares, mut cubes) = (0., 0.);
    for c in [0., 6., 10., 12.] {
        let r = 1. / (t + c);
        let s_r = s * r;
        squares += s_r.mul_add(s_r, -2. * r);
        cubes += s_r * s_r.mul_add(s_r, -3. * r);
    }
    (squares, cubes)
}

/// `ψ₁(x) = ψ'(x)`.
#[inline(always)]
pub(super) fn trigamma(x: f64) -> f64 {
    let (y, t) = moved(x);
    let moved = sums_of_powers(x, t).0;
    let inverse = 1. / y;
    let square = inverse * inverse;
    let series = polynomial(
        square,
        [
            54.971_177_944_862_156,
            -7.092_156_862_745_098,
            1.166_666_666_666_666_7,
            -0.253_113_553_113_553_1,
            0.075_757_575_757_575_76,
            -0.033_333_333_333_333_33,
            0.023_809_523_809_523_808,
            -0.033_333_333_333_333_33,
            0.166_666_666_666_666_66,
        ],
    );
    let value = (inverse * square).mul_add(series, 0.5f64.mul_add(square, inverse));
    if x < LARGE { value + moved } else { value }
}

/// `ψ₂(x) = ψ''(x)`.
#[inline(always)]
pub(super) fn tetragamma(x: f64) -> f64 {
    let (y, t) = moved(x);
    let moved = 2. * sums_of_powers(x, t).1;
    let inverse = 1. / y;
    let square = inverse * inverse;
    let series = polynomial(
        square,
        [
            1_044.452_380_952_381,
            -120.566_666_666_666_66,
            17.5,
            -3.290_476_190_476_190_6,
            0.833_333_333_333_333_3,
            -0.3,
            0.166_666_666_666_666_66,
            -0.166_666_666_666_666_66,
            0.5,
        ],
    );
    let value = -(square * square).mul_add(series, square.mul_add(inverse, square));
    if x < LARGE { value - moved } else { value }
}

/// `log |Γ|`, `ψ`, `ψ₁` and `ψ₂` of an argument that is not positive.
pub(crate) fn beyond(x: f64) -> [f64; 4] {
    if x == 0. {
        // Poles: from which side tells the sign of the zero.
        return [
            f64::INFINITY,
            if x.is_sign_negative() { f64::INFINITY } else { f64::NEG_INFINITY },
            f64::INFINITY,
            f64::NAN,
        ];
    }
    if x == x.floor() {
        return [f64::INFINITY, f64::NAN, f64::INFINITY, f64::NAN];
    }
    // π x, less a multiple of π, so that large arguments keep their digits.
    let angle = PI * (x - x.floor());
    let (sine, cosine) = angle.sin_cos();
    let (cotangent, inverse) = (cosine / sine, 1. / (sine * sine));
    let y = 1. - x;
    [
        (PI / sine.abs()).ln() - lgamma(y),
        digamma(y) - PI * cotangent,
        PI * PI * inverse - trigamma(y),
        tetragamma(y) - 2. * PI * PI * PI * inverse * cotangent,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, expected: f64, tolerance: f64) {
        assert!((found - expected).abs() <= tolerance * expected.abs().max(1.), "{found}, expected {expected}");
    }

    fn all(x: f64) -> [f64; 4] {
        if x > 0. { [lgamma(x), digamma(x), trigamma(x), tetragamma(x)] } else { beyond(x) }
    }

    #[test]
    fn identities_hold() {
        const EULER: f64 = 0.577_215_664_901_532_9;
        const APERY: f64 = 1.202_056_903_159_594_2;
        let [log, psi, first, second] = all(1.);
        near(log, 0., 1e-14);
        near(psi, -EULER, 1e-14);
        near(first, PI * PI / 6., 1e-14);
        near(second, -2. * APERY, 1e-14);
        let [log, psi, first, _] = all(0.5);
        near(log, 0.5 * PI.ln(), 1e-14);
        near(psi, -EULER - 2. * LN_2, 1e-14);
        near(first, PI * PI / 2., 1e-14);
        let mut factorial = 1f64;
        for n in 1..=20 {
            near(lgamma(f64::from(n)), factorial.ln(), 4e-15);
            factorial *= f64::from(n);
        }
        let steps = if cfg!(miri) { 20 } else { 4000 };
        for at in 0..steps {
            // from 1e-3 to 1e3
            let x = 10f64.powf(6. * f64::from(at) / f64::from(steps) - 3.);
            let (here, next) = (all(x), all(x + 1.));
            near(next[0], here[0] + x.ln(), 1e-13);
            let relative =
                |found: f64, expected: f64, scale: f64| assert!((found - expected).abs() < 1e-13 * scale, "{x}");
            relative(next[1], here[1] + 1. / x, here[1].abs().max(1.));
            relative(next[2], here[2] - 1. / (x * x), here[2]);
            relative(next[3], here[3] + 2. / (x * x * x), here[3].abs());
            // Legendre's duplication
            near(lgamma(2. * x), lgamma(x) + lgamma(x + 0.5) + (2. * x - 1.) * LN_2 - 0.5 * PI.ln(), 2e-13);
            let sum = digamma(x) + digamma(x + 0.5) + 2. * LN_2;
            relative(2. * digamma(2. * x), sum, sum.abs().max(1.));
        }
        for x in [-0.5, -1.3, -7.7, -123.4] {
            let (here, next) = (all(x), all(x + 1.));
            near(next[0], here[0] + x.abs().ln(), 1e-12);
            near(next[1], here[1] + 1. / x, 1e-12);
            near(next[2], here[2] - 1. / (x * x), 1e-12);
            near(next[3], here[3] + 2. / (x * x * x), 1e-11);
        }
    }

    #[test]
    fn limits_are_those_of_the_functions() {
        const INF: f64 = f64::INFINITY;
        assert_eq!([lgamma(INF), digamma(INF), trigamma(INF)], [INF, INF, 0.]);
        assert_eq!(lgamma(0.), INF);
        assert_eq!(all(0.)[..3], [INF, -INF, INF]);
        assert_eq!(beyond(-0.)[1], INF);
        assert_eq!([beyond(-3.)[0], beyond(-INF)[0]], [INF; 2]);
        assert!(beyond(-3.)[1].is_nan() && beyond(-INF)[1].is_nan());
        assert!([lgamma, digamma, trigamma, tetragamma].iter().all(|f| f(f64::NAN).is_nan()));
        for tiny in [1e-300, 5e-324] {
            near(lgamma(tiny), -tiny.ln(), 1e-14);
        }
        near(digamma(1e-300), -1e300, 1e-14);
        near(lgamma(1e300), 1e300 * (1e300f64.ln() - 1.), 1e-14);
        near(digamma(1e300), 1e300f64.ln(), 1e-14);
    }
}
