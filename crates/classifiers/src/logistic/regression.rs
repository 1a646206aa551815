//! Logistic regression with a quadratic penalty.

use super::loss::CrossEntropy;
use crate::error::{check_above_zero, check_not_negative};
use crate::lbfgs::{Objective, minimise};
use crate::linear::FittedLinear;
use crate::products::Dense;
use crate::rows::two_or_more;
use crate::{Classifier, Result, Rows};

/// Multinomial logistic regression with a quadratic penalty of the weights, by L-BFGS:
///
/// ```text
/// min  ½ |W|² + C Σ_i -ln softmax(W x_i + b)[y_i]
/// ```
///
/// scikit-learn's definition: biases are not penalised, and with two classes one weight vector is learned.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct LogisticRegression {
    /// The weight of the data against the penalty, C. Default: 1.
    pub c: f64,
    /// Iterations of L-BFGS at most. Default: 100.
    pub max_iterations: usize,
    /// Ends when no element of the mean gradient is larger. Default: 10⁻⁴.
    pub tolerance: f64,
}

impl Default for LogisticRegression {
    fn default() -> Self {
        Self { c: 1., max_iterations: 100, tolerance: 1e-4 }
    }
}

struct Penalised<'a> {
    loss: CrossEntropy<'a>,
    /// 1 / (C n)
    penalty: f64,
    width: usize,
}

impl Objective for Penalised<'_> {
    fn evaluate(&mut self, weights: &[f64], gradient: &mut [f64]) -> f64 {
        let mut value = self.loss.evaluate(weights, gradient);
        let stride = self.width + 1;
        for (weights, gradient) in weights.chunks_exact(stride).zip(gradient.chunks_exact_mut(stride)) {
            for (weight, gradient) in weights[..self.width].iter().zip(gradient) {
                value += 0.5 * self.penalty * weight * weight;
                *gradient += self.penalty * weight;
            }
        }
        value
    }
}

const OPERATION: &str = "LogisticRegression";

impl LogisticRegression {
    /// Whether the settings make sense, which training asks first.
    ///
    /// # Errors
    /// [`crate::Error::Value`] for one that does not.
    pub fn check(&self) -> Result<()> {
        check_above_zero(OPERATION, &[("c", self.c)])?;
        check_not_negative(OPERATION, &[("tolerance", self.tolerance)])
    }
}

/// Reaching `max_iterations` is no error (as in scikit-learn, which warns): see [`FittedLinear::is_converged`].
impl Classifier for LogisticRegression {
    type Fitted = FittedLinear;

    fn fit(&self, x: Rows<'_>, labels: &[u32]) -> Result<FittedLinear> {
        self.check()?;
        x.check_labels(OPERATION, labels)?;
        let (classes, targets) = two_or_more(OPERATION, labels)?;
        let x = x.to_matrix();
        let num_outputs = if classes.len() == 2 { 1 } else { classes.len() };
        let loss = CrossEntropy::new(Dense::of(&x), &targets, num_outputs);
        let mut objective = Penalised { loss, penalty: 1. / (self.c * x.len() as f64), width: x.width() };
        let found = minimise(&mut objective, num_outputs * (x.width() + 1), self.max_iterations, self.tolerance);
        Ok(FittedLinear {
            classes,
            width: x.width(),
            weights: found.at,
            iterations: found.iterations,
            violation: found.violation,
            is_converged: found.violation <= self.tolerance,
        })
    }
}
