//! Special functions for thresholds.

use libm::lgamma as ln_gamma;

/// The regularised upper incomplete gamma function `Q(a, x)`: by its series below `a + 1`, by its continued fraction above.
fn upper_gamma(a: f64, x: f64) -> f64 {
    if x <= 0. {
        return 1.;
    }
    let front = (a * x.ln() - x - ln_gamma(a)).exp();
    if x < a + 1. {
        let (mut term, mut sum, mut n) = (1. / a, 1. / a, a);
        while term > sum * 1e-17 {
            n += 1.;
            term *= x / n;
            sum += term;
        }
        return 1. - front * sum;
    }
    // Lentz's method for 1 / (x + 1 - a - 1 (1 - a) / (x + 3 - a - …))
    const TINY: f64 = 1e-300;
    let mut b = x + 1. - a;
    let (mut c, mut d) = (1. / TINY, 1. / b);
    let mut h = d;
    for i in 1..10_000 {
        let i = f64::from(i);
        let an = -i * (i - a);
        b += 2.;
        d = 1. / nonzero(an * d + b, TINY);
        c = nonzero(b + an / c, TINY);
        let factor = c * d;
        h *= factor;
        if (factor - 1.).abs() < 1e-16 {
            break;
        }
    }
    front * h
}

fn nonzero(value: f64, tiny: f64) -> f64 {
    if value.abs() < tiny { tiny } else { value }
}

/// The `x` with `Q(a, x) = upper`, for `a > 0` and `upper` in (0, 1), by bisection on `ln x` to full precision.
pub(crate) fn inverse_upper_gamma(a: f64, upper: f64) -> f64 {
    let (mut low, mut high) = (-700f64, (a + 1.).ln().max(0.) + 1.);
    while upper_gamma(a, high.exp()) > upper && high < 700. {
        high += 1.;
    }
    for _ in 0..200 {
        let middle = low + (high - low) / 2.;
        if middle <= low || middle >= high {
            break;
        }
        if upper_gamma(a, middle.exp()) > upper { low = middle } else { high = middle }
    }
    (low + (high - low) / 2.).exp()
}

/// The standard normal quantile of `p` in (0, 1), from `Q(1/2, z²/2) = 2 (1 − Φ(|z|))`.
pub(crate) fn normal_quantile(p: f64) -> f64 {
    let tail = p.min(1. - p);
    let z = if tail >= 0.5 { 0. } else { (2. * inverse_upper_gamma(0.5, 2. * tail)).sqrt() };
    if p < 0.5 { -z } else { z }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_equal_published_tables() {
        // normal quantiles of Abramowitz and Stegun's table 26
        assert!((normal_quantile(0.975) - 1.959_963_984_540_054).abs() < 1e-12);
        assert!((normal_quantile(0.0005) + 3.290_526_731_491_894_5).abs() < 1e-12);
        // Q(1, x) = e^-x
        for upper in [0.9, 0.5, 1e-3, 1e-9] {
            assert!((inverse_upper_gamma(1., upper) + f64::ln(upper)).abs() < 1e-12);
        }
    }
}
