//! Predicted probabilities, from any framework.

use crate::{Error, Result};

/// `[rows, classes]`, each row a distribution. Borrowed: nothing is copied.
#[derive(Debug, Clone, Copy)]
pub struct Probabilities<'a, P = f64> {
    values: &'a [P],
    classes: usize,
}

/// How far the sum of a row may be from 1: f32, rounded decimals.
const TOLERANCE: f64 = 1e-3;

impl<'a, P: Copy + Into<f64>> Probabilities<'a, P> {
    /// Rows of `classes` probabilities, of f32 or f64.
    ///
    /// # Errors
    ///
    /// No classes, a number of values that is not a multiple of them, values that are not finite or negative, and rows whose sum differs from 1 by more than 0.001.
    pub fn new(values: &'a [P], classes: usize) -> Result<Self> {
        const OP: &str = "Probabilities";
        if classes == 0 {
            return Err(Error::Empty { operation: OP, what: "classes" });
        }
        if !values.len().is_multiple_of(classes) {
            return Err(Error::length(OP, "probabilities", values.len(), format!("a multiple of {classes} classes")));
        }
        for (row, values) in values.chunks_exact(classes).enumerate() {
            let mut sum = 0.;
            for (at, &value) in values.iter().enumerate() {
                let value: f64 = value.into();
                if !(value >= 0. && value.is_finite()) {
                    let (what, position, expected) = ("the probability", row * classes + at, "finite and not negative");
                    return Err(Error::Value { operation: OP, what, position, got: value, expected });
                }
                sum += value;
            }
            if (sum - 1.).abs() > TOLERANCE {
                let (what, expected) = ("the sum of row", "1, to within 0.001");
                return Err(Error::Value { operation: OP, what, position: row, got: sum, expected });
            }
        }
        Ok(Self { values, classes })
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.values.len() / self.classes
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// How many classes there are.
    pub fn num_classes(&self) -> usize {
        self.classes
    }

    /// The probabilities of a row; empty for a number beyond the rows.
    pub fn row(&self, row: usize) -> &'a [P] {
        self.values.chunks_exact(self.classes).nth(row).unwrap_or(&[])
    }

    /// The rows.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &'a [P]> {
        self.values.chunks_exact(self.classes)
    }

    /// The most probable class of a row, the smallest of several.
    pub fn most_probable(&self, row: usize) -> usize {
        let mut best = (0, f64::NEG_INFINITY);
        for (class, &p) in self.row(row).iter().enumerate() {
            if p.into() > best.1 {
                best = (class, p.into());
            }
        }
        best.0
    }
}
