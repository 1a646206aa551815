//! Standardisation with the statistics of the training rows.

use crate::{Matrix, Result, Rows};

/// Subtracts means and divides by population deviations, both of the rows that it was fitted on: fit it on training rows, apply it to all. A column without variance is only shifted.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Standardizer {
    /// The means of the columns, `[width]`.
    pub means: Vec<f64>,
    /// The population deviations of the columns, `[width]`; 1 for a column without variance.
    pub deviations: Vec<f64>,
}

impl Standardizer {
    /// The statistics of these rows, which should be those that are trained on and no others.
    pub fn fit(train: Rows<'_>) -> Self {
        let train = train.to_matrix();
        let width = train.width();
        let share = 1. / train.len() as f64;
        let (mut means, mut deviations) = (vec![0.; width], vec![0.; width]);
        for (count, row) in train.values().chunks_exact(width).enumerate() {
            // running means, which for equal numbers are exact
            means.iter_mut().zip(row).for_each(|(mean, x)| *mean += (x - *mean) / (count + 1) as f64);
        }
        for row in train.values().chunks_exact(width) {
            let both = deviations.iter_mut().zip(row).zip(&means);
            both.for_each(|((deviation, x), mean)| *deviation += (x - mean).powi(2) * share);
        }
        for (deviation, mean) in deviations.iter_mut().zip(&means) {
            let root = deviation.sqrt();
            // what rounding of the mean leaves of equal numbers is no variance
            *deviation = if root.is_finite() && root > 1e-14 * mean.abs() { root } else { 1. };
        }
        Self { means, deviations }
    }

    /// Standardised copies of rows.
    ///
    /// # Errors
    /// [`crate::Error::Length`] for rows of another width; [`crate::Error::Value`] where a difference is beyond all numbers.
    pub fn apply(&self, rows: Rows<'_>) -> Result<Matrix> {
        rows.check_width("Standardizer::apply", self.means.len())?;
        let mut matrix = rows.to_matrix();
        let width = matrix.width();
        for row in matrix.values_mut().chunks_exact_mut(width) {
            let both = row.iter_mut().zip(self.means.iter().zip(&self.deviations));
            both.for_each(|(x, (mean, deviation))| *x = (*x - mean) / deviation);
        }
        // the span of huge numbers may have none
        matrix.checked()
    }
}
