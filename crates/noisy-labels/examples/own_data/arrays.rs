//! NumPy arrays of numbers.

use std::path::Path;

pub(crate) type Fallible<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Rows of f64.
#[derive(Debug, Clone)]
pub(crate) struct Matrix {
    pub(crate) values: Vec<f64>,
    pub(crate) width: usize,
}

impl Matrix {
    pub(crate) fn rows(&self) -> usize {
        self.values.len() / self.width
    }
}

/// An array `[rows, width]` from a `.npy` file.
pub(crate) fn matrix(path: &Path) -> Fallible<Matrix> {
    let shown = |reason: &dyn std::fmt::Display| format!("{}: {reason}", path.display());
    let bytes = std::fs::read(path).map_err(|error| shown(&error))?;
    let array = datasets::npy::parse(&bytes).map_err(|error| shown(&error))?;
    match array.shape[..] {
        [_, width] if width > 0 => Ok(Matrix { values: array.values.to_f64(), width }),
        _ => Err(shown(&format!("the array has shape {:?}, expected two dimensions", array.shape)).into()),
    }
}
