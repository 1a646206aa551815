//! A generative classifier on the features of a network that learned noisy labels.

use crate::neighbours::Points;
use crate::{Error, Result};
use core_tensor::kernel::Real;
use core_tensor::random::Rng;
use rayon::prelude::*;

/// The settings of [`GenerativeClassifier::fit`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GenerativeConfig {
    /// The share of each class's examples that its mean and covariance rest on, those that lie closest together; 0.7. With 1 all count: ordinary linear discriminant analysis.
    pub support: f64,
    /// Random subsets that the search for these examples starts from; 5.
    pub starts: usize,
    /// Added to the diagonal of the covariance, times its mean; 1e-6.
    pub ridge: f64,
    /// The seed of the subsets; 0.
    pub seed: u64,
}

impl Default for GenerativeConfig {
    fn default() -> Self {
        Self { support: 0.7, starts: 5, ridge: 1e-6, seed: 0 }
    }
}

/// Classes as normal distributions with one covariance, fitted robustly: the minimum covariance determinant of each class (Lee et al., "Robust Inference via Generative Classifiers for Handling Noisy Labels", ICML 2019: RoG). A post-processor: the
/// network stays as it is. Their ensemble over several layers is not here, and the program that NPC was compared by computes it all and then reports the plain softmax; this is what it says.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerativeClassifier {
    classes: usize,
    width: usize,
    means: Vec<f64>,
    covariance: Vec<f64>,
    /// Cholesky's factor of the covariance, the lower triangle.
    factor: Vec<f64>,
}

/// Mean and covariance (over the number of examples).
struct Moments {
    mean: Vec<f64>,
    covariance: Vec<f64>,
}

fn moments(rows: &[&[f64]], width: usize) -> Moments {
    let n = rows.len() as f64;
    let mut mean = vec![0f64; width];
    for row in rows {
        mean.iter_mut().zip(*row).for_each(|(mean, x)| *mean += x / n);
    }
    let mut covariance = vec![0f64; width * width];
    let mut centred = vec![0f64; width];
    for row in rows {
        centred.iter_mut().zip(row.iter().zip(&mean)).for_each(|(c, (x, mean))| *c = x - mean);
        for (at, c) in centred.iter().enumerate() {
            let out = &mut covariance[at * width..at * width + at + 1];
            out.iter_mut().zip(&centred).for_each(|(sum, other)| *sum += c * other / n);
        }
    }
    for at in 0..width {
        for other in 0..at {
            covariance[other * width + at] = covariance[at * width + other];
        }
    }
    Moments { mean, covariance }
}

/// The lower triangle `L` with `L Lᵀ` the matrix plus a ridge, and the logarithm of the determinant; `None` if it is not positive definite.
fn cholesky(matrix: &[f64], width: usize, ridge: f64) -> Option<(Vec<f64>, f64)> {
    let mean = (0..width).map(|at| matrix[at * width + at]).sum::<f64>() / width as f64;
    let mut factor = vec![0f64; width * width];
    let mut log_determinant = 0.;
    for row in 0..width {
        for column in 0..=row {
            let mut sum = matrix[row * width + column] + if row == column { ridge * mean } else { 0. };
            for at in 0..column {
                sum -= factor[row * width + at] * factor[column * width + at];
            }
            if row == column {
                if !(sum > 0. && sum.is_finite()) {
                    return None;
                }
                factor[row * width + row] = sum.sqrt();
                log_determinant += sum.ln();
            } else {
                factor[row * width + column] = sum / factor[column * width + column];
            }
        }
    }
    Some((factor, log_determinant))
}

/// `(x − mean)ᵀ (L Lᵀ)⁻¹ (x − mean)`.
fn mahalanobis(x: &[f64], mean: &[f64], factor: &[f64], width: usize, solved: &mut [f64]) -> f64 {
    let mut square = 0.;
    for row in 0..width {
        let mut value = x[row] - mean[row];
        for at in 0..row {
            value -= factor[row * width + at] * solved[at];
        }
        solved[row] = value / factor[row * width + row];
        square += solved[row] * solved[row];
    }
    square
}

/// Mean and covariance of the `support` examples with the smallest determinant that concentration steps find.
fn robust(rows: &[&[f64]], width: usize, support: usize, config: &GenerativeConfig, rng: &mut Rng) -> Moments {
    let mut best: Option<(f64, Moments)> = None;
    let mut solved = vec![0f64; width];
    for _ in 0..if support < rows.len() { config.starts } else { 0 } {
        let first = (width + 1).clamp(2, support.max(2)).min(rows.len());
        let mut chosen: Vec<u32> = rng.sample_without_replacement(rows.len(), first);
        let mut reached = f64::INFINITY;
        loop {
            let subset: Vec<&[f64]> = chosen.iter().map(|&at| rows[at as usize]).collect();
            let found = moments(&subset, width);
            let Some((factor, log_determinant)) = cholesky(&found.covariance, width, config.ridge.max(1e-12)) else {
                break;
            };
            let mean = found.mean.clone();
            if chosen.len() == support {
                // Each step lowers the determinant or ends the search.
                if log_determinant >= reached - 1e-12 {
                    break;
                }
                reached = log_determinant;
                if best.as_ref().is_none_or(|(known, _)| log_determinant < *known) {
                    best = Some((log_determinant, found));
                }
            }
            let mut far: Vec<(f64, u32)> = rows
                .iter()
                .zip(0u32..)
                .map(|(row, at)| (mahalanobis(row, &mean, &factor, width, &mut solved), at))
                .collect();
            far.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            chosen = far[..support].iter().map(|(_, at)| *at).collect();
        }
    }
    best.map_or_else(|| moments(rows, width), |(_, found)| found)
}

impl GenerativeClassifier {
    /// Fits the classes to features and (noisy) labels. Classes are equally probable beforehand; one without examples is never predicted.
    ///
    /// # Errors
    ///
    /// No example, lengths that differ, labels outside the classes, settings out of range, features whose covariance is singular in spite of the ridge.
    pub fn fit<T: Real>(
        features: Points<'_, T>,
        labels: &[u32],
        classes: usize,
        config: &GenerativeConfig,
    ) -> Result<Self> {
        const OP: &str = "GenerativeClassifier::fit";
        if labels.is_empty() {
            return Err(Error::Empty { operation: OP, what: "examples" });
        }
        if features.len() != labels.len() {
            return Err(Error::length(OP, "rows of features", features.len(), labels.len()));
        }
        if let Some(position) = labels.iter().position(|&label| label as usize >= classes) {
            let index = labels[position].into();
            return Err(Error::OutOfRange { operation: OP, what: "the label", position, index, bound: classes });
        }
        if config.support.is_nan() || config.support <= 0. || config.support > 1. {
            return Err(Error::config(OP, "support", config.support, "above 0 and at most 1"));
        }
        if config.starts == 0 {
            return Err(Error::config(OP, "starts", 0, "at least 1"));
        }
        let is_ridge = config.ridge.is_finite() && config.ridge >= 0.;
        if !is_ridge {
            return Err(Error::config(OP, "ridge", config.ridge, "finite and not negative"));
        }
        let width = features.width();
        let rows: Vec<f64> = (0..features.len()).flat_map(|row| features.row(row).iter().map(|x| x.to_f64())).collect();
        let rng = Rng::new(config.seed);
        let found: Vec<Option<(f64, Moments)>> = (0..classes)
            .into_par_iter()
            .map(|class| {
                let own = rows.chunks_exact(width).zip(labels).filter(|(_, label)| **label as usize == class);
                let own: Vec<&[f64]> = own.map(|(row, _)| row).collect();
                if own.is_empty() {
                    return None;
                }
                let support = ((config.support * own.len() as f64).ceil() as usize).clamp(1, own.len());
                let mut rng = rng.fork(&class.to_string());
                Some((own.len() as f64, robust(&own, width, support, config, &mut rng)))
            })
            .collect();
        let mut covariance = vec![0f64; width * width];
        let mut means = vec![f64::INFINITY; classes * width];
        for (class, found) in found.into_iter().enumerate() {
            let Some((count, moments)) = found else { continue };
            let share = count / labels.len() as f64;
            covariance.iter_mut().zip(&moments.covariance).for_each(|(sum, part)| *sum += share * part);
            means[class * width..][..width].copy_from_slice(&moments.mean);
        }
        let (factor, _) = cholesky(&covariance, width, config.ridge).ok_or_else(|| Error::InvalidData {
            operation: OP,
            what: "the features",
            reason: "their covariance is singular".to_owned(),
        })?;
        Ok(Self { classes, width, means, covariance, factor })
    }

    /// `[classes, width]`: the means; infinite for classes without examples.
    pub fn means(&self) -> &[f64] {
        &self.means
    }

    /// `[width, width]`: the covariance that the classes share, without the ridge.
    pub fn covariance(&self) -> &[f64] {
        &self.covariance
    }

    /// `[points, classes]`: the probabilities of the classes.
    ///
    /// # Errors
    ///
    /// Another number of features.
    pub fn predict<T: Real>(&self, features: Points<'_, T>) -> Result<Vec<f64>> {
        if features.width() != self.width {
            return Err(Error::length("GenerativeClassifier::predict", "features", features.width(), self.width));
        }
        let mut probabilities = vec![0f64; features.len() * self.classes];
        probabilities.par_chunks_mut(self.classes).enumerate().for_each(|(row, out)| {
            let x: Vec<f64> = features.row(row).iter().map(|x| x.to_f64()).collect();
            let mut solved = vec![0f64; self.width];
            for (out, mean) in out.iter_mut().zip(self.means.chunks_exact(self.width)) {
                *out = match mean[0].is_finite() {
                    true => -0.5 * mahalanobis(&x, mean, &self.factor, self.width, &mut solved),
                    false => f64::NEG_INFINITY,
                };
            }
            let largest = out.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = out.iter().map(|log| (log - largest).exp()).sum();
            out.iter_mut().for_each(|log| *log = (*log - largest).exp() / sum);
        });
        Ok(probabilities)
    }
}
