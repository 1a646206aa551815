//! Potentials: losses as functions of the state.

use crate::{Error, Result};

/// A potential `V_y(h) ≥ 0` with its gradient in closed form. The label is whatever the potential makes of it: a class, or the number of an example whose target it knows.
pub trait Potential: Send + Sync {
    /// `V` at `h`, and `∇V`, which is written.
    fn value(&self, h: &[f64], label: u32, gradient: &mut [f64]) -> f64;

    /// The Hessian of `V` at `h`, row by row into `out`, for the loss of order 2.
    ///
    /// # Errors
    ///
    /// The default: there is none.
    fn hessian(&self, h: &[f64], label: u32, out: &mut [f64]) -> Result<()> {
        let _ = (h, label, out);
        Err(Error::InvalidData {
            operation: "Potential::hessian",
            what: "the potential",
            reason: "has no Hessian, which order 2 needs".to_owned(),
        })
    }

    /// The number of labels, where they are classes: the state's dimension.
    fn num_labels(&self, classes: usize) -> usize {
        classes
    }
}

/// The cross-entropy `−log softmax(h)_y`, natural logarithm; never 0 at a finite state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CrossEntropy;

impl Potential for CrossEntropy {
    fn value(&self, h: &[f64], label: u32, gradient: &mut [f64]) -> f64 {
        let top = h.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mut total = 0.;
        for (gradient, h) in gradient.iter_mut().zip(h) {
            *gradient = (h - top).exp();
            total += *gradient;
        }
        for gradient in gradient.iter_mut() {
            *gradient /= total;
        }
        gradient[label as usize] -= 1.;
        total.ln() + top - h[label as usize]
    }

    fn hessian(&self, h: &[f64], _: u32, out: &mut [f64]) -> Result<()> {
        let n = h.len();
        let mut p = vec![0.; n];
        self.value(h, 0, &mut p);
        p[0] += 1.;
        for (j, row) in out.chunks_exact_mut(n).enumerate() {
            for (k, out) in row.iter_mut().enumerate() {
                *out = if j == k { p[j] } else { 0. } - p[j] * p[k];
            }
        }
        Ok(())
    }
}

/// The squared distance `½ |h − C_y|²` to the class's vertex, which is `vertex` at the class and `−vertex` elsewhere; 0 there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SquaredError {
    /// The vertices' coordinate.
    pub vertex: f64,
}

impl Potential for SquaredError {
    fn value(&self, h: &[f64], label: u32, gradient: &mut [f64]) -> f64 {
        let mut sum = 0.;
        for (k, (gradient, h)) in gradient.iter_mut().zip(h).enumerate() {
            *gradient = h - if k == label as usize { self.vertex } else { -self.vertex };
            sum += *gradient * *gradient;
        }
        0.5 * sum
    }

    fn hessian(&self, h: &[f64], _: u32, out: &mut [f64]) -> Result<()> {
        let n = h.len();
        out.iter_mut().enumerate().for_each(|(at, out)| *out = f64::from(at % (n + 1) == 0));
        Ok(())
    }
}
