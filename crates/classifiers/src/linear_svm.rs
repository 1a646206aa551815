//! Linear support vector machines for many rows.

use crate::error::{check_above_zero, check_not_negative};
use crate::lbfgs::{Objective, minimise};
use crate::linear::FittedLinear;
use crate::products::{Dense, value_and_gradient};
use crate::rows::two_or_more;
use crate::{Classifier, Result, Rows};

/// A linear support vector machine with squared hinge loss, one class against the rest:
///
/// ```text
/// min  ½ |(w, b)|² + C Σ_i max(0, 1 - y_i (w · x_i + b))²
/// ```
///
/// The problem of liblinear's L2-regularised L2-loss machine and of scikit-learn's `LinearSVC`, penalised bias included; solved in its primal form by L-BFGS, all classes together. Says the class with the largest output; with two classes
/// one machine is trained. Columns should have similar scales ([`crate::Standardizer`]).
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct LinearSvm {
    /// The weight of the data against the penalty, C. Default: 1.
    pub c: f64,
    /// Iterations of L-BFGS at most. Default: 1000.
    pub max_iterations: usize,
    /// Ends when no element of the gradient, divided by C and the number of rows, is larger. Default: 10⁻⁴.
    pub tolerance: f64,
}

impl Default for LinearSvm {
    fn default() -> Self {
        Self { c: 1., max_iterations: 1000, tolerance: 1e-4 }
    }
}

struct SquaredHinge<'a> {
    x: Dense<'a>,
    targets: &'a [usize],
    num_outputs: usize,
    /// 1 / (C n)
    penalty: f64,
    scratch: Vec<f64>,
}

impl Objective for SquaredHinge<'_> {
    fn evaluate(&mut self, weights: &[f64], gradient: &mut [f64]) -> f64 {
        let share = 1. / self.targets.len() as f64;
        let mut value = value_and_gradient(self.x, weights, gradient, &mut self.scratch, |first, outputs| {
            let mut value = 0.;
            for (row, &target) in outputs.chunks_exact_mut(self.num_outputs).zip(&self.targets[first..]) {
                // the one output of two classes is for the second
                let positive = if self.num_outputs == 1 { target.wrapping_sub(1) } else { target };
                for (at, output) in row.iter_mut().enumerate() {
                    let sign = if at == positive { 1. } else { -1. };
                    let missing = (1. - sign * *output).max(0.);
                    value += missing * missing * share;
                    *output = -2. * share * sign * missing;
                }
            }
            value
        });
        for (weight, gradient) in weights.iter().zip(gradient) {
            value += 0.5 * self.penalty * weight * weight;
            *gradient += self.penalty * weight;
        }
        value
    }
}

/// Reaching `max_iterations` is no error: see [`FittedLinear::is_converged`].
impl Classifier for LinearSvm {
    type Fitted = FittedLinear;

    fn fit(&self, x: Rows<'_>, labels: &[u32]) -> Result<FittedLinear> {
        const OPERATION: &str = "LinearSvm";
        check_above_zero(OPERATION, &[("c", self.c)])?;
        check_not_negative(OPERATION, &[("tolerance", self.tolerance)])?;
        x.check_labels(OPERATION, labels)?;
        let (classes, targets) = two_or_more(OPERATION, labels)?;
        let x = x.to_matrix();
        let num_outputs = if classes.len() == 2 { 1 } else { classes.len() };
        let mut objective = SquaredHinge {
            x: Dense::of(&x),
            targets: &targets,
            num_outputs,
            penalty: 1. / (self.c * x.len() as f64),
            scratch: Vec::new(),
        };
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
