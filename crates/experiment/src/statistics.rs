//! Summaries of a handful of numbers. Sums run in the given order, so the same numbers give the same bits.

/// Arithmetic mean `Σx / n`; NaN when there are no values.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Sample standard deviation `sqrt(Σ(x - mean)² / (n - 1))`; `None` for fewer than two values.
pub fn sample_standard_deviation(values: &[f64]) -> Option<f64> {
    if values.len() < 2 {
        return None;
    }
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    Some((squares / (values.len() - 1) as f64).sqrt())
}

/// Standard error of the mean `s / sqrt(n)` with the sample standard deviation `s`; `None` for fewer than two values.
pub fn standard_error(values: &[f64]) -> Option<f64> {
    sample_standard_deviation(values).map(|deviation| deviation / (values.len() as f64).sqrt())
}

/// Half width of the two-sided 95 % confidence interval of the mean under Student's t distribution with n - 1 degrees
/// of freedom; `None` for fewer than two values.
pub fn confidence_95(values: &[f64]) -> Option<f64> {
    let error = standard_error(values)?;
    Some(error * student_t_975(values.len() - 1))
}

/// Median, the mean of the two middle values for an even count; NaN when there are no values or one is NaN.
pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// Quantile with linear interpolation between order statistics (the rule of Hyndman and Fan, 1996, type 7).
///
/// `level` is clamped to `[0, 1]`. Between a number and an infinite value it is that infinite value, between -∞ and ∞ the nearer one. NaN when there are no values
/// or one is NaN.
pub fn quantile(values: &[f64], level: f64) -> f64 {
    if values.is_empty() || values.iter().any(|value| value.is_nan()) {
        return f64::NAN;
    }
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let position = level.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let (below, share) = (position.floor() as usize, position.fract());
    let (low, high) = (sorted[below], sorted[(below + 1).min(sorted.len() - 1)]);
    match (low.is_infinite(), high.is_infinite()) {
        _ if share == 0.0 => low,
        (false, false) => low * (1.0 - share) + high * share,
        (true, true) if share < 0.5 => low,
        (true, false) => low,
        _ => high,
    }
}

/// 97.5 % quantile of Student's t: tabulated to 30 degrees of freedom, beyond that the first terms of the
/// Cornish-Fisher expansion, which is right to 4 digits there.
fn student_t_975(degrees_of_freedom: usize) -> f64 {
    const TABLE: [f64; 30] = [
        12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281, 2.2010, 2.1788, 2.1604,
        2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860, 2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518,
        2.0484, 2.0452, 2.0423,
    ];
    if let Some(value) = degrees_of_freedom.checked_sub(1).and_then(|index| TABLE.get(index)) {
        return *value;
    }
    let normal = 1.959_963_984_540_054_f64;
    let n = degrees_of_freedom as f64;
    let first = (normal.powi(3) + normal) / (4.0 * n);
    let second = (5.0 * normal.powi(5) + 16.0 * normal.powi(3) + 3.0 * normal) / (96.0 * n * n);
    normal + first + second
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_of_small_samples_match_hand_computation() {
        let values = [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0];
        assert_eq!(mean(&values), 5.0);
        // Σ(x - 5)² = 32, s = sqrt(32 / 7); exact up to rounding.
        assert!((sample_standard_deviation(&values).unwrap() - (32.0_f64 / 7.0).sqrt()).abs() < 1e-15);
        assert!((standard_error(&values).unwrap() - (4.0_f64 / 7.0).sqrt()).abs() < 1e-15);
        assert_eq!(median(&values), 4.5);
        assert_eq!(quantile(&values, 0.0), 2.0);
        assert_eq!(quantile(&values, 1.0), 9.0);
        let infinite = [f64::NEG_INFINITY, f64::NEG_INFINITY, 1.0, f64::INFINITY, f64::INFINITY];
        let levels = [0.1, 0.25, 0.3, 0.5, 0.6, 0.9];
        let [low, high] = [f64::NEG_INFINITY, f64::INFINITY];
        assert_eq!(levels.map(|level| quantile(&infinite, level)), [low, low, low, 1.0, high, high]);
        assert_eq!([0.4, 0.6].map(|level| quantile(&[low, high], level)), [low, high]);
    }

    #[test]
    fn one_value_has_no_spread_and_none_has_no_mean() {
        assert_eq!(sample_standard_deviation(&[1.0]), None);
        assert_eq!(confidence_95(&[1.0]), None);
        assert!(mean(&[]).is_nan());
        assert!(median(&[]).is_nan());
        assert!(median(&[1.0, f64::NAN]).is_nan());
    }

    #[test]
    fn student_quantile_is_continuous_where_the_table_ends() {
        // Known value for 40 degrees of freedom: 2.0211.
        assert!((student_t_975(40) - 2.0211).abs() < 1e-4);
        assert!((student_t_975(31) - 2.0395).abs() < 1e-4);
        assert!((student_t_975(1_000_000) - 1.95997).abs() < 1e-5);
    }
}
