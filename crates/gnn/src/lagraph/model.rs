//! The model and its loss.

use super::config::LaGraphConfig;
use super::decoder::Decoder;
use super::masking::MaskedView;
use super::reconstruction::Target;
use crate::self_supervised::{Encoder, Level, encoder};
use crate::{Adjacency, Batch, Features, Mode, Result};
use candle_core::Tensor;
use candle_nn::VarBuilder;
use core_tensor::ops;
use core_tensor::sparse::gather;

/// LaGraph's encoder and decoder.
#[derive(Debug)]
pub struct LaGraph {
    encoder: Encoder,
    decoder: Decoder,
    config: LaGraphConfig,
}

/// The parts of LaGraph's loss, scalars.
#[derive(Debug, Clone)]
pub struct LaGraphLoss {
    /// `reconstruction_weight · reconstruction + α · invariance`.
    pub total: Tensor,
    /// How far predicted features are from the given ones.
    pub reconstruction: Tensor,
    /// The root of the mean squared difference between the representations of both views.
    pub invariance: Tensor,
}

/// Builds the model with parameters `encoder.{convs,bns}.i` and `decoder.{nns,convs,bns}.i`, named as in the official program but for the weight of GCN, `lin` for its `fc`.
///
/// # Errors
/// Settings out of range, or parameters that exist with other shapes.
pub fn lagraph(config: LaGraphConfig, vb: VarBuilder<'_>) -> Result<LaGraph> {
    config.check()?;
    let encoder = encoder(&config.encoder_config(), vb.pp("encoder"))?;
    let decoder = Decoder::new(&config, vb.pp("decoder"))?;
    Ok(LaGraph { encoder, decoder, config })
}

impl LaGraph {
    /// The settings.
    pub fn config(&self) -> &LaGraphConfig {
        &self.config
    }

    /// The encoder.
    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// The predicted features of each node from its representation, `[n, hidden] → [n, inputs]`.
    ///
    /// # Errors
    /// Representations that do not fit.
    pub fn decode(&self, h: &Tensor, adjacency: &Adjacency, mode: &Mode<'_>) -> Result<Tensor> {
        self.decoder.forward(h, adjacency, mode)
    }

    /// The loss of a batch with the features `target` and their masked view `view`: one pass of each through the encoder, in this order, and of the first through the decoder. For a graph alone,
    /// `Batch::single`.
    ///
    /// Nodes: `mean (D(H) − X)² + α √(mean over masked nodes and columns of (H − H')²)`. Graphs: `mean (D(H) − X)² + α √(mean over graphs and columns of (z − z')²)`. The root's gradient at 0 is 0
    /// (nothing was masked), where the official program has NaN.
    ///
    /// # Errors
    /// Features or a view that do not fit the batch.
    pub fn loss(&self, batch: &Batch, target: &Target, view: &MaskedView, mode: &Mode<'_>) -> Result<LaGraphLoss> {
        let adjacency = batch.adjacency();
        let layers = self.encoder.layers(target.features(), adjacency, mode)?;
        let masked = if self.config.alpha == 0.0 && !mode.updates_statistics {
            None
        } else {
            Some(self.encoder.layers(&view.features, adjacency, mode)?)
        };
        let Some(h) = layers.last() else {
            return Err(crate::Error::invalid_data("LaGraph::loss", "an encoder without layers"));
        };
        let reconstruction = self.decoder.loss(h, target, adjacency, self.config.reconstruction, mode)?;
        if let (true, Some(of_view)) = (mode.updates_statistics, masked.as_ref().and_then(|masked| masked.last())) {
            // the official program decodes the masked view too, of which nothing remains but running statistics
            self.decoder.update_statistics(&of_view.detach(), adjacency, mode)?;
        }
        let invariance = match &masked {
            None => reconstruction.zeros_like()?,
            Some(masked) => self.invariance(batch, &layers, masked, &view.nodes)?,
        };
        let mut total = match self.config.reconstruction_weight {
            1.0 => reconstruction.clone(),
            weight => ops::affine(&reconstruction, weight, 0.0)?,
        };
        if self.config.alpha != 0.0 {
            total = ops::add(&total, &ops::affine(&invariance, self.config.alpha, 0.0)?)?;
        }
        Ok(LaGraphLoss { total, reconstruction, invariance })
    }

    fn invariance(&self, batch: &Batch, layers: &[Tensor], masked: &[Tensor], nodes: &[u32]) -> Result<Tensor> {
        let squared = match self.config.level {
            Level::Graph => {
                let (z, of_view) =
                    (self.encoder.read_out(layers, batch.graphs())?, self.encoder.read_out(masked, batch.graphs())?);
                ops::mse(&z, &of_view)?
            }
            Level::Node => {
                let (Some(h), Some(of_view)) = (layers.last(), masked.last()) else {
                    return Err(crate::Error::invalid_data("LaGraph::loss", "an encoder without layers"));
                };
                if nodes.is_empty() {
                    return Ok(Tensor::zeros((), h.dtype(), h.device())?);
                }
                ops::mse(&gather(h, nodes)?, &gather(of_view, nodes)?)?
            }
        };
        root(&squared)
    }

    /// Embeddings: of each node, `[n, hidden]`, or of each graph, `[graphs, layers · hidden]`. Batch norms take the statistics that [`LaGraphConfig::batch_norm`] names; nothing moves.
    ///
    /// # Errors
    /// Features that do not fit the batch.
    pub fn embed(&self, features: &Features, batch: &Batch) -> Result<Tensor> {
        embed(&self.encoder, features, batch)
    }
}

/// Embeddings without a tape, by the encoder's statistics.
pub(crate) fn embed(encoder: &Encoder, features: &Features, batch: &Batch) -> Result<Tensor> {
    let mut mode = Mode::evaluate();
    mode.uses_batch_statistics = encoder.config().statistics == crate::self_supervised::NormStatistics::Batch;
    let layers = encoder.layers(features, batch.adjacency(), &mode)?;
    Ok(encoder.represent(&layers, batch.graphs())?.detach())
}

/// `√x` of a scalar, with gradient 0 at 0.
fn root(x: &Tensor) -> Result<Tensor> {
    let is_positive = x.gt(0.0)?;
    let safe = ops::where_cond(&is_positive, x, &x.ones_like()?)?;
    Ok(ops::where_cond(&is_positive, &ops::sqrt(&safe)?, &x.zeros_like()?)?)
}
