//! The network.

use super::block::{Block, BlockActivations, WIDTHS, linear, window_linear};
use super::config::DstagnnConfig;
use super::edges::Edges;
use super::graph::{ChebyshevBasis, SensorGraph};
use crate::error::{check_dtype, check_sizes};
use crate::{Error, Result};
use candle_core::{Device, Tensor};
use candle_nn::{Module, VarBuilder};
use core_tensor::nn::Linear;
use core_tensor::{Mode, ops};
use std::sync::Arc;

/// DSTAGNN: blocks of temporal attention with carried scores, spatial attention on a learned graph, and gated units over time; one linear map from all blocks to the horizon.
///
/// Parameters have the names of the authors' program (`BlockList.{l}.TAt.W_Q.weight`, …, `final_conv`, `final_fc`), among them some that blocks after the first never use.
/// Memory in training is dominated by the spatial scores, `blocks · batch · order · nodes²` elements and as many again in the backward pass, and the masks, `blocks · order · nodes²`.
#[derive(Debug, Clone)]
pub struct Dstagnn {
    config: DstagnnConfig,
    blocks: Vec<Block>,
    gather: (Tensor, Tensor),
    forecast: Linear,
}

const OP: &str = "DSTAGNN";
/// The channels between the two last maps.
const HEAD: usize = 128;

/// A [`Dstagnn`] on a graph, which is given by the Chebyshev `basis` of the aware graph (or of the roads, the paper's variant DSTAGNN-G), with `relevance` added to the spatial attention: the
/// relevance graph, of which the authors' program takes [`SensorGraph::binary`].
///
/// # Errors
/// Settings out of range, graphs of other sizes, parameters of other shapes.
pub fn dstagnn(
    config: DstagnnConfig,
    basis: &ChebyshevBasis,
    relevance: &SensorGraph,
    vb: VarBuilder<'_>,
) -> Result<Dstagnn> {
    let sizes = [
        ("num_nodes", config.num_nodes),
        ("horizon", config.horizon),
        ("input_channels", config.input_channels),
        ("num_blocks", config.num_blocks),
        ("filters", config.filters),
        ("temporal_heads", config.temporal_heads),
        ("head_width", config.head_width),
        ("embedding", config.embedding),
        ("input_steps", config.input_steps),
    ];
    check_sizes(OP, sizes)?;
    if config.input_steps < WIDTHS[2] {
        let expected = format!("at least {}, the width of the longest kernel", WIDTHS[2]);
        return Err(Error::config(OP, "input_steps", config.input_steps as f64, expected));
    }
    if !(0. ..1.).contains(&config.dropout) {
        return Err(Error::config(OP, "dropout", config.dropout, "at least 0 and below 1"));
    }
    for nodes in [basis.num_nodes, relevance.num_nodes] {
        if nodes != config.num_nodes {
            let expected = format!("the network's {}", config.num_nodes);
            return Err(Error::count(OP, "the number of nodes of a graph", nodes, expected));
        }
    }
    let edges = Arc::new(Edges::new(basis, vb.dtype(), vb.device())?);
    if edges.len() == 0 {
        return Err(Error::count(OP, "the number of edges of the basis", 0, "at least 1"));
    }
    let n = config.num_nodes;
    let relevance = Tensor::from_slice(&relevance.values, (n, n), &Device::Cpu)?;
    let relevance = relevance.to_dtype(vb.dtype())?.to_device(vb.device())?;
    let (mut blocks, mut maps) = (Vec::new(), config.input_channels);
    for l in 0..config.num_blocks {
        blocks.push(Block::new((maps, l == 0), &config, &edges, &relevance, &vb.pp("BlockList").pp(l))?);
        maps = config.filters;
    }
    let steps = config.num_blocks * config.input_steps;
    let gather = window_linear(HEAD, steps, config.filters, &vb.pp("final_conv"))?;
    let forecast = linear(HEAD, config.horizon, &vb.pp("final_fc"))?;
    Ok(Dstagnn { config, blocks, gather, forecast })
}

impl Dstagnn {
    /// The configuration.
    pub fn config(&self) -> &DstagnnConfig {
        &self.config
    }

    /// The forecast `[batch, nodes, horizon]` from `x` `[batch, nodes, channels, time]`, which is normalised; in the units of the targets that it was trained on, [`WindowBatch::target`](super::WindowBatch::target).
    ///
    /// # Errors
    /// Another shape or dtype.
    pub fn forward(&self, x: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        Ok(self.run(x, mode, false)?.0)
    }

    /// The forecast in evaluation mode, and what each block has computed.
    ///
    /// # Errors
    /// As for [`Self::forward`].
    #[doc(hidden)]
    pub fn forward_activations(&self, x: &Tensor) -> Result<(Tensor, Vec<BlockActivations>)> {
        self.run(x, &mut Mode::evaluate(), true)
    }

    fn run(&self, x: &Tensor, mode: &mut Mode<'_>, wants_activations: bool) -> Result<(Tensor, Vec<BlockActivations>)> {
        let DstagnnConfig { num_nodes: n, input_channels: channels, input_steps: time, .. } = self.config;
        if !matches!(x.dims(), &[batch, nodes, c, t] if batch > 0 && (nodes, c, t) == (n, channels, time)) {
            return Err(Error::shape(OP, "x", x, format!("[batch, {n}, {channels}, {time}]")));
        }
        check_dtype(OP, "x", x, &self.gather.0)?;
        let mut x = x.transpose(2, 3)?.contiguous()?;
        let (mut carried, mut outs, mut all) = (None, Vec::with_capacity(self.blocks.len()), Vec::new());
        for block in &self.blocks {
            let (out, scores, activations) = block.forward(&x, carried.as_ref(), mode, wants_activations)?;
            all.extend(activations);
            outs.push(out.clone());
            (x, carried) = (out, Some(scores));
        }
        let rows = ops::cat(&outs, 2)?.flatten_from(2)?;
        let (weight, bias) = &self.gather;
        let gathered = ops::linear(&rows, &weight.flatten_from(1)?, Some(bias))?;
        Ok((self.forecast.forward(&gathered)?, all))
    }
}
