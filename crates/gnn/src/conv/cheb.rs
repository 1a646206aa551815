//! Chebyshev spectral filters (Defferrard et al., NeurIPS 2016).

use super::convolution::Convolution;
use crate::{Adjacency, Error, Result};
use candle_core::Tensor;
use candle_nn::{Init, VarBuilder};
use core_tensor::{init, ops};

/// `Σ_{k < K} T_k(L̂) X W_kᵀ + b` with `T_0 = X`, `T_1 = L̂ X`, `T_k = 2 L̂ T_{k-1} - T_{k-2}` and `L̂ = -D^-1/2 A D^-1/2`: the scaled symmetric
/// Laplacian for a largest eigenvalue of 2. Self-loops are left out; weights are used.
#[derive(Debug, Clone)]
pub struct ChebConv {
    weights: Vec<Tensor>,
    bias: Tensor,
}

/// A layer of `order` filters `lins.k.weight` `[outputs, inputs]` (Glorot uniform) and `bias` (zero).
///
/// # Errors
/// An order of 0, or parameters that exist with other shapes.
pub fn cheb_conv(inputs: usize, outputs: usize, order: usize, vb: VarBuilder<'_>) -> Result<ChebConv> {
    if order == 0 {
        return Err(Error::InvalidConfig { what: "order of cheb_conv", got: "0".into(), expected: "at least 1" });
    }
    let weight = |k: usize| {
        vb.pp("lins").pp(k).get_with_hints((outputs, inputs), "weight", init::glorot_uniform(inputs, outputs))
    };
    let weights = (0..order).map(weight).collect::<candle_core::Result<_>>()?;
    Ok(ChebConv { weights, bias: vb.get_with_hints(outputs, "bias", Init::Const(0.0))? })
}

impl Convolution for ChebConv {
    fn forward(&self, x: &Tensor, adjacency: &Adjacency) -> Result<Tensor> {
        adjacency.check_layer("ChebConv::forward", x, self.weights[0].dims2()?.1, &self.weights[0])?;
        let laplacian = scaled_laplacian(adjacency)?;
        let mut out = ops::linear(x, &self.weights[0], Some(&self.bias))?;
        let mut before = x.clone();
        let mut current = x.clone();
        for (k, weight) in self.weights.iter().enumerate().skip(1) {
            let next = laplacian.sum_neighbors(&current)?;
            let next = if k == 1 { next } else { ops::sub(&ops::affine(&next, 2.0, 0.0)?, &before)? };
            before = std::mem::replace(&mut current, next);
            out = ops::add(&out, &ops::linear(&current, weight, None)?)?;
        }
        Ok(out)
    }
}

/// `-D^-1/2 A D^-1/2` without loops; rows of degree 0 are zero.
fn scaled_laplacian(adjacency: &Adjacency) -> Result<Adjacency> {
    let ones = || Tensor::ones(adjacency.num_entries(), adjacency.dtype(), adjacency.device());
    let weights = adjacency.weights().map_or_else(ones, |weights| Ok(weights.clone()))?;
    let is_edge: Vec<f32> = std::iter::zip(adjacency.sources(), adjacency.targets())
        .map(|(source, target)| f32::from(source != target))
        .collect();
    let is_edge = Tensor::from_vec(is_edge, adjacency.num_entries(), adjacency.device())?.to_dtype(weights.dtype())?;
    let weights = ops::mul(&weights, &is_edge)?;
    let pattern = adjacency.pattern();
    let degree = pattern.sum_entries(&weights)?;
    let positive = degree.gt(0.0)?;
    let safe = ops::where_cond(&positive, &degree, &degree.ones_like()?)?;
    let inverse_root = ops::div(&safe.ones_like()?, &ops::sqrt(&safe)?)?;
    let inverse_root = ops::where_cond(&positive, &inverse_root, &inverse_root.zeros_like()?)?;
    let of_rows = pattern.gather_rows(&inverse_root)?;
    let of_cols = pattern.gather_cols(&inverse_root)?;
    let values = ops::affine(&ops::mul(&ops::mul(&of_rows, &weights)?, &of_cols)?, -1.0, 0.0)?;
    adjacency.with_weights(values)
}
