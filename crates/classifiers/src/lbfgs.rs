//! Limited-memory BFGS (Nocedal, 1980), for smooth convex objectives.

use crate::products::{add_scaled, dot};

/// A function and its gradient.
pub(crate) trait Objective {
    /// The value at `at`; the gradient goes into `gradient`.
    fn evaluate(&mut self, at: &[f64], gradient: &mut [f64]) -> f64;
}

pub(crate) struct Minimum {
    pub(crate) at: Vec<f64>,
    pub(crate) iterations: usize,
    /// The largest element of the gradient.
    pub(crate) violation: f64,
}

/// Pairs of steps and changes of the gradient that are kept.
const PAIRS: usize = 10;

/// Ends when no element of the gradient is above `tolerance`, after `max_iterations`, or where rounding leaves nothing to gain. Starts at 0; backtracking line search.
pub(crate) fn minimise(objective: &mut impl Objective, len: usize, max_iterations: usize, tolerance: f64) -> Minimum {
    let mut at = vec![0.; len];
    let mut gradient = vec![0.; len];
    let mut value = objective.evaluate(&at, &mut gradient);
    let mut pairs: Vec<(Vec<f64>, Vec<f64>, f64)> = Vec::new();
    let mut iterations = 0;
    while iterations < max_iterations && largest(&gradient) > tolerance {
        iterations += 1;
        let direction = direction(&gradient, &pairs);
        let slope = dot(&gradient, &direction);
        let mut pace = if pairs.is_empty() { (1. / dot(&gradient, &gradient).sqrt()).min(1.) } else { 1. };
        let mut next_gradient = vec![0.; len];
        // close to the minimum, differences of values are rounding, and the gradient decides
        let rounding = 4. * f64::EPSILON * value.abs();
        let (next, next_value) = loop {
            let mut next = at.clone();
            add_scaled(&mut next, pace, &direction);
            let next_value = objective.evaluate(&next, &mut next_gradient);
            if next_value <= value + 1e-4 * pace * slope + rounding || pace < 1e-12 {
                break (next, next_value);
            }
            pace *= 0.5;
        };
        let is_better =
            next_value < value || (next_value <= value + rounding && largest(&next_gradient) < largest(&gradient));
        // not even the smallest step helps: rounding has the last word
        if !is_better {
            break;
        }
        let step: Vec<f64> = next.iter().zip(&at).map(|(next, at)| next - at).collect();
        let change: Vec<f64> = next_gradient.iter().zip(&gradient).map(|(next, gradient)| next - gradient).collect();
        let curvature = dot(&step, &change);
        if curvature > 1e-12 * dot(&change, &change) {
            pairs.push((step, change, 1. / curvature));
            if pairs.len() > PAIRS {
                pairs.remove(0);
            }
        }
        (at, gradient, value) = (next, next_gradient, next_value);
    }
    let violation = largest(&gradient);
    Minimum { at, iterations, violation }
}

/// The gradient times an approximation of the inverse Hessian, downhill.
fn direction(gradient: &[f64], pairs: &[(Vec<f64>, Vec<f64>, f64)]) -> Vec<f64> {
    let mut direction: Vec<f64> = gradient.iter().map(|gradient| -gradient).collect();
    let mut factors = Vec::with_capacity(pairs.len());
    for (step, change, inverse) in pairs.iter().rev() {
        let factor = dot(step, &direction) * inverse;
        add_scaled(&mut direction, -factor, change);
        factors.push(factor);
    }
    if let Some((step, change, _)) = pairs.last() {
        let scale = dot(step, change) / dot(change, change);
        direction.iter_mut().for_each(|direction| *direction *= scale);
    }
    for ((step, change, inverse), factor) in pairs.iter().zip(factors.into_iter().rev()) {
        let correction = factor - dot(change, &direction) * inverse;
        add_scaled(&mut direction, correction, step);
    }
    direction
}

/// The largest element; infinite where one is not a number.
fn largest(gradient: &[f64]) -> f64 {
    let larger =
        |largest: f64, gradient: &f64| if gradient.is_nan() { f64::INFINITY } else { largest.max(gradient.abs()) };
    gradient.iter().fold(0., larger)
}
