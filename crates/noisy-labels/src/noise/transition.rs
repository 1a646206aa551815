//! Which class becomes which label, and how many are wrong.

use super::check_labels;
use crate::{Error, Probabilities, Result};

/// `[true, given]`: the share of each given label among the examples of a class. Rows of classes without examples are those of the identity.
///
/// # Errors
///
/// Lengths that differ, labels outside the classes.
pub fn counted_transition(truth: &[u32], given: &[u32], classes: usize) -> Result<Vec<f64>> {
    const OP: &str = "counted_transition";
    check_labels(OP, truth, classes)?;
    check_labels(OP, given, classes)?;
    if truth.len() != given.len() {
        return Err(Error::length(OP, "given labels", given.len(), truth.len()));
    }
    let mut counts = vec![0.; classes * classes];
    for (&class, &label) in truth.iter().zip(given) {
        counts[class as usize * classes + label as usize] += 1.;
    }
    Ok(shares(counts, classes))
}

fn shares(mut rows: Vec<f64>, classes: usize) -> Vec<f64> {
    for (class, row) in rows.chunks_exact_mut(classes).enumerate() {
        let total: f64 = row.iter().sum();
        if total > 0. {
            row.iter_mut().for_each(|count| *count /= total);
        } else {
            row[class] = 1.;
        }
    }
    rows
}

/// `[true, given]`: the probabilities of labels that a model trained on them predicts for an anchor of each class: the example at the quantile `quantile` of the probability of the class (1: the most certain one; Patrini et al.,
/// "Making Deep Neural Networks Robust to Label Noise", CVPR 2017, take 0.97 where classes are many or outliers likely). Programs in circulation set what reaches the percentile to 0 and take the largest of the rest, one rank lower. Of equally certain examples the earlier
/// counts as the more certain one.
///
/// # Errors
///
/// No example, a quantile outside `(0, 1]`.
pub fn anchor_transition<P: Copy + Into<f64>>(probabilities: Probabilities<'_, P>, quantile: f64) -> Result<Vec<f64>> {
    const OP: &str = "anchor_transition";
    if probabilities.is_empty() {
        return Err(Error::Empty { operation: OP, what: "examples" });
    }
    if quantile.is_nan() || quantile <= 0. || quantile > 1. {
        return Err(Error::config(OP, "quantile", quantile, "above 0 and at most 1"));
    }
    let classes = probabilities.num_classes();
    let place = ((quantile * probabilities.len() as f64).ceil() as usize).clamp(1, probabilities.len()) - 1;
    let mut transition = Vec::with_capacity(classes * classes);
    for class in 0..classes {
        let mut examples: Vec<(f64, usize)> =
            probabilities.rows().enumerate().map(|(at, row)| (row[class].into(), at)).collect();
        let (_, &mut (_, anchor), _) =
            examples.select_nth_unstable_by(place, |a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)));
        transition.extend(probabilities.row(anchor).iter().map(|&p| p.into()));
    }
    Ok(transition)
}

/// `[true, given]`: the product of the [`anchor_transition`] to the classes that the model predicts and of the shares of given labels among the examples of each predicted class, which are counted instead of predicted (Yao et al., "Dual T",
/// NeurIPS 2020).
///
/// # Errors
///
/// As for [`anchor_transition`], and lengths that differ or labels outside the classes.
pub fn dual_transition<P: Copy + Into<f64>>(
    probabilities: Probabilities<'_, P>,
    given: &[u32],
    quantile: f64,
) -> Result<Vec<f64>> {
    let classes = probabilities.num_classes();
    let anchors = anchor_transition(probabilities, quantile)?;
    let predicted: Vec<u32> = (0..probabilities.len()).map(|row| probabilities.most_probable(row) as u32).collect();
    let counted = counted_transition(&predicted, given, classes)?;
    let mut product = vec![0.; classes * classes];
    for (row, anchors) in product.chunks_exact_mut(classes).zip(anchors.chunks_exact(classes)) {
        for (&p, counted) in anchors.iter().zip(counted.chunks_exact(classes)) {
            row.iter_mut().zip(counted).for_each(|(sum, share)| *sum += p * share);
        }
    }
    Ok(product)
}

/// A share of wrong labels with an interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NoiseRate {
    /// The share.
    pub rate: f64,
    /// The lower end of Wilson's interval for the level 95 %.
    pub lower: f64,
    /// Its upper end.
    pub upper: f64,
    /// How many examples were compared.
    pub examples: usize,
}

/// The share of labels that differ from the true ones, as of a sample that was checked.
///
/// # Errors
///
/// No example, lengths that differ.
pub fn noise_rate(truth: &[u32], given: &[u32]) -> Result<NoiseRate> {
    const OP: &str = "noise_rate";
    if truth.is_empty() {
        return Err(Error::Empty { operation: OP, what: "labels" });
    }
    if truth.len() != given.len() {
        return Err(Error::length(OP, "given labels", given.len(), truth.len()));
    }
    let n = truth.len() as f64;
    let rate = truth.iter().zip(given).filter(|(a, b)| a != b).count() as f64 / n;
    // The quantile of the normal distribution for 97.5 %.
    const Z: f64 = 1.959_963_984_540_054;
    let middle = (rate + Z * Z / (2. * n)) / (1. + Z * Z / n);
    let half = Z / (1. + Z * Z / n) * (rate * (1. - rate) / n + Z * Z / (4. * n * n)).sqrt();
    Ok(NoiseRate { rate, lower: (middle - half).max(0.), upper: (middle + half).min(1.), examples: truth.len() })
}
