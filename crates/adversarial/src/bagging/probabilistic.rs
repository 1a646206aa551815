//! The probabilistic certificate of bagging (Jia, Cao, Gong: Intrinsic Certified Robustness of Bagging against Data Poisoning Attacks, AAAI 2021), the baseline for vanilla bagging.

use super::problem::Reader;
use super::votes::Votes;
use crate::error::check_positive;
use crate::{Error, Result};

/// How vanilla bagging draws: sub-trainsets of `size` (k) from `num_training` (n) samples, with replacement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VanillaBagging {
    /// The number of training samples, n.
    pub num_training: usize,
    /// Draws of each sub-trainset, k.
    pub size: usize,
}

/// The largest number of training samples that may be modified, inserted or deleted without changing each prediction; `None` where not even 0 is certified.
///
/// With probability at least `1 - alpha` over the draws of the sub-trainsets all radii hold together. A prediction with n₁ of G votes has
///
/// ```text
/// p = Beta(alpha / N; n₁, G - n₁ + 1)          one-sided Clopper-Pearson
/// r is certified iff  2 p - 1 ≥ max_{n ≤ n' ≤ n + r} (n'/n)^k - 2 ((n' - r)/n)^k + 1
/// ```
///
/// (a smaller n' is never the maximum).
///
/// # Errors
/// [`Error::Empty`] for 0 samples; [`Error::Value`] for an `alpha` outside (0, 1).
pub fn probabilistic_radii(votes: &Votes, bagging: VanillaBagging, alpha: f64) -> Result<Vec<Option<usize>>> {
    const OPERATION: &str = "probabilistic_radii";
    check_positive(
        OPERATION,
        &[("training samples", bagging.num_training), ("samples of a sub-trainset", bagging.size)],
    )?;
    if !(alpha > 0. && alpha < 1.) {
        return Err(Error::value(OPERATION, "alpha", alpha, "between 0 and 1"));
    }
    let total = votes.num_sub_classifiers();
    // the radius depends on the count alone
    let alpha = alpha / votes.num_samples() as f64;
    let radius = |count: usize| {
        let margin = 2. * lower_confidence(count, total, alpha) - 1.;
        let is_certified = |budget: usize| margin >= needed_margin(bagging, budget);
        if !is_certified(0) {
            return None;
        }
        // the needed margin rises with the budget
        let (mut certified, mut refuted) = (0, bagging.num_training.saturating_add(1));
        while refuted - certified > 1 {
            let middle = certified.midpoint(refuted);
            if is_certified(middle) { certified = middle } else { refuted = middle }
        }
        Some(certified)
    };
    let by_count: Vec<Option<usize>> = (0..=total).map(radius).collect();
    let mut reader = Reader::new(votes.num_classes(), total);
    let mut radii = Vec::with_capacity(votes.num_samples());
    votes.visit(|_, votes| {
        reader.read(votes);
        let count = votes.iter().filter(|&&vote| usize::from(vote) == reader.prediction).count();
        radii.push(by_count[count]);
    });
    Ok(radii)
}

fn needed_margin(bagging: VanillaBagging, budget: usize) -> f64 {
    let (n, k) = (bagging.num_training as f64, bagging.size as f64);
    let value = |extra: f64| {
        let kept = ((n + extra - budget as f64) / n).max(0.);
        ((n + extra) / n).powf(k) - 2. * kept.powf(k) + 1.
    };
    // convex, then concave at most once in n': the ends and the stationary point hold the maximum
    let ratio = 2f64.powf(1. / (k - 1.).max(1e-9));
    // k (n'/n)^(k-1) = 2 k ((n'-r)/n)^(k-1)  at  n' = r q / (q - 1) with q = 2^(1/(k-1))
    let stationary = budget as f64 * ratio / (ratio - 1.) - n;
    let around = [stationary.floor(), stationary.ceil()].into_iter().filter(|&e| e >= 0. && e <= budget as f64);
    [0., budget as f64].into_iter().chain(around).map(value).fold(f64::NEG_INFINITY, f64::max)
}

/// The lower end of the one-sided Clopper-Pearson interval of `count` successes in `total`.
fn lower_confidence(count: usize, total: usize, alpha: f64) -> f64 {
    if count == 0 {
        return 0.;
    }
    let (a, b) = (count as f64, (total - count + 1) as f64);
    let (mut low, mut high) = (0., 1.);
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if regularized_beta(middle, a, b) < alpha { low = middle } else { high = middle }
    }
    low
}

/// I_x(a, b), by its continued fraction (modified Lentz).
fn regularized_beta(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0. {
        return 0.;
    }
    if x >= 1. {
        return 1.;
    }
    if x > (a + 1.) / (a + b + 2.) {
        return 1. - regularized_beta(1. - x, b, a);
    }
    let front = libm::lgamma(a + b) - libm::lgamma(a) - libm::lgamma(b) + a * x.ln() + b * (1. - x).ln();
    let tiny = 1e-300;
    let keep = |value: f64| if value.abs() < tiny { tiny } else { value };
    let (mut c, mut d) = (1., 1. / keep(1. - (a + b) * x / (a + 1.)));
    let mut fraction = d;
    for m in 1..500 {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2. * m - 1.) * (a + 2. * m));
        d = 1. / keep(1. + even * d);
        c = keep(1. + even / c);
        fraction *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2. * m) * (a + 2. * m + 1.));
        d = 1. / keep(1. + odd * d);
        c = keep(1. + odd / c);
        let change = d * c;
        fraction *= change;
        if (change - 1.).abs() < 1e-15 {
            break;
        }
    }
    front.exp() * fraction / a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_that_of_the_binomial_distribution() {
        // P(X >= 20 | G = 20, p) = p^20
        let p = lower_confidence(20, 20, 1e-3);
        assert!((p - 1e-3f64.powf(1. / 20.)).abs() < 1e-12, "{p}");
        // P(X >= 1 | G = 10, p) = 1 - (1 - p)^10
        let p = lower_confidence(1, 10, 0.05);
        assert!((1. - (1. - p).powi(10) - 0.05).abs() < 1e-12, "{p}");
        // P(X >= 2 | 3, 1/2) = 1/2
        assert!((lower_confidence(2, 3, 0.5) - 0.5).abs() < 1e-12);
        assert_eq!(lower_confidence(0, 3, 0.5), 0.);
    }

    #[test]
    fn the_maximum_over_sizes_is_found() {
        for (n, k) in [(100, 1), (100, 2), (100, 5), (100, 80), (35, 20)] {
            let bagging = VanillaBagging { num_training: n, size: k };
            for budget in [0, 1, 2, 7, 20] {
                let value = |other: usize| {
                    let (n, k) = (n as f64, k as f64);
                    let kept = (other.max(n as usize) - budget.min(other.max(n as usize))) as f64;
                    (other as f64 / n).powf(k) - 2. * (kept / n).powf(k) + 1.
                };
                let exact = (n - budget.min(n)..=n + budget).map(value).fold(f64::NEG_INFINITY, f64::max);
                let found = needed_margin(bagging, budget);
                assert!((found - exact).abs() <= 1e-9 * exact.abs().max(1.), "{n} {k} {budget}: {found} {exact}");
            }
        }
    }

    #[test]
    fn radii_agree_with_the_test_of_one_budget() {
        let rows: Vec<Vec<u16>> = (0..200).map(|g: u16| vec![0, u16::from(g.is_multiple_of(4)), g % 2]).collect();
        let votes = Votes::from_rows(2, &rows).unwrap();
        let bagging = VanillaBagging { num_training: 1000, size: 10 };
        let radii = probabilistic_radii(&votes, bagging, 0.001).unwrap();
        assert!(radii[0] > radii[1] && radii[1].is_some() && radii[2].is_none(), "{radii:?}");
        for (radius, count) in radii.into_iter().zip([200, 150, 100]) {
            let margin = 2. * lower_confidence(count, 200, 0.001 / 3.) - 1.;
            for budget in 0..60 {
                let is_certified = margin >= needed_margin(bagging, budget);
                assert_eq!(radius.is_some_and(|radius| radius >= budget), is_certified, "{count} {budget}");
            }
        }
        assert!(probabilistic_radii(&votes, bagging, 0.).is_err());
        assert!(probabilistic_radii(&votes, VanillaBagging { num_training: 0, size: 1 }, 0.1).is_err());
    }
}
