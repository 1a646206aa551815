//! Noise that depends on what is labelled.

use super::{check_labels, check_rate};
use crate::neighbours::Points;
use crate::{Error, Result};
use core_tensor::kernel::Real;
use core_tensor::random::Rng;
use rand_distr::{Distribution, StandardNormal};

/// The settings of [`instance_dependent`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InstanceNoiseConfig {
    /// The mean of the examples' rates before they are cut off at 0 and 1; 0.4.
    pub rate: f64,
    /// The standard deviation of the rates; 0.1.
    pub deviation: f64,
}

impl Default for InstanceNoiseConfig {
    fn default() -> Self {
        Self { rate: 0.4, deviation: 0.1 }
    }
}

/// Rates from a normal distribution, drawn again where they are outside `[0, 1]`.
///
/// # Errors
///
/// A rate outside `[0, 1]`, a deviation that is negative or above 100: hardly a draw would be within `[0, 1]`.
pub fn truncated_rates(count: usize, config: &InstanceNoiseConfig, rng: &mut Rng) -> Result<Vec<f64>> {
    const OP: &str = "truncated_rates";
    check_rate(OP, "rate", config.rate)?;
    if !(0. ..=100.).contains(&config.deviation) {
        return Err(Error::config(OP, "deviation", config.deviation, "from 0 to 100"));
    }
    let mut draw = || loop {
        let normal: f64 = StandardNormal.sample(rng);
        let rate = config.rate + config.deviation * normal;
        if (0. ..=1.).contains(&rate) {
            break rate;
        }
    };
    Ok((0..count).map(|_| draw()).collect())
}

/// `[examples, classes]`: the probability of each label for an example with features `x`, class `y` and rate `q`: `q · softmax(xᵀ W_y)` over the other classes, and `1 − q` for `y` (Xia et al., "Part-dependent Label Noise",
/// NeurIPS 2020, as the authors of NPC use it). `projections` is `[classes, features, classes]`.
///
/// # Errors
///
/// Lengths that do not fit, labels outside the classes, rates outside `[0, 1]`, fewer than two classes.
pub fn instance_probabilities<T: Real>(
    x: Points<'_, T>,
    labels: &[u32],
    classes: usize,
    projections: &[f64],
    rates: &[f64],
) -> Result<Vec<f64>> {
    const OP: &str = "instance_probabilities";
    check_labels(OP, labels, classes)?;
    if classes < 2 {
        return Err(Error::config(OP, "classes", classes, "at least 2"));
    }
    let wanted = [
        ("labels", labels.len(), x.len()),
        ("rates", rates.len(), x.len()),
        ("projections", projections.len(), classes * x.width() * classes),
    ];
    if let Some((what, got, expected)) = wanted.into_iter().find(|(_, got, expected)| got != expected) {
        return Err(Error::length(OP, what, got, expected));
    }
    let mut out = vec![0.; x.len() * classes];
    for (at, row) in out.chunks_exact_mut(classes).enumerate() {
        check_rate(OP, "a rate", rates[at])?;
        let label = labels[at] as usize;
        let of_class = &projections[label * x.width() * classes..(label + 1) * x.width() * classes];
        for (value, weights) in x.row(at).iter().zip(of_class.chunks_exact(classes)) {
            row.iter_mut().zip(weights).for_each(|(score, weight)| *score += value.to_f64() * weight);
        }
        row[label] = f64::NEG_INFINITY;
        let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        row.iter_mut().for_each(|score| *score = (*score - largest).exp());
        let factor = rates[at] / row.iter().sum::<f64>();
        row.iter_mut().for_each(|p| *p *= factor);
        row[label] = 1. - rates[at];
    }
    Ok(out)
}

/// Labels drawn from [`instance_probabilities`] with rates from [`truncated_rates`] and one standard normal projection for each class.
///
/// # Errors
///
/// As for these.
pub fn instance_dependent<T: Real>(
    x: Points<'_, T>,
    labels: &[u32],
    classes: usize,
    config: &InstanceNoiseConfig,
    rng: &mut Rng,
) -> Result<Vec<u32>> {
    let rates = truncated_rates(labels.len(), config, &mut rng.fork("rates"))?;
    let mut of_projections = rng.fork("projections");
    let projections: Vec<f64> =
        (0..classes * x.width() * classes).map(|_| StandardNormal.sample(&mut of_projections)).collect();
    let probabilities = instance_probabilities(x, labels, classes, &projections, &rates)?;
    let mut of_labels = rng.fork("labels");
    Ok(probabilities.chunks_exact(classes).map(|row| draw(row, &mut of_labels)).collect())
}

/// A class drawn from its probabilities.
pub(super) fn draw(row: &[f64], rng: &mut Rng) -> u32 {
    let mut rest = rng.unit() * row.iter().sum::<f64>();
    let mut last = 0;
    for (class, &p) in (0..).zip(row) {
        if p > 0. {
            last = class;
            if rest < p {
                break;
            }
        }
        rest -= p;
    }
    last
}

/// Gives the `⌊rate · n⌋` examples of which a model is least certain the label that it takes them for: `of_true` are its probabilities of the true classes, `candidates` its most probable other classes. Of equally uncertain
/// ones the first.
///
/// # Errors
///
/// Lengths that differ, a rate outside `[0, 1]`, probabilities that are not numbers.
pub fn similarity_related(labels: &[u32], of_true: &[f64], candidates: &[u32], rate: f64) -> Result<Vec<u32>> {
    const OP: &str = "similarity_related";
    check_rate(OP, "rate", rate)?;
    for (what, got) in [("probabilities of the true classes", of_true.len()), ("candidates", candidates.len())] {
        if got != labels.len() {
            return Err(Error::length(OP, what, got, labels.len()));
        }
    }
    if let Some(position) = of_true.iter().position(|p| p.is_nan()) {
        let what = "the probability of the true class";
        return Err(Error::Value { operation: OP, what, position, got: f64::NAN, expected: "a number" });
    }
    let mut order: Vec<usize> = (0..labels.len()).collect();
    order.sort_by(|&a, &b| of_true[a].total_cmp(&of_true[b]).then(a.cmp(&b)));
    let mut noisy = labels.to_vec();
    for &at in &order[..(rate * labels.len() as f64).floor() as usize] {
        noisy[at] = candidates[at];
    }
    Ok(noisy)
}
