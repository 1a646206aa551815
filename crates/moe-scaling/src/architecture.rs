//! Parameter and flop counts of routed transformers, as defined in the paper.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// The kinds of routers that differ in their number of parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RouterKind {
    /// A `d × E` matrix in each routed layer: S-BASE, BASE, top-k, and Hash in the paper's counts, although it does not use the matrix.
    Linear,
    /// The matrix and a value network `d → ⌊d/8⌋ → 1` without biases: RL-R.
    Reinforce,
    /// No parameters.
    Free,
}

/// The sizes of a transformer. Attention has four projections and one for relative positions, the feed-forward layer is `d → 4d → d`, all without
/// biases, and each block has two normalisations with scale and offset. Embeddings and the final normalisation are not counted.
///
/// The formulas give the authors' released counts for all 223 runs.
///
/// ```
/// use moe_scaling::architecture::{Architecture, RouterKind};
/// let model = Architecture { d_model: 512, blocks: 8, heads: 8, head_size: 64, routing_frequency: 0.5 };
/// assert_eq!(model.dense_parameters()?, 27_279_360);
/// assert!(model.total_parameters(64, RouterKind::Linear)? > 500_000_000);
/// # Ok::<(), moe_scaling::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Architecture {
    /// Width of the residual stream, `d`.
    pub d_model: usize,
    /// The number of transformer blocks, `l`.
    pub blocks: usize,
    /// The number of attention heads.
    pub heads: usize,
    /// Width of the keys, queries and values of a head.
    pub head_size: usize,
    /// The fraction of blocks whose feed-forward layer is routed, `R`: every `1/R`-th block.
    pub routing_frequency: f64,
}

impl Architecture {
    fn check(&self) -> Result<()> {
        let frequency = self.routing_frequency;
        if !(0. ..=1.).contains(&frequency) {
            return Err(Error::config("routing_frequency", format!("{frequency} is not between 0 and 1")));
        }
        let limit = 1 << 24;
        let sizes = [self.d_model, self.blocks, self.heads, self.head_size];
        if sizes.iter().any(|&size| size == 0 || size > limit) {
            return Err(Error::config("architecture", format!("every size of {self:?} must be in 1..={limit}")));
        }
        Ok(())
    }

    /// The indices of the routed blocks: the `l` for which `l + 1` is divisible by `1/R`.
    ///
    /// # Errors
    ///
    /// When a size is zero or above 2²⁴, or `R` is outside `[0, 1]`; counts of parameters and flops also when they are not below 2⁶⁴.
    pub fn routed_blocks(&self) -> Result<Vec<usize>> {
        self.check()?;
        // for a whole 1/R this is divisibility, otherwise routed blocks are spread evenly; 1e-9 absorbs the rounding error of R
        let count = |blocks: usize| (blocks as f64 * self.routing_frequency + 1e-9).floor();
        Ok((0..self.blocks).filter(|&block| count(block + 1) > count(block)).collect())
    }

    /// The parameters that a token passes through: `N = l (5 d a + 8 d² + 4 d)` with `a = heads · head_size`.
    ///
    /// # Errors
    ///
    /// As for [`Self::routed_blocks`].
    pub fn dense_parameters(&self) -> Result<u64> {
        self.check()?;
        let (d, a) = (self.d_model as u128, self.heads as u128 * self.head_size as u128);
        whole(Some(self.blocks as u128 * (5 * d * a + 8 * d * d + 4 * d)))
    }

    /// All parameters: `P = N + n_r ((E − 1) 8 d² + d E)` with `n_r` routed layers, and `n_r (d ⌊d/8⌋ + ⌊d/8⌋)` more for RL-R.
    ///
    /// # Errors
    ///
    /// As for [`Self::routed_blocks`], and when `experts` is 0.
    pub fn total_parameters(&self, experts: usize, router: RouterKind) -> Result<u64> {
        let dense = self.dense_parameters()?;
        if experts == 0 {
            return Err(Error::config("experts", "there must be at least one"));
        }
        let (d, e) = (self.d_model as u128, experts as u128);
        let router = match router {
            RouterKind::Linear => d * e,
            RouterKind::Reinforce => d * e + d * (d / 8) + d / 8,
            RouterKind::Free => 0,
        };
        let routed = self.routed_blocks()?.len() as u128;
        whole(routed.checked_mul((e - 1) * 8 * d * d + router).map(|routed| u128::from(dense).saturating_add(routed)))
    }

    /// The flops that routing adds to the forward pass of one token, relative to the dense model (a multiply-add counts as two):
    /// `n_r (2 d E + (k − 1) 16 d²)`, and `n_r (2 d ⌊d/8⌋ + 2 ⌊d/8⌋)` more for RL-R.
    ///
    /// # Errors
    ///
    /// As for [`Self::total_parameters`], and when `k` is not in `1..=experts`.
    pub fn routing_flops(&self, experts: usize, k: usize, router: RouterKind) -> Result<u64> {
        if k == 0 || k > experts {
            return Err(Error::config("k", format!("{k} experts per token, of {experts}")));
        }
        let layers = self.routed_blocks()?.len() as u128;
        let (d, e) = (self.d_model as u128, experts as u128);
        let router = match router {
            RouterKind::Linear => 2 * d * e,
            RouterKind::Reinforce => 2 * d * e + 2 * d * (d / 8) + 2 * (d / 8),
            RouterKind::Free => 0,
        };
        whole(layers.checked_mul(router + (k as u128 - 1) * 16 * d * d))
    }
}

fn whole(count: Option<u128>) -> Result<u64> {
    let count = count.and_then(|count| u64::try_from(count).ok());
    count.ok_or_else(|| Error::config("architecture", "the count is not below 2^64"))
}
