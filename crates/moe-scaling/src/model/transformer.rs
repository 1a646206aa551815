//! The routed transformer.

use super::block::{Attention, FeedForward, Norm, sinusoids};
use crate::architecture::{Architecture, RouterKind};
use crate::dispatch::Capacity;
use crate::layer::{RoutedFeedForward, RoutedFeedForwardConfig, RoutingStatistics, routed_feed_forward};
use crate::router::{
    HashConfig, Policy, ReinforceConfig, Router, SBaseConfig, TopKConfig, base, hash, reinforce, s_base, top_k,
};
use crate::{Error, Mode, Result};
use candle_core::{DType, Device, Tensor};
use candle_nn::{Init, VarBuilder};
use core_tensor::ops;
use serde::{Deserialize, Serialize};

/// The router of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RouterConfig {
    /// [`s_base`].
    SBase(SBaseConfig),
    /// [`reinforce()`](crate::router::reinforce()).
    Reinforce(ReinforceConfig),
    /// [`hash()`](crate::router::hash()).
    Hash(HashConfig),
    /// [`top_k`].
    TopK(TopKConfig),
    /// [`base()`](crate::router::base()).
    Base,
}

impl RouterConfig {
    /// The router of one layer.
    ///
    /// # Errors
    ///
    /// Those of the router.
    pub fn build(&self, d_model: usize, num_experts: usize, vb: VarBuilder<'_>) -> Result<Box<dyn Router>> {
        Ok(match self {
            Self::SBase(config) => Box::new(s_base(d_model, num_experts, *config, vb)?),
            Self::Reinforce(config) => Box::new(reinforce(d_model, num_experts, *config, vb)?),
            Self::Hash(config) => Box::new(hash(num_experts, config)?),
            Self::TopK(config) => Box::new(top_k(d_model, num_experts, *config, vb)?),
            Self::Base => Box::new(base(d_model, num_experts, vb)?),
        })
    }

    /// The kind of router for parameter counts.
    pub fn kind(&self) -> RouterKind {
        match self {
            Self::Reinforce(_) => RouterKind::Reinforce,
            Self::Hash(_) => RouterKind::Free,
            _ => RouterKind::Linear,
        }
    }
}

/// The settings of [`RoutedTransformer`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TransformerConfig {
    /// The number of token ids; 256 for bytes.
    pub vocabulary: usize,
    /// The length of the longest sequence.
    pub context: usize,
    /// Widths, depth, and the fraction of routed blocks.
    pub architecture: Architecture,
    /// The number of experts in each routed layer. With 1 the model is dense and has no router.
    pub experts: usize,
    /// The router.
    pub router: RouterConfig,
    /// The limit of tokens per expert.
    pub capacity: Capacity,
}

impl TransformerConfig {
    /// A byte-level model with context 128. Every second feed-forward layer is routed and no token is dropped.
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

/// A decoder-only transformer with routed feed-forward layers; see [`model`](crate::model).
#[derive(Debug)]
pub struct RoutedTransformer {
    config: TransformerConfig,
    embedding: Tensor,
    positions: Tensor,
    blocks: Vec<Block>,
    norm_final: Norm,
}

/// The output of a forward pass.
#[derive(Debug, Clone)]
pub struct ModelOutput {
    /// Logits of the next token, `[batch, length, vocabulary]`.
    pub logits: Tensor,
    /// The sum of the routers' auxiliary losses, already weighted.
    pub auxiliary_loss: Option<Tensor>,
    /// The decisions of each layer routed by RL-R; they need rewards.
    pub policies: Vec<Policy>,
    /// The loads of the experts of each routed layer.
    pub statistics: Vec<RoutingStatistics>,
    /// The experts of each token, for each routed layer.
    pub experts: Vec<Vec<u32>>,
}

impl ModelOutput {
    /// The mean cross-entropy in nats per token, and the loss to minimise: the cross-entropy plus the routers' losses. The reward of a policy's decision
    /// is the log-probability of the token's target. `targets` is u32 `[batch, length]`.
    ///
    /// # Errors
    ///
    /// When the targets have another shape, or one is outside the vocabulary.
    pub fn loss(&self, targets: &Tensor) -> Result<(Tensor, Tensor)> {
        let (batch, length, vocabulary) = self.logits.dims3()?;
        if targets.dims() != [batch, length] {
            return Err(Error::shape("ModelOutput::loss", "targets", targets.shape(), format!("[{batch}, {length}]")));
        }
        let each = ops::cross_entropy_each(&self.logits.reshape(((), vocabulary))?, &targets.flatten_all()?)?;
        let cross_entropy = ops::mean_all(&each)?;
        let mut total = cross_entropy.clone();
        if let Some(auxiliary) = &self.auxiliary_loss {
            total = ops::add(&total, auxiliary)?;
        }
        let rewards = each.detach().neg()?;
        for policy in &self.policies {
            total = ops::add(&total, &policy.loss(&rewards)?)?;
        }
        Ok((cross_entropy, total))
    }
}

/// A [`RoutedTransformer`] with the router of its configuration. Parameters: `embedding`, `norm_final.{weight,bias}` and for each block `l`
/// `block.l.{norm1,norm2}.{weight,bias}`, `block.l.attention.{q,k,v,r,o}`, `block.l.ffn.{w1,w2}` or `block.l.experts.{w1,w2}`, and those of the router.
///
/// # Errors
///
/// When a size is zero, `d_model` is odd, or a parameter exists in another shape.
pub fn routed_transformer(config: TransformerConfig, vb: VarBuilder<'_>) -> Result<RoutedTransformer> {
    let router = config.router.clone();
    let (d_model, experts) = (config.architecture.d_model, config.experts);
    routed_transformer_with(config, vb, |_, vb| router.build(d_model, experts, vb))
}

/// [`routed_transformer`] with routers of your own: `router(l, vb)` builds that of each routed block `l` from the block's `vb`.
///
/// # Errors
///
/// As for [`routed_transformer`]; when `router` fails, or its result has another number of experts than `config`.
pub fn routed_transformer_with(
    config: TransformerConfig,
    vb: VarBuilder<'_>,
    router: impl Fn(usize, VarBuilder<'_>) -> Result<Box<dyn Router>>,
) -> Result<RoutedTransformer> {
    let Architecture { d_model, blocks, heads, head_size, .. } = config.architecture;
    let routed = config.architecture.routed_blocks()?;
    if d_model % 2 != 0 {
        return Err(Error::config(
            "d_model",
            format!("{d_model} is odd, but sines and cosines of positions need one half each"),
        ));
    }
    if config.vocabulary == 0 || config.context == 0 || config.experts == 0 {
        return Err(Error::config("TransformerConfig", "vocabulary, context and experts must be above 0"));
    }
    let output_std = 0.02 / (2. * blocks as f64).sqrt();
    let mut built = Vec::with_capacity(blocks);
    for block in 0..blocks {
        let vb = vb.pp(format!("block.{block}"));
        let mixer = if config.experts > 1 && routed.contains(&block) {
            let router = router(block, vb.clone())?;
            if router.num_experts() != config.experts {
                let reason = format!("it has {} experts, expected {}", router.num_experts(), config.experts);
                return Err(Error::config("router", reason));
            }
            let layer = RoutedFeedForwardConfig {
                capacity: config.capacity,
                output_init_std: output_std,
                ..RoutedFeedForwardConfig::new(d_model, 4 * d_model)
            };
            Mixer::Routed(routed_feed_forward(layer, router, vb.clone())?)
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
    let norm_final = Norm::new(d_model, &vb.pp("norm_final"))?;
    Ok(RoutedTransformer { embedding, positions, blocks: built, norm_final, config })
}

impl RoutedTransformer {
    /// The configuration.
    pub fn config(&self) -> &TransformerConfig {
        &self.config
    }

    /// The device of the parameters.
    pub(super) fn device(&self) -> &Device {
        self.embedding.device()
    }

    /// The logits of the next token at every position, for `ids` u32 `[batch, length]` with `length` up to the context.
    ///
    /// # Errors
    ///
    /// When `ids` has another shape or dtype, or an id is outside the vocabulary.
    pub fn forward(&self, ids: &Tensor, mode: &mut Mode<'_>) -> Result<ModelOutput> {
        let &[_, length] = ids.dims() else {
            return Err(Error::shape("routed_transformer", "ids", ids.shape(), "[batch, length]"));
        };
        if length == 0 || length > self.config.context {
            let expected = format!("[batch, length] with a length in 1..={}", self.config.context);
            return Err(Error::shape("routed_transformer", "ids", ids.shape(), expected));
        }
        if ids.dtype() != DType::U32 {
            let (operation, what, got) = ("routed_transformer", "ids", ids.dtype());
            return Err(core_tensor::Error::DType { operation, what, got, expected: "u32" }.into());
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
            x = ops::add(&x, &block.attention.forward(&block.norm1.forward(&x)?, &positions)?)?;
            let seen = block.norm2.forward(&x)?;
            let mixed = match &block.mixer {
                Mixer::Dense(layer) => layer.forward(&seen)?,
                Mixer::Routed(layer) => {
                    let routed = layer.forward(&seen, Some(ids), mode)?;
                    output.auxiliary_loss = match (output.auxiliary_loss.take(), routed.auxiliary_loss) {
                        (Some(sum), Some(term)) => Some(ops::add(&sum, &term)?),
                        (sum, term) => sum.or(term),
                    };
                    output.policies.extend(routed.policy);
                    output.statistics.push(routed.statistics);
                    output.experts.push(routed.experts);
                    routed.y
                }
            };
            x = ops::add(&x, &mixed)?;
        }
        output.logits = ops::linear(&self.norm_final.forward(&x)?, &self.embedding, None)?;
        Ok(output)
    }
}
