//! Whether embeddings still tell things apart.

use crate::{Error, Result};
use candle_core::{DType, Tensor};
use core_tensor::kernel::{Matrix, product};

/// How much of their space embeddings `[rows, d]` fill.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Collapse {
    /// The population deviation of each column. Zeros are dimensions that say nothing.
    pub per_dimension_std: Vec<f64>,
    /// `exp(−Σ p ln p)` of the singular values of the centred embeddings, `p` their shares (Roy and Vetterli 2007): d if all directions count alike, 1 for a line, 0 for a point.
    pub effective_rank: f64,
}

impl Collapse {
    /// Measures embeddings. `O(n d² + d³)`.
    ///
    /// # Errors
    /// A tensor that is not `[rows, d]` with at least one row, or NaN or infinity in it.
    pub fn of(embeddings: &Tensor) -> Result<Self> {
        const OPERATION: &str = "Collapse::of";
        let &[n, d] = embeddings.dims() else {
            let (got, expected) = (embeddings.dims().to_vec(), "[rows, width]".into());
            return Err(Error::Shape { operation: OPERATION, what: "embeddings", got, expected });
        };
        if n == 0 {
            return Err(Error::invalid_data(OPERATION, "no embedding"));
        }
        crate::features::check_finite(OPERATION, "embeddings", embeddings)?;
        let mut x: Vec<f64> = embeddings.detach().to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
        let mut means = vec![0.0; d];
        for row in x.chunks_exact(d.max(1)) {
            means.iter_mut().zip(row).for_each(|(mean, value)| *mean += value / n as f64);
        }
        for row in x.chunks_exact_mut(d.max(1)) {
            row.iter_mut().zip(&means).for_each(|(value, mean)| *value -= mean);
        }
        // the smaller of both Gram matrices has the same singular values
        let centred = Matrix::new(&x, n, d);
        let (gram, size) = if d <= n { (product(centred.t(), centred), d) } else { (product(centred, centred.t()), n) };
        let mut variances = vec![0.0; d];
        for row in x.chunks_exact(d.max(1)) {
            variances.iter_mut().zip(row).for_each(|(sum, value)| *sum += value * value / n as f64);
        }
        let eigenvalues = nalgebra::DMatrix::from_row_slice(size, size, &gram).symmetric_eigenvalues();
        let largest = eigenvalues.iter().copied().fold(0.0, f64::max);
        // what rounding leaves of a singular value that is 0 does not count
        let singular: Vec<f64> =
            eigenvalues.iter().filter(|value| **value > 1e-12 * largest).map(|value| value.sqrt()).collect();
        let sum: f64 = singular.iter().sum();
        let entropy: f64 = singular.iter().map(|value| -(value / sum) * (value / sum).ln()).sum();
        let effective_rank = if singular.is_empty() { 0.0 } else { entropy.exp() };
        Ok(Self { per_dimension_std: variances.into_iter().map(f64::sqrt).collect(), effective_rank })
    }

    /// The mean of the columns' deviations.
    pub fn mean_std(&self) -> f64 {
        self.per_dimension_std.iter().sum::<f64>() / self.per_dimension_std.len().max(1) as f64
    }
}
