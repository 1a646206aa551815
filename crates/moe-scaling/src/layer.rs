//! The routed feed-forward layer.

use crate::dispatch::{Capacity, Dispatch, Priority};
use crate::router::{Policy, Router, Tokens};
use crate::{Error, Mode, Result};
use candle_core::{DType, Tensor};
use candle_nn::{Init, VarBuilder};
use core_tensor::ops::{self, ExpertActivation};
use serde::{Deserialize, Serialize};

/// The options of [`RoutedFeedForward`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RoutedFeedForwardConfig {
    /// Width of the tokens, `d`.
    pub d_model: usize,
    /// Width inside an expert, `h`; usually `4 d`.
    pub hidden: usize,
    /// GELU; [`ExpertActivation::SwiGlu`] makes experts like Mixtral's.
    pub activation: ExpertActivation,
    /// No limit: nothing is dropped.
    pub capacity: Capacity,
    /// Standard deviation of the first values of `w1`; 0.02.
    pub init_std: f64,
    /// That of `w2`; 0.02, in deep transformers often `0.02 / √(2 · blocks)`.
    pub output_init_std: f64,
}

impl RoutedFeedForwardConfig {
    /// The defaults for these widths.
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

/// `E` feed-forward networks and a router: `y_t = Σ_{e ∈ S_t} g_te W2_e act(W1_e x_t)`.
///
/// Tokens are sorted by expert and each expert multiplies its own rows; nothing is padded, so the cost depends on the number of choices only, not on `E`.
/// Add the output to the residual stream: a dropped token's output is zero.
#[derive(Debug)]
pub struct RoutedFeedForward {
    config: RoutedFeedForwardConfig,
    router: Box<dyn Router>,
    w1: Tensor,
    w2: Tensor,
}

/// What a routed layer gives back.
#[derive(Debug, Clone)]
pub struct Routed {
    /// Of the shape of the input.
    pub y: Tensor,
    /// To be added to the model's loss, weighted already.
    pub auxiliary_loss: Option<Tensor>,
    /// For RL-R: to be given its reward ([`Policy::loss`]).
    pub policy: Option<Policy>,
    /// What happened.
    pub statistics: RoutingStatistics,
    /// The experts chosen, token by token, before anything was dropped.
    pub experts: Vec<u32>,
}

/// How tokens were spread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoutingStatistics {
    /// How many tokens each expert computed.
    pub counts: Vec<usize>,
    /// How many choices found no place.
    pub dropped: usize,
    /// How many choices there were.
    pub choices: usize,
}

impl RoutingStatistics {
    /// The largest number of tokens of an expert over the mean; 1 when they are spread evenly, 0 without tokens.
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

impl RoutedFeedForward {
    /// A layer with the parameters `experts.w1` `[E, h, d]` (`[E, 2h, d]` for SwiGLU) and `experts.w2` `[E, d, h]`, and those of the router that you built.
    ///
    /// # Errors
    ///
    /// When a width is zero, or a parameter exists in another shape.
    pub fn new(config: RoutedFeedForwardConfig, router: Box<dyn Router>, vb: VarBuilder<'_>) -> Result<Self> {
        let RoutedFeedForwardConfig { d_model, hidden, activation, .. } = config;
        if d_model == 0 || hidden == 0 {
            return Err(Error::options("a routed layer", format!("widths {d_model} and {hidden} must be above 0")));
        }
        let (count, experts) = (router.num_experts(), vb.pp("experts"));
        let init = |stdev| Init::Randn { mean: 0., stdev };
        let w1 = experts.get_with_hints((count, activation.width(hidden), d_model), "w1", init(config.init_std))?;
        let w2 = experts.get_with_hints((count, d_model, hidden), "w2", init(config.output_init_std))?;
        Ok(Self { config, router, w1, w2 })
    }

    /// The router.
    pub fn router(&self) -> &dyn Router {
        self.router.as_ref()
    }

    /// Routes the tokens of `x` `[…, d]`; `ids`, u32 of the shape of `x` without its last dimension, are for routers that need them.
    ///
    /// # Errors
    ///
    /// When `x` is not `d` wide, `ids` have another shape or dtype, or the router fails.
    pub fn forward(&self, x: &Tensor, ids: Option<&Tensor>, mode: &mut Mode<'_>) -> Result<Routed> {
        const OP: &str = "routed_feed_forward";
        let d_model = self.config.d_model;
        if x.dims().last() != Some(&d_model) {
            return Err(Error::shape(OP, "x", x.shape(), format!("[…, {d_model}]")));
        }
        let flat = x.reshape(((), d_model))?;
        let ids = match ids {
            Some(ids) if ids.dims() != &x.dims()[..x.rank() - 1] => {
                let expected = format!("{:?} like x", &x.dims()[..x.rank() - 1]);
                return Err(Error::shape(OP, "ids", ids.shape(), expected));
            }
            Some(ids) => Some(ids.flatten_all()?.to_dtype(DType::U32)?.to_vec1::<u32>()?),
            None => None,
        };
        let assignment = self.router.route(&Tokens { x: &flat, ids: ids.as_deref() }, mode)?;
        let (count, k) = (self.router.num_experts(), assignment.k);
        let capacity = self.config.capacity;
        let places = capacity.places(flat.dim(0)?, k, count, mode.uses_batch_statistics)?;
        let priority = match (&assignment.gates, capacity.priority) {
            (Some(gates), Priority::Gate) if places.is_some() => {
                Some(gates.detach().flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>()?)
            }
            _ => None,
        };
        let dispatch = Dispatch::new(&assignment.experts, k, count, places, priority.as_deref())?;
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
