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
    const OPERATION: &str = "macro_f1";
    check_lengths(OPERATION, "truth", truth.len(), predictions.len())?;
    for (what, classes) in [("predictions", predictions), ("truth", truth)] {
        if let Some(position) = classes.iter().position(|&class| class as usize >= num_classes) {
            let index = u64::from(classes[position]);
            return Err(Error::OutOfRange { operation: OPERATION, what, position, index, bound: num_classes });
        }
    }
    let (mut hits, mut total) = (vec![0_u64; num_classes], vec![0_u64; num_classes]);
    for (&p, &t) in predictions.iter().zip(truth) {
        hits[p as usize] += u64::from(p == t);
        total[p as usize] += 1;
        total[t as usize] += 1;
    }
    let scores = hits.iter().zip(&total).map(|(&h, &n)| if n == 0 { 0. } else { 2. * h as f64 / n as f64 });
    Ok(scores.sum::<f64>() / num_classes as f64)
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
    fn calibration_of_a_hand_made_case() {
        // Bin (0.4, 0.6]: confidences 0.5, 0.6, one hit: |1 − 1.1| = 0.1. Bin (0.8, 1]: 0.9, 1.0, both hits: 0.1.
        let e = expected_calibration_error(&[0.5, 0.6, 0.9, 1.], &[true, false, true, true], 5).unwrap();
        assert!((e - 0.05).abs() < 1e-12, "{e}");
    }

    #[test]
    fn hostile_input_is_an_error() {
        assert!(accuracy(&[], &[]).is_err());
        assert!(accuracy(&[1], &[1, 2]).is_err());
        assert!(macro_f1(&[3], &[0], 3).is_err());
        assert!(expected_calibration_error(&[0.5], &[true], 0).is_err());
        assert!(expected_calibration_error(&[f64::NAN], &[true], 5).is_err());
        assert!(expected_calibration_error(&[1.5], &[true], 5).is_err());
    }
}
