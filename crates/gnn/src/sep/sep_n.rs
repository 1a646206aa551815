//! SEP-N: node classification with a U-shaped network along a coding tree.

use super::pool_mlp::{PoolMlp, pool_mlp};
use crate::conv::{Convolution, GcnConv, gcn_conv};
use crate::{Batch, Error, Features, Mode, Result};
use candle_core::{Module, Tensor};
use candle_nn::{Init, VarBuilder};
use core_tensor::nn::Linear;
use core_tensor::{init, ops};

/// Settings of [`SepN`].
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SepNConfig {
    /// Width of the node features.
    pub inputs: usize,
    /// Width of hidden layers; 128 in the official example for Cora.
    pub hidden: usize,
    /// Number of classes.
    pub classes: usize,
    /// Number of poolings `B`; the tree needs at least this many levels below its root.
    pub num_blocks: usize,
    /// Share of units dropped after each convolution; the official default is 0.5.
    pub convolution_dropout: f64,
    /// Share of units dropped after each (un)pooling; the official default is 0.5.
    pub pool_dropout: f64,
    /// Whether the last convolution sees the input features too.
    pub has_input_link: bool,
}

impl SepNConfig {
    /// The official defaults, with two blocks of width 128.
    pub fn new(inputs: usize, classes: usize) -> Self {
        Self {
            inputs,
            hidden: 128,
            classes,
            num_blocks: 2,
            convolution_dropout: 0.5,
            pool_dropout: 0.5,
            has_input_link: false,
        }
    }
}

/// The network of SEP-N.
#[derive(Debug)]
pub struct SepN {
    convolutions: Vec<GcnConv>,
    mlps: Vec<PoolMlp>,
    output: Linear,
    config: SepNConfig,
}

/// Builds SEP-N with parameters `convs.i` and `sepools.i.nn.{0,2}`, as the official code names them.
///
/// # Errors
/// Settings out of range, or parameters that exist with other shapes.
pub fn sep_n(config: SepNConfig, vb: VarBuilder<'_>) -> Result<SepN> {
    if config.num_blocks == 0 {
        return Err(Error::InvalidConfig { what: "num_blocks", got: "0".into(), expected: "at least 1" });
    }
    for (what, p) in [("convolution_dropout", config.convolution_dropout), ("pool_dropout", config.pool_dropout)] {
        if !(0.0..1.0).contains(&p) {
            return Err(Error::InvalidConfig { what, got: p.to_string(), expected: "a share in [0, 1)" });
        }
    }
    let (blocks, hidden) = (config.num_blocks, config.hidden);
    let convolutions = (0..2 * blocks)
        .map(|i| {
            let inputs = match i {
                0 => config.inputs,
                i if i <= blocks => hidden,
                _ => 2 * hidden,
            };
            gcn_conv(inputs, hidden, vb.pp("convs").pp(i))
        })
        .collect::<Result<_>>()?;
    let mlps = (0..2 * blocks).map(|i| pool_mlp(hidden, vb.pp("sepools").pp(i))).collect::<Result<_>>()?;
    let width = 2 * hidden + if config.has_input_link { config.inputs } else { 0 };
    let last = vb.pp("convs").pp(2 * blocks);
    let weight_init = init::glorot_uniform(width, config.classes);
    let weight = last.pp("lin").get_with_hints((config.classes, width), "weight", weight_init)?;
    let bias = last.get_with_hints(config.classes, "bias", Init::Const(0.0))?;
    Ok(SepN { convolutions, mlps, output: Linear::new(weight, Some(bias)), config })
}

impl SepN {
    /// The settings.
    pub fn config(&self) -> &SepNConfig {
        &self.config
    }

    /// Logits `[n, classes]` of every node of `batch`, which needs `num_blocks` coarser levels.
    ///
    /// # Errors
    /// Features that do not fit, or too few levels.
    pub fn forward(&self, features: &Features, batch: &Batch, mode: &mut Mode<'_>) -> Result<Tensor> {
        const OPERATION: &str = "SepN::forward";
        let weight = self.output.weight();
        features.check(OPERATION, (batch.num_nodes(), self.config.inputs), weight)?;
        batch.adjacency().check(OPERATION, weight.dtype(), weight.device())?;
        let blocks = self.config.num_blocks;
        let (p_convolution, p_pool) = (self.config.convolution_dropout, self.config.pool_dropout);
        let mut levels = Vec::with_capacity(blocks);
        let mut skips: Vec<Tensor> = Vec::with_capacity(blocks);
        let mut current = batch;
        let mut x: Option<Tensor> = None;
        for i in 0..blocks {
            let convolved = self.convolve(i, x.as_ref(), features, current)?;
            let convolved = mode.dropout(&convolved, p_convolution)?;
            let Some(coarsening) = current.coarser() else {
                let reason = format!("the batch has {i} coarser levels, {blocks} are needed");
                return Err(Error::invalid_data(OPERATION, reason));
            };
            let pooled = self.mlps[i].forward(&coarsening.clusters.sum(&convolved)?, mode)?;
            x = Some(mode.dropout(&pooled, p_pool)?);
            skips.push(convolved);
            levels.push((current, &coarsening.clusters));
            current = &coarsening.batch;
        }
        for i in (1..=blocks).rev() {
            let convolved = self.convolve(2 * blocks - i, x.as_ref(), features, current)?;
            let convolved = mode.dropout(&convolved, p_convolution)?;
            let (finer, clusters) = levels[i - 1];
            let lifted = self.mlps[2 * blocks - i].forward(&clusters.broadcast(&convolved)?, mode)?;
            let lifted = mode.dropout(&lifted, p_pool)?;
            x = Some(ops::cat(&[&lifted, &skips[i - 1]], 1)?);
            current = finer;
        }
        self.classify(x.as_ref(), features, batch)
    }

    fn convolve(&self, i: usize, x: Option<&Tensor>, features: &Features, batch: &Batch) -> Result<Tensor> {
        let convolution = &self.convolutions[i];
        match x {
            Some(x) => convolution.forward_relu(x, batch.adjacency()),
            None => Ok(ops::relu(&convolution.forward_features(features, batch.adjacency())?)?),
        }
    }

    /// The last convolution: over the hidden features and, if linked, the input features, whose part is kept sparse.
    fn classify(&self, x: Option<&Tensor>, features: &Features, batch: &Batch) -> Result<Tensor> {
        let Some(x) = x else { return Err(Error::invalid_data("SepN::forward", "no blocks")) };
        let hidden = x.dims2()?.1;
        let projected = if self.config.has_input_link {
            let weight = self.output.weight();
            let of_hidden = ops::linear(x, &ops::to_contiguous(&weight.narrow(1, 0, hidden)?)?, None)?;
            let of_input = ops::to_contiguous(&weight.narrow(1, hidden, features.num_columns())?)?;
            ops::add(&of_hidden, &features.project(&of_input)?)?
        } else {
            Linear::new(self.output.weight().clone(), None).forward(x)?
        };
        let propagated = batch.adjacency().propagate_symmetric(&projected)?;
        match self.output.bias() {
            Some(bias) => Ok(ops::bias_add(&propagated, bias)?),
            None => Ok(propagated),
        }
    }
}
