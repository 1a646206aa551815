//! Graph classification: a [`GraphEncoder`] and a perceptron behind it.
//!
//! With [`PoolKind::Precomputed`] along coding trees this is SEP-G; with another pool a baseline of the same size; without pools a plain
//! GCN or GIN.

use crate::encoder::{GraphEncoder, GraphEncoderConfig, graph_encoder};
use crate::pool::PoolKind;
use crate::{Batch, Error, Mode, Result};
use candle_core::{Module, Tensor};
use candle_nn::VarBuilder;
use core_tensor::nn::{Linear, linear};
use core_tensor::ops;

/// Settings of a [`GraphClassifier`].
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct GraphClassifierConfig {
    /// The encoder; its `hidden` is the width of the perceptron's first hidden layer, half of it that of the second.
    pub encoder: GraphEncoderConfig,
    /// Number of classes.
    pub classes: usize,
    /// Share of units dropped after each hidden layer of the perceptron; default 0.5, that of SEP-G's official code.
    pub dropout: f64,
}

impl GraphClassifierConfig {
    /// A classifier into `classes` classes on this encoder.
    pub fn new(encoder: GraphEncoderConfig, classes: usize) -> Self {
        Self { encoder, classes, dropout: 0.5 }
    }

    /// SEP-G with the defaults of the official code: three GCN layers of width 64, two pools along a coding tree, sum readout, dropout 0.5.
    /// Its batches need hierarchies with 2 coarser levels, from trees of height 3.
    pub fn sep_g(inputs: usize, classes: usize) -> Self {
        Self::new(GraphEncoderConfig::new(inputs, vec![PoolKind::Precomputed; 2]), classes)
    }
}

/// A classifier of graphs; see the [module](self).
#[derive(Debug)]
pub struct GraphClassifier {
    encoder: GraphEncoder,
    layers: [Linear; 3],
    config: GraphClassifierConfig,
}

/// What a [`GraphClassifier`] returns.
#[derive(Debug, Clone)]
pub struct GraphLogits {
    /// `[graphs, classes]`.
    pub logits: Tensor,
    /// The sum of the pools' own losses, to be added to the task's; `None` for pools without.
    pub auxiliary_loss: Option<Tensor>,
}

/// Builds the classifier with the encoder's parameters `convs.i` and `pools.i` and the perceptron's `classifier.{0,3,6}`, as the official code of SEP
/// names them. Since an encoder alone has the same names, a classifier can start from a pretrained one.
///
/// # Errors
/// Settings out of range, or parameters that exist with other shapes.
pub fn graph_classifier(config: GraphClassifierConfig, vb: VarBuilder<'_>) -> Result<GraphClassifier> {
    let hidden = config.encoder.hidden;
    if hidden < 2 {
        let expected = "at least 2, since the perceptron halves the width";
        return Err(Error::InvalidConfig { what: "hidden", got: hidden.to_string(), expected });
    }
    if !(0.0..1.0).contains(&config.dropout) {
        let (got, expected) = (config.dropout.to_string(), "a share in [0, 1)");
        return Err(Error::InvalidConfig { what: "dropout", got, expected });
    }
    let encoder = graph_encoder(config.encoder.clone(), vb.clone())?;
    let vb = vb.pp("classifier");
    let layers = [
        linear(config.encoder.width(), hidden, vb.pp("0"))?,
        linear(hidden, hidden / 2, vb.pp("3"))?,
        linear(hidden / 2, config.classes, vb.pp("6"))?,
    ];
    Ok(GraphClassifier { encoder, layers, config })
}

impl GraphClassifier {
    /// The settings.
    pub fn config(&self) -> &GraphClassifierConfig {
        &self.config
    }

    /// The encoder.
    pub fn encoder(&self) -> &GraphEncoder {
        &self.encoder
    }

    /// Logits of every graph of the batch, whose nodes have the features `x` `[n, inputs]`.
    ///
    /// # Errors
    /// As [`GraphEncoder::forward`].
    pub fn forward(&self, x: &Tensor, batch: &Batch, mode: &mut Mode<'_>) -> Result<GraphLogits> {
        self.encoder.check("GraphClassifier::forward", x, batch)?;
        let encoding = self.encoder.forward(x, batch)?;
        let mut z = encoding.graphs;
        let [first, second, last] = &self.layers;
        for layer in [first, second] {
            z = mode.dropout(&ops::relu(&layer.forward(&z)?)?, self.config.dropout)?;
        }
        Ok(GraphLogits { logits: last.forward(&z)?, auxiliary_loss: encoding.auxiliary_loss })
    }
}
