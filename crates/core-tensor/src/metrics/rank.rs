//! Correlations.

use super::check_lengths;
use crate::{Error, Result};
use std::cmp::Ordering;

/// Kendall's τ_b: `(concordant − discordant) / √((n₀ − ties_x)(n₀ − ties_y))` over the `n₀ = n(n−1)/2` pairs, in
/// `O(n log n)` (Knight 1966).
///
/// # Errors
///
/// When the lists differ in length, have fewer than two values or contain a NaN, or one of them is constant (then τ_b is undefined).
///
/// ```
/// let tau = core_tensor::metrics::kendall_tau(&[1., 2., 3., 4.], &[1., 3., 2., 4.])?;
/// assert!((tau - 4. / 6.).abs() < 1e-12);
/// # Ok::<(), core_tensor::Error>(())
/// ```
pub fn kendall_tau(x: &[f64], y: &[f64]) -> Result<f64> {
    check("kendall_tau", x, y)?;
    let mut positions: Vec<usize> = (0..x.len()).collect();
    positions.sort_by(|&a, &b| order(x[a], x[b]).then(order(y[a], y[b])));
    let sorted: Vec<(f64, f64)> = positions.into_iter().map(|i| (x[i], y[i])).collect();
    let ties_x = tied_pairs(sorted.iter().map(|pair| pair.0));
    let ties_both = tied_pairs(sorted.iter().copied());
    let mut ys: Vec<f64> = sorted.iter().map(|pair| pair.1).collect();
    let discordant = count_inversions(&mut ys);
    // counting inversions has sorted the values
    let ties_y = tied_pairs(ys.iter().copied());
    let pairs = x.len() as u64 * (x.len() as u64 - 1) / 2;
    let difference = pairs as f64 - (ties_x + ties_y) as f64 + ties_both as f64 - 2. * discordant as f64;
    // the product under the root can exceed 64 bits
    // rounding may pass 1 by a bit
    Ok((difference / ((pairs - ties_x) as f64).sqrt() / ((pairs - ties_y) as f64).sqrt()).clamp(-1., 1.))
}

/// Spearman's ρ: Pearson's correlation of the ranks. Ties have the mean of their ranks.
///
/// # Errors
///
/// As for [`kendall_tau`].
pub fn spearman(x: &[f64], y: &[f64]) -> Result<f64> {
    check("spearman", x, y)?;
    pearson(&ranks(x), &ranks(y))
}

/// Pearson's correlation `cov(x, y) / √(var(x) var(y))`, for numbers of any size.
///
/// # Errors
///
/// As for [`kendall_tau`], and when a value is infinite.
pub fn pearson(x: &[f64], y: &[f64]) -> Result<f64> {
    check("pearson", x, y)?;
    for (what, values) in [("x", x), ("y", y)] {
        if let Some(&got) = values.iter().find(|v| v.is_infinite()) {
            return Err(Error::Value { operation: "pearson", what, got, expected: "finite numbers" });
        }
    }
    let (x, y) = (deviations(x), deviations(y));
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let (xx, yy) = (product(&x, &x), product(&y, &y));
    // One root is exact for more data than two, but the product can leave the range of f64.
    let scale = if (1e-200..1e200).contains(&(xx * yy)) { (xx * yy).sqrt() } else { xx.sqrt() * yy.sqrt() };
    Ok((product(&x, &y) / scale).clamp(-1., 1.))
}

/// Deviations from the mean, times a power of two where their squares would leave the range of f64.
fn deviations(values: &[f64]) -> Vec<f64> {
    let from_mean = |values: &[f64]| {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let deviations: Vec<f64> = values.iter().map(|v| v - mean).collect();
        let largest = deviations.iter().fold(0f64, |m, d| m.max(d.abs()));
        (deviations, largest)
    };
    let (deviations, largest) = from_mean(values);
    if (1e-100..1e100).contains(&largest) {
        return deviations;
    }
    // Both factors are exact. The second half matters for denormal numbers, whose scale has no reciprocal.
    let size = values.iter().fold(0f64, |m, v| m.max(v.abs()));
    let exponent = -size.log2().floor() as i32;
    let factors = [2f64.powi(exponent / 2), 2f64.powi(exponent - exponent / 2)];
    let scaled: Vec<f64> = values.iter().map(|v| v * factors[0] * factors[1]).collect();
    from_mean(&scaled).0
}

fn check(operation: &'static str, x: &[f64], y: &[f64]) -> Result<()> {
    check_lengths(operation, "y", y.len(), x.len())?;
    for (what, values) in [("x", x), ("y", y)] {
        if values.iter().any(|v| v.is_nan()) {
            return Err(Error::Value { operation, what, got: f64::NAN, expected: "numbers" });
        }
        if values.iter().all(|&v| v == values[0]) {
            return Err(Error::Value { operation, what, got: values[0], expected: "at least two different values" });
        }
    }
    Ok(())
}

/// The order of numbers that are not NaN; 0 and −0 are equal.
fn order(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or(Ordering::Equal)
}

/// The number of pairs of equal values in a sorted sequence.
fn tied_pairs<V: PartialEq>(sorted: impl Iterator<Item = V>) -> u64 {
    let (mut pairs, mut run) = (0, 0);
    let mut previous: Option<V> = None;
    for value in sorted {
        run = if previous.as_ref() == Some(&value) { run + 1 } else { 0 };
        pairs += run;
        previous = Some(value);
    }
    pairs
}

/// The number of pairs out of order, by a merge sort that leaves the values sorted.
fn count_inversions(values: &mut Vec<f64>) -> u64 {
    let n = values.len();
    let (mut inversions, mut width) = (0, 1);
    let mut merged = vec![0.; n];
    while width < n {
        for start in (0..n).step_by(2 * width) {
            let (middle, end) = ((start + width).min(n), (start + 2 * width).min(n));
            let (mut left, mut right) = (start, middle);
            for slot in &mut merged[start..end] {
                let takes_right = left >= middle || (right < end && values[right] < values[left]);
                if takes_right {
                    inversions += (middle - left) as u64;
                    *slot = values[right];
                    right += 1;
                } else {
                    *slot = values[left];
                    left += 1;
                }
            }
        }
        std::mem::swap(values, &mut merged);
        width *= 2;
    }
    inversions
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let mut positions: Vec<usize> = (0..values.len()).collect();
    positions.sort_by(|&a, &b| order(values[a], values[b]));
    let mut ranks = vec![0.; values.len()];
    let mut start = 0;
    while start < positions.len() {
        let same = positions[start..].iter().take_while(|&&i| values[i] == values[positions[start]]).count();
        let shared = start as f64 + (same as f64 - 1.) / 2.;
        positions[start..start + same].iter().for_each(|&i| ranks[i] = shared);
        start += same;
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, over all pairs.
    fn tau_of_all_pairs(x: &[f64], y: &[f64]) -> f64 {
        let (mut difference, mut untied_x, mut untied_y) = (0., 0., 0.);
        for i in 0..x.len() {
            for j in 0..i {
                let sign = |d: f64| if d == 0. { 0. } else { d.signum() };
                let (a, b) = (sign(x[i] - x[j]), sign(y[i] - y[j]));
                difference += a * b;
                untied_x += a.abs();
                untied_y += b.abs();
            }
        }
        difference / (untied_x * untied_y).sqrt()
    }

    proptest! {
        #[test]
        fn tau_equals_its_definition(pairs in prop::collection::vec((0..6_i32, 0..6_i32), 2..40)) {
            let (x, y): (Vec<f64>, Vec<f64>) = pairs.iter().map(|&(a, b)| (f64::from(a) - 2., f64::from(b))).unzip();
            match kendall_tau(&x, &y) {
                Ok(tau) => prop_assert!((tau - tau_of_all_pairs(&x, &y)).abs() < 1e-12),
                Err(_) => prop_assert!(x.iter().all(|v| *v == x[0]) || y.iter().all(|v| *v == y[0])),
            }
        }
    }

    #[test]
    fn spearman_shares_ranks_among_ties() {
        // SciPy 1.x: spearmanr([1, 2, 2, 3], [1, 3, 2, 4]).statistic
        let rho = spearman(&[1., 2., 2., 3.], &[1., 3., 2., 4.]).unwrap();
        assert!((rho - 0.948_683_298_050_513_8).abs() < 1e-12);
        assert!((spearman(&[1., 2., 3.], &[30., 20., 10.]).unwrap() + 1.).abs() < 1e-12);
    }

    #[test]
    fn undefined_correlations_are_errors() {
        for f in [kendall_tau, spearman, pearson] {
            assert!(f(&[], &[]).is_err());
            assert!(f(&[1.], &[1.]).is_err());
            assert!(f(&[1., 1.], &[1., 2.]).is_err());
            assert!(f(&[1., f64::NAN], &[1., 2.]).is_err());
            assert!(f(&[1., 2.], &[1.]).is_err());
        }
    }

    #[test]
    fn pearson_does_not_depend_on_the_scale() {
        let (x, y) = ([1., 2., 4., -1.], [2., 1., 5., 0.5]);
        let expected = pearson(&x, &y).unwrap();
        for (a, b) in [(1e200, 1.), (1e-200, 1e300), (1e307, 1e-310), (1e-160, 1e-160)] {
            let scaled = pearson(&x.map(|v| v * a), &y.map(|v| v * b)).unwrap();
            assert!((scaled - expected).abs() < 1e-10, "{a:e} {b:e}: {scaled} instead of {expected}");
        }
        assert_eq!(pearson(&[1e200, 2e200, 3e200], &[1., 2., 3.]).unwrap(), 1.);
        assert_eq!(pearson(&[f64::MAX, f64::MIN], &[1., 2.]).unwrap(), -1.);
        assert!(pearson(&[f64::INFINITY, 1.], &[1., 2.]).is_err());
    }

    #[test]
    fn both_zeros_are_equal() {
        assert_eq!(
            kendall_tau(&[0., -0., 1.], &[2., 1., 3.]).unwrap(),
            kendall_tau(&[0., 0., 1.], &[2., 1., 3.]).unwrap()
        );
    }
}
