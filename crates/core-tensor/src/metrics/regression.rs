//! Metrics of predicted numbers.

use super::check_lengths;
use crate::{Error, Result};

/// The mean absolute error, `mean |prediction − truth|`.
///
/// # Errors
///
/// When the lists are empty or differ in length.
pub fn mae(predictions: &[f64], truth: &[f64]) -> Result<f64> {
    check_lengths("mae", "truth", truth.len(), predictions.len())?;
    let sum: f64 = predictions.iter().zip(truth).map(|(p, t)| (p - t).abs()).sum();
    Ok(sum / truth.len() as f64)
}

/// The root mean square error, `√(mean (prediction − truth)²)`.
///
/// # Errors
///
/// As for [`mae`].
pub fn rmse(predictions: &[f64], truth: &[f64]) -> Result<f64> {
    check_lengths("rmse", "truth", truth.len(), predictions.len())?;
    let errors = || predictions.iter().zip(truth).map(|(p, t)| p - t);
    let root = |sum: f64| (sum / truth.len() as f64).sqrt();
    let sum: f64 = errors().map(|e| e * e).sum();
    if (1e-250..1e250).contains(&sum) || sum.is_nan() {
        return Ok(root(sum));
    }
    // The squares left the range of f64, or there is no error at all.
    let largest = errors().fold(0f64, |m, e| m.max(e.abs()));
    if largest == 0. || largest.is_infinite() {
        return Ok(largest);
    }
    Ok(largest * root(errors().map(|e| (e / largest) * (e / largest)).sum()))
}

/// The mean absolute percentage error, `mean |prediction − truth| / |truth|`, as a fraction rather than in per cent. Elements whose truth is 0 are left out, as is
/// usual for traffic data, where 0 marks a missing measurement.
///
/// # Errors
///
/// As for [`mae`], and when every truth is 0.
pub fn mape(predictions: &[f64], truth: &[f64]) -> Result<f64> {
    check_lengths("mape", "truth", truth.len(), predictions.len())?;
    let (mut sum, mut count) = (0., 0_usize);
    for (p, &t) in predictions.iter().zip(truth).filter(|(_, t)| **t != 0.) {
        sum += ((p - t) / t).abs();
        count += 1;
    }
    if count == 0 {
        return Err(Error::Value {
            operation: "mape",
            what: "every truth",
            got: 0.,
            expected: "at least one other than 0",
        });
    }
    Ok(sum / count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_a_hand_made_case() {
        let (p, t) = ([1., 2., 5.], [2., 4., 0.]);
        assert!((mae(&p, &t).unwrap() - 8. / 3.).abs() < 1e-15);
        assert!((rmse(&p, &t).unwrap() - 10f64.sqrt()).abs() < 1e-15);
        assert_eq!(mape(&p, &t).unwrap(), 0.5);
        assert_eq!(rmse(&[1e200, -1e200], &[0., 0.]).unwrap(), 1e200);
        assert_eq!(rmse(&[1e-200, 0.], &[0., 0.]).unwrap(), 1e-200 * 0.5f64.sqrt());
        assert_eq!(rmse(&[2., f64::INFINITY], &[2., 0.]).unwrap(), f64::INFINITY);
        assert_eq!(rmse(&[2.], &[2.]).unwrap(), 0.);
    }

    #[test]
    fn hostile_input_is_an_error() {
        assert!(mae(&[], &[]).is_err());
        assert!(rmse(&[1.], &[]).is_err());
        assert!(mape(&[1.], &[0.]).is_err());
        assert!(mae(&[f64::NAN], &[0.]).unwrap().is_nan());
    }
}
