//! One block of the network. Signals are `[batch, nodes, time, channels]`.

use super::attention::{self, AttentionNormalisation, AttentionSize};
use super::config::DstagnnConfig;
use super::edges::{self, Edges};
use super::gated;
use super::node_norm::node_norm;
use crate::Result;
use candle_core::{IndexOp, Shape, Tensor};
use candle_nn::{Init, Module, VarBuilder};
use core_tensor::nn::{LayerNorm, Linear, layer_norm};
use core_tensor::{Mode, ops};
use std::sync::Arc;

const EPS: f64 = 1e-5;
/// The widths of the gated units' kernels, in steps.
pub(super) const WIDTHS: [usize; 3] = [3, 5, 7];

/// Xavier's uniform values for two and more axes, uniform in (0, 1) for one: also for gains and biases, as the authors' program has it.
fn parameter(vb: &VarBuilder<'_>, shape: impl Into<Shape>, name: &str) -> Result<Tensor> {
    let shape = shape.into();
    let init = match shape.dims() {
        [out, inputs, kernel @ ..] => {
            let field: usize = kernel.iter().product();
            let bound = (6. / ((out + inputs) * field) as f64).sqrt();
            Init::Uniform { lo: -bound, up: bound }
        }
        _ => Init::Uniform { lo: 0., up: 1. },
    };
    Ok(vb.get_with_hints(shape, name, init)?)
}

pub(super) fn linear(inputs: usize, outputs: usize, vb: &VarBuilder<'_>) -> Result<Linear> {
    Ok(Linear::new(parameter(vb, (outputs, inputs), "weight")?, Some(parameter(vb, outputs, "bias")?)))
}

/// A convolution `[out, in, 1, width]` over windows whose elements lie in the order (`first`, `second`) of the kernel's axes `in` and `width`.
pub(super) fn window_linear(out: usize, inputs: usize, width: usize, vb: &VarBuilder<'_>) -> Result<(Tensor, Tensor)> {
    Ok((parameter(vb, (out, inputs, 1, width), "weight")?, parameter(vb, out, "bias")?))
}

/// The activations of a block, for tests.
#[derive(Debug, Clone)]
pub struct BlockActivations {
    /// The attended signal after its norm, `[batch, nodes, time, maps]`.
    pub temporal_attention: Tensor,
    /// Scores before the softmax with those carried over, `[batch, heads, query, key, maps]`.
    pub temporal_scores: Tensor,
    /// `[batch, nodes, embedding]`.
    pub spatial_embedding: Tensor,
    /// Scores before the softmax and without the graph's part, `[batch, order, receiver, sender]`.
    pub spatial_scores: Tensor,
    /// `[batch, nodes, time, filters]`.
    pub graph_convolution: Tensor,
    /// The gated units of the three widths, one after the other in time, `[batch, nodes, filters, 3 time − 12]`.
    pub gated_units: Tensor,
    /// What joins the residual, `[batch, nodes, filters, time]` before its activation.
    pub time_linear: Tensor,
    /// The block's result, `[batch, nodes, time, filters]`.
    pub out: Tensor,
}

#[derive(Debug, Clone)]
pub(super) struct Block {
    size: AttentionSize,
    normalisation: AttentionNormalisation,
    embedding: usize,
    order: usize,
    head_width: usize,
    filters: usize,
    dropout: f64,
    edges: Arc<Edges>,
    /// `[sender, receiver]` of the relevance graph.
    relevance: Tensor,
    /// Position table `[time, nodes]`, gain and bias over the nodes: of the first block.
    first: Option<[Tensor; 3]>,
    queries_keys: [Tensor; 2],
    values: Tensor,
    mix: Tensor,
    embed: (Tensor, Tensor),
    position: Tensor,
    norm: LayerNorm,
    spatial: [Tensor; 2],
    masks: Vec<Tensor>,
    thetas: Vec<Tensor>,
    units: Vec<(Tensor, Tensor)>,
    time_linear: Linear,
    residual: (Tensor, Tensor),
    out_norm: LayerNorm,
}

fn norm(size: usize, vb: VarBuilder<'_>) -> Result<LayerNorm> {
    // created here with the authors' initial values, then found by the layer
    parameter(&vb, size, "weight")?;
    parameter(&vb, size, "bias")?;
    Ok(layer_norm(size, EPS, vb)?)
}

impl Block {
    pub(super) fn new(
        (maps, is_first): (usize, bool),
        config: &DstagnnConfig,
        edges: &Arc<Edges>,
        relevance: &Tensor,
        vb: &VarBuilder<'_>,
    ) -> Result<Self> {
        let (n, time, filters, order) = (config.num_nodes, config.input_steps, config.filters, edges.order);
        let (heads, width, embedding) = (config.temporal_heads, config.head_width, config.embedding);
        let attention = vb.pp("TAt");
        let (table, embed_time) = (vb.pp("EmbedT.pos_embed"), vb.pp("EmbedT.norm"));
        // later blocks have these as well, without using them
        let first = [
            parameter(&table, (time, n), "weight")?,
            parameter(&embed_time, n, "weight")?,
            parameter(&embed_time, n, "bias")?,
        ];
        let convolution = vb.pp("cheb_conv_SAt");
        let weights = |name: &str, count: usize, shape: (usize, usize)| -> Result<Vec<Tensor>> {
            (0..count).map(|k| parameter(&convolution.pp(name), shape, &k.to_string())).collect()
        };
        let unit = |width: usize| window_linear(2 * filters, filters, width, &vb.pp(format!("gtu{width}.con2out")));
        let all_steps: usize = WIDTHS.iter().map(|width| time - width + 1).sum();
        Ok(Self {
            size: AttentionSize { heads, width, time, maps },
            normalisation: config.attention,
            embedding,
            order,
            head_width: width,
            filters,
            dropout: config.dropout,
            edges: edges.clone(),
            relevance: relevance.clone(),
            first: is_first.then_some(first),
            queries_keys: [
                parameter(&attention, (heads * width, n), "W_Q.weight")?,
                parameter(&attention, (heads * width, n), "W_K.weight")?,
            ],
            values: parameter(&attention, (heads * width, n), "W_V.weight")?,
            mix: parameter(&attention, (n, heads * width), "fc.weight")?,
            embed: window_linear(embedding, time, maps, &vb.pp("pre_conv"))?,
            position: parameter(&vb.pp("EmbedS.pos_embed"), (n, embedding), "weight")?,
            norm: norm(embedding, vb.pp("EmbedS.norm"))?,
            spatial: [
                parameter(&vb.pp("SAt"), (order * width, embedding), "W_Q.weight")?,
                parameter(&vb.pp("SAt"), (order * width, embedding), "W_K.weight")?,
            ],
            masks: weights("mask", order, (n, n))?,
            thetas: weights("Theta", order, (maps, filters))?,
            units: WIDTHS.into_iter().map(unit).collect::<Result<_>>()?,
            time_linear: linear(all_steps, time, &vb.pp("fcmy.0"))?,
            residual: window_linear(filters, maps, 1, &vb.pp("residual_conv"))?,
            out_norm: norm(filters, vb.pp("ln"))?,
        })
    }

    /// The block's result, its scores, and, if wanted, everything between.
    pub(super) fn forward(
        &self,
        x: &Tensor,
        carried: Option<&Tensor>,
        mode: &mut Mode<'_>,
        wants_activations: bool,
    ) -> Result<(Tensor, Tensor, Option<BlockActivations>)> {
        let (batch, n, time, maps) = x.dims4()?;
        let (attended, temporal_scores) = self.attend(x, carried)?;
        let (embedded, spatial_scores) = self.relate(&attended, mode)?;
        let convolved = self.convolve(x, &spatial_scores)?;

        let rows = convolved.reshape((batch * n, time, self.filters))?;
        let mut branches = Vec::with_capacity(WIDTHS.len());
        for (width, (weight, bias)) in WIDTHS.into_iter().zip(&self.units) {
            let weight = ops::to_contiguous(&weight.squeeze(2)?.transpose(1, 2)?)?.flatten_from(1)?;
            let y = ops::linear(&gated::windows(&rows, width)?, &weight, Some(bias))?;
            branches.push(y.reshape((batch * n, time - width + 1, 2 * self.filters))?);
        }
        let units = gated::gate([&branches[0], &branches[1], &branches[2]])?;
        let mixed = mode.dropout(&self.time_linear.forward(&units)?, self.dropout)?;
        let (weight, bias) = &self.residual;
        let out = if self.first.is_some() {
            let residual = ops::linear(x, &weight.flatten_from(1)?, Some(bias))?;
            gated::join(&mixed, &residual.reshape(rows.shape())?, None)?
        } else {
            gated::join(&mixed, &x.reshape((batch * n, time, maps))?, Some(&rows))?
        };
        let out = self.out_norm.forward(&out)?.reshape((batch, n, time, self.filters))?;
        let activations = wants_activations.then(|| -> Result<BlockActivations> {
            Ok(BlockActivations {
                temporal_attention: attended.clone(),
                temporal_scores: temporal_scores.clone(),
                spatial_embedding: embedded,
                spatial_scores,
                graph_convolution: convolved,
                gated_units: units.reshape((batch, n, self.filters, ()))?,
                time_linear: mixed.reshape((batch, n, self.filters, time))?,
                out: out.clone(),
            })
        });
        Ok((out, temporal_scores, activations.transpose()?))
    }

    /// Temporal attention: the nodes are the features, so weights multiply from the left: `[nodes, time · maps]`.
    fn attend(&self, x: &Tensor, carried: Option<&Tensor>) -> Result<(Tensor, Tensor)> {
        let (batch, n, time, maps) = x.dims4()?;
        let columns = time * maps;
        let mut embedded = x.reshape((batch, n, columns))?;
        if let Some([table, weight, bias]) = &self.first {
            let table =
                ops::to_contiguous(&table.t()?.unsqueeze(2)?.broadcast_as((n, time, maps))?)?.reshape((n, columns))?;
            embedded = node_norm(&ops::add(&embedded, &table)?, EPS)?;
            embedded = ops::add(&ops::mul(&embedded, &weight.unsqueeze(1)?)?, &bias.unsqueeze(1)?)?;
        }
        let from_left = |weight: &Tensor, x: &Tensor| -> Result<Tensor> {
            let (rows, inner) = weight.dims2()?;
            Ok(ops::matmul(&ops::to_contiguous(&weight.broadcast_as((batch, rows, inner))?)?, x)?)
        };
        let features = self.size.heads * self.size.width;
        let qk = from_left(&ops::cat(&self.queries_keys, 0)?, &embedded)?;
        let v = from_left(&self.values, &embedded)?.reshape((batch, features, time, maps))?;
        // from a first block with several channels: their mean, since they are not the maps of this block
        let carried = match carried {
            Some(scores) if scores.dims()[4] != 1 && scores.dims()[4] != maps => Some(ops::mean_keepdim(scores, &[4])?),
            other => other.cloned(),
        };
        let qk = qk.reshape((batch, 2 * features, time, maps))?;
        let scores = attention::scores(&qk, carried.as_ref(), self.size)?;
        let context = attention::context(&scores, &v, self.size, self.normalisation)?;
        let context = from_left(&self.mix, &context.reshape((batch, features, columns))?)?;
        let attended = node_norm(&ops::add(&context, &embedded)?, EPS)?;
        Ok((attended.reshape((batch, n, time, maps))?, scores))
    }

    /// Scores between nodes, `[batch, order, receiver, sender]`, and what they are made from.
    fn relate(&self, attended: &Tensor, mode: &mut Mode<'_>) -> Result<(Tensor, Tensor)> {
        let (batch, n, time, maps) = attended.dims4()?;
        let (weight, bias) = &self.embed;
        let rows = attended.reshape((batch, n, time * maps))?;
        let z = ops::linear(&rows, &weight.flatten_from(1)?, Some(bias))?;
        let z = ops::add(&z, &self.position)?;
        let z = mode.dropout(&self.norm.forward(&z)?, self.dropout)?;
        let heads = ops::linear(&z, &ops::cat(&self.spatial, 0)?, None)?;
        let heads = heads.reshape((batch, n, 2, self.order, self.head_width))?.permute((2, 0, 3, 1, 4))?;
        let (q, k) = (ops::to_contiguous(&heads.i(0)?)?, ops::to_contiguous(&heads.i(1)?)?);
        // the score of sender and receiver is the sender's query with the receiver's key
        let scores = ops::matmul(&ops::affine(&k, (self.head_width as f64).powf(-0.5), 0.)?, &q.transpose(2, 3)?)?;
        debug_assert_eq!(z.dims()[2], self.embedding);
        Ok((z, scores))
    }

    fn convolve(&self, x: &Tensor, scores: &Tensor) -> Result<Tensor> {
        let (batch, n, time, maps) = x.dims4()?;
        let masks =
            self.masks.iter().map(|mask| Ok(ops::mul(mask, &self.relevance)?.t()?)).collect::<Result<Vec<_>>>()?;
        let values = edges::attention(scores, &ops::stack(&masks, 0)?, &self.edges)?;
        let sums = edges::product(&values, x, &self.edges)?.reshape((batch, n, time, self.order * maps))?;
        let theta = ops::to_contiguous(&ops::cat(&self.thetas, 0)?.t()?)?;
        Ok(ops::relu(&ops::linear(&sums, &theta, None)?)?)
    }
}
