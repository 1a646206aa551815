//! Ego-semantic descriptors, weighed by attention.

use super::clusters::HierarchicalClusters;
use super::config::EgoAttentionConfig;
use super::granules::{EgoSum, Granules};
use crate::door::check_kind;
use crate::{Error, Result};
use candle_core::{DType, Tensor};
use candle_nn::{Init, VarBuilder};
use core_tensor::kernel::apply;
use core_tensor::{init, ops};
use std::sync::Arc;

/// For each instance `s = Σ_g α_g φ_g W_o`: its descriptors by all clusters of all levels, mapped and weighed by
///
/// ```text
/// e_g = (x W_q) · (φ_g W_o W_k + r_l) / √a,   α = softmax over all g of e_g
/// ```
///
/// Never holds the descriptors: `O(n G D)` operations, `O(n (G + D))` memory. Gradients go through z, x and all parameters; clusters are constants.
#[derive(Debug, Clone)]
pub struct EgoAttention {
    first: Tensor,
    second: Tensor,
    queries: Tensor,
    keys: Tensor,
    levels: Tensor,
    config: EgoAttentionConfig,
}

/// An attention with `w1`, `w2` `[descriptors, values]`, `wq`, `wk` `[values, keys]` (Xavier normal, acting on rows: `φ W`) and `r` `[levels, keys]` (zero).
///
/// # Errors
/// A width or number of levels of 0, or parameters that exist with other shapes.
pub fn ego_attention(config: EgoAttentionConfig, vb: VarBuilder<'_>) -> Result<EgoAttention> {
    let EgoAttentionConfig { descriptors, values, keys, levels, .. } = config;
    for (what, got) in [("descriptors", descriptors), ("values", values), ("keys", keys), ("levels", levels)] {
        if got == 0 {
            return Err(Error::InvalidConfig { what, got: "0".into(), expected: "at least 1" });
        }
    }
    let matrix = |name: &str, rows: usize, columns: usize| {
        vb.get_with_hints((rows, columns), name, init::glorot_normal(rows, columns))
    };
    Ok(EgoAttention {
        first: matrix("w1", descriptors, values)?,
        second: matrix("w2", descriptors, values)?,
        queries: matrix("wq", values, keys)?,
        keys: matrix("wk", values, keys)?,
        levels: vb.get_with_hints((levels, keys), "r", Init::Const(0.0))?,
        config,
    })
}

impl EgoAttention {
    /// The settings.
    pub fn config(&self) -> &EgoAttentionConfig {
        &self.config
    }

    /// `s` `[n, values]` of instances with features `z` `[n, descriptors]`, whose queries come from `x` `[n, values]`.
    ///
    /// # Errors
    /// Rows that do not fit each other, the parameters or the clusters.
    pub fn forward(&self, z: &Tensor, x: &Tensor, clusters: &HierarchicalClusters) -> Result<Tensor> {
        let kernel = self.kernel("EgoAttention::forward", z, x, clusters)?;
        let (n, values) = (z.dims()[0], self.config.values);
        let q = ops::matmul(x, &self.queries)?;
        if z.device().is_cpu() {
            return Ok(apply(kernel, &[z, &q, &self.parameters()?], (n, values))?);
        }
        self.composed(z, &q, &kernel.granules, clusters)
    }

    /// The weight of each descriptor of each instance, `[n, granules]`: which clusters explain it. Granules are ordered by level, in it by order, in it by cluster; rows add up to 1.
    ///
    /// # Errors
    /// As [`EgoAttention::forward`].
    pub fn weights(&self, z: &Tensor, x: &Tensor, clusters: &HierarchicalClusters) -> Result<Tensor> {
        let kernel = self.kernel("EgoAttention::weights", z, x, clusters)?;
        let flat = |tensor: &Tensor| -> Result<Vec<f64>> {
            Ok(tensor.detach().to_dtype(DType::F64)?.flatten_all()?.to_vec1()?)
        };
        let q = ops::matmul(x, &self.queries)?;
        let weights = kernel.attention(&flat(z)?, &flat(&q)?, &flat(&self.parameters()?)?);
        let granules = kernel.granules.num_granules();
        Ok(Tensor::from_vec(weights, (z.dims()[0], granules), z.device())?.to_dtype(z.dtype())?)
    }

    fn parameters(&self) -> Result<Tensor> {
        let flat = [&self.first, &self.second, &self.keys, &self.levels].map(|weight| weight.flatten_all());
        let flat = flat.into_iter().collect::<candle_core::Result<Vec<_>>>()?;
        Ok(ops::cat(&flat, 0)?)
    }

    fn kernel(
        &self,
        operation: &'static str,
        z: &Tensor,
        x: &Tensor,
        clusters: &HierarchicalClusters,
    ) -> Result<EgoSum> {
        let EgoAttentionConfig { descriptors, values, keys, levels, descriptor, norm } = self.config;
        for (what, rows, width) in [("z", z, descriptors), ("x", x, values)] {
            if rows.rank() != 2 || rows.dims()[1] != width || rows.dims()[0] != x.dims()[0] {
                let (got, expected) = (rows.dims().to_vec(), format!("[n, {width}] with one n for z and x"));
                return Err(Error::Shape { operation, what, got, expected });
            }
            check_kind(operation, what, rows, self.first.dtype(), self.first.device())?;
        }
        if clusters.width() != descriptors || clusters.levels().len() != levels {
            let reason = format!(
                "clusters of width {} on {} levels, where the layer has {descriptors} and {levels}",
                clusters.width(),
                clusters.levels().len()
            );
            return Err(Error::invalid_data(operation, reason));
        }
        let granules = Arc::new(Granules::new(clusters, descriptor, norm));
        let kernel = EgoSum { granules, keys, values };
        debug_assert_eq!(kernel.num_parameters(), 2 * descriptors * values + values * keys + levels * keys);
        Ok(kernel)
    }

    /// The same with all descriptors at once, for devices without a kernel.
    fn composed(&self, z: &Tensor, q: &Tensor, granules: &Granules, clusters: &HierarchicalClusters) -> Result<Tensor> {
        super::explicit::ego_sum(z, q, [&self.first, &self.second, &self.keys, &self.levels], granules, clusters)
    }
}
