//! Graph encoders: convolutions, a pool after some of them, and a readout after each.

use crate::conv::{Convolution, ConvolutionKind};
use crate::door::check_features;
use crate::pool::{Pool, PoolKind, Selection};
use crate::{Batch, Error, Result};
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use core_tensor::ops;
use core_tensor::sparse::Segments;

/// How the nodes of a graph become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Readout {
    /// Sum over nodes.
    Sum,
    /// Mean over nodes.
    Mean,
}

impl Readout {
    pub(crate) fn read(self, x: &Tensor, graphs: &Segments) -> Result<Tensor> {
        Ok(match self {
            Self::Sum => graphs.sum(x)?,
            Self::Mean => graphs.mean(x)?,
        })
    }
}

/// Settings of a [`GraphEncoder`].
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct GraphEncoderConfig {
    /// Width of the node features.
    pub inputs: usize,
    /// Width of every convolution's output; default 64.
    pub hidden: usize,
    /// Number of convolutions; default 3.
    pub num_convolutions: usize,
    /// Which convolution; default [`ConvolutionKind::Gcn`].
    pub convolution: ConvolutionKind,
    /// Pool `i` follows convolution `i`; at most as many as there are convolutions.
    pub pools: Vec<PoolKind>,
    /// How each level is read out; default [`Readout::Sum`].
    pub readout: Readout,
    /// Whether the input features are part of the embedding too; default no.
    pub has_input_readout: bool,
}

impl GraphEncoderConfig {
    /// The encoder of SEP-G's official code, with these pools in the place of its own; none gives a flat GCN.
    pub fn new(inputs: usize, pools: Vec<PoolKind>) -> Self {
        Self {
            inputs,
            hidden: 64,
            num_convolutions: 3,
            convolution: ConvolutionKind::Gcn,
            pools,
            readout: Readout::Sum,
            has_input_readout: false,
        }
    }

    /// Width of the embedding: that of all convolutions side by side, and of the input features if they are read out too.
    pub fn width(&self) -> usize {
        self.num_convolutions * self.hidden + if self.has_input_readout { self.inputs } else { 0 }
    }
}

/// Maps each graph of a batch, and each node, to a vector; the encoder of a [`GraphClassifier`](crate::classifier::GraphClassifier) and of
/// self-supervised training.
#[derive(Debug)]
pub struct GraphEncoder {
    convolutions: Vec<Box<dyn Convolution>>,
    pools: Vec<Box<dyn Pool>>,
    config: GraphEncoderConfig,
    dtype: DType,
    device: Device,
}

/// What a [`GraphEncoder`] returns.
#[derive(Debug)]
pub struct Encoding {
    /// The embedding of each graph, `[graphs, width]`: the readouts side by side, the input's first if there is one.
    pub graphs: Tensor,
    /// The sum of the pools' own losses, to be added to the task's; `None` for pools without.
    pub auxiliary_loss: Option<Tensor>,
    input: Option<Tensor>,
    levels: Vec<EncodedLevel>,
}

/// The features after one convolution and its pool, if it has one.
#[derive(Debug)]
struct EncodedLevel {
    x: Tensor,
    selection: Option<Selection>,
}

impl Encoding {
    /// The embedding of each node of the batch, `[n, width]`: the features that are read out, lifted back to the nodes by
    /// [`Selection::lift`] and side by side. Without pools and with [`Readout::Sum`] those of a graph's nodes add up to the graph's.
    ///
    /// # Errors
    /// Those of the tensor layer.
    pub fn nodes(&self) -> Result<Tensor> {
        let mut parts: Vec<Tensor> = self.input.iter().cloned().collect();
        for (i, level) in self.levels.iter().enumerate() {
            let selections = self.levels[..=i].iter().rev().filter_map(|level| level.selection.as_ref());
            parts.push(selections.into_iter().try_fold(level.x.clone(), |x, selection| selection.lift(&x))?);
        }
        Ok(ops::cat(&parts, 1)?)
    }
}

/// Builds the encoder with parameters `convs.i` and `pools.i`, as the official code of SEP names them.
///
/// # Errors
/// Settings out of range, or parameters that exist with other shapes.
pub fn graph_encoder(config: GraphEncoderConfig, vb: VarBuilder<'_>) -> Result<GraphEncoder> {
    if config.num_convolutions == 0 {
        return Err(Error::InvalidConfig { what: "num_convolutions", got: "0".into(), expected: "at least 1" });
    }
    if config.pools.len() > config.num_convolutions {
        let (got, expected) = (config.pools.len().to_string(), "at most as many pools as convolutions");
        return Err(Error::InvalidConfig { what: "number of pools", got, expected });
    }
    let hidden = config.hidden;
    let convolutions = (0..config.num_convolutions)
        .map(|i| {
            let inputs = if i == 0 { config.inputs } else { hidden };
            let is_dense = |pool: &PoolKind| matches!(pool, PoolKind::DiffPool { .. } | PoolKind::MinCut { .. });
            let kind = match config.pools.iter().take(i).any(is_dense) {
                true => config.convolution.behind_dense_pool(),
                false => config.convolution,
            };
            kind.build(inputs, hidden, vb.pp("convs").pp(i))
        })
        .collect::<Result<_>>()?;
    let pools = config
        .pools
        .iter()
        .enumerate()
        .map(|(i, kind)| kind.build(hidden, vb.pp("pools").pp(i)))
        .collect::<Result<_>>()?;
    Ok(GraphEncoder { convolutions, pools, config, dtype: vb.dtype(), device: vb.device().clone() })
}

impl GraphEncoder {
    /// The settings.
    pub fn config(&self) -> &GraphEncoderConfig {
        &self.config
    }

    /// Refuses features or a batch that do not fit, in the name of `operation`.
    pub(crate) fn check(&self, operation: &'static str, x: &Tensor, batch: &Batch) -> Result<()> {
        check_features(operation, x, (batch.num_nodes(), self.config.inputs), self.dtype, &self.device)?;
        batch.adjacency().check(operation, self.dtype, &self.device)
    }

    /// The embeddings of the graphs of `batch`, and of its nodes, whose features are `x` `[n, inputs]`. Convolutions and pools have
    /// neither noise nor batch statistics, so that there is no `Mode`.
    ///
    /// # Errors
    /// Features that do not fit, or a batch without coarser levels where a precomputed pool needs them.
    pub fn forward(&self, x: &Tensor, batch: &Batch) -> Result<Encoding> {
        self.check("GraphEncoder::forward", x, batch)?;
        let readout = self.config.readout;
        let input = self.config.has_input_readout.then(|| x.clone());
        let mut readouts = Vec::with_capacity(self.convolutions.len() + 1);
        if let Some(x) = &input {
            readouts.push(readout.read(x, batch.graphs())?);
        }
        let mut auxiliary_loss: Option<Tensor> = None;
        let mut levels = Vec::with_capacity(self.convolutions.len());
        let mut x = x.clone();
        let mut batch = batch.clone();
        for (i, convolution) in self.convolutions.iter().enumerate() {
            x = convolution.forward_relu(&x, batch.adjacency())?;
            let mut selection = None;
            if let Some(pool) = self.pools.get(i) {
                let pooled = pool.pool(&x, &batch)?;
                auxiliary_loss = match (auxiliary_loss, pooled.auxiliary_loss()?) {
                    (Some(sum), Some(loss)) => Some(ops::add(&sum, &loss)?),
                    (sum, loss) => sum.or(loss),
                };
                (x, batch, selection) = (pooled.x, pooled.batch, Some(pooled.selection));
            }
            readouts.push(readout.read(&x, batch.graphs())?);
            levels.push(EncodedLevel { x: x.clone(), selection });
        }
        Ok(Encoding { graphs: ops::cat(&readouts, 1)?, auxiliary_loss, input, levels })
    }
}
