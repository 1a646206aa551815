//! The uncertainty of a statistic.

use crate::random::Rng;
use crate::{Error, Result};

/// A statistic and its confidence interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// The statistic of the values.
    pub estimate: f64,
    /// The lower end.
    pub lower: f64,
    /// The upper end.
    pub upper: f64,
}

/// The arithmetic mean; NaN if there are no values.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The percentile bootstrap (Efron 1979): the statistic is computed for `resamples` samples of `values`, drawn with replacement, and the interval spans the
/// central fraction `level` of the results.
///
/// # Errors
///
/// When there are no values or no resamples, `level` is not in `(0, 1)`, or a result is NaN.
///
/// ```
/// use core_tensor::{metrics, random::Rng};
/// let i = metrics::bootstrap_interval(&[1., 2., 3., 4.], metrics::mean, 1000, 0.95, &mut Rng::new(0))?;
/// assert!(i.lower < i.estimate && i.estimate < i.upper && i.estimate == 2.5);
/// # Ok::<(), core_tensor::Error>(())
/// ```
pub fn bootstrap_interval(
    values: &[f64],
    statistic: impl Fn(&[f64]) -> f64,
    resamples: usize,
    level: f64,
    rng: &mut Rng,
) -> Result<Interval> {
    const OPERATION: &str = "bootstrap_interval";
    for (what, count) in [("the number of values", values.len()), ("resamples", resamples)] {
        if count == 0 {
            return Err(Error::Value { operation: OPERATION, what, got: 0., expected: "at least 1" });
        }
    }
    if !(level > 0. && level < 1.) {
        return Err(Error::Value { operation: OPERATION, what: "level", got: level, expected: "in (0, 1)" });
    }
    let mut sample = vec![0.; values.len()];
    let mut results: Vec<f64> = (0..resamples)
        .map(|_| {
            sample.iter_mut().for_each(|slot| *slot = values[rng.below(values.len())]);
            statistic(&sample)
        })
        .collect();
    let estimate = statistic(values);
    if estimate.is_nan() || results.iter().any(|r| r.is_nan()) {
        return Err(Error::Value {
            operation: OPERATION,
            what: "the statistic",
            got: f64::NAN,
            expected: "a number for every sample",
        });
    }
    results.sort_by(f64::total_cmp);
    let tail = (1. - level) / 2.;
    Ok(Interval { estimate, lower: quantile(&results, tail), upper: quantile(&results, 1. - tail) })
}

/// The mean of values with Student's interval `mean ± t · s / √n` of the central fraction `level`, s with n − 1: for a few independent, about normal values, such as differences over seeds. A percentile bootstrap is too narrow for fewer than about 20.
///
/// # Errors
///
/// When there are fewer than two values, one is not finite, or `level` is not in `(0, 1)`.
///
/// ```
/// let i = core_tensor::metrics::student_interval(&[1., 2., 3.], 0.95)?;
/// // t of 2 degrees of freedom is 4.3027
/// assert!((i.upper - 2. - 4.3027 / 3f64.sqrt()).abs() < 1e-4 && i.estimate == 2.);
/// # Ok::<(), core_tensor::Error>(())
/// ```
pub fn student_interval(values: &[f64], level: f64) -> Result<Interval> {
    const OPERATION: &str = "student_interval";
    if values.len() < 2 {
        let (got, expected) = (values.len() as f64, "at least 2");
        return Err(Error::Value { operation: OPERATION, what: "the number of values", got, expected });
    }
    if let Some(&got) = values.iter().find(|value| !value.is_finite()) {
        return Err(Error::Value { operation: OPERATION, what: "a value", got, expected: "a finite number" });
    }
    if !(level > 0. && level < 1.) {
        return Err(Error::Value { operation: OPERATION, what: "level", got: level, expected: "in (0, 1)" });
    }
    let estimate = mean(values);
    let degrees = values.len() - 1;
    let variance = values.iter().map(|value| (value - estimate).powi(2)).sum::<f64>() / degrees as f64;
    let half = student_quantile(0.5 + level / 2., degrees) * (variance / values.len() as f64).sqrt();
    Ok(Interval { estimate, lower: estimate - half, upper: estimate + half })
}

/// The quantile of Student's distribution above a half, by bisection on its distribution function.
fn student_quantile(level: f64, degrees: usize) -> f64 {
    let (mut low, mut high) = (0., 2.);
    while student_distribution(high, degrees) < level && high < 1e300 {
        (low, high) = (high, high * high);
    }
    for _ in 0..100 {
        let middle = 0.5 * (low + high);
        if student_distribution(middle, degrees) < level {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// `P(T ≤ t)` for t ≥ 0 and whole degrees of freedom, a finite sum of powers of `cos θ` with `θ = atan(t / √ν)` (Abramowitz and Stegun, 26.7.3 and 26.7.4).
fn student_distribution(t: f64, degrees: usize) -> f64 {
    let angle = (t / (degrees as f64).sqrt()).atan();
    let (sine, cosine) = angle.sin_cos();
    let is_odd = degrees % 2 == 1;
    let mut term = if is_odd { cosine } else { 1. };
    let (mut sum, mut power) = (if degrees == 1 { 0. } else { term }, if is_odd { 1 } else { 0 });
    while power + 2 < degrees {
        term *= (power + 1) as f64 / (power + 2) as f64 * cosine * cosine;
        sum += term;
        power += 2;
    }
    let central = if is_odd { std::f64::consts::FRAC_2_PI * (angle + sine * sum) } else { sine * sum };
    0.5 * (1. + central)
}

/// The quantile of values in ascending order, interpolated linearly between neighbours (type 7 of Hyndman and Fan 1996).
///
/// Between a number and an infinite value it is that infinite value, between -∞ and ∞ the nearer one. `level` is clamped to `[0, 1]`. NaN if there are no values.
///
/// ```
/// use core_tensor::metrics::quantile;
/// assert_eq!(quantile(&[1., 2., 4.], 0.75), 3.);
/// assert_eq!(quantile(&[1., 2., f64::INFINITY], 0.75), f64::INFINITY);
/// ```
pub fn quantile(sorted: &[f64], level: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let position = level.clamp(0., 1.) * last as f64;
    let (low, high) = (sorted[position.floor() as usize], sorted[position.ceil() as usize]);
    let fraction = position.fract();
    match (low.is_finite(), high.is_finite()) {
        _ if low == high || fraction == 0. => low,
        (true, true) => {
            // The difference of large numbers can overflow.
            let value = low + (high - low) * fraction;
            if value.is_finite() { value } else { low * (1. - fraction) + high * fraction }
        }
        (true, false) => high,
        (false, true) => low,
        (false, false) => {
            if fraction < 0.5 {
                low
            } else {
                high
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_student_are_those_of_tables() {
        for (degrees, expected) in [(1, 12.7062), (2, 4.3027), (5, 2.5706), (11, 2.2010), (30, 2.0423), (1000, 1.9623)]
        {
            let found = student_quantile(0.975, degrees);
            assert!((found - expected).abs() < 1e-4, "{degrees}: {found}");
        }
        assert!((student_quantile(0.95, 5) - 2.0150).abs() < 1e-4);
        assert!(student_interval(&[1.], 0.95).is_err() && student_interval(&[1., f64::NAN], 0.95).is_err());
        assert!(student_interval(&[1., 2.], 1.).is_err());
    }

    #[test]
    fn the_interval_of_a_mean_has_the_theoretical_width() {
        // 400 values of standard deviation 1: the 95 % interval of the mean is ±1.96 / 20 = ±0.098.
        let mut rng = Rng::new(5);
        let values: Vec<f64> = (0..400).map(|i| if i % 2 == 0 { 1. } else { -1. }).collect();
        let i = bootstrap_interval(&values, mean, 4000, 0.95, &mut rng).unwrap();
        assert!((i.upper - i.lower - 0.196).abs() < 0.02, "{i:?}");
    }

    #[test]
    fn infinite_values_give_infinite_ends() {
        let mut rng = Rng::new(3);
        let i = bootstrap_interval(&[1., f64::INFINITY], mean, 200, 0.95, &mut rng).unwrap();
        assert_eq!((i.lower, i.estimate, i.upper), (1., f64::INFINITY, f64::INFINITY));
        assert_eq!(quantile(&[f64::NEG_INFINITY, 0.], 0.25), f64::NEG_INFINITY);
        assert_eq!(quantile(&[1., f64::INFINITY], 0.25), f64::INFINITY);
        assert_eq!(
            [0.4, 0.6].map(|level| quantile(&[f64::NEG_INFINITY, f64::INFINITY], level)),
            [f64::NEG_INFINITY, f64::INFINITY]
        );
        assert_eq!(quantile(&[f64::INFINITY; 3], 0.4), f64::INFINITY);
        assert_eq!(quantile(&[f64::MIN, f64::MAX], 0.5), 0.);
        assert!(quantile(&[], 0.5).is_nan());
    }

    #[test]
    fn hostile_input_is_an_error() {
        let mut rng = Rng::new(0);
        assert!(bootstrap_interval(&[], mean, 10, 0.9, &mut rng).is_err());
        assert!(bootstrap_interval(&[1.], mean, 0, 0.9, &mut rng).is_err());
        assert!(bootstrap_interval(&[1.], mean, 10, 1., &mut rng).is_err());
        assert!(bootstrap_interval(&[f64::NAN], mean, 10, 0.9, &mut rng).is_err());
    }
}
