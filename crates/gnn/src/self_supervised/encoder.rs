//! The encoder that is trained without labels: convolutions, each followed by an activation and a batch norm.

use crate::conv::{Convolution, ConvolutionKind};
use crate::encoder::Readout;
use crate::{Adjacency, Error, Features, Mode, Result};
use candle_core::{DType, Device, Module, Tensor};
use candle_nn::VarBuilder;
use core_tensor::nn::{BatchNorm, BatchNormConfig, Prelu, batch_norm1d, prelu};
use core_tensor::ops;
use core_tensor::sparse::Segments;

/// What gets an embedding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Level {
    /// Each node: the features after the last layer, `[nodes, hidden]`.
    Node,
    /// Each graph: the readouts of all layers side by side, `[graphs, layers · hidden]`.
    Graph,
}

/// The nonlinearity between a convolution and its batch norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum EncoderActivation {
    /// `max(x, 0)`.
    Relu,
    /// One learned slope for each layer, first 0.25.
    Prelu,
}

/// By which statistics batch norms normalise when embeddings are computed. In training it is always those of the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum NormStatistics {
    /// Those of the graphs that are embedded, together.
    Batch,
    /// The running ones, of training; an embedding then depends on its own graph alone.
    Running,
}

/// Settings of an [`Encoder`].
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct EncoderConfig {
    /// What gets an embedding.
    pub level: Level,
    /// Width of the node features.
    pub inputs: usize,
    /// Width of every layer.
    pub hidden: usize,
    /// Number of layers.
    pub layers: usize,
    /// Which convolution.
    pub convolution: ConvolutionKind,
    /// The nonlinearity behind each convolution.
    pub activation: EncoderActivation,
    /// Whether a batch norm follows each nonlinearity.
    pub has_batch_norm: bool,
    /// How the nodes of a graph become one vector.
    pub readout: Readout,
    /// What normalises embeddings.
    pub statistics: NormStatistics,
}

impl EncoderConfig {
    /// Two layers of GCN of width 512 with PReLU, as LaGraph and others have it for nodes.
    pub fn nodes(inputs: usize) -> Self {
        Self {
            level: Level::Node,
            inputs,
            hidden: 512,
            layers: 2,
            convolution: ConvolutionKind::Gcn,
            activation: EncoderActivation::Prelu,
            has_batch_norm: true,
            readout: Readout::Sum,
            statistics: NormStatistics::Running,
        }
    }

    /// Three layers of GIN of width 32 with ReLU, as LaGraph, GraphCL and InfoGraph have it for graphs.
    pub fn graphs(inputs: usize) -> Self {
        Self {
            level: Level::Graph,
            inputs,
            hidden: 32,
            layers: 3,
            convolution: ConvolutionKind::Gin,
            activation: EncoderActivation::Relu,
            has_batch_norm: true,
            readout: Readout::Sum,
            statistics: NormStatistics::Running,
        }
    }

    /// Width of an embedding.
    pub fn width(&self) -> usize {
        match self.level {
            Level::Node => self.hidden,
            Level::Graph => self.layers * self.hidden,
        }
    }
}

/// Convolutions, each followed by an activation and a batch norm: `X ← BatchNorm(act(conv(X)))`.
#[derive(Debug)]
pub struct Encoder {
    convolutions: Vec<Box<dyn Convolution>>,
    slopes: Vec<Prelu>,
    norms: Vec<BatchNorm>,
    config: EncoderConfig,
    dtype: DType,
    device: Device,
}

/// Builds the encoder with parameters `convs.i`, `convs.i.act` (of PReLU) and `bns.i`.
///
/// # Errors
/// No layer, or parameters that exist with other shapes.
pub fn encoder(config: &EncoderConfig, vb: VarBuilder<'_>) -> Result<Encoder> {
    for (what, got) in [("layers", config.layers), ("hidden", config.hidden), ("inputs", config.inputs)] {
        if got == 0 {
            return Err(Error::InvalidConfig { what, got: "0".into(), expected: "at least 1" });
        }
    }
    let (mut convolutions, mut slopes, mut norms) = (Vec::new(), Vec::new(), Vec::new());
    for layer in 0..config.layers {
        let inputs = if layer == 0 { config.inputs } else { config.hidden };
        let of_layer = vb.pp("convs").pp(layer);
        convolutions.push(config.convolution.build(inputs, config.hidden, of_layer.clone())?);
        if config.activation == EncoderActivation::Prelu {
            slopes.push(prelu(1, of_layer.pp("act"))?);
        }
        if config.has_batch_norm {
            norms.push(batch_norm1d(config.hidden, BatchNormConfig::default(), vb.pp("bns").pp(layer))?);
        }
    }
    let (dtype, device) = (vb.dtype(), vb.device().clone());
    Ok(Encoder { convolutions, slopes, norms, config: config.clone(), dtype, device })
}

impl Encoder {
    /// The settings.
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// The element type of the parameters.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Where the parameters are.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The features after each layer, each `[n, hidden]`.
    ///
    /// # Errors
    /// Features that do not fit the graph or the encoder; fewer than two nodes where batch norms take the statistics of the batch.
    pub fn layers(&self, features: &Features, adjacency: &Adjacency, mode: &Mode<'_>) -> Result<Vec<Tensor>> {
        const OPERATION: &str = "Encoder::layers";
        let expected = (adjacency.num_nodes(), self.config.inputs);
        if (features.num_nodes(), features.num_columns()) != expected {
            let got = vec![features.num_nodes(), features.num_columns()];
            let expected = format!("[{} nodes, {} features]", expected.0, expected.1);
            return Err(Error::Shape { operation: OPERATION, what: "features", got, expected });
        }
        if self.config.has_batch_norm && mode.uses_batch_statistics && adjacency.num_nodes() < 2 {
            let reason = "statistics of a batch need at least two nodes; there are fewer in this batch";
            return Err(Error::invalid_data(OPERATION, reason));
        }
        let mut layers: Vec<Tensor> = Vec::with_capacity(self.convolutions.len());
        for (at, convolution) in self.convolutions.iter().enumerate() {
            let is_relu = self.config.activation == EncoderActivation::Relu;
            let mut x = match layers.last() {
                None if is_relu => ops::relu(&convolution.forward_features(features, adjacency)?)?,
                None => convolution.forward_features(features, adjacency)?,
                Some(x) if is_relu => convolution.forward_relu(x, adjacency)?,
                Some(x) => convolution.forward(x, adjacency)?,
            };
            if let Some(slopes) = self.slopes.get(at) {
                x = slopes.forward(&x)?;
            }
            if let Some(norm) = self.norms.get(at) {
                x = norm.forward(&x, mode)?;
            }
            layers.push(x);
        }
        Ok(layers)
    }

    /// The embedding of each graph from the features after each layer: the readouts side by side.
    ///
    /// # Errors
    /// Those of the tensor layer.
    pub fn read_out(&self, layers: &[Tensor], graphs: &Segments) -> Result<Tensor> {
        let read = layers.iter().map(|x| self.config.readout.read(x, graphs)).collect::<Result<Vec<_>>>()?;
        Ok(ops::cat(&read, 1)?)
    }

    /// The embeddings that [`EncoderConfig::level`] asks for.
    ///
    /// # Errors
    /// As [`Encoder::layers`].
    pub fn represent(&self, layers: &[Tensor], graphs: &Segments) -> Result<Tensor> {
        match (self.config.level, layers.last()) {
            (Level::Node, Some(last)) => Ok(last.clone()),
            _ => self.read_out(layers, graphs),
        }
    }
}
