//! Metrics of predicted classes.

use super::check_lengths;
use crate::{Error, Result};

/// The fraction of predictions that equal the truth.
///
/// # Errors
///
/// When the lists are empty or differ in length.
///
/// ```
/// assert_eq!(core_tensor::metrics::accuracy(&[0, 1, 1, 2], &[0, 1, 2, 2])?, 0.75);
/// # Ok::<(), core_tensor::Error>(())
/// ```
pub fn accuracy(predictions: &[u32], truth: &[u32]) -> Result<f64> {
    check_lengths("accuracy", "truth", truth.len(), predictions.len())?;
    let correct = predictions.iter().zip(truth).filter(|(p, t)| p == t).count();
    Ok(correct as f64 / truth.len() as f64)
}

/// The mean of `F₁ = 2 TP / (2 TP + FP + FN)` over the classes. A class that is neither predicted nor present counts as 0, as in scikit-learn with `labels`.
///
/// # Errors
///
/// When the lists are empty or differ in length, or a class is not below `num_classes`.
pub fn macro_f1(predictions: &[u32], truth: &[u32], num_classes: usize) -> Result<f64> {
    let counts = counts("macro_f1", predictions, truth, num_classes)?;
    Ok(counts.iter().map(ClassCounts::f1).sum::<f64>() / num_classes as f64)
}

/// The mean of `F₁` over the classes, weighted by how often each is the truth.
///
/// # Errors
///
/// As for [`macro_f1`].
///
/// ```
/// // class 0: F₁ = 2/3 (twice the truth), class 1: F₁ = 2/3 (once)
/// let score = core_tensor::metrics::weighted_f1(&[0, 1, 1], &[0, 0, 1], 2)?;
/// assert!((score - 2. / 3.).abs() < 1e-12);
/// # Ok::<(), core_tensor::Error>(())
/// ```
pub fn weighted_f1(predictions: &[u32], truth: &[u32], num_classes: usize) -> Result<f64> {
    let counts = counts("weighted_f1", predictions, truth, num_classes)?;
    Ok(counts.iter().map(|class| class.f1() * class.true_count as f64).sum::<f64>() / truth.len() as f64)
}

/// `F₁` of all decisions together, `2 TP / (2 TP + FP + FN)` with the sums over all classes. With one class for each item, as here, it is the accuracy; for items with any number of classes see
/// [`micro_f1_multilabel`].
///
/// # Errors
///
/// As for [`macro_f1`].
pub fn micro_f1(predictions: &[u32], truth: &[u32], num_classes: usize) -> Result<f64> {
    let counts = counts("micro_f1", predictions, truth, num_classes)?;
    Ok(counts.iter().map(|class| class.hits).sum::<u64>() as f64 / truth.len() as f64)
}

/// `F₁` of all entries together, `2 TP / (2 TP + FP + FN)`, where each entry says whether an item has a label: both lists are `[items, labels]` in row-major order. 0 if nothing is predicted nor
/// true.
///
/// # Errors
///
/// When the lists are empty or differ in length.
///
/// ```
/// let score = core_tensor::metrics::micro_f1_multilabel(&[true, true, false], &[true, false, true])?;
/// assert_eq!(score, 0.5);
/// # Ok::<(), core_tensor::Error>(())
/// ```
pub fn micro_f1_multilabel(predictions: &[bool], truth: &[bool]) -> Result<f64> {
    check_lengths("micro_f1_multilabel", "truth", truth.len(), predictions.len())?;
    let hits = predictions.iter().zip(truth).filter(|&(&p, &t)| p && t).count();
    let total = predictions.iter().chain(truth).filter(|&&is_set| is_set).count();
    Ok(if total == 0 { 0. } else { 2. * hits as f64 / total as f64 })
}

#[derive(Clone, Copy, Default)]
struct ClassCounts {
    hits: u64,
    predicted: u64,
    true_count: u64,
}

impl ClassCounts {
    fn f1(&self) -> f64 {
        let total = self.predicted + self.true_count;
        if total == 0 { 0. } else { 2. * self.hits as f64 / total as f64 }
    }
}

fn counts(operation: &'static str, predictions: &[u32], truth: &[u32], num_classes: usize) -> Result<Vec<ClassCounts>> {
    check_lengths(operation, "truth", truth.len(), predictions.len())?;
    for (what, classes) in [("predictions", predictions), ("truth", truth)] {
        if let Some(position) = classes.iter().position(|&class| class as usize >= num_classes) {
            let index = u64::from(classes[position]);
            return Err(Error::OutOfRange { operation, what, position, index, bound: num_classes });
        }
    }
    let mut counts = vec![ClassCounts::default(); num_classes];
    for (&p, &t) in predictions.iter().zip(truth) {
        counts[p as usize].hits += u64::from(p == t);
        counts[p as usize].predicted += 1;
        counts[t as usize].true_count += 1;
    }
    Ok(counts)
}

/// The expected calibration error (Guo et al. 2017): `Σ_b |B_b| / n · |accuracy(B_b) − mean confidence(B_b)|` over `bins` bins of equal width,
/// `((b−1)/bins, b/bins]`.
///
/// # Errors
///
/// When the lists are empty or differ in length, `bins` is zero, or a confidence is not in `[0, 1]`.
pub fn expected_calibration_error(confidences: &[f64], is_correct: &[bool], bins: usize) -> Result<f64> {
    const OPERATION: &str = "expected_calibration_error";
    check_lengths(OPERATION, "is_correct", is_correct.len(), confidences.len())?;
    if bins == 0 {
        return Err(Error::Value { operation: OPERATION, what: "bins", got: 0., expected: "at least 1" });
    }
    // for each bin the sum of hits minus confidences, whose absolute value is |B| · |accuracy − confidence|
    let mut gaps = vec![0.; bins];
    for (&confidence, &correct) in confidences.iter().zip(is_correct) {
        let in_range = (0. ..=1.).contains(&confidence);
        if !in_range {
            return Err(Error::Value {
                operation: OPERATION,
                what: "a confidence",
                got: confidence,
                expected: "in [0, 1]",
            });
        }
        let bin = ((confidence * bins as f64).ceil() as usize).clamp(1, bins) - 1;
        gaps[bin] += f64::from(u8::from(correct)) - confidence;
    }
    Ok(gaps.iter().map(|gap| gap.abs()).sum::<f64>() / confidences.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macro_f1_is_the_mean_over_classes() {
        // Class 0: TP 1, FP 1, FN 1 → 1/2. Class 1: TP 1, FP 1, FN 0 → 2/3. Class 2: TP 0, FN 1 → 0.
        let score = macro_f1(&[0, 0, 1, 1], &[0, 2, 1, 0], 3).unwrap();
        assert!((score - (0.5 + 2. / 3.) / 3.).abs() < 1e-15);
    }

    #[test]
    fn micro_and_weighted_scores_of_a_hand_made_case() {
        // F₁ of the classes: 1/2, 2/3, 0; the truth holds them 2, 1 and 1 times
        let (predictions, truth) = ([0, 0, 1, 1], [0, 2, 1, 0]);
        assert!((weighted_f1(&predictions, &truth, 3).unwrap() - (2. * 0.5 + 2. / 3.) / 4.).abs() < 1e-15);
        assert_eq!(micro_f1(&predictions, &truth, 3).unwrap(), accuracy(&predictions, &truth).unwrap());
        assert_eq!(micro_f1_multilabel(&[false; 3], &[false; 3]).unwrap(), 0.);
    }

    #[test]
    fn calibration_of_a_hand_made_case() {
        // Bin (0.4, 0.6]: confidences 0.5, 0.6, one hit: |1 − 1.1| = 0.1. Bin (0.8, 1]: 0.9, 1.0, both hits: 0.1.
        let e = expected_calibration_error(&[0.5, 0.6, 0.9, 1.], &[true, false, true, true], 5).unwrap();
        assert!((e - 0.05).abs() < 1e-12, "{e}");
    }

    #[test]
    fn hostile_input_is_an_error() {
        assert!(accuracy(&[], &[]).is_err());
        assert!(accuracy(&[1], &[1, 2]).is_err());
        for score in [macro_f1, weighted_f1, micro_f1] {
            assert!(score(&[3], &[0], 3).is_err());
            assert!(score(&[], &[], 3).is_err());
        }
        assert!(micro_f1_multilabel(&[true], &[]).is_err());
        assert!(expected_calibration_error(&[0.5], &[true], 0).is_err());
        assert!(expected_calibration_error(&[f64::NAN], &[true], 5).is_err());
        assert!(expected_calibration_error(&[1.5], &[true], 5).is_err());
    }
}
