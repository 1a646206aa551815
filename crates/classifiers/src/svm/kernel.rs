//! Kernels and their width.

use crate::pairwise::Comparison;

/// γ of the radial kernel.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Gamma {
    /// 1 / (width · population variance of all entries of the training rows), 1 if all entries are equal; scikit-learn's `scale`.
    Scale,
    /// This value.
    Value(f64),
}

/// What compares two rows.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Kernel {
    /// exp(-γ |x - y|²)
    Rbf(Gamma),
    /// x · y
    Linear,
}

impl Kernel {
    /// What it is computed from.
    pub(crate) fn comparison(self) -> Comparison {
        match self {
            Self::Rbf(_) => Comparison::SquaredDistance,
            Self::Linear => Comparison::Product,
        }
    }
}
