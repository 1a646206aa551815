//! Convolutions with clusters as virtual neighbours.

use super::attention::{EgoAttention, ego_attention};
use super::clusters::HierarchicalClusters;
use super::config::EgoConvConfig;
use crate::conv::{Convolution, GcnConv, GinConv, SageConv};
use crate::{Adjacency, Error, Result};
use candle_core::{DType, Tensor};
use candle_nn::VarBuilder;
use core_tensor::ops;
use core_tensor::sparse::SparsePattern;
use std::sync::Arc;

/// A convolution that takes in the sum of a node's virtual neighbours, `s` `[n, in]`, whose weights add up to λ.
pub trait EgoBase: Convolution {
    /// The new features with the virtual neighbours; the plain ones for λ = 0.
    ///
    /// # Errors
    /// Features that do not fit the graph or the layer.
    fn forward_ego(&self, x: &Tensor, ego: &Tensor, lambda: f64, adjacency: &Adjacency) -> Result<Tensor>;
}

/// `(Σ_j (A + I)_ij h_j / √(d_i d_j) + (λ / d_i) s_i) W + b` with `d_i = 1 + degree_i + λ`.
impl EgoBase for GcnConv {
    fn forward_ego(&self, x: &Tensor, ego: &Tensor, lambda: f64, adjacency: &Adjacency) -> Result<Tensor> {
        if lambda == 0.0 {
            return self.forward(x, adjacency);
        }
        adjacency.check_layer("EgoConv::forward", x, self.inputs(), self.weight())?;
        let looped = adjacency.with_self_loops()?;
        let pattern = looped.pattern();
        let weights: Option<Vec<f64>> = match looped.weights() {
            Some(weights) => Some(weights.detach().to_dtype(DType::F64)?.to_vec1()?),
            None => None,
        };
        let weight = |entry: usize| weights.as_ref().map_or(1.0, |weights| weights[entry]);
        let mut degrees = vec![lambda; pattern.num_rows()];
        for (entry, &row) in pattern.rows().iter().enumerate() {
            degrees[row as usize] += weight(entry);
        }
        let entries = std::iter::zip(pattern.rows(), pattern.cols()).enumerate();
        let values: Vec<f64> = entries
            .map(|(entry, (&row, &column))| weight(entry) / (degrees[row as usize] * degrees[column as usize]).sqrt())
            .collect();
        let shares: Vec<f64> = degrees.iter().map(|degree| lambda / degree).collect();
        let tensor = |values: Vec<f64>, shape: Vec<usize>| -> Result<Tensor> {
            Ok(Tensor::from_vec(values, shape, x.device())?.to_dtype(x.dtype())?)
        };
        let count = values.len();
        let shares = tensor(shares, vec![x.dims()[0], 1])?;
        let sum = propagate(pattern, &tensor(values, vec![count])?, x)?;
        self.transform(&ops::add(&sum, &ops::mul(ego, &shares)?)?)
    }
}

fn propagate(pattern: &SparsePattern, values: &Tensor, x: &Tensor) -> Result<Tensor> {
    Ok(pattern.matmul_weighted(values, x)?)
}

/// `MLP((1 + ε) h_i + Σ_j h_j + λ s_i)`.
impl EgoBase for GinConv {
    fn forward_ego(&self, x: &Tensor, ego: &Tensor, lambda: f64, adjacency: &Adjacency) -> Result<Tensor> {
        self.forward_with(x, Some(&ops::affine(ego, lambda, 0.0)?), adjacency)
    }
}

/// The mean over neighbours with weight 1 and `s_i` with weight λ, in the place of the mean over neighbours.
impl EgoBase for SageConv {
    fn forward_ego(&self, x: &Tensor, ego: &Tensor, lambda: f64, adjacency: &Adjacency) -> Result<Tensor> {
        if lambda == 0.0 {
            return self.forward(x, adjacency);
        }
        let sum = adjacency.pattern().matmul(x)?;
        let degrees = adjacency.pattern().row_degrees();
        let inverse: Vec<f64> = degrees.into_iter().map(|degree| 1.0 / (f64::from(degree) + lambda)).collect();
        let inverse = Tensor::from_vec(inverse, (x.dims()[0], 1), x.device())?.to_dtype(x.dtype())?;
        let mean = ops::mul(&ops::add(&sum, &ops::affine(ego, lambda, 0.0)?)?, &inverse)?;
        self.forward_with_mean(x, &mean, adjacency)
    }
}

/// A convolution over a graph's neighbours and over clusters, which stand as private virtual neighbours beside each node: their descriptors, weighed by [`EgoAttention`], with total weight λ.
///
/// With clusters inside ([`EgoConv::with_clusters`]) it is a [`Convolution`] like others, in supervised training too; the features that are compared with clusters are then the normalised rows of its
/// input. Without clusters it is the plain convolution.
#[derive(Debug, Clone)]
pub struct EgoConv<C> {
    base: C,
    attention: EgoAttention,
    config: EgoConvConfig,
    clusters: Option<Arc<HierarchicalClusters>>,
}

/// A layer around `base` with the attention's parameters under `ego`.
///
/// # Errors
/// A λ that is negative or not finite, a width of 0, or parameters that exist with other shapes.
pub fn ego_conv<C: EgoBase>(base: C, config: EgoConvConfig, vb: VarBuilder<'_>) -> Result<EgoConv<C>> {
    if !(config.lambda.is_finite() && config.lambda >= 0.0) {
        let (got, expected) = (config.lambda.to_string(), "a finite number of 0 or more");
        return Err(Error::InvalidConfig { what: "lambda", got, expected });
    }
    Ok(EgoConv { base, attention: ego_attention(config.attention, vb.pp("ego"))?, config, clusters: None })
}

impl<C: EgoBase> EgoConv<C> {
    /// The same layer, same parameters, with these clusters.
    #[must_use]
    pub fn with_clusters(self, clusters: HierarchicalClusters) -> Self {
        Self { clusters: Some(Arc::new(clusters)), ..self }
    }

    /// The clusters inside, if there are any.
    pub fn clusters(&self) -> Option<&HierarchicalClusters> {
        self.clusters.as_deref()
    }

    /// The attention.
    pub fn attention(&self) -> &EgoAttention {
        &self.attention
    }

    /// The plain convolution.
    pub fn base(&self) -> &C {
        &self.base
    }

    /// The sum of the descriptors of each node, `[n, in]`, as it enters the convolution: from the features `z` `[n, D]` that are compared with clusters, and the layer's input.
    ///
    /// # Errors
    /// Features that do not fit.
    pub fn ego(&self, x: &Tensor, z: &Tensor, clusters: &HierarchicalClusters) -> Result<Tensor> {
        let query = if self.config.query_norm { normalize(x)? } else { x.clone() };
        let ego = self.attention.forward(z, &query, clusters)?;
        if !self.config.ego_norm {
            return Ok(ego);
        }
        let deviation = deviation(x)?;
        Ok(ops::affine(&normalize(&ego)?, deviation, 0.0)?)
    }

    /// The new features `[n, out]` from the input `x` `[n, in]` and the sum of descriptors.
    ///
    /// # Errors
    /// Features that do not fit.
    pub fn forward_with(&self, x: &Tensor, ego: &Tensor, adjacency: &Adjacency) -> Result<Tensor> {
        self.base.forward_ego(x, ego, self.config.lambda, adjacency)
    }
}

impl<C: EgoBase> Convolution for EgoConv<C> {
    fn forward(&self, x: &Tensor, adjacency: &Adjacency) -> Result<Tensor> {
        match &self.clusters {
            Some(clusters) if self.config.lambda > 0.0 => {
                let ego = self.ego(x, &normalize(x)?, clusters)?;
                self.forward_with(x, &ego, adjacency)
            }
            _ => self.base.forward(x, adjacency),
        }
    }
}

/// Rows of mean 0 and variance 1, without parameters.
pub(super) fn normalize(x: &Tensor) -> Result<Tensor> {
    let width = x.dims()[1];
    let (ones, zeros) = (Tensor::ones(width, x.dtype(), x.device())?, Tensor::zeros(width, x.dtype(), x.device())?);
    Ok(ops::layer_norm(x, &ones, &zeros, 1e-5)?)
}

/// The unbiased standard deviation of all entries.
fn deviation(x: &Tensor) -> Result<f64> {
    let values: Vec<f64> = x.detach().to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    Ok((squares / (values.len().max(2) - 1) as f64).sqrt())
}
