//! Gaussian naive Bayes.

use super::super::training::{BaseLearner, BoxError, Examples, SubClassifier, check_width};
use super::classes::{classes, constant};

/// Gaussian naive Bayes: features are independent and normal within each class.
///
/// ```text
/// class(x) = argmax_c  ln π_c - ½ Σ_j ( ln 2π v_cj + (x_j - μ_cj)² / v_cj )
/// ```
///
/// with the class's share π, mean μ and population variance v, to which `var_smoothing` times the largest variance of a feature is added. The definition, and the default, of scikit-learn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GaussianNaiveBayes {
    /// What part of the largest feature variance is added to all variances. Default: 10⁻⁹.
    pub var_smoothing: f64,
}

impl Default for GaussianNaiveBayes {
    fn default() -> Self {
        Self { var_smoothing: 1e-9 }
    }
}

struct Fitted {
    width: usize,
    classes: Vec<u16>,
    /// ln π - ½ Σ ln 2π v, for each class
    constants: Vec<f64>,
    /// `[classes, width]`
    means: Vec<f64>,
    /// ½ / v, `[classes, width]`
    precisions: Vec<f64>,
}

/// Means and population variances of the features of some samples.
fn moments(examples: &Examples, members: &[u32]) -> (Vec<f64>, Vec<f64>) {
    let count = members.len() as f64;
    let (mut means, mut variances) = (vec![0.; examples.width()], vec![0.; examples.width()]);
    for &member in members {
        for (mean, &feature) in means.iter_mut().zip(examples.row(member as usize)) {
            *mean += f64::from(feature) / count;
        }
    }
    for &member in members {
        for ((variance, mean), &feature) in variances.iter_mut().zip(&means).zip(examples.row(member as usize)) {
            *variance += (f64::from(feature) - mean).powi(2) / count;
        }
    }
    (means, variances)
}

impl BaseLearner for GaussianNaiveBayes {
    fn fit(&self, examples: &Examples, members: &[u32], _: u64) -> Result<Box<dyn SubClassifier>, BoxError> {
        if !(self.var_smoothing.is_finite() && self.var_smoothing >= 0.) {
            let (what, got) = ("var_smoothing", self.var_smoothing);
            return Err(Box::new(crate::Error::value("GaussianNaiveBayes", what, got, "a finite number of 0 or more")));
        }
        let present = classes(examples, members);
        if let Some(constant) = constant(examples, &present) {
            return Ok(constant);
        }
        let (_, all) = moments(examples, members);
        // features that are all constant would leave nothing to divide by
        let smoothing = self.var_smoothing * all.iter().copied().fold(0., f64::max) + f64::MIN_POSITIVE;
        let width = examples.width();
        let mut fitted =
            Fitted { width, classes: present, constants: Vec::new(), means: Vec::new(), precisions: Vec::new() };
        for &class in &fitted.classes {
            let own: Vec<u32> =
                members.iter().copied().filter(|&member| examples.labels()[member as usize] == class).collect();
            let (means, variances) = moments(examples, &own);
            let logarithms: f64 =
                variances.iter().map(|variance| (std::f64::consts::TAU * (variance + smoothing)).ln()).sum();
            fitted.constants.push((own.len() as f64 / members.len() as f64).ln() - 0.5 * logarithms);
            fitted.means.extend(means);
            fitted.precisions.extend(variances.iter().map(|variance| 0.5 / (variance + smoothing)));
        }
        Ok(Box::new(fitted))
    }
}

impl SubClassifier for Fitted {
    fn predict(&self, features: &[f32]) -> Result<Vec<u16>, BoxError> {
        check_width(features, self.width)?;
        let class = |row: &[f32]| {
            let (mut best, mut most) = (self.classes[0], f64::NEG_INFINITY);
            for (at, &constant) in self.constants.iter().enumerate() {
                let range = at * self.width..(at + 1) * self.width;
                let mut score = constant;
                for ((&feature, mean), precision) in
                    row.iter().zip(&self.means[range.clone()]).zip(&self.precisions[range])
                {
                    score -= (f64::from(feature) - mean).powi(2) * precision;
                }
                if score > most {
                    (best, most) = (self.classes[at], score);
                }
            }
            best
        };
        Ok(features.chunks_exact(self.width).map(class).collect())
    }
}
