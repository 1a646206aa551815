//! The routed feed-forward layer.

use crate::dispatch::{Capacity, Dispatch, Priority};
use crate::router::{Policy, Router, Tokens};
use crate::{Error, Mode, Result};
use candle_core::{DType, Tensor};
use candle_nn::{Init, VarBuilder};
use core_tensor::ops;
use serde::{Deserialize, Serialize};

pub use core_tensor::ops::ExpertActivation;

/// The settings of [`RoutedFeedForward`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RoutedFeedForwardConfig {
    /// Width of the tokens, `d`.
    pub d_model: usize,
    /// Hidden width of an expert, `h`; usually `4 d`.
    pub hidden: usize,
    /// The activation of the experts; GELU. Mixtral has [`ExpertActivation::SwiGlu`].
    pub activation: ExpertActivation,
    /// The limit of tokens per expert; none, so that no token is dropped.
    pub capacity: Capacity,
    /// Standard deviation of the initial values of `w1`; 0.02.
    pub init_std: f64,
    /// Standard deviation of the initial values of `w2`; 0.02. Deep transformers often use `0.02 / √(2 · blocks)`.
    pub output_init_std: f64,
}

impl RoutedFeedForwardConfig {
    /// The default settings for the given widths.
    pub fn new(d_model: usize, hidden: usize) -> Self {
        Self {
            d_model,
            hidden,
            activation: ExpertActivation::Gelu,
            capacity: Capacity::default(),
            init_std: 0.02,
            output_init_std: 0.02,
        }
    }
}

/// `E` feed-forward networks and a router: `y_t = Σ_{e ∈ S_t} g_te W2_e act(W1_e x_t)`, where `S_t` are the experts of token `t` and `g` their gates.
///
/// Tokens are sorted by expert, and each expert multiplies its own rows without padding, so the cost depends on the number of choices, not on `E`.
/// The output belongs on a residual stream: it is zero for a dropped token.
#[derive(Debug)]
pub struct RoutedFeedForward {
    config: RoutedFeedForwardConfig,
    router: Box<dyn Router>,
    w1: Tensor,
    w2: Tensor,
}

/// The output of a routed layer.
#[derive(Debug, Clone)]
pub struct Routed {
    /// The output, of the input's shape.
    pub y: Tensor,
    /// A scalar to add to the model's loss, already weighted.
    pub auxiliary_loss: Option<Tensor>,
    /// The decisions of RL-R, which need rewards ([`Policy::loss`]).
    pub policy: Option<Policy>,
    /// The loads of the experts.
    pub statistics: RoutingStatistics,
    /// The chosen experts, token by token, before dropping.
    pub experts: Vec<u32>,
}

/// The loads of the experts of one layer in one batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoutingStatistics {
    /// The number of tokens that each expert computed.
    pub counts: Vec<usize>,
    /// The number of choices that were dropped.
    pub dropped: usize,
    /// The number of all choices, `T · k`.
    pub choices: usize,
}

impl RoutingStatistics {
    /// The largest load divided by the mean load: 1 if tokens are spread evenly, 0 if there are none.
    pub fn max_over_mean(&self) -> f64 {
        let total: usize = self.counts.iter().sum();
        let largest = self.counts.iter().copied().max().unwrap_or(0);
        if total == 0 { 0. } else { largest as f64 * self.counts.len() as f64 / total as f64 }
    }

    /// The fraction of choices that were dropped.
    pub fn dropped_fraction(&self) -> f64 {
        if self.choices == 0 { 0. } else { self.dropped as f64 / self.choices as f64 }
    }
}

/// A [`RoutedFeedForward`] layer with the given router and the parameters `experts.w1` `[E, h, d]` (`[E, 2h, d]` for SwiGLU) and `experts.w2` `[E, d, h]`.
///
/// # Errors
///
/// When a width is zero, or a parameter exists in another shape.
pub fn routed_feed_forward(
    config: RoutedFeedForwardConfig,
    router: Box<dyn Router>,
    vb: VarBuilder<'_>,
) -> Result<RoutedFeedForward> {
    let RoutedFeedForwardConfig { d_model, hidden, activation, .. } = config;
    if d_model == 0 || hidden == 0 {
        return Err(Error::config("widths", format!("d_model {d_model} and hidden {hidden} must be above 0")));
    }
    let (count, experts) = (router.num_experts(), vb.pp("experts"));
    let init = |stdev| Init::Randn { mean: 0., stdev };
    let w1 = experts.get_with_hints((count, activation.width(hidden), d_model), "w1", init(config.init_std))?;
    let w2 = experts.get_with_hints((count, d_model, hidden), "w2", init(config.output_init_std))?;
    Ok(RoutedFeedForward { config, router, w1, w2 })
}

impl RoutedFeedForward {
    /// The router.
    pub fn router(&self) -> &dyn Router {
        self.router.as_ref()
    }

    /// Routes the tokens of `x` `[…, d]`. Routers that need token ids take them from `ids`, u32 with the shape of `x` without its last dimension.
    ///
    /// # Errors
    ///
    /// When the last dimension of `x` is not `d`, `ids` has another shape or dtype, or the router fails.
    pub fn forward(&self, x: &Tensor, ids: Option<&Tensor>, mode: &mut Mode<'_>) -> Result<Routed> {
        const OPERATION: &str = "routed_feed_forward";
        let d_model = self.config.d_model;
        if x.dims().last() != Some(&d_model) {
            return Err(Error::shape(OPERATION, "x", x.shape(), format!("[…, {d_model}]")));
        }
        let flat = x.reshape(((), d_model))?;
        let ids = match ids {
            Some(ids) if ids.dims() != &x.dims()[..x.rank() - 1] => {
                let expected = format!("{:?}, the shape of x without its last dimension", &x.dims()[..x.rank() - 1]);
                return Err(Error::shape(OPERATION, "ids", ids.shape(), expected));
            }
            Some(ids) => Some(ids.flatten_all()?.to_dtype(DType::U32)?.to_vec1::<u32>()?),
            None => None,
        };
        let assignment = self.router.route(&Tokens { x: &flat, ids: ids.as_deref() }, mode)?;
        let (count, k) = (self.router.num_experts(), assignment.k);
        let capacity = self.config.capacity;
        let limit = capacity.tokens_per_expert(flat.dim(0)?, k, count, mode.uses_batch_statistics)?;
        let priority = match (&assignment.gates, capacity.priority) {
            (Some(gates), Priority::Gate) if limit.is_some() => {
                Some(gates.detach().flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>()?)
            }
            _ => None,
        };
        let dispatch = Dispatch::new(&assignment.experts, k, count, limit, priority.as_deref())?;
        let rows = ops::grouped_feed_forward(&flat, &self.w1, &self.w2, &dispatch.groups, self.config.activation)?;
        let y = ops::weighted_rows(&rows, assignment.gates.as_ref(), &dispatch.places, k)?;
        let statistics =
            RoutingStatistics { counts: dispatch.counts, dropped: dispatch.dropped, choices: assignment.experts.len() };
        Ok(Routed {
            y: y.reshape(x.shape())?,
            auxiliary_loss: assignment.auxiliary_loss,
            policy: assignment.policy,
            statistics,
            experts: assignment.experts,
        })
    }
}
