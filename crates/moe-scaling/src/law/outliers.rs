//! The errors of a law at the points, and which of them are outliers.

use super::formula::Law;
use super::points::Point;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::io::Write;

/// The error of a law at one point.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Residual {
    /// The index of the point, from 0.
    pub index: usize,
    /// The size of the model.
    pub size: f64,
    /// The number of experts of the model.
    pub experts: f64,
    /// The measured loss, in nats per token.
    pub loss: f64,
    /// The predicted loss, in nats per token.
    pub predicted: f64,
    /// `ln loss − ln predicted`: positive where the model is worse than the law says.
    pub error: f64,
    /// The error divided by the scale of the errors, `1.4826 · median |error|`, which outliers hardly move and which is the standard deviation of normal errors.
    pub standardised: f64,
    /// Whether `|standardised| > 3.5` (Iglewicz and Hoaglin, "How to Detect and Handle Outliers", 1993).
    pub is_outlier: bool,
}

/// Scales of errors below 1e-6 (a millionth of the loss) are taken for it: in exact tables rounding errors are no outliers.
const LEAST_SCALE: f64 = 1e-6;

/// The errors of a law at all points. Fit with [`Loss::Huber`](super::Loss) to see outliers: a squared loss follows them.
///
/// Points of weight 0 have an error too, but do not enter the scale.
pub fn residuals(law: &Law, points: &[Point]) -> Vec<Residual> {
    let errors: Vec<f64> = points.iter().map(|p| p.loss.ln() - law.predict(p.size, p.experts).ln()).collect();
    let counted = points.iter().zip(&errors).filter(|(point, error)| point.weight > 0. && !error.is_nan());
    let mut sizes: Vec<f64> = counted.map(|(_, error)| error.abs()).collect();
    sizes.sort_by(f64::total_cmp);
    let middle = sizes.len() / 2;
    let median = match sizes.len() {
        0 => f64::NAN,
        even if even % 2 == 0 => (sizes[middle - 1] + sizes[middle]) / 2.,
        _ => sizes[middle],
    };
    let scale = (1.4826 * median).max(LEAST_SCALE);
    let residual = |(index, (point, &error)): (usize, (&Point, &f64))| {
        let Point { size, experts, loss, .. } = *point;
        let standardised = error / scale;
        let predicted = law.predict(size, experts);
        Residual { index, size, experts, loss, predicted, error, standardised, is_outlier: standardised.abs() > 3.5 }
    };
    points.iter().zip(&errors).enumerate().map(residual).collect()
}

/// Writes `index,size,experts,loss,predicted,error,standardised,is_outlier` as CSV.
///
/// # Errors
///
/// When the writer fails.
pub fn write_residuals(residuals: &[Residual], writer: impl Write) -> Result<()> {
    let mut writer = csv::Writer::from_writer(writer);
    for residual in residuals {
        writer.serialize(residual)?;
    }
    writer.flush().map_err(|error| Error::Csv(error.into()))
}
