//! Logistic regression.

use super::super::training::{BaseLearner, BoxError, Examples, SubClassifier, check_width};
use super::classes::{classes, constant};

/// Multinomial logistic regression with a quadratic penalty of the weights, by L-BFGS:
///
/// ```text
/// min  ½ |W|² + C Σ_i -ln softmax(W x_i + b)[y_i]
/// ```
///
/// With two classes one weight vector is learned, as in scikit-learn.
#[derive(Debug, Clone, Copy, PartialEq)]
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

struct Fitted {
    width: usize,
    classes: Vec<u16>,
    /// `[outputs, width + 1]`, the bias last; one output for two classes
    weights: Vec<f64>,
}

/// What the penalty and the data say about weights.
struct Objective<'a> {
    examples: &'a Examples,
    members: &'a [u32],
    /// Positions of the members' classes.
    targets: Vec<usize>,
    outputs: usize,
    c: f64,
}

impl Objective<'_> {
    /// The mean objective and its gradient.
    fn evaluate(&self, weights: &[f64], gradient: &mut [f64]) -> f64 {
        let width = self.examples.width();
        let scale = 1. / (self.c * self.members.len() as f64);
        let mut value = 0.;
        gradient.fill(0.);
        let mut logits = vec![0.; self.outputs];
        for (&member, &target) in self.members.iter().zip(&self.targets) {
            let row = self.examples.row(member as usize);
            for (logit, weights) in logits.iter_mut().zip(weights.chunks_exact(width + 1)) {
                *logit = weights[width] + row.iter().zip(weights).map(|(&x, w)| f64::from(x) * w).sum::<f64>();
            }
            if self.outputs == 1 {
                // ln(1 + e^-z) for the second class, of z for the first
                let z = if target == 1 { logits[0] } else { -logits[0] };
                value += if z > 0. { (-z).exp().ln_1p() } else { z.exp().ln_1p() - z };
                let probability = 1. / (1. + (-logits[0]).exp());
                logits[0] = probability - target as f64;
            } else {
                let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let sum: f64 = logits.iter().map(|logit| (logit - largest).exp()).sum();
                value += largest + sum.ln() - logits[target];
                for (class, logit) in logits.iter_mut().enumerate() {
                    *logit = (*logit - largest).exp() / sum - f64::from(class == target);
                }
            }
            for (error, gradient) in logits.iter().zip(gradient.chunks_exact_mut(width + 1)) {
                gradient[width] += error;
                row.iter().zip(gradient).for_each(|(&x, gradient)| *gradient += error * f64::from(x));
            }
        }
        let count = self.members.len() as f64;
        value /= count;
        gradient.iter_mut().for_each(|gradient| *gradient /= count);
        for (weights, gradient) in weights.chunks_exact(width + 1).zip(gradient.chunks_exact_mut(width + 1)) {
            for (weight, gradient) in weights[..width].iter().zip(gradient) {
                value += 0.5 * scale * weight * weight;
                *gradient += scale * weight;
            }
        }
        value
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Limited-memory BFGS with ten pairs and a backtracking line search.
fn minimise(objective: &Objective<'_>, len: usize, max_iterations: usize, tolerance: f64) -> Vec<f64> {
    let mut weights = vec![0.; len];
    let mut gradient = vec![0.; len];
    let mut value = objective.evaluate(&weights, &mut gradient);
    let mut pairs: Vec<(Vec<f64>, Vec<f64>, f64)> = Vec::new();
    for _ in 0..max_iterations {
        if gradient.iter().all(|gradient| gradient.abs() <= tolerance) {
            break;
        }
        let mut direction: Vec<f64> = gradient.iter().map(|gradient| -gradient).collect();
        let mut factors = Vec::with_capacity(pairs.len());
        for (step, change, inverse) in pairs.iter().rev() {
            let factor = dot(step, &direction) * inverse;
            direction.iter_mut().zip(change).for_each(|(direction, change)| *direction -= factor * change);
            factors.push(factor);
        }
        if let Some((step, change, _)) = pairs.last() {
            let scale = dot(step, change) / dot(change, change);
            direction.iter_mut().for_each(|direction| *direction *= scale);
        }
        for ((step, change, inverse), factor) in pairs.iter().zip(factors.into_iter().rev()) {
            let correction = factor - dot(change, &direction) * inverse;
            direction.iter_mut().zip(step).for_each(|(direction, step)| *direction += correction * step);
        }
        let slope = dot(&gradient, &direction);
        let mut pace = if pairs.is_empty() { (1. / dot(&gradient, &gradient).sqrt()).min(1.) } else { 1. };
        let mut next_gradient = vec![0.; len];
        let (next, next_value) = loop {
            let next: Vec<f64> = weights.iter().zip(&direction).map(|(weight, d)| weight + pace * d).collect();
            let next_value = objective.evaluate(&next, &mut next_gradient);
            if next_value <= value + 1e-4 * pace * slope || pace < 1e-12 {
                break (next, next_value);
            }
            pace *= 0.5;
        };
        // not even the smallest step helps: rounding has the last word
        if next_value >= value {
            break;
        }
        let step: Vec<f64> = next.iter().zip(&weights).map(|(next, weight)| next - weight).collect();
        let change: Vec<f64> = next_gradient.iter().zip(&gradient).map(|(next, gradient)| next - gradient).collect();
        let curvature = dot(&step, &change);
        if curvature > 1e-12 * dot(&change, &change) {
            pairs.push((step, change, 1. / curvature));
            if pairs.len() > 10 {
                pairs.remove(0);
            }
        }
        (weights, gradient, value) = (next, next_gradient, next_value);
    }
    weights
}

impl BaseLearner for LogisticRegression {
    fn fit(&self, examples: &Examples, members: &[u32], _: u64) -> Result<Box<dyn SubClassifier>, BoxError> {
        if !(self.c.is_finite() && self.c > 0.) {
            return Err(Box::new(crate::Error::value("LogisticRegression", "c", self.c, "above 0")));
        }
        if self.tolerance.is_nan() || self.tolerance < 0. {
            return Err(Box::new(crate::Error::value("LogisticRegression", "tolerance", self.tolerance, "0 or more")));
        }
        let present = classes(examples, members);
        if let Some(constant) = constant(examples, &present) {
            return Ok(constant);
        }
        let target = |&member: &u32| present.binary_search(&examples.labels()[member as usize]).unwrap_or_default();
        let outputs = if present.len() == 2 { 1 } else { present.len() };
        let targets = members.iter().map(target).collect();
        let objective = Objective { examples, members, targets, outputs, c: self.c };
        let len = outputs * (examples.width() + 1);
        let weights = minimise(&objective, len, self.max_iterations, self.tolerance);
        Ok(Box::new(Fitted { width: examples.width(), classes: present, weights }))
    }
}

impl SubClassifier for Fitted {
    fn predict(&self, features: &[f32]) -> Result<Vec<u16>, BoxError> {
        check_width(features, self.width)?;
        let logit = |row: &[f32], weights: &[f64]| {
            weights[self.width] + row.iter().zip(weights).map(|(&x, w)| f64::from(x) * w).sum::<f64>()
        };
        let class = |row: &[f32]| {
            let mut outputs = self.weights.chunks_exact(self.width + 1).map(|weights| logit(row, weights));
            if self.classes.len() == 2 {
                return self.classes[usize::from(outputs.next().is_some_and(|logit| logit > 0.))];
            }
            let mut best = (self.classes[0], f64::NEG_INFINITY);
            for (&class, logit) in self.classes.iter().zip(outputs) {
                if logit > best.1 {
                    best = (class, logit);
                }
            }
            best.0
        };
        Ok(features.chunks_exact(self.width).map(class).collect())
    }
}
