//! The sum of descriptors with all descriptors in memory: for devices without a kernel, and as the reference of tests.

use super::clusters::HierarchicalClusters;
use super::config::{DescriptorKind, DescriptorOrders, OmniNorm};
use super::granules::Granules;
use crate::{Error, Result};
use candle_core::{D, Tensor};

/// `[w1, w2, wk, r]` as in the attention.
pub(super) fn ego_sum(
    z: &Tensor,
    q: &Tensor,
    [first, second, keys, levels]: [&Tensor; 4],
    granules: &Granules,
    clusters: &HierarchicalClusters,
) -> Result<Tensor> {
    let (n, width) = z.dims2()?;
    let (dtype, device) = (z.dtype(), z.device());
    let (mut values, mut scores) = (Vec::new(), Vec::new());
    let root = (keys.dims()[1] as f64).sqrt();
    for (at, level) in clusters.levels().iter().enumerate() {
        let count = level.masses.len();
        let constant = |values: &[f64]| Tensor::from_slice(values, (1, count, width), device)?.to_dtype(dtype);
        let difference = z.unsqueeze(1)?.broadcast_sub(&constant(&level.centroids)?)?;
        let variances = constant(&level.variances)?;
        let is_fisher = granules.descriptor.kind == DescriptorKind::Fisher;
        let of_first = || match is_fisher {
            true => difference.broadcast_div(&variances.sqrt()?),
            false => Ok(difference.clone()),
        };
        let of_second = || match is_fisher {
            true => (difference.sqr()?.broadcast_div(&variances)? - 1.0)? * std::f64::consts::FRAC_1_SQRT_2,
            false => difference.sqr(),
        };
        let mut of_level = Vec::new();
        if granules.descriptor.orders != DescriptorOrders::Second {
            of_level.push((of_first()?, first));
        }
        if granules.descriptor.orders != DescriptorOrders::First {
            of_level.push((of_second()?, second));
        }
        for (descriptors, weight) in of_level {
            let value = descriptors.broadcast_matmul(&weight.unsqueeze(0)?)?;
            let embedding = levels.narrow(0, at, 1)?.unsqueeze(0)?;
            let key = value.broadcast_matmul(&keys.unsqueeze(0)?)?.broadcast_add(&embedding)?;
            scores.push((key.broadcast_mul(&q.unsqueeze(1)?)?.sum(D::Minus1)? / root)?);
            values.push(value);
        }
    }
    let alpha = match granules.norm {
        OmniNorm::Joint => candle_nn::ops::softmax(&Tensor::cat(&scores, 1)?, 1)?,
        OmniNorm::PerLevel => {
            let orders = scores.len() / clusters.levels().len();
            let of_levels = scores
                .chunks(orders)
                .map(|scores| candle_nn::ops::softmax(&Tensor::cat(scores, 1)?, 1)? / clusters.levels().len() as f64);
            Tensor::cat(&of_levels.collect::<candle_core::Result<Vec<_>>>()?, 1)?
        }
        OmniNorm::Uniform => {
            let granules = granules.num_granules();
            (Tensor::ones((n, granules), dtype, device)? / granules as f64)?
        }
        OmniNorm::TopM(_) => {
            return Err(Error::invalid_data("EgoAttention::forward", "OmniNorm::TopM exists on the CPU only"));
        }
    };
    let values = Tensor::cat(&values, 1)?;
    Ok(values.broadcast_mul(&alpha.unsqueeze(2)?)?.sum(1)?)
}
