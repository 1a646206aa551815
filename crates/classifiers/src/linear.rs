//! A linear classifier, however it was trained.

use crate::products::{Dense, outputs};
use crate::{Fitted, Result, Rows};

/// Says the class with the largest output `w_c · x + b_c`, the smaller class on ties.
///
/// With one output (a model of two classes) the second class where the output is above 0.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct FittedLinear {
    pub(crate) classes: Vec<u32>,
    pub(crate) width: usize,
    pub(crate) weights: Vec<f64>,
    pub(crate) iterations: usize,
    pub(crate) violation: f64,
    pub(crate) is_converged: bool,
}

impl FittedLinear {
    /// The classes that it can say, ascending.
    pub fn classes(&self) -> &[u32] {
        &self.classes
    }

    /// Weights and biases, `[outputs, width + 1]`, the bias last in each row.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// Steps that training took.
    pub fn iterations(&self) -> usize {
        self.iterations
    }

    /// Whether training ended because it had reached its tolerance, rather than its limit of iterations. (A fixed number of steps counts as reached.)
    pub fn is_converged(&self) -> bool {
        self.is_converged
    }

    /// The largest element of the gradient where training ended; of the mean loss with its penalty.
    pub fn violation(&self) -> f64 {
        self.violation
    }

    /// The outputs, `[rows, outputs]`.
    ///
    /// # Errors
    /// [`crate::Error::Length`] for rows of another width.
    pub fn outputs(&self, x: Rows<'_>) -> Result<Vec<f64>> {
        x.check_width("FittedLinear", self.width)?;
        let x = x.to_matrix();
        let mut out = vec![0.; x.len() * (self.weights.len() / (self.width + 1))];
        outputs(Dense::of(&x), &self.weights, &mut out);
        Ok(out)
    }
}

impl Fitted for FittedLinear {
    fn predict(&self, x: Rows<'_>) -> Result<Vec<u32>> {
        let out = self.outputs(x)?;
        let columns = self.weights.len() / (self.width + 1);
        let class = |row: &[f64]| match row {
            [output] if self.classes.len() == 2 => self.classes[usize::from(*output > 0.)],
            _ => self.classes[largest(row)],
        };
        Ok(out.chunks_exact(columns).map(class).collect())
    }
}

/// The position of the largest number, the first of equal ones.
pub(crate) fn largest(row: &[f64]) -> usize {
    let mut best = 0;
    for (at, value) in row.iter().enumerate() {
        if *value > row[best] {
            best = at;
        }
    }
    best
}
