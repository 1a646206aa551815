//! The cross entropy of a linear model and its gradient.

use crate::products::{Dense, value_and_gradient};

/// Labelled rows.
pub(crate) struct CrossEntropy<'a> {
    x: Dense<'a>,
    targets: &'a [usize],
    num_outputs: usize,
    scratch: Vec<f64>,
}

impl<'a> CrossEntropy<'a> {
    /// With one output, target 1 is where it is positive.
    pub(crate) fn new(x: Dense<'a>, targets: &'a [usize], num_outputs: usize) -> Self {
        Self { x, targets, num_outputs, scratch: Vec::new() }
    }

    /// The mean loss at weights `[outputs, width + 1]`, and its gradient.
    pub(crate) fn evaluate(&mut self, weights: &[f64], gradient: &mut [f64]) -> f64 {
        let share = 1. / self.targets.len() as f64;
        let value = value_and_gradient(self.x, weights, gradient, &mut self.scratch, |first, outputs| {
            let rows = outputs.chunks_exact_mut(self.num_outputs).zip(&self.targets[first..]);
            let losses = rows.map(|(row, &target)| match row {
                [output] => binary(output, target, share),
                row => softmax(row, target, share),
            });
            losses.sum()
        });
        value * share
    }
}

/// `ln(1 + e^-z)` for target 1, of z for target 0; the output becomes its error.
fn binary(output: &mut f64, target: usize, share: f64) -> f64 {
    let z = if target == 1 { *output } else { -*output };
    let value = if z > 0. { (-z).exp().ln_1p() } else { z.exp().ln_1p() - z };
    let probability = 1. / (1. + (-*output).exp());
    *output = (probability - target as f64) * share;
    value
}

/// `-ln softmax(outputs)[target]`; the outputs become their errors.
fn softmax(row: &mut [f64], target: usize, share: f64) -> f64 {
    let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let of_target = row[target];
    let mut sum = 0.;
    for output in row.iter_mut() {
        *output = (*output - largest).exp();
        sum += *output;
    }
    for (class, output) in row.iter_mut().enumerate() {
        *output = (*output / sum - f64::from(class == target)) * share;
    }
    largest + sum.ln() - of_target
}
