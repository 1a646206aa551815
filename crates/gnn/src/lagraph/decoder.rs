//! From representations back to features.

use super::config::{DecoderKind, LaGraphConfig, OutputActivation, Reconstruction};
use super::reconstruction::{Target, reconstruct};
use crate::conv::{Convolution, ConvolutionKind, gin_conv_with};
use crate::self_supervised::EncoderActivation;
use crate::{Adjacency, Features, Mode, Result};
use candle_core::{Module, Tensor};
use candle_nn::VarBuilder;
use core_tensor::nn::{BatchNorm, BatchNormConfig, Linear, Prelu, batch_norm1d, linear, prelu};
use core_tensor::ops;

/// Layers `hidden → hidden` with ReLU and batch norm, and a last one to the width of the features.
#[derive(Debug)]
pub(super) struct Decoder {
    layers: Vec<Layer>,
    norms: Vec<BatchNorm>,
    output: OutputActivation,
}

#[derive(Debug)]
enum Layer {
    Linear(Linear),
    /// With the encoder's learned slopes, if it has them.
    Convolution(Box<dyn Convolution>, Option<Prelu>),
}

impl Layer {
    fn forward(&self, x: &Tensor, adjacency: &Adjacency) -> Result<Tensor> {
        match self {
            Self::Linear(layer) => Ok(layer.forward(x)?),
            Self::Convolution(layer, _) => layer.forward(x, adjacency),
        }
    }

    /// What follows the layer: learned slopes, where its kind has them, else a ReLU.
    fn activate(&self, y: &Tensor) -> Result<Tensor> {
        match self {
            Self::Convolution(_, Some(slopes)) => Ok(slopes.forward(y)?),
            _ => Ok(ops::relu(y)?),
        }
    }
}

impl Decoder {
    pub(super) fn new(config: &LaGraphConfig, vb: VarBuilder<'_>) -> Result<Self> {
        let (mut layers, mut norms) = (Vec::new(), Vec::new());
        for at in 0..config.decoder_layers {
            let is_last = at + 1 == config.decoder_layers;
            let outputs = if is_last { config.inputs } else { config.hidden };
            layers.push(match config.decoder {
                DecoderKind::Mlp => Layer::Linear(linear(config.hidden, outputs, vb.pp("nns").pp(at))?),
                DecoderKind::Gnn => {
                    let vb = vb.pp("convs").pp(at);
                    let slopes = match config.activation {
                        EncoderActivation::Prelu => Some(prelu(1, vb.pp("act"))?),
                        EncoderActivation::Relu => None,
                    };
                    let convolution: Box<dyn Convolution> = match config.encoder {
                        ConvolutionKind::Gin => Box::new(gin_conv_with(config.hidden, config.hidden, outputs, vb)?),
                        other => other.build(config.hidden, outputs, vb)?,
                    };
                    Layer::Convolution(convolution, slopes)
                }
            });
            if !is_last {
                norms.push(batch_norm1d(config.hidden, BatchNormConfig::default(), vb.pp("bns").pp(at))?);
            }
        }
        Ok(Self { layers, norms, output: config.output_activation })
    }

    /// What comes into the last layer.
    fn hidden(&self, h: &Tensor, adjacency: &Adjacency, mode: &Mode<'_>) -> Result<Tensor> {
        let mut x = h.clone();
        for (layer, norm) in self.layers.iter().zip(&self.norms) {
            x = norm.forward(&layer.activate(&layer.forward(&x, adjacency)?)?, mode)?;
        }
        Ok(x)
    }

    /// Moves the running statistics of the norms, if there are any, as a pass of `h` does.
    pub(super) fn update_statistics(&self, h: &Tensor, adjacency: &Adjacency, mode: &Mode<'_>) -> Result<()> {
        if self.norms.is_empty() { Ok(()) } else { self.hidden(h, adjacency, mode).map(drop) }
    }

    /// The predicted features, `[n, inputs]`.
    pub(super) fn forward(&self, h: &Tensor, adjacency: &Adjacency, mode: &Mode<'_>) -> Result<Tensor> {
        let x = self.hidden(h, adjacency, mode)?;
        let Some(last) = self.layers.last() else { return Ok(x) };
        self.output(last, &x, adjacency)
    }

    fn output(&self, last: &Layer, x: &Tensor, adjacency: &Adjacency) -> Result<Tensor> {
        let y = last.forward(x, adjacency)?;
        match self.output {
            OutputActivation::Relu => last.activate(&y),
            OutputActivation::None => Ok(y),
        }
    }

    /// How far the predictions are from `features`.
    pub(super) fn loss(
        &self,
        h: &Tensor,
        target: &Target,
        adjacency: &Adjacency,
        kind: Reconstruction,
        mode: &Mode<'_>,
    ) -> Result<Tensor> {
        let x = self.hidden(h, adjacency, mode)?;
        let Some(last) = self.layers.last() else { return Ok(x) };
        if let (Reconstruction::MeanSquared, Layer::Linear(layer)) = (kind, last) {
            return reconstruct(&x, layer, target, self.output == OutputActivation::Relu);
        }
        let y = self.output(last, &x, adjacency)?;
        match kind {
            Reconstruction::MeanSquared => Ok(ops::mse(&y, &target.dense()?)?),
            Reconstruction::CrossEntropy => Ok(ops::cross_entropy(&y, target.classes()?)?),
        }
    }
}

/// Whether a feature is negative.
pub(crate) fn has_negative(features: &Features) -> Result<bool> {
    Ok(match features {
        Features::Dense(x) => is_negative(x)?,
        Features::Sparse { values, .. } => is_negative(values)?,
        Features::Replaced { base, values, .. } => has_negative(base)? || is_negative(values)?,
    })
}

fn is_negative(x: &Tensor) -> Result<bool> {
    Ok(x.elem_count() > 0 && x.detach().lt(0.0)?.flatten_all()?.max(0)?.to_scalar::<u8>()? == 1)
}
