//! The pretext tasks.

use super::clusters::HierarchicalClusters;
use crate::Result;
use crate::self_supervised::normalize_rows;
use candle_core::Tensor;
use core_tensor::ops;

/// The cross-entropy of `cos(y_i, μ_lk)/τ` with the instance's cluster of each level, the mean over levels: `y` `[n, D]`, `of_instances[l]` the clusters of the `n` instances on level `l`.
///
/// # Errors
/// Instances or widths that do not fit.
pub fn cluster_loss(
    y: &Tensor,
    clusters: &HierarchicalClusters,
    of_instances: &[Vec<u32>],
    temperature: f64,
) -> Result<Tensor> {
    let y = normalize_rows(y)?;
    let mut sum: Option<Tensor> = None;
    for (level, assignment) in clusters.levels().iter().zip(of_instances) {
        let count = level.masses.len();
        let centroids = Tensor::from_slice(&level.centroids, (count, clusters.width()), y.device())?;
        let centroids = normalize_rows(&centroids.to_dtype(y.dtype())?)?;
        let logits = ops::affine(&ops::linear(&y, &centroids, None)?, 1.0 / temperature, 0.0)?;
        let targets = Tensor::from_slice(assignment, assignment.len(), y.device())?;
        let loss = ops::cross_entropy(&logits, &targets)?;
        sum = Some(match sum {
            Some(sum) => ops::add(&sum, &loss)?,
            None => loss,
        });
    }
    match sum {
        Some(sum) => Ok(ops::affine(&sum, 1.0 / clusters.levels().len() as f64, 0.0)?),
        None => Ok(Tensor::zeros((), y.dtype(), y.device())?),
    }
}

/// `½ [mean (1 − cos(y¹ W, s²)) + mean (1 − cos(y² W, s¹))]`: each view's output predicts the other's sum of descriptors, which is a constant here. `predictor` is `[D, D]`, acting on rows.
///
/// # Errors
/// Shapes that do not fit.
pub fn ego_loss(y: [&Tensor; 2], ego: [&Tensor; 2], predictor: &Tensor) -> Result<Tensor> {
    let apart = |y: &Tensor, ego: &Tensor| -> Result<Tensor> {
        let predicted = normalize_rows(&ops::matmul(y, predictor)?)?;
        let product = ops::mul(&predicted, &normalize_rows(&ego.detach())?)?;
        Ok(ops::affine(&ops::sum_all(&product)?, -0.5 / y.dims()[0] as f64, 0.5)?)
    };
    Ok(ops::add(&apart(y[0], ego[1])?, &apart(y[1], ego[0])?)?)
}
