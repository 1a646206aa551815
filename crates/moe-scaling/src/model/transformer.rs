//! The transformer.

use super::block::{Attention, FeedForward, Norm, sinusoids};
use crate::architecture::{Architecture, RouterKind};
use crate::dispatch::Capacity;
use crate::layer::{RoutedFeedForward, RoutedFeedForwardConfig, RoutingStatistics};
use crate::router::{
    Base, BaseConfig, Hash, HashConfig, Policy, Reinforce, ReinforceConfig, Router, SBase, SBaseConfig, TopK,
    TopKConfig,
};
use crate::{Error, Mode, Result};
use candle_core::{DType, Tensor};
use candle_nn::{Init, VarBuilder};
use core_tensor::ops;
use serde::{Deserialize, Serialize};

/// Which router a model has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RouterConfig {
    /// See [`SBase`].
    SBase(SBaseConfig),
    /// See [`Reinforce`].
    RlR(ReinforceConfig),
    /// See [`Hash`](struct@Hash).
    Hash(HashConfig),
    /// See [`TopK`].
    TopK(TopKConfig),
    /// See [`Base`].
    Base(BaseConfig),
}

impl RouterConfig {
    /// Builds the router for one layer.
    ///
    /// # Errors
    ///
    /// Those of the router.
    pub fn build(&self, d_model: usize, num_experts: usize, vb: VarBuilder<'_>) -> Result<Box<dyn Router>> {
        Ok(match self {
            Self::SBase(config) => Box::new(SBase::new(d_model, num_experts, *config, vb)?),
            Self::RlR(config) => Box::new(Reinforce::new(d_model, num_experts, *config, vb)?),
            Self::Hash(config) => Box::new(Hash::new(num_experts, config)?),
            Self::TopK(config) => Box::new(TopK::new(d_model, num_experts, *config, vb)?),
            Self::Base(config) => Box::new(Base::new(d_model, num_experts, *config, vb)?),
        })
    }

    /// Which parameters the router has.
    pub fn kind(&self) -> RouterKind {
        match self {
            Self::RlR(_) => RouterKind::Reinforce,
            Self::Hash(_) => RouterKind::Free,
            _ => RouterKind::Linear,
        }
    }
}

/// The options of [`RoutedTransformer`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TransformerConfig {
    /// Number of token ids; 256 for bytes.
    pub vocabulary: usize,
    /// The longest sequence.
    pub context: usize,
    /// Widths, depth, and which blocks are routed.
    pub architecture: Architecture,
    /// Experts in each routed layer; 1 makes the model dense, without a router.
    pub experts: usize,
    /// The router.
    pub router: RouterConfig,
    /// How many tokens an expert takes.
    pub capacity: Capacity,
}

impl TransformerConfig {
    /// A byte-level model with context 128, every second feed-forward layer routed, nothing dropped.
    pub fn bytes(
        d_model: usize,
        blocks: usize,
        heads: usize,
        head_size: usize,
        experts: usize,
        router: RouterConfig,
    ) -> Self {
        let architecture = Architecture { d_model, blocks, heads, head_size, routing_frequency: 0.5 };
        Self { vocabulary: 256, context: 128, architecture, experts, router, capacity: Capacity::default() }
    }
}

#[derive(Debug)]
enum Mixer {
    Dense(FeedForward),
    Routed(RoutedFeedForward),
}

#[derive(Debug)]
struct Block {
    norm1: Norm,
    attention: Attention,
    norm2: Norm,
    mixer: Mixer,
}

/// The model; see [the module](super).
#[derive(Debug)]
pub struct RoutedTransformer {
    config: TransformerConfig,
    embedding: Tensor,
    positions: Tensor,
    blocks: Vec<Block>,
    norm_final: Norm,
}

/// What a forward pass gives back.
#[derive(Debug, Clone)]
pub struct ModelOutput {
    /// `[batch, length, vocabulary]`.
    pub logits: Tensor,
    /// The routers' own losses, summed, weighted already.
    pub auxiliary_loss: Option<Tensor>,
    /// The decisions that wait for a reward, one for each layer routed by RL-R.
    pub policies: Vec<Policy>,
    /// For each routed layer, how its tokens were spread.
    pub statistics: Vec<RoutingStatistics>,
    /// For each routed layer, the experts of each token.
    pub experts: Vec<Vec<u32>>,
}

impl ModelOutput {
    /// The mean cross-entropy in nats per token, and the loss to minimise: cross-entropy plus the routers' losses. The reward of a policy's decision is the
    /// log-probability of the token's successor. `targets` is u32 `[batch, length]`.
    ///
    /// # Errors
    ///
    /// When the targets have another shape or lie outside of the vocabulary.
    pub fn loss(&self, targets: &Tensor) -> Result<(Tensor, Tensor)> {
        let (batch, length, vocabulary) = self.logits.dims3()?;
        if targets.dims() != [batch, length] {
            return Err(Error::shape("loss", "targets", targets.shape(), format!("[{batch}, {length}]")));
        }
        let each = ops::cross_entropy_each(&self.logits.reshape(((), vocabulary))?, &targets.flatten_all()?)?;
        let cross_entropy = ops::mean_all(&each)?;
        let mut total = cross_entropy.clone();
        if let Some(auxiliary) = &self.auxiliary_loss {
            total = (total + auxiliary)?;
        }
        let rewards = each.detach().neg()?;
        for policy in &self.policies {
            total = (total + policy.loss(&rewards)?)?;
        }
        Ok((cross_entropy, total))
    }
}

impl RoutedTransformer {
    /// A model with the router of its configuration. Parameters: `embedding`, `norm_final.{weight,bias}` and for each block `l`
    /// `block.l.{norm1,norm2}.{weight,bias}`, `block.l.attention.{q,k,v,r,o}`, `block.l.ffn.{w1,w2}` or `block.l.experts.{w1,w2}`, and the router's.
    ///
    /// # Errors
    ///
    /// When a size is zero, the width is odd, or a parameter exists in another shape.
    pub fn new(config: TransformerConfig, vb: VarBuilder<'_>) -> Result<Self> {
        let router = config.router.clone();
        let (d_model, experts) = (config.architecture.d_model, config.experts);
        Self::with_routers(config, vb, |_, vb| router.build(d_model, experts, vb))
    }

    /// A model whose routers you build: `router(l, vb)` for each routed block `l`, with the block's own `vb`.
    ///
    /// # Errors
    ///
    /// As for [`Self::new`], and those of `router`; and when a router has another number of experts than the configuration.
    pub fn with_routers(
        config: TransformerConfig,
        vb: VarBuilder<'_>,
        router: impl Fn(usize, VarBuilder<'_>) -> Result<Box<dyn Router>>,
    ) -> Result<Self> {
        let Architecture { d_model, blocks, heads, head_size, .. } = config.architecture;
        let routed = config.architecture.routed_blocks()?;
        if d_model % 2 != 0 {
            return Err(Error::options("d_model", format!("{d_model} is odd; relative positions need halves")));
        }
        if config.vocabulary == 0 || config.context == 0 || config.experts == 0 {
            return Err(Error::options("the transformer", "vocabulary, context and experts must be above 0"));
        }
        let output_std = 0.02 / (2. * blocks as f64).sqrt();
        let mut built = Vec::with_capacity(blocks);
        for block in 0..blocks {
            let vb = vb.pp(format!("block.{block}"));
            let mixer = if config.experts > 1 && routed.contains(&block) {
                let router = router(block, vb.clone())?;
                if router.num_experts() != config.experts {
                    let reason = format!("{} experts, the configuration has {}", router.num_experts(), config.experts);
                    return Err(Error::options("a router", reason));
                }
                let layer = RoutedFeedForwardConfig {
                    capacity: config.capacity,
                    output_init_std: output_std,
                    ..RoutedFeedForwardConfig::new(d_model, 4 * d_model)
                };
                Mixer::Routed(RoutedFeedForward::new(layer, router, vb.clone())?)
            } else {
                Mixer::Dense(FeedForward::new(d_model, 4 * d_model, output_std, &vb.pp("ffn"))?)
            };
            built.push(Block {
                norm1: Norm::new(d_model, &vb.pp("norm1"))?,
                attention: Attention::new(d_model, heads, head_size, output_std, &vb.pp("attention"))?,
                norm2: Norm::new(d_model, &vb.pp("norm2"))?,
                mixer,
            });
        }
        let embedding =
            vb.get_with_hints((config.vocabulary, d_model), "embedding", Init::Randn { mean: 0., stdev: 0.02 })?;
        let table = sinusoids(config.context, d_model);
        let positions = Tensor::from_vec(table, (config.context, d_model), vb.device())?.to_dtype(embedding.dtype())?;
        Ok(Self { embedding, positions, blocks: built, norm_final: Norm::new(d_model, &vb.pp("norm_final"))?, config })
    }

    /// The configuration.
    pub fn config(&self) -> &TransformerConfig {
        &self.config
    }

    /// The logits of the next token at every position: `ids` is u32 `[batch, length]` with a length up to the context.
    ///
    /// # Errors
    ///
    /// When `ids` has another shape or dtype, or lies outside of the vocabulary.
    pub fn forward(&self, ids: &Tensor, mode: &mut Mode<'_>) -> Result<ModelOutput> {
        let &[_, length] = ids.dims() else {
            return Err(Error::shape("routed_transformer", "ids", ids.shape(), "[batch, length]"));
        };
        if length == 0 || length > self.config.context {
            let expected = format!("[batch, length] with a length in 1..={}", self.config.context);
            return Err(Error::shape("routed_transformer", "ids", ids.shape(), expected));
        }
        if ids.dtype() != DType::U32 {
            let expected = "u32";
            return Err(core_tensor::Error::DType {
                operation: "routed_transformer",
                what: "ids",
                got: ids.dtype(),
                expected,
            }
            .into());
        }
        let positions = self.positions.narrow(0, 0, length)?;
        let mut x = ops::embedding(&self.embedding, ids)?;
        let mut output = ModelOutput {
            logits: x.clone(),
            auxiliary_loss: None,
            policies: Vec::new(),
            statistics: Vec::new(),
            experts: Vec::new(),
        };
        for block in &self.blocks {
            x = (&x + block.attention.forward(&block.norm1.forward(&x)?, &positions)?)?;
            let seen = block.norm2.forward(&x)?;
            let mixed = match &block.mixer {
                Mixer::Dense(layer) => layer.forward(&seen)?,
                Mixer::Routed(layer) => {
                    let routed = layer.forward(&seen, Some(ids), mode)?;
                    output.auxiliary_loss = match (output.auxiliary_loss.take(), routed.auxiliary_loss) {
                        (Some(sum), Some(term)) => Some((sum + term)?),
                        (sum, term) => sum.or(term),
                    };
                    output.policies.extend(routed.policy);
                    output.statistics.push(routed.statistics);
                    output.experts.push(routed.experts);
                    routed.y
                }
            };
            x = (x + mixed)?;
        }
        output.logits = ops::linear(&self.norm_final.forward(&x)?, &self.embedding, None)?;
        Ok(output)
    }
}
